"""Which names a few letters may have come from: an index by pairs of letters, whatever the number of names.

Each name is listed under the pairs of letters that stand next to each other in its words, and under those
with one letter between; a piece of text is looked up by its own pairs, the rarest first, until enough names
have been looked at.  So the work does not grow with the list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOOKED_AT = 20_000
"""Entries of the index that one look-up adds up at most: about 0.1 ms."""


class NameIndex:
    """The names nearest to a text by the letters that they share.  Immutable."""

    def __init__(self, names: Sequence[str]) -> None:
        """names: folded words with one space between; places in it are what `nearest` returns."""
        listed: dict[str, list[int]] = {}
        each = [set(_pairs(name)) for name in names]
        for place, pairs in enumerate(each):
            for pair in pairs:
                listed.setdefault(pair, []).append(place)
        self._sizes = {pair: len(places) for pair, places in listed.items()}
        self._places = np.fromiter(chain.from_iterable(listed.values()), np.uint32)
        """The names that have each pair, one pair behind the other."""
        self._weights = {pair: math.log((len(names) + 1) / len(at)) + 0.5 for pair, at in listed.items()}
        self._lengths = np.sqrt([max(1, len(pairs)) for pairs in each])
        self._whole = np.array([sum(map(self._weights.__getitem__, pairs)) for pairs in each])

        self._see()

    def _see(self) -> None:
        """Look at the names of each pair as an array, which is a part of one that all share."""
        ends = accumulate(self._sizes.values())
        self._listed = {
            pair: self._places[end - size : end]
            for (pair, size), end in zip(self._sizes.items(), ends, strict=True)
        }

    def __getstate__(self) -> dict[str, Any]:
        return {name: of for name, of in self.__dict__.items() if name != "_listed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._see()

    def nearest(self, text: str, count: int, least: float) -> NDArray[np.intp]:
        """Return at most `count` places, the nearest name first; those that share less are left out.

        text: folded words.  least: the part of its own letters' weight that a name must share, in [0, 1].
        """
        pairs = sorted(
            (pair for pair in set(_pairs(text)) if pair in self._listed), key=lambda p: -self._weights[p]
        )
        rows: list[NDArray[np.uint32]] = []
        weights: list[NDArray[np.float64]] = []
        looked = 0
        for pair in pairs:
            at = self._listed[pair]
            if rows and looked + len(at) > _LOOKED_AT:
                break
            looked += len(at)
            rows.append(at)
            weights.append(np.full(len(at), self._weights[pair]))
        if not rows:
            return np.zeros(0, np.intp)
        shared = np.bincount(np.concatenate(rows), np.concatenate(weights), minlength=len(self._lengths))
        found = np.flatnonzero(shared >= np.maximum(least * self._whole, 1e-9))
        near = shared[found] / self._lengths[found]
        if len(found) > count:
            best = np.argpartition(-near, count)[:count]
            found, near = found[best], near[best]
        nearest: NDArray[np.intp] = found[np.argsort(-near, kind="stable")]
        return nearest


def _pairs(text: str) -> Iterator[str]:
    for word in text.split():
        edged = f"^{word}$"
        for at in range(len(edged) - 1):
            yield edged[at : at + 2]
        for at in range(len(word) - 2):
            yield f"{word[at]}_{word[at + 2]}"
