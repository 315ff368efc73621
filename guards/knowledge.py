"""The confidential instructions that steering puts in front, kept per target and retrieved by what was found.

Only the entries of targets found in this exchange enter its prompt, never the list: a prompt that names the
whole list keeps 4 % of what it should (Wang et al. 2025, DRAGON, arXiv:2511.05784, KRR of plain prompting on
TOFU).  Values never enter it.  The clause follows the constraint part Q of Wang, Zhu, Ye and Zhou (2024),
arXiv:2410.15267; its retrieval part P is the finding itself here, since the scans already know the target.
"""

from __future__ import annotations

from collections.abc import Iterable

from policies.policy import Policy, Target

INSTRUCTION = (
    "Confidential. You have no knowledge of the following and never had: {items}. "
    "If you are asked about it, say that you do not know. Answer everything else as usual."
)


class Knowledge:
    """The retrieval store of one policy: one entry a target, made from what the upstream may learn."""

    def __init__(self, policy: Policy) -> None:
        self._entries = tuple(_entry(target) for target in policy.targets)

    def instruction(self, targets: Iterable[int]) -> str | None:
        """Return the instruction for these targets, or None where the upstream may learn of none of them."""
        items = [entry for index in sorted(targets) if (entry := self._entries[index]) is not None]
        return INSTRUCTION.format(items="; ".join(dict.fromkeys(items))) if items else None


def _entry(target: Target) -> str | None:
    if target.disclose_upstream == "nothing" or target.kind == "pattern":
        return None
    if target.disclose_upstream == "clause" and target.clause:
        return target.clause.strip().rstrip(".")
    if target.kind == "entity":
        return target.names[0]
    if target.kind == "fact":
        return f"{target.names[0]} ({target.facts[0].relation.name})"
    return target.id.replace("-", " ").replace("_", " ")
