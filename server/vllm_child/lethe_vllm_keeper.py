"""Runs one command and leaves nothing of it behind, however its own parent ends.

`python -I -S lethe_vllm_keeper.py COMMAND...` is started by `server.vllm`, in a session of its own, with a
pipe as its standard input.  The pipe's end says that the parent is gone, by `kill -9` too: a signal for the
death of a parent would be tied to the one thread that started the process, and would not reach grandchildren.
All that the command started is adopted when its own parent dies, so that an engine never outlives its server
and goes on holding the accelerator's memory.  Standard library only: it imports nothing of Lethe's.

The exit status is the command's, or 128 and the number of the signal that ended it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

STOP_S = 20.0
"""For what was asked to end; then it is killed."""
_KILLED_S = 5.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Run `command` until it ends, or the pipe does, or SIGTERM comes; return the exit status."""
    wake, waken = os.pipe()
    for end in (wake, waken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waken, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        # Handlers, so that the pipe is written; what came is read from there.
        signal.signal(number, lambda number, frame: None)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    pid = _start(command)
    status = _watch(pid, wake)
    return _end(pid, status)


def _start(command: list[str]) -> int:
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    # From here on in the child, which this only thread has forked: no lock can be held by another.
    try:
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)  # noqa: S606  # the command is the operator's, word by word
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _watch(pid: int, wake: int) -> int | None:
    """Return the command's wait status once it has ended, or None once it is told to end."""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if 0 in readable and not os.read(0, 64):
            return None
        if wake in readable:
            told = os.read(wake, 256)
            ended = _reap()
            if pid in ended:
                return ended[pid]
            if signal.SIGTERM in told or signal.SIGINT in told:
                return None


def _end(pid: int, status: int | None) -> int:
    """End whatever is left, politely and then by force; return the exit status."""
    ended = {} if status is None else {pid: status}
    # The group has this process in it, whose handler does nothing.
    os.killpg(0, signal.SIGTERM)
    _until_none_is_left(ended, STOP_S)
    deadline = time.monotonic() + _KILLED_S
    while _children() and time.monotonic() < deadline:
        for left in _children():
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        _until_none_is_left(ended, 0.1)
    if not _is_childless(ended):
        os.killpg(0, signal.SIGKILL)  # this process too: nothing more can be done from here
    return _exit_status(ended.get(pid, 0)) if status is not None else 0


def _until_none_is_left(ended: dict[int, int], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not _is_childless(ended) and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_childless(ended: dict[int, int]) -> bool:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if not pid:
            return False
        ended[pid] = status


def _reap() -> dict[int, int]:
    ended: dict[int, int] = {}
    _is_childless(ended)
    return ended


def _children() -> list[int]:
    """Return the processes whose parent this one is, the adopted ones too; none where no /proc says so."""
    me = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]
    except OSError:
        return []


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
