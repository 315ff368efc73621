"""JSON from outside, read strictly: a value of the wrong type is an error that names its place.

Every reader takes a value and its path, which holds names that we know and numbers, never a client's words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson

from server.errors import RequestRejected

MAX_DEPTH = 64
"""Levels of nesting in a value that is forwarded."""


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that `body` is, or raise RequestRejected.

    UTF-8 without a byte order mark; no NaN, infinity or lone surrogate.  Of a key that comes twice the
    last one counts, here and for the upstream alike, since its body is written again from this value.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        # The parser's own error holds the document.
        raise RequestRejected("The body is not valid JSON in UTF-8.") from None
    return as_object(value, "")


def wrong(path: str, expected: str) -> RequestRejected:
    """Return the error for a value at `path` that is not what is expected there."""
    if not path:
        return RequestRejected(f"The body must be {expected}.")
    return RequestRejected(f"'{path}' must be {expected}.", param=path)


def as_object(value: object, path: str) -> dict[str, Any]:
    """Return `value` if it is an object."""
    if not isinstance(value, dict):
        raise wrong(path, "an object")
    return value


def as_list(value: object, path: str, limit: int) -> list[Any]:
    """Return `value` if it is a list of at most `limit` members."""
    if not isinstance(value, list):
        raise wrong(path, "a list")
    if len(value) > limit:
        raise wrong(path, f"a list of at most {limit:,}; there are {len(value):,}")
    return value


def as_text(value: object, path: str, *, limit: int | None = None) -> str:
    """Return `value` if it is a string; with a limit, of 1 to `limit` code points."""
    if not isinstance(value, str):
        raise wrong(path, "a string")
    if limit is not None and not 0 < len(value) <= limit:
        raise wrong(path, f"a string of 1 to {limit} characters")
    return value


def as_flag(value: object, path: str) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise wrong(path, "true or false")
    return value


def as_integer(value: object, path: str, low: int, high: int) -> int:
    """Return `value` if it is an integer from `low` to `high`, both included."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(path, f"an integer from {low} to {high}")
    return value


def as_schema(value: object, path: str) -> dict[str, Any]:
    """Return `value` if it is an object of at most `MAX_DEPTH` levels, which can be written again."""
    schema = as_object(value, path)
    level: list[Any] = [schema]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _members(outer) if isinstance(inner, dict | list)]
        if not level:
            return schema
    raise wrong(path, f"nested at most {MAX_DEPTH} levels deep")


def _members(value: Any) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value)


class Pairs(list[tuple[str, Any]]):
    """An object with every key that was written, those that come twice too."""


def json_texts(text: str) -> tuple[list[str], list[str]] | None:
    """Return all leaves and all keys of the JSON that `text` holds, as texts in order, or None if it is none.

    Keys that come twice count twice: whoever reads the text reads both.  Lone surrogates become U+FFFD.
    """
    try:
        value = json.loads(text, object_pairs_hook=Pairs)
        leaves: list[str] = []
        keys: list[str] = []
        _collect(value, leaves, keys)
    except (ValueError, RecursionError):
        return None
    return leaves, keys


def schema_texts(schema: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return all leaves and all keys of a value that `as_schema` has let pass, as texts in order."""
    leaves: list[str] = []
    keys: list[str] = []
    _collect(schema, leaves, keys)
    return leaves, keys


def _collect(value: Any, leaves: list[str], keys: list[str]) -> None:
    if isinstance(value, Pairs):
        for key, member in value:
            keys.append(_whole(key))
            _collect(member, leaves, keys)
    elif isinstance(value, dict):
        for key, member in value.items():
            keys.append(key)
            _collect(member, leaves, keys)
    elif isinstance(value, list):
        for member in value:
            _collect(member, leaves, keys)
    elif isinstance(value, str):
        leaves.append(_whole(value))
    elif value is not None and not isinstance(value, bool):
        leaves.append(str(value))


def _whole(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
