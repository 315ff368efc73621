"""Audit records for tests: what an exchange number `i` leaves behind, and a database with some of them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson

from guards.base import Stance
from server.audit import Audit, Ended, Opened, verify
from server.audit.writer import Limits
from server.exchange import Ending

SOON = Limits(checkpoint_records=4, checkpoint_s=3600, busy_s=30)
"""Checkpoints by count alone, so that a trail is the same whatever the machine's speed."""


def opened(i: int) -> Opened:
    """Return the opening of exchange `i`."""
    return Opened(
        exchange_id=f"chatcmpl-{i}",
        at=1_700_000_000_000_000 + i,
        key_id="anyone",
        policy_digest="a" * 64,
        model="b" * 64,
        streamed=True,
        choices=1,
        prompt_chars=40,
        stance=Stance.ARMED,
        plan="steer",
        targets=("c" * 64,),
    )


def ended(i: int) -> Ended:
    """Return the ending of exchange `i`."""
    return Ended(
        exchange_id=f"chatcmpl-{i}",
        at=1_700_000_000_500_000 + i,
        ending=Ending.ANSWERED,
        released_chars=12,
        released="d" * 64,
        duration=500_000,
        reason="armed",
        rulings={"answer/literal": 1},
        prompt_tokens=9,
        completion_tokens=4,
    )


async def exchanges(audit: Audit, numbers: range) -> None:
    """Record whole exchanges, one after the other."""
    for i in numbers:
        await audit.opened(opened(i))
        await audit.ended(ended(i))


def write_trail(folder: Path, count: int = 6) -> str:
    """Write a closed chain of `count` exchanges to `folder`, and return its id.

    Record 1 is `started`, 2 and 3 are exchange 0, and so on; with six, 14 is `closed` and the checkpoints are
    over 1, 5, 9, 13 and 14.
    """
    audit = Audit.open(folder / "audit.db", folder / "state", limits=SOON)
    asyncio.run(exchanges(audit, range(count)))
    audit.close()
    return audit.chain


def bodies(folder: Path, chain: str) -> list[dict[str, object]]:
    """Return the chain's records as a second connection sees them now."""
    with closing(sqlite3.connect(folder / "audit.db")) as database:
        query = "SELECT body FROM audit_records WHERE chain = ? ORDER BY counter"
        return [orjson.loads(body) for (body,) in database.execute(query, (chain,))]


def start(folder: Path, limits: Limits = SOON) -> Audit:
    """Open an audit in `folder`."""
    return Audit.open(folder / "audit.db", folder / "state", limits=limits)


def problems(folder: Path) -> list[tuple[str, int | None]]:
    """Return the kinds and counters of everything that a check names."""
    return [(found.kind, found.counter) for found in verify(folder / "audit.db", folder / "state").problems]
