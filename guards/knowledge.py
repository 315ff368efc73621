"""The confidential instructions that steering puts in front, kept per target and retrieved by what was found.

Only the entries of targets found in this exchange enter its prompt, never the list: a prompt that names the
whole list keeps 4 % of what it should (Wang et al. 2025, DRAGON, arXiv:2511.05784, KRR of plain prompting on
TOFU).  Values never enter it.  The clause follows the constraint part Q of Wang, Zhu, Ye and Zhou (2024),
arXiv:2410.15267; its retrieval part P is the finding itself here, since the scans already know the target.
"""

from __future__ import annotations

from collections.abc import Iterable

from guards.styles import strictest
from policies.policy import Policy, Target

_TOLD = ("entity", "fact", "topic")
"""Kinds of which there is something to tell; what the others look for is written down for nobody."""
OPENING = "Confidential."
NAMES = "You have no knowledge of the following and never had: {items}."
CLOSING = "If you are asked about it, say that you do not know. Answer everything else as usual."
REFUSING = "If you are asked about it, say that you cannot help with that. Answer everything else as usual."
"""The closing where the answer is a refusal: the model then says what stands in its place anyway."""


class Knowledge:
    """The retrieval store of one policy: one entry a target, made of what the upstream may learn when it is
    retrieved."""

    def __init__(self, policy: Policy) -> None:
        self._targets = policy.targets

    def instruction(self, targets: Iterable[int]) -> str | None:
        """Return the instruction for these targets, or None where the upstream may learn of none of them."""
        found = [self._targets[index] for index in sorted(targets)]
        items = [item for target in found if (item := _item(target)) is not None]
        said = [clause for target in found if (clause := _clause(target)) is not None]
        if items:
            said.append(NAMES.format(items="; ".join(dict.fromkeys(items))))
        if not said:
            return None
        # As the Releaser takes it where several targets meet.
        style = strictest([target.style for target in found])
        return " ".join([OPENING, *said, REFUSING if style == "refuse" else CLOSING])


def _clause(target: Target) -> str | None:
    """Return the operator's own sentences, where they are to be sent."""
    if target.disclose_upstream != "clause" or not target.clause:
        return None
    return f"{target.clause.strip().rstrip('.')}."


def _item(target: Target) -> str | None:
    if target.disclose_upstream == "nothing" or target.kind not in _TOLD or _clause(target):
        return None
    if target.kind == "entity":
        return target.names[0]
    if target.kind == "fact":
        return f"{target.names[0]} ({target.facts[0].relation.name})"
    return target.id.replace("-", " ").replace("_", " ")
