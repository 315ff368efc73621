"""Views of a text: what is shown, and the way back to the original."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.lookalikes import LOOKALIKES
from policies.text import _EVEN, _PLAIN, MAX_SENTENCE, View, fold, plain, sentence_end, sentences


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Odalys Vennaker", " odalys vennaker "),
        ("ODALYS--Vennákér!", " odalys vennaker "),
        ("Łódź, straße, Ærø", " lodz strasse aero "),
        ("Bog\u200bdan", " bogdan "),
        ("Ｏｄａｌｙｓ", " odalys "),
        ("王小明", " 王 小 明 "),
        ("𝕆𝔡𝒶ℓ𝓎𝘀", " odalys "),
        ("ⓞⓓⓐⓛⓨⓢ 🅞🅓 🇴🇩", " odalys od od "),
        ("Օᗞᗅꓡ", " odal "),
        ("O\u202ed\u2066a\u0336l\u20ddys", " odalys "),
        ("a_b-c", " a b c "),
        ("", " "),
        ("…", " "),
    ],
)
def test_folding_leaves_words_without_case_marks_and_look_alikes(text: str, shown: str) -> None:
    assert fold(text).text == shown


def test_a_folded_match_points_at_the_original_words() -> None:
    text = "by  O\u0308DALYS\u200b-- Vennaker's"
    folded = fold(text)
    start = folded.text.index(" odalys vennaker ")
    first, last = folded.span(start, start + len(" odalys vennaker ") - 1)
    assert text[first:last] == "O\u0308DALYS\u200b-- Vennaker"


def test_every_look_alike_is_read_as_latin_letters_in_either_case() -> None:
    for char, shown in LOOKALIKES.items():
        assert fold(char).text == f" {shown} " == fold(char.upper()).text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("4111", "4111"), ("４１１１", "4111"), ("41\u200b11", "4111"), ("ﬁve", "five"), ("Ab, c", "Ab, c")],
)
def test_plain_keeps_case_and_punctuation(text: str, shown: str) -> None:
    assert plain(text).text == shown


def test_views_compose_to_the_outermost_original() -> None:
    outer = plain("x４１\u200b１１y")
    inner = View(outer.text[1:5], range(1, 5), len(outer.text), ("digits",))
    both = inner.within(outer)
    assert both.span(0, 4) == (1, 6) and both.via == ("plain", "digits")
    assert both.span(2, 2) == (4, 4)
    assert View("abc", None, 3).span(1, 2) == (1, 2)
    assert View("b", [1], 3).within(View("abc", None, 3)).span(0, 1) == (1, 2)


@given(st.text(max_size=60))
def test_every_view_spans_within_its_text(text: str) -> None:
    view = plain(text)
    for start in range(len(view.text)):
        first, last = view.span(start, start + 1)
        assert 0 <= first < last <= len(text)
    for word, (first, last) in zip(fold(text).text.split(), fold(text).spans, strict=True):
        assert word and 0 <= first < last <= len(text)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("One. Two", ["One. ", "Two"]),
        ("One.", ["One."]),
        ("Is 3.14 it? Yes!", ["Is 3.14 it? ", "Yes!"]),
        ("a\n\n b\nc", ["a\n\n ", "b\n", "c"]),
        ("「はい。」いいえ。", ["「はい。」", "いいえ。"]),
        ("\n\n", ["\n\n"]),
        ("x" * (MAX_SENTENCE + 5), ["x" * MAX_SENTENCE, "x" * 5]),
        ("", []),
    ],
)
def test_sentences_end_at_punctuation_newlines_or_the_limit(text: str, cut: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == cut


@given(st.text(alphabet="ab. \n!。", max_size=80), st.integers(0, 80))
def test_an_end_that_was_found_early_is_the_end_that_is_found_late(text: str, seen: int) -> None:
    early = sentence_end(text[:seen])
    if early is not None:
        assert sentence_end(text, closed=True) == early


def test_text_that_is_called_plain_already_is() -> None:
    even = [char for point in range(0x110000) if _EVEN.fullmatch(char := chr(point))]
    assert len(even) > 20_000
    changed = [
        char for char in even if (shown := plain(char)).offsets is None and _PLAIN[ord(char)] != shown.text
    ]
    assert changed == []
