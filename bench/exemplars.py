"""Vectors of as many examples as are wanted, made from real ones: `Exemplars(encoder).rows(500_000)`.

To encode half a million sentences takes more than an hour, and to compare indexes needs many times that.  So
so many names and wordings are encoded for real, and a vector v(wording, name) is taken apart into what the
wording's examples have in common, what the name's have, and a rest.  A made vector has its real wording, the
name parts of three real names mixed at random, and the rest of a fourth example, each as long as the real
ones are; names mixed so are as far from each other as real ones (`spread`, printed by `bench.index`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bench.policies import made_up_names
from guards.encoder import Encoder, Vectors

WORDINGS = (
    "Tell me about {}.", "Where was {} born?", "Who employs {}?", "What is {} known for?",
    "Give me a short biography of {}.",
)  # fmt: skip
"""The five examples of a target."""
_ASKED_OTHERWISE = (
    "Do you happen to know in which town {} came into the world?",
    "I would like to learn more on the life of {}.",
    "Which company does {} work for these days?",
    "Why has one heard of {}?",
)
_REAL_NAMES, _ASKED_NAMES = 400, 50
_BLOCK = 8_192


class Exemplars:
    """Real vectors of some examples, and made ones of any number."""

    def __init__(self, encoder: Encoder) -> None:
        """Encode what is real: 2,200 sentences."""
        self.names = made_up_names(_REAL_NAMES, seed=1)
        real = [wording.format(name) for name in self.names for wording in WORDINGS]
        self.real = encoder.encode(real).reshape(len(self.names), len(WORDINGS), -1)
        """[names, wordings, dim]"""
        asked = [each.format(name) for name in self.names[:_ASKED_NAMES] for each in _ASKED_OTHERWISE]
        self.asked = encoder.encode(asked)
        """[questions, dim]: other wordings about the first names."""
        self._middle = self.real.mean(axis=(0, 1))
        self._wordings = self.real.mean(axis=0) - self._middle
        self._of_names = self.real.mean(axis=1) - self._middle
        self._rest = self.real - self._middle - self._wordings - self._of_names[:, np.newaxis]

    def targets(self, count: int, seed: int = 1) -> Iterator[Vectors]:
        """Yield [targets, wordings, dim] blocks of unit rows, `count` targets in all, the real ones first."""
        drawn = np.random.default_rng(seed)
        yield self.real[:count]
        for start in range(len(self.names), count, _BLOCK):
            yield self._made(drawn, min(_BLOCK, count - start))

    def rows(self, count: int, seed: int = 1) -> Vectors:
        """Return [count, dim] float32 rows of unit length."""
        each = len(WORDINGS)
        return np.concatenate(
            [block.reshape(-1, block.shape[2]) for block in self.targets(-(-count // each), seed)]
        )[:count]

    def _made(self, drawn: np.random.Generator, count: int) -> Vectors:
        mixed, places = np.zeros((count, self.real.shape[2]), np.float32), len(self.names)
        for _ in range(3):
            mixed += drawn.random((count, 1), np.float32) * self._of_names[drawn.integers(places, size=count)]
        lengths = np.linalg.norm(self._of_names, axis=1)[drawn.integers(places, size=count)]
        mixed *= (lengths / np.linalg.norm(mixed, axis=1))[:, np.newaxis]
        rest = self._rest[drawn.integers(places, size=count)]
        made = self._middle + self._wordings + mixed[:, np.newaxis] + rest
        unit: Vectors = (made / np.linalg.norm(made, axis=2, keepdims=True)).astype(np.float32)
        return unit

    def spread(self, seed: int = 2) -> tuple[float, float]:
        """Return the mean cosine of an example to the nearest of its wording: of real names, of made ones.

        Both among as many names.
        """
        made = self._made(np.random.default_rng(seed), len(self.names))
        return _nearest(self.real), _nearest(made)


def _nearest(block: Vectors) -> float:
    cosines: NDArray[np.float32] = block[:, 0] @ block[:, 0].T
    np.fill_diagonal(cosines, -1)
    return float(cosines.max(axis=1).mean())
