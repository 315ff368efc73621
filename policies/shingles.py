"""Runs of words of texts that must not be repeated, as keyed hashes and nothing else.

A shingle is every run of `words` consecutive words (Broder 1997).  Of each one a 64-bit keyed hash is kept:
`words` consecutive words of a text are found wherever in it they begin.  Beside them stand, as a Bloom
filter (Bloom 1970), the runs of half as many words: every shingle holds such a run at each place where one
may begin, so that a reader need look at every few words only, and knows of a text that is still coming
whether it may become a shingle.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

from policies.text import fold

MAX_WORD = 256
"""Folded characters of a word; a longer one is no word of any text, here and where texts are looked for."""
ENDLESS = "\0"
"""Stands for a word that is longer than that: no text holds it."""
_BITS = 16
"""Bits of the filter for each run: one run in 400 passes it by chance."""
_PROBES = 4


@dataclass(frozen=True, slots=True)
class Shingles:
    """The shingles of one length of all texts of a policy.  Immutable; holds no word of them.

    8 bytes a word for the shingles, 2 to 4 for the filter; 4 more where several texts share the table.
    """

    words: int
    """Words of a shingle."""
    key: bytes = field(repr=False)
    hashes: array[int] = field(repr=False)
    """64 bits each, ascending."""
    targets: array[int] = field(repr=False)
    """Index into `Policy.targets` of each hash; one entry alone where all belong to the same target."""
    filter: bytes = field(repr=False)
    short: int = field(init=False)
    """Words of the runs in the filter."""

    def __post_init__(self) -> None:
        """Work out once what every look asks for."""
        object.__setattr__(self, "short", shorter(self.words))

    def holds(self, run: Sequence[str]) -> bool:
        """Whether a run of `short` words may be one of some text; never False where it is."""
        number, step = _quick_hash(self.key, run)
        mask = 8 * len(self.filter) - 1
        for _ in range(_PROBES):
            at = number & mask
            if not self.filter[at >> 3] >> (at & 7) & 1:
                return False
            number += step
        return True

    def find(self, run: Sequence[str]) -> Iterator[int]:
        """Yield the targets of whose texts a run of `words` words is a part, each once."""
        number = _hash(self.key, run)
        at, before = bisect_left(self.hashes, number), -1
        while at < len(self.hashes) and self.hashes[at] == number:
            target = self.targets[at if len(self.targets) > 1 else 0]
            if target != before:
                yield target
            at, before = at + 1, target


def shorter(words: int) -> int:
    """Return how many words of a text in a row are taken for the beginning of a shingle of `words` words."""
    return max(2, words // 2)


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are compared: folded, with layout and punctuation gone."""
    return [word if len(word) <= MAX_WORD else ENDLESS for word in fold(text).text.split()]


def shingles(texts: Sequence[tuple[int, Sequence[str]]], words: int, key: bytes) -> Shingles:
    """Return the shingles of `words` words of texts, each given with its target and as its `words_of`.

    key: of 16 to 64 bytes; without it nobody can try a text of his own against the hashes.
    Linear in the texts; about 3 microseconds a word.
    """
    hashes = array("Q", (_hash(key, run) for _, text in texts for run in _runs(text, words)))
    owners = array("L", (target for target, text in texts for _ in range(len(text) - words + 1)))
    short = shorter(words)
    passing = _Filter(sum(max(0, len(text) - short + 1) for _, text in texts))
    for _, text in texts:
        for run in _runs(text, short):
            passing.add(*_quick_hash(key, run))
    if len(set(owners)) > 1:
        order = sorted(range(len(hashes)), key=lambda at: (hashes[at], owners[at]))
        owners = array("I", (owners[at] for at in order))
        hashes = array("Q", (hashes[at] for at in order))
    else:
        hashes, owners = array("Q", sorted(hashes)), array("I", owners[:1])
    return Shingles(words, key, hashes, owners, bytes(passing.bits))


class _Filter:
    """A Bloom filter that is being filled."""

    def __init__(self, count: int) -> None:
        self.bits = bytearray(max(8, 1 << (count * _BITS - 1).bit_length() >> 3))

    def add(self, number: int, step: int) -> None:
        mask = 8 * len(self.bits) - 1
        for _ in range(_PROBES):
            self.bits[(number & mask) >> 3] |= 1 << (number & 7)
            number += step


def _runs(words: Sequence[str], length: int) -> Iterator[Sequence[str]]:
    return (words[at : at + length] for at in range(len(words) - length + 1))


def _quick_hash(key: bytes, run: Sequence[str]) -> tuple[int, int]:
    """Return where a run is looked up in the filter, and the step to the next place."""
    mixed = crc32(" ".join(run).encode(), key[0]) * _ODD & _64
    return mixed >> 24, mixed >> 40 | 1


_ODD, _64 = 0x9E3779B97F4A7C15, (1 << 64) - 1
"""Spreads 32 bits over 64: the fractional part of the golden ratio (Knuth, volume 3, 6.4)."""


def _hash(key: bytes, run: Sequence[str]) -> int:
    # Runs of different lengths cannot be taken for each other: a word holds no space.
    state = _keyed(key).copy()
    state.update(" ".join(run).encode())
    return int.from_bytes(state.digest(), "little")


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> blake2b:
    """Return the state of a hash that has taken its key in: half of what a short text costs."""
    return blake2b(key=key, digest_size=8)
