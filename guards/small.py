"""What is written small in a question, and therefore is no name and no title: 'the power will be cut'.

Names made wholly of ordinary words ('Will Power', 'Rose May') and titles of two ('Salt Ledger') need their
capitals, in a text that has any.  In answers they count as they are: there more than a word comes together.
"""

from __future__ import annotations

from collections.abc import Set

from policies.known import is_word
from policies.policy import Target
from policies.text import Folded, fold

_QUOTES = "\"'“”„«»‘’‹›*_`"
_ARTICLES = frozenset("a an any every each some another".split())
_TITLE_WORDS = 2
"""A longer title is no phrase that comes about by chance."""


def has_capitals(text: str) -> bool:
    """Whether a text has any capital, so that what lacks one lacks it for a reason."""
    return text != text.lower()


def is_ordinary(name: str) -> bool:
    """Whether a name has several words, all of them ordinary ones."""
    words = fold(name).words
    return len(words) > 1 and all(map(is_word, words))


def is_small_name(text: str, start: int, end: int, target: Target) -> bool:
    """Whether `[start, end)` lacks a capital that a name of the target made of ordinary words would have."""
    if not has_capitals(text):
        return False
    span = text[start:end]
    if all(span[first].isupper() for first, _ in fold(span).spans):
        return False
    named = [name for name in target.names if fold(name).text == fold(span).text] or target.names
    return all(map(is_ordinary, named))


def is_number_for_word(text: str, start: int, end: int, target: Target) -> bool:
    """Whether `[start, end)` has a number where no name of the target has one: 'June 2007' is no June Day."""
    if not any(word.isdecimal() for word in fold(text[start:end]).words):
        return False
    return not any(char.isdecimal() for name in target.names for char in name)


def is_small_title(text: str, start: int, end: int, empty: Set[str]) -> bool:
    """Whether a title at `[start, end)` is a common phrase: two ordinary words, small and not quoted.

    empty: folded words that are no content.
    """
    span = text[start:end]
    if has_capitals(span) or text[start - 1 : start] in _QUOTES and start:
        return False
    content = [word for word in fold(span).words if word not in empty]
    if len(content) > _TITLE_WORDS or not all(map(is_word, content)):
        return False
    before = fold(text[max(0, start - 20) : start]).words
    return has_capitals(text) or bool(before) and before[-1] in _ARTICLES


def written(text: str, folded: Folded) -> set[str]:
    """Return the folded words with a capital of a text that has any, and all words of another."""
    if not has_capitals(text):
        return set(folded.words)
    return {word for word, (at, _) in zip(folded.words, folded.spans, strict=True) if text[at].isupper()}
