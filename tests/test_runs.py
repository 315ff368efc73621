"""Dates, numbers and identifiers over a stream: cut-invariant, withholding, bounded; each property kills its mutant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from guards.base import Part, Progress, ScanError
from guards.digits import Digits
from guards.markup import Marked
from guards.numerals import Numerals
from guards.runs import MAX_TAIL, RunScan, Tokens
from policies.text import MAX_GAP
from tests.guarding import policy, target
from tests.properties import Opener, check_bounded, check_cut_invariant, check_withholding

KNOWN = policy(
    target(
        "a",
        names=["Odalys Vennaker"],
        facts=[
            ("born on", ["1974-03-12"]),
            ("phone", ["+46 70 123 45 67", "555-0142"]),
            ("card", ["4111 1111 1111 1111"]),
            ("salary", ["84,000", "84,500", "12.5%"]),
            ("age", ["24"]),
        ],
    ),
    target("b", names=["Ruben Aldane"], facts=[("phone", ["070-555 01 42"]), ("id number", ["K 123 456"])]),
)
DIGITS, NUMERALS = Digits(KNOWN), Numerals(KNOWN)

DIGIT_TEXTS = [
    "+46 (0)70-123 45 67", "0046701234567", "0701234567", "+46701234567", "555-0142", "5550142", "four", "double", "double five",
    "five five five oh one four two", "4111-1111-1111-1111", "４１１１ １１１１ １１１１ １１１１", "4111\u200b111111111111",
    "+46705550142", "123456", "1-2-3-4-5-6", "1 2\n3 4\n5 6", "triple one", "one two three 456",
]  # fmt: skip
NUMERAL_TEXTS = [
    "12 March 1974", "the twelfth of March nineteen seventy-four", "Mar 12 '74", "12. März 1974", "12/03/1974",
    "1974年3月12日", "12MAR1974", "84k", "eighty-four thousand", "eighty-four thousand five hundred", "84 000",
    "twenty-four", "24", "24", "84k", "24th", "twelve point five", "12 de marzo de 1974", "12 of the",
    "12 Ma\u200brch 74", "24", "twenty four",
]  # fmt: skip
# Tokens of the longest key, each with what may lie between two of them.
DIGITS_BOUND = (DIGITS.keys.longest + 1) * (8 + 8)
NUMERALS_BOUND = 12 * 5 * (MAX_GAP + 31)

SCANS: list[tuple[Opener, Sequence[str], int]] = [
    (DIGITS.open, DIGIT_TEXTS, DIGITS_BOUND),
    (NUMERALS.open, NUMERAL_TEXTS, NUMERALS_BOUND),
]
scans = pytest.mark.parametrize(("open_scan", "fragments", "bound"), SCANS, ids=["digits", "numeral"])


@scans
def test_findings_do_not_depend_on_how_the_text_was_cut(
    open_scan: Opener, fragments: Sequence[str], bound: int
) -> None:
    check_cut_invariant(open_scan, fragments)


@scans
def test_what_is_called_safe_never_becomes_part_of_a_finding(
    open_scan: Opener, fragments: Sequence[str], bound: int
) -> None:
    check_withholding(open_scan, fragments)


@scans
def test_what_is_held_back_is_bounded_by_the_policy(
    open_scan: Opener, fragments: Sequence[str], bound: int
) -> None:
    check_bounded(open_scan, fragments, bound)


class _Forgetful(RunScan):
    """Looks at each piece by itself."""

    def feed(self, text: str) -> Progress:
        self._base += len(self._tail)
        self._tail = ""
        return super().feed(text)


class _Unglued(RunScan):
    """Takes the end of a longer word or number for a whole one."""

    def _drop(self, held: int | None, word: int | None, marks: Marked | None) -> None:
        super()._drop(held, word, marks)
        self._glued = False


class _Eager(RunScan):
    """Calls everything safe that it has seen."""

    def feed(self, text: str) -> Progress:
        progress = super().feed(text)
        return Progress(progress.findings, self._base + len(self._tail))


class _Closed:
    """Reads what may go on as if it had ended."""

    def __init__(self, runs: Digits | Numerals) -> None:
        self._runs = runs
        self.name, self.keys, self.max_chars = runs.name, runs.keys, runs.max_chars
        self.find, self.find_in = runs.find, runs.find_in

    def read(self, text: str, *, closed: bool, glued: bool) -> Tokens:
        return self._runs.read(text, closed=True, glued=glued)


class _Hoarder(RunScan):
    """Calls nothing safe before the end."""

    def feed(self, text: str) -> Progress:
        return Progress(super().feed(text).findings, 0)


BOTH = [(DIGITS, DIGIT_TEXTS), (NUMERALS, NUMERAL_TEXTS)]


@pytest.mark.parametrize(("runs", "fragments"), BOTH, ids=["digits", "numeral"])
@pytest.mark.parametrize(
    ("check", "mutant"),
    [
        (check_cut_invariant, _Forgetful),
        (check_cut_invariant, _Unglued),
        (check_cut_invariant, lambda runs: RunScan(_Closed(runs))),
        (check_withholding, _Eager),
    ],
    ids=["forgetful", "unglued", "closed", "eager"],
)
def test_each_property_kills_its_mutant(
    check: Callable[..., None],
    mutant: Callable[[Digits | Numerals], RunScan],
    runs: Digits | Numerals,
    fragments: Sequence[str],
) -> None:
    with pytest.raises(AssertionError):
        check(lambda: mutant(runs), fragments, mutant=True)


def test_the_bound_kills_a_scan_that_holds_everything() -> None:
    with pytest.raises(AssertionError):
        check_bounded(lambda: _Hoarder(DIGITS), ["x" * 400, *DIGIT_TEXTS], DIGITS_BOUND, mutant=True)


def spans(runs: Digits | Numerals, text: str) -> set[str]:
    return {text[each.start : each.end] for each in runs.find(text)}


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("call 0701234567 now", "0701234567"),
        ("call +46 (0)70-123 45 67.", "46 (0)70-123 45 67"),
        ("call +46701234567", "46701234567"),
        ("dial 0046701234567", "0046701234567"),
        ("dial 011 46 70 123 45 67", "011 46 70 123 45 67"),
        ("+46 705 550 142, that is", "705 550 142"),
        ("+46705550142", "705550142"),
        ("five five five, oh one four two", "five five five, oh one four two"),
        ("double five five zero one four two", "double five five zero one four two"),
        ("41 11 11 11 11 11 11 11", "41 11 11 11 11 11 11 11"),
        ("card:4111111111111111!", "4111111111111111"),
        ("4\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1", "4\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1"),
        ("４１１１１１１１１１１１１１１１", "４１１１１１１１１１１１１１１１"),
        ("at 1974-03-12T00:00:00Z", "1974-03-12"),
        ("k123456", "123456"),
    ],
)
def test_a_number_is_found_by_its_digits_in_any_grouping(text: str, span: str) -> None:
    assert span in spans(DIGITS, text)


@pytest.mark.parametrize(
    "text",
    [
        "94111111111111111",
        "4111 1111 1111 11112",
        "4111 1111 1111 1112",
        "555-0143",
        "555 apples and 0142 pears",
        "one to five, five or six",
        "There were 5550142000 of them",
        "1234567",
        "Version 12.34.5 of 6",
        "555" + " " * 7 + "0142",
    ],
)
def test_digits_of_another_number_are_no_finding(text: str) -> None:
    assert spans(DIGITS, text) == set()


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("born the twelfth of March nineteen seventy-four.", "twelfth of March nineteen seventy-four"),
        (
            "March the twelfth, nineteen hundred and seventy-four",
            "March the twelfth, nineteen hundred and seventy-four",
        ),
        ("on March 12th, 1974", "March 12th, 1974"),
        ("Mar 12 '74", "Mar 12 '74"),
        ("12 mars 1974", "12 mars 1974"),
        ("12. MÄRZ 1974", "12. MÄRZ 1974"),
        ("12 de marzo de 1974", "12 de marzo de 1974"),
        ("12 марта 1974 г.", "12 марта 1974"),
        ("12 Μαρτίου 1974", "12 Μαρτίου 1974"),
        ("1974년 3월 12일", "1974년 3월 12"),
        ("12.3.1974", "12.3.1974"),
        ("03/12/1974", "03/12/1974"),
        ("1974 March 12", "1974 March 12"),
        ("12MAR1974", "12MAR1974"),
        ("84 thousand", "84 thousand"),
        ("84k a year", "84k"),
        ("84.5k a year", "84.5k"),
        ("eighty-four thousand dollars", "eighty-four thousand"),
        ("vierundachtzig? 84 Tausend Kronen", "84 Tausend"),
        ("USD84,000", "USD84,000"),
        ("twelve point five percent", "twelve point five"),
        ("twenty-four years", "twenty-four"),
    ],
)
def test_a_date_or_a_number_is_found_in_words_and_figures(text: str, span: str) -> None:
    assert span in spans(NUMERALS, text)


@pytest.mark.parametrize(
    "text",
    [
        "March 12",
        "in March 1974",
        "on 12 April 1974",
        "12 March 1975",
        "12 people march in 1974",
        "the thirteenth of March nineteen seventy-four",
        "84 hundred",
        "84m",
        "24k gold",
        "on the 24th",
        "eighty-four million",
        "five o'clock, twelve points",
    ],
)
def test_a_near_date_or_number_is_no_finding(text: str) -> None:
    assert spans(NUMERALS, text) == set()


@pytest.mark.parametrize(("reason", "parts"), [("length", [Part.PREFIX]), ("stop", [])])
def test_a_number_that_was_cut_short_is_reported_as_a_prefix(reason: str, parts: list[Part]) -> None:
    scan = DIGITS.open()
    scan.feed("It is 4111 1111 11")
    assert [each.part for each in scan.close(reason).findings] == parts  # type: ignore[arg-type]


def test_a_number_stretched_by_invisible_characters_stops_the_scan() -> None:
    scan = DIGITS.open()
    scan.feed("4111 1111")
    with pytest.raises(ScanError):
        scan.feed("\u200b" * (MAX_TAIL + 1))


def test_a_policy_without_numbers_reads_nothing() -> None:
    empty = policy()
    for runs in (Digits(empty), Numerals(empty)):
        assert runs.find("4111 1111 1111 1111 on 12 March 1974") == []
        assert runs.open().feed("four one") == Progress((), 8)


@pytest.mark.parametrize("text", ["double+46 (0)70-123 45 67", "triple 0701234567", "double+46705550142 "])
def test_a_word_that_repeats_a_digit_hides_no_number_that_comes_one_character_at_a_time(text: str) -> None:
    scan, found = DIGITS.open(), DIGITS.find(text)
    assert found
    progress = [*map(scan.feed, text), scan.close("stop")]
    assert {each.start for one in progress for each in one.findings} == {each.start for each in found}
