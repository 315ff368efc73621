"""What a request is about: findings in its passages become arms, and arms become a plan.

A fact leaks when question and answer together complete it, so the parts that the question gives decide
what the answer must not bring (docs/design.md, 'Completion').  A target is

* armed where the question is about it: a name of an entity; subject and relation, or subject and value, of
  a fact; a meaning; or what an earlier turn was about, where this one goes on about it;
* reversed where the question gives value and relation and seeks a person: the name must not come;
* watched where its subject is merely in play: a value of it in the answer is a leak on its own.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from guards.base import Arms, Finding, Part, Passage, ScanError, Stance
from guards.literal import Literals, name_parts, value_words
from policies.policy import Fact, Policy, Relation, Target
from policies.relations import Entry, Lexicon
from policies.text import fold, sentences

if TYPE_CHECKING:
    from guards.meaning import Meaning

MAX_MEANING_TEXTS = 400
"""Sentences of one request that are encoded at most; a longer request is refused, never left unchecked."""

_STRICTEST_FIRST = (Stance.ARMED, Stance.REVERSED, Stance.WATCHED)
_CAPITALISED = re.compile(r"(?<=[\w,;:] )[A-ZÀ-ÖØ-Þ][\w'’-]+")
_IMPERSONAL = frozenset("it its this that these those they them their theirs one ones there same".split())
"""Words that stand for things as often as for a person: they alone do not carry a person forward."""
_TITLES = frozenset("mr mrs ms miss dr prof professor sir lady lord madam doctor".split())
_MAX_SCATTERED = 200
"""Words of a request within which all words of a name, wherever they stand, count as the name."""
_INLINE_CHARS = 20_000
"""Longer requests are read on a thread, so that the event loop goes on."""
_MIN_PART = 4
"""Shorter words of names ('Lee', 'Ana', 'von') are found in full names only."""


class OverBudget(ScanError):
    """The request holds more text than may be checked; it is refused, never passed on unchecked."""


def says(folded: str, phrases: Iterable[str]) -> bool:
    """Whether a folded text holds one of the folded phrases as whole words."""
    return any(f" {phrase} " in folded for phrase in phrases)


@dataclass(slots=True)
class _Parts:
    """Which parts of which targets a set of passages gives."""

    names: set[int] = field(default_factory=set)
    values: set[tuple[int, int]] = field(default_factory=set)
    meanings: set[int] = field(default_factory=set)
    parts: set[int] = field(default_factory=set)

    def add(self, finding: Finding) -> None:
        if finding.part is Part.NAME:
            self.names.add(finding.target)
        elif finding.part is Part.NAME_PART:
            self.parts.add(finding.target)
        elif finding.part is Part.VALUE and finding.fact is not None:
            self.values.add((finding.target, finding.fact))
        elif finding.part is Part.MEANING:
            self.meanings.add(finding.target)

    @property
    def targets(self) -> set[int]:
        return self.names | self.parts | self.meanings | {target for target, _ in self.values}


class Reader:
    """Reads requests under one policy.  Compiled once; holds no state of a request."""

    def __init__(self, policy: Policy, literals: Literals, meaning: Meaning | None, words: Lexicon) -> None:
        self._policy = policy
        self._literals = literals
        self._meaning = meaning
        self._words = words
        self._parts: dict[str, set[int]] = {}
        for index, target in enumerate(policy.targets):
            for word in name_parts(target):
                if len(word) >= _MIN_PART and word not in words.stop_words:
                    self._parts.setdefault(word, set()).add(index)
        self._siblings = _Cues(words.relations)

    async def read(self, passages: Sequence[Passage]) -> Arms:
        """Return what the passages arm.  Raises `ScanError` where that cannot be found out."""
        meant = await self._by_meaning(passages) if self._meaning is not None else []
        if sum(len(passage.text) for passage in passages) <= _INLINE_CHARS:
            return self._read(passages, meant)
        return await asyncio.to_thread(self._read, passages, meant)

    def _read(self, passages: Sequence[Passage], meant: list[Finding]) -> Arms:
        findings = [found for passage in passages for found in self._literal(passage)]
        findings += self._across(passages)
        named = {found.target for found in findings if found.part is Part.NAME}
        findings += [found for found in self._scattered(passages) if found.target not in named]
        findings += meant
        question, history = _Parts(), _Parts()
        current = {passage.path for passage in passages if passage.current}
        for found in findings:
            (question if found.via[0] in current else history).add(found)
        text = "\n".join(passage.text for passage in passages if passage.current)
        turn = _Turn(text, self._siblings)
        arms = self._arm(turn, question, history, tuple(findings))
        return replace(arms, masked=self._mask(passages, arms)) if arms.watched else arms

    def _literal(self, passage: Passage) -> list[Finding]:
        found = [replace(each, via=(passage.path, *each.via)) for each in self._literals.find(passage.text)]
        return [*found, *self._name_parts(passage)] if self._parts else found

    def _across(self, passages: Sequence[Passage]) -> list[Finding]:
        """Find what begins in one of the user's messages and ends in another; it counts where it ends."""
        said = [passage for passage in passages if passage.role == "user"]
        if len(said) < 2:
            return []
        ends = list(accumulate(len(passage.text) + 1 for passage in said))
        found = self._literals.find("\n".join(passage.text for passage in said))
        places = [(each, bisect_right(ends, each.start), bisect_right(ends, each.end - 1)) for each in found]
        return [
            replace(each, start=0, end=each.end - ends[last - 1], via=(said[last].path, "messages joined"))
            for each, first, last in places
            if first < last
        ]

    def _name_parts(self, passage: Passage) -> list[Finding]:
        """Find words of names in runs of capitalised words that hold no other name's."""
        found: list[Finding] = []
        for run in _runs(passage.text):
            words = {word for word, _ in run} - self._words.stop_words - _TITLES
            targets = {target for word in words for target in self._parts.get(word, ())}
            own = {target for target in targets if name_parts(self._policy.targets[target]) >= words}
            found += [
                Finding(target, "literal", Part.NAME_PART, *span, via=(passage.path,))
                for word, span in run
                for target in sorted(self._parts.get(word, set()) & own)
            ]
        return found

    def _scattered(self, passages: Sequence[Passage]) -> list[Finding]:
        """Find names whose words all stand in a short request, in any order, some of them in the question."""
        asked = [
            (passage.path, set(fold(passage.text).text.split())) for passage in passages if passage.current
        ]
        words = {word for passage in passages for word in fold(passage.text).text.split()}
        if len(words) > _MAX_SCATTERED:
            return []
        return [
            Finding(index, "literal", Part.NAME, 0, 0, via=(path, "words apart"))
            for path, here in asked
            for index in sorted({target for word in here for target in self._parts.get(word, ())})
            if any(self._is_named_by(words, name) for name in self._policy.targets[index].names)
        ]

    def _is_named_by(self, words: set[str], name: str) -> bool:
        own = fold(name).text.split()
        return len(own) > 1 and words.issuperset(own)

    async def _by_meaning(self, passages: Sequence[Passage]) -> list[Finding]:
        assert self._meaning is not None
        places = [
            (passage, start, end)
            for passage in passages
            for start, end in _meaning_spans(passage.text)
        ]  # fmt: skip
        if len(places) > MAX_MEANING_TEXTS:
            raise OverBudget("too many sentences to check by meaning")
        found = await self._meaning.find([passage.text[start:end] for passage, start, end in places])
        return [
            replace(finding, start=start, end=end, via=(passage.path,))
            for (passage, start, end), findings in zip(places, found, strict=True)
            for finding in findings
        ]

    def _arm(self, turn: _Turn, question: _Parts, history: _Parts, findings: tuple[Finding, ...]) -> Arms:
        stances: dict[Stance, set[int]] = {stance: set() for stance in Stance}
        for index in sorted(question.targets | history.targets):
            target = self._policy.targets[index]
            stance = self._stance(index, target, turn, question)
            if stance in (Stance.CLEAR, Stance.WATCHED) and target.context == "forget":
                carried = self._carried(index, target, turn, history)
                stance = stance if carried is Stance.CLEAR else carried
            stances[stance].add(index)
        return Arms(
            stance=next((stance for stance in _STRICTEST_FIRST if stances[stance]), Stance.CLEAR),
            findings=findings,
            armed=frozenset(stances[Stance.ARMED]),
            reversed=frozenset(stances[Stance.REVERSED]),
            watched=frozenset(stances[Stance.WATCHED]),
            values=frozenset(question.values | history.values),
        )

    def _mask(self, passages: Sequence[Passage], arms: Arms) -> dict[str, str]:
        """Return the history without its sentences about watched targets."""
        masked: dict[str, str] = {}
        for passage in passages:
            found = [each for each in arms.findings if each.via[0] == passage.path]
            here = [each for each in found if each.target in arms.watched and each.part is not Part.VALUE]
            if passage.current or not here:
                continue
            turn = _Turn(passage.text, self._siblings)
            spans = [(each.start, each.end) for each in here if self._must_mask(each.target, turn)]
            if spans:
                masked[passage.path] = "".join(
                    passage.text[start:end]
                    for start, end in sentences(passage.text)
                    if not any(first < end and start < last for first, last in spans)
                )
        return masked

    def _must_mask(self, index: int, turn: _Turn) -> bool:
        # Of a fact's subject other facts may be asked: only what is about the fact itself is taken out.
        target = self._policy.targets[index]
        return target.kind != "fact" or turn.asks(target.facts[0])

    def _stance(self, index: int, target: Target, turn: _Turn, given: _Parts) -> Stance:
        """Return what the question itself says about one target."""
        if index in given.meanings:
            return Stance.ARMED
        values = [fact for at, fact in given.values if at == index]
        if index in given.names:
            if target.kind == "entity":
                return Stance.ARMED
            return self._about_fact(target.facts[0], turn, value_given=bool(values))
        if values and says(turn.folded, self._words.persons):
            related = any(turn.asks(target.facts[fact]) for fact in values)
            if related or len(values) > 1:
                return Stance.ARMED if says(turn.folded, self._words.probes) else Stance.REVERSED
        # A word of the name alone may be anybody's: the target's values must not come, more is not known.
        return Stance.WATCHED if index in given.parts else Stance.CLEAR

    def _about_fact(self, fact: Fact, turn: _Turn, *, value_given: bool) -> Stance:
        """Return the stance where the question names a fact's subject: its other facts must stay."""
        if turn.asks(fact):
            return Stance.ARMED
        # Subject and value without a relation can only be a question about what joins them.
        if value_given and not self._asks_sibling(fact, turn):
            return Stance.ARMED
        return Stance.WATCHED

    def _asks_sibling(self, fact: Fact, turn: _Turn) -> bool:
        own = set(fact.relation.cues)
        return any(not own.issuperset(other.cues) for other in turn.relations)

    def _carried(self, index: int, target: Target, turn: _Turn, history: _Parts) -> Stance:
        """Return what earlier turns leave in play, and whether this turn goes on about it."""
        if index not in history.names and index not in history.meanings:
            return Stance.CLEAR
        names_another = bool(turn.capitalised - name_parts(target) - value_words(target))
        if any(turn.asks(fact) for fact in target.facts) and not names_another:
            return Stance.ARMED
        person = [phrase for phrase in self._words.anaphora if phrase not in _IMPERSONAL]
        return Stance.ARMED if target.kind != "fact" and says(turn.folded, person) else Stance.WATCHED


class _Cues:
    """The cues of many relations, by their first words: a sentence is looked up once for all of them."""

    def __init__(self, relations: Iterable[Entry]) -> None:
        self._by_word: dict[str, list[tuple[str, Entry]]] = {}
        for relation in relations:
            for cue in relation.cues:
                self._by_word.setdefault(cue.split(" ", 1)[0], []).append((cue, relation))

    def meant(self, sentence: str) -> Iterator[Entry]:
        """Yield the relations that a folded sentence speaks of; one may come more than once."""
        for word in set(sentence.split()) & self._by_word.keys():
            for cue, relation in self._by_word[word]:
                if f" {cue} " in sentence and _is_meant(sentence, relation):
                    yield relation


def _is_meant(sentence: str, relation: Relation | Entry) -> bool:
    return not says(sentence, relation.unless) or says(sentence, relation.despite)


class _Turn:
    """A text of a request, folded once."""

    def __init__(self, text: str, siblings: _Cues) -> None:
        self.folded = fold(text).text
        self._siblings = siblings
        # The same sentence twice says nothing more.
        self.sentences = list(dict.fromkeys(fold(text[start:end]).text for start, end in sentences(text)))
        self.capitalised = frozenset(
            word for match in _CAPITALISED.finditer(text) for word in fold(match.group()).text.split()
        )

    @cached_property
    def relations(self) -> list[Entry]:
        """The relations of the lexicon that some sentence speaks of."""
        return [relation for sentence in self.sentences for relation in self._siblings.meant(sentence)]

    def asks(self, fact: Fact) -> bool:
        """Whether a sentence holds a cue of the fact's relation and no word that means a sibling instead."""
        relation = fact.relation
        return says(self.folded, relation.cues) and any(
            says(text, relation.cues) and _is_meant(text, relation) for text in self.sentences
        )


def _runs(text: str) -> Iterator[list[tuple[str, tuple[int, int]]]]:
    """Yield the runs of adjacent capitalised words, folded, with their places; each word where none is."""
    folded = fold(text)
    cased = text != text.lower()
    run: list[tuple[str, tuple[int, int]]] = []
    for word, span in zip(folded.text.split(), folded.spans, strict=True):
        if run and (cased and text[run[-1][1][1] : span[0]].strip(" -") or not text[span[0]].isupper()):
            yield run
            run = []
        if text[span[0]].isupper() or not cased:
            run.append((word, span))
    if run:
        yield run


def _meaning_spans(text: str) -> list[tuple[int, int]]:
    """Return each sentence that has a word, and the whole text where it is several but still short."""
    spans = [span for span in sentences(text) if fold(text[slice(*span)]).starts]
    if len(spans) > 1 and len(text) <= 600:
        spans.append((0, len(text)))
    return spans
