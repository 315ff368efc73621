"""How likely a name is to have been misspelt into what stands in a text: a noisy channel.

A writer means a name and gets each letter right, wrong, twice or not at all; what comes of it is compared
with what would stand there if no such name had been meant (Kernighan, Church and Gale 1990, 'A spelling
correction program based on a noisy channel model'; the sum over all alignments is the forward algorithm of
Ristad and Yianilos 1998, arXiv:cmp-lg/9610005, section 2.2, with one fixed set of costs in place of trained
ones).  The result is a log likelihood ratio, in nats: above zero speaks for the name.

Everything is counted in the folded letters of `policies.text.fold`; words are kept apart by one space, which
is a symbol like any other, so that words that were run together or torn apart are read as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.intp]
Odds = NDArray[np.float64]

# Of each letter: kept, replaced, left out; and how many letters come in from nowhere.  Half of all letters
# wrong is what a name must survive; fewer errors score higher by themselves.
_KEPT, _REPLACED, _LEFT_OUT, _PUT_IN = 0.52, 0.16, 0.14, 0.16
_SPACE_KEPT, _SPACE_LEFT_OUT, _SPACE_PUT_IN, _SPACE_REPLACED = 0.94, 0.05, 0.01, 0.01
_SPACES, _OTHERS = 0.15, 0.01
"""Shares of spaces and of symbols beyond a-z and 0-9 where no name was meant."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_LETTERS = 26
_PAD, _SPACE, _OTHER = 0, len(_ALPHABET) + 1, len(_ALPHABET) + 2
_SYMBOLS = _OTHER + 1
_CODES = {char: at + 1 for at, char in enumerate(_ALPHABET)} | {" ": _SPACE}
_BLOCK = 4096
"""Pairs that are compared at once, so that memory stays bounded."""


class Channel:
    """Compares what was written with names that may have been meant.  Immutable."""

    def __init__(self, letters: Mapping[str, float]) -> None:
        """letters: the share of each letter a-z in names; need not add up to one."""
        total = sum(letters.values()) or 1.0
        chance = np.full(_SYMBOLS, _OTHERS)
        for char, code in _CODES.items():
            # Half of what is no known name looks like names all the same, the other half like noise.
            share = letters.get(char, 0.0) / total
            chance[code] = 0.5 / _LETTERS + 0.5 * share if char.isalpha() else _OTHERS
        chance[_SPACE] = _SPACES
        self._chance = chance
        replaced = np.full((_SYMBOLS, _SYMBOLS), _REPLACED / _LETTERS)
        np.fill_diagonal(replaced, _KEPT + _REPLACED / _LETTERS)
        replaced[_SPACE, :] = replaced[:, _SPACE] = _SPACE_REPLACED / _LETTERS
        replaced[_SPACE, _SPACE] = _SPACE_KEPT
        self._became = replaced / chance
        self._put_in = (_PUT_IN / _LETTERS) / chance
        self._put_in[_SPACE] = _SPACE_PUT_IN / _SPACES
        self._left_out = np.full(_SYMBOLS, _LEFT_OUT)
        self._left_out[_SPACE] = _SPACE_LEFT_OUT
        for table in (self._became[_PAD], self._became[:, _PAD], self._put_in[_PAD:1], self._left_out[:1]):
            table[...] = 0.0

    def by_chance(self, word: str) -> float:
        """Return the log chance of a folded word where nothing is known of it."""
        return math.fsum(math.log(self._chance[_CODES.get(char, _OTHER)]) for char in word)

    def odds(self, written: Sequence[str], names: Sequence[str]) -> Odds:
        """Return [pairs] log likelihood ratios: `written[i]` was meant to be `names[i]`, against chance.

        Both are folded words with one space between.  Linear in the product of their lengths.
        """
        found = [
            self._forward(*_coded(written[at : at + _BLOCK]), *_coded(names[at : at + _BLOCK]))
            for at in range(0, len(written), _BLOCK)
        ]
        return np.concatenate(found) if found else np.zeros(0)

    def _forward(self, written: Symbols, w_lengths: Symbols, names: Symbols, n_lengths: Symbols) -> Odds:
        """The sum over all alignments, by diagonals: rows are letters of the name, columns of the text."""
        pairs, width = written.shape
        height = names.shape[1]
        put_in = np.zeros((pairs, width + 1))
        put_in[:, 1:] = self._put_in[written]
        left_out = np.zeros((pairs, height + 1))
        left_out[:, 1:] = self._left_out[names]
        became = np.zeros((pairs, height + 1, width + 1))
        became[:, 1:, 1:] = self._became[names[:, :, None], written[:, None, :]]
        before = np.zeros((pairs, height + 1))
        now = np.zeros((pairs, height + 1))
        now[:, 0] = 1.0
        total, ends = np.zeros(pairs), w_lengths + n_lengths
        for diagonal in range(1, height + width + 1):
            low, high = max(0, diagonal - width), min(height, diagonal)
            rows = np.arange(low, high + 1)
            fresh = np.zeros((pairs, height + 1))
            fresh[:, low : high + 1] = now[:, low : high + 1] * put_in[:, diagonal - rows]
            inner = rows[rows > 0]
            fresh[:, inner] += now[:, inner - 1] * left_out[:, inner]
            fresh[:, inner] += before[:, inner - 1] * became[:, inner, diagonal - inner]
            before, now = now, fresh
            done = np.flatnonzero(ends == diagonal)
            total[done] = now[done, n_lengths[done]]
        odds: Odds = np.log(np.maximum(total, 1e-300))
        return odds


def _coded(texts: Sequence[str]) -> tuple[Symbols, Symbols]:
    """Return [texts, longest] symbols, padded, and [texts] lengths."""
    lengths = np.array([len(text) for text in texts], np.intp)
    coded = np.zeros((len(texts), int(lengths.max(initial=1))), np.intp)
    for row, text in zip(coded, texts, strict=True):
        row[: len(text)] = [_CODES.get(char, _OTHER) for char in text]
    return coded, lengths
