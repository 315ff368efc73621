"""What must pass a target by meaning: its own examples with other names in the places of theirs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from guards.encoder import Encoder, Vectors
from guards.scoring import Scores
from policies.policy import Target

_SIBLINGS = 8
"""Texts an example."""
_SEEN_TEXTS = 65_536

# A run of capitalised words that does not begin the text: a name, most of the time.
_NAME = re.compile(r"(?<=[^.!?\s]\s)(?!I\b)[^\W\d_a-z][\w’'-]*(?:\s(?:de |van |von )?[^\W\d_a-z][\w’'-]*)*")


class Passing:
    """What must pass an entity or a fact: its own examples with other names in them.

    The same question about the same other name is asked of many targets, and looked at once.
    """

    def __init__(
        self,
        encoder: Encoder,
        sentences: Sequence[str],
        centre: Callable[[Vectors], Vectors],
        crowded: Callable[[Vectors], Scores],
    ) -> None:
        """sentences: where the other names are from.  crowded: [texts], around texts that are centred."""
        self._encoder, self._centre, self._crowded = encoder, centre, crowded
        self._names = _names(sentences)
        self._seen: dict[str, tuple[Vectors, float]] = {}

    def of(self, target: Target) -> tuple[Vectors, Scores]:
        """Return [texts, dim] centred, and how crowded it is around each; none for other kinds."""
        texts = _siblings(target, self._names) if target.kind in ("entity", "fact") else []
        if not texts:
            return np.empty((0, self._encoder.dim), np.float32), np.empty(0)
        if len(self._seen) > _SEEN_TEXTS:
            self._seen.clear()
        if new := list(dict.fromkeys(text for text in texts if text not in self._seen)):
            centred = self._centre(self._encoder.encode(new))
            crowds = self._crowded(centred)
            for at, text in enumerate(new):
                self._seen[text] = centred[at], float(crowds[at])
        rows, crowded = zip(*(self._seen[text] for text in texts), strict=True)
        return np.stack(rows), np.array(crowded)


def _names(sentences: Sequence[str]) -> list[str]:
    return sorted({match.group() for sentence in sentences for match in _NAME.finditer(sentence)})


def _siblings(target: Target, names: Sequence[str]) -> list[str]:
    """Return the target's examples with other names in the places of theirs; none where they name nobody."""
    made: list[str] = []
    for example in target.like:
        if not names or not _NAME.search(example):
            continue
        # Spread over the sorted names by a hash of what is asked: the same policy always gives the same ones,
        # and the same question of many targets is encoded once.
        asked = _NAME.sub("", example)
        start = int.from_bytes(hashlib.sha256(asked.encode()).digest()[:4], "big")
        step = max(1, len(names) // _SIBLINGS)
        for turn in range(min(_SIBLINGS, len(names))):
            other = names[(start + turn * step) % len(names)]
            made.append(_NAME.sub(lambda _, other=other: other, example))  # type: ignore[misc]
    return made
