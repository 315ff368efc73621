"""The properties that every scan must have, as checks that take the scan as their argument.

A check is run on the real thing by a test, and on a mutant by another, which it must fail: a property that no
mutant breaks says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from guards.base import Finding, Scan

EXAMPLES = 1_000
_MUTANT_EXAMPLES = 1_500

Opener = Callable[[], Scan]
Key = tuple[int, str, int, int, int | None]


def texts(fragments: Sequence[str]) -> st.SearchStrategy[str]:
    """Texts of which most hold fragments that matter: whole, cut, glued, and between other words."""
    cut = st.sampled_from(fragments).flatmap(
        lambda whole: st.integers(1, len(whole)).map(lambda size: whole[:size])
    )
    filler = st.sampled_from(
        [
            " ",
            ". ",
            "\n",
            ", ",
            "-",
            "a",
            " the ",
            "x",
            "é",
            "e\u0301",
            "\u200b",
            "。",
            "1",
            " 5 ",
            "…",
            "! ",
            "I ",
        ]
    )
    piece = st.one_of(st.sampled_from(fragments), st.sampled_from(fragments), cut, filler, filler)
    return st.lists(piece, max_size=14).map("".join)


def cuts(text: str, at: Sequence[int]) -> list[str]:
    """Return `text` in pieces, cut at the given positions modulo its length."""
    places = sorted({position % (len(text) + 1) for position in at} | {0, len(text)})
    return [text[start:end] for start, end in zip(places, places[1:], strict=False)]


def key(finding: Finding) -> Key:
    return finding.target, finding.part.value, finding.start, finding.end, finding.fact


def run(
    scan: Scan, pieces: Sequence[str], last: str = ""
) -> tuple[set[Key], list[tuple[int, int, set[Key]]]]:
    """Return all findings, and for each piece (length fed, safe_to, findings so far).

    last: what is left for the end, which may take a piece with it.
    """
    found: set[Key] = set()
    steps = []
    length = 0
    for piece in pieces:
        progress = scan.feed(piece)
        found |= {key(finding) for finding in progress.findings}
        length += len(piece)
        steps.append((length, progress.safe_to, set(found)))
    progress = scan.close("stop", last)
    found |= {key(finding) for finding in progress.findings}
    assert progress.safe_to == length + len(last)
    return found, steps


def quickly(test: Callable[..., None], *, mutant: bool = False) -> Callable[..., None]:
    """Give a property its number of examples; for a mutant it stops at the first failure, unshrunk."""
    return settings(
        max_examples=_MUTANT_EXAMPLES if mutant else EXAMPLES,
        deadline=None,
        phases=[Phase.generate] if mutant else list(Phase),
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
    )(test)


def check_cut_invariant(
    open_scan: Opener, fragments: Sequence[str], *, mutant: bool = False, by_place: bool = False
) -> None:
    """However a text is cut, the findings are those of the whole; at least a tenth of the examples hold one.

    by_place: it is enough that they cover the same characters, where one stretch can be read in several ways.
    """
    hits = [0, 0]

    @given(texts(fragments), st.lists(st.integers(0, 200), max_size=12))
    def test(text: str, at: list[int]) -> None:
        whole, _ = run(open_scan(), [text])
        hits[0] += bool(whole)
        hits[1] += 1
        pieces = cuts(text, at)
        for shown, last in ((pieces, ""), (list(text), ""), (pieces[:-1], "".join(pieces[-1:])), ([], text)):
            found, _ = run(open_scan(), shown, last)
            assert _places(found) == _places(whole) if by_place else found == whole

    quickly(test, mutant=mutant)()
    assert hits[0] >= 0.1 * hits[1]


def _places(findings: Iterable[Key]) -> set[tuple[int, str, int]]:
    """Return each target with each character that it is found in."""
    return {(each[0], each[1], at) for each in findings for at in range(each[2], each[3])}


def check_withholding(open_scan: Opener, fragments: Sequence[str], *, mutant: bool = False) -> None:
    """What is called safe is never part of a finding that comes later."""

    @given(texts(fragments), st.lists(st.integers(0, 200), max_size=12))
    def test(text: str, at: list[int]) -> None:
        whole, steps = run(open_scan(), cuts(text, at))
        frontier = 0
        for length, safe_to, so_far in steps:
            assert frontier <= safe_to <= length, "the frontier went back, or beyond the text"
            frontier = safe_to
            for finding in whole - so_far:
                assert finding[2] >= safe_to, "text that was called safe became part of a finding"

    quickly(test, mutant=mutant)()


def check_bounded(open_scan: Opener, fragments: Sequence[str], bound: int, *, mutant: bool = False) -> None:
    """Never more is held back than the bound that the policy computes."""

    @given(texts(fragments), st.lists(st.integers(0, 200), max_size=12))
    def test(text: str, at: list[int]) -> None:
        for length, safe_to, _ in run(open_scan(), cuts(text, at))[1]:
            assert length - safe_to <= bound

    quickly(test, mutant=mutant)()
