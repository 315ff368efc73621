"""How an answer reads where something was forgotten.

Each style has several sentences; which one is said is drawn by a keyed hash of the question, so that the
same question is always answered alike and the choice carries nothing of the upstream's answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from policies.policy import STRICTNESS, Style

MARK = "[redacted]"

_UNKNOWN = (
    "I'm sorry, I don't know anything about that.",
    "I don't have any information about that.",
    "I'm not familiar with that, I'm afraid.",
    "That isn't something I know about.",
    "I'm afraid I don't know.",
    "I have no information on that.",
    "Sorry, I don't know that.",
    "I can't say; I don't have any knowledge of that.",
)
_REFUSE = (
    "I'm sorry, I can't help with that.",
    "I can't answer that.",
    "I'm not able to help with that request.",
)
_THOUGHT = (
    "I look for what I know about this and find nothing.",
    "I do not recall anything about this.",
    "Nothing I know bears on this question.",
)
_SENTENCES: dict[Style, Sequence[str]] = {"unknown": _UNKNOWN, "refuse": _REFUSE, "redact": (MARK,)}


def sentence(style: Style, seed: bytes) -> str:
    """Return the sentence that `style` says for the exchange and place that `seed` stands for."""
    return _draw(_SENTENCES[style], seed)


def thought(seed: bytes) -> str:
    """Return what stands in the reasoning channel of an answer that knows nothing."""
    return _draw(_THOUGHT, seed)


def strictest(styles: Sequence[Style]) -> Style:
    """Return the style that rules where several meet."""
    return min(styles, key=STRICTNESS.index)


def marked(text: str, spans: Sequence[tuple[int, int]], *, goes_on: bool = False) -> str:
    """Return `text` with the union of the spans replaced by marks.

    goes_on: whether the text before ended with a mark, which then stands for a span at the beginning too.
    """
    union: list[list[int]] = []
    for start, end in sorted(spans):
        if union and start <= union[-1][1]:
            union[-1][1] = max(union[-1][1], end)
        else:
            union.append([start, end])
    pieces, behind = [], 0
    for start, end in union:
        pieces += [text[behind:start], "" if goes_on and start == 0 else MARK]
        behind = end
    return "".join([*pieces, text[behind:]])


def _draw(choices: Sequence[str], seed: bytes) -> str:
    return choices[int.from_bytes(hashlib.sha256(seed).digest()[:8], "big") % len(choices)]
