"""What our own processes say to each other over a socket pair: a JSON object, and bytes that belong to it.

The pair is made before the child is started and handed to it alone: nobody else can write into it.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from typing import Any, Self

import orjson

_HEAD = struct.Struct("!IQ")
"""Bytes of the JSON, and of what belongs to it."""
_READ_BYTES = 1 << 20

Said = dict[str, Any]


def _framed(said: Said, data: bytes) -> bytes:
    words = orjson.dumps(said)
    return _HEAD.pack(len(words), len(data)) + words


class Line:
    """One end of a socket pair, in an event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, ours: socket.socket) -> Self:
        """Take a socket over; it is closed with the line."""
        return cls(*await asyncio.open_connection(sock=ours, limit=_READ_BYTES))

    async def say(self, said: Said, data: bytes = b"") -> None:
        """Send a message.  Raises OSError where the other end is gone."""
        # Nothing else can come between: there is no await before both are written.
        self._writer.write(_framed(said, data))
        if data:
            self._writer.write(data)
        await self._writer.drain()

    async def hear(self) -> tuple[Said, bytes] | None:
        """Return the next message, or None once the other end is gone or cannot be understood any more."""
        try:
            words, size = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
            said: Said = orjson.loads(await self._reader.readexactly(words))
            return said, await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError, ValueError, MemoryError):
            # Where a message was not read to its end, nobody knows where the next one begins.
            return None

    def close(self) -> None:
        """Hang up; the other end hears None."""
        self._writer.close()


class PlainLine:
    """One end of a socket pair, for a process without an event loop."""

    def __init__(self, ours: socket.socket) -> None:
        ours.setblocking(True)
        self._socket = ours

    def say(self, said: Said, data: bytes = b"") -> None:
        """Send a message.  Raises OSError where the other end is gone."""
        self._socket.sendall(_framed(said, data))
        self._socket.sendall(data)

    def hear(self) -> tuple[Said, bytes] | None:
        """Wait for the next message and return it, or None once the other end is gone."""
        try:
            words, size = _HEAD.unpack(self._exactly(_HEAD.size))
            said: Said = orjson.loads(self._exactly(words))
            return said, self._exactly(size)
        except OSError:
            return None

    def waiting(self) -> bool:
        """Whether `hear` has something to return."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def _exactly(self, size: int) -> bytes:
        data = bytearray(size)
        view, at = memoryview(data), 0
        while at < size:
            read = self._socket.recv_into(view[at:])
            if not read:
                raise ConnectionResetError
            at += read
        return bytes(data)
