"""Names and values in a code that changes letters one by one: Caesar's, rot13, atbash, and written backwards.

Within a word, the step from one letter to the next (mod 26) is the same under every Caesar shift.  A folded
text is therefore turned into the string of its steps, its *shape*, and one Aho-Corasick automaton over the
shapes of the literals finds all 25 shifts in one pass.  The mirrored shape is atbash; backwards, word by word
backwards and pig Latin are further forms.  What is found is then compared letter by letter.

How often chance does it: letters of English text agree by chance with a rate of 0.066 (the sum of their squared
frequencies), so a word of L letters is taken for another one under one of n alphabets at most n * 0.066**L
times: 25 shifts and 8 letters give 9e-9 a word, one alphabet and 6 letters 8e-8.  `MIN_SHIFTED` and
`MIN_KNOWN` are those lengths; a single word that ordinary sentences hold ('drawer') is no reversed name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from string import ascii_lowercase

import ahocorasick
import numpy as np

from guards.literal import Entry, Literals
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


def no_beginnings(keys: Iterable[str]) -> frozenset[str]:
    """Return the keys that no other key begins with: once complete, they cannot grow."""
    ordered = sorted(keys)
    pairs = zip(ordered, [*ordered[1:], ""], strict=False)
    return frozenset(key for key, after in pairs if not after.startswith(key))


@dataclass(frozen=True, slots=True)
class Form:
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


@dataclass(frozen=True, slots=True)
class Shaped:
    """A form that stands in a folded text, at `[start, end)` of it, spaces included."""

    start: int
    end: int
    form: Form
    via: tuple[str, ...]


class Shapes:
    """The compiled shapes of a policy's literals and of the spelling alphabet; immutable."""

    def __init__(self, literals: Literals) -> None:
        forms: dict[str, list[Form]] = {}
        for literal, entries in literals.items():
            for form in _forms(literal, entries):
                forms.setdefault(shape(form.shown), []).append(form)
        if forms:
            for word in [*NATO, "x ray"]:
                form = Form(f" {word} ", ("NATO letters",), (), 1, len(word))
                forms.setdefault(shape(form.shown), []).append(form)
        self._automaton = ahocorasick.Automaton()
        for key, found in forms.items():
            self._automaton.add_word(key, tuple(found))
        self._automaton.make_automaton()
        self.max_chars = max(map(len, forms), default=0) + 1
        """Longest form in folded characters."""
        self._final = no_beginnings(forms)

    def matches(self, folded: Folded, steps: str) -> Iterator[Shaped]:
        """Yield every form in a text with the shape `steps`, in the order of their ends."""
        if not self._automaton:
            return
        text = folded.text
        for last, forms in self._automaton.iter(steps):
            for form in forms:
                start, end = last + 2 - len(form.shown), last + 2
                via = _via(form, text[start:end])
                if via is not None:
                    yield Shaped(start, end, form, via)

    def live(self, folded: Folded, steps: str) -> int | None:
        """Return the index of the first word from which on the text may still become a longer form."""
        text = folded.text
        at, end = text.find(" ", max(0, len(text) - self.max_chars)), len(text) - 1
        while 0 <= at < end:
            tail = steps[at:]
            if self._automaton.match(tail) and tail not in self._final:
                return folded.word_at(at + 1)
            at = text.find(" ", at + 1)
        return None


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
    letters = sum(char in ascii_lowercase for char in literal)
    if sum(char != " " for char in literal) < MIN_KNOWN:
        return
    backwards = literal[::-1]
    by_word = f" {' '.join(word[::-1] for word in literal.split())} "
    shown: dict[str, tuple[str, ...]] = {literal: ()}
    if letters >= MIN_KNOWN:
        shown.setdefault(literal.translate(_MIRROR), ("atbash",))
    shown.setdefault(backwards, ("reversed",))
    shown.setdefault(by_word, ("reversed",))
    if letters >= MIN_KNOWN and literal.isascii():
        for tail in ("way", "yay", "ay"):
            words = (_pig_latin(word, tail) for word in literal.split())
            shown.setdefault(f" {' '.join(words)} ", ("pig Latin",))
    for form, via in shown.items():
        first = next((at for at, char in enumerate(form) if char in ascii_lowercase), 0)
        yield Form(form, via, entries, first, letters)


def _pig_latin(word: str, tail: str) -> str:
    head = next((at for at, char in enumerate(word) if char in _VOWELS or at and char == "y"), len(word))
    if word[head - 1 : head + 1] == "qu":
        head += 1
    return word + tail if head == 0 else f"{word[head:]}{word[:head]}ay"


def _via(form: Form, shown: str) -> tuple[str, ...] | None:
    """Return how the literal is read out of `shown`, or None where it is something else, or the literal."""
    by = (ord(shown[form.first]) - ord(form.shown[form.first])) % 26 if form.letters else 0
    if form.shown.translate(_SHIFTS[by]) != shown:
        return None
    if not form.entries:
        return form.via if by == 0 else None
    if by == 0:
        via = form.via
    elif form.via == ("pig Latin",) or by != 13 and form.letters < MIN_SHIFTED:
        return None
    else:
        via = ("rot13" if by == 13 else f"Caesar {by}", *form.via)
    if not via or " " not in shown[1:-1] and shown[1:-1] in ordinary_words():
        return None
    return via
