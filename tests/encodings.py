"""Every code that Lethe reads, as a function that writes a text in it."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable
from urllib.parse import quote

_MORSE = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..".split(),
        strict=True,
    )
)
_SPELLING = {
    word[0]: word
    for word in "alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa "
    "quebec romeo sierra tango uniform victor whiskey xray yankee zulu".split()
}


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def caesar(text: str, by: int) -> str:
    def shifted(char: str) -> str:
        first = ord("a") if char.islower() else ord("A")
        return chr((ord(char) - first + by) % 26 + first) if char.isalpha() else char

    return "".join(map(shifted, text))


def atbash(text: str) -> str:
    return "".join(
        chr(219 - ord(char)) if char.islower() else chr(155 - ord(char)) if char.isupper() else char
        for char in text
    )


def lines(text: str, width: int) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def pig_latin(text: str) -> str:
    return " ".join(
        word + "way" if word[0] in "AEIOU" else word[1:] + word[0] + "ay" for word in text.split()
    )


def morse(text: str) -> str:
    return " / ".join(" ".join(_MORSE[char] for char in word) for word in text.lower().split())


def spelling(text: str) -> str:
    return " ".join(_SPELLING[char] for char in glued(text).lower())


def glued(text: str) -> str:
    return text.replace(" ", "")


def codes(text: str, form: str) -> str:
    return " ".join(format(byte, form) for byte in text.encode())


def places(text: str, gap: str) -> str:
    return gap.join(str(ord(char) - 96) for char in glued(text).lower())


_BRAILLE = dict(zip("abcdefghijklmnopqrstuvwxyz ", "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵⠀", strict=True))


def selectors(text: str) -> str:
    return "".join(chr(0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16) for byte in text.encode())


def dump(text: str, line: str) -> str:
    """Return 16 bytes a line, behind their offset and before their letters."""
    data = text.encode()
    rows = ((at, data[at : at + 16]) for at in range(0, len(data), 16))
    return "\n".join(
        line.format(at=at, pairs=row.hex(" "), words=row.hex(" ", -2), shown=row.decode()) for at, row in rows
    )


def calls(text: str, call: str, gap: str) -> str:
    return gap.join(f"{call}({byte})" for byte in text.encode())


def pieces(text: str, size: int, gap: str) -> str:
    return gap.join(text[at : at + size] for at in range(0, len(text), size))


ENCODINGS: dict[str, Callable[[str], str]] = {
    "base64": base64_of,
    "base64, of a sentence": lambda text: base64_of(f"They say that it is {text}, as far as anybody knows."),
    "base64, url-safe": lambda text: base64.urlsafe_b64encode(f"ÿþ? {text} ÿþ?".encode()).decode(),
    "base64, unpadded": lambda text: base64_of(text).rstrip("="),
    "base64, a token a word": lambda text: " ".join(map(base64_of, text.split())),
    "base64, wrapped": lambda text: lines(
        base64_of(f"They say here, by the sea, that it is {text}, and so on."), 64
    ),
    "base64, wrapped narrowly": lambda text: lines(base64_of(f"it is {text}, yes"), 10),
    "base64, of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "hex, 0x": lambda text: "0x" + text.encode().hex(),
    "hex, in pairs": lambda text: text.encode().hex(" "),
    "hex, with colons": lambda text: text.encode().hex(":"),
    "hex, 0x each": lambda text: " ".join(f"0x{byte:02x}" for byte in text.encode()),
    "hex, \\x": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "URL": quote,
    "URL, every letter": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "HTML, decimal": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML, hex": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "JSON": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "JSON, one letter": lambda text: f"{text[:2]}\\u{ord(text[2]):04x}{text[3:]}",
    "Python, \\U": lambda text: "".join(f"\\U{ord(char):08x}" for char in text),
    "U+": lambda text: " ".join(f"U+{ord(char):04X}" for char in text),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "Caesar 3": lambda text: caesar(text, 3),
    "Caesar 20": lambda text: caesar(text, 20),
    "atbash": atbash,
    "leet": lambda text: text.translate(str.maketrans("oOaei", "00431")),
    "leet, 1 for l": lambda text: (
        text.translate(str.maketrans("lras", "1r@$")) if "l" in text else text.replace("e", "3")
    ),
    "reversed": lambda text: text[::-1],
    "reversed, each word": lambda text: " ".join(word[::-1] for word in text.split()),
    "spaced": " ".join,
    "spaced, three between words": lambda text: "   ".join(" ".join(word) for word in text.split()),
    "dots": lambda text: ".".join(glued(text)),
    "dots and spaces": lambda text: ". ".join(glued(text)),
    "dashes": lambda text: "-".join(glued(text)),
    "a letter a line": lambda text: "\n".join(glued(text)),
    "Morse": morse,
    "Morse, in dots and dashes": lambda text: morse(text).translate(str.maketrans(".-", "·–")),
    "NATO letters": spelling,
    "NATO letters, in a list": lambda text: ", ".join(word.title() for word in spelling(text).split()),
    "binary": lambda text: codes(text, "08b"),
    "binary, in one": lambda text: codes(text, "08b").replace(" ", ""),
    "decimal codes": lambda text: codes(text, "d"),
    "decimal codes, in a list": lambda text: codes(text, "d").replace(" ", ", "),
    "octal codes": lambda text: codes(text, "03o"),
    "A1Z26": lambda text: places(text, "-"),
    "A1Z26, spaced": lambda text: places(text, " "),
    "pig Latin": pig_latin,
    "base64 in base64": lambda text: base64_of(base64_of(text)),
    "hex in base64": lambda text: base64_of(text.encode().hex()),
    "rot13 in base64": lambda text: base64_of(codecs.encode(text, "rot13")),
    "reversed in base64": lambda text: base64_of(text[::-1]),
    "base64, reversed": lambda text: base64_of(text)[::-1],
    "base64, rot13": lambda text: codecs.encode(base64_of(text), "rot13"),
    "base64 in a URL": lambda text: quote(base64_of(text)),
    "Caesar 5 in hex": lambda text: caesar(text, 5).encode().hex(),
    "rot13 in Morse": lambda text: morse(codecs.encode(text, "rot13")),
    "reversed, spaced": lambda text: " ".join(glued(text[::-1])),
    "base64, split into strings": lambda text: f'"{pieces(base64_of(text), 9, chr(34) + " + " + chr(34))}"',
    "base64, four at a time": lambda text: pieces(base64_of(text), 4, " "),
    "base64, lines of strings": lambda text: f"'{pieces(base64_of(text), 6, chr(39) + chr(10) + chr(39))}'",
    "base64, goes on behind a backslash": lambda text: pieces(base64_of(text), 11, "\\\n"),
    "hex, 0x each, no gap": lambda text: "".join(f"0x{byte:02x}" for byte in text.encode()),
    "hex, with dots": lambda text: text.encode().hex("."),
    "hex dump, in words": lambda text: dump(f"it is {text}, so it is", "{at:08x}: {words:<39}  {shown}"),
    "hex dump, with bars": lambda text: dump(f"it is {text}, so it is", "{at:08x}  {pairs:<48} |{shown}|"),
    "hex dump, bare": lambda text: dump(f"it is {text}, so it is", "{at:07x} {pairs}"),
    "HTML, no semicolons": lambda text: "".join(f"&#{ord(char)}" for char in text),
    "HTML, many zeros": lambda text: "".join(f"&#{ord(char):07d};" for char in text),
    "HTML, some letters": lambda text: f"&#{ord(text[0])};{text[1]}&#x{ord(text[2]):x};{text[3:]}",
    "decimal codes, dots": lambda text: codes(text, "d").replace(" ", "."),
    "decimal codes, dots and spaces": lambda text: codes(text, "d").replace(" ", ". "),
    "decimal codes, brackets": lambda text: f"[{codes(text, 'd').replace(' ', '][')}]",
    "decimal codes, strings": lambda text: codes(text, "d").replace(" ", '", "'),
    "decimal codes, arrows": lambda text: codes(text, "d").replace(" ", " -> "),
    "calls of chr": lambda text: calls(text, "chr", "+"),
    "calls of chr, spaced": lambda text: calls(text, "chr", " . "),
    "calls of CHAR": lambda text: f"CONCAT({calls(text, 'CHAR', ', ')})",
    "one call": lambda text: f"String.fromCharCode({codes(text, 'd').replace(' ', ',')})",
    "A1Z26, dots": lambda text: places(text, "."),
    "A1Z26, underscores": lambda text: places(text, "_"),
    "A1Z26, bars": lambda text: places(text, " | "),
    "braille": lambda text: "".join(_BRAILLE[char] for char in text.lower()),
    "braille, spaced": lambda text: "".join(_BRAILLE[char] for char in text.lower()).replace("\u2800", " "),
    "tag characters": lambda text: "".join(chr(0xE0000 + ord(char)) for char in text),
    "variation selectors": selectors,
    "half in base64": lambda text: f"{text.split()[0]} {base64_of(text.split()[1])}",
}
"""Codes whose whole run is found."""

ACROSTICS: dict[str, Callable[[str], str]] = {
    "lines": lambda text: "\n".join(f"{char.upper()}ver the hills they go," for char in glued(text)),
    "a list": lambda text: "\n".join(f"- {char.upper()}ne more thing." for char in glued(text)),
    "sentences": lambda text: " ".join(f"{char.upper()}ften it rains here." for char in glued(text)),
    "words": lambda text: " ".join(f"{char.lower()}ver" for char in glued(text)),
}
"""Codes of which the first letters have left before anyone could know."""
