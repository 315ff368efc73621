"""Waiting for something, but not for ever."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")


async def within(seconds: float, work: Coroutine[Any, Any, _T]) -> _T:
    """Return what `work` returns; raise TimeoutError where it takes longer than `seconds`.

    Work that does not wait for anything needs no clock: a send into an empty buffer, the body of a request
    that has arrived.  It is nearly all there is on a busy connection, and a timer costs more than it does.
    """
    try:
        awaited = work.send(None)
    except StopIteration as done:
        value: _T = done.value
        return value
    async with asyncio.timeout(seconds):
        return await _rest(work, awaited)


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
