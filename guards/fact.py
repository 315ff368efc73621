"""Completion: what an answer must not bring, given what the question gave.

A fact leaks when question and answer together complete it and the answer brings a missing part
(docs/design.md, 'Completion').  `Completion` sees the units of an answer in the order in which they are
committed, remembers which subjects and values have been brought, and says for each unit what leaks in it.
It holds no text of the answer beyond the longest literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guards.base import Arms, Finding, Part, Stance
from guards.literal import Literals, name_parts
from guards.prompt import says
from policies.policy import Policy, Target
from policies.relations import Lexicon
from policies.text import fold

MIN_INSIDE = 5
"""A part of a name of this many letters is also looked for inside longer words of a reversed answer."""
_RECENT_UNITS = 2
"""A value and a name complete a fact when at most this many units lie between them and the value is first."""
_HEDGES = ("but", "however", "though", "although", "except", "only that", "apart from", "unless", "yet")
_NAME = re.compile(r"[^\W\d_][\w'’-]+")


@dataclass(frozen=True, slots=True)
class Unit:
    """A stretch of an answer that leaves, or is ruled, as a whole: a sentence or several."""

    text: str
    findings: Sequence[Finding]
    """Offsets are into `text`."""
    cut: bool = False
    """Whether the answer was cut within it, by length or by a stop sequence."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Something in a unit that must not leave; without spans it is the unit as a whole."""

    target: int
    """Index of the target; -1 where several may be meant."""
    scan: str
    spans: tuple[tuple[int, int], ...] = ()


class Completion:
    """The evidence of one answer (of one choice, where nothing was armed) and the rule over its units."""

    def __init__(self, policy: Policy, arms: Arms, literals: Literals, words: Lexicon) -> None:
        self._policy = policy
        self._arms = arms
        self._literals = literals
        self._words = words
        self._named: set[int] = set()
        """Targets whose name this answer has brought."""
        self._recent: list[set[tuple[int, int]]] = []
        """Values of the last units, oldest first."""
        self._window = ""
        self._parts = {index: name_parts(policy.targets[index]) for index in arms.reversed}

    def leaks(self, unit: Unit) -> list[Leak]:
        """Return what leaks in the next unit, given all before it, and remember what it brings."""
        names = _spans(unit.findings, Part.NAME)
        values = _value_spans(unit.findings)
        folded = fold(unit.text).text
        found = [
            Leak(finding.target, finding.scan, ((finding.start, finding.end),))
            for finding in unit.findings
            if finding.part is Part.PATTERN
        ]
        found += [Leak(f.target, f.scan) for f in unit.findings if f.part is Part.MEANING]
        if self._arms.stance is not Stance.CLEAR:
            found += [Leak(-1, f.scan) for f in unit.findings if f.part is Part.PREFIX]
            found += self._straddling(unit.text)
            found += self._reversed(unit.text, folded)
        self._named |= names.keys()
        for index in sorted(names.keys() | {target for target, _ in values}):
            found += self._target(index, unit, folded, names.get(index, []), values)
        found += self._cut(unit, folded, names.keys())
        self._recent = [*self._recent, set(values)][-_RECENT_UNITS:]
        return found

    def _target(
        self,
        index: int,
        unit: Unit,
        folded: str,
        names: list[tuple[int, int]],
        values: dict[tuple[int, int], list[tuple[int, int]]],
    ) -> Iterable[Leak]:
        target = self._policy.targets[index]
        in_play = index in self._named or index in self._arms.watched
        spans = [span for (at, _), found in values.items() if at == index for span in found]
        if names and target.kind == "entity":
            if index not in self._arms.targets or not self.not_knowing(folded):
                yield Leak(index, "literal", tuple(sorted(names + spans)))
        elif spans and in_play:
            yield Leak(index, "fact", tuple(sorted(spans)))
        elif names and self._completed_backwards(index, target, folded):
            yield Leak(index, "fact", tuple(sorted(names)))

    def _completed_backwards(self, index: int, target: Target, folded: str) -> bool:
        """Whether a name completes a fact whose value came before it, here or in the question."""
        if index in self._arms.watched or index in self._arms.armed:
            return False
        if any(at == index for values in self._recent for at, _ in values):
            return True
        asked = (index, 0) in self._arms.values
        return asked and says(folded, target.facts[0].relation.cues)

    def _reversed(self, text: str, folded: str) -> Iterable[Leak]:
        """A reversed question leaves with somebody else's name or a not-knowing sentence, or not at all."""
        words = set(folded.split())
        for index in sorted(self._arms.reversed):
            parts = self._parts[index]
            # Also within longer words: a name with a syllable hung on is still the name.
            named = any(part in word for part in parts for word in words if len(part) >= MIN_INSIDE)
            if named or words & parts or not (self.not_knowing(folded) or self._names_another(text, index)):
                yield Leak(index, "fact")

    def _names_another(self, text: str, index: int) -> bool:
        """Whether the text holds a name that is neither the target's nor a value of its facts."""
        target = self._policy.targets[index]
        known = self._parts[index] | {
            word for fact in target.facts for value in fact.values for word in fold(value).text.split()
        }
        run = 0
        for match in _NAME.finditer(text):
            word = match.group()
            own = word[0].isupper() and not set(fold(word).text.split()) & known
            run = run + 1 if own else 0
            if run >= 2:
                return True
        return False

    def _straddling(self, text: str) -> Iterable[Leak]:
        """Find values of subjects in play that begin in text already committed, on whatever channel."""
        in_play = self._arms.watched | self._arms.reversed
        border = len(self._window)
        for glue in ("", " "):
            for finding in self._literals.find(self._window + glue + text) if border else ():
                inside = finding.start < border < finding.end
                if inside and finding.part is Part.VALUE and finding.target in in_play:
                    yield Leak(finding.target, "fact")
        self._window = (self._window + text)[-4 * self._literals.max_chars :]

    def _cut(self, unit: Unit, folded: str, named: Iterable[int]) -> Iterable[Leak]:
        """A sentence cut short on a fact's subject and relation tells where it was cut."""
        if not unit.cut:
            return
        for index in named:
            target = self._policy.targets[index]
            if target.kind == "fact" and says(folded, target.facts[0].relation.cues):
                yield Leak(index, "fact")

    def not_knowing(self, folded: str) -> bool:
        """Whether a folded sentence says that something is not known, and says nothing besides."""
        return (
            says(folded, self._words.not_knowing)
            and not says(folded, _HEDGES)
            and not any(char.isdecimal() for char in folded)
        )


def _spans(findings: Iterable[Finding], part: Part) -> dict[int, list[tuple[int, int]]]:
    spans: dict[int, list[tuple[int, int]]] = {}
    for finding in findings:
        if finding.part is part:
            spans.setdefault(finding.target, []).append((finding.start, finding.end))
    return spans


def _value_spans(findings: Iterable[Finding]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    spans: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for finding in findings:
        if finding.part is Part.VALUE and finding.fact is not None:
            spans.setdefault((finding.target, finding.fact), []).append((finding.start, finding.end))
    return spans
