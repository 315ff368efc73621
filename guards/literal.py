"""Names and values, found in one pass whatever the length of the list.

Aho-Corasick (Aho and Corasick 1975) over folded words (`policies.text.fold`).  Every literal is kept with a
space at both ends, so that it matches whole words only.  The frontier is the start of the longest live
prefix: text before it can no longer become part of a match, however it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from guards.base import Close, Finding, Part, Progress, ScanError
from guards.written import Entries, Index, Written
from policies.policy import Policy, Target
from policies.text import Folded, fold

OVERRUN = 64
"""A live prefix this many times longer than any literal, by invisible characters, stops the exchange."""


class Literals:
    """The compiled literals of a policy; immutable, shared by every exchange under it."""

    def __init__(self, policy: Policy, written: Written | None = None) -> None:
        """`written`: the policy's keys, where they were gathered already."""
        written = written or Written.of(policy)
        self._usual = len(written.literals)
        self._index = Index(written.words())
        self.max_chars = self._index.longest
        """Longest literal in folded characters: nothing longer is ever held back for a literal."""

    def items(self) -> Iterator[tuple[int, str]]:
        """Yield (place, literal) of every name and value as it is written, folded; no other writings.

        They come in the order of their bytes in UTF-8.
        """
        for place in self._index.places(self._usual).tolist():
            yield place, self._index.key(place)

    def literal(self, place: int) -> str:
        """Return the literal at a place."""
        return self._index.key(place)

    def entries(self, place: int) -> Entries:
        """Return what the literal at a place is of."""
        return self._index.entries(place)

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text, in the order of their ends."""
        return [found for _, found in self.matches(fold(text))] if self._index else []

    def matches(self, folded: Folded) -> Iterator[tuple[int, Finding]]:
        """Yield (end in the folded text, finding) for every literal; finding spans are original ones."""
        for first, last, entries in self._index.matches(folded.text):
            start, end = folded.span(first, last - 1)
            for entry in entries:
                yield last - 1, entry.finding("literal", start, end)

    def live(self, folded: Folded, *, skip_first: bool = False) -> int | None:
        """Return the index of the first word from which on the text may still become a longer literal."""
        text = folded.text
        # Not the space at the end, where there is one: behind it no word has begun.
        at, end = text.find(" ", max(0, len(text) - self.max_chars)), len(text) - 1
        while 0 <= at < end:
            tail = text[at:]
            if self._index.begins(tail):
                word = folded.word_at(at + 1)
                if word > 0 or not skip_first:
                    return word
            at = text.find(" ", at + 1)
        return None

    def open(self) -> LiteralScan:
        """Return the running state for one channel."""
        return LiteralScan(self)


def name_parts(target: Target) -> frozenset[str]:
    """Return the folded words of a target's names, of two letters or more."""
    return frozenset(word for name in target.names for word in fold(name).text.split() if len(word) > 1)


def value_words(target: Target) -> frozenset[str]:
    """Return the folded words of the values of a target's facts."""
    return frozenset(
        word for fact in target.facts for value in fact.values for word in fold(value).text.split()
    )


class LiteralScan:
    """The running state of the literals over one channel of one choice.

    Holds back at most `Literals.max_chars` folded characters.  The word at the end of the text so far is
    kept until it has ended, so that a literal is never found inside a longer word.
    """

    def __init__(self, literals: Literals) -> None:
        self._literals = literals
        self._tail = ""
        self._base = 0
        self._glued = False
        """Whether the tail's first word began in text that is gone: it can be no literal's first word."""
        self._seen: set[tuple[int, int, int, int | None]] = set()

    def feed(self, text: str) -> Progress:
        """Take more text; work is linear in it and in the tail that is still open."""
        self._tail += text
        return self._advance(fold(self._tail, closed=False), closed=False)

    def close(self, reason: Close, last: str = "") -> Progress:
        """End the text; where it was cut short, a literal that had begun is reported as a prefix."""
        self._tail += last
        prefix = self._prefix(fold(self._tail, closed=False)) if reason == "length" else None
        progress = self._advance(fold(self._tail), closed=True)
        if prefix is None:
            return progress
        return Progress([*progress.findings, prefix], progress.safe_to)

    def _prefix(self, folded: Folded) -> Finding | None:
        live = self._literals.live(folded, skip_first=self._glued)
        # A whole word and the beginning of the next: less is the beginning of too much to mean anything, and
        # would let names be spelled out letter by letter.
        if live is None or live == len(folded.spans) - 1:
            return None
        start, end = folded.spans[live][0], folded.spans[-1][1]
        return Finding(-1, "literal", Part.PREFIX, self._base + start, self._base + end)

    def _advance(self, folded: Folded, *, closed: bool) -> Progress:
        findings = self._fresh(folded)
        total = self._base + len(self._tail)
        if closed:
            self._tail, self._base = "", total
            return Progress(findings, total)
        live = self._literals.live(folded, skip_first=self._glued)
        safe_to = total if live is None else self._base + folded.spans[live][0]
        self._drop(folded, live)
        return Progress(findings, safe_to)

    def _fresh(self, folded: Folded) -> list[Finding]:
        findings = []
        for _, found in self._literals.matches(folded):
            if self._glued and found.start == folded.spans[0][0]:
                continue
            start, end = self._base + found.start, self._base + found.end
            key = (start, end, found.target, found.fact)
            if key not in self._seen:
                self._seen.add(key)
                findings.append(replace(found, start=start, end=end))
        return findings

    def _drop(self, folded: Folded, live: int | None) -> None:
        """Forget what can no longer matter: all before the live prefix and before the word still open."""
        if live is None and folded.text[-1] == " ":
            cut, keep = len(self._tail), 1
        else:
            last = len(folded.spans) - 1
            keep = last if live is None else min(last, live)
            cut = folded.spans[keep][0]
        if keep > 0:
            self._glued = False
        self._tail = self._tail[cut:]
        self._base += cut
        if self._seen:
            self._seen = {key for key in self._seen if key[0] >= self._base}
        longest = 4 * max(self._literals.max_chars, 16)
        if len(self._tail) > OVERRUN * longest:
            raise ScanError("a literal has gone on for longer than any text needs")
        if len(self._tail) > longest and live is None:
            # One word longer than any literal: only that it has not ended matters from here on.
            self._base += len(self._tail) - 1
            self._tail = self._tail[-1:]
            self._glued = True
