"""Letters written one by one: spaced, a line each, Morse, the spelling alphabet.

Each code is read as runs of `Letter`s, each with its place.  The letters of a run are searched without spaces
(`Glued`), since nobody says where a word ends; a run is also read as text, for what is coded twice.

A literal needs `MIN_GLUED` letters here: with 26 letters alike, a given one of five stands by chance at one
place in 12 million of such a run, and ordinary text has hardly any run at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from guards.codecs_shapes import NATO, Shaped
from guards.codecs_tokens import MORSE_OPENS
from guards.heads import Heads, codes, heads_of
from guards.literal import Literals
from guards.written import Entry
from policies.text import Folded, fold

MIN_GLUED = 5
"""Letters that a literal must have to be looked for letter by letter."""
MIN_RUN = 4
"""A run of fewer letters is no text of its own."""

_MORSE = dict(
    zip(
        ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- "
        "-..- -.-- --.. "
        "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.- .--.- ---. ..-- ..-..".split(),
        [*"abcdefghijklmnopqrstuvwxyz0123456789", "ae", "a", "o", "u", "e"],
        strict=True,
    )
)
_MARKS = str.maketrans("·•∙⋅*–—−_", ".....----", "")
_MORSE_GROUP = re.compile(
    rf"(?<![^\s/|{MORSE_OPENS}])[.·•∙⋅*\-–—−_]{{1,13}}(?![^\s/|)\]}}<>\"'”’»›`~!?,:;…])"
)
_MORSE_GAP = re.compile(rf"[\s/|{MORSE_OPENS})\]}}”’»›!?,;…]{{1,8}}")
# One character of a script that puts spaces between words.
_ALONE = (
    r"[^ \u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_SINGLE = re.compile(rf"(?<= ){_ALONE}(?: {_ALONE})*(?= )")
_SPACED = re.compile(r"[^\W\d] [^\W\d] [^\W\d]")
_WORD_GAP = re.compile(r"\s*[/|]\s*|\s{2,}|\n")


class Letter(NamedTuple):
    """What one sign of a code says: mostly a letter, at times more than one or none."""

    shown: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Run:
    """Letters that stand one behind the other in one code."""

    via: str
    letters: Sequence[Letter]
    spoken: str
    """The letters with a space where the code has one."""
    open: bool
    """Whether the text may go on with another letter of the run."""
    whole: bool
    """Whether nothing else looks like it, so that the run is held back and edited as a whole."""
    gaps: frozenset[int] = frozenset()
    """Numbers of the letters before which the code has a space."""

    @property
    def start(self) -> int:
        return self.letters[0].start

    @property
    def end(self) -> int:
        return self.letters[-1].end


class Glued:
    """The literals without their spaces, forwards and backwards, for text that has no words; immutable."""

    def __init__(self, literals: Literals) -> None:
        self._literals = literals
        owners: list[int] = []
        shown: list[str] = []
        for place, literal in literals.items():
            glued = literal.replace(" ", "")
            if len(glued) >= MIN_GLUED:
                owners.append(place << 1)
                shown.append(glued)
                if glued != glued[::-1]:
                    owners.append(place << 1 | 1)
                    shown.append(glued[::-1])
        sizes = np.fromiter(map(len, shown), np.int64, len(shown))
        self.max_chars = int(sizes.max(initial=0))
        heads = heads_of(codes("".join(shown)).encode("latin-1"), np.cumsum(sizes) - sizes, sizes)
        order = np.argsort(heads, kind="stable")
        self._heads = Heads(heads[order])
        self._owners = np.array(owners, np.uint32)[order]

    def look(self, letters: str) -> tuple[list[tuple[int, int, Entry, tuple[str, ...]]], int | None]:
        """Return (start, end, what it is of, how it was turned) of every literal in a string of letters.

        And the first position from which on the letters may still become one.
        """
        if not len(self._heads):
            return [], None
        shown = codes(letters)
        found = dict.fromkeys(
            (start, start + len(glued), entry, via)
            for start, low, high in self._heads.hits(shown)
            for place, glued, via in map(self._glued, range(low, high))
            if letters.startswith(glued, start)
            for entry in self._literals.entries(place)
        )
        return list(found), self._live(letters, shown)

    def _live(self, letters: str, shown: str) -> int | None:
        """Return the first position from which on the letters are the beginning of a literal, not its end."""
        known, depth = self._heads.known, self._heads.depth
        for at in range(max(0, len(letters) - self.max_chars + 1), len(letters)):
            if known(shown[at : at + depth]) and self._heads.may_begin(shown[at:]):
                tail = letters[at:]
                for _, glued, _ in map(self._glued, range(*self._heads.begun(shown[at:]))):
                    if len(glued) > len(tail) and glued.startswith(tail):
                        return at
        return None

    def _glued(self, item: int) -> tuple[int, str, tuple[str, ...]]:
        """Return which literal an item is of, its letters as they stand, and how they were turned."""
        place, backwards = divmod(int(self._owners[item]), 2)
        glued = self._literals.literal(place).replace(" ", "")
        return (place, glued[::-1], ("reversed",)) if backwards else (place, glued, ())


def has_singles(folded: str) -> bool:
    """Whether three letters stand alone in a folded text."""
    return any(_SPACED.search(match.group()) for match in _SINGLE.finditer(folded))


def singles(text: str, folded: Folded, *, closed: bool) -> Iterator[Run]:
    """Yield the runs of letters that stand alone; the last one also where it is short and open."""
    shown = folded.text if folded.text[-1:] == " " else folded.text + " "
    for match in _SINGLE.finditer(shown):
        first = folded.word_at(match.start())
        signs = match.group().split(" ")
        spans = list(folded.spans[first : first + len(signs)])
        last_open = match.end() >= len(folded.text)
        if last_open and not closed and folded.text[-1:] != " ":
            signs, spans = signs[:-1], spans[:-1]
        before = text[max(0, spans[0][0] - 2) : spans[0][0]] if spans else ""
        if before[1:] in ("'", "’") and before[0].isalnum():
            signs, spans = signs[1:], spans[1:]  # what is left of "it's"
        if not signs:
            continue
        open_ = not closed and match.end() + 1 >= len(folded.text)
        letters = [Letter(sign, *span) for sign, span in zip(signs, spans, strict=True)]
        if open_ or _SPACED.search(" ".join(signs)):
            yield run_of("spaced letters", letters, text, open_=open_, whole=True)


def morse(text: str, *, closed: bool) -> Iterator[Run]:
    """Yield the runs of Morse groups; brackets, quotes and emphasis around them are no part of a group."""
    groups: list[tuple[int, int]] = []
    for match in _MORSE_GROUP.finditer(text):
        if groups and not _MORSE_GAP.fullmatch(text, groups[-1][1], match.start()):
            if len(groups) >= MIN_RUN:
                yield from _morse_run(text, groups, open_=False)
            groups = []
        groups.append(match.span())
    if groups:
        end = groups[-1][1]
        open_ = not closed and (end == len(text) or bool(_MORSE_GAP.fullmatch(text, end)))
        if len(groups) >= MIN_RUN or open_:
            yield from _morse_run(text, groups, open_=open_)


def _morse_run(text: str, groups: Sequence[tuple[int, int]], *, open_: bool) -> Iterator[Run]:
    """Yield what groups say that stand one behind the other."""
    shown = text[groups[0][0] : groups[-1][1]]
    # A star is a dot, and a low line a dash, only where no better sign is.
    emphasis = "*" * any(map(shown.__contains__, ".·•∙⋅")) + "_" * any(map(shown.__contains__, "-–—−"))
    letters: list[Letter] = []
    for start, end in groups:
        group = text[start:end].strip(emphasis) if emphasis else text[start:end]
        letters.append(Letter(_MORSE.get(group.translate(_MARKS), ""), start, end))
    yield run_of("Morse", letters, text, open_=open_, whole=True)
    last = text[groups[-1][0] : groups[-1][1]].strip(emphasis)
    if not open_ and len(last) > 1 and last[-1] == ".":
        # It may be the end of a sentence as well.
        ended = Letter(_MORSE.get(last[:-1].translate(_MARKS), ""), *groups[-1])
        yield run_of("Morse", [*letters[:-1], ended], text, open_=False, whole=True)


def spelled(text: str, folded: Folded, found: Sequence[Shaped], *, closed: bool) -> Iterator[Run]:
    """Yield the runs of words of the spelling alphabet; `found` are those that stand in the text."""
    letters: list[Letter] = []
    behind = -1
    for each in found:
        span = folded.span(each.start, each.end - 1)
        letter = Letter(NATO.get(each.form.shown.strip(), "x"), *span)
        if letters and each.start != behind:
            if len(letters) >= MIN_RUN:
                yield run_of("NATO letters", letters, text, open_=False, whole=True)
            letters = []
        letters.append(letter)
        behind = each.end - 1
    if letters:
        open_ = not closed and " " not in folded.text[behind + 1 :]
        if len(letters) >= MIN_RUN or open_:
            yield run_of("NATO letters", letters, text, open_=open_, whole=True)


def run_of(via: str, letters: Sequence[Letter], text: str, *, open_: bool, whole: bool) -> Run:
    """Return letters of a text as a run, with spaces where the gaps between them are wide in that code."""
    spaced = via in ("spaced letters", "Morse", "numbers of letters", "braille")
    spoken = [letters[0].shown]
    gaps: set[int] = set()
    for number, (before, letter) in enumerate(zip(letters, letters[1:], strict=False), 1):
        gap = text[before.end : letter.start]
        if spaced and (
            _WORD_GAP.search(gap) if via != "spaced letters" else len(gap.strip(".,-_ ")) or "  " in gap
        ):
            spoken.append(" ")
            gaps.add(number)
        spoken.append(letter.shown)
    return Run(via, letters, "".join(spoken), open_, whole, frozenset(gaps))


def cuts_number(run: Run, glued: str, numbers: Sequence[int], start: int, end: int) -> bool:
    """Whether `glued[start:end]` begins or ends within a longer number: '8 May' is not in '28 May'.

    glued, numbers: as `glue` returned them for the run.
    """
    return any(
        0 < at < len(glued)
        and glued[at - 1].isdecimal()
        and glued[at].isdecimal()
        # No letter without a sign lies between them, such as a space that the code has.
        and numbers[at] - numbers[at - 1] <= 1
        and numbers[at] not in run.gaps
        for at in (start, end)
    )


def glue(run: Run) -> tuple[str, list[int]]:
    """Return the folded letters of a run and, for each, which of its letters it comes from."""
    pieces: list[str] = []
    numbers: list[int] = []
    for number, letter in enumerate(run.letters):
        piece = letter.shown if letter.shown in _PLAIN else fold(letter.shown).text.replace(" ", "")
        pieces.append(piece)
        numbers.extend([number] * len(piece))
    return "".join(pieces), numbers


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
