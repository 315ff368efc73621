"""Passages that come with something between their lines: found as they are in clear, however they arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.prompts import kept
from guards.base import Channel, Progress
from guards.passage_lines import QuotesInLines, _InLines
from guards.registry import Guard
from tests.guarding import CLEAR, answer
from tests.properties import check_bounded, check_cut_invariant, check_withholding
from tests.test_passage import LEDGER, SALT, of

LINES = (
    "The lamps of Port Meridane were lit",
    "at four that winter, and nobody asked",
    "why. Odalys counted the lamps; the lamps",
)
QUOTES = QuotesInLines(of((SALT, 8), (LEDGER, 4)))
PIECES = [
    "The lamps of Port Meridane were lit", " at four that winter,", "<br>", "<p class='a b'>", "</p>\n<p>", "< br", "&nbsp;", "&amp", "&",
    "[Am]", "[1] ", "[not short enough to be one]", "\n2. ", "00:00:04,000 --> 00:01", '{"line": "', '"', "1984", "a1 ", "Nine barges of salt left",
    " at dawn, and nine", "**", "ledger12 34",
]  # fmt: skip

BETWEEN = {
    "a tag": "<br>\n",
    "paragraphs": "</p>\n<p class='verse'>",
    "a numbered list": "\n12. ",
    "a table": " |\n| 3 | ",
    "footnotes": "[1] ",
    "chords": "\n[Am] ",
    "entities": "&nbsp;&#160;",
    "subtitles": "\n\n3\n00:00:04,000 --> 00:00:06,500\n",
    "JSON": '"},\n {"n": 3, "line": "',
    "emphasis in HTML": "</em> <em>",
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
@pytest.mark.parametrize("cut", [1, 7, 1_000])
def test_a_passage_is_withheld_whatever_stands_between_its_lines(between: str, cut: int) -> None:
    guard = Guard(of((SALT, 8)))
    text = f"Here it is: {between.join(LINES)}"
    pieces = [(0, Channel.CONTENT, text[at : at + cut]) for at in range(0, len(text), cut)]
    said = answer(guard, CLEAR, pieces=pieces)
    released = "".join(said.values())
    assert not [word for word in ("winter", "nobody", "counted") if word in released], released


@pytest.mark.parametrize("between", [" Ann says: ", " (twice) ", " or so, "])
def test_words_between_make_it_another_text(between: str) -> None:
    text = between.join(LINES)
    assert not QUOTES.find(text)


def test_findings_do_not_depend_on_how_the_text_was_cut() -> None:
    check_cut_invariant(QUOTES.open, PIECES)


def test_what_is_called_safe_never_becomes_part_of_a_finding() -> None:
    check_withholding(QUOTES.open, PIECES)


class _Hasty(_InLines):
    """Reads on without waiting for the end of what may be a mark."""

    def feed(self, text: str) -> Progress:
        self._waiting += text
        return super(_InLines, self).feed(self._read(len(self._waiting)))


def test_the_property_of_cuts_kills_its_mutant() -> None:
    with pytest.raises(AssertionError):
        check_cut_invariant(lambda: _Hasty(QUOTES), PIECES, mutant=True)


def test_no_more_is_held_back_than_a_shingle_and_a_mark() -> None:
    check_bounded(QUOTES.open, PIECES, 480)


@given(st.text(alphabet="<>/&;[]\"': 1a\n", max_size=60))
def test_what_is_blanked_out_keeps_every_place(text: str) -> None:
    scan = _InLines(QUOTES)
    scan._waiting = text
    assert len(scan._read(len(text))) == len(text)


def test_ordinary_questions_hold_none_of_it() -> None:
    assert not [text for text, _ in zip(kept(4), range(500), strict=False) if QUOTES.find(text)]
