"""Runs of tokens: how numerals and digits are found in a stream, in one pass whatever the number of targets.

A scan of this kind reads a text as tokens (numbers and months, or single digits), with the ordinary words
between them as borders, and looks for its keys in the tokens by Aho-Corasick (Aho and Corasick 1975).  The
frontier is the start of the first run of tokens that is a live prefix of a key; text without any token leaves
at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from guards.base import Close, Finding, Part, Progress, ScanError
from guards.markup import GROWTH, Marked, Reading, marked
from guards.written import Entries, Index
from policies.text import Folded

MAX_TAIL = 20_000
"""Characters of one run that goes on; a longer one, of characters that show nothing, stops the exchange."""


@dataclass(slots=True)
class Tokens:
    """A text read as tokens.  Lists run in parallel, one item a token; all positions of the text are original
    ones."""

    shown: str = ""
    """The tokens, joined; a border between two runs is a space that no key holds."""
    at: list[int] = field(default_factory=list)
    """Where each token begins in `shown`."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    """In place of `spans` and `anchors`: which word of `folded` each token is.  Most are never looked up."""
    folded: Folded | None = None
    begins: list[bool] = field(default_factory=list)
    """Whether a key may begin here: not within a longer number."""
    ends: list[bool] = field(default_factory=list)
    """Whether a key may end here; False too while that is not known."""
    anchors: list[int] = field(default_factory=list)
    """From where on the text is needed to read this token again."""
    open_at: int | None = None
    """Where something begins at the text's end that may still become a token."""
    word: int | None = None
    """Where the last word's last character is, if that word has not ended and is no token."""

    def span(self, token: int) -> tuple[int, int]:
        """Return where a token stands."""
        return self.spans[token] if self.folded is None else self.folded.spans[self.words[token]]

    def anchor(self, token: int) -> int:
        """Return from where on the text is needed to read a token again."""
        return self.anchors[token] if self.folded is None else self.span(token)[0]


class Keys:
    """The keys of one kind of token and what they stand for; immutable."""

    def __init__(self, keys: Mapping[str, Entries], *, trim: int) -> None:
        """`trim`: how many characters at a key's end are no token's own."""
        self._trim = trim
        self._index = Index(keys)
        self.longest = self._index.longest
        self.shortest = min(map(len, keys), default=0)

    def __bool__(self) -> bool:
        return bool(self._index)

    def matches(self, tokens: Tokens, scan: str) -> Iterator[Finding]:
        """Yield what the tokens hold; spans are those of the original text."""
        for start, end, entries in self._index.matches(tokens.shown) if tokens.at else ():
            first = bisect_right(tokens.at, start) - 1
            final = bisect_right(tokens.at, end - 1 - self._trim) - 1
            if tokens.begins[first] and tokens.ends[final]:
                for entry in entries:
                    yield entry.finding(scan, tokens.span(first)[0], tokens.span(final)[1])

    def live(self, tokens: Tokens) -> int | None:
        """Return the original position from which on the text may still become part of a key."""
        shown = tokens.shown
        for index in range(bisect_right(tokens.at, len(shown) - self.longest - 1), len(tokens.at)):
            tail = shown[tokens.at[index] :]
            if tokens.begins[index] and self._index.begins(tail, whole=not tokens.ends[-1]):
                return tokens.anchor(index)
        return None


class Runs(Protocol):
    """The compiled form of a scan over runs."""

    def open(self) -> RunScan:
        """Return the running state for one channel."""
        ...

    name: str
    keys: Keys
    max_chars: int

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        ...

    def find_in(self, text: str, folded: Folded) -> list[Finding]:
        """Return every finding of a whole text that was folded already."""
        ...

    def read(self, text: str, *, closed: bool, glued: bool) -> Tokens:
        """Read a text as tokens; `glued`: its first word or number began before it and is none."""
        ...


class RunScan:
    """The running state of a scan over runs, for one channel of one choice.

    Keeps the text from the first live run on, and the last character of a word that has not ended.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._tail = ""
        self._base = 0
        self._glued = False
        self._seen: set[tuple[int, int, int, int | None]] = set()
        self._read = 0
        """How much of the tail was read and kept for its marks."""
        self._safe_to = 0

    def feed(self, text: str) -> Progress:
        """Take more text; work is linear in it and in the run that is still open.  Raises ScanError."""
        if not self._runs.keys:
            self._base += len(text)
            return Progress((), self._base)
        self._tail += text
        if self._read and len(self._tail) - self._read < self._read // GROWTH:
            return Progress((), self._safe_to)
        tokens = self._runs.read(self._tail, closed=False, glued=self._glued)
        findings = self._fresh(tokens)
        held = self._held(tokens)
        marks = marked(self._tail, closed=False)
        if marks is not None and marks.plain is not None:
            shown = self._runs.read(marks.plain.text, closed=False, glued=self._glued)
            findings += self._fresh(shown, marks.plain)
            # Where nothing of the reading is behind it, all that may go on is the mark at the end.
            held += [
                marks.plain.span(at, at + 1)[0] for at in self._held(shown) if at < len(marks.plain.text)
            ]
        safe_to = self._base + min(held, default=len(self._tail))
        self._drop(min(held, default=None), tokens.word, marks)
        self._read, self._safe_to = len(self._tail) if marks else 0, safe_to
        return Progress(findings, safe_to)

    def _within(self, inner: Marked) -> Iterator[int]:
        """Yield where something begins in a mark that has not ended, should that turn out to be none."""
        if (plain := inner.plain) is not None:
            tokens = self._runs.read(plain.text, closed=False, glued=False)
            starts = [each.start for each in self._runs.keys.matches(tokens, self._runs.name)]
            yield from (plain.offsets[at] for at in (*self._held(tokens), *starts) if at < len(plain.text))

    def _held(self, tokens: Tokens) -> list[int]:
        live = self._runs.keys.live(tokens)
        return [at for at in (live, tokens.open_at) if at is not None]

    def close(self, reason: Close, last: str = "") -> Progress:
        """End the text; where it was cut short within a key that had begun, that is reported as a prefix."""
        if not self._runs.keys:
            self._base += len(last)
            return Progress((), self._base)
        self._tail += last
        total = self._base + len(self._tail)
        findings: list[Finding] = []
        if self._tail:
            tokens = self._runs.read(self._tail, closed=True, glued=self._glued)
            findings = self._fresh(tokens)
            marks = marked(self._tail, closed=True)
            if marks is not None and marks.plain is not None:
                shown = self._runs.read(marks.plain.text, closed=True, glued=self._glued)
                findings += self._fresh(shown, marks.plain)
            if reason == "length":
                findings += self._prefix()
        self._tail, self._base = "", total
        return Progress(findings, total)

    def _prefix(self) -> Iterator[Finding]:
        tokens = self._runs.read(self._tail, closed=False, glued=self._glued)
        live = self._runs.keys.live(tokens)
        # One token is the beginning of too much to mean anything.
        if live is not None and sum(tokens.anchor(each) >= live for each in range(len(tokens.at))) > 1:
            end = self._base + tokens.span(-1)[1]
            yield Finding(-1, self._runs.name, Part.PREFIX, self._base + live, end)

    def _fresh(self, tokens: Tokens, reading: Reading | None = None) -> list[Finding]:
        findings = []
        for found in self._runs.keys.matches(tokens, self._runs.name):
            start, end = (found.start, found.end) if reading is None else reading.span(found.start, found.end)
            via = found.via if reading is None else ("markup",)
            moved = replace(found, start=self._base + start, end=self._base + end, via=via)
            key = (moved.start, moved.end, moved.target, moved.fact)
            if key not in self._seen:
                self._seen.add(key)
                findings.append(moved)
        return findings

    def _drop(self, held: int | None, word: int | None, marks: Marked | None) -> None:
        """Forget what no key needs; of a word that is no token its last character, so that it is seen to go
        on."""
        glued = self._glued
        if held is None:
            self._glued = word is not None
            cut = len(self._tail) if word is None else word
        else:
            self._glued = self._glued and held == 0
            cut = held
        if marks is not None and (kept := marks.keep_from(cut)) < cut:
            cut, self._glued = kept, glued and kept == 0
        self._tail = self._tail[cut:]
        self._base += cut
        if self._seen:
            self._seen = {key for key in self._seen if key[0] >= self._base}
        if len(self._tail) > MAX_TAIL:
            raise ScanError("a number has gone on for longer than any text needs")
