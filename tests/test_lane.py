"""How the text of one channel is cut into units: each finding and each sentence is looked at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import Arms, Channel, Stance
from guards.lane import Borders
from guards.registry import Guard
from tests.guarding import CLEAR, policy, releaser, target
from tests.properties import cuts

GUARD = Guard(policy(target("odalys", names=["Odalys Vennaker"], facts=[("born on", ["3 May 1971"])])))
WATCHED = Arms(Stance.WATCHED, watched=frozenset([0]))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=12), st.integers(0, 40))
def test_a_cut_divides_what_any_of_the_spans_says(each: list[tuple[int, int]], gone: int) -> None:
    spans = [(start, start + length) for start, length in each]
    borders = Borders()
    for span in spans:
        borders.add(*span)
    said = [borders.divides(at) for at in range(60)]
    assert said == [any(start < at < end for start, end in spans) for at in range(60)]
    borders.forget(gone)
    assert [borders.divides(at) for at in range(60) if at > gone] == [
        one for at, one in enumerate(said) if at > gone
    ]


def _steps(arms: Arms, pieces: Sequence[str]) -> int:
    """Return how many lines of Python it takes to let an answer out."""
    running = releaser(GUARD, arms)
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    async def go() -> None:
        for piece in pieces:
            running.feed(0, Channel.CONTENT, piece)
            await running.settle()
        running.close(0, "stop")
        await running.settle()

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        asyncio.run(go())
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("arms", [CLEAR, WATCHED])
@pytest.mark.parametrize("between", [" ", "\n", " 3 May 1971. "])
@pytest.mark.parametrize("size", [16, 1 << 20])
def test_twice_as_many_names_are_twice_the_work(arms: Arms, between: str, size: int) -> None:
    text = f"Odalys Vennaker{between}" * 200
    short, long = (
        _steps(arms, cuts(part, range(0, len(part), size))) for part in (text[: len(text) // 2], text)
    )
    assert long <= 2.3 * short
