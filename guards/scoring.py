"""How near sentences are to a target's examples: one formula, for many sentences or for many targets.

A sentence scores by its mean cosine to a target's examples, the nearest ones left out: what is near to one
example alone is near to its words and not to the topic.  To that comes what the nearest one gives where it is
the same sentence in other words; off go how crowded it is around it, with ordinary sentences and with other
targets, and what a nearer counterexample gives.  All vectors are centred (`guards.meaning`), of unit length,
float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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


class Rows(Protocol):
    """Where the examples of all targets lie."""

    def vectors(self, chosen: NDArray[np.intp]) -> Vectors:
        """Return [chosen, dim] float32: rows by their places."""
        ...


class Targets:
    """The examples of many targets, to score one text against some of them at once."""

    def __init__(self, like: Rows, spans: Sequence[slice], unlike: Sequence[Vectors]) -> None:
        """spans: each target's rows of `like`.  unlike: [counterexamples, dim] of each target."""
        self._likes = like
        self._spans = spans
        self._unlikes = unlike

    def score(self, text: Vectors, crowd: float, places: Sequence[int]) -> list[float]:
        """Return the raw scores of one text, [dim], for the targets at `places`, as `score_texts` would."""
        spans = [self._spans[place] for place in places]
        rows = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        like = _shared_out(self._likes.vectors(rows) @ text, [span.stop - span.start for span in spans])
        unlikes = [self._unlikes[place] for place in places]
        unlike = _shared_out(np.concatenate(unlikes) @ text, [len(each) for each in unlikes])
        return [_score(near, against, crowd) for near, against in zip(like, unlike, strict=True)]


def _score(near: list[float], against: list[float], crowd: float) -> float:
    near.sort()
    kept = _kept(len(near))
    score = sum(near[:kept]) / kept + max(0.0, near[-1] - _REWORDED) - _CROWD_WEIGHT * crowd
    if against:
        score -= max(0.0, max(against) - near[-1] + _UNLIKE_MARGIN)
    return score


def _shared_out(cosines: Vectors, sizes: Sequence[int]) -> list[list[float]]:
    """Return the cosines in groups of these sizes."""
    values, groups, at = cosines.tolist(), [], 0
    for size in sizes:
        groups.append(values[at : at + size])
        at += size
    return groups
