"""Letters in signs of their own: braille, and signs that nobody sees.

Tag characters repeat ASCII invisibly (Unicode 16.0, 23.9); variation selectors are 256, one for each byte.
Both travel within or behind any character, and a model that is told how reads and writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from guards.codecs_letters import MIN_RUN, Letter, Run, run_of
from guards.codecs_numbers import characters

_CELLS = re.compile(r"[\u2800-\u28ff]+(?:[ \n]{1,2}[\u2800-\u28ff]+)*")
_TAGS = re.compile(r"[\U000e0020-\U000e007e]+")
_SELECTORS = re.compile(r"[\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
_BRAILLE = dict(
    zip(
        "\u2801\u2803\u2809\u2819\u2811\u280b\u281b\u2813\u280a\u281a\u2805\u2807\u280d\u281d\u2815\u280f\u281f\u2817"
        "\u280e\u281e\u2825\u2827\u283a\u282d\u283d\u2835\u2800",
        "abcdefghijklmnopqrstuvwxyz ",
        strict=True,
    )
)
_NUMBER, _WORD, _CAPITAL = "\u283c", "\u2830", "\u2820"
_DIGITS = dict(zip("abcdefghij", "1234567890", strict=True))


def signs(text: str, *, closed: bool) -> Iterator[Run]:
    """Yield the runs of braille, of tag characters and of variation selectors."""
    if text.isascii():
        return
    for match in _CELLS.finditer(text):
        behind = text[match.end() : match.end() + 3]
        open_ = not closed and len(behind) < 3 and not behind.strip(" \n")
        if open_ or match.end() - match.start() >= MIN_RUN:
            yield run_of("braille", _cells(match), text, open_=open_, whole=True)
    for match in _TAGS.finditer(text):
        letters = [
            Letter(chr(ord(sign) - 0xE0000), at, at + 1) for at, sign in enumerate(match[0], match.start())
        ]
        yield from _unseen("tag characters", letters, text, closed=closed)
    for match in _SELECTORS.finditer(text):
        bytes_ = [(_byte(sign), at, at + 1) for at, sign in enumerate(match[0], match.start())]
        yield from _unseen("variation selectors", characters(bytes_), text, closed=closed)


def _unseen(via: str, letters: list[Letter], text: str, *, closed: bool) -> Iterator[Run]:
    open_ = not closed and letters[-1].end == len(text)
    if open_ or len(letters) >= MIN_RUN:
        yield run_of(via, letters, text, open_=open_, whole=True)


def _byte(selector: str) -> int:
    code = ord(selector)
    return code - 0xFE00 if code < 0xFE10 else code - 0xE0100 + 16


def _cells(match: re.Match[str]) -> list[Letter]:
    """Return the letters of cells of braille without contractions; a cell that is none says nothing."""
    letters: list[Letter] = []
    number = False
    for at, cell in enumerate(match[0], match.start()):
        if cell in " \n":
            number = False
            continue
        shown = _BRAILLE.get(cell, "")
        number = (number or cell == _NUMBER) and cell != _WORD and shown != " "
        letters.append(Letter(_DIGITS.get(shown, shown) if number else shown, at, at + 1))
    return letters
