"""Vectors as they are compared: seen from the middle of ordinary sentences, in an exact index."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from guards.encoder import Vectors
from guards.scoring import Scores

_CROWD = 5
"""Ordinary sentences that are a text's neighbours; chosen with the numbers of `guards.scoring`."""

# Products of matrices are small here, and threads that share a core with others wait for each other: on a
# busy machine two took 14 times as long as one.
faiss.omp_set_num_threads(1)
threadpool_limits(1, user_api="blas")


class Space:
    """Vectors as seen from the middle of ordinary sentences, and how crowded it is around them.

    What all sentences of a corpus share (that they are questions, say) is taken out with their mean.
    """

    def __init__(self, retain: Vectors) -> None:
        self._middle = retain.mean(axis=0)
        self.retain = self.centred(retain)
        self._index = index_of(self.retain)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_index"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._index = index_of(self.retain)

    def centred(self, vectors: Vectors) -> Vectors:
        """Return [texts, dim] vectors as seen from the middle, of unit length."""
        moved = vectors - self._middle
        unit: Vectors = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6)
        return unit

    def crowds(self, centred: Vectors) -> Scores:
        """Return [texts]: mean cosine to the nearest retain sentences."""
        nearest = self._index.search(centred, min(_CROWD, len(self.retain)))[0]
        mean: Scores = nearest.mean(axis=1, dtype=np.float64)
        return mean

    def own_crowds(self) -> Scores:
        """Return [sentences]: the same for each retain sentence, itself left out."""
        nearest = self._index.search(self.retain, min(_CROWD + 1, len(self.retain)))[0]
        mean: Scores = nearest[:, 1:].mean(axis=1, dtype=np.float64)
        return mean


def index_of(rows: Vectors) -> Any:
    """Return an exact index by inner product of [rows, dim] vectors."""
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index
