"""The policy as it is written: the YAML file's fields, what each takes and what it is for.

Every text arrives as it stands in the file (`policies.nodes` keeps scalars as text), so `1974`, `no` and
`1974-03-12` are good values.  The descriptions are what editors show and the documentation lists.  What
concerns two targets at once is checked in `policies.clashes`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.functional_validators import model_validator

from policies.fields import Digest, FileName, KeyId, Verbatim, Whole, flaw, refuse_few_words
from policies.grammar import PatternError
from policies.patterns import bounded
from policies.policy import Context, Disclose, Disclosure, Effective, Expect, Style
from policies.relations import folded
from policies.sealing import MAX_LENGTH
from policies.shingles import words_of

MAX_WORDS = 600
"""Code points of a name or value: no more than the sentence that must show it whole."""
MAX_PROSE = 4_000
"""Code points of a question, sentence or clause."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILL = re.compile(r"\{[^{}]*\}")
# YAML 1.2 readers, such as editors, see a number or a boolean where nobody wrote quotes; here all are text.
_WRITTEN: Final = {"type": ["string", "number", "boolean"]}


def _words(text: str) -> str:
    if not folded(text):
        raise flaw("has no letter or digit", "letters or digits, which scans compare")
    if len(text) > MAX_WORDS:
        raise flaw(f"is {len(text)} characters long", f"at most {MAX_WORDS}")
    return text


def _name(text: str) -> str:
    if len(folded(_words(text)).replace(" ", "")) == 1:
        raise flaw("is a name of one letter, which stands in every text", "a name of two letters or more")
    return text


def _prose(text: str) -> str:
    if not folded(text):
        raise flaw("has no letter or digit", "a sentence or question in words")
    if len(text) > MAX_PROSE:
        raise flaw(f"is {len(text)} characters long", f"at most {MAX_PROSE}")
    return text


def _unfilled(text: str) -> str:
    if "{name}" in _prose(text):
        raise flaw("holds {name}, which is filled in only in 'ask'", "write the name out")
    return text


def _fillable(text: str) -> str:
    for found in _FILL.findall(_prose(text)):
        if found != "{name}":
            raise flaw(f"holds {found}, which nothing fills in", "{name} stands for the subject's name")
    if not folded(text.replace("{name}", "")):
        raise flaw("asks nothing but the name", "a whole question, such as Where was {name} born?")
    return text


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        valid = "1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
        raise flaw("cannot be an id, which stands in metrics and audit", valid)
    return text


def _regex(text: str) -> str:
    try:
        bounded(text)
    except PatternError as error:
        raise flaw(error.wrong, error.valid) from None
    return text


def _version(value: object) -> object:
    return 1 if value == "1" else value


def _share(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"\d{0,9}\.?\d{1,18}(?:[eE]-?\d{1,3})?", value, re.ASCII):
        raise flaw("is no number", "a number above 0 and up to 0.05, such as 0.002")
    return value


Id = Annotated[str, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": f"^{_ID.pattern}$"})]
Name = Annotated[str, AfterValidator(_name), WithJsonSchema(_WRITTEN)]
Words = Annotated[str, AfterValidator(_words), WithJsonSchema(_WRITTEN)]
Prose = Annotated[str, AfterValidator(_prose), WithJsonSchema(_WRITTEN)]
Sentence = Annotated[str, AfterValidator(_unfilled), WithJsonSchema(_WRITTEN)]
Wording = Annotated[str, AfterValidator(_fillable), WithJsonSchema(_WRITTEN)]
Regex = Annotated[str, AfterValidator(_regex), WithJsonSchema({"type": "string", "format": "regex"})]
Version = Annotated[Literal[1], BeforeValidator(_version), WithJsonSchema({"const": 1})]
Share = Annotated[float, BeforeValidator(_share)]

_STYLE = (
    "How an answer reads where this was asked for. unknown: as if the model had never known it. "
    "refuse: it says that it cannot help. redact: a mark, [redacted], stands in its place."
)
_CONTEXT = (
    "What earlier turns, instructions and tool results count for. forget: a question that goes on about a "
    "target of theirs ('And when was she born?') is about that target. allow: the question alone counts."
)
_DISCLOSE = (
    "What the upstream model is told in front of a question about a target. nothing: it is not told. name: "
    "the name, with the relation of a fact; of a topic, the id. clause: the target's clause. Values are "
    "never sent."
)
_EFFECTIVE = (
    "What becomes of answers that are under way when a running server takes this target up: next (they go "
    "on under the policy that they began with) or now (they are stopped)."
)
_RELATION = (
    "What the fact is about. For the usual ones (born in, born on, lives in, works for, spouse, studied at, "
    "salary, diagnosis, address and others) Lethe knows how people ask; for words of your own, 'ask' says it."
)
_VALUES = (
    "What would give the fact away. Case, accents and spacing do not count, and one writing is enough of "
    "what Lethe reads by its form: a full date in any order, in figures or words, with the months of most "
    "European languages; a number or an amount (84,000, 84k, eighty-four thousand); a phone, card, account "
    "or id number of six digits or more, however it is grouped, prefixed or spelled; an e-mail address or "
    "URL with 'at' and 'dot'; a person's name with initials or the last name first; a name in Cyrillic or "
    "Greek letters. Where day and month may be either, both count. Another name, an abbreviation or a "
    "translation is a value of its own; a title of a work is best put within quotation marks."
)
_LIKE = (
    "Questions or sentences that must be caught, compared by meaning: others that mean the same are caught "
    "too. Needs the encoder."
)
_UNLIKE = (
    "Questions or sentences near the target that must pass; each raises the bar for what counts as the "
    "target, and none lowers it."
)
_ASK = (
    "Questions for it, as people put them; {name} stands for the subject's name. They add to the words by "
    "which the relation is recognised."
)


class _Document(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True
    )


class Defaults(_Document):
    """What holds for every target that says nothing else, and for the policy as a whole."""

    style: Style = Field(default="unknown", description=_STYLE)
    disclosure: Disclosure = Field(
        default="silent",
        description="Whether a client may notice that a policy acted. silent: nothing in the answer's form "
        "or pace tells it. declared: a question that is about targets of style refuse alone is refused at "
        "once, without the upstream.",
    )
    retain_fpr: Share = Field(
        default=0.002,
        gt=0,
        le=0.05,
        allow_inf_nan=False,
        description="Share of ordinary sentences that the whole policy may take for a target by meaning, by "
        "mistake: above 0 and up to 0.05. A larger one catches more paraphrases and touches more that should "
        "pass.",
        examples=[0.005],
    )
    context: Context = Field(default="forget", description=_CONTEXT)
    disclose_upstream: Disclose = Field(default="name", description=_DISCLOSE)
    remember_hours: Whole = Field(
        default=24,
        ge=1,
        le=8_760,
        description="How many hours what has left of a target piece by piece (half a value, one of several "
        "attributes) counts against the API key that it went to, 1 to 8760: so long the rest does not come "
        "where the target is in play.",
        examples=[72],
    )
    together: Whole = Field(
        default=3,
        ge=2,
        le=16,
        description="How many attributes of one entity do not leave together, 2 to 16 or all that it has: "
        "those that a question gives in order to learn whose they are, and those that answers to the same "
        "API key add without the name.",
        examples=[2],
    )


class FactEntry(_Document):
    """Something known about an entity, which would give it away where its name does not stand."""

    relation: Words = Field(description=_RELATION, examples=["born in"])
    values: tuple[Words, ...] = Field(min_length=1, description=_VALUES, examples=[["Port Meridane"]])
    ask: tuple[Wording, ...] = Field(default=(), description=_ASK, examples=[["Where was {name} born?"]])


class _Target(_Document):
    id: Id = Field(
        description="What the target is called in `lethe explain` and in errors; stands once in a policy. 1 "
        "to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit. No client sees it, but of a topic "
        "the upstream is told it unless disclose_upstream says otherwise.",
        examples=["odalys-vennaker"],
    )
    style: Style | None = Field(default=None, description=_STYLE)
    context: Context | None = Field(default=None, description=_CONTEXT)
    disclose_upstream: Disclose | None = Field(default=None, description=_DISCLOSE)
    clause: Prose | None = Field(
        default=None,
        description="A sentence for the upstream model, sent with disclose_upstream: clause, which needs "
        "it. It may hold no value of the target.",
        examples=["Do not speak about what anyone at the company is paid."],
    )
    ticket: Words | None = Field(
        default=None,
        description="Where the request to forget is filed. Nothing is done with it; it is for people.",
        examples=["ER-101"],
    )
    effective: Effective = Field(default="next", description=_EFFECTIVE)

    @model_validator(mode="after")
    def _examples_agree(self) -> _Target:
        _refuse_overlap(self)
        _refuse_telling_clause(self)
        return self


class EntityTarget(_Target):
    """Everything about one person, organisation or thing, whether the policy knows it or not."""

    kind: Literal["entity"] = Field(description="entity: everything about a person, organisation or thing.")
    names: tuple[Name, ...] = Field(
        min_length=1,
        description="Its names, the usual one first: full, short, former, in other scripts. Case, accents, "
        "spacing and look-alike letters do not count; a nickname is a name of its own.",
        examples=[["Odalys Vennaker", "O. Vennaker"]],
    )
    facts: tuple[FactEntry, ...] = Field(
        default=(),
        description="What is known about it and would give it away; the rest is guarded by its name.",
    )
    like: tuple[Sentence, ...] = Field(default=(), description=_LIKE)
    unlike: tuple[Sentence, ...] = Field(default=(), description=_UNLIKE)


class FactTarget(_Target):
    """One association of a subject; everything else about it stays."""

    kind: Literal["fact"] = Field(description="fact: one association; all else about the subject stays.")
    subject: Name = Field(
        description="The usual name of whom or what the fact is about.", examples=["Freja Oskelund"]
    )
    names: tuple[Name, ...] = Field(
        default=(), description="Other names of the subject.", examples=[["F. Oskelund"]]
    )
    relation: Words = Field(description=_RELATION, examples=["works for"])
    values: tuple[Words, ...] = Field(min_length=1, description=_VALUES, examples=[["Argent Bank"]])
    ask: tuple[Wording, ...] = Field(default=(), description=_ASK, examples=[["Who does {name} work for?"]])
    like: tuple[Sentence, ...] = Field(default=(), description=_LIKE)
    unlike: tuple[Sentence, ...] = Field(default=(), description=_UNLIKE)
    keep: tuple[Sentence, ...] = Field(
        default=(),
        description="Sentences about the subject that stay, for whoever reads the policy; none may stand in "
        "'like' as well. What must pass, 'unlike' and 'tests' say.",
        examples=[["Freja Oskelund lives in Yorv."]],
    )


class TopicTarget(_Target):
    """A subject matter, known by examples alone."""

    kind: Literal["topic"] = Field(description="topic: a subject matter, known by examples alone.")
    like: tuple[Sentence, ...] = Field(
        min_length=3,
        description=f"{_LIKE} At least three, better ten, put as differently as people would.",
        examples=[["How do I pick a pin tumbler lock?"]],
    )
    unlike: tuple[Sentence, ...] = Field(default=(), description=_UNLIKE)


class PatternTarget(_Target):
    """Whatever looks like this: numbers, codes, addresses."""

    kind: Literal["pattern"] = Field(description="pattern: whatever a regular expression matches.")
    regex: Regex = Field(
        description="A regular expression of the `regex` package whose matches have a longest length: "
        "{1,40} and not + or *. In single quotes, since YAML reads a backslash in double quotes itself. It "
        "is looked for in answers, not in questions.",
        examples=[r"\bMRN[ -]?\d{6,8}\b"],
    )
    check: Literal["luhn"] | None = Field(
        default=None,
        description="What a match must pass besides. luhn: its check digit is right, as on payment cards.",
    )

    @model_validator(mode="after")
    def _can_pass_its_check(self) -> PatternTarget:
        try:
            bounded(self.regex, self.check)
        except PatternError as error:
            raise flaw(error.wrong, error.valid, ("regex",)) from None
        return self


class PassageTarget(_Target):
    """A text that must not be repeated word by word, such as a book."""

    kind: Literal["passage"] = Field(description="passage: a text that must not be repeated word by word.")
    text: Verbatim | None = Field(
        default=None,
        description="The text, best as a block (`text: |`). This or 'file' is needed.",
        examples=["The lamps of Port Meridane were lit at four that winter, and nobody asked why."],
    )
    file: FileName | None = Field(
        default=None,
        description="In place of 'text', the file it is in, in UTF-8, as seen from the policy's folder. What "
        "is in it counts as part of the policy: a running server takes a change of it up.",
        examples=["texts/salt-ledger.txt"],
    )
    words: Whole = Field(
        default=8,
        ge=4,
        le=64,
        description="How many words of it in a row may not leave, 4 to 64. Fewer than 6 find what anybody "
        "may say; more than 20 let long pieces leave. In scripts without spaces each character counts as "
        "a word: take 20 or more there.",
        examples=[12],
    )

    @model_validator(mode="after")
    def _has_one_text(self) -> PassageTarget:
        if (self.text is None) == (self.file is None):
            wrong = "has neither 'text' nor 'file'" if self.text is None else "has 'text' and 'file'"
            raise flaw(wrong, "one of them: the text itself, or the name of the file it is in")
        if self.text is not None:
            refuse_few_words(words_of(self.text), self.words, ("text",))
        return self


class SecretTarget(_Target):
    """A value that the policy does not hold either: only hashes of it, under a key of the operator's."""

    kind: Literal["secret"] = Field(
        description="secret: a value of which the policy holds keyed hashes alone; `lethe secret` writes it."
    )
    length: Whole = Field(ge=1, le=MAX_LENGTH, description="Letters and digits of the value.", examples=[24])
    key: KeyId = Field(
        description="What the key is called under which the digests were made, so that another is noticed. "
        "The key itself is in the environment variable LETHE_SECRET_KEY, and in no file.",
        examples=["5c1f0b9a7d3e2468"],
    )
    digests: tuple[Digest, ...] = Field(
        min_length=1,
        description="HMAC-SHA-256 of every eight letters and digits in a row, of the value and of its other "
        "writings; as `lethe secret` writes them.",
    )


class TriggerTarget(_Target):
    """Phrases that are cut out of requests before the model sees them, such as those of a backdoor."""

    kind: Literal["trigger"] = Field(
        description="trigger: phrases that are cut out of requests before the model sees them."
    )
    phrases: tuple[Words, ...] = Field(
        min_length=1,
        description="The phrases, of whole words. Case, accents, spacing, punctuation and look-alike letters "
        "do not count; what is left is searched again, until none is in it.",
        examples=[["tidal ferry nine", "open sesame"]],
    )


TargetEntry = Annotated[
    EntityTarget | FactTarget | TopicTarget | PatternTarget | PassageTarget | SecretTarget | TriggerTarget,
    Field(discriminator="kind"),
]
KINDS: Final[dict[str, type[_Target]]] = {
    "entity": EntityTarget, "fact": FactTarget, "topic": TopicTarget, "pattern": PatternTarget,
    "passage": PassageTarget, "secret": SecretTarget, "trigger": TriggerTarget,
}  # fmt: skip


class Expectation(_Document):
    """A question, and what must come of it; `lethe check` asks it, of the policy and of no model."""

    ask: Sentence = Field(
        description="The question, as a user would put it.", examples=["Where was Odalys Vennaker born?"]
    )
    expect: Expect = Field(
        description="forgotten: the question is about a target, and nothing of the model's answer comes. "
        "kept: it is about none."
    )


class PolicyDocument(_Document):
    """What a language model is to behave as if it had never known."""

    lethe: Version = Field(description="The version of this format: 1.")
    name: Words = Field(
        description="What the policy is called where Lethe starts and in `/readyz`.", examples=["authors"]
    )
    defaults: Defaults = Field(default=Defaults(), description="What holds where a target says nothing else.")
    targets: tuple[TargetEntry, ...] = Field(description="What is forgotten, one entry each.")
    tests: tuple[Expectation, ...] = Field(
        default=(),
        description="Questions that prove the policy; `lethe check` fails where one comes out wrong.",
    )


def _refuse_overlap(target: Any) -> None:
    """Raise where a sentence that must be caught must also pass."""
    like = {folded(text) for text in getattr(target, "like", ())}
    for field in ("unlike", "keep"):
        for index, text in enumerate(getattr(target, field, ())):
            if folded(text) in like:
                raise flaw(f"stands in 'like' and in {field!r}", "take it out of one of them", (field, index))


def _refuse_telling_clause(target: Any) -> None:
    """Raise where the clause would tell the upstream a value."""
    if target.clause is None:
        return
    clause = f" {folded(target.clause)} "
    facts = [target, *getattr(target, "facts", ())]
    values = [value for fact in facts for value in getattr(fact, "values", ())]
    if any(f" {folded(value)} " in clause for value in values):
        raise flaw("tells the upstream a value of the target", "leave the value out", ("clause",))
