"""Questions that no policy of `bench.policies` has anything against, each one never asked before."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

_TEMPLATES = (
    "How do I mend a {adjective} {thing} {when}?",
    "What is the best way to clean a {adjective} {thing} {when}?",
    "Can you help me write a note about the {adjective} {thing} that arrived {when}?",
    "Which shop is likely to sell a {adjective} {thing} {when}?",
    "Please translate into Spanish: the {adjective} {thing} was delivered {when}.",
    "How much should a {adjective} {thing} cost {when}?",
    "Is it worth keeping a {adjective} {thing} {when}?",
    "Write two sentences that praise a {adjective} {thing} {when}.",
)
_ADJECTIVES = "wooden blue heavy small old cheap large green folding broken narrow yellow plain new".split()
_THINGS = "chair kettle bicycle lamp table bucket jacket suitcase ladder clock blanket mirror".split()
_WHENS = (
    "before the winter", "on a rainy Monday", "after a long journey", "in the first week of May",
    "during the holidays", "at the end of the month", "late in the evening", "right after lunch",
)  # fmt: skip


def kept(seed: int) -> Iterator[str]:
    """Yield questions without end; a serial number makes each one new to every cache."""
    draw = random.Random(seed)
    for serial in itertools.count(10_000):
        words = {
            "adjective": draw.choice(_ADJECTIVES),
            "thing": draw.choice(_THINGS),
            "when": draw.choice(_WHENS),
        }
        yield f"Order {seed}-{serial}: {draw.choice(_TEMPLATES).format(**words)}"
