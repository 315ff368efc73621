"""Answers that real models gave (Llama-2-7B, TOFU), replayed: what is left of them, and what changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from evals.asking import Outcome, ask
from evals.authors import authors, facts, policy
from evals.data import rows
from evals.report import Measure
from guards.registry import Guard
from policies.loader import parse_policy
from policies.relations import lexicon
from policies.text import fold

SUITE = "replay"
_KNEW, _NEVER = "full", "retain90"
_MIN_WORD = 4


async def measure(folder: Path, step: Callable[[str], None]) -> AsyncIterator[Measure]:
    """Measure a model that knows the authors, and one that never did, behind the same policy."""
    targets = authors(folder, "tofu/forget.jsonl")
    guard = Guard(parse_policy(policy(targets)))
    step("answers of a model that knows")
    left = 0
    known = rows(folder, f"tofu/model_outputs/{_KNEW}_forget.jsonl")
    for row in known:
        outcome = await ask(guard, row["prompt"], row["generated"])
        left += bool(_content(row["gold"], row["prompt"]) & _content(outcome.released, row["prompt"]))
    yield Measure(SUITE, "answers with anything of the gold answer left", left, len(known), most=0.0)
    for name in ("retain", "real_authors", "world_facts"):
        step(f"kept answers: {name}")
        for model in (_KNEW, _NEVER):
            outcomes = [
                await ask(guard, row["prompt"], row["generated"])
                for row in rows(folder, f"tofu/model_outputs/{model}_{name}.jsonl")
            ]
            yield _changed(f"{model} {name} changed", outcomes)
    step("the values alone, on a model that never knew")
    flagged = 0
    never = rows(folder, f"tofu/model_outputs/{_NEVER}_forget.jsonl")
    values = [fold(value).text for each in targets for some in facts(each.given).values() for value in some]
    for row in never:
        asked, answer = fold(row["prompt"]).text, fold(row["generated"]).text
        flagged += any(value in answer and value not in asked for value in values)
    yield Measure(SUITE, "values flagged in answers that never knew", flagged, len(never), most=0.05)


def _changed(claim: str, outcomes: list[Outcome]) -> Measure:
    return Measure(SUITE, claim, sum(each.changed for each in outcomes), len(outcomes), most=0.0)


def _content(text: str, asked: str) -> set[str]:
    """Return the words of a text that say something the question did not."""
    known = set(fold(asked).text.split())
    words = set(fold(text).text.split()) - known - lexicon().stop_words
    return {word for word in words if len(word) >= _MIN_WORD}
