"""The processes: `lethe serve` as it is started and stopped, with the real gateway inside."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.audit import verify
from tests.fake_upstream import DONE, FakeUpstream, Script, chunk, raw, say

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

    async def ask(self) -> str:
        async with self.client.post(f"{self.api}/chat/completions", json=ASKED) as response:
            content: str = (await response.json())["choices"][0]["message"]["content"]
            return content

    async def said(self, what: str) -> str:
        """Wait for a line on stderr that matches; return its first group."""
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            if found := re.search(what, line):
                return found[1]
        raise AssertionError(f"it never said {what}")

    async def stopped(self) -> int:
        """Wait for its end; return the exit status."""
        async with asyncio.timeout(30):
            await self.process.communicate()
            return await self.process.wait()

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        named = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.split()}
        return [pid for pid, command in named.items() if b"spawn_main" in command]


async def start(tmp_path: Path, *options: str, policy: str = POLICY) -> asyncio.subprocess.Process:
    file = tmp_path / "policy.yaml"
    file.write_text(policy, encoding="utf-8")
    arguments = ["-m", "server.cli", "serve", "--policy", str(file), "--state", str(tmp_path / "state")]
    arguments += ["--port", "0", "--admin-port", "0", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )


@asynccontextmanager
async def running(tmp_path: Path, script: Script, *options: str) -> AsyncIterator[Running]:
    async with FakeUpstream(script) as fake:
        process = await start(tmp_path, "--upstream", fake.url, *options)
        try:
            async with asyncio.timeout(60), aiohttp.ClientSession() as client:
                server = Running(process, "", "", client, tmp_path / "state" / "audit.sqlite")
                server.admin = await server.said(r"metrics on (\S+)")
                server.api = await server.said(r"serving on (\S+)")
                yield server
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serving_starts_answers_tells_and_stops(tmp_path: Path, workers: str) -> None:
    async with running(tmp_path, say("It rains."), "--workers", workers) as server:
        assert [await server.ask() for _ in range(4)] == ["It rains."] * 4
        async with server.client.get(f"{server.admin}/readyz") as response:
            detail = await response.json()
            assert response.status == 200 and detail["ready"] and detail["targets"] == 1
        async with server.client.get(f"{server.admin}/metrics") as response:
            shown = (await response.text()).splitlines()
            assert 'lethe_exchanges_total{ending="completed",streaming="false"} 4.0' in shown
        server.process.send_signal(signal.SIGTERM)
        assert await server.stopped() == 0
    report = verify(server.audit, server.audit.parent)
    assert report.problems == () and report.chains == int(workers)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_answer_under_way_is_finished_after_sigterm(tmp_path: Path, workers: str) -> None:
    held = asyncio.Event()
    script = raw(chunk({"content": "It rains. And "}), held, chunk({"content": "pours."}, 0, "stop"), DONE)
    async with running(tmp_path, script, "--workers", workers) as server:
        async with server.client.post(f"{server.api}/chat/completions", json=STREAMED) as response:
            seen = b""
            while b"rains" not in seen:
                seen += await response.content.readany()
            server.process.send_signal(signal.SIGTERM)
            await refusing(server.api)
            held.set()
            seen += await response.read()
        assert b"pours." in seen and seen.endswith(b"data: [DONE]\n\n")
        assert await server.stopped() == 0
    assert verify(server.audit, server.audit.parent).problems == ()


async def refusing(url: str) -> None:
    """Wait until no connection is accepted any more."""
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionError:
                return
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("signals", [1, 2])
async def test_an_answer_that_never_ends_is_ended_and_recorded(tmp_path: Path, signals: int) -> None:
    """After the grace time, which here is none; or at the second signal, with much of it left."""
    script = raw(chunk({"content": "It rains. And "}), asyncio.Event())
    grace = "0" if signals == 1 else "600"
    async with running(tmp_path, script, "--grace-s", grace) as server:
        async with server.client.post(f"{server.api}/chat/completions", json=STREAMED) as response:
            seen = b""
            while b"rains" not in seen:
                seen += await response.content.readany()
            server.process.send_signal(signal.SIGTERM)
            if signals == 2:
                await refusing(server.api)
                server.process.send_signal(signal.SIGINT)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert await server.stopped() == 0
    report = verify(server.audit, server.audit.parent)
    assert report.problems == () and not [note for note in report.notes if note.kind == "no ending"]


async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path, say("It rains."), "--workers", "2") as server:
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        await server.said("(another)")
        assert await server.ask() == "It rains."
        async with asyncio.timeout(30):
            while await serving(server) < 2:
                pass
        assert len(set(server.workers()) - set(before)) == 1
        server.process.send_signal(signal.SIGINT)
        assert await server.stopped() == 0


async def serving(server: Running) -> int:
    async with server.client.get(f"{server.admin}/readyz") as response:
        assert response.status == 200
        workers: int = (await response.json())["workers"]
        return workers


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_policy_that_does_not_load_stops_the_start_with_its_line(
    tmp_path: Path, workers: str
) -> None:
    broken = POLICY.replace("entity", "entitty")
    process = await start(tmp_path, "--upstream", "http://127.0.0.1:1", "--workers", workers, policy=broken)
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    (line,) = [line for line in said.decode().splitlines() if line != "lethe: stopped"]
    assert "policy.yaml:4:" in line and "entitty" in line
    assert process.returncode == 2
