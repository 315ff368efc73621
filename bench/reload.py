"""How soon a saved policy is enforced, while the gateway is under load: `python -m bench.reload`.

`lethe serve` runs with two workers and a policy of 1,000 targets, in front of an upstream whose every answer
names the newest target twice.  Sixteen connections ask all the time, half of them for streams that last
long enough to be under way when the policy changes.  The policy file is saved again and again, with a new
target in it or without.  Measured is from the save until an exchange begins in which the new name is
withheld, one in which a question about it in other words is, and one in which the name is let through again.
An exchange in which the name stands once has seen two policies.

Prints a table and, as the last line, one JSON object; exits with 1 where an exchange failed, one was mixed,
or a bar is missed: 2 s for the name, 60 s for the meaning.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from bench import gateways
from bench.policies import policy_yaml
from bench.prompts import kept

BARS_S = {"name": 2.0, "meaning": 60.0}
CONNECTIONS = 16
_PAUSE_S = 0.02
"""Between the sentences of a stream, so that many are under way at any time."""
_PROBE_S = 0.05
_ENOUGH = 5
"""Exchanges that must come out as they should, before no more are begun."""
_GIVE_UP_S = 300.0
_SUBJECTS = (
    ("orchids", "botanist"), ("glaciers", "geologist"), ("lighthouses", "engineer"), ("marshes", "surveyor"),
    ("vineyards", "painter"), ("herons", "ornithologist"), ("quarries", "mason"), ("reefs", "diver"),
    ("orchards", "gardener"), ("dunes", "photographer"),
)  # fmt: skip


class Newcomer:
    """A target that is not in the policy to begin with."""

    def __init__(self, number: int) -> None:
        things, craft = _SUBJECTS[number % len(_SUBJECTS)]
        self.name = f"Zulmira{number} Quintabel"
        self.like = (
            f"Which {craft} mapped the {things} of the northern peninsula from a balloon?",
            f"Who charted the peninsula's {things} from the air?",
            f"Name the {craft} who drew maps of {things} while flying in a balloon.",
        )
        self.paraphrase = (
            f"Who surveyed the {things} of that northern peninsula, drifting over them by balloon?"
        )

    def entry(self) -> str:
        """Return its lines of a policy file."""
        like = "".join(f"  - {sentence!r}\n" for sentence in self.like)
        return f"- id: newcomer\n  kind: entity\n  names: [{self.name}]\n  like:\n{like}"


class Upstream:
    """Answers with the newest name, twice."""

    def __init__(self) -> None:
        self.name = "Nobody"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat completion."""
        asked = await request.json()
        sentences = (
            "It rains. ",
            f"{self.name} came. ",
            "Then it was dry. ",
            f"{self.name} left. ",
            "So it ends.",
        )
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "".join(sentences)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice]})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        # Lethe hangs up as soon as it has its answer.
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            for sentence in sentences:
                await response.write(_event({"content": sentence}, None))
                await asyncio.sleep(_PAUSE_S)
            await response.write(_event({}, "stop") + b"data: [DONE]\n\n")
        return response

    async def models(self, _: web.Request) -> web.Response:
        """Answer readiness."""
        return web.json_response({"object": "list", "data": []})


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: "
        + orjson.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice]})
        + b"\n\n"
    )


class Client:
    """Asks, and looks at what comes."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/v1/chat/completions"
        self.seen: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        """Exchanges that failed, of the load and of what is measured, by how."""

    async def ask(self, question: str, *, streaming: bool = False) -> str:
        """Return all of an answer; '' where there was none."""
        body = {"model": "m", "messages": [{"role": "user", "content": question}], "stream": streaming}
        try:
            async with self._session.post(self._url, json=body) as response:
                text = await response.text()
                if response.status == 200 and "error" not in text and ("[DONE]" in text or not streaming):
                    return text
                code = re.search(r'"code":"(\w+)"', text)
                self.failed[f"{response.status} {code[1] if code else 'without a code'}"] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failed[type(error).__name__] += 1
        return ""

    async def load(self, seed: int) -> None:
        """Ask for ever."""
        for question in kept(seed):
            text = await self.ask(question, streaming=seed % 2 == 0)
            if not text:
                continue
            if "So it ends." not in text:
                self.seen["withheld"] += 1  # by mistake, of which a policy allows a share
            else:
                self.seen["mixed" if text.count("Quintabel") == 1 else "whole"] += 1


async def seconds_until(asked: Callable[[], Coroutine[Any, Any, bool]], began: float) -> float:
    """Return how many seconds after `began` an exchange had to begin to come out as it should.

    Exchanges begin one after the other, none waiting for the one before.  What counts is when the first one
    begins that comes out right, as do all later ones: how long answers take under load is another matter.
    """
    starts: list[float] = []
    asking: list[asyncio.Task[bool]] = []
    while time.perf_counter() - began < _GIVE_UP_S:
        starts.append(time.perf_counter())
        asking.append(asyncio.create_task(asked()))
        await asyncio.sleep(_PROBE_S)
        if sum(task.done() and task.result() for task in asking) >= _ENOUGH:
            came_out = await asyncio.gather(*asking)
            wrong = [start for start, right in zip(starts, came_out, strict=True) if not right]
            return min(start for start in starts if start > max(wrong, default=0.0)) - began
    return float("inf")


def save(file: Path, text: str) -> float:
    """Save as an editor does, by a rename; return when."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    began = time.perf_counter()
    fresh.replace(file)
    return began


async def measure(
    client: Client, upstream: Upstream, file: Path, base: str, saves: int
) -> dict[str, list[float]]:
    """Save with a new target and without it, by turns; return the seconds by what was waited for."""
    found: dict[str, list[float]] = {"name": [], "meaning": [], "let through": []}
    for number in range(saves):
        newcomer = Newcomer(number)
        upstream.name = newcomer.name

        async def withheld(question: str = "Is it raining?", sign: str = newcomer.name) -> bool:
            text = await client.ask(question)
            return bool(text) and sign not in text

        async def let_through(name: str = newcomer.name) -> bool:
            return name in await client.ask("Is it raining?")

        began = save(file, base + newcomer.entry())
        found["name"].append(await seconds_until(withheld, began))
        by_meaning = lambda asked=newcomer.paraphrase: withheld(asked, "rains")  # noqa: E731
        found["meaning"].append(await seconds_until(by_meaning, began))
        began = save(file, base)
        found["let through"].append(await seconds_until(let_through, began))
        say(
            f"{number + 1} of {saves}: "
            + ", ".join(f"{what} {each[-1]:.2f} s" for what, each in found.items())
        )
    return found


@contextlib.contextmanager
def lethe(url: str, policy: str, workers: int) -> Iterator[tuple[str, Path]]:
    """Run the gateway; yield its URL and its policy file."""
    port, admin = gateways.free_port(), gateways.free_port()
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        file, state = Path(folder) / "policy.yaml", Path(folder) / "state"
        file.write_text(policy, encoding="utf-8")
        keep(state)
        command = [sys.executable, "-m", "server.cli", "serve", "--policy", str(file), "--state", str(state)]
        command += ["--port", str(port), "--admin-port", str(admin), "--workers", str(workers)]
        with gateways.process([*command, "--upstream", url]) as (started, log):
            gateways.wait_for(f"http://127.0.0.1:{port}/healthz", started, log, None)
            yield f"http://127.0.0.1:{port}", file
            said = log.read_text(encoding="utf-8", errors="replace")
            say("\n".join(line for line in said.splitlines() if "is in force" not in line))
        if not (gateways.COMPILED / "installation.key").exists():
            shutil.copy2(state / "installation.key", gateways.COMPILED)


def keep(state: Path) -> None:
    """Make a state folder in which the encoder and the vectors of earlier runs are found."""
    state.mkdir(mode=0o700)
    for name in ("encoders", "retain", "vectors"):
        (gateways.COMPILED / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        (state / name).symlink_to(gateways.COMPILED / name)
    with contextlib.suppress(FileNotFoundError):  # the vectors are sealed under it
        shutil.copy2(gateways.COMPILED / "installation.key", state)


@contextlib.asynccontextmanager
async def answering(upstream: Upstream) -> AsyncIterator[str]:
    """Serve the upstream; yield its URL."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", upstream.answer)
    app.router.add_get("/v1/models", upstream.models)
    runner = web.AppRunner(app)
    await runner.setup()
    port = gateways.free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        await runner.cleanup()


async def run(given: argparse.Namespace) -> tuple[dict[str, list[float]], Client, float]:
    """Measure; return the seconds, who put the load on, and exchanges a second."""
    upstream = Upstream()
    policy = policy_yaml(given.targets, meaning=True)
    connector = aiohttp.TCPConnector(limit=0)
    async with answering(upstream) as url, aiohttp.ClientSession(connector=connector) as session:
        with contextlib.ExitStack() as stack:
            front, file = await asyncio.to_thread(stack.enter_context, lethe(url, policy, given.workers))
            client = Client(session, front)
            loading = [asyncio.create_task(client.load(seed)) for seed in range(given.connections)]
            await asyncio.sleep(1)
            began, before = time.perf_counter(), client.seen.total()
            found = await measure(client, upstream, file, policy, given.saves)
            rate = (client.seen.total() - before) / (time.perf_counter() - began)
            for task in loading:
                task.cancel()
            await asyncio.gather(*loading, return_exceptions=True)
    return found, client, rate


def say(text: str) -> None:
    """Say how it goes, beside the results."""
    if text:
        print(text, file=sys.stderr, flush=True)


def report(found: dict[str, list[float]], client: Client, rate: float) -> bool:
    """Print what was found; return whether all bars are met."""
    print("| from the save until | median | most | bar |\n|---|--:|--:|--:|")
    shown: dict[str, Any] = {}
    for what, each in found.items():
        bar = BARS_S.get(what)
        shown[f"{what}_s".replace(" ", "_")] = [round(seconds, 3) for seconds in each]
        cells = (
            f"{statistics.median(each):.2f} s | {max(each):.2f} s | {'' if bar is None else f'{bar:.0f} s'}"
        )
        print(f"| {what} | {cells} |")
    counts: dict[str, Any] = {name: client.seen[name] for name in ("whole", "withheld", "mixed")}
    counts["failed"] = dict(client.failed)
    print(f"\n{rate:.0f} exchanges a second meanwhile: {counts}; load average {os.getloadavg()[0]:.1f}")
    met = all(max(found[what]) <= bar for what, bar in BARS_S.items())
    good = met and not client.failed and not client.seen["mixed"]
    print(orjson.dumps({**shown, **counts, "exchanges_s": round(rate, 1), "bars_met": good}).decode())
    return good


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.reload", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--saves", type=int, default=10, help="how often a new target is saved, and taken out"
    )
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    given = parser.parse_args()
    try:
        found, client, rate = asyncio.run(run(given))
    except gateways.StartError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if report(found, client, rate) else 1


if __name__ == "__main__":
    sys.exit(main())
