"""How near sentences are to a target's examples: one formula, for many sentences or for many targets.

A sentence scores by its mean cosine to a target's examples, the nearest ones left out: what is near to one
example alone is near to its words and not to the topic.  To that comes what the nearest one gives where it is
the same sentence in other words; off go how crowded it is around it, with ordinary sentences and with other
targets, and what a nearer counterexample gives.  All vectors are centred (`guards.meaning`), of unit length,
float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guards.encoder import Vectors

Scores = NDArray[np.float64]

# Chosen on four topics (locks, betting and astrology of tests/topic_cases.yaml, and one that is not kept) for
# the paraphrases caught and the near misses left alone at a `retain_fpr` of 0.002.  The results move little
# around them: two crowds, three weights and three shares within one or two of twenty.
_DROPPED = 4
_REWORDED = 0.6
_CROWD_WEIGHT = 0.8
_UNLIKE_MARGIN = 0.1


def score_texts(texts: Vectors, like: Vectors, unlike: Vectors, crowds: Scores) -> Scores:
    """Return [texts] raw scores for one target.

    texts: [texts, dim].  like: [examples, dim], at least one.  unlike: [counterexamples, dim], perhaps none.
    crowds: [texts].
    """
    near = np.sort((texts @ like.T).astype(np.float64), axis=1)
    most = near[:, : _kept(near.shape[1])].mean(axis=1)
    score: Scores = most + np.maximum(0.0, near[:, -1] - _REWORDED) - _CROWD_WEIGHT * crowds
    if len(unlike):
        against = (texts @ unlike.T).max(axis=1)
        score -= np.maximum(0.0, against - near[:, -1] + _UNLIKE_MARGIN)
    return score


def _kept(count: int) -> int:
    return count - count // _DROPPED


class Targets:
    """The examples of many targets, to score one text against some of them at once."""

    def __init__(self, like: Sequence[Vectors], unlike: Sequence[Vectors]) -> None:
        """like, unlike: [examples, dim] of each target."""
        self._likes, self._like_rows = _stacked(like)
        self._unlikes, self._unlike_rows = _stacked(unlike)

    def score(self, text: Vectors, crowd: float, places: Sequence[int]) -> list[float]:
        """Return the raw scores of one text, [dim], for the targets at `places`, as `score_texts` would."""
        like = _cosines(text, self._likes, [self._like_rows[place] for place in places])
        unlike = _cosines(text, self._unlikes, [self._unlike_rows[place] for place in places])
        return [_score(near, against, crowd) for near, against in zip(like, unlike, strict=True)]


def _score(near: list[float], against: list[float], crowd: float) -> float:
    near.sort()
    kept = _kept(len(near))
    score = sum(near[:kept]) / kept + max(0.0, near[-1] - _REWORDED) - _CROWD_WEIGHT * crowd
    if against:
        score -= max(0.0, max(against) - near[-1] + _UNLIKE_MARGIN)
    return score


def _stacked(each: Sequence[Vectors]) -> tuple[Vectors, list[NDArray[np.intp]]]:
    ends = np.cumsum([len(rows) for rows in each])
    places = [np.arange(end - len(rows), end) for rows, end in zip(each, ends.tolist(), strict=True)]
    return np.concatenate(each), places


def _cosines(text: Vectors, rows: Vectors, chosen: Sequence[NDArray[np.intp]]) -> list[list[float]]:
    """Return the cosines of a text to each group of rows."""
    cosines = (rows[np.concatenate(chosen)] @ text).tolist()
    groups, at = [], 0
    for each in chosen:
        groups.append(cosines[at : at + len(each)])
        at += len(each)
    return groups
