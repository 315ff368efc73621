"""The writing side: one chain and one writer thread a process, group commit, fail closed.

Whoever waits on the event loop gets an answer after the commit that holds its record, or an AuditError; all
records that wait when a commit begins go into it together, so that the cost of making them durable is shared.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from server.audit import heads, store
from server.audit.chain import Step, Tip, extend, last_checkpoint, seal_dead, stored_end, with_checkpoint
from server.audit.records import AuditError, Ended, Opened, canonical
from server.audit.signing import Keys


@dataclass(slots=True, eq=False)
class _Entry:
    """A record on its way to the database, and who waits for it."""

    body: bytes
    opens: str | None = None
    """The exchange that the record opens, if it does."""
    future: asyncio.Future[None] | None = None

    @property
    def abandoned(self) -> bool:
        """Whether the record opens an exchange for which nobody waits any more."""
        return self.opens is not None and self.future is not None and self.future.cancelled()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the audit's memory, its waiting and its unsigned tail."""

    queue: int = 4096
    """Records that may wait before an exchange is refused; an ending is always taken."""
    busy_s: float = 5.0
    """How long a commit waits for other processes."""
    checkpoint_records: int = 1000
    """A checkpoint is signed once so many records are without one."""
    checkpoint_s: float = 5.0
    """A checkpoint is signed once a record has been without one for so long."""
    gather_s: float = 0.012
    """How long a commit waits for more records while other exchanges are under way."""
    linger_s: float = 0.05
    """How long an ending waits for a commit to go with."""


DEFAULT = Limits()
_WHAT = "the audit"
_BROKEN, _MENDED = "%s; exchanges are refused until it can be", "the audit is written again"

_Waiter = tuple[asyncio.Future[None], str | None]
"""A future, and the exchange that its record opens, if it does."""


class Audit:
    """The audit of one process: what `opened` and `ended` return is done once their record is durable.

    Both may be called in several event loops at once and never block one.  A failed write raises
    AuditError, leaves the chain where it was, and is tried anew with the next record.
    """

    def __init__(self, url: URL, state: Path, keys: Keys, clock: Callable[[], float], limits: Limits) -> None:
        self._file = store.sqlite_file(url)
        self._identity = store.identity(self._file)
        self._engine = store.writing(url, limits.busy_s)
        self._state = state
        self._keys = keys
        self._clock = clock
        self._limits = limits
        self._tip = Tip(secrets.token_hex(16))
        self._doubt: tuple[Step, Sequence[_Entry]] | None = None
        self._unfiled: Step | None = None
        self._sign_at = time.monotonic() + limits.checkpoint_s
        self._owed: list[_Entry] = []
        """Endings that could not be written: their callers know, and they go before everything else."""
        self._waiting: deque[_Entry] = deque()
        self._in_hand: Sequence[_Entry] = ()
        self._wake = threading.Condition()
        self._closing = False
        self._urgent = 0
        """How many of those that wait are awaited: all but endings."""
        self._under_way = 0
        """Exchanges with a record that opens them and none yet that ends them."""
        self._gathering = False
        """Whether the thread knows of records, and waits for others to go with them."""
        self._failed = False
        self._failure: str | None = "the audit's writer ended by itself"
        self._running: heads.Running | None = None
        self._thread = threading.Thread(target=self._run, name="lethe-audit", daemon=True)

    @classmethod
    def open(
        cls,
        url_or_path: str | Path,
        state: Path,
        clock: Callable[[], float] = time.time,
        limits: Limits = DEFAULT,
    ) -> Self:
        """Start a chain of this process, making database, keys and state folder where they are missing.

        Also signs what processes that died left unsigned.  Blocks while it reads and writes files; raises
        AuditError where any of it cannot be done.
        """
        url = store.locate(url_or_path)
        try:
            with heads.alone(state):
                keys = Keys.load(state)
                store.create(url, limits.busy_s)
                audit = cls(url, state, keys, clock, limits)
                audit._start()
        except (SQLAlchemyError, OSError) as error:
            raise AuditError(f"the audit cannot be opened: {store.reason(error, _WHAT)}") from error
        return audit

    @property
    def chain(self) -> str:
        """The id of this process's chain, 32 hex digits."""
        return self._tip.chain

    @property
    def failing(self) -> bool:
        """Whether the last write failed, or nothing is written any more: the next may well fail too."""
        return self._failed or self._closing

    @property
    def queue_length(self) -> int:
        """How many records wait for a commit."""
        return len(self._waiting)

    def opened(self, record: Opened) -> asyncio.Future[None]:
        """Take the record, and return what is done once it is durable.

        The future fails with AuditError where it could not be made so; raises AuditError where too many wait
        or after `close`.  Where the future fails or is cancelled, the exchange counts as never opened and
        needs no `ended`: should its record have been written all the same, a `void` record follows it.
        """
        return self._put(canonical("opened", record), record.exchange_id)

    def ended(self, record: Ended) -> asyncio.Future[None]:
        """Take the record, and return what is done once it is durable: with the next commit, or soon.

        The future fails with AuditError where it could not be made so.  It is then kept, and written as soon
        as anything can be: there are never more of these than exchanges that were open when the writing
        failed, since none is opened before it works again.  Raises AuditError after `close`.
        """
        return self._put(canonical("ended", record), None)

    def close(self) -> None:
        """Write what waits, a closing record and a last checkpoint, and end the thread.

        Blocks until then; from an event loop, `await asyncio.to_thread(audit.close)`.  Raises AuditError
        where the end could not be written: the chain then ends as if the process had died.  Idempotent.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._engine.dispose()
        if self._failure is not None:
            raise AuditError(self._failure)

    def _put(self, body: bytes, opens: str | None) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        with self._wake:
            if self._closing:
                raise AuditError("the audit is closed")
            # Endings are not counted: there are no more of them than exchanges that were let in.
            if opens is not None and len(self._waiting) >= self._limits.queue:
                raise AuditError("too many records wait for the audit")
            self._waiting.append(_Entry(body, opens, future))
            self._under_way += 1 if opens is not None else -1
            self._urgent += opens is not None
            if self._worth_waking(opens is not None):
                self._wake.notify()
        return future

    def _worth_waking(self, opens: bool) -> bool:
        """Whether the record that has just been put changes what the writer's thread waits for."""
        if not self._gathering:
            # An ending goes with the next commit; somebody has to look after the first one.
            return opens or len(self._waiting) == 1
        # The first one that is awaited, or the last one that the commit waited for.
        return (opens and self._urgent == 1) or 0 < self._urgent == self._under_way

    def _void(self, exchange_ids: Sequence[str]) -> None:
        """Record that these exchanges were written as opened and then refused."""
        if not exchange_ids:
            return
        with self._wake:
            for exchange_id in exchange_ids:
                void = canonical("void", {"exchange_id": exchange_id, "at": self._now()})
                self._waiting.append(_Entry(void))
            self._wake.notify()

    def _lose(self, exchange_ids: Sequence[str]) -> None:
        """Void what was written for exchanges that nobody waits for any more."""
        with self._wake:
            self._under_way -= len(exchange_ids)
        self._void(exchange_ids)

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _start(self) -> None:
        self._running = heads.Running(self._state, self.chain)
        try:
            seal_dead(self._engine, self._state, self._keys, self._now())
            started = canonical("started", {"at": self._now(), "pid": os.getpid()})
            # Signed at once, so that a chain without a checkpoint is one that was never begun here.
            self._write([_Entry(started)], sign=True)
            self._file_checkpoint()
        except BaseException:
            # Whatever it is goes on to the caller; without a thread nobody else would let these go.
            self._running.close()
            self._engine.dispose()
            raise
        self._thread.start()

    # What follows runs in the writer thread.

    def _run(self) -> None:
        try:
            while (batch := self._take()) is not None:
                self._in_hand = batch
                error = self._attempt(batch)
                self._failed = store.tell(error, self._failed, broken=_BROKEN, mended=_MENDED)
                self._answer(batch, error)
                self._in_hand = ()
            self._finish()
        finally:
            self._give_up()

    def _take(self) -> Sequence[_Entry] | None:
        """Wait for records, or until a checkpoint is due (an empty batch), or for the end (None)."""
        with self._wake:
            while not self._waiting and not self._closing:
                if not self._wake.wait(self._due_in()):
                    return ()
            if not self._waiting:
                return None
            self._gathering = True
            self._gather()
            self._gathering = False
            batch = [entry for entry in self._waiting if not entry.abandoned]
            self._under_way -= len(self._waiting) - len(batch)
            self._waiting.clear()
            self._urgent = 0
            return batch

    def _gather(self) -> None:
        """Wait for what the commit can take along: its cost is the same for one record and for many."""
        limits, began = self._limits, time.monotonic()
        while not self._closing:
            if self._urgent == 0:
                wait_s = limits.linger_s
            else:
                wait_s = limits.gather_s if self._under_way > self._urgent else 0.0
            left_s = began + wait_s - time.monotonic()
            if left_s <= 0 or not self._wake.wait(left_s):
                return

    def _due_in(self) -> float | None:
        if not self._tip.unsigned and self._unfiled is None and not self._owed:
            return None
        return max(0.0, self._sign_at - time.monotonic())

    def _attempt(self, batch: Sequence[_Entry]) -> str | None:
        """Write the batch; return None, or why it could not be."""
        due = self._due_in() == 0
        if due:
            self._sign_at = time.monotonic() + self._limits.checkpoint_s
        try:
            self._catch_up()
            everything = [*self._owed, *batch]
            full = self._tip.unsigned + len(everything) >= self._limits.checkpoint_records
            if everything or (due and self._tip.unsigned):
                self._write(everything, sign=due or full)
        except (SQLAlchemyError, OSError, AuditError) as error:
            self._owed += [entry for entry in batch if entry.opens is None]
            return store.reason(error, _WHAT)
        self._owed = []
        # The records are durable whether the line is written or not; the next batch waits for it.
        with suppress(OSError):
            self._file_checkpoint()
        return None

    def _catch_up(self) -> None:
        """Settle what earlier failures left open, so that no more than one checkpoint is ever unfiled."""
        self._file_checkpoint()
        self._resolve_doubt()
        self._file_checkpoint()

    def _write(self, batch: Sequence[_Entry], *, sign: bool) -> None:
        if store.identity(self._file) != self._identity:
            raise AuditError("the audit's database is not the file that was opened")
        step = extend(self._tip, [entry.body for entry in batch])
        if sign:
            step = with_checkpoint(step, self._keys, self._now())
        # A commit that fails may have happened: until that is known, nothing is built on either answer.
        self._doubt = (step, batch)
        with self._engine.begin() as connection:
            step.write(connection)
        self._doubt = None
        self._advance(step)

    def _advance(self, step: Step) -> None:
        if not self._tip.unsigned:
            self._sign_at = time.monotonic() + self._limits.checkpoint_s
        self._tip = step.after
        if step.checkpoint is not None:
            self._unfiled = step

    def _resolve_doubt(self) -> None:
        """Find out whether the last failed commit happened, and carry on from what is in the database."""
        if self._doubt is None:
            return
        step, batch = self._doubt
        with self._engine.begin() as connection:
            end = stored_end(connection, self.chain)
            if step.checkpoint is not None and not step.rows:
                found = last_checkpoint(connection, self.chain, self._keys)
                happened = found is not None and found[0] == step.checkpoint
            else:
                happened = end == (step.after.counter, step.after.head.hex())
        if end is not None and end[0] > self._tip.counter and not happened:
            raise AuditError("the audit's database has records in this chain that are not its own")
        self._doubt = None
        if happened:
            self._advance(step)
            written = set(batch)
            self._owed = [entry for entry in self._owed if entry not in written]
            self._void([entry.opens for entry in batch if entry.opens is not None])

    def _file_checkpoint(self) -> None:
        step = self._unfiled
        if step is not None and step.checkpoint is not None:
            heads.append(self._state, self._keys, step.checkpoint, step.signature)
            self._unfiled = None

    def _answer(self, batch: Sequence[_Entry], error: str | None) -> None:
        """Wake everyone who waits for the batch, one call for each event loop."""
        lost: list[str | None] = []
        loops: dict[asyncio.AbstractEventLoop, list[_Waiter]] = {}
        for entry in batch:
            if entry.abandoned:
                lost.append(entry.opens)
            elif entry.future is not None:
                loops.setdefault(entry.future.get_loop(), []).append((entry.future, entry.opens))
            entry.future = None
        if error is not None:
            with self._wake:
                self._under_way -= sum(entry.opens is not None for entry in batch)
        for loop, waiters in loops.items():
            try:
                loop.call_soon_threadsafe(self._settle, waiters, error)
            except RuntimeError:  # The loop is closed, so that nobody there waits any more.
                lost += [opens for _, opens in waiters]
        if error is None:
            self._lose([opens for opens in lost if opens is not None])

    def _settle(self, waiters: Sequence[_Waiter], error: str | None) -> None:
        """Answer the waiting futures of one event loop, in that loop."""
        for future, opens in waiters:
            if future.cancelled():
                if error is None and opens is not None:
                    self._lose([opens])
            elif error is None:
                future.set_result(None)
            else:
                future.set_exception(AuditError(error))

    def _finish(self) -> None:
        """Write the closing record with the last checkpoint."""
        try:
            self._catch_up()
            closed = _Entry(canonical("closed", {"at": self._now()}))
            self._write([*self._owed, *self._waiting, closed], sign=True)
            self._file_checkpoint()
            self._failure = None
        except (SQLAlchemyError, OSError, AuditError) as error:
            self._failure = store.reason(error, _WHAT)

    def _give_up(self) -> None:
        """Leave nobody waiting, whatever ended the thread."""
        with self._wake:
            self._closing = True
            left = [*self._in_hand, *self._waiting]
            self._waiting.clear()
        self._answer(left, "the audit is closed")
        assert self._running is not None
        if self._failure is None:
            self._running.close()
        else:
            self._running.abandon()
