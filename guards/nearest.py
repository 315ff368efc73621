"""The examples nearest to a text: by looking at all of them while that is fastest, by a graph beyond.

The graph is HNSW (Malkov and Yashunin 2016, arXiv:1603.09320, algorithms 1, 4 and 5) as faiss has it, over
rows of half precision.  How far a search goes (ef) is no constant: when the graph is built it is raised until
the ten nearest are found as they should be, near to the rows and far from them, and where it cannot be raised
far enough, all rows are looked at instead.  So what thresholds are calibrated with is what serves: the very
graph travels and is kept, it is never built again from its rows.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from guards.encoder import Vectors

GRAPH_FROM = 12_000
"""Rows from which on a graph is used.  It is faster from some 2,500 on (`python -m bench.index`), but up to
here to look at all costs less than a quarter of an encoder's call, finds everything and needs no building."""
RECALL = 0.997
"""Of the ten nearest rows, the share that a search of the graph must find when it is built."""

_LINKS, _BREADTH = 16, 100
"""M and efConstruction: with more, building takes longer, and searches are not faster by as much."""
_EFS = (64, 128, 256, 512, 1024, 2048)
_BRIEF_EF = 96
"""How far a search goes that nothing is decided by."""
_PROBES = 128
"""Texts of each kind that recall is measured with."""
_BLOCK = 8_192
_TEN = 10
_TIE = 1e-6
_MOST_DROPPED = 0.25
"""Of all rows: with more of them dropped, a search of the graph would pass too few that are not."""

Rows = NDArray[np.int64]

_faiss: Any = faiss
"""What its own types leave out is used below."""


class Nearest:
    """Rows of unit length, and which of them are nearest to a text by cosine.

    Immutable; for several threads at once.  Can be pickled: arrays then stay where they are read from, and a
    graph is neither copied nor built again.
    """

    def __init__(self, rows: Vectors, probes: Vectors, step: Callable[[], None] = lambda: None) -> None:
        """rows: [rows, dim], at least one.  probes: [texts, dim] that are far from most rows, at least one.

        step: called again and again while a graph is built; what it raises ends that.
        """
        self._rows: Vectors | None = rows
        self._graph: NDArray[np.uint8] | None = None
        self._ef = 0
        """How far a search of the graph goes; 0 where all rows are looked at."""
        self._dropped: NDArray[np.bool_] | None = None
        if len(rows) >= GRAPH_FROM:
            self._build(rows, probes, step)
        self._open()

    def __len__(self) -> int:
        """Return how many rows there are, those that were dropped not counted."""
        return int(self._count if self._dropped is None else self._count - self._dropped.sum())

    @property
    def exact(self) -> bool:
        """Whether all rows are looked at."""
        return self._ef == 0

    def __getstate__(self) -> dict[str, Any]:
        ours = ("_index", "_flat", "_halves", "_params", "_brief", "_bits", "_count")
        return {name: value for name, value in self.__dict__.items() if name not in ours}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        """Make what is no part of its state: views of the arrays, as faiss wants them."""
        if self._graph is None:
            assert self._rows is not None
            self._count = len(self._rows)
            self._index = faiss.IndexFlatIP(self._rows.shape[1])
            self._index.add(self._rows)
            self._params = self._brief = _faiss.SearchParameters()
        else:
            self._index = _read(self._graph)
            self._halves = _rows_of(self._index)
            self._count = len(self._halves)
            self._params = _faiss.SearchParametersHNSW(efSearch=max(self._ef, _TEN))
            self._brief = _faiss.SearchParametersHNSW(efSearch=_BRIEF_EF)
        if self._dropped is not None:
            self._bits = np.packbits(~self._dropped, bitorder="little")
            selector = faiss.IDSelectorBitmap(self._count, faiss.swig_ptr(self._bits))
            for params in (self._params, self._brief):
                params.sel = selector
                # faiss does not count who uses it.
                params.referenced = selector

    def vectors(self, chosen: slice | NDArray[np.intp]) -> Vectors:
        """Return [chosen, dim] float32: rows by their places, those that were dropped too."""
        rows = self._halves if self._rows is None else self._rows
        picked: Vectors = rows[chosen].astype(np.float32, copy=False)
        return picked

    def without(self, dropped: NDArray[np.bool_]) -> Nearest:
        """Return the same rows, at the same places, of which those that are marked are never found.

        dropped: [rows], not all of them.
        """
        made = copy.copy(self)
        made._dropped = dropped if self._dropped is None else dropped | self._dropped
        made._open()
        return made

    def search(self, texts: Vectors, count: int, *, brief: bool = False) -> tuple[Vectors, Rows]:
        """Return [texts, count] cosines and places of the nearest rows, in their order.

        texts: [texts, dim] float32, unit length.  count: 1 or more; where there are fewer rows, those.
        The cosines are those of the rows as they are kept, whichever way they were found.  brief: whether
        nothing is decided by it, so that a graph need not be searched as far as it is for a request.
        """
        count = min(count, len(self))
        if self._graph is not None and (self.exact or self._thinned):
            return self._by_all(texts, count)
        params = self._brief if brief else self._params
        cosines, places = self._index.search(np.ascontiguousarray(texts), count, params=params)
        if (missed := np.flatnonzero((places < 0).any(axis=1))).size:
            # A part of the graph that no link leads to: rare, and then worth looking at everything.
            cosines[missed], places[missed] = self._by_all(texts[missed], count)
        return cosines, places

    @property
    def _thinned(self) -> bool:
        return self._dropped is not None and bool(self._dropped.mean() > _MOST_DROPPED)

    def _by_all(self, texts: Vectors, count: int) -> tuple[Vectors, Rows]:
        """Look at all rows."""
        best, at = np.empty((len(texts), 0), np.float32), np.empty((len(texts), 0), np.int64)
        for start in range(0, self._count, _BLOCK):
            cosines = texts @ self.vectors(slice(start, start + _BLOCK)).T
            if self._dropped is not None:
                cosines[:, self._dropped[start : start + _BLOCK]] = -np.inf
            places = np.broadcast_to(np.arange(start, start + cosines.shape[1]), cosines.shape)
            best, at = np.concatenate([best, cosines], axis=1), np.concatenate([at, places], axis=1)
            order = np.argsort(-best, axis=1, kind="stable")[:, :count]
            best, at = np.take_along_axis(best, order, axis=1), np.take_along_axis(at, order, axis=1)
        return best, at

    def _build(self, rows: Vectors, probes: Vectors, step: Callable[[], None]) -> None:
        dim = rows.shape[1]
        kind = faiss.ScalarQuantizer.QT_fp16
        index = _faiss.IndexHNSWSQ(dim, kind, _LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _BREADTH
        with _some_threads():
            index.train(rows[:1])
            for start in range(0, len(rows), _BLOCK):
                step()
                index.add(np.ascontiguousarray(rows[start : start + _BLOCK]))
        self._graph = faiss.serialize_index(index)
        self._rows = None
        self._open()
        self._ef = self._reach(_near_and_far(rows, probes), step)

    def _reach(self, kinds: tuple[Vectors, ...], step: Callable[[], None]) -> int:
        """Return how far a search must go to find the ten nearest rows; 0 where that is not far enough."""
        wanted = []
        for texts in kinds:
            step()
            wanted.append(self._by_all(texts, _TEN)[0][:, -1:])
        for ef in _EFS:
            step()
            params = _faiss.SearchParametersHNSW(efSearch=ef)
            found = [self._index.search(texts, _TEN, params=params)[0] for texts in kinds]
            recalls = [(near >= least - _TIE).mean() for near, least in zip(found, wanted, strict=True)]
            if min(recalls) >= RECALL:
                return ef
        return 0


def _near_and_far(rows: Vectors, probes: Vectors) -> tuple[Vectors, ...]:
    """Return what recall is measured with: what is far from most rows, and what is on the way to one."""
    far = probes[:: -(-len(probes) // _PROBES)]
    some = rows[:: -(-len(rows) // len(far))][: len(far)]
    near = some + far[: len(some)] / 2
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    return np.ascontiguousarray(far), near.astype(np.float32)


def _read(graph: NDArray[np.uint8]) -> Any:
    """Return the index in these bytes, which it uses where they are: they must outlive it."""
    return faiss.read_index(_faiss.ZeroCopyIOReader(faiss.swig_ptr(graph), graph.nbytes))


def _rows_of(index: Any) -> NDArray[np.float16]:
    codes = _faiss.downcast_index(index.storage).codes
    halves: NDArray[np.float16] = faiss.rev_swig_ptr(codes.data(), codes.size()).view(np.float16)
    return halves.reshape(index.ntotal, index.d)


@contextmanager
def _some_threads() -> Iterator[None]:
    """Let faiss use half of the processors for a while: the others serve."""
    faiss.omp_set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(1)
