"""Compiled policies on disk, so that a start under an unchanged policy compiles nothing.

A file is found again by a hash of all that it was made from: the policy and the texts that it names, the
encoder, the operator's key, this program and the libraries and processor that it runs on.  It is written
beside its place and renamed, so that it is there whole or not at all; it is sealed under the installation's
key together with its name, and what is not sealed so, or lies where others may write, is compiled anew: to
read a guard is to run it.  It holds what the policy file holds, so it is for its owner alone.

Whoever reads one maps it and holds a lock on it for as long as the guard lives, so that it is not dropped to
make room while a server may still need it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import importlib.metadata
import mmap
import os
import platform
import sys
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import IO

import orjson

import guards
import policies
from guards import exports
from guards.registry import Guard
from policies.sealing import KEY
from server.artefact import ABOUT, Artefact, Bytes, guard_of, laid_out, parts_of, taken_apart

TRAVELS_BYTES = 32 << 20
"""A larger guard is read from its file by each process that serves, in place of being sent to it."""

_KEPT = 4
"""Files that stay besides those in use; the ones used last."""
_SEAL_BYTES = 64
"""As many as keep what follows aligned; the seal takes half of them."""
_SUFFIX = ".compiled"
_LEFT_S = 3600.0
"""So old, a file that was begun is nobody's any more."""
_LIBRARIES = (
    "numpy", "faiss-cpu", "pyahocorasick", "regex", "rapidfuzz", "onnxruntime", "tokenizers", "anyascii",
    "faker", "pyspellchecker", "pyyaml", "pydantic",
)  # fmt: skip


class NotKept(ValueError):
    """There is no such file, or none to be trusted; the message says which, for a log."""


class CompiledPolicies:
    """The compiled policies of one state folder.  Any number of processes may share it."""

    def __init__(self, state: Path, key: bytes, model: str | None = None) -> None:
        """key: the installation's.  model: the encoder, as `load_encoder` takes it."""
        self._folder = state / "compiled"
        self._key = hashlib.blake2b(b"compiled", key=key[:64]).digest()
        self._encoder = state, model
        # Now, and not when it is first asked for: the code may have been replaced by then, and it is the one
        # that was imported that compiles.
        self._code = _code()

    def find(self, digest: str) -> Artefact | None:
        """Return the compiled policy of this digest, verified to the last byte, or None."""
        name = self._name(digest)
        try:
            with self._opened(name) as parts:
                about = orjson.loads(parts[0])
        except NotKept:
            return None
        if about["digest"] != digest:
            return None
        with contextlib.suppress(OSError):
            os.utime(self._folder / name)
        return Artefact(**about, kept=name)

    def guard(self, name: str) -> Guard:
        """Return the guard in a file, which must still be given an encoder; its arrays stay in the file.

        Blocks: for a thread.  Raises NotKept.
        """
        with self._opened(name) as parts:
            guard = guard_of(parts[1:])
            # The mapping, and with it the lock, is to last as long as the guard, with arrays or without.
            weakref.finalize(guard, _let_go, parts[0])
            return guard

    def keep(self, guard: Guard, artefact: Artefact) -> Artefact:
        """Write a whole guard, and return the artefact with the guard in it or, if large, with its file.

        Where it cannot be written it travels all the same: a full disk must not stop a policy.
        """
        parts = parts_of(guard)
        size = sum(memoryview(each).nbytes for each in parts)
        about = {name: getattr(artefact, name) for name in ABOUT}
        kept = self._name(artefact.digest)
        try:
            self._write(kept, [orjson.dumps(about), *parts])
        except OSError:
            kept = ""
        if kept and size > TRAVELS_BYTES:
            return Artefact(**about, kept=kept)
        return Artefact(**about, data=b"".join(laid_out(parts)))

    def _name(self, digest: str) -> str:
        made_from = (digest, exports.described(*self._encoder), self._code, os.environ.get(KEY, ""))
        made = hashlib.blake2b(key=self._key, digest_size=16)
        for each in made_from:
            made.update(hashlib.sha256(each.encode("utf-8", "surrogatepass")).digest())
        return made.hexdigest() + _SUFFIX

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[list[memoryview]]:
        """Yield a file's parts, mapped and locked for as long as any of them is there.  Raises NotKept."""
        try:
            with (self._folder / name).open("rb") as file:
                _refuse_others(self._folder.stat(), os.fstat(file.fileno()))
                # The mapping has the file open once more, under the same lock.
                fcntl.flock(file, fcntl.LOCK_SH)
                mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise NotKept(f"a compiled policy cannot be read: {type(error).__name__}") from error
        if not hmac.compare_digest(bytes(mapped[:_SEAL_BYTES]), self._seal(name, [mapped[_SEAL_BYTES:]])):
            raise NotKept("a compiled policy is damaged, or another installation's")
        yield taken_apart(mapped[_SEAL_BYTES:])

    def _seal(self, name: str, pieces: Iterable[memoryview]) -> bytes:
        # Processors have instructions for SHA-256, so that it takes a third of what BLAKE2 does: each process
        # that starts under 100,000 targets reads 600 MB.
        seal = hmac.new(self._key, name.encode(), "sha256")
        for each in pieces:
            seal.update(each)
        return seal.digest().ljust(_SEAL_BYTES, b"\0")

    def _write(self, name: str, parts: list[Bytes]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._drop_begun()
        # Mode 0600 is what a temporary file has.
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".begun", delete=False) as made:
            try:
                made.write(bytes(_SEAL_BYTES))
                seal = self._seal(name, _written(made, parts))
                made.seek(0)
                made.write(seal)
                made.flush()
                # Not synchronised: after a power cut the seal says whether it is whole.
                os.replace(made.name, self._folder / name)
            except BaseException:
                # Whatever it is, the end of this process included: half a file is of no use and is large.
                os.unlink(made.name)
                raise
        self._prune()

    def _drop_begun(self) -> None:
        for left in self._folder.glob("*.begun"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_S:
                    left.unlink()

    def _prune(self) -> None:
        """Drop all but the files used last and those in use."""
        used: list[tuple[float, Path]] = []
        for file in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                used.append((file.stat().st_mtime, file))
        for _, file in sorted(used, reverse=True)[_KEPT:]:
            with contextlib.suppress(OSError), file.open("rb") as opened:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()


def _written(file: IO[bytes], parts: list[Bytes]) -> Iterator[memoryview]:
    """Write the parts, and yield each piece that was written."""
    for piece in laid_out(parts):
        file.write(piece)
        yield memoryview(piece)


def _refuse_others(*found: os.stat_result) -> None:
    """Raise where anybody else could have written a file or could exchange it."""
    if any(each.st_uid != os.geteuid() or each.st_mode & 0o022 for each in found):
        raise PermissionError("others may write there")


def _let_go(_: object) -> None:
    """Do nothing: what is given was only to be there until now."""


@cache
def _code() -> str:
    """Return what stands for this program and all that has a say in what it compiles, hex."""
    made = hashlib.sha256()
    for root in (Path(each) for package in (policies, guards) for each in package.__path__):
        for file in sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            made.update(f"{file.relative_to(root)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    for beside in ("artefact.py", "compiled.py", "compiler.py", "compiling.py"):
        made.update(Path(__file__).with_name(beside).read_bytes())
    versions = [f"{name} {_version(name)}" for name in _LIBRARIES]
    made.update("\0".join([sys.version, platform.machine(), _processor(), *versions]).encode())
    return made.hexdigest()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """Return what the processor can do, as far as the system tells: sums round by it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return " ".join(sorted(line.split()))
    return platform.processor()
