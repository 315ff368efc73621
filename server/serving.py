"""Listening: which sockets, which applications, and how all of it ends.

One worker serves both addresses in one process; several are children of this one (`server.parent`).
SIGTERM or SIGINT stops accepting, leaves running answers `grace_s` seconds, then aborts them; the exit status
is 0.  A second signal aborts at once.
Nothing but this program's own sentences is written to stderr: libraries' loggers may quote what they handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp

from server.wording import forgetting

log = logging.getLogger("lethe")

_T = TypeVar("_T")

_SWITCH_SECONDS = 0.0005
_YOUNG_OBJECTS = 20_000
"""Objects that are made, and not gone yet, before the collector looks for cycles among them."""
_KEEPALIVE_S = 65
"""Above what clients and proxies keep idle connections for, so that they are the ones to close."""
_ABORT_S = 10
"""For aborted exchanges to write their endings."""


class StartError(Exception):
    """The server cannot start; the message is lines for people.

    exit_code: what the program exits with; 2 where its input is at fault.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` in an event loop that never prints what a failed task was doing."""
    # Next to nothing here is in a cycle: an exchange's objects go as soon as it ends, and to look for others
    # after every 700 costs a twelfth of the processor's time under load.
    gc.set_threshold(_YOUNG_OBJECTS)
    # The event loop waits so long at most for a thread that is in Python, such as the encoder's.
    sys.setswitchinterval(_SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(_unforeseen)
        runner.run(main)


def speak_plainly() -> None:
    """Send our own sentences to stderr, and nobody else's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("lethe: %(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger().handlers = [logging.NullHandler()]


def _unforeseen(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    log.error("unforeseen %s in a task", type(context.get("exception")).__name__)


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a socket that listens on an address; port 0 takes a free one.

    option: what sets the port, for whoever reads why it cannot be had.  Raises StartError.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"cannot listen on {host}: {error.strerror}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise StartError(f"cannot listen on {host}, port {port} ({option}): {error.strerror}") from None
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the URL, without a path, of a socket that listens."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def stop_signals(
    stopping: asyncio.Event | None = None,
    again: Callable[[], None] = lambda: None,
    *,
    interrupt: bool = True,
) -> asyncio.Event:
    """Return an event (`stopping`, where it is given) that SIGTERM and SIGINT set; later ones call `again`.

    interrupt: whether SIGINT counts; without it, it is ignored, as by a worker, and nothing is said.
    """
    event = asyncio.Event() if stopping is None else stopping

    def stop() -> None:
        if event.is_set():
            again()
        elif interrupt:
            log.info("stopping")
        event.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop if interrupt else lambda: None)
    return event


async def unless(event: asyncio.Event, work: Awaitable[_T]) -> _T | None:
    """Return what `work` gives, or None once `event` is set; the work is then cancelled, and has ended."""
    working, waiting = asyncio.ensure_future(work), asyncio.create_task(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


class Listener(uvicorn.Server):
    """One listening application; stops when told, not by signals."""

    def __init__(self, app: ASGIApp, grace_s: int) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Nothing here asks where a request came from.
            proxy_headers=False,
            timeout_keep_alive=_KEEPALIVE_S,
            timeout_graceful_shutdown=grace_s,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop_on_signals(
        self, stopping: asyncio.Event | None = None, *, interrupt: bool = True
    ) -> asyncio.Event:
        """Return an event that the first SIGTERM (or SIGINT) sets; the next one aborts what still runs.

        stopping: the event to be set, in place of a new one.
        """
        return stop_signals(stopping, self._abort, interrupt=interrupt)

    def _abort(self) -> None:
        for task in tuple(self.server_state.tasks):
            task.cancel()

    async def run_until(self, stopping: asyncio.Event, listening: socket.socket) -> None:
        """Serve until `stopping`, then until all requests have ended, by themselves or aborted."""
        serving = asyncio.create_task(self.serve(sockets=[listening]))
        stopped = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            self.should_exit = True
            await serving
            # uvicorn cancels what is left after the grace time and does not wait for it to end.
            if left := tuple(self.server_state.tasks):
                await asyncio.wait(left, timeout=_ABORT_S)
        finally:
            stopped.cancel()
            serving.cancel()


async def tell_upstream(ready: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """Say on stderr that the upstream cannot be asked, where readiness says so."""
    if (await ready()).get("upstream") is False:
        log.warning("the upstream does not answer, or not to this key; until it does, questions get an error")


def announce(client: socket.socket, admin: socket.socket, policy: str, targets: int) -> None:
    """Say on stderr what is served, and where."""
    log.info("policy '%s' is in force: %s", policy, forgetting(targets))
    log.info("readiness and metrics on %s", url_of(admin))
    log.info("serving on %s/v1", url_of(client))
