"""Which values stand over a list, a table or an object of an answer: 'Staff of …:' and the names below it.

A heading is a line that begins with '#', ends with ':' or is emphasised as a whole, a line with another of
'=' or '-' below it, and `<h2>`; a key of JSON or an item of a list is one for what is indented below it; the
line above a list or a table, and a table's first row, are its caption.  It applies up to the next heading of
its rank or above, up to where the indentation ends, or up to two blank lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

Place = tuple[int, int]
"""A target and one of its facts."""

_KEPT = 80
"""Code points of a line's beginning that tell what it is."""
_ENDING = 16
"""Code points of its end that do."""
_RANKED = re.compile(r"(#{1,6})|<h([1-6])\b", re.IGNORECASE)
_ITEM = re.compile(
    r"[-*+•‣◦▪–—]\s|\d{1,4}[.):]|[A-Za-z][.)]\s|\||[\"'\[\]{}]|<(?:li|t[dhr]|tbody|thead|table|[uod]l|dd)\b",
    re.IGNORECASE,
)
_MEMBER = re.compile(r"[\"'][^\"']*[\"']\s*:\s*\S")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_SPACE = re.compile(r"\s+")
_UNDERLINE = re.compile(r"={3,}\Z|-{3,}\Z")
_MARKS = " \t*_`\"'>)"
_EMPHASISED, _COLON, _INDENTED = 7, 8, 9
"""Ranks of headings, below those of '#' to '######'."""
_BLANK_LINES = 2
"""So many end what a heading applies to."""


class _Scope(NamedTuple):
    """A heading that may still apply."""

    rank: int
    indent: int
    """Of the lines that it applies to at least, where it is one for what is indented."""
    values: frozenset[Place]


class Headings:
    """The headings of one channel that still hold values, and the line that it has come to.

    However the text is cut, it comes to the same.  Nothing of the text is kept but the edges of one line.
    """

    def __init__(self) -> None:
        self._begin, self._end = "", ""
        """The edges of the line so far."""
        self._values: set[Place] = set()
        """Values in the line so far."""
        self._scopes: list[_Scope] = []
        self._caption: frozenset[Place] = frozenset()
        """Values of the last line that was no item, or of the first row of the table since."""
        self._blank = 0
        self._row = False
        """Whether the last line was a row of a table."""

    def take(self, text: str, values: Iterable[tuple[int, Place]]) -> set[Place]:
        """Take more text, with where values end in it, and return those that stand over any line of it.

        Linear in the text; values in a heading apply from the next line on.
        """
        ends = sorted(values)
        if not (ends or self._scopes or self._caption or self._values):
            self._skip(text)
            return set()
        over: set[Place] = set()
        start = 0
        for line in _LINE.findall(text):
            self._grow(line)
            while ends and ends[0][0] <= start + len(line):
                self._values.add(ends.pop(0)[1])
            if line.strip():
                for scope in self._in_force():
                    over |= scope.values
                if _ITEM.match(self._begin.lstrip()):
                    over |= self._caption
            if line.endswith("\n"):
                self._next_line()
            start += len(line)
        return over

    def _skip(self, text: str) -> None:
        """Take text while no value stands anywhere: only the line that it ends in matters."""
        last = text.rfind("\n")
        if last >= 0:
            before = text.rfind("\n", 0, last)
            line = text[before + 1 : last] if before >= 0 else self._begin + text[:last]
            self._begin = self._end = ""
            self._row = line.lstrip().startswith("|")
        self._grow(text[last + 1 :])

    def _grow(self, more: str) -> None:
        if len(self._begin) < _KEPT:
            self._begin += more[: _KEPT - len(self._begin)].rstrip("\n")
        self._end = _SPACE.sub(" ", self._end + more)[-_ENDING:]

    @property
    def _indent(self) -> int:
        shown = self._begin.expandtabs(4)
        return len(shown) - len(shown.lstrip())

    @property
    def _rank(self) -> int:
        """The rank of a line that begins as a heading does; 0 for any other."""
        match = _RANKED.match(self._begin.lstrip())
        if not match:
            return 0
        return len(match[1]) if match[1] else int(match[2])

    def _in_force(self) -> list[_Scope]:
        """Return the headings that apply to the line so far."""
        rank, indent = self._rank or _INDENTED + 1, self._indent
        return [
            scope for scope in self._scopes
            if scope.rank < rank and (scope.rank != _INDENTED or scope.indent <= indent)
        ]  # fmt: skip

    def _next_line(self) -> None:
        """End a line: see what it was, and begin another."""
        shown, values, indent = self._begin.strip(), frozenset(self._values), self._indent
        self._end = self._end.rstrip()
        if not shown:
            self._blank, self._row = self._blank + 1, False
            if self._blank >= _BLANK_LINES:
                self._scopes, self._caption = [], frozenset()
        else:
            self._scopes = self._in_force()
            self._sort(shown, values, indent)
            self._blank, self._row = 0, shown.startswith("|")
        self._begin = self._end = ""
        self._values.clear()

    def _sort(self, shown: str, values: frozenset[Place], indent: int) -> None:
        """Put a line's values where they apply."""
        emphasised = shown[:2] in ("**", "__") and self._end.rstrip(":").endswith(shown[:2])
        if rank := self._rank:
            self._head(rank, 0, values)
        elif _UNDERLINE.match(shown) and not self._blank and not self._row:
            self._head(1 if shown[0] == "=" else 2, 0, self._caption)
        elif emphasised:
            self._head(_EMPHASISED, 0, values)
        elif self._end.rstrip(_MARKS)[-1:] in (":", "："):
            self._scopes = [each for each in self._scopes if each.rank != _COLON or each.indent < indent]
            self._head(_INDENTED + 1, indent, values, as_rank=_COLON)
        elif _ITEM.match(shown):
            member = _MEMBER.match(shown) and self._end[-1:] not in "[{("
            self._head(_INDENTED + 1, indent if member else indent + 1, values, as_rank=_INDENTED)
            if shown.startswith("|") and not self._row:
                self._caption |= values
        else:
            self._caption = values
            if values and self._end[-1:] in "[{(":
                self._scopes.append(_Scope(_INDENTED, indent + 1, values))

    def _head(self, rank: int, indent: int, values: frozenset[Place], as_rank: int = 0) -> None:
        """Let a heading end those of its rank and below, and apply if it holds values."""
        self._scopes = [scope for scope in self._scopes if scope.rank < rank]
        as_rank = as_rank or rank
        if as_rank < _INDENTED:
            self._caption = frozenset()
        if not values:
            return
        last = self._scopes[-1] if self._scopes else None
        if last and last[:2] == (as_rank, indent):
            self._scopes[-1] = last._replace(values=last.values | values)
        else:
            self._scopes.append(_Scope(as_rank, indent, values))
