"""Names with letters beyond a to z in codes that move letters.

Whoever writes 'Quintavé' in rot13 moves its other letters and leaves the é, which then folds to a letter that
was never moved.
`guards.codecs_shapes` finds a name under every shift by the steps between its letters; here those steps are
broken, so each shift is a form of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_lowercase, ascii_uppercase

from guards.codecs_shapes import MIN_KNOWN, MIN_SHIFTED, Form
from guards.literal import Literals
from policies.policy import Policy
from policies.text import fold

MOST = 1_000
"""With more such names and values than this, only rot13 and atbash are looked for: 26 forms each are much."""
_MOVED = {
    by: str.maketrans(
        ascii_lowercase + ascii_uppercase,
        ascii_lowercase[by:] + ascii_lowercase[:by] + ascii_uppercase[by:] + ascii_uppercase[:by],
    )
    for by in range(1, 26)
}
_MIRROR = str.maketrans(ascii_lowercase + ascii_uppercase, ascii_lowercase[::-1] + ascii_uppercase[::-1])


def accented(policy: Policy, literals: Literals) -> Iterator[Form]:
    """Yield the forms of names and values in which some letters are moved and others cannot be.

    A hyphen binds as well: 'Adeyemi-Lund' is one word where each word is written backwards.
    """
    written = {
        fold(text).text: text
        for target in policy.targets
        for text in (*target.names, *(value for fact in target.facts for value in fact.values))
        if (not text.isascii() or "-" in text and " " in text) and _letters(text) >= MIN_KNOWN
    }
    if not written:
        return
    few = sum(not text.isascii() for text in written.values()) <= MOST
    for place, literal in literals.items():
        text = written.get(literal, "")
        if "-" in text and " " in text:
            yield _form(" ".join(word[::-1] for word in text.split()), "reversed", place)
        if text.isascii():
            continue
        for by in range(1, 26) if few and _letters(text) >= MIN_SHIFTED else (13,):
            via = "rot13" if by == 13 else f"Caesar {by}"
            yield _form(text.translate(_MOVED[by]), via, place)
        yield _form(text.translate(_MIRROR), "atbash", place)


def _letters(text: str) -> int:
    return sum(char.isascii() and char.isalpha() for char in text)


def _form(text: str, via: str, place: int) -> Form:
    # Without letters to compare, it is found as it stands and under no further shift.
    return Form(fold(text).text, (via,), place, 1, 0)
