"""Every writing that stands for a value, and how much a value tells by itself.

What a value is (a date, a number, an identifier, an address, a name, any text) is seen from its form.  Its writings
are worked out when a policy is compiled, so that they cost nothing when a text is read.  They come in three shapes:
folded words (`policies.text.fold`), tokens of numbers (`policies.numerals`) and bare digits.  Nothing here needs a
model; the same value always has the same readings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from policies import addresses, dates, identifiers, measures, numbers, people
from policies.numerals import telling
from policies.text import fold

Type = Literal["date", "number", "measure", "identifier", "email", "url", "name", "text"]
Strength = Literal["strong", "weak"]
"""strong: nobody else's, so that it puts its subject in play by itself.  weak: public, and many have it."""

MIN_GLUED = 8
"""Several words are also looked for with their spaces removed, from this many letters on: shorter ones ('Al Li')
would be found inside ordinary words' neighbours."""
_STRONG_FIGURES = 6
_QUOTED = re.compile(r"[\"“”„«‘'](.{3,})[\"“”»’']")
_STREET = re.compile(r"(?:(?P<before>\d{1,5}[^\W\d_]?)\s+)?(?P<street>[^\W\d_][^\d,]{2,60}?)(?:\s+(?P<behind>\d{1,5}[^\W\d_]?))?")  # fmt: skip
_FORM_WORDS = frozenset(
    "the a an of in on at to and or for from with by is it no my your his her our their".split()
)


@dataclass(frozen=True, slots=True)
class Readings:
    """The writings of one value."""

    type: Type
    forms: tuple[str, ...]
    """Folded, each with a space at both ends, as literals are kept."""
    numerals: tuple[str, ...] = ()
    """Keys of `policies.numerals`, tokens with one space between."""
    digits: tuple[str, ...] = ()
    """Digit strings that are the value in any grouping."""
    parts: tuple[str, ...] = ()
    """What gives the value away when all of it is said, if piece by piece: no part is the value by itself."""


def readings(value: str, relation: str = "") -> Readings:
    """Return every writing that stands for `value`.  Pure; linear in its length but for a bounded number of forms.

    relation: the fact's relation as written; with 'spouse' a name of two words is a person's, with 'employer' not.
    """
    kind = type_of(value)
    unique = dict.fromkeys(forms(value, relation, kind))
    digits = tuple(dict.fromkeys(digit_strings(value)))
    numerals = tuple(dict.fromkeys(numeral_keys(value)))
    return Readings(kind, tuple(unique), numerals, digits, _parts(value, kind))


def strength(value: str, *, titled: bool = False) -> Strength:
    """Return how much a value tells by itself.

    strong: full dates, identifiers, phone numbers, e-mail addresses, URLs with a path, six figures or more, and
    titles of two content words or more, which are quoted or (titled) values of a relation that asks for works.
    """
    match type_of(value):
        case "date" | "identifier" | "email":
            return "strong"
        case "number":
            number = numbers.number(value)
            return "strong" if number and number.figures >= _STRONG_FIGURES else "weak"
        case "url":
            url = addresses.url(value)
            return "strong" if url and url[1].strip("/") else "weak"
        case _:
            return "strong" if _is_title(value, titled) else "weak"


def _is_title(value: str, titled: bool) -> bool:
    match = _QUOTED.fullmatch(value.strip())
    if match is None and not titled:
        return False
    words = fold(match[1] if match else value).text.split()
    return sum(word not in _FORM_WORDS for word in words) >= 2


def type_of(value: str) -> Type:
    """Return what a value is, by its form alone."""
    if "@" in value and addresses.email(value):
        return "email"
    if any(map(str.isdecimal, value)):
        return _type_with_digits(value)
    if "." in value and addresses.url(value):
        return "url"
    if _may_be_in_words(value) and numbers.number(value):
        return "number"
    return "name" if people.is_name(value) else "text"


def _type_with_digits(value: str) -> Type:
    if dates.dates(value):
        return "date"
    if "." in value and addresses.url(value):
        return "url"
    if next(measures.forms(value), None):
        return "measure"
    number = numbers.number(value)
    # Six digits in a row may be an account's as well as an amount: both readings count.
    if number and (number.figures < _STRONG_FIGURES or not value.strip().isdecimal()):
        return "number"
    if identifiers.digits(value):
        return "identifier"
    return "number" if number else "text"


def _may_be_in_words(value: str) -> bool:
    words = fold(value).text.split(" ", 2)
    return len(words) > 1 and words[1] in telling()


def forms(value: str, relation: str = "", kind: Type | None = None) -> Iterator[str]:
    """Yield the folded writings of a value; one may come twice.  Most values have one or two."""
    kind = kind or type_of(value)
    yield from spaced_and_glued(value)
    if kind == "name":
        yield from _name_forms(value, relation)
    elif kind == "date":
        for date in dates.dates(value):
            yield from (fold(form).text for form in dates.forms(date))
    elif kind == "measure":
        yield from (fold(form).text for form in measures.forms(value))
    elif kind == "email" and (email := addresses.email(value)):
        yield from (fold(form).text for form in addresses.email_forms(*email))
    elif kind == "url" and (url := addresses.url(value)):
        yield from (fold(form).text for form in addresses.url_forms(*url))


def _name_forms(value: str, relation: str) -> Iterator[str]:
    bare = people.untitled(value)
    if bare != value:
        yield from spaced_and_glued(bare)
    if people.is_persons(value, relation):
        yield from (fold(form).text for form in people.forms(value))
    yield from people.foreign_forms(bare)


def spaced_and_glued(text: str) -> Iterator[str]:
    """Yield a text folded, and where it is long enough its words without spaces."""
    literal = fold(text).text
    yield literal
    words = literal.split()
    if len(words) > 1 and len("".join(words)) >= MIN_GLUED:
        yield f" {''.join(words)} "


def numeral_keys(value: str) -> Iterator[str]:
    """Yield the keys of `policies.numerals` of a value that is a date or a number."""
    if not any(map(str.isdecimal, value)) and not _may_be_in_words(value):
        return
    if found := dates.dates(value):
        for date in found:
            yield from dates.keys(date)
    elif type_of(value) != "measure" and (number := numbers.number(value)):
        yield from numbers.keys(number)


def digit_strings(value: str) -> Iterator[str]:
    """Yield the digit strings of a value that is a date or an identifier."""
    if not any(map(str.isdecimal, value)):
        return
    kind = _type_with_digits(value)
    if kind == "date":
        for date in dates.dates(value):
            yield from dates.digits(date)
    elif kind == "identifier":
        yield from identifiers.digits(value)


def _parts(value: str, kind: Type) -> tuple[str, ...]:
    if kind == "date":
        return dates.parts(dates.dates(value)[0])
    if kind == "identifier":
        return identifiers.parts(identifiers.digits(value)[0])
    match = _STREET.fullmatch(value.strip()) if kind == "text" else None
    if match and bool(match["before"]) != bool(match["behind"]):
        return match["street"], match["before"] or match["behind"]
    return ()
