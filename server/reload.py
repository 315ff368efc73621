"""A running server's policy: its file is watched, compiled elsewhere, and put in force everywhere at once.

    file ──▶ compiler ──▶ `place`: every serving process loads it, then all take it ──▶ in force

The first policy and every later one go the same way.  What does not compile, or cannot be loaded everywhere,
leaves the last good policy where it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from policies.discretion import discreet
from server.artefact import Artefact
from server.compiler import Compiler, NotCompiled, Refused
from server.metrics import Metrics
from server.policy_file import PolicyFile, Saved
from server.serving import StartError, unless
from server.wording import counted, forgetting

log = logging.getLogger("lethe")

FileState = Literal["in force", "compiling", "meaning pending", "refused"]
Place = Callable[[Artefact], Awaitable[bool]]
"""Puts a policy in force in every process that serves, or in none; returns which."""

_LAG_S = 0.5
"""The lag in the metrics is never older."""
_RETRY_S = (1.0, 60.0)
"""Before another try where not the file is at fault: the first wait and the longest."""


@dataclass(frozen=True, slots=True)
class PolicyState:
    """How the policy file stands to what is enforced."""

    file: FileState
    lag_s: float
    """For how many seconds the saved file has been another policy than the one that is enforced in full."""
    digest: str
    """Of the policy in force."""

    def shown(self) -> dict[str, Any]:
        """Return what `/readyz` shows of the file."""
        return {"policy_file": self.file, "policy_lag_s": round(self.lag_s, 3)}


class Reloader:
    """Keeps a server's policy what its file says, as far as the file can be used."""

    def __init__(self, path: Path, compiler: Compiler, metrics: Metrics) -> None:
        self._path = path
        self._file = PolicyFile(path)
        self._compiler = compiler
        self._metrics = metrics
        metrics.watch_file()
        self._saved = self._good = Saved("")
        self._refused = False
        """Whether what is saved now was refused."""
        self._news = asyncio.Event()
        self._since_s: float | None = None
        self._in_force: Artefact | None = None

    @property
    def in_force(self) -> Artefact:
        """The policy in force."""
        assert self._in_force is not None
        return self._in_force

    @property
    def state(self) -> PolicyState:
        """How the file stands to what is enforced, at this moment."""
        lag_s = 0.0 if self._since_s is None else time.monotonic() - self._since_s
        return PolicyState(self._file_state(), lag_s, self.in_force.digest)

    def _file_state(self) -> FileState:
        if self._saved.digest == self.in_force.digest:
            return "in force" if self.in_force.whole else "meaning pending"
        return "refused" if self._refused else "compiling"

    def look_now(self) -> None:
        """Have the file looked at at once."""
        self._file.look_now()

    async def start(self) -> Artefact:
        """Compile the file as it is, and return the policy that is then in force.  Raises StartError."""
        await self._compiler.start()
        self._saved = self._good = await self._file.first()
        if self._saved.error is not None:
            raise StartError(str(self._saved.error), 2)
        try:
            await self._compiler.begin(self._saved.source, self._path, base=None, only_whole=True)
            self._in_force = await self._compiler.artefact()
        except Refused as error:
            raise StartError(error.text, 2) from None
        except NotCompiled as error:
            raise StartError(str(error)) from None
        self._tell_flaws()
        return self._in_force

    async def run(self, place: Place) -> None:
        """Follow the file for ever; `start` must have been awaited, and its policy be in force."""
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                goal = self._goal()
                self._news.clear()
                if goal is None:
                    await self._news.wait()
                else:
                    await self._reach(goal, place)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                saved = await self._file.changed(_LAG_S)
            except Exception as error:  # noqa: BLE001  (a look that fails must not be the last one)
                log.error("unforeseen %s while looking at the policy file", type(error).__name__)
                await asyncio.sleep(_RETRY_S[0])
                continue
            if saved is not None:
                if self._refused and saved.digest == self.in_force.digest:
                    log.info("the policy file holds policy %s again, which is in force", self._short)
                self._saved, self._refused = saved, False
                self._news.set()
            self._count_lag()

    def _count_lag(self) -> None:
        if self._file_state() == "in force":
            self._since_s = None
        elif self._since_s is None:
            self._since_s = time.monotonic()
        self._metrics.policy_lags(self.state.lag_s)

    def _goal(self) -> Saved | None:
        """Return what is to be in force, where that is not so yet; its meaning counts."""
        if self._saved.digest != self.in_force.digest and not self._refused:
            return self._saved
        return None if self.in_force.whole else self._good

    async def _reach(self, goal: Saved, place: Place) -> None:
        """Compile what was saved and put it in force, until it is there whole or something else is saved."""
        wait_s, longest_s = _RETRY_S
        while True:
            try:
                if goal.error is not None:
                    raise Refused(discreet(goal.error), "")
                await self._follow(goal, place)
                return
            except Refused as error:
                self._refuse(error)
                return
            except Exception as error:  # noqa: BLE001  (whatever it is, the last good policy stays)
                self._metrics.reloaded("failed")
                reason = error if isinstance(error, NotCompiled) else f"unforeseen {type(error).__name__}"
                log.warning("%s; policy %s stays in force", reason, self._short)
            if await self._something_new(wait_s):
                return
            wait_s = min(2 * wait_s, longest_s)

    async def _follow(self, goal: Saved, place: Place) -> None:
        base, only_whole = self.in_force, goal.digest == self.in_force.digest
        begun = self._compiler.begin(goal.source, self._path, base=base, only_whole=only_whole)
        await unless(self._news, begun)
        while not self._news.is_set():
            artefact = await unless(self._news, self._compiler.artefact())
            if artefact is None:
                return
            # Not given up halfway: what is saved meanwhile is compiled when all stand where they should.
            if not await place(artefact):
                raise NotCompiled("a process could not load the policy")
            self._in_force, self._good = artefact, goal
            self._count_lag()
            self._tell()
            if artefact.whole:
                return

    async def _something_new(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _refuse(self, error: Refused) -> None:
        self._refused = True
        self._count_lag()
        self._metrics.reloaded("refused")
        log.warning("%s; policy %s stays in force; `lethe check` says more", error.line, self._short)

    def _tell(self) -> None:
        whole = self.in_force.whole
        self._metrics.reloaded("in_force" if whole else "meaning_pending")
        count = forgetting(self.in_force.targets)
        log.info("policy %s is in force: %s%s", self._short, count, "" if whole else ", meaning pending")
        self._tell_flaws()

    def _tell_flaws(self) -> None:
        if flawed := self.in_force.flawed:
            log.warning(
                "%s would pass all the same; `lethe check` names %s",
                counted(flawed, "example"),
                "it" if flawed == 1 else "them",
            )

    @property
    def _short(self) -> str:
        return self.in_force.digest[:12]
