"""One client's connection: bodies within bounds, and clients that are slow or go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from guards.base import Channel
from server.app import create_app
from server.client import Client, ClientGone
from server.exchange import Exchange, Part
from server.settings import Settings
from server.upstream import HttpUpstream
from tests.fake_gateway import ASKED, CHAT, STREAMED, FakeGateway, Script, agree, is_error, listening, serve
from tests.fake_upstream import FakeUpstream


@pytest.fixture
def served(tmp_path: Path) -> Any:
    return partial(serve, tmp_path)


async def raw_request(port: int, head: str, body: bytes) -> bytes:
    """Send a request and return what comes, until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode()
    )
    writer.write(body)
    await writer.drain()
    answered = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answered


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(served: Any) -> None:
    async with served(max_body_bytes=2048) as lethe:
        reader, writer = await asyncio.open_connection("127.0.0.1", lethe.port)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 2049\r\n\r\n".encode())
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "declared"])
async def test_fifty_megabytes_get_an_answer_and_not_a_reset(served: Any, chunked: bool) -> None:
    """Even where the client reads nothing until it has sent everything."""
    size = 50 << 20
    head = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)) if chunked else bytes(size)
    async with served() as lethe:
        answered = await raw_request(lethe.port, head, body)
        assert answered.startswith(b"HTTP/1.1 413 ")
        assert is_error(orjson.loads(answered.partition(b"\r\n\r\n")[2]))
        assert lethe.gateway.opened == []
        assert b'requests_refused_total{status="413"} 1.0' in lethe.gateway.metrics.render()


async def test_a_body_without_end_is_cut_off(served: Any) -> None:
    async with served(max_body_bytes=1024) as lethe:
        one = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", lethe.port)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())

        async def pour() -> None:
            while True:
                writer.write(one)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await pour()
        writer.close()


async def test_a_body_that_takes_too_long_is_refused(served: Any) -> None:
    async with served(body_s=0.1) as lethe:
        answered = await raw_request(lethe.port, "Content-Length: 10\r\nConnection: close", b"{")
        assert b" 400 " in answered.splitlines()[0]


# Load, and clients that go away.


def held_until(event: asyncio.Event) -> Script:
    async def wait(exchange: Exchange) -> AsyncGenerator[Part, None]:
        yield Part(0, Channel.CONTENT, "It ")
        await event.wait()
        yield Part(0, finish_reason="stop")

    return wait


async def test_more_than_is_taken_on_is_refused_before_anything_is_asked(served: Any) -> None:
    held = asyncio.Event()
    async with served(held_until(held), max_exchanges=1) as lethe:
        async with lethe.client.post(CHAT, json=STREAMED) as response:
            status, body, headers = await lethe.ask()
            assert status == 503 and is_error(body) and int(headers["Retry-After"]) >= 1
            assert len(lethe.gateway.opened) == 1
            held.set()
            await response.read()
        assert (await lethe.ask())[0] == 200


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("beginning", [True, False], ids=["before the answer", "within the answer"])
async def test_a_client_that_goes_away_ends_its_exchange(served: Any, body: Any, beginning: bool) -> None:
    never, reached = asyncio.Event(), asyncio.Event()

    async def stall() -> None:
        reached.set()
        await never.wait()

    async def wait(exchange: Exchange) -> AsyncGenerator[Part, None]:
        yield Part(0, Channel.CONTENT, "It ")
        await stall()

    async with served(wait, max_exchanges=1) as lethe:
        if beginning:
            lethe.gateway.beginning = stall
        asking = asyncio.create_task(lethe.ask(body))
        await reached.wait()
        asking.cancel()
        await asyncio.wait_for(lethe.gateway.an_end.wait(), 5)
        assert lethe.gateway.ended == 1
        lethe.gateway.beginning, lethe.gateway.script = None, agree
        assert (await lethe.ask())[0] == 200


async def test_a_quiet_stream_is_kept_alive_by_comments() -> None:
    sent: list[Any] = []
    commented = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body", b"").startswith(b":"):
            commented.set()

    async def chunks() -> AsyncGenerator[bytes, None]:
        await commented.wait()
        yield b"data: 1\n\n"

    await Client(send, 5, quiet_s=0.01).stream(chunks())
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"].startswith(b":") and sent[-2]["body"] == b"data: 1\n\n"
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_client_that_takes_nothing_in_is_gone() -> None:
    closed = False

    async def send(message: Any) -> None:
        await asyncio.Event().wait()

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            yield b"data: 1\n\n"
        finally:
            closed = True

    with pytest.raises(ClientGone):
        await Client(send, 0.01).stream(chunks())
    assert closed


# Stopping.


async def test_stopping_leaves_a_running_answer_its_time(served: Any) -> None:
    held = asyncio.Event()
    async with served(held_until(held)) as lethe, lethe.client.post(CHAT, json=STREAMED) as response:
        lethe.listener.should_exit = True
        held.set()
        assert (await response.read()).endswith(b"[DONE]\n\n")


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "streamed"])
async def test_an_answer_beyond_the_grace_time_is_ended(tmp_path: Path, body: Any) -> None:
    reached = asyncio.Event()

    async def wait(exchange: Exchange) -> AsyncGenerator[Part, None]:
        yield Part(0, Channel.CONTENT, "It ")
        reached.set()
        await asyncio.Event().wait()

    async with FakeUpstream() as fake:
        upstream = HttpUpstream(fake.url)
        gateway = FakeGateway(upstream, wait)
        app = create_app(Settings(policy=Path("p"), upstream=fake.url, state=tmp_path), gateway=gateway)
        async with listening(app, grace_s=0) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            data = orjson.dumps(body)
            head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            await reached.wait()
        assert gateway.ended == 1
        answered = await reader.read()
        writer.close()
        await writer.wait_closed()
        await upstream.close()
    assert answered.startswith(b"HTTP/1.1 200 " if body is STREAMED else b"HTTP/1.1 503 ")
    assert b"[DONE]" not in answered
