"""A scripted model server on a real loopback socket, for tests.

    async with FakeUpstream(say("It rains.")) as upstream:
        ...  # a client asks upstream.url + "/chat/completions", streamed or not
    assert upstream.requests[0]["messages"]

A script is asked with the request's body and gives a `Reply`; a list of scripts is played one a request, the
last one for all that follow.  Every request is kept: `requests` (parsed bodies), `paths`, `headers`.
What goes wrong on a wire is a `Reply` too: `fail(500)`, `raw(b"data: {")`, `raw(..., end=RESET)`, a pause on
an `asyncio.Event` among the steps.  One connection carries one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

import orjson


class End(Enum):
    """How the connection is left when all steps were played."""

    WHOLE = "whole"
    """With the closing chunk: the body is complete."""
    CUT = "cut"
    """Closed without the closing chunk: the body breaks off."""
    RESET = "reset"
    """A TCP reset."""


WHOLE, CUT, RESET = End.WHOLE, End.CUT, End.RESET

Step = Mapping[str, Any] | bytes | asyncio.Event
"""A mapping is one SSE event, bytes go out as they are, an event is waited for."""

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    steps: Iterable[Step]
    status: int = 200
    content_type: str = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    end: End = WHOLE


Script = Callable[[dict[str, Any]], Reply]


@dataclass(frozen=True)
class Choice:
    """One choice of an answer; `tool_calls` are pairs of a name and arguments (JSON text)."""

    content: str | None = None
    reasoning: str = ""
    refusal: str = ""
    tool_calls: Sequence[tuple[str, str]] = ()
    finish_reason: str | None = None
    """None stands for what fits: `tool_calls` where there are some, else `stop`."""

    @property
    def ends_with(self) -> str:
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


def say(*choices: str | Choice, cut: int = 3, done: bool = True, usage: tuple[int, int] = (5, 7)) -> Script:
    """Return a script that answers with these choices, streamed in pieces of `cut` code points or whole.

    The choices are repeated up to the request's `n`.  Pieces of several choices alternate.  `done=False`
    leaves `[DONE]` out.  Usage (prompt, completion tokens) is streamed where the request asks for it.
    """
    given = [Choice(choice) if isinstance(choice, str) else choice for choice in choices]

    def script(request: dict[str, Any]) -> Reply:
        count = max(int(request.get("n") or 1), len(given))
        answers = [given[i % len(given)] for i in range(count)]
        tokens = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        if not request.get("stream"):
            return _whole(request, answers, tokens)
        steps: list[Step] = [*_chunks(request, answers, cut)]
        if (request.get("stream_options") or {}).get("include_usage"):
            steps.append(_chunk(request, [], usage=tokens))
        return Reply([*steps, DONE] if done else steps)

    return script


def chunk(delta: Mapping[str, Any], index: int = 0, finish_reason: str | None = None) -> dict[str, Any]:
    """Return one chunk of a streamed answer with one choice in it."""
    return _chunk({}, [{"index": index, "delta": dict(delta), "finish_reason": finish_reason}])


def raw(*steps: Step, content_type: str = "text/event-stream", end: End = WHOLE) -> Script:
    """Return a script that plays these steps, whatever is asked."""
    return lambda request: Reply(steps, content_type=content_type, end=end)


def fail(status: int, body: bytes | None = None, **headers: str) -> Script:
    """Return a script that answers with an error; `_` in header names stands for `-`."""
    shown = orjson.dumps({"error": {"message": "the fake failed", "code": status}}) if body is None else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Reply([shown], status, "application/json", named)


def _chunk(request: Mapping[str, Any], choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    model = request.get("model", "fake")
    shown = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return {**shown, "choices": choices, **more}


def _pieces(text: str, cut: int) -> list[str]:
    return [text[i : i + cut] for i in range(0, len(text), cut)]


def _deltas(choice: Choice, cut: int) -> Iterable[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    yield from ({"reasoning": piece} for piece in _pieces(choice.reasoning, cut))
    yield from ({"content": piece} for piece in _pieces(choice.content or "", cut))
    yield from ({"refusal": piece} for piece in _pieces(choice.refusal, cut))
    for i, (name, arguments) in enumerate(choice.tool_calls):
        function = {"name": name, "arguments": ""}
        yield {"tool_calls": [{"index": i, "id": f"call_{i}", "type": "function", "function": function}]}
        for piece in _pieces(arguments, cut):
            yield {"tool_calls": [{"index": i, "function": {"arguments": piece}}]}


def _chunks(request: Mapping[str, Any], answers: list[Choice], cut: int) -> Iterable[dict[str, Any]]:
    tracks = [list(_deltas(choice, cut)) for choice in answers]
    for step in range(max(map(len, tracks))):
        for index, track in enumerate(tracks):
            if step < len(track):
                yield _chunk(request, [{"index": index, "delta": track[step], "finish_reason": None}])
    for index, choice in enumerate(answers):
        yield _chunk(request, [{"index": index, "delta": {}, "finish_reason": choice.ends_with}])


def _whole(request: Mapping[str, Any], answers: list[Choice], tokens: dict[str, int]) -> Reply:
    choices = []
    for index, choice in enumerate(answers):
        message: dict[str, Any] = {"role": "assistant", "content": choice.content}
        if choice.reasoning:
            message["reasoning"] = choice.reasoning
        if choice.refusal:
            message["refusal"] = choice.refusal
        if choice.tool_calls:
            message["tool_calls"] = [
                {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
                for i, (name, arguments) in enumerate(choice.tool_calls)
            ]
        choices.append({"index": index, "message": message, "finish_reason": choice.ends_with})
    body = {**_chunk(request, choices), "object": "chat.completion", "usage": tokens}
    return Reply([orjson.dumps(body)], content_type="application/json")


class FakeUpstream:
    """The server; `url` ends in `/v1`.  GET answers with the list of `models`, or with `listing`."""

    def __init__(
        self, *scripts: Script, models: Sequence[str] = ("fake",), listing: Script | None = None
    ) -> None:
        self.scripts = list(scripts)
        self.models = models
        self.listing = listing or self._list
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.abandoned = asyncio.Event()
        """Set once a client closed its connection before the reply was played to the end."""
        self._arrivals = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def asked(self, count: int = 1) -> None:
        """Wait until `count` requests (of any method) have arrived."""
        async with self._arrivals:
            await self._arrivals.wait_for(lambda: len(self.paths) >= count)

    def _list(self, request: dict[str, Any]) -> Reply:
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in self.models]
        return Reply([orjson.dumps({"object": "list", "data": data})], content_type="application/json")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.abandoned.set()
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length") or 0))
        if method == "GET":
            reply = self.listing({})
        else:
            asked = orjson.loads(body)
            script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
            self.requests.append(asked)
            reply = script(asked)
        self.headers.append(headers)
        self.paths.append(path)
        async with self._arrivals:
            self._arrivals.notify_all()
        await self._play(reply, reader, writer)

    async def _play(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {reply.status} Scripted", f"content-type: {reply.content_type}"]
        lines += ["transfer-encoding: chunked", "connection: close"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            for step in reply.steps:
                await self._step(step, writer, gone)
        finally:
            gone.cancel()
        if reply.end is WHOLE:
            writer.write(b"0\r\n\r\n")
        if reply.end is RESET:
            await writer.drain()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            await writer.drain()

    async def _step(self, step: Step, writer: asyncio.StreamWriter, gone: asyncio.Future[bytes]) -> None:
        if isinstance(step, asyncio.Event):
            paused = asyncio.ensure_future(step.wait())
            either: set[asyncio.Future[Any]] = {paused, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            paused.cancel()
        else:
            data = step if isinstance(step, bytes) else b"data: " + orjson.dumps(step) + b"\n\n"
            writer.write(b"%x\r\n%b\r\n" % (len(data), data) if data else b"")
            await writer.drain()
        if gone.done():
            raise ConnectionResetError
