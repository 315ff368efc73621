"""The compiled policy as it travels: from the process that compiles it to those that serve under it.

A guard is packed as one run of bytes in which its arrays lie as they are used, so that who reads it from a
mapped file has them without a copy, and shares them with every other process that maps the same file.

    head: how many parts there are, and their sizes │ the guard without its arrays │ array │ array │ …

Every part begins at a multiple of 64 bytes.
"""

from __future__ import annotations

import gc
import pickle  # noqa: TID251  (see `unpacked`)
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from guards.registry import Guard

if TYPE_CHECKING:
    from guards.encoder_thread import EncoderThread

_ALIGNED = 64
"""Bytes: what a line of a processor's cache holds, and more than any array asks for."""
_LEAST = 4096
"""Bytes of an array that is worth a part of its own."""
_SIZE = struct.Struct("!Q")

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Artefact:
    """A policy that can be put in force."""

    digest: str
    name: str
    targets: int
    whole: bool
    """False while the meaning of some targets is still to come."""
    flawed: int
    """Examples that would pass; `lethe check` names them."""
    data: bytes = field(default=b"", repr=False)
    """The guard, packed; nothing where it lies in a file."""
    kept: str = ""
    """The file in the state folder that the guard lies in (`server.compiled`), where it does not travel."""


ABOUT = ("digest", "name", "targets", "whole", "flawed")
"""What is said of an artefact besides where its guard is."""


def parts_of(guard: Guard) -> list[Bytes]:
    """Return a guard in parts, for `laid_out`, without what belongs to one process; arrays are not copied."""
    arrays: list[pickle.PickleBuffer] = []

    def apart(buffer: pickle.PickleBuffer) -> bool:
        large = buffer.raw().nbytes >= _LEAST
        if large:
            arrays.append(buffer)
        return not large

    pickled = pickle.dumps(guard, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=apart)
    return [pickled, *(each.raw() for each in arrays)]


def laid_out(parts: Sequence[Bytes]) -> Iterator[Bytes]:
    """Yield what must be written one after the other for `taken_apart` to find the parts again."""
    head = b"".join(_SIZE.pack(size) for size in (len(parts), *(memoryview(each).nbytes for each in parts)))
    for each in (head, *parts):
        yield each
        yield bytes(-memoryview(each).nbytes % _ALIGNED)


def taken_apart(data: memoryview) -> list[memoryview]:
    """Return the parts of what was laid out, not copied.  Raises ValueError where it is too short."""
    try:
        (count,) = _SIZE.unpack_from(data)
        sizes = struct.unpack_from(f"!{count}Q", data, _SIZE.size)
    except (struct.error, OverflowError, MemoryError) as error:
        raise ValueError("no parts") from error
    parts, at = [], _after(_SIZE.size * (count + 1))
    for size in sizes:
        if at + size > len(data):
            raise ValueError("a part is cut short")
        parts.append(data[at : at + size])
        at = _after(at + size)
    return parts


def _after(size: int) -> int:
    return size + -size % _ALIGNED


def packed(guard: Guard) -> bytes:
    """Return a guard as bytes for `unpacked`, without what belongs to one process."""
    return b"".join(laid_out(parts_of(guard)))


def unpacked(data: bytes) -> Guard:
    """Return the guard, which must still be given an encoder where it needs one.  Blocks: for a thread."""
    return guard_of(taken_apart(memoryview(data)))


def guard_of(parts: Sequence[Bytes]) -> Guard:
    """Return the guard in these parts, whose arrays stay where they are.  Blocks: for a thread."""
    # Reading a pickle runs it.  These bytes were made by the compiling process of this very server and came
    # by socket pairs that exist between it, the parent and the workers alone, or they were made by such a
    # process of this installation and have its seal (`server.compiled`): who could write either could run
    # code here anyway.  Nothing else ever gets here.
    collecting = gc.isenabled()
    # Every object of a guard is new and alive, and goes by itself when nobody has the guard any more.  To
    # look for garbage among them, now or later, would only hold up the event loop: by 0.1 s and more.
    gc.disable()
    try:
        guard = pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301
        gc.freeze()
    finally:
        if collecting:
            gc.enable()
    assert isinstance(guard, Guard)
    return guard


class Encoding:
    """The encoder of a process: loaded once, when it is first needed, whatever policies come and go."""

    def __init__(self, state: Path, model: str | None, kept: Callable[[str], Guard]) -> None:
        """`kept` returns the guard in a file of the state folder, by its name."""
        self._source = state, model
        self._kept = kept
        self._loading = threading.Lock()
        self._thread: EncoderThread | None = None

    def thread(self) -> EncoderThread:
        """Return the encoder's thread.  Blocks while it is loaded; raises EncoderUnavailable."""
        with self._loading:
            if self._thread is None:
                from guards.encoder import load_encoder
                from guards.encoder_thread import EncoderThread

                self._thread = EncoderThread(load_encoder(*self._source))
            return self._thread

    def guard(self, artefact: Artefact) -> Guard:
        """Return an artefact's guard, ready to be asked.

        Blocks; raises EncoderUnavailable, and ValueError where it is not in the file that it should be in.
        """
        guard = self._kept(artefact.kept) if artefact.kept else unpacked(artefact.data)
        if guard.needs_encoder:
            guard.attach(self.thread())
        return guard

    @property
    def texts(self) -> int:
        """Texts given to the encoder so far."""
        return 0 if self._thread is None else self._thread.texts

    def close(self) -> None:
        """End the thread, where there is one."""
        if self._thread is not None:
            self._thread.close()
