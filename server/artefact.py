"""The compiled policy as it travels: from the process that compiles it to those that serve under it."""

from __future__ import annotations

import gc
import pickle  # noqa: TID251  (see `unpacked`)
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from guards.registry import Guard

if TYPE_CHECKING:
    from guards.encoder_thread import EncoderThread


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
    data: bytes = field(repr=False)
    """The guard, packed."""


def packed(guard: Guard) -> bytes:
    """Return a guard as bytes for `unpacked`, without what belongs to one process."""
    return pickle.dumps(guard, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes) -> Guard:
    """Return the guard, which must still be given an encoder where it needs one.  Blocks: for a thread."""
    # Reading a pickle runs it.  These bytes were made by the compiling process of this very server and came
    # by socket pairs that exist between it, the parent and the workers alone: who could write there could run
    # code here anyway.  Nothing that was read from a file or from the network ever gets here.
    collecting = gc.isenabled()
    # Every object of a guard is new and alive, and goes by itself when nobody has the guard any more.  To
    # look for garbage among them, now or later, would only hold up the event loop: by 0.1 s and more.
    gc.disable()
    try:
        guard = pickle.loads(data)  # noqa: S301
        gc.freeze()
    finally:
        if collecting:
            gc.enable()
    assert isinstance(guard, Guard)
    return guard


class Encoding:
    """The encoder of a process: loaded once, when it is first needed, whatever policies come and go."""

    def __init__(self, state: Path, model: str | None) -> None:
        self._source = state, model
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

    def guard(self, data: bytes) -> Guard:
        """Return a packed guard that can be asked.  Blocks; raises EncoderUnavailable."""
        guard = unpacked(data)
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
