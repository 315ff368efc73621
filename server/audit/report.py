"""What a check says, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from server.wording import counted

Kind = Literal[
    "changed",
    "missing",
    "cut off",
    "unsigned tail",
    "bad signature",
    "missing checkpoint",
    "heads file",
    "foreign chain",
    "foreign record",
    "no ending",
    "no opening",
    "not closed",
    "running",
    "unreadable",
]
"""What can be wrong, or worth saying; docs/audit.md explains each."""

LISTED = 100
"""Problems of one kind that are listed one by one; more of it are only counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not hold, and where."""

    kind: Kind
    chain: str
    """The chain's id; empty where it is about none or cannot be told."""
    counter: int | None
    """The first record that it is about, from 1; None where it is about none or cannot be told."""
    detail: str
    until: int | None = None
    """The last record that it is about, included, where there are several."""

    def __str__(self) -> str:
        """Return one line; what was read from the database is shown in ASCII and never whole."""
        where = [f"chain {ascii(self.chain)[1:-1][:64]}"] if self.chain else []
        if self.until is not None and self.until != self.counter:
            where.append(f"records {self.counter} to {self.until}")
        elif self.counter is not None:
            where.append(f"record {self.counter}")
        return ": ".join([*([" ".join(where)] if where else []), self.kind, self.detail])


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found: nothing is wrong exactly where `problems` is empty."""

    chains: int
    records: int
    checkpoints: int
    fingerprint: str
    """SHA-256 of the public key that signatures were checked with, 64 hex digits."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    """What is worth saying and not wrong, such as exchanges that are still open."""
    unlisted: int = 0
    """Problems beyond the listed ones."""

    @property
    def exit_code(self) -> int:
        """0 where there is no problem, else 1."""
        return 1 if self.problems else 0

    def __str__(self) -> str:
        """Return lines for people: a summary, then a line for each problem and each note."""
        count = len(self.problems) + self.unlisted
        verdict = counted(count, "problem") if count else "no problem"
        read = (self.chains, "chain"), (self.records, "record"), (self.checkpoints, "checkpoint")
        lines = [
            f"{', '.join(counted(*each) for each in read)}: {verdict}",
            f"signed by key {self.fingerprint}",
            *(f"problem: {problem}" for problem in self.problems),
        ]
        if self.unlisted:
            lines.append(f"problem: and {self.unlisted} more that are not listed")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


class Log:
    """Problems and notes as they are found; bounded, and neighbours become one."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self.unlisted = 0
        self._kinds: dict[str, int] = {}
        self._last: dict[Kind, int] = {}

    def problem(
        self, kind: Kind, chain: str, counter: int | None, detail: str, until: int | None = None
    ) -> None:
        """Add a problem; changed records that begin where the last ones ended make one problem with them."""
        at = self._last.get(kind) if kind == "changed" else None
        if at is not None and counter is not None:
            before = self.problems[at]
            end = before.until if before.until is not None else before.counter
            if before.chain == chain and end is not None and end + 1 == counter:
                self.problems[at] = Problem(kind, chain, before.counter, before.detail, until or counter)
                return
        if self._kinds.get(kind, 0) >= LISTED:
            self.unlisted += 1
            return
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        self._last[kind] = len(self.problems)
        self.problems.append(Problem(kind, chain, counter, detail, until))

    def note(
        self, kind: Kind, chain: str, counter: int | None, detail: str, until: int | None = None
    ) -> None:
        """Add a note, if there is room."""
        if len(self.notes) < LISTED:
            self.notes.append(Problem(kind, chain, counter, detail, until))
