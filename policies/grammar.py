"""The regexes that a policy may hold, parsed: a subset of the `regex` package's language.

The parser is our own, and what it does not know it refuses.  Neither parser that exists would do:
`regex._regex_core` is private and changes between releases; Python's `re._parser`, private too, reads some
patterns otherwise than `regex` does (`(?:abc){i<=3}` is literal text to one and a fuzzy match to the other,
`[[:alpha:]]` two characters and one), so that its widths would be wrong.  A strict subset costs an author a
backslash now and then and is never wrong about width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import regex

MAX_NESTING = 10
"""Groups inside groups."""
_ASSERTED: Final = {"b": (1, 1), "B": (1, 1), "m": (1, 1), "M": (1, 1), "A": (1, 0), "Z": (0, 1)}
"""Escapes that match a position, with the code points they look at to its left and right."""
_CLASSES = frozenset("dDwWsS")
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_CODED = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
_PROPERTY = re.compile(r"[pP]\{\^?[A-Za-z0-9_=: -]{1,60}\}")
_COUNT = re.compile(r"\{(\d{0,9})(?:(,)(\d{0,9}))?\}", re.ASCII)
_NAMED = re.compile(r"\?P?<[A-Za-z_][A-Za-z0-9_]*>")
_GLOBAL_FLAGS = re.compile(r"\(\?([a-z]+)\)")
_LOCAL_FLAGS = re.compile(r"\?([a-z]*)(-[a-z]+)?:")
_FLAGS: Final = {"i": regex.I, "m": regex.M, "s": regex.S, "a": regex.A, "u": regex.U}


class PatternError(ValueError):
    """A regex that may not run on a stream: what is wrong with it, and what would be valid."""

    def __init__(self, wrong: str, valid: str) -> None:
        super().__init__(f"{wrong}; {valid}")
        self.wrong = wrong
        self.valid = valid


@dataclass(frozen=True, slots=True, eq=False)
class Char:
    """Exactly one code point; `source` is the regex for it, `named` the characters it spells out."""

    source: str
    flags: int
    named: str


@dataclass(frozen=True, slots=True, eq=False)
class Border:
    """A position, known by looking at `left` code points before it and `right` behind it."""

    left: int
    right: int


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A lookahead or lookbehind."""

    inner: Node
    ahead: bool


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Alternation:
    """The first of the branches that leads to a match."""

    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """`inner`, `least` to `most` times; `most` is at least 1."""

    inner: Node
    least: int
    most: int


@dataclass(frozen=True, slots=True, eq=False)
class Atomic:
    """`inner`, never tried a second way once it matched: `(?>…)` and possessive quantifiers."""

    inner: Node


Node = Char | Border | Look | Run | Alternation | Repeat | Atomic


@dataclass(frozen=True, slots=True)
class Parsed:
    """A regex as a tree, with its global flags and every character that it names."""

    root: Node
    flags: int
    named: frozenset[str]


def parse(source: str) -> Parsed:
    """Return the tree of `source`; raise PatternError where it is outside the subset."""
    flags, begin = _global_flags(source)
    parser = _Parser(source, begin)
    root = parser.alternation(flags, 0)
    if parser.at < len(source):
        raise PatternError(f"has a ')' too many at position {parser.at + 1}", r"a literal one is written \)")
    return Parsed(root, flags, frozenset(parser.named))


def _global_flags(source: str) -> tuple[int, int]:
    flags: int = regex.V0
    match = _GLOBAL_FLAGS.match(source)
    if match is None:
        return flags, 0
    for letter in match[1]:
        if letter not in _FLAGS:
            raise PatternError(f"sets the flag {letter!r}", "the flags i, m, s, a and u are taken")
        flags |= _FLAGS[letter]
    return flags, match.end()


class _Parser:
    """Recursive descent, at most `MAX_NESTING` groups deep; `at` is the next unread character."""

    def __init__(self, source: str, begin: int) -> None:
        self.source = source
        self.at = begin
        self.named: set[str] = set()

    def _next(self, text: str) -> bool:
        return self.source.startswith(text, self.at)

    def _wrong(self, wrong: str, valid: str) -> PatternError:
        return PatternError(f"{wrong} at position {self.at + 1}", valid)

    def alternation(self, flags: int, depth: int) -> Node:
        """Read up to the end or the ')' that closes this group."""
        if depth > MAX_NESTING:
            raise self._wrong(f"nests more than {MAX_NESTING} groups", "write fewer groups inside groups")
        branches = [self._run(flags, depth)]
        while self._next("|"):
            self.at += 1
            branches.append(self._run(flags, depth))
        return branches[0] if len(branches) == 1 else Alternation(tuple(branches))

    def _run(self, flags: int, depth: int) -> Node:
        items: list[Node] = []
        while self.at < len(self.source) and self.source[self.at] not in "|)":
            items.append(self._quantified(self._atom(flags, depth)))
        return items[0] if len(items) == 1 else Run(tuple(items))

    def _atom(self, flags: int, depth: int) -> Node:
        char = self.source[self.at]
        if char == "(":
            return self._group(flags, depth)
        if char == "[":
            return self._class(flags)
        if char == "\\":
            return self._escape(flags)
        if char in "*+?{":
            raise self._wrong(f"has {char!r} with nothing to repeat", f"a literal one is written \\{char}")
        if char in "}]":
            raise self._wrong(f"has a lone {char!r}", f"a literal one is written \\{char}")
        self.at += 1
        if char == "^":
            return Border(1, 0)
        if char == "$":
            # Without the flag m, `$` also matches before a newline that ends the text, so it looks at two.
            return Border(0, 1 if flags & regex.M else 2)
        named = "" if char == "." else char
        self.named.update(named)
        return Char(char, flags, named)

    def _group(self, flags: int, depth: int) -> Node:
        opened = self.at
        self.at += 1
        kind = self._opening()
        inner_flags = self._local_flags(flags) if kind == "flags" else flags
        inner = self.alternation(inner_flags, depth + 1)
        if not self._next(")"):
            raise PatternError(f"has a group without its ')', opened at position {opened + 1}", "close it")
        self.at += 1
        if kind in ("ahead", "behind"):
            return Look(inner, ahead=kind == "ahead")
        return Atomic(inner) if kind == "atomic" else inner

    def _opening(self) -> str:
        """Read what follows '(' and return the kind of the group."""
        if not self._next("?") and not self._next("*"):
            return "plain"
        for text, kind in _OPENINGS:
            if self._next(text):
                self.at += len(text)
                return kind
        named = _NAMED.match(self.source, self.at)
        if named is not None:
            self.at = named.end()
            return "plain"
        if _LOCAL_FLAGS.match(self.source, self.at):
            return "flags"
        if self._next("?P=") or self._next("?("):
            raise self._wrong("refers back to a group", "write the text out")
        if re.match(r"\?[a-z]+\)", self.source[self.at :]):
            raise self._wrong("sets flags in its middle", "flags stand first, as in '(?i)…', or in '(?i:…)'")
        shown = self.source[self.at - 1 : self.at + 3]
        raise self._wrong(f"has an unknown group {shown!r}", "(…) (?:…) (?>…) (?=…) (?!…) (?<=…) (?<!…)")

    def _local_flags(self, flags: int) -> int:
        match = _LOCAL_FLAGS.match(self.source, self.at)
        assert match is not None
        on, off = match[1], (match[2] or "")[1:]
        for letter in on + off:
            if letter not in "ims":
                raise self._wrong(f"sets the flag {letter!r} for a group", "the flags i, m and s are taken")
            flags = flags | _FLAGS[letter] if letter in on else flags & ~_FLAGS[letter]
        self.at = match.end()
        return flags

    def _escape(self, flags: int) -> Node:
        begin = self.at
        asserted = _ASSERTED.get(self.source[begin + 1 : begin + 2])
        if asserted is not None:
            self.at += 2
            return Border(*asserted)
        char = self._escaped()
        return Char(self.source[begin : self.at], flags, char or "")

    def _escaped(self) -> str | None:
        """Read an escape that matches one character and return that character; None for a class of them."""
        rest = self.source[self.at + 1 : self.at + 80]
        letter = rest[:1]
        if not letter:
            raise self._wrong("ends in a backslash", r"a literal one is written \\")
        coded = _CODED.match(rest)
        prop = _PROPERTY.match(rest)
        if coded is not None:
            point = int(coded[coded.lastindex or 0], 16)
            if point > 0x10FFFF:
                raise self._wrong("names a character beyond U+10FFFF", "a character of Unicode")
            self.at += 1 + coded.end()
            self.named.add(chr(point))
            return chr(point)
        if prop is not None:
            self.at += 1 + prop.end()
            return None
        if letter.isdigit() or letter == "g":
            raise self._wrong("refers back to a group", r"write the text out; a character is \x00")
        if letter in _CLASSES or letter in _CONTROLS or not letter.isalnum():
            self.at += 2
            char = None if letter in _CLASSES else _CONTROLS.get(letter, letter)
            self.named.update(char or "")
            return char
        raise self._wrong(f"has the unknown escape '\\{letter}'", r"\d \w \s \b \t \n \x41 \u0041 \p{Lu}")

    def _class(self, flags: int) -> Char:
        begin = self.at
        self.at += 2 if self._next("[^") else 1
        named: list[str] = []
        first = self.at
        while not self._next("]") or self.at == first:
            if self.at >= len(self.source):
                wrong = f"has a '[' without its ']' at position {begin + 1}"
                raise PatternError(wrong, r"a literal one is written \[")
            named.append(self._member(first))
        self.at += 1
        source = self.source[begin : self.at]
        try:
            regex.compile(source, flags)
        except regex.error as error:
            raise PatternError(f"has the class {source[:40]!r}: {error}", "see the regex package") from None
        return Char(source, flags, "".join(named))

    def _member(self, first: int) -> str:
        char = self.source[self.at]
        if char == "\\":
            return self._escaped() or ""
        if char == "[" or (char == "]" and self.at == first):
            raise self._wrong(f"has {char!r} inside a class", f"a literal one is written \\{char}")
        if char in "&|~-" and self._next(char * 2):
            raise self._wrong(f"has {char * 2!r} inside a class", f"a literal one is written \\{char}")
        self.at += 1
        self.named.add(char)
        return char

    def _quantified(self, atom: Node) -> Node:
        read = self._quantifier()
        if read is None:
            return atom
        if isinstance(atom, Border | Look):
            raise self._wrong("repeats a position", "a quantifier stands behind a character or group")
        least, most = read
        node = Repeat(atom, least, most)
        if self._next("+") or self._next("?"):
            possessive = self._next("+")
            self.at += 1
            return self._single(Atomic(node) if possessive else node)
        return self._single(node)

    def _single(self, node: Node) -> Node:
        if self.source[self.at : self.at + 1] in ("*", "+", "?", "{"):
            raise self._wrong("has two quantifiers in a row", "put the first and what it repeats in (?:…)")
        return node

    def _quantifier(self) -> tuple[int, int] | None:
        char = self.source[self.at : self.at + 1]
        if char in ("*", "+"):
            raise self._unbounded(char, 0 if char == "*" else 1)
        if char == "?":
            self.at += 1
            return 0, 1
        if char != "{":
            return None
        match = _COUNT.match(self.source, self.at)
        if match is None or not (match[1] or match[3]):
            raise self._wrong("has a '{' that begins no count", r"{3} or {1,40}; a literal one is written \{")
        least = int(match[1] or 0)
        if match[2] and not match[3]:
            raise self._unbounded(match[0], least)
        most = int(match[3]) if match[2] else least
        if most < max(1, least):
            raise self._wrong(f"has the count {match[0]!r}, which is never met", "such as {1,40}")
        self.at = match.end()
        return least, most

    def _unbounded(self, quantifier: str, least: int) -> PatternError:
        wrong = f"has the unbounded quantifier {quantifier!r}"
        return self._wrong(wrong, f"say how often at most: use {{{least},{least + 40 if least > 1 else 40}}}")


_OPENINGS: Final = (
    ("?:", "plain"), ("?>", "atomic"), ("?=", "ahead"), ("?!", "ahead"), ("?<=", "behind"), ("?<!", "behind"),
)  # fmt: skip
