"""The demo model as a child of this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from multiprocessing import connection
from multiprocessing.process import BaseProcess

from server.processes import SPAWN
from server.serving import StartError, listen, url_of
from server.upstream import HttpUpstream

log = logging.getLogger("lethe")

_START_S = 300
_MODEL_STOP_S = 5


@contextlib.contextmanager
def demo_model(ignore_system: bool = False) -> Iterator[str]:
    """Start the demo model on a free loopback port, yield its URL once it answers, and stop it at the end.

    Raises StartError where it does not come up.
    """
    with listen("127.0.0.1", 0) as listening:
        url = f"{url_of(listening)}/v1"
        process = SPAWN.Process(target=_model, args=(listening, ignore_system), daemon=True)
        process.start()
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


def _model(listening: socket.socket, ignore_system: bool) -> None:
    # Before the model's libraries are imported: a bar that fills is no sentence of ours.
    os.environ["TQDM_DISABLE"] = "1"
    from server.demo.upstream import serve_model

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # uvicorn raises the signal again once it has stopped; to die of it would leave semaphores behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    serve_model(listening, ignore_system)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(0)
