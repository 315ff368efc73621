"""The processes: `lethe serve` as it is started and stopped, with the real gateway inside."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from server.audit import verify
from tests.fake_upstream import DONE, chunk, raw, say
from tests.lethe_process import POLICY, STREAMED, Running, running, start


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
    made, *compiling, line = said.decode().splitlines()
    assert made.startswith("lethe: made ") and "installation.key" in made
    # What takes long says how far it is.
    assert all("compiling the policy" in each for each in compiling)
    assert "policy.yaml:4:" in line and "entitty" in line
    assert process.returncode == 2
