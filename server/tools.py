"""Tool calls: held whole, taken apart, every text of them shown to the guard.

An untouched call goes out with the upstream's own bytes.  A string that the policy redacts is edited in its
leaf; a call with anything else touched in it (its name, a key, a number) is dropped.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from guards.releaser import Releaser
from server.api.json_body import Pairs
from server.exchange import Delta, ToolCall

Place = Literal["key", "string", "other"]

_TURN_LEAVES = 64
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


class ToolCalls:
    """The tool calls of one choice while their fragments arrive."""

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}

    def add(self, delta: Delta) -> None:
        """Take a fragment; fragments of one call share an index."""
        assert delta.tool_index is not None
        call = self._calls.get(delta.tool_index, ToolCall("", "", ""))
        self._calls[delta.tool_index] = ToolCall(
            delta.tool_id or call.id, delta.tool_name or call.name, call.arguments + delta.tool_arguments
        )

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def chars(self) -> int:
        """Code points held."""
        return sum(len(call.name) + len(call.arguments) for call in self._calls.values())

    async def release(self, releaser: Releaser, choice: int) -> list[ToolCall]:
        """Return the calls that may leave, in their order."""
        calls = []
        for _, call in sorted(self._calls.items()):
            ruled = await _rule(call, releaser, choice)
            if ruled is not None:
                calls.append(ruled)
        return calls


async def _rule(call: ToolCall, releaser: Releaser, choice: int) -> ToolCall | None:
    named = f"{call.id}\n{call.name}"
    if await releaser.leaf(choice, named, counted=True) != named:
        return None
    try:
        arguments = json.loads(call.arguments, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return call if await _legible(call.arguments, releaser, choice) else None
    texts = list(_texts(arguments))
    edited: list[str] = []
    for number, (text, place) in enumerate(texts):
        if number % _TURN_LEAVES == _TURN_LEAVES - 1:
            await asyncio.sleep(0)  # whatever one call holds, the other exchanges go on
        ruled = await releaser.leaf(choice, text)
        if ruled is None or (ruled != text and place != "string"):
            return None
        edited.append(ruled)
    # A value may lie across leaves, or across a key and its leaf: what would leave must be clean as a whole.
    leaves = (text for text, (_, place) in zip(edited, texts, strict=True) if place != "key")
    for joined in (" ".join(edited), " ".join(leaves)):
        if await releaser.leaf(choice, joined, counted=True) != joined:
            return None
    if edited == [text for text, _ in texts]:
        return call
    if _has_twins(arguments):
        return None
    return replace(call, arguments=_written(_replaced(arguments, iter(edited))))


async def _legible(arguments: str, releaser: Releaser, choice: int) -> bool:
    """Whether arguments that are no JSON (cut short, most often) may leave: not with a target in play."""
    shown = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), arguments)
    if releaser.in_play:
        return False
    return await releaser.leaf(choice, arguments) == arguments and await releaser.leaf(choice, shown) == shown


def _texts(value: Any) -> Iterator[tuple[str, Place]]:
    """Yield every text of a JSON value in order, and what it is; only strings may be edited."""
    if isinstance(value, Pairs):
        for key, inner in value:
            yield _whole(key), "key"
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield _whole(value), "string"
    else:
        yield json.dumps(value), "other"


def _whole(text: str) -> str:
    # A lone surrogate cannot be written as UTF-8; a call that needs an edit then leaves with U+FFFD.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _written(value: Any) -> str:
    # Python's own writer: integers of any size, as they came.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _has_twins(value: Any) -> bool:
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(_has_twins(inner) for _, inner in value)
    return isinstance(value, list) and any(_has_twins(inner) for inner in value)


def _replaced(value: Any, texts: Iterator[str]) -> Any:
    """Return `value` with its texts replaced, in the order of `_texts`."""
    if isinstance(value, Pairs):
        return {next(texts): _replaced(inner, texts) for _, inner in value}
    if isinstance(value, list):
        return [_replaced(inner, texts) for inner in value]
    text = next(texts)
    return text if isinstance(value, str) else value
