"""One channel of one choice: the text of it that has not left yet, cut into the units that leave together.

A unit is a sentence, or several where a finding lies across their border.  However many findings there are,
and in however many pieces the text comes, each end of a sentence and each finding is looked at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from guards.base import Channel, Close, Finding, Scan
from guards.fact import Unit
from policies.text import sentence_end


class Borders:
    """Where text may be cut: nowhere within a span, nor within spans that overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Take another span; the work is that of finding its place, and of the spans that it joins."""
        first, behind = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if first < behind:
            start, end = min(start, self._starts[first]), max(end, self._ends[behind - 1])
        self._starts[first:behind] = [start]
        self._ends[first:behind] = [end]

    def divides(self, position: int) -> bool:
        """Whether a cut at `position` would divide a span."""
        before = bisect_left(self._starts, position) - 1
        return before >= 0 and position < self._ends[before]

    def forget(self, position: int) -> None:
        """Forget the spans that end at `position` or before it."""
        gone = bisect_right(self._ends, position)
        del self._starts[:gone], self._ends[:gone]


@dataclass(slots=True)
class Lane:
    """The text of one channel of one choice that has not left yet, with what its scans found in it."""

    choice: int
    channel: Channel
    scans: Sequence[Scan]
    text: str = ""
    base: int = 0
    """Original position of `text[0]` in the channel."""
    fed: int = 0
    """Length of the channel's text that the scans have seen."""
    safe_to: int = 0
    findings: list[Finding] = field(default_factory=list)
    paused: bool = False
    """Whether another channel speaks, so that a sentence without an end need not be waited for."""
    sealed: bool = False
    reason: Close = "stop"
    replaced: bool = False
    """Whether the style's sentence has been said here already."""
    marked: bool = False
    """Whether what left last ended with a mark, so that a span that goes on from it needs no other."""
    borders: Borders = field(default_factory=Borders)
    tried: int = 0
    """Original position of the last end of a sentence that is known to lie within a finding."""

    @property
    def ripe(self) -> bool:
        """Whether a sentence may have ended, so that the scans are worth their while."""
        return self.sealed or self.paused or sentence_end(self.text) is not None

    @property
    def unseen(self) -> int:
        """How many code points the scans have not seen."""
        return self.base + len(self.text) - self.fed

    def scan(self) -> None:
        """Show the scans what they have not seen; close them once the lane is sealed."""
        fresh = self.text[self.fed - self.base :]
        ends = []
        for scan in self.scans if self.sealed or fresh else ():
            progress = scan.close(self.reason, fresh) if self.sealed else scan.feed(fresh)
            self.findings.extend(progress.findings)
            for found in progress.findings:
                self.borders.add(found.start, found.end)
            ends.append(progress.safe_to)
        self.fed += len(fresh)
        if self.sealed:
            self.scans = ()
        self.safe_to = self.base + len(self.text) if self.sealed else min(ends, default=self.safe_to)

    def units(self, *, by_sentence: bool, joined: bool) -> list[Unit]:
        """Cut off every unit that has ended; `joined`: those in which nothing was found, as one."""
        joined = joined and not self.findings
        ends: list[int] = [len(self.text)] if joined and self.sealed and self.text else []
        end = ends[-1] if ends else 0
        while end < len(self.text) and (found := self._unit_end(end, by_sentence)) is not None:
            end = found
            ends.append(end)
        return self._cut(ends[-1:] if joined else ends)

    def _unit_end(self, start: int, by_sentence: bool) -> int | None:
        """Return where the unit that begins at `start` ends, in `text`; None while that is open."""
        safe = self.safe_to - self.base
        end = max(start, self.tried - self.base)
        while True:
            if by_sentence:
                found = sentence_end(self.text, end, closed=self.sealed or self.paused)
            else:
                found = safe if safe > end else None
            if found is not None and found > safe and self.paused:
                found = safe if safe > end else None
            if found is None or found > safe:
                return None
            end = found
            if not self.borders.divides(self.base + end):
                return end
            if by_sentence and not self.paused:
                self.tried = self.base + end

    def take(self) -> Unit:
        """Cut all text off as one unit, with the findings in it."""
        (unit,) = self._cut([len(self.text)])
        return unit

    def _cut(self, ends: Sequence[int]) -> list[Unit]:
        """Cut off the units that end where it is said, each with the findings in it."""
        if not ends:
            return []
        starts = [0, *ends[:-1]]
        inside: list[list[Finding]] = [[] for _ in ends]
        later = []
        for found in self.findings:
            at = bisect_right(ends, found.start - self.base)
            if at == len(ends):
                later.append(found)
            else:
                by = self.base + starts[at]
                inside[at].append(replace(found, start=found.start - by, end=found.end - by))
        texts = [self.text[start:end] for start, end in zip(starts, ends, strict=True)]
        self.findings = later
        self.text = self.text[ends[-1] :]
        self.base += ends[-1]
        self.borders.forget(self.base)
        cut = self.sealed and self.reason == "length" and not self.text
        last = len(ends) - 1
        return [Unit(text, inside[at], cut and at == last) for at, text in enumerate(texts)]
