"""Chat completions on the wire: what is read of an upstream's answer, and what a client gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from guards.base import Channel
from server.api.chat import deltas, parse, stream_bytes, whole_bytes
from server.errors import (
    ContextTooLong,
    GatewayError,
    GuardUnavailable,
    ModelNotFound,
    Overloaded,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefusesKey,
    UpstreamRejected,
    UpstreamTimeout,
    upstream_error,
)
from server.exchange import Delta, Exchange, Part, ToolCall, Usage
from server.sse import DONE, DONE_DATA, Events, event

CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": "b"}'}}


# -- an upstream's answer ---------------------------------------------------------------------------------


def chunk(finish_reason: object = None, index: object = 0, **delta: object) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def whole(*messages: dict[str, Any], finish_reason: object = "stop") -> dict[str, Any]:
    return {
        "choices": [
            {"index": i, "message": message, "finish_reason": finish_reason}
            for i, message in enumerate(messages)
        ]
    }


C, R, F = Channel.CONTENT, Channel.REASONING, Channel.REFUSAL
STREAMED: list[tuple[dict[str, Any], list[Delta]]] = [
    (chunk(role="assistant", content=""), []),
    (chunk(content="a"), [Delta(0, C, "a")]),
    (chunk(content="a", finish_reason="length"), [Delta(0, C, "a"), Delta(0, finish_reason="length")]),
    (chunk(reasoning="a"), [Delta(0, R, "a")]),
    (chunk(reasoning_content="a"), [Delta(0, R, "a")]),
    (chunk(reasoning="a", reasoning_content="a"), [Delta(0, R, "a")]),
    (chunk(reasoning="a", reasoning_content="b"), [Delta(0, R, "a"), Delta(0, R, "b")]),
    (chunk(refusal="a", content="b", reasoning="c"), [Delta(0, R, "c"), Delta(0, C, "b"), Delta(0, F, "a")]),
    (chunk(content="a", index=1), [Delta(1, C, "a")]),
    (chunk(finish_reason=""), []),
    (chunk(finish_reason="function_call"), [Delta(0, finish_reason="tool_calls")]),
    (chunk(tool_calls=[{"index": 2, "id": "c1", "type": "function", "function": {"name": "f"}}]),
     [Delta(0, tool_index=2, tool_id="c1", tool_name="f")]),
    (chunk(tool_calls=[{"index": 2, "function": {"arguments": "{"}}]),
     [Delta(0, tool_index=2, tool_arguments="{")]),
    (chunk(tool_calls=[{"index": 0, "id": "born in Port"}]), [Delta(0, tool_index=0)]),
    (chunk(function_call={"name": "f", "arguments": "{}"}),
     [Delta(0, tool_index=0, tool_name="f", tool_arguments="{}")]),
    ({"choices": []}, []),
    ({"choices": None}, []),
    ({"object": "ping"}, []),
]  # fmt: skip


@pytest.mark.parametrize(("event", "steps"), STREAMED, ids=[str(event)[11:130] for event, _ in STREAMED])
def test_a_chunk_is_read_as_its_steps(event: dict[str, Any], steps: list[Delta]) -> None:
    assert deltas(event, True, 2) == (steps, None)


def test_a_whole_answer_is_read_as_the_steps_of_each_choice() -> None:
    answer = whole({"reasoning": "r", "content": "a"}, {"content": None, "tool_calls": [CALL, CALL]})
    call = Delta(1, tool_index=0, tool_id="call_1", tool_name="find", tool_arguments='{"a": "b"}')
    assert deltas({**answer, "usage": {"prompt_tokens": 3, "completion_tokens": 4}}, False, 2) == (
        [
            Delta(0, R, "r"),
            Delta(0, C, "a"),
            Delta(0, finish_reason="stop"),
            call,
            call._replace(tool_index=1),
            Delta(1, finish_reason="stop"),
        ],
        Usage(3, 4),
    )


@pytest.mark.parametrize(
    ("told", "billed"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(3, 4)),
        ({"prompt_tokens": 3}, Usage(3, 0)),
        (None, None),
        (7, None),
        ({"prompt_tokens": "3"}, None),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": True}, None),
    ],
)
def test_what_was_billed_is_read_where_it_is_told(told: object, billed: Usage | None) -> None:
    assert deltas({"choices": [], "usage": told}, True, 1) == ([], billed)


UNUSABLE = [
    (True, chunk(content=3)),
    (True, chunk(content=[{"type": "text", "text": "x"}])),
    (True, chunk(finish_reason="abort")),
    (True, chunk(finish_reason="error")),
    (True, chunk(finish_reason=3)),
    (True, chunk(index=1)),
    (True, chunk(index=-1)),
    (True, chunk(index=True)),
    (True, chunk(index="0")),
    (True, chunk(tool_calls={})),
    (True, chunk(tool_calls=[3])),
    (True, chunk(tool_calls=[{"function": {"name": "f"}}])),
    (True, chunk(tool_calls=[{"index": 128, "function": {"name": "f"}}])),
    (True, chunk(tool_calls=[{"index": 0, "function": {"arguments": {}}}])),
    (True, chunk(tool_calls=[{"index": 0, "type": "custom", "custom": {"name": "f", "input": "x"}}])),
    (True, chunk(tool_calls=[{"index": i} for i in range(129)])),
    (True, {"choices": {}}),
    (True, {"choices": [3]}),
    (True, {"choices": [{"index": 0, "delta": "x"}]}),
    (False, {"choices": []}),
    (False, {}),
    (False, whole({"content": "a"}, {"content": "b"})),
    (False, whole({"content": "a"}, finish_reason=None)),
    (False, {"choices": [{"index": 0, "finish_reason": "stop"}]}),
    (False, whole({"tool_calls": [{"id": "i", "function": {"arguments": "{}"}}]})),
]


@pytest.mark.parametrize(("streaming", "answer"), UNUSABLE, ids=lambda value: str(value)[:130])
def test_an_answer_of_another_form_is_a_failure_of_the_upstream(
    streaming: bool, answer: dict[str, Any]
) -> None:
    with pytest.raises(UpstreamFailed):
        deltas(answer, streaming, 1)


STATUSES: list[tuple[int, bytes, type[GatewayError], int]] = [
    (400, b"no", UpstreamRejected, 400),
    (400, b'{"code": "context_length_exceeded"}', ContextTooLong, 400),
    (400, b"This model's maximum context length is 7 tokens", ContextTooLong, 400),
    (401, b"", UpstreamRefusesKey, 502),
    (403, b"", UpstreamRefusesKey, 502),
    (404, b"", ModelNotFound, 404),
    (408, b"", UpstreamTimeout, 504),
    (413, b"", ContextTooLong, 400),
    (422, b"", UpstreamRejected, 400),
    (429, b"", UpstreamBusy, 429),
    (500, b"", UpstreamFailed, 502),
    (503, b"", UpstreamFailed, 502),
    (302, b"", UpstreamFailed, 502),
]


@pytest.mark.parametrize(("status", "body", "kind", "shown"), STATUSES)
def test_an_upstreams_error_becomes_one_of_ours(
    status: int, body: bytes, kind: type[GatewayError], shown: int
) -> None:
    error = upstream_error(status, body + b" Port Meridane", "7 Port Meridane")
    assert type(error) is kind and error.status == shown
    assert b"Meridane" not in error.body() and "Meridane" not in str(error.headers())
    fields = orjson.loads(error.body())["error"]
    assert set(fields) == {"message", "type", "param", "code"} and fields["message"] and fields["code"]


def test_an_error_within_an_answer_becomes_one_of_ours() -> None:
    told = {"error": {"message": "Port Meridane", "type": "x", "code": 400}}
    with pytest.raises(UpstreamRejected) as failed:
        deltas(told, True, 1)
    assert b"Meridane" not in failed.value.body()
    for other in ("Unauthorized", {"code": "x"}, {"code": 418}, [1]):
        with pytest.raises(UpstreamFailed):
            deltas({"error": other}, False, 1)


@pytest.mark.parametrize(
    ("header", "wait"),
    [(None, "1"), ("7", "7"), ("0", "1"), ("-1", "1"), ("99999", "3600"), ("1" * 5000, "1"),
     ("Wed, 21 Oct 2026 07:28:00 GMT", "1"), ("٧", "1")],
)  # fmt: skip
def test_a_busy_upstream_asks_for_a_bounded_wait(header: str | None, wait: str) -> None:
    assert upstream_error(429, b"", header).headers() == {"retry-after": wait}


def test_an_overloaded_server_always_asks_for_a_wait() -> None:
    assert Overloaded().headers() == {"retry-after": "1"}
    assert GatewayError().headers() == {}


# -- the answer to the client -----------------------------------------------------------------------------

FIND = ToolCall("call_1", "find", '{"a": "b"}')


def exchange(**fields: object) -> Exchange:
    body = {"model": "asked-for", "messages": [{"role": "user", "content": "Where is it?"}], **fields}
    return Exchange(parse(orjson.dumps(body)), "digest", "key", opened_at=1_700_000_000.9)


async def played(parts: Sequence[Part | GatewayError]) -> AsyncIterator[list[Part]]:
    for part in parts:
        if isinstance(part, GatewayError):
            raise part
        yield [part]


async def streamed(asked: Exchange, parts: Sequence[Part | GatewayError]) -> list[Any]:
    events = Events()
    payloads: list[bytes] = []
    async for piece in stream_bytes(asked, played(parts)):
        payloads += events.feed(piece)
    assert events.close() is None
    return [payload if payload == DONE_DATA else orjson.loads(payload) for payload in payloads]


async def test_a_stream_reads_as_a_transcript() -> None:
    asked = exchange(stream=True, stream_options={"include_usage": True})
    parts = [
        Part(0, R, "Hm."),
        Part(0, C, "It is "),
        Part(0, C, "here.", finish_reason=None),
        Part(0, tool_calls=[FIND, ToolCall("call_2", "go", "{}")]),
        Part(0, finish_reason="tool_calls"),
    ]
    *chunks, usage, done = await streamed(asked, parts)
    told = [(one["choices"][0]["delta"], one["choices"][0]["finish_reason"]) for one in chunks]
    function = {"name": "find", "arguments": '{"a": "b"}'}
    assert told == [
        ({"role": "assistant", "content": ""}, None),
        ({"reasoning": "Hm.", "reasoning_content": "Hm."}, None),
        ({"content": "It is "}, None),
        ({"content": "here."}, None),
        ({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}, None),
        (
            {"tool_calls": [{"index": 1, "id": "call_2", "type": "function",
                             "function": {"name": "go", "arguments": "{}"}}]},
            None,
        ),
        ({}, "tool_calls"),
    ]  # fmt: skip
    assert done == DONE_DATA
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] > 0
    for one in [*chunks, usage]:
        ChatCompletionChunk.model_validate(one)
        assert (one["id"], one["created"], one["model"]) == (asked.id, 1_700_000_000, "asked-for")
        assert "system_fingerprint" not in one
    assert all(one["usage"] is None and one["choices"][0]["logprobs"] is None for one in chunks)


async def test_no_usage_is_told_in_a_stream_unless_it_is_asked_for() -> None:
    *chunks, done = await streamed(exchange(stream=True), [Part(0, C, "a"), Part(0, finish_reason="stop")])
    assert done == DONE_DATA
    assert all("usage" not in one and len(one["choices"]) == 1 for one in chunks)


async def test_every_choice_has_its_role_first_and_its_finish_once() -> None:
    parts = [Part(1, C, "b"), Part(1, finish_reason="stop"), Part(1, C, "c"), Part(1, finish_reason="length"),
             Part(0, finish_reason="stop")]  # fmt: skip
    *chunks, _ = await streamed(exchange(stream=True, n=2), parts)
    told = [
        (choice["index"], choice["delta"], choice["finish_reason"])
        for one in chunks
        for choice in one["choices"]
    ]
    role = {"role": "assistant", "content": ""}
    assert told == [
        (0, role, None),
        (1, role, None),
        (1, {"content": "b"}, None),
        (1, {}, "stop"),
        (0, {}, "stop"),
    ]


async def test_an_error_before_the_first_part_is_raised_and_a_later_one_is_told() -> None:
    with pytest.raises(GuardUnavailable):
        await streamed(exchange(stream=True), [GuardUnavailable()])
    told = await streamed(exchange(stream=True), [Part(0, C, "a"), UpstreamFailed(), Part(0, C, "b")])
    assert [next(iter(one)) for one in told[2:-1]] == ["error"]
    assert told[-2] == UpstreamFailed().as_object() and told[-1] == DONE_DATA
    with pytest.raises(UpstreamFailed):
        await whole_bytes(exchange(), played([Part(0, C, "a"), UpstreamFailed()]))


async def test_an_error_behind_a_keep_alive_is_told_in_the_stream() -> None:
    told = stream_bytes(exchange(stream=True), played([UpstreamFailed()]), lambda: True)
    assert [piece async for piece in told] == [event(UpstreamFailed().as_object()) + DONE]


async def test_an_empty_part_begins_a_stream() -> None:
    asked = exchange(stream=True)
    pieces = stream_bytes(asked, played([Part(0), Part(0, finish_reason="stop")]))
    assert b'"role":"assistant"' in await anext(pieces)
    assert b'"finish_reason":"stop"' in await anext(pieces)


async def test_an_answer_without_an_end_is_a_failure_and_never_a_stop() -> None:
    told = await streamed(exchange(stream=True, n=2), [Part(0, finish_reason="stop"), Part(1, C, "a")])
    assert told[-2] == UpstreamFailed().as_object()
    for parts in ([], [Part(0, C, "a")]):
        with pytest.raises(UpstreamFailed):
            await whole_bytes(exchange(), played(parts))


WHOLES = [
    ([Part(0, C, "It is "), Part(0, C, "here.")], "stop", {"content": "It is here.", "refusal": None}),
    ([], "stop", {"content": "", "refusal": None}),
    ([Part(0, F, "No.")], "stop", {"content": None, "refusal": "No."}),
    ([Part(0, tool_calls=[FIND])], "tool_calls", {"content": None, "refusal": None, "tool_calls": [CALL]}),
    (
        [Part(0, R, "Hm."), Part(0, C, "a")],
        "length",
        {"content": "a", "refusal": None, "reasoning": "Hm.", "reasoning_content": "Hm."},
    ),
]


@pytest.mark.parametrize(("parts", "finish_reason", "message"), WHOLES, ids=lambda value: str(value)[:40])
async def test_a_whole_answer_holds_what_was_released(
    parts: list[Part], finish_reason: str, message: dict[str, Any]
) -> None:
    asked = exchange()
    answer = orjson.loads(await whole_bytes(asked, played([*parts, Part(0, finish_reason=finish_reason)])))
    usage = answer.pop("usage")
    assert answer == {
        "id": asked.id,
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "asked-for",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", **message},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
    }
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    ChatCompletion.model_validate({**answer, "usage": usage})


async def test_an_end_with_tool_calls_that_did_not_leave_is_a_stop() -> None:
    answer = orjson.loads(
        await whole_bytes(exchange(), played([Part(0, C, "a"), Part(0, finish_reason="tool_calls")]))
    )
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_a_tool_call_without_an_id_gets_one_of_ours() -> None:
    parts = [Part(0, tool_calls=[ToolCall("", "f", "{}")] * 2, finish_reason="tool_calls")]
    calls = orjson.loads(await whole_bytes(exchange(), played(parts)))["choices"][0]["message"]["tool_calls"]
    assert len({call["id"] for call in calls}) == 2
    assert all(call["id"].startswith("call_") for call in calls)


PARTS = st.builds(
    Part,
    st.integers(0, 2),
    st.sampled_from(Channel),
    st.text(max_size=5),
    st.lists(st.builds(ToolCall, st.just("call_1"), st.text(min_size=1), st.text()), max_size=2),
)  # fmt: skip


@given(parts=st.lists(PARTS, max_size=12), ends=st.permutations(range(3)), usage=st.booleans())
async def test_a_stream_adds_up_to_the_whole_answer_and_both_are_the_sdks_types(
    parts: list[Part], ends: list[int], usage: bool
) -> None:
    finishes = [Part(end, finish_reason=("stop", "length", "tool_calls")[end]) for end in ends]
    asked = exchange(stream=True, n=3, max_tokens=4, stream_options={"include_usage": usage})
    answer = orjson.loads(await whole_bytes(asked, played([*parts, *finishes])))
    ChatCompletion.model_validate(answer)
    told = await streamed(asked, [*parts, *finishes])
    for one in told[:-1]:
        ChatCompletionChunk.model_validate(one)
    summed = added_up(told)
    for choice in answer["choices"]:
        message = choice["message"]
        assert summed[choice["index"]] == (
            {
                name: message.get(name) or ""
                for name in ("content", "refusal", "reasoning", "reasoning_content")
            },
            message.get("tool_calls", []),
            choice["finish_reason"],
        )
    if parts and usage:
        assert told[-2]["usage"] == answer["usage"]


def added_up(told: list[Any]) -> list[tuple[dict[str, str], list[Any], str | None]]:
    """Return what a client makes of the chunks: texts, tool calls and finish, a choice each."""
    texts = [dict.fromkeys(("content", "refusal", "reasoning", "reasoning_content"), "") for _ in range(3)]
    calls: list[list[Any]] = [[], [], []]
    finishes: list[str | None] = [None, None, None]
    for choice in (choice for one in told[:-1] for choice in one["choices"]):
        index, delta = choice["index"], choice["delta"]
        for name in texts[index].keys() & delta.keys():
            texts[index][name] += delta[name]
        for call in delta.get("tool_calls", []):
            assert call.pop("index") == len(calls[index])
            calls[index].append(call)
        assert finishes[index] is None
        finishes[index] = choice["finish_reason"]
    return list(zip(texts, calls, finishes, strict=True))
