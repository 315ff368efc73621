"""Completion: what an answer must not bring, given what the question gave.

A fact leaks when question and answer together complete it and the answer brings a missing part
(docs/design.md, 'Completion').  `Completion` sees the units of an answer in the order in which they are
committed, remembers which subjects and values have been brought, and says for each unit what leaks in it.
It holds no text of the answer beyond the longest literal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rapidfuzz.distance import OSA

from guards.base import Arms, Finding, Part, Stance
from guards.codecs_misspelt import misspelt_names
from guards.headings import Headings
from guards.literal import Literals, name_parts, value_words
from guards.prompt import says
from policies.people import TITLES
from policies.policy import Policy
from policies.relations import Lexicon
from policies.text import fold, sentence_end, sentences

if TYPE_CHECKING:
    from guards.misspelt import Misspelt
    from guards.name_words import NameWords
    from guards.runs import Runs

MIN_INSIDE = 5
"""A part of a name of this many letters is also looked for inside longer words of a reversed answer."""
_SLIPS = 4
"""Of so many letters of a name that is sought, one may be wrong in an answer."""
_RECENT_UNITS = 2
"""A value and a name complete a fact when at most this many units lie between them and the value is first."""
_HEDGES = ("but", "however", "though", "although", "except", "only that", "apart from", "unless", "yet")
_INITIALS = 3
"""Initials before a surname that are looked at."""
_LONE = frozenset("ai")
"""Without a dot they are words: 'I', 'A'."""
_PARTICLES = frozenset("of the de da di del van von der bin al el la le y and".split())
"""Words within names, which are written small."""
_NAME = re.compile(r"[^\W\d_][\w'’-]+")


@dataclass(frozen=True)
class Unit:
    """A stretch of an answer that leaves, or is ruled, as a whole: a sentence or several."""

    text: str
    findings: Sequence[Finding]
    """Offsets are into `text`."""
    cut: bool = False
    """Whether the answer was cut within it, by length or by a stop sequence."""

    @cached_property
    def folded(self) -> str:
        """Its folded words; most units are never asked for them."""
        return fold(self.text).text


@dataclass(frozen=True, slots=True)
class Leak:
    """Something in a unit that must not leave; without spans it is the unit as a whole."""

    target: int
    """Index of the target; -1 where several may be meant."""
    scan: str
    spans: tuple[tuple[int, int], ...] = ()


class Completion:
    """The evidence of one answer (of one choice, where nothing was armed) and the rule over its units."""

    def __init__(
        self,
        policy: Policy,
        arms: Arms,
        literals: Literals,
        words: Lexicon,
        runs: Sequence[Runs] = (),
        ordinary: Set[str] = frozenset(),
        parts: NameWords | None = None,
        misspelt: Misspelt | None = None,
    ) -> None:
        """`ordinary`: words that are no names, though written with a capital; without any, none is one.

        parts: the words of all names, so that one that only one target has stands for it.
        misspelt: the policy's, so that a name that is sought does not leave misspelt either.
        """
        self._policy = policy
        self._arms = arms
        self._exact: Sequence[Literals | Runs] = (literals, *runs)
        self._reach = 4 * max(each.max_chars for each in self._exact)
        self._words = words
        self._ordinary = ordinary
        self._all_parts = parts
        self._misspelt = misspelt
        self._named: set[int] = set()
        """Targets whose name this answer has brought."""
        self._recent: dict[str, list[set[tuple[int, int]]]] = {}
        """Values of each channel's last sentences, oldest first; one that is still open is the last."""
        self._headings: dict[str, Headings] = {}
        """What stands over the lines of each channel."""
        self._over: set[int] = set()
        """Targets of which a value stands over a line of the unit at hand."""
        self._open: set[str] = set()
        """Channels whose last sentence goes on in their next unit."""
        self._tails: dict[str, str] = {}
        """The end of what each channel has brought."""
        # 'of' and 'the' stand in other people's names as well.
        self._parts = {
            index: name_parts(policy.targets[index]) - words.stop_words - _PARTICLES
            for index in arms.reversed
        }

    def leaks(self, unit: Unit, channel: str = "content") -> list[Leak]:
        """Return what leaks in the next unit, given all before it, and remember what it brings.

        channel: where the unit stands, such as `0 content`; text of other channels counts as beside it.
        """
        names = _spans(unit.findings, Part.NAME)
        values = _value_spans(unit.findings)
        ends = ((end, place) for place, each in values.items() for (_, end), _ in each)
        self._over = {at for at, _ in self._headings.setdefault(channel, Headings()).take(unit.text, ends)}
        found = list(_unasked(unit.findings))
        found += self._by_surname(unit, channel, names.keys(), {target for target, _ in values})
        found += self._straddling(unit.text, channel)
        if self._arms.stance is not Stance.CLEAR:
            found += self._reversed(unit)
        self._named |= names.keys()
        for index in sorted(names.keys() | {target for target, _ in values}):
            found += self._target(index, unit, names.get(index, []), values)
        found += self._cut(unit, names.keys())
        self._remember(set(values), unit, channel)
        return found

    def _by_surname(self, unit: Unit, channel: str, names: Set[int], valued: Set[int]) -> Iterator[Leak]:
        """Find values beside the surname of their owner, and a surname behind its owner's value."""
        recent = {at for channel in self._recent.values() for values in channel for at, _ in values}
        recent |= self._over
        for index in sorted((valued | recent) - self._named - names - self._arms.targets):
            text = unit.text if index not in valued else self._tails.get(channel, "") + unit.text
            if not (spans := self._surnames(index, text)):
                continue
            if index in valued:
                self._named.add(index)  # what is said of the value is ruled below, as if named in full
            else:
                yield Leak(index, "fact", tuple(spans))

    def _surnames(self, index: int, text: str) -> list[tuple[int, int]]:
        """Return where a target's surname stands by itself in a text, if it is nobody else's."""
        target = self._policy.targets[index]
        if self._all_parts is None:
            return []
        own = {full[-1] for name in target.names if len(full := fold(name).words) > 1}
        own = {word for word in own - self._ordinary if self._all_parts.is_of_one(word)}
        folded = fold(text)
        words = folded.words
        if own.isdisjoint(words):
            return []
        spans = folded.spans
        return [
            spans[at]
            for at, word in enumerate(words)
            if word in own and not self._is_anothers(text, words, spans, at, name_parts(target))
        ]

    def _is_anothers(
        self, text: str, words: Sequence[str], spans: Sequence[tuple[int, int]], at: int, own: Set[str]
    ) -> bool:
        """Whether what stands before a surname makes it another person's: 'Tom Vennaker', 'T. Vennaker'.

        own: the folded words of the target's names.
        """
        begin = at
        while 0 < begin > at - _INITIALS and len(words[begin - 1]) == 1:
            if text[spans[begin - 1][1] : spans[begin][0]].strip(" ."):
                break
            begin -= 1
        # Of several initials the first one is the first name's.
        initial = words[begin] if begin < at else ""
        if initial and text[spans[begin][0]].isupper() and not any(word.startswith(initial) for word in own):
            return initial not in _LONE or text[spans[begin][1]] == "."
        # A dot shortens a title; between a word and an initial it ends a sentence.
        before = begin - 1
        if before < 0 or text[spans[before][1] : spans[begin][0]].strip(" " if initial else " ."):
            return False
        known = words[before] in own or words[before] in TITLES or words[before] in self._words.stop_words
        return text[spans[before][0]].isupper() and not known

    def _remember(self, values: set[tuple[int, int]], unit: Unit, channel: str) -> None:
        """Count a unit's sentences behind the values of its own channel.

        Whatever another channel says meanwhile, and however a sentence is cut, the distance is the same.
        """
        recent = self._recent.get(channel, [])
        # Only what lies behind a value has a distance to it: until there is one, nothing need be counted.
        if not values and not any(recent):
            return
        spans = sentences(unit.text)
        count = 1 if unit.findings else len(spans)
        if channel in self._open and recent:
            values, recent = values | recent[-1], recent[:-1]
        self._recent[channel] = [*recent, values, *[set[tuple[int, int]]()] * (count - 1)][-_RECENT_UNITS:]
        ended = sentence_end(f"{unit.text}x", spans[-1][0]) == len(unit.text) if spans else False
        (self._open.discard if ended else self._open.add)(channel)

    def _target(
        self,
        index: int,
        unit: Unit,
        names: list[tuple[int, int]],
        values: dict[tuple[int, int], list[tuple[tuple[int, int], Finding]]],
    ) -> Iterable[Leak]:
        target = self._policy.targets[index]
        in_play = index in self._named or index in self._arms.watched
        # That a value comes back which the client brought tells nothing of a subject that nobody named.
        spans = [span for (at, _), found in values.items() if at == index for span, each in found
                 if names or not self._brought(each)]  # fmt: skip
        if names and target.kind == "entity":
            # A name that the client brought may stand in a sentence that knows nothing, values may not.
            brought = index in self._arms.targets and index not in self._arms.by_value
            if not brought or spans or not self.not_knowing(unit.folded):
                yield Leak(index, "literal", tuple(sorted(names + spans)))
        elif spans and in_play:
            yield Leak(index, "fact", tuple(sorted(spans)))
        elif names and self._completed_backwards(index):
            yield Leak(index, "fact", tuple(sorted(names)))

    def _completed_backwards(self, index: int) -> bool:
        """Whether a name completes a fact whose value came before it, here or in the question."""
        if index in self._arms.named or index in self._arms.armed:
            return False
        recent = (values for channel in self._recent.values() for values in channel)
        if index in self._over or any(at == index for values in recent for at, _ in values):
            return True
        return (index, 0) in self._arms.values

    def _reversed(self, unit: Unit) -> Iterable[Leak]:
        """A sentence that answers a reversed question names somebody else, or does not leave."""
        if not self._arms.reversed:
            return
        words = set(unit.folded.split())
        misspelt: set[int] | None = None
        for index in sorted(self._arms.reversed):
            parts = self._parts[index]
            # Also within longer words: a name with a syllable hung on is still the name.
            run_together = "".join(unit.folded.split())
            named = any(part in run_together for part in parts if len(part) >= MIN_INSIDE)
            leaks = named or bool(words & parts) or not self._names_another(unit.text, index)
            if not leaks:
                # Last: it takes longer than all else together.
                misspelt = self._misspelt_in(unit.text) if misspelt is None else misspelt
                leaks = index in misspelt
            if leaks:
                yield Leak(index, "fact")

    def _misspelt_in(self, text: str) -> set[int]:
        """Return the targets whose names are misspelt in a text, a quarter of their letters wrong at most.

        Who is sought is one of those that the answer may name, and real names are more alike than chance.
        """
        if self._misspelt is None:
            return set()
        found = misspelt_names(self._misspelt, self._policy.targets, text, fold(text))
        return {
            each.target
            for each in found
            if any(
                _SLIPS * OSA.distance(fold(text[each.start : each.end]).text, name) <= len(name)
                for name in (fold(name).text for name in self._policy.targets[each.target].names)
            )
        }

    def _names_another(self, text: str, index: int) -> bool:
        """Whether the text holds a name that is neither the target's nor a value of its facts."""
        known = self._parts[index] | value_words(self._policy.targets[index])
        words = [match.group() for match in _NAME.finditer(text)]
        run = 0
        for word in words:
            if word.lower() in _PARTICLES:
                continue
            other = word[0].isupper() and known.isdisjoint(fold(word).text.split())
            run = run + 1 if other else 0
            if run >= 2:
                return True
        # An answer of one word: a name, unless it is one like 'Yes' or made of the letters of the target's.
        if not run == len(words) == 1 or not self._ordinary or words[0].lower() in self._ordinary:
            return False
        return not any(_alike(fold(words[0]).text, part) for part in self._parts[index])

    def _straddling(self, text: str, channel: str) -> Iterable[Leak]:
        """Find names and values of subjects in play that begin on another channel and end here."""
        in_play = self._arms.watched | self._arms.reversed
        for other, tail in self._tails.items():
            for glue in ("", " ") if other != channel else ():
                for finding in (found for scan in self._exact for found in scan.find(tail + glue + text)):
                    inside = finding.start < len(tail) < finding.end and not self._brought(finding)
                    entity = self._policy.targets[finding.target].kind == "entity"
                    if inside and (finding.target in in_play if finding.part is Part.VALUE else entity):
                        yield Leak(finding.target, "fact")
        keep = self._reach
        self._tails[channel] = (self._tails.get(channel, "") + text)[-keep:] if keep else ""

    def _brought(self, finding: Finding) -> bool:
        """Whether the client brought this value itself, and neither question nor answer named its subject."""
        place = (finding.target, finding.fact, finding.value)
        return finding.target not in self._named and place in self._arms.brought

    def _cut(self, unit: Unit, named: Iterable[int]) -> Iterable[Leak]:
        """A sentence cut short on a fact's subject and relation tells where it was cut."""
        if not unit.cut:
            return
        for index in named:
            target = self._policy.targets[index]
            if target.kind == "fact" and says(unit.folded, target.facts[0].relation.cues):
                yield Leak(index, "fact")

    def not_knowing(self, folded: str) -> bool:
        """Whether a folded sentence says that something is not known, and says nothing besides."""
        return (
            says(folded, self._words.not_knowing)
            and not says(folded, _HEDGES)
            and not any(char.isdecimal() for char in folded)
        )


def _alike(word: str, part: str) -> bool:
    """Whether a word shares so many letters with another, in any order, that it may stand for it."""
    ours, theirs = Counter(word.replace(" ", "")), Counter(part)
    return 2 * (ours & theirs).total() >= min(ours.total(), theirs.total())


def _unasked(findings: Iterable[Finding]) -> Iterator[Leak]:
    """Yield what leaks whatever was asked."""
    pieces: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for finding in findings:
        if finding.part is Part.PATTERN:
            yield Leak(finding.target, finding.scan, ((finding.start, finding.end),))
        elif finding.part in (Part.PASSAGE, Part.SECRET):
            # A finding for each word, or for each run of characters: together they are one leak.
            pieces.setdefault((finding.target, finding.scan), []).append((finding.start, finding.end))
        elif finding.part is Part.MEANING:
            yield Leak(finding.target, finding.scan)
        elif finding.part is Part.PREFIX:
            yield Leak(-1, finding.scan)
    for (target, scan), spans in pieces.items():
        yield Leak(target, scan, tuple(spans))


def _spans(findings: Iterable[Finding], part: Part) -> dict[int, list[tuple[int, int]]]:
    spans: dict[int, list[tuple[int, int]]] = {}
    for finding in findings:
        if finding.part is part:
            spans.setdefault(finding.target, []).append((finding.start, finding.end))
    return spans


def _value_spans(
    findings: Iterable[Finding],
) -> dict[tuple[int, int], list[tuple[tuple[int, int], Finding]]]:
    spans: dict[tuple[int, int], list[tuple[tuple[int, int], Finding]]] = {}
    for finding in findings:
        if finding.part is Part.VALUE and finding.fact is not None:
            span = finding.start, finding.end
            spans.setdefault((finding.target, finding.fact), []).append((span, finding))
    return spans
