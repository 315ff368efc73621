"""Heads of patterns: what a match may begin with is never missed, and few texts hold it by chance."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.pattern import Patterns
from policies.heads import OTHER, coarse, heads
from policies.policy import Pattern
from tests.guarding import policy, target
from tests.test_policies_patterns import GOOD

SOURCES = [*(source for source, _, _ in GOOD), r"(?i)\p{Lu}x", r"(?ia)x?\p{Ll}[01]"]
CHARS = "abcdxyzABCXY0129 .,:;@/-_+'()\nIDUSé漢字ſK\u0130"


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=200)
@given(text=st.text(st.sampled_from(CHARS), max_size=40))
def test_every_match_begins_with_a_head(source: str, text: str) -> None:
    known = heads(source)
    for match in regex.finditer(source, text, overlapped=True):
        begun = coarse(match.group())
        assert begun[:2] in known if len(begun) > 1 else begun in known


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"ab{1,3}", {"ab"}),
        (r"\bX\d", {"X" + digit for digit in "0123456789"} | {"X" + OTHER}),
        (r"a?bc", {"ab", "bc"}),
        (r"a|bc", {"a", "bc"}),
        (r"(?i)no", {a + b for a in ("n", "N", OTHER) for b in ("o", "O", OTHER)}),
        (r"(?:a|bc){2}", {"aa", "ab", "bc"}),
        (r"a{0,2}b", {"aa", "ab", "b"}),
        (r"(?=xy)x", {"x"}),
        (r"é[0-9]", {OTHER + digit for digit in "0123456789"}),
    ],
)
def test_the_heads_of_a_pattern_are_these(source: str, expected: set[str]) -> None:
    assert heads(source) == expected


@pytest.mark.parametrize(
    "source", [r"\W?.{0,2}.{0,2}x", r"(?:.?|\w?){1,40}y", r"\w{1,4}[^a]{0,9}.z", r"." * 200]
)
def test_wide_classes_cost_no_more_than_the_heads_there_can_be(source: str) -> None:
    # Without a bound on the products this would run for minutes.
    assert len(heads(source)) <= 129 + 129**2


def test_a_pattern_that_may_begin_with_anything_is_tried_on_every_text() -> None:
    patterns = Patterns(
        policy(*(target(f"p{i}", "pattern", pattern=Pattern(".{3}!", 0, 4, 0)) for i in range(300)))
    )
    assert {found.target for found in patterns.find("what!")} == set(range(300))


def test_a_text_without_a_head_has_no_pattern_tried_however_many_there_are() -> None:
    many = [
        target(f"p{i}", "pattern", pattern=Pattern(rf"\bX{i:04d}-\d{{4}}\b", 0, 10, 1)) for i in range(500)
    ]
    patterns = Patterns(policy(*many))
    scan = patterns.open()
    tried: list[int] = []
    decide = scan._decide
    scan._decide = lambda compiled, at, closed: tried.append(compiled.target) or decide(compiled, at, closed)  # type: ignore[method-assign,func-returns-value]
    scan.feed("The harbour was quiet, and 1234 boats lay still. ")
    assert tried == []
    (found,) = patterns.find("It is X0042-1234, I think.")
    assert found.target == 42
