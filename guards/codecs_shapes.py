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

from collections.abc import Iterable, Iterator
from functools import lru_cache
from string import ascii_lowercase
from typing import NamedTuple

import ahocorasick
import numpy as np

from guards.literal import Literals
from guards.written import Entry
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
_VOWELS = frozenset("aeiou")
_LETTERS = frozenset(ascii_lowercase)


def shape(folded: str) -> str:
    """Return the steps of a folded text: one character for each pair of neighbours, so one fewer than it has.

    `^` stands where a word's first letter follows a space, a space where a letter is followed by one.
    """
    if folded.isascii():
        codes = folded.encode("ascii")
    else:
        points = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), "<u4")
        codes = np.where(points < 128, points, 128 | (points & 127)).astype(np.uint8).tobytes()
    places = np.frombuffer(codes.translate(_PLACES), np.uint8)
    return (places[1:] - places[:-1]).tobytes().translate(_STEPS).decode("latin-1")


class Form(NamedTuple):
    """One way in which a literal may be written, before any shift."""

    shown: str
    """With a space at both ends."""
    via: tuple[str, ...]
    """How the literal is read out of it; empty for the literal itself."""
    entries: tuple[Entry, ...]
    """What it is of; none for a word of the spelling alphabet."""
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
    """The compiled shapes of a policy's literals and of the spelling alphabet; immutable."""

    def __init__(self, literals: Literals, more: Iterable[Form] = ()) -> None:
        """`more`: further forms of names and values."""
        forms = [form for literal, entries in literals.items() for form in _forms(literal, entries)]
        forms += more
        if literals.max_chars:
            spelling = (Form(f" {word} ", ("NATO letters",), (), 1, len(word)) for word in [*NATO, "x ray"])
            forms += spelling
        steps = shape("".join(form.shown for form in forms))
        begun: dict[str, list[Form]] = {}
        at = 0
        for form in forms:
            size = len(form.shown)
            begun.setdefault(steps[at : at + min(size - 1, _HEAD)], []).append(form)
            at += size
        self._automaton = ahocorasick.Automaton()
        for head, some in begun.items():
            self._automaton.add_word(head, (len(head), tuple(some)))
        self._automaton.make_automaton()
        self.max_chars = max((len(form.shown) for form in forms), default=0)
        """Longest form in folded characters."""

    def look(self, folded: Folded, steps: str) -> tuple[list[Shaped], int | None]:
        """Return every form in a text with the shape `steps`, by where they start, and what is live.

        That is the index of the first word from which on the text may still become a form.
        """
        if not self._automaton:
            return [], None
        text = folded.text
        found: list[Shaped] = []
        live = [at for at in _spaces(text, _HEAD) if self._automaton.match(steps[at:])]
        for last, (size, forms) in self._automaton.iter(steps):
            start = last + 1 - size
            for form in forms:
                shown = text[start : start + len(form.shown)]
                via = _via(form, shown)
                if via is None:
                    continue
                if len(shown) == len(form.shown):
                    found.append(Shaped(start, start + len(shown), form, via))
                else:
                    live.append(start)
        found.sort(key=lambda each: each.start)
        return found, folded.word_at(min(live) + 1) if live else None


_HEAD = 9
"""Steps of a form that the automaton knows; what goes on alike is compared as it stands."""


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


def _forms(literal: str, entries: tuple[Entry, ...]) -> Iterable[Form]:
    for form, via, first, letters in _turned(literal):
        yield Form(form, via, entries, first, letters)


# A policy is compiled again for every change of it, and most of its names stay.
@lru_cache(maxsize=1 << 16)
def _turned(literal: str) -> tuple[tuple[str, tuple[str, ...], int, int], ...]:
    """Return what a literal may stand as: how, in which code, its first letter and how many it has."""
    glued = literal.replace(" ", "")
    if len(glued) < MIN_KNOWN:
        return ()
    letters = len(glued) if glued.isascii() and glued.isalpha() else sum(map(_LETTERS.__contains__, glued))
    words = literal.split()
    shown: dict[str, tuple[str, ...]] = {literal: ()}
    if letters >= MIN_KNOWN:
        shown.setdefault(literal.translate(_MIRROR), ("atbash",))
    shown.setdefault(literal[::-1], ("reversed",))
    if len(words) > 1:
        shown.setdefault(f" {' '.join(word[::-1] for word in words)} ", ("reversed",))
    if letters >= MIN_KNOWN:
        tails = ("way", "yay", "ay") if any(word[0] in _VOWELS for word in words) else ("",)
        for tail in tails:
            shown.setdefault(f" {' '.join(_pig_latin(word, tail) for word in words)} ", ("pig Latin",))
    return tuple((form, via, _first_letter(form), letters) for form, via in shown.items())


def _first_letter(form: str) -> int:
    if form[1] in _LETTERS:
        return 1
    return next((at for at, char in enumerate(form) if char in _LETTERS), 0)


def _pig_latin(word: str, tail: str) -> str:
    head = next((at for at, char in enumerate(word) if char in _VOWELS or at and char == "y"), len(word))
    if word[head - 1 : head + 1] == "qu":
        head += 1
    return word + tail if head == 0 else f"{word[head:]}{word[:head]}ay"


def _via(form: Form, shown: str) -> tuple[str, ...] | None:
    """Return how the literal is read out of `shown`, which may be the beginning of it.

    None where it is something else, or the literal itself.
    """
    by = 0
    if form.letters and form.first < len(shown):
        by = (ord(shown[form.first]) - ord(form.shown[form.first])) % 26
    if form.shown[: len(shown)].translate(_SHIFTS[by]) != shown:
        return None
    if not form.entries:
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
