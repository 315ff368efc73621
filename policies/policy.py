"""The compiled policy: what runs, as `policies.document` is what is written.

Everything here is immutable and plain data, so that one object is shared by every exchange that began
under it.  Automata, vectors and thresholds are made from it by `guards.registry`; nothing here imports a
model, a network or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from policies.shingles import Shingles
from policies.slots import quickly_pickled
from policies.values import strength

_OF_WORKS = frozenset({"novel", "book", "album", "film", "wrote"})
"""Cues of relations whose values are titles of works."""

Kind = Literal["entity", "fact", "topic", "pattern", "passage", "secret", "trigger"]
Style = Literal["unknown", "refuse", "redact"]
Disclosure = Literal["silent", "declared"]
Context = Literal["forget", "allow"]
Disclose = Literal["nothing", "name", "clause"]
Expect = Literal["forgotten", "kept"]
Effective = Literal["next", "now"]

BY_SPAN: frozenset[Kind] = frozenset(("pattern", "passage", "secret"))
"""Kinds that are found by what stands in an answer, whatever was asked."""
STRICTNESS: tuple[Style, ...] = ("refuse", "unknown", "redact")
"""Styles from the strictest to the mildest: where spans overlap, the first of them rules."""


@dataclass(frozen=True, slots=True)
class Relation:
    """How a relation is talked about, in words that `policies.text.fold` has been applied to."""

    name: str
    """As the operator wrote it: 'born in'."""
    cues: tuple[str, ...]
    """Folded words or phrases of which one in a text says that the relation is meant."""
    unless: tuple[str, ...] = ()
    """Folded words that, in the same sentence, say that a sibling relation is meant instead."""
    despite: tuple[str, ...] = ()
    """Folded words that void `unless` where they stand in the same sentence: 'when and where was she born?'
    asks for the place too."""
    nouns: tuple[str, ...] = ()
    """Folded nouns for what the subject is to the value: of a spouse 'wife', of a child 'mother'."""
    joins: tuple[str, ...] = ()
    """Folded phrases that stand before the value and say the same: 'married to'."""


@quickly_pickled
@dataclass(frozen=True, slots=True)
class Fact:
    """One association of a target's subject: relation and values."""

    relation: Relation
    values: tuple[str, ...]
    """As written; any of them completes the fact."""
    ask: tuple[str, ...] = ()
    """Questions for it, `{name}` already filled in with the subject's first name form."""

    @property
    def of_works(self) -> bool:
        """Whether its values are titles of works."""
        return not _OF_WORKS.isdisjoint(self.relation.cues)

    @property
    def strong(self) -> tuple[bool, ...]:
        """Whether each of the values is nobody else's, and gives its subject away without a name."""
        titled = self.of_works
        return tuple(strength(value, titled=titled) == "strong" for value in self.values)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regex whose width is bounded, and an optional check that a match must pass."""

    regex: str
    flags: int
    max_width: int
    """Longest match in code points, with what a lookahead sees behind it; a border sees one more."""
    left_context: int
    """Code points of lookbehind that must stay in view before a match."""
    check: Literal["luhn"] | None = None


@dataclass(frozen=True, slots=True)
class Quoted:
    """A text of which no `words` words in a row may leave; its words are in no policy, only their hashes."""

    words: int
    digest: str
    """Keyed hash of the whole text, by which a changed one is known, hex."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value of which only keyed hashes are known (`policies.sealing`)."""

    length: int
    """Letters and digits of the value."""
    digests: tuple[str, ...] = field(repr=False)


@quickly_pickled
@dataclass(frozen=True, slots=True)
class Target:
    """What is forgotten."""

    id: str
    kind: Kind
    style: Style
    context: Context
    disclose_upstream: Disclose
    names: tuple[str, ...] = ()
    """The subject's names and aliases (entity), or the fact's subject with its aliases."""
    facts: tuple[Fact, ...] = ()
    """An entity's known facts; a fact target has exactly one."""
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    pattern: Pattern | None = None
    quoted: Quoted | None = None
    sealed: Sealed | None = None
    phrases: tuple[str, ...] = ()
    """What is cut out of requests (trigger), as written."""
    clause: str | None = None
    """The operator's own confidentiality clause, sent upstream only with `disclose_upstream: clause`."""
    ticket: str | None = None
    effective: Effective = "next"
    """now: exchanges under way that began under a policy without this target are stopped when it comes."""


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """A question of the policy's own `tests`, and what must come of it."""

    ask: str
    expect: Expect
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """An immutable set of targets with its own identity."""

    name: str
    digest: str
    """SHA-256 of the policy file's bytes, hex."""
    targets: tuple[Target, ...]
    retain_fpr: float = 0.002
    """Share of retain sentences that may be touched, over all targets together, in (0, 1)."""
    disclosure: Disclosure = "silent"
    remember_hours: int = 24
    """How long it counts against a client what of a target has left to it, piece by piece."""
    together: int = 3
    """Attributes of one target that a question and answers to one client may not bring together."""
    tests: tuple[PolicyTest, ...] = field(default=())
    shingles: tuple[Shingles, ...] = field(default=(), repr=False)
    """Of the texts of all targets that have one: a table for each length."""
    uses_meaning: bool = field(init=False)
    """Whether any target is looked for by meaning, so that an encoder is needed."""
    by_sentence: bool = field(init=False)
    """Whether answers leave sentence by sentence: unless all that is forgotten are spans to redact."""

    def __post_init__(self) -> None:
        """Work out once what every exchange asks, whatever the number of targets."""
        redacted = [
            target.kind in BY_SPAN and target.style == "redact"
            for target in self.targets
            if target.kind != "trigger"
        ]
        object.__setattr__(self, "uses_meaning", any(target.like for target in self.targets))
        object.__setattr__(self, "by_sentence", not all(redacted))
