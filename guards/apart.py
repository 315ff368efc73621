"""Names whose words stand apart: 'Odalys J. Vennaker', 'First name: Odalys. Last name: Vennaker.'

Between two words of a name may stand at most two more of the same name (a middle name, an initial, a title, a
particle, a nickname in quotation marks), or labels of names.  A word that is not written as a name, or a sign
that ends what is said of somebody, stands between two people: 'Odalys Brandt met Tom Vennaker' names neither.
Only words that begin a name of the policy are followed, a bounded number of words far.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from guards.base import Part
from guards.written import Entries, Index
from policies.known import known_words
from policies.people import TITLES
from policies.policy import Policy
from policies.text import Folded, fold

_MIDDLES = 2
"""Words of the same name between two of its words, at most."""
_LABELS = 8
"""Words between two words of a name, at most, where they say what these are."""
_TITLES = TITLES | {"st", "jr", "sr"}
_PARTICLES = frozenset(
    "van von der den de del della di da dos du la le el al bin ibn ben af av zu ter nee".split()
)
_NOUNS = frozenset(
    "name names surname forename firstname lastname first last given family middle maiden second nachname "
    "vorname nom prenom nombre apellido apellidos cognome nome sobrenome nickname".split()
)
_FILLERS = frozenset(
    "is was are the a an and of her his their its my your as with who whose goes by then also plus n".split()
)
_BESIDE = re.compile(r"[\s\"'“”‘’«»()*_`-]*")
_SHORTENED = re.compile(r"[.\s\"'“”‘’«»()*_`-]*")
_AFTER_LAST = re.compile(r"\s*,\s*")
_MAX_BETWEEN = 60


class NameApart(NamedTuple):
    """A name that stands apart: its first and last word, and what it stands for."""

    first: int
    last: int
    entries: Entries


class Names:
    """The names of a policy that have several words.  Immutable."""

    def __init__(self, policy: Policy, index: Index) -> None:
        """index: what the folded names stand for, as literals."""
        self._index = index
        self._common = known_words().common if policy.targets else frozenset[str]()
        self._firsts = frozenset(word for word in _edges(policy) if len(word) > 1 and word[0].isalpha())

    def may_stand_in(self, folded: Folded) -> bool:
        """Whether a text has a word that begins some name."""
        return not self._firsts.isdisjoint(folded.words)

    def look(self, text: str, folded: Folded, *, closed: bool) -> tuple[list[NameApart], int | None]:
        """Return the names that stand apart, and the first word from which on one may still stand so."""
        words = folded.words
        if self._firsts.isdisjoint(words):
            return [], None
        found: list[NameApart] = []
        live: int | None = None
        ended = len(words) - (not closed and folded.text[-1] != " ")
        for first in range(len(words)):
            if words[first] in self._firsts:
                # In a text without capitals names have none; this word says whether there are any.
                cased = text[folded.spans[first][0]].isupper()
                walk = _Walk(self._index, self._common, text, words, folded.spans, cased)
                found += walk.names(first, ended)
                if walk.open and not closed and live is None:
                    live = first
        return found, live


class _Walk:
    """The words behind one that begins a name."""

    def __init__(
        self,
        index: Index,
        common: frozenset[str],
        text: str,
        words: Sequence[str],
        spans: Sequence[tuple[int, int]],
        cased: bool,
    ) -> None:
        self._index, self._common, self._text = index, common, text
        self._words, self._spans, self._cased = words, spans, cased
        self.open = False
        """Whether the text ended before it was known what stands there."""

    def names(self, first: int, ended: int) -> Iterator[NameApart]:
        """Yield the names that begin at a word and stand apart."""
        key, between = f" {self._words[first]} ", 0
        beside, labelled, noun = True, self._cased, False
        for at in range(first + 1, min(first + 2 + _LABELS + _MIDDLES, len(self._words) + 1)):
            begins = self._spans[at][0] if at < len(self._words) else len(self._text)
            gap = self._text[self._spans[at - 1][1] : begins]
            if at >= ended or len(gap) > _MAX_BETWEEN:
                self.open = len(gap) <= _MAX_BETWEEN
                return
            word = self._words[at]
            beside = beside and self._is_beside(at - 1, first, gap)
            longer = f"{key}{word} "
            if self._written(at) and self._index.begins(longer, whole=True):
                if between and (beside or labelled and noun):
                    yield from (NameApart(first, at, each) for each in self._exactly(longer))
                key = longer
                if not self._index.begins(longer):
                    return
                continue
            between += 1
            noun = noun or word in _NOUNS
            labelled = labelled and (word in _NOUNS or word in _FILLERS or len(word) == 1)
            beside = beside and between <= _MIDDLES and self._is_middle(at)
            if not beside and not labelled or between > _LABELS:
                return

    def _written(self, at: int) -> bool:
        """Whether a word is written as one of a name."""
        return not self._cased or self._text[self._spans[at][0]].isupper() or self._words[at] in _PARTICLES

    def _is_beside(self, before: int, first: int, gap: str) -> bool:
        """Whether what stands behind a word leaves the next one to the same name."""
        if "\n" in gap:
            return False
        word = self._words[before]
        if before > first and (len(word) == 1 or word in _TITLES):
            return _SHORTENED.fullmatch(gap) is not None
        if before == first and _AFTER_LAST.fullmatch(gap) and before + 1 < len(self._words):
            behind = self._words[before + 1]  # 'Vennaker, J. Odalys'
            return len(behind) == 1 or behind in _TITLES
        return _BESIDE.fullmatch(gap) is not None

    def _is_middle(self, at: int) -> bool:
        word = self._words[at]
        if word in _PARTICLES or word in _TITLES:
            return True
        capital = self._text[self._spans[at][0]].isupper()
        if len(word) == 1:
            return capital or not self._cased
        if word in _FILLERS or word in _NOUNS:
            return False
        return capital if self._cased else word not in self._common

    def _exactly(self, key: str) -> Iterator[Entries]:
        for start, end, entries in self._index.matches(key):
            names = tuple(entry for entry in entries if entry.part is Part.NAME)
            if names and start == 0 and end == len(key):
                yield names


def _edges(policy: Policy) -> Iterator[str]:
    """Yield the first and the last word of each name of several."""
    for name in _names(policy):
        words = fold(name).text.split()
        if len(words) > 1:
            yield words[0]
            yield words[-1]


def _names(policy: Policy) -> Iterable[str]:
    return (name for target in policy.targets for name in target.names)
