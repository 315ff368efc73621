"""Patterns over a stream, by the partial matching of the `regex` package.

A match is final only when no more text can change it: when as many characters as the pattern is wide have
arrived behind its start, or the text is closed.  A match that merely does not touch the end of the buffer
is not enough ('4111 1111 1111 1111 ' may go on with one more digit and then fail its check).  Patterns see
`policies.text.plain`, so that fullwidth digits and zero-width characters do not hide a match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ahocorasick
import regex

from guards.base import Close, Finding, Part, Progress
from policies.heads import coarse, heads
from policies.policy import Pattern, Policy
from policies.relaxed import relaxed
from policies.text import plain


@dataclass(frozen=True, slots=True)
class _Compiled:
    target: int
    pattern: Pattern
    compiled: regex.Pattern[str]
    looking: regex.Pattern[str] | None
    """Without borders and lookarounds, for patterns whose own look at a text that may go on."""


_MAX_HEADS = 1_024
"""A pattern with more beginnings is tried on every text."""


class Patterns:
    """The compiled patterns of a policy; immutable, shared by every exchange under it."""

    def __init__(self, policy: Policy) -> None:
        self.compiled: tuple[_Compiled, ...] = tuple(
            _compiled(index, target.pattern)
            for index, target in enumerate(policy.targets)
            if target.pattern is not None
        )
        self.heads = _Heads([heads(each.pattern.regex) for each in self.compiled])
        self.max_chars = max((each.pattern.max_width for each in self.compiled), default=0)
        self.left_context = max((each.pattern.left_context for each in self.compiled), default=0)

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        return list(self.open().close("stop", text).findings)

    def open(self) -> PatternScan:
        """Return the running state for one channel."""
        return PatternScan(self)


def _compiled(index: int, pattern: Pattern) -> _Compiled:
    looking = relaxed(pattern.regex)
    return _Compiled(
        index,
        pattern,
        regex.compile(pattern.regex, pattern.flags),
        None if looking is None else regex.compile(*looking),
    )


class _Heads:
    """Which patterns need be tried on a text: a look at it costs the same whatever their number."""

    def __init__(self, each: Sequence[frozenset[str]]) -> None:
        self._always = {index for index, beginnings in enumerate(each) if len(beginnings) > _MAX_HEADS}
        """Patterns that may begin with nearly anything: to look where would say nothing."""
        self._begun: dict[str, list[int]] = {}
        """Patterns by the first character of their matches: the last one of a text may be such."""
        whole: dict[str, list[int]] = {}
        for index, beginnings in enumerate(each):
            if index in self._always:
                continue
            for char in {head[0] for head in beginnings}:
                self._begun.setdefault(char, []).append(index)
            for head in beginnings:
                whole.setdefault(head, []).append(index)
        self._automaton = ahocorasick.Automaton()
        for head, patterns in whole.items():
            self._automaton.add_word(head, patterns)
        self._automaton.make_automaton()

    def within(self, text: str) -> set[int]:
        """Return the patterns that may match, or begin to match, in `text`."""
        text = coarse(text)
        found = {*self._always, *self._begun.get(text[-1:], ())}
        if len(self._automaton):
            for _, patterns in self._automaton.iter(text):
                found.update(patterns)
        return found


class PatternScan:
    """The running state of all patterns over one channel of one choice.

    Holds back at most the widest pattern.  Work per character is bounded, since patterns are (their width
    and their number of ways are bounded at load, see `policies.patterns`).
    """

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._length = 0
        self._text = ""
        """What is not decided yet, in the plain form, with its left context."""
        self._offsets: list[int] = []
        """Original position of each character of `_text`."""
        self._live: dict[int, int] = {}
        """Patterns that are not decided to the end of `_text`, each with the first position where a match
        could still begin."""

    def feed(self, text: str) -> Progress:
        """Take more text."""
        if not self._patterns.compiled:
            self._length += len(text)
            return Progress((), self._length)
        fresh = len(self._text)
        return self._advance(fresh, self._take(text), closed=False)

    def close(self, reason: Close, last: str = "") -> Progress:
        """End the text: what matches now is final."""
        if not self._patterns.compiled:
            self._length += len(last)
            return Progress((), self._length)
        fresh = len(self._text)
        return self._advance(fresh, self._take(last) if last else set(), closed=True)

    def _take(self, text: str) -> set[int]:
        """Append the plain form of a piece; return the patterns that may match from there on."""
        shown = plain(text)
        base = self._length
        self._text += shown.text
        self._offsets.extend(
            range(base, base + len(text)) if shown.offsets is None else [base + at for at in shown.offsets]
        )
        self._length += len(text)
        return self._patterns.heads.within(shown.text)

    def _advance(self, fresh: int, begun: set[int], *, closed: bool) -> Progress:
        """Decide what can be decided of the live patterns and of those that may have begun since `fresh`."""
        findings: list[Finding] = []
        live, self._live = self._live, {}
        for index in sorted(live.keys() | begun):
            found, at = self._decide(self._patterns.compiled[index], live.get(index, fresh), closed)
            findings += found
            if at < len(self._text):
                self._live[index] = at
        first = min(self._live.values(), default=len(self._text))
        safe_to = self._original(first)
        self._drop(first)
        return Progress(findings, safe_to)

    def _decide(self, compiled: _Compiled, at: int, closed: bool) -> tuple[list[Finding], int]:
        """Return the findings of one pattern from `at` on, and where deciding stopped."""
        findings: list[Finding] = []
        while (start := self._next(compiled, at, closed)) is not None:
            match = compiled.compiled.search(self._text, start)
            if match is None or match.start() != start or not self._final(compiled, start, closed):
                return findings, start
            end = self._passing_end(compiled, start, match.end())
            if end is not None:
                # A match is never empty: `policies.patterns` refuses a pattern that could match nothing.
                span = self._offsets[start], self._offsets[end - 1] + 1
                findings.append(Finding(compiled.target, "pattern", Part.PATTERN, *span))
            at = start + 1 if end is None else end
        return findings, len(self._text)

    def _next(self, compiled: _Compiled, at: int, closed: bool) -> int | None:
        """Return the first start from `at` that matches, or may come to match; None where there is none."""
        pattern, text = compiled.compiled, self._text
        match = pattern.search(text, at)
        found = match.start() if match else None
        if closed:
            return found
        # A live prefix is no longer than the pattern is wide, so only the end of the text can hold one.
        first = max(at, len(text) - compiled.pattern.max_width)
        stop = len(text) if found is None else min(found, len(text))
        if compiled.looking is not None:
            # Whether it matches there is not known before as much text is behind as it may look at.
            live = compiled.looking.search(text, first, partial=True) if first < stop else None
            return found if live is None or live.start() >= stop else live.start()
        if first < stop and pattern.search(text, first, partial=True) is not None:
            for start in range(first, stop):
                live = pattern.match(text, start, partial=True)
                if live is not None and live.partial:
                    return start
        return found

    def _final(self, compiled: _Compiled, start: int, closed: bool) -> bool:
        # One more character than the width: a border such as \b looks at the one behind the match.
        return closed or len(self._text) - start > compiled.pattern.max_width

    def _passing_end(self, compiled: _Compiled, start: int, end: int) -> int | None:
        """Return where the longest match at `start` ends that passes the check, before other digits."""
        if compiled.pattern.check != "luhn" or luhn(self._text[start:end]):
            return end
        shorter = range(end - 1, start, -1)
        match = compiled.compiled.fullmatch
        return next(
            (
                at
                for at in shorter
                if not self._text[at].isalnum()
                and match(self._text, start, at)
                and luhn(self._text[start:at])
            ),
            None,
        )

    def _original(self, position: int) -> int:
        return self._offsets[position] if position < len(self._offsets) else self._length

    def _drop(self, first: int) -> None:
        """Forget what lies before the first undecided position and outside every pattern's left context."""
        keep = max(0, first - self._patterns.left_context - 1)
        if keep:
            self._text = self._text[keep:]
            del self._offsets[:keep]
            self._live = {index: at - keep for index, at in self._live.items()}


def luhn(text: str) -> bool:
    """Whether the digits of `text` pass the check of ISO/IEC 7812 (Luhn 1960)."""
    digits = [int(char) for char in text if char.isdecimal()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return len(digits) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
