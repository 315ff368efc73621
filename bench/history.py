"""What a long conversation costs: `python -m bench.history` asks at the end of 100,000 tokens.

The conversation has 200 messages in turn, 420,000 characters of English sentences, no two alike, none about a
target.  It is asked twice: whole, and again with the answer and one more question behind it.  Every repeat
uses another conversation and asks every gateway; what is added is the time to the end of the streamed answer,
less that of the bare gateway in the same repeat.  Prints a table and, as the last line, a JSON object.  A
gateway that refuses shows its status; the exit status is 1 where one fails in any other way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import uvloop

from bench import gateways
from bench.canned import PROSE
from bench.figures import BASE
from bench.gateways import StartError
from bench.load import put
from bench.overhead import say, started
from bench.prompts import kept

ROWS = (BASE, "targets_1000", "meaning_1000")
MESSAGES = 200
CHARS = 420_000
TURNS = ("first", "next")
_REFUSED = "status 413"
_WHO = (
    "baker,farmer,teacher,sailor,nurse,painter,carpenter,gardener,driver,tailor,cook,clerk,miller,porter,"
    "neighbour,cousin,student,shepherd,plumber,postman"
).split(",")
_DID = (
    "carried,cleaned,sold,borrowed,found,painted,weighed,packed,lost,mended,bought,washed,moved,wrapped,"
    "measured,counted,stored,lifted,polished,returned"
).split(",")
_WHAT = "chair,kettle,basket,ladder,lamp,blanket,barrel,window,cart,bench,rope,clock,shelf,bucket".split(",")
_LIKE = "old,heavy,green,small,wooden,blue,broken,new,round,narrow,cheap,large,plain,yellow".split(",")
_WHERE = "harbour,market,barn,station,kitchen,garden,workshop,bridge,cellar,school,mill,tower".split(",")
_WHEN = (
    "before noon,in the rain,after the meeting,late on Sunday,without much talk,for the second time,"
    "while the others slept,as the letter had asked,once the road was dry,when the bell rang"
).split(",")


def conversation(seed: int) -> list[dict[str, str]]:
    """Return the messages of a conversation that ends with an answer."""
    told = _sentences(random.Random(seed))
    messages = []
    for number in range(MESSAGES):
        text, length = [], 0
        while length < CHARS // MESSAGES:
            text.append(next(told))
            length += len(text[-1]) + 1
        messages.append({"role": "assistant" if number % 2 else "user", "content": " ".join(text)})
    return messages


def _sentences(draw: random.Random) -> Iterator[str]:
    """Yield sentences without end, none of them twice."""
    told: set[str] = set()
    while True:
        who, helper = draw.sample(_WHO, 2)
        what = f"the {draw.choice(_LIKE)} {draw.choice(_WHAT)}"
        way = f"from the {draw.choice(_WHERE)} with the {helper} {draw.choice(_WHEN)}"
        sentence = f"The {who} {draw.choice(_DID)} {what} {way}."
        if sentence not in told:
            told.add(sentence)
            yield sentence


def turns(seed: int) -> Iterator[list[dict[str, str]]]:
    """Yield the messages of the first turn and of the next one."""
    questions = kept(seed)
    first = [*conversation(seed), {"role": "user", "content": next(questions)}]
    yield first
    yield [*first, {"role": "assistant", "content": PROSE}, {"role": "user", "content": next(questions)}]


def timed(port: int, messages: list[dict[str, str]]) -> tuple[float, dict[str, int]]:
    """Return the milliseconds to the end of the answer, and the failures by reason."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(put(port, 1, True, iter([messages])))
    return (load.latencies[0] * 1e3 if load.latencies else float("nan")), load.failures


def measure(names: list[str], repeats: int) -> dict[str, dict[str, list[float] | str]]:
    """Return the milliseconds of every repeat by row and turn, or how it failed.  Raises StartError."""
    found: dict[str, dict[str, list[float] | str]] = {name: {} for name in names}
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(gateways.canned())
        up = {name: stack.enter_context(started(name, upstream)) for name in names}
        gateways.pin(gateways.LOAD_CORE)
        for repeat in range(repeats + 1):
            for turn, messages in zip(TURNS, turns(1_000 + repeat), strict=True):
                for name, running in up.items():
                    say(f"repeat {repeat} of {repeats}: {turn} turn: {name}")
                    took_ms, failures = timed(running.port, messages)
                    if failures:
                        found[name][turn] = " ".join(failures)
                    elif repeat:  # the one numbered 0 warms
                        times = found[name].setdefault(turn, [])
                        assert isinstance(times, list)
                        times.append(took_ms)
    return found


def summary(found: dict[str, dict[str, list[float] | str]]) -> dict[str, dict[str, Any]]:
    """Return medians by row and turn, and what is added to the bare gateway in the same repeat."""
    said: dict[str, dict[str, Any]] = {name: {} for name in found}
    for name, by_turn in found.items():
        for turn, times in by_turn.items():
            base = found[BASE][turn]
            if isinstance(times, str) or isinstance(base, str):
                said[name][turn] = {"failed": times if isinstance(times, str) else base}
                continue
            added = [mine - other for mine, other in zip(times, base, strict=True)]
            said[name][turn] = {
                "ms": round(statistics.median(times), 1),
                "added_ms": round(statistics.median(added), 1),
                "added_ms_range": [round(min(added), 1), round(max(added), 1)],
            }
    return said


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rows", default=",".join(ROWS[1:]), help="comma-separated")
    given = parser.parse_args()
    try:
        said = summary(measure([BASE, *given.rows.split(",")], given.repeats))
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    say("done\n")
    print("| | turn | median | added | range |\n|---|---|--:|--:|--:|")
    for name, by_turn in said.items():
        for turn, shown in by_turn.items():
            if "failed" in shown:
                print(f"| {name} | {turn} | {shown['failed']} | – | – |")
            else:
                low, high = shown["added_ms_range"]
                print(f"| {name} | {turn} | {shown['ms']} ms | {shown['added_ms']} ms | {low}–{high} ms |")
    print(orjson.dumps(said).decode())
    failed = {shown.get("failed") for by_turn in said.values() for shown in by_turn.values()}
    return 0 if failed <= {None, _REFUSED} else 1


if __name__ == "__main__":
    sys.exit(main())
