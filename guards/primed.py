"""Scans that know how a conversation went on before this answer.

Words of a text that must not be repeated may begin in the last answer and end in this one, and so may a
secret.  A scan is shown the end of what the client says it was answered, as if this answer went on from it.
What it finds there is nobody's concern any more; what it finds across the border is this answer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from guards.base import Close, Compiled, Finding, Passage, Progress, Scan

MAX_BEFORE = 2_000
"""Code points of earlier answers that a scan is shown: the last ones."""


def said_before(passages: Sequence[Passage]) -> str:
    """Return the end of what the client says it was answered, closed by a line's end; "" for nothing."""
    texts = [passage.text for passage in passages if passage.role == "assistant" and passage.text]
    return "\n".join([*texts, ""])[-MAX_BEFORE:]


class Primed:
    """A compiled scan whose running states have seen a text before the first that they are fed."""

    def __init__(self, compiled: Compiled, before: str) -> None:
        self._compiled = compiled
        self._before = before

    def open(self) -> Scan:
        """Return the running state for one channel."""
        scan = self._compiled.open()
        scan.feed(self._before)
        return _PrimedScan(scan, len(self._before))

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        return self._compiled.find(text)


class _PrimedScan:
    """Positions are those of what is fed from now on."""

    def __init__(self, scan: Scan, before: int) -> None:
        self._scan = scan
        self._before = before

    def feed(self, text: str) -> Progress:
        return self._moved(self._scan.feed(text))

    def close(self, reason: Close, last: str = "") -> Progress:
        return self._moved(self._scan.close(reason, last))

    def _moved(self, progress: Progress) -> Progress:
        return Progress(list(self._findings(progress.findings)), max(0, progress.safe_to - self._before))

    def _findings(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        for found in findings:
            if found.end > self._before:
                yield replace(found, start=max(0, found.start - self._before), end=found.end - self._before)
