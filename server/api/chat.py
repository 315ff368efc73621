"""Chat completions: a request in (`parse`), an upstream's answer in (`deltas`), an answer out.

Answers are made again from released parts and from nothing else, so that a field of the upstream's leaves
only where `server.fields` names it.  Routes, headers and statuses are not here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from guards.base import Channel
from server.api.chat_request import parse
from server.errors import GatewayError, UpstreamFailed, upstream_error
from server.exchange import Delta, Exchange, Part, Question, ToolCall, Usage
from server.fields import MAX_CHOICES
from server.ids import fresh_id
from server.sse import DONE, event
from server.usage import Released, usage

__all__ = ["deltas", "parse", "stream_bytes", "whole_bytes"]

MAX_TOOL_CALLS = 128
"""Tool calls in one choice of an answer."""

# `function_call` is the legacy name: the call itself is told as a tool call here, and so is its end.
_FINISH = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
}
_TOOL_ID = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")
_KEYS: dict[Channel, tuple[str, ...]] = {
    Channel.REASONING: ("reasoning", "reasoning_content"),
    Channel.CONTENT: ("content",),
    Channel.REFUSAL: ("refusal",),
}
"""Where each channel stands in a message.  Reasoning has two names, and clients look for either."""
_PLACES = [(channel, name) for channel, names in _KEYS.items() for name in names]


# An upstream's answer.


def deltas(
    answer: Mapping[str, Any], streaming: bool, choices: int = MAX_CHOICES
) -> tuple[list[Delta], Usage | None]:
    """Return the steps that a chunk (streaming) or a whole completion takes, and what was billed, if told.

    Steps are in the order reasoning, content, refusal, tool calls, finish, choice by choice.  `choices` is
    how many were asked for.  Raises UpstreamFailed, or the error that the answer itself holds, where a field
    that is looked at has a wrong type, a finish reason is unknown (such as 'abort': the answer is not
    whole), a choice was not asked for, or a whole completion lacks one.  Other fields are not looked at.
    """
    if streaming and (text := _text_alone(answer, choices)) is not None:
        return [text], None
    if answer.get("error"):
        raise _told(answer["error"])
    steps: list[Delta] = []
    seen: set[int] = set()
    for choice in _list(answer.get("choices")):
        index = _index(_object(choice).get("index", 0), choices)
        seen.add(index)
        steps.extend(_choice(choice, index, streaming))
    if not streaming and len(seen) != choices:
        raise UpstreamFailed
    return steps, _billed(answer.get("usage"))


def _text_alone(answer: Mapping[str, Any], choices: int) -> Delta | None:
    """Return the step of a chunk that holds a piece of one choice's content and nothing else that counts.

    Nearly every chunk of a stream is such a one; any other is left to those who look more closely.
    """
    listed = answer.get("choices")
    if type(listed) is not list or len(listed) != 1 or type(choice := listed[0]) is not dict:
        return None
    delta, index = choice.get("delta"), choice.get("index", 0)
    if answer.get("error") or answer.get("usage") or choice.get("finish_reason") or type(delta) is not dict:
        return None
    text = delta.get("content")
    if len(delta) != 1 or type(text) is not str or not text or type(index) is not int:
        return None
    return Delta(index, Channel.CONTENT, text) if 0 <= index < choices else None


def _told(error: object) -> GatewayError:
    code = error.get("code") if isinstance(error, dict) else None
    return upstream_error(code if isinstance(code, int) else 500)


def _choice(choice: dict[str, Any], index: int, streaming: bool) -> Iterator[Delta]:
    message = choice.get("delta" if streaming else "message")
    if message is not None or not streaming:
        yield from _message(_object(message), index, streaming)
    # Some servers write an empty string where they mean null: https://github.com/sgl-project/sglang/issues/3912
    finish = _text(choice.get("finish_reason"))
    if finish and finish not in _FINISH or not finish and not streaming:
        raise UpstreamFailed
    if finish:
        yield Delta(index, finish_reason=_FINISH[finish])


def _message(message: dict[str, Any], index: int, streaming: bool) -> Iterator[Delta]:
    before = ""
    for channel, name in _PLACES:
        text = _text(message.get(name))
        # A server that tells the reasoning under both names tells it once.
        if text and not (name == "reasoning_content" and text == before):
            before = text
            yield Delta(index, channel, text)
    calls = _list(message.get("tool_calls"))
    if len(calls) > MAX_TOOL_CALLS:
        raise UpstreamFailed
    for position, call in enumerate(calls):
        call = _object(call)
        if _text(call.get("type")) not in ("", "function"):
            raise UpstreamFailed
        place = _index(call.get("index"), MAX_TOOL_CALLS) if streaming else position
        yield _tool_step(index, place, call.get("id"), call.get("function"), streaming)
    if message.get("function_call") is not None:
        # Nobody is let to ask for it, but what comes is held and checked: as the one tool call there is.
        yield _tool_step(index, 0, None, message["function_call"], streaming)


def _tool_step(choice: int, place: int, identity: object, function: object, streaming: bool) -> Delta:
    told = {} if function is None and streaming else _object(function)
    name, arguments = _text(told.get("name")), _text(told.get("arguments"))
    if not streaming and not name:
        raise UpstreamFailed
    named = _text(identity)
    # An id of another form could be any text; without one, the call gets an id of ours.
    known = named if _TOOL_ID.fullmatch(named) else None
    return Delta(choice, tool_index=place, tool_id=known, tool_name=name or None, tool_arguments=arguments)


def _billed(value: object) -> Usage | None:
    """Return what was billed; counts that are none are not worth an answer, since no client sees them."""
    if not isinstance(value, dict):
        return None
    counts = [value.get("prompt_tokens", 0), value.get("completion_tokens", 0)]
    if any(isinstance(count, bool) or not isinstance(count, int) for count in counts):
        return None
    return Usage(*counts) if all(0 <= count < 1 << 53 for count in counts) else None


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UpstreamFailed
    return value


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UpstreamFailed
    return value


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UpstreamFailed
    return value


def _index(value: object, end: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        raise UpstreamFailed
    return value


# The answer to the client.


@dataclass(slots=True)
class _Choice:
    """What of one choice has been released."""

    texts: dict[Channel, list[str]] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None

    def take(self, part: Part) -> list[dict[str, Any]]:
        """Record a part and return the message deltas that tell it, none behind the finish."""
        if self.finish_reason is not None:
            return []
        told: list[dict[str, Any]] = []
        if part.channel is not None and part.text:
            self.texts.setdefault(part.channel, []).append(part.text)
            told.append(dict.fromkeys(_KEYS[part.channel], part.text))
        for call in part.tool_calls:
            made = _tool_call(call)
            told.append({"tool_calls": [{"index": len(self.calls), **made}]})
            self.calls.append(made)
        if part.finish_reason is not None:
            removed = part.finish_reason == "tool_calls" and not self.calls
            self.finish_reason = "stop" if removed else part.finish_reason
        return told

    def message(self) -> dict[str, Any]:
        """Return the whole message; content is null where tool calls or a refusal stand in its place."""
        texts = {channel: "".join(pieces) for channel, pieces in self.texts.items()}
        elsewhere = bool(self.calls) or Channel.REFUSAL in texts
        message: dict[str, Any] = {
            "role": "assistant",
            "content": texts.get(Channel.CONTENT, None if elsewhere else ""),
            "refusal": texts.get(Channel.REFUSAL),
        }
        if Channel.REASONING in texts:
            message.update(dict.fromkeys(_KEYS[Channel.REASONING], texts[Channel.REASONING]))
        if self.calls:
            message["tool_calls"] = self.calls
        return message

    def released(self) -> Released:
        """Return what counts as completion tokens."""
        texts = ["".join(pieces) for pieces in self.texts.values()]
        texts += [call["function"][name] for call in self.calls for name in ("name", "arguments")]
        return Released(texts, self.finish_reason == "length")


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id or fresh_id("call_"), "type": "function", "function": function}


def _usage(question: Question, choices: list[_Choice]) -> dict[str, int]:
    counted = usage(question, [choice.released() for choice in choices])
    return {
        "prompt_tokens": counted.prompt_tokens,
        "completion_tokens": counted.completion_tokens,
        "total_tokens": counted.prompt_tokens + counted.completion_tokens,
    }


async def whole_bytes(exchange: Exchange, parts: AsyncIterator[Sequence[Part]]) -> bytes:
    """Return the answer as one chat completion object, once the parts have ended.

    Raises GatewayError: what the parts raise, or UpstreamFailed where a choice has no finish.
    The caller closes `parts`.
    """
    choices = [_Choice() for _ in range(exchange.question.choices)]
    async for together in parts:
        for part in together:
            choices[part.choice].take(part)
    if any(choice.finish_reason is None for choice in choices):
        raise UpstreamFailed
    return orjson.dumps(
        {
            **_head(exchange, "chat.completion"),
            "choices": [
                {
                    "index": index,
                    "message": choice.message(),
                    "logprobs": None,
                    "finish_reason": choice.finish_reason,
                }
                for index, choice in enumerate(choices)
            ],
            "usage": _usage(exchange.question, choices),
        }
    )


async def stream_bytes(
    exchange: Exchange, parts: AsyncIterator[Sequence[Part]], begun_by_now: Callable[[], bool] = lambda: False
) -> AsyncGenerator[bytes, None]:
    """Yield the answer as server-sent events, those of parts that come together in one piece.

    The first events leave with the first part, even an empty one.

    Every choice gets its role first and its finish last; then the usage, if it was asked for, and `[DONE]`,
    and nothing behind it.  A GatewayError before the first part is raised, so that it can be a status;
    a later one is told in the stream, as is any once the stream has begun without a part (`begun_by_now`).
    The caller closes `parts`.
    """
    choices = [_Choice() for _ in range(exchange.question.choices)]
    chunk = _Chunk(exchange)
    begun = False
    try:
        async for together in parts:
            told = [] if begun else [chunk.opening(index) for index in range(len(choices))]
            begun = True
            told += [chunk.told(part, choices[part.choice]) for part in together]
            if piece := b"".join(told):
                yield piece
        if any(choice.finish_reason is None for choice in choices):
            raise UpstreamFailed
    except GatewayError as error:
        if not begun and not begun_by_now():
            raise
        yield event(error.as_object()) + DONE
        return
    if exchange.question.include_usage:
        yield event({**chunk.head, "choices": [], "usage": _usage(exchange.question, choices)}) + DONE
    else:
        yield DONE


class _Chunk:
    """The chunks of one streamed answer, alike in all but their choice."""

    def __init__(self, exchange: Exchange) -> None:
        self.head = _head(exchange, "chat.completion.chunk")
        # As OpenAI does: once a usage is asked for, every chunk has the field.
        self._tail = {"usage": None} if exchange.question.include_usage else {}

    def opening(self, index: int) -> bytes:
        """Return the first chunk of a choice."""
        return self._event(index, {"role": "assistant", "content": ""})

    def told(self, part: Part, choice: _Choice) -> bytes:
        """Return the chunks that tell `part` as the next one of `choice`; none where it says nothing."""
        was = choice.finish_reason
        events = [self._event(part.choice, delta) for delta in choice.take(part)]
        if choice.finish_reason != was:
            events.append(self._event(part.choice, {}, choice.finish_reason))
        return b"".join(events)

    def _event(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self.head, "choices": [choice], **self._tail})


def _head(exchange: Exchange, kind: str) -> dict[str, Any]:
    return {
        "id": exchange.id,
        "object": kind,
        "created": int(exchange.opened_at),
        "model": exchange.question.model,
    }
