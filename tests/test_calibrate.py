"""Thresholds and bounds of measured rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta  # type: ignore[import-untyped]

from policies.calibrate import (
    conformal_rank,
    conformal_threshold,
    interval,
    raise_thresholds,
    retain_sentences,
    upper_bound,
)


def test_the_retain_corpus_is_large_varied_and_half_questions() -> None:
    sentences = retain_sentences()
    assert len(sentences) == len(set(sentences)) >= 1500
    assert all(sentence == sentence.strip() for sentence in sentences)
    assert 0.4 < sum(sentence.endswith("?") for sentence in sentences) / len(sentences) < 0.7
    beginnings = {" ".join(sentence.split()[:3]) for sentence in sentences}
    assert len(beginnings) > 0.5 * len(sentences)


@pytest.mark.parametrize(
    ("count", "retain_fpr", "rank"),
    [
        (499, 0.002, 499),
        (999, 0.002, 998),
        (1000, 0.002, 999),
        (1512, 0.002, 1510),
        (99, 0.01, 99),
        (9, 0.5, 5),
    ],
)
def test_the_rank_is_the_ceiling_of_the_equation(count: int, retain_fpr: float, rank: int) -> None:
    assert conformal_rank(count, retain_fpr) == rank


@pytest.mark.parametrize(("count", "retain_fpr"), [(498, 0.002), (0, 0.5), (98, 0.01)])
def test_too_few_sentences_promise_nothing(count: int, retain_fpr: float) -> None:
    with pytest.raises(ValueError, match="needs at least"):
        conformal_rank(count, retain_fpr)


@pytest.mark.parametrize("retain_fpr", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_outside_its_range_is_refused(retain_fpr: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal_rank(1000, retain_fpr)


@given(st.integers(20, 400), st.floats(0.05, 0.6), st.integers(0, 2**32))
def test_no_more_retain_sentences_exceed_the_threshold_than_the_rate_allows(
    count: int, retain_fpr: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(size=(count, 3)).round(1)
    threshold = conformal_threshold(scores, retain_fpr)
    exceeding = int((scores.max(axis=1) > threshold).sum())
    assert exceeding <= retain_fpr * (count + 1)


def test_the_bound_holds_for_fresh_sentences_over_many_draws() -> None:
    rng = np.random.default_rng(5)
    fresh = np.array(
        [(rng.normal(size=(200, 4)).max(axis=1) > _drawn_threshold(rng)).mean() for _ in range(400)]
    )
    # The mean over draws is at most 0.05; its standard error here is below 0.001.
    assert fresh.mean() < 0.053


def _drawn_threshold(rng: np.random.Generator) -> float:
    return conformal_threshold(rng.normal(size=(199, 4)), 0.05)


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [float("inf"), 0.0]])
def test_scores_that_are_no_numbers_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        conformal_threshold(np.array(scores), 0.5)


@given(st.floats(-5, 5), st.lists(st.floats(-9, 9) | st.just(-np.inf), min_size=1))
def test_thresholds_are_only_ever_raised(threshold: float, floors: list[float]) -> None:
    raised = raise_thresholds(threshold, np.array(floors))
    assert (raised >= threshold).all()
    assert (raised >= np.array(floors)).all()
    assert all(value in {threshold, floor} for value, floor in zip(raised, floors, strict=True))


@settings(max_examples=60)
@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
def test_clopper_pearson_is_the_beta_quantile(trials: int, share: float, confidence: float) -> None:
    hits = int(share * trials)
    expected = 1.0 if hits == trials else beta.ppf(confidence, hits + 1, trials - hits)
    assert upper_bound(hits, trials, confidence) == pytest.approx(expected, abs=1e-8)
    low, high = interval(hits, trials, confidence)
    tail = (1 - confidence) / 2
    assert low == pytest.approx(0.0 if hits == 0 else beta.ppf(tail, hits, trials - hits + 1), abs=1e-8)
    assert high == pytest.approx(
        1.0 if hits == trials else beta.ppf(1 - tail, hits + 1, trials - hits), abs=1e-8
    )


def test_known_bounds() -> None:
    assert upper_bound(0, 300) == pytest.approx(0.009936, abs=1e-6)
    assert upper_bound(0, 0) == 1.0
    assert interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("hits", "trials", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)]
)
def test_impossible_counts_are_refused(hits: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"hits in|confidence"):
        interval(hits, trials, confidence)
