"""Vectors of texts, kept between compiles and between starts, so that only new texts are encoded.

No text is kept: a vector is known again by a hash of its text, keyed by this installation.  A vector tells
something of its text all the same, so the file is for its owner alone.
"""

from __future__ import annotations

import hashlib
import hmac
import mmap
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np

from guards.encoder import Encoder, Vectors

Buffer = bytes | memoryview

_KEY_BYTES = 16
_SEAL_BYTES = 32
_SAVED_EVERY = 4096
"""New texts after which the file is written, so that a long first build that is cut short is not lost; where
as many as these are known four times over, a quarter of those, so that to write stays less than to encode."""
_BLOCK = 8192


class RememberingEncoder:
    """An encoder that encodes no text twice.  For one thread; any number of processes may share the file.

    The file is sealed under the installation's key: one that is damaged, cut short, of another encoder or
    another installation is made anew, never read in part.  What the last two builds did not use is dropped.
    """

    def __init__(
        self, encoder: Encoder, state: Path, key: bytes, step: Callable[[], None] = lambda: None
    ) -> None:
        """`step` is called before each text that is encoded; what it raises ends the call."""
        self.name = encoder.name
        self.dim = encoder.dim
        self.encoded = 0
        """Texts that had to be encoded."""
        self._encoder = encoder
        self._step = step
        self._key = hashlib.blake2b(b"vectors", key=key[:64]).digest()
        named = f"{encoder.name}\0{platform.machine()}".encode()
        self._file = state / "vectors" / f"{self._hash(named).hex()}.bin"
        self._rows = np.empty((0, encoder.dim), np.float32)
        """Those of the file, which stay in it."""
        self._places = self._read()
        """Of each text that the file knows, by its hash: its row."""
        self._new: dict[bytes, Vectors] = {}
        self._used: set[bytes] = set()
        self._used_before = set(self._places)

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.empty((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            key = self._hash(text.encode("utf-8", "surrogatepass"))
            place = self._places.get(key)
            row[:] = self._rows[place] if place is not None else self._of_new(key, text)
            self._used.add(key)
        return rows

    def _of_new(self, key: bytes, text: str) -> Vectors:
        known = self._new.get(key)
        if known is None:
            self._step()
            known = self._new[key] = self._encoder.encode([text])[0]
            self.encoded += 1
            if len(self._new) >= max(_SAVED_EVERY, len(self._places) // 4):
                self._save({*self._places, *self._new})
        return known

    def built(self) -> None:
        """Say that a build is over: forget what neither this one nor the one before used, and save."""
        kept = self._used_before | self._used
        dropped = any(key not in kept for key in (*self._places, *self._new))
        self._used_before, self._used = self._used, set()
        if dropped or self._new:
            self._save(kept)

    def _hash(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=_KEY_BYTES).digest()

    def _seal(self, pieces: Iterable[Buffer]) -> bytes:
        about = f"{self.name} {platform.machine()} {self.dim}".encode()
        seal = hmac.new(self._key, about + b"\0", hashlib.blake2b)
        for each in pieces:
            seal.update(each)
        return seal.digest()[:_SEAL_BYTES]

    def _read(self) -> dict[bytes, int]:
        """Open the file, and return where the vector of each text that it knows is."""
        try:
            with self._file.open("rb") as file:
                mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError):
            return {}
        data = mapped[_SEAL_BYTES:]
        each = _KEY_BYTES + 4 * self.dim
        if len(data) % each or not hmac.compare_digest(mapped[:_SEAL_BYTES], self._seal([data])):
            return {}
        count = len(data) // each
        keys = bytes(data[: count * _KEY_BYTES])
        rows = np.frombuffer(data, np.float32, count * self.dim, count * _KEY_BYTES)
        self._rows = rows.reshape(count, self.dim)
        return {keys[place * _KEY_BYTES : (place + 1) * _KEY_BYTES]: place for place in range(count)}

    def _save(self, kept: set[bytes]) -> None:
        """Write the vectors of these texts, and use them from the file from then on."""
        old = [key for key in self._places if key in kept]
        new = [key for key in self._new if key in kept]
        # Without the file the next start is slow, and nothing else: a full disk must not stop a policy.
        with suppress(OSError):
            self._write([*old, *new], self._blocks(old, new))
            self._places = self._read()
            self._new = {key: self._new[key] for key in new if key not in self._places}

    def _blocks(self, old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[Vectors]:
        for start in range(0, len(old), _BLOCK):
            yield self._rows[[self._places[key] for key in old[start : start + _BLOCK]]]
        for start in range(0, len(new), _BLOCK):
            yield np.stack([self._new[key] for key in new[start : start + _BLOCK]])

    def _write(self, keys: Sequence[bytes], blocks: Iterator[Vectors]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._file.parent.glob(f"{self._file.name}.*"):
            left.unlink()
        # Mode 0600 is what a temporary file has.
        with tempfile.NamedTemporaryFile(
            dir=self._file.parent, prefix=f"{self._file.name}.", delete=False
        ) as made:

            def written() -> Iterator[Buffer]:
                rows = (block.astype(np.float32).data for block in blocks)
                pieces: Iterable[Buffer] = chain([b"".join(keys)], rows)
                for piece in pieces:
                    made.write(piece)
                    yield piece

            made.write(bytes(_SEAL_BYTES))
            seal = self._seal(written())
            made.seek(0)
            made.write(seal)
        os.replace(made.name, self._file)
