"""Policies and small drivers that the tests of the guards share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from guards.base import Arms, Channel, Close, Passage, Stance
from guards.registry import Guard
from guards.releaser import Releaser
from policies.policy import Fact, Kind, Pattern, Policy, Style, Target
from policies.relations import relation

SEED = b"seed of a test"


def target(
    id: str,
    kind: Kind = "entity",
    *,
    names: Sequence[str] = (),
    facts: Iterable[tuple[str, Sequence[str]]] = (),
    style: Style = "unknown",
    pattern: Pattern | None = None,
    like: Sequence[str] = (),
) -> Target:
    """Return a target as the loader would make it."""
    made = tuple(Fact(relation(name, (), tuple(names)), tuple(values)) for name, values in facts)
    return Target(
        id, kind, style, "forget", "name", names=tuple(names), facts=made, pattern=pattern, like=tuple(like)
    )


def policy(*targets: Target) -> Policy:
    """Return a policy of these targets."""
    return Policy("test", "0" * 64, targets)


ODALYS = target(
    "odalys",
    names=["Odalys Vennaker", "Одалис Веннакер"],
    facts=[("born in", ["Port Meridane"]), ("works for", ["Halden Optics"])],
)
HARRY = target("schooling", "fact", names=["Harry Potter"], facts=[("studied at", ["Hogwarts"])])
CARDS = target(
    "cards", "pattern", style="redact", pattern=Pattern(r"\b(?:\d[ -]?){13,19}\b", 0, 38, 1, "luhn")
)
PEOPLE = policy(ODALYS, HARRY, CARDS)


def read(guard: Guard, *turns: str | tuple[str, str]) -> Arms:
    """Return what a conversation arms; a bare text is the user's, the last turn is the question."""
    said = [("user", turn) if isinstance(turn, str) else turn for turn in turns]
    passages = [
        Passage(f"messages[{index}].content", role, text, index == len(said) - 1)
        for index, (role, text) in enumerate(said)
    ]
    return asyncio.run(guard.read(passages))


def releaser(guard: Guard, arms: Arms, choices: int = 1, *, structured: bool = False) -> Releaser:
    """Return the Releaser of a test's exchange."""
    return guard.releaser(arms, choices, structured=structured, seed=lambda: SEED, max_held_chars=1 << 18)


def answer(
    guard: Guard,
    arms: Arms,
    *texts: str,
    pieces: Sequence[tuple[int, Channel, str]] = (),
    reason: Close = "stop",
    structured: bool = False,
) -> dict[tuple[int, Channel], str]:
    """Feed an answer (`texts`: the content of each choice, or explicit `pieces`) and return what left."""
    fed = list(pieces) or [(index, Channel.CONTENT, text) for index, text in enumerate(texts)]
    return asyncio.run(_drive(guard, arms, fed, reason, structured))


async def _drive(
    guard: Guard, arms: Arms, fed: Sequence[tuple[int, Channel, str]], reason: Close, structured: bool
) -> dict[tuple[int, Channel], str]:
    choices = 1 + max(choice for choice, _, _ in fed)
    running = releaser(guard, arms, choices, structured=structured)
    out: dict[tuple[int, Channel], str] = {}

    async def take() -> None:
        for release in await running.settle():
            place = release.choice, release.channel
            out[place] = out.get(place, "") + release.text

    for choice, channel, text in fed:
        running.feed(choice, channel, text)
        await take()
    for choice in range(choices):
        running.close(choice, reason)
        await take()
    return out


CLEAR = Arms(Stance.CLEAR)
