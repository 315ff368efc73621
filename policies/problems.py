"""What is wrong with a policy file, in words its author can act on.

The value that is wrong is shown, so a problem belongs on the terminal of whoever wrote the policy and in
no log, metric or answer: a value may be the very thing to be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_PROBLEMS = 20
"""A file's problems beyond this many are counted and not listed."""
MAX_SHOWN = 60
"""Code points of a value that are shown, escapes and ellipsis included."""
_MAX_MESSAGE = 400


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a policy file; `str()` is one line without control characters.

    line, column: from 1; 0 where the file as a whole is meant.
    field: such as `targets[2].regex`; empty for the file as a whole.
    value: what is wrong, as written; None where nothing is there.
    message: `<what is wrong>; <what would be valid>`.
    """

    file: str
    line: int
    column: int
    field: str
    value: str | None
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        parts = [visible(place)]
        if self.field:
            parts.append(shortened(self.field, 2 * MAX_SHOWN))
        if self.value is not None:
            parts.append(f"'{shortened(self.value)}'")
        parts.append(shortened(self.message, _MAX_MESSAGE))
        return ": ".join(parts)


class PolicyError(ValueError):
    """A policy file cannot be used; `problems` says why, in the order of the file, at most 20 of them.

    `str()` is one line a problem, and one more where further problems are only counted.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        every = sorted(problems, key=lambda problem: (problem.line, problem.column))
        self.problems: tuple[Problem, ...] = tuple(every[:MAX_PROBLEMS])
        self.more = len(every) - len(self.problems)
        """How many problems were found beyond those listed."""
        super().__init__(self.problems, self.more)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if self.more:
            lines.append(f"{visible(self.problems[0].file)}: and at least {self.more} more")
        return "\n".join(lines)


def visible(text: str) -> str:
    """Return `text` on one line, with everything escaped that does not print."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def shortened(text: str, length: int = MAX_SHOWN) -> str:
    """Return `visible(text)` in at most `length` code points, with an ellipsis where it was cut."""
    shown = visible(text[: length + 1])
    return shown if len(shown) <= length else shown[: length - 1] + "…"
