"""Numbers and amounts: whether a value is one, and the keys under which `policies.numerals` reads a writing
of it.

'84,000', '84.000', '84 000', '84k', '84 thousand', 'eighty-four thousand', 'USD 84,000' and '84,000 dollars'
are one number.  A year stays what it is, and so does a decimal but for 'twelve point five'.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from policies.numerals import BILLION, HUNDRED, MILLION, MULTIPLIERS, THOUSAND, numeral, spelled
from policies.text import fold

_AMOUNT = re.compile(
    r"(?:[$€£¥₹₽]|[A-Za-z]{2,3}\$?)?\s?"
    r"(\d{1,3}(?:([,.'’ \u00a0\u202f])\d{3})(?:\2\d{3})*|\d+)(?:([.,])(\d{1,2}))?\s?(%|[^\W\d_]+)?"
    r"(?:\s(?:[$€£¥₹₽]|[A-Za-z]{1,9}))?\s?[$€£¥₹₽]?"
)
_UNITS = frozenset(
    "percent pct per dollars dollar euros euro pounds pound kronor kroner krona kr rubles francs yen"
    " rupees zloty usd eur gbp sek nok dkk chf pln czk rub jpy cny inr aud cad nzd".split()
)
_YEAR = re.compile(r"1[0-9]{3}|20[0-9]{2}")
_LARGEST = 10**12
_ORDINAL = re.compile(r"(\d{1,4})(?:st|nd|rd|th)")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as its whole part and the figures behind the point; `ordinal` for 'twelfth' and '12th'."""

    whole: int
    fraction: str = ""
    ordinal: bool = False

    @property
    def figures(self) -> int:
        """How many digits it has."""
        return len(str(self.whole)) + len(self.fraction)


def number(value: str) -> Number | None:
    """Return the number that a value is, or None where it is none, or a year."""
    text = value.strip()
    if len(text) > 100 or _YEAR.fullmatch(text):
        return None
    if match := _ORDINAL.fullmatch(text.lower()):
        return Number(int(match[1]), ordinal=True)
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return None if any(char.isdecimal() for char in text) else _in_words(text)
    whole = int(re.sub(r"\D", "", match[1]))
    fraction, unit = match[4] or "", (match[5] or "").casefold()
    if match[1][0] == "0" and len(match[1]) > 1:
        return None
    scale = numeral(unit) if unit.isalpha() else None
    if scale and scale[0] in MULTIPLIERS:
        return _scaled(whole, fraction, MULTIPLIERS[scale[0]])
    if unit and unit != "%" and unit not in _UNITS:
        return None
    return Number(whole, fraction) if whole < _LARGEST else None


def _scaled(whole: int, fraction: str, scale: int) -> Number | None:
    scaled = int(f"{whole}{fraction}") * scale // 10 ** len(fraction)
    return Number(scaled) if scaled < _LARGEST else None


def _in_words(text: str) -> Number | None:
    """Return the number of a value all in words: 'eighty-four thousand'."""
    words = [word for word in fold(text).text.split() if word not in _UNITS]
    if not words or len(words) > 15:
        return None
    read = [numeral(word) for word in words]
    tokens = [token for each in read if each for token in each]
    if None in read or not tokens or not all(token.isdecimal() or token in MULTIPLIERS for token in tokens):
        return None
    total = _sum(tokens)
    return Number(total) if total is not None and spelled(total) == tokens else None


def _sum(tokens: list[str]) -> int | None:
    total = part = 0
    for token in tokens:
        if token == HUNDRED:
            part *= 100
        elif token in MULTIPLIERS:
            total, part = total + part * MULTIPLIERS[token], 0
        else:
            part += int(token)
    total += part
    return total if total < _LARGEST else None


def keys(number: Number) -> Iterator[str]:
    """Yield the keys of a number, tokens with one space between: in figures, in groups, shortened, in
    words."""
    whole = number.whole
    if number.ordinal:
        yield f"o{whole}"
        if whole > 20 and whole % 10:
            tens = [*spelled(whole // 10 * 10)]
            yield " ".join([*tens, f"o{whole % 10}"])
        return
    if number.fraction:
        yield " ".join([*spelled(whole), "p", *number.fraction])
        return
    yield str(whole)
    if whole >= 1000:
        yield f"{whole:,}".replace(",", " ")
    words = spelled(whole)
    yield " ".join(words)
    if words[0] == "1" and len(words) > 2:
        yield " ".join(words[1:])  # 'a hundred and five'; 'a hundred' would be found in 'two hundred'
    yield from _shortened(whole)


def _shortened(whole: int) -> Iterator[str]:
    for token in (THOUSAND, MILLION, BILLION):
        scale = MULTIPLIERS[token]
        if whole < scale or whole % (scale // 100):
            continue
        part = f"{whole % scale * 100 // scale:02}".rstrip("0")
        yield f"{whole // scale} {part} {token}" if part else f"{whole // scale} {token}"
