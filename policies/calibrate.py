"""Where a threshold lies and how sure a measured rate is: counting, and no more.

No model is known here: scores come in as numbers.  The bundled retain corpus is read here, since it is data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.policy import Policy
from policies.problems import PolicyError, Problem
from policies.text import fold

Scores = NDArray[np.float64]

_RETAIN = Path(__file__).with_name("retain.txt")


@cache
def retain_sentences() -> tuple[str, ...]:
    """Return the bundled sentences that must pass: our own, at least 1,500, all different."""
    return tuple(line for line in _RETAIN.read_text(encoding="utf-8").splitlines() if line)


@cache
def ordinary_words() -> frozenset[str]:
    """Return the folded words that ordinary sentences write without a capital."""
    words = (word for sentence in retain_sentences() for word in sentence.split())
    return frozenset(part for word in words if word.islower() for part in fold(word).text.split())


def conformal_rank(count: int, retain_fpr: float) -> int:
    """Return which of `count` ascending scores, counted from 1, is the threshold.

    Raises ValueError where so few sentences can promise nothing: `retain_fpr` must be at least 1/(count+1).
    """
    if not 0 < retain_fpr < 1:
        raise ValueError(f"retain_fpr is {retain_fpr!r}; it must lie between 0 and 1")
    # The tolerance keeps 0.002 * 1000 from being rounded up by the last bit of a float.
    rank = math.ceil((count + 1) * (1 - retain_fpr) - 1e-9)
    if rank > count:
        needed = math.ceil(1 / retain_fpr - 1e-9) - 1
        raise ValueError(f"retain_fpr {retain_fpr} needs at least {needed} retain sentences, not {count}")
    return rank


def refuse_rate(policy: Policy, file: str) -> None:
    """Raise PolicyError where a policy that uses meaning asks for what no threshold can promise."""
    if not policy.uses_meaning:
        return
    try:
        conformal_rank(len(retain_sentences()), policy.retain_fpr)
    except ValueError as error:
        message = f"is out of range; {error}"
        raise PolicyError([Problem(file, 0, 0, "defaults.retain_fpr", None, message)]) from None


def conformal_threshold(scores: Scores, retain_fpr: float) -> float:
    """Return what a sentence like the retain corpus exceeds with a chance of `retain_fpr` at most.

    scores: [sentences] or [sentences, targets]; of several targets the maximum counts, so that the bound
    holds for the policy as a whole however many targets it has.  A target fires on a score strictly above.

    Split conformal prediction: Angelopoulos and Bates (2021), arXiv:2107.07511, section 1, where the
    threshold is the ceil((n+1)(1-alpha))/n quantile of the calibration scores and eq. (1) bounds the
    miscoverage by alpha; after Vovk, Gammerman and Shafer (2005), 'Algorithmic Learning in a Random World'.
    Departures: one-sided, on the maximum over targets.  The promise is marginal, over draws of corpus and
    sentence together: with 1,512 sentences and 0.002 the third largest score rules, and the true rate of one
    such threshold is Beta(3, 1510), below 0.0042 in 95 of 100 draws.  It holds for traffic like the corpus.
    """
    if not scores.size or not np.isfinite(scores).all():
        raise ValueError("scores must be finite, and there must be some")
    largest = scores.max(axis=1) if scores.ndim == 2 else scores
    rank = conformal_rank(len(largest), retain_fpr)
    return float(np.partition(largest, rank - 1)[rank - 1])


def raise_thresholds(threshold: float, floors: Scores) -> Scores:
    """Return one threshold a target: the policy's, or the target's own floor where that is higher.

    floors: [targets], the highest score among what must pass that target; -inf where nothing is named.
    """
    return np.maximum(floors, threshold)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many, with what that says of the true share."""

    hits: int
    trials: int

    @property
    def share(self) -> float:
        """Hits of trials, in [0, 1]; 0 where nothing was tried."""
        return self.hits / self.trials if self.trials else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided Clopper-Pearson interval of 95 %; all of [0, 1] where nothing was tried."""
        return interval(self.hits, self.trials)

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.hits + other.hits, self.trials + other.trials)


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided Clopper-Pearson upper bound of a rate: 0 of 300 is at most 0.00994 with 0.95.

    Clopper and Pearson (1934), Biometrika 26, 404-413.  1.0 where there are no trials.
    """
    _check(hits, trials, confidence)
    if hits == trials:
        return 1.0
    return _solve(lambda rate: _at_most(hits, trials, rate), 1 - confidence)


def interval(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval of a rate, both ends in [0, 1]."""
    _check(hits, trials, confidence)
    tail = (1 + confidence) / 2
    lower = 0.0 if hits == 0 else 1 - upper_bound(trials - hits, trials, tail)
    return lower, upper_bound(hits, trials, tail)


def _check(hits: int, trials: int, confidence: float) -> None:
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits in {trials} trials")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}; it must lie between 0 and 1")


def _at_most(hits: int, trials: int, rate: float) -> float:
    """Return the chance of `hits` or fewer in `trials`, for a rate in (0, 1)."""
    yes, no = math.log(rate), math.log1p(-rate)
    whole = math.lgamma(trials + 1)
    terms = [
        whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * yes + (trials - k) * no
        for k in range(hits + 1)
    ]
    return math.fsum(math.exp(term) for term in terms)


def _solve(falling: Callable[[float], float], level: float) -> float:
    low, high = 0.0, 1.0
    # Sixty halvings are more than a double can tell apart.
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > level:
            low = middle
        else:
            high = middle
    return high
