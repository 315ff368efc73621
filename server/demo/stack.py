"""The processes of the demo: a model, gateways in front of it, and a relay that makes a model deaf."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from server.settings import state_folder

START_S = 300
"""The first start on a machine exports the encoder."""
_STOP_S = 30
_POLL_S = 0.1
_KEPT = ("encoders", "retain")
"""What is made once on a machine, and good for every policy."""


class StartFailed(RuntimeError):
    """A process of the demo did not come up; the message ends with what it said."""


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """`lethe` with some arguments, as a process that ends with this one however that comes about."""

    def __init__(self, arguments: Sequence[str], said: IO[bytes]) -> None:
        self._name, self._said = arguments[0], said
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server.demo.attached", *arguments],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("LETHE_")},
        )

    def wait_until(self, url: str) -> None:
        """Return once `url` answers 200.  Raises StartFailed where the process ends or is too slow."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(url):
                return
            time.sleep(_POLL_S)
        raise self._failed()

    def wait(self) -> None:
        """Return once the process has done its work.  Raises StartFailed where it failed or is too slow."""
        try:
            status = self._process.wait(START_S)
        except subprocess.TimeoutExpired:
            raise self._failed() from None
        if status:
            raise self._failed()

    def stop(self) -> None:
        """End the process, and by force what is left of it and of all that it started."""
        group = self._process.pid
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _failed(self) -> StartFailed:
        self._said.seek(0)
        words = self._said.read()[-2000:].decode(errors="replace").replace("lethe: ", "").strip()
        return StartFailed(f"lethe {self._name} did not start: {words}")


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=5)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def process(arguments: Sequence[str]) -> Iterator[Child]:
    """Run `lethe` with these arguments until the context ends."""
    with tempfile.TemporaryFile() as said:
        child = Child(arguments, said)
        try:
            yield child
        finally:
            child.stop()


@contextlib.contextmanager
def model() -> Iterator[str]:
    """Serve the demo model; the context's value is its base URL."""
    port = free_port()
    with process(["model", "--port", str(port)]) as child:
        child.wait_until(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"


@contextlib.contextmanager
def upstream_and_encoder(upstream: str | None) -> Iterator[str]:
    """Serve the demo model unless there is an `upstream`, and begin once this machine's encoder is there too.

    The encoder is made in a process of its own: one that is made in a thread of this one could not be ended
    before it is done.
    """
    with (
        process(["prepare"]) as encoder,
        model() if upstream is None else contextlib.nullcontext(upstream) as url,
    ):
        encoder.wait()
        yield url


@contextlib.contextmanager
def gateway(policy: Path, upstream: str, state: Path, *options: str) -> Iterator[str]:
    """Serve Lethe in front of `upstream`; the context's value is its base URL."""
    port, admin = free_port(), free_port()
    arguments = [
        "serve", "--policy", str(policy), "--upstream", upstream, "--state", str(state),
        "--port", str(port), "--admin-port", str(admin), *options,
    ]  # fmt: skip
    with process(arguments) as child:
        child.wait_until(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}/v1"


def fresh_state(folder: Path) -> Path:
    """Return a new state folder at `folder`: its own audit and keys, and this machine's encoder.

    What is made once for every policy is the default folder's, by links: what is new in one is in the other.
    """
    folder.mkdir(mode=0o700, parents=True)
    for kept in _KEPT:
        ours = state_folder() / kept
        ours.mkdir(parents=True, exist_ok=True)
        (folder / kept).symlink_to(ours.absolute(), target_is_directory=True)
    return folder


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a folder that is gone with the context."""
    with tempfile.TemporaryDirectory(prefix="lethe-demo-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextlib.asynccontextmanager
async def deaf(upstream: str, port: int) -> AsyncIterator[None]:
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
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()
        await session.close()
