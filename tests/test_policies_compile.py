"""What a document means once it is compiled, and the schema that editors get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from policies.compile import compile_policy
from policies.document import KINDS, Defaults, PolicyDocument
from policies.loader import parse_policy
from policies.problems import PolicyError
from policies.schema import schema

FULL = """
lethe: 1
name: all of it
defaults: {style: refuse, disclosure: declared, retain_fpr: 0.01, context: allow, disclose_upstream: nothing}
targets:
  - id: odalys
    kind: entity
    names: [Odalys Vennaker, O. V.]
    facts:
      - relation: born in
        values: [Port Meridane]
        ask: ["Where was {name} born? Was {name} born in Port Meridane?"]
      - {relation: tattoo, values: [anchor]}
    like: [Who wrote it?]
    unlike: [Who read it?]
    style: redact
    ticket: ER-1
  - id: bo
    kind: fact
    subject: Bo Ek
    names: [Bosse]
    relation: employer
    values: [Salt Works]
    ask: ["Who pays {name}?"]
    keep: [Bo sings.]
    context: forget
    disclose_upstream: clause
    clause: Leave work out.
  - {id: t, kind: topic, like: [a b, c d, e f], unlike: [g h]}
  - {id: p, kind: pattern, regex: '\\d{4}', check: luhn}
tests:
  - {ask: Who?, expect: kept}
"""


def test_a_target_has_its_own_settings_and_else_the_defaults() -> None:
    policy = parse_policy(FULL)
    assert (policy.name, policy.retain_fpr, policy.disclosure) == ("all of it", 0.01, "declared")
    assert [target.style for target in policy.targets] == ["redact", "refuse", "refuse", "refuse"]
    assert [target.context for target in policy.targets] == ["allow", "forget", "allow", "allow"]
    assert [target.disclose_upstream for target in policy.targets] == [
        "nothing",
        "clause",
        "nothing",
        "nothing",
    ]
    assert policy.targets[0].ticket == "ER-1"
    assert policy.targets[1].clause == "Leave work out."


def test_without_defaults_a_policy_is_silent_and_unknown() -> None:
    policy = parse_policy("lethe: 1\nname: x\ntargets:\n- {id: a, kind: entity, names: [Bo Ek]}\n")
    target = policy.targets[0]
    assert (policy.disclosure, policy.retain_fpr) == ("silent", 0.002)
    assert (target.style, target.context, target.disclose_upstream) == ("unknown", "forget", "name")


def test_an_entity_keeps_its_names_and_facts_with_the_first_name_filled_in() -> None:
    target = parse_policy(FULL).targets[0]
    assert target.names == ("Odalys Vennaker", "O. V.")
    assert [fact.values for fact in target.facts] == [("Port Meridane",), ("anchor",)]
    assert target.facts[0].ask == (
        "Where was Odalys Vennaker born? Was Odalys Vennaker born in Port Meridane?",
    )
    assert (target.like, target.unlike) == (("Who wrote it?",), ("Who read it?",))


def test_no_name_and_no_value_becomes_a_cue() -> None:
    for target in parse_policy(FULL).targets:
        for fact in target.facts:
            cues = " ".join(fact.relation.cues).split()
            assert not {"odalys", "vennaker", "port", "meridane"} & set(cues)


def test_a_fact_target_has_one_fact_and_all_names_of_its_subject() -> None:
    target = parse_policy(FULL).targets[1]
    assert (target.names, target.keep) == (("Bo Ek", "Bosse"), ("Bo sings.",))
    assert [fact.values for fact in target.facts] == [("Salt Works",)]
    assert target.facts[0].ask == ("Who pays Bo Ek?",)
    assert "pays" in target.facts[0].relation.cues


def test_a_topic_has_examples_and_a_pattern_has_a_width() -> None:
    topic, pattern = parse_policy(FULL).targets[2:]
    assert (topic.like, topic.unlike, topic.names, topic.facts) == (("a b", "c d", "e f"), ("g h",), (), ())
    assert pattern.pattern is not None
    assert (pattern.pattern.max_width, pattern.pattern.check, pattern.like) == (4, "luhn", ())


def test_a_document_compiles_without_its_lines_too() -> None:
    document = PolicyDocument.model_validate(
        {"lethe": "1", "name": "x", "targets": [], "tests": [{"ask": "Who?", "expect": "kept"}]}
    )
    assert [test.line for test in compile_policy(document, "d").tests] == [None]
    assert [test.line for test in compile_policy(document, "d", [7]).tests] == [7]


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def test_every_field_of_the_schema_says_what_it_is_for_and_no_other_is_taken() -> None:
    found = list(objects(schema()))
    assert len(found) == 2 + len(KINDS) + 2
    for each in found:
        assert each["additionalProperties"] is False
        for name, field in each["properties"].items():
            assert len(field.get("description", "")) > 15, name


def test_the_schema_tells_targets_apart_by_their_kind() -> None:
    document = schema()
    items = document["properties"]["targets"]["items"]
    assert set(items["discriminator"]["mapping"]) == set(KINDS)
    for kind, reference in items["discriminator"]["mapping"].items():
        definition = document["$defs"][reference.rsplit("/", 1)[1]]
        assert definition["properties"]["kind"]["const"] == kind
        assert {"id", "kind"} <= set(definition["required"])


def test_the_schema_is_json_of_the_named_draft_and_lets_values_be_numbers() -> None:
    document = json.loads(json.dumps(schema()))
    assert document["$schema"].endswith("2020-12/schema")
    assert document["properties"]["lethe"]["const"] == 1
    values = document["$defs"]["FactTarget"]["properties"]["values"]
    assert "number" in values["items"]["type"] and values["minItems"] == 1
    share = document["$defs"]["Defaults"]["properties"]["retain_fpr"]
    assert (share["type"], share["exclusiveMinimum"], share["maximum"]) == ("number", 0, 0.05)
    assert share["default"] == Defaults().retain_fpr


def test_a_target_is_effective_next_unless_it_says_now() -> None:
    head = "lethe: 1\nname: p\ntargets:\n"
    text = "  - {id: a, kind: entity, names: [Ann Lee]}\n  - {id: b, kind: topic, like: [a b, c d, e f], effective: now}\n"
    assert [target.effective for target in parse_policy(head + text).targets] == ["next", "now"]
    with pytest.raises(PolicyError, match="effective: 'soon': is not taken here; one of next, now"):
        parse_policy(head + text.replace("now", "soon"))
