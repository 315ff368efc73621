"""The processes that `lethe serve` starts: workers that share the clients' socket, and the demo model.

The parent of workers serves the admin address, replaces a worker that dies and, on a signal, stops them all.
Parent and worker talk over a socket pair, a JSON object a line: the worker says once how its start went, then
answers each number with its readiness.  A child whose parent is gone stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import orjson
from prometheus_client.multiprocess import mark_process_dead

from policies.problems import PolicyError
from server.app import create_admin_app, create_app, readiness
from server.metrics import MULTIPROCESS, Metrics
from server.serving import Listener, StartError, announce, run, speak_plainly
from server.settings import Settings
from server.upstream import HttpUpstream

log = logging.getLogger("lethe")

_SPAWN = multiprocessing.get_context("spawn")
_START_S = 300
_MODEL_STOP_S = 5
_REPLY_S = 10
_STOP_S = 30
"""Beyond the grace time, for a worker to write its endings and leave; then it is killed."""


class Parent:
    """The process above several workers."""

    def __init__(self, settings: Settings, client: socket.socket, admin: socket.socket) -> None:
        self._settings = settings
        self._client = client
        self._admin = admin
        self._workers: list[Worker] = []
        self._stopping = asyncio.Event()

    def __enter__(self) -> Self:
        # Set before anything is spawned: a worker's metrics read it when they are imported.
        os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="lethe-metrics-")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(os.environ.pop(MULTIPROCESS), ignore_errors=True)

    async def serve(self) -> None:
        """Serve until a signal comes.  Raises StartError where a worker cannot start."""
        back = Listener(create_admin_app(self._ready, Metrics()), 0)
        self._stopping = back.stop_on_signals()
        over = asyncio.Event()
        watching: asyncio.Task[None] | None = None
        try:
            self._workers = [Worker(self._settings, self._client) for _ in range(self._settings.workers)]
            started = [await worker.started() for worker in self._workers]
            watching = asyncio.create_task(back.run_until(over, self._admin))
            announce(self._client, self._admin, started[0]["policy"], started[0]["targets"])
            await self._supervise()
        finally:
            # The socket first: with it open here, clients would wait in its queue for nobody.
            self._client.close()
            await asyncio.gather(*(worker.stop(self._settings.grace_s) for worker in self._workers))
            over.set()
            if watching is not None:
                await watching

    async def _supervise(self) -> None:
        stopped = asyncio.create_task(self._stopping.wait())
        tending = [asyncio.create_task(self._tend(slot)) for slot in range(len(self._workers))]
        either: list[asyncio.Task[Any]] = [stopped, *tending]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            for tended in tending:
                if tended.done():
                    tended.result()
        finally:
            for task in either:
                task.cancel()
            await asyncio.gather(*either, return_exceptions=True)

    async def _tend(self, slot: int) -> None:
        while True:
            dead = self._workers[slot]
            await dead.exited()
            mark_process_dead(dead.pid)  # type: ignore[no-untyped-call]
            log.warning("a worker died; starting another")
            await dead.stop(0)
            self._workers[slot] = Worker(self._settings, self._client)
            await self._workers[slot].started()

    async def _ready(self) -> dict[str, Any]:
        """Return what all workers that serve say; what is False of one of them is False of the server."""
        details = [said for said in await asyncio.gather(*(each.ready() for each in self._workers)) if said]
        shown: dict[str, Any] = {
            "workers": len(details),
            "accepting": bool(details) and not self._stopping.is_set(),
        }
        for detail in details:
            shown.update((name, value) for name, value in detail.items() if shown.get(name) is not False)
        return shown


class Worker:
    """A worker, as its parent sees it."""

    def __init__(self, settings: Settings, client: socket.socket) -> None:
        self._ours, theirs = socket.socketpair()
        self._process: BaseProcess = _SPAWN.Process(
            target=_worker, args=(settings, client, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self._asking = asyncio.Lock()
        self._asked = 0
        self._serving = False
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    async def started(self) -> dict[str, Any]:
        """Return the name of the policy and the number of targets once it serves.  Raises StartError."""
        try:
            async with asyncio.timeout(_START_S):
                said = await self._line()
        except (TimeoutError, OSError):
            said = {}
        if "policy" not in said:
            raise StartError(said.get("failed", "a worker did not start"), said.get("status", 1))
        self._serving = True
        return said

    async def ready(self) -> dict[str, Any]:
        """Return its readiness; nothing while it does not serve."""
        if not self._serving:
            return {}
        try:
            async with asyncio.timeout(_REPLY_S), self._asking:
                _, writer = await self._connection()
                self._asked += 1
                writer.write(b"%d\n" % self._asked)
                await writer.drain()
                # An answer that came too late for its question may still lie in front of ours.
                while said := await self._line():
                    if said.pop("answers") == self._asked:
                        return said
        except (TimeoutError, OSError):
            pass
        return {}

    async def exited(self) -> None:
        """Wait until the process has ended."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)

    async def stop(self, grace_s: int) -> None:
        """End the process: by SIGTERM and, should it not leave, by force."""
        self._process.terminate()
        try:
            async with asyncio.timeout(grace_s + _STOP_S):
                await self.exited()
        except TimeoutError:
            self._process.kill()
            await self.exited()
        self._process.join()
        if self._streams is not None:
            self._streams[1].close()
        self._ours.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(sock=self._ours)
        return self._streams

    async def _line(self) -> dict[str, Any]:
        reader, _ = await self._connection()
        line = await reader.readline()
        said: dict[str, Any] = orjson.loads(line) if line else {}
        return said


def _worker(settings: Settings, client: socket.socket, control: socket.socket) -> None:
    speak_plainly()
    run(_work(settings, client, control))


async def _work(settings: Settings, client: socket.socket, control: socket.socket) -> None:
    from guards.base import EncoderUnavailable
    from server.audit import AuditError
    from server.pipeline import Gateway

    reader, writer = await asyncio.open_connection(sock=control)
    try:
        gateway = await Gateway.start(settings)
    except (AuditError, EncoderUnavailable, ValueError, OSError) as error:
        await _say(writer, {"failed": str(error), "status": 2 if isinstance(error, PolicyError) else 1})
        return
    try:
        front = Listener(create_app(settings, gateway=gateway), settings.grace_s)
        # Ctrl-C reaches every process of a terminal; it is the parent that stops the workers.
        stopping = front.stop_on_signals(interrupt=False)
        await _say(writer, {"policy": gateway.policy.name, "targets": len(gateway.policy.targets)})

        async def converse() -> None:
            while line := await reader.readline():
                await _say(writer, {**await readiness(gateway), "answers": int(line)})
            stopping.set()

        conversing = asyncio.create_task(converse())
        await front.run_until(stopping, client)
        conversing.cancel()
        await asyncio.gather(conversing, return_exceptions=True)
    finally:
        await gateway.close()
        writer.close()


async def _say(writer: asyncio.StreamWriter, said: dict[str, Any]) -> None:
    writer.write(orjson.dumps(said) + b"\n")
    await writer.drain()


@contextlib.contextmanager
def demo_model(ignore_system: bool = False) -> Iterator[str]:
    """Start the demo model on a free loopback port, yield its URL once it answers, and stop it at the end.

    Raises StartError where it does not come up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = _SPAWN.Process(target=_model, args=(port, ignore_system), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{port}/v1"
    try:
        log.info("starting the demo model")
        if not asyncio.run(_answers(url, process)):
            raise StartError("the demo model did not start")
        yield url
    finally:
        process.terminate()
        process.join(_MODEL_STOP_S)
        process.kill()
        process.join()


async def _answers(url: str, process: BaseProcess) -> bool:
    upstream = HttpUpstream(url)
    try:
        async with asyncio.timeout(_START_S):
            while process.is_alive():
                if await upstream.ready():
                    return True
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    finally:
        await upstream.close()
    return False


def _model(port: int, ignore_system: bool) -> None:
    # Before the model's libraries are imported: a bar that fills is no sentence of ours.
    os.environ["TQDM_DISABLE"] = "1"
    from server.demo.upstream import serve_model

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # uvicorn raises the signal again once it has stopped; to die of it would leave semaphores behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    serve_model("127.0.0.1", port, ignore_system)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(0)
