"""Identifiers that nobody can guess: of exchanges, of requests, of tool calls."""

from __future__ import annotations

import os
import threading

_BYTES = 16
_POOL_BYTES = 256 * _BYTES


class _Pool:
    """Random bytes of the system's, fetched many at a time: each request is a call to the kernel."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = b""
        self._at = 0

    def take(self) -> bytes:
        with self._lock:
            if self._at >= len(self._bytes):
                self._bytes, self._at = os.urandom(_POOL_BYTES), 0
            self._at += _BYTES
            return self._bytes[self._at - _BYTES : self._at]

    def forget(self) -> None:
        self._lock, self._bytes = threading.Lock(), b""


_POOL = _Pool()
os.register_at_fork(after_in_child=_POOL.forget)


def fresh_id(prefix: str) -> str:
    """Return `prefix` and 32 hex digits that were never used before, nor can be guessed."""
    return prefix + _POOL.take().hex()
