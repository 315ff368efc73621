"""Stretches of a text that are written in a code, and what they say: base64, hex, escapes and their like.

A stretch that decodes to text becomes a `Segment`; `Decoded` is the text with its segments replaced, and
the way back.  What does not decode to text (a hash, a picture, a word in CamelCase) is left alone.  One cheap
look (`coded`) tells whether a text can hold any of this at all.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_RUN = 2048
"""Code points of a code that are read, and held back, as one; a longer token is read in pieces of this many,
which all codes' units divide."""
MIN_TOKEN = 6
"""Shorter tokens hold fewer than four letters by themselves."""
_MIN_PIECE = 4
"""Pieces of base64 that are shorter are not put together."""
_MAX_PATH = 256
"""A longer token that decodes to nothing is not taken apart, as a path with a code in it is."""
_WRAPPED = 24
"""Lines of base64 of this many characters are joined: no word alone is encoded in so many."""

MORSE_OPENS = r"(\[{<>\"'`“‘„«‹~:="
"""What may stand before a code in Morse, for a class of a regular expression."""

# Everything that gives a code away begins with one of these characters, so that the search skips all others.
_GATE = (
    r"[0-9A-Z%&\\=@$|!.\-·•∙⋅*–—−_](?:"
    r"(?<=[A-Za-z0-9+/_][A-Z])|(?<=[A-Za-z][0-9@$|!])|(?<=[0-9@$])(?=[A-Za-z])"
    r"|(?<=%)(?=[0-9A-Fa-f]{2})|(?<=&)(?=[#A-Za-z])|(?<=\\)(?=[uUx0-3])|(?<=U)(?=\+[0-9A-Fa-f]{4})"
    r"|(?<=[A-Za-z0-9]=)(?=[\s=.,;:)\]]|\Z)"
    r"|(?<=[0-9])(?=NUMBERS)|(?<=[01])(?=[01]{7})|(?<=[0-9])(?=[0-9]{7})"
    rf"|(?<![^\s/|{MORSE_OPENS}].)(?<!\w[\"'`].)(?<=[.·•∙⋅*\-–—−_])(?=[.·•∙⋅*\-–—−_]{{0,12}}(?:[\s/|]|\Z)))"
)
NUMBER_GAP = r"[\s,;:/|\-+.~·•*#_=&>→\"'`\[\]()\\]{1,6}"
"""What may stand between two numbers that are letters."""
CALL_GAP = r"\)\s{0,2}[+.&,|~]{0,2}\s{0,2}[A-Za-z][A-Za-z.]{0,24}\("
"""What stands between two numbers that are arguments of calls: `)+chr(`."""
# Numbers that may stand for letters: one and what may be another while more may come, four where it ended.
_CODED = re.compile(_GATE.replace("NUMBERS", rf"{NUMBER_GAP}(?:[0-9A-Fa-f]|\Z)|{CALL_GAP}"))
_CODED_WHOLE = re.compile(
    _GATE.replace("NUMBERS", rf"(?:(?:{NUMBER_GAP}|{CALL_GAP})(?:0[xXoObB])?[0-9A-Fa-f]{{1,8}}){{3}}")
)
_SIGNS = re.compile(
    r"[\u2800-\u28ff\U000e0020-\U000e007e]|[\ufe00-\ufe0f\U000e0100-\U000e01ef](?:[\ufe00-\ufe0f\U000e0100-\U000e01ef]|\Z)"
)
_TOKEN = re.compile(
    rf"[A-Za-z0-9+/_\-]{{{_MIN_PIECE},{MAX_RUN}}}(?:[A-Za-z0-9+/_\-]{{1,{MIN_TOKEN}}}(?![A-Za-z0-9+/_\-]))?={{0,2}}"
)
_JOINT = (
    r"[ \t>]{0,2}(?:\\?\r?\n)?[ \t>]{0,2}"
    r"|[\"'`][ \t]{0,2}[+,.&\\]?[ \t]{0,2}(?:\r?\n)?[ \t>]{0,8}[\"'`]"
)
"""What stands between two pieces of one code: at most the end of a line, or of a string."""
_NEXT = re.compile(
    rf"(?:{_JOINT})([A-Za-z0-9+/_\-]{{2,{MAX_RUN}}}={{0,2}})(?![A-Za-z0-9+/\-=]|_+[A-Za-z0-9])"
)
_QUOTES = "\"'`"
_BEFORE_NEXT = " \t\r\n>\"'`+,&\\"
_CODE_LIKE = re.compile(r"[A-Za-z+/_\-][A-Z0-9]|[0-9][A-Za-z]|=|\d{8}|[A-Z2-7]{8}")
_HEX = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2}){4,})")
_HEX_EACH = re.compile(r"(?:0[xX][0-9A-Fa-f]{2}){4,}")
_BASE32 = re.compile(r"(?:[A-Z2-7]{8,}|[a-z2-7]{8,})={0,6}")
_BINARY = re.compile(r"(?:[01]{8}){3,}")
_PIECE = re.compile(rf"[A-Za-z0-9]{{{MIN_TOKEN},}}")
_URL_SAFE = str.maketrans("-_", "+/")

_ESCAPED = re.compile(
    r"(?:%[0-9A-Fa-f]{2})+"
    r"|(?:&(?:#[0-9]{1,12};?|#[xX][0-9A-Fa-f]{1,12};?|[A-Za-z][A-Za-z0-9]{1,30};))+"
    r"|(?<!\\)(?:\\++(?:u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}|[nrt](?![a-z])))+"
    r"|U\+[0-9A-Fa-f]{4,6}(?:[ ,]{0,2}U\+[0-9A-Fa-f]{4,6}){0,200}"
)
_ESCAPE = re.compile(
    r"%([0-9A-Fa-f]{2})|\\+(?:u\{?|U\+?|x)([0-9A-Fa-f]+)|U\+([0-9A-Fa-f]+)|\\+([0-3][0-7]{2})|\\+([nrt])"
)
_ESCAPE_NAMES = {"%": "URL", "&": "HTML entities", "\\": "escapes", "U": "Unicode escapes"}

_LEET = {ord(char): plain for char, plain in zip("034578@$€69!|1", "oeastbaseggiii", strict=True)}
LEET_VIEWS = (_LEET, {**_LEET, ord("1"): "l", ord("|"): "l", ord("!"): "l"})
"""What digits and signs stand for in leet, character by character; '1' may be an i or an l."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch `[start, end)` of a text that is written in a code."""

    start: int
    end: int
    shown: str
    """What it says."""
    via: tuple[str, ...]
    group: int
    """Where the first of the stretches that are read together with it starts."""


def coded(text: str, *, closed: bool) -> bool:
    """Whether anything in `text` may be a code that this module or `codecs_letters` reads."""
    if (_CODED_WHOLE if closed else _CODED).search(text) is not None:
        return True
    return not text.isascii() and _SIGNS.search(text) is not None


class Decoded:
    """A text with its segments replaced by what they say, and the way back to the text."""

    def __init__(self, text: str, segments: Sequence[Segment]) -> None:
        """`segments` ascend and do not overlap."""
        pieces: list[str] = []
        self._starts: list[int] = []
        self._parts: list[tuple[int, Segment | None]] = []
        """For each part of the text where it starts in the original, and its segment if it is one."""
        at = length = 0
        for segment in [*segments, None]:
            until = len(text) if segment is None else segment.start
            for piece, part in ((text[at:until], (at, None)), *_part(segment)):
                if piece:
                    self._starts.append(length)
                    self._parts.append(part)
                    pieces.append(piece)
                    length += len(piece)
            at = until if segment is None else segment.end
        self.text = "".join(pieces)

    def original(self, start: int, end: int) -> tuple[int, int, tuple[str, ...]] | None:
        """Return the original span of `text[start:end]` and its codes; None where no segment is in it."""
        first, last = bisect_right(self._starts, start) - 1, bisect_right(self._starts, end - 1) - 1
        segments = [part for _, part in self._parts[first : last + 1] if part is not None]
        if not segments:
            return None
        via = tuple(dict.fromkeys(name for segment in segments for name in segment.via))
        behind = self._parts[last][1]
        stop = self._place(end - 1) + 1 if behind is None else behind.end
        return self._place(start), stop, via

    def group(self, position: int) -> int:
        """Return from where in the original on the text is read together with `text[position]`."""
        if position >= len(self.text):
            return self._place(len(self.text) - 1) + 1 if self.text else 0
        part = self._parts[bisect_right(self._starts, position) - 1][1]
        return self._place(position) if part is None else part.group

    def _place(self, position: int) -> int:
        number = bisect_right(self._starts, position) - 1
        start, segment = self._parts[number]
        return start if segment is not None else start + position - self._starts[number]


def _part(segment: Segment | None) -> list[tuple[str, tuple[int, Segment | None]]]:
    return [] if segment is None else [(segment.shown, (segment.start, segment))]


@dataclass(slots=True)
class Segments:
    """What of a text is in a code."""

    found: list[Segment]
    """Ascending, and none overlaps another."""
    readings: list[Segment]
    """What the same stretches may say as well."""
    undecided: int
    """From where on the text is undecided; its length, where all of it is decided."""
    groups: list[tuple[int, int]]
    """Stretches that are read together: what is decided of them depends on where they start."""

    def outside(self, position: int) -> int:
        """Return the last place up to `position` that lies in the middle of nothing."""
        for start, end in reversed(self.groups):
            if start < position < end:
                position = start
        for each in reversed(self.found):
            if each.start < position < each.end:
                position = each.group
        return position


def segments_of(text: str, *, closed: bool) -> Segments:
    """Return what of a text is in a code; where it may go on, the stretch at its end is left out."""
    found = [*_escaped(text)]
    readings: list[Segment] = []
    undecided = len(text)
    groups = [(each.start, each.end) for each in found]
    if found and not closed and not text[found[-1].end :].strip(" ,"):
        undecided = found[-1].group
    for tokens in _groups(text):
        start, end = tokens[0][0], tokens[-1][1]
        if not closed and not text[end:].strip(_BEFORE_NEXT):
            undecided = min(undecided, start)
            break
        groups.append((start, end))
        fresh, other = _read(text, tokens)
        readings += [each for each in fresh if not insert(found, each)]
        readings += other
    return Segments(found, readings, undecided, sorted(groups))


def insert(segments: list[Segment], fresh: Segment) -> bool:
    """Put a segment in its place among ascending ones; False where it overlaps one of them."""
    at = bisect_left(segments, fresh.start, key=lambda each: each.start)
    if at and segments[at - 1].end > fresh.start or at < len(segments) and segments[at].start < fresh.end:
        return False
    segments.insert(at, fresh)
    return True


def _escaped(text: str) -> Iterator[Segment]:
    for match in _ESCAPED.finditer(text):
        raw = match.group()
        shown = html.unescape(raw) if raw[0] == "&" else _unescape(raw)
        if shown != raw and all(map(_is_text, shown)):
            yield Segment(*match.span(), shown, (_ESCAPE_NAMES[raw[0]],), match.start())


def _is_text(char: str) -> bool:
    """Whether a character is one of texts: white space and invisible ones stand between or within words."""
    return char.isprintable() or char.isspace() or unicodedata.category(char) == "Cf"


def _unescape(raw: str) -> str:
    """Return what a run of escapes says; bytes of `%` and `\\x` are read as UTF-8."""
    data = bytearray()
    for match in _ESCAPE.finditer(raw):
        byte, code, point, octal, gap = match.groups()
        if gap:
            data += b"\n"
            continue
        number = int(octal, 8) if octal else int(byte or code or point, 16)
        single = byte or octal or (code and "x" in match.group())
        if single:
            data.append(number)
        elif number < 0x110000:
            data += chr(number).encode("utf-8", "replace")
    shown = data.decode("utf-8", "replace")
    return data.decode("latin-1") if "\ufffd" in shown else shown


def _groups(text: str) -> Iterator[list[tuple[int, int]]]:
    """Yield the tokens that may be base64 or its like, each with those that follow it directly."""
    at = 0
    while (match := _TOKEN.search(text, at)) is not None:
        at = match.end()
        if _CODE_LIKE.search(match.group()) is None:
            continue
        tokens = [match.span()]
        while (after := _NEXT.match(text, at)) is not None and after.end() - tokens[0][0] <= MAX_RUN:
            if text[at - 1] == "=" and after.start(1) == at:
                break  # 'code=' before it was no padding
            tokens.append(after.span(1))
            at = after.end()
        yield tokens


def _read(text: str, tokens: Sequence[tuple[int, int]]) -> tuple[list[Segment], list[Segment]]:
    """Return the segments among the tokens of a group, and further readings of them."""
    group = tokens[0][0]
    found: list[Segment] = []
    readings: list[Segment] = []
    for count in _together(text, tokens):
        span = tokens[0][0], tokens[count - 1][1]
        joined = "".join(text[slice(*token)] for token in tokens[:count])
        whole = [Segment(*span, shown, via, group) for shown, via in _decoded(joined)]
        wide = tokens[0][1] - tokens[0][0] >= _WRAPPED and "\n" in text[tokens[0][1] : tokens[1][0]]
        if whole and wide and not found:
            found.append(whole.pop(0))
        readings += whole
    for start, end in tokens:
        token = text[start:end]
        if end - start < MIN_TOKEN or _CODE_LIKE.search(token) is None:
            continue
        read = [Segment(start, end, shown, via, group) for shown, via in _decoded(token)]
        if not read and end - start <= _MAX_PATH:
            read = [
                Segment(start + piece.start(), start + piece.end(), shown, via, group)
                for piece in _PIECE.finditer(token)
                if len(piece.group()) < len(token)
                for shown, via in decodings(piece.group())
            ]
        readings += [each for each in read if not insert(found, each)]
    return found, readings


def _together(text: str, tokens: Sequence[tuple[int, int]]) -> list[int]:
    """Return how many tokens of a group, from its first on, may be pieces of one code.

    Those that are lines of one width, with a shorter one at the end and without it; and those that look like
    a code, or are strings, of any width.
    """
    if len(tokens) == 1:
        return []
    width = tokens[0][1] - tokens[0][0]
    lines = 1
    while lines < len(tokens) and tokens[lines][1] - tokens[lines][0] == width:
        lines += 1
    alike = lines
    shorter = lines < len(tokens) and tokens[lines][1] - tokens[lines][0] < width
    while alike < len(tokens) and (
        text[tokens[alike][0] - 1] in _QUOTES or _CODE_LIKE.search(text[slice(*tokens[alike])]) is not None
    ):
        alike += 1
    return list(dict.fromkeys(count for count in (lines + shorter, lines, alike) if count > 1))


def _decoded(token: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the texts that a token may say, or else what it says without the lines around it.

    Low lines there are emphasis, and signs of base64 themselves.
    """
    bare = token.strip("_-")
    return [*decodings(token)] or ([*decodings(bare)] if bare != token else [])


def decodings(token: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the texts that a token may say, the likeliest first, each with its codes."""
    seen = False
    for shown, via in _plainly(token):
        seen = True
        yield shown, via
    if not seen and len(token) >= 8:
        for turned, name in ((token[::-1], "reversed"), (codecs.encode(token, "rot13"), "rot13")):
            for shown, via in _plainly(turned):
                yield shown, (name, *via)


def _plainly(token: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if _BINARY.fullmatch(token):
        shown = readable(int(token, 2).to_bytes(len(token) // 8, "big"))
        if shown is not None:
            yield shown, ("binary",)
    if (match := _HEX.fullmatch(token)) is not None:
        shown = readable(bytes.fromhex(match.group(1)))
        if shown is not None:
            yield shown, ("hex",)
    if _HEX_EACH.fullmatch(token):
        shown = readable(bytes.fromhex(token.replace("0x", "").replace("0X", "")))
        if shown is not None:
            yield shown, ("hex",)
    if _BASE32.fullmatch(token):
        shown = _unpadded(base64.b32decode, token.rstrip("=").upper(), 8)
        if shown is not None:
            yield shown, ("base32",)
    shown = _unpadded(binascii.a2b_base64, token.rstrip("=").translate(_URL_SAFE), 4)
    if shown is not None:
        yield shown, ("base64",)


def _unpadded(decode: object, token: str, unit: int) -> str | None:
    """Return what a token says whose padding is lost; what is left over of a unit is dropped."""
    padding = -len(token) % unit
    if unit == 4 and padding == 3:
        token, padding = token[:-1], 0
    try:
        return readable(decode(token + "=" * padding))  # type: ignore[operator]
    except (binascii.Error, ValueError):
        return None


def readable(data: bytes) -> str | None:
    """Return what bytes say, if that is text: nearly all of it printable, all of it where it is short."""
    if data.count(0) * 3 > len(data):
        data = data[data[0] == 0 :].replace(b"\0", b"")  # UTF-16 of Latin letters
    if len(data) < 2:
        return None
    try:
        shown = data.decode()
    except UnicodeDecodeError:
        # A piece of a longer text may begin or end within a character; a short one is whole.
        if len(data) < MAX_RUN // 4:
            return None
        shown = data.decode(errors="ignore")
    odd = sum(not (char.isprintable() or char.isspace()) for char in shown)
    return shown if odd * 20 <= len(shown) and len(shown) * 4 >= len(data) else None
