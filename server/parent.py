"""The process above several workers, which share the clients' socket.

It serves the admin address, follows the policy's file, replaces a worker that dies and, on a signal, stops
them all.  A policy reaches the workers in two steps, so that it is in force in all of them or in none: all
load it and say so, then all take it.  A worker that is started later gets the policy in force from here,
whatever the file holds by then.  A worker whose parent is gone stops.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterable
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from prometheus_client.multiprocess import mark_process_dead

from server import vllm
from server.app import create_admin_app
from server.artefact import ABOUT, Artefact
from server.compiler import Compiler
from server.messages import Line, Said
from server.metrics import MULTIPROCESS, Metrics
from server.processes import SPAWN, exited
from server.reload import Reloader
from server.serving import Listener, StartError, announce, tell_upstream, unless
from server.settings import Settings
from server.worker import work

log = logging.getLogger("lethe")

_LOAD_S = 120
"""For a worker to be started and to load a policy."""
_REPLY_S = 10
_STOP_S = 30
"""Beyond the grace time, for a worker to write its endings and leave; then it is killed."""


class Backoff(vllm.Backoff):
    """How long to wait before a worker that died is replaced: a worker costs less to start than a model."""

    FIRST_S = 0.1
    MOST_S = 10.0


class Parent:
    """The process above several workers."""

    def __init__(self, settings: Settings, client: socket.socket, admin: socket.socket) -> None:
        self._settings = settings
        self._client = client
        self._admin = admin
        self._workers: list[Worker] = []
        self._serving: set[Worker] = set()
        self._in_force: Artefact | None = None
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
        """Serve until a signal comes.  Raises StartError where the policy or a worker cannot be started."""
        metrics = Metrics()
        compiler = Compiler(self._settings.state, self._settings.encoder)
        reloader = Reloader(self._settings.policy, compiler, metrics)

        async def ready() -> dict[str, Any]:
            return {**await self._ready(), **reloader.state.shown()}

        back = Listener(create_admin_app(ready, metrics), 0)
        self._stopping = back.stop_on_signals()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.look_now)
        try:
            # They start while the policy is compiled.
            self._workers = [Worker(self._settings, self._client) for _ in range(self._settings.workers)]
            self._in_force = await unless(self._stopping, reloader.start())
            if self._in_force is not None and await unless(self._stopping, self._seat_all()):
                await self._follow(back, reloader)
        finally:
            # The socket first: with it open here, clients would wait in its queue for nobody.
            self._client.close()
            await compiler.stop()
            await asyncio.gather(*(worker.stop(self._settings.grace_s) for worker in self._workers))

    async def _follow(self, back: Listener, reloader: Reloader) -> None:
        """Serve the admin address, follow the policy's file and tend the workers, until a signal comes."""
        over, in_force = asyncio.Event(), reloader.in_force
        watching = asyncio.create_task(back.run_until(over, self._admin))
        announce(self._client, self._admin, in_force.name, in_force.targets)
        looking = asyncio.create_task(tell_upstream(self._ready))
        doing = [
            asyncio.create_task(reloader.run(self._place)),
            *(asyncio.create_task(self._tend(slot)) for slot in range(len(self._workers))),
        ]
        try:
            await unless(self._stopping, asyncio.wait(doing, return_when=asyncio.FIRST_COMPLETED))
        finally:
            for task in (looking, *doing):
                task.cancel()
            ended = await asyncio.gather(looking, *doing, return_exceptions=True)
            over.set()
            await watching
        for error in ended:
            if isinstance(error, Exception):
                raise error

    # -- the workers ----------------------------------------------------------------------------------------

    async def _seat_all(self) -> bool:
        await asyncio.gather(*map(self._seat, self._workers))
        return True

    async def _seat(self, worker: Worker) -> None:
        """Have a worker serve under the policy in force.  Raises StartError."""
        while True:
            artefact = self._in_force
            assert artefact is not None
            await worker.load(artefact)
            if artefact is self._in_force:
                break
        # No await between the comparison and this: a policy that is placed from now on is placed here too.
        self._serving.add(worker)
        await worker.swap()

    async def _tend(self, slot: int) -> None:
        """Replace the worker of a slot whenever it dies."""
        backoff = Backoff()
        while True:
            began_s = time.monotonic()
            await self._workers[slot].exited()
            self._serving.discard(self._workers[slot])
            mark_process_dead(self._workers[slot].pid)  # type: ignore[no-untyped-call]
            await self._workers[slot].stop(0)
            await asyncio.sleep(backoff.delay_s(time.monotonic() - began_s))
            log.warning("a worker died; starting another")
            self._workers[slot] = Worker(self._settings, self._client)
            try:
                await self._seat(self._workers[slot])
            except StartError as error:
                log.warning("%s", error)
                await self._workers[slot].kill()

    async def _place(self, artefact: Artefact) -> bool:
        """Put a policy in force in all workers, or in none; return whether that could be done."""
        loaded: set[Worker] = set()
        # Again and again, since a replacement may have begun to serve under the old one meanwhile.
        while behind := self._serving - loaded:
            if not all(await asyncio.gather(*(_loads(worker, artefact) for worker in behind))):
                for worker in loaded | behind:
                    worker.drop()
                return False
            loaded |= behind
        self._in_force = artefact
        await asyncio.gather(*(self._swap(worker) for worker in tuple(self._serving)))
        return True

    async def _swap(self, worker: Worker) -> None:
        try:
            await worker.swap()
        except StartError:
            # It may be enforcing the old policy: better nothing than that.
            log.warning("a worker did not take the policy; it is replaced")
            await worker.kill()

    async def _ready(self) -> dict[str, Any]:
        """Return what all workers that serve say; what is False of one of them is False of the server."""
        said = await asyncio.gather(*(worker.ready() for worker in tuple(self._serving)))
        return _together(said, self._stopping.is_set())


def _together(said: Iterable[dict[str, Any]], stopping: bool) -> dict[str, Any]:
    details = [detail for detail in said if detail]
    shown: dict[str, Any] = {"workers": len(details), "accepting": bool(details) and not stopping}
    for detail in details:
        shown.update((name, value) for name, value in detail.items() if shown.get(name) is not False)
    return shown


async def _loads(worker: Worker, artefact: Artefact) -> bool:
    try:
        await worker.load(artefact)
    except StartError as error:
        log.warning("%s", error)
        return False
    return True


class Worker:
    """A worker, as its parent sees it."""

    def __init__(self, settings: Settings, client: socket.socket) -> None:
        self._ours, theirs = socket.socketpair()
        self._process: BaseProcess = SPAWN.Process(target=work, args=(settings, client, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._line: Line | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[Said]] = {}
        self._number = 0
        self._version = 0
        self._dropping: asyncio.Task[Said] | None = None
        self._exit: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    async def load(self, artefact: Artefact) -> None:
        """Have it load a policy beside the one that it enforces.  Raises StartError where it does not."""
        self._version += 1
        about = {name: getattr(artefact, name) for name in (*ABOUT, "kept")}
        said = {"do": "load", "version": self._version, "about": about}
        answer = await self._ask(said, artefact.data, within_s=_LOAD_S)
        if not answer.get("loaded"):
            raise StartError(answer.get("failed", "a worker could not load the policy"))

    async def swap(self) -> None:
        """Have it enforce what it loaded last.  Raises StartError where that is not certain."""
        answer = await self._ask({"do": "swap", "version": self._version}, within_s=_REPLY_S)
        if not answer.get("swapped"):
            raise StartError("a worker did not take the policy")

    def drop(self) -> None:
        """Have it forget what it loaded last, in its own time."""
        said = {"do": "drop", "version": self._version}
        self._dropping = asyncio.create_task(self._ask(said, within_s=_REPLY_S))

    async def ready(self) -> dict[str, Any]:
        """Return its readiness; nothing where it does not answer."""
        said: dict[str, Any] = await self._ask({"do": "ready"}, within_s=_REPLY_S)
        return said

    async def exited(self) -> None:
        """Wait until the process has ended."""
        # One for all who wait: an event loop tells only one of an end.
        if self._exit is None:
            self._exit = asyncio.create_task(exited(self._process))
        await asyncio.shield(self._exit)

    async def kill(self) -> None:
        """End the process by force."""
        self._process.kill()
        await self.exited()

    async def stop(self, grace_s: int) -> None:
        """End the process: by SIGTERM and, should it not leave, by force."""
        self._process.terminate()
        try:
            async with asyncio.timeout(grace_s + _STOP_S):
                await self.exited()
        except TimeoutError:
            await self.kill()
        self._process.join()
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
        if self._line is not None:
            self._line.close()
        self._ours.close()

    async def _ask(self, said: Said, data: bytes = b"", *, within_s: float) -> Said:
        """Return its answer; nothing where it is gone or slow."""
        if self._hearing is not None and self._hearing.done():
            return {}
        if self._line is None:
            self._line = await Line.over(self._ours)
            self._hearing = asyncio.create_task(self._hear(self._line))
        self._number += 1
        number = self._number
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within_s):
                await self._line.say({**said, "ask": number}, data)
                answer: Said = await future
                return answer
        except (TimeoutError, OSError):
            return {}
        finally:
            del self._asked[number]

    async def _hear(self, line: Line) -> None:
        while (heard := await line.hear()) is not None:
            future = self._asked.get(heard[0].pop("ask"))
            if future is not None and not future.done():
                future.set_result(heard[0])
        # A worker that is there still, and not understood any more, hears this and stops.
        line.close()
        for future in self._asked.values():
            if not future.done():
                future.set_result({})
