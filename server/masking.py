"""History as the upstream gets it: without the sentences that are about a target.

The guard says what is left of which passage; here it is put back into the messages of the request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "…"
"""What stands for a message of which nothing is left: an empty one is refused by some servers."""

_PLACE = re.compile(r"messages\[(\d+)\]\.(\w+)")


def masked(messages: Sequence[Mapping[str, Any]], left: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the messages with what is left of their masked passages, keyed by path; others as they are."""
    changed = [dict(message) for message in messages]
    for path, text in left.items():
        place = _PLACE.match(path)
        if place is None:
            continue
        message, field = changed[int(place[1])], place[2]
        if field == "content":
            # Several parts, or a text that was only found across them, become one.
            message["content"] = NOTHING if path.endswith("[]") else text.strip() or NOTHING
        elif field == "tool_calls":
            message["tool_calls"] = [
                {**call, "function": {**call["function"], "arguments": "{}"}}
                for call in message["tool_calls"]
            ]
        else:
            message.pop(field, None)
    return changed
