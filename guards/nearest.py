"""The examples nearest to a text: by looking at all of them while that is fastest, by inverted lists beyond.

Rows are kept in lists, each with those that are nearest to its middle, and a search looks at the lists whose
middles are nearest to the text (Sivic and Zisserman 2003, doi:10.1109/ICCV.2003.1238663; as faiss has it,
Douze et al. 2024, arXiv:2401.08281, section 5), over rows of half precision.  At how many lists is no
constant: when they are built it is raised until the ten nearest are found as they should be, near to the rows
and far from them; in the end that is all of them.  So what thresholds are calibrated with is what serves: the
very lists travel and are kept, they are never built again from their rows.

A graph (HNSW) is as fast with 50,000 rows and takes several times as long to build; with 500,000 it finds too
few of the ten nearest, however far it is searched (docs/performance.md).
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
from threadpoolctl import threadpool_limits

from guards.encoder import Vectors

LISTS_FROM = 12_000
"""Rows from which on lists are used.  They are faster from some thousands on (`python -m bench.index`), but
to look at so many costs less than a quarter of an encoder's call, finds all and needs no building."""
RECALL = 0.997
"""Of the ten nearest rows, the share that a search of the lists must find when they are built."""

_LISTS = 4
"""Times the square root of the rows: to look at the middles costs about what looking into the lists does."""
_ROUNDS, _SAMPLE = 10, 40
"""Of k-means, and the rows a list that it sees."""
_BRIEF = 16
"""Lists that are looked at where nothing is decided by what is found."""
_PROBES = 128
"""Texts of each kind that recall is measured with."""
_BLOCK = 8_192
_TEN = 10
_TIE = 1e-6
_MOST_DROPPED = 0.25
"""Of all rows: with more of them dropped, those that are left may be in other lists than those looked at."""

Rows = NDArray[np.int64]

_faiss: Any = faiss
"""What its own types leave out is used below."""


class Nearest:
    """Rows of unit length, and which of them are nearest to a text by cosine.

    Immutable; for several threads at once.  Can be pickled: arrays then stay where they are read from, and
    lists are neither copied nor built again.
    """

    def __init__(self, rows: Vectors, probes: Vectors, step: Callable[[], None] = lambda: None) -> None:
        """rows: [rows, dim], at least one.  probes: [texts, dim] that are far from most rows, at least one.

        step: called again and again while lists are built; what it raises ends that.
        """
        self._rows: Vectors | None = rows
        self._lists: NDArray[np.uint8] | None = None
        self._looked_at = 0
        """How many lists a search looks at; 0 where there are none."""
        self._dropped: NDArray[np.bool_] | None = None
        self._index: Any = None
        if len(rows) >= LISTS_FROM:
            self._build(rows, probes, step)
        self._open()

    def __len__(self) -> int:
        """Return how many rows there are, those that were dropped not counted."""
        return int(self._count if self._dropped is None else self._count - self._dropped.sum())

    @property
    def exact(self) -> bool:
        """Whether all rows are looked at."""
        return self._lists is None or self._looked_at == self._index.nlist

    def __getstate__(self) -> dict[str, Any]:
        ours = ("_index", "_starts", "_params", "_brief", "_all", "_bits", "_count")
        return {name: value for name, value in self.__dict__.items() if name not in ours}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        """Make what is no part of its state: views of the arrays, as faiss wants them."""
        if self._lists is None:
            assert self._rows is not None
            self._count = len(self._rows)
            self._index = faiss.IndexFlatIP(self._rows.shape[1])
            self._index.add(self._rows)
            self._params = self._brief = self._all = _faiss.SearchParameters()
        else:
            self._index = _read(self._lists)
            self._count = self._index.ntotal
            self._starts = _starts_of(self._index, self._lists)
            self._params, self._brief, self._all = (
                _faiss.SearchParametersIVF(nprobe=lists)
                for lists in (max(1, self._looked_at), _BRIEF, self._index.nlist)
            )
        if self._dropped is not None:
            self._bits = np.packbits(~self._dropped, bitorder="little")
            selector = faiss.IDSelectorBitmap(self._count, faiss.swig_ptr(self._bits))
            for params in (self._params, self._brief, self._all):
                params.sel = selector
                # faiss does not count who uses it.
                params.referenced = selector

    def vectors(self, chosen: slice | NDArray[np.intp]) -> Vectors:
        """Return [chosen, dim] float32: rows by their places, those that were dropped too."""
        if self._rows is not None:
            return self._rows[chosen]
        assert self._lists is not None
        size = self._index.code_size
        rows = np.ndarray((len(self._lists) - size + 1, size), np.uint8, self._lists.data, strides=(1, 1))
        halves: NDArray[np.float16] = rows[self._starts[chosen]].view(np.float16)
        return halves.astype(np.float32)

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
        nothing is decided by it, so that fewer lists need be looked at than for a request.
        """
        count = min(count, len(self))
        params = self._all if self._thinned else self._brief if brief else self._params
        cosines, places = self._looked_up(texts, count, params)
        if (missed := np.flatnonzero((places < 0).any(axis=1))).size:
            # Fewer rows than asked for are in the lists nearest to a text.
            cosines[missed], places[missed] = self._looked_up(texts[missed], count, self._all)
        return cosines, places

    @property
    def _thinned(self) -> bool:
        return self._dropped is not None and bool(self._dropped.mean() > _MOST_DROPPED)

    def _looked_up(self, texts: Vectors, count: int, params: Any) -> tuple[Vectors, Rows]:
        found: tuple[Vectors, Rows] = self._index.search(np.ascontiguousarray(texts), count, params=params)
        return found

    def _build(self, rows: Vectors, probes: Vectors, step: Callable[[], None]) -> None:
        dim = rows.shape[1]
        kind, by = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        with _some_threads():
            middles = faiss.IndexFlatIP(dim)
            middles.add(_middles(rows, step))
            index = _faiss.IndexIVFScalarQuantizer(middles, dim, middles.ntotal, kind, by)
            # What is kept is the row itself, so that a cosine is the same in whatever list it is.
            index.by_residual = False
            index.train(rows[:1])
            for start in range(0, len(rows), _BLOCK):
                step()
                index.add(np.ascontiguousarray(rows[start : start + _BLOCK]))
        self._lists = faiss.serialize_index(index)
        self._rows = None
        self._open()
        self._looked_at = self._reach(_near_and_far(rows, probes), step)

    def _reach(self, kinds: tuple[Vectors, ...], step: Callable[[], None]) -> int:
        """Return at how many lists a search must look to find the ten nearest rows."""
        wanted = []
        for texts in kinds:
            step()
            wanted.append(self._looked_up(texts, _TEN, self._all)[0][:, -1:])
        lists = 1
        while lists < self._index.nlist:
            step()
            params = _faiss.SearchParametersIVF(nprobe=lists)
            found = [self._looked_up(texts, _TEN, params)[0] for texts in kinds]
            recalls = [(near >= least - _TIE).mean() for near, least in zip(found, wanted, strict=True)]
            if min(recalls) >= RECALL:
                return lists
            lists += -(-lists // 2)
        return int(self._index.nlist)


def _middles(rows: Vectors, step: Callable[[], None]) -> Vectors:
    """Return the middles of the lists, by k-means on the sphere over some of the rows."""
    count = round(_LISTS * len(rows) ** 0.5)
    some = np.ascontiguousarray(rows[:: max(1, len(rows) // (_SAMPLE * count))])
    found: Vectors | None = None
    for _ in range(_ROUNDS):
        step()
        # faiss says on the terminal what it thinks of so few rows a list.
        means = faiss.Kmeans(rows.shape[1], count, niter=1, spherical=True, min_points_per_centroid=1)
        means.train(some, init_centroids=found)
        found = means.centroids
    assert found is not None
    return found


def _near_and_far(rows: Vectors, probes: Vectors) -> tuple[Vectors, ...]:
    """Return what recall is measured with: what is far from most rows, and what is on the way to one."""
    far = probes[:: -(-len(probes) // _PROBES)]
    some = rows[:: -(-len(rows) // len(far))][: len(far)]
    near = some + far[: len(some)] / 2
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    return np.ascontiguousarray(far), near.astype(np.float32)


def _read(lists: NDArray[np.uint8]) -> Any:
    """Return the index in these bytes, which it uses where they are: they must outlive it."""
    return faiss.read_index(_faiss.ZeroCopyIOReader(faiss.swig_ptr(lists), lists.nbytes))


def _starts_of(index: Any, lists: NDArray[np.uint8]) -> Rows:
    """Return [rows]: at which byte of the lists each row begins."""
    starts, begin = np.empty(index.ntotal, np.int64), lists.__array_interface__["data"][0]
    kept = _faiss.downcast_InvertedLists(index.invlists)
    for each in range(index.nlist):
        size = kept.list_size(each)
        if size:
            places = faiss.rev_swig_ptr(kept.get_ids(each), size)
            first = int(kept.get_codes(each)) - begin
            starts[places] = first + index.code_size * np.arange(size)
    return starts


@contextmanager
def _some_threads() -> Iterator[None]:
    """Let faiss use half of the processors for a while: the others serve."""
    some = max(1, (os.cpu_count() or 1) // 2)
    faiss.omp_set_num_threads(some)
    try:
        with threadpool_limits(some, user_api="blas"):
            yield
    finally:
        faiss.omp_set_num_threads(1)
