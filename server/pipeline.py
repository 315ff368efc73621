"""The gateway: one policy in front of one upstream, with everything that an exchange needs put together.

The flow of an exchange, in reading order, is in `server.run`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Self
from weakref import WeakSet

from guards.registry import Guard
from policies.policy import Policy
from server.artefact import Artefact, Encoding
from server.audit import Audit
from server.compiled import CompiledPolicies
from server.exchange import Exchange, Part, Question
from server.keys import installation_key
from server.ledger import FILE, Ledger, LedgerProblem
from server.metrics import Metrics
from server.reload import PolicyState
from server.run import Run
from server.settings import Settings
from server.upstream import Upstream, connect

log = logging.getLogger("lethe")


class Released:
    """The parts of one answer, those that leave together at a time.  Must be closed, read or not."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._parts = run.parts()

    def __aiter__(self) -> AsyncIterator[Sequence[Part]]:
        return self

    async def __anext__(self) -> Sequence[Part]:
        return await self._run.stopping.unless_told(self._parts.__anext__)

    async def aclose(self) -> None:
        """End the exchange where it is; harmless after its end."""
        await self._parts.aclose()
        # A generator that was never begun runs none of its own cleaning up.
        await self._run.end_with(asyncio.CancelledError())


class Gateway:
    """One policy at a time in front of one upstream.  One a process; used inside one event loop."""

    def __init__(
        self,
        guard: Guard,
        upstream: Upstream,
        audit: Audit,
        metrics: Metrics,
        *,
        key: bytes,
        max_held_chars: int = 262_144,
        steering: bool = True,
        encoding: Encoding | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """`key` is the installation's: it keys what is drawn and what is hashed.

        ledger: what of a target has left to whom; without one, each exchange is looked at by itself.

        encoding: the encoder of this process, which serves the guards of every policy; without it, the
        guard's own.
        """
        self.guard = guard
        self.upstream = upstream
        self.metrics = metrics
        self.audit = audit
        self.key = key
        self.max_held_chars = max_held_chars
        self.steering = steering
        self.watched: Callable[[], PolicyState] | None = None
        """How the policy file stands, where this process watches it."""
        self.ledger = ledger
        self._encoding = encoding
        self._runs: WeakSet[Run] = WeakSet()

    @classmethod
    async def start(cls, settings: Settings, artefact: Artefact, metrics: Metrics | None = None) -> Self:
        """Load the compiled policy and open the audit, the ledger and the upstream.

        Raises AuditError, EncoderUnavailable, OSError or ValueError: without any of these nothing is served.
        """
        state = settings.state
        key = installation_key(state)
        encoding = Encoding(state, settings.encoder, CompiledPolicies(state, key, settings.encoder).guard)
        guard = await asyncio.to_thread(encoding.guard, artefact)
        audit = await asyncio.to_thread(Audit.open, state / "audit.sqlite", state)
        try:
            ledger = await asyncio.to_thread(Ledger.open, state / FILE, state, key)
        except LedgerProblem:
            await asyncio.to_thread(audit.close)
            raise
        gateway = cls(
            guard,
            connect(settings),
            audit,
            metrics or Metrics(),
            key=key,
            max_held_chars=settings.max_held_chars,
            steering=settings.steering,
            encoding=encoding,
            ledger=ledger,
        )
        gateway.metrics.in_force(guard.policy.digest, len(guard.policy.targets))
        return gateway

    async def close(self) -> None:
        """Close the upstream, the encoder and the ledger, and write the end of the audit's chain."""
        await self.upstream.close()
        if self._encoding is None:
            self.guard.close()
        else:
            self._encoding.close()
        if self.ledger is not None:
            await asyncio.to_thread(self.ledger.close)
        await asyncio.to_thread(self.audit.close)

    async def load(self, artefact: Artefact) -> Guard | None:
        """Return the guard of another policy, ready for `take`, or None where it cannot be loaded.

        Work goes on under the present one meanwhile.
        """
        assert self._encoding is not None
        try:
            return await asyncio.to_thread(self._encoding.guard, artefact)
        except Exception as error:  # noqa: BLE001  (whatever it is, the policy that is in force stays)
            log.warning("a policy cannot be loaded: %s", type(error).__name__)
            return None

    async def place(self, artefact: Artefact) -> bool:
        """Put a policy in force, in a server of this process alone; return whether that could be done."""
        guard = await self.load(artefact)
        if guard is not None:
            self.take(guard)
        return guard is not None

    def take(self, guard: Guard) -> None:
        """Put a guard in force: every exchange that begins from now on is under it.

        Exchanges under way keep the guard that they began with, which goes when the last of them has ended;
        where the new one forbids that (`effective: now`), they are stopped.
        """
        self.guard = guard
        self.metrics.in_force(guard.policy.digest, len(guard.policy.targets))
        older = {id(run.guard): run.guard for run in self._runs if run.guard is not guard}
        stopped = {each for each, before in older.items() if guard.stops(before)}
        for run in list(self._runs):
            if id(run.guard) in stopped:
                run.stop("policy")

    async def models(self) -> list[dict[str, Any]]:
        """Return the upstream's models but those whose name brings a target.  Raises as `Upstream.models`."""
        listed = await self.upstream.models()
        return [model for model in listed if not self.guard.finds(str(model.get("id", "")))]

    def ready(self) -> dict[str, Any]:
        """Return what `/readyz` shows: no value is False while the policy can be enforced."""
        policy = self.policy
        return {
            "policy": policy.name,
            "digest": policy.digest,
            "targets": len(policy.targets),
            "encoder": self.guard.ready,
            "audit_queue": self.audit.queue_length,
            # Not False: only what is asked finds out that it can be written again.
            "audit": "failing" if self.audit.failing else "written",
            "ledger": "failing" if self.ledger is not None and self.ledger.failing else "written",
        }

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.guard.policy

    @property
    def policy_state(self) -> PolicyState:
        """How the policy file stands to what is enforced; a worker leaves that to its parent."""
        return self.watched() if self.watched else PolicyState("in force", 0.0, self.policy.digest)

    @property
    def encoded(self) -> int:
        """Texts given to the encoder so far."""
        return self.guard.encoded if self._encoding is None else self._encoding.texts

    def open(self, question: Question, key_id: str) -> Exchange:
        """Return the exchange of a question, under the policy of this moment."""
        return Exchange(question, self.policy.digest, key_id)

    async def begin(self, exchange: Exchange) -> Released:
        """Read, plan, audit and ask; return the answer once the upstream has begun it.

        Raises GatewayError: until here every failure is an HTTP status.
        """
        run = Run(self, exchange)
        self._runs.add(run)
        try:
            await run.stopping.unless_told(run.prepare)
        except BaseException as error:
            # Whatever ended it, a client that went away included: an exchange has exactly one ending.
            await run.end_with(error)
            raise
        return Released(run)
