"""One exchange under way: from the question to the one ending.

    read → plan → 'opened' is durable → upstream → deltas → Releaser → parts → 'ended'

Nothing that fails here lets text out: a scan that raises stops the exchange, an audit that cannot write
refuses it.  The ending is written even when the client is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

import anyio

from guards.base import Arms, Channel, Close, Ruling, ScanError, Stance
from guards.drift import SHARES
from guards.ledger import Account
from guards.passages import OverBudget
from guards.registry import Guard
from guards.releaser import Releaser
from server.api.chat import deltas
from server.api.json_body import json_texts
from server.audit import Audit, AuditError
from server.ending import AUDITED, CHECKED, ending_of
from server.errors import (
    GatewayError,
    GuardUnavailable,
    TooLarge,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from server.exchange import Delta, Exchange, Part, Reason, ToolCall, joined
from server.ledger import Ledger
from server.limits import Limits
from server.masking import cut_out, masked
from server.metrics import Metrics
from server.records import ended, opened
from server.stopping import Stop
from server.tools import ToolCalls
from server.upstream import Answer, Truncated, Upstream

PATH = "/chat/completions"

_SLICE_CHARS = 4096
"""What is scanned of an answer at a time."""


class Around(Protocol):
    """What an exchange needs of the gateway that it runs in."""

    guard: Guard
    """The guard of this moment: an exchange keeps the one that it began with."""
    upstream: Upstream
    audit: Audit
    metrics: Metrics
    key: bytes
    max_held_chars: int
    steering: bool
    ledger: Ledger | None

    @property
    def encoded(self) -> int: ...


class Run:
    """One exchange under way."""

    def __init__(self, gateway: Around, exchange: Exchange) -> None:
        self._gateway = gateway
        self.guard = gateway.guard
        self.exchange = exchange
        exchange.policy_digest = self.guard.policy.digest
        self.stopping = Stop()
        self._closing: asyncio.Task[None] | None = None
        self._answer: Answer | None = None
        self._releaser: Releaser | None = None
        self._opened = False
        self._ended = False
        self._began_s = time.monotonic()
        self._first_byte_s: float | None = None
        self._digest = hmac.new(gateway.key, b"released ", hashlib.sha256)
        self._choices = [_Choice() for _ in range(exchange.question.choices)]
        gateway.metrics.began()

    # -- before the first byte ----------------------------------------------------------------------

    async def prepare(self) -> None:
        gateway, exchange = self._gateway, self.exchange
        guard, question = self.guard, exchange.question
        exchange.arms = arms = await self._read(guard)
        for found in arms.findings:
            gateway.metrics.found(found.scan, found.part)
        exchange.rulings = [Ruling("cut", found.target, found.scan, 0, "request") for found in arms.cut]
        exchange.plan = plan = guard.plan(arms, steering=gateway.steering)
        account = await self._account(arms)
        self._releaser = guard.releaser(
            arms,
            question.choices,
            structured=question.structured,
            # Not a method: the run would be in a cycle with it, and not go by itself.
            seed=partial(_seed, gateway.key, exchange),
            max_held_chars=gateway.max_held_chars,
            account=account,
            passages=question.passages,
        )
        for choice in self._choices:
            choice.limits = Limits(question.stop, question.max_tokens if plan.hold_stop else None)
        with AUDITED:
            opening = gateway.audit.opened(opened(exchange, guard.policy, gateway.key))
        try:
            if plan.local or gateway.audit.failing:
                await self._durable(opening)
            if not plan.local:
                self._answer = await gateway.upstream.open(PATH, self._body(), streaming=question.streaming)
        finally:
            # Until the record is durable nothing leaves, whatever the upstream says meanwhile.
            await self._durable(opening)

    async def _durable(self, opening: asyncio.Future[None]) -> None:
        try:
            with AUDITED:
                await opening
        finally:
            # Also where a cancellation came between the commit and this task's turn.
            self._opened = opening.done() and not opening.cancelled() and opening.exception() is None

    async def _read(self, guard: Guard) -> Arms:
        try:
            return await guard.read(self.exchange.question.passages, self.exchange.key_id)
        except OverBudget as error:
            raise TooLarge("The request holds more text than can be checked.") from error
        except Exception as error:
            # Whatever a scan dies of, the request has not been checked, and what is unchecked goes nowhere.
            self.exchange.reason = "scan"
            raise GuardUnavailable from error

    async def _account(self, arms: Arms) -> Account | None:
        """Return what may still leave of the targets in play; None on exchanges where that is no question."""
        ledger, policy = self._gateway.ledger, self.guard.policy
        of_client = None if ledger is None else ledger.of(self.exchange.key_id, policy.remember_hours)
        with CHECKED:
            account = await self.guard.account(arms, self.exchange.question.passages, of_client)
            if account is not None and ledger is not None and ledger.failing:
                # Nothing is asked of the upstream before the ledger can be written again.
                await account.leaks([])
        return account

    def _body(self) -> dict[str, Any]:
        """Return the request as the upstream gets it: allow-listed fields, steered, limits held here."""
        question, plan = self.exchange.question, self.exchange.plan
        assert plan is not None
        body = dict(question.upstream)
        if self.exchange.arms is not None and self.exchange.arms.cut:
            body = cut_out(body, self.guard.without_triggers)
        if self.exchange.arms is not None and self.exchange.arms.masked:
            body["messages"] = masked(body["messages"], self.exchange.arms.masked)
        if plan.steer is not None:
            body["messages"] = [{"role": "system", "content": plan.steer}, *body["messages"]]
        limit = question.max_tokens
        if plan.hold_stop:
            # No token is longer than a code point is many, so the longest value fits into what is added.
            limit = None if limit is None else limit + self.guard.longest_chars
        if limit is not None:
            body[question.limit_field] = limit
        if question.choices > 1:
            body["n"] = question.choices
        return body

    # -- the answer -----------------------------------------------------------------------------------

    async def parts(self) -> AsyncGenerator[list[Part], None]:
        """Yield what leaves together, in order; every choice ends with one finish reason."""
        try:
            if self._answer is None:
                yield await self._finish_all("stop")
            else:
                async with aclosing(self._events(self._answer)) as steps:
                    async for step in steps:
                        if step:
                            yield step
        except BaseException as error:
            # Whatever ended it, a client that went away included: an exchange has exactly one ending.
            await self.end_with(error)
            raise
        await self.end_with(None)

    async def _events(self, answer: Answer) -> AsyncGenerator[list[Part], None]:
        try:
            async for events in answer:
                steps, wrong = self._steps(events)
                yield await self._take(steps)
                if self._complete():
                    break
                if wrong is not None:
                    raise wrong
        except Truncated:
            # Some servers close the connection in place of `[DONE]`; the answer is whole if every choice is.
            if not all(choice.finish for choice in self._choices):
                raise
        await answer.aclose()
        self._answer = None
        if not self._complete() and not all(choice.finish for choice in self._choices):
            raise UpstreamFailed
        yield await self._finish_all("stop")

    def _steps(self, events: Iterable[dict[str, Any]]) -> tuple[list[Delta], GatewayError | None]:
        """Return the steps of events that arrived together, up to one that is wrong, and what is wrong."""
        question, steps = self.exchange.question, list[Delta]()
        try:
            for event in events:
                taken, usage = deltas(event, question.streaming, question.choices)
                steps += taken
                if usage is not None:
                    self.exchange.billed = usage
        except GatewayError as error:
            return steps, error
        return steps, None

    def _complete(self) -> bool:
        assert self._releaser is not None
        limited = all(choice.limits.reached for choice in self._choices)
        return self._releaser.answered or limited

    async def _take(self, steps: list[Delta]) -> list[Part]:
        with CHECKED:
            assert self._releaser is not None
            parts: list[Part] = []
            for delta in joined(steps):
                choice = self._choices[delta.choice]
                if delta.tool_index is not None:
                    if choice.finish is None:
                        choice.tools.add(delta)
                elif delta.channel is not None:
                    parts += await self._feed(delta.choice, delta.channel, delta.text)
                if delta.finish_reason is not None and choice.finish is None:
                    choice.finish = delta.finish_reason
                    self._releaser.close(delta.choice, self._close(delta.finish_reason))
            if sum(choice.tools.chars for choice in self._choices) > self._gateway.max_held_chars:
                raise ScanError("more tool arguments are held back than max_held_chars allows")
            return parts + await self._settle()

    async def _feed(self, index: int, channel: Channel, text: str) -> list[Part]:
        """Give the Releaser a piece; of a long one, return what may leave before its end."""
        assert self._releaser is not None
        parts: list[Part] = []
        for start in range(0, len(text), _SLICE_CHARS):
            if start:
                parts += await self._settle()
                # Whatever one answer holds, the others go on.
                await asyncio.sleep(0)
            self._releaser.feed(index, channel, text[start : start + _SLICE_CHARS])
        return parts

    def _close(self, finish_reason: str) -> Close:
        return "length" if finish_reason in ("length", "content_filter") else "stop"

    async def _finish_all(self, finish_reason: str) -> list[Part]:
        with CHECKED:
            assert self._releaser is not None
            for index, choice in enumerate(self._choices):
                if choice.finish is None:
                    choice.finish = finish_reason
                    self._releaser.close(index, "cancel")
            return await self._settle()

    async def _settle(self) -> list[Part]:
        assert self._releaser is not None
        parts: list[Part] = []
        for release in await self._releaser.settle():
            parts += await self._let(release.choice, release.channel, release.text)
        for index, choice in enumerate(self._choices):
            if choice.finish is not None and not choice.over and self._releaser.finished(index):
                choice.over = True
                parts += await self._finish(index, choice)
        return parts

    async def _let(self, index: int, channel: Channel, text: str) -> list[Part]:
        choice = self._choices[index]
        if channel is Channel.CONTENT:
            if self.exchange.question.structured and await self._leaks_as_json(index, text):
                return []
            text = choice.limits.feed(text)
        return self._out(index, channel, text)

    async def _leaks_as_json(self, index: int, text: str) -> bool:
        """Whether a structured answer brings a target once its escapes are read and its leaves are joined."""
        assert self._releaser is not None
        found = json_texts(text)
        for texts in ([], []) if found is None else (found[0], [*found[1], *found[0]]):
            joined = " ".join(texts)
            if await self._releaser.leaf(index, joined, counted=True) != joined:
                self._releaser.refuse(index)
                return True
        return False

    def _out(self, index: int, channel: Channel, text: str) -> list[Part]:
        if not text:
            return []
        if self._first_byte_s is None:
            self._first_byte_s = time.monotonic() - self._began_s
        self._choices[index].spoke |= channel is not Channel.REASONING
        self.exchange.released_chars += len(text)
        self._digest.update(text.encode("utf-8", "surrogatepass"))
        return [Part(index, channel, text)]

    async def _finish(self, index: int, choice: _Choice) -> list[Part]:
        """Return what a choice that is over still has to say: tool calls, held text, finish reason."""
        assert self._releaser is not None and choice.finish is not None
        calls: list[ToolCall] = []
        if choice.tools:
            calls = await choice.tools.release(self._releaser, index)
            if not calls and not choice.spoke:
                self._releaser.say(index)
        parts: list[Part] = []
        for release in await self._releaser.settle():
            parts += await self._let(release.choice, release.channel, release.text)
        parts += self._out(index, Channel.CONTENT, choice.limits.close())
        if calls and choice.limits.reached is None:
            for call in calls:
                self._digest.update(f"{call.name}{call.arguments}".encode("utf-8", "surrogatepass"))
                self.exchange.released_chars += len(call.name) + len(call.arguments)
            parts.append(Part(index, tool_calls=calls))
        parts.append(Part(index, finish_reason=self._finish_reason(index, choice, bool(calls))))
        return parts

    def _finish_reason(self, index: int, choice: _Choice, calls: bool) -> str:
        assert self._releaser is not None and choice.finish is not None
        if choice.limits.reached is not None:
            return choice.limits.reached
        whole = self.exchange.arms is not None and self.exchange.arms.stance is Stance.ARMED
        if whole or (choice.finish in ("tool_calls", "function_call") and not calls):
            return "stop"
        return choice.finish

    # -- the ending -----------------------------------------------------------------------------------

    def stop(self, reason: Reason) -> None:
        """Stop the exchange wherever it is: nothing more leaves, and the upstream is closed.

        The client is told when it next takes something in.  Harmless after the ending.
        """
        if self._ended or self.stopping.told:
            return
        self.exchange.reason = reason
        if not self.stopping.tell():
            # The client is taking in the last part, and may do so for as long as it likes.
            self._closing = asyncio.create_task(self.end_with(GuardUnavailable()))

    async def end_with(self, error: BaseException | None) -> None:
        """Write the one ending, whatever happens to the task meanwhile."""
        if self._ended:
            return
        self._ended = True
        exchange, gateway = self.exchange, self._gateway
        if self.stopping.told:
            error = GuardUnavailable()
        if isinstance(error, UpstreamFailed | UpstreamUnreachable | UpstreamTimeout):
            gateway.metrics.upstream_failed(error.kind)
        exchange.ending, exchange.reason = ending_of(error, exchange, self._changed())
        if self._releaser is not None:
            exchange.rulings += self._releaser.rulings
        try:
            if self._answer is not None:
                with anyio.CancelScope(shield=True):
                    await self._answer.aclose()
        finally:
            self._count()
            self._record_end()

    def _record_end(self) -> None:
        if not self._opened:
            return
        try:
            record = ended(self.exchange, self._digest.hexdigest(), time.monotonic() - self._began_s)
            self._gateway.audit.ended(record).add_done_callback(self._recorded)
        except AuditError:
            self._gateway.metrics.audit_failed()

    def _recorded(self, recording: asyncio.Future[None]) -> None:
        # The answer has left already, and the audit keeps the record and writes it with the next one.
        if recording.cancelled() or recording.exception() is not None:
            self._gateway.metrics.audit_failed()

    def _changed(self) -> bool:
        return self._releaser is not None and any(
            self._releaser.changed(index) for index in range(len(self._choices))
        )

    def _count(self) -> None:
        exchange, gateway = self.exchange, self._gateway
        metrics = gateway.metrics
        assert exchange.ending is not None
        metrics.ruled(exchange.rulings)
        metrics.ended(
            exchange.ending,
            streaming=exchange.question.streaming,
            first_byte_s=self._first_byte_s,
            whole_s=time.monotonic() - self._began_s,
        )
        metrics.encoded(gateway.encoded)
        if (drift := self.guard.drift()) is not None:
            metrics.judged(drift[0], dict(zip(SHARES, drift[1:], strict=True)))
        metrics.queued(gateway.audit.queue_length)
        metrics.finished()


def _seed(key: bytes, exchange: Exchange) -> bytes:
    """Return what stands for the question where something is drawn for it."""
    current = [passage.text for passage in exchange.question.passages if passage.current]
    text = exchange.policy_digest + "".join(f"{each}\0" for each in current)
    # Not the one-shot `hmac.digest`, which lets another thread in and waits for its turn again.
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


class _Choice:
    """One choice of the answer under way."""

    def __init__(self) -> None:
        self.tools = ToolCalls()
        self.limits = Limits((), None)
        self.finish: str | None = None
        """The upstream's finish reason, once it came."""
        self.over = False
        self.spoke = False
