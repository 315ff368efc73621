"""Names and values in a code that changes letters one by one: Caesar's, rot13, atbash, and written backwards.

Within a word, the step from one letter to the next (mod 26) is the same under every Caesar shift.  A folded
text is therefore turned into the string of its steps, its *shape*, and one Aho-Corasick automaton over the
shapes of the literals finds all 25 shifts in one pass.  The mirrored shape is atbash; backwards, word by word
backwards and pig Latin are further forms.  What is found is then compared letter by letter.

How often chance does it: letters of English text agree by chance with a rate of 0.066 (the sum of their
squared frequencies), so a word of L letters is taken for another one under one of n alphabets about
n * 0.066**L times: 25 shifts and 8 letters give 9e-9 a word, one alphabet and 6 letters 8e-8.
`MIN_SHIFTED` and `MIN_KNOWN` are those lengths; a single word that ordinary sentences hold ('drawer') is no
reversed name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np

from guards.codecs_tokens import LEET_VIEWS
from guards.heads import Heads, codes, heads_of
from guards.literal import Literals
from policies.calibrate import ordinary_words
from policies.text import Folded

MIN_KNOWN = 6
"""Letters that a literal must have to be looked for backwards, in rot13, atbash or pig Latin."""
MIN_SHIFTED = 8
"""Letters that a literal must have to be looked for under every other shift."""

NATO = dict(
    zip(
        "alfa alpha bravo charlie delta echo foxtrot golf hotel india juliett juliet kilo lima mike november "
        "oscar papa quebec romeo sierra tango uniform victor whiskey whisky xray yankee zulu".split(),
        "aabcdefghijjklmnopqrstuvwwxyz",
        strict=True,
    )
)
"""The spelling alphabet; X-ray, in two words, is added where it is used."""

_PLACES = bytearray(256)
for _byte in range(256):
    _PLACES[_byte] = 60 if _byte == 32 else 100 + _byte % 128 if _byte >= 128 else 120 + _byte % 10
for _number, _letter in enumerate(ascii_lowercase, 1):
    _PLACES[ord(_letter)] = _number
_STEPS = bytearray(128 + step % 128 for step in range(256))
for _step in range(-25, 26):
    _STEPS[_step % 256] = 65 + _step % 26
for _step in range(-59, -33):
    _STEPS[_step % 256] = ord("^")
for _step in range(34, 60):
    _STEPS[_step % 256] = ord(" ")
_SHIFTS = [str.maketrans(ascii_lowercase, ascii_lowercase[by:] + ascii_lowercase[:by]) for by in range(26)]
_MIRROR = str.maketrans(ascii_lowercase, ascii_lowercase[::-1])
_LETTERS = frozenset(ascii_lowercase)
_CONSONANTS = re.compile("[^aeiou][^aeiouy]*(?:(?<=q)u)?")
"""What pig Latin puts behind the rest of a word."""


def shape(folded: str) -> str:
    """Return the steps of a folded text: one character for each pair of neighbours, so one fewer than it has.

    `^` stands where a word's first letter follows a space, a space where a letter is followed by one.
    """
    places = np.frombuffer(codes(folded).encode("latin-1").translate(_PLACES), np.uint8)
    return (places[1:] - places[:-1]).tobytes().translate(_STEPS).decode("latin-1")


class Form(NamedTuple):
    """One way in which a literal may be written, before any shift."""

    shown: str
    """With a space at both ends."""
    via: tuple[str, ...]
    """How the literal is read out of it; empty for the literal itself."""
    literal: int
    """The place of what it is of; -1 for a word of the spelling alphabet."""
    first: int
    """Index of its first letter of a to z."""
    letters: int


class Shaped(NamedTuple):
    """A form that stands in a folded text, at `[start, end)` of it, spaces included."""

    start: int
    end: int
    form: Form
    via: tuple[str, ...]


class Shapes:
    """The compiled shapes of a policy's literals and of the spelling alphabet; immutable.

    A form is known by the literal that it is of and by how that was turned: its letters are worked out where
    something like it is found.
    """

    def __init__(self, literals: Literals, more: Iterable[Form] = ()) -> None:
        """`more`: further forms of names and values."""
        self._literals = literals
        self._others = (*(_SPELLING if literals.max_chars else ()), *more)
        """Forms that are kept as they are."""
        self.max_chars = 0
        """Longest form in folded characters."""
        numbers, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)]
        written = self._written()
        while some := list(islice(written, _AT_ONCE)):
            shown = [form for _, form in some]
            sizes = np.fromiter(map(len, shown), np.int64, len(shown))
            steps = shape("".join(shown)).encode("latin-1")
            numbers.append(heads_of(steps, np.cumsum(sizes) - sizes, sizes - 1))
            owners.append(np.fromiter((owner for owner, _ in some), np.uint32, len(some)))
            self.max_chars = max(self.max_chars, int(sizes.max()))
        each = np.concatenate(numbers)
        order = np.argsort(each, kind="stable")
        self._heads = Heads(each[order])
        self._owners = np.concatenate(owners)[order]

    def _written(self) -> Iterator[tuple[int, str]]:
        """Yield every form, with a number that says which literal it is of and how that was turned."""
        for place, literal in self._literals.items():
            for way, shown in enumerate(_turned(literal)):
                if shown:
                    yield place << _WAYS_BITS | way, shown
        for at, form in enumerate(self._others):
            yield _OTHER | at, form.shown

    def look(self, folded: Folded, steps: str, *, closed: bool) -> tuple[list[Shaped], int | None]:
        """Return every form in a text with the shape `steps`, by where they start, and what is live.

        That is the index of the first word from which on the text may still become a form; in a text that
        has ended nothing is.
        """
        if not len(self._heads):
            return [], None
        text = folded.text
        found: list[Shaped] = []
        known, depth = self._heads.known, self._heads.depth
        live = [
            at
            for at in (() if closed else _spaces(text, _HEAD))
            if known(steps[at : at + depth]) and self._heads.may_begin(steps[at:])
        ]
        for start, low, high in self._heads.hits(steps):
            for item in range(low, high):
                form = self._form(int(self._owners[item]))
                shown = text[start : start + len(form.shown)]
                via = _via(form, shown)
                if via is None:
                    continue
                if len(shown) == len(form.shown):
                    found.append(Shaped(start, start + len(shown), form, via))
                elif len(shown) > _HEAD and not closed:
                    live.append(start)
        found.sort(key=lambda each: each.start)
        return found, folded.word_at(min(live) + 1) if live else None

    def _form(self, owner: int) -> Form:
        if owner & _OTHER:
            return self._others[owner ^ _OTHER]
        place, way = owner >> _WAYS_BITS, owner & (1 << _WAYS_BITS) - 1
        literal = self._literals.literal(place)
        shown = _turned(literal)[way]
        letters = sum(map(_LETTERS.__contains__, literal))
        return Form(shown, _WAYS[way], place, _first_letter(shown), letters)


_HEAD = 9
"""Of fewer steps than this the shape alone says that a form may have begun."""
_AT_ONCE = 50_000
"""Forms whose shapes are worked out together."""


def _spaces(text: str, size: int) -> Iterator[int]:
    """Yield where a word begins of which fewer than `size` steps are there."""
    at = text.find(" ", max(0, len(text) - size))
    while 0 <= at < len(text) - 1:
        yield at
        at = text.find(" ", at + 1)


def turns(text: str, via: str) -> Iterator[str]:
    """Yield a whole text as it reads in the code that `via` names, where that changes letters one by one."""
    if via == "atbash":
        yield text.lower().translate(_MIRROR)
    elif via == "rot13":
        yield text.lower().translate(_SHIFTS[13])
    elif via.startswith("Caesar "):
        yield text.lower().translate(_SHIFTS[-int(via.removeprefix("Caesar ")) % 26])
    elif via == "reversed":
        yield text[::-1]
        yield " ".join(word[::-1] for word in text.split())
    elif via == "leet":
        yield from (text.translate(view) for view in LEET_VIEWS)


_SPELLING = tuple(Form(f" {word} ", ("NATO letters",), -1, 1, len(word)) for word in [*NATO, "x ray"])
_WAYS: tuple[tuple[str, ...], ...] = ((), ("atbash",), *[("reversed",)] * 2, *[("pig Latin",)] * 3)
"""How a literal is read out of each of the forms that `_turned` returns."""
_WAYS_BITS, _OTHER = 3, 1 << 31
"""An owner is a literal's place and, in its last bits, the way; or this and the place of another form."""
_REMEMBERED = 16_384
"""Literals of which the forms are remembered."""
_NO_FORMS = ("",) * len(_WAYS)


# Who saves a policy again has changed one target of a thousand.
@lru_cache(maxsize=_REMEMBERED)
def _turned(literal: str) -> Sequence[str]:
    """Return what a literal may stand as, in the order of `_WAYS`; nothing for what it is already."""
    glued = literal.replace(" ", "")
    if len(glued) < MIN_KNOWN:
        return _NO_FORMS
    plain = glued.isascii() and glued.isalpha()
    # Enough letters for what a code of letters is.
    many = plain or sum(map(_LETTERS.__contains__, glued)) >= MIN_KNOWN
    words = literal.split()
    backwards = f" {' '.join([word[::-1] for word in words])} " if len(words) > 1 else ""
    mirrored = literal.translate(_MIRROR) if many else ""
    forms = [literal, mirrored, literal[::-1], backwards, *(_pig_latin(words) if many else ("", "", ""))]
    if len(set(forms)) == len(forms):
        return forms
    return [form if form not in forms[:way] else "" for way, form in enumerate(forms)]


def _pig_latin(words: Sequence[str]) -> tuple[str, str, str]:
    """Return words in pig Latin, and with other ends to those that begin with a vowel, if one does."""
    turned = []
    vowels = False
    for word in words:
        begun = _CONSONANTS.match(word)
        head = begun.end() if begun else 0
        vowels = vowels or head == 0
        turned.append(f"{word[head:]}{word[:head]}ay" if head else f"{word}\0ay")
    shown = f" {' '.join(turned)} "
    if not vowels:
        return shown.replace("\0", ""), "", ""
    return shown.replace("\0", "w"), shown.replace("\0", "y"), shown.replace("\0", "")


def _first_letter(form: str) -> int:
    if form[1] in _LETTERS:
        return 1
    return next((at for at, char in enumerate(form) if char in _LETTERS), 0)


def _via(form: Form, shown: str) -> tuple[str, ...] | None:
    """Return how the literal is read out of `shown`, which may be the beginning of it.

    None where it is something else, or the literal itself.
    """
    by = 0
    if form.letters and form.first < len(shown):
        by = (ord(shown[form.first]) - ord(form.shown[form.first])) % 26
    if form.shown[: len(shown)].translate(_SHIFTS[by]) != shown:
        return None
    if form.literal < 0:
        return form.via if by == 0 else None
    if by == 0:
        via = form.via
    elif form.via == ("pig Latin",) or by != 13 and form.letters < MIN_SHIFTED:
        return None
    else:
        via = ("rot13" if by == 13 else f"Caesar {by}", *form.via)
    whole = len(shown) == len(form.shown) and " " not in shown[1:-1]
    if not via or whole and shown[1:-1] in ordinary_words():
        return None
    return via
