"""Where what is listed may stand in a text, by its first characters: a few bytes an item, however many.

The first `WIDTH` characters of an item, its *head*, are one number; the numbers of all items stand in one
ascending array.  An automaton (Aho and Corasick 1975) knows how heads begin, cut so short that it has at most
`NODES` nodes: it says in one pass where an item may begin, and a bisection which ones do.  So a long list
costs memory in arrays alone, which are pickled without a copy and can be shared by processes, and a short one
is as fast as an automaton of whole items.

A character here is one of Latin-1: what holds others is coded first, by `codes` or as UTF-8.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import ahocorasick
import numpy as np
from numpy.typing import NDArray

WIDTH = 8
"""Characters of a head."""
NODES = 1 << 17
"""Nodes of an automaton at most, of about 75 bytes each."""

Numbers = NDArray[np.uint64]

_MASKS = tuple((1 << 64) - (1 << 8 * (WIDTH - size)) for size in range(WIDTH + 1))
_EACH_MASK = np.array(_MASKS, np.uint64)


def codes(text: str) -> str:
    """Return a text with one Latin-1 character in place of each that is not ASCII; two may get the same."""
    if text.isascii():
        return text
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return np.where(points < 128, points, 128 | (points & 127)).astype(np.uint8).tobytes().decode("latin-1")


def heads_of(shown: bytes, starts: Sequence[int] | NDArray[Any], sizes: NDArray[Any]) -> Numbers:
    """Return the number of the head of each item that begins at `starts` and has `sizes` characters."""
    windows: NDArray[Any] = np.ndarray((len(shown) + 1,), ">u8", shown + bytes(WIDTH), strides=(1,))
    return shortened(windows[starts].astype(np.uint64), sizes)


def shortened(numbers: Numbers, sizes: NDArray[Any]) -> Numbers:
    """Return the heads of which so many characters count."""
    short: Numbers = numbers & _EACH_MASK[np.minimum(sizes, WIDTH)]
    return short


_MADE_ANEW = frozenset(("_ascending", "_begins", "known"))
"""What does not travel with the arrays, but is made of them."""


class Heads:
    """Items by their heads; an item is known by its place.  Immutable."""

    def __init__(self, numbers: Numbers) -> None:
        """numbers: of each item, ascending; a head of fewer than `WIDTH` characters has zeros at its end."""
        self._numbers = numbers
        widths = sum((numbers & np.uint64(255 << 8 * at) != 0).astype(np.uint8) for at in range(WIDTH))
        self._sizes = tuple(np.flatnonzero(np.bincount(widths, minlength=1)).tolist()) if len(numbers) else ()
        self.depth = _depth(numbers)
        """Characters of a head that the automaton knows."""
        begun = numbers & _EACH_MASK[self.depth]
        first = np.flatnonzero(np.append(True, begun[1:] != begun[:-1])) if len(numbers) else np.zeros(0, int)
        self._groups = np.append(first, len(numbers)).astype(np.uint32)
        self._automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        heads: list[bytes] = begun[first].astype(">u8").view(f"S{WIDTH}").tolist()  # zeros at the end go
        for group, head in enumerate(heads):
            self._automaton.add_word(head.decode("latin-1"), group << 4 | len(head))
        self._automaton.make_automaton()
        self._see()

    def _see(self) -> None:
        """Look at the arrays as what gives plain numbers."""
        self._ascending = self._numbers.data
        self._begins = self._groups.data
        self.known = self._automaton.match
        """Whether so much of a text, at most `depth` characters, is the beginning of some head."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: of for name, of in self.__dict__.items() if name not in _MADE_ANEW}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._see()

    def __len__(self) -> int:
        return len(self._numbers)

    def hits(self, shown: str) -> Iterator[tuple[int, int, int]]:
        """Yield (start, low, high) where heads stand in a text: those of the items in `[low, high)`."""
        if not self._sizes:
            return
        depth = self.depth
        for last, found in self._automaton.iter(shown):
            group, width = found >> 4, found & 15
            start = last + 1 - width
            low, high = self._begins[group], self._begins[group + 1]
            if width < depth or depth == WIDTH:
                yield start, low, high
            else:
                yield from self._refined(shown[start : start + WIDTH], start, low, high)

    def _refined(self, head: str, start: int, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        number = _number(head)
        for size in self._sizes:
            if self.depth <= size <= len(head):
                wanted = number & _MASKS[size]
                first = bisect_left(self._ascending, wanted, low, high)
                if first < high and self._ascending[first] == wanted:
                    yield start, first, bisect_right(self._ascending, wanted, first, high)

    def begun(self, tail: str) -> tuple[int, int]:
        """Return the items whose head begins with `tail`, or whose head `tail` begins with: `[low, high)`."""
        if not self._automaton.match(tail[: self.depth]):
            return 0, 0
        number = _number(tail[:WIDTH])
        low = bisect_left(self._ascending, number)
        behind = number + (1 << 8 * (WIDTH - min(len(tail), WIDTH)))
        return low, bisect_left(self._ascending, behind, low)

    def may_begin(self, tail: str) -> bool:
        """Whether some head begins with `tail`; of a tail that is longer, whether it begins with a head of
        `WIDTH` characters."""
        if not self._automaton.match(tail[: self.depth]):
            return False
        if len(tail) <= self.depth:
            return True
        low, high = self.begun(tail)
        return low < high

    def goes_on(self, tail: str, *, whole: bool) -> bool:
        """Whether a head of more characters begins with `tail`, which has fewer than `WIDTH`; `whole`: or is
        it."""
        if len(tail) < self.depth:
            if not self._automaton.match(tail):
                return False
            return whole or not self._automaton.exists(tail) or self._grows(tail)
        low, high = self.begun(tail)
        return low < high and (whole or self._ascending[high - 1] != _number(tail))

    def _grows(self, head: str) -> bool:
        return sum(1 for _ in islice(self._automaton.keys(head), 2)) > 1


def _number(head: str) -> int:
    return int.from_bytes(head.encode("latin-1"), "big") << 8 * (WIDTH - len(head))


def _depth(numbers: Numbers) -> int:
    """Return how many characters of heads an automaton of `NODES` nodes can know."""
    nodes = 0
    for depth in range(1, WIDTH + 1):
        begun = numbers & _EACH_MASK[depth]
        nodes += 1 + int(np.count_nonzero(begun[1:] != begun[:-1]))
        if nodes > NODES:
            return max(depth - 1, 1)
    return WIDTH
