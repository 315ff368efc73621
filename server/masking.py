"""A request as the upstream gets it: without sentences about a target, and without what is cut out of it.

Of history the guard says what is left of which passage; here it is put back into the messages.  What is cut
out wherever it stands is cut out of each text that a client wrote, keys and names included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from server.api.json_body import schema_texts

NOTHING = "…"
"""What stands for a text of which nothing is left.  An empty one is refused by some servers, one of blanks by
others, and without a message its neighbours would be two of the same role, which some refuse as well."""

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


# What is cut out of a whole request.

Cut = Callable[[str], str]
"""Returns a text without what must not be in it; the same text where nothing of it is."""

_NAMELESS = "_"
"""What stands for a name or an id of which nothing is left: servers ask for a letter or an underscore."""
_NAMES = frozenset(("name", "id", "tool_call_id"))
_FIXED = frozenset(("role", "type"))
"""Fields of a request that hold words of the API's own, and none of a client's."""
_KEYWORDS = frozenset(
    "type properties required items enum const description title default anyOf oneOf allOf not format "
    "pattern additionalProperties "
    "minimum maximum minItems maxItems minLength maxLength $ref $defs $schema".split()
)


def cut_out(body: Mapping[str, Any], cut: Cut) -> dict[str, Any]:
    """Return the body of a request of which every text a client wrote was given to `cut`."""
    changed = dict(body)
    changed["messages"] = [_message(message, cut) for message in body["messages"]]
    for name in ("tools", "tool_choice", "response_format"):
        if name in body:
            changed[name] = _field(body[name], name, cut)
    return changed


def _message(message: Mapping[str, Any], cut: Cut) -> dict[str, Any]:
    changed = {name: _field(value, name, cut) for name, value in message.items() if name != "content"}
    if "content" in message:
        content = message["content"]
        changed["content"] = (
            _parts(content, cut) if isinstance(content, list) else _field(content, "content", cut)
        )
    return changed


def _parts(parts: Sequence[Mapping[str, Any]], cut: Cut) -> str | list[dict[str, Any]]:
    """Return the parts of a message; where something lies across their borders, as one text."""
    changed = [
        {"type": part["type"], part["type"]: _text(part[part["type"]], NOTHING, cut)} for part in parts
    ]
    texts = [part[part["type"]] for part in changed]
    # Templates put parts together with or without a line between.
    if any(cut(joined) != joined for joined in ("\n".join(texts), "".join(texts))):
        return _text("\n".join(texts), NOTHING, cut)
    return changed


def _field(value: Any, name: str, cut: Cut) -> Any:
    """Return the value of a field of the API, with what is the client's in it cut."""
    if name in _FIXED:
        return value
    if name in ("parameters", "schema") and isinstance(value, dict):
        return _schema(value, cut)
    if isinstance(value, str):
        if name == "arguments":
            return _arguments(value, cut)
        return _text(value, _NAMELESS if name in _NAMES else NOTHING, cut)
    if isinstance(value, list):
        return [_field(each, name, cut) for each in value]
    if isinstance(value, dict):
        return {key: _field(each, key, cut) for key, each in value.items()}
    return value


def _text(text: str, nothing: str, cut: Cut) -> str:
    left = cut(text)
    return left if left == text or left.strip() else nothing


def _arguments(text: str, cut: Cut) -> str:
    """Return the arguments of a call, which stay JSON where they were."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _text(text, "{}", cut)
    left = _leaves(value, cut, frozenset())
    said = text if left == value else orjson.dumps(left).decode()
    # In numbers, or over several leaves.
    return said if cut(said) == said else "{}"


def _schema(schema: dict[str, Any], cut: Cut) -> dict[str, Any]:
    left: dict[str, Any] = _leaves(schema, cut, _KEYWORDS)
    # Over several leaves or keys: without a schema the tool is called with whatever the model makes up.
    apart = ["\n".join(text for text in texts if text not in _KEYWORDS) for texts in schema_texts(left)]
    return left if all(cut(joined) == joined for joined in apart) else {}


def _leaves(value: Any, cut: Cut, keep: frozenset[str]) -> Any:
    """Return a JSON value with its texts and keys cut, but for the keys in `keep`."""
    if isinstance(value, str):
        return _text(value, NOTHING, cut)
    if isinstance(value, list):
        return [_leaves(each, cut, keep) for each in value]
    if isinstance(value, dict):
        return {
            key if key in keep else _text(key, _NAMELESS, cut): (
                each if key == "type" and keep else _leaves(each, cut, keep)
            )
            for key, each in value.items()
        }
    return value
