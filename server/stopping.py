"""Ending an exchange from outside, wherever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from server.errors import GuardUnavailable

_T = TypeVar("_T")


class Stop:
    """Whether an exchange was told to stop; its work is done through `unless_told`, in one task."""

    def __init__(self) -> None:
        self.told = False
        self._task: asyncio.Task[Any] | None = None
        """The task that does the work."""
        self._inside = False
        """Whether it is inside the exchange just now, and not between two parts."""
        self._interrupted = False

    async def unless_told(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do a piece of the work, and end it where it is once the exchange is told to stop.

        Raises what the work raises, or GuardUnavailable where the exchange was told.
        """
        if self.told:
            raise GuardUnavailable
        if self._task is None:
            self._task = asyncio.current_task()
        self._inside = True
        try:
            return await work()
        except BaseException:
            # Being told cancels, and the work may turn that into an error of any type.
            # A task that somebody else cancelled as well stays cancelled.
            if self._interrupted and self._task is not None and self._task.uncancel() == 0:
                raise GuardUnavailable from None
            raise
        finally:
            self._inside = False

    def tell(self) -> bool:
        """Tell it; return whether work was under way, which then fails with CancelledError."""
        self.told = True
        if self._task is None or not self._inside:
            return False
        self._interrupted = True
        self._task.cancel()
        return True
