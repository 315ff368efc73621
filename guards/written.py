"""Every key under which a policy's names and values are looked for, gathered in one pass over the policy."""

from __future__ import annotations

import gc
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from os.path import commonprefix
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from guards.base import Finding, Part
from guards.heads import WIDTH, Heads, heads_of
from policies.policy import Fact, Policy
from policies.text import fold
from policies.values import parse, spaced_and_glued

_REMEMBERED = 16_384
"""Values of which the writings are remembered, by the process that compiles."""


class Entry(NamedTuple):
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
            forms = _forms(value, fact.relation.name, fact.of_works)
            own = (Entry(Part.VALUE, index, place, at, forms.strong),)
            _add(self.literals, forms.usual, own)
            _add(self.spellings, forms.others, own)
            _add(self.numerals, forms.numerals, own)
            _add(self.digits, forms.digits, own)


class _Forms(NamedTuple):
    """The keys of one value."""

    strong: bool
    usual: tuple[str, ...]
    others: tuple[str, ...]
    numerals: tuple[str, ...] = ()
    digits: tuple[str, ...] = ()


# Who saves a policy again has changed one target of a thousand.
@lru_cache(maxsize=_REMEMBERED)
def _forms(value: str, relation: str, of_works: bool) -> _Forms:
    parsed = parse(value)
    return _Forms(
        parsed.strength(titled=of_works) == "strong",
        tuple(parsed.usual()),
        tuple(parsed.others(relation)),
        tuple(f" {key} " for key in parsed.numerals()) if parsed.dates or parsed.number else (),
        tuple(parsed.digits()) if parsed.dates or parsed.bare else (),
    )


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
    """Keys in ascending order, found by their heads: one pass whatever their number.  Immutable.

    The keys stand in one array of bytes, in UTF-8, and what they stand for in others; nothing is an object
    before it is found.
    """

    def __init__(self, keys: Mapping[str, Entries]) -> None:
        shown = [key.encode("utf-8", "surrogatepass") for key in keys]
        order = sorted(range(len(shown)), key=shown.__getitem__)
        self.longest = max(map(len, keys), default=0)
        self._order = np.array(order, np.uint32)
        """Of each key, by its place, the how manieth it was that was given."""
        ascending = [shown[at] for at in order]
        sizes = np.fromiter(map(len, ascending), np.int64, len(ascending))
        self._longest_bytes = int(sizes.max(initial=0))
        self._ends = np.append(0, np.cumsum(sizes)).astype(np.uint32)
        text = b"".join(ascending)
        self._text = np.frombuffer(text, np.uint8)
        self._heads = Heads(heads_of(text, self._ends[:-1], sizes))
        self._standing = _Standing(list(keys.values()), order)
        self._see()

    def _see(self) -> None:
        self._bytes, self._at = self._text.data, self._ends.data

    def __getstate__(self) -> dict[str, Any]:
        return {name: of for name, of in self.__dict__.items() if name not in ("_bytes", "_at")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._see()

    def __len__(self) -> int:
        return len(self._heads)

    def places(self, count: int) -> NDArray[np.intp]:
        """Return the places of those that were the first `count` keys to be given."""
        return np.flatnonzero(self._order < count)

    def key(self, place: int) -> str:
        """Return the key at a place."""
        return str(self._bytes[self._at[place] : self._at[place + 1]], "utf-8", "surrogatepass")

    def entries(self, place: int) -> Entries:
        """Return what the key at a place stands for."""
        return self._standing.entries(place)

    def _shown(self, place: int) -> str:
        """Return a key as a text is searched for it: its bytes in UTF-8, one character each."""
        return str(self._bytes[self._at[place] : self._at[place + 1]], "latin-1")

    def matches(self, text: str) -> Iterator[tuple[int, int, Entries]]:
        """Yield (start, end, what it stands for) of every key in a text, in the order of their ends."""
        if not len(self):
            return
        shown = text if text.isascii() else _as_bytes(text)
        found = [
            (start + self._at[place + 1] - self._at[place], start, place)
            for start, low, high in self._heads.hits(shown)
            for place in self._at_start(shown, start, low, high)
        ]
        if not found:
            return
        found.sort()
        before = None if shown is text else _characters_before(shown)
        for end, start, place in found:
            if before is not None:
                start, end = int(before[start]), int(before[end])
            yield start, end, self._standing.entries(place)

    def _at_start(self, shown: str, start: int, low: int, high: int) -> Iterator[int]:
        """Yield which of the keys `[low, high)` a text has at `start`."""
        if high - low <= _FEW:
            yield from (place for place in range(low, high) if shown.startswith(self._shown(place), start))
            return
        text = shown[start : start + self._longest_bytes]
        while (count := bisect_right(range(low, high), text, key=self._shown)) > 0:
            high = low + count - 1
            key = self._shown(high)
            if text.startswith(key):
                yield high
            else:
                # A key that the text begins with and that comes before this one is a part of both.
                text = commonprefix((text, key))

    def begins(self, text: str, *, whole: bool = False) -> bool:
        """Return whether a text is the beginning of a key; `whole`: or is a key, though of no longer one."""
        shown = text if text.isascii() else _as_bytes(text)
        if not self._heads.known(shown[: self._heads.depth]):
            return False  # most tails
        if len(shown) < WIDTH:
            return self._heads.goes_on(shown, whole=whole)
        low, high = self._heads.begun(shown)
        place = low + bisect_left(range(low, high), shown, key=self._shown)
        if place < high and self._shown(place) == shown:
            if whole:
                return True
            place += 1
        return place < high and self._shown(place).startswith(shown)


_FEW = 3
"""So many keys are compared one by one."""


class _Standing:
    """What each of many keys stands for, in arrays."""

    def __init__(self, entries: Sequence[Entries], order: Sequence[int]) -> None:
        known: dict[int, int] = {}
        each: list[Entry] = []
        of: list[int] = []
        firsts = [0]
        for at in order:
            for entry in entries[at]:
                number = known.setdefault(id(entry), len(each))
                if number == len(each):
                    each.append(entry)
                of.append(number)
            firsts.append(len(of))
        self._firsts = np.array(firsts, np.uint32)
        self._of = np.array(of, np.uint32)
        self._parts = np.array([_PARTS.index(entry.part) for entry in each], np.uint8)
        self._targets = np.array([entry.target for entry in each], np.int32)
        self._facts = np.array([_NONE if entry.fact is None else entry.fact for entry in each], np.int32)
        self._values = np.array([_NONE if entry.value is None else entry.value for entry in each], np.int32)
        self._strong = np.array([entry.strong for entry in each], np.bool_)

    def entries(self, place: int) -> Entries:
        """Return what the key at a place stands for."""
        return tuple(map(self._entry, self._of[self._firsts[place] : self._firsts[place + 1]].tolist()))

    def _entry(self, at: int) -> Entry:
        fact, value = int(self._facts[at]), int(self._values[at])
        return Entry(
            _PARTS[self._parts[at]],
            int(self._targets[at]),
            None if fact == _NONE else fact,
            None if value == _NONE else value,
            bool(self._strong[at]),
        )


_PARTS = tuple(Part)
_NONE = -1


def _as_bytes(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _characters_before(shown: str) -> NDArray[np.intp]:
    """Return how many characters of a text begin before each of its bytes, and before its end."""
    begins = (np.frombuffer(shown.encode("latin-1"), np.uint8) & 0xC0) != 0x80
    return np.append(0, np.cumsum(begins))
