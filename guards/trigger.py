"""Phrases that are cut out of requests, until none is left: those that wake a backdoor up.

A backdoored model behaves until its prompt holds a phrase of the attacker's choice (Chen et al. 2017,
arXiv:1712.05526; Kurita, Michel and Neubig 2020, arXiv:2004.06660).  Phrases are compared as folded words, so
that case, look-alikes and invisible characters hide none.  What is left once a phrase is gone may be one
again ('open open sesame sesame'); the words are therefore kept on a stack with the automaton's state behind
each, and where a phrase ends its words are taken off again: one pass, whatever was put inside what.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import ahocorasick

from guards.base import Finding, Part, Passage
from guards.codecs_misspelt import without_leet
from guards.markup import JOINT, LINK
from guards.passages import OverBudget, chars_of, worked_out
from policies.policy import Policy
from policies.text import Folded, fold

MAX_PASSES = 16
"""A text is read again so often once something was cut out of it; most hold nothing and are read once."""
_NOTHING = "\u200b"
"""A character that folding removes."""
_GAP = re.compile(
    r"</?(?:br|hr|p|div|li|ul|ol|t[drh]|table|h[1-6]|pre|blockquote)\b[^<>]{0,200}>"
    r"|&(?:nbsp|ensp|emsp|thinsp|#0{0,8}160|#[xX]0{0,8}[aA]0|#0{0,8}819[2-9]|#0{0,8}820[0-2]);",
    re.IGNORECASE,
)
"""Markup that stands between words."""
_INLINE = re.compile(
    r"<[A-Za-z/!][^<>]{0,200}>|&(?:shy|zwj|zwnj|wbr|#0{0,8}(?:173|820[3-7])|#[xX]0{0,8}[aA][dD]);|[*_~`]{1,3}"
    rf"|{LINK}|\\[A-Za-z]{{1,20}}\{{|[\[\]{{}}\\]"
)
"""Markup that stands anywhere."""

_Found = tuple[int, list[tuple[int, int]]]
"""A phrase in a text: its target, and the original span of each of its words."""


@dataclass(slots=True)
class _State:
    """A state of the automaton over words (Aho and Corasick 1975)."""

    after: dict[str, int] = field(default_factory=dict)
    fail: int = 0
    phrase: tuple[int, int] | None = None
    """Words and target of the longest phrase that ends here."""


class Triggers:
    """The phrases of a policy; immutable, shared by every exchange under it."""

    def __init__(self, policy: Policy) -> None:
        self._states = [_State()]
        # Whether any phrase is in a text is known in one pass of native code; most texts hold none.
        self._any = ahocorasick.Automaton()
        for index, target in enumerate(policy.targets):
            for phrase in target.phrases:
                folded = fold(phrase).text
                self._any.add_word(folded, index)
                self._add(folded.split(), index)
        self._any.make_automaton()
        self._link()

    def _add(self, words: Sequence[str], target: int) -> None:
        at = 0
        for word in words:
            if word not in self._states[at].after:
                self._states[at].after[word] = len(self._states)
                self._states.append(_State())
            at = self._states[at].after[word]
        if self._states[at].phrase is None:
            self._states[at].phrase = len(words), target

    def _link(self) -> None:
        waiting = deque(self._states[0].after.values())
        while waiting:
            state = self._states[waiting.popleft()]
            if state.phrase is None:
                state.phrase = self._states[state.fail].phrase
            for word, child in state.after.items():
                self._states[child].fail = self._next(state.fail, word)
                waiting.append(child)

    def _next(self, at: int, word: str) -> int:
        while at and word not in self._states[at].after:
            at = self._states[at].fail
        return self._states[at].after.get(word, 0)

    def without(self, text: str) -> str:
        """Return a text without the phrases; the same object where it holds none.

        Raises OverBudget where it holds some within others, in another writing each, `MAX_PASSES` deep.
        """
        return self._without(text)[0]

    def found(self, text: str) -> set[int]:
        """Return the targets of which a text holds a phrase.  Raises as `without`."""
        return {target for target, _ in self._without(text)[1]}

    def _without(self, text: str) -> tuple[str, list[_Found]]:
        """Return a text without the phrases, and those that were in it."""
        found: list[_Found] = []
        for _ in range(MAX_PASSES):
            cuts = next(filter(None, map(self._cuts, _views(text))), None)
            if cuts is None:
                return text, found
            found += cuts
            text = _cut(text, cuts)
        raise OverBudget("too many phrases within phrases")

    async def cut_out(self, passages: Sequence[Passage]) -> tuple[Sequence[Passage], list[Finding]]:
        """Return the passages of a request without the phrases, and a finding for each that was in them."""
        return await worked_out(self._cut_out, passages, chars=chars_of(passages))

    def _cut_out(self, passages: Sequence[Passage]) -> tuple[Sequence[Passage], list[Finding]]:
        findings: list[Finding] = []
        left: list[Passage] = []
        for passage in passages:
            text, cuts = self._without(passage.text)
            for target, spans in cuts:
                start, end = spans[0][0], spans[-1][1]
                findings.append(Finding(target, "trigger", Part.TRIGGER, start, end, via=(passage.path,)))
            left.append(replace(passage, text=text) if cuts else passage)
        return (left, findings) if findings else (passages, findings)

    def _cuts(self, text: str) -> list[_Found]:
        """Return the phrases in a text, in the order of their ends."""
        folded = fold(text)
        if next(self._any.iter(folded.text), None) is None:
            return []
        return self._stacked(folded)

    def _stacked(self, folded: Folded) -> list[_Found]:
        cuts: list[_Found] = []
        stack: list[tuple[int, int]] = []
        """(word, state behind it) of what is left."""
        for at, word in enumerate(folded.words):
            state = self._next(stack[-1][1] if stack else 0, word)
            stack.append((at, state))
            phrase = self._states[state].phrase
            if phrase is not None:
                count, target = phrase
                cuts.append((target, [folded.spans[gone] for gone, _ in stack[-count:]]))
                del stack[-count:]
        return cuts


def _views(text: str) -> Iterator[str]:
    """Yield a text as it stands and, where it has markup or leet, as it reads: each character in its place.

    Markup within a line stands between words or within one, so it is read as a space, and as nothing; a
    hyphen and its like as nothing too.
    """
    yield text
    shown = _filled(_GAP, " ", text)
    without = _filled(_INLINE, _NOTHING, shown)
    views = dict.fromkeys((shown, _filled(_INLINE, " ", shown), without, _filled(JOINT, _NOTHING, without)))
    for view in views:
        if view is not text:
            yield view
        yield from without_leet(view)


def _filled(markup: re.Pattern[str], by: str, text: str) -> str:
    return markup.sub(lambda match: by * len(match.group()), text)


def _cut(text: str, found: Sequence[_Found]) -> str:
    """Return a text without the phrases; words that stood on both sides of one stay two words."""
    pieces: list[str] = []
    at = 0
    for start, end in sorted(span for _, spans in found for span in spans):
        pieces.append(text[at:start])
        at = end
        if start and not text[start - 1].isspace() and end < len(text) and not text[end].isspace():
            pieces.append(" ")
    return "".join([*pieces, text[at:]])
