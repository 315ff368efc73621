"""One hash chain: where it stands, and the step that takes it further in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from server.audit import heads
from server.audit.records import NO_HASH, chained
from server.audit.signing import Checkpoint, Keys
from server.audit.store import add, checkpoints, records


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a chain stands."""

    chain: str
    counter: int = 0
    """How many records it has."""
    head: bytes = NO_HASH
    """The last one's hash."""
    number: int = 0
    """How many checkpoints it has."""
    signed: int = 0
    """How many records the last of them covers."""

    @property
    def unsigned(self) -> int:
        """How many records no checkpoint covers yet."""
        return self.counter - self.signed


@dataclass(frozen=True, slots=True)
class Step:
    """Records, and perhaps a checkpoint that covers them, with the tip that they lead to."""

    rows: Sequence[dict[str, Any]]
    after: Tip
    checkpoint: Checkpoint | None = None
    signature: str = ""

    def write(self, connection: Connection) -> None:
        """Insert everything; the caller's transaction makes it all or nothing."""
        if self.rows:
            add(connection, records, self.rows)
        if self.checkpoint is not None:
            row = {"chain": self.checkpoint.chain, "number": self.checkpoint.number}
            row |= {"body": self.checkpoint.body, "signature": self.signature}
            add(connection, checkpoints, [row])


def extend(tip: Tip, bodies: Sequence[bytes]) -> Step:
    """Return the step that appends the records with these canonical bodies."""
    rows: list[dict[str, Any]] = []
    counter, head = tip.counter, tip.head
    for body in bodies:
        counter += 1
        head = chained(tip.chain, counter, head, body)
        rows.append({"chain": tip.chain, "counter": counter, "body": body.decode(), "hash": head.hex()})
    return Step(rows, Tip(tip.chain, counter, head, tip.number, tip.signed))


def with_checkpoint(step: Step, keys: Keys, at: int) -> Step:
    """Return the step with a checkpoint over everything up to its end; `at` in microseconds, UTC."""
    tip = step.after
    checkpoint = Checkpoint(tip.chain, tip.number + 1, tip.counter, tip.head, at)
    after = Tip(tip.chain, tip.counter, tip.head, tip.number + 1, tip.counter)
    return Step(step.rows, after, checkpoint, keys.sign(checkpoint))


def stored_end(connection: Connection, chain: str) -> tuple[int, str] | None:
    """Return the counter and the hash of the chain's last record in the database, or None."""
    last = select(records.c.counter, records.c.hash).where(records.c.chain == chain)
    row = connection.execute(last.order_by(records.c.counter.desc()).limit(1)).first()
    return None if row is None else (row.counter, row.hash)


def last_checkpoint(connection: Connection, chain: str, keys: Keys) -> tuple[Checkpoint, str] | None:
    """Return the chain's last checkpoint in the database with its signature, where it is one of ours."""
    query = select(checkpoints).where(checkpoints.c.chain == chain).order_by(checkpoints.c.number.desc())
    row = connection.execute(query.limit(1)).first()
    found = None if row is None else Checkpoint.parse(row.body)
    if row is None or found is None or found.chain != chain or keys.sign(found) != row.signature:
        return None
    return found, row.signature


def seal_dead(engine: Engine, state: Path, keys: Keys, at: int) -> None:
    """Sign what processes that died left without a checkpoint, and bring the heads file up to date.

    Between any two of these writes at most one checkpoint of a chain is missing from the heads file, and a
    process that dies in between leaves the rest to the next one.  One process at a time.
    """
    for chain in heads.dead(state):
        with engine.begin() as connection:
            found = last_checkpoint(connection, chain, keys)
        if found is not None:
            last, signature = found
            if not heads.contains(state, last, signature):
                heads.append(state, keys, last, signature)
            with engine.begin() as connection:
                step = _seal(connection, last, keys, at)
                if step is not None:
                    step.write(connection)
            if step is not None and step.checkpoint is not None:
                heads.append(state, keys, step.checkpoint, step.signature)
        heads.forget(state, chain)


def _seal(connection: Connection, last: Checkpoint, keys: Keys, at: int) -> Step | None:
    """Return the step that signs what lies in the database behind a chain's last checkpoint.

    None where nothing lies behind it, or where it does not follow from it: what does not hold together is
    left as it is, for a check to name.
    """
    tip = Tip(last.chain, last.counter, last.head, last.number, last.counter)
    behind = select(records.c.counter, records.c.body, records.c.hash).where(
        records.c.chain == last.chain, records.c.counter > last.counter
    )
    for counter, body, stored in connection.execute(behind.order_by(records.c.counter)):
        following = extend(tip, [body.encode()]).after
        if (following.counter, following.head.hex()) != (counter, stored):
            return None
        tip = following
    return with_checkpoint(Step((), tip), keys, at) if tip.unsigned else None
