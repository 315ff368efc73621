"""Dates: whether a value is one, and every key under which `policies.numerals` reads a writing of it.

A full date only: a day with its month, or a month with its year, is a half, and a year stays what it is.
Where the order of day and month cannot be told ('12/03/1974'), both readings count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product

from policies.numerals import HUNDRED, numeral, spelled
from policies.text import fold

_SEPARATED = re.compile(r"\d{1,4}([-./ ])\s?\d{1,2}\.?\1\s?\d{1,4}\.?")
_LETTERS = re.compile(r"[^\W\d_]{3}")
_COMPACT = re.compile(r"(?:19|20)\d{6}")
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MAX_WORDS = 12
_MAX_CHARS = 80
NAMES = tuple(
    tuple(pair.split())
    for pair in "january jan,february feb,march mar,april apr,may,june jun,july jul,august aug,september sep,"
    "october oct,november nov,december dec".split(",")
)
"""The months' English names, folded, each with what it is shortened to."""
_WEEKDAYS = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun".split()
)

Date = tuple[int, int, int]
"""Year, month, day."""


def dates(value: str) -> list[Date]:
    """Return the dates that a value may mean: none, one, or two where day and month may be either."""
    if len(value) > _MAX_CHARS:
        return []
    text = value.strip()
    if _SEPARATED.fullmatch(text):
        return list(dict.fromkeys(_by_order([int(each) for each in re.findall(r"\d+", text)], text)))
    if _COMPACT.fullmatch(text):
        return [*_checked(int(text[:4]), int(text[4:6]), int(text[6:]))]
    return _in_words(text) if _LETTERS.search(text) else []


def _by_order(numbers: list[int], text: str) -> Iterator[Date]:
    first, second, third = numbers
    if re.match(r"\d{3,}", text):
        yield from _checked(first, second, third)
    else:
        year = _century(third) if re.search(r"\D\d\d\.?$", text) else third
        yield from _checked(year, second, first)
        yield from _checked(year, first, second)


def _century(year: int) -> int:
    return year + (1900 if year >= 30 else 2000)


def _checked(year: int, month: int, day: int) -> Iterator[Date]:
    if 1000 <= year <= 2999 and 1 <= month <= 12 and 1 <= day <= _MONTH_DAYS[month - 1]:
        yield year, month, day


def _in_words(text: str) -> list[Date]:
    """Return the date of a value with the month's name; nothing where any other word stands beside it."""
    words = [word for word in fold(text).text.split() if word not in _WEEKDAYS]
    read = [numeral(word) for word in words]
    if len(words) > _MAX_WORDS or None in read:
        return []
    tokens = [token for each in read if each for token in each]
    months = [int(token[1:]) for token in tokens if token[0] == "m"]
    numbers = [int(token.removeprefix("o")) for token in tokens if token.removeprefix("o").isdecimal()]
    if len(months) != 1 or len(tokens) != 3 or len(numbers) != 2:
        return []
    if tokens[0][0] == "o" or numbers[0] <= 31:
        day, year = numbers
    else:
        year, day = numbers
    return [*_checked(_century(year) if year < 100 else year, months[0], day)]


def keys(date: Date) -> Iterator[str]:
    """Yield the keys of a date, tokens with one space between: by name of the month, and in figures."""
    year, month, day = date
    for when, each in product(_days(day), [str(year), *_years_in_words(year)]):
        yield f"{when} m{month} {each}"
        yield f"m{month} {when} {each}"
    for when in (str(day), f"o{day}"):
        yield f"{year} m{month} {when}"
        # Read as a number, '05' is 5, and '21 June 5' has another sense.
        if (short := year % 100) >= 10:
            yield f"{when} m{month} {short}"
            yield f"m{month} {when} {short}"
    yield f"{day} {month} {year}"
    yield f"{month} {day} {year}"
    yield f"{year} {month} {day}"


def forms(date: Date) -> Iterator[str]:
    """Yield the writings of a date with a year of two figures, which are too short to be read as numbers."""
    year, month, day = date
    for when, at in product(
        dict.fromkeys((str(day), f"{day:02}")), dict.fromkeys((str(month), f"{month:02}"))
    ):
        yield f"{when} {at} {year % 100:02}"
        yield f"{at} {when} {year % 100:02}"
    if year % 100 < 10:
        for name in NAMES[month - 1]:
            yield f"{day} {name} {year % 100:02}"
            yield f"{name} {day} {year % 100:02}"


def part_keys(date: Date) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the keys of the parts of a date, tokens as those of `keys`: (key, the parts that it says).

    The parts are `day`, `year` and `month`.  A month in figures is none by itself.
    """
    year, month, day = date
    for when in _days(day):
        yield f"{when} m{month}", ("day", "month")
        yield f"m{month} {when}", ("day", "month")
        yield when, ("day",)
    yield f"{day} {month}", ("day", "month")
    yield f"{month} {day}", ("day", "month")
    yield f"m{month}", ("month",)
    for each in (str(year), *_years_in_words(year)):
        yield each, ("year",)


def _days(day: int) -> list[str]:
    days = [str(day), f"o{day}"]
    if day > 20 and day % 10:
        days += [f"{day // 10 * 10} o{day % 10}", f"{day // 10 * 10} {day % 10}"]
    return days


def _years_in_words(year: int) -> Iterator[str]:
    high, low = divmod(year, 100)
    if year % 1000 < 100:
        yield " ".join(spelled(year))
    if high % 10 or low >= 10:
        ending = ["0", str(low)] if 0 < low < 10 else spelled(low) if low else [HUNDRED]
        yield " ".join([*spelled(high), *ending])
    if high % 10 and low:
        yield " ".join([*spelled(high), HUNDRED, *spelled(low)])


def digits(date: Date) -> Iterator[str]:
    """Yield the date in figures without separators, in the three orders."""
    year, month, day = date
    yield f"{year}{month:02}{day:02}"
    yield f"{day:02}{month:02}{year}"
    yield f"{month:02}{day:02}{year}"
