"""What `verify` names: each way of tampering, with its chain and its counter."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from server.audit import Audit, AuditError, Report, verify
from server.audit.records import NO_HASH, chained
from tests.audit_trail import SOON, exchanges, opened, write_trail

Tamper = Callable[[Path, str], None]
Named = set[tuple[str, str, int | None, int | None]]


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder with two closed chains: the one to tamper with, and one that stays as it is."""
    folder = tmp_path_factory.mktemp("trail")
    return folder, write_trail(folder), write_trail(folder)


@contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(shutil.copytree(folder, Path(name) / "trail"))


def check(folder: Path) -> Report:
    return verify(folder / "audit.db", folder / "state")


def named(report: Report) -> Named:
    return {(found.kind, found.chain, found.counter, found.until) for found in report.problems}


def execute(folder: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        for statement, values in statements:
            database.execute(statement, values)


def sql(*statements: str) -> Tamper:
    """Return a tampering that runs statements in which `:c` is the chain."""

    def tamper(folder: Path, chain: str) -> None:
        execute(folder, *((text.replace(":c", f"'{chain}'"), ()) for text in statements))

    return tamper


def test_an_untouched_trail_has_no_problem_and_exit_code_0(trail: tuple[Path, str, str]) -> None:
    report = check(trail[0])
    assert (report.chains, report.records, report.checkpoints) == (2, 28, 10)
    assert report.problems == () and report.notes == () and report.exit_code == 0
    assert str(report).startswith("2 chains, 28 records, 10 checkpoints: no problem")


def rewrite(folder: Path, chain: str, first: int, last: int) -> None:
    """Change record `first` and hash everything anew up to record `last`, as one who knows the code can."""
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        query = "SELECT counter, body, hash FROM audit_records WHERE chain = ? ORDER BY counter"
        head = NO_HASH
        for counter, body, stored in database.execute(query, (chain,)).fetchall():
            if first <= counter <= last:
                text = body.replace("1700", "1800") if counter == first else body
                head = chained(chain, counter, head, text.encode())
                change = "UPDATE audit_records SET body = ?, hash = ? WHERE chain = ? AND counter = ?"
                database.execute(change, (text, head.hex(), chain, counter))
            else:
                head = bytes.fromhex(stored)


def swap(folder: Path, chain: str) -> None:
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        query = "SELECT body, hash FROM audit_records WHERE chain = ? AND counter = ?"
        one, other = (database.execute(query, (chain, at)).fetchone() for at in (4, 8))
        change = "UPDATE audit_records SET body = ?, hash = ? WHERE chain = ? AND counter = ?"
        database.execute(change, (*other, chain, 4))
        database.execute(change, (*one, chain, 8))


def forge_after_the_end(folder: Path, chain: str) -> None:
    body = orjson.dumps({"kind": "opened", "exchange_id": "forged"}).decode()
    query = "SELECT hash FROM audit_records WHERE chain = ? ORDER BY counter DESC LIMIT 1"
    with closing(sqlite3.connect(folder / "audit.db")) as database:
        head = bytes.fromhex(database.execute(query, (chain,)).fetchone()[0])
    row = (chain, 15, body, chained(chain, 15, head, body.encode()).hex())
    execute(folder, ("INSERT INTO audit_records VALUES (?, ?, ?, ?)", row))


def insert_in_the_middle(folder: Path, chain: str) -> None:
    for counter in range(14, 6, -1):
        move = "UPDATE audit_records SET counter = counter + 1 WHERE chain = ? AND counter = ?"
        execute(folder, (move, (chain, counter)))
    copy = (
        "INSERT INTO audit_records SELECT chain, 7, body, hash FROM audit_records WHERE chain=? AND counter=6"
    )
    execute(folder, (copy, (chain,)))


def heads_lines(folder: Path) -> list[bytes]:
    return (folder / "state" / "audit-heads.jsonl").read_bytes().splitlines(keepends=True)


def heads_file(edit: Callable[[list[bytes]], list[bytes]]) -> Tamper:
    def tamper(folder: Path, _chain: str) -> None:
        (folder / "state" / "audit-heads.jsonl").write_bytes(b"".join(edit(heads_lines(folder))))

    return tamper


def linked_anew(lines: list[bytes]) -> list[bytes]:
    """Leave out the second line and make the links right again, as one without the key can."""
    kept, link = [], "0" * 64
    for line in lines[:1] + lines[2:]:
        kept.append(orjson.dumps(orjson.loads(line) | {"link": link}, option=orjson.OPT_SORT_KEYS) + b"\n")
        link = hashlib.sha256(kept[-1][:-1]).hexdigest()
    return kept


def change(assignment: str, counter: int) -> Tamper:
    return sql(f"UPDATE audit_records SET {assignment} WHERE chain = :c AND counter = {counter}")


RECORD = "audit_records WHERE chain = :c AND counter"
CHECKPOINT = "audit_checkpoints WHERE chain = :c AND number"


def without_heads_file(folder: Path, chain: str) -> None:
    """Leave one chain, without its third checkpoint and without the file that has it too."""
    (folder / "state" / "audit-heads.jsonl").unlink()
    for table in ("audit_records", "audit_checkpoints"):
        execute(folder, (f"DELETE FROM {table} WHERE chain <> ?", (chain,)))
    sql(f"DELETE FROM {CHECKPOINT} = 3")(folder, chain)


TAMPERINGS: dict[str, tuple[Tamper, list[tuple[str, int | None, int | None]]]] = {
    "a field of a record": (change("body = replace(body, 'anyone', 'nobody')", 6), [("changed", 6, None)]),
    "a hash alone": (change(f"hash = '{'0' * 64}'", 6), [("changed", 6, None)]),
    "bytes that are no text": (change("body = CAST(x'ff00' AS TEXT)", 1), [("changed", 1, None)]),
    "a record with its own hash": (
        lambda folder, chain: rewrite(folder, chain, 6, 6),
        [("changed", 7, None)],
    ),
    "a record and all hashes after it": (
        lambda folder, chain: rewrite(folder, chain, 6, 14),
        [("changed", 6, 14)],
    ),
    "a middle record deleted": (
        sql(f"DELETE FROM {RECORD} = 6"),
        [("missing", 6, 6), ("no opening", 7, None)],
    ),
    "an ended deleted": (
        sql(f"DELETE FROM {RECORD} = 7"),
        [("missing", 7, 7), ("no ending", 6, None)],
    ),
    "the last records deleted": (
        sql(f"DELETE FROM {RECORD} > 9"),
        [("cut off", 10, 14)],
    ),
    "the last records and their checkpoints deleted": (
        sql(f"DELETE FROM {RECORD} > 9", f"DELETE FROM {CHECKPOINT} > 3"),
        [("cut off", 10, 14), ("missing checkpoint", 13, None), ("missing checkpoint", 14, None)],
    ),
    "two records swapped": (
        swap,
        [("changed", 4, 5), ("changed", 8, 9), ("no opening", 5, None), ("no ending", 8, None)],
    ),
    "a record forged after the end": (forge_after_the_end, [("foreign record", 15, None)]),
    "a record forged before the start": (
        sql(f"INSERT INTO audit_records SELECT chain, 0, body, hash FROM {RECORD} = 2"),
        [("foreign record", 0, None)],
    ),
    "a record inserted in the middle": (
        insert_in_the_middle,
        [("changed", 7, 15), ("unsigned tail", 15, 15)],
    ),
    "a checkpoint deleted": (
        sql(f"DELETE FROM {CHECKPOINT} = 3"),
        [("missing checkpoint", 9, None)],
    ),
    "a checkpoint deleted, and the heads file with it": (
        without_heads_file,
        [("missing checkpoint", 13, None), ("missing checkpoint", 14, None)],
    ),
    "all checkpoints deleted": (
        sql(f"DELETE FROM {CHECKPOINT} > 0"),
        [("missing checkpoint", counter, None) for counter in (1, 5, 9, 13, 14)],
    ),
    "a checkpoint changed": (
        sql("UPDATE audit_checkpoints SET body = replace(body, 'at', 'ta') WHERE chain = :c AND number = 3"),
        [("bad signature", None, None)],
    ),
    "a signature changed": (
        sql("UPDATE audit_checkpoints SET signature = upper(signature) WHERE chain = :c AND number = 3"),
        [("bad signature", 9, None)],
    ),
    "the whole chain deleted": (
        sql(f"DELETE FROM {RECORD} > 0", f"DELETE FROM {CHECKPOINT} > 0"),
        [("cut off", 1, 14), *(("missing checkpoint", counter, None) for counter in (1, 5, 9, 13, 14))],
    ),
    "a line of the heads file deleted": (
        heads_file(lambda lines: lines[:1] + lines[2:]),
        [("heads file", 9, None), ("missing checkpoint", 9, None)],
    ),
    "a line deleted and the links made anew": (
        heads_file(linked_anew),
        [("heads file", 9, None), ("missing checkpoint", 9, None)],
    ),
    "a line of the heads file changed": (
        heads_file(lambda lines: [*lines[:2], lines[2].replace(b'r\\":9', b'r\\":8'), *lines[3:]]),
        [("heads file", 8, None), ("missing checkpoint", 13, None)],
    ),
    "two lines of the heads file swapped": (
        heads_file(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
        [("heads file", 9, None), ("missing checkpoint", 9, None)],
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_each_tampering_is_named_with_its_chain_and_counter(trail: tuple[Path, str, str], name: str) -> None:
    folder, chain, _ = trail
    tamper, expected = TAMPERINGS[name]
    with copy_of(folder) as copy:
        tamper(copy, chain)
        report = check(copy)
    assert named(report) == {(kind, chain, counter, until) for kind, counter, until in expected}
    assert report.exit_code == 1


def test_lines_cut_off_the_heads_file_are_named_where_the_chain_was_closed(
    trail: tuple[Path, str, str],
) -> None:
    folder, _, last = trail
    with copy_of(folder) as copy:
        heads_file(lambda lines: lines[:-1])(copy, last)
        assert named(check(copy)) == {("missing checkpoint", last, 14, None)}


def test_a_heads_file_that_is_gone_is_named_for_each_chain(trail: tuple[Path, str, str]) -> None:
    folder, *chains = trail
    with copy_of(folder) as copy:
        (copy / "state" / "audit-heads.jsonl").unlink()
        assert named(check(copy)) == {("missing checkpoint", chain, 14, None) for chain in chains}


def test_a_chain_that_was_never_signed_here_is_foreign(trail: tuple[Path, str, str]) -> None:
    folder, chain, _ = trail
    with copy_of(folder) as copy:
        forged = "INSERT INTO audit_records SELECT ?, counter, body, hash FROM audit_records WHERE chain = ?"
        execute(copy, (forged, ("f" * 32, chain)))
        rewrite(copy, "f" * 32, 1, 14)
        assert named(check(copy)) == {("foreign chain", "f" * 32, None, None)}


def test_another_installation_s_signatures_are_not_taken(
    trail: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, *chains = trail
    write_trail(tmp_path, 0)
    with copy_of(folder) as copy:
        shutil.copy(tmp_path / "state" / "audit-sign.pub", copy / "state" / "audit-sign.pub")
        report = check(copy)
    kinds = {found.kind for found in report.problems}
    assert kinds == {"bad signature", "foreign chain", "heads file"}
    assert {found.chain for found in report.problems if found.kind == "foreign chain"} == set(chains)


COLUMNS = [
    *(("audit_records", "counter", column, 14) for column in ("chain", "counter", "body", "hash")),
    *(("audit_checkpoints", "number", column, 5) for column in ("chain", "number", "body", "signature")),
]


def spoiled(value: object, other: object, at: int) -> object:
    """Return a value with one character changed, or `other` in its place where `at` is negative."""
    if at < 0 or not isinstance(value, str):
        return other
    place = at % len(value)
    return value[:place] + chr((ord(value[place]) + 1 + at) % 128) + value[place + 1 :]


@settings(deadline=None, max_examples=150)
@given(
    column=st.sampled_from(COLUMNS),
    row=st.integers(1, 14),
    at=st.integers(-1, 1000),
    other=st.one_of(st.text(), st.binary(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)),
)
@example(column=COLUMNS[2], row=3, at=-1, other=b"\xff\x00")
@example(column=COLUMNS[1], row=3, at=-1, other="three")
def test_any_change_of_any_stored_field_is_found(
    trail: tuple[Path, str, str], column: tuple[str, str, str, int], row: int, at: int, other: object
) -> None:
    folder, chain, _ = trail
    table, key, name, rows = column
    row = (row - 1) % rows + 1
    where = f"FROM {table} WHERE chain = ? AND {key} = ?"
    everything = f"SELECT * FROM {table} ORDER BY chain, {key}"
    with copy_of(folder) as copy:
        with closing(sqlite3.connect(copy / "audit.db")) as database:
            before = database.execute(everything).fetchall()
            value = database.execute(f"SELECT {name} {where}", (chain, row)).fetchone()[0]
            update = f"UPDATE {table} SET {name} = ? WHERE chain = ? AND {key} = ?"
            try:
                database.execute(update, (spoiled(value, other, at), chain, row))
            except sqlite3.IntegrityError:
                assume(False)
            database.commit()
            assume(database.execute(everything).fetchall() != before)
        assert check(copy).exit_code == 1


@settings(deadline=None, max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_any_change_of_any_byte_of_the_heads_file_is_found(
    trail: tuple[Path, str, str], place: float, change: int
) -> None:
    with copy_of(trail[0]) as copy:
        path = copy / "state" / "audit-heads.jsonl"
        raw = bytearray(path.read_bytes())
        raw[int(place * len(raw))] ^= change
        path.write_bytes(raw)
        assert check(copy).exit_code == 1


async def test_a_running_chain_has_notes_and_no_problem(tmp_path: Path) -> None:
    audit = Audit.open(tmp_path / "audit.db", tmp_path / "state", limits=SOON)
    await exchanges(audit, range(3))
    await audit.opened(opened(3))
    report = check(tmp_path)
    assert report.problems == ()
    assert {(note.kind, note.counter, note.until) for note in report.notes} == {
        ("unsigned tail", 6, 8),
        ("running", 8, None),
    }
    assert "with 1 exchanges open" in str(report)
    audit.close()
    # The same exchange, of a process that is gone: now its ending will never come.
    assert named(check(tmp_path)) == {("no ending", audit.chain, 8, None)}


def test_the_report_stays_small_however_much_is_wrong(tmp_path: Path) -> None:
    write_trail(tmp_path, 130)
    execute(tmp_path, ("DELETE FROM audit_records WHERE counter % 2 = 1 AND counter > 1", ()))
    report = check(tmp_path)
    assert len(report.problems) == 200 and report.unlisted == 60
    assert "260 problems" in str(report) and len(str(report).splitlines()) < 210


def test_what_a_forger_wrote_reaches_the_terminal_as_plain_ascii(trail: tuple[Path, str, str]) -> None:
    folder, chain, _ = trail
    with copy_of(folder) as copy:
        execute(copy, ("UPDATE audit_records SET chain = ? WHERE chain = ?", ("\x1b[2J\u202e" * 9, chain)))
        text = str(check(copy))
    assert text.isascii() and "\x1b" not in text


def test_no_database_and_no_public_key_are_errors_and_not_clean_reports(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="public key"):
        check(tmp_path)
    write_trail(tmp_path, 0)
    with pytest.raises(AuditError, match="no audit database"):
        verify(tmp_path / "other.db", tmp_path / "state")


def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    write_trail(tmp_path, 0)
    (tmp_path / "audit.db").write_bytes(b"nothing of the kind" * 100)
    assert [found.kind for found in check(tmp_path).problems] == ["unreadable"]


def test_a_check_needs_the_public_half_alone(trail: tuple[Path, str, str]) -> None:
    with copy_of(trail[0]) as copy:
        (copy / "state" / "audit-sign.pem").unlink()
        assert check(copy).exit_code == 0
