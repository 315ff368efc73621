"""The thread that an encoder runs on, for all exchanges of a process."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from guards.base import EncoderUnavailable
from guards.encoder import Encoder, Vectors

_T = TypeVar("_T")

_NICE = 10
_TURN_TEXTS = 4
"""Texts of one call that are encoded before others have their turn."""


@dataclass(slots=True, eq=False)
class _Job:
    texts: tuple[str, ...]
    then: Callable[[Vectors], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    due_at: float
    """On the monotonic clock."""
    vectors: list[Vectors] = field(default_factory=list)
    """Of the texts that are done; `texts` are those that are not."""


class EncoderThread:
    """Runs one encoder on one thread for all exchanges of a process; the event loop never waits for it.

    Calls take turns of a few texts, and each is answered as soon as its own texts are done: an encoder that
    takes texts one by one gains nothing by more at a time, and answers that come all at once would hold up
    the event loop.  At most `queue_texts` texts wait.  A call that
    finds the queue full, passes its deadline, whose encoder raises or answers with anything but finite rows
    of the right shape, or that comes after `close`, raises EncoderUnavailable: unchecked text never leaves.
    """

    def __init__(self, encoder: Encoder, queue_texts: int = 512, deadline_s: float = 10.0) -> None:
        self.encoder = encoder
        self.calls = 0
        """Calls of `encode` so far; those that failed are counted too."""
        self.failures = 0
        """Calls that raised EncoderUnavailable."""
        self.texts = 0
        """Texts of those calls."""
        self.turns = 0
        """Calls of the encoder itself."""
        self._queue_texts = queue_texts
        self._deadline_s = deadline_s
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs and takes work."""
        return not self._closed and self._thread.is_alive()

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Return [texts, dim] float32, rows of unit length, or raise EncoderUnavailable."""
        return await self.apply(texts, lambda vectors: vectors)

    async def apply(self, texts: Sequence[str], then: Callable[[Vectors], _T]) -> _T:
        """Return what `then` makes of the texts' vectors, on the encoder's thread.

        Raises EncoderUnavailable as `encode` does, also for whatever `then` raises.
        """
        self.calls += 1
        self.texts += len(texts)
        try:
            made: _T = await self._encode(tuple(texts), then)
            return made
        except EncoderUnavailable:
            self.failures += 1
            raise

    async def _encode(self, texts: tuple[str, ...], then: Callable[[Vectors], Any]) -> Any:
        if not texts:
            return then(np.empty((0, self.encoder.dim), np.float32))
        loop = asyncio.get_running_loop()
        job = _Job(texts, then, loop.create_future(), loop, time.monotonic() + self._deadline_s)
        with self._changed:
            if self._closed:
                raise EncoderUnavailable("the encoder is closed")
            # One call larger than the whole queue is let in when nothing else waits: it could never run else.
            if self._jobs and self._waiting + len(texts) > self._queue_texts:
                raise EncoderUnavailable("the encoder's queue is full")
            self._jobs.append(job)
            self._waiting += len(texts)
            self._changed.notify()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await job.future
        except TimeoutError as error:
            raise EncoderUnavailable("the encoder missed its deadline") from error

    def close(self) -> None:
        """Fail what is waiting and end the thread; waits for the turn at hand, `deadline_s` at most."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(self._deadline_s)

    def _work(self) -> None:
        _stand_back()
        while (job := self._take()) is not None:
            try:
                self._advance(job)
            except Exception as error:  # noqa: BLE001  # one bad text must not fail the others, nor end the thread
                _settle(job, None, type(error).__name__)
        with self._changed:
            rest = list(self._jobs)
            self._jobs.clear()
        for job in rest:
            _settle(job, None, "closed")

    def _take(self) -> _Job | None:
        """Wait for work and return whose turn it is; None once closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._closed or self._jobs)
                if self._closed:
                    return None
                job = self._jobs.popleft()
                self._waiting -= len(job.texts)
                # Nobody waits any longer for a job past its deadline.
                if job.due_at > time.monotonic():
                    return job

    def _advance(self, job: _Job) -> None:
        """Encode some of a job's texts, and answer it or put it behind the others."""
        texts, job.texts = job.texts[:_TURN_TEXTS], job.texts[_TURN_TEXTS:]
        self.turns += 1
        vectors = self.encoder.encode(texts)
        if vectors.shape != (len(texts), self.encoder.dim) or not np.isfinite(vectors).all():
            raise ValueError("the encoder's answer is not finite or has the wrong shape")
        job.vectors.append(vectors)
        if not job.texts:
            _settle(job, job.then(np.concatenate(job.vectors)), "")
            return
        with self._changed:
            self._jobs.append(job)
            self._waiting += len(job.texts)


def _settle(job: _Job, made: object, reason: str) -> None:
    """Hand a result to the job's own loop, from the encoder's thread."""

    def answer() -> None:
        if job.future.done():
            return
        if reason:
            # The error's text may quote what was encoded; its type does not.
            job.future.set_exception(EncoderUnavailable(f"the encoder failed: {reason}"))
        else:
            job.future.set_result(made)

    with suppress(RuntimeError):  # the loop is closed: nobody waits
        job.loop.call_soon_threadsafe(answer)


def _stand_back() -> None:
    """Have whoever shares a core with this thread go first, where the system knows threads' priorities.

    The event loop has little to do at a time and must not wait for a slice of the processor to be over.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(now + _NICE, 19))
