"""Numbers on a command line: `--sizes 100,1000`."""

from __future__ import annotations

import argparse


def sizes(words: str) -> list[int]:
    """Return the numbers, of 1 and more, in their order; for argparse, which tells what is wrong."""
    try:
        numbers = [int(word) for word in words.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{words!r}: numbers with commas between, such as 100,1000")
    return numbers
