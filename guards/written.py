"""Every key under which a policy's names and values are looked for, gathered in one pass over the policy."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import ahocorasick

from guards.base import Finding, Part
from policies.policy import Fact, Policy
from policies.text import fold
from policies.values import parse, spaced_and_glued


@dataclass(frozen=True, slots=True)
class Entry:
    """What a key stands for."""

    part: Part
    target: int
    fact: int | None = None
    value: int | None = None
    strong: bool = False

    def finding(self, scan: str, start: int, end: int, via: tuple[str, ...] = ()) -> Finding:
        """Return the finding of this at `[start, end)`."""
        return Finding(
            self.target,
            scan,
            self.part,
            start,
            end,
            fact=self.fact,
            via=via,
            value=self.value,
            strong=self.strong,
        )


Entries = tuple[Entry, ...]
"""What one key stands for; shared by all keys that stand for the same alone."""


@dataclass(slots=True)
class Written:
    """The keys of each scan, with what they stand for."""

    literals: dict[str, Entries] = field(default_factory=dict)
    """Names and values as they are written, and without spaces."""
    spellings: dict[str, Entries] = field(default_factory=dict)
    """Values in their other writings, as folded words."""
    numerals: dict[str, Entries] = field(default_factory=dict)
    digits: dict[str, Entries] = field(default_factory=dict)

    @classmethod
    def of(cls, policy: Policy) -> Written:
        """Return the keys of a policy's names and values."""
        written = cls()
        collecting = gc.isenabled()
        gc.disable()  # millions of keys and no cycle among them: looking for one takes a third of the time
        try:
            written._gather(policy)
        finally:
            if collecting:
                gc.enable()
        return written

    def words(self) -> dict[str, Entries]:
        """Return all keys that are folded words, those of `literals` first."""
        words = dict(self.literals)
        for key, entries in self.spellings.items():
            known = words.setdefault(key, entries)
            if known is not entries:
                words[key] = known + tuple(entry for entry in entries if entry not in known)
        return words

    def _gather(self, policy: Policy) -> None:
        for index, target in enumerate(policy.targets):
            own = (Entry(Part.NAME, index),)
            for name in target.names:
                _add(self.literals, _name_forms(name), own)
            for place, fact in enumerate(target.facts):
                self._add_fact(index, place, fact)

    def _add_fact(self, index: int, place: int, fact: Fact) -> None:
        for at, value in enumerate(fact.values):
            parsed = parse(value)
            strong = parsed.strength(titled=fact.of_works) == "strong"
            own = (Entry(Part.VALUE, index, place, at, strong),)
            _add(self.literals, parsed.usual(), own)
            _add(self.spellings, parsed.others(fact.relation.name), own)
            if parsed.dates or parsed.number:
                _add(self.numerals, (f" {key} " for key in parsed.numerals()), own)
            if parsed.dates or parsed.bare:
                _add(self.digits, parsed.digits(), own)


def _add(keys: dict[str, Entries], new: Iterable[str], own: Entries) -> None:
    for key in new:
        known = keys.setdefault(key, own)
        if known[-1] is not own[0]:  # all keys of one value come one after the other
            keys[key] = known + own


def _name_forms(name: str) -> Iterator[str]:
    """Yield a name as it is written, with its last word first, and without spaces."""
    yield from spaced_and_glued(name)
    words = fold(name).text.split()
    if len(words) > 1:
        yield f" {words[-1]} {' '.join(words[:-1])} "


class Index:
    """Keys in one automaton, by Aho-Corasick (Aho and Corasick 1975): one pass whatever their number.
    Immutable."""

    def __init__(self, keys: Mapping[str, Entries]) -> None:
        self._entries = tuple(keys.values())
        self._lengths = array("I", map(len, keys))
        self.longest = max(self._lengths, default=0)
        self._automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        for index, key in enumerate(keys):
            self._automaton.add_word(key, index)
        self._automaton.make_automaton()

    def __bool__(self) -> bool:
        return bool(self._entries)

    def items(self, count: int) -> Iterator[tuple[str, Entries]]:
        """Yield those of the first `count` keys, with what they stand for, in the order of the alphabet."""
        for key, index in self._automaton.items():
            if index < count:
                yield key, self._entries[index]

    def matches(self, text: str) -> Iterator[tuple[int, int, Entries]]:
        """Yield (start, end, what it stands for) of every key in a text, in the order of their ends."""
        if self._entries:
            for last, index in self._automaton.iter(text):
                yield last + 1 - self._lengths[index], last + 1, self._entries[index]

    def begins(self, text: str, *, whole: bool = False) -> bool:
        """Return whether a text is the beginning of a key; `whole`: or is a key, though of no longer one."""
        if not self._automaton.match(text):
            return False
        return whole or not self._automaton.exists(text) or self._grows(text)

    def _grows(self, key: str) -> bool:
        return sum(1 for _ in islice(self._automaton.keys(key), 2)) > 1
