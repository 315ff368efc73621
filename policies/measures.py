"""Heights and weights: '1.80 m', '180 cm' and '5 ft 11' are one, and so are '82 kg' and '181 lb'."""

from __future__ import annotations

import re
from collections.abc import Iterator

_METRES = re.compile(r"([12])(?:[.,]|\s?m(?:etres|eters)?\s?)(\d{2})(?:\s?m(?:etres|eters)?)?")
_CENTIMETRES = re.compile(r"(\d{2,3})\s?(?:cm|centimet(?:re|er)s)")
_FEET = re.compile(
    r"([3-8])\s?(?:ft|feet|foot|['’′])\.?\s?(?:and\s)?(\d{1,2})\s?(?:in|inches|[\"”″]|''|’’)?\.?"
)
_KILOS = re.compile(r"(\d{2,3})\s?(?:kg|kilos?|kilograms?)")
_POUNDS = re.compile(r"(\d{2,3})\s?(?:lbs?|pounds)\.?")
_CM_PER_INCH = 2.54
_KG_PER_POUND = 0.4536


def forms(value: str) -> Iterator[str]:
    """Yield the writings of a height or a weight, to be folded; none of what is neither."""
    text = value.strip().casefold()
    if not text[:1].isdecimal() or len(text) > 24:
        return
    if (match := _METRES.fullmatch(text)) and "m" in text:
        yield from _height(int(match[1] + match[2]))
    elif match := _CENTIMETRES.fullmatch(text):
        yield from _height(int(match[1]))
    elif match := _FEET.fullmatch(text):
        inches = 12 * int(match[1]) + int(match[2])
        yield from _feet(inches)
        yield from _metric(round(inches * _CM_PER_INCH))
    elif match := _KILOS.fullmatch(text):
        yield from _kilos(int(match[1]))
        yield from _pounds(round(int(match[1]) / _KG_PER_POUND))
    elif match := _POUNDS.fullmatch(text):
        yield from _pounds(int(match[1]))
        yield from _kilos(round(int(match[1]) * _KG_PER_POUND))


def _height(centimetres: int) -> Iterator[str]:
    yield from _metric(centimetres)
    yield from _feet(round(centimetres / _CM_PER_INCH))


def _metric(centimetres: int) -> Iterator[str]:
    for unit in (" cm", "cm", " centimetres", " centimeters"):
        yield f"{centimetres}{unit}"
    if centimetres >= 100:
        metres, rest = divmod(centimetres, 100)
        for between in (" ", " m ", " metres ", " meters "):
            behind = (" m", "m", " metres", " meters") if between == " " else ("",)
            for unit in behind:
                yield f"{metres}{between}{rest:02}{unit}"
        yield f"{metres}m{rest:02}"


def _feet(inches: int) -> Iterator[str]:
    feet, rest = divmod(inches, 12)
    for unit in (" ft ", " feet ", " foot ", "ft ", "ft"):
        yield f"{feet}{unit}{rest}"


def _kilos(kilos: int) -> Iterator[str]:
    for unit in (" kg", "kg", " kilo", " kilos", " kilograms"):
        yield f"{kilos}{unit}"


def _pounds(pounds: int) -> Iterator[str]:
    for unit in (" lb", "lb", " lbs", "lbs", " pounds"):
        yield f"{pounds}{unit}"
