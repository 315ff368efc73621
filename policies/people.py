"""Names of persons as values: initials, the last name first, and without a title."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from policies.scripts import romanised, transliterations
from policies.text import fold

TITLES = frozenset(
    "mr mrs ms miss mx mister dr prof professor doctor sir dame lady lord madam author writer "
    "novelist poet captain capt major colonel col general gen lieutenant lt sergeant sgt corporal cpl "
    "private admiral commander cmdr officer detective inspector constable sheriff sailor pilot nurse "
    "sister brother father mother pastor reverend rev rabbi imam bishop cardinal sheikh uncle aunt "
    "auntie grandma grandpa cousin king queen prince princess count countess duchess baron baroness "
    "emperor empress sultan tsar hon honourable honorable senator sen congressman congresswoman "
    "representative governor gov mayor minister president pres chancellor ambassador judge justice "
    "secretary councillor engineer eng architect attorney lawyer chef coach teacher director chairman "
    "chairwoman principal manager comrade citizen actor actress singer painter artist journalist "
    "scientist student herr herrn frau fraulein fru froken madame mme mademoiselle mlle monsieur "
    "senor senora senorita sra srta dona signor signora signorina senhor senhora mevrouw meneer pani "
    "ing dipl mag dott".split()
)
"""Folded words before a name that are none of it, in everyday writing.

Some ('King', 'Major') are names as well: those of the policy come first.
"""
# Of a value only these: 'Uncle Ben' without his title would be any Ben.
_TITLE = re.compile(
    r"(?:(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Sir|Dame|Lady|Lord|Herr|Frau|Madame|Monsieur|Señora?|Rev|Fr|"
    r"Captain|Capt|Judge|President|Senator|Dr\.\s?med)\.?\s+)+"
)
_NAME = re.compile(r"(?:[^\W\d_]+(?:['’-][^\W\d_]+)*\.?(?:\s+|$)){1,4}")
_PARTICLES = frozenset(
    "von van der den de del della di da dos du la le el al bin ibn ben af av zu ter".split()
)
_PERSONS = frozenset(
    "spouse husband wife married partner marriage widow fiance fiancee children child son daughter "
    "sons daughters kids offspring parents parent father mother dad mum mom siblings sibling brother"
    " sister brothers sisters twin doctor physician therapist surgeon manager supervisor boss "
    "superior mentor teacher colleague colleagues coworker collaborator friend friends author editor"
    " founder owner lawyer assistant contact neighbour neighbor lover".split()
)
_HAN = re.compile("[\u4e00-\u9fff]{2,4}")
_SHORTEST = 4
"""A name of fewer letters has too few sounds to be known in another script."""
_WORDS_OF_A_LETTER = frozenset("ai")
"""As initials they read as words: 'a hill' is no A. Hill."""


def is_name(value: str) -> bool:
    """Whether a value looks like a name: one to four words, each with a capital but for 'von' and the
    like."""
    if _HAN.fullmatch(value):
        return True
    if value[:1] == value[:1].lower() or not _NAME.fullmatch(value):
        return False
    words = value.split()
    return (
        all(word[0] != word[0].lower() or word in _PARTICLES for word in words) and words[0] not in _PARTICLES
    )


def untitled(value: str) -> str:
    """Return a name without the titles before it."""
    return (
        _TITLE.sub("", value, count=1)
        if (match := _TITLE.match(value)) and match.end() < len(value)
        else value
    )


def is_persons(value: str, relation: str) -> bool:
    """Whether a name is a person's: it has two or three words, and a title or a relation that joins persons.

    relation: as the policy has it; where it is empty, every such name may be a person's.
    """
    words = [word for word in untitled(value).split() if word not in _PARTICLES]
    if len(words) not in (2, 3):
        return False
    return not relation or untitled(value) != value or not _PERSONS.isdisjoint(fold(relation).text.split())


def forms(value: str) -> Iterator[str]:
    """Yield other writings of a person's name, to be folded."""
    words = untitled(value).split()
    first, last = words[0], " ".join(words[1:])
    if len(words) > 2 and words[1].lower() not in _PARTICLES:
        middle, last = words[1], " ".join(words[2:])
        yield f"{first} {last}"
        yield f"{last} {first} {middle}"
        yield f"{first} {middle[0]} {last}"
        yield f"{first[0]} {middle[0]} {last}"
    yield f"{last} {first}"
    if first[0].casefold() not in _WORDS_OF_A_LETTER:
        yield f"{first[0]} {last}"
        yield f"{last} {first[0]}"


# A policy is compiled again for every change of it, and most of its values stay.
@lru_cache(maxsize=1 << 16)
def foreign_forms(value: str) -> tuple[str, ...]:
    """Return spellings of a name in other scripts, folded."""
    if _HAN.fullmatch(value):
        return tuple(romanised(value))
    return tuple(transliterations(value)) if sum(map(str.isalpha, value)) >= _SHORTEST else ()
