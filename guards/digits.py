"""Phone, card and account numbers by their digits: in any grouping, with any separators, or digit by digit in
words.

'4111 1111', '4111-1111', '41 11 11 11' and 'four one one one ...' are one run of digits.  A match begins and
ends where a group of digits does, so that nothing is found inside a longer number; behind '+' or '00' a
country code is a group.
"""

from __future__ import annotations

import re

from guards.base import Finding
from guards.runs import Keys, RunScan, Tokens
from guards.written import Written
from policies.identifiers import country_code
from policies.policy import Policy
from policies.text import Folded, plain

MAX_BETWEEN = 6
"""Characters between two groups of one number at most: '(0) ', ' - '."""
_WORDS = {
    word: digit
    for digit, words in enumerate(
        "zero oh nought null,one,two,three,four,five,six,seven,eight,nine".split(",")
    )
    for word in words.split()
}
_REPEATED = {"double": 2, "triple": 3}
_SPELLED = (*_WORDS, *_REPEATED)
_BEGINNINGS = frozenset(word[:length] for word in _SPELLED for length in range(1, len(word) + 1))
_DATED = str.maketrans("", "", "年月日년월일")
_DIGITS = re.compile(r"\d+")
_LAST_WORD = re.compile(r"[^\W\d_]+\Z")
_HAS_DIGIT = re.compile(r"\d")
_LONGEST_PREFIX = 5
"""'00' and a country code."""


class Digits:
    """The compiled digit strings of a policy; immutable, shared by every exchange under it."""

    name = "digits"

    def __init__(self, policy: Policy, written: Written | None = None) -> None:
        """`written`: the policy's keys, where they were gathered already."""
        self.keys = Keys((written or Written.of(policy)).digits, trim=0)
        self.max_chars = self.keys.longest * (MAX_BETWEEN + len("double") + 1)
        """Characters that a number takes at most, spelled and far apart."""

    def open(self) -> RunScan:
        """Return the running state for one channel."""
        return RunScan(self)

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        if not self.keys:
            return []
        tokens = self.read(text, closed=True, glued=False)
        return list(self.keys.matches(tokens, self.name)) if tokens.at else []

    def find_in(self, text: str, folded: Folded) -> list[Finding]:
        """Return every finding of a whole text that was folded already: most texts hold no digit in any
        guise."""
        if self.keys and (_HAS_DIGIT.search(folded.text) or any(map(folded.text.__contains__, _SPELLED))):
            return self.find(text)
        return []

    def read(self, text: str, *, closed: bool, glued: bool) -> Tokens:
        """Return the digits of a text; where it may go on, what has begun at its end is open."""
        view = plain(text)
        reading = _Reading(view.text, self.keys.shortest, closed=closed, glued=glued)
        tokens = reading.tokens
        if view.offsets is not None:
            tokens.spans = [view.span(*span) for span in tokens.spans]
            tokens.anchors = [view.span(at, at + 1)[0] for at in tokens.anchors]
            tokens.open_at = (
                None if tokens.open_at is None else view.span(tokens.open_at, tokens.open_at + 1)[0]
            )
            tokens.word = None if tokens.word is None else view.span(tokens.word, tokens.word + 1)[0]
        return tokens


class _Reading:
    """One pass over a plain text."""

    def __init__(self, text: str, shortest: int, *, closed: bool, glued: bool) -> None:
        self.tokens = Tokens()
        self._shortest = shortest
        self._text = text
        self._closed = closed
        self._pieces: list[str] = []
        self._length = 0
        self._behind: int | None = None
        """Where the last group ended; None where nothing may go on."""
        self._repeat: tuple[int, int] | None = None
        """How often the next digit counts, and where that was said."""
        self._last_is_word = False
        """Whether the text ends within an ordinary word."""
        end = len(text) if closed else self._open_end(glued)
        self._groups(end, glued)
        self._finish(end)

    def _finish(self, end: int) -> None:
        """Note what the text's end means for the last run."""
        self._between(end)
        if self._last_is_word:
            self._border()
        if self._repeat is not None and not self._closed:
            self._hold(self._repeat[1])
        self.tokens.shown = "".join(self._pieces)

    def _open_end(self, glued: bool) -> int:
        """Return up to where the text can be read; note what is open behind that."""
        text = self._text
        if text.endswith("+"):
            self._hold(len(text) - 1)
            return len(text) - 1
        match = _LAST_WORD.search(text, max(0, len(text) - 8))
        if match is None:
            return len(text)
        start = match.start()
        whole = start > 0 and not text[start - 1].isalpha() or start == 0 and not glued
        if whole and match[0].lower() in _BEGINNINGS:
            self._hold(start)
            return start
        self.tokens.word, self._last_is_word = len(text) - 1, True
        return len(text)

    def _hold(self, at: int) -> None:
        self.tokens.open_at = at if self.tokens.open_at is None else min(at, self.tokens.open_at)

    def _groups(self, end: int, glued: bool) -> None:
        found = _found(self._text, end)
        if found and sum(map(self._most, found)) < self._shortest:
            # Too few for any key: what matters is a run that may go on.
            found = [] if self._closed else self._last_run(found, end)
        for start, behind in found:
            if glued and start == 0:
                self._dead(behind)
            elif self._text[start].isdecimal():
                self._group(start, behind)
            else:
                self._word(start, behind)

    def _most(self, span: tuple[int, int]) -> int:
        """Return how many digits a group or word may stand for: 'double' and 'triple' add to the next."""
        length = span[1] - span[0]
        return length if self._text[span[0]].isdecimal() else 2 if length == len("triple") else 1

    def _last_run(self, found: list[tuple[int, int]], end: int) -> list[tuple[int, int]]:
        first = len(found)
        while first and self._joins(self._text[found[first - 1][1] : end]):
            first -= 1
            end = found[first][0]
        return found[first:]

    def _dead(self, end: int) -> None:
        if end == len(self._text) and not self._closed:
            self.tokens.word = end - 1

    def _word(self, at: int, end: int) -> None:
        word = self._text[at:end].lower()
        self._between(at)
        if word in _REPEATED:
            self._repeat, self._behind = (_REPEATED[word], at), end
            return
        times, start = self._repeat or (1, at)
        for time in range(times):
            self._add(_WORDS[word], start, end, start, time == 0, time == times - 1)
        self._behind, self._repeat = end, None

    def _group(self, start: int, end: int) -> None:
        group = self._text[start:end]
        anchor, abroad = start, 0
        if self._text[start - 1 : start] == "+":
            anchor, abroad = start - 1, country_code(group)
        elif group.startswith("00"):
            abroad = 2 + country_code(group[2:])
        if self._repeat is not None and len(group) > 1:
            self._border()
        self._between(start)
        times, from_ = self._repeat or (1, start)
        self._repeat = None
        ended = self._closed or end < len(self._text)
        if not ended:
            self._open_group(group, anchor, end)
            if times > 1:
                # With one more digit it is another group, which the word before it does not count for.
                self._hold(from_)
        anchor = min(anchor, from_)
        for index, digit in enumerate(group):
            for time in range(times):
                begins = index in (0, abroad) and time == 0
                last = index == len(group) - 1 and time == times - 1
                place = from_ if index == 0 else start + index
                self._add(int(digit), place, start + index + 1, anchor, begins, last and ended)
        self._behind = end

    def _open_group(self, group: str, anchor: int, end: int) -> None:
        """Note a group that may still grow: what its country code is may not be known yet."""
        abroad = self._text[anchor] == "+" or "00".startswith(group[:2])
        if abroad and len(group) <= _LONGEST_PREFIX:
            self._hold(anchor)
        self.tokens.word = end - 1

    def _between(self, start: int) -> None:
        if self._behind is not None and not self._joins(self._text[self._behind : start]):
            self._border()

    @staticmethod
    def _joins(gap: str) -> bool:
        return len(gap) <= MAX_BETWEEN and not any(map(str.isalnum, gap.translate(_DATED)))

    def _border(self) -> None:
        self._pieces.append(" ")
        self._length += 1
        self._behind = None
        self._repeat = None

    def _add(self, digit: int, start: int, end: int, anchor: int, begins: bool, ends: bool) -> None:
        tokens = self.tokens
        tokens.at.append(self._length)
        tokens.spans.append((start, end))
        tokens.anchors.append(anchor)
        tokens.begins.append(begins)
        tokens.ends.append(ends)
        self._pieces.append(str(digit))
        self._length += 1


def _found(text: str, end: int) -> list[tuple[int, int]]:
    """Return the spans of the groups of digits and of the words for digits, in their order."""
    found = [match.span() for match in _DIGITS.finditer(text, 0, end)]
    lower = text.lower()
    if len(lower) != len(text):
        lower = "".join(char.lower() if len(char.lower()) == 1 else char for char in text)
    words = []
    for word in _SPELLED:
        at = lower.find(word, 0, end)
        while at >= 0:
            behind = at + len(word)
            if not lower[at - 1 : at].isalpha() and not lower[behind : behind + 1].isalpha():
                words.append((at, behind))
            at = lower.find(word, behind, end)
    return sorted(found + words) if words else found
