"""Names in other scripts: a Latin name as Cyrillic and Greek write it, and any other name in Latin letters.

By sound, as newspapers do it, and in two spellings at most.  Into Latin letters by `anyascii`, which knows
every script of Unicode.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

from anyascii import anyascii

from policies.text import fold

_MAX_CHARS = 60
_CYRILLIC = {
    "shch": "щ", "tsch": "ч", "sch": "ш", "sh": "ш", "ch": "ч", "zh": "ж", "kh": "х", "ts": "ц", "ya": "я",
    "ja": "я", "yu": "ю", "ju": "ю", "yo": "ё", "jo": "йо", "th": "т", "ph": "ф", "ck": "к", "qu": "кв",
    "oo": "у", "ee": "и", "ou": "у", "ei": "ей", "ey": "ей", "ay": "ей", "ai": "ай", "oy": "ой", "a": "а",
    "b": "б", "c": "к|с", "d": "д", "e": "е", "f": "ф", "g": "г", "h": "х|г", "i": "и", "j": "дж|й", "k": "к",
    "l": "л", "m": "м", "n": "н", "o": "о", "p": "п", "q": "к", "r": "р", "s": "с", "t": "т", "u": "у",
    "v": "в", "w": "в|у", "x": "кс", "y": "и|ы", "z": "з|ц",
}  # fmt: skip
_GREEK = {
    "shch": "σ", "tsch": "τσ", "sch": "σ", "th": "θ", "ch": "τσ", "sh": "σ", "zh": "ζ", "kh": "χ", "ts": "τσ",
    "ya": "για", "ja": "για", "yu": "γιου", "ju": "γιου", "yo": "γιο", "jo": "γιο", "ph": "φ", "ou": "ου",
    "oo": "ου", "ck": "κ", "qu": "κου", "ee": "ι", "ei": "ει", "ey": "εϊ", "ay": "έι", "ai": "αι", "oy": "όι",
    "a": "α", "b": "μπ", "c": "κ", "d": "ντ", "e": "ε", "f": "φ", "g": "γκ", "h": "χ", "i": "ι", "j": "τζ",
    "k": "κ", "l": "λ", "m": "μ", "n": "ν", "o": "ο", "p": "π", "q": "κ", "r": "ρ", "s": "σ", "t": "τ",
    "u": "ου", "v": "β", "w": "γου", "x": "ξ", "y": "ι", "z": "ζ",
}  # fmt: skip


def transliterations(name: str) -> Iterator[str]:
    """Yield spellings of a name in the scripts that it is not written in, folded, each with a space at both
    ends.

    One or two in a script: letters that may be written in two ways are all written in the first, or in the
    second.
    """
    if len(name) > _MAX_CHARS:
        return
    scripts = {"LATIN"} if name.isascii() else {_script(char) for char in name if char.isalpha()}
    latin = name if name.isascii() else anyascii(name)
    if "LATIN" not in scripts:
        yield fold(latin).text
    for script, table in _TABLES.items():
        if scripts <= {"LATIN", "CYRILLIC", "GREEK"} - {script}:
            yield from _respelled(latin, table)


def romanised(name: str) -> Iterator[str]:
    """Yield a name of some Han characters in Latin letters, folded: family name first, and last."""
    family, *given = (fold(anyascii(char)).text.strip() for char in name)
    yield f" {' '.join([family, *given])} "
    yield f" {family} {''.join(given)} "
    yield f" {''.join(given)} {family} "


def _script(char: str) -> str:
    return unicodedata.name(char, "").split(" ", 1)[0]


def _respelled(latin: str, table: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    words = [_PIECE.findall(word) for word in fold(latin).text.split()]
    spelled = [
        f" {' '.join(''.join(table[each][way] for each in word) for word in words)} " for way in (0, 1)
    ]
    yield from dict.fromkeys(spelled)


def _table(spellings: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return both spellings of each piece, folded as texts are: that is done character by character."""
    both = {piece: ways.split("|") for piece, ways in spellings.items()}
    return {piece: (fold(ways[0]).text.strip(), fold(ways[-1]).text.strip()) for piece, ways in both.items()}


_TABLES = {"CYRILLIC": _table(_CYRILLIC), "GREEK": _table(_GREEK)}
_PIECE = re.compile("|".join(sorted({*_CYRILLIC, *_GREEK}, key=len, reverse=True)))
