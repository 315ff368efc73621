"""Dates and numbers, in figures or in words: read as `policies.numerals` reads them, whatever the language."""

from __future__ import annotations

from collections.abc import Iterator

from guards.base import Finding
from guards.literal import Entry, values_of
from guards.runs import Keys, RunScan, Tokens
from policies.numerals import may_become, numeral, telling
from policies.policy import Policy
from policies.text import MAX_GAP, Folded, fold
from policies.values import numeral_keys

_MOST_JOINING = 4
"""Words such as 'of the' in a row that may stand within a date or a number."""


class Numerals:
    """The compiled dates and numbers of a policy; immutable, shared by every exchange under it."""

    name = "numeral"

    def __init__(self, policy: Policy) -> None:
        self.keys = Keys(_entries(policy), trim=1)
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
        if not self.keys or not _tells(folded.text):
            return []
        return list(self.keys.matches(_tokens(folded, len(folded.text.split()), glued=False), self.name))

    def read(self, text: str, *, closed: bool, glued: bool) -> Tokens:
        """Return the numerals of a text; a word that has not ended is none yet."""
        folded = fold(text, closed=closed)
        words = folded.text.split()
        if not words:
            return Tokens()
        open_word = words[-1] if folded.text[-1] != " " else None
        ended = len(words) - (open_word is not None)
        tokens = _tokens(folded, ended, glued=glued) if _tells(folded.text) else Tokens()
        if open_word is None:
            if len(text) - folded.spans[-1][1] > MAX_GAP:
                tokens.shown += "  "
        elif not (glued and ended == 0) and may_become(open_word):
            tokens.open_at = folded.spans[-1][0]
        else:
            tokens.shown += "  "
            tokens.word = folded.spans[-1][1] - 1
        return tokens


def _tells(folded: str) -> bool:
    if any(map(folded.__contains__, "0123456789")) or not telling().isdisjoint(folded.split()):
        return True
    return not folded.isascii() and any(map(str.isdecimal, folded))


def _tokens(folded: Folded, ended: int, *, glued: bool) -> Tokens:
    """Return the tokens of the words that have ended; a word of another kind is a border."""
    tokens = Tokens()
    shown = " "
    joining, behind, border = 0, -1, False
    for index, word in enumerate(folded.text.split()[:ended]):
        read = None if glued and index == 0 else numeral(word)
        joining = 0 if read else joining + 1
        if read is None or joining > _MOST_JOINING:
            border = True
            continue
        start, end = folded.spans[index]
        if border or 0 <= behind < start - MAX_GAP:
            shown, border = f"{shown} ", False
        behind = end
        for place, token in enumerate(read):
            tokens.at.append(len(shown) - 1)
            tokens.spans.append((start, end))
            tokens.anchors.append(start)
            tokens.begins.append(place == 0)
            tokens.ends.append(place == len(read) - 1)
            shown += f"{token} "
    tokens.shown = f"{shown} " if border else shown
    return tokens


def _entries(policy: Policy) -> Iterator[tuple[str, Entry]]:
    for entry, value, _ in values_of(policy):
        for key in numeral_keys(value):
            yield f" {key} ", entry
