"""The ledger: what of a target has left, for each API key, kept in the state folder as hashes and bits.

A row says that of some attribute of some target certain cells have left to some client, and until when that
counts.  Client, target and attribute are keyed hashes under the installation's key, cells are a bit mask: no
text of a target is in it, no value is hashed, and a value that is edited in the policy is not known from it.

One thread a process writes; what waits when a commit begins goes into it together.  A transaction takes the
write lock when it begins, so that whatever two exchanges of one client claim, in one process or in two, the
second sees what the first was given.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import BigInteger, Column, Connection, MetaData, String, Table, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from guards import ledger as seen
from guards.ledger import Attribute, Claim, LedgerUnavailable, allowed
from server.audit import AuditError, store
from server.audit.heads import alone

FILE = "ledger.sqlite"

_METADATA = MetaData()
_ENTRIES = Table(
    "ledger_entries",
    _METADATA,
    Column("client", String(64), primary_key=True),
    Column("attribute", String(64), primary_key=True),
    Column("target", String(64), nullable=False),
    Column("cells", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""One row an attribute of which something has left; `expires` is in seconds since the epoch."""
_ASKED, _LEFT = 8, 4
"""Attributes of one statement that reads and of one that writes.  Fewer are filled up to so many: what is
claimed, or that nothing is, then shows in no statement's size, and hardly in its time."""
_NAMES = ", ".join(f":a{at}" for at in range(_ASKED))
_ROWS = ", ".join(f"(:client, :a{at}, :t{at}, :c{at}, :e{at})" for at in range(_LEFT))
# What is put together are names of this module's own; what a client sent is in none of them.
_GET = text(
    "SELECT attribute, cells, expires FROM ledger_entries "  # noqa: S608
    f"WHERE client = :client AND expires > :now AND attribute IN ({_NAMES})"
)
_PUT = text(
    f"INSERT INTO ledger_entries (client, attribute, target, cells, expires) VALUES {_ROWS} "  # noqa: S608
    "ON CONFLICT (client, attribute) DO UPDATE SET cells = excluded.cells, expires = excluded.expires"
)
_HOUR_S = 3600
_WHAT = "it"
_BROKEN = "ledger: %s; exchanges with a target in play are refused until it can be"
_MENDED = "the ledger is written again"

_Row = tuple[str, str, int, int]
"""Attribute, target, cells and expiry."""
_T = TypeVar("_T")


class LedgerProblem(ValueError):
    """The ledger cannot be opened; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the ledger's memory and its waiting."""

    queue: int = 4096
    """Claims that may wait before an exchange is stopped."""
    busy_s: float = 5.0
    """How long a commit waits for other processes."""
    sweep_s: float = 60.0
    """How often what has expired is taken out, beside the start."""


DEFAULT = Limits()


@dataclass(slots=True, eq=False)
class _Claimed:
    """What an exchange claims, and who waits for the answer."""

    client: str
    hours: int
    stretches: Sequence[Sequence[Claim]]
    future: asyncio.Future[Sequence[bool]]


@dataclass(frozen=True, slots=True)
class _OfClient:
    """The ledger as the guards of one client's exchanges see it."""

    ledger: Ledger
    client: str
    hours: int

    async def claim(self, stretches: Sequence[Sequence[Claim]]) -> Sequence[bool]:
        return await self.ledger.claim(self.client, self.hours, stretches)


class Ledger:
    """The ledger of one process; several share a file.  Safe in several event loops, and blocks none."""

    def __init__(self, url: URL, key: bytes, clock: Callable[[], float], limits: Limits) -> None:
        self._file = store.sqlite_file(url)
        self._identity = store.identity(self._file)
        self._engine = store.writing(url, limits.busy_s)
        self._key = key
        self._clock = clock
        self._limits = limits
        self._waiting: deque[_Claimed] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._failed = False
        self._sweep_at = 0.0
        self._thread = threading.Thread(target=self._run, name="lethe-ledger", daemon=True)

    @classmethod
    def open(
        cls,
        url_or_path: str | Path,
        state: Path,
        key: bytes,
        clock: Callable[[], float] = time.time,
        limits: Limits = DEFAULT,
    ) -> Self:
        """Open the ledger, and make it where there is none.  `key` keys what rows are called by.

        Blocks while it reads and writes the file; raises LedgerProblem where that cannot be done.
        """
        url = store.locate(url_or_path)
        try:
            with alone(state):
                store.create(url, limits.busy_s, _METADATA)
            opened = cls(url, key, clock, limits)
        except (SQLAlchemyError, OSError, AuditError) as error:
            raise LedgerProblem(f"the ledger cannot be opened: {store.reason(error, _WHAT)}") from error
        opened._thread.start()
        return opened

    @property
    def failing(self) -> bool:
        """Whether the last write failed, or nothing is written any more: the next may well fail too."""
        return self._failed or self._closing

    def of(self, key_id: str, hours: int) -> seen.Ledger:
        """Return the ledger of one client; what is claimed counts for `hours` from then on."""
        return _OfClient(self, self._name("client", key_id), hours)

    async def claim(self, client: str, hours: int, stretches: Sequence[Sequence[Claim]]) -> Sequence[bool]:
        """Return which stretches may leave; what may is durable then.  Raises LedgerUnavailable."""
        future: asyncio.Future[Sequence[bool]] = asyncio.get_running_loop().create_future()
        with self._wake:
            if self._closing:
                raise LedgerUnavailable("the ledger is closed")
            if len(self._waiting) >= self._limits.queue:
                raise LedgerUnavailable("too many claims wait for the ledger")
            self._waiting.append(_Claimed(client, hours, stretches, future))
            self._wake.notify()
        return await future

    def close(self) -> None:
        """Answer what waits, and let go of the file.  Blocks; harmless when called again."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    # -- what follows runs in the thread --------------------------------------------------------------

    def _run(self) -> None:
        try:
            while batch := self._take():
                try:
                    answers: Sequence[Sequence[bool]] | None = self._write(batch)
                    why = None
                except (SQLAlchemyError, OSError, AuditError) as error:
                    answers, why = None, store.reason(error, _WHAT)
                self._failed = store.tell(why, self._failed, broken=_BROKEN, mended=_MENDED)
                self._answer(batch, answers, why or "")
        finally:
            with self._wake:
                self._closing = True
                left = list(self._waiting)
                self._waiting.clear()
            self._answer(left, None, "the ledger is closed")
            self._engine.dispose()

    def _take(self) -> list[_Claimed]:
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            batch = list(self._waiting)
            self._waiting.clear()
            return batch

    def _write(self, batch: Sequence[_Claimed]) -> list[list[bool]]:
        if store.identity(self._file) != self._identity:
            raise AuditError("the ledger's database is not the file that was opened")
        now = int(self._clock())
        with self._engine.begin() as connection:
            self._sweep(connection, now)
            return [self._settle(connection, claimed, now) for claimed in batch]

    def _settle(self, connection: Connection, claimed: _Claimed, now: int) -> list[bool]:
        """Say which stretches may leave, and put what they bring into the transaction."""
        names = {
            claim.attribute: self._attribute(claim.attribute)
            for claims in claimed.stretches
            for claim in claims
        }
        rows = self._rows(connection, claimed.client, list(names.values()), now)
        kept = {attribute: rows[name][0] for attribute, name in names.items() if name in rows}
        answers, left = [], set[Attribute]()
        for claims in claimed.stretches:
            answers.append(allowed(kept, claims))
            if answers[-1]:
                left |= {claim.attribute for claim in claims}
        expires = now + claimed.hours * _HOUR_S
        put: list[_Row] = []
        for attribute in sorted(left):
            name = names[attribute]
            # Under a policy that remembers for a shorter time nothing is forgotten sooner.
            until = max(expires, rows[name][1] if name in rows else 0)
            put.append((name, self.target(attribute.target), kept[attribute], until))
        for some in _filled(put, _LEFT, [(f"{at}", "", 0, expires) for at in range(_LEFT)]):
            given = {
                f"{what}{at}": value
                for at, row in enumerate(some)
                for what, value in zip("atce", row, strict=True)
            }
            connection.execute(_PUT, {"client": claimed.client, **given})
        return answers

    def _rows(
        self, connection: Connection, client: str, names: Sequence[str], now: int
    ) -> dict[str, tuple[int, int]]:
        """Return cells and expiry of those attributes of which something has left that still counts."""
        found: dict[str, tuple[int, int]] = {}
        for some in _filled(names, _ASKED, [""] * _ASKED):
            given = {f"a{at}": name for at, name in enumerate(some)}
            rows = connection.execute(_GET, {"client": client, "now": now, **given})
            found |= {name: (cells, expires) for name, cells, expires in rows}
        return found

    def _sweep(self, connection: Connection, now: int) -> None:
        """Take out what has expired, now and then."""
        if time.monotonic() >= self._sweep_at:
            connection.execute(_ENTRIES.delete().where(_ENTRIES.c.expires <= now))
            self._sweep_at = time.monotonic() + self._limits.sweep_s

    def _answer(
        self, batch: Sequence[_Claimed], answers: Sequence[Sequence[bool]] | None, reason: str
    ) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
        for number, claimed in enumerate(batch):
            answer = None if answers is None else answers[number]
            loops.setdefault(claimed.future.get_loop(), []).append(
                lambda future=claimed.future, answer=answer: _done(future, answer, reason)  # type: ignore[misc]
            )
        for loop, calls in loops.items():
            try:
                loop.call_soon_threadsafe(lambda calls=calls: [call() for call in calls])  # type: ignore[misc]
            except RuntimeError:  # The loop is closed, so that nobody there waits any more.
                continue

    # -- names ------------------------------------------------------------------------------------------

    def target(self, id: str) -> str:
        """Return what rows call a target by: 64 hex digits, the same on every start of this installation."""
        return self._name("target", id)

    def _attribute(self, attribute: Attribute) -> str:
        return self._name("attribute", "\0".join((attribute.target, attribute.what, str(attribute.number))))

    def _name(self, label: str, words: str) -> str:
        data = f"ledger {label} {words}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()


def _done(future: asyncio.Future[Sequence[bool]], answer: Sequence[bool] | None, reason: str) -> None:
    if future.cancelled():
        return
    if answer is None:
        future.set_exception(LedgerUnavailable(reason))
    else:
        future.set_result(answer)


def _filled(items: Sequence[_T], count: int, filling: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield the items, `count` at a time and at least once, the last of them filled up."""
    for start in range(0, max(1, len(items)), count):
        some = items[start : start + count]
        yield [*some, *filling[len(some) :]]
