"""What holding back costs an event, against the number of targets: `python -m bench.releaser`.

One answer of 200 events is fed to the Releaser of a policy with 20, 1,000 and 20,000 entity targets, whose
names and values are made up, beside parsing and writing the same events as JSON, in one run, several rounds
interleaved; the figures are medians of microseconds an event and their ratio to the JSON work.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable

import orjson

from guards.base import Arms, Channel, Stance
from guards.registry import Guard
from policies.policy import Fact, Policy, Target
from policies.relations import relation

SIZES = (20, 1_000, 20_000)
EVENTS = 200
ROUNDS = 9
_SYLLABLES = "ka lo mi ven dra sol tu ber nin os wex ari quo pel sha".split()


def made_up(count: int) -> Policy:
    """Return a policy of `count` entities with two values each; the same count gives the same policy."""
    draw = random.Random(count)

    def word() -> str:
        return "".join(draw.choices(_SYLLABLES, k=3)).capitalize()

    born = relation("born in", (), ())
    targets = [
        Target(
            f"t{index}", "entity", "unknown", "forget", "name",
            names=(f"{word()} {word()}",), facts=(Fact(born, (word(), f"{word()} {word()}")),),
        )
        for index in range(count)
    ]  # fmt: skip
    return Policy("bench", "0" * 64, tuple(targets))


def answer() -> list[str]:
    """Return the events' texts: ordinary prose, a word or two each, a sentence every dozen."""
    draw = random.Random(1)
    words = "the sea lies wide and old ships come in with grain from far away".split()
    ends = [". " if index % 12 == 11 else " " for index in range(EVENTS)]
    return [f"{draw.choice(words)}{end}{draw.choice(words)} " for end in ends]


def as_json(texts: list[str]) -> None:
    """Parse and write the events, as any proxy must."""
    for text in texts:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        event = {"id": "x", "object": "chat.completion.chunk", "created": 0, "choices": [choice]}
        orjson.dumps(orjson.loads(orjson.dumps(event)))


async def release(guard: Guard, texts: list[str]) -> int:
    """Feed the events to a Releaser with nothing armed; return how many code points left."""
    releaser = guard.releaser(
        Arms(Stance.CLEAR), 1, structured=False, seed=lambda: b"bench", max_held_chars=1 << 18
    )
    left = 0
    for text in texts:
        releaser.feed(0, Channel.CONTENT, text)
        left += sum(len(each.text) for each in await releaser.settle())
    releaser.close(0, "stop")
    return left + sum(len(each.text) for each in await releaser.settle())


def main() -> None:
    """Measure and print."""
    texts = answer()
    guards = {size: Guard(made_up(size)) for size in SIZES}
    rows: dict[str, list[float]] = {"json": [], **{str(size): [] for size in SIZES}}

    def timed(row: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        rows[row].append((time.perf_counter() - began) / EVENTS * 1e6)

    with asyncio.Runner() as runner:
        for _ in range(ROUNDS):
            timed("json", lambda: as_json(texts))
            for size, guard in guards.items():
                timed(str(size), lambda guard=guard: runner.run(release(guard, texts)))  # type: ignore[misc]
    medians = {row: statistics.median(times) for row, times in rows.items()}
    print(f"{'row':<14}{'us an event':>12}{'of json':>10}")
    for row, median in medians.items():
        shown = row if row == "json" else f"{row} targets"
        print(f"{shown:<14}{median:>12.2f}{median / medians['json']:>10.2f}")
    print(orjson.dumps({row: round(median, 3) for row, median in medians.items()}).decode())


if __name__ == "__main__":
    main()
