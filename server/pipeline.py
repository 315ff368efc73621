"""The gateway: one policy in front of one upstream, with everything that an exchange needs put together.

The flow of an exchange, in reading order, is in `server.run`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from guards.registry import Guard
from policies.loader import load_policy
from policies.policy import Policy
from server.audit import Audit
from server.compiling import compile_meaning
from server.exchange import Exchange, Question
from server.keys import installation_key
from server.metrics import Metrics
from server.run import Released, Run
from server.settings import Settings
from server.upstream import Upstream, connect


class Gateway:
    """One policy in front of one upstream.  One a process; used inside one event loop."""

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
    ) -> None:
        """`key` is the installation's: it keys what is drawn and what is hashed."""
        self.guard = guard
        self.upstream = upstream
        self.metrics = metrics
        self.audit = audit
        self.key = key
        self.max_held_chars = max_held_chars
        self.steering = steering

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Compile the policy and open the audit and the upstream.

        Raises PolicyError, AuditError, EncoderUnavailable, OSError or ValueError: without any of these
        nothing is served.
        """
        state, loop = settings.state, asyncio.get_running_loop()
        key = installation_key(state)
        policy = await loop.run_in_executor(None, load_policy, settings.policy)
        meaning = None
        if policy.uses_meaning:
            meaning = await loop.run_in_executor(None, compile_meaning, policy, state, settings.encoder)
        audit = await loop.run_in_executor(None, Audit.open, state / "audit.sqlite", state)
        gateway = cls(
            Guard(policy, meaning),
            connect(settings),
            audit,
            Metrics(),
            key=key,
            max_held_chars=settings.max_held_chars,
            steering=settings.steering,
        )
        gateway.metrics.in_force(policy.digest, len(policy.targets))
        return gateway

    async def close(self) -> None:
        """Close the upstream and the encoder, and write the end of the audit's chain."""
        await self.upstream.close()
        self.guard.close()
        await asyncio.to_thread(self.audit.close)

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
        }

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.guard.policy

    def open(self, question: Question, key_id: str) -> Exchange:
        """Return the exchange of a question, under the policy of this moment."""
        return Exchange(question, self.policy.digest, key_id)

    async def begin(self, exchange: Exchange) -> Released:
        """Read, plan, audit and ask; return the answer once the upstream has begun it.

        Raises GatewayError: until here every failure is an HTTP status.
        """
        run = Run(self, exchange)
        try:
            await run.prepare()
        except BaseException as error:
            await run.end_with(error)
            raise
        return Released(run)
