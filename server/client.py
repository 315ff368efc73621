"""One client's connection: its request in, within bounds, its answer out, and whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, suppress
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from server.deadline import Later, later, within
from server.errors import RequestRejected, TooLarge, UnsupportedMedia
from server.sse import COMMENT

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

_QUIET_S = 15
"""A stream that says nothing for so long gets a comment, so that no proxy takes it for dead."""
_UNWATCHED_S = 0.1
"""For so long nobody looks whether a client is still there."""
_DRAIN_BYTES = 64 << 20
_DRAIN_S = 5


class ClientGone(Exception):
    """The client closed its connection, or does not take what it is sent: nobody waits for an answer."""


class Client:
    """The way out to one client; either answer is sent once.

    send_s: seconds for the client to take in a piece.
    """

    def __init__(self, send: Send, send_s: float, quiet_s: float = _QUIET_S) -> None:
        self._deliver = send
        self._send_s = send_s
        self._quiet_s = quiet_s
        self.started = False
        """Whether a status line has been sent."""
        self._quiet = True
        self._timer: Later | None = None
        self._comment: asyncio.Task[None] | None = None

    async def whole(self, body: bytes) -> None:
        """Send an answer in JSON.  Raises ClientGone."""
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def stream(self, chunks: AsyncGenerator[bytes, None]) -> None:
        """Send chunks as they come and close them, however this ends.

        The status line waits for the first chunk or comment, so that what fails before it can have a status
        of its own.  Raises what the chunks raise, and ClientGone.
        """
        async with aclosing(chunks):
            self._listen_for_quiet()
            try:
                async for chunk in chunks:
                    await self._chunk(chunk)
            finally:
                assert self._timer is not None
                self._timer.cancel()
                if self._comment is not None:
                    self._comment.cancel()
                    await asyncio.gather(self._comment, return_exceptions=True)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _listen_for_quiet(self) -> None:
        self._timer = later(self._quiet_s, self._look)

    def _look(self) -> None:
        if self._quiet and (self._comment is None or self._comment.done()):
            self._comment = asyncio.create_task(self._say_comment())
        self._quiet = True
        self._listen_for_quiet()

    async def _say_comment(self) -> None:
        # A client that does not take it in is found out by the next chunk.
        with suppress(ClientGone):
            await self._chunk(COMMENT)

    async def _chunk(self, chunk: bytes) -> None:
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        self._quiet = False
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _send(self, message: Message) -> None:
        try:
            await within(self._send_s, self._deliver(message))  # type: ignore[arg-type]  # a coroutine's
        except (TimeoutError, OSError):
            raise ClientGone from None


async def read_body(scope: Scope, receive: Receive, limit: int, timeout_s: float) -> bytes:
    """Return the request's body.

    Raises UnsupportedMedia unless it is declared as JSON, TooLarge as soon as it is known to exceed `limit`
    bytes (by its header, before any is read), RequestRejected if it takes too long, and ClientGone.
    """
    headers = {name.lower(): value for name, value in scope["headers"]}
    declared = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if declared != b"application/json" or headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedMedia
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length[:20]) > limit:
        raise TooLarge
    try:
        return await within(timeout_s, _collected(receive, limit))
    except TimeoutError:
        raise RequestRejected("The request took too long to arrive.") from None


async def _collected(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    async for piece in _pieces(receive):
        body += piece
        if len(body) > limit:
            raise TooLarge
    return bytes(body)


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, and cancel it once the client has gone away; either way it has ended on return.

    The request's body must have been read.  The client is watched from `_UNWATCHED_S` on: a task for
    answers that are there before would cost a tenth of them.  Raises what the work raises, or ClientGone.
    """
    task, gone = asyncio.current_task(), False
    watching: asyncio.Task[None] | None = None
    assert task is not None

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    def begin() -> None:
        nonlocal watching
        watching = asyncio.create_task(watch())

    timer = later(_UNWATCHED_S, begin)
    try:
        await work
    except asyncio.CancelledError:
        # Where somebody else cancelled the task as well, it stays cancelled.
        if gone and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()


async def drain(receive: Receive) -> None:
    """Throw away what the client is still sending, for some seconds and megabytes."""
    left = _DRAIN_BYTES
    with suppress(TimeoutError, ClientGone):
        async with asyncio.timeout(_DRAIN_S):
            async for piece in _pieces(receive):
                left -= len(piece)
                if left < 0:
                    return
