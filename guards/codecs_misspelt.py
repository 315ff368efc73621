"""Misspelt names in texts that are in leet or pig Latin: judged by what those say.

A code changes letters much as misspelling does, so that a name in leet is like other names which it is no
more like than before: 'Rub3n V3nn4k3r' shares as many letters with Odalys Vennaker as a typo of hers might.
Where a text is in such a code, what counts is therefore how its words read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice, product

from guards.base import Finding
from guards.codecs_tokens import LEET_VIEWS
from guards.misspelt import Misspelt
from policies.known import known_words
from policies.policy import Target
from policies.text import Folded, fold, sentences

MIN_LEET_WORD = 4
"""Signs of a word of leet, at least a third of them letters: '1980s' and '4th' are none."""
MIN_PIG_WORDS = 4
"""Words of a sentence in pig Latin, of which three in four or more end as they must."""
_MAX_READINGS = 64
"""Ways of reading a few words of pig Latin that are tried."""
_SIGN = re.compile(r"[@$€!|0-9]")
_LEET_LIKE = re.compile(r"[0-9@$€!|](?:(?<=[^\W\d_][0-9@$€])|(?=[^\W\d_]))")
_LEET_WORD = re.compile(rf"(?<![\w@$€!|])(?:[\w@$€]|[!|](?=[A-Za-z0-9@$])){{{MIN_LEET_WORD},}}")
_CONSONANTS = re.compile(r"[^aeiou]+\Z|qu\Z")
_WORD = re.compile(r"[^\W\d_]+")


def misspelt_names(misspelt: Misspelt, targets: Sequence[Target], text: str, folded: Folded) -> list[Finding]:
    """Return the targets whose names are misspelt in a text, or in what it says in leet or pig Latin.

    targets: the policy's, of which `misspelt` was made.
    """
    views = without_leet(text)
    if not views:
        found = misspelt.find(text, folded)
    else:
        # A '1' is an i or an l: what is like a name by one of them alone is less so than it seems.
        read = [{each.target: each for each in misspelt.find(view, fold(view))} for view in views]
        found = [
            replace(each, via=("leet",)) if _SIGN.search(text[each.start : each.end]) else each
            for target, each in read[0].items()
            if all(target in others for others in read)
        ]
    return [
        each
        for each in found
        if not _is_pig_latin(text, each) or _is_read(misspelt, targets[each.target].names, text, each)
    ]


def without_leet(text: str) -> list[str]:
    """Return a text with its words of leet as they read, each character in its place; nothing for none."""
    if _LEET_LIKE.search(text) is None:
        return []
    views = [_LEET_WORD.sub(partial(_read, table), text) for table in LEET_VIEWS]
    return [] if views[0] == text == views[1] else list(dict.fromkeys(views))


def _read(table: dict[int, str], match: re.Match[str]) -> str:
    word = match.group()
    shown = word.translate(table)
    plain = 3 * sum(map(str.isalpha, word)) >= len(word) and not any(map(str.isdecimal, shown))
    return shown if plain else word


def _is_pig_latin(text: str, found: Finding) -> bool:
    """Whether a finding stands in a sentence of pig Latin."""
    if not text[found.start : found.end].lower().endswith("ay"):
        return False
    for start, end in sentences(text):
        if start <= found.start < end:
            words: list[str] = _WORD.findall(text[start:end].lower())
            turned = sum(word.endswith("ay") for word in words)
            return turned >= MIN_PIG_WORDS and 4 * turned >= 3 * len(words)
    return False


def _is_read(misspelt: Misspelt, names: Sequence[str], text: str, found: Finding) -> bool:
    """Whether a name that is misspelt as it stands is so as well in some reading of its pig Latin."""
    written = {fold(name).text for name in names}
    own = {word for name in written for word in name.split()}
    words = fold(text[found.start : found.end]).text.split()
    read = [list(_readings(word)) for word in words]
    # Of the ways to read a word, one that makes a word of it is meant.
    meant = [[each for each in some if each in own or known_words().share(each)] or some for some in read]
    for reading in islice(product(*meant), _MAX_READINGS):
        said = " ".join(reading).title()
        folded = fold(said)
        if folded.text in written or any(each.target == found.target for each in misspelt.find(said, folded)):
            return True
    return False


def _readings(word: str) -> Iterator[str]:
    """Yield what a word of pig Latin may say, the likeliest first; a word that is none is itself."""
    if not word.endswith("ay") or len(word) < 4:
        yield word
        return
    stem = word[:-2]
    for size in range(1, min(5, len(stem))):
        if _CONSONANTS.fullmatch(stem[-size:]):
            yield stem[-size:] + stem[:-size]
    if stem[-1] in "wy":
        yield stem[:-1]
    yield stem
