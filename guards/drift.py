"""How live sentences score beside those that calibrated: three counts, and no text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from policies.calibrate import Scores, conformal_threshold

SHARES = (0.05, 0.01)
"""Of sentences like the corpus, what share scores above each of the levels."""


class Drift:
    """Counts of live sentences, and of those above what few calibration sentences exceed.

    A promise about sentences like the corpus says nothing about others.  Where traffic is like it, a share of
    0.05 and of 0.01 is above the levels, by the same split-conformal rule that sets thresholds
    (`policies.calibrate.conformal_threshold`); where more is, it is nearer to the targets than the corpus is,
    and so is the share that is touched.  Counted on one thread, taken from another.
    """

    def __init__(self, scores: Scores) -> None:
        """scores: the highest score of each calibration sentence."""
        self._begin(_level(scores, share) for share in SHARES)

    def _begin(self, levels: Iterable[float]) -> None:
        self._levels = tuple(levels)
        self._counts = [0] * (1 + len(SHARES))
        self._taken = (0,) * (1 + len(SHARES))

    def __getstate__(self) -> dict[str, Any]:
        return {"_levels": self._levels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin(state["_levels"])

    def renewed(self, *, watching: bool = True) -> Drift:
        """Return one that has counted nothing; `watching`: whether it ever will."""
        made = Drift.__new__(Drift)
        made._begin(self._levels if watching else (math.inf,) * len(SHARES))
        return made

    def count(self, score: float) -> None:
        """Count a live sentence by its highest score."""
        if math.inf in self._levels:
            return  # nothing is expected of sentences that no corpus stands beside
        self._counts[0] += 1
        for place, level in enumerate(self._levels, 1):
            self._counts[place] += score > level

    def take(self) -> tuple[int, ...]:
        """Return the sentences since this was last asked, and of those the ones above each level."""
        # One thread writes and never lowers a count, so that what is missed now is taken next time.
        now = tuple(self._counts)
        new = tuple(each - before for each, before in zip(now, self._taken, strict=True))
        self._taken = now
        return new


def _level(scores: Scores, share: float) -> float:
    try:
        return conformal_threshold(scores, share)
    except ValueError:
        return math.inf  # too few sentences to say it of
