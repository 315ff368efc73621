"""How wide a regex is, how far it looks, and how much work it may be: worst cases, over all texts.

A pattern runs on a stream, so what it holds back and how long it runs must be known before it is let in.
Widths are exact upper bounds by the grammar.  The number of steps is an estimate of what a backtracking
matcher does from one position: choices that the next character decides cost nothing, all others multiply.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import regex

from policies.grammar import (
    Alternation,
    Atomic,
    Border,
    Char,
    Look,
    Node,
    Parsed,
    PatternError,
    Repeat,
    Run,
    parse,
)
from policies.policy import Pattern

MAX_WIDTH = 1_000
"""Code points that a pattern may match, and look at, together."""
MAX_SOURCE = 4_000
"""Code points of a regex."""
MAX_STEPS = 50_000
"""Steps from one position.  At 13 to 17 ns a step (measured on patterns that come near their estimate) one
character of a hostile text costs at most about 1 ms."""
_SATURATED = 10**12

# The characters over which sets are compared: everything up to U+2FFF, every 61st code point above, and
# what the pattern itself names.  Literals and ranges are thereby exact (ranges overlap only where an end of
# one lies in the other); properties and negated classes above U+2FFF are sampled, which an estimate can bear.
_SAMPLE = "".join(map(chr, [*range(0x3000), *range(0x3000, 0xD800, 61), *range(0xE000, 0x110000, 61)]))


@lru_cache(maxsize=4096)
def bounded(source: str, check: Literal["luhn"] | None = None) -> Pattern:
    """Return `source` as a pattern that may run on a stream, or raise PatternError.

    Its `max_width` counts what a lookahead sees behind the match, less the one character that every border
    looks at; its `left_context` what lookbehinds and borders see before it.
    """
    if len(source) > MAX_SOURCE:
        raise PatternError(f"is {len(source)} characters long", f"at most {MAX_SOURCE}")
    unprintable = next((char for char in source if not char.isprintable()), None)
    if unprintable is not None:
        wrong = f"holds the invisible character U+{ord(unprintable):04X}"
        raise PatternError(wrong, r"use single quotes: in double quotes YAML reads \b as a backspace")
    parsed = parse(source)
    extent = _measured(parsed.root)
    _refuse_width(extent)
    try:
        regex.compile(source, parsed.flags)
    except regex.error as error:
        raise PatternError(f"does not compile: {error}", "see the manual of the regex package") from None
    work = _Work(parsed)
    steps = work.steps(parsed.root, _END)[0]
    if steps > MAX_STEPS:
        many = f"{steps:,}" if steps < _SATURATED else f"{_SATURATED:,} and more"
        wrong = f"may try {many} ways from one position (limit {MAX_STEPS:,})"
        valid = "make repeats possessive, as in {1,40}+, or part them by a character that they cannot match"
        raise PatternError(wrong, valid)
    if check == "luhn" and not work.matches_any("0123456789"):
        raise PatternError("can match no digit, so that no luhn check passes", "leave check out")
    return Pattern(source, parsed.flags, extent.held, extent.back, check)


@dataclass(frozen=True, slots=True)
class _Extent:
    """Code points: of the narrowest and widest match, looked at before its start and behind its end."""

    least: int
    most: int
    back: int = 0
    ahead: int = 0

    @property
    def held(self) -> int:
        return max(self.most, self.most + self.ahead - 1)


def _refuse_width(extent: _Extent) -> None:
    if extent.least == 0:
        raise PatternError("can match nothing at all", "at least one character must be required")
    if extent.held > MAX_WIDTH or extent.back > MAX_WIDTH:
        width = max(extent.held, extent.back)
        wide = f"{width:,}" if width < _SATURATED else "far too many"
        raise PatternError(f"is up to {wide} characters wide", f"at most {MAX_WIDTH:,}: lower its counts")


def _measured(node: Node) -> _Extent:
    match node:
        case Char():
            return _Extent(1, 1)
        case Border(left, right):
            return _Extent(0, 0, left, right)
        case Look(inner, ahead):
            of = _measured(inner)
            if ahead:
                return _Extent(0, 0, of.back, of.most + of.ahead)
            return _Extent(0, 0, of.most + of.back, of.ahead)
        case Run(items):
            total = _Extent(0, 0)
            for item in items:
                total = _joined(total, _measured(item))
            return total
        case Alternation(branches):
            each = [_measured(branch) for branch in branches]
            return _Extent(
                min(of.least for of in each), max(of.most for of in each),
                max(of.back for of in each), max(of.ahead for of in each),
            )  # fmt: skip
        case Repeat(inner, least, most):
            of = _measured(inner)
            return _Extent(_capped(of.least * least), _capped(of.most * most), of.back, of.ahead)
        case Atomic(inner):
            return _measured(inner)


def _joined(left: _Extent, right: _Extent) -> _Extent:
    return _Extent(
        _capped(left.least + right.least),
        _capped(left.most + right.most),
        max(left.back, right.back - left.least),
        max(right.ahead, left.ahead - right.least),
    )


def _capped(number: int) -> int:
    return min(number, _SATURATED)


Follow = frozenset[str] | None
"""Characters that may come next; None for any, and the empty set where the match is complete."""
_END: Follow = frozenset()


class _Work:
    """Counts what a backtracking matcher may do from one position, over the worst text.

    A choice (how often to repeat, which branch) multiplies the ways only where the next character does not
    decide it: where what may follow overlaps with what would go on.  So `(?:\\d[ -]?){13,19}` is linear and
    `(?:\\d{1,9}){1,9}x` is not.
    """

    def __init__(self, parsed: Parsed) -> None:
        self._named = parsed.named
        self._first: dict[Node, tuple[frozenset[str], bool]] = {}
        self._memo: dict[tuple[Node, Follow], tuple[int, int]] = {}
        self.first(parsed.root)

    def matches_any(self, chars: str) -> bool:
        """Whether some part of the pattern can match one of `chars`; `steps` has visited every part."""
        wanted = frozenset(chars)
        return any(isinstance(node, Char) and wanted & self.first(node)[0] for node in self._first)

    def first(self, node: Node) -> tuple[frozenset[str], bool]:
        """Return the characters with which `node` may begin, and whether it may match nothing."""
        known = self._first.get(node)
        if known is None:
            known = self._first[node] = self._begun(node)
        return known

    def _begun(self, node: Node) -> tuple[frozenset[str], bool]:
        match node:
            case Char(source, flags):
                compiled = regex.compile(source, flags)
                own = {char for char in self._named if compiled.fullmatch(char)}
                return _sampled(source, flags) | own, False
            case Border() | Look():
                return frozenset(), True
            case Run(items):
                begun: frozenset[str] = frozenset()
                for item in items:
                    chars, nullable = self.first(item)
                    begun |= chars
                    if not nullable:
                        return begun, False
                return begun, True
            case Alternation(branches):
                each = [self.first(branch) for branch in branches]
                return frozenset().union(*(chars for chars, _ in each)), any(nullable for _, nullable in each)
            case Repeat(inner, least):
                chars, nullable = self.first(inner)
                return chars, nullable or least == 0
            case Atomic(inner):
                return self.first(inner)

    def steps(self, node: Node, follow: Follow) -> tuple[int, int]:
        """Return the steps that `node` may take, and in how many ways it may match before `follow`."""
        known = self._memo.get((node, follow))
        if known is None:
            steps, ways = self._counted(node, follow)
            known = self._memo[node, follow] = _capped(steps), _capped(ways)
        return known

    def _counted(self, node: Node, follow: Follow) -> tuple[int, int]:
        match node:
            case Char() | Border():
                return 1, 1
            case Look(inner) | Atomic(inner):
                return self.steps(inner, _END)[0], 1
            case Run(items):
                return self._run(items, follow)
            case Alternation(branches):
                return self._alternation(branches, follow)
            case Repeat(inner, least, most):
                return self._repeat(inner, least, most, follow)

    def _run(self, items: tuple[Node, ...], follow: Follow) -> tuple[int, int]:
        follows = [follow]
        for item in reversed(items):
            follows.append(self._before(item, follows[-1]))
        steps, ways = 0, 1
        for item, behind in zip(items, reversed(follows[:-1]), strict=True):
            more, times = self.steps(item, behind)
            steps, ways = _capped(steps + ways * more), _capped(ways * times)
        return steps, ways

    def _before(self, item: Node, follow: Follow) -> Follow:
        """Return what may come next where `item` and then `follow` come next."""
        chars, nullable = self.first(item)
        if not nullable:
            return chars
        if follow is None or not follow and _asserts(item):
            # A border that nothing follows can still fail, whatever the next character is.
            return None
        return chars | follow

    def _alternation(self, branches: tuple[Node, ...], follow: Follow) -> tuple[int, int]:
        each = [self.steps(branch, follow) for branch in branches]
        steps = sum(of for of, _ in each) + len(each)
        begun = [self.first(branch) for branch in branches]
        if not any(nullable for _, nullable in begun) and _disjoint([chars for chars, _ in begun]):
            return steps, max(ways for _, ways in each)
        return steps, sum(ways for _, ways in each)

    def _repeat(self, inner: Node, least: int, most: int, follow: Follow) -> tuple[int, int]:
        chars, nullable = self.first(inner)
        steps, last = self.steps(inner, follow)
        between = 1 if most == 1 else self.steps(inner, self._before(inner, follow))[1]
        exits = most - least + 1
        total, ways = exits, 1
        for _ in range(min(most, MAX_WIDTH)):
            total, ways = _capped(total + ways * steps), _capped(ways * between)
        undecided = nullable or follow is None or not chars.isdisjoint(follow)
        return total, (exits if undecided else 1) * (ways if between > 1 else 1) * last


@lru_cache(maxsize=1024)
def _sampled(source: str, flags: int) -> frozenset[str]:
    return frozenset(regex.compile(source, flags).findall(_SAMPLE))


def _asserts(node: Node) -> bool:
    match node:
        case Border() | Look():
            return True
        case Run(items) | Alternation(items):
            return any(_asserts(item) for item in items)
        case Repeat(inner) | Atomic(inner):
            return _asserts(inner)
        case Char():
            return False


def _disjoint(sets: list[frozenset[str]]) -> bool:
    seen: set[str] = set()
    for chars in sets:
        if not seen.isdisjoint(chars):
            return False
        seen |= chars
    return True
