"""Starts what is measured, each in a process of its own.

Once it serves, a gateway has the first core of this machine to itself; the canned upstream and the load share
the second one.  Where the system knows no affinity, or has one core, nothing is pinned: `PINNED` says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.policies import policy_yaml

_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
PINNED = len(_CORES) > 1
GATEWAY_CORE, LOAD_CORE = (_CORES[0], _CORES[1]) if PINNED else (None, None)

LETHE_ROWS = ("no_policy", "targets_20", "targets_1000", "meaning_1000")
"""The rows that are Lethe's."""
COMPILED = Path(__file__).resolve().parent.parent / "var" / "bench"
"""Exported encoders and vectors are kept from run to run, since they are not what is measured."""
_KEY = "installation.key"
_START_S = 180
_STOP_S = 30


class StartError(Exception):
    """Something did not start; the message is for people."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves."""

    port: int
    process: subprocess.Popen[bytes]
    admin_port: int = 0

    def cpu_s(self) -> float:
        """Return the processor time that the process has had, with all its threads; nan where unknown."""
        try:
            # What clock_getcpuclockid(3) gives for another process.
            return time.clock_gettime(~self.process.pid << 3 | 2)
        except OSError:
            return float("nan")

    def resident_bytes(self) -> int:
        """Return the memory that the process holds; 0 where unknown."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name: str) -> float:
        """Return a gauge or counter without labels of Lethe's admin address; nan where there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        return float("nan")


@cache
def policy_of(row: str) -> str:
    """Return the policy file of one of Lethe's rows."""
    if row == "no_policy":
        return "lethe: 1\nname: bench\ntargets: []\n"
    kind, _, targets = row.partition("_")
    return policy_yaml(int(targets), meaning=kind == "meaning")


def pin(core: int | None, pid: int = 0) -> None:
    """Let a process, this one without `pid`, and all its threads use one core only from now on."""
    if core is None:
        return
    os.sched_setaffinity(pid, {core})
    for task in Path(f"/proc/{pid}/task").iterdir() if pid else ():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def canned() -> Iterator[str]:
    """Run the canned upstream on the load's core; yield its URL.  Raises StartError."""
    port = free_port()
    with process([sys.executable, "-m", "bench.canned", "--port", str(port)]) as (started, log):
        wait_for(f"http://127.0.0.1:{port}/v1/models", started, log, LOAD_CORE)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def passthrough(upstream: str, *joined: str) -> Iterator[Running]:
    """Run the bare gateway; `joined`, it writes what came together together.  Raises StartError."""
    port = free_port()
    command = [sys.executable, "-m", "bench.passthrough", str(port), upstream, *joined]
    with process(command) as (started, log):
        wait_for(f"http://127.0.0.1:{port}/", started, log)
        yield Running(port, started)


@contextlib.contextmanager
def lethe(upstream: str, policy: str, module: str = "server.cli") -> Iterator[Running]:
    """Run `lethe serve`: one worker, its audit on, its state in a folder of its own.  Raises StartError.

    module: what to run; anything but the command line gets the same values without their options.
    """
    port, admin = free_port(), free_port()
    with _state_folder() as state:
        file = state.parent / "policy.yaml"
        file.write_text(policy, encoding="utf-8")
        given = {"policy": file, "upstream": upstream, "port": port, "admin-port": admin, "state": state}
        command = [sys.executable, "-m", module]
        if module == "server.cli":
            command += [
                "serve",
                *(part for name, value in given.items() for part in (f"--{name}", str(value))),
            ]
        else:
            command += map(str, given.values())
        with process(command) as (started, log):
            wait_for(f"http://127.0.0.1:{port}/healthz", started, log)
            yield Running(port, started, admin)


@contextlib.contextmanager
def _state_folder() -> Iterator[Path]:
    """Yield a new folder for a gateway's state, in which what was compiled for earlier ones is there."""
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        state = Path(folder) / "state"
        state.mkdir(mode=0o700)
        for name in ("encoders", "retain", "vectors"):
            (COMPILED / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            (state / name).symlink_to(COMPILED / name)
        if (COMPILED / _KEY).is_file():  # the vectors are sealed under it
            shutil.copy2(COMPILED / _KEY, state / _KEY)
        yield state
        if not (COMPILED / _KEY).is_file() and (state / _KEY).is_file():
            shutil.copy2(state / _KEY, COMPILED / _KEY)


@contextlib.contextmanager
def process(
    command: list[str], env: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a command, all it says in a file; yield both.  It is gone when this returns."""
    with tempfile.TemporaryDirectory(prefix="lethe-bench-log-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as written:
            started = subprocess.Popen(command, stdout=written, stderr=written, env=env)
        try:
            yield started, log
        finally:
            started.terminate()
            try:
                started.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def wait_for(url: str, started: subprocess.Popen[bytes], log: Path, core: int | None = GATEWAY_CORE) -> None:
    """Return once a URL is answered, whatever with, and give the process its core.  Raises StartError."""
    deadline = time.monotonic() + _START_S
    while started.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                pass
        except urllib.error.HTTPError:
            pass
        except OSError:
            time.sleep(0.05)
            continue
        pin(core, started.pid)
        return
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    command = started.args if isinstance(started.args, list) else [str(started.args)]
    raise StartError(f"did not start: {' '.join(map(str, command[:4]))} …\n{tail}")
