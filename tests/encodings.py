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
