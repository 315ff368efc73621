"""Vectors of many texts, encoded fast and once, for suites that need hundreds of thousands of them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from guards.encoder import OnnxEncoder, Vectors

_CHUNK = 990
"""Texts that are encoded between two words of progress; divides what a thousand and ten thousand targets
have, so that the larger crowd begins with what is known."""


class Encodings:
    """Encodes texts in chunks, each kept: a run that is cut short goes on later."""

    def __init__(self, encoder: OnnxEncoder, folder: Path | None, step: Callable[[str], None]) -> None:
        """folder: where vectors are kept; None keeps none.  step: told how far it is."""
        self.dim = encoder.dim
        self.name = encoder.name
        self._encoder = encoder
        self._folder = folder
        self._step = step

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return [texts, dim] float32, rows of unit length."""
        rows = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            rows[start : start + len(chunk)] = self._chunk(chunk)
            if len(texts) > _CHUNK:
                self._step(f"encoded {start + len(chunk):,} of {len(texts):,} texts")
        return rows

    def _chunk(self, texts: Sequence[str]) -> Vectors:
        if self._folder is None:
            return self._encoder.encode_alike(texts)
        key = hashlib.sha256("\0".join((self.name, *texts)).encode()).hexdigest()[:24]
        file = self._folder / f"{key}.npy"
        try:
            vectors: Vectors = np.load(file, allow_pickle=False)
            if vectors.shape == (len(texts), self.dim):
                return vectors
        except (OSError, ValueError, EOFError):
            pass  # not there, or cut short: it is made anew
        vectors = self._encoder.encode_alike(texts)
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as made:
            np.save(made, vectors)
        os.replace(made.name, file)
        return vectors
