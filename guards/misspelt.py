"""Names that are not written as they should be: letters swapped, doubled, left out, half of them wrong.

Runs of capitalised words, and of words that nobody knows, are compared with the names of the policy by a
noisy channel (`policies.channel`), the nearest names only (`guards.name_index`).  A word that is spelled as
it should be speaks against a misspelling, the more the commoner it is: 'Marta Vel' is no 'Marco Vell'.

What is found puts its target in play; where it is calibrated to be rare, by names of our own making, it arms
like the name itself.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from guards.base import Finding, Part
from guards.name_index import NameIndex
from policies.calibrate import conformal_threshold, retain_sentences
from policies.channel import Channel
from policies.known import known_words, misspelt, natural_names
from policies.policy import Policy
from policies.relations import lexicon
from policies.text import Folded, fold

_NEAREST = 8
"""Names of the policy that a piece of text is compared with."""
_SHARED = 0.45
"""The part of a name's letters that a text must share where its words are known ones, or written small."""
_EDITS = 2
"""Letters that may be wrong where all words are known ones."""
_MIN_KNOWN = 4
"""Known words of fewer letters ('Min', 'Le') come about by chance too often to tell anything."""
_MIN_LETTERS = 5
"""Fewer letters than this say too little of any name."""
_MAX_WORDS = 5
_MAX_PIECES = 2_000
"""Pieces of one text that are compared; beyond them names are found as they are written only."""
_COMMON = 2e-4
"""A word as common as this ('which', 'other') is no part of a misspelt name, unless it is one of a name."""
_NATURAL, _SPOILT = 500, 300
"""Names drawn to calibrate with, as they are and misspelt."""
_SHARES = (0.5, 0.25)
"""Of a misspelt name's letters that are wrong."""
RARER = 5.0
"""Misspelt names of others, and names that no list has, may be taken for a target so many times as often as
`retain_fpr` says: in ordinary requests they are rarer by more than that."""
_ANYTHING, _A_NAME, _A_WORD = math.log(0.4), math.log(0.3), math.log(0.3)
"""What an unknown text's words are: anything at all, spelled like a name, a word that is known."""
_NO_PART = lexicon().stop_words | set(
    "mr mrs ms miss dr prof professor sir lady lord author writer novelist poet".split()
)
"""Capitalised words beside a name that are none of it."""
_REGNAL = re.compile(r"[ivx]{1,5}")
_SEED = 1_936
_LEAST = 6.0
"""No threshold is lower: of four hundred unknown names, one is meant to be one of the policy's; and real
names are more alike than drawn ones."""
_LOWEST = -1e9
"""The score of a text in which nothing can be a name."""


_KEPT = 64
_CALIBRATED: dict[bytes, tuple[float, float]] = {}
"""Thresholds by a hash of their names: a policy is compiled more often than its names change."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Adjacent words of a text that may be a misspelt name."""

    text: str
    """Its folded words."""
    span: tuple[int, int]
    known: bool
    """Whether its words are spelled as words should be, so that only a slip of the pen may be one."""
    least: float
    """The part of a name's letters that it must share to be compared with it."""


class _Word(NamedTuple):
    """One word of a text."""

    text: str
    start: int
    end: int
    known: bool
    """Whether it is spelled as some word should be."""
    own: bool
    """Whether it is a word of one of the policy's names."""
    counts: bool
    """Whether it may be part of a misspelt name."""
    capital: bool


class Misspelt:
    """Finds misspelt names of a policy's targets in the texts of a request.  Immutable; can be pickled."""

    def __init__(self, policy: Policy) -> None:
        named = dict.fromkeys(
            (fold(name).text.strip(), index)
            for index, target in enumerate(policy.targets)
            for name in target.names
        )
        pairs = [(name, index) for name, index in named if len(name.replace(" ", "")) >= _MIN_LETTERS]
        self._names = tuple(name for name, _ in pairs)
        self._targets = np.array([index for _, index in pairs], np.int32)
        self._words = frozenset(word for name in self._names for word in name.split())
        counts = {len(name.split()) for name in self._names}
        self._sizes = sorted(
            {count + more for count in counts for more in (-1, 0, 1)} & set(range(1, _MAX_WORDS + 1))
        )
        """Words of a piece: as many as a name has, one torn apart or two run together."""
        self._known = known_words() if pairs else None
        if self._known is not None:
            self._channel = Channel(self._known.letters)
            self._index = NameIndex(self._names)
        self._retain_fpr = policy.retain_fpr

    def __getstate__(self) -> dict[str, Any]:
        # A policy that travels is one to serve under: what takes long is done before, and done once.
        if self._known is not None:
            _ = self._thresholds
        return self.__dict__

    def find(self, text: str, folded: Folded) -> list[Finding]:
        """Return the targets whose names are misspelt in a text, `folded` being that text."""
        if self._known is None:
            return []
        found: dict[int, Finding] = {}
        for piece, place, odds in self._compared(list(self._pieces(text, folded))):
            if odds <= _LEAST:
                continue
            index, threshold = int(self._targets[place]), self._thresholds[piece.known]
            better = index not in found or odds > (found[index].score or 0.0)
            if odds > threshold and better and self._alike(piece.text, self._names[place]):
                start, end = piece.span
                found[index] = Finding(
                    index, "misspelt", Part.MISSPELT, start, end, score=odds, threshold=threshold
                )
        return list(found.values())

    @property
    def thresholds(self) -> tuple[float, float] | None:
        """The log odds above which a piece with an unknown word, and one of known words, is a name; or None.

        None where the policy has no name that is long enough to be looked for.
        """
        return None if self._known is None else self._thresholds

    def margins(self, text: str) -> dict[int, float]:
        """Return, for each target that a text has any likeness to, its log odds less their threshold.

        Above 0 it is found.  For measuring: `find` looks no further than it must.
        """
        best: dict[int, float] = {}
        if self._known is None:
            return best
        for piece, place, odds in self._compared(list(self._pieces(text, fold(text)))):
            target, margin = self._targets[place], odds - self._thresholds[piece.known]
            if margin > best.get(target, _LOWEST) and self._alike(piece.text, self._names[place]):
                best[target] = margin
        return best

    @cached_property
    def _thresholds(self) -> tuple[float, float]:
        """The thresholds of pieces with an unknown word, and of those that are known."""
        about = "\0".join((str(self._retain_fpr), *self._names)).encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(about, digest_size=16).digest()
        if key not in _CALIBRATED:
            if len(_CALIBRATED) >= _KEPT:
                _CALIBRATED.pop(next(iter(_CALIBRATED)))
            _CALIBRATED[key] = self._calibrated()
        return _CALIBRATED[key]

    def _calibrated(self) -> tuple[float, float]:
        """Return the thresholds of pieces with an unknown word, and of those that are known.

        Each is exceeded by what must pass at most so often: by ordinary sentences and names at `retain_fpr`,
        by misspelt names of others, and by names that no list has, at `RARER` times that.
        """
        drawn = natural_names(_NATURAL + _SPOILT, _SEED)
        draw = random.Random(_SEED)  # noqa: S311  (no secret: the same names at each start)
        spoilt = [
            misspelt(name, _SHARES[at % len(_SHARES)], draw) for at, name in enumerate(drawn[_NATURAL:])
        ]
        ordinary = self._best([*retain_sentences(), *drawn[:_NATURAL]])
        rate = min(RARER * self._retain_fpr, 0.5)
        rare = [self._best(spoilt), self._best(drawn[:_SPOILT], listed=False)]
        thresholds = [
            max(
                conformal_threshold(ordinary[:, known], self._retain_fpr),
                *(conformal_threshold(each[:, known], rate) for each in rare),
            )
            for known in (0, 1)
        ]
        return max(thresholds[0], _LEAST), max(*thresholds, _LEAST)

    def _best(self, texts: Sequence[str], *, listed: bool = True) -> NDArray[np.float64]:
        """Return [texts, 2] highest scores of pieces with an unknown word, and of those that are known.

        listed: whether names that a list knows are known ones; without it, all count as unknown.
        """
        best = np.full((len(texts), 2), _LOWEST)
        pieces = [
            (at, piece)
            for at, text in enumerate(texts)
            for piece in self._pieces(text, fold(text), listed=listed)
        ]
        of_text = {id(piece): at for at, piece in pieces}
        for piece, _, odds in self._compared([piece for _, piece in pieces], listed=listed):
            at = of_text[id(piece)]
            best[at, int(piece.known)] = max(best[at, int(piece.known)], odds)
        return best

    def _compared(
        self, pieces: Sequence[_Piece], *, listed: bool = True
    ) -> Iterator[tuple[_Piece, int, float]]:
        """Yield (piece, place of a name, log odds) for the names that are near to each piece."""
        near = [self._index.nearest(each.text, _NEAREST, each.least) for each in pieces]
        pairs = [
            (piece, int(place)) for piece, places in zip(pieces, near, strict=True) for place in places
            if self._may_be(piece, self._names[place])
        ]  # fmt: skip
        odds = self._channel.odds(
            [piece.text for piece, _ in pairs], [self._names[place] for _, place in pairs]
        )
        known = {piece.text: self._meant(piece.text, listed=listed) for piece in pieces}
        for (piece, place), each in zip(pairs, odds.tolist(), strict=True):
            yield piece, place, each + known[piece.text]

    def _may_be(self, piece: _Piece, name: str) -> bool:
        """Whether a piece is worth comparing with a name: words that are known must nearly be it."""
        if piece.text == name or _is_another(piece.text, name):
            return False
        if OSA.distance(piece.text, name, score_cutoff=_EDITS) <= _EDITS:
            return True
        # One word for a name of several: they were run together, and little else is wrong with them.
        alike = " " in piece.text or " " not in name or 3 * OSA.distance(piece.text, name) <= len(name)
        return alike and not piece.known

    def _alike(self, piece: str, name: str) -> bool:
        """Whether a piece is like a name also in what the two do not share: a surname alone is not enough."""
        written, meant = piece.split(), name.split()
        ours = [word for word in written if word not in meant]
        theirs = [word for word in meant if word not in written]
        if len(ours) == len(written) or OSA.distance(piece, name, score_cutoff=_EDITS) <= _EDITS:
            return True
        if not ours or not theirs:
            return False
        rest = " ".join(ours)
        return float(self._channel.odds([rest], [" ".join(theirs)])[0]) + self._meant(rest) > 0.0

    def _meant(self, text: str, *, listed: bool = True) -> float:
        """Return by how much the words' spelling speaks against a misspelling, as log odds; or for it.

        listed: whether words that a list knows count as known.
        """
        assert self._known is not None
        total = 0.0
        for word in text.split():
            anything = self._channel.by_chance(word)
            written = _logs_added(_ANYTHING + anything, _A_NAME + self._known.spelling.log_chance(word))
            if listed and (share := self._known.share(word)):
                written = _logs_added(written, _A_WORD + math.log(share))
            total += anything - written
        return total

    def _pieces(self, text: str, folded: Folded, *, listed: bool = True) -> Iterator[_Piece]:
        """Yield what may be a misspelt name; ordinary sentences hold nothing of the kind."""
        assert self._known is not None
        words = folded.words
        if not self._words.isdisjoint(words) or any(map(self._is_rare, words)):
            yield from self._of_runs(text, words, folded.spans, listed=listed)

    def _is_rare(self, word: str) -> bool:
        assert self._known is not None
        return word not in self._known.common and not word.isdecimal()

    def _of_runs(
        self, text: str, words: Sequence[str], spans: Sequence[tuple[int, int]], *, listed: bool
    ) -> Iterator[_Piece]:
        left = _MAX_PIECES
        for run in self._runs(text, words, spans):
            for piece in self._of_run(text, run, listed=listed):
                if left == 0:
                    return
                left -= 1
                yield piece

    def _of_run(self, text: str, run: Sequence[_Word], *, listed: bool) -> Iterator[_Piece]:
        for size in self._sizes:
            for at in range(len(run) - size + 1):
                words = run[at : at + size]
                if any(self._goes_on(word) for word in (*run[at - 1 : at], *run[at + size : at + size + 1])):
                    continue
                # A word that is spelled as it should be is no typo, unless all is nearly the name.
                known = listed and (
                    any(word.known and len(word.text) >= _MIN_KNOWN for word in words)
                    or all(word.known or word.own for word in words)
                    or 2 * sum(word.known for word in words) > size
                )
                unknown = any(not word.known and not word.own for word in words)
                if known and not unknown and (size == 1 or not any(word.own for word in words)):
                    continue
                joined = " ".join(word.text for word in words)
                if len(joined) - size + 1 < _MIN_LETTERS:
                    continue
                capitals = any(word.capital for word in words) and not _is_of_a_species(text, words)
                least = _SHARED if known or size == 1 or not capitals else 0.0
                yield _Piece(joined, (words[0].start, words[-1].end), known, least)

    def _goes_on(self, beside: _Word) -> bool:
        """Whether a word beside a piece is of the same name: a part of another name is none of its own."""
        return beside.capital and not beside.own and beside.text not in _NO_PART

    def _runs(
        self, text: str, words: Sequence[str], spans: Sequence[tuple[int, int]]
    ) -> Iterator[list[_Word]]:
        """Yield the runs of adjacent words that are capitalised, unknown, or beside a word of a name."""
        run: list[_Word] = []
        for token in self._tokens(text, words, spans):
            if run and text[run[-1].end : token[0].start].strip(" '’."):
                yield run
                run = []
            if any(word.counts or word.own for word in token):
                run.extend(token)
            elif run:
                yield run
                run = []
        if run:
            yield run

    def _tokens(
        self, text: str, words: Sequence[str], spans: Sequence[tuple[int, int]]
    ) -> Iterator[list[_Word]]:
        """Yield the words, those that a hyphen joins together; one beside a word of a name counts."""
        token: list[_Word] = []
        for at, (word, (start, end)) in enumerate(zip(words, spans, strict=True)):
            if token and text[token[-1].end : start] != "-":
                yield token
                token = []
            beside = any(word_ in self._words for word_ in words[max(0, at - 1) : at + 2])
            token.append(self._word(word, start, end, capital=text[start].isupper(), beside=beside))
        if token:
            yield token

    def _word(self, word: str, start: int, end: int, *, capital: bool, beside: bool) -> _Word:
        assert self._known is not None
        if word in self._words:
            return _Word(word, start, end, known=False, own=True, counts=True, capital=capital)
        if not beside and not capital and (len(word) < 3 or not self._is_rare(word)):
            return _Word(word, start, end, known=True, own=False, counts=False, capital=False)
        share = self._known.share(word)
        counts = (beside and word not in _NO_PART) or share <= (_COMMON if capital else 0.0)
        return _Word(word, start, end, known=share > 0.0, own=False, counts=counts, capital=capital)


def _is_of_a_species(text: str, words: Sequence[_Word]) -> bool:
    """Whether words are a scientific name, as '(Vulpes vulpes)': two in brackets, the second small."""
    start, end = words[0].start, words[-1].end
    brackets = text[max(0, start - 1) : start] == "(" and text[end : end + 1] == ")"
    return brackets and len(words) == 2 and words[0].capital and not words[1].capital


def _is_another(piece: str, name: str) -> bool:
    """Whether both end in a regnal number and these differ: 'Otto IV' is no misspelt 'Otto II'."""
    ours, theirs = piece.rsplit(" ", 1)[-1], name.rsplit(" ", 1)[-1]
    return ours != theirs and all(map(_REGNAL.fullmatch, (ours, theirs)))


def _logs_added(one: float, other: float) -> float:
    """Return the log of the sum of what two logs stand for."""
    return max(one, other) + math.log1p(math.exp(-abs(one - other)))
