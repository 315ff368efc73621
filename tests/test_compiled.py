"""Compiled policies on disk: used where they are just what would be compiled, and by nobody else's leave."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import server.compiled
from guards.encoder import HashingEncoder
from guards.encoder_thread import EncoderThread
from guards.meaning import Meaning
from guards.registry import Guard
from guards.retain import Retain
from policies.policy import Policy
from policies.sealing import KEY
from server.artefact import Artefact, laid_out, packed, taken_apart, unpacked
from server.compiled import CompiledPolicies, NotKept
from tests.guarding import ODALYS, PEOPLE, policy, read, target

INSTALLATION = b"k" * 32
TIDES = target("tides", "topic", like=["the tides of port meridane", "tidal trilogy of port meridane"])
OWLS = target("owls", "topic", like=["barn owls hunting voles at dusk"])
QUESTIONS = ("Where was Odalys Vennaker born?", "the port meridane tides", "barn owls", "Is it raining?")


@pytest.fixture(scope="module")
def words() -> Retain:
    return Retain.load(HashingEncoder())


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every policy read from its file, as large ones are."""
    monkeypatch.setattr(server.compiled, "TRAVELS_BYTES", 0)


def about(made: Policy) -> Artefact:
    return Artefact(made.digest, made.name, len(made.targets), True, 0)


def kept(state: Path, made: Policy = PEOPLE, guard: Guard | None = None) -> tuple[CompiledPolicies, Artefact]:
    compiled = CompiledPolicies(state, INSTALLATION)
    return compiled, compiled.keep(guard or Guard(made), about(made))


def file_of(state: Path) -> Path:
    (file,) = (state / "compiled").iterdir()
    return file


def answers(guard: Guard) -> list[object]:
    return [read(guard, question) for question in QUESTIONS]


# --- the same, with and without -----------------------------------------------------------------------------


def test_what_is_read_from_disk_finds_what_was_compiled(tmp_path: Path, words: Retain) -> None:
    made = policy(ODALYS, TIDES, OWLS)
    thread = EncoderThread(HashingEncoder())
    guard = Guard(made, Meaning.build(made, HashingEncoder(), words, thread))
    compiled, artefact = kept(tmp_path, made, guard)
    assert compiled.find(made.digest) == artefact and artefact.kept and not artefact.data
    again = compiled.guard(artefact.kept)
    again.attach(thread)
    assert answers(again) == answers(guard) and again.policy == made
    thread.close()


def test_a_small_policy_travels_and_is_on_disk_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.compiled, "TRAVELS_BYTES", 1 << 30)
    compiled, artefact = kept(tmp_path)
    assert not artefact.kept and unpacked(artefact.data).policy == PEOPLE
    assert (found := compiled.find(PEOPLE.digest)) is not None
    assert answers(compiled.guard(found.kept)) == answers(Guard(PEOPLE))


def test_where_nothing_can_be_written_a_policy_travels(tmp_path: Path) -> None:
    (tmp_path / "compiled").write_text("a file where the folder should be")
    compiled, artefact = kept(tmp_path)
    assert not artefact.kept and unpacked(artefact.data).policy == PEOPLE
    assert compiled.find(PEOPLE.digest) is None


@pytest.mark.parametrize("sizes", [[0], [1, 64, 65], [5, 0, 200_000]])
def test_parts_are_found_again_each_at_a_multiple_of_64(sizes: list[int]) -> None:
    parts = [os.urandom(size) for size in sizes]
    whole = b"".join(laid_out(parts))
    assert [bytes(part) for part in taken_apart(memoryview(whole))] == parts
    starts = [whole.find(part) for part in parts if len(part) > 8]
    assert all(start % 64 == 0 for start in starts)


@pytest.mark.parametrize("size", [0, 7, 8, 20, 64, 100])
def test_parts_that_are_cut_short_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="part"):
        taken_apart(memoryview(b"".join(laid_out([b"x" * 300, b"y"])))[:size])


# --- nobody else's ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 63, 64, 80, 500, -1])
def test_a_file_of_which_one_bit_is_another_is_not_used(tmp_path: Path, place: int) -> None:
    compiled, artefact = kept(tmp_path)
    data = bytearray(file_of(tmp_path).read_bytes())
    data[place] ^= 1
    file_of(tmp_path).write_bytes(data)
    assert compiled.find(PEOPLE.digest) is None
    with pytest.raises(NotKept, match="damaged"):
        compiled.guard(artefact.kept)


@pytest.mark.parametrize("size", [0, 1, 64, 200])
def test_a_file_that_is_cut_short_is_not_used(tmp_path: Path, size: int) -> None:
    compiled, _ = kept(tmp_path)
    os.truncate(file_of(tmp_path), size)
    assert compiled.find(PEOPLE.digest) is None


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_nothing_of_a_file_without_the_seal_is_run(tmp_path: Path) -> None:
    other = CompiledPolicies(tmp_path, b"o" * 32)
    trapped = Guard(PEOPLE)
    trapped.pending = Trap(tmp_path / "sprung")  # type: ignore[assignment]
    planted = other.keep(trapped, about(PEOPLE))
    compiled = CompiledPolicies(tmp_path, INSTALLATION)
    name = compiled.keep(Guard(PEOPLE), about(PEOPLE)).kept
    shutil.copy(tmp_path / "compiled" / planted.kept, tmp_path / "compiled" / name)
    assert compiled.find(PEOPLE.digest) is None
    with pytest.raises(NotKept):
        compiled.guard(name)
    assert not (tmp_path / "sprung").exists()


def test_a_sealed_file_in_the_place_of_another_is_not_used(tmp_path: Path) -> None:
    compiled, first = kept(tmp_path)
    second = compiled.keep(Guard(policy(ODALYS)), Artefact("1" * 64, "test", 1, True, 0))
    folder = tmp_path / "compiled"
    shutil.copy(folder / first.kept, folder / second.kept)
    assert compiled.find("1" * 64) is None and compiled.find(PEOPLE.digest) is not None


@pytest.mark.parametrize("what", ["compiled", "file"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_where_others_may_write_nothing_is_read(tmp_path: Path, what: str, mode: int) -> None:
    compiled, _ = kept(tmp_path)
    path = file_of(tmp_path) if what == "file" else tmp_path / "compiled"
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(path.stat().st_mode | mode)
    assert compiled.find(PEOPLE.digest) is None


def test_another_encoders_installations_programs_or_secret_keys_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = server.compiled.exports.folder_of(tmp_path, None)
    export.mkdir(parents=True)
    (export / "encoder.json").write_text('{"name": "one"}')
    compiled, _ = kept(tmp_path)
    assert compiled.find(PEOPLE.digest) is not None
    assert compiled.find("1" * 64) is None
    assert CompiledPolicies(tmp_path, b"o" * 32).find(PEOPLE.digest) is None
    assert CompiledPolicies(tmp_path, INSTALLATION, "another/model").find(PEOPLE.digest) is None
    with monkeypatch.context() as changed:
        changed.setenv(KEY, "another key of the operator, of 32 or more")
        assert compiled.find(PEOPLE.digest) is None
    with monkeypatch.context() as changed:
        changed.setattr(server.compiled, "_code", lambda: "another program")
        assert CompiledPolicies(tmp_path, INSTALLATION).find(PEOPLE.digest) is None
    (export / "encoder.json").write_text('{"name": "two"}')
    assert compiled.find(PEOPLE.digest) is None


# --- whole or not at all, and not for ever -------------------------------------------------------------------


def test_a_file_that_could_not_be_finished_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    compiled, artefact = kept(tmp_path)
    assert artefact.data and not list((tmp_path / "compiled").iterdir())
    assert compiled.find(PEOPLE.digest) is None


def test_what_was_begun_long_ago_is_cleared_away_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir(mode=0o700)
    for name, age_s in (("old.begun", 7200), ("new.begun", 5)):
        (folder / name).touch()
        at = (folder / name).stat().st_mtime - age_s
        os.utime(folder / name, (at, at))
    kept(tmp_path)
    assert {file.suffix for file in folder.iterdir()} == {".begun", ".compiled"}
    assert not (folder / "old.begun").exists() and (folder / "new.begun").exists()


def test_the_files_used_last_stay_and_so_does_one_that_is_in_use(tmp_path: Path) -> None:
    compiled, artefact = kept(tmp_path)
    in_use = compiled.guard(artefact.kept)
    for number in range(1, 9):
        compiled.keep(Guard(PEOPLE), Artefact(f"{number:064}", "test", 3, True, 0))
        os.utime(tmp_path / "compiled" / compiled._name(f"{number:064}"), (1000 + number, 1000 + number))
        os.utime(tmp_path / "compiled" / artefact.kept, (1, 1))
    assert compiled.find(PEOPLE.digest) is not None
    assert [compiled.find(f"{number:064}") is not None for number in range(1, 9)] == [False] * 4 + [True] * 4
    os.utime(tmp_path / "compiled" / artefact.kept, (1, 1))
    del in_use
    compiled.keep(Guard(PEOPLE), Artefact("9" * 64, "test", 3, True, 0))
    assert compiled.find(PEOPLE.digest) is None


def test_the_secret_keys_of_the_operator_are_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from policies.policy import Sealed, Target
    from policies.sealing import Sealer

    monkeypatch.setenv(KEY, "a key of the operator that is long enough")
    sealer = Sealer.of_environment()
    sealed = Sealed(8, (f"{sealer.hmac('odalysvn')}{'0' * 8}",))
    made = policy(Target("pin", "secret", "unknown", "forget", "nothing", sealed=sealed))
    compiled, artefact = kept(tmp_path, made)
    data = file_of(tmp_path).read_bytes()
    assert sealer.key not in data and b"long enough" not in data and sealer.key not in packed(Guard(made))
    assert compiled.guard(artefact.kept).policy == made
    monkeypatch.delenv(KEY)
    assert compiled.find(made.digest) is None


# --- shared -------------------------------------------------------------------------------------------------

_READER = """
import sys
from pathlib import Path
from server.compiled import CompiledPolicies
guard = CompiledPolicies(Path(sys.argv[1]), b"k" * 32).guard(sys.argv[2])
guard.meaning._space.retain.sum()
print(flush=True)
input()
"""


def held_kb(pid: int, name: str, what: str) -> int:
    """Return how much of a file a process has mapped, counted as the system counts `what`."""
    lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.endswith(name)]
    return next(int(line.split()[1]) for line in lines[at:] if line.startswith(f"{what}:"))


def test_two_processes_share_the_arrays_of_one_file(tmp_path: Path, words: Retain) -> None:
    made = policy(TIDES)
    guard = Guard(made, Meaning.build(made, HashingEncoder(), words, None))
    _, artefact = kept(tmp_path, made, guard)
    command = [sys.executable, "-c", _READER, str(tmp_path), artefact.kept]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for each in both:
        assert each.stdout is not None and each.stdout.readline() == "\n"
    whole = [held_kb(each.pid, artefact.kept, "Rss") for each in both]
    share = [held_kb(each.pid, artefact.kept, "Pss") for each in both]
    for each in both:
        each.communicate("\n", timeout=120)
    assert min(whole) > 1000 and sum(share) < 0.6 * sum(whole)


def test_arrays_from_a_file_cannot_be_written_to(tmp_path: Path, words: Retain) -> None:
    made = policy(TIDES)
    compiled, artefact = kept(tmp_path, made, Guard(made, Meaning.build(made, HashingEncoder(), words, None)))
    meaning = compiled.guard(artefact.kept).meaning
    assert meaning is not None
    with pytest.raises(ValueError, match="read-only"):
        meaning._space.retain[0, 0] = np.float32(1)


def test_a_reader_holds_a_lock_for_as_long_as_it_has_the_guard(tmp_path: Path) -> None:
    compiled, artefact = kept(tmp_path)
    guard = compiled.guard(artefact.kept)
    with file_of(tmp_path).open("rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        del guard
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
