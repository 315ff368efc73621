"""What a policy costs by its size: `python -m bench.scale` with 100 to 100,000 targets.

Every target is an entity with a name, two facts and five examples; everything is on.  `lethe serve` runs with
two workers in front of an upstream that has its answer ready.  Measured are the first start, which compiles;
the second one, which finds what was compiled; the memory of the two workers together, where what they share
counts once; and what a request costs whose prompt is new, in processor time of the workers, beside the same
with the fewest targets.

The vectors of the examples are made from those of real ones (`bench.exemplars`), since to encode half a
million sentences takes more than an hour: their encoding is not in the first start, and the rate at which it
would go is printed.  All else is the real thing.

Prints a table and, as the last line, one JSON object; exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench import gateways
from bench.exemplars import WORDINGS, Exemplars
from bench.load import put
from bench.plot import draw_by_size
from bench.policies import people
from bench.prompts import kept
from bench.sizes import sizes
from guards.encoder import OnnxEncoder, Vectors, load_encoder
from guards.vectors import RememberingEncoder
from server.keys import installation_key

SIZES = (100, 1_000, 10_000, 100_000)
START_S, MEMORY_MB, TIMES = 10.0, 2_000.0, 1.5
"""The bars: a start from what was compiled, two workers' memory, a request beside one with the fewest."""
_WORKERS = 2
_QUESTIONS = 150
_ROUNDS = 3
_GIVE_UP_S = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Scaled:
    """What was measured with one size."""

    targets: int
    policy_mb: float
    cold_s: float
    """The first start, until a client is answered; without encoding."""
    again_s: float
    """The second start."""
    workers_mb: float
    """Proportional set size of the workers together."""
    all_mb: float
    """Of every process of the server: its parent and the one that compiles as well."""
    kept_mb: float
    """The file that the compiled policy is in."""
    request_ms: float
    """Processor time of the workers for a request: the median of the rounds."""
    latency_ms: float
    failed: int


class Ready:
    """An encoder whose vectors are ready, in the order in which they are asked for."""

    def __init__(self, encoder: OnnxEncoder, vectors: Iterator[Vectors]) -> None:
        self.name, self.dim = encoder.name, encoder.dim
        self._rows = (row for block in vectors for row in block.reshape(-1, encoder.dim))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the next vectors."""
        return np.stack([next(self._rows) for _ in texts])


def fill(state: Path, encoder: OnnxEncoder, exemplars: Exemplars, count: int) -> None:
    """Put the examples' vectors where the server looks for those that it knows."""
    ready = Ready(encoder, exemplars.targets(count))
    known = RememberingEncoder(ready, state, installation_key(state))
    for name, _ in people(count):
        known.encode([wording.format(name) for wording in WORDINGS])
    known.built()


def written(file: Path, count: int) -> float:
    """Write the policy; return its size in MB."""
    with file.open("w", encoding="utf-8") as policy:
        policy.write("lethe: 1\nname: scale\ntargets:\n")
        for number, (name, facts) in enumerate(people(count)):
            told = ", ".join(f"{{relation: {relation}, values: [{value}]}}" for relation, value in facts)
            like = ", ".join(f'"{wording.format(name)}"' for wording in WORDINGS)
            policy.write(f"- {{id: t{number}, kind: entity, names: [{name}],\n   facts: [{told}],\n")
            policy.write(f"   like: [{like}]}}\n")
    return file.stat().st_size / 1e6


@contextlib.contextmanager
def serving(folder: Path, upstream: str) -> Iterator[tuple[float, int, int]]:
    """Run the server; yield the seconds until it answered, its port and its process id."""
    port, admin = gateways.free_port(), gateways.free_port()
    command = [sys.executable, "-m", "server.cli", "serve", "--policy", str(folder / "policy.yaml")]
    command += ["--state", str(folder / "state"), "--workers", str(_WORKERS), "--upstream", upstream]
    command += ["--port", str(port), "--admin-port", str(admin)]
    began = time.monotonic()
    with gateways.process(command) as (started, log):
        shown = 0
        while not _answers(port):
            if started.poll() is not None or time.monotonic() - began > _GIVE_UP_S:
                raise gateways.StartError(f"did not start: {log.read_text(errors='replace')[-2000:]}")
            said = log.read_text(errors="replace")
            print(said[shown:], end="", file=sys.stderr, flush=True)
            shown = len(said)
            time.sleep(0.05)
        yield time.monotonic() - began, port, started.pid


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
        return True
    return False


def processes(parent: int) -> tuple[list[int], list[int]]:
    """Return the process ids of a server's workers, and of all its processes."""
    children = [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    spawned = [each for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]
    # The one that compiles leads a group of its own.
    return [each for each in spawned if os.getpgid(each) != each], [parent, *children]


def pss_mb(pids: Sequence[int]) -> float:
    """Return the memory of processes together, in MB; what several of them share counts once."""
    total_kb = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total_kb += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total_kb / 1e3


def cpu_s(pids: Sequence[int]) -> float:
    """Return the processor time that processes have had."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def asked(port: int, workers: Sequence[int], seed: int) -> tuple[float, float, int]:
    """Ask new questions, one at a time; return processor and latency (ms) of each, and how many failed."""
    before = cpu_s(workers)
    load = asyncio.run(put(port, 1, False, islice(kept(seed), _QUESTIONS)))
    spent_ms = (cpu_s(workers) - before) / _QUESTIONS * 1e3
    # A few are touched by mistake: a policy allows a share of that.
    failed = sum(load.failures.values()) - load.failures.get("withheld", 0)
    return spent_ms, statistics.median(load.latencies) * 1e3, failed


def measured(count: int, encoder: OnnxEncoder, exemplars: Exemplars, upstream: str) -> Scaled:
    """Measure one size."""
    with tempfile.TemporaryDirectory(prefix="lethe-scale-") as made:
        folder = Path(made)
        state = folder / "state"
        state.mkdir(mode=0o700)
        for name in ("encoders", "retain"):
            (gateways.COMPILED / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            (state / name).symlink_to(gateways.COMPILED / name)
        size_mb = written(folder / "policy.yaml", count)
        say(f"{count:,} targets, {size_mb:.1f} MB: vectors")
        fill(state, encoder, exemplars, count)
        say(f"{count:,} targets: the first start")
        with serving(folder, upstream) as (cold_s, _, _):
            say(f"{count:,} targets: {cold_s:.1f} s; the second start")
        with serving(folder, upstream) as (again_s, port, parent):
            workers, everyone = processes(parent)
            asked(port, workers, 99)
            rounds = [asked(port, workers, seed) for seed in range(_ROUNDS)]
            memory, whole = pss_mb(workers), pss_mb(everyone)
        kept_mb = sum(file.stat().st_size for file in (state / "compiled").iterdir()) / 1e6
    request_ms, latency_ms = (statistics.median(each[at] for each in rounds) for at in (0, 1))
    failed = sum(each[2] for each in rounds)
    return Scaled(count, size_mb, cold_s, again_s, memory, whole, kept_mb, request_ms, latency_ms, failed)


def report(rows: Sequence[Scaled], rate: float) -> bool:
    """Print what was found; return whether all bars are met."""
    print(
        "| targets | policy | first start, without encoding | encoding, at this rate | second start |"
        " two workers | all processes | on disk | a request | of the fewest |\n|" + "--:|" * 10
    )
    good, shown = True, list[dict[str, Any]]()
    for row in rows:
        times = row.request_ms / rows[0].request_ms
        sentences = row.targets * len(WORDINGS)
        good &= row.again_s < START_S and row.workers_mb < MEMORY_MB and times <= TIMES and not row.failed
        print(
            f"| {row.targets:,} | {row.policy_mb:.1f} MB | {row.cold_s:.1f} s | {sentences / rate:.0f} s |"
            f" {row.again_s:.1f} s | {row.workers_mb:.0f} MB | {row.all_mb:.0f} MB | {row.kept_mb:.0f} MB |"
            f" {row.request_ms:.1f} ms | {times:.2f} |"
        )
        shown.append({**asdict(row), "times": round(times, 3), "encoding_s": round(sentences / rate)})
    print(
        f"\nThe encoder takes {rate:.0f} sentences a second here; vectors of examples are made, not encoded."
    )
    print(orjson.dumps({"sizes": shown, "encoder_per_s": round(rate, 1), "bars_met": good}).decode())
    return good


def say(text: str) -> None:
    """Say how it goes, beside the results."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=sizes, default=SIZES, help="numbers of targets, the fewest first")
    parser.add_argument("--plot", type=Path, help="an SVG to write")
    given = parser.parse_args()
    gateways.COMPILED.mkdir(parents=True, exist_ok=True)
    say("encoding what is real")
    encoder = load_encoder(gateways.COMPILED)
    began = time.monotonic()
    exemplars = Exemplars(encoder)
    rate = (exemplars.real.shape[0] * len(WORDINGS) + len(exemplars.asked)) / (time.monotonic() - began)
    rows: list[Scaled] = []
    try:
        with gateways.canned() as upstream:
            for count in given.sizes:
                rows.append(measured(count, encoder, exemplars, upstream))
                say(orjson.dumps(asdict(rows[-1])).decode())
    except gateways.StartError as error:
        print(error, file=sys.stderr)
        return 1
    if given.plot:
        given.plot.write_text(draw_by_size([asdict(row) for row in rows]), encoding="utf-8")
    return 0 if report(rows, rate) else 1


if __name__ == "__main__":
    sys.exit(main())
