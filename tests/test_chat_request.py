"""A chat completion request: every text is read, every value checked, and errors quote nothing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from server.api.chat import parse
from server.api.json_body import MAX_DEPTH
from server.errors import RequestRejected
from server.exchange import Question

USER = {"role": "user", "content": "Where is it?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": "b"}'}}


def ask(*messages: object, **fields: object) -> Question:
    return parse(orjson.dumps({"model": "m", "messages": list(messages) or [USER], **fields}))


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def tool(**function: object) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", **function}}]


REJECTED = [
    # messages or None for the plain one, other fields, the path in the error
    ([], {"messages": []}, "messages"),
    ([], {"messages": None}, "messages"),
    ([], {"messages": "Where?"}, "messages"),
    ([], {"messages": [USER] * 10_001}, "messages"),
    ([], {"model": None}, "model"),
    ([], {"model": ""}, "model"),
    ([], {"model": 3}, "model"),
    ([USER, 3], {}, "messages[1]"),
    ([USER, {"content": "x"}], {}, "messages[1].role"),
    ([{"role": "function", "name": "f", "content": "x"}], {}, "messages[0].role"),
    ([{"role": ["user"], "content": "x"}], {}, "messages[0].role"),
    ([{"role": "user"}], {}, "messages[0].content"),
    ([{"role": "user", "content": None}], {}, "messages[0].content"),
    ([{"role": "user", "content": []}], {}, "messages[0].content"),
    ([{"role": "user", "content": 3}], {}, "messages[0].content"),
    ([{"role": "user", "content": ["x"]}], {}, "messages[0].content[0]"),
    (
        [USER, {"role": "user", "content": [{"type": "image", "text": "x"}]}],
        {},
        "messages[1].content[0].type",
    ),
    ([{"role": "user", "content": [{"text": "x"}]}], {}, "messages[0].content[0].type"),
    ([{"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}], {}, "messages[0].content[0].type"),
    ([{"role": "user", "content": [{"type": "text"}]}], {}, "messages[0].content[0].text"),
    ([{"role": "assistant"}], {}, "messages[0].content"),
    ([{"role": "assistant", "content": None, "tool_calls": []}], {}, "messages[0].content"),
    ([{"role": "assistant", "tool_calls": [{**CALL, "id": 1}]}], {}, "messages[0].tool_calls[0].id"),
    ([{"role": "assistant", "tool_calls": [{**CALL, "type": "x"}]}], {}, "messages[0].tool_calls[0].type"),
    (
        [{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}],
        {},
        "messages[0].tool_calls[0].function.arguments",
    ),
    ([{"role": "tool", "content": "x"}], {}, "messages[0].tool_call_id"),
    ([{"role": "tool", "tool_call_id": "i"}], {}, "messages[0].content"),
    ([{**USER, "name": ""}], {}, "messages[0].name"),
    ([], {"n": 0}, "n"),
    ([], {"n": 9}, "n"),
    ([], {"n": True}, "n"),
    ([], {"stream": 1}, "stream"),
    ([], {"stream_options": True}, "stream_options"),
    ([], {"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ([], {"stop": ["a", 3]}, "stop[1]"),
    ([], {"stop": ""}, "stop"),
    ([], {"stop": ["a"] * 17}, "stop"),
    ([], {"max_tokens": 0}, "max_tokens"),
    ([], {"max_tokens": 2.0, "max_completion_tokens": 3}, "max_tokens"),
    ([], {"modalities": ["text", "audio"]}, "modalities"),
    ([], {"tools": {"a": 1}}, "tools"),
    ([], {"tools": [3]}, "tools[0]"),
    ([], {"tools": [{"type": "function"}]}, "tools[0].function"),
    ([], {"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ([], {"tools": tool(description=3)}, "tools[0].function.description"),
    ([], {"tools": tool(parameters=[])}, "tools[0].function.parameters"),
    ([], {"tools": tool(parameters=nested(MAX_DEPTH + 1))}, "tools[0].function.parameters"),
    ([], {"tool_choice": "some"}, "tool_choice"),
    ([], {"tool_choice": {"type": "function"}}, "tool_choice.function"),
    ([], {"response_format": {"type": "structural_tag"}}, "response_format.type"),
    ([], {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
]


@pytest.mark.parametrize(("messages", "fields", "param"), REJECTED, ids=lambda value: str(value)[-60:])
def test_a_wrong_value_is_rejected_by_its_path(
    messages: list[Any], fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestRejected) as rejected:
        ask(*messages, **fields)
    assert rejected.value.param == param and f"'{param}'" in rejected.value.message
    assert rejected.value.__cause__ is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b"null", b'"x"', b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}',
     b'{"a": "\\ud800"}', b'{"a": "\xff"}', b"\xef\xbb\xbf{}", b"{} {}", b'{"a": 1,}', b"[" * 5000,
     b'{"a":' * 1100 + b"1" + b"}" * 1100],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_rejected_without_its_text(body: bytes) -> None:
    with pytest.raises(RequestRejected) as rejected:
        parse(body)
    error = rejected.value
    assert error.status == 400 and error.param is None
    # What a log would show must not hold the document.
    assert error.__cause__ is None and error.__suppress_context__ or error.__context__ is None


def test_of_a_key_that_comes_twice_the_last_counts_here_and_upstream() -> None:
    text = b'{"model": "m", "messages": [{"role": "user", "content": "first", "content": "last"}]}'
    question = parse(text)
    assert [passage.text for passage in question.passages] == ["last"]
    assert question.upstream["messages"] == [{"role": "user", "content": "last"}]


def test_a_plain_request_is_a_plain_question() -> None:
    question = ask()
    assert question.upstream == {"model": "m", "messages": [USER]}
    assert not (question.streaming or question.structured or question.include_usage)
    assert (question.choices, question.stop, question.max_tokens) == (1, (), None)


def test_what_lethe_applies_itself_is_not_in_the_upstream_body() -> None:
    question = ask(
        stop=["a", "b"], max_tokens=7, stream=True, stream_options={"include_usage": True}, n=2, temperature=0
    )
    assert question.upstream == {"model": "m", "messages": [USER], "n": 2, "temperature": 0}
    assert question.stop == ("a", "b") and question.streaming and question.include_usage
    assert (question.max_tokens, question.limit_field, question.choices) == (7, "max_tokens", 2)


@pytest.mark.parametrize(
    ("fields", "limit", "name"),
    [
        ({"max_tokens": 3}, 3, "max_tokens"),
        ({"max_completion_tokens": 3}, 3, "max_completion_tokens"),
        ({"max_tokens": 9, "max_completion_tokens": 3}, 3, "max_completion_tokens"),
        ({"max_tokens": 9, "max_completion_tokens": None}, 9, "max_tokens"),
    ],
)
def test_the_newer_name_of_the_limit_rules(fields: dict[str, Any], limit: int, name: str) -> None:
    question = ask(**fields)
    assert (question.max_tokens, question.limit_field) == (limit, name)


@pytest.mark.parametrize(
    ("response_format", "structured"),
    [
        (None, False),
        ({"type": "text"}, False),
        ({"type": "json_object"}, True),
        ({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}, True),
    ],
)
def test_a_question_is_structured_where_prose_would_break_it(
    response_format: object, structured: bool
) -> None:
    question = ask(response_format=response_format)
    assert question.structured == structured
    assert question.upstream.get("response_format") == response_format


@pytest.mark.parametrize(
    "choice", ["none", "auto", "required", {"type": "function", "function": {"name": "f"}}]
)
def test_a_tool_choice_goes_on(choice: object) -> None:
    assert ask(tools=tool(strict=True), tool_choice=choice).upstream["tool_choice"] == choice


U, A, S, T = "user", "assistant", "system", "tool"
CALLS = "assistant that calls"
CURRENT = [
    # roles in order, and which of them are the question at hand
    ([U], "1"),
    ([S, U], "01"),
    ([S, U, A, U], "0001"),
    ([U, A, U, U], "0011"),
    ([U, U], "11"),
    ([U, A], "11"),
    ([U, A, U, A], "0011"),
    ([U, A, S, U, S, A, A], "0001011"),
    ([A, U], "01"),
    ([U, CALLS, T], "111"),
    ([U, A, U, CALLS, T, CALLS, T, T], "00111111"),
    ([U, CALLS, T, A, U], "00001"),
    ([U, A, T], "001"),
    ([U, "assistant that is silent", U], "111"),
]


@pytest.mark.parametrize(("roles", "current"), CURRENT, ids=str)
def test_the_question_at_hand_is_what_stands_behind_the_last_answer(roles: list[str], current: str) -> None:
    messages: list[dict[str, Any]] = []
    for role in roles:
        message: dict[str, Any] = {"role": role.split()[0], "content": "x"}
        if role == CALLS:
            message |= {"content": "Let me look.", "tool_calls": [CALL]}
        elif role.endswith("silent"):
            message |= {"content": [{"type": "text", "text": " \n"}]}
        elif role == T:
            message |= {"tool_call_id": "call_1"}
        messages.append(message)
    for passage in ask(*messages, model="m").passages:
        assert passage.current == (current[int(passage.path.split("[")[1].split("]")[0])] == "1"), (
            passage.path
        )


def paths(question: Question) -> dict[str, str]:
    return {passage.path: passage.text for passage in question.passages}


def test_parts_that_only_together_say_something_are_read_together() -> None:
    parts = [{"type": "text", "text": text} for text in ("Where was Oda", "lys", "born?")]
    question = ask({"role": "user", "content": parts})
    assert paths(question) == {
        "messages[0].content": "Where was Oda\nlys\nborn?",
        "messages[0].content[]": "Where was Odalysborn?",
    }
    assert question.upstream["messages"] == [{"role": "user", "content": parts}]


def test_one_part_is_one_passage() -> None:
    assert paths(ask({"role": "user", "content": [{"type": "text", "text": "x"}]})) == {
        "messages[0].content[0].text": "x"
    }


def test_tool_calls_are_read_as_they_stand_and_by_their_leaves_and_keys() -> None:
    arguments = '{"first": "Odalys", "last": "Venn\\u0061ker", "n": [7, true, null], "last": "twice"}'
    call = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": arguments}}
    question = ask(USER, {"role": "assistant", "tool_calls": [call]}, {**USER, "name": "Ann"})
    place = "messages[1].tool_calls[0]"
    assert paths(question) == {
        "messages[0].content": "Where is it?",
        f"{place}.id": "call_1",
        f"{place}.function.name": "find",
        f"{place}.function.arguments": arguments,
        f"{place}.function.arguments#leaves": "Odalys\nVennaker\n7\ntwice",
        f"{place}.function.arguments#keys": "first\nlast\nn\nlast",
        "messages[2].content": "Where is it?",
        "messages[2].name": "Ann",
    }
    assert question.upstream["messages"][1] == {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize("arguments", ["", "{", "not json", "[" * 100_000, '{"a": "\\ud800"}'])
def test_arguments_that_do_not_parse_are_read_as_one_text(arguments: str) -> None:
    call = {"id": "i", "function": {"name": "f", "arguments": arguments}}
    question = ask(USER, {"role": "assistant", "tool_calls": [call]})
    assert arguments in paths(question).values()
    for passage in question.passages:
        passage.text.encode()


def test_tools_and_schemas_are_read_whole_and_by_their_leaves_and_keys_as_part_of_the_question() -> None:
    schema = {"type": "object", "properties": {"Odalys": {"enum": ["Port Meridane", "Ashby"]}}}
    question = ask(
        tools=tool(description="Finds.", parameters=schema),
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
    )
    found = paths(question)
    assert found["tools[0].function.description"] == "Finds."
    for place in ("tools[0].function.parameters", "response_format.json_schema.schema"):
        assert found[place] == orjson.dumps(schema).decode()
        assert found[place + "#leaves"] == "object\nPort Meridane\nAshby"
        assert found[place + "#keys"] == "type\nproperties\nOdalys\nenum"
    assert all(passage.current for passage in question.passages)
    assert {passage.role for passage in question.passages} == {"user", "tools", "response_format"}


def test_a_schema_of_the_deepest_kind_can_be_sent_on() -> None:
    assert orjson.dumps(dict(ask(tools=tool(parameters=nested(MAX_DEPTH))).upstream))


def test_too_many_messages_are_told_how_many_there_are_and_may_be() -> None:
    with pytest.raises(RequestRejected) as told:
        ask(*[USER] * 10_001)
    assert told.value.message == "'messages' must be a list of at most 10,000; there are 10,001."
