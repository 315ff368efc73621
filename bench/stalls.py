"""How long Lethe's event loop is held up under load: `python -m bench.stalls --row meaning_1000`.

The gateway runs as `lethe serve` does, on its core, with a clock in its event loop (`bench.late`): timers
that are due every millisecond, and how late they come.  What is late while nobody asks is the timer's own.
Prints a table and, as the last line, a JSON object; exits with 1 where an exchange failed.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.request
from typing import Any

import orjson

from bench import gateways
from bench.gateways import StartError
from bench.late import PATH
from bench.overhead import measure, say

_CONNECTIONS = (0, 1, 16)
"""Nobody asks, one does, sixteen do."""


def late(port: int) -> dict[str, Any]:
    """Return what the clock says, and begin anew."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{PATH}", timeout=60) as answer:
        said: dict[str, Any] = orjson.loads(answer.read())
    return {name: round(value, 3) for name, value in said.items()}


def under_load(port: int, seconds: float) -> dict[str, Any]:
    """Return how late timers are, by the number of connections."""
    found: dict[str, Any] = {}
    measure(port, (4, True), 0.5)
    for connections in _CONNECTIONS:
        time.sleep(0.1)
        late(port)
        if connections:
            load = measure(port, (connections, True), seconds)
            shown = {"requests_s": round(load.rate, 1), "failures": load.failures}
        else:
            time.sleep(seconds)
            shown = {"requests_s": 0.0, "failures": {}}
        found[str(connections)] = {**late(port), **shown}
    return found


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.stalls", description=__doc__.partition("\n")[0])
    parser.add_argument("--row", default="meaning_1000", choices=gateways.LETHE_ROWS)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    policy = gateways.policy_of(given.row)
    try:
        with gateways.canned() as upstream, gateways.lethe(upstream, policy, "bench.late") as running:
            gateways.pin(gateways.LOAD_CORE)
            found = under_load(running.port, given.seconds)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    say("done\n")
    print("| connections | requests/s | late: p50 | p99 | p99.9 | most |\n|--:|--:|--:|--:|--:|--:|")
    for connections, shown in found.items():
        cells = (f"{shown[each]:.2f} ms" for each in ("p50_ms", "p99_ms", "p99.9_ms", "max_ms"))
        print(f"| {connections} | {shown['requests_s']} | {' | '.join(cells)} |")
    print(orjson.dumps({given.row: found}).decode())
    return 1 if any(shown["failures"] for shown in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
