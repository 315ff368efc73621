"""How names are spelled: the chance of a word's letters, each given the two before it.

A trigram model with Jelinek-Mercer interpolation (Jelinek and Mercer 1980; Chen and Goodman 1996,
arXiv:cmp-lg/9606011, section 2.3), the weights by how often a beginning was seen (Witten-Bell in kind).  It
tells 'Yoshanda', which is spelled as names are, from 'Yxshqnda', which no name is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_EDGE = 0
"""Before the first letter, and behind the last."""
_SYMBOLS = len(_ALPHABET) + 2
_OTHER = _SYMBOLS - 1
_CODES = {char: at + 1 for at, char in enumerate(_ALPHABET)}
_DOUBT = 20.0
"""Sightings of a beginning at which it counts for half of what follows it."""


class NameLetters:
    """The chance of a word under the spelling of a list of names.  Immutable; 180 kB."""

    def __init__(self, words: Iterable[str]) -> None:
        """words: folded words, each counted once."""
        counts = np.zeros((_SYMBOLS, _SYMBOLS, _SYMBOLS))
        for word in words:
            coded = _coded(word)
            for first, second, third in zip(coded, coded[1:], coded[2:], strict=False):
                counts[first, second, third] += 1.0
        chance = np.full(_SYMBOLS, 1.0 / _SYMBOLS)
        for seen in (counts.sum((0, 1)), counts.sum(0), counts):
            times = seen.sum(-1, keepdims=True)
            weight = times / (times + _DOUBT)
            chance = weight * seen / np.maximum(times, 1.0) + (1.0 - weight) * chance
        self._logs: NDArray[np.float64] = np.log(chance)

    def log_chance(self, word: str) -> float:
        """Return the log chance of a folded word, its end included."""
        coded = _coded(word)
        return math.fsum(
            self._logs[first, second, third]
            for first, second, third in zip(coded, coded[1:], coded[2:], strict=False)
        )


def _coded(word: str) -> list[int]:
    return [_EDGE, _EDGE, *(_CODES.get(char, _OTHER) for char in word), _EDGE]
