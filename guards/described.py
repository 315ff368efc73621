"""Persons who are described by somebody whom the policy lists: 'Ruben Kesselring's wife'.

Where a fact says that her husband is Ruben Kesselring, 'his wife' is another name of hers.  The nouns are
those of the relation (`policies/relations.yaml`), and they must stand with the value: 'the wife of …',
'the woman married to …', '…'s late wife', or 'his wife' behind the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from policies.people import TITLES
from policies.policy import Relation
from policies.text import fold

_REACH = 90
"""Code points beside a value in which the noun stands."""
_FARTHER = 240
"""Code points behind a value in which a pronoun stands for it."""
_BETWEEN = 3
"""Words between a value and its noun, at most: '…'s late second wife'."""
_OWNING = re.compile(r"[\"'”’»*_`)\]]*['’`´](?:s\b|\s)", re.IGNORECASE)
_STOPS = re.compile(r"[.?!;:\n]+(?:\s|\Z)")
_OF = frozenset("of to for from".split())
_LEADING = TITLES | frozenset("a an the one certain man woman person guy lady called named late".split())
"""Words before a value that leave it what stands before them: 'married to a man called …'."""
_WITHIN = frozenset("and first second third own only late former current then now ex".split())
_PRONOUNS = frozenset("his her their".split())


def described(
    text: str, start: int, end: int, relation: Relation, empty: frozenset[str]
) -> tuple[int, int] | None:
    """Return where a text says who stands in `relation` to the value at `[start, end)`, or None.

    empty: folded words that are no adjectives, so that 's and a noun on two sides of one are not joined.
    Half-open, in code points; bounded work.
    """
    if not (relation.nouns or relation.joins):
        return None
    if (begin := _before(text, start, relation)) is not None:
        return begin, end
    behind = text[end : end + _REACH]
    owning = _OWNING.match(behind)
    if owning and (reach := _noun(behind[owning.end() :], relation.nouns, empty)):
        return start, end + owning.end() + reach
    farther = text[end : end + _FARTHER]
    folded = fold(farther)
    for at, word in enumerate(folded.words):
        if word in _PRONOUNS:
            after = folded.spans[at][1]
            if reach := _noun(farther[after : after + _REACH], relation.nouns, empty):
                return start, end + after + reach
    return None


def _before(text: str, start: int, relation: Relation) -> int | None:
    """Return where 'the wife of' or 'married to' begins before a value."""
    around = text[max(0, start - _REACH) : start]
    from_ = start - len(around)
    for stop in _STOPS.finditer(around):
        # A dot behind a title ends no sentence.
        if TITLES.isdisjoint(fold(around[: stop.start()]).words[-1:]):
            from_ = start - len(around) + stop.end()
    folded = fold(text[from_:start])
    words = list(folded.words)
    while words and words[-1] in _LEADING:
        words.pop()
    said = f" {' '.join(words)} "
    for phrase in relation.joins:
        if said.endswith(f" {phrase} "):
            return from_ + folded.spans[len(words) - len(phrase.split())][0]
    if not words or words.pop() not in _OF:
        return None
    ends = [words]
    if len(words) > 2 and words[-2] == "and":
        ends.append(words[:-2])  # 'the wife and agent of …'
    for each in ends:
        said = f" {' '.join(each)} "
        for noun in relation.nouns:
            if said.endswith(f" {noun} "):
                return from_ + folded.spans[len(each) - len(noun.split())][0]
    return None


def _noun(text: str, nouns: Sequence[str], empty: frozenset[str]) -> int | None:
    """Return where a noun ends that a text begins with, but for a few adjectives."""
    stop = _STOPS.search(text)
    folded = fold(text[: stop.start()] if stop else text)
    words = folded.words
    for at in range(min(len(words), _BETWEEN + 1)):
        rest = f" {' '.join(words[at:])} "
        for noun in nouns:
            if rest.startswith(f" {noun} "):
                return folded.spans[at + len(noun.split()) - 1][1]
        if words[at] in empty and words[at] not in _WITHIN:
            return None
    return None
