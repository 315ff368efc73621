"""Patterns over a stream, by the partial matching of the `regex` package.

A match is final only when no more text can change it: when as many characters as the pattern is wide have
arrived behind its start, or the text is closed.  A match that merely does not touch the end of the buffer
is not enough ('4111 1111 1111 1111 ' may go on with one more digit and then fail its check).  Patterns see
`policies.text.plain`, so that fullwidth digits and zero-width characters do not hide a match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from guards.base import Close, Finding, Part, Progress
from policies.policy import Pattern, Policy
from policies.text import plain


@dataclass(frozen=True, slots=True)
class _Compiled:
    target: int
    pattern: Pattern
    compiled: regex.Pattern[str]


class Patterns:
    """The compiled patterns of a policy; immutable, shared by every exchange under it."""

    def __init__(self, policy: Policy) -> None:
        self.compiled: tuple[_Compiled, ...] = tuple(
            _Compiled(index, target.pattern, regex.compile(target.pattern.regex, target.pattern.flags))
            for index, target in enumerate(policy.targets)
            if target.pattern is not None
        )
        self.max_chars = max((each.pattern.max_width for each in self.compiled), default=0)

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        return list(self.open().whole(text))

    def open(self) -> PatternScan:
        """Return the running state for one channel."""
        return PatternScan(self)


class PatternScan:
    """The running state of all patterns over one channel of one choice.

    Holds back at most the widest pattern.  Work per character is bounded, since patterns are (their width
    and their number of ways are bounded at load, see `policies.patterns`).
    """

    def __init__(self, patterns: Patterns) -> None:
        self._runs = [_Run(each) for each in patterns.compiled]
        self._length = 0

    def feed(self, text: str) -> Progress:
        """Take more text."""
        shown = plain(text)
        base = self._length
        offsets = (
            range(base, base + len(text)) if shown.offsets is None else [base + at for at in shown.offsets]
        )
        self._length += len(text)
        findings: list[Finding] = []
        safe_to = self._length
        for run in self._runs:
            found, frontier = run.feed(shown.text, offsets, self._length)
            findings.extend(found)
            safe_to = min(safe_to, frontier)
        return Progress(findings, safe_to)

    def close(self, reason: Close) -> Progress:
        """End the text: what matches now is final."""
        findings = [found for run in self._runs for found in run.advance(self._length, closed=True)[0]]
        return Progress(findings, self._length)

    def whole(self, text: str) -> Sequence[Finding]:
        """Feed and close in one."""
        return [*self.feed(text).findings, *self.close("stop").findings]


class _Run:
    """One pattern over one channel: the part of the text that is not decided yet, with its left context."""

    def __init__(self, compiled: _Compiled) -> None:
        self._compiled = compiled
        self._text = ""
        self._offsets: list[int] = []
        """Original position of each character of `_text`."""
        self._at = 0
        """First position in `_text` where a match could still begin."""

    def feed(self, text: str, offsets: Sequence[int], length: int) -> tuple[list[Finding], int]:
        self._text += text
        self._offsets.extend(offsets)
        return self.advance(length, closed=False)

    def advance(self, length: int, *, closed: bool) -> tuple[list[Finding], int]:
        """Decide what can be decided; return findings and the original position where deciding stopped."""
        findings: list[Finding] = []
        while (start := self._next(closed)) is not None:
            match = self._compiled.compiled.search(self._text, start)
            if match is None or match.start() != start or not self._final(start, closed):
                self._at = start
                self._drop()
                return findings, self._original(self._at, length)
            end = self._passing_end(start, match.end())
            if end is not None:
                findings.append(self._finding(start, end, length))
            self._at = start + 1 if end is None else end
        self._at = len(self._text)
        self._drop()
        return findings, length

    def _next(self, closed: bool) -> int | None:
        """Return the first start that matches, or may come to match; None where there is none."""
        pattern, text = self._compiled.compiled, self._text
        match = pattern.search(text, self._at)
        found = match.start() if match else None
        if closed:
            return found
        # A live prefix is no longer than the pattern is wide, so only the end of the text can hold one.
        first = max(self._at, len(text) - self._compiled.pattern.max_width)
        stop = len(text) if found is None else min(found, len(text))
        if first < stop and pattern.search(text, first, partial=True) is not None:
            for start in range(first, stop):
                live = pattern.match(text, start, partial=True)
                if live is not None and live.partial:
                    return start
        return found

    def _final(self, start: int, closed: bool) -> bool:
        # One more character than the width: a border such as \b looks at the one behind the match.
        return closed or len(self._text) - start > self._compiled.pattern.max_width

    def _passing_end(self, start: int, end: int) -> int | None:
        """Return where the longest match at `start` ends that passes the check, before other digits."""
        if self._compiled.pattern.check != "luhn" or luhn(self._text[start:end]):
            return end
        shorter = range(end - 1, start, -1)
        match = self._compiled.compiled.fullmatch
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

    def _finding(self, start: int, end: int, length: int) -> Finding:
        # A match is never empty: `policies.patterns` refuses a pattern that could match nothing.
        first, last = self._original(start, length), self._offsets[end - 1] + 1
        return Finding(self._compiled.target, "pattern", Part.PATTERN, first, last)

    def _original(self, position: int, length: int) -> int:
        return self._offsets[position] if position < len(self._offsets) else length

    def _drop(self) -> None:
        keep = max(0, self._at - self._compiled.pattern.left_context - 1)
        if keep:
            self._text = self._text[keep:]
            del self._offsets[:keep]
            self._at -= keep


def luhn(text: str) -> bool:
    """Whether the digits of `text` pass the check of ISO/IEC 7812 (Luhn 1960)."""
    digits = [int(char) for char in text if char.isdecimal()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return len(digits) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
