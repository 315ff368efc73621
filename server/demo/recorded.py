"""What the audit holds of one exchange: for the page, to show that no text is in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from server.audit import store

_LATEST = 400
"""Records that are looked through, from the newest: a page asks about what it has just asked."""
_WAIT_S = 5.0
_POLL_S = 0.02


def recorded(database: Path, exchange_id: str) -> list[dict[str, Any]]:
    """Return the records of an exchange, in order, once its end is among them; after seconds, what there is.

    Synchronous: for a thread.  Raises sqlalchemy's errors where the audit cannot be read.
    """
    engine = store.reading(store.locate(database))
    latest = select(store.records.c.body).order_by(store.records.c.counter.desc()).limit(_LATEST)
    deadline = time.monotonic() + _WAIT_S
    try:
        while True:
            with engine.connect() as connection:
                bodies = connection.scalars(latest).all()
            found = [record for body in reversed(bodies) if (record := _of(body, exchange_id)) is not None]
            if any(record["kind"] == "ended" for record in found) or time.monotonic() > deadline:
                return found
            time.sleep(_POLL_S)
    finally:
        engine.dispose()


def _of(body: str, exchange_id: str) -> dict[str, Any] | None:
    record: dict[str, Any] = orjson.loads(body)
    return record if record.get("exchange_id") == exchange_id else None
