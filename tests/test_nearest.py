"""The index over examples: the nearest rows, however many there are and wherever the question is."""

from __future__ import annotations

import pickle  # noqa: TID251

import faiss
import numpy as np
import pytest

import guards.nearest
from guards.encoder import Vectors
from guards.nearest import Nearest
from server.artefact import _LEAST

DIM, ROWS = 48, 3_000


def unit(rows: Vectors) -> Vectors:
    made: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return made


def drawn(count: int, seed: int) -> Vectors:
    """Rows in crowds, as the same questions about many people are."""
    draw = np.random.default_rng(seed)
    middles = np.random.default_rng(9).normal(size=(20, DIM))
    return unit(middles[draw.integers(20, size=count)] + 0.7 * draw.normal(size=(count, DIM)))


FAR = unit(np.random.default_rng(5).normal(size=(200, DIM)))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards.nearest, "LISTS_FROM", 1_000)


@pytest.fixture(scope="module")
def rows() -> Vectors:
    return drawn(ROWS, 1)


@pytest.fixture
def lists(rows: Vectors) -> Nearest:
    made = Nearest(rows, FAR)
    assert not made.exact and made._lists is not None
    return made


def true_ten(rows: Vectors, texts: Vectors) -> Vectors:
    most: Vectors = -np.sort(-(texts @ rows.T), axis=1)[:, :10]
    return most


@pytest.mark.parametrize("which", ["near", "far"])
def test_of_the_ten_nearest_99_in_100_are_found(lists: Nearest, rows: Vectors, which: str) -> None:
    texts = drawn(300, 2) if which == "near" else unit(np.random.default_rng(6).normal(size=(300, DIM)))
    halved = rows.astype(np.float16).astype(np.float32)
    cosines, places = lists.search(texts, 64)
    assert (cosines[:, :10] >= true_ten(halved, texts)[:, -1:] - 1e-3).mean() >= 0.99
    np.testing.assert_allclose(cosines, np.einsum("td,tkd->tk", texts, rows[places]), atol=2e-3)
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_cosines_are_those_of_the_rows_as_they_are_kept(lists: Nearest) -> None:
    texts = drawn(20, 3)
    cosines, places = lists.search(texts, 10)
    for text, near, at in zip(texts, cosines, places, strict=True):
        np.testing.assert_allclose(near, lists.vectors(at) @ text, atol=1e-5)


def test_few_rows_are_all_looked_at() -> None:
    few = drawn(400, 4)
    made = Nearest(few, FAR)
    assert made.exact and len(made) == 400
    np.testing.assert_allclose(made.search(FAR, 10)[0], true_ten(few, FAR), atol=1e-6)
    assert made.search(FAR, 1000)[0].shape == (200, 400)
    np.testing.assert_array_equal(made.vectors(slice(3, 5)), few[3:5])


def test_where_recall_cannot_be_had_otherwise_all_lists_are_looked_at(
    rows: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards.nearest, "RECALL", 1.1)
    made = Nearest(rows, FAR)
    assert made.exact
    cosines, places = made.search(FAR, 10)
    np.testing.assert_allclose(cosines, true_ten(rows, FAR), atol=2e-3)
    np.testing.assert_allclose(cosines, np.einsum("td,tkd->tk", FAR, rows[places]), atol=2e-3)


def test_a_search_goes_as_far_as_recall_asks(rows: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards.nearest, "RECALL", 0.01)
    least = Nearest(rows, FAR)._looked_at
    monkeypatch.setattr(guards.nearest, "RECALL", 1.0)
    assert least == 1 < Nearest(rows, FAR)._looked_at


def test_where_the_nearest_lists_hold_too_few_all_are_looked_at(lists: Nearest, rows: Vectors) -> None:
    cosines, places = lists.search(FAR[:3], ROWS)
    assert all(sorted(each) == list(range(ROWS)) for each in places.tolist())
    np.testing.assert_allclose(cosines[:, :10], true_ten(rows, FAR[:3]), atol=2e-3)


@pytest.mark.parametrize("share", [0.1, 0.9], ids=["few", "most"])
@pytest.mark.parametrize("count", [400, ROWS])
def test_rows_that_were_dropped_are_never_found_and_all_others_are(
    rows: Vectors, count: int, share: float
) -> None:
    kept = rows[:count]
    dropped = np.random.default_rng(8).random(count) < share
    made = Nearest(kept, FAR).without(dropped)
    left = np.flatnonzero(~dropped)
    assert len(made) == len(left)
    cosines, places = made.search(FAR, 64)
    assert not dropped[places].any() and cosines.shape[1] == min(64, len(left))
    wanted = true_ten(kept[left].astype(np.float16).astype(np.float32), FAR)
    assert (cosines[:, :10] >= wanted[:, -1:] - 1e-3).mean() >= 0.99
    again = made.without(np.isin(np.arange(count), places[:3, 0]))
    assert not np.isin(again.search(FAR, 5)[1], places[:3, 0]).any()


@pytest.mark.parametrize("count", [400, ROWS])
def test_a_copy_is_the_same_lists_where_its_bytes_are(rows: Vectors, count: int) -> None:
    made = Nearest(rows[:count], FAR)
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(made, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < _LEAST
    read_only = [memoryview(each.raw().tobytes()) for each in buffers]
    again = pickle.loads(pickled, buffers=read_only)
    for kind in (FAR, drawn(100, 7)):
        for mine, its in zip(made.search(kind, 64), again.search(kind, 64), strict=True):
            np.testing.assert_array_equal(mine, its)
    assert again.exact == made.exact
    if not made.exact:
        start = np.frombuffer(read_only[0], np.uint8).__array_interface__["data"][0]
        first = int(again._index.invlists.get_codes(0))
        assert start < first < start + len(read_only[0])


def test_building_lists_can_be_given_up(rows: Vectors) -> None:
    class Enough(Exception):
        pass

    def step() -> None:
        raise Enough

    with pytest.raises(Enough):
        Nearest(rows, FAR, step)
    assert faiss.omp_get_max_threads() == 1
