"""Every writing that stands for a value, and how much a value tells by itself.

What a value is (a date, a number, an identifier, an address, a name, any text) is seen from its form.  Its
writings are worked out when a policy is compiled, so that they cost nothing when a text is read.  They come
in three shapes: folded words (`policies.text.fold`), tokens of numbers (`policies.numerals`) and bare digits.
Nothing here needs a model; the same value always has the same readings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from policies import addresses, dates, identifiers, measures, numbers, people
from policies.numerals import telling
from policies.text import fold

Type = Literal["date", "number", "measure", "identifier", "email", "url", "name", "text"]
Strength = Literal["strong", "weak"]
"""strong: nobody else's, so that it puts its subject in play by itself.  weak: public, and many have it."""

MIN_GLUED = 8
"""Several words are also looked for with their spaces removed, from this many letters on: shorter ones ('Al
Li') would be found inside ordinary words' neighbours."""
_STRONG_FIGURES = 6
_MIN_PLACE = 4
"""Shorter places ('Ur') are words of other things too often to stand without their country."""
_DIGIT = re.compile(r"\d")
_QUOTED = re.compile(r"[\"“”„«‘'](.{3,})[\"“”»’']")
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


@dataclass(frozen=True, slots=True)
class Parsed:
    """A value with what its form says it is; the writings are worked out when they are asked for."""

    value: str
    type: Type
    dates: Sequence[dates.Date] = ()
    number: numbers.Number | None = None
    bare: Sequence[str] = ()
    """The digit strings of an identifier."""
    address: tuple[str, str] = ("", "")

    def usual(self) -> Iterator[str]:
        """Yield the value folded as it is written, and without spaces."""
        return spaced_and_glued(self.value)

    def others(self, relation: str = "") -> Iterator[str]:
        """Yield its other writings that are folded words; one may come twice.  Most values have none."""
        match self.type:
            case "name":
                yield from _name_forms(self.value, relation)
            case "text":
                yield from _place_forms(self.value)
            case "date":
                yield from (f" {form} " for date in self.dates for form in dates.forms(date))
            case "measure":
                yield from (fold(form).text for form in measures.forms(self.value))
            case "email":
                yield from (fold(form).text for form in addresses.email_forms(*self.address))
            case "url":
                yield from (fold(form).text for form in addresses.url_forms(*self.address))

    def numerals(self) -> Iterator[str]:
        """Yield the keys of `policies.numerals` of a date or a number."""
        for date in self.dates:
            yield from dates.keys(date)
        if self.number:
            yield from numbers.keys(self.number)

    def digits(self) -> Iterator[str]:
        """Yield the digit strings of a date or an identifier."""
        for date in self.dates:
            yield from dates.digits(date)
        yield from self.bare

    def strength(self, *, titled: bool = False) -> Strength:
        """Return how much the value tells by itself; `titled`: its relation asks for works."""
        strong = False
        match self.type:
            case "date" | "identifier" | "email":
                strong = True
            case "number":
                strong = self.number is not None and self.number.figures >= _STRONG_FIGURES
            case "url":
                strong = bool(self.address[1].strip("/"))
            case "text" | "name":
                strong = _is_title(self.value, titled)
        return "strong" if strong else "weak"


def readings(value: str, relation: str = "") -> Readings:
    """Return every writing that stands for `value`.  Pure; linear in its length but for a bounded number of
    forms.

    relation: the fact's relation as written; with 'spouse' a name of two words is a person's, with 'employer'
    not.
    """
    parsed = parse(value)
    each = (chain(parsed.usual(), parsed.others(relation)), parsed.numerals(), parsed.digits())
    forms, numerals, digits = (tuple(dict.fromkeys(writings)) for writings in each)
    return Readings(parsed.type, forms, numerals, digits)


def strength(value: str, *, titled: bool = False) -> Strength:
    """Return how much a value tells by itself.

    strong: full dates, identifiers, phone numbers, e-mail addresses, URLs with a path, six figures or more,
    and titles of two content words or more, which are quoted or (titled) values of a relation that asks for
    works.
    """
    return parse(value).strength(titled=titled)


def type_of(value: str) -> Type:
    """Return what a value is, by its form alone."""
    return parse(value).type


def parse(value: str) -> Parsed:
    """Return a value with what its form says it is."""
    if "@" in value and (email := addresses.email(value)):
        return Parsed(value, "email", address=email)
    if _DIGIT.search(value):
        return _parse_with_digits(value)
    if "." in value and (url := addresses.url(value)):
        return Parsed(value, "url", address=url)
    if _may_be_in_words(value) and (number := numbers.number(value)):
        return Parsed(value, "number", number=number)
    return Parsed(value, "name" if people.is_name(value) else "text")


def _parse_with_digits(value: str) -> Parsed:
    if found := dates.dates(value):
        return Parsed(value, "date", dates=found)
    if "." in value and (url := addresses.url(value)):
        return Parsed(value, "url", address=url)
    if next(measures.forms(value), None):
        return Parsed(value, "measure")
    number = numbers.number(value)
    # Six digits in a row may be an account's as well as an amount: both readings count.
    if number and (number.figures < _STRONG_FIGURES or not value.strip().isdecimal()):
        return Parsed(value, "number", number=number)
    if bare := identifiers.digits(value):
        return Parsed(value, "identifier", number=number, bare=bare)
    return Parsed(value, "number" if number else "text", number=number)


def _may_be_in_words(value: str) -> bool:
    words = fold(value).text.split(" ", 2)
    return len(words) > 1 and words[1] in telling()


def _is_title(value: str, titled: bool) -> bool:
    match = _QUOTED.fullmatch(value.strip())
    if match is None and not titled:
        return False
    words = fold(match[1] if match else value).text.split()
    return sum(word not in _FORM_WORDS for word in words) >= 2


def _name_forms(value: str, relation: str) -> Iterator[str]:
    bare = people.untitled(value)
    if bare != value:
        yield from spaced_and_glued(bare)
    if people.is_persons(value, relation):
        yield from (fold(form).text for form in people.forms(value))
    yield from people.foreign_forms(bare)


def _place_forms(value: str) -> Iterator[str]:
    """Yield the place alone of one that is written with its country: 'Port Meridane, Orsund'."""
    place, comma, country = value.partition(", ")
    if comma and all(map(people.is_name, (place, country.strip()))) and len(place) >= _MIN_PLACE:
        yield from spaced_and_glued(place)


def spaced_and_glued(text: str) -> Iterator[str]:
    """Yield a text folded, and where it is long enough its words without spaces."""
    literal = fold(text).text
    yield literal
    words = literal.split()
    if len(words) > 1 and len("".join(words)) >= MIN_GLUED:
        yield f" {''.join(words)} "
