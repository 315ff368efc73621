"""One of several processes that serve: what it loads, when it takes it and when it stops, its parent says.

    {"do": "load", "version": 3, …} + artefact   get it ready beside the one in force
    {"do": "swap", "version": 3}                 put it in force; the first one also begins to serve
    {"do": "drop", "version": 3}                 forget it
    {"do": "ready"}                              say how it stands

Every question has an `ask`, which its answer repeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from typing import Any

from starlette.types import ASGIApp

from guards.base import EncoderUnavailable
from guards.registry import Guard
from server.app import create_app, readiness
from server.artefact import Artefact
from server.audit import AuditError
from server.messages import Line, Said
from server.pipeline import Gateway
from server.serving import Listener, run, speak_plainly, stop_signals
from server.settings import Settings

log = logging.getLogger("lethe")


def work(settings: Settings, client: socket.socket, control: socket.socket) -> None:
    """Serve clients until the parent says otherwise, or is gone."""
    speak_plainly()
    # Its parent looks after the policy's file, and says when to stop.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(_work(settings, client, control))
    except Exception as error:  # noqa: BLE001  (multiprocessing would print a traceback, which may quote anything)
        log.error("unforeseen %s in a worker", type(error).__name__)
        sys.exit(1)


async def _work(settings: Settings, client: socket.socket, control: socket.socket) -> None:
    stopping = stop_signals(interrupt=False)
    line = await Line.over(control)
    worker = _Worker(settings, line)
    conversing = asyncio.create_task(worker.converse(stopping))
    try:
        swapped = asyncio.create_task(worker.swapped.wait())
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({swapped, stopped}, return_when=asyncio.FIRST_COMPLETED)
        swapped.cancel()
        stopped.cancel()
        if worker.app is not None and not stopping.is_set():
            front = Listener(worker.app, settings.grace_s)
            front.stop_on_signals(stopping, interrupt=False)
            await front.run_until(stopping, client)
    finally:
        conversing.cancel()
        await asyncio.gather(conversing, return_exceptions=True)
        if worker.gateway is not None:
            await worker.gateway.close()
        line.close()


class _Worker:
    """The side of the conversation that answers."""

    def __init__(self, settings: Settings, line: Line) -> None:
        self.gateway: Gateway | None = None
        self.app: ASGIApp | None = None
        self.swapped = asyncio.Event()
        self._settings = settings
        self._line = line
        self._loaded: dict[int, Guard] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def converse(self, stopping: asyncio.Event) -> None:
        """Answer until the parent is gone, or cannot be heard any more; either sets `stopping`."""
        try:
            while (asked := await self._line.hear()) is not None:
                # One by one would have readiness wait for a policy that is being loaded.
                answering = asyncio.create_task(self._answer(*asked))
                self._answering.add(answering)
                answering.add_done_callback(self._answering.discard)
        finally:
            # Whatever it is: a worker that is deaf is worth none, and its parent starts another.
            stopping.set()
            for answering in tuple(self._answering):
                answering.cancel()
            await asyncio.gather(*self._answering, return_exceptions=True)

    async def _answer(self, said: Said, data: bytes) -> None:
        try:
            answer = await self._done(said, data)
        except Exception as error:  # noqa: BLE001  (the parent must learn that it was not done, whatever it was)
            log.error("unforeseen %s in a worker's answer to its parent", type(error).__name__)
            answer = {}
        with contextlib.suppress(OSError):
            await self._line.say({**answer, "ask": said["ask"]})

    async def _done(self, said: Said, data: bytes) -> Said:
        match said["do"]:
            case "load":
                return await self._load(said["version"], Artefact(**said["about"], data=data))
            case "swap":
                return self._swap(said["version"])
            case "drop":
                self._loaded.pop(said["version"], None)
                return {}
            case _:
                return {} if self.gateway is None else await readiness(self.gateway)

    async def _load(self, version: int, artefact: Artefact) -> Said:
        if self.gateway is None:
            try:
                self.gateway = await Gateway.start(self._settings, artefact)
                # Whatever it needs is read before it is said to be loaded, so that what is swapped serves.
                self.app = create_app(self._settings, gateway=self.gateway)
            except (AuditError, EncoderUnavailable, ValueError, OSError) as error:
                return {"loaded": False, "failed": str(error)}
            guard: Guard | None = self.gateway.guard
        else:
            guard = await self.gateway.load(artefact)
        if guard is None:
            return {"loaded": False}
        self._loaded[version] = guard
        return {"loaded": True}

    def _swap(self, version: int) -> dict[str, Any]:
        guard = self._loaded.pop(version)
        assert self.gateway is not None
        self.gateway.take(guard)
        self._loaded.clear()
        self.swapped.set()
        return {"swapped": True}
