"""What the audit learns of an exchange: lengths, counts and keyed hashes, never a text."""

from __future__ import annotations

import hashlib
import hmac

from guards.base import Stance
from policies.policy import Policy
from server.audit import Ended, Opened, count_rulings
from server.exchange import Exchange


def opened(exchange: Exchange, policy: Policy, key: bytes) -> Opened:
    """Return the record of an exchange that begins.  `key` keys the hashes of names."""
    arms, plan, question = exchange.arms, exchange.plan, exchange.question
    targets = sorted(arms.targets) if arms is not None else []
    return Opened(
        exchange_id=exchange.id,
        at=_micros(exchange.opened_at),
        key_id=exchange.key_id,
        policy_digest=exchange.policy_digest,
        model=_hash(key, "model", question.model),
        streamed=question.streaming,
        choices=question.choices,
        prompt_chars=sum(len(passage.text) for passage in question.passages),
        stance=arms.stance if arms is not None else Stance.CLEAR,
        plan="pass" if plan is None else "local" if plan.local else "steer" if plan.steer else "pass",
        targets=tuple(_hash(key, "target", policy.targets[index].id) for index in targets),
    )


def ended(exchange: Exchange, released: str, whole_s: float) -> Ended:
    """Return the record of an exchange that ended.  `released` is the keyed hash of what left."""
    assert exchange.ending is not None
    billed = exchange.billed
    return Ended(
        exchange_id=exchange.id,
        at=_micros(exchange.opened_at + whole_s),
        ending=exchange.ending,
        released_chars=exchange.released_chars,
        released=released,
        duration=_micros(whole_s),
        reason=exchange.reason,
        rulings=count_rulings(exchange.rulings),
        prompt_tokens=billed.prompt_tokens if billed else None,
        completion_tokens=billed.completion_tokens if billed else None,
    )


def _hash(key: bytes, label: str, text: str) -> str:
    return hmac.new(key, f"{label} {text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
