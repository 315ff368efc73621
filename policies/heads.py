"""How the matches of a regex may begin: what a text must hold before the regex need be tried at all.

A head is the first two characters of a match, or its only one.  Characters beyond ASCII are all written as
`OTHER`, and whatever is not certain counts as possible, so that a text without a head holds no match.
"""

from __future__ import annotations

import re
from functools import lru_cache

import regex

from policies.grammar import Alternation, Atomic, Border, Char, Look, Node, Repeat, Run, parse

OTHER = "\x80"
"""Stands for every character beyond ASCII."""

_ASCII = "".join(map(chr, range(128)))
_WIDTH = 2
_BEYOND = re.compile(r"[^\x00-\x7f]")


@lru_cache(maxsize=4096)
def heads(source: str) -> frozenset[str]:
    """Return every head of a regex that `policies.patterns.bounded` lets in.

    Each is one or two characters of ASCII and `OTHER`; one character only where a match may be as short.
    """
    return _begun(parse(source).root)


def coarse(text: str) -> str:
    """Return `text` in the characters of heads, as long as it was."""
    return text if text.isascii() else _BEYOND.sub(OTHER, text)


def _begun(node: Node) -> frozenset[str]:
    """Return the beginnings of what `node` matches: shorter ones than a head's width are the whole of it."""
    match node:
        case Char(source, flags):
            return _chars(source, flags)
        case Border() | Look():
            return frozenset({""})
        case Run(items):
            begun = frozenset({""})
            for item in items:
                begun = _joined(begun, item)
            return begun
        case Alternation(branches):
            return frozenset().union(*map(_begun, branches))
        case Repeat(inner, least, most):
            begun = _times(inner, min(least, _WIDTH))
            # What may be repeated more often may also go on: as often as a head is wide is enough.
            for count in range(least + 1, min(most, least + _WIDTH) + 1):
                begun |= _times(inner, min(count, 2 * _WIDTH))
            return begun
        case Atomic(inner):
            return _begun(inner)


def _times(inner: Node, count: int) -> frozenset[str]:
    begun = frozenset({""})
    for _ in range(count):
        begun = _joined(begun, inner)
    return begun


def _joined(begun: frozenset[str], item: Node) -> frozenset[str]:
    """Return the beginnings of `begun` followed by `item`; no more work than there can be heads."""
    whole = {head for head in begun if len(head) == _WIDTH}
    if len(whole) == len(begun):
        return begun
    following = _begun(item)
    if "" in begun:
        whole |= following
    # Behind one character only the first of what follows is in a head.
    firsts = {more[:1] for more in following}
    return frozenset(whole | {head + more for head in begun if len(head) == 1 for more in firsts})


@lru_cache(maxsize=1024)
def _chars(source: str, flags: int) -> frozenset[str]:
    if flags & regex.I and "p{" in source.lower():
        # What a property matches without its case depends on the pattern around it.
        return frozenset(_ASCII) | {OTHER}
    matched = frozenset(regex.compile(source, flags).findall(_ASCII))
    # Spelled-out ASCII in its own case stays there; a class such as \d or [^a] reaches beyond.
    plain = source.isascii() and not flags & regex.I and not re.search(r"[\\^]|^\.$", source)
    return matched if plain else matched | {OTHER}
