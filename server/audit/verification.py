"""The checking side: reads everything once, in memory that grows with chains and not with records.

Nothing here writes, and only the public key is needed.  docs/audit.md says what a check cannot see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Select, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server.audit import heads, store
from server.audit.heads import Line
from server.audit.records import NO_HASH, chained
from server.audit.report import Log, Problem, Report
from server.audit.signing import Checkpoint, Verifier

__all__ = ["Problem", "Report", "verify"]

_ROWS = 1000
"""Rows, or lines of the heads file, that are in memory at a time."""


def verify(url_or_path: str | Path, state: Path) -> Report:
    """Check every record, checkpoint and line of the heads file; safe while processes are writing.

    state: the folder with `audit-sign.pub` and `audit-heads.jsonl`.
    Raises AuditError where there is no database or no public key to check with.
    """
    verifier = Verifier.load(state)
    engine = store.reading(store.locate(url_or_path))
    check = _Check(verifier, state)
    try:
        with engine.connect() as connection, connection.begin():
            check.run(connection)
    except SQLAlchemyError as error:
        reason = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        check.log.problem("unreadable", "", None, f"the database cannot be read: {reason}")
    finally:
        engine.dispose()
    log = check.log
    return Report(
        chains=check.chains,
        records=check.records,
        checkpoints=check.checkpoints,
        fingerprint=verifier.fingerprint,
        problems=tuple(log.problems),
        notes=tuple(log.notes),
        unlisted=log.unlisted,
    )


@dataclass(slots=True)
class _Filed:
    """What the heads file says of a chain."""

    number: int = 0
    """Its last checkpoint there."""
    counter: int = 0
    """How many records that one covers, as of the state of the database that is checked."""


class _Check:
    """One check of one state of the database."""

    def __init__(self, verifier: Verifier, state: Path) -> None:
        self.verifier = verifier
        self.state = state
        self.log = Log()
        self.chains = self.records = self.checkpoints = 0
        self.filed: dict[str, _Filed] = {}

    def run(self, connection: Connection) -> None:
        """Check the heads file, then each chain."""
        # A process lives while the database is read if it did before or does after the reading began; and
        # the lines that were there before have their checkpoints in what is read.
        alive, before = heads.running(self.state), heads.size(self.state)
        connection.execute(select(store.records.c.chain).limit(1)).first()
        alive |= heads.running(self.state)
        self._file(connection, before)
        seen: set[str] = set()
        query = select(store.records).order_by(store.records.c.chain, store.records.c.counter)
        for chain, rows in groupby(_stream(connection, query), key=lambda row: row[0]):
            seen.add(_text(chain))
            one = _Chain(self, _text(chain), connection)
            for _, counter, body, stored in rows:
                one.record(counter, body, stored)
                self.records += 1
            one.finish(alive)
        only = select(store.checkpoints.c.chain).distinct()
        rest = {_text(row[0]) for row in _stream(connection, only)} | set(self.filed)
        for chain in sorted(rest - seen):
            _Chain(self, chain, connection).finish(alive)
        self.chains = len(rest | seen)

    def _file(self, connection: Connection, before: int) -> None:
        """Check that each line of the heads file is ours, follows the last one, and is in the database."""
        link, displaced = heads.START, False
        batch: list[tuple[Checkpoint, Line]] = []
        for number, (end, raw) in enumerate(heads.lines(self.state), start=1):
            line = Line.parse(raw)
            checkpoint = None if line is None else self._checkpoint(line.body, line.signature)
            if line is None or checkpoint is None:
                claimed = None if line is None else Checkpoint.parse(line.body)
                chain, counter = (claimed.chain, claimed.counter) if claimed else ("", None)
                self.log.problem("heads file", chain, counter, f"line {number} is not one that was signed")
                displaced = True
            elif line.link == link and self.verifier.signed_line(link, line.signature, line.line_signature):
                displaced = False
            elif not displaced:
                # What stands behind a line that is not in its place is not in its place either.
                where, detail = checkpoint.counter, f"line {number} does not follow from the one before"
                self.log.problem("heads file", checkpoint.chain, where, detail)
                displaced = True
            if line is not None and checkpoint is not None:
                self._filed(checkpoint, counted=end <= before)
                if end <= before:
                    batch.append((checkpoint, line))
            link = hashlib.sha256(raw).hexdigest()
            if len(batch) == _ROWS:
                self._compare(connection, batch)
                batch = []
        self._compare(connection, batch)

    def _checkpoint(self, body: str, signature: str) -> Checkpoint | None:
        return Checkpoint.parse(body) if self.verifier.signed(body, signature) else None

    def _filed(self, checkpoint: Checkpoint, *, counted: bool) -> None:
        filed = self.filed.setdefault(checkpoint.chain, _Filed())
        if checkpoint.number > filed.number + 1:
            gap = f"{_numbers(filed.number + 1, checkpoint.number - 1)} not in the heads file before this one"
            self.log.problem("missing checkpoint", checkpoint.chain, checkpoint.counter, gap)
        filed.number = max(filed.number, checkpoint.number)
        if counted:
            filed.counter = max(filed.counter, checkpoint.counter)

    def _compare(self, connection: Connection, batch: list[tuple[Checkpoint, Line]]) -> None:
        """Look up the checkpoints of the heads file in the database."""
        table = store.checkpoints.c
        for chain in {checkpoint.chain for checkpoint, _ in batch}:
            wanted = {found.number: (found, line) for found, line in batch if found.chain == chain}
            query = select(table.number, table.body, table.signature).where(
                table.chain == chain, table.number.between(min(wanted), max(wanted))
            )
            stored = {number: (body, signature) for number, body, signature in connection.execute(query)}
            for number, (checkpoint, line) in wanted.items():
                row = stored.get(number)
                if row is None:
                    detail = f"checkpoint {number} is in the heads file and not in the database"
                    self.log.problem("missing checkpoint", chain, checkpoint.counter, detail)
                elif row != (line.body, line.signature) and self._checkpoint(*map(_text, row)):
                    detail = f"checkpoint {number} is another one in the database"
                    self.log.problem("heads file", chain, checkpoint.counter, detail)


class _Chain:
    """The running check of one chain, fed its records in the order of their counters."""

    def __init__(self, check: _Check, chain: str, connection: Connection) -> None:
        self._check = check
        self._log = check.log
        self._chain = chain
        self._filed = check.filed.get(chain, _Filed())
        self._last = 0
        self._follows: list[bytes] = [NO_HASH]
        """Hashes that the next record may follow: as stored, and as it should be; none if it is missing."""
        self._open: dict[str, int] = {}
        self._closed = False
        self._trusted = 0
        """The counter of the last checkpoint that was reached."""
        self._named = False
        """Whether something was found wrong since then."""
        self._number = 0
        """The number of the last checkpoint in the database."""
        self._signed = 0
        self._checkpoints = self._read(connection)
        self._next = next(self._checkpoints, None)

    def _read(self, connection: Connection) -> Iterator[Checkpoint]:
        """Yield the chain's checkpoints in the database that are ours, naming the others and the gaps."""
        table = store.checkpoints
        query = select(table).where(table.c.chain == self._chain).order_by(table.c.number)
        for _, number, body, signature in _stream(connection, query):
            self._check.checkpoints += 1
            found = self._check._checkpoint(_text(body), _text(signature))
            if found is None or (found.chain, found.number) != (self._chain, number):
                claimed = Checkpoint.parse(_text(body))
                counter = claimed.counter if claimed else None
                detail = f"checkpoint {_text(number)[:20]} was not signed as it stands"
                self._log.problem("bad signature", self._chain, counter, detail)
                self._number += 1
                continue
            if number - 1 > max(self._number, self._filed.number):
                gap = f"{_numbers(self._number + 1, number - 1)} not in the database"
                self._log.problem("missing checkpoint", self._chain, found.counter, gap)
            self._number, self._signed = number, found.counter
            yield found

    def record(self, counter: object, body: object, stored: object) -> None:
        """Check one record, and the checkpoint over it if there is one."""
        if not isinstance(counter, int) or not self._last < counter < 1 << 63 or self._closed:
            at = counter if isinstance(counter, int) else None
            self._log.problem("foreign record", self._chain, at, "a record where none can be")
            return
        if counter > self._last + 1:
            self._named, self._follows = True, []
            self._log.problem("missing", self._chain, self._last + 1, "not in the database", counter - 1)
        self._pass_checkpoints(counter - 1)
        expected = [chained(self._chain, counter, before, _bytes(body)) for before in self._follows]
        if expected and stored not in {found.hex() for found in expected}:
            self._named = True
            self._log.problem("changed", self._chain, counter, "does not follow from what stands before it")
            self._follows = [*_hash(stored), expected[0]]
        else:
            self._follows = _hash(stored)
        self._last = counter
        self._content(counter, _bytes(body))
        self._pass_checkpoints(counter)

    def _pass_checkpoints(self, counter: int) -> None:
        """Compare with the checkpoints up to a record: the last one read, or a missing one."""
        while self._next is not None and self._next.counter <= counter:
            head = self._next.head
            if self._next.counter == counter and not self._follows:
                self._follows = [head]
            elif self._next.counter == counter and head not in self._follows and not self._named:
                detail = "not what was signed, though each follows from the one before"
                self._log.problem("changed", self._chain, self._trusted + 1, detail, counter)
            self._trusted, self._named = self._next.counter, False
            self._next = next(self._checkpoints, None)

    def _content(self, counter: int, body: bytes) -> None:
        """Follow which exchanges are open."""
        try:
            record = orjson.loads(body)
            kind, exchange = record["kind"], record.get("exchange_id")
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        if kind == "closed":
            self._closed = True
        elif not isinstance(exchange, str):
            return
        elif kind == "opened":
            self._open[exchange] = counter
        elif self._open.pop(exchange, None) is None:
            self._log.problem("no opening", self._chain, counter, f"no open exchange {_shown(exchange)}")

    def finish(self, alive: set[str]) -> None:
        """Say what the end of the chain lacks."""
        for _ in iter(lambda: next(self._checkpoints, None), None):
            pass
        signed = max(self._signed, self._filed.counter)
        if signed == 0:
            self._log.problem("foreign chain", self._chain, None, "nothing of it was ever signed here")
            return
        running = self._chain in alive and not self._closed
        if signed > self._last:
            detail = "signed, and not in the database"
            self._log.problem("cut off", self._chain, self._last + 1, detail, signed)
        elif signed < self._last:
            tell = self._log.note if running else self._log.problem
            tell("unsigned tail", self._chain, signed + 1, "not signed by a checkpoint", self._last)
        elif not running and not self._closed:
            detail = "its process died; records after this one would have been lost"
            self._log.note("not closed", self._chain, self._last, detail)
        self._finish_file(running)
        self._finish_exchanges(running)

    def _finish_file(self, running: bool) -> None:
        lacking = self._number - self._filed.number
        if lacking > 0:
            # A process writes the database first: one that died in between leaves one line out.
            excused = lacking == 1 and not self._closed
            tell = self._log.note if excused else self._log.problem
            detail = f"{_numbers(self._filed.number + 1, self._number)} not in the heads file"
            tell("missing checkpoint", self._chain, self._signed, detail)

    def _finish_exchanges(self, running: bool) -> None:
        if running:
            detail = f"its process is running, with {len(self._open)} exchanges open"
            self._log.note("running", self._chain, self._last, detail)
            return
        for exchange, counter in self._open.items():
            self._log.problem("no ending", self._chain, counter, f"exchange {_shown(exchange)} has no ending")


def _numbers(first: int, last: int) -> str:
    return f"checkpoint {first} is" if first == last else f"checkpoints {first} to {last} are"


def _stream(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    return iter(connection.execute(query, execution_options={"yield_per": _ROWS}))


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _bytes(value: object) -> bytes:
    """Return a body's bytes; what is no text is no body, and gives bytes that no body has."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else b"\xff"


def _hash(stored: object) -> list[bytes]:
    """Return the stored hash, or nothing that a record could follow."""
    try:
        found = bytes.fromhex(stored) if isinstance(stored, str) else b""
    except ValueError:
        return []
    return [found] if len(found) == len(NO_HASH) else []


def _shown(value: str) -> str:
    return ascii(value)[1:-1][:80]
