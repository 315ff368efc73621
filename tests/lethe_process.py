"""`lethe serve` as a process of its own, in front of a scripted upstream: for tests."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from sqlalchemy import select

from policies.sealing import KEY
from server.audit import store
from tests.fake_upstream import FakeUpstream, Script

ROOT = Path(__file__).parents[1]
POLICY = "lethe: 1\nname: small\ntargets:\n  - {id: odalys, kind: entity, names: [Odalys Vennaker]}\n"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Is it raining?"}]}
STREAMED: dict[str, Any] = {**ASKED, "stream": True}


@dataclass
class Running:
    process: asyncio.subprocess.Process
    api: str
    admin: str
    client: aiohttp.ClientSession
    audit: Path
    upstream: FakeUpstream
    policy: Path
    heard: list[str] = field(default_factory=list)
    """Every line of stderr that was read."""

    async def ask(self, question: str = "Is it raining?") -> str:
        """Ask anew, over a connection of its own, and return the answer's text."""
        body = {**ASKED, "messages": [{"role": "user", "content": question}]}
        headers = {"Connection": "close"}
        async with self.client.post(f"{self.api}/chat/completions", json=body, headers=headers) as response:
            content: str = (await response.json())["choices"][0]["message"]["content"]
            return content

    async def said(self, what: str) -> str:
        """Wait for a line on stderr that matches; return its first group."""
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.heard.append(line)
            if found := re.search(what, line):
                return found[1] if found.re.groups else found[0]
        raise AssertionError(f"it never said {what}")

    async def ready(self) -> dict[str, Any]:
        """Return what `/readyz` shows of a server that is ready."""
        async with self.client.get(f"{self.admin}/readyz") as response:
            assert response.status == 200
            shown: dict[str, Any] = await response.json()
            return shown

    async def metrics(self) -> list[str]:
        async with self.client.get(f"{self.admin}/metrics") as response:
            return (await response.text()).splitlines()

    async def stopped(self) -> int:
        """Wait for its end; return the exit status."""
        async with asyncio.timeout(30):
            _, rest = await self.process.communicate()
            self.heard += rest.decode().splitlines(keepends=True)
            return await self.process.wait()

    def children(self) -> dict[int, bytes]:
        """Return the command lines of its child processes, by process id."""
        named = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children_of(self.process.pid)}
        return {pid: command for pid, command in named.items() if b"spawn_main" in command}

    def compiler(self) -> int:
        """Return the process id of the one that compiles: it leads a group of its own."""
        (pid,) = [pid for pid in self.children() if os.getpgid(pid) == pid]
        return pid

    def workers(self) -> list[int]:
        return [pid for pid in self.children() if os.getpgid(pid) != pid]

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return what the audit holds of one kind, of all processes, by time."""
        engine = store.reading(store.locate(self.audit))
        try:
            with engine.connect() as connection:
                bodies: Sequence[bytes] = connection.scalars(select(store.records.c.body)).all()
        finally:
            engine.dispose()
        records = [record for body in bodies if (record := orjson.loads(body))["kind"] == kind]
        return sorted(records, key=lambda record: record["at"])


async def start(tmp_path: Path, *options: str, policy: str | None = POLICY) -> asyncio.subprocess.Process:
    """Start it with a policy file of this content, or with the one that is there."""
    file = tmp_path / "policy.yaml"
    if policy is not None:
        file.write_text(policy, encoding="utf-8")
    arguments = ["-m", "server.cli", "serve", "--policy", str(file), "--state", str(tmp_path / "state")]
    arguments += ["--port", "0", "--admin-port", "0", *options]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("LETHE_") or name == KEY
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def end_by_force(process: asyncio.subprocess.Process) -> None:
    """Kill a server and its children, for one of them that hangs would hold stderr open for ever."""
    for pid in (process.pid, *children_of(process.pid)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await process.communicate()


@asynccontextmanager
async def running(
    tmp_path: Path, script: Script | Sequence[Script], *options: str, policy: str | None = POLICY
) -> AsyncIterator[Running]:
    """Serve until the end of the context, with two minutes for all of it."""
    scripts = [script] if callable(script) else script
    async with FakeUpstream(*scripts) as fake:
        process = await start(tmp_path, "--upstream", fake.url, *options, policy=policy)
        try:
            async with asyncio.timeout(120), aiohttp.ClientSession() as client:
                audit, file = tmp_path / "state" / "audit.sqlite", tmp_path / "policy.yaml"
                server = Running(process, "", "", client, audit, fake, file)
                server.admin = await server.said(r"metrics on (\S+)")
                server.api = await server.said(r"serving on (\S+)")
                yield server
        finally:
            if process.returncode is None:
                await end_by_force(process)
