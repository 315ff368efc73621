"""`lethe serve`: one worker in this process, or several below it, until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

from server.app import create_admin_app, create_app, readiness
from server.children import Parent, demo_model
from server.pipeline import Gateway
from server.serving import Listener, announce, listen, run, speak_plainly
from server.settings import DEMO, Settings

log = logging.getLogger("lethe")


def serve(settings: Settings) -> int:
    """Serve until a signal comes; return the exit status.

    Raises StartError, or whatever the gateway's start raises.
    """
    speak_plainly()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(listen(settings.host, settings.port))
        admin = stack.enter_context(listen(settings.admin_host, settings.admin_port))
        if settings.upstream == DEMO:
            url = stack.enter_context(demo_model())
            settings = settings.model_copy(update={"upstream": url})
        if settings.workers == 1:
            run(_alone(settings, client, admin))
        else:
            parent = stack.enter_context(Parent(settings, client, admin))
            run(parent.serve())
    log.info("stopped")
    return 0


async def _alone(settings: Settings, client: socket.socket, admin: socket.socket) -> None:
    gateway = await Gateway.start(settings)
    try:
        front = Listener(create_app(settings, gateway=gateway), settings.grace_s)
        stopping = front.stop_on_signals()

        async def ready() -> dict[str, Any]:
            return {**await readiness(gateway), "accepting": not stopping.is_set()}

        over = asyncio.Event()
        back = Listener(create_admin_app(ready, gateway.metrics), 0)
        watching = asyncio.create_task(back.run_until(over, admin))
        announce(client, admin, gateway.policy.name, len(gateway.policy.targets))
        try:
            await front.run_until(stopping, client)
        finally:
            over.set()
            await watching
    finally:
        await gateway.close()
