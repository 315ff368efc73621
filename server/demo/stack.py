"""The processes of the demo: a model, gateways in front of it, and a relay that makes a model deaf."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
from aiohttp import web

START_S = 180
"""The first start on a machine exports the encoder."""
_STOP_S = 30
_POLL_S = 0.1


class StartFailed(RuntimeError):
    """A process of the demo did not come up; the message ends with what it said."""


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def process(arguments: Sequence[str], ready: str) -> AsyncIterator[None]:
    """Run `lethe` with these arguments until the context ends; begin once `ready` answers 200."""
    with tempfile.TemporaryFile() as said:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "server.cli",
            *arguments,
            stdout=said,
            stderr=said,
            stdin=asyncio.subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if not name.startswith("LETHE_")},
        )
        try:
            if not await _answers(ready, child):
                said.seek(0)
                words = said.read()[-2000:].decode(errors="replace").replace("lethe: ", "").strip()
                raise StartFailed(f"lethe {arguments[0]} did not start: {words}")
            yield
        finally:
            if child.returncode is None:
                child.terminate()
                try:
                    await asyncio.wait_for(child.wait(), _STOP_S)
                except TimeoutError:
                    child.kill()
                    await child.wait()


async def _answers(url: str, child: asyncio.subprocess.Process) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while loop.time() < deadline and child.returncode is None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return True
            await asyncio.sleep(_POLL_S)
    return False


@contextlib.asynccontextmanager
async def model() -> AsyncIterator[str]:
    """Serve the demo model; the context's value is its base URL."""
    port = free_port()
    async with process(["model", "--port", str(port)], f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}/v1"


@contextlib.asynccontextmanager
async def gateway(
    policy: Path, upstream: str, state: Path, *options: str, port: int = 0
) -> AsyncIterator[str]:
    """Serve Lethe in front of `upstream`; the context's value is its base URL."""
    port, admin = port or free_port(), free_port()
    arguments = [
        "serve", "--policy", str(policy), "--upstream", upstream, "--state", str(state),
        "--port", str(port), "--admin-port", str(admin), *options,
    ]  # fmt: skip
    async with process(arguments, f"http://127.0.0.1:{port}/healthz"):
        yield f"http://127.0.0.1:{port}/v1"


@contextlib.asynccontextmanager
async def deaf(upstream: str) -> AsyncIterator[str]:
    """Serve `upstream` as one that ignores system messages: a relay that takes them out of requests."""
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300))

    async def relay(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        body["messages"] = [each for each in body["messages"] if each["role"] not in ("system", "developer")]
        async with session.post(f"{upstream}/chat/completions", json=body) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            # A gateway that has its answer hangs up: the relay then stops, as a model server would.
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", relay)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        await runner.cleanup()
        await session.close()
