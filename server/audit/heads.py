"""What lies outside the database: the file of signed heads, and who is still running.

`audit-heads.jsonl` repeats every checkpoint in a file that only grows.  Each line is tied to the one before
it, so that no line can be taken out of the middle.  `audit-running/` holds one file a chain, locked by the
process that writes it for as long as it lives; the kernel lets go of the lock however the process ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from server.audit.signing import Checkpoint, Keys

FILE = "audit-heads.jsonl"
RUNNING = "audit-running"
START = "0" * 64
"""What the first line follows."""

_MAX_LINE = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the heads file, as it stands there."""

    body: str
    signature: str
    link: str
    """SHA-256 of the line before it without its newline, 64 hex digits."""
    line_signature: str

    @property
    def raw(self) -> bytes:
        """The line's bytes, without the newline."""
        values = {"body": self.body, "signature": self.signature, "link": self.link}
        return orjson.dumps(values | {"line_signature": self.line_signature}, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def parse(cls, raw: bytes) -> Line | None:
        """Return the line that `raw` is the canonical form of, or None."""
        try:
            values = orjson.loads(raw)
            parts = [values[name] for name in ("body", "signature", "link", "line_signature")]
            found = cls(*parts) if all(isinstance(part, str) for part in parts) else None
            return found if found is not None and found.raw == raw else None
        except (ValueError, TypeError, KeyError):
            return None


def append(state: Path, keys: Keys, checkpoint: Checkpoint, signature: str) -> None:
    """Add a checkpoint to the heads file, durably, whoever else is writing to it.

    A line that another process left unfinished is taken away: what has no end was never acknowledged.
    Raises OSError, having added nothing.
    """
    descriptor = os.open(state / FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end, link = _last(descriptor)
        os.ftruncate(descriptor, end)
        line = Line(checkpoint.body, signature, link, keys.sign_line(link, signature)).raw + b"\n"
        try:
            if os.pwrite(descriptor, line, end) != len(line):
                raise OSError("the heads file took only a part of a line")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def _last(descriptor: int) -> tuple[int, str]:
    """Return where the last whole line ends, and its hash."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - 2 * _MAX_LINE)
    tail = os.pread(descriptor, size - start, start)
    end = tail.rfind(b"\n") + 1
    if end == 0:
        # Nothing here ever wrote so much without an end: leave it, so that a check names it.
        return (0, START) if start == 0 else (size, START)
    line = tail[tail.rfind(b"\n", 0, end - 1) + 1 : end - 1]
    return start + end, hashlib.sha256(line).hexdigest()


def lines(state: Path) -> Iterator[tuple[int, bytes]]:
    """Yield where each whole line of the heads file ends, in bytes, and the line without its newline."""
    try:
        file = (state / FILE).open("rb")
    except FileNotFoundError:
        return
    end = 0
    with file:
        while raw := file.readline(1 << 20):
            end += len(raw)
            if raw.endswith(b"\n"):
                yield end, raw[:-1]
            elif len(raw) == 1 << 20:
                yield end, b""


def contains(state: Path, checkpoint: Checkpoint, signature: str) -> bool:
    """Whether the heads file has this checkpoint; reads all of it."""
    mark = signature.encode()
    return any(
        line is not None and (line.body, line.signature) == (checkpoint.body, signature)
        for line in (Line.parse(raw) for _, raw in lines(state) if mark in raw)
    )


def size(state: Path) -> int:
    """Return the heads file's length in bytes; 0 where there is none."""
    try:
        return (state / FILE).stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the state folder's lock, so that one process at a time makes keys and tables."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state / "audit-open.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Running:
    """The mark that a chain's process lives; gone with it, however it ends."""

    def __init__(self, state: Path, chain: str) -> None:
        folder = state / RUNNING
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path = folder / chain
        hidden = folder / f".{chain}"
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        # Only now under its name: a mark that can be seen is locked, or its process is gone.
        hidden.rename(self._path)

    def close(self) -> None:
        """Take the mark away."""
        self._path.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Leave the mark as a process that dies does, so that the next one signs what is left."""
        os.close(self._descriptor)


def running(state: Path) -> set[str]:
    """Return the chains whose process is alive."""
    return {path.name for path in _marks(state) if _locked(path)}


def dead(state: Path) -> list[str]:
    """Return the chains whose process ended without closing them."""
    return [path.name for path in _marks(state) if not _locked(path)]


def forget(state: Path, chain: str) -> None:
    """Take away the mark of a dead chain."""
    (state / RUNNING / chain).unlink(missing_ok=True)


def _marks(state: Path) -> list[Path]:
    folder = state / RUNNING
    # Not there at all is as good as empty, and what begins with a point is not under its name yet.
    return [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]


def _locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
