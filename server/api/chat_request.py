"""A chat completion request, from bytes to a `Question`: every text a passage, every field decided.

The body for the upstream is built again from values that were looked at, so that nothing of the client's
own JSON is forwarded by accident.  `server.fields` decides what may pass; the shapes are checked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from guards.base import Passage
from server.api.json_body import (
    as_flag,
    as_integer,
    as_list,
    as_object,
    as_schema,
    as_text,
    json_texts,
    read_object,
    schema_texts,
    wrong,
)
from server.errors import FieldDenied
from server.exchange import Question
from server.fields import (
    MAX_CHOICES,
    MAX_MESSAGES,
    MAX_NAME_CHARS,
    MAX_PARTS,
    MAX_STOP_CHARS,
    MAX_STOPS,
    MAX_TOKENS,
    MAX_TOOLS,
    admit,
    passing,
)

ROLES = ("system", "developer", "user", "assistant", "tool")
_REASONING = ("reasoning", "reasoning_content")


def parse(body: bytes) -> Question:
    """Return the question that `body` asks, or raise RequestRejected or one of its kinds.

    The size of the body is the caller's to bound; the work here is linear in it.
    """
    fields = admit(read_object(body))
    if "model" not in fields:
        raise wrong("model", "given")
    _only_text(fields.pop("modalities", None))
    passages: list[Passage] = []
    upstream: dict[str, Any] = {
        "model": as_text(fields["model"], "model", limit=MAX_NAME_CHARS),
        "messages": _messages(fields.get("messages"), passages),
    }
    upstream.update((name, fields[name]) for name in passing() if name in fields)
    if fields.get("tools"):
        upstream["tools"] = _tools(fields["tools"], passages)
    if "tool_choice" in fields:
        upstream["tool_choice"] = _tool_choice(fields["tool_choice"], passages)
    if "response_format" in fields:
        upstream["response_format"] = _response_format(fields["response_format"], passages)
    choices = as_integer(fields.get("n", 1), "n", 1, MAX_CHOICES)
    if choices > 1:
        upstream["n"] = choices
    limit_field = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    return Question(
        model=upstream["model"],
        passages=tuple(passages),
        upstream=upstream,
        streaming=as_flag(fields.get("stream", False), "stream"),
        choices=choices,
        stop=_stop(fields.get("stop")),
        max_tokens=_limit(fields, limit_field),
        limit_field=limit_field,
        structured=upstream.get("response_format", {"type": "text"})["type"] != "text",
        include_usage=_include_usage(fields.get("stream_options")),
    )


# The request's own fields.


def _only_text(modalities: object) -> None:
    if modalities not in (None, ["text"]):
        raise FieldDenied("'modalities' other than text are not supported.", param="modalities")


def _stop(value: object) -> tuple[str, ...]:
    if value is None or value == []:
        return ()
    if isinstance(value, str):
        return (as_text(value, "stop", limit=MAX_STOP_CHARS),)
    return tuple(
        as_text(item, f"stop[{i}]", limit=MAX_STOP_CHARS)
        for i, item in enumerate(as_list(value, "stop", MAX_STOPS))
    )


def _limit(fields: dict[str, Any], name: str) -> int | None:
    """Return the limit of tokens: both names are checked, the newer one rules, as it does upstream."""
    for given in ("max_tokens", "max_completion_tokens"):
        if given in fields:
            as_integer(fields[given], given, 1, MAX_TOKENS)
    return fields.get(name)


def _include_usage(value: object) -> bool:
    if value is None:
        return False
    options = admit(as_object(value, "stream_options"), "stream_options", "stream_options")
    return as_flag(options.get("include_usage", False), "stream_options.include_usage")


def _tools(value: object, passages: list[Passage]) -> list[dict[str, Any]]:
    tools = []
    for i, item in enumerate(as_list(value, "tools", MAX_TOOLS)):
        path = f"tools[{i}]"
        tool = admit(as_object(item, path), "tools[]", path)
        _function_type(tool, path)
        path += ".function"
        function = admit(as_object(tool.get("function"), path), "tools[].function", path)
        made: dict[str, Any] = {
            "name": as_text(function.get("name"), path + ".name", limit=MAX_NAME_CHARS),
            **{name: function[name] for name in passing("tools[].function") if name in function},
        }
        passages.append(Passage(path + ".name", "tools", made["name"], True))
        if "description" in function:
            made["description"] = as_text(function["description"], path + ".description")
            passages.append(Passage(path + ".description", "tools", made["description"], True))
        if "parameters" in function:
            made["parameters"] = as_schema(function["parameters"], path + ".parameters")
            passages.extend(_schema(made["parameters"], path + ".parameters", "tools"))
        tools.append({"type": "function", "function": made})
    return tools


def _tool_choice(value: object, passages: list[Passage]) -> str | dict[str, Any]:
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise wrong("tool_choice", "none, auto, required or a function")
        return value
    choice = admit(as_object(value, "tool_choice"), "tool_choice", "tool_choice")
    _function_type(choice, "tool_choice")
    path = "tool_choice.function"
    function = admit(as_object(choice.get("function"), path), path, path)
    name = as_text(function.get("name"), path + ".name", limit=MAX_NAME_CHARS)
    passages.append(Passage(path + ".name", "tool_choice", name, True))
    return {"type": "function", "function": {"name": name}}


def _response_format(value: object, passages: list[Passage]) -> dict[str, Any]:
    given = admit(as_object(value, "response_format"), "response_format", "response_format")
    kind = given.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise wrong("response_format.type", "text, json_object or json_schema")
    if kind != "json_schema":
        return {"type": kind}
    path = "response_format.json_schema"
    schema = admit(as_object(given.get("json_schema"), path), path, path)
    made: dict[str, Any] = {
        "name": as_text(schema.get("name"), path + ".name", limit=MAX_NAME_CHARS),
        **{name: schema[name] for name in passing(path) if name in schema},
    }
    passages.append(Passage(path + ".name", "response_format", made["name"], True))
    if "description" in schema:
        made["description"] = as_text(schema["description"], path + ".description")
        passages.append(Passage(path + ".description", "response_format", made["description"], True))
    if "schema" in schema:
        made["schema"] = as_schema(schema["schema"], path + ".schema")
        passages.extend(_schema(made["schema"], path + ".schema", "response_format"))
    return {"type": kind, "json_schema": made}


def _function_type(given: dict[str, Any], path: str) -> None:
    if given.get("type", "function") != "function":
        raise wrong(path + ".type", "'function'")


# Messages.


def _messages(value: object, passages: list[Passage]) -> list[dict[str, Any]]:
    items = as_list(value, "messages", MAX_MESSAGES)
    if not items:
        raise wrong("messages", "a list of at least one message")
    read: list[tuple[dict[str, Any], list[Passage]]] = []
    for i, item in enumerate(items):
        read.append(_message(as_object(item, f"messages[{i}]"), f"messages[{i}]"))
    begin = _question_begins([message for message, _ in read])
    for i, (message, texts) in enumerate(read):
        current = i >= begin and message["role"] not in ("system", "developer")
        passages.extend(Passage(text.path, text.role, text.text, current) for text in texts)
    return [message for message, _ in read]


def _question_begins(messages: Sequence[dict[str, Any]]) -> int:
    """Return the index of the first message behind the last answer, which is the question at hand.

    An answer is an assistant's message in words that a user or a tool has gone on from.  One that calls
    tools, or says nothing, leaves the question open; a last one that nobody has gone on from is a prefill.
    """
    gone_on = False
    for i in range(len(messages) - 1, -1, -1):
        message = messages[i]
        if message["role"] in ("user", "tool"):
            gone_on = True
        elif message["role"] == "assistant" and gone_on and _answers(message):
            return i + 1
    return 0


def _answers(message: dict[str, Any]) -> bool:
    content = message.get("content") or message.get("refusal") or ""
    texts = [content] if isinstance(content, str) else [part[part["type"]] for part in content]
    return "tool_calls" not in message and any(text.strip() for text in texts)


def _message(value: dict[str, Any], path: str) -> tuple[dict[str, Any], list[Passage]]:
    """Return a message as it is forwarded, and its texts, `current` still open."""
    given = admit(value, "messages[]", path)
    role = given.get("role")
    if role not in ROLES:
        raise wrong(path + ".role", "one of " + ", ".join(ROLES))
    message: dict[str, Any] = {"role": role}
    texts: list[Passage] = []
    if "content" in given:
        message["content"] = _content(given["content"], role, path + ".content", texts)
    if "name" in given:
        message["name"] = as_text(given["name"], path + ".name", limit=MAX_NAME_CHARS)
        texts.append(Passage(path + ".name", role, message["name"], False))
    if role == "tool":
        message["tool_call_id"] = _id(given.get("tool_call_id"), path + ".tool_call_id", role, texts)
    if role == "assistant":
        _assistant(given, message, path, texts)
    elif "content" not in message:
        raise wrong(path + ".content", "a string or a list of text parts")
    return message, texts


def _assistant(given: dict[str, Any], message: dict[str, Any], path: str, texts: list[Passage]) -> None:
    for name in ("refusal", *_REASONING):
        if name in given:
            message[name] = as_text(given[name], f"{path}.{name}")
            texts.append(Passage(f"{path}.{name}", "assistant", message[name], False))
    if given.get("tool_calls"):
        calls = as_list(given["tool_calls"], path + ".tool_calls", MAX_TOOLS)
        message["tool_calls"] = [
            _tool_call(call, f"{path}.tool_calls[{i}]", texts) for i, call in enumerate(calls)
        ]
    if "content" not in message:
        if "tool_calls" not in message and "refusal" not in message:
            raise wrong(path + ".content", "given unless there are tool calls")
        message["content"] = None


def _tool_call(value: object, path: str, texts: list[Passage]) -> dict[str, Any]:
    call = admit(as_object(value, path), "messages[].tool_calls[]", path)
    _function_type(call, path)
    identity = _id(call.get("id"), path + ".id", "assistant", texts)
    path += ".function"
    function = admit(as_object(call.get("function"), path), "messages[].tool_calls[].function", path)
    name = as_text(function.get("name"), path + ".name", limit=MAX_NAME_CHARS)
    arguments = as_text(function.get("arguments"), path + ".arguments")
    texts.append(Passage(path + ".name", "assistant", name, False))
    texts.append(Passage(path + ".arguments", "assistant", arguments, False))
    if (found := json_texts(arguments)) is not None:
        texts.extend(_joined(*found, path + ".arguments", "assistant", False))
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _id(value: object, path: str, role: str, texts: list[Passage]) -> str:
    identity = as_text(value, path, limit=MAX_NAME_CHARS)
    texts.append(Passage(path, role, identity, False))
    return identity


def _content(value: object, role: str, path: str, texts: list[Passage]) -> str | list[dict[str, str]]:
    if isinstance(value, str):
        texts.append(Passage(path, role, value, False))
        return value
    if not isinstance(value, list):
        raise wrong(path, "a string or a list of text parts")
    parts = [_part(item, role, f"{path}[{i}]") for i, item in enumerate(as_list(value, path, MAX_PARTS))]
    if not parts:
        raise wrong(path, "a list of at least one part")
    found = [part[part["type"]] for part in parts]
    if len(found) == 1:
        texts.append(Passage(f"{path}[0].{parts[0]['type']}", role, found[0], False))
    else:
        # Templates put parts together with or without a line between: what is cut over two of them is
        # whole in one of these.
        texts.append(Passage(path, role, "\n".join(found), False))
        texts.append(Passage(path + "[]", role, "".join(found), False))
    return parts


def _part(value: object, role: str, path: str) -> dict[str, str]:
    part = admit(as_object(value, path), "messages[].content[]", path)
    kinds = ("text", "refusal") if role == "assistant" else ("text",)
    kind = as_text(part.get("type"), path + ".type")
    if kind not in kinds:
        raise wrong(path + ".type", " or ".join(kinds))
    return {"type": kind, kind: as_text(part.get(kind), f"{path}.{kind}")}


# JSON within the request.


def _schema(schema: dict[str, Any], path: str, role: str) -> list[Passage]:
    text = orjson.dumps(schema).decode()
    return [Passage(path, role, text, True), *_joined(*schema_texts(schema), path, role, True)]


def _joined(leaves: list[str], keys: list[str], path: str, role: str, current: bool) -> list[Passage]:
    """Return one passage of all leaves and one of all keys, a line each.

    A line ends a sentence and parts two words, so each is scanned for itself and beside its neighbours:
    a name cut into `first` and `last` is found.  Their paths are numbers and signs: a key is client text.
    """
    joined = [("#leaves", leaves), ("#keys", keys)]
    return [Passage(path + mark, role, "\n".join(texts), current) for mark, texts in joined if texts]
