"""Which targets have a word in their names: a word and a number each, and no sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from guards.literal import name_parts
from policies.policy import Policy


class NameWords:
    """The words of a policy's names by which a target may be meant.  Immutable."""

    def __init__(self, policy: Policy, *, shortest: int, ordinary: frozenset[str]) -> None:
        """shortest: letters of a word that counts.  ordinary: words that do not."""
        having: dict[str, list[int]] = {}
        for index, target in enumerate(policy.targets):
            for word in name_parts(target):
                if len(word) >= shortest and word not in ordinary:
                    having.setdefault(word, []).append(index)
        self._places = {word: place for place, word in enumerate(having)}
        self._ends = np.cumsum([0, *map(len, having.values())], dtype=np.uint32)
        self._targets = np.fromiter((at for each in having.values() for at in each), np.int32)
        self._shortest = shortest
        self._ordinary = ordinary

    def __contains__(self, word: object) -> bool:
        return word in self._places

    def __len__(self) -> int:
        return len(self._places)

    def isdisjoint(self, words: Iterable[str]) -> bool:
        """Whether none of the words is of a name."""
        return self._places.keys().isdisjoint(words)

    def targets(self, word: str) -> Sequence[int]:
        """Return the targets that have a word in their names, ascending."""
        place = self._places.get(word)
        if place is None:
            return ()
        having: list[int] = self._targets[self._ends[place] : self._ends[place + 1]].tolist()
        return having

    def targets_with(self, words: Iterable[str]) -> set[int]:
        """Return the targets that may have all of the words in their names: those that have the long ones.

        Without a long one there are none.
        """
        long = [word for word in words if len(word) >= self._shortest and word not in self._ordinary]
        rarest = sorted(map(self.targets, long), key=len)
        return set(rarest[0]).intersection(*rarest[1:]) if rarest else set()
