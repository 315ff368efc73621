"""A regex without what it looks at: every match of the one begins as a match of the other.

Whether a border or a lookaround holds at the end of a text that may go on, nobody can know yet; the `regex`
package answers as if the text ended there.  What is alive there is therefore asked of the relaxed form.
"""

from __future__ import annotations

from functools import lru_cache

import regex

from policies.grammar import Alternation, Atomic, Border, Char, Look, Node, Repeat, Run, parse


@lru_cache(maxsize=4096)
def relaxed(source: str) -> tuple[str, int] | None:
    """Return the relaxed form of a bounded regex, with its flags; None where it looks back at its start only.

    What stands at the start of a match is decided by characters that are there.
    """
    parsed = parse(source)
    if not _looks(parsed.root, first=True):
        return None
    return _shown(parsed.root), parsed.flags & (regex.A | regex.U)


def _looks(node: Node, *, first: bool) -> bool:
    """Whether `node` looks at what may not be there yet; `first`: whether a match may begin with it."""
    match node:
        case Char():
            return False
        case Border(_, right):
            return not first or right > 1
        case Look(_, ahead):
            return not first or ahead
        case Run(items):
            return any(_looks(item, first=first and at == 0) for at, item in enumerate(items))
        case Alternation(branches):
            return any(_looks(branch, first=first) for branch in branches)
        case Repeat(inner) | Atomic(inner):
            return _looks(inner, first=False)


def _shown(node: Node) -> str:
    match node:
        case Char(source, flags):
            local = "".join(name for name, flag in (("i", regex.I), ("s", regex.S)) if flags & flag)
            return f"(?{local}:{source})" if local else source
        case Border() | Look():
            return ""
        case Run(items):
            return "".join(map(_shown, items))
        case Alternation(branches):
            return f"(?:{'|'.join(map(_shown, branches))})"
        case Repeat(inner, least, most):
            return f"(?:{_shown(inner)}){{{least},{most}}}"
        case Atomic(inner):
            # What it gives up stays possible here.
            return f"(?:{_shown(inner)})"
