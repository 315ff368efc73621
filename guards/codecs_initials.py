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
from collections.abc import Mapping, Sequence
from itertools import accumulate, islice
from operator import mul

import ahocorasick

from guards.base import Finding
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
KINDS = {"lines": (1e-5, 2e-3), "sentences": (1e-5, 2e-3), "words": (1e-7, 1e-5)}
"""Kinds of initials, each with its RATE and HELD: how often chance may make up a literal, or a head, at one
initial, over all literals together."""

_STARTS = re.compile(r"[\n.!?…](?:(?<=\n)|[\"'”’)\]*_]{0,3}\s)[\W\d_]{0,40}([^\W\d_])")
_WAITING = re.compile(r"(?:\n|[.!?…][\"'”’)\]*_]{0,3}\s)[\W\d_]{0,40}\Z|[.!?…][\"'”’)\]*_]{0,3}\Z")


class Acrostics:
    """The literals that are long enough to be looked for in one kind of initials; immutable."""

    def __init__(
        self, literals: Mapping[str, tuple[Entry, ...]], chances: Mapping[str, list[float]], kind: str
    ) -> None:
        """`literals`: without spaces; `chances`: of each, how often chance makes up its first letters."""
        self.kind = kind
        rate, held = (share / max(len(literals), 1) for share in KINDS[kind])
        begun: dict[str, list[tuple[str, tuple[Entry, ...]]]] = {}
        self.max_letters = 0
        for glued, chance in chances.items():
            if chance[-1] <= rate:
                sizes = range(MIN_HEAD, len(glued))
                size = next((size for size in sizes if chance[size - 1] <= held), len(glued) - 1)
                begun.setdefault(glued[:size], []).append((glued, literals[glued]))
                self.max_letters = max(self.max_letters, len(glued))
        self._automaton = ahocorasick.Automaton()
        for head, some in begun.items():
            self._automaton.add_word(head, (len(head), tuple(some)))
        self._automaton.make_automaton()

    def look(self, initials: str) -> tuple[list[tuple[int, int, Entry]], int | None]:
        """Return (index of the head's last letter, index behind the end, what it is of) of what is found.

        And the index from which on a literal is live, if one is.
        """
        found: list[tuple[int, int, Entry]] = []
        live: int | None = None
        for last, (size, some) in self._automaton.iter(initials) if self.max_letters else ():
            start = last + 1 - size
            for glued, entries in some:
                if initials.startswith(glued, start):
                    found += [(last, start + len(glued), entry) for entry in entries]
                elif len(initials) - start < len(glued) and glued.startswith(initials[start:]):
                    live = last if live is None else min(live, last)
        return found, live


def acrostics(literals: Literals) -> dict[str, Acrostics]:
    """Return what is looked for in each kind of initials."""
    found = {literal.replace(" ", ""): entries for literal, entries in literals.items()}
    chances = {
        glued: list(accumulate(map(_FREQUENCY.__getitem__, glued), mul))
        for glued in found
        if MIN_LETTERS <= len(glued) <= MAX_LETTERS and glued.isascii() and glued.isalpha()
    }
    return {kind: Acrostics(found, chances, kind) for kind in KINDS}


_NOWHERE = sys.maxsize


def has_lines(text: str) -> bool:
    """Whether a whole text has as many lines or sentences as an acrostic needs."""
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
        found, live = known.look(row)
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
