"""What a request is about: findings in its passages become arms, and arms become a plan.

A fact leaks when question and answer together complete it, so the parts that the question gives decide
what the answer must not bring (docs/design.md, 'Completion').  A target is

* armed where the question is about it: a name of an entity; subject and relation, or subject and value, of
  a fact; a meaning; or what an earlier turn was about, where this one goes on about it;
* reversed where the question gives value and relation and seeks a person, or a strong value and either: the
  name must not come;
* watched where its subject is merely in play, by a name or a strong value: another value of it in the answer
is a leak on its own.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

from guards.base import Arms, Finding, Part, Passage, Stance
from guards.cipher import SUFFIX
from guards.codecs_named import without_stated
from guards.literal import name_parts, value_words
from guards.passages import Passages, Seen, chars_of, worked_out
from guards.small import is_ordinary, written
from policies.policy import Fact, Policy, Relation, Target
from policies.relations import Entry, Lexicon
from policies.text import fold, sentences

_STRICTEST_FIRST = (Stance.ARMED, Stance.REVERSED, Stance.WATCHED)
_CAPITALISED = re.compile(r"(?<=[\w,;:] )[A-ZÀ-ÖØ-Þ][\w'’-]+")
_FULL_NAME = re.compile(
    r"([A-ZÀ-ÖØ-Þ][\w-]+(?: (?:(?:van|von|de|da|di|del|bin|al) )?[A-ZÀ-ÖØ-Þ][\w-]+)+)"
    r"|(?<=[\w,;:)] )([A-ZÀ-ÖØ-Þ][\w-]+)(?=['’]s?\b)"
)
_QUOTED = re.compile(r"[\"“][^\"”\n]{1,120}[\"”]|(?<!\w)['‘][^'’\"\n]{1,120}(?:['’](?!\w))")
_POINTS = frozenset("this that said same such aforementioned above".split())
"""What 'this author' begins with: it points back, whoever else is named."""
_IMPERSONAL = frozenset("it its this that these those they them their theirs one ones there same".split())
"""Words that stand for things as often as for a person: they alone do not carry a person forward."""
_MAX_SCATTERED = 200
"""Words of a request within which all words of a name, wherever they stand, count as the name."""


def says(folded: str, phrases: Iterable[str]) -> bool:
    """Whether a folded text holds one of the folded phrases as whole words."""
    return any(f" {phrase} " in folded for phrase in phrases)


@dataclass(slots=True)
class _Parts:
    """Which parts of which targets a set of passages gives."""

    names: set[int] = field(default_factory=set)
    values: set[tuple[int, int]] = field(default_factory=set)
    strong: set[tuple[int, int]] = field(default_factory=set)
    """Of the values, those that are nobody else's."""
    asides: set[tuple[int, int]] = field(default_factory=set)
    """Values within another thing's name: beside the subject they count, and in what completes a fact."""
    meanings: set[int] = field(default_factory=set)
    """What arms by itself: a meaning, words of a passage, a piece of a secret."""
    parts: set[int] = field(default_factory=set)

    def add(self, finding: Finding) -> None:
        if finding.part in (Part.NAME, Part.MISSPELT, Part.DESCRIBED):
            self.names.add(finding.target)
        elif finding.part is Part.NAME_PART:
            # A word that nobody else is called by is the name.
            (self.names if finding.strong else self.parts).add(finding.target)
        elif finding.part is Part.VALUE and finding.fact is not None:
            self.values.add((finding.target, finding.fact))
            if finding.strong:
                self.strong.add((finding.target, finding.fact))
        elif finding.part is Part.VALUE_PART and finding.fact is not None:
            self.asides.add((finding.target, finding.fact))
        elif finding.part in (Part.MEANING, Part.PASSAGE, Part.SECRET):
            self.meanings.add(finding.target)

    @property
    def named(self) -> set[int]:
        """Targets whose subject is in play by more than a value."""
        return self.names | self.parts | self.meanings

    @property
    def targets(self) -> set[int]:
        return self.named | {target for target, _ in self.values}


class Reader:
    """Reads requests under one policy.  Compiled once; holds no state of a request."""

    def __init__(self, policy: Policy, passages: Passages, words: Lexicon) -> None:
        self._policy = policy
        self._passages = passages
        self._words = words
        self._siblings = _Cues(words.relations)
        self._pointing = [phrase for phrase in words.anaphora if phrase.split()[0] in _POINTS]
        self._persons = [phrase for phrase in words.anaphora if phrase not in _IMPERSONAL]

    async def read(self, passages: Sequence[Passage], client: str = "") -> Arms:
        """Return what the passages arm.  Raises `ScanError` where that cannot be found out."""
        seen = await self._passages.read(passages, client)
        return await worked_out(self._read, passages, seen, chars=chars_of(passages))

    def _read(self, passages: Sequence[Passage], seen: Sequence[Seen]) -> Arms:
        findings = [
            found.within(passage.path)
            for passage, each in zip(passages, seen, strict=True)
            for found in each.findings
            # What a table makes of a text that is not in its cipher are letters without meaning, of which
            # some are like some name; such a name is found in the answer.
            if not (found.part is Part.MISSPELT and passage.path.endswith(SUFFIX))
        ]
        findings = _without_value_words(findings)
        findings += self._passages.across(passages, seen)
        named = {found.target for found in findings if found.part is Part.NAME}
        findings += [found for found in self._scattered(passages, seen) if found.target not in named]
        if not findings:
            return Arms(Stance.CLEAR)
        question, history = _Parts(), _Parts()
        current = {passage.path for passage in passages if passage.current}
        for found in findings:
            (question if found.via[0] in current else history).add(found)
        text = "\n".join(passage.text for passage in passages if passage.current)
        # The relation may be in a code as well as the name.
        text = "\n".join([text, *self._passages.codecs.decoded(text, findings)])
        turn = _Turn(text, self._siblings)
        turn.coded = any(found.scan == "codec" for found in findings)
        turn.sought = frozenset(self._sought(passages, findings))
        arms = self._arm(turn, question, history, tuple(findings))
        if echoed := self._echoed(passages, arms, question.named):
            arms = replace(arms, brought=arms.brought | echoed)
        return replace(arms, masked=self._mask(passages, seen, arms)) if arms.watched else arms

    def _sought(self, passages: Sequence[Passage], findings: Iterable[Finding]) -> Iterator[int]:
        """Yield the targets of which the question holds a strong value in a sentence that seeks a person."""
        strong: dict[str, list[Finding]] = {}
        for found in findings:
            if found.strong:
                strong.setdefault(found.via[0], []).append(found)
        for passage in passages if strong else ():
            if passage.current and passage.path in strong:
                spans = sentences(passage.text)
                ends = [end for _, end in spans]
                held: dict[int, set[int]] = {}
                for found in strong[passage.path]:
                    held.setdefault(bisect_left(ends, found.end), set()).add(found.target)
                for number, targets in held.items():
                    sentence = passage.text[slice(*spans[number])]
                    if says(fold(sentence).text, self._words.persons):
                        yield from targets

    def _scattered(self, passages: Sequence[Passage], seen: Sequence[Seen]) -> Iterator[Finding]:
        """Find names whose words all stand in a short request, in any order, some of them in the question."""
        if not any(each.named for passage, each in zip(passages, seen, strict=True) if passage.current):
            return
        folded = [fold(passage.text) for passage in passages]
        words = {word for here in folded for word in here.words}
        if len(words) > _MAX_SCATTERED:
            return
        both = zip(passages, folded, strict=True)
        shown = {word for passage, here in both for word in written(passage.text, here)}
        for passage, here in zip(passages, folded, strict=True):
            if not passage.current:
                continue
            parts = self._passages.parts
            for index in sorted({target for word in here.words for target in parts.targets(word)}):
                names = self._policy.targets[index].names
                if any(_is_named_by(shown if is_ordinary(name) else words, name) for name in names):
                    yield Finding(index, "literal", Part.NAME, 0, 0, via=(passage.path, "words apart"))

    def _arm(self, turn: _Turn, question: _Parts, history: _Parts, findings: tuple[Finding, ...]) -> Arms:
        stances: dict[Stance, set[int]] = {stance: set() for stance in Stance}
        named = question.named | history.named
        if question.asides and says(turn.folded, self._words.probes):
            # Who asks for a letter of a name gets no benefit of the doubt from a word behind the value.
            question.values |= question.asides
        for index in sorted(question.targets | history.targets):
            target = self._policy.targets[index]
            stance = self._stance(index, target, turn, question)
            if stance is not Stance.ARMED and target.context == "forget":
                carried = self._carried(index, target, turn, history)
                # 'Was she born on 12 March 1974?' gives a value and seeks nobody: it goes on about her.
                if carried is Stance.ARMED or stance is not Stance.REVERSED and carried is not Stance.CLEAR:
                    stance = carried
            stances[stance].add(index)
        by_value = frozenset(stances[Stance.WATCHED] - named)
        brought = ((found.target, found.fact, found.value) for found in findings if found.target in by_value)
        return Arms(
            stance=next((stance for stance in _STRICTEST_FIRST if stances[stance]), Stance.CLEAR),
            findings=findings,
            armed=frozenset(stances[Stance.ARMED]),
            reversed=frozenset(stances[Stance.REVERSED]),
            watched=frozenset(stances[Stance.WATCHED]),
            named=frozenset(question.names | question.meanings | history.names | history.meanings),
            by_value=by_value,
            values=frozenset(question.values | question.asides | history.values | history.asides),
            brought=frozenset(brought),
        )

    def _echoed(
        self, passages: Sequence[Passage], arms: Arms, asked: Set[int]
    ) -> set[tuple[int, int | None, int | None]]:
        """Return the values that the client says now and that may come back, of entities it named before.

        What of a list of candidates does not come back would tell which one is right.  The upstream cannot
        tell: what names the entity is taken out of its history, and values that stand there do not come back.
        """
        not_asked = {
            index
            for index in arms.watched - arms.by_value - asked
            if self._policy.targets[index].kind == "entity"
        }
        if not not_asked:
            return set()
        now = {passage.path for passage in passages if passage.current and passage.role == "user"}
        said: set[tuple[int, int | None, int | None]] = set()
        known: set[tuple[int, int | None, int | None]] = set()
        for found in arms.findings:
            if found.target in not_asked and found.part in (Part.VALUE, Part.VALUE_PART):
                place = (found.target, found.fact, found.value)
                (said if found.via[0] in now else known).add(place)
        return said - known

    def _mask(self, passages: Sequence[Passage], seen: Sequence[Seen], arms: Arms) -> dict[str, str]:
        """Return the history without its sentences about watched targets."""
        masked: dict[str, str] = {}
        found: dict[str, list[Finding]] = {}
        for finding in arms.findings:
            if finding.target in arms.watched and finding.part not in (Part.VALUE, Part.VALUE_PART):
                found.setdefault(finding.via[0], []).append(finding)
        for passage, each in zip(passages, seen, strict=True):
            here = found.get(passage.path, [])
            if passage.current or not here:
                continue
            turn = _Turn(passage.text, self._siblings)
            must = {index for index in {one.target for one in here} if self._must_mask(index, turn)}
            spans = [(one.start, one.end) for one in here if one.target in must]
            if spans:
                masked[passage.path] = each.without(passage.text, spans)
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
            beside = bool(values) or any(at == index for at, _ in given.asides)
            return self._about_fact(target.facts[0], turn, value_given=beside)
        strong = [fact for at, fact in given.strong if at == index]
        if values and self._seeks(index, target, values, strong, turn):
            return Stance.ARMED if turn.probes(self._words.probes) else Stance.REVERSED
        # What somebody has made is part of them: 'What is "Salt Harbour" about?' asks about its author.
        works = target.kind == "entity" and any(target.facts[fact].of_works for fact in strong)
        if works and not self._names_somebody(turn, name_parts(target) | value_words(target)):
            return Stance.ARMED
        # A word of the name and a value of the same target are nobody else's together.
        if index in given.parts and values and target.kind == "entity":
            return Stance.ARMED
        # A word of the name alone may be anybody's: the target's values must not come, more is not known.
        # A strong value is nobody else's, but whoever has it may well ask about something else.
        return Stance.WATCHED if strong or index in given.parts else Stance.CLEAR

    def _seeks(
        self, index: int, target: Target, values: Sequence[int], strong: Sequence[int], turn: _Turn
    ) -> bool:
        """Whether a question that gives values of a target seeks whose they are."""
        if index in turn.sought or any(turn.asks(target.facts[fact]) for fact in strong):
            return True
        together = len(values) > 1
        if not together and not any(turn.asks(target.facts[fact]) for fact in values):
            return False
        if not says(turn.folded, self._words.persons):
            return False
        return any(turn.seeks(target.facts[fact], self._words.persons, alone=not together) for fact in values)

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
            return self._carried_by_value(index, turn, history)
        own = name_parts(target) | value_words(target)
        asked = [fact for fact in target.facts if turn.asks(fact)]
        if target.kind == "fact":
            return Stance.ARMED if asked and not turn.capitalised - own else Stance.WATCHED
        if says(turn.folded, self._pointing):
            return Stance.ARMED
        if says(turn.folded, self._persons):
            # Whoever is named in the same turn is whom the pronoun stands for.
            return Stance.WATCHED if self._names_somebody(turn, own) else Stance.ARMED
        elliptic = any(self._says_no_more(turn, fact) for fact in asked)
        return Stance.ARMED if elliptic and not turn.capitalised - own else Stance.WATCHED

    def _names_somebody(self, turn: _Turn, own: Set[str]) -> bool:
        """Whether the turn holds a full name that is neither the target's nor that of a thing."""
        return any(run[-1] not in own and self._words.things.isdisjoint(run) for run in turn.full_names)

    def _says_no_more(self, turn: _Turn, fact: Fact) -> bool:
        """Whether a question has no words besides its relation, as 'And the birthplace?'."""
        cues = {word for cue in (*fact.relation.cues, *self._words.probes) for word in cue.split()}
        return not set(turn.folded.split()) - cues - self._words.stop_words - self._words.generic

    def _carried_by_value(self, index: int, turn: _Turn, history: _Parts) -> Stance:
        if not any(at == index for at, _ in history.strong):
            return Stance.CLEAR
        asked = says(turn.folded, self._words.persons) and says(turn.folded, self._words.anaphora)
        return Stance.REVERSED if asked else Stance.WATCHED


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
    """A text of a request; what is asked of it is worked out once."""

    def __init__(self, text: str, siblings: _Cues) -> None:
        self._text = text
        self._siblings = siblings
        self.sought: frozenset[int] = frozenset()
        """Targets of which it gives a strong value where it seeks a person."""
        self.coded = False
        """Whether something was found in a code, so that which code it is in may well be said."""

    @cached_property
    def folded(self) -> str:
        """Its folded words."""
        return fold(self._text).text

    @cached_property
    def sentences(self) -> list[str]:
        """Its sentences, folded; the same one twice says nothing more."""
        return list(dict.fromkeys(fold(self._text[start:end]).text for start, end in sentences(self._text)))

    @cached_property
    def capitalised(self) -> frozenset[str]:
        """The folded words that are written with a capital."""
        found = _CAPITALISED.finditer(self._text)
        return frozenset(word for match in found for word in fold(match.group()).text.split())

    @cached_property
    def full_names(self) -> list[list[str]]:
        """The folded words of each run of capitalised words, and of one alone that has something.

        What stands in quotation marks is the name of a work.
        """
        unquoted = _QUOTED.sub(" ", self._text)
        return [fold(match[1] or match[2]).text.split() for match in _FULL_NAME.finditer(unquoted)]

    @cached_property
    def relations(self) -> list[Entry]:
        """The relations of the lexicon that some sentence speaks of."""
        return [relation for sentence in self.sentences for relation in self._siblings.meant(sentence)]

    def probes(self, phrases: Iterable[str]) -> bool:
        """Whether it asks for an answer in pieces or in a code; to say in which it stands is no asking."""
        return says(self.folded, phrases) and not (
            self.coded and not says(fold(without_stated(self._text)).text, phrases)
        )

    def seeks(self, fact: Fact, persons: Sequence[str], *, alone: bool) -> bool:
        """Whether a person is sought beside a value; a value with a capital counts wherever it stands.

        A common noun ('nurse') stands in any text: whose it is must be asked in one sentence with it, and
        where it is given `alone`, by its relation.
        """
        nouns = [fold(value).text for value in fact.values if value.islower()]
        if len(nouns) < len(fact.values):
            return True
        return any(
            says(text, persons)
            and (not alone or says(text, fact.relation.cues))
            and any(noun in text for noun in nouns)
            for text in self.sentences
        )

    def asks(self, fact: Fact) -> bool:
        """Whether a sentence holds a cue of the fact's relation and no word that means a sibling instead."""
        relation = fact.relation
        return says(self.folded, relation.cues) and any(
            says(text, relation.cues) and _is_meant(text, relation) for text in self.sentences
        )


def _without_value_words(findings: list[Finding]) -> list[Finding]:
    """Return findings but for words of a name that are words of a value: 'Lund' in 'Stellan Lund', her
    husband, names nobody else.

    Where a text has no capitals, nothing else tells the two apart.
    """
    reach: dict[tuple[int, str], int] = {}
    """How far the values of a target go that began so far, in a passage."""
    within: set[int] = set()
    values_first = sorted(
        range(len(findings)), key=lambda at: (findings[at].start, findings[at].part is not Part.VALUE)
    )
    for at in values_first:
        each = findings[at]
        of = each.target, each.via[0]
        if each.part is Part.VALUE:
            reach[of] = max(each.end, reach.get(of, 0))
        elif each.part is Part.NAME_PART and each.end <= reach.get(of, 0):
            within.add(at)
    return [each for at, each in enumerate(findings) if at not in within] if within else findings


def _is_named_by(words: set[str], name: str) -> bool:
    own = fold(name).text.split()
    return len(own) > 1 and words.issuperset(own)
