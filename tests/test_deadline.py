"""Waiting with a deadline: the work's own outcome, whichever way it comes, and no timer where nothing waits."""

from __future__ import annotations

import asyncio

import pytest

from server.deadline import TICK_S, later, within


async def at_once(value: int) -> int:
    return value


async def after(value: int, steps: int = 3) -> int:
    for _ in range(steps):
        await asyncio.sleep(0.001)
    return value


async def failing(waits: bool) -> int:
    if waits:
        await asyncio.sleep(0.001)
    raise KeyError("x")


async def test_work_returns_what_it_returns_whether_it_waits_or_not() -> None:
    assert await within(20, at_once(1)) == 1
    assert await within(20, after(2)) == 2
    assert await within(20, within(20, after(3))) == 3


@pytest.mark.parametrize("waits", [False, True])
async def test_work_raises_what_it_raises(waits: bool) -> None:
    with pytest.raises(KeyError):
        await within(20, failing(waits))


async def test_work_that_takes_too_long_is_cancelled_where_it_is() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    with pytest.raises(TimeoutError):
        await within(0.01, slow())
    assert ended == ["cleaned up"]


async def test_a_task_that_is_cancelled_while_it_waits_stays_cancelled() -> None:
    task = asyncio.create_task(within(20, after(1, 10_000)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_outlives_a_cancellation_goes_on() -> None:
    async def stubborn() -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return 4

    task = asyncio.create_task(within(20, stubborn()))
    await asyncio.sleep(0.01)
    task.cancel()
    assert await task == 4


async def test_what_does_not_wait_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "timeout", None)
    monkeypatch.setattr("server.deadline.later", None)
    assert await within(20, at_once(5)) == 5


async def test_what_waits_long_is_ended_by_the_one_timer_of_the_loop() -> None:
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await within(1.0, asyncio.sleep(60))
    assert 1.0 <= asyncio.get_running_loop().time() - began_s < 1.0 + 20 * TICK_S
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_task_that_is_cancelled_as_its_time_is_up_stays_cancelled() -> None:
    async def both() -> None:
        task = asyncio.current_task()
        assert task is not None
        later(1.0, task.cancel)  # due in the same tick as the deadline
        await within(1.0, asyncio.sleep(60))

    task = asyncio.create_task(both())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_done_later_is_done_once_and_not_after_it_was_cancelled() -> None:
    done: list[int] = []
    over = asyncio.Event()
    kept, gone = later(0.01, lambda: done.append(1)), later(0.01, lambda: done.append(2))
    gone.cancel()
    later(0.02, lambda: later(0.01, over.set))
    async with asyncio.timeout(20):
        await over.wait()
    kept.cancel()
    assert done == [1]
