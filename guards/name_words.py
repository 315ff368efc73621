"""Which targets have a word in their names: a word and a number each, and no sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from guards.literal import name_parts
from policies.known import known_words
from policies.policy import Policy, Target
from policies.text import fold

_MIN_OWN = 6
"""Shorter words may be anything, in some language."""
_OF = frozenset("of de da do di del dal van von der zu ter af av".split())
"""What stands before a place that is part of a name: whoever else is of it has the word as well."""


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
        self._own = np.fromiter(
            (len(each) == 1 and _is_own(word, policy.targets[each[0]]) for word, each in having.items()),
            np.bool_,
        )
        self._shortest = shortest
        self._ordinary = ordinary

    def __contains__(self, word: object) -> bool:
        return word in self._places

    def __len__(self) -> int:
        return len(self._places)

    def isdisjoint(self, words: Iterable[str]) -> bool:
        """Whether none of the words is of a name."""
        return self._places.keys().isdisjoint(words)

    def is_nobody_elses(self, word: str) -> bool:
        """Whether a word stands for one target alone: no other has it, and it is neither a word nor a name
        that any register holds."""
        place = self._places.get(word)
        return place is not None and bool(self._own[place])

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


def _is_own(word: str, target: Target) -> bool:
    """Whether a word of a target's names is neither a word nor a name that is known, nor a place's."""
    if len(word) < _MIN_OWN or known_words().share(word) > 0.0:
        return False
    names = (fold(name).text.split() for name in target.names)
    return not any(first in _OF and second == word for name in names for first, second in pairwise(name))
