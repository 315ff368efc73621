"""The sentences that must pass, as vectors, and how vectors are kept on disk."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guards.encoder import Encoder, Vectors
from guards.exports import SHIPPED
from policies.calibrate import retain_sentences


@dataclass(frozen=True, slots=True)
class Retain:
    """The sentences that must pass, with their vectors.

    vectors: [sentences, dim] float32, rows of unit length, in the order of `sentences`.
    """

    sentences: tuple[str, ...]
    vectors: Vectors

    @classmethod
    def load(
        cls, encoder: Encoder, state: Path | None = None, sentences: Sequence[str] | None = None
    ) -> Retain:
        """Return the bundled corpus, or `sentences`, encoded once and kept under `state`.

        The file's name is a hash of the sentences, the encoder's name and the machine's kind, so that neither
        another corpus nor another encoder is ever taken for this one; a damaged file is made anew.
        """
        texts = retain_sentences() if sentences is None else tuple(sentences)
        if state is None:
            return cls(texts, encoder.encode(texts))
        key = hashlib.sha256("\0".join((encoder.name, platform.machine(), *texts)).encode()).hexdigest()[:24]
        file = state / "retain" / f"{key}.npy"
        vectors = _read_vectors(SHIPPED / "retain" / file.name, (len(texts), encoder.dim))
        if vectors is None:
            vectors = _read_vectors(file, (len(texts), encoder.dim))
        if vectors is None:
            vectors = encoder.encode(texts)
            _write_vectors(file, vectors)
        return cls(texts, vectors)


def _read_vectors(file: Path, shape: tuple[int, int]) -> Vectors | None:
    try:
        vectors: Vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    good = vectors.shape == shape and vectors.dtype == np.float32 and np.isfinite(vectors).all()
    return vectors if good else None


def _write_vectors(file: Path, vectors: Vectors) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npy", delete=False) as made:
        np.save(made, vectors)
    os.replace(made.name, file)
