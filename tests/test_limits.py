"""Limits on released text: stop sequences and token counts, the same however the text arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.limits import Limits
from server.usage import count_tokens, truncate

TEXT = st.text(alphabet="ab .,1é\n", max_size=40)
PIECES = st.lists(TEXT, max_size=8)


def released(
    pieces: list[str], stop: tuple[str, ...] = (), max_tokens: int | None = None
) -> tuple[str, str | None]:
    limits = Limits(stop, max_tokens)
    out = "".join(limits.feed(piece) for piece in pieces) + limits.close()
    return out, limits.reached


@pytest.mark.parametrize(
    ("pieces", "stop", "out", "reached"),
    [
        (["one two three"], ("two",), "one ", "stop"),
        (["one t", "wo three"], ("two",), "one ", "stop"),
        (["one t", "wig"], ("two",), "one twig", None),
        (["one tw"], ("two",), "one tw", None),
        (["abcabd"], ("abd", "cab"), "ab", "stop"),
        (["one"], (), "one", None),
        (["one"], ("",), "one", None),
    ],
)
def test_a_stop_sequence_cuts_before_itself_however_it_arrives(
    pieces: list[str], stop: tuple[str, ...], out: str, reached: str | None
) -> None:
    assert released(pieces, stop) == (out, reached)


@given(PIECES, st.integers(0, 12), st.lists(st.sampled_from(["a.", "b b", "1"]), max_size=2))
def test_limits_do_not_depend_on_how_the_text_was_cut(pieces: list[str], limit: int, stop: list[str]) -> None:
    whole = "".join(pieces)
    assert released(pieces, tuple(stop)) == released([whole], tuple(stop))
    assert released(pieces, (), limit) == released([whole], (), limit)


@given(PIECES, st.integers(0, 12))
def test_never_more_tokens_than_allowed_are_released(pieces: list[str], limit: int) -> None:
    out, reached = released(pieces, (), limit)
    whole = "".join(pieces)
    assert whole.startswith(out)
    assert count_tokens(out) <= limit
    if reached is None:
        assert out == whole
    else:
        assert (out, True) == truncate(whole, limit)


def test_nothing_follows_a_limit() -> None:
    limits = Limits((".",), None)
    assert limits.feed("a. b") == "a" and limits.feed("c") == "" and limits.close() == ""
