"""What holds for every process that we start: how it begins, how its end is seen, and that none is left."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from multiprocessing import connection
from multiprocessing.process import BaseProcess

SPAWN = multiprocessing.get_context("spawn")
"""Never fork: a copy of a process with threads may stop at a lock that nobody holds any more."""


async def exited(process: BaseProcess) -> None:
    """Wait until a process has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)


def be_quiet() -> None:
    """Have no library write to stderr from here: it may quote what it handles.  For a child, at its start."""
    logging.getLogger().handlers = [logging.NullHandler()]


def lead_a_group() -> None:
    """Begin a process group, which ends as one: for a child, at its start, whose own children must not stay.

    A terminal's signals then reach the parent alone, which says when to stop.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def kill_group(process: BaseProcess) -> None:
    """Kill a process and whatever it has started."""
    if process.pid is None or not process.is_alive():
        return
    try:
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
            return
    except ProcessLookupError:
        return
    # It has not come so far as to lead its group.
    process.kill()
