"""Every scan over a stream: cut-invariant, withholding, bounded; and each property kills its mutant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from guards.base import Close, Finding, Part, Progress, ScanError
from guards.literal import Literals, LiteralScan
from guards.pattern import Patterns, PatternScan, _Compiled, luhn
from policies.policy import Pattern
from policies.text import MAX_GAP
from tests.guarding import policy, target
from tests.properties import Opener, check_bounded, check_cut_invariant, check_withholding

NAMES = policy(
    target("a", names=["Odalys Vennaker"], facts=[("born in", ["Port Meridane", "Port", "Hafen Ü"])]),
    target("b", names=["Privet Drive", "Vet", "Privet Drive Nine"]),
    target("c", names=["王小明", "Łukasz"]),
)
CARDS = policy(
    target("card", "pattern", pattern=Pattern(r"\b(?:\d[ -]?){13,19}\b", 0, 38, 1, "luhn")),
    target("id", "pattern", pattern=Pattern(r"(?<=id: )[A-Z]{2,4}\d{3}", 0, 7, 4)),
    target("ab", "pattern", pattern=Pattern(r"ab|abcd", 0, 4, 0)),
    target("late", "pattern", pattern=Pattern(r"x[ab]{0,6}y|b", 0, 8, 0)),
    target("inner", "pattern", pattern=Pattern(r"key: \b\d{4}\b", 0, 9, 0)),
    target("edge", "pattern", pattern=Pattern(r"no-\d{4}\B", 0, 7, 0)),
    target("ahead", "pattern", pattern=Pattern(r"a\B\d{2}(?=\w\d)", 0, 4, 0)),
)
LITERALS, PATTERNS = Literals(NAMES), Patterns(CARDS)

NAME_TEXTS = [
    "Odalys Vennaker", "ODALYS-VENNAKÉR", "OdalysVennaker", "Port Meridane", "Port", "Hafen U\u0308", "privet  drive",
    "**O**dalys <br> Vennaker", "Oda-lys", "[Odalys](x)", "<b>V", "</b>", "ennaker", "Odalys J. ", "Odalys Marie Vennaker",
    "First name: Odalys. Last name: Vennaker", "Port&nbsp;Meri\\dane", "<p title='", "](", "Ven", "Privet Drive Nine", "vet", "王小明", "łukasz", "Odal\u200bys\nVennaker", "Odalys" + " " * (MAX_GAP + 1) + "Vennaker",
]  # fmt: skip
CARD_TEXTS = ["4111 1111 1111 1111", "4111-1111-1111-1111 5", "４１１１１１１１１１１１１１１１", "id: ABC123", "id: ", "AB12", "abcd", "xaby", "xab", "b", "key: 1234", "no-12345", "a1234"]  # fmt: skip

SCANS: list[tuple[str, Opener, Sequence[str], int]] = [
    # Separators of a literal are not counted in its length: MAX_GAP between two words is what they may be.
    ("literal", LITERALS.open, NAME_TEXTS, 2 * LITERALS.max_chars + 3 * MAX_GAP),
    ("pattern", PATTERNS.open, CARD_TEXTS, PATTERNS.max_chars + 3),
]
scans = pytest.mark.parametrize(("open_scan", "fragments", "bound"), [scan[1:] for scan in SCANS], ids=["literal", "pattern"])  # fmt: skip


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


class _Forgetful(LiteralScan):
    """Looks at each piece by itself."""

    def feed(self, text: str) -> Progress:
        self._tail = ""
        return super().feed(text)


class _Eager(LiteralScan):
    """Calls everything safe that it has seen."""

    def feed(self, text: str) -> Progress:
        progress = super().feed(text)
        return Progress(progress.findings, self._base + len(self._tail))


class _Hoarder(LiteralScan):
    """Calls nothing safe before the end."""

    def feed(self, text: str) -> Progress:
        return Progress(super().feed(text).findings, 0)


class _Final(PatternScan):
    """Takes a match for final that may still grow."""

    def _final(self, *_: object) -> bool:
        return True


class _Blind(PatternScan):
    """Does not see the beginning of a match at the end of the text."""

    def _next(self, compiled: _Compiled, at: int, closed: bool) -> int | None:
        match = compiled.compiled.search(self._text, at)
        return match.start() if match else None


class _Headless(PatternScan):
    """Tries only what begins in the last piece of text: what began before is forgotten."""

    def _advance(self, fresh: int, begun: set[int], *, closed: bool) -> Progress:
        self._live.clear()
        return super()._advance(fresh, begun, closed=closed)


class _Hasty(PatternScan):
    """Calls everything safe that it has seen."""

    def feed(self, text: str) -> Progress:
        return Progress(super().feed(text).findings, self._length)


@pytest.mark.parametrize(
    ("check", "mutant", "fragments"),
    [
        (check_cut_invariant, lambda: _Forgetful(LITERALS), NAME_TEXTS),
        (check_withholding, lambda: _Eager(LITERALS), NAME_TEXTS),
        (check_cut_invariant, lambda: _Final(PATTERNS), CARD_TEXTS),
        (check_cut_invariant, lambda: _Blind(PATTERNS), CARD_TEXTS),
        (check_cut_invariant, lambda: _Headless(PATTERNS), CARD_TEXTS),
        (check_withholding, lambda: _Hasty(PATTERNS), CARD_TEXTS),
    ],
)
def test_each_property_kills_its_mutant(
    check: Callable[..., None], mutant: Opener, fragments: Sequence[str]
) -> None:
    with pytest.raises(AssertionError):
        check(mutant, fragments, mutant=True)


def test_the_bound_kills_a_scan_that_holds_everything() -> None:
    with pytest.raises(AssertionError):
        check_bounded(lambda: _Hoarder(LITERALS), NAME_TEXTS, SCANS[0][3], mutant=True)


def found(text: str, compiled: Literals | Patterns = LITERALS) -> list[str]:
    return [text[finding.start : finding.end] for finding in compiled.find(text)]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("by Odalys Vennaker.", ["Odalys Vennaker"]),
        ("by ODALYS  Vennakér's", ["ODALYS  Vennakér"]),
        ("by Od\u200balys\u00a0Vennaker", ["Od\u200balys\u00a0Vennaker"]),
        ("by Ｏdalys Vennaker", ["Ｏdalys Vennaker"]),
        ("by Оdаlуs Vennaker", ["Оdаlуs Vennaker"]),
        ("by odalysvennaker@x", ["odalysvennaker"]),
        ("Odalys. Vennaker", ["Odalys. Vennaker"]),
        ("in Port-Meridane", ["Port", "Port-Meridane"]),
        ("Lukasz", ["Lukasz"]),
        ("我叫王小明。", ["王小明"]),
        ("Odalys Vennakers", []),
        ("transport", []),
        ("Odalys " + "-" * (MAX_GAP + 1) + " Vennaker", []),
        ("Odalys" + " \u200b" * 40 + "Vennaker", ["Odalys" + " \u200b" * 40 + "Vennaker"]),
        ("Oda\x01lys Vennaker\u00b9", ["Oda\x01lys Vennaker"]),
        ("ᴏᴅᴀʟʏs Vennaker는", ["ᴏᴅᴀʟʏs Vennaker"]),
        ("in PortMeridane", ["PortMeridane"]),
    ],
)
def test_names_and_values_are_found_as_whole_words_in_any_guise(text: str, spans: list[str]) -> None:
    assert found(text) == spans


@pytest.mark.parametrize(
    ("digits", "passes"),
    [("4111 1111 1111 1111", True), ("4111111111111112", False), ("0", False), ("79927398713", True)],
)
def test_luhn_is_the_check_of_card_numbers(digits: str, passes: bool) -> None:
    assert luhn(digits) is passes


def test_a_match_that_fails_its_check_is_no_finding() -> None:
    assert found("4111 1111 1111 1111, and 4111 1111 1111 1112", PATTERNS) == ["4111 1111 1111 1111"]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111 12/27",
        "1 4111 1111 1111 1111",
        "4111 1111 1111 1111 123",
        "\ufe0f".join("4111111111111111"),
    ],
)
def test_digits_beside_a_card_number_do_not_hide_it(text: str) -> None:
    (span,) = found(text, PATTERNS)
    assert span.replace("\ufe0f", "").replace(" ", "") == "4111111111111111"


def test_a_card_number_within_a_longer_number_is_none() -> None:
    assert found("99411111111111111177", PATTERNS) == []


@pytest.mark.parametrize(("reason", "parts"), [("length", [Part.PREFIX]), ("stop", [])])
def test_a_literal_that_was_cut_short_is_reported_as_a_prefix(reason: Close, parts: list[Part]) -> None:
    scan = LITERALS.open()
    scan.feed("It is Odalys Venn")
    assert [finding.part for finding in scan.close(reason).findings] == parts


def test_a_cut_answer_without_a_live_literal_has_no_prefix() -> None:
    scan = LITERALS.open()
    scan.feed("It is a")
    assert scan.close("length") == Progress([], 7)


def test_a_literal_stretched_by_invisible_characters_stops_the_scan() -> None:
    scan = LITERALS.open()
    scan.feed("Odalys")
    with pytest.raises(ScanError):
        scan.feed("\u200b" * 20_000)


def test_a_word_longer_than_any_literal_is_not_kept() -> None:
    scan = LITERALS.open()
    fed = 0
    for _ in range(200):
        fed += 50
        assert scan.feed("z" * 50).safe_to == fed
    assert len(scan._tail) < 1_000
    # what follows the long word directly is still inside it
    assert scan.feed("Port Meridane.").findings == []
    (finding,) = [f for f in scan.feed(" Port Meridane. ").findings if f.end - f.start > 4]
    assert finding == Finding(0, "literal", Part.VALUE, fed + 15, fed + 28, 0, value=0)


def test_a_word_longer_than_any_literal_is_none_in_one_piece_as_in_many() -> None:
    scan = LITERALS.open()
    assert scan.feed("z" * 100_000).safe_to == 100_000
    assert len(scan._tail) == 1


def test_a_policy_without_literals_or_patterns_finds_nothing() -> None:
    empty = policy()
    assert Literals(empty).find("Odalys Vennaker") == []
    assert Literals(empty).open().feed("Odalys") == Progress([], 6)
    assert Patterns(empty).find("4111 1111 1111 1111") == []
