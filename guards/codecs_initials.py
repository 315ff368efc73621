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
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import ahocorasick

from guards.literal import Entry, Literals

MIN_LETTERS = 5
MIN_HEAD = 4
MAX_LETTERS = 40
"""Longer literals are not looked for: nobody reads an acrostic of more lines."""
MAX_STEP = 600
"""Code points between two initials of one name, at most."""
_FREQUENCY = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        (.117, .045, .052, .032, .028, .04, .02, .055, .073, .01, .01, .027, .044, .024, .063, .043, .01, .028,
         .078, .167, .015, .01, .067, .01, .016, .01),
        strict=True,
    )
)  # fmt: skip
"""Share of English words that begin with each letter; none is taken for rarer than 1 %."""
KINDS = {"lines": (1e-5, 2e-3), "sentences": (1e-5, 2e-3), "words": (1e-7, 1e-5)}
"""Kinds of initials, each with its RATE and HELD: how often chance may make up a literal, or a head, at one
initial, over all literals together."""
_START = re.compile(r"(?:\n|(?<=[.!?…])[\"'”’)\]*_]{0,3}\s)[\W\d_]{0,40}([^\W\d_])")
_UNDECIDED = re.compile(r"(?:\n|[.!?…][\"'”’)\]*_]{0,3}(?:\s|\Z))[\W\d_]{0,40}\Z|[.!?…][\"'”’)\]*_]{0,3}\Z")


@dataclass(frozen=True, slots=True)
class _Known:
    """What a string of initials is: literals that are complete, and whether it is a head."""

    entries: tuple[Entry, ...]
    head: bool
    length: int


class Acrostics:
    """The literals that are long enough to be looked for in one kind of initials; immutable."""

    def __init__(self, literals: Literals, kind: str) -> None:
        self.kind = kind
        rate, held = KINDS[kind]
        found = {literal.replace(" ", ""): entries for literal, entries in literals.items()}
        count = max(len(found), 1)
        entries: dict[str, tuple[Entry, ...]] = {}
        self._heads: dict[str, int] = {}
        """How long the head of each literal is."""
        for glued, each in found.items():
            if not MIN_LETTERS <= len(glued) <= MAX_LETTERS or not set(glued) <= _FREQUENCY.keys():
                continue
            if _chance(glued) * count <= rate:
                entries[glued] = each
                sizes = range(MIN_HEAD, len(glued))
                self._heads[glued] = next((k for k in sizes if _chance(glued[:k]) * count <= held), len(glued) - 1)
        heads = {glued[:size] for glued, size in self._heads.items()}
        self._automaton = ahocorasick.Automaton()
        for key in entries.keys() | heads:
            self._automaton.add_word(key, _Known(entries.get(key, ()), key in heads, len(key)))
        self._automaton.make_automaton()
        self.max_letters = max(map(len, entries), default=0)

    def look(self, initials: str) -> tuple[list[tuple[int, int, Entry]], int | None]:
        """Return (index of the head's last letter, index behind the end, what it is of) of what is found.

        And the index from which on a literal is live, if one is.
        """
        found: list[tuple[int, int, Entry]] = []
        begun: list[tuple[int, int]] = []
        if not self.max_letters:
            return found, None
        for last, known in self._automaton.iter(initials):
            start = last + 1 - known.length
            if known.head and len(initials) - start < self.max_letters:
                begun.append((start, last))
            if known.entries:
                size = self._heads[initials[start : last + 1]]
                found += [(start + size - 1, last + 1, entry) for entry in known.entries]
        live = [last for start, last in begun if self._goes_on(initials[start:])]
        return found, min(live, default=None)

    def _goes_on(self, initials: str) -> bool:
        return self._automaton.match(initials) and any(
            len(key) > len(initials) for key in _some(self._automaton.keys(initials))
        )


def _some(keys: Iterator[str]) -> Iterator[str]:
    for _, key in zip(range(2), keys, strict=False):
        yield key


def _chance(letters: str) -> float:
    return prod(_FREQUENCY[letter] for letter in letters)
