"""vLLM as a child of `lethe serve`: whose it is, what it is told, how it is kept and how it ends.

The vLLM is `tests/stand_in`, a process that has vLLM's command line; the real one is in `tests/vllm/proof.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

import server.vllm
from policies.problems import PolicyError
from server.serving import StartError
from server.settings import Settings
from server.vllm import Backoff, vllm_behind
from server.vllm_child import lethe_vllm_keeper
from server.vllm_child.lethe_vllm_gate import Gate
from server.vllm_flags import REFUSED, refusal

ROOT = Path(__file__).parents[1]
STAND_IN = Path(__file__).parent / "stand_in"
POLICY = "lethe: 1\nname: small\ntargets:\n  - {id: odalys, kind: entity, names: [Odalys Vennaker]}\n"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Is it raining in Yorv?"}]}
LIMIT_S = 90
KEEPER = [
    sys.executable,
    "-c",
    (
        f"import sys; sys.path.insert(0, {str(Path(lethe_vllm_keeper.__file__).parent)!r})\n"
        "import lethe_vllm_keeper as keeper; keeper.STOP_S = 0.2; sys.exit(keeper.main(sys.argv[1:]))"
    ),
]
"""The keeper with a shorter patience; a command follows."""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def command_lines() -> list[bytes]:
    """Return the command lines of all processes of the machine."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            lines.append(file.read_bytes())
    return lines


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for another process; there is no event of it to wait for."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@dataclass
class Notes:
    """What the stand-in wrote of each of its lives."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()

    def lives(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text()) for file in sorted(self.folder.glob("*.json"))]

    def pids(self) -> list[int]:
        return [pid for life in self.lives() for pid in life["pids"]]

    def nothing_is_left(self) -> bool:
        return not any(is_alive(pid) for pid in self.pids())


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Notes]:
    notes = Notes(tmp_path / "notes")
    yield notes
    for pid in notes.pids():  # a test that failed must leave nothing either
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))


def options(tmp_path: Path, notes: Notes, *flags: str) -> dict[str, Any]:
    """Return the settings of a gateway in front of a stand-in."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    flags = ("--notes", str(notes.folder), *flags)
    return {"policy": policy, "state": tmp_path / "state", "vllm": "a-model", "vllm_flags": flags}


# --- the whole server -------------------------------------------------------------------------------------


@dataclass
class Running:
    process: asyncio.subprocess.Process
    api: str
    admin: str
    client: aiohttp.ClientSession

    async def ask(self) -> tuple[int, str]:
        async with self.client.post(f"{self.api}/chat/completions", json=ASKED) as response:
            return response.status, await response.text()

    async def upstream_is_ready(self) -> bool:
        async with self.client.get(f"{self.admin}/readyz") as response:
            detail = await response.json()
            assert detail["ready"] == (response.status == 200)
            return bool(detail["upstream"])

    async def until_ready(self, wanted: bool) -> None:
        async with asyncio.timeout(LIMIT_S):
            while await self.upstream_is_ready() is not wanted:  # noqa: ASYNC110  # another process's state
                await asyncio.sleep(0.05)

    async def said(self, what: str) -> str:
        assert self.process.stderr is not None
        async with asyncio.timeout(LIMIT_S):
            while line := (await self.process.stderr.readline()).decode():
                if found := re.search(what, line):
                    return found[found.re.groups]
        raise AssertionError(f"it never said {what}")

    async def stopped(self) -> tuple[int, str]:
        async with asyncio.timeout(LIMIT_S):
            _, said = await self.process.communicate()
            return await self.process.wait(), said.decode()


async def start(tmp_path: Path, notes: Notes, *given: str, own: tuple[str, ...] = ()) -> Running:
    settings = options(tmp_path, notes, *given)
    arguments = ["-m", "server.cli", "serve", "--policy", str(settings["policy"])]
    arguments += ["--state", str(settings["state"]), "--port", "0", "--admin-port", "0", "--vllm", "a-model"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        *own,
        "--",
        *settings["vllm_flags"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(STAND_IN), "HF_TOKEN": "hf", "LETHE_GRACE_S": "5"},
        stderr=asyncio.subprocess.PIPE,
    )
    return Running(process, "", "", aiohttp.ClientSession())


@asynccontextmanager
async def running(
    tmp_path: Path, notes: Notes, *given: str, own: tuple[str, ...] = ()
) -> AsyncIterator[Running]:
    lethe = await start(tmp_path, notes, *given, own=own)
    try:
        lethe.admin = await lethe.said(r"metrics on (\S+)")
        lethe.api = await lethe.said(r"serving on (\S+)")
        yield lethe
    finally:
        await lethe.client.close()
        if lethe.process.returncode is None:
            lethe.process.kill()
            await lethe.process.communicate()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_comes_up_answers_and_ends_with_lethe(tmp_path: Path, notes: Notes, workers: str) -> None:
    async with running(tmp_path, notes, own=("--workers", workers)) as lethe:
        status, text = await lethe.ask()
        assert status == 200 and "It rains." in text
        assert await lethe.upstream_is_ready()
        assert len(notes.pids()) == 2 and all(map(is_alive, notes.pids()))
        lethe.process.send_signal(signal.SIGTERM)
        status, said = await lethe.stopped()
        assert status == 0 and "Yorv" not in said
    assert notes.nothing_is_left()


async def test_one_that_is_killed_is_missed_said_and_started_again(tmp_path: Path, notes: Notes) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    async with running(tmp_path, notes, "--wait-for", str(gate)) as lethe:
        server, engine = notes.pids()
        gate.unlink()
        os.kill(server, signal.SIGKILL)
        assert "SIGKILL" in await lethe.said(r"vLLM ended \(.*\); starting it again in 1 s")
        await lethe.until_ready(False)
        assert (await lethe.ask())[0] == 502
        assert not is_alive(engine), "its engine still holds the accelerator"
        gate.touch()
        await lethe.said("vLLM answers again")
        await lethe.until_ready(True)
        assert (await lethe.ask())[0] == 200
        assert len(notes.lives()) == 2


async def test_nothing_of_it_outlives_a_lethe_that_is_killed(tmp_path: Path, notes: Notes) -> None:
    async with running(tmp_path, notes) as lethe:
        assert all(map(is_alive, notes.pids()))
        lethe.process.kill()
        await lethe.process.wait()
        await asyncio.to_thread(until, notes.nothing_is_left, "vLLM outlives Lethe")


async def test_nothing_of_it_outlives_its_keeper(tmp_path: Path, notes: Notes) -> None:
    async with running(tmp_path, notes) as lethe:
        (first,) = notes.lives()
        os.kill(parent_of(first["pids"][0]), signal.SIGKILL)
        await lethe.said("vLLM answers again")
        assert not any(map(is_alive, first["pids"]))
        assert (await lethe.ask())[0] == 200


async def test_a_start_that_fails_says_why_and_ends(tmp_path: Path, notes: Notes) -> None:
    lethe = await start(tmp_path, notes, "--fail", "no such model: a-model")
    status, said = await lethe.stopped()
    await lethe.client.close()
    assert status == 1 and "did not start (status 1)" in said
    assert "lethe:   no such model: a-model\n" in said and "\x1b" not in said
    assert len(notes.lives()) == 1 and notes.nothing_is_left()


async def test_sigterm_while_it_loads_ends_both(tmp_path: Path, notes: Notes) -> None:
    lethe = await start(tmp_path, notes, "--wait-for", str(tmp_path / "never"))
    await asyncio.to_thread(until, lambda: bool(notes.lives()), "vLLM never began")
    lethe.process.send_signal(signal.SIGTERM)
    status, said = await lethe.stopped()
    await lethe.client.close()
    assert status == 0 and "stopped before vLLM was ready" in said
    assert notes.nothing_is_left()


async def test_what_it_writes_goes_to_the_named_file_alone(tmp_path: Path, notes: Notes) -> None:
    file = tmp_path / "vllm.log"
    file.touch(0o644)
    async with running(tmp_path, notes, own=("--vllm-log", str(file))) as lethe:
        assert (await lethe.ask())[0] == 200
        await asyncio.to_thread(until, lambda: "Yorv" in file.read_text(), "it is not in the file")
        lethe.process.send_signal(signal.SIGTERM)
        assert "Yorv" not in (await lethe.stopped())[1]
    assert file.stat().st_mode & 0o777 == 0o600
    assert "the stand-in starts" in file.read_text()


async def test_the_key_is_on_no_command_line_and_lethes_own_variables_are_not_passed(
    tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIENTS_KEY", "sk-clients")
    async with running(tmp_path, notes, own=("--api-key-env", "CLIENTS_KEY")) as lethe:
        (life,) = notes.lives()
        seen = life["environment"]
        assert len(seen["VLLM_API_KEY"]) >= 32 and seen["HF_TOKEN"] == "hf"
        assert not [name for name in seen if name.startswith("LETHE_") or name == "CLIENTS_KEY"]
        assert seen["VLLM_SERVER_DEV_MODE"] == "0"
        lines = command_lines()
        assert any(b"api_server" in line for line in lines)
        assert not any(seen["VLLM_API_KEY"].encode() in line for line in lines)
        assert (await lethe.ask())[0] == 401
        headers = {"Authorization": "Bearer sk-clients"}
        async with lethe.client.post(f"{lethe.api}/chat/completions", json=ASKED, headers=headers) as answer:
            assert answer.status == 200


# --- the supervisor, in this process ----------------------------------------------------------------------


@pytest.fixture
def lines() -> Iterator[list[str]]:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("lethe")
    before = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    yield said
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.mark.usefixtures("environment")
def test_while_it_loads_a_line_says_so(
    tmp_path: Path, notes: Notes, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.vllm, "_PROGRESS_S", 0.01)
    gate = tmp_path / "gate"

    class Opened(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waiting for vLLM" in record.getMessage():
                gate.touch()

    logging.getLogger("lethe").addHandler(opened := Opened())
    try:
        with vllm_behind(Settings(**options(tmp_path, notes, "--wait-for", str(gate)))) as settings:
            assert settings.upstream.startswith("http://127.0.0.1:") and settings.upstream_key() is not None
    finally:
        logging.getLogger("lethe").removeHandler(opened)
    assert lines[0] == "starting vLLM" and any(line.startswith("waiting for vLLM: ") for line in lines)
    assert notes.nothing_is_left() and server.vllm.KEY_ENV not in os.environ


@pytest.mark.usefixtures("environment")
def test_one_that_asks_for_no_key_is_not_served(tmp_path: Path, notes: Notes) -> None:
    with (
        pytest.raises(StartError, match="without its key"),
        vllm_behind(Settings(**options(tmp_path, notes, "--open"))),
    ):
        pass
    assert notes.nothing_is_left()


@pytest.mark.usefixtures("environment")
def test_its_port_is_given_to_nobody_else_while_it_is_down(tmp_path: Path, notes: Notes) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with vllm_behind(Settings(**options(tmp_path, notes, "--wait-for", str(gate)))) as settings:
        port = int(settings.upstream.rpartition(":")[2].partition("/")[0])
        gate.unlink()
        os.kill(notes.pids()[0], signal.SIGKILL)
        until(lambda: len(notes.lives()) == 2, "it was not started again")
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    assert notes.nothing_is_left()


@pytest.mark.usefixtures("environment")
def test_a_policy_that_cannot_be_used_is_said_before_the_model_is_loaded(
    tmp_path: Path, notes: Notes
) -> None:
    given = options(tmp_path, notes)
    given["policy"].write_text("lethe: 2\n", encoding="utf-8")
    with pytest.raises(PolicyError), vllm_behind(Settings(**given)):
        pass
    assert not notes.lives()


def test_an_interpreter_without_vllm_is_said_to_be_one(tmp_path: Path, notes: Notes) -> None:
    given = options(tmp_path, notes) | {"vllm_python": sys.executable}
    with pytest.raises(StartError, match="no vLLM is installed there"), vllm_behind(Settings(**given)):
        pass


@pytest.mark.parametrize("python", ["/no/such/python", "no-such-python"])
def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path, notes: Notes, python: str) -> None:
    given = options(tmp_path, notes) | {"vllm_python": python}
    with pytest.raises(StartError, match=f"{python}: No such file"), vllm_behind(Settings(**given)):
        pass


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path, notes: Notes) -> None:
    given = options(tmp_path, notes) | {"vllm_log": tmp_path}
    with pytest.raises(StartError, match="--vllm-log: cannot write"), vllm_behind(Settings(**given)):
        pass


def test_restarts_wait_longer_and_longer_until_a_run_was_steady() -> None:
    backoff = Backoff()
    assert [backoff.delay_s(0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [backoff.delay_s(59), backoff.delay_s(60), backoff.delay_s(0)] == [60, 1, 2]


def kept(command: list[str]) -> int:
    """Run a command below a keeper until it ends by itself; return the keeper's exit status."""
    with subprocess.Popen([*KEEPER, *command], stdin=subprocess.PIPE, start_new_session=True) as keeper:
        return keeper.wait(LIMIT_S)


def test_the_keeper_kills_what_ignores_sigterm_and_what_left_its_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    command = f"""
import os, subprocess, sys, time
made = [subprocess.Popen([sys.executable, "-c", {stubborn!r}], start_new_session=new, stdout=subprocess.PIPE)
        for new in (False, True)]
for each in made:
    each.stdout.readline()
open({str(pids)!r}, "w").write(" ".join(str(each.pid) for each in made))
"""
    assert kept([sys.executable, "-c", command]) == 0
    left = [int(pid) for pid in pids.read_text().split()]
    assert len(left) == 2 and not any(map(is_alive, left))


def test_a_command_ends_with_its_keeper_though_nobody_watches() -> None:
    command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    with subprocess.Popen(
        [*KEEPER, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as keeper:
        assert keeper.stdout is not None
        pid = int(keeper.stdout.readline())
        keeper.kill()
    until(lambda: not is_alive(pid), "it outlives its keeper")


@pytest.mark.parametrize(("ends", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_the_keeper_says_how_its_command_ended(ends: str, status: int) -> None:
    assert kept([sys.executable, "-c", f"import os, sys; {ends}"]) == status


# --- the gate in front of vLLM's own paths -----------------------------------------------------------------


async def gated(scope: dict[str, Any]) -> tuple[bool, list[Any]]:
    """Return whether a request gets through, and what is sent where it does not."""
    inside, sent = False, []

    async def app(*_: Any) -> None:
        nonlocal inside
        inside = True

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    await Gate(app)(scope, receive, send)
    return inside, sent


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/invocations", "/tokenize", "/metrics", "/docs"])
async def test_every_path_of_vllm_asks_for_the_key(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "k" * 32)
    scope = {"type": "http", "path": path, "method": "OPTIONS"}
    right, wrong = b"Bearer " + b"k" * 32, b"Bearer " + b"k" * 31
    assert await gated({**scope, "headers": [(b"authorization", right)]}) == (True, [])
    for headers in ([], [(b"authorization", wrong)], [(b"authorization", right), (b"authorization", right)]):
        inside, sent = await gated({**scope, "headers": headers})
        assert not inside and sent[0]["status"] == 401


async def test_no_websocket_passes_the_gate_and_the_start_of_the_server_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "k")
    assert await gated({"type": "lifespan"}) == (True, [])
    inside, sent = await gated({"type": "websocket", "path": "/v1/realtime", "headers": []})
    assert not inside and sent == [{"type": "websocket.close", "code": 1008}]


# --- flags and settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", sorted(REFUSED))
def test_a_flag_that_would_weaken_lethe_is_refused_with_its_reason(flag: str) -> None:
    for written in (flag, f"{flag}=x", flag.replace("-", "_").replace("__", "--", 1), f"{flag}.part"):
        reason = refusal(["--max-model-len", "256", written])
        assert reason is not None and reason.startswith(flag) and REFUSED[flag] in reason


@pytest.mark.parametrize(
    "flag", ["--hos", "--api", "--ssl-k", "--middle", "--u", "--enable-log-r", "-dpm", "-dpa"]
)
def test_the_beginning_of_a_refused_flag_is_refused(flag: str) -> None:
    assert refusal([flag, "x"]) is not None


@pytest.mark.parametrize(
    "flags",
    [
        ["--max-model-len", "256"],
        ["--model-impl", "vllm"],
        ["--config-format", "hf"],
        ["--served-model-name", "small"],
        ["--allowed-local-media-path", "/x"],
        ["--no-enable-log-requests"],
        ["-tp", "2", "-dp", "2"],
        ["--hf-overrides", '{"host": 1}'],
        ["--speculative-config.model", "--not-a-flag"],
        ["--enable-prefix-caching", "--trust-remote-code"],
    ],
    ids=" ".join,
)
def test_other_flags_pass(flags: list[str]) -> None:
    assert refusal(flags) is None


def complaint(**given: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        Settings(policy="p.yaml", **given)
    return str(raised.value)


def test_there_is_one_upstream() -> None:
    assert "--upstream is needed" in complaint()
    assert "exclude each other" in complaint(vllm="m", upstream="demo")
    assert "must name a model" in complaint(vllm="--port")


def test_what_is_for_vllm_needs_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"vllm_python": "p", "vllm_log": "l", "vllm_flags": "-tp 2"}.items():
        assert f"--{name.replace('_', '-')} is for --vllm" in complaint(upstream="demo", **{name: value})
    monkeypatch.setenv("A_KEY", "sk")
    assert "--upstream-key-env is not for --vllm" in complaint(vllm="m", upstream_key_env="A_KEY")


def test_flags_are_words_of_one_text_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_VLLM_FLAGS", "--max-model-len 256 --chat-template 'a file'")
    settings = Settings(policy="p.yaml", vllm="m")
    assert settings.vllm_flags == ("--max-model-len", "256", "--chat-template", "a file")
    assert "quotation mark" in complaint(vllm="m", vllm_flags="'")
    assert "--host cannot be given" in complaint(vllm="m", vllm_flags="--host 0.0.0.0")
