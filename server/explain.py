"""What a prompt arms, in lines for an operator: targets, scans, places and scores, and the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from guards.base import Arms, Channel, Part, Passage, Plan, Stance, What
from guards.meaning import Meaning
from guards.pattern import Patterns
from guards.registry import Guard
from policies.calibrate import refuse_rate
from policies.loader import load_policy
from policies.policy import Policy
from server.compiling import Tell, compile_meaning
from server.settings import state_folder
from server.wording import counted

_STANCES = {
    Stance.CLEAR: "the question is about no target: what completes a target by itself does not leave",
    Stance.WATCHED: "subjects are in play: a value of theirs in the answer is withheld",
    Stance.REVERSED: "value and relation are given: the name must not come",
    Stance.ARMED: "the question is about a target: nothing of the upstream's answer leaves",
}

_PLANS: dict[What, str] = {
    "pass": "the upstream is asked without a notice",
    "steer": "the upstream is asked behind a notice",
    "local": "the upstream is not asked",
}
"""What the upstream gets on account of a target: what leaves of its answer, the stance says."""


def explain(
    file: Path,
    prompt: str,
    state: Path | None = None,
    encoder: str | None = None,
    tell: Tell = lambda _: None,
) -> list[str]:
    """Return the lines that say what `prompt`, as a user's only message, arms under the policy in `file`.

    tell: is told what is being compiled.
    Raises PolicyError, and EncoderUnavailable where the policy needs meaning and there is no encoder.
    """
    policy = load_policy(file)
    refuse_rate(policy, str(file))
    meaning = compile_meaning(policy, state or state_folder(), encoder, tell)
    tell(f"names and values of {counted(len(policy.targets), 'target')}")
    guard = Guard(policy, meaning)
    try:
        arms = asyncio.run(guard.read([Passage("prompt", "user", prompt, True)]))
        patterns = asyncio.run(_patterns(policy, guard, prompt))
    finally:
        guard.close()
    return [
        *_findings(policy, prompt, guard.without_triggers(prompt), arms),
        *_nearest(meaning, prompt, arms),
        *_cut(guard.without_triggers(prompt), arms),
        *_plan(policy, arms, guard.plan(arms)),
        *patterns,
    ]


async def _patterns(policy: Policy, guard: Guard, prompt: str) -> list[str]:
    """Return what the answer's scan would do with the words of the prompt, where a pattern matches in them.

    Patterns are looked for in answers alone: an operator who tries one here must not read that it fails.
    """
    found = {policy.targets[each.target].id for each in Patterns(policy).find(prompt)}
    if not found:
        return []
    releaser = guard.releaser(
        Arms(Stance.CLEAR), 1, structured=False, seed=lambda: b"explain", max_held_chars=len(prompt) + 1024
    )
    releaser.feed(0, Channel.CONTENT, prompt)
    releaser.close(0, "stop")
    answer = "".join(release.text for release in await releaser.settle())
    which = f"pattern{'' if len(found) == 1 else 's'} {', '.join(sorted(found))}"
    return [f"in an answer, not in a question, {which} would act: the same words would read {answer!r}"]


def _cut(left: str, arms: Arms) -> Iterator[str]:
    """Say what the upstream gets of a prompt that something was cut out of."""
    if arms.cut:
        yield f"cut out of what is sent: it reads {left!r}"


def _findings(policy: Policy, prompt: str, left: str, arms: Arms) -> Iterator[str]:
    """Show each finding; `left` is the prompt without its triggers, in which all else is looked for."""
    if not arms.findings:
        yield "no finding"
        return
    rows = [("target", "scan", "part", "where", "score", "threshold")]
    for found in arms.findings:
        text = (prompt if found.part is Part.TRIGGER else left)[found.start : found.end]
        shown = text if len(text) <= 40 else f"{text[:37]}…"
        scores = ("-", "-") if found.score is None else (f"{found.score:.2f}", f"{found.threshold:.2f}")
        where = f"{found.start}-{found.end} {shown!r}"
        rows.append((policy.targets[found.target].id, found.scan, found.part.value, where, *scores))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _nearest(meaning: Meaning | None, prompt: str, arms: Arms) -> Iterator[str]:
    """Where no meaning was found, say how near the nearest came: an operator tunes `like` by it."""
    if meaning is None or any(found.scan == "meaning" for found in arms.findings):
        return
    for target, score, threshold in meaning.explain(prompt)[:3]:
        yield f"by meaning, {target}: score {score:.2f} is not above its threshold {threshold:.2f}"


def _plan(policy: Policy, arms: Arms, plan: Plan) -> Iterator[str]:
    yield f"stance: {arms.stance.value} ({_STANCES[arms.stance]})"
    for index, what in plan.per_target.items():
        target = policy.targets[index]
        yield f"plan: {target.id}: {_PLANS[what]}; style {target.style}"
    if plan.steer is not None:
        yield f"sent in front: {plan.steer}"
