"""Whether a value stands by itself in a request, or within another thing's name or a longer number.

'Danehill Drift' is not Danehill, and 84,000,000 is not 84,000.  This is asked of whole texts of a request
alone: there a value arms, and one that is another's should not.  In answers every value counts as it stands,
since it is a leak only with its subject in play, and then a word more beside it must not let it out.
"""

from __future__ import annotations

import re
from collections.abc import Set

from policies.numerals import MULTIPLIERS, numeral
from policies.text import fold

_NEXT = re.compile(r"([ \u00a0-]?)([^\W_]+)")
_BEFORE = re.compile(r"(?:^|[^\w])([^\W_]+)([ \u00a0-]?)\Z")
_MORE_FIGURES = re.compile(r"[.,'’]\d|[ \u00a0\u202f]\d{3}(?!\d)")
_FIGURES_BEFORE = re.compile(r"\d[.,'’]\Z")
_SENTENCE_ENDS = re.compile(r"[.!?:\n][\"'”’)]*\s*[\"'“‘(*-]*\Z")
_GROUP = re.compile(r"\d{3}(?!\d)")
_CONTEXT = 60


def stands_alone(text: str, start: int, end: int, own: Set[str], ordinary: Set[str]) -> bool:
    """Return whether the value at `text[start:end]` is no part of another name or number.

    own: folded words of the target, ordinary: folded words that say nothing about a name.
    """
    if start >= end:
        return True
    if _is_number(text[start:end]):
        return not _in_longer_number(text, start, end)
    if text[start] == text[start].lower() or text[start:end].isupper():
        return True  # without capitals, or with nothing else, they tell nothing
    known = own | ordinary
    if (behind := _NEXT.match(text, end)) and _names_another(behind[2], known):
        return False
    around = text[max(0, start - _CONTEXT) : start]
    before = _BEFORE.search(around)
    if before is None or not _names_another(before[1], known):
        return True
    # The first word of a sentence has a capital whatever it is.
    first = around[: before.start(1)]
    opening = not first.strip(" \t\n\"'“‘(*-") and start <= _CONTEXT
    return opening or _SENTENCE_ENDS.search(first) is not None


def _names_another(word: str, known: Set[str]) -> bool:
    return word[0] != word[0].lower() and not set(fold(word).text.split()) & known


def _is_number(value: str) -> bool:
    return all(numeral(word) is not None for word in fold(value).text.split())


def _in_longer_number(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - _CONTEXT) : start]
    if _MORE_FIGURES.match(text, end) or _FIGURES_BEFORE.search(before):
        return True
    if before[-1:] in (" ", "\u00a0", "\u202f") and before[-2:-1].isdecimal() and _GROUP.match(text, start):
        return True
    behind, earlier = _NEXT.match(text, end), _BEFORE.search(before)
    if behind and _kind(behind[2]) == "multiplier":
        return True
    spelled = not text[start].isdecimal()
    return bool(earlier and (_kind(earlier[1]) == "multiplier" or spelled and _kind(earlier[1]) == "number"))


def _kind(word: str) -> str:
    tokens = [token for part in fold(word).text.split() for token in numeral(part) or ()]
    if not tokens:
        return ""
    return "multiplier" if tokens[-1] in MULTIPLIERS else "number" if tokens[-1].isdecimal() else ""
