"""Names and values, found in one pass whatever the length of the list.

Aho-Corasick (Aho and Corasick 1975) over folded words (`policies.text.fold`).  Every literal is kept with a
space at both ends, so that it matches whole words only.  The frontier is the start of the longest live
prefix: text before it can no longer become part of a match, however it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guards.apart import Names
from guards.base import Close, Finding, Part, Progress, ScanError
from guards.markup import GROWTH, MAX_KEPT, Marked, Reading, marked
from guards.written import Entries, Index, Written
from policies.policy import Policy, Target
from policies.text import Folded, fold

if TYPE_CHECKING:
    from guards.runs import Runs

OVERRUN = 64
"""A live prefix this many times longer than any literal, by invisible characters, stops the exchange."""


class Literals:
    """The compiled literals of a policy; immutable, shared by every exchange under it."""

    def __init__(self, policy: Policy, written: Written | None = None) -> None:
        """`written`: the policy's keys, where they were gathered already."""
        written = written or Written.of(policy)
        self._usual = len(written.literals)
        self._index = Index(written.words())
        self._names = Names(policy, self._index)
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
        if not self._index:
            return []
        folded = fold(text)
        return [*(found for _, found in self.matches(folded)), *self.apart(text, folded)]

    def apart(self, text: str, folded: Folded) -> list[Finding]:
        """Return what a whole text brings without its marks (`guards.markup`), or with words in between.

        `folded` is that text.  What it brings as it stands is left to `matches`.
        """
        marks = marked(text, closed=True)
        if marks is None and not self._names.may_stand_in(folded):
            return []
        found: list[Finding] = []
        for look in looks(text, folded, marks, closed=True):
            found += self._at(look, closed=True, whole=look.reading is not None)[0]
        plain = {(each.start, each.end) for _, each in self.matches(folded)} if found else ()
        return [each for each in dict.fromkeys(found) if (each.start, each.end) not in plain]

    def _at(self, look: Look, *, closed: bool, whole: bool = True) -> tuple[list[Finding], int | None]:
        """Return what one look at a text finds, and the first word from which on a name may stand apart.

        whole: whether what does not stand apart is looked for as well.
        """
        apart, live = self._names.look(look.text, look.folded, closed=closed)
        found = [each for _, each in self.matches(look.folded)] if whole else []
        spans = look.folded.spans if apart else ()
        found += [
            entry.finding("literal", spans[each.first][0], spans[each.last][1])
            for each in apart
            for entry in each.entries
        ]
        return [look.placed(each) for each in found], live

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


@dataclass(frozen=True, slots=True)
class Look:
    """One way in which a text is read."""

    text: str
    folded: Folded
    reading: Reading | None = None
    """None for the text as it stands."""

    def placed(self, found: Finding) -> Finding:
        """Return a finding with the span that it has in the original."""
        if self.reading is None:
            return found
        start, end = self.reading.span(found.start, found.end)
        return replace(found, start=start, end=end, via=("markup",))

    def begins(self, word: int) -> int:
        """Return where a word begins in the original."""
        start, end = self.folded.spans[word]
        return start if self.reading is None else self.reading.span(start, end)[0]


def looks(text: str, folded: Folded, marks: Marked | None, *, closed: bool) -> Iterator[Look]:
    """Yield the ways in which a text is read: as it stands, and where it has marks, without them."""
    yield Look(text, folded)
    for reading in marks.readings if marks else ():
        shown = fold(reading.text, closed=closed)
        if shown.text != folded.text:
            yield Look(reading.text, shown, reading)


class Apart:
    """The names and values of a policy as they stand apart in a request: without its marks, or with words in
    between.  Immutable."""

    def __init__(self, literals: Literals, runs: Sequence[Runs] = ()) -> None:
        self._literals = literals
        self._runs = runs

    def open(self) -> LiteralScan:
        """Return the running state for one channel."""
        return self._literals.open()

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text that it does not bring as it stands."""
        found = self._literals.apart(text, fold(text)) if self._literals.max_chars else []
        marks = marked(text, closed=True) if self._runs else None
        if marks is not None and marks.plain is not None:
            for each in (each for runs in self._runs for each in runs.find(marks.plain.text)):
                start, end = marks.plain.span(each.start, each.end)
                found.append(replace(each, start=start, end=end, via=("markup",)))
        return found


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
        self._read = 0
        """How much of the tail was read and kept for its marks."""
        self._safe_to = 0

    def feed(self, text: str) -> Progress:
        """Take more text; work is linear in it and in the tail that is still open."""
        self._tail += text
        if self._read and len(self._tail) - self._read < self._read // GROWTH:
            return Progress((), self._safe_to)
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
        for look in looks(self._tail, folded, marked(self._tail, closed=False), closed=False):
            live = self._literals.live(look.folded, skip_first=self._glued)
            last = len(look.folded.spans) - 1
            # A whole word and the beginning of the next: less is the beginning of too much to mean anything,
            # and would let names be spelled out letter by letter.
            if live is not None and live < last:
                start, end = self._base + look.begins(live), self._base + len(self._tail.rstrip())
                return Finding(-1, "literal", Part.PREFIX, start, end)
        return None

    def _advance(self, folded: Folded, *, closed: bool) -> Progress:
        marks = marked(self._tail, closed=closed)
        findings: list[Finding] = []
        begun: list[int] = []
        for look in looks(self._tail, folded, marks, closed=closed):
            found, apart = self._literals._at(look, closed=closed)
            findings += self._fresh(found, look)
            if not closed:
                live = self._literals.live(look.folded, skip_first=self._glued)
                begun += [
                    look.begins(word)
                    for word in (live, apart)
                    if word is not None and (word or not self._glued)
                ]
        total = self._base + len(self._tail)
        if closed:
            self._tail, self._base = "", total
            return Progress(findings, total)
        begun += self._within(marks) if marks else ()
        safe_to = self._base + min(begun, default=len(self._tail))
        self._drop(folded, min(begun, default=None), marks)
        self._read, self._safe_to = len(self._tail) if marks else 0, safe_to
        return Progress(findings, safe_to)

    def _within(self, marks: Marked) -> Iterator[int]:
        """Yield where something begins in a mark that has not ended, which counts if that turns out to be
        none."""
        for base, inner in marks.within():
            for look in looks(inner.original, fold(inner.original, closed=False), inner, closed=False):
                found, apart = self._literals._at(look, closed=False)
                live = self._literals.live(look.folded)
                yield from (base + each.start for each in found if look.reading is not None)
                yield from (base + look.begins(word) for word in (live, apart) if word is not None)

    def _fresh(self, found: Sequence[Finding], look: Look) -> list[Finding]:
        findings = []
        first = look.begins(0) if self._glued and found else None
        for each in found:
            if each.start == first:
                continue
            start, end = self._base + each.start, self._base + each.end
            key = (start, end, each.target, each.fact)
            if key not in self._seen:
                self._seen.add(key)
                findings.append(replace(each, start=start, end=end))
        return findings

    def _drop(self, folded: Folded, live: int | None, marks: Marked | None) -> None:
        """Forget what can no longer matter: all before what is live and before the word still open."""
        if live is None and folded.text[-1] == " ":
            cut, begun = len(self._tail), True
        else:
            last = folded.spans[-1][0] if folded.spans else 0
            cut = last if live is None else min(last, live)
            begun = cut > 0 and cut > folded.spans[0][0]
        if marks is not None and (kept := marks.keep_from(cut)) < cut:
            cut, begun = kept, kept > 0
        if begun:
            self._glued = False
        self._tail = self._tail[cut:]
        self._base += cut
        if self._seen:
            self._seen = {key for key in self._seen if key[0] >= self._base}
        longest = 4 * max(self._literals.max_chars, 16) + (MAX_KEPT if marks else 0)
        if len(self._tail) > longest and live is None:
            # One word longer than any literal: only that it has not ended matters from here on.
            self._base += len(self._tail) - 1
            self._tail = self._tail[-1:]
            self._glued = True
        elif len(self._tail) > OVERRUN * longest:
            raise ScanError("a literal has gone on for longer than any text needs")
