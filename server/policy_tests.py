"""A policy's own `tests`, asked of the policy: does each question arm what it should, and nothing else?

No model is asked.  A question that is expected to be forgotten must be armed or reversed; one that is kept
may at most put a subject in play, since its answer then passes unless it brings a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from guards.base import Passage, Stance
from guards.registry import Guard

_FORGOTTEN = (Stance.ARMED, Stance.REVERSED)


def failed_tests(guard: Guard, file: Path) -> list[str]:
    """Return a line for each test that does not come out as expected, with its place in `file`."""
    return asyncio.run(_failed(guard, file))


async def _failed(guard: Guard, file: Path) -> list[str]:
    failed: list[str] = []
    for test in guard.policy.tests:
        arms = await guard.read([Passage("test", "user", test.ask, True)])
        forgotten = arms.stance in _FORGOTTEN
        if forgotten == (test.expect == "forgotten"):
            continue
        ids = sorted(guard.policy.targets[index].id for index in arms.armed | arms.reversed)
        found = f"it is about {', '.join(ids)}" if ids else "it is about no target"
        where = f"{file}:{test.line}" if test.line is not None else str(file)
        failed.append(f"{where}: tests: {test.ask!r} is expected to be {test.expect}, but {found}")
    return failed


def lines(problems: list[str]) -> Iterator[str]:
    """Yield what to show of failed tests: each of them, then the way on."""
    yield from problems
    if problems:
        yield "`lethe explain` shows what a question arms and how near it came."
