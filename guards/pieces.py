"""Values and names that come in pieces: halves over two sentences, letters at two ends of a word, groups of
digits that stand apart.

A value is cut into cells: a date into its day, month and year, an identifier into its digits, anything else
into the letters of its content words.  A text covers the cells of what stands in it; what is covered by all
that has left is counted in `guards.ledger`.  Here is what a text covers, for the targets that are in play and
no others, so that the cost does not grow with the policy.  A whole value is no piece: scans find it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field

from guards.base import Part
from guards.numerals import Numerals
from guards.prompt import says
from guards.written import Entry, Written
from policies.dates import Date, part_keys
from policies.identifiers import MIN_HALVED
from policies.numerals import numeral
from policies.policy import Policy, Target
from policies.relations import Lexicon
from policies.text import fold
from policies.values import Parsed, parse

MAX_CELLS = 60
"""Cells of one value: what is covered fits into a whole number of 64 bits."""
MIN_LETTERS = 6
"""Values with fewer letters are not put together: their pieces stand in every text."""
MIN_PIECE = 3
"""Letters or digits of the shortest piece of a word or number."""
MAX_READ = 20_000
"""Code points of a request in which pieces are looked for: the last ones."""
_ENOUGH = 0.8
"""The share of a value's letters that gives it away: whoever has them guesses the rest."""
_BARE_WORDS = 3
"""A sentence of no more words shows each of them for its own sake."""
_SHOWN = re.compile(
    r"[\"'“”‘’«»*_`…-]+([^\W_]{3,})|(?:\.\.+)([^\W_]{3,})|([^\W_]{3,})(?=[\"”’«»*_`…-]|\.\.|'(?!\w))"
)


DATE_CELLS = ("day", "year", "month")
"""What a date is cut into, each with the bit that it is kept as."""
_OF_ONE_WORD = re.compile(r"[^\W_]+")
_MONTHS_AND_WORDS = frozenset(("may", "march", "mar"))
_CARDINALS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty".split()
)
_BEHIND_A_DAY = re.compile(r"\s*(?:\Z|[^\s\w]|(?:of|in|day)\b)")


@dataclass(frozen=True, slots=True)
class Whole:
    """A value or a name that may come in pieces."""

    target: int
    fact: int | None
    """Index into the target's facts; None for a name."""
    index: int
    """Which of the fact's values, or of the names."""
    cells: int
    need: int
    """With so many cells covered it is given away."""


@dataclass(slots=True)
class _Letters:
    """The content words of many wholes in one text, so that a word is looked up in all of them at once."""

    shown: str = " "
    starts: list[int] = field(default_factory=list)
    """Where each word begins in `shown`, ascending."""
    words: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Of each word: its whole, how many letters of the whole stand before it, its length, all letters."""

    def add(self, number: int, words: Sequence[str]) -> None:
        before, total = 0, sum(map(len, words))
        for word in words:
            self.starts.append(len(self.shown))
            self.words.append((number, before, len(word), total))
            self.shown += f"{word} "
            before += len(word)

    def found(self, piece: str, *, within: bool) -> Iterator[tuple[int, int]]:
        """Yield (whole, cells) for each place of a piece; `within`: parts of words count too."""
        sought = piece if within else f" {piece} "
        at = self.shown.find(sought)
        while at >= 0:
            start = at if within else at + 1
            place = bisect_right(self.starts, start) - 1
            number, before, _, total = self.words[place]
            first = before + start - self.starts[place]
            yield number, _cells(first, first + len(piece), total)
            at = self.shown.find(sought, at + 1)


class Pieces:
    """The wholes of some targets under one policy; immutable, made for one exchange."""

    def __init__(
        self, policy: Policy, targets: Iterable[tuple[int, bool]], words: Lexicon, ordinary: Set[str]
    ) -> None:
        """targets: each target with whether its names count as well as its values.

        ordinary: words that stand in any text, and are a piece of a longer word only where they are shown as
        one.
        """
        self._words = words
        self._ordinary = ordinary
        self.wholes: list[Whole] = []
        self._letters, self._digits = _Letters(), _Letters()
        self._dates: dict[str, tuple[Entry, ...]] = {}
        for index, names in targets:
            self._add(index, policy.targets[index], names=names)
        self._numerals = Numerals(policy, Written(numerals=self._dates)) if self._dates else None

    def find(self, text: str, folded: str) -> dict[int, int]:
        """Return the cells that a text covers, by the number of the whole; none where it covers nothing."""
        found: dict[int, int] = {}
        words = folded.split()
        for number, cells in self._found(text, words, folded):
            found[number] = found.get(number, 0) | cells
        return found

    # -- what is looked for -----------------------------------------------------------------------

    def _add(self, index: int, target: Target, *, names: bool) -> None:
        for place, fact in enumerate(target.facts):
            for at, value in enumerate(fact.values):
                self._value(index, place, at, parse(value))
        for at, name in enumerate(target.names if names else ()):
            self._spelled(index, None, at, name)

    def _value(self, target: int, fact: int, at: int, parsed: Parsed) -> None:
        if parsed.dates:
            self._date(target, fact, at, parsed.dates)
        elif parsed.type == "identifier":
            if len(digits := _own_digits(parsed.bare)) >= MIN_HALVED:
                self._digits.add(self._whole(target, fact, at, len(digits)), [digits])
        elif parsed.type not in ("number", "measure"):
            self._spelled(target, fact, at, parsed.value)

    def _date(self, target: int, fact: int, at: int, dates: Sequence[Date]) -> None:
        self.wholes.append(Whole(target, fact, at, len(DATE_CELLS), len(DATE_CELLS)))
        number = len(self.wholes) - 1
        for date in dates:
            for key, parts in part_keys(date):
                known = self._dates.get(f" {key} ", ())
                own = (Entry(Part.VALUE_PART, number, DATE_CELLS.index(part)) for part in parts)
                self._dates[f" {key} "] = (*known, *(each for each in own if each not in known))

    def _spelled(self, target: int, fact: int | None, at: int, text: str) -> None:
        words = fold(text).text.split()
        telling = [word for word in words if word not in self._words.stop_words] or words
        if (letters := sum(map(len, telling))) >= MIN_LETTERS:
            self._letters.add(self._whole(target, fact, at, letters), telling)

    def _whole(self, target: int, fact: int | None, at: int, letters: int) -> int:
        cells = min(letters, MAX_CELLS)
        self.wholes.append(Whole(target, fact, at, cells, -int(-_ENOUGH * cells // 1)))
        return len(self.wholes) - 1

    # -- what is found ----------------------------------------------------------------------------

    def _found(self, text: str, words: Sequence[str], folded: str) -> Iterator[tuple[int, int]]:
        if self._letters.words:
            yield from self._spelled_pieces(text, words, folded)
        if self._digits.words:
            for run in dict.fromkeys(_digit_runs(words)):
                yield from self._digit_pieces(run)
        if self._numerals is not None:
            for found in self._numerals.find(text):
                cell = found.fact or 0
                if says_part(DATE_CELLS[cell], text, found.start, found.end, words):
                    yield found.target, 1 << cell

    def _spelled_pieces(self, text: str, words: Sequence[str], folded: str) -> Iterator[tuple[int, int]]:
        shown: Set[str] | None = None
        for word in dict.fromkeys(words):
            if f" {word} " in self._letters.shown:
                yield from self._letters.found(word, within=False)
            if len(word) < MIN_PIECE or word not in self._letters.shown:
                continue
            if word in self._ordinary:
                # 'car' and 'enter' stand in any text: they are no pieces of a carpenter unless shown as such.
                shown = self._shown(text, words, folded) if shown is None else shown
                if word not in shown:
                    continue
            yield from self._letters.found(word, within=True)

    def _shown(self, text: str, words: Sequence[str], folded: str) -> Set[str]:
        """Return the words that a text shows for their own sake."""
        if len(words) <= _BARE_WORDS or says(folded, self._words.probes):
            return set(words)
        marked = (next(filter(None, match.groups())) for match in _SHOWN.finditer(text))
        return {word for mark in marked for word in fold(mark).text.split()}

    def _digit_pieces(self, run: str) -> Iterator[tuple[int, int]]:
        start = 0
        while start + MIN_PIECE <= len(run):
            end = start + MIN_PIECE
            if run[start:end] not in self._digits.shown:
                start += 1
                continue
            while end < len(run) and run[start : end + 1] in self._digits.shown:
                end += 1
            yield from self._digits.found(run[start:end], within=True)
            start += 1


def says_part(part: str, text: str, start: int, end: int, words: Sequence[str]) -> bool:
    """Return whether a day or a month that stands at `text[start:end]` is said as one.

    'the third.' and 'day 3' are days, 'her third book' and '3 boats' none; 'may' is a month where it has a
    capital within a sentence.  words: the folded words of the text.
    """
    shown = text[start:end]
    if part == "year" or len(words) <= _BARE_WORDS or not _OF_ONE_WORD.fullmatch(shown):
        return True
    if part == "month":
        before = text[:start].rstrip()
        within = shown[0].isupper() and before != "" and before[-1] not in ".!?:\n"
        return shown.lower() not in _MONTHS_AND_WORDS or within or "month" in words
    if shown.isdecimal() or shown.lower() in _CARDINALS:
        return "day" in words or "date" in words
    return _BEHIND_A_DAY.match(text, end) is not None


def _own_digits(bare: Sequence[str]) -> str:
    """Return the digits that are an identifier's own, and no prefix that it may be dialled with."""
    own = min(bare, key=len).lstrip("0")
    return own if all(each.endswith(own) for each in bare) else bare[0]


def _cells(first: int, last: int, total: int) -> int:
    """Return the cells of letters [first, last) out of `total`."""
    if total > MAX_CELLS:
        first, last = first * MAX_CELLS // total, -(-last * MAX_CELLS // total)
    return (1 << last) - (1 << first)


def _digit_runs(words: Iterable[str]) -> Iterator[str]:
    """Yield the digits of words next to each other that are digits, in figures or spelled."""
    run = ""
    for word in words:
        if word.isdecimal():
            run += "".join(str(int(char)) for char in word)
        elif (read := numeral(word)) and len(read) == 1 and len(read[0]) == 1 and read[0].isdecimal():
            run += read[0]
        elif run:
            yield run
            run = ""
    if run:
        yield run
