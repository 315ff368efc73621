"""Numbers for letters: codes of bytes in any base, places in the alphabet, lines of a hexadecimal dump.

What stands between two numbers may be nearly anything that is no letter (`79.100`, `[79][100]`, `79, 100`),
or the end of one call and the beginning of the next, as in `chr(79)+chr(100)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from guards.codecs_letters import MIN_RUN, Letter, Run, run_of
from guards.codecs_tokens import CALL_GAP, NUMBER_GAP

_NUMBER = re.compile(r"(?<![^\W_])(0[xXoObB])?([0-9A-Fa-f]{1,8})(?![^\W_])")
_NUMBER_GAP = re.compile(rf"{NUMBER_GAP}|{CALL_GAP}")
_MAY_GO_ON = re.compile(
    rf"(?:{NUMBER_GAP})?|\)[ \t\n]{{0,2}}[+.,&|~]{{0,2}}[ \t\n]{{0,2}}[A-Za-z.]{{0,24}}\(?"
)
_SURE = 8
"""Numbers that must all be letters of a text for a run of them to be held back as a whole."""
_TEXTUAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ,.'-")


class _Sign(NamedTuple):
    prefix: str
    digits: str
    start: int
    end: int


def _binary(sign: _Sign) -> int | None:
    digits = sign.digits
    return (
        int(digits, 2) if len(digits) in (7, 8) and not digits.strip("01") and sign.prefix != "0x" else None
    )


def _hex(sign: _Sign) -> int | None:
    return int(sign.digits, 16) if len(sign.digits) == 2 and sign.prefix in ("", "0x") else None


def _decimal(sign: _Sign) -> int | None:
    digits = sign.digits
    plain = not sign.prefix and digits.isdecimal() and 2 <= len(digits) <= 3
    return int(digits) if plain and 32 <= int(digits) < 256 else None


def _octal(sign: _Sign) -> int | None:
    digits = sign.digits
    plain = sign.prefix in ("", "0o") and len(digits) == 3 and not digits.strip("01234567")
    return int(digits, 8) if plain and int(digits, 8) < 256 else None


def _place_in_alphabet(sign: _Sign) -> int | None:
    plain = not sign.prefix and sign.digits.isdecimal() and len(sign.digits) <= 2
    return int(sign.digits) + 96 if plain and 1 <= int(sign.digits) <= 26 else None


_NUMBERS: Sequence[tuple[str, Callable[[_Sign], int | None], bool]] = (
    ("binary codes", _binary, True),
    ("hex", _hex, True),
    ("decimal codes", _decimal, True),
    ("octal codes", _octal, True),
    ("numbers of letters", _place_in_alphabet, False),
)
"""Each code of numbers: its name, what a number says in it, and whether its first numbers give it away."""


def numbers(text: str, *, closed: bool, whole: bool) -> Iterator[Run]:
    """Yield the runs of numbers that may stand for letters; `whole`: hold each of them back as a whole."""
    rows: list[list[_Sign]] = []
    for match in _NUMBER.finditer(text):
        sign = _Sign((match.group(1) or "").lower(), match.group(2), *match.span())
        if rows and _NUMBER_GAP.fullmatch(text, rows[-1][-1].end, sign.start):
            rows[-1].append(sign)
        else:
            rows.append([sign])
    for row in rows:
        goes_on = not closed and _MAY_GO_ON.fullmatch(text, row[-1].end) is not None
        if len(row) < MIN_RUN and not goes_on:
            continue
        for name, meaning, telling in _NUMBERS:
            for letters, open_ in _coded(row, goes_on, meaning):
                sure = telling and all(letter.shown in _TEXTUAL for letter in letters[:_SURE])
                yield run_of(name, letters, text, open_=open_, whole=sure or whole)


def _coded(
    row: Sequence[_Sign], goes_on: bool, meaning: Callable[[_Sign], int | None]
) -> Iterator[tuple[list[Letter], bool]]:
    """Yield the letters of each run of numbers that mean something in one code, and whether it is open."""
    codes: list[tuple[int, int, int]] = []
    for number, sign in enumerate([*row, None]):
        code = None if sign is None else meaning(sign)
        if code is not None and sign is not None:
            codes.append((code, sign.start, sign.end))
            continue
        open_ = goes_on and number == len(row)
        if codes and (len(codes) >= MIN_RUN or open_):
            yield characters(codes), open_
        codes = []


def characters(codes: Sequence[tuple[int, int, int]]) -> list[Letter]:
    """Return what codes of one byte each say, those of UTF-8 put together."""
    letters: list[Letter] = []
    at = 0
    while at < len(codes):
        code, start, _ = codes[at]
        size = 1 if code < 0xC2 else 2 if code < 0xE0 else 3 if code < 0xF0 else 4
        some = codes[at : at + size]
        try:
            shown = bytes(byte for byte, _, _ in some).decode()
        except UnicodeDecodeError:
            some = codes[at : at + 1]
            shown = chr(code)
        letters.append(Letter(shown, start, some[-1][2]))
        at += len(some)
    return letters


_PAIR = re.compile(r"[0-9A-Fa-f]{2}")
_OFFSET = r"(?<![^\W_])(?<!\.)(?:0[xX])?[0-9A-Fa-f]{4,8}:?[ \t]{1,3}"
_BYTES = r"((?:[0-9A-Fa-f]{2}[ \t]{0,2}){%s})(?:(?<=[ \t])|(?![^\W_]))"
# Behind the bytes the same may stand in letters, two spaces or a bar away; it belongs to the line.  Behind
# few bytes, of which a date and a number are made as well, nothing else may stand.
_LINE = re.compile(
    rf"{_OFFSET}(?:{_BYTES % '1,16'}"
    r"(?:[ \t]{0,48}(?:\|[^\n]{0,24}|(?=[^\w\s]|_|\r?\n|\Z))|(?<=[ \t][ \t])[ \t]{0,48}[^\s|][^\n]{0,24})"
    rf"|{_BYTES % '4,16'})"
)
_BEGUN = re.compile(rf"{_OFFSET}\Z")
_BETWEEN = " \t\r\n>"


def dumps(text: str, *, closed: bool) -> Iterator[Run]:
    """Yield the lines of hexadecimal dumps that stand one below the other, each time as one run.

    Every letter has the place of its whole line: what is held back or cut is lines, since a piece of one is
    nothing that could be read.
    """
    rows: list[list[re.Match[str]]] = []
    for match in _LINE.finditer(text):
        if rows and not text[rows[-1][-1].end() : match.start()].strip(_BETWEEN):
            rows[-1].append(match)
        else:
            rows.append([match])
    for row in rows:
        behind = text[row[-1].end() :]
        open_ = not closed and not behind.strip(_BETWEEN + "0123456789abcdefABCDEFx:")
        codes = [
            (int(pair.group(), 16), *line.span())
            for line in row
            for pair in _PAIR.finditer(text, *line.span(line.lastindex or 0))
        ]
        if open_ or len(codes) >= MIN_RUN:
            yield run_of("hex dump", characters(codes), text, open_=open_, whole=True)
    begun = None if closed else _BEGUN.search(text)
    if begun is not None:
        yield run_of("hex dump", [Letter("", *begun.span())], text, open_=True, whole=True)
