"""Asks a guard what it makes of a question and of an answer, with no model and no network in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guards.base import Channel, Passage, Stance
from guards.registry import Guard

_SEED = bytes(32)
_HELD = 1_000_000


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one exchange."""

    stance: Stance
    answer: str
    """What the model said."""
    released: str
    """What would have left."""

    @property
    def recognised(self) -> bool:
        """Whether the request alone was taken for one about a target."""
        return self.stance in (Stance.ARMED, Stance.REVERSED)

    @property
    def changed(self) -> bool:
        """Whether the client would have got anything but the model's answer."""
        return self.released != self.answer

    @property
    def caught(self) -> bool:
        """Whether the request was recognised, or something of the answer withheld."""
        return self.recognised or self.changed


async def ask(
    guard: Guard,
    question: str,
    answer: str,
    *,
    before: Sequence[Turn] = (),
    cut: Callable[[str], Sequence[str]] | None = None,
) -> Outcome:
    """Return what becomes of an answer to a question, after the turns before it.

    cut: the pieces in which the answer streams; without it, it comes whole.
    """
    turns = [*before, Turn("user", question)]
    passages = [
        Passage(f"messages[{at}].content", turn.role, turn.text, at == len(turns) - 1)
        for at, turn in enumerate(turns)
    ]
    arms = await guard.read(passages)
    releaser = guard.releaser(arms, 1, structured=False, seed=lambda: _SEED, max_held_chars=_HELD)
    released = []
    for piece in [answer] if cut is None else cut(answer):
        releaser.feed(0, Channel.CONTENT, piece)
        released += await releaser.settle()
    releaser.close(0, "stop")
    released += await releaser.settle()
    return Outcome(arms.stance, answer, "".join(each.text for each in released))
