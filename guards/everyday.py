"""What of a policy stands in ordinary sentences: names and phrases that are everybody's words.

A quick look at the bundled sentences by names, phrases, patterns and passages alone, without an encoder;
`guards.calibration` measures the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from guards.base import Compiled, Part
from guards.trigger import Triggers
from policies.calibrate import retain_sentences
from policies.known import known_words
from policies.policy import Policy
from policies.text import fold

_WHOLE = (Part.NAME, Part.PATTERN, Part.PASSAGE)
"""Parts that stand for the target by themselves."""
What = Literal["found", "word"]


@dataclass(frozen=True, slots=True)
class Everyday:
    """A target that ordinary text is full of."""

    target: int
    """Index into `Policy.targets`."""
    what: What
    """`found`: it stands in more of the sentences than `retain_fpr` allows; `word`: a name or a phrase of it
    is one of the commonest words."""
    sentences: int
    """In how many of the sentences it stands."""
    of: int


def everyday(policy: Policy, scans: Sequence[Compiled], triggers: Triggers | None) -> Iterator[Everyday]:
    """Yield the targets that ordinary text is full of, in the policy's order; each once.

    scans: those of the policy that find whole names, patterns and passages.
    """
    sentences = retain_sentences()
    counts = _counts(sentences, scans, triggers)
    common = known_words().common
    for index, target in enumerate(policy.targets):
        if counts[index] > policy.retain_fpr * len(sentences):
            yield Everyday(index, "found", counts[index], len(sentences))
        elif any(fold(each).text.strip() in common for each in (*target.names, *target.phrases)):
            yield Everyday(index, "word", counts[index], len(sentences))


def _counts(sentences: Iterable[str], scans: Sequence[Compiled], triggers: Triggers | None) -> Counter[int]:
    counts: Counter[int] = Counter()
    for sentence in sentences:
        found = {each.target for scan in scans for each in scan.find(sentence) if each.part in _WHOLE}
        counts.update(found if triggers is None else found | triggers.found(sentence))
    return counts
