"""Misspellings of our own making, for what the benchmark's own do not cover."""

from __future__ import annotations

import random

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def edited(name: str, edits: int, draw: random.Random) -> str:
    """Return a name with so many single letters replaced, put in or left out, and never the name itself."""
    while True:
        letters = list(name)
        for _ in range(edits):
            at, letter = draw.randrange(len(letters)), draw.choice(_LETTERS)
            match draw.randrange(3):
                case 0:
                    letters[at] = letter
                case 1:
                    letters.insert(at, letter)
                case _ if len(letters) > 1:
                    del letters[at]
        if (made := "".join(letters)) != name:
            return made
