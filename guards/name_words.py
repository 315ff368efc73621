"""Which targets have a word in their names, and whose it is: a word and a number each, and no sets.

Two targets may be about one person, such as two facts of hers: what they have in common is hers alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from guards.literal import name_parts
from policies.known import known_words
from policies.people import TITLES
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
        self._subjects = np.array(_subjects(policy.targets), np.int32)
        self._together: dict[int, list[int]] = {}
        for index, subject in enumerate(self._subjects.tolist()):
            if subject != index:
                self._together.setdefault(subject, [subject]).append(index)
        self._one = np.fromiter((self._is_of_one(each) for each in having.values()), np.bool_)
        self._own = np.fromiter(
            (
                one and _is_own(word, policy.targets[each[0]])
                for one, (word, each) in zip(self._one.tolist(), having.items(), strict=True)
            ),
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
        """Whether a word stands for one subject alone: no other has it, and it is neither a word nor a name
        that any register holds."""
        place = self._places.get(word)
        return place is not None and bool(self._own[place])

    def is_of_one(self, word: str) -> bool:
        """Whether all targets that have a word in their names, one at least, are about one subject."""
        place = self._places.get(word)
        return place is not None and bool(self._one[place])

    def of_same(self, target: int) -> Sequence[int]:
        """Return the targets that are about the same subject as this one, itself included, ascending."""
        return self._together.get(int(self._subjects[target]), (target,))

    def _is_of_one(self, targets: Sequence[int]) -> bool:
        first = self._subjects[targets[0]]
        return all(self._subjects[target] == first for target in targets[1:])

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


def _subjects(targets: Sequence[Target]) -> list[int]:
    """Return a number for each target's subject: those that share a name of several words have the same.

    Neither the order of the words nor titles and initials make a name another one.
    """
    over = list(range(len(targets)))
    """The target that each one is joined to; itself, where it stands for its subject."""

    def root(at: int) -> int:
        while over[at] != at:
            over[at] = over[over[at]]
            at = over[at]
        return at

    first: dict[frozenset[str], int] = {}
    for index, target in enumerate(targets):
        for name in target.names:
            words = frozenset(word for word in fold(name).text.split() if len(word) > 1) - TITLES
            if len(words) > 1:
                before, now = sorted((root(first.setdefault(words, index)), root(index)))
                over[now] = before
    return [root(index) for index in range(len(targets))]
