"""The audit across processes: workers side by side, and what a killed one leaves behind."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from server.audit import verify
from tests.audit_trail import bodies, problems, start

RUN = """
import asyncio, sys
from pathlib import Path
from server.audit import Audit
from tests.audit_trail import SOON, exchanges, opened

async def main(folder, mode):
    audit = Audit.open(folder / "audit.db", folder / "state", limits=SOON)
    print(audit.chain, flush=True)
    if mode == "worker":
        await asyncio.gather(*(exchanges(audit, range(i, i + 10)) for i in range(0, 160, 10)))
        return audit.close()
    for i in range(1_000_000 if mode == "endless" else 0):
        await audit.opened(opened(i))
        print(i, flush=True)
    await exchanges(audit, range(3))
    await audit.opened(opened(3))
    print("ready", flush=True)
    sys.stdin.read()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def child(folder: Path, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(folder), mode]
    root = Path(__file__).parent.parent
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, text=True)


def read(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def test_three_processes_write_one_file_each_in_its_own_chain(tmp_path: Path) -> None:
    workers = [child(tmp_path, "worker") for _ in range(3)]
    chains = {worker.communicate(timeout=120)[0].split()[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    report = verify(tmp_path / "audit.db", tmp_path / "state")
    assert len(chains) == report.chains == 3
    assert report.records == 3 * (1 + 2 * 160 + 1) and report.problems == () and report.notes == ()


def test_a_killed_process_leaves_a_sound_chain_and_the_next_start_signs_it(tmp_path: Path) -> None:
    killed = child(tmp_path, "wait")
    chain, _ = read(killed, 2)
    assert problems(tmp_path) == []  # It is running, and says so by its lock.
    killed.kill()
    killed.communicate()
    # Record 8 opened the fourth exchange; the last checkpoint was over record 5.
    assert set(problems(tmp_path)) == {("no ending", 8), ("unsigned tail", 6)}
    start(tmp_path).close()
    report = verify(tmp_path / "audit.db", tmp_path / "state")
    assert [(found.kind, found.chain, found.counter) for found in report.problems] == [
        ("no ending", chain, 8)
    ]
    assert [(note.kind, note.chain, note.counter) for note in report.notes] == [("not closed", chain, 8)]
    assert not list((tmp_path / "state" / "audit-running").iterdir())


def test_what_was_returned_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    killed = child(tmp_path, "endless")
    chain, *numbers = read(killed, 40)
    killed.kill()
    rest, _ = killed.communicate()
    returned = {f"chatcmpl-{number}" for number in [*numbers, *rest.split("\n")[:-1]]}
    assert returned <= {body.get("exchange_id") for body in bodies(tmp_path, chain)}
    assert {kind for kind, _ in problems(tmp_path)} <= {"no ending", "unsigned tail"}


def test_a_tail_that_was_changed_before_the_next_start_is_not_signed(tmp_path: Path) -> None:
    killed = child(tmp_path, "wait")
    chain, _ = read(killed, 2)
    killed.kill()
    killed.communicate()
    with closing(sqlite3.connect(tmp_path / "audit.db")) as database, database:
        update = "UPDATE audit_records SET body = replace(body, '40', '41') WHERE chain = ? AND counter = 8"
        assert database.execute(update, (chain,)).rowcount == 1
    start(tmp_path).close()
    assert set(problems(tmp_path)) == {("changed", 8), ("no ending", 8), ("unsigned tail", 6)}


def test_a_process_that_died_between_database_and_heads_file_is_no_problem_and_is_made_good(
    tmp_path: Path,
) -> None:
    killed = child(tmp_path, "wait")
    read(killed, 2)
    killed.kill()
    killed.communicate()
    heads = tmp_path / "state" / "audit-heads.jsonl"
    lines = heads.read_bytes().splitlines(keepends=True)
    # The last line was begun and never finished; what is there of it is longer than what takes its place.
    heads.write_bytes(b"".join(lines[:-1]) + lines[-1].rstrip() * 8)
    assert set(problems(tmp_path)) == {("no ending", 8), ("unsigned tail", 6)}
    start(tmp_path).close()
    assert problems(tmp_path) == [("no ending", 8)]
    repaired = heads.read_bytes()
    assert repaired.startswith(b"".join(lines)) and repaired.endswith(b"}\n")
