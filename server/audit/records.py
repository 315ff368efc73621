"""What is recorded, its canonical bytes, and the hash that chains one record to the next.

The hash of record `i` of a chain is

    SHA-256(label ‖ len(chain) ‖ chain ‖ counter ‖ hash of record i-1 ‖ canonical bytes of record i)

with everything before the record of a fixed length for a given chain, so that no two inputs look alike.  It
is a plain hash and not an HMAC so that whoever holds the public key can check all of it and can forge none of
it: what ties a chain to this installation is the signature over its heads (`server.audit.heads`).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import get_args

import orjson

from guards.base import Action, Ruling, Stance, What
from server.exchange import Ending

Json = str | int | bool | None | list[str] | dict[str, int]

NO_HASH = bytes(32)
"""What the first record of a chain follows."""

_LABEL = b"lethe audit record 1\0"
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_HASH = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_ACTIONS = frozenset(get_args(Action))
_STANCES = frozenset(Stance)
_ENDINGS = frozenset(Ending)
_PLANS = frozenset(get_args(What))
_KINDS = {"started", "opened", "ended", "void", "closed"}


class AuditError(RuntimeError):
    """The audit cannot be written or read now; an exchange that cannot be opened must be refused."""


def _require(holds: bool, field: str) -> None:
    # The value stays out of the message: what does not fit here may be text that must not be kept.
    if not holds:
        raise ValueError(f"audit field {field} does not have the form that it must have")


def _counts(*values: int) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 53 for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An exchange began; durable before the first byte of its answer is released.

    Raises ValueError where a field could be text of the exchange; the message never holds the value.
    """

    exchange_id: str
    """At most 80 letters, digits, `_` or `-`; unique."""
    at: int
    """Microseconds since the epoch, UTC."""
    key_id: str
    """A keyed hash of the client's API key, or a word such as `anyone`."""
    policy_digest: str
    """SHA-256 of the policy, 64 hex digits."""
    model: str
    """Keyed hash of the model's name as the client wrote it, 64 hex digits."""
    streamed: bool
    choices: int
    prompt_chars: int
    """Code points of all passages of the request."""
    stance: Stance
    plan: What
    targets: tuple[str, ...] = ()
    """Keyed hashes of the ids of the targets that the request has anything to do with, 64 hex digits each."""

    def __post_init__(self) -> None:
        """Refuse what is not of its field's closed form."""
        _require(_ID.fullmatch(self.exchange_id) is not None, "exchange_id")
        _require(_ID.fullmatch(self.key_id) is not None, "key_id")
        _require(_HASH.fullmatch(self.policy_digest) is not None, "policy_digest")
        _require(_HASH.fullmatch(self.model) is not None, "model")
        _require(_counts(self.at, self.choices, self.prompt_chars), "at, choices or prompt_chars")
        _require(type(self.streamed) is bool, "streamed")
        _require(self.stance in _STANCES, "stance")
        _require(self.plan in _PLANS, "plan")
        _require(all(_HASH.fullmatch(target) for target in self.targets), "targets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An exchange ended, and this is what was released.

    Raises ValueError where a field could be text of the exchange; the message never holds the value.
    """

    exchange_id: str
    at: int
    """Microseconds since the epoch, UTC."""
    ending: Ending
    released_chars: int
    """Code points that left, over all choices and channels."""
    released: str
    """HMAC-SHA-256 of the released text under the installation's key, 64 hex digits."""
    duration: int
    """Microseconds from the request to its end, by a clock that never goes back."""
    reason: str = ""
    """One word of a closed list, or nothing."""
    rulings: Mapping[str, int] | None = None
    """How many rulings there were, by `action/scan`; see `count_rulings`."""
    prompt_tokens: int | None = None
    """As the upstream billed them; None where it did not say."""
    completion_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is not of its field's closed form."""
        _require(_ID.fullmatch(self.exchange_id) is not None, "exchange_id")
        _require(self.ending in _ENDINGS, "ending")
        _require(self.reason == "" or _WORD.fullmatch(self.reason) is not None, "reason")
        _require(_HASH.fullmatch(self.released) is not None, "released")
        _require(_counts(self.at, self.released_chars, self.duration), "at, released_chars or duration")
        billed = (self.prompt_tokens, self.completion_tokens)
        _require(_counts(*(count for count in billed if count is not None)), "tokens")
        for name, count in (self.rulings or {}).items():
            action, _, scan = name.partition("/")
            _require(action in _ACTIONS and _WORD.fullmatch(scan) is not None and _counts(count), "rulings")


def count_rulings(rulings: Iterable[Ruling]) -> dict[str, int]:
    """Return how many rulings there are by `action/scan`: `{"mark/literal": 2}`."""
    return dict(Counter(f"{ruling.action}/{ruling.scan}" for ruling in rulings))


_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (Opened, Ended)}


def canonical(kind: str, record: Opened | Ended | Mapping[str, Json]) -> bytes:
    """Return the one JSON form of a record: UTF-8, keys sorted, no white space, with its kind and version."""
    assert kind in _KINDS
    if isinstance(record, Opened | Ended):
        values = {name: getattr(record, name) for name in _FIELDS[type(record)]}
    else:
        values = dict(record)
    return orjson.dumps(values | {"kind": kind, "v": 1}, option=orjson.OPT_SORT_KEYS)


def chained(chain: str, counter: int, before: bytes, body: bytes) -> bytes:
    """Return the hash of a record, 32 bytes, given its chain, its counter from 1 and the hash before it."""
    name = chain.encode("utf-8", "surrogateescape")
    where = len(name).to_bytes(4) + name + counter.to_bytes(8)
    return hashlib.sha256(_LABEL + where + before + body).digest()
