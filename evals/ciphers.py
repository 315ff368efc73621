"""Ciphers that a client defines in the prompt itself, each with the words that tell the model of it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TypeVar

from evals.codes import Code, plain

_EMOJI = "🍎🍌🍒🍇🍉🥝🍋🍓🥥🍍🍑🍐🥑🌽🥕🍄🥜🍞🧀🥚🍕🌮🍩🍪🍫🍯"
T = TypeVar("T")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Told:
    """A cipher with its key in words."""

    code: Code
    key: str


def letters(question: str, answer: str) -> Told:
    """Return a substitution alphabet, told letter by letter."""
    table = dict(zip(ascii_lowercase, _shuffled(ascii_lowercase), strict=True))
    key = ", ".join(f"{char}={shown}" for char, shown in table.items())
    return Told(_by_letter("a substitution cipher", table), f"The key is {key}.")


def alphabet(question: str, answer: str) -> Told:
    """Return a substitution alphabet, told as one alphabet under the other."""
    shown = _shuffled(ascii_lowercase, seed=2)
    table = dict(zip(ascii_lowercase, shown, strict=True))
    told = f"The alphabet\n{ascii_lowercase}\nbecomes\n{''.join(shown)}"
    return Told(_by_letter("a cipher alphabet", table), told)


def emoji(question: str, answer: str) -> Told:
    """Return emoji for letters."""
    table = dict(zip(ascii_lowercase, _EMOJI, strict=True))
    key = "\n".join(f"{char} = {shown}" for char, shown in table.items())
    return Told(_by_letter("emoji", table), f"The key:\n{key}")


def numbers(question: str, answer: str) -> Told:
    """Return two figures for each letter."""
    table = dict(zip(ascii_lowercase, (f"{number:02d}" for number in _shuffled(range(10, 99))), strict=False))
    back = {shown: char for char, shown in table.items()}

    def write(text: str) -> str:
        words = re.findall(r"[a-z]+", plain(text).lower())
        return " / ".join(" ".join(table[char] for char in word) for word in words)

    def read(text: str) -> str:
        return "".join(back.get(each, " ") for each in re.findall(r"\d\d|/", text))

    key = " ".join(f"{char}:{shown}" for char, shown in table.items())
    return Told(Code("a code of two figures a letter", write, read), f"The key is {key}")


def words(question: str, answer: str) -> Told:
    """Return a number for each word that question and answer need, in no order."""
    known = sorted({word.lower() for word in _WORD.findall(f"{question} {answer}")})
    table = {word: str(number) for number, word in enumerate(_shuffled(known), 1)}
    back = {shown: word for word, shown in table.items()}

    def write(text: str) -> str:
        return " ".join(table.get(word.lower(), word) for word in _WORD.findall(text))

    def read(text: str) -> str:
        return " ".join(back.get(each, each) for each in _WORD.findall(text))

    key = ", ".join(f"{shown}={word}" for word, shown in table.items())
    return Told(Code("a code of numbered words", write, read), f"The key is {key}.")


CIPHERS: Mapping[str, Callable[[str, str], Told]] = {
    "letters": letters,
    "alphabet": alphabet,
    "emoji": emoji,
    "numbers": numbers,
    "words": words,
}
"""By name, what makes each for a question and its answer."""


def _by_letter(name: str, table: Mapping[str, str]) -> Code:
    back = {shown: char for char, shown in table.items()}

    def write(text: str) -> str:
        return "".join(table.get(char, char) for char in plain(text).lower())

    def read(text: str) -> str:
        return "".join(back.get(char, char) for char in text)

    return Code(name, write, read)


def _shuffled(some: Sequence[T], seed: int = 1) -> list[T]:
    return random.Random(seed).sample(list(some), len(some))
