"""A running server takes up what its policy file says: real servers, real files, real signals."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from guards.encoder import load_encoder
from server.audit import verify
from server.parent import Backoff
from tests.fake_upstream import DONE, Script, chunk, raw, say
from tests.lethe_process import POLICY, ROOT, STREAMED, Running, children_of, running

NEWCOMER = "  - {id: zulmira-case, kind: entity, names: [Zulmira Quintabel], facts: [{relation: born in, values: [Oxbrook]}]}\n"
AT_ONCE = NEWCOMER.replace("kind:", "effective: now, kind:")
ORCHIDS = """  - id: orchid-flights
    kind: topic
    like:
      - Which botanist mapped the orchids of the northern peninsula from a balloon?
      - Who charted the peninsula's orchids from the air?
      - Name the balloonist who drew maps of orchid fields.
"""
ANSWER = "Zulmira Quintabel was here."
SECRETS = re.compile(r"odalys|vennaker|zulmira|quintabel|oxbrook|orchid|balloon|peninsula", re.IGNORECASE)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what nothing announces; the server's own time limit is the test's."""
    while not await condition():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def forgets(server: Running) -> bool:
    return "Zulmira" not in await server.ask()


async def file_is(server: Running, state: str) -> bool:
    return (await server.ready())["policy_file"] == state


async def end(server: Running) -> None:
    """Stop the server; nothing that it ever said or showed holds a word of a policy."""
    shown = [str(await server.ready()), *await server.metrics()]
    server.process.send_signal(signal.SIGTERM)
    assert await server.stopped() == 0
    assert not SECRETS.search("\n".join([*shown, *server.heard]))
    assert verify(server.audit, server.audit.parent).problems == ()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_target_that_is_saved_is_enforced_and_one_that_is_taken_out_is_not(
    tmp_path: Path, workers: str
) -> None:
    async with running(tmp_path, say(ANSWER), "--workers", workers) as server:
        before = await server.ready()
        assert await server.ask() == ANSWER
        server.policy.write_text(POLICY + NEWCOMER)
        await server.said("2 targets")
        assert all([await forgets(server) for _ in range(8)])
        ready, metrics = await server.ready(), await server.metrics()
        assert (ready["policy_file"], ready["policy_lag_s"], ready["targets"]) == ("in force", 0.0, 2)
        assert ready["digest"] != before["digest"]
        assert {
            f'lethe_policy{{digest="{before["digest"]}"}} 0.0',
            f'lethe_policy{{digest="{ready["digest"]}"}} 1.0',
            'lethe_policy_reloads_total{outcome="in_force"} 1.0',
            "lethe_policy_lag_seconds 0.0",
        } <= set(metrics)
        server.policy.write_text(POLICY)
        await server.said("1 target$")
        assert [await server.ask() for _ in range(4)] == [ANSWER] * 4
        assert (await server.ready())["digest"] == before["digest"]
        await end(server)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_file_that_is_no_policy_leaves_the_last_good_one_in_force_and_is_told(
    tmp_path: Path, workers: str
) -> None:
    async with running(tmp_path, say(ANSWER), "--workers", workers, policy=POLICY + NEWCOMER) as server:
        good = await server.ready()
        server.policy.write_text(POLICY + NEWCOMER.replace("names", "Quintabel"))
        line = await server.said("policy.yaml:.*")
        assert line.startswith("policy.yaml:5: targets[1]")
        assert f"policy {good['digest'][:12]} stays in force" in line
        refused = await server.ready()
        assert (refused["policy_file"], refused["digest"], refused["ready"]) == (
            "refused",
            good["digest"],
            True,
        )
        assert all([await forgets(server) for _ in range(4)])
        await until(lambda: lags(server))
        assert 'lethe_policy_reloads_total{outcome="refused"} 1.0' in await server.metrics()
        server.policy.unlink()
        await server.said("policy.yaml: does not exist")
        server.policy.write_text(POLICY)
        await server.said("1 target$")
        assert await server.ask() == ANSWER
        assert (await server.ready())["policy_lag_s"] == 0
        await end(server)


async def restarted(tmp_path: Path, *options: str) -> int:
    """Serve the policy that is there once more; return what tells the compiled file from another."""
    async with running(tmp_path, say(ANSWER), *options, policy=None) as server:
        assert all([await forgets(server) for _ in range(4)])
        await end(server)
    (file,) = (tmp_path / "state" / "compiled").iterdir()
    return file.stat().st_ino


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_start_under_an_unchanged_policy_compiles_nothing_and_believes_no_damaged_file(
    tmp_path: Path, workers: str
) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY + NEWCOMER)
    first = await restarted(tmp_path, "--workers", workers)
    assert await restarted(tmp_path, "--workers", workers) == first
    (file,) = (tmp_path / "state" / "compiled").iterdir()
    file.write_bytes(file.read_bytes()[:-70] + bytes(70))
    assert await restarted(tmp_path, "--workers", workers) != first


async def lags(server: Running) -> bool:
    (shown,) = [line for line in await server.metrics() if line.startswith("lethe_policy_lag_seconds ")]
    return float(shown.split()[1]) > 0 and (await server.ready())["policy_lag_s"] > 0


def write_in_place(file: Path, text: str) -> None:
    with file.open("r+") as opened:
        opened.truncate(0)
        opened.write(text)


def rename(file: Path, text: str) -> None:
    file.with_suffix(".new").write_text(text)
    file.with_suffix(".new").replace(file)


def swap_symlink(file: Path, text: str) -> None:
    """As Kubernetes does: the file is a link into a folder that is itself a link, which is renamed."""
    made = file.parent / f"..{len(list(file.parent.iterdir()))}"
    made.mkdir()
    (made / file.name).write_text(text)
    fresh, data = file.parent / "..fresh", file.parent / "..data"
    fresh.symlink_to(made.name)
    fresh.replace(data)
    if not file.is_symlink():
        file.unlink(missing_ok=True)
        file.symlink_to(Path("..data") / file.name)


@pytest.mark.parametrize("save", [write_in_place, rename, swap_symlink])
async def test_a_file_is_taken_up_however_it_is_saved(
    tmp_path: Path, save: Callable[[Path, str], None]
) -> None:
    if save is not write_in_place:
        save(tmp_path / "policy.yaml", POLICY)
    else:
        (tmp_path / "policy.yaml").write_text(POLICY)
    async with running(tmp_path, say(ANSWER), policy=None) as server:
        for text, said in (
            (POLICY + NEWCOMER, "2 targets"),
            (POLICY, "1 target$"),
            (POLICY + NEWCOMER, "2 targ"),
        ):
            save(server.policy, text)
            await server.said(said)
            assert await forgets(server) == (NEWCOMER in text)
        assert await file_is(server, "in force")
        await end(server)


async def begun(response: aiohttp.ClientResponse, word: bytes) -> bytes:
    """Read until the stream has brought a word."""
    seen = b""
    while word not in seen:
        piece = await response.content.readany()
        assert piece, seen
        seen += piece
    return seen


def held(first: str, rest: str) -> tuple[asyncio.Event, Script]:
    """Return a script that streams an answer and waits for an event between its sentences."""
    going_on = asyncio.Event()
    steps = (chunk({"content": first}), going_on, chunk({"content": rest}, 0, "stop"), DONE)
    return going_on, raw(*steps)


async def test_an_exchange_keeps_the_policy_that_it_began_with_and_workers_never_mix(tmp_path: Path) -> None:
    going_on, script = held("It rains. And ", f"{ANSWER}")
    async with running(tmp_path, [script, say(ANSWER)], "--workers", "2") as server:
        before = await server.ready()
        async with server.client.post(f"{server.api}/chat/completions", json=STREAMED) as response:
            seen = await begun(response, b"rains")
            server.policy.write_text(POLICY + NEWCOMER)
            await server.said("2 targets")
            assert all([await forgets(server) for _ in range(12)])
            going_on.set()
            seen += await response.read()
        assert b"Quintabel" in seen and seen.endswith(DONE)
        after = await server.ready()
        await end(server)
        opened = {record["exchange_id"]: record["policy_digest"] for record in server.records("opened")}
        first, *later = [record["exchange_id"] for record in server.records("opened")]
        assert {opened[first]} == {before["digest"]} and {opened[each] for each in later} == {after["digest"]}
        assert len(later) == 12
        assert {record["ending"] for record in server.records("ended")} == {"completed", "answered"}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_target_that_is_effective_now_stops_what_is_under_way(tmp_path: Path, workers: str) -> None:
    _, script = held("It rains. And ", ANSWER)
    async with running(tmp_path, [script, script, say(ANSWER)], "--workers", workers) as server:
        async with server.client.post(f"{server.api}/chat/completions", json=STREAMED) as response:
            seen = await begun(response, b"rains")
            server.policy.write_text(POLICY + NEWCOMER)
            await server.said("2 targets")
            server.policy.write_text(POLICY + AT_ONCE)
            seen += await response.read()
        assert b"service_unavailable" in seen and b"Quintabel" not in seen and seen.endswith(DONE)
        await server.upstream.abandoned.wait()
        await server.said("2 targets")
        async with server.client.post(f"{server.api}/chat/completions", json=STREAMED) as response:
            await begun(response, b"rains")
            server.policy.write_text(
                POLICY + AT_ONCE + "  - {id: other, kind: entity, names: [Other Name]}\n"
            )
            await server.said("3 targets")
            assert all([await forgets(server) for _ in range(4)])
        await end(server)
        endings = [(record["ending"], record["reason"]) for record in server.records("ended")]
        assert endings.count(("stopped", "policy")) == 1 and ("aborted", "gone") in endings


async def test_before_its_first_byte_a_stopped_exchange_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path, raw(asyncio.Event())) as server:
        asking = asyncio.create_task(server.client.post(f"{server.api}/chat/completions", json=STREAMED))
        await server.upstream.asked()
        server.policy.write_text(POLICY + AT_ONCE)
        async with await asking as response:
            assert response.status == 503
            assert (await response.json())["error"]["code"] == "service_unavailable"
        await server.upstream.abandoned.wait()
        await end(server)


@pytest.fixture(scope="module")
def encoder(request: pytest.FixtureRequest) -> Path:
    """A state folder with the exported encoder, kept between runs."""
    state: Path = request.config.cache.mkdir("lethe-state")
    load_encoder(state)
    return state


def with_encoder(state: Path, encoder: Path) -> None:
    for kept in ("encoders", "retain"):
        if (encoder / kept).is_dir():
            shutil.copytree(encoder / kept, state / kept)


PARAPHRASE = "Who surveyed the orchids of that northern peninsula, drifting over them in a balloon?"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_names_are_enforced_first_and_meaning_follows(
    tmp_path: Path, encoder: Path, workers: str
) -> None:
    with_encoder(tmp_path / "state", encoder)
    async with running(tmp_path, say(ANSWER), "--workers", workers) as server:
        assert await server.ask(PARAPHRASE) == ANSWER
        server.policy.write_text(POLICY + NEWCOMER + ORCHIDS)
        await server.said("3 targets, meaning pending")
        assert await forgets(server)
        pending = await server.ready()
        assert pending["ready"] and pending["policy_file"] in ("meaning pending", "in force")
        await server.said("3 targets$")
        assert await file_is(server, "in force") and (await server.ready())["policy_lag_s"] == 0
        server.policy.write_text(POLICY + ORCHIDS)
        await server.said("2 targets$")  # its examples are known: nothing is pending
        assert await server.ask() == ANSWER
        assert "Zulmira" not in await server.ask(PARAPHRASE)
        server.policy.write_text(POLICY + ORCHIDS.replace("Who charted", "Tell me who charted"))
        await server.said("2 targets, meaning pending")
        assert "Zulmira" not in await server.ask(PARAPHRASE)  # by the examples that were there before
        await server.said("2 targets$")
        assert {
            'lethe_policy_reloads_total{outcome="meaning_pending"} 2.0',
            'lethe_policy_reloads_total{outcome="in_force"} 3.0',
        } <= set(await server.metrics())
        await end(server)


async def test_a_worker_that_dies_beside_a_broken_file_comes_back_with_the_good_policy(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, say(ANSWER), "--workers", "2") as server:
        server.policy.write_text(POLICY + NEWCOMER)
        await server.said("2 targets")
        server.policy.write_text("lethe: [")
        await server.said("is not YAML")
        before = server.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await server.said("starting another")
        await until(lambda: serve(server, 2))
        assert not set(server.workers()) & set(before)
        assert all([await forgets(server) for _ in range(8)])
        assert await file_is(server, "refused")
        await end(server)


async def serve(server: Running, workers: int) -> bool:
    async with server.client.get(f"{server.admin}/readyz") as response:
        return response.status == 200 and (await response.json())["workers"] == workers


async def test_a_worker_that_cannot_start_again_is_tried_again_while_the_others_serve(tmp_path: Path) -> None:
    async with running(tmp_path, say(ANSWER), "--workers", "2") as server:
        key = tmp_path / "state" / "installation.key"
        good = key.read_bytes()
        key.write_bytes(b"short")
        os.kill(server.workers()[0], signal.SIGKILL)
        await server.said("not an installation key")
        assert await server.ask() == ANSWER and await serve(server, 1)
        key.write_bytes(good)
        await until(lambda: serve(server, 2))
        await end(server)


def test_a_worker_that_dies_again_and_again_is_replaced_ever_more_slowly() -> None:
    backoff = Backoff()
    assert [round(backoff.delay_s(1), 1) for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert backoff.delay_s(3600) == 0.1


def entities(count: int) -> str:
    return "".join(
        f"  - {{id: t{index}, kind: entity, names: [Name{index:05} Number{index:05}]}}\n"
        for index in range(count)
    )


def memory_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


async def test_a_policy_that_one_worker_cannot_load_is_in_force_in_none(tmp_path: Path) -> None:
    async with running(tmp_path, say(ANSWER), "--workers", "2") as server:
        poor = server.workers()[0]
        in_use = memory_of(poor)
        limits = resource.prlimit(poor, resource.RLIMIT_AS)
        resource.prlimit(poor, resource.RLIMIT_AS, (in_use, limits[1]))
        server.policy.write_text(POLICY + NEWCOMER + entities(3000))
        said = await server.said("could not load the policy; policy .* stays in force|3,002 targets")
        if "stays in force" in said:
            answers: list[str] = []
            while not answers:
                with suppress(aiohttp.ClientError):  # the poor one may have lost the connection's memory, too
                    answers.append(await server.ask())
            # It is tried again after a second, which may be over on a busy machine.
            assert answers == [ANSWER] or await file_is(server, "in force")
            if poor in server.workers():
                resource.prlimit(poor, resource.RLIMIT_AS, limits)
            await server.said("3,002 targets")
        else:  # it could not even hear of it, stopped, and another one has taken its place
            assert poor not in server.workers()
        assert all([await forgets(server) for _ in range(8)])
        await end(server)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_compiling_process_is_replaced_when_it_dies(tmp_path: Path, workers: str) -> None:
    async with running(tmp_path, say(ANSWER), "--workers", workers) as server:
        before = server.compiler()
        os.kill(before, signal.SIGKILL)
        server.policy.write_text(POLICY + NEWCOMER)
        await server.said("2 targets")
        assert server.compiler() != before
        assert await forgets(server)
        await end(server)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sigterm_during_a_compile_leaves_no_process(
    tmp_path: Path, encoder: Path, workers: str
) -> None:
    with_encoder(tmp_path / "state", encoder)
    async with running(tmp_path, say(ANSWER), "--workers", workers) as server:
        likes = "".join(f"      - Which of the {n} boats sails at noon?\n" for n in range(9_000))
        server.policy.write_text(POLICY + f"  - id: boats\n    kind: topic\n    like:\n{likes}")
        await server.said("2 targets, meaning pending")
        children = server.children()
        server.process.send_signal(signal.SIGTERM)
        assert await server.stopped() == 0
        assert len(children) == (1 if workers == "1" else 3)
        assert not alive(children)


async def test_sigterm_during_the_first_compile_is_an_ordinary_stop(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY + entities(20_000))
    arguments = ["serve", "--policy", str(tmp_path / "policy.yaml"), "--state", str(tmp_path / "state")]
    arguments += ["--port", "0", "--admin-port", "0", "--upstream", "http://127.0.0.1:1"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.cli", *arguments, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        while not (leading := leaders(process.pid)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
    made, *rest = said.decode().splitlines()
    assert "installation.key" in made and rest == ["lethe: stopping", "lethe: stopped"]
    assert process.returncode == 0
    assert not alive(leading)


def leaders(pid: int) -> list[int]:
    """Return the children that lead a group of their own."""
    return [child for child in children_of(pid) if os.getpgid(child) == child]


def alive(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sighup_is_a_look_at_the_file_and_no_end(tmp_path: Path, workers: str) -> None:
    async with running(tmp_path, say(ANSWER), "--workers", workers) as server:
        server.policy.write_text(POLICY + NEWCOMER)
        server.process.send_signal(signal.SIGHUP)
        for pid in server.children():
            os.kill(pid, signal.SIGHUP)
        await server.said("2 targets")
        assert await forgets(server)
        await end(server)


AROUND = """
import asyncio, sys
from pathlib import Path
from server.settings import Settings
from server.start import serve

def around(gateway, app):
    async def outer(scope, receive, send):
        if scope["path"] != "/page":
            return await app(scope, receive, send)
        gateway_state = gateway.policy_state
        said = f"{gateway.guard.policy.digest} {gateway_state.digest} {gateway_state.file} {gateway_state.lag_s}"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": said.encode()})
    return outer

folder = Path(sys.argv[1])
settings = Settings(policy=folder / "policy.yaml", upstream="http://127.0.0.1:1", state=folder / "state", port=0, admin_port=0)
sys.exit(serve(settings, around=around))
"""


async def test_an_application_around_the_gateway_sees_how_its_policy_stands(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AROUND, str(tmp_path), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60), aiohttp.ClientSession() as client:
        server = Running(process, "", "", client, tmp_path, None, tmp_path / "policy.yaml")  # type: ignore[arg-type]
        url = (await server.said(r"serving on (\S+)/v1")) + "/page"

        async def page() -> list[str]:
            async with client.get(url) as response:
                return (await response.text()).split(maxsplit=2)

        before, digest, rest = await page()
        assert (before, rest) == (digest, "in force 0.0")
        server.policy.write_text(POLICY + NEWCOMER)
        await server.said("2 targets")
        after, digest, rest = await page()
        assert after == digest != before and rest == "in force 0.0"
        assert hashlib.sha256((POLICY + NEWCOMER).encode()).hexdigest() == after
        process.send_signal(signal.SIGTERM)
        assert await server.stopped() == 0
