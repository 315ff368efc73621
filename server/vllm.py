"""vLLM as a child of `lethe serve`: started, watched, started again when it dies, and ended with Lethe.

    with vllm_behind(settings) as settings:  # settings.upstream is vLLM's URL now
        ...

vLLM listens on a free port of loopback and asks for a key that is made here, at each start of Lethe, on every
path (`lethe_vllm_gate`); the key travels in environments, which other accounts cannot read, and never on a
command line.  Its processes hang on a keeper (`lethe_vllm_keeper`), which ends them all when Lethe is gone,
however it went.

What vLLM writes may quote prompts.  It goes to the file that the operator names, or nowhere.  The one
exception is a first start that fails: no prompt can have reached vLLM by then, and its last lines say what is
wrong.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from policies.loader import load_policy
from server.serving import StartError
from server.settings import Settings
from server.vllm_child import lethe_vllm_keeper

log = logging.getLogger("lethe")

KEY_ENV = "LETHE_VLLM_KEY"
"""The variable of Lethe's own environment that holds the key, for its workers."""

_CHILD = Path(lethe_vllm_keeper.__file__).parent
_PROGRESS_S = 10.0
_POLL_S = 0.2
_ANSWER_S = 5.0
_STOP_S = lethe_vllm_keeper.STOP_S + 10
_TAIL_BYTES = 64 << 10
_TAIL_LINES = 20
_LINE_CHARS = 300
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[^\x20-\x7e\xa0-\U0010ffff]")


class Backoff:
    """How long to wait before each restart: 1 s, doubled up to 60 s, and 1 s again after a steady minute."""

    FIRST_S = 1.0
    MOST_S = 60.0
    STEADY_S = 60.0

    def __init__(self) -> None:
        self._next_s = self.FIRST_S

    def delay_s(self, served_s: float) -> float:
        """Return the wait before the next start, after a run that answered for `served_s` seconds."""
        if served_s >= self.STEADY_S:
            self._next_s = self.FIRST_S
        delay_s, self._next_s = self._next_s, min(self._next_s * 2, self.MOST_S)
        return delay_s


@contextlib.contextmanager
def vllm_behind(settings: Settings) -> Iterator[Settings]:
    """Run vLLM as `settings.vllm` says; yield the settings whose upstream it is, once it can be asked.

    Where the settings name no model for vLLM, they are yielded as they are.
    Raises StartError where vLLM does not come up, and PolicyError where the policy cannot be used anyway,
    before minutes are spent on loading a model.
    """
    if settings.vllm is None:
        yield settings
        return
    load_policy(settings.policy)
    key = secrets.token_urlsafe(32)
    with _reserved_port() as port, _log_file(settings.vllm_log) as output:
        supervisor = Supervisor(_command(settings, port), _environment(settings, key), port, key, output)
        os.environ[KEY_ENV] = key
        try:
            supervisor.start()
            upstream = {"upstream": f"http://127.0.0.1:{port}/v1", "upstream_key_env": KEY_ENV}
            yield settings.model_copy(update=upstream)
        finally:
            supervisor.stop()
            os.environ.pop(KEY_ENV, None)


class Supervisor:
    """One vLLM that is kept running by a thread, from `start` to `stop`."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], port: int, key: str, output: int | None
    ) -> None:
        """`output` is a file descriptor that gets what vLLM writes, or None."""
        self._command = command
        self._environment = environment
        self._port = port
        self._key = key
        self._output = output
        self._stopping = threading.Event()
        self._run: Run | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start vLLM and wait until it answers, however long its model takes to load.

        Raises StartError where it ends instead, or where SIGTERM comes first.
        """
        log.info("starting vLLM")
        with _sigterm_sets(self._stopping):
            self._run = run = self._begin(keep_tail=True)
            if not self._wait_until_it_answers(run, progress=True):
                status = run.end()
                if self._stopping.is_set():
                    raise StartError("stopped before vLLM was ready", exit_code=0)
                raise StartError(_failure(status, run.tail()))
            run.forget_tail()
        if self._status({}) == 200:
            raise StartError("vLLM answers without its key, so that others could ask it past Lethe")
        self._thread = threading.Thread(target=self._tend, args=(run,), name="vllm", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End vLLM and all that it started; returns when nothing of it is left."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        elif self._run is not None:
            self._run.end()

    def _begin(self, *, keep_tail: bool) -> Run:
        return Run(self._command, self._environment, self._output, keep_tail=keep_tail)

    def _tend(self, run: Run) -> None:
        """Start vLLM again whenever it ends, until told to stop."""
        backoff = Backoff()
        answered_at: float | None = time.monotonic()
        while True:
            while run.ended(_POLL_S) is None and not self._stopping.is_set():
                if answered_at is None and self._answers():
                    log.info("vLLM answers again")
                    answered_at = time.monotonic()
            status = run.end()
            if self._stopping.is_set():
                return
            served_s = 0.0 if answered_at is None else time.monotonic() - answered_at
            delay_s = backoff.delay_s(served_s)
            log.warning("vLLM ended (%s); starting it again in %.0f s", _said_of(status), delay_s)
            if self._stopping.wait(delay_s):
                return
            run, answered_at = self._begin(keep_tail=False), None

    def _wait_until_it_answers(self, run: Run, *, progress: bool) -> bool:
        """Return whether it answers; False once it has ended or a stop is asked for."""
        began = last = time.monotonic()
        while not self._stopping.is_set() and run.ended(_POLL_S) is None:
            if self._answers():
                return True
            if progress and time.monotonic() - last >= _PROGRESS_S:
                last = time.monotonic()
                log.info("waiting for vLLM: %.0f s", last - began)
        return False

    def _answers(self) -> bool:
        return self._status({"Authorization": f"Bearer {self._key}"}) == 200

    def _status(self, headers: Mapping[str, str]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/health", headers=dict(headers))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


class Run:
    """One life of vLLM, with the keeper above it."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], output: int | None, *, keep_tail: bool
    ) -> None:
        # -I and -S: the keeper takes nothing from the environment that is meant for vLLM.
        keeper = [sys.executable, "-I", "-S", lethe_vllm_keeper.__file__]
        self._process = subprocess.Popen(
            [*keeper, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C is for Lethe, which lets running answers end first
        )
        self._tail: bytearray | None = bytearray() if keep_tail else None
        self._status = 0
        self._over = threading.Event()
        threading.Thread(target=self._watch, args=(output,), name="vllm-watch", daemon=True).start()

    def ended(self, timeout_s: float) -> int | None:
        """Return the exit status once nothing is left of it, or None after `timeout_s`."""
        return self._status if self._over.wait(timeout_s) else None

    def end(self) -> int:
        """End it with all that it started, where it has not ended yet; return the exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not self._over.wait(_STOP_S):
            self._process.kill()  # the keeper; `_watch` does the rest
            self._over.wait()
        return self._status

    def tail(self) -> list[str]:
        """Return the last lines that it wrote; for a start that failed."""
        text = bytes(self._tail or b"").decode("utf-8", "replace").replace("\r", "\n")
        lines = [_CONTROL.sub("", line).rstrip() for line in text.split("\n")]
        return [line[:_LINE_CHARS] for line in lines if line][-_TAIL_LINES:]

    def forget_tail(self) -> None:
        """Keep nothing of what it writes from now on: prompts may be in it."""
        self._tail = None

    def _watch(self, output: int | None) -> None:
        reading = threading.Thread(target=self._read, args=(output,), name="vllm-output", daemon=True)
        reading.start()
        self._status = self._process.wait()
        # The keeper leaves nothing; should somebody have killed the keeper, its group is still there.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        reading.join(_ANSWER_S)
        self._over.set()

    def _read(self, output: int | None) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while piece := os.read(pipe.fileno(), 64 << 10):
                if output is not None:
                    with contextlib.suppress(OSError):  # a full disk must not stop vLLM
                        os.write(output, piece)
                if (tail := self._tail) is not None:
                    tail += piece
                    del tail[:-_TAIL_BYTES]


def _command(settings: Settings, port: int) -> list[str]:
    assert settings.vllm is not None
    python = str(settings.vllm_python or sys.executable)
    command = [python, "-m", "vllm.entrypoints.openai.api_server", *settings.vllm_flags]
    # Ours come last: of a flag that is given twice, vLLM takes the last one.
    command += ["--model", settings.vllm, "--host", "127.0.0.1", "--port", str(port)]
    return [*command, "--middleware", "lethe_vllm_gate.Gate", "--no-enable-log-requests"]


def _environment(settings: Settings, key: str) -> dict[str, str]:
    """Return all of our environment but what is Lethe's own, with what vLLM must have."""
    keys = {settings.api_key_env, settings.upstream_key_env}
    passed = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
    environment = {name: value for name, value in passed.items() if name not in keys}
    python = shutil.which(str(settings.vllm_python or sys.executable)) or sys.executable
    # As in an environment that is activated: what vLLM compiles with may lie beside its interpreter.
    paths = {"PATH": str(Path(python).absolute().parent), "PYTHONPATH": str(_CHILD)}
    for name, first in paths.items():
        environment[name] = os.pathsep.join(filter(None, (first, environment.get(name))))
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    return environment | {
        "VLLM_API_KEY": key,
        "VLLM_SERVER_DEV_MODE": "0",  # it opens routes that run code
        "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "false",  # it writes answers down
    }


@contextlib.contextmanager
def _reserved_port() -> Iterator[int]:
    """Yield a free port of loopback that nobody else is given while vLLM is down.

    The socket does not listen, so that connections are refused then; vLLM can listen beside it.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        if sys.platform != "linux":
            held.close()  # elsewhere a port that is bound is taken
        yield port


@contextlib.contextmanager
def _log_file(path: Path | None) -> Iterator[int | None]:
    """Yield a descriptor that appends to `path`, which nobody but its owner can read.  Raises StartError."""
    if path is None:
        yield None
        return
    try:
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise StartError(f"--vllm-log: cannot write {path}: {error.strerror}", 2) from None
    try:
        if stat.S_ISREG(os.fstat(output).st_mode):
            os.fchmod(output, 0o600)
        yield output
    finally:
        os.close(output)


@contextlib.contextmanager
def _sigterm_sets(event: threading.Event) -> Iterator[None]:
    """Let SIGTERM set `event` for a while: as the first process of a container, it would do nothing."""

    def told(_number: int, _frame: FrameType | None) -> None:
        event.set()

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _failure(status: int, tail: list[str]) -> str:
    lines = [f"vLLM did not start ({_said_of(status)}); its last lines:", *(f"  {line}" for line in tail)]
    if any("No module named 'vllm" in line or "No module named vllm" in line for line in tail):
        lines.append("no vLLM is installed there: --vllm-python names the interpreter of one that is")
    return "\n".join(lines)


def _said_of(status: int) -> str:
    number = status - 128 if status > 128 else -status
    if number > 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(number).name
    return f"status {status}"
