"""Phone, card, account and other numbers that are compared by their digits, however these are grouped.

A run of six digits or more that a value is made of, beside a few letters ('K 123 456-7', 'GB29 NWBK 6016
...').  Of a phone number every prefix counts: '+46 70 ...', '0046 70 ...' and '070 ...' are one number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MIN_DIGITS = 6
"""Fewer digits than this stand in too many texts to be known by themselves."""
MAX_DIGITS = 40
MIN_HALVED = 8
"""An identifier of this many digits or more gives itself away in two halves."""
_MAX_LETTERS = 12
_MIN_LOCAL = 7
_LETTERS = re.compile(r"[^\W\d_]+")
_OTHER = re.compile(r"\D+")
_PHONE = re.compile(r"\+?[\d\s().\-/]{7,32}")
_TWO_DIGIT_CODES = frozenset(
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65"
    " 66 81 82 84 86 90 91 92 93 94 95 98".split()
)


def country_code(digits: str) -> int:
    """Return how many digits the country code takes that `digits` begin with, by ITU-T E.164: 1, 2 or 3."""
    if digits[:1] in ("1", "7"):
        return 1
    return 2 if digits[:2] in _TWO_DIGIT_CODES else 3


def digits(value: str) -> tuple[str, ...]:
    """Return the digit strings that stand for a value, the shortest of six digits; none where it is no
    number."""
    letters = _LETTERS.findall(value)
    if sum(map(len, letters)) > _MAX_LETTERS:
        return ()
    runs = [_OTHER.sub("", run) for run in (_LETTERS.split(value) if letters else (value,))]
    runs = [_ascii(run) for run in runs if MIN_DIGITS <= len(run) <= MAX_DIGITS]
    if not runs:
        return ()
    text = value.strip()
    if _PHONE.fullmatch(text) and len(runs[0]) <= 15 and text.count(".") < 4:
        return tuple(dict.fromkeys(_phone(text, runs[0])))
    return tuple(dict.fromkeys(runs))


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)


def _phone(text: str, number: str) -> Iterator[str]:
    """Yield the digits of what may be a phone number with every prefix that it is dialled with."""
    yield number
    if text.startswith("+") or number.startswith("00"):
        number = number.removeprefix("00")
        length = country_code(number)
        code, national = number[:length], number[length:].removeprefix("0")
        yield from (code + national, f"00{code}{national}", f"011{code}{national}", f"{code}0{national}")
        yield f"0{national}"
    elif number.startswith("0") and len(number) > _MIN_LOCAL:
        national = number[1:]
    else:
        return
    if len(national) >= _MIN_LOCAL:
        yield national
