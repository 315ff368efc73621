"""Server-sent events, read from bytes and written as bytes.

Reading follows the WHATWG's event stream format, of which a chat completion uses data lines and comments.
Lines end at CR, LF or CRLF and at nothing else: `str.splitlines` would also cut at U+2028, which JSON may
hold bare.  Deliberately not here: JSON, and what `[DONE]` means.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from server.errors import UpstreamFailed

MAX_EVENT = 1 << 20
"""Bytes that one event may have before its end is seen."""

DONE = b"data: [DONE]\n\n"
"""The end of a stream of chat completion chunks."""

DONE_DATA = b"[DONE]"
"""The payload of `DONE`, as a reader sees it."""

COMMENT = b": keep-alive\n\n"
"""Says that the stream lives while text is held; clients skip it."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


def event(value: Any) -> bytes:
    """Return one event with `value` as JSON on one data line."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


class Events:
    """The payloads of a stream of events: the same ones however the bytes are cut.

    One of these reads one stream.  Linear in the bytes; holds at most `limit` bytes plus one fed piece.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._line: list[bytes] = []
        """Pieces of the line that has not ended."""
        self._line_bytes = 0
        self._data: list[bytes] = []
        """Data lines of the event that has not ended."""
        self._data_bytes = 0
        self._after_cr = False
        self._first_line = True
        self._error: UpstreamFailed | None = None

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes and return the payloads of the events that they end, several lines joined.

        Raises UpstreamFailed on the call after an event went over the limit: what came before it is
        returned first, so that an outcome does not depend on how the bytes were cut.
        """
        if self._error is not None:
            raise self._error
        if self._after_cr and piece:
            self._after_cr = False
            if piece[:1] == b"\n":
                piece = piece[1:]
        payloads, piece = self._plain(piece)
        if not piece:
            return payloads
        # A CR ends its line at once; only an LF right behind it, perhaps in the next piece, is part of it.
        self._after_cr = piece.endswith(b"\r")
        first, *rest = _LINE_END.split(piece)
        if not rest:
            self._hold(first)
            return payloads
        return payloads + self._ends([self._take(first), *rest])

    def _plain(self, piece: bytes) -> tuple[list[bytes], bytes]:
        """Take the whole events off a piece of nothing but the usual kind: one line of data, ended by LFs."""
        if self._line or self._data or b"\r" in piece:
            return [], piece
        # What begins the stream otherwise, with a byte order mark or a part of one, is read line by line.
        if self._first_line and not piece.startswith(b"data: "):
            return [], piece
        *events, rest = piece.split(b"\n\n")
        payloads = [
            event[6:]
            for event in events
            if event.startswith(b"data: ") and b"\n" not in event and 6 < len(event) <= self._limit
        ]
        if len(payloads) < len(events):
            return [], piece
        self._first_line = self._first_line and not payloads
        return payloads, rest

    def close(self) -> UpstreamFailed | None:
        """Say that nothing more comes; return an error if the stream ended within an event, else None."""
        if self._error is not None:
            return self._error
        line = b"".join(self._line)
        if self._data or line and not line.startswith(b":"):
            return UpstreamFailed("The model server's answer broke off.")
        return None

    def _ends(self, lines: list[bytes]) -> list[bytes]:
        """Work through whole lines, the last one excepted, which is held."""
        payloads: list[bytes] = []
        held = lines.pop()
        for line in lines:
            if self._data_bytes + len(line) > self._limit:
                self._fail()
                return payloads
            if self._first_line:
                self._first_line = False
                line = line.removeprefix(_BOM)
            if line:
                self._read(line)
            elif self._data:
                payload = b"\n".join(self._data)
                self._data.clear()
                self._data_bytes = 0
                if payload:
                    payloads.append(payload)
        self._hold(held)
        return payloads

    def _read(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_bytes += len(line)

    def _take(self, end: bytes) -> bytes:
        self._line.append(end)
        line = b"".join(self._line)
        self._line.clear()
        self._line_bytes = 0
        return line

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._line.append(piece)
            self._line_bytes += len(piece)
        if self._data_bytes + self._line_bytes > self._limit:
            self._fail()

    def _fail(self) -> None:
        self._error = UpstreamFailed("The model server sent an event that is too large.")
        self._line.clear()
        self._data.clear()
