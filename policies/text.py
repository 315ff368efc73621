"""Text as scans see it, with the way back to the original.

A `View` is text that was changed in order to be searched, with a map from each of its characters to the
original code points; `via` says how it was reached.  Views made here: `fold`, for literals (words of letters
and digits, one space between), `letters` (the same with nothing between), and `plain`, for patterns
(compatibility forms resolved and invisible characters removed, case and punctuation kept).  `sentence_end`
cuts running text into the units that leave together.  All offsets are code points; all spans are half-open.

Every mapping here works one character at a time, so the view of a text never depends on how it was cut.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from policies.lookalikes import LOOKALIKES, SIGNS

MAX_SENTENCE = 600
"""A sentence without an end is cut here, in code points, so that what is held back stays bounded."""


MAX_GAP = 64
"""Words further apart than this, in visible characters, are not of one name: a table's rule of dashes after a
word must not be held back for what may follow it."""


@dataclass(frozen=True, slots=True)
class View:
    """A searched form of a text and the way back: `offsets[i]` is where `text[i]` came from.

    text: the shown characters.
    offsets: None for the identity, else one original start per shown character, ascending.
    length: code points of the original.
    """

    text: str
    offsets: Sequence[int] | None
    length: int
    via: tuple[str, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original half-open span that covers the shown one; an empty span stays empty."""
        if self.offsets is None:
            return start, end
        if start >= end:
            return self._at(start), self._at(start)
        # Characters that were dropped behind the last shown one belong to it: an edit takes them along.
        behind = self.offsets[end] if end < len(self.offsets) else 0
        return self._at(start), max(self.offsets[end - 1] + 1, behind)

    def _at(self, position: int) -> int:
        assert self.offsets is not None
        return self.offsets[position] if position < len(self.offsets) else self.length

    def within(self, outer: View) -> View:
        """Return this view as seen from `outer`'s original, where this one was made of `outer.text`."""
        if outer.offsets is None:
            return View(self.text, self.offsets, outer.length, outer.via + self.via)
        inner = range(len(self.text)) if self.offsets is None else self.offsets
        return View(self.text, [outer._at(i) for i in inner], outer.length, outer.via + self.via)


# Letters that look like a Latin one, or are written as one where the keyboard lacks them, and have no
# decomposition in Unicode: the confusables of UTS #39, and here those that people use in place of one.
_LOOKALIKE = {
    **LOOKALIKES,
    **dict(zip("абвгезкмнорстухіјѕԁԛԝһөүғ", "abbrezkmhopctyxijsdqwheyf", strict=True)),
    **dict(zip("αβγεζηικμνορτυχω", "abyeznikuvoptuxw", strict=True)),
    "ł": "l", "ø": "o", "đ": "d", "ð": "d", "ı": "i", "ħ": "h", "ŧ": "t", "ŀ": "l", "ɡ": "g", "ɑ": "a",
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢօ", "abcdefghijklmnoprstuvwyzo", strict=True)),
    "æ": "ae", "œ": "oe", "þ": "th", "ƒ": "f", "ǀ": "l", "ӏ": "l", "ʹ": "", "ʼ": "'",
}  # fmt: skip
_INVISIBLE = frozenset("\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0")


def _is_invisible(char: str) -> bool:
    """Whether a character shows nothing: a format or control character, unassigned, a filler."""
    if char in _INVISIBLE:
        return True
    category = unicodedata.category(char)
    return category in ("Cf", "Cn") or category == "Cc" and not char.isspace()


def _is_unspaced(char: str) -> bool:
    """Whether the script writes words without spaces, so that each character is a word of its own."""
    point = ord(char)
    return (
        0x3040 <= point <= 0x30FF or 0x3400 <= point <= 0x4DBF or 0x4E00 <= point <= 0x9FFF
        or 0xF900 <= point <= 0xFAFF or 0x20000 <= point <= 0x3FFFF or 0x0E00 <= point <= 0x0EFF
        or 0x1000 <= point <= 0x109F or 0x1780 <= point <= 0x17FF
    )  # fmt: skip


def _fold_char(char: str) -> str:
    if _is_invisible(char):
        return ""
    if char in SIGNS:
        return SIGNS[char]
    if _is_unspaced(char):
        return f" {char} "
    if unicodedata.category(char)[0] != "L" and unicodedata.decomposition(char)[:5] in ("<supe", "<sub>"):
        return " "  # a footnote's number or a trade mark sign is no letter of the word before it
    folded = []
    for part in unicodedata.normalize("NFKD", char).casefold():
        category = unicodedata.category(part)
        if category in ("Mn", "Me", "Cf") or part in _INVISIBLE:
            continue
        shown = _LOOKALIKE.get(part, part) if category[0] in "LN" else " "
        # As a sign may stand for several characters that are words of their own: a square era name, say.
        folded.append(f" {shown} " if _is_unspaced(part) else shown)
    return "".join(folded)


def _plain_char(char: str) -> str:
    if _is_invisible(char) or unicodedata.category(char) in ("Mn", "Me"):
        return ""
    return "".join(part for part in unicodedata.normalize("NFKC", char) if not _is_invisible(part))


class _CharMap(dict[int, str]):
    """A memo of a function of one character, in the form `str.translate` wants."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, point: int) -> str:
        shown: str = self._function(chr(point))  # type: ignore[operator]
        self[point] = shown
        return shown


_FOLD = _CharMap(_fold_char)
_PLAIN = _CharMap(_plain_char)
# Hangul, decomposed, is a word of its own: particles are written on to names of other scripts.
_WORD = re.compile(r"[\u1100-\u11ff]+|[^\W_\u1100-\u11ff]+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_ASCII_FOLD = {point: chr(point).lower() if chr(point).isalnum() else " " for point in range(128)}


# Characters of which none is invisible or combines; those with a compatibility form are told by Unicode.
_EVEN = re.compile(
    "[\n\r -~\u00a1-\u00ac\u00ae-\u02ff\u0391-\u03a1\u03a3-\u03c9\u0400-\u0482\u048a-\u052f"
    "\u2010-\u2027\u2030-\u2037\u20ac\u4e00-\u9fef]*"
)


class Folded:
    """The words of a text, folded, each with its place in the original.  Immutable.

    `text` is `" word word … "`: one space before the first word and one behind each word that has ended, two
    where more than `MAX_GAP` visible characters lie between words.
    The last word has no space behind it while more letters could follow (`closed=False`).
    The places are worked out when they are first asked for: most texts hold nothing that has one.
    """

    __slots__ = ("_shown", "_spans", "_starts", "_words", "text")

    def __init__(self, text: str, shown: str, spans: Sequence[tuple[int, int]] | None = None) -> None:
        """`shown`, where `spans` is None: the original with all but its folded words blanked out."""
        self.text = text
        self._shown = shown
        self._spans = spans
        self._starts: Sequence[int] | None = None
        self._words: Sequence[str] | None = None

    @property
    def words(self) -> Sequence[str]:
        """The words by themselves, one that has not ended included."""
        if self._words is None:
            self._words = self.text.split()
        return self._words

    @property
    def spans(self) -> Sequence[tuple[int, int]]:
        """The original half-open span of each word."""
        if self._spans is None:
            self._spans = [match.span() for match in _ASCII_WORD.finditer(self._shown)]
        return self._spans

    @property
    def starts(self) -> Sequence[int]:
        """Where each word begins in `text`, ascending."""
        if self._starts is None:
            self._starts = [match.start() for match in _FOLDED_WORD.finditer(self.text)]
        return self._starts

    def word_at(self, position: int) -> int:
        """Return the index of the word that `text[position]` belongs to, or stands behind."""
        return bisect_right(self.starts, position) - 1

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original span of the words within `text[start:end]`, which is cut at spaces."""
        return self.spans[self.word_at(start + 1)][0], self.spans[self.word_at(end - 1)][1]


_FOLDED_WORD = re.compile(r"[^ ]+")


# Several scans look at the same text, one after the other.
@lru_cache(maxsize=4)
def fold(text: str, *, closed: bool = True) -> Folded:
    """Return the words of `text` without case, diacritics, look-alikes, separators or invisible characters.

    Names and values of a policy are folded by this same function, so both sides always agree.
    `closed=False` leaves the last word open where the text may go on in the middle of it.
    Linear in the text.
    """
    if not text.isascii() or _CONTROL.search(text):
        return _folded(text, list(_words(text)), closed)
    shown = text.translate(_ASCII_FOLD)
    if len(text) > MAX_GAP and _WIDE in shown:
        words = [(match.group(), *match.span()) for match in _ASCII_WORD.finditer(shown)]
        return _folded(text, words, closed)
    words_alone = shown.split()
    ended = " " if words_alone and (closed or shown[-1] == " ") else ""
    return Folded(f" {' '.join(words_alone)}{ended}", shown)


_WIDE = " " * (MAX_GAP + 1)


def _folded(text: str, words: Sequence[tuple[str, int, int]], closed: bool) -> Folded:
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []
    for word, start, end in words:
        if spans:
            _append_gap(pieces, text[spans[-1][1] : start])
        spans.append((start, end))
        pieces.append(f" {word}")
    if spans and (closed or _ends_word(text, spans[-1][1])):
        _append_gap(pieces, text[spans[-1][1] :])
        pieces.append(" ")
    return Folded("".join(pieces) or " ", "", spans)


def _append_gap(pieces: list[str], gap: str) -> None:
    """Add the second space of a gap that is too wide to be within one name."""
    if len(gap) > MAX_GAP and sum(not char.isspace() and not _is_invisible(char) for char in gap) > MAX_GAP:
        pieces.append(" ")


def _ends_word(text: str, position: int) -> bool:
    return any(" " in _FOLD[ord(char)] for char in text[position:])


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    shown, offsets = _translate(text, _FOLD)
    for match in _WORD.finditer(shown):
        yield match.group(), offsets[match.start()], offsets[match.end() - 1] + 1


_RUN = re.compile(r"[\t-\r -~]+|[^\t-\r -~]+")


def _translate(text: str, table: _CharMap) -> tuple[str, list[int]]:
    pieces: list[str] = []
    offsets: list[int] = []
    for match in _RUN.finditer(text):
        run, start = match.group(), match.start()
        if all(len(table[ord(char)]) == 1 for char in set(run)):
            pieces.append(run.translate(table))
            offsets.extend(range(start, match.end()))
            continue
        for position, char in enumerate(run, start):
            shown = table[ord(char)]
            pieces.append(shown)
            offsets.extend([position] * len(shown))
    return "".join(pieces), offsets


def plain(text: str) -> View:
    """Return `text` with compatibility forms resolved and invisible characters removed, for patterns.

    ASCII text is its own plain form and costs one look; so does most text of European and Han letters.
    """
    if text.isascii() and not _CONTROL.search(text):
        return View(text, None, len(text))
    if _EVEN.fullmatch(text) and unicodedata.is_normalized("NFKC", text):
        return View(text, None, len(text))
    shown, offsets = _translate(text, _PLAIN)
    return View(shown, None if shown == text else offsets, len(text), () if shown == text else ("plain",))


def _letters_of_char(char: str) -> str:
    return _FOLD[ord(char)].replace(" ", "")


_LETTERS = _CharMap(_letters_of_char)
_ASCII_LETTERS = {point: chr(point).lower() if chr(point).isalnum() else None for point in range(128)}


def letters(text: str) -> str:
    """Return the letters and digits of `text` as `fold` has them, with nothing between.

    A value is compared in this form where neither case nor separators count.  Linear in the text.
    """
    return text.translate(_ASCII_LETTERS if text.isascii() else _LETTERS)


def letter_offsets(text: str) -> list[int]:
    """Return where each character of `letters(text)` stands in `text`."""
    if text.isascii():
        return [at for at, char in enumerate(text) if char.isalnum()]
    return _translate(text, _LETTERS)[1]


# An end of a sentence: a newline, or closing punctuation with white space behind it.  'Dr. X' ends one too:
# a unit that is too short holds less back and costs nothing, since every scan looks across the border.
_END = re.compile(r"\n+|[.!?…]+[\"'”’)\]*_]*(?=\s)|[。！？]+[”’」』）]*")
_AFTER = re.compile(r"\s+")


def sentence_end(text: str, start: int = 0, *, closed: bool = False) -> int | None:
    """Return where the sentence that begins at `start` ends, white space behind it included, or None.

    None means that more text is needed: an end counts only once the character behind it is known, so that
    the cut is the same however the text arrives.  `closed` says that nothing more will come.
    At most `MAX_SENTENCE` code points belong to a sentence.
    """
    limit = start + MAX_SENTENCE
    for match in _END.finditer(text, start, limit):
        space = _AFTER.match(text, match.end())
        end = space.end() if space else match.end()
        if end >= limit:
            break
        if end == len(text) and not closed:
            return None
        if text[start:end].strip():
            return end
    if len(text) >= limit:
        return limit
    return len(text) if closed and len(text) > start else None


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the half-open spans of all sentences of a whole text; together they cover it."""
    found: list[tuple[int, int]] = []
    start = 0
    while (end := sentence_end(text, start, closed=True)) is not None and end > start:
        found.append((start, end))
        start = end
    return found
