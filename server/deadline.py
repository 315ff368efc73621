"""Waiting for something, but not for ever; and doing something later, if it is still worth it by then.

Nearly every wait here is over long before its time is: what it costs to have set a timer is what counts.  So
there is one timer a loop, which goes off every `TICK_S` seconds while anything waits.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

_T = TypeVar("_T")

TICK_S = 0.1
"""How much later than asked for something may come."""
_EXACT_S = 1.0
"""Shorter waits have a timer of their own: a tick would be a good part of them."""


class Later:
    """Something that is to be done later, by `TICK_S` seconds at most beyond its time."""

    __slots__ = ("_clock", "call", "due_s")

    def __init__(self, clock: _Clock, due_s: float, call: Callable[[], object]) -> None:
        self._clock = clock
        self.due_s = due_s
        self.call = call

    def cancel(self) -> None:
        """Have it not be done; again, or once it was done, is harmless."""
        self._clock.waiting.discard(self)


class _Clock:
    """What waits in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting: set[Later] = set()
        self._time = loop.time
        self._call_later = loop.call_later
        self._ticking = False

    def add(self, seconds: float, call: Callable[[], object]) -> Later:
        later = Later(self, self._time() + seconds, call)
        self.waiting.add(later)
        if not self._ticking:
            self._ticking = True
            self._call_later(TICK_S, self._tick)
        return later

    def _tick(self) -> None:
        self._ticking = bool(self.waiting)
        if self._ticking:
            self._call_later(TICK_S, self._tick)
        now_s = self._time()
        for later in [each for each in self.waiting if each.due_s <= now_s]:
            # One that is done may have cancelled another.
            if later in self.waiting:
                self.waiting.discard(later)
                later.call()


_CLOCKS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clock] = WeakKeyDictionary()


def later(seconds: float, call: Callable[[], object]) -> Later:
    """Do something in so many seconds, or up to `TICK_S` later, in the running event loop."""
    loop = asyncio.get_running_loop()
    clock = _CLOCKS.get(loop)
    if clock is None:
        clock = _CLOCKS[loop] = _Clock(loop)
    return clock.add(seconds, call)


async def within(seconds: float, work: Coroutine[Any, Any, _T]) -> _T:
    """Return what `work` returns; raise TimeoutError where it takes longer than `seconds`.

    Work that does not wait for anything needs no clock: a send into an empty buffer, the body of a request
    that has arrived.
    """
    try:
        awaited = work.send(None)
    except StopIteration as done:
        value: _T = done.value
        return value
    if seconds < _EXACT_S:
        async with asyncio.timeout(seconds):
            return await _rest(work, awaited)
    return await _within_ticks(seconds, work, awaited)


async def _within_ticks(seconds: float, work: Coroutine[Any, Any, _T], awaited: Any) -> _T:
    """As `asyncio.timeout`, by the one timer."""
    task, expired = asyncio.current_task(), False
    assert task is not None
    before = task.cancelling()

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    waiting = later(seconds, expire)
    try:
        return await _rest(work, awaited)
    except asyncio.CancelledError:
        # Where somebody else cancelled the task as well, it stays cancelled.
        if expired and task.cancelling() - 1 <= before:
            raise TimeoutError from None
        raise
    finally:
        waiting.cancel()
        if expired:
            task.uncancel()


@types.coroutine
def _rest(work: Coroutine[Any, Any, _T], awaited: Any) -> Generator[Any, Any, _T]:
    """Go on with a coroutine that has begun, and waits for `awaited`."""
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001  (whatever it is, it is the work's to handle)
                awaited = work.throw(error)
            else:
                awaited = work.send(sent)
    except StopIteration as done:
        value: _T = done.value
        return value
