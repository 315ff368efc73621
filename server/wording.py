"""What is said to people in the same words everywhere."""

from __future__ import annotations


def counted(count: int, word: str) -> str:
    """Return a count with its noun, which takes an s unless there is one of it."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def forgetting(targets: int) -> str:
    """Return how many targets a policy has, and what it means if there are none."""
    return f"{counted(targets, 'target')}{'' if targets else ': nothing is forgotten'}"
