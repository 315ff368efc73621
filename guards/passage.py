"""Texts that must not be repeated: runs of their words, found wherever they begin, as a stream comes.

An answer is read as folded words.  Every few words a short run is looked up in the filter of
`policies.shingles`; only where it passes are whole shingles looked up, so that what holds none costs the same
whatever the length and number of the texts.  A finding begins behind the first words of a shingle: fewer
words than a run of the filter may be anybody's, and leave.  The frontier is where a finding could begin that
is not complete yet, so text whose last words begin no shingle is not held back at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from guards.base import Close, Finding, Part, Progress, ScanError
from policies.policy import Policy
from policies.shingles import ENDLESS, MAX_WORD, Shingles
from policies.text import Folded, fold

MAX_OPEN = 64 * MAX_WORD
"""A word that goes on for more code points than this, by invisible characters, stops the exchange."""
_SENTENCE_END = re.compile(r"[\n.!?…。！？]")


class Quotes:
    """The shingles of a policy; immutable, shared by every exchange under it."""

    def __init__(self, policy: Policy) -> None:
        self.tables: tuple[Shingles, ...] = policy.shingles
        self.longest = max((table.words for table in self.tables), default=0)
        """Words of the longest shingle: no more are remembered of a text."""

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text, in the order of their ends."""
        return list(self.open().close("stop", text).findings)

    def open(self) -> QuoteScan:
        """Return the running state for one channel."""
        return QuoteScan(self)


@dataclass(slots=True)
class _Piece:
    """Words of the text that came together: `count` of them, the first being the text's word `first`."""

    first: int
    count: int
    base: int
    """Original position of `text`."""
    text: str
    folded: Folded
    apart: bool
    """Whether a sentence may have ended in text without words, between the piece before and this one."""

    def gap(self, word: int) -> str:
        """Return what stands between a word and the one before, which is of this piece too."""
        at = word - self.first
        return self.text[self.folded.spans[at - 1][1] : self.folded.spans[at][0]]


@dataclass(slots=True)
class _Reading:
    """How far one table's look at the text has come."""

    table: Shingles
    hit: int = -1
    """The last place at which a run of the filter was looked up and found; -1 for none."""
    matched: int = -1
    """The word at which the last shingle ended; -1 for none."""


class QuoteScan:
    """The running state of the passages over one channel of one choice.

    Holds back less than a shingle's words, and only while the text's last words begin one.  Work is linear
    in the text; what is remembered of it is a shingle's words and one open word.
    """

    def __init__(self, quotes: Quotes) -> None:
        self._longest = quotes.longest
        self._readings = [_Reading(table) for table in quotes.tables]
        self._tail = ""
        """The word that has not ended, with what follows it."""
        self._base = 0
        self._endless = False
        """Whether the tail's first word began in text that is gone."""
        self._words: list[str] = []
        """The last words that have ended."""
        self._count = 0
        """How many words have ended so far."""
        self._apart = False
        """Whether a sentence may have ended in text without words, behind the last piece."""
        self._pieces: list[_Piece] = []

    def feed(self, text: str) -> Progress:
        """Take more text."""
        self._tail += text
        return self._advance(closed=False)

    def close(self, reason: Close, last: str = "") -> Progress:
        """End the text.  Fewer words than a shingle has may leave, wherever the text was cut."""
        self._tail += last
        return self._advance(closed=True)

    def _advance(self, *, closed: bool) -> Progress:
        total = self._base + len(self._tail)
        folded = fold(self._tail, closed=closed)
        fresh, open_at = self._take(folded)
        findings = [found for each in self._readings for found in self._found(each, fresh)]
        safe_to = total if closed else min([open_at, *map(self._live, self._readings)])
        self._forget()
        return Progress(findings, safe_to)

    def _take(self, folded: Folded) -> tuple[int, int]:
        """Move the words that have ended out of the tail; return how many, and where what is left begins."""
        words = folded.text.split()
        ended = len(words) if folded.text[-1] == " " else len(words) - 1
        if self._endless and words:
            words[0] = ENDLESS
        if ended:
            taken = words[:ended]
            if len(folded.text) > MAX_WORD and len(max(taken, key=len)) > MAX_WORD:
                taken = [word if len(word) <= MAX_WORD else ENDLESS for word in taken]
            self._pieces.append(_Piece(self._count, ended, self._base, self._tail, folded, self._apart))
            self._apart = False
            self._words += taken
            self._count += ended
            self._endless = False
        total = self._base + len(self._tail)
        if not ended:
            # No piece remembers this text: what stands in it before an open word, or all of it.
            before = self._tail[: folded.spans[0][0]] if words else self._tail
            self._apart |= _SENTENCE_END.search(before) is not None
        if ended == len(words):
            self._tail, self._base = "", total
            return ended, total
        start, end = folded.spans[ended]
        open_at = self._base + start
        if len(words[ended]) > MAX_WORD or self._endless and end - start > MAX_WORD:
            # Only that it has not ended matters from here on: its last letter, and what follows it.
            start, self._endless = end - 1, True
        self._tail, self._base = self._tail[start:], self._base + start
        if len(self._tail) > MAX_OPEN:
            raise ScanError("a word has gone on for longer than any text needs")
        return ended, open_at

    def _found(self, reading: _Reading, fresh: int) -> Iterator[Finding]:
        """Yield a finding for each shingle that ends with one of the last `fresh` words."""
        table, stride = reading.table, reading.table.words - reading.table.short + 1
        begin, offset = self._count - fresh, self._count - len(self._words)
        # Every shingle holds one run that begins at a multiple of the stride.
        first = max(0, begin - table.short + 1)
        places = range(-(-first // stride) * stride, self._count - table.short + 1, stride)
        hits = [at for at in places if table.holds(self._words[at - offset : at - offset + table.short])]
        if reading.hit >= 0:
            hits.insert(0, reading.hit)
        if not hits:
            return
        for hit in hits:
            # The shingles that hold this run end with one of these words.
            for end in range(max(begin, hit + table.short - 1), min(self._count, hit + table.words)):
                if end - table.words + 1 >= 0:
                    yield from self._shingle(reading, end, offset)
        reading.hit = hits[-1]

    def _shingle(self, reading: _Reading, end: int, offset: int) -> Iterator[Finding]:
        """Yield a finding for each target whose text holds the words up to word `end`."""
        table, begin = reading.table, end - reading.table.words + 1
        targets = list(table.find(self._words[begin - offset : end - offset + 1]))
        if not targets:
            return
        goes_on = reading.matched == end - 1
        start = self._after(end) if goes_on else self._span(begin + table.short - 1)[0]
        reading.matched = end
        for target in targets:
            yield Finding(target, "passage", Part.PASSAGE, start, self._span(end)[1])

    def _after(self, word: int) -> int:
        """Return where the word before ends; where a sentence may have ended between, where this one begins.

        So findings of one sentence touch, and a border between two sentences lies in none.
        """
        piece = self._piece(word)
        if word > piece.first:
            apart = _SENTENCE_END.search(piece.gap(word)) is not None
        else:
            before = self._piece(word - 1)
            behind = before.folded.spans[before.count - 1][1]
            apart = (
                piece.apart or _SENTENCE_END.search(before.text, behind, piece.base - before.base) is not None
            )
        return self._span(word)[0] if apart else self._span(word - 1)[1]

    def _live(self, reading: _Reading) -> int:
        """Return where the next finding could begin at the earliest."""
        short, count = reading.table.short, len(self._words)
        run = 0
        while run + short <= min(count, reading.table.words - 1):
            if not reading.table.holds(self._words[count - run - short : count - run]):
                break
            run += 1
        held = self._count - run
        if not run:
            return self._base + len(self._tail)
        # Within what was found already, between the findings of two words.
        return self._span(held)[0] if reading.matched < held - 1 else self._span(held - 1)[1]

    def _piece(self, word: int) -> _Piece:
        return next(each for each in reversed(self._pieces) if each.first <= word)

    def _span(self, word: int) -> tuple[int, int]:
        """Return the original span of one of the words that are remembered."""
        piece = self._piece(word)
        start, end = piece.folded.spans[word - piece.first]
        return piece.base + start, piece.base + end

    def _forget(self) -> None:
        keep = self._count - self._longest
        del self._words[: -self._longest]
        while self._pieces and self._pieces[0].first + self._pieces[0].count <= keep:
            del self._pieces[0]
