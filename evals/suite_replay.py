"""Answers that real models gave (Llama-2-7B, TOFU), replayed: what is left of them, and what changed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from evals.asking import Outcome, ask
from evals.authors import Author, authors, facts, policy
from evals.data import DataError, Row, rows
from evals.report import Measure
from guards.registry import Guard
from policies.loader import parse_policy
from policies.relations import lexicon
from policies.text import fold

SUITE = "replay"
_KNEW, _NEVER = "full", "retain90"
_MIN_WORD = 4
_GOLD = Path(__file__).with_name("replay_gold.json")


async def measure(folder: Path, step: Callable[[str], None]) -> AsyncIterator[Measure]:
    """Measure a model that knows the authors, and one that never did, behind the same policy."""
    targets = authors(folder, "tofu/forget.jsonl")
    guard = Guard(parse_policy(policy(targets)))
    known = rows(folder, f"tofu/model_outputs/{_KNEW}_forget.jsonl")
    golds = gold_values(known)
    left = dict.fromkeys(CUTS, 0)
    anything = 0
    for way, cut in CUTS.items():
        step(f"answers of a model that knows, {way}")
        for row, gold in zip(known, golds, strict=True):
            outcome = await ask(guard, row["prompt"], row["generated"], cut=cut)
            left[way] += any(_is_left(value, row["prompt"], outcome.released) for value in gold)
            if cut is None:
                anything += bool(
                    _content(row["gold"], row["prompt"]) & _content(outcome.released, row["prompt"])
                )
    yield Measure(SUITE, "answers with anything of the gold answer left", anything, len(known), most=0.0)
    listed = sum(map(bool, golds))
    for way, count in left.items():
        yield Measure(SUITE, f"answers with a gold value left, {way}", count, listed, most=0.0)
    for name in ("retain", "real_authors", "world_facts"):
        for model in (_KNEW, _NEVER):
            some = rows(folder, f"tofu/model_outputs/{model}_{name}.jsonl")
            for way, cut in CUTS.items():
                step(f"kept answers: {model} {name}, {way}")
                outcomes = [await ask(guard, row["prompt"], row["generated"], cut=cut) for row in some]
                yield _changed(f"{model} {name} changed, {way}", outcomes)
    yield _flagged(folder, targets, step)


def _flagged(folder: Path, targets: Sequence[Author], step: Callable[[str], None]) -> Measure:
    """Measure how often values alone flag what a model says that never knew."""
    step("the values alone, on a model that never knew")
    flagged = 0
    never = rows(folder, f"tofu/model_outputs/{_NEVER}_forget.jsonl")
    values = [fold(value).text for each in targets for some in facts(each.given).values() for value in some]
    for row in never:
        asked, answer = fold(row["prompt"]).text, fold(row["generated"]).text
        flagged += any(value in answer and value not in asked for value in values)
    return Measure(SUITE, "values flagged in answers that never knew", flagged, len(never), most=0.05)


def gold_values(known: Sequence[Row]) -> list[list[str]]:
    """Return the gold values of each answer, as `replay_gold.json` lists them.

    It holds for each answer's number the places [first, last) of its values among the words of the gold
    answer, read and marked by people before anything was measured: the words themselves are the benchmark's.
    Raises DataError where the answers are others than those that were marked.
    """
    marked = json.loads(_GOLD.read_text(encoding="utf-8"))
    found = []
    for row in known:
        words, mark = row["gold"].split(), marked.get(str(row["i"]))
        if mark is None or mark["words"] != len(words):
            raise DataError(f"answer {row['i']} of {_KNEW}_forget.jsonl is none of those in {_GOLD.name}")
        found.append([" ".join(words[first:last]) for first, last in mark["values"]])
    return found


def _is_left(value: str, asked: str, released: str) -> bool:
    """Whether a value, or a word of it that says something the question did not, stands in what left."""
    whole = fold(value).text
    if whole in fold(released).text and whole not in fold(asked).text:
        return True
    return bool(_content(value, asked) & _content(released, asked))


def _by(size: int) -> Callable[[str], Sequence[str]]:
    return lambda text: [text[at : at + size] for at in range(0, len(text), size)]


CUTS: Mapping[str, Callable[[str], Sequence[str]] | None] = {
    "whole": None,
    "by 64 characters": _by(64),
    "by word": re.compile(r"\s*\S+|\s+").findall,
    "by character": _by(1),
}
"""How the answers come: not streamed, and streamed in three ways."""


def _changed(claim: str, outcomes: list[Outcome]) -> Measure:
    return Measure(SUITE, claim, sum(each.changed for each in outcomes), len(outcomes), most=0.0)


def _content(text: str, asked: str) -> set[str]:
    """Return the words of a text that say something the question did not."""
    known = set(fold(asked).text.split())
    words = set(fold(text).text.split()) - known - lexicon().stop_words
    return {word for word in words if len(word) >= _MIN_WORD}
