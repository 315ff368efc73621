"""What the audit promises while it writes: durable before it returns, shared commits, closed on failure."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import resource
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from server.audit import Audit, AuditError, verify
from server.audit.writer import Limits
from tests.audit_trail import SOON, bodies, ended, exchanges, opened, problems, start


def kinds(folder: Path, audit: Audit) -> list[object]:
    return [body["kind"] for body in bodies(folder, audit.chain)]


@contextlib.contextmanager
def commits() -> Iterator[list[Connection]]:
    """Collect the commits of every engine."""
    seen: list[Connection] = []

    def see(connection: Connection) -> None:
        seen.append(connection)

    event.listen(Engine, "commit", see)
    try:
        yield seen
    finally:
        event.remove(Engine, "commit", see)


@contextlib.contextmanager
def commit_reported_as_failed() -> Iterator[None]:
    """Let the next commit happen, and its caller be told that it did not."""
    told: list[Connection] = []

    def commit_and_fail(connection: Connection) -> None:
        if not told:
            told.append(connection)
            driver: Any = connection.connection.driver_connection
            driver.execute("COMMIT")
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    event.listen(Engine, "commit", commit_and_fail)
    try:
        yield
    finally:
        event.remove(Engine, "commit", commit_and_fail)


@contextlib.contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Hold the database's write lock, as another process may."""
    with closing(sqlite3.connect(folder / "audit.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Let no file of this process grow beyond the database's log, as a full disk would not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / "audit.db-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_another_connection_sees_a_record_when_its_call_returns(tmp_path: Path) -> None:
    audit = start(tmp_path)
    await audit.opened(opened(0))
    assert kinds(tmp_path, audit) == ["started", "opened"]
    await audit.ended(ended(0))
    assert kinds(tmp_path, audit) == ["started", "opened", "ended"]
    audit.close()
    assert kinds(tmp_path, audit) == ["started", "opened", "ended", "closed"]


async def test_records_hold_what_their_fields_say(tmp_path: Path) -> None:
    audit = start(tmp_path)
    await exchanges(audit, range(1))
    audit.close()
    _, first, last, _ = bodies(tmp_path, audit.chain)
    assert first == {
        "kind": "opened", "v": 1, "exchange_id": "chatcmpl-0", "at": 1_700_000_000_000_000,
        "key_id": "anyone", "policy_digest": "a" * 64, "model": "b" * 64, "streamed": True, "choices": 1,
        "prompt_chars": 40, "stance": "armed", "plan": "steer", "targets": ["c" * 64],
    }  # fmt: skip
    assert last == {
        "kind": "ended", "v": 1, "exchange_id": "chatcmpl-0", "at": 1_700_000_000_500_000,
        "ending": "answered", "reason": "armed", "rulings": {"answer/literal": 1}, "released_chars": 12,
        "released": "d" * 64, "duration": 500_000, "prompt_tokens": 9, "completion_tokens": 4,
    }  # fmt: skip


async def test_two_hundred_waiting_records_share_a_few_commits(tmp_path: Path) -> None:
    audit = start(tmp_path)
    with commits() as seen:
        await asyncio.gather(*(audit.opened(opened(i)) for i in range(200)))
    assert kinds(tmp_path, audit).count("opened") == 200
    assert len(seen) < 20
    audit.close()


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    audit = start(tmp_path)
    with audit._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    audit.close()


async def test_the_event_loop_turns_while_a_commit_waits(tmp_path: Path) -> None:
    audit = start(tmp_path)
    with write_lock(tmp_path):
        waiting = asyncio.ensure_future(audit.opened(opened(0)))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    audit.close()


def test_two_event_loops_may_wait_on_one_audit(tmp_path: Path) -> None:
    audit = start(tmp_path)
    failures: list[BaseException] = []

    def serve(first: int) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*(exchanges(audit, range(i, i + 5)) for i in range(first, first + 100, 5)))

        try:
            asyncio.run(all_of_them())
        except BaseException as error:  # whatever it is: a thread's failure fails no test by itself
            failures.append(error)
            raise

    threads = [threading.Thread(target=serve, args=(first,)) for first in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.close()
    assert failures == [] and problems(tmp_path) == []
    assert kinds(tmp_path, audit).count("ended") == 200


async def test_a_locked_database_refuses_the_exchange_and_recovers(tmp_path: Path) -> None:
    audit = start(tmp_path, replace(SOON, busy_s=0.01))
    await audit.opened(opened(0))
    with write_lock(tmp_path), pytest.raises(AuditError, match="locked"):
        await audit.opened(opened(1))
    await audit.ended(ended(0))
    audit.close()
    assert kinds(tmp_path, audit) == ["started", "opened", "ended", "closed"]
    assert problems(tmp_path) == []


async def test_a_full_disk_refuses_the_exchange_and_recovers_with_nothing_lost(tmp_path: Path) -> None:
    audit = start(tmp_path)
    await asyncio.gather(audit.opened(opened(0)), audit.opened(opened(1)))
    with full_disk(tmp_path):
        for i in (2, 3):
            with pytest.raises(AuditError):
                await audit.opened(opened(i))
        # What was released is released: the ending is owed until the disk is back.
        with pytest.raises(AuditError):
            await audit.ended(ended(0))
    await audit.ended(ended(1))
    await exchanges(audit, range(4, 5))
    audit.close()
    assert problems(tmp_path) == []
    endings = [body["exchange_id"] for body in bodies(tmp_path, audit.chain) if body["kind"] == "ended"]
    assert endings == ["chatcmpl-0", "chatcmpl-1", "chatcmpl-4"]


async def test_an_owed_ending_is_written_though_nobody_comes(tmp_path: Path) -> None:
    audit = start(tmp_path, Limits(busy_s=0.01, checkpoint_s=0.01))
    await audit.opened(opened(0))
    with write_lock(tmp_path), pytest.raises(AuditError):
        await audit.ended(ended(0))
    with closing(sqlite3.connect(tmp_path / "audit.db")) as database:
        await until(lambda: "ended" in kinds(tmp_path, audit))
        assert database.execute("SELECT count(*) FROM audit_records").fetchone() == (3,)
    audit.close()
    assert problems(tmp_path) == []


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not claim():  # noqa: ASYNC110  (the database says so, and has no events)
            await asyncio.sleep(0)


async def test_a_folder_that_is_gone_refuses_the_exchange_and_may_come_back(tmp_path: Path) -> None:
    database = tmp_path / "volume" / "audit.db"
    audit = Audit.open(database, tmp_path / "state", limits=SOON)
    database.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(AuditError):
        await audit.opened(opened(0))
    assert not database.exists()
    (tmp_path / "elsewhere").rename(database.parent)
    await exchanges(audit, range(1, 2))
    audit.close()
    report = verify(database, tmp_path / "state")
    assert report.exit_code == 0 and report.records == 4


async def test_another_file_in_the_database_s_place_is_refused(tmp_path: Path) -> None:
    audit = start(tmp_path)
    (tmp_path / "audit.db").rename(tmp_path / "old.db")
    start(tmp_path).close()
    with pytest.raises(AuditError, match="not the file that was opened"):
        await audit.opened(opened(0))
    with pytest.raises(AuditError):
        audit.close()


async def test_without_its_heads_file_the_audit_refuses_until_it_is_back(tmp_path: Path) -> None:
    audit = start(tmp_path)
    state, away = tmp_path / "state", tmp_path / "away"
    state.rename(away)
    await exchanges(audit, range(2))  # The fourth record brings a checkpoint that cannot be filed.
    with pytest.raises(AuditError):
        await audit.opened(opened(2))
    away.rename(state)
    await exchanges(audit, range(3, 5))
    audit.close()
    assert problems(tmp_path) == []


async def test_one_process_at_a_time_adds_to_the_heads_file(tmp_path: Path) -> None:
    audit = start(tmp_path, replace(SOON, checkpoint_records=1))
    with (tmp_path / "state" / "audit-heads.jsonl").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = asyncio.ensure_future(audit.opened(opened(0)))
        await until(lambda: "opened" in kinds(tmp_path, audit))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not waiting.done() and len(other.readlines()) == 1
        fcntl.flock(other, fcntl.LOCK_UN)
        await waiting
        assert len(other.readlines()) == 1
    audit.close()


@pytest.mark.parametrize("checkpoint_records", [1, 1000])
async def test_a_commit_that_was_made_though_it_failed_leaves_a_sound_chain(
    tmp_path: Path, checkpoint_records: int
) -> None:
    """With and without a checkpoint in the same commit, for an opening and for an ending."""
    audit = start(tmp_path, replace(SOON, checkpoint_records=checkpoint_records))
    await audit.opened(opened(0))
    with commit_reported_as_failed(), pytest.raises(AuditError, match="disk I/O error"):
        await audit.opened(opened(1))
    await exchanges(audit, range(3, 4))
    with commit_reported_as_failed(), pytest.raises(AuditError, match="disk I/O error"):
        await audit.ended(ended(0))
    await exchanges(audit, range(2, 3))
    audit.close()
    assert problems(tmp_path) == []
    found = [(body["kind"], body.get("exchange_id")) for body in bodies(tmp_path, audit.chain)]
    assert found.count(("void", "chatcmpl-1")) == 1 and found.count(("ended", "chatcmpl-0")) == 1


async def test_a_checkpoint_made_though_it_failed_is_not_signed_twice(tmp_path: Path) -> None:
    audit = start(tmp_path, Limits(checkpoint_s=0.01))
    with commits() as seen:
        await audit.opened(opened(0))
        with commit_reported_as_failed():
            await until(lambda: len(seen) >= 2)
    await audit.ended(ended(0))
    audit.close()
    assert problems(tmp_path) == []


async def test_an_opening_cancelled_while_it_is_written_is_voided(tmp_path: Path) -> None:
    audit = start(tmp_path)
    with write_lock(tmp_path):
        held = asyncio.ensure_future(audit.opened(opened(0)))
        await asyncio.sleep(0)
        await until(lambda: audit.queue_length == 0)
        waiting = asyncio.ensure_future(audit.opened(opened(1)))
        await asyncio.sleep(0)
        for task in (held, waiting):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    audit.close()
    assert problems(tmp_path) == []
    # The first was in the writer's hands; the second had not been taken yet, and leaves no trace.
    assert kinds(tmp_path, audit) == ["started", "opened", "void", "closed"]


async def test_an_opening_cancelled_as_its_answer_arrives_is_voided(tmp_path: Path) -> None:
    audit = start(tmp_path)
    for i in range(20):
        task = asyncio.ensure_future(audit.opened(opened(i)))
        await until(lambda i=i: kinds(tmp_path, audit).count("opened") == i + 1)  # type: ignore[misc]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
            await audit.ended(ended(i))
    await exchanges(audit, range(99, 100))
    audit.close()
    assert problems(tmp_path) == []


async def test_an_opening_that_nobody_waits_for_is_not_under_way(tmp_path: Path) -> None:
    audit = start(tmp_path)
    for i in range(40):
        task = asyncio.ensure_future(audit.opened(opened(i)))
        await asyncio.sleep(0.0005 * (i % 5))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
            await audit.ended(ended(i))
    await exchanges(audit, range(99, 100))
    assert audit._under_way == 0  # or every later commit would wait for company that never comes
    audit.close()


async def test_too_many_waiting_records_refuse_the_next_exchange_and_no_ending(tmp_path: Path) -> None:
    audit = start(tmp_path, replace(SOON, queue=2))
    with write_lock(tmp_path):
        tasks = [asyncio.ensure_future(audit.opened(opened(0)))]
        await asyncio.sleep(0)
        await until(lambda: audit.queue_length == 0)
        tasks += [asyncio.ensure_future(audit.opened(opened(i))) for i in (1, 2)]
        await asyncio.sleep(0)
        assert audit.queue_length == 2
        with pytest.raises(AuditError, match="too many"):
            await audit.opened(opened(3))
        tasks.append(asyncio.ensure_future(audit.ended(ended(0))))
        await asyncio.sleep(0)
        assert audit.queue_length == 3
    await asyncio.gather(*tasks)
    audit.close()


async def test_a_closed_audit_refuses_and_closes_twice(tmp_path: Path) -> None:
    audit = start(tmp_path)
    await asyncio.to_thread(audit.close)
    with pytest.raises(AuditError, match="closed"):
        await audit.opened(opened(0))
    audit.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_breaks_leaves_nobody_waiting_and_refuses_from_then_on(tmp_path: Path) -> None:
    ticks = iter([1.0] * 3)  # Enough for the start; the next checkpoint finds the clock broken.
    database = tmp_path / "audit.db"
    audit = Audit.open(database, tmp_path / "state", clock=lambda: next(ticks), limits=SOON)
    async with asyncio.timeout(30):
        calls = [audit.opened(opened(i)) for i in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(result, AuditError) for result in results)
    with pytest.raises(AuditError, match="closed"):
        await audit.opened(opened(20))
    with pytest.raises(AuditError, match="ended by itself"):
        audit.close()


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    audit = start(tmp_path)
    with write_lock(tmp_path):
        tasks = [asyncio.create_task(exchanges(audit, range(i, i + 1))) for i in range(3)]
        await asyncio.sleep(0)
        closing_down = asyncio.create_task(asyncio.to_thread(audit.close))
        await asyncio.sleep(0)
    await closing_down
    await asyncio.gather(*tasks, return_exceptions=True)
    assert kinds(tmp_path, audit)[-1] == "closed"
    assert kinds(tmp_path, audit).count("opened") == 3


async def test_a_checkpoint_follows_after_a_while_without_traffic(tmp_path: Path) -> None:
    audit = start(tmp_path, Limits(checkpoint_s=0.01))
    await audit.opened(opened(0))
    heads = tmp_path / "state" / "audit-heads.jsonl"
    await until(lambda: heads.read_bytes().count(b"\n") >= 2)
    signed = heads.read_bytes().count(b"\n")
    audit.close()
    assert signed >= 2
