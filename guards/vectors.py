"""Vectors of texts, kept between compiles and between starts, so that only new texts are encoded.

No text is kept: a vector is known again by a hash of its text, keyed by this installation.  A vector tells
something of its text all the same, so the file is for its owner alone.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from guards.encoder import Encoder, Vectors

_KEY_BYTES = 16
_SEAL_BYTES = 32
_SAVED_EVERY = 4096
"""New texts after which the file is written, so that a long first build that is cut short is not lost."""


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
        self._known: dict[bytes, Vectors] = dict(self._read())
        self._used: dict[bytes, None] = {}
        self._used_before: dict[bytes, None] = dict.fromkeys(self._known)
        self._unsaved = 0

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.empty((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            key = self._hash(text.encode("utf-8", "surrogatepass"))
            known = self._known.get(key)
            if known is None:
                self._step()
                known = self._known[key] = self._encoder.encode([text])[0]
                self.encoded += 1
                self._unsaved += 1
                if self._unsaved >= _SAVED_EVERY:
                    self._save()
            self._used[key] = None
            row[:] = known
        return rows

    def built(self) -> None:
        """Say that a build is over: forget what neither this one nor the one before used, and save."""
        kept = {**self._used_before, **self._used}
        dropped = len(self._known) - len(kept)
        self._known = {key: self._known[key] for key in kept}
        self._used_before, self._used = self._used, {}
        if dropped or self._unsaved:
            self._save()

    def _hash(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=_KEY_BYTES).digest()

    def _seal(self, data: bytes) -> bytes:
        about = f"{self.name} {platform.machine()} {self.dim}".encode()
        return hmac.new(self._key, about + b"\0" + data, hashlib.blake2b).digest()[:_SEAL_BYTES]

    def _read(self) -> Iterator[tuple[bytes, Vectors]]:
        try:
            sealed = self._file.read_bytes()
        except OSError:
            return
        data = sealed[_SEAL_BYTES:]
        each = _KEY_BYTES + 4 * self.dim
        whole = len(data) % each == 0 and hmac.compare_digest(sealed[:_SEAL_BYTES], self._seal(data))
        if not whole:
            return
        count = len(data) // each
        rows = np.frombuffer(data, np.float32, count * self.dim, count * _KEY_BYTES).reshape(count, self.dim)
        for place, row in enumerate(rows):
            yield data[place * _KEY_BYTES : (place + 1) * _KEY_BYTES], row

    def _save(self) -> None:
        self._unsaved = 0
        keys, rows = b"".join(self._known), list(self._known.values())
        data = keys + (np.stack(rows).astype(np.float32).tobytes() if rows else b"")
        # Without the file the next start is slow, and nothing else: a full disk must not stop a policy.
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._file.parent.glob(f"{self._file.name}.*"):
                left.unlink()
            # Mode 0600 is what a temporary file has.
            with tempfile.NamedTemporaryFile(
                dir=self._file.parent, prefix=f"{self._file.name}.", delete=False
            ) as made:
                made.write(self._seal(data) + data)
            os.replace(made.name, self._file)
