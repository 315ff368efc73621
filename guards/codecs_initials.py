"""Names hidden in first letters: of lines, of sentences, of words.

Any text has first letters, so chance matters here: a literal is looked for only where all literals together
are expected less than `RATE` times an initial, by the frequencies of first letters in English.  The more
literals a policy has, and the more initials a text has, the longer a literal must be.

What lies before a literal's *head* has left before anyone could know: a finding begins at the last letter of
the head, and the text is held back from there.  Heads are chosen as the shortest beginnings that chance hits
less than `HELD` times an initial, at least `MIN_HEAD` letters.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from guards.base import Finding
from guards.heads import Heads, codes, heads_of, shortened
from guards.literal import Literals
from guards.written import Entry
from policies.text import fold

MIN_LETTERS = 5
MIN_HEAD = 4
MAX_LETTERS = 40
"""Longer literals are not looked for: nobody reads an acrostic of more lines."""
MAX_STEP = 600
"""Code points between two initials of one name, at most."""
_FREQUENCY = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        (.117, .045, .052, .032, .028, .04, .02, .055, .073, .01, .01, .027, .044,
         .024, .063, .043, .01, .028, .078, .167, .015, .01, .067, .01, .016, .01),
        strict=True,
    )
)  # fmt: skip
"""Share of English words that begin with each letter; none is taken for rarer than 1 %."""
_SHARES = np.ones(256)
for _letter, _share in _FREQUENCY.items():
    _SHARES[ord(_letter)] = _share
_AT_ONCE = 20_000
"""Literals whose chances are worked out together."""
KINDS = {"lines": (1e-5, 2e-3), "sentences": (1e-5, 2e-3), "words": (1e-7, 1e-5)}
"""Kinds of initials, each with its RATE and HELD: how often chance may make up a literal, or a head, at one
initial, over all literals together."""

_ENDS = "\n.!?…"
_STARTS = re.compile(r"[\n.!?…](?:(?<=\n)|[\"'”’)\]*_]{0,3}\s)[\W\d_]{0,40}([^\W\d_])")
_WAITING = re.compile(r"(?:\n|[.!?…][\"'”’)\]*_]{0,3}\s)[\W\d_]{0,40}\Z|[.!?…][\"'”’)\]*_]{0,3}\Z")


class Acrostics:
    """The literals that are long enough to be looked for in one kind of initials; immutable."""

    def __init__(self, literals: Literals, known: _Known, kind: str) -> None:
        self.kind = kind
        self._literals = literals
        rate, held = (share / max(known.count, 1) for share in KINDS[kind])
        chosen = np.flatnonzero(known.whole <= rate)
        self.max_letters = int(known.lengths[chosen].max(initial=0))
        sizes = known.sizes_of_heads(chosen, held)
        numbers = shortened(known.heads[chosen], sizes)
        order = np.argsort(numbers, kind="stable")
        self._heads = Heads(numbers[order])
        self._sizes = sizes[order].astype(np.uint8)
        self._places = known.places[chosen][order]

    def look(self, initials: str) -> tuple[list[tuple[int, int, Entry]], int | None]:
        """Return (index of the head's last letter, index behind the end, what it is of) of what is found.

        And the index from which on a literal is live, if one is.
        """
        found: list[tuple[int, int, Entry]] = []
        live: int | None = None
        shown = initials if initials.isascii() else codes(initials)
        for start, low, high in self._heads.hits(shown) if self.max_letters else ():
            for item in range(low, high):
                place = int(self._places[item])
                glued = self._literals.literal(place).replace(" ", "")
                last = start + int(self._sizes[item]) - 1
                if initials.startswith(glued, start):
                    entries = self._literals.entries(place)
                    found += [(last, start + len(glued), entry) for entry in entries]
                elif last < len(initials) < start + len(glued) and glued.startswith(initials[start:]):
                    live = last if live is None else min(live, last)
        found.sort(key=lambda each: each[0])
        return found, live


class _Known:
    """The literals that may be acrostics, without spaces, and how often chance makes up their letters."""

    def __init__(self, literals: Literals) -> None:
        # Of two that are alike without their spaces the last one counts, which is the one that has none.
        glued = {literal.replace(" ", ""): place for place, literal in literals.items()}
        self.count = len(glued)
        fit = [
            (each, place)
            for each, place in glued.items()
            if MIN_LETTERS <= len(each) <= MAX_LETTERS and each.isascii() and each.isalpha()
        ]
        self.places = np.array([place for _, place in fit], np.uint32)
        self.lengths = np.array([len(each) for each, _ in fit], np.int64)
        self._ends = np.cumsum(self.lengths)
        self._letters = np.frombuffer("".join(each for each, _ in fit).encode("ascii"), np.uint8)
        self.heads = heads_of(self._letters.tobytes(), self._ends - self.lengths, self.lengths)
        every = np.arange(len(fit))
        last = self.lengths - 1
        whole = [self._chances(rows)[np.arange(len(rows)), last[rows]] for rows in _in_parts(every)]
        self.whole: NDArray[np.float64] = np.concatenate([np.zeros(0), *whole])
        """How often chance makes up all letters of each."""

    def sizes_of_heads(self, chosen: NDArray[np.intp], held: float) -> NDArray[np.int64]:
        """Return the letters of the heads of those that are chosen, which chance hits less often than
        `held`."""
        sizes = [np.zeros(0, np.int64)]
        for rows in _in_parts(chosen):
            rare = self._chances(rows)[:, MIN_HEAD - 1 :] <= held
            first = np.where(rare.any(axis=1), rare.argmax(axis=1) + MIN_HEAD, MAX_LETTERS)
            sizes.append(np.minimum(first, self.lengths[rows] - 1))
        return np.concatenate(sizes)

    def _chances(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return [rows, MAX_LETTERS]: how often chance makes up so many letters of each."""
        columns = np.arange(MAX_LETTERS)
        at = (self._ends - self.lengths)[rows, None] + columns
        shares = _SHARES[self._letters[np.minimum(at, len(self._letters) - 1)]]
        chances: NDArray[np.float64] = np.where(columns < self.lengths[rows, None], shares, 1.0)
        return chances.cumprod(axis=1, dtype=np.float64)


def _in_parts(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Yield rows, so many at once that what is worked out for them is not large."""
    for at in range(0, len(rows), _AT_ONCE):
        yield rows[at : at + _AT_ONCE]


def acrostics(literals: Literals) -> dict[str, Acrostics]:
    """Return what is looked for in each kind of initials."""
    known = _Known(literals)
    return {kind: Acrostics(literals, known, kind) for kind in KINDS}


_NOWHERE = sys.maxsize


def has_lines(text: str) -> bool:
    """Whether a whole text has as many lines or sentences as an acrostic needs."""
    if sum(map(text.count, _ENDS)) < MIN_LETTERS - 1:
        return False
    return sum(1 for _ in islice(_STARTS.finditer("\n" + text), MIN_LETTERS)) == MIN_LETTERS


class Firsts:
    """The first letters of lines and of sentences, as they come."""

    def __init__(self, acrostics: Mapping[str, Acrostics]) -> None:
        self._acrostics = [acrostics["lines"], acrostics["sentences"]]
        self._pending = "\n"
        """What stands behind the last end of a line or sentence, where no letter has come yet."""
        self._length = 0
        self._rows = ["", ""]
        self._places: list[list[int]] = [[], []]
        self._live = [_NOWHERE, _NOWHERE]

    def feed(self, text: str) -> tuple[list[Finding], int]:
        """Take more text; return what is found and where the frontier is."""
        findings: list[Finding] = []
        base = self._length - len(self._pending)
        shown = self._pending + text
        self._length += len(text)
        found = [(match.start(1), "\n" in match.group()) for match in _STARTS.finditer(shown)]
        waiting = _WAITING.search(shown, max(0, len(shown) - 64))
        self._pending = shown[waiting.start() :] if waiting else ""
        for number, known in enumerate(self._acrostics):
            at = [place for place, line in found if line or number]
            if at and known.max_letters:
                findings += self._extend(
                    number, known, [shown[place] for place in at], [base + each for each in at]
                )
        return findings, min(self._length, *self._live)

    def _extend(
        self, number: int, known: Acrostics, letters: Sequence[str], places: Sequence[int]
    ) -> Sequence[Finding]:
        row, before = self._rows[number], self._places[number]
        length = len(row)
        for letter, place in zip(letters, places, strict=True):
            if before and place - before[-1] > MAX_STEP:
                row += "."
                before.append(place)
            row += letter.lower() if letter.isascii() else fold(letter).text.strip()[:1] or "."
            before.append(place)
        # The first line of a text is one initial: nothing begins with so few.
        found, live = known.look(row) if len(row) >= MIN_HEAD else ([], None)
        self._live[number] = _NOWHERE if live is None else before[live]
        via = (f"acrostic of {known.kind}",)
        findings = [
            entry.finding("codec", before[head], before[end - 1] + 1, via)
            for head, end, entry in found
            if end > length
        ]
        keep = len(row) - known.max_letters
        if keep > 0:
            row = row[keep:]
            del before[:keep]
        self._rows[number] = row
        return findings
