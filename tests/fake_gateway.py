"""A gateway that answers with a script behind the real application on a real socket, for tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from guards.base import Channel
from policies.policy import Policy
from server.app import create_app
from server.exchange import Exchange, Part, Question
from server.metrics import Metrics
from server.serving import Listener
from server.settings import Settings
from server.upstream import HttpUpstream, Upstream
from tests.fake_upstream import FakeUpstream

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Is it raining?"}]}
STREAMED: dict[str, Any] = {**ASKED, "stream": True}

Script = Callable[[Exchange], AsyncGenerator[Part, None]]


async def agree(exchange: Exchange) -> AsyncGenerator[Part, None]:
    for piece in ("It ", "rains."):
        yield Part(0, Channel.CONTENT, piece)
    yield Part(0, finish_reason="stop")


class Parts:
    """What `begin` returns: counts itself in and out, whether it was read or not."""

    def __init__(self, gateway: FakeGateway, parts: AsyncGenerator[Part, None]) -> None:
        self._gateway, self._parts, self._open = gateway, parts, True

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> list[Part]:
        return [await anext(self._parts)]

    async def aclose(self) -> None:
        await self._parts.aclose()
        if self._open:
            self._open = False
            self._gateway.ended += 1
            self._gateway.an_end.set()


@dataclass
class FakeGateway:
    """A gateway that answers with a script."""

    upstream: Upstream
    script: Script = agree
    beginning: Callable[[], Any] | None = None
    """Awaited before an answer begins."""
    metrics: Metrics = field(default_factory=Metrics)
    policy: Policy = field(default_factory=lambda: Policy("p", "d", ()))
    opened: list[Exchange] = field(default_factory=list)
    ended: int = 0
    an_end: asyncio.Event = field(default_factory=asyncio.Event)
    encoder: bool = True
    key: bytes = bytes(32)

    async def models(self) -> list[dict[str, Any]]:
        return await self.upstream.models()

    def open(self, question: Question, key_id: str) -> Exchange:
        exchange = Exchange(question, "d", key_id)
        self.opened.append(exchange)
        return exchange

    async def begin(self, exchange: Exchange) -> Parts:
        try:
            if self.beginning is not None:
                await self.beginning()
        except BaseException:  # a cancellation too: what does not begin has ended
            self.ended += 1
            self.an_end.set()
            raise
        return Parts(self, self.script(exchange))

    def ready(self) -> dict[str, Any]:
        return {"digest": "d", "targets": 0, "encoder": self.encoder}


@dataclass
class Served:
    gateway: FakeGateway
    client: aiohttp.ClientSession
    fake: FakeUpstream
    listener: Listener
    port: int

    async def ask(self, body: Any = ASKED, **more: Any) -> tuple[int, Any, Mapping[str, str]]:
        async with self.client.post(CHAT, json=body, **more) as response:
            return response.status, await response.json(), response.headers


@asynccontextmanager
async def listening(app: Any, grace_s: int = 5) -> AsyncIterator[tuple[Listener, int]]:
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    listener, stopping = Listener(app, grace_s), asyncio.Event()
    serving = asyncio.create_task(listener.run_until(stopping, bound))
    try:
        yield listener, port
    finally:
        stopping.set()
        await serving


@asynccontextmanager
async def serve(state: Path, script: Script = agree, **given: Any) -> AsyncIterator[Served]:
    """Serve a FakeGateway with this script under settings with `given`."""
    async with FakeUpstream() as fake:
        upstream = HttpUpstream(fake.url)
        gateway = FakeGateway(upstream, script)
        settings = Settings(policy=Path("p"), upstream=fake.url, state=state, **given)
        async with (
            listening(create_app(settings, gateway=gateway), settings.grace_s) as (listener, port),
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        ):
            yield Served(gateway, client, fake, listener, port)
        await upstream.close()


def is_error(body: Any) -> bool:
    return set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
