"""The one calling convention of the guards, which everything else here imports.

A scan is fed text and answers with findings and a frontier; it never edits.  Offsets are code points of the
text that the scan was fed since it was opened, spans are half-open.  What is done about a finding is a
ruling, and only the Releaser makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol, get_args

if TYPE_CHECKING:
    from guards.cipher import Cipher

Close = Literal["stop", "length", "cancel"]
"""Why a channel ended: the upstream was done, its answer was cut, or the exchange is over."""


ScanName = Literal[
    "literal",
    "numeral",
    "digits",
    "misspelt",
    "codec",
    "pattern",
    "passage",
    "secret",
    "meaning",
    "trigger",
    "fact",
    "ledger",
]
"""Every scan by which something is found or withheld; `fact` and `ledger` are rules over what scans found."""
SCAN_NAMES: frozenset[str] = frozenset(get_args(ScanName))


class Part(StrEnum):
    """Which part of a target was found."""

    NAME = "name"
    NAME_PART = "name part"
    """A word of a name, by itself: it may be anybody's."""
    MISSPELT = "misspelt name"
    """A name that is not written as it should be."""
    DESCRIBED = "described"
    """Somebody whom a text tells by another person: 'the wife of …'."""
    VALUE = "value"
    VALUE_PART = "value part"
    """A value within another thing's name or a longer number, in a request: it may be no value of the
    target."""
    PATTERN = "pattern"
    PASSAGE = "passage"
    """Words of a text that must not be repeated."""
    SECRET = "secret"  # noqa: S105  (a part of a target, no password)
    """Letters and digits of a value of which only hashes are known."""
    TRIGGER = "trigger"
    """A phrase that was cut out of a request."""
    MEANING = "meaning"
    PREFIX = "prefix"
    """The beginning of some literal, where an answer was cut short; `target` is -1."""


class Channel(StrEnum):
    """A text-bearing channel of an answer, in the order in which channels are committed."""

    REASONING = "reasoning"
    CONTENT = "content"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a target was seen: the outermost original span, what was seen there, and how it was reached."""

    target: int
    """Index into `Policy.targets`; -1 for a prefix, which may be of any."""
    scan: str
    part: Part
    start: int
    end: int
    fact: int | None = None
    """Index into the target's facts, for values."""
    score: float | None = None
    threshold: float | None = None
    via: tuple[str, ...] = ()
    value: int | None = None
    """Index into the fact's values."""
    strong: bool = False
    """Whether it is a value that is nobody else's, so that it puts its subject in play by itself."""

    def within(self, path: str) -> Finding:
        """Return this finding as one of the passage at `path`."""
        via = (path, *self.via)
        return Finding(
            self.target,
            self.scan,
            self.part,
            self.start,
            self.end,
            fact=self.fact,
            score=self.score,
            threshold=self.threshold,
            via=via,
            value=self.value,
            strong=self.strong,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """What a scan says after more text: what it found since last time, and how far it has made up its mind.

    Text before `safe_to` can no longer become part of a finding that was not reported yet.
    """

    findings: Sequence[Finding]
    safe_to: int


class Scan(Protocol):
    """The running state of one scan over one channel of one choice; its compiled form is shared."""

    def feed(self, text: str) -> Progress:
        """Take the next piece of the text.  Synchronous; bounded work per character."""
        ...

    def close(self, reason: Close, last: str = "") -> Progress:
        """Take the last piece, and look once where `feed` and `close` would look twice.

        `safe_to` is then the length of all text.
        """
        ...


class Compiled(Protocol):
    """The compiled form of a scan: immutable, shared by every exchange under a policy."""

    def open(self) -> Scan:
        """Return the running state for one channel of one choice."""
        ...

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        ...


class ScanError(Exception):
    """A scan could not finish its work; the exchange must stop, since unchecked text never leaves."""


class EncoderUnavailable(ScanError):
    """The encoder is down, slow or overloaded; the policy cannot be enforced by meaning."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One text of a request, with the JSON path it came from."""

    path: str
    """Such as `messages[2].content`; for people and the audit, never parsed."""
    role: str
    """The message's role, or the field's name for a text outside the messages."""
    text: str
    current: bool
    """Whether it belongs to the question at hand: everything behind the last answer, and the request's
    own fields.  Other passages are history and instructions: they put subjects in play."""


class Stance(StrEnum):
    """How an answer is treated, from the mildest to the strictest."""

    CLEAR = "clear"
    """Nothing was found in the request: an answer leaks only what it completes by itself."""
    WATCHED = "watched"
    """Subjects are in play (named earlier, or a fact's subject): a value of theirs is a leak on its own."""
    REVERSED = "reversed"
    """The question gave value and relation: the name is what must not come, in whole or in part."""
    ARMED = "armed"
    """The question is about a target: nothing of the upstream's answer leaves."""


@dataclass(frozen=True, slots=True)
class Arms:
    """What a request armed: the findings that did it, by target, and the strictest stance that follows."""

    stance: Stance
    findings: tuple[Finding, ...] = ()
    """All findings of the request; offsets are into the passage named in `via[0]`."""
    armed: frozenset[int] = frozenset()
    """Targets that the question itself is about (ARMED)."""
    reversed: frozenset[int] = frozenset()
    watched: frozenset[int] = frozenset()
    """Targets whose subject is in play."""
    named: frozenset[int] = frozenset()
    """Targets that the request names in full, or describes."""
    by_value: frozenset[int] = frozenset()
    """Of those watched, the targets that nothing but a strong value put in play: nobody named them."""
    values: frozenset[tuple[int, int]] = frozenset()
    """(target, fact) whose value the request brought."""
    brought: frozenset[tuple[int, int | None, int | None]] = frozenset()
    """(target, fact, value) that the client brought and that may come back, unless the answer names their
    target: of the targets in `by_value`, and of entities that only earlier turns named."""
    masked: Mapping[str, str] = field(default_factory=dict)
    """History that the upstream gets without its sentences about a target: passage path to what is left.
    What it does not know of, no later turn can have it tell."""
    ciphers: tuple[Cipher, ...] = ()
    """Ciphers that the request defines itself: the answer is read in them, whole."""

    @property
    def cut(self) -> tuple[Finding, ...]:
        """The phrases that the upstream does not get, wherever in the request they stand."""
        return tuple(found for found in self.findings if found.part is Part.TRIGGER)

    @property
    def targets(self) -> frozenset[int]:
        """Every target that the request has anything to do with."""
        return self.armed | self.reversed | self.watched


What = Literal["pass", "steer", "local"]
"""What a prompt gets on account of one target."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a prompt gets: an instruction in front, or an answer without an upstream call."""

    steer: str | None = None
    """Text of the system message to put in front, or None."""
    local: bool = False
    """Whether to answer without the upstream: only where nothing else is asked and silence is not wanted."""
    hold_stop: bool = False
    """Whether stop sequences stay here and `max_tokens` is raised upstream."""
    per_target: dict[int, What] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Release:
    """Text that goes out on one channel of one choice."""

    choice: int
    channel: Channel
    text: str


Action = Literal["mark", "drop sentence", "answer", "cut"]
"""What was done: spans replaced by marks, a sentence or call left out, the whole answered in the style's own
words, or a phrase cut out of the request."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of one span, for the audit and for people: never the text itself."""

    action: Action
    target: int
    scan: str
    choice: int
    channel: str
