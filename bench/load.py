"""Puts load on a gateway: so many connections, each asking again as soon as it is answered.

`python -m bench.load --port N` loads whatever listens there.  It reads as little HTTP as it can, so that the
core that it runs on keeps up with any gateway; in front of `bench.canned` it says how far it can go.
An exchange counts as failed unless its status is 200 and its answer holds the last word of the canned one.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import uvloop

from bench.canned import MODEL, PROSE
from bench.prompts import kept

Asked = str | list[dict[str, str]]
"""One question, or all the messages of a conversation."""

_LAST_WORD = PROSE.rsplit(" ", 1)[1].encode()
_END = b"\r\n0\r\n\r\n"
_DRAIN_S = 120
"""For the exchanges that are under way when the time is over."""


@dataclass(slots=True)
class Load:
    """What came of a measurement.  Times are in seconds."""

    connections: int
    streaming: bool
    seconds: float = 0.0
    """From the first request to the last answer."""
    events: int = 0
    """Data events that reached the client."""
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    """Until the first data event, or the first byte of an answer that is not streamed."""
    failures: dict[str, int] = field(default_factory=dict)
    """Counts by reason; `withheld` is an answer with status 200 that is not the canned one."""

    @property
    def exchanges(self) -> int:
        """Exchanges that ended as they should."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Exchanges a second."""
        return self.exchanges / self.seconds if self.seconds else 0.0

    def fail(self, reason: str) -> None:
        """Count a failure."""
        self.failures[reason] = self.failures.get(reason, 0) + 1


def request(asked: Asked, streaming: bool) -> bytes:
    """Return a whole HTTP request."""
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    body: dict[str, Any] = {"model": MODEL, "messages": messages}
    if streaming:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    written = orjson.dumps(body)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(written), written)


class _Connection(asyncio.Protocol):
    """Asks until the deadline or until there are no more requests, one at a time."""

    def __init__(self, load: Load, requests: Iterator[bytes], began: float, deadline: float) -> None:
        self._load, self._requests, self._start, self._deadline = load, requests, began, deadline
        self._buffer = bytearray()
        self._waiting = False
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._load.fail("connection lost")
        if not self.over.done():
            self.over.set_result(None)

    def _ask(self) -> None:
        asked = next(self._requests, None)
        if asked is None:
            self._transport.close()
            return
        self._buffer.clear()
        self._waiting = True
        self._first: float | None = None
        self._end = 0
        self._began = time.perf_counter()
        self._transport.write(asked)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        buffer = self._buffer
        buffer += data
        if self._first is None and (not self._load.streaming or b"data: " in buffer):
            self._first = now
        if not self._end:
            self._end = self._whole_length()
        if len(buffer) >= self._end if self._end > 0 else buffer.endswith(_END):
            self._answered(now)

    def _whole_length(self) -> int:
        """Return how long the answer is, head and all; -1 where a last chunk ends it, 0 not known yet."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return 0
        _, found, rest = bytes(self._buffer[: end + 2]).lower().partition(b"\r\ncontent-length:")
        return end + 4 + int(rest[: rest.find(b"\r\n")]) if found else -1

    def _answered(self, now: float) -> None:
        load, buffer = self._load, self._buffer
        self._waiting = False
        status = bytes(buffer[9:12])
        if status != b"200":
            load.fail(f"status {status.decode('latin-1')}")
        elif _LAST_WORD not in buffer or load.streaming and b"data: [DONE]" not in buffer:
            load.fail("withheld")
        else:
            load.latencies.append(now - self._began)
            load.first_bytes.append((self._first or now) - self._began)
            load.events += buffer.count(b"data: ")
        load.seconds = max(load.seconds, now - self._start)
        if now < self._deadline:
            self._ask()
        else:
            self._transport.close()


async def put(
    port: int, connections: int, streaming: bool, prompts: Iterator[Asked], seconds: float = math.inf
) -> Load:
    """Put load on 127.0.0.1:`port` for so many seconds, or until `prompts` ends; return what came of it."""
    load = Load(connections, streaming)
    requests = (request(prompt, streaming) for prompt in prompts)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    asking: list[asyncio.Future[None]] = []
    for _ in range(connections):
        made = _Connection(load, requests, began, began + seconds)
        asking.append(made.over)
        try:
            await loop.create_connection(lambda made=made: made, "127.0.0.1", port)  # type: ignore[misc]
        except OSError:
            load.fail("no connection")
            made.over.set_result(None)
    _, stuck = await asyncio.wait(asking, timeout=seconds + _DRAIN_S if seconds < math.inf else None)
    for _ in stuck:
        load.fail("no answer")
    return load


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of the values lie; nan of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def main() -> int:
    """Load one port and say what came of it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--whole", action="store_true", help="ask for answers that are not streamed")
    parser.add_argument("--json", action="store_true", help="say it as one JSON object")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        prompts = kept(time.time_ns() % 10**9)
        load = runner.run(put(given.port, given.connections, not given.whole, prompts, given.seconds))
    p50, p99 = (percentile(load.latencies, share) * 1e3 for share in (0.5, 0.99))
    if given.json:
        said = {"exchanges": load.exchanges, "requests_s": load.rate, "p50_ms": p50, "p99_ms": p99}
        print(orjson.dumps({**said, "failures": load.failures}).decode())
    else:
        failed = load.failures or "none"
        print(f"{load.rate:,.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, failed: {failed}")
    return 1 if load.failures else 0


if __name__ == "__main__":
    sys.exit(main())
