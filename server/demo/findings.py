"""What Lethe sees in a question, for the page: findings, stance, targets, and how long reading takes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from guards.base import Arms, Finding, Part, Passage
from guards.registry import Guard
from policies.policy import Policy
from policies.text import sentences

_SHOWN = (Part.NAME, Part.NAME_PART, Part.VALUE)


async def found(guard: Guard, passages: Sequence[Passage], answer: str) -> dict[str, Any]:
    """Return what a request arms, and where `answer`, the model's own, brings what is forgotten.

    Raises ScanError where that cannot be found out.
    """
    arms = await guard.read(passages)
    read_s, encoded = await _timed(guard, passages)
    told = await guard.read([Passage("answer", "user", answer, True)]) if answer else Arms(arms.stance)
    return {
        "stance": arms.stance.value,
        "digest": guard.policy.digest,
        "read_ms": round(read_s * 1000, 3),
        "encoded": encoded,
        "targets": list(_targets(guard.policy, arms)),
        "findings": [_finding(guard.policy, arms, each) for each in arms.findings],
        "told": list(_told(guard.policy, arms, told.findings)),
    }


async def _timed(guard: Guard, passages: Sequence[Passage]) -> tuple[float, int]:
    """Return the seconds of one more reading, and how many texts the encoder was given for it.

    The question has just been read and the encoder's findings are remembered: with blanks that no text had
    before behind every sentence, it is as new as it was the first time, and means the same.
    """
    fresh = [replace(passage, text=_as_if_new(passage.text)) for passage in passages]
    before = guard.encoded
    began = time.perf_counter()
    await guard.read(fresh)
    return time.perf_counter() - began, guard.encoded - before


def _as_if_new(text: str) -> str:
    blanks = "".join(secrets.choice(" \t") for _ in range(24))
    return "".join(f"{text[start:end].rstrip()}{blanks}" for start, end in sentences(text))


def _targets(policy: Policy, arms: Arms) -> Iterable[dict[str, str]]:
    stances = (("armed", arms.armed), ("reversed", arms.reversed), ("watched", arms.watched))
    for stance, indices in stances:
        for index in sorted(indices):
            target = policy.targets[index]
            yield {"id": target.id, "kind": target.kind, "style": target.style, "stance": stance}


def _finding(policy: Policy, arms: Arms, each: Finding) -> dict[str, Any]:
    target = policy.targets[each.target]
    return {
        "target": target.id,
        "kind": target.kind,
        "counts": each.target in arms.targets,
        "scan": each.scan,
        "part": each.part.value,
        "relation": None if each.fact is None else target.facts[each.fact].relation.name,
        "path": each.via[0],
        "how": list(each.via[1:]),
        "start": each.start,
        "end": each.end,
        "score": each.score,
        "threshold": each.threshold,
    }


def _told(policy: Policy, arms: Arms, findings: Iterable[Finding]) -> Iterable[dict[str, Any]]:
    """Yield the places of an answer that bring a target the question has to do with."""
    for each in findings:
        if each.target in arms.targets and each.part in _SHOWN and each.end > each.start:
            target = policy.targets[each.target]
            yield {"target": target.id, "part": each.part.value, "start": each.start, "end": each.end}
