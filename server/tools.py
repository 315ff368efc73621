"""Tool calls: held whole, taken apart, every text of them shown to the guard.

An untouched call goes out with the upstream's own bytes.  A string that the policy redacts is edited in its
leaf; a call with anything else touched in it (its name, a key, a number) is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from guards.releaser import Releaser
from server.exchange import Delta, ToolCall


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
    if await releaser.leaf(choice, f"{call.id}\n{call.name}") != f"{call.id}\n{call.name}":
        return None
    try:
        arguments = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        # What does not parse cannot be edited safely: it leaves untouched or not at all.
        untouched = await releaser.leaf(choice, call.arguments) == call.arguments
        return call if untouched else None
    texts = list(_texts(arguments))
    # A value may lie across leaves, or across a key and its leaf: the joined texts must be clean too, once
    # the leaves that can be edited have been.
    edited: dict[int, str] = {}
    for index, (text, editable) in enumerate(texts):
        ruled = await releaser.leaf(choice, text)
        if ruled is None or (ruled != text and not editable):
            return None
        edited[index] = ruled
    joined = " ".join(edited.values())
    if await releaser.leaf(choice, joined) != joined:
        return None
    if all(edited[index] == text for index, (text, _) in enumerate(texts)):
        return call
    replaced = _replaced(arguments, iter(edited.values()))
    return replace(call, arguments=orjson.dumps(replaced).decode())


def _texts(value: Any) -> Iterator[tuple[str, bool]]:
    """Yield every text of a JSON value in order, and whether it may be edited."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, False
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value, True
    else:
        yield orjson.dumps(value).decode(), False


def _replaced(value: Any, texts: Iterator[str]) -> Any:
    """Return `value` with its texts replaced, in the order of `_texts`."""
    if isinstance(value, dict):
        return {next(texts): _replaced(inner, texts) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, texts) for inner in value]
    text = next(texts)
    return text if isinstance(value, str) else value
