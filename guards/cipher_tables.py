"""How a request writes the table of a cipher: pairs with a joint, rows of cells, strings of one length.

Each way yields pairs of (one side, joint, other side); which of them make a cipher is `guards.cipher`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from string import ascii_lowercase

Pair = tuple[str, str, str]

MIN_PAIRS = 6
"""Fewer pairs make no table."""
MIN_ROWS = 8
"""Rows, or signs of a string, that make a table."""
MAX_ENTRIES = 2_000
_MAX_STRING = 64
"""Signs of a string that may be one side of a table."""

_SIDE = r"[^\s,;|=:<>→⇒↦()\[\]{}]{1,24}"
_JOINT = (
    r"[ \t]*(?:=>|[-=]?->|[=:→⇒↦])[ \t]*"
    r"|[ \t]+(?:is|gets)[ \t]+(?:written|replaced|encoded|shown|coded)[ \t]+(?:as|by|with)[ \t]+"
    r"|[ \t]+(?:is|means|equals|becomes|(?:stands|goes)[ \t]for|turns[ \t]into"
    r"|(?:maps|changes|goes)[ \t]to)[ \t]+"
)
_PAIR = re.compile(rf"(?<![^\s,;|([{{])({_SIDE})({_JOINT})(?=({_SIDE}))")
_SIGNS = "=:>→⇒↦"
_VERBS = frozenset("is gets means equals becomes stands turns maps changes goes".split())
"""What a pair holds at least one of."""
_LINKS = frozenset("with by for to as into instead".split())
"""What a pair of letters holds that replace each other."""
_LONGER = re.compile(rf"[ \t]+(?!{_SIDE}(?:{_JOINT}))(?!(?:and|or|then|while|so|but)\b)[^\W_]")
"""Behind one side of a pair, what shows that it is the first word of more: 'A: Paris in spring'."""
_REPLACED = re.compile(
    r"(?<![^\s,;(\"'`“‘])([A-Za-z])[\"'`”’]?[ \t]+(?:with|by|for|to|as|into|instead[ \t]of)[ \t]+"
    r"[\"'`“‘]?([^\s,;.|()\"'`”’]{1,4})(?![^\s,;.|)\"'`”’])"
)
_TIED = re.compile(r"(?<![^\s,;(\[\"'`])([^\W_])[ ]?[-–/~+][ ]?([^\s,;]{1,4})(?![^\s,;.)\]\"'`])")
_CELL = r"[^\s,;|()\[\]\"'`]{1,24}"
_TWO_CELLS = re.compile(rf"({_CELL})[\"'`]?[ \t]*[|,\t ][ \t]*[\"'`]?({_CELL})[ \t\"'`]{{0,3}}(?=[;)\]|]|\Z)")
_BETWEEN_CELLS = re.compile(r"[\s|,;()\[\]\"'`]+")
_MAX_ROW = 200
"""A longer line is no row of cells."""
_SPACED = re.compile(r"(?<!\S)(?:\S ){25}\S(?!\S)")
_QUOTED = re.compile(r"[\"'`(]([^\s\"'`]{26})[\"'`)]")
_CELLS = re.compile(r"[ \t]*[|,\t][ \t]*")
_RULE = re.compile(r"[\s|:+-]*\Z")
_STRINGS = re.compile(
    rf"([\"'`])([^\"'`\n]{{{MIN_ROWS},{_MAX_STRING}}})\1[ \t]*(?:,|;|:|to|into|=|[-=]>|→)?\s{{0,4}}"
    rf"([\"'`])([^\"'`\n]{{{MIN_ROWS},{_MAX_STRING}}})\3"
)
_QUOTES = "\"'`"
_AROUND = "\"'`“”‘’,;.("
_MARK = re.compile(rf"[\n{_QUOTES};(\[|\-–/~+{_SIGNS}]")
_LETTERS = frozenset(ascii_lowercase)


def pairs_of(text: str, words: Sequence[str]) -> Iterator[list[Pair]]:
    """Yield the pairs that a text holds, those of each way of writing by themselves.  Linear in its length.

    words: what stands between the white space of the text.
    """
    marked = _MARK.search(text) is not None
    signs = sum([text.count(joint) for joint in _SIGNS if joint in text]) if marked else 0
    spoken = sum(map(_VERBS.__contains__, words)) if marked or len(words) > 2 * MIN_PAIRS else 0
    if signs + spoken >= MIN_PAIRS:
        yield [
            (match[1], match[2], match[3])
            for match in islice(_PAIR.finditer(text), MAX_ENTRIES)
            if not _is_option(text, match)
        ]
    if len(words) > 2 * MIN_ROWS and _has_letters(words):
        yield [(match[1], "=", match[2]) for match in islice(_REPLACED.finditer(text), MAX_ENTRIES)]
    if not marked:
        return
    if _has_many(text, "-–/~+"):
        yield [(match[1], ":", match[2]) for match in islice(_TIED.finditer(text), MAX_ENTRIES)]
    if _has_many(text, ";([|"):
        found = islice(_TWO_CELLS.finditer(text), MAX_ENTRIES)
        yield _of_letters([(match[1], ":", match[2]) for match in found])
    if "\n" in text:
        yield from _lines(text)
    for match in _STRINGS.finditer(text) if max(map(text.count, _QUOTES)) >= 4 else ():
        yield _together(match[2], match[4])


def _has_letters(words: Sequence[str]) -> bool:
    """Whether as many words link two others, and as many are single letters, as in a table of letters."""
    if sum(map(_LINKS.__contains__, words)) < MIN_ROWS:
        return False
    return sum([len(word) < 4 and len(word.strip(_AROUND)) == 1 for word in words]) >= MIN_ROWS


def _has_many(text: str, marks: Sequence[str]) -> bool:
    """Whether one of the marks is in a text as often as it is in a table of letters."""
    return any(mark in text and text.count(mark) >= MIN_ROWS - 1 for mark in marks)


def _of_letters(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs with a single sign: of words and their numbers, cells are any list's."""
    return [pair for pair in pairs if len(pair[0]) == 1 or len(pair[2]) == 1]


def _is_option(text: str, match: re.Match[str]) -> bool:
    """Whether a pair is a letter with an answer to choose behind it, which is longer than a word."""
    return (
        len(match[1]) == 1
        and match[1].isalpha()
        and len(match[3].strip("\"'`*_")) > 1
        and _LONGER.match(text, match.end(3)) is not None
    )


def _lines(text: str) -> Iterator[list[Pair]]:
    """Yield the pairs of lines: of cells in one, or of two of which one stands below the other."""
    rows: list[Pair] = []
    above = ""
    # What stands before a colon says what the line is: 'The key: a,q'.
    for line in [each.rpartition(": ")[2].strip() for each in text.splitlines() if len(each) <= _MAX_ROW]:
        if not line or _RULE.match(line):
            continue
        if len(line) <= _MAX_STRING:
            rows += _cells(line)
        if len(above) == len(line) <= _MAX_STRING and " " not in above:
            yield _together(above, line)
        if max([line.count(mark) for mark in "|,\t"]) >= MIN_ROWS - 1:
            cells = [_CELLS.split(row.strip("| \t")) for row in (above, line)]
            if len(cells[0]) == len(cells[1]):
                yield [(one, ":", other) for one, other in zip(*cells, strict=True)]
        above = line
    yield rows[:MAX_ENTRIES]


def _cells(line: str) -> list[Pair]:
    """Return the cells of a line in pairs, where each has a single sign."""
    cells = [each for each in _BETWEEN_CELLS.split(line) if each]
    pairs = [(one, ":", other) for one, other in zip(cells[::2], cells[1::2], strict=False)]
    return pairs if len(cells) % 2 == 0 and len(_of_letters(pairs)) == len(pairs) else []


def _together(one: str, other: str) -> list[Pair]:
    """Return the signs of two strings of one length in pairs; nothing where these are no alphabets."""
    signs = one.casefold(), other.casefold()
    alphabets = len(signs[0]) == len(signs[1]) >= MIN_ROWS and all(
        len(set(each)) == len(each) for each in signs
    )
    if not alphabets or signs[0] == signs[1] or not any(_LETTERS.issuperset(each) for each in signs):
        return []
    return [(each, ":", meant) for each, meant in zip(*signs, strict=True)]


def alphabets_of(text: str, words: Sequence[str]) -> list[str]:
    """Return the strings of 26 signs that stand by themselves in a text, without the spaces between them."""
    size = len(ascii_lowercase)
    sizes = list(map(len, words))
    found: list[str] = []
    if max(sizes, default=0) >= size:
        found += [bare for word in words if len(word) >= size and len(bare := word.rstrip(".,;")) == size]
        found += [match[1] for match in _QUOTED.finditer(text)]
    if sizes.count(1) >= size:
        found += [match.group().replace(" ", "") for match in _SPACED.finditer(text)]
    return found
