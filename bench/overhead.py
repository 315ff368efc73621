"""What Lethe costs, beside a bare gateway and beside LiteLLM: `python -m bench.overhead`.

Every row is a gateway alone on one core, in front of a canned upstream; the upstream and the load share
another core.  Rows take turns within a round, and what is compared is a row with the bare gateway of the same
round: medians over rounds, with their range.  Prints a Markdown table and, as the last line, one JSON object
with a key a row.  Exit status 1 where an exchange failed or a row could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench import gateways, peers
from bench.figures import BASE, Row, Setting, by_round, key, rounded, summary, table, title
from bench.gateways import Running, StartError
from bench.load import Load, put
from bench.plot import draw
from bench.prompts import kept

JOINED = f"{BASE}_joined"
ROWS = (BASE, JOINED, *gateways.LETHE_ROWS, "litellm", "litellm_filter")
ON_DEMAND = tuple(row for row in peers.ROWS if row not in ROWS)
SETTINGS: tuple[Setting, ...] = tuple(itertools.product((1, 16), (True, False)))
_WARM_S = 0.4
_IDLE_S = 1.0
_MOST_IDLE = 0.02
"""Share of a core that a gateway may use while nobody asks it."""
_seeds = itertools.count(1)


def started(row: str, upstream: str) -> AbstractContextManager[Running]:
    """Return the context in which a row's gateway runs; it raises StartError."""
    if row in (BASE, JOINED):
        return gateways.passthrough(upstream, *(["joined"] if row == JOINED else []))
    if row in peers.ROWS:
        return peers.litellm(row, upstream)
    return gateways.lethe(upstream, gateways.policy_of(row))


def measure(port: int, setting: Setting, seconds: float) -> Load:
    """Put load on a gateway, with questions that nobody has asked yet."""
    gc.collect()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(put(port, *setting, kept(next(_seeds)), seconds))


def warm(up: dict[str, Running]) -> None:
    """Send every gateway some questions of either kind, before anything is counted."""
    for name, running in up.items():
        say(f"warming {name}")
        for streaming in (True, False):
            measure(running.port, (2, streaming), _WARM_S)


def idle_share(up: dict[str, Running]) -> dict[str, float]:
    """Return how much of a core each gateway uses while nobody asks."""
    before = {name: running.cpu_s() for name, running in up.items()}
    time.sleep(_IDLE_S)
    return {name: (running.cpu_s() - before[name]) / _IDLE_S for name, running in up.items()}


def measured_round(
    up: dict[str, Running],
    rows: dict[str, Row],
    given: argparse.Namespace,
    number: int,
    encoder: EncoderRate | None,
) -> None:
    """Measure every gateway once in every setting; another one is first in every round."""
    names = list(up)
    turn = number % len(names)
    for setting in given.settings:
        for name in names[turn:] + names[:turn]:
            say(f"round {number} of {given.rounds}: {title(setting)}: {name}")
            before = up[name].cpu_s()
            load = measure(up[name].port, setting, given.seconds)
            spent_ms = (up[name].cpu_s() - before) * 1e3
            rows[name].loads.setdefault(setting, []).append(load)
            rows[name].cpu_ms.setdefault(setting, []).append(spent_ms / max(load.exchanges, 1))
        if encoder is not None and setting == given.settings[0]:
            encoder.measure(max(1.0, given.seconds))


class EncoderRate:
    """The encoder alone, on the gateways' core, asked once a round."""

    def __init__(self, state: Path) -> None:
        command = [sys.executable, "-m", "bench.encoder_rate", str(state)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        self._said()
        gateways.pin(gateways.GATEWAY_CORE, self._process.pid)
        self.texts_s: list[float] = []

    def measure(self, seconds: float) -> None:
        """Add a round's rate."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        self.texts_s.append(float(self._said()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate("")

    def _said(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise StartError("the encoder could not be measured alone")
        return line


def in_encoder_calls(row: Row, base: Row, setting: Setting, texts_s: list[float]) -> float:
    """Return the median latency that a row adds to the base's, as a multiple of one call of the encoder."""
    own, of = (by_round(each, setting)["p50_ms"] for each in (row, base))
    calls = [(mine - other) * rate / 1e3 for mine, other, rate in zip(own, of, texts_s, strict=True)]
    return statistics.median(calls)


def note_meaning(rows: dict[str, Row], name: str, encoder: EncoderRate, texts: float) -> None:
    """Note what a row with meaning costs in calls of the encoder."""
    row, base = rows[name], rows.get(BASE)
    asked = sum(load.exchanges + sum(load.failures.values()) for load in row.all_loads())
    rate = statistics.median(encoder.texts_s)
    row.notes |= {"encoder_texts_s": rounded(rate), "encoder_call_ms": rounded(1e3 / rate)}
    row.notes["encoder_texts_a_sentence"] = rounded(texts / asked)
    for setting in row.loads:
        if base is not None and setting[0] == 1:
            calls = in_encoder_calls(row, base, setting, encoder.texts_s)
            row.notes[f"added_p50_in_encoder_calls_{key(setting)}"] = rounded(calls)


def loop_notes(row: str, seconds: float) -> dict[str, float]:
    """Return how late timers are in the event loop of a row's gateway.  Raises StartError."""
    say(f"the event loop of {row}")
    command = [sys.executable, "-m", "bench.stalls", "--row", row, "--seconds", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise StartError(f"the event loop of {row} could not be measured: try python -m bench.stalls")
    found = orjson.loads(done.stdout.splitlines()[-1])[row]
    return {f"event_loop_late_p99_ms_{name}": shown["p99_ms"] for name, shown in found.items()}


def run(given: argparse.Namespace) -> tuple[dict[str, Row], Load]:
    """Start everything, measure in rounds, and return the rows and the load without a gateway.

    Raises StartError.
    """
    if any(name in peers.ROWS for name in given.names):
        say("installing LiteLLM, unless it is")
        peers.install()
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(gateways.canned())
        up = _all_started(given.names, upstream, stack)
        rows = {name: Row(name) for name in up}
        by_meaning = [name for name in up if name.startswith("meaning")]
        if not given.quick:
            for name in by_meaning:
                rows[name].notes |= loop_notes(name, given.seconds)
        gateways.pin(gateways.LOAD_CORE)
        warm(up)
        for name, share in idle_share(up).items():
            rows[name].notes["idle_share"] = rounded(share)
        bare = measure(int(upstream.rpartition(":")[2]), (16, True), given.seconds)
        encoder = EncoderRate(gateways.COMPILED) if by_meaning else None
        if encoder is not None:
            stack.callback(encoder.close)
        before = {name: up[name].metric("lethe_encoder_texts") for name in by_meaning}
        for number in range(1, given.rounds + 1):
            measured_round(up, rows, given, number, encoder)
        for name in by_meaning:
            assert encoder is not None
            note_meaning(rows, name, encoder, up[name].metric("lethe_encoder_texts") - before[name])
    return rows, bare


def _all_started(names: list[str], upstream: str, stack: contextlib.ExitStack) -> dict[str, Running]:
    """Start the gateways, two at a time; each gets its core when it serves."""
    say(f"starting {', '.join(names)}")

    def start(name: str) -> Running:
        running = stack.enter_context(started(name, upstream))
        say(f"{name} serves")
        return running

    with ThreadPoolExecutor(2) as pool:
        # LiteLLM takes the longest, so it begins.
        coming = {
            name: pool.submit(start, name) for name in sorted(names, key=lambda each: each not in peers.ROWS)
        }
    return {name: coming[name].result() for name in names}


def remarks(given: argparse.Namespace, rows: dict[str, Row], bare: Load) -> Iterator[str]:
    """Yield what a reader must know beside the table."""
    yield f"Rounds: {given.rounds}, {given.seconds:g} s a row and setting."
    yield f"The load without a gateway, upstream on the same core: {bare.rate:,.0f} requests/s, streamed."
    if not gateways.PINNED:
        yield "Nothing was pinned to a core: this system offers one core, or no way to choose."
    if not any(name in peers.ROWS for name in rows):
        yield "LiteLLM was not measured."
    for name, row in rows.items():
        if (row.notes["idle_share"] or 0) > _MOST_IDLE:
            yield f"{name} used {row.notes['idle_share']:.0%} of a core while nobody asked it."
        if failed := row.failures():
            yield f"{name}: exchanges failed: {failed}{'' if row.valid() else '; the row is not valid'}."
        for note, value in row.notes.items():
            if "encoder" in note or "loop" in note:
                yield f"{name}: {note.replace('_', ' ')}: {value}."


def arguments(given_arguments: list[str] | None = None) -> argparse.Namespace:
    """Return what to measure: `names`, `rounds`, `seconds`, `settings` and `plot`."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--rows", help=f"comma-separated, of {', '.join((*ROWS, *ON_DEMAND))}")
    parser.add_argument("--rounds", type=int, help="5, or 2 with --quick")
    parser.add_argument("--seconds", type=float, help="for each row and setting in a round: 3, or 0.4")
    parser.add_argument("--connections", type=int, choices=(1, 16), help="one of both only")
    parser.add_argument("--streamed", action="store_true", help="streamed answers only")
    parser.add_argument("--no-peers", action="store_true", help="without LiteLLM")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the figures")
    given = parser.parse_args(given_arguments)
    names = given.rows.split(",") if given.rows else list(ROWS)
    if unknown := [name for name in names if name not in (*ROWS, *ON_DEMAND)]:
        parser.error(f"--rows: no row is called {', '.join(unknown)}; {', '.join((*ROWS, *ON_DEMAND))} are")
    given.names = [name for name in dict.fromkeys(names) if not (given.no_peers and name in peers.ROWS)]
    given.rounds = given.rounds or (2 if given.quick else 5)
    given.seconds = given.seconds or (0.4 if given.quick else 3.0)
    given.settings = [
        setting
        for setting in SETTINGS
        if given.connections in (None, setting[0]) and (setting[1] or not given.streamed)
    ]
    return given


def say(text: str) -> None:
    """Show on stderr what is being done."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print; return the exit status."""
    given = arguments()
    began = time.monotonic()
    try:
        rows, bare = run(given)
    except StartError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    say(f"done in {time.monotonic() - began:.0f} s\n")
    said: dict[str, Any] = {name: summary(row, rows.get(BASE)) for name, row in rows.items()}
    print("\n".join(table(said, given.settings)))
    print("\n" + "\n".join(remarks(given, rows, bare)))
    if given.plot is not None:
        given.plot.write_text(draw(said), encoding="utf-8")
    print(orjson.dumps(said).decode())
    return 0 if all(row.valid() for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
