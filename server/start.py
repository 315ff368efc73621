"""`lethe serve`: one worker in this process, or several below it, until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp

from server.app import create_admin_app, create_app, readiness
from server.children import demo_model
from server.compiler import Compiler
from server.keys import installation_key
from server.metrics import Metrics
from server.parent import Parent
from server.pipeline import Gateway
from server.reload import Reloader
from server.serving import Listener, announce, listen, run, speak_plainly, stop_signals, tell_upstream, unless
from server.settings import DEMO, Settings
from server.vllm import vllm_behind

log = logging.getLogger("lethe")


Around = Callable[[Gateway, ASGIApp], ASGIApp]
"""Makes the application that clients reach of the gateway and of its own application."""


def serve(settings: Settings, around: Around | None = None) -> int:
    """Serve until a signal comes; return the exit status.

    around: an application around the gateway's own, for one worker alone.
    Raises StartError, or whatever the gateway's start raises.
    """
    speak_plainly()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(listen(settings.host, settings.port))
        admin = stack.enter_context(listen(settings.admin_host, settings.admin_port, "--admin-port"))
        # Here, where what is logged is read: a process that compiles says nothing.
        installation_key(settings.state)
        if settings.upstream == DEMO:
            url = stack.enter_context(demo_model())
            settings = settings.model_copy(update={"upstream": url})
        settings = stack.enter_context(vllm_behind(settings))
        if settings.workers == 1:
            run(_alone(settings, client, admin, around))
        else:
            parent = stack.enter_context(Parent(settings, client, admin))
            run(parent.serve())
    log.info("stopped")
    return 0


async def _alone(
    settings: Settings, client: socket.socket, admin: socket.socket, around: Around | None
) -> None:
    stopping, metrics = stop_signals(), Metrics()
    compiler = Compiler(settings.state, settings.encoder)
    reloader = Reloader(settings.policy, compiler, metrics)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.look_now)
    try:
        artefact = await unless(stopping, reloader.start())
        if artefact is None:
            return
        gateway = await Gateway.start(settings, artefact, metrics)
        try:
            await _serve(settings, gateway, reloader, stopping, (client, admin), around)
        finally:
            await gateway.close()
    finally:
        await compiler.stop()


async def _serve(
    settings: Settings,
    gateway: Gateway,
    reloader: Reloader,
    stopping: asyncio.Event,
    sockets: tuple[socket.socket, socket.socket],
    around: Around | None,
) -> None:
    gateway.watched = lambda: reloader.state
    app: ASGIApp = create_app(settings, gateway=gateway)
    front = Listener(app if around is None else around(gateway, app), settings.grace_s)
    front.stop_on_signals(stopping)

    async def ready() -> dict[str, Any]:
        detail = {**await readiness(gateway), **reloader.state.shown()}
        return {**detail, "accepting": not stopping.is_set()}

    over = asyncio.Event()
    back = Listener(create_admin_app(ready, gateway.metrics), 0)
    watching = asyncio.create_task(back.run_until(over, sockets[1]))
    following = asyncio.create_task(reloader.run(gateway.place))
    # Without it the policy would never change again, and nobody would know.
    following.add_done_callback(lambda _: stopping.set())
    announce(*sockets, gateway.policy.name, len(gateway.policy.targets))
    looking = asyncio.create_task(tell_upstream(ready))
    try:
        await front.run_until(stopping, sockets[0])
    finally:
        looking.cancel()
        following.cancel()
        over.set()
        ended, _ = await asyncio.gather(following, looking, return_exceptions=True)
        await watching
    if isinstance(ended, Exception):
        raise ended
