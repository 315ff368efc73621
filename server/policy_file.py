"""A policy file under watch: what it and the texts that it names hold, whoever writes them and however.

To look is to ask the system for the file's stamp, some times a second, and to read the file where that says
that something may have changed.  Nothing is left to notifications: the ways in which files are mounted
(Kubernetes swaps a symlink) and saved (an editor renames another file) are too many for them.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from policies.loader import read_policy
from policies.problems import PolicyError
from policies.source import Source, path_of

_POLL_S = 0.1
_SETTLE_S = 0.1
"""A file that changed is taken once its stamp is the same for so long: nobody is in the middle of writing."""
_UNSURE_S = 3.0
"""Stamps may be as coarse as two seconds: for so long after a change the content is compared all the same."""
_WHOLE_S = 10.0
"""However the stamp looks, the content is compared so often."""

_Stamp = tuple[tuple[int, ...] | int, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """What a policy file held when it was looked at."""

    digest: str
    """As `load_policy` computes it; empty where the file cannot be read."""
    source: Source = field(default_factory=lambda: Source(b""), repr=False)
    """The file's bytes, and the texts that it names."""
    error: PolicyError | None = None

    def same(self, other: Saved) -> bool:
        """Whether both are one content, or the same reason for none."""
        return self.digest == other.digest and str(self.error or "") == str(other.error or "")

    def bare(self) -> Saved:
        """Return it without the content, to be compared with."""
        return Saved(self.digest, error=self.error)


class PolicyFile:
    """One policy file, looked at again and again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: Saved | None = None
        self._texts: tuple[Path, ...] = ()
        """Where the texts lie that the file named when it was last read."""
        self._stamp: _Stamp = ()
        self._unsettled: _Stamp | None = None
        self._settled_at_s = self._unsure_until_s = self._whole_at_s = 0.0
        self._asked = asyncio.Event()

    def look_now(self) -> None:
        """Have the file looked at and read at once."""
        self._whole_at_s = 0.0
        self._asked.set()

    async def first(self) -> Saved:
        """Return what the file holds."""
        # Before it is read, so that no change falls between; with the texts it is another at the next look.
        self._stamp = await asyncio.to_thread(self._stamped)
        saved = await asyncio.to_thread(self._read)
        self._saved = saved.bare()
        return saved

    async def changed(self, within_s: float) -> Saved | None:
        """Wait until the file holds something else than when this last returned; None where it does not.

        Never reads on the event loop.
        """
        end_s = time.monotonic() + within_s
        while True:
            saved = await asyncio.to_thread(self._look)
            if saved is not None or time.monotonic() >= end_s:
                return saved
            wait_s = _POLL_S if self._unsettled is None else _SETTLE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, max(0.0, end_s - time.monotonic()))):
                    await self._asked.wait()
            self._asked.clear()

    def _look(self) -> Saved | None:
        stamp, now_s = self._stamped(), time.monotonic()
        if stamp != self._stamp:
            if stamp != self._unsettled:
                self._unsettled, self._settled_at_s = stamp, now_s + _SETTLE_S
            if now_s < self._settled_at_s:
                return None
            self._unsure_until_s = now_s + _UNSURE_S
        self._stamp, before, self._unsettled = stamp, self._stamp, None
        if stamp == before and now_s >= self._unsure_until_s and now_s < self._whole_at_s:
            return None
        self._whole_at_s = now_s + _WHOLE_S
        saved = self._read()
        if self._saved is not None and saved.same(self._saved):
            return None
        self._saved = saved.bare()
        return saved

    def _stamped(self) -> _Stamp:
        """Return what changes whenever the content does, by all that the system shows without reading."""
        return tuple(_stamp_of(path) for path in (self._path, *self._texts))

    def _read(self) -> Saved:
        try:
            source = read_policy(self._path)
        except PolicyError as error:
            return Saved("", error=error)
        self._texts = tuple(path_of(name, self._path) for name in source.texts)
        return Saved(source.digest, source)


def _stamp_of(path: Path) -> tuple[int, ...] | int:
    try:
        shown = os.stat(path)
    except (OSError, ValueError) as error:
        return getattr(error, "errno", None) or 0
    return shown.st_dev, shown.st_ino, shown.st_size, shown.st_mtime_ns, shown.st_ctime_ns
