"""Dates and numbers, in figures or in words: read as `policies.numerals` reads them, whatever the
language."""

from __future__ import annotations

from collections.abc import Sequence

from guards.base import Finding
from guards.runs import Keys, RunScan, Tokens
from guards.written import Written
from policies.numerals import may_become, numeral, telling
from policies.policy import Policy
from policies.text import MAX_GAP, Folded, fold

_TELLING = telling()
_MOST_JOINING = 4
"""Words such as 'of the' in a row that may stand within a date or a number."""


class Numerals:
    """The compiled dates and numbers of a policy; immutable, shared by every exchange under it."""

    name = "numeral"

    def __init__(self, policy: Policy, written: Written | None = None) -> None:
        """`written`: the policy's keys, where they were gathered already."""
        self.keys = Keys((written or Written.of(policy)).numerals, trim=1)
        self.max_chars = 4 * self.keys.longest
        """Folded characters that a date or number takes at most, but for a very long one in words."""

    def open(self) -> RunScan:
        """Return the running state for one channel."""
        return RunScan(self)

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        return self.find_in(text, fold(text)) if self.keys else []

    def find_in(self, text: str, folded: Folded) -> list[Finding]:
        """Return every finding of a whole text that was folded already."""
        if not self.keys:
            return []
        words = folded.words
        return list(self.keys.matches(_tokens(folded, words, len(words), glued=False), self.name))

    def read(self, text: str, *, closed: bool, glued: bool) -> Tokens:
        """Return the numerals of a text; a word that has not ended is none yet."""
        folded = fold(text, closed=closed)
        words = folded.words
        if not words:
            return Tokens()
        open_word = words[-1] if folded.text[-1] != " " else None
        ended = len(words) - (open_word is not None)
        tokens = _tokens(folded, words, ended, glued=glued)
        if open_word is None:
            if tokens.at and len(text) - folded.spans[-1][1] > MAX_GAP:
                tokens.shown += "  "
            return tokens
        begins, ends = _last_span(text, folded, open_word)
        if not (glued and ended == 0) and may_become(open_word):
            tokens.open_at = begins
        else:
            tokens.shown += "  "
            tokens.word = ends - 1
        return tokens


def _last_span(text: str, folded: Folded, word: str) -> tuple[int, int]:
    if text[-1].isalnum() and text.isascii():  # most texts: the other words' places need not be worked out
        return len(text) - len(word), len(text)
    return folded.spans[-1]


def _tokens(folded: Folded, words: Sequence[str], ended: int, *, glued: bool) -> Tokens:
    """Return the tokens of the words that have ended; a word of another kind is a border."""
    tokens = Tokens(folded=folded)
    telling = _TELLING
    places = [at for at, word in enumerate(words) if word in telling or not word.isalpha()]
    if not places:
        return tokens
    shown, last = " ", -1
    for place in places:
        read = numeral(words[place]) if place < ended and (place or not glued) else None
        if not read:
            continue
        if last >= 0 and not _joined(words, folded, last, place):
            shown = f"{shown} "
        last = place
        for number, token in enumerate(read):
            tokens.at.append(len(shown) - 1)
            tokens.words.append(place)
            tokens.begins.append(number == 0)
            tokens.ends.append(number == len(read) - 1)
            shown += f"{token} "
    if last >= 0 and not _joined(words, folded, last, ended):
        shown = f"{shown} "
    tokens.shown = shown
    return tokens


def _joined(words: Sequence[str], folded: Folded, first: int, last: int) -> bool:
    """Whether all words between two are such as 'of the', few and not far apart."""
    if last - first - 1 > _MOST_JOINING:
        return False
    for at in range(first + 1, last):
        if numeral(words[at]) != ():
            return False
    spans = folded.spans
    behind = min(last + 1, len(spans))
    return all(spans[at][0] - spans[at - 1][1] <= MAX_GAP for at in range(first + 1, behind))
