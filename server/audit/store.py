"""The audit's two tables and how they are connected to.

Every column is text or a whole number, and every one is covered by a hash or a signature, so that no change
to any of them goes unseen.  The tables are the same on SQLite and PostgreSQL; what is SQLite's own is in the
two `_prepare` functions.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from server.audit.records import AuditError

log = logging.getLogger("lethe")

_METADATA = MetaData()

records = Table(
    "audit_records",
    _METADATA,
    Column("chain", String(64), primary_key=True),
    Column("counter", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    # The key and the row are one tree: there is no second copy of a counter that could differ from the first.
    sqlite_with_rowid=False,
)
"""One row a record: `body` is its canonical JSON, `hash` is 64 hex digits."""

checkpoints = Table(
    "audit_checkpoints",
    _METADATA,
    Column("chain", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("signature", String(128), nullable=False),
    sqlite_with_rowid=False,
)
"""One row a signed head: `body` is its canonical JSON, `signature` is 128 hex digits."""


_ROWS = 500
"""Rows of one statement: far below the variables that a driver takes in one."""
_MARKS = {"qmark": "?", "format": "%s"}


def add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that have all columns of the table.

    Where the driver takes values by position they go straight to it: a commit of a few records costs a third
    less without SQLAlchemy's way of preparing them.
    """
    mark = _MARKS.get(connection.dialect.paramstyle)
    if mark is None:
        connection.execute(table.insert(), [dict(row) for row in rows])
        return
    names = [column.name for column in table.columns]
    into = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES "  # noqa: S608  (names of this module's own)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        # One statement for many rows: every step of SQLite's lets the other threads in, which are busy.
        marks = ", ".join([f"({', '.join([mark] * len(names))})"] * len(some))
        connection.exec_driver_sql(into + marks, tuple(row[name] for row in some for name in names))


def locate(url_or_path: str | Path) -> URL:
    """Return the database's URL; what has no `://` is the path of an SQLite file.

    Raises ValueError for an SQLite database in memory, which keeps nothing.
    """
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(Path(url_or_path).absolute()))
    url = make_url(url_or_path)
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ValueError("the audit needs a database that lasts, not one in memory")
        return URL.create("sqlite", database=str(Path(str(url.database)).absolute()))
    return url


def sqlite_file(url: URL) -> Path | None:
    """Return the database's file where it is SQLite, else None."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def identity(file: Path | None) -> tuple[int, int] | None:
    """Return what tells a database's file from another one at its path; None where there is no file.

    Raises OSError where it cannot be looked at.
    """
    if file is None:
        return None
    status = file.stat()
    return status.st_dev, status.st_ino


def reason(error: Exception, what: str) -> str:
    """Return why `what` could not be written, without statement or values."""
    if isinstance(error, AuditError):
        return str(error)
    if isinstance(error, DBAPIError):
        return f"{what} cannot be written: {error.orig}"
    if isinstance(error, OSError):
        return f"{what} cannot be written: {error.strerror or type(error).__name__}"
    return f"{what} cannot be written: {type(error).__name__}"


def tell(why: str | None, failed: bool, *, broken: str, mended: str) -> bool:
    """Say in the log once that something cannot be written, and once that it is again.

    why: why the last write failed; None where it did not.  failed: whether the one before it had.
    broken: what is said of a failure, with `%s` for why.  Returns whether the last write failed.
    """
    if why is not None and not failed:
        log.error(broken, why)
    elif why is None and failed:
        log.warning(mended)
    return why is not None


def create(url: URL, busy_s: float, tables: MetaData = _METADATA) -> None:
    """Make the database and its tables where they are not there yet; the file gets mode 0600.

    tables: the audit's, unless others are given.

    Only one process at a time may do this: switching to the write-ahead log does not wait for others.
    """
    if path := sqlite_file(url):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            with closing(sqlite3.connect(path, timeout=busy_s)) as driver:
                mode = driver.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.Error as error:
            raise AuditError(f"{path}: {error}") from error
        if mode != ("wal",):
            raise AuditError(f"{path.name} cannot have a write-ahead log where it lies")
    engine = writing(url, busy_s)
    try:
        with engine.begin() as connection:
            tables.create_all(connection)
    finally:
        engine.dispose()


def writing(url: URL, busy_s: float) -> Engine:
    """Return an engine with one connection for one thread; nothing it commits is lost with the power.

    On SQLite a transaction takes the write lock when it begins, waiting up to `busy_s` seconds for it, and
    never creates a file: one that is gone is an error, not a fresh start.
    """
    if sqlite_file(url) is None:
        return create_engine(url, hide_parameters=True, pool_size=1, max_overflow=0, pool_pre_ping=True)
    engine = create_engine(
        _sqlite_uri(url, "rw"),
        hide_parameters=True,
        pool_size=1,
        max_overflow=0,
        # Every transaction here ends by itself; another rollback after each would be for nothing.
        pool_reset_on_return=None,
        connect_args={"timeout": busy_s},
    )
    event.listen(engine, "connect", _prepare_writing)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reading(url: URL) -> Engine:
    """Return an engine that only reads, one transaction of which sees one state of the database.

    Raises AuditError where an SQLite file does not exist.
    """
    path = sqlite_file(url)
    if path is None:
        return create_engine(url, hide_parameters=True, isolation_level="REPEATABLE READ")
    if not path.is_file():
        raise AuditError(f"{path}: there is no audit database")
    engine = create_engine(_sqlite_uri(url, "ro"), hide_parameters=True)
    event.listen(engine, "connect", _prepare_reading)
    event.listen(engine, "begin", _begin)
    return engine


def _sqlite_uri(url: URL, mode: str) -> URL:
    file = url.set(database=f"file:{quote(str(url.database))}")
    return file.update_query_dict({"mode": mode, "uri": "true"})


def _prepare_writing(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    # The driver's own transactions begin late and without the lock; `begin` below replaces them.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")


def _prepare_reading(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None
    # Whatever was written into a text column must come out again, to be named and not to stop the reading.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
