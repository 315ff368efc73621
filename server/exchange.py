"""One exchange: one request with its answer, as every endpoint hands it to the pipeline.

An endpoint translates its own JSON into a `Question` (texts as passages, upstream fields already
allow-listed) and answers deltas into its own JSON.  Nothing here knows an endpoint, and nothing in
`guards` knows this.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any, Literal, NamedTuple

from guards.base import Arms, Channel, Passage, Plan, Ruling
from server.errors import Code
from server.ids import fresh_id


class Ending(StrEnum):
    """How an exchange ended; each has exactly one."""

    COMPLETED = "completed"
    """The upstream's answer went out as it was."""
    ANSWERED = "answered"
    """Lethe answered, in whole or in part, in the policy's style."""
    STOPPED = "stopped"
    """A guard failed or overran, or a policy came that stops what is under way: the answer was cut."""
    FAILED = "failed"
    """The request or the upstream failed."""
    ABORTED = "aborted"
    """The client went away, or the server is shutting down."""


Reason = Literal["", "ruled", "scan", "guard", "ledger", "policy", "gone", "error"]
"""What an ending came of: nothing, a ruling, a scan of the request, any other guard, the ledger, a policy,
the client's going, or what was not foreseen.  Where an error ended the exchange, its code is the reason."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request in the pipeline's words."""

    model: str
    passages: tuple[Passage, ...]
    upstream: Mapping[str, Any]
    """Body for the upstream with allow-listed fields only, without `stream`, `stop` and token limits."""
    streaming: bool
    choices: int
    stop: tuple[str, ...]
    max_tokens: int | None
    limit_field: str
    """Name of the field that the client set the limit by: `max_tokens` or `max_completion_tokens`."""
    structured: bool
    """Whether the client asked for JSON (`response_format`), so that prose would break it."""
    include_usage: bool


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One whole tool call of an answer; `arguments` is the upstream's own text."""

    id: str
    name: str
    arguments: str


class Delta(NamedTuple):
    """One step of the upstream's answer for one choice, out of its JSON."""

    choice: int
    channel: Channel | None = None
    text: str = ""
    tool_index: int | None = None
    tool_id: str | None = None
    tool_name: str | None = None
    tool_arguments: str = ""
    finish_reason: str | None = None


def joined(steps: Iterable[Delta]) -> Iterator[Delta]:
    """Yield the steps with the texts of each channel's run of them joined: one look does for all."""
    for (choice, channel), run in groupby(steps, key=lambda delta: (delta.choice, delta.channel)):
        if channel is None:
            yield from run
        else:
            yield Delta(choice, channel, "".join(delta.text for delta in run))


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Part:
    """One step of the released answer for one choice; the endpoint turns it into its own JSON."""

    choice: int
    channel: Channel | None = None
    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str | None = None


@dataclass(slots=True)
class Exchange:
    """The record of one exchange, written by the pipeline alone."""

    question: Question
    policy_digest: str
    key_id: str
    """A keyed hash of the client's API key, never the key."""
    id: str = field(default_factory=lambda: fresh_id("chatcmpl-"))
    request_id: str = field(default_factory=lambda: fresh_id("req-"))
    opened_at: float = field(default_factory=time.time)
    arms: Arms | None = None
    plan: Plan | None = None
    rulings: list[Ruling] = field(default_factory=list)
    released_chars: int = 0
    billed: Usage | None = None
    """What the upstream billed, for the audit; clients see what they sent and what was released."""
    ending: Ending | None = None
    reason: Reason | Code = ""
    """What the ending came of: never text of the request, the answer or an error."""
