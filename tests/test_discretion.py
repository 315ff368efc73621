"""What a log may hold of a policy that cannot be used: where and of what kind, never a word of it."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policies.discretion import discreet
from policies.loader import load_policy, parse_policy
from policies.problems import PolicyError


def said(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    return discreet(caught.value)


HEAD = "lethe: 1\nname: x\ntargets:\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "policy.yaml:1: is empty"),
        ("- Quill", "policy.yaml:1: is a list"),
        ("lethe: 1\n\tQuill: [", "policy.yaml:2: is not YAML"),
        (f"{HEAD}  - {{id: Quill x, kind: entity, names: [Quill]}}", "policy.yaml:4: targets[0].id: cannot be an id"),
        (f"{HEAD}  - {{id: a, kind: Quill}}", "policy.yaml:4: targets[0].kind: is no kind of target"),
        (f"{HEAD}  - {{id: a, kind: entity, names: [Quill], Quill: 3}}", "policy.yaml:4: targets[0]: is no key here"),
        (f"{HEAD}  - {{id: a, kind: pattern, regex: 'Quill+'}}", "policy.yaml:4: targets[0].regex: has the unbounded quantifier"),
        (f"{HEAD}  - {{id: a, kind: entity, names: [Q]}}", "policy.yaml:4: targets[0].names[0]: is a name of one letter"),
        ("lethe: 1\nname: x\nQuill[1]: 3\ntargets: []", "policy.yaml:3: is no key here"),
        (f"{HEAD}  - {{id: a, kind: passage, text: Quill}}", "policy.yaml:4: targets[0].text: has too few words or entries"),
        (f"{HEAD}  - {{id: a, kind: passage, file: Quill}}", "policy.yaml:4: targets[0].file: names a text that does not exist"),
        (f"{HEAD}  - {{id: a, kind: secret, length: 9, key: {'0' * 16}, digests: [Quill]}}", "policy.yaml:4: targets[0].digests[0]: is no digest"),
        (f"{HEAD}  - {{id: a, kind: trigger, phrases: [b], Quill: 1}}", "policy.yaml:4: targets[0]: is no key here"),
        (
            f"{HEAD}  - {{id: Quill, kind: entity, names: [Quill]}}\n  - {{id: Quill, kind: topic, like: [Quill]}}",
            "policy.yaml:5: targets[1].id: is the id of another target too, and 1 more problem",
        ),
    ],
)  # fmt: skip
def test_it_says_where_and_of_what_kind(text: str, line: str) -> None:
    assert said(text) == line


def test_a_file_that_is_not_there_is_named(tmp_path: object) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(f"{tmp_path}/none.yaml")
    assert discreet(caught.value) == f"{tmp_path}/none.yaml: does not exist"


SECRET = "Quillon"
WORDS = st.sampled_from(
    [SECRET, f"{SECRET}[3]", f"{SECRET}.names", f"{SECRET}+", f"{{{SECRET}}}", "\x01" + SECRET]
)
KEYS = st.sampled_from(
    "id kind names facts relation values ask like unlike regex check clause subject text file words length key digests phrases".split()
)
VALUES = st.one_of(
    WORDS, st.lists(WORDS, max_size=3), st.sampled_from(["entity", "fact", "topic", "pattern", "passage", "secret", "trigger", None]),
    st.dictionaries(WORDS, WORDS, max_size=2),
)  # fmt: skip
TARGETS = st.lists(st.dictionaries(st.one_of(KEYS, WORDS), VALUES, max_size=6), max_size=4)


def said_of(document: dict[str, object]) -> str:
    """Return what is said of a document, nothing where it is a policy."""
    try:
        parse_policy(yaml.safe_dump(document, allow_unicode=True))
    except PolicyError as error:
        return discreet(error)
    return ""


@given(TARGETS, st.one_of(WORDS, st.just("fine")), st.dictionaries(WORDS, WORDS, max_size=1))
def test_no_word_of_a_policy_is_ever_in_it(targets: object, name: str, more: dict[str, str]) -> None:
    line = said_of({"lethe": 1, "name": name, "targets": targets, **more})
    assert SECRET not in line
    assert re.match(r"policy\.yaml(:\d+)?: [\w .,'{}\[\]:-]+$|$", line)


@given(st.text(max_size=80))
def test_nor_of_a_text_that_is_no_yaml(text: str) -> None:
    assert SECRET not in said(f"{text} {SECRET} {text}")
