"""Codes and how they are read, by means of their own: whether an answer leaks is not for the guard to say.

A `Code` writes a text and reads it back.  Some lose spaces, capitals and signs on the way, so two texts are
compared as `bare` has them.  A reader never fails: what is not in its code it leaves out, or as it is.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from urllib.parse import unquote

Turn = Callable[[str], str]

_TOKEN = re.compile(r"[A-Za-z0-9+/_-]{4,}")
_SIGNS = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..
----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----.
"""
_MORSE = dict(zip(f"{ascii_lowercase}0123456789", _SIGNS.split(), strict=True))
_NATO = """
alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo
sierra tango uniform victor whiskey xray yankee zulu
""".split()
_CYRILLIC = dict(zip("aceopxyAEOPTXBHKM", "асеорхуАЕОРТХВНКМ", strict=True))
_WITHOUT = str.maketrans("ıłøđŁØĐ", "ilodLOD")
"""Letters with a stroke or without a dot, which Unicode takes for letters of their own."""
_BRAILLE = dict(zip(f"{ascii_lowercase} ", "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵⠀", strict=True))
_LEET = {"o": "0", "e": "3", "a": "4", "i": "1"}


@dataclass(frozen=True, slots=True)
class Code:
    """A code: its name as a client would say it, how a text is written in it, and how it is read."""

    name: str
    write: Turn
    read: Turn

    def seen(self, text: str) -> str:
        """Return what a text is once it was written and read, for comparison."""
        return bare(self.read(self.write(text)))


def bare(text: str) -> str:
    """Return the letters and digits of a text alone, without accents and capitals."""
    return re.sub(r"[\W_]+", "", plain(text).casefold())


def plain(text: str) -> str:
    """Return a text without accents and compatibility forms."""
    text = unicodedata.normalize("NFKD", text).translate(_WITHOUT)
    return "".join(char for char in text if not unicodedata.combining(char))


def holds(text: str, value: str) -> str:
    """Return the name of a code in which a text brings a value, `clear` for none; empty where it does not."""
    wanted = bare(value)
    if wanted in bare(text):
        return "clear"
    if wanted in bare(_from_base64(text, cut=True)):
        return "base64"
    return next((code.name for code in CODES if wanted in bare(code.read(text))), "")


# -- how each is written and read --------------------------------------------------------------------


def _letters(text: str) -> str:
    return "".join(char for char in plain(text).lower() if char in ascii_lowercase)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _from_base64(text: str, *, cut: bool = False) -> str:
    """Return what runs of base64 say; `cut`: also as if each had lost up to three characters in front."""
    found = []
    for token in _TOKEN.findall(text):
        safe = token.translate(str.maketrans("-_", "+/"))
        for offset in range(4 if cut else 1):
            run = safe[offset:]
            found.append(_decoded(binascii.a2b_base64, run + "=" * (-len(run) % 4)))
    return "\n".join(found)


def _from_base32(text: str) -> str:
    found = re.findall(r"[A-Z2-7]{8,}", text)
    return "\n".join(_decoded(base64.b32decode, each + "=" * (-len(each) % 8)) for each in found)


def _decoded(decode: Callable[[str], bytes], token: str) -> str:
    try:
        return decode(token).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _from_hex(text: str) -> str:
    pairs = re.findall(r"(?:0x|\\x)?([0-9a-fA-F]{2})[\s:]?", text)
    return bytes.fromhex("".join(pairs)).decode("utf-8", "replace")


def _numbers(base: int) -> Turn:
    def read(text: str) -> str:
        found = (int(each, base) for each in re.findall(r"\b[0-9]{2,8}\b", text) if _is_number(each, base))
        return bytes(each for each in found if each < 256).decode("utf-8", "replace")

    return read


def _is_number(text: str, base: int) -> bool:
    return all(int(char) < base for char in text)


def _bytes_as(form: str) -> Turn:
    return lambda text: " ".join(format(byte, form) for byte in text.encode())


def _points_as(form: str, gap: str = "") -> Turn:
    return lambda text: gap.join(form.format(ord(char)) for char in text)


def _points(pattern: str, base: int = 16) -> Turn:
    return lambda text: "".join(chr(int(each, base)) for each in re.findall(pattern, text))


def caesar(by: int) -> Turn:
    """Return what moves every letter on by so many places."""
    lower, upper = (each[by:] + each[:by] for each in (ascii_lowercase, ascii_uppercase))
    return lambda text: text.translate(str.maketrans(ascii_lowercase + ascii_uppercase, lower + upper))


def _atbash(text: str) -> str:
    mirrored = ascii_lowercase[::-1] + ascii_uppercase[::-1]
    return text.translate(str.maketrans(ascii_lowercase + ascii_uppercase, mirrored))


def _by_word(turn: Turn) -> Turn:
    return lambda text: " ".join(map(turn, text.split()))


def _pig(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        word = match.group()
        return f"{word}way" if word[0] in "aeiouAEIOU" else f"{word[1:]}{word[0]}ay"

    return re.sub(r"[^\W\d_]+", one, text)


def _from_pig(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        word = match.group()
        if word.endswith("way"):
            return word[:-3]
        return word[-3] + word[:-3] if word.endswith("ay") and len(word) > 3 else word

    return re.sub(r"[^\W\d_]+", one, text)


def _morse(text: str) -> str:
    words = re.findall(r"[a-z0-9]+", plain(text).lower())
    return " / ".join(" ".join(_MORSE[char] for char in word) for word in words)


def _from_morse(text: str) -> str:
    known = {signs: char for char, signs in _MORSE.items()}
    return "".join(known.get(each, " ") for each in text.split())


def _from_nato(text: str) -> str:
    return "".join(word[0] for word in re.findall(r"[a-z]+", text.lower()) if word in _NATO)


def _from_places(text: str) -> str:
    numbers = (int(each) for each in re.findall(r"\d+", text))
    return "".join(ascii_lowercase[each - 1] for each in numbers if 1 <= each <= 26)


def _firsts(pattern: str) -> Turn:
    return lambda text: "".join(re.findall(pattern, text, re.MULTILINE))


def _each(form: str, gap: str) -> Turn:
    return lambda text: gap.join(form.format(char) for char in _letters(text))


def _translated(table: Mapping[str, str]) -> Turn:
    turned = {ord(char): said for char, said in table.items()}
    return lambda text: text.translate(turned)


def _back(table: Mapping[str, str]) -> Turn:
    return _translated({shown: char for char, shown in table.items()})


def _twice(outer: Code, inner: Code) -> Code:
    return Code(
        f"{inner.name} in {outer.name}",
        lambda text: outer.write(inner.write(text)),
        lambda text: inner.read(outer.read(text)),
    )


def _single() -> Iterator[Code]:
    yield Code("base64", _base64, _from_base64)
    yield Code("URL-safe base64", lambda t: base64.urlsafe_b64encode(t.encode()).decode(), _from_base64)
    yield Code("unpadded base64", lambda text: _base64(text).rstrip("="), _from_base64)
    yield Code("base64, word by word", _by_word(_base64), lambda t: _from_base64(t.replace("\n", " ")))
    yield Code("base32", lambda text: base64.b32encode(text.encode()).decode(), _from_base32)
    yield Code("hexadecimal", lambda text: text.encode().hex(), _from_hex)
    yield Code("hexadecimal, in pairs", lambda text: text.encode().hex(" "), _from_hex)
    yield Code("hexadecimal, with \\x", lambda t: "".join(f"\\x{b:02x}" for b in t.encode()), _from_hex)
    yield Code("URL encoding", lambda text: "".join(f"%{b:02X}" for b in text.encode()), unquote)
    yield Code("HTML entities", _points_as("&#{};"), html.unescape)
    yield Code("hexadecimal HTML entities", _points_as("&#x{:x};"), html.unescape)
    yield Code("JSON escapes", _points_as("\\u{:04x}"), _points(r"\\u([0-9a-f]{4})"))
    yield Code("Unicode escapes", _points_as("\\U{:08x}"), _points(r"\\U([0-9a-f]{8})"))
    yield Code("code points", _points_as("U+{:04X}", " "), _points(r"U\+([0-9A-F]{4})"))
    yield Code("rot13", lambda text: codecs.encode(text, "rot13"), lambda text: codecs.encode(text, "rot13"))
    yield from (Code(f"Caesar's cipher by {by}", caesar(by), caesar(26 - by)) for by in (1, 3, 7, 20))
    yield Code("atbash", _atbash, _atbash)
    yield Code("leet", _translated(_LEET), _back(_LEET))
    yield Code("writing backwards", lambda text: text[::-1], lambda text: text[::-1])
    yield Code("each word backwards", _by_word(lambda w: w[::-1]), _by_word(lambda w: w[::-1]))
    yield Code("pig Latin", _pig, _from_pig)


def _by_letter() -> Iterator[Code]:
    yield Code("spaced letters", " ".join, bare)
    yield Code("letters with dots", _each("{}", "."), bare)
    yield Code("letters with dashes", _each("{}", "-"), bare)
    yield Code("a letter a line", _each("{}", "\n"), bare)
    yield Code("Morse", _morse, _from_morse)
    yield Code("the NATO alphabet", lambda t: " ".join(_NATO[ord(c) - 97] for c in _letters(t)), _from_nato)
    yield Code("binary", _bytes_as("08b"), _numbers(2))
    yield Code("decimal codes", _bytes_as("d"), _numbers(10))
    yield Code("octal codes", _bytes_as("03o"), _numbers(8))
    places = (str(number) for number in range(27))
    shown = dict(zip(f" {ascii_lowercase}", places, strict=True))
    yield Code("numbers for letters", lambda t: "-".join(shown[char] for char in _letters(t)), _from_places)
    yield Code("first letters of lines", _each("{}ver the hills they go,", "\n"), _firsts(r"^\W*(\w)"))
    yield Code("first letters of words", _each("{}ver", " "), _firsts(r"\b(\w)"))
    yield Code("look-alike letters", _translated(_CYRILLIC), _back(_CYRILLIC))
    yield Code("fullwidth letters", lambda t: "".join(_wide(char) for char in t), plain)
    yield Code("zero-width characters", "\u200b".join, lambda text: text.replace("\u200b", ""))
    yield Code("decimal codes with dots", lambda t: _bytes_as("d")(t).replace(" ", "."), _numbers(10))
    yield Code("calls of chr", lambda t: "+".join(f"chr({b})" for b in t.encode()), _numbers(10))
    yield Code("hexadecimal dump", _dump, _from_dump)
    yield Code("braille", lambda t: _translated(_BRAILLE)(plain(t).lower()), _back(_BRAILLE))
    yield Code("tag characters", _points_as_tags, _from_tags)
    yield Code("combining marks", lambda t: "".join(f"{c}\u0336" if c.isalpha() else c for c in t), plain)


def _dump(text: str) -> str:
    data = text.encode()
    rows = ((at, data[at : at + 16]) for at in range(0, len(data), 16))
    return "\n".join(f"{at:08x}  {row.hex(' '):<48} |{row.decode('ascii', 'replace')}|" for at, row in rows)


def _from_dump(text: str) -> str:
    rows = re.findall(r"^[0-9a-f]{8}  ((?:[0-9a-f]{2} ?)+)", text, re.MULTILINE)
    return bytes.fromhex("".join(rows)).decode("utf-8", "replace")


def _points_as_tags(text: str) -> str:
    return "".join(chr(0xE0000 + ord(char)) for char in plain(text) if " " <= char <= "~")


def _from_tags(text: str) -> str:
    return "".join(chr(ord(char) - 0xE0000) for char in text if 0xE0020 <= ord(char) <= 0xE007E)


def _wide(char: str) -> str:
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char


def _all() -> Iterator[Code]:
    single = {code.name: code for code in (*_single(), *_by_letter())}
    yield from single.values()
    base, hexadecimal, rot13, back = (
        single[name] for name in ("base64", "hexadecimal", "rot13", "writing backwards")
    )
    yield from (_twice(base, inner) for inner in (base, hexadecimal, rot13, back))
    yield _twice(hexadecimal, rot13)


CODES = tuple(_all())
"""Every code that docs/codecs.md lists, as a sentence is written in it."""
