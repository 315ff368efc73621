"""The whole gateway on a real socket, in front of a scripted upstream, with its audit on: for tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import orjson
from sqlalchemy import select

from guards.registry import Guard
from policies.policy import Policy
from server.app import create_app
from server.audit import Audit, Report, store, verify
from server.ledger import FILE, Ledger
from server.metrics import Metrics
from server.pipeline import Gateway
from server.settings import Settings
from server.upstream import HttpUpstream
from tests.fake_gateway import listening
from tests.fake_upstream import FakeUpstream, Script
from tests.guarding import PEOPLE

KEY = b"k" * 32


@dataclass
class Lethe:
    """A running gateway and what is behind it."""

    gateway: Gateway
    upstream: FakeUpstream
    url: str
    state: Path
    client: openai.AsyncOpenAI
    """The official client, unmodified, without retries."""

    def play(self, script: Script) -> None:
        """Have the upstream play another script from now on."""
        self.upstream.scripts[:] = [script]

    async def ask(self, question: str, **more: Any) -> Any:
        """Ask by the official client; an answer or a stream."""
        messages = more.pop("messages", None) or [{"role": "user", "content": question}]
        return await self.client.chat.completions.create(model="m", messages=messages, **more)

    async def text(self, question: str, **more: Any) -> str:
        """Return everything a client gets for a question, streamed, as one string of all its JSON."""
        stream = await self.ask(question, stream=True, **more)
        return "".join([chunk.model_dump_json() async for chunk in stream])

    async def endings(self, count: int = 1) -> list[tuple[str, str]]:
        """Return (ending, reason) of every exchange, once there are `count`."""
        async with asyncio.timeout(10):
            # The audit's thread writes; there is no event of it to wait for.
            while len(rows := await asyncio.to_thread(self._ended)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return rows

    def _ended(self) -> list[tuple[str, str]]:
        engine = store.reading(store.locate(self.state / "audit.sqlite"))
        try:
            with engine.connect() as connection:
                bodies = connection.scalars(
                    select(store.records.c.body).order_by(store.records.c.counter)
                ).all()
        finally:
            engine.dispose()
        records = [orjson.loads(body) for body in bodies]
        return [(each["ending"], each["reason"]) for each in records if each["kind"] == "ended"]

    def verified(self) -> Report:
        """Return what `lethe audit verify` says, once the gateway is closed."""
        return verify(self.state / "audit.sqlite", self.state)


@contextmanager
def _environment(values: dict[str, str]) -> Generator[None, None, None]:
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


@asynccontextmanager
async def lethe(
    state: Path,
    script: Script,
    *,
    policy: Policy = PEOPLE,
    guard: Guard | None = None,
    api_key: str | None = None,
    **more: Any,
) -> AsyncGenerator[Lethe, None]:
    """Serve `policy` in front of an upstream that plays `script`; `api_key`: the key that clients must send."""
    async with FakeUpstream(script) as upstream:
        audit = await asyncio.to_thread(Audit.open, state / "audit.sqlite", state)
        ledger = await asyncio.to_thread(Ledger.open, state / FILE, state, KEY)
        gateway = Gateway(
            guard or Guard(policy),
            HttpUpstream(upstream.url),
            audit,
            Metrics(),
            key=KEY,
            ledger=ledger,
            **more,
        )
        named = None if api_key is None else "LETHE_TEST_KEY"
        try:
            with _environment({} if named is None else {named: str(api_key)}):
                settings = Settings(
                    policy=state / "p.yaml", upstream=upstream.url, state=state, api_key_env=named
                )
                app = create_app(settings, gateway=gateway)
            async with listening(app) as (_, port):
                url = f"http://127.0.0.1:{port}"
                async with openai.AsyncOpenAI(
                    base_url=f"{url}/v1", api_key=api_key or "sk-test", max_retries=0
                ) as client:
                    yield Lethe(gateway, upstream, url, state, client)
        finally:
            await gateway.close()
