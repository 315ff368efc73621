"""The policy that the demo's page edits: a working copy, checked before it is written, then waited for."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

from guards.registry import Guard
from policies.loader import digest_of, parse_policy
from policies.problems import PolicyError, Problem, shortened, visible

_WAIT_S = 10.0
_POLL_S = 0.01


class State(Protocol):
    """How the policy file stands to the policy in force, as the gateway's watcher says it."""

    @property
    def file(self) -> str: ...


class Enforcing(Protocol):
    """What enforces the working copy, and takes it up when its file changes."""

    @property
    def guard(self) -> Guard: ...

    @property
    def policy_state(self) -> State: ...


class WorkingPolicy:
    """A copy of a policy file that may be written; the file that it was copied from is never touched."""

    def __init__(self, folder: Path, shipped: Path) -> None:
        self.shipped = shipped.read_text(encoding="utf-8")
        self.path = folder / "policy.yaml"
        self._one_at_a_time = asyncio.Lock()
        self._write(self.shipped)

    async def read(self, gateway: Enforcing) -> dict[str, Any]:
        """Return what the file holds now, whoever wrote it, and how it stands to what is in force.

        What is no UTF-8 in it shows as U+FFFD.
        """
        data = await asyncio.to_thread(self.path.read_bytes)
        about = {"text": data.decode("utf-8", "replace"), "shipped": self.shipped, "file": str(self.path)}
        return about | _standing(gateway, digest_of(data, self.path))

    async def standing(self, gateway: Enforcing) -> dict[str, Any]:
        """Return how the file stands to what is in force."""
        return _standing(gateway, digest_of(await asyncio.to_thread(self.path.read_bytes), self.path))

    async def check(self, text: str) -> str:
        """Return the digest of the policy that `text` is.  Raises PolicyError where it is none."""
        return (await asyncio.to_thread(parse_policy, text, self.path.name, self.path)).digest

    async def save(self, text: str, gateway: Enforcing) -> dict[str, Any]:
        """Write `text` and wait until the gateway enforces it; return how it stands and how long it took.

        After some seconds the wait is given up: the answer then says what the gateway is doing.
        Raises PolicyError, with nothing written, where `text` is no policy.
        """
        async with self._one_at_a_time:
            digest = await self.check(text)
            began = time.perf_counter()
            await asyncio.to_thread(self._write, text)
            await _taken_up(gateway, digest)
            took_ms = round((time.perf_counter() - began) * 1000, 1)
            return _standing(gateway, digest) | {"took_ms": took_ms}

    def _write(self, text: str) -> None:
        """Replace the file whole: whoever reads it meanwhile sees the old text or the new one."""
        with tempfile.NamedTemporaryFile(dir=self.path.parent, suffix=".part", delete=False) as made:
            made.write(text.encode("utf-8"))
            made.flush()
            os.fsync(made.fileno())
        os.replace(made.name, self.path)


async def _taken_up(gateway: Enforcing, digest: str) -> None:
    """Wait until a policy is in force or was refused, for some seconds at most."""
    looked = gateway.policy_state.file != "refused"
    deadline = time.monotonic() + _WAIT_S
    while gateway.guard.policy.digest != digest and time.monotonic() < deadline:
        refused = gateway.policy_state.file == "refused"
        if looked and refused:
            return
        # What stood in the file before may have been refused: only what comes after that is about this text.
        looked |= not refused
        await asyncio.sleep(_POLL_S)


def _standing(gateway: Enforcing, digest: str) -> dict[str, Any]:
    """Return which policy is in force, and how a file of this digest stands to it."""
    policy, state = gateway.guard.policy, gateway.policy_state
    taken = policy.digest == digest
    # The watcher looks some times a second: until it has, a file that has just changed is news to it.
    stale = not taken and state.file in ("in force", "meaning pending")
    return {
        "policy": policy.name,
        "digest": policy.digest,
        "targets": len(policy.targets),
        "state": "compiling" if stale else state.file,
    }


def complaints(error: PolicyError) -> dict[str, Any]:
    """Return what is wrong with a text, by line; the message says what would be valid."""
    return {"problems": [_complaint(each) for each in error.problems], "more": error.more}


def _complaint(problem: Problem) -> dict[str, Any]:
    # The value is shown: who reads this is who wrote it, on this machine.
    parts = [shortened(problem.field, 120)] if problem.field else []
    if problem.value is not None:
        parts.append(f"'{shortened(problem.value)}'")
    said = ": ".join([*parts, visible(problem.message)])
    return {"line": problem.line, "column": problem.column, "message": said}
