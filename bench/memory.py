"""Whether Lethe's memory grows: `python -m bench.memory` counts what it holds after 100,000 exchanges.

`lethe serve` with 1,000 targets and its audit on, 16 connections, half of them streamed, no question asked
twice.  The start is taken after a warm-up of a few thousand exchanges, in which caches and pools fill.
Prints a table and, as the last line, a JSON object; exits with 1 where it grew by more than 5 %, or an
exchange failed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time

import orjson
import uvloop

from bench import gateways
from bench.gateways import Running, StartError
from bench.load import put
from bench.overhead import say
from bench.prompts import kept

MOST = 1.05
"""The end as a multiple of the start."""
_WARM = 4_000
_STEP = 5_000
_CONNECTIONS = 16


async def ask(port: int, exchanges: int, seed: int) -> dict[str, int]:
    """Ask so many new questions, half of them streamed; return the failures by reason."""
    half = exchanges // 2
    loads = await asyncio.gather(
        put(port, _CONNECTIONS // 2, True, itertools.islice(kept(seed), half)),
        put(port, _CONNECTIONS // 2, False, itertools.islice(kept(seed + 1), exchanges - half)),
    )
    failures: dict[str, int] = {}
    for load in loads:
        for reason, count in load.failures.items():
            failures[reason] = failures.get(reason, 0) + count
    return failures


def sampled(running: Running, exchanges: int) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """Return (exchanges, bytes held) from the end of the warm-up on, and the failures by reason."""
    failures: dict[str, int] = {}
    samples: list[tuple[int, int]] = []
    seeds = itertools.count(1, 2)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask(running.port, min(_WARM, exchanges), next(seeds)))
        samples.append((0, running.resident_bytes()))
        while (done := samples[-1][0]) < exchanges:
            step = min(_STEP, exchanges - done)
            for reason, count in runner.run(ask(running.port, step, next(seeds))).items():
                failures[reason] = failures.get(reason, 0) + count
            samples.append((done + step, running.resident_bytes()))
            say(f"{done + step:,} of {exchanges:,} exchanges: {samples[-1][1] / 1e6:,.1f} MB")
    return samples, failures


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--exchanges", type=int, default=100_000)
    parser.add_argument("--row", default="targets_1000", choices=gateways.LETHE_ROWS)
    given = parser.parse_args()
    began = time.monotonic()
    try:
        with (
            gateways.canned() as upstream,
            gateways.lethe(upstream, gateways.policy_of(given.row)) as running,
        ):
            gateways.pin(gateways.LOAD_CORE)
            samples, failures = sampled(running, given.exchanges)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    say(f"done in {time.monotonic() - began:.0f} s\n")
    start, end = samples[0][1], samples[-1][1]
    print("| exchanges | resident | of the start |\n|--:|--:|--:|")
    for exchanges, held in samples:
        print(f"| {exchanges:,} | {held / 1e6:,.1f} MB | {held / start:.3f} |")
    found = {
        "row": given.row,
        "exchanges": given.exchanges,
        "start_bytes": start,
        "end_bytes": end,
        "ratio": round(end / start, 4),
        "failures": failures,
    }
    print(orjson.dumps(found).decode())
    return 0 if end <= MOST * start and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
