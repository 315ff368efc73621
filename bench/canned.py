"""A model server that has its answer ready, to measure what is in front: `python -m bench.canned --port N`.

It looks at a request's length and at whether it asks for a stream, and writes bytes that were made
beforehand: a chat completion of 64 words, as 64 events and a usage in one write, or as one JSON object.  It
answers in well under 0.1 ms, so that what is measured is the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, cast

import orjson
import uvloop

PROSE = (
    "A good loaf begins the evening before, with flour, water and old dough. "
    "Mix them in a wide bowl until no dry flour is left. "
    "Cover it and let it stand over night. "
    "In the morning the dough is twice as high. "
    "Fold it a few times, let it rest, and bake it hot until the crust is deep brown and sounds quite hollow."
)
"""What is answered; it mentions no target of `bench.policies`."""
EVENTS = 67
"""Data events of the streamed answer: a word each, the finish, the usage and `[DONE]`."""
MODEL = "canned"
_USAGE = {"prompt_tokens": 24, "completion_tokens": 64, "total_tokens": 88}
_STREAMING = b'"stream":true', b'"stream": true'


def pieces() -> list[str]:
    """Return the texts of the content events; together they are `PROSE`."""
    first, *rest = PROSE.split(" ")
    return [first, *(f" {word}" for word in rest)]


def whole() -> bytes:
    """Return the answer to a request that does not stream: head and JSON."""
    message = {"role": "assistant", "content": PROSE, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _json({**_head("chat.completion"), "choices": [choice], "usage": _USAGE})


def streamed() -> bytes:
    """Return the answer to a request that streams: head, one HTTP chunk for each event, and the end."""
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in pieces()]
    deltas[0] = {"role": "assistant", **deltas[0]}
    choices = [[_choice(delta, None)] for delta in deltas]
    chunk = _head("chat.completion.chunk")
    events: list[dict[str, Any]] = [{**chunk, "choices": each, "usage": None} for each in choices]
    events.append({**chunk, "choices": [_choice({}, "stop")], "usage": None})
    events.append({**chunk, "choices": [], "usage": _USAGE})
    data = [b"data: %b\n\n" % orjson.dumps(event) for event in events] + [b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    head += b"transfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in data) + b"0\r\n\r\n"


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-canned", "object": kind, "created": 1760000000, "model": MODEL}


def _choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _json(body: Any) -> bytes:
    written = orjson.dumps(body)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(written) + written


class Canned(asyncio.Protocol):
    """One connection, kept open; one request after the other."""

    _whole, _streamed = whole(), streamed()
    _models = _json({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0}]})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            _, found, rest = self._buffer[: end + 2].lower().partition(b"\r\ncontent-length:")
            length = int(rest[: rest.find(b"\r\n")]) if found else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            asked_models = self._buffer.startswith(b"GET")
            self._buffer = self._buffer[end + 4 + length :]
            if asked_models:
                self._transport.write(self._models)
            else:
                wanted = any(mark in body for mark in _STREAMING)
                self._transport.write(self._streamed if wanted else self._whole)


async def serve(port: int) -> None:
    """Serve on loopback until cancelled."""
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.canned", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
