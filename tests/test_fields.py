"""Every field has a decision, and the decision is what happens."""

from __future__ import annotations

import copy
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params
from pydantic import BaseModel

from server.api.chat import deltas, parse
from server.errors import FieldDenied, GatewayError, RequestRejected
from server.fields import ANSWER, MAX_CHOICES, REQUEST, Field, Flag, Integer, Number, OneOf

MARK = "zqxjkv"
ROWS = {row.name: row for row in REQUEST}
ANSWER_ROWS = {row.name: row for row in ANSWER}

REQUEST_FIELDS_OF_VLLM = """
    add_generation_prompt add_special_tokens allowed_token_ids bad_words best_of cache_salt chat_template
    chat_template_kwargs continue_final_message documents ec_transfer_params echo enable_response_messages
    frequency_penalty guided_choice guided_grammar guided_json guided_regex ignore_eos include_reasoning
    include_stop_str_in_output kv_transfer_params length_penalty logit_bias logprob_token_ids logprobs
    max_completion_tokens max_tokens media_io_kwargs messages min_p min_tokens mm_processor_kwargs model n
    parallel_tool_calls presence_penalty priority prompt_embeds prompt_logprobs reasoning_effort
    repetition_detection repetition_penalty request_id response_format return_mm_kwargs return_prompt_text
    return_token_ids return_token_offsets return_tokens_as_token_ids routed_experts_prompt_start
    safety_identifier seed session_id skip_special_tokens spaces_between_special_tokens stop stop_token_ids
    stream stream_interval stream_options structured_outputs temperature thinking_token_budget tool_choice
    tools top_k top_logprobs top_p truncate_prompt_tokens truncation_side use_beam_search user vllm_xargs
    watermarking
""".split()
ANSWER_FIELDS_OF_VLLM = """
    choices[].delta.reasoning choices[].message.reasoning choices[].routed_experts choices[].stop_reason
    choices[].token_ids ec_transfer_params kv_transfer_params metrics prompt_logprobs prompt_text
    prompt_token_ids usage.prompt_tokens_details weight_versions
""".split()

BASE: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "t0"}], "name": "n0"},
        {
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "t1"}],
            "refusal": "t2",
            "reasoning": "t3",
            "reasoning_content": "t4",
            "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "t5", "tool_call_id": "i"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"a": "b"}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "s", "description": "d", "schema": {"a": "b"}},
    },
    "stream_options": {},
}


# -- what the types of the openai package hold ------------------------------------------------------------


def places(kind: Any, place: str, rows: dict[str, Field]) -> Iterator[str]:
    """Yield the place of every field below `kind`, down to what is dropped, denied or free JSON."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from places(inner[0], place, rows)
    elif origin in (typing.Union, types.UnionType):
        for each in inner:
            yield from places(each, place, rows)
    elif inner and origin is not typing.Literal and (origin is None or not issubclass(origin, dict)):
        yield from places(inner[0], place + "[]", rows)
    else:
        prefix = place + "." if place else ""
        for name, field in fields_of(kind).items():
            yield prefix + name
            if prefix + name in rows and rows[prefix + name].verdict not in ("drop", "deny"):
                yield from places(field, prefix + name, rows)


def fields_of(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    return dict(typing_extensions.get_type_hints(kind)) if typing_extensions.is_typeddict(kind) else {}


def test_every_request_field_of_the_openai_package_has_a_decision() -> None:
    found = set()
    for kind in (
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ):
        found |= set(places(kind, "", ROWS))
    assert {"messages[].content[].text", "tools[].function.name", "response_format.type"} <= found
    assert {"tool_choice.allowed_tools", "messages[].tool_calls[].function.arguments", "stream"} <= found
    assert found - ROWS.keys() == set()


@pytest.mark.parametrize("kind", [ChatCompletion, ChatCompletionChunk])
def test_every_answer_field_of_the_openai_package_has_a_decision(kind: type[BaseModel]) -> None:
    found = set(places(kind, "", ANSWER_ROWS))
    assert {"choices[].finish_reason", "usage.total_tokens"} <= found
    assert any(name.endswith("tool_calls[].function.arguments") for name in found)
    assert found - ANSWER_ROWS.keys() == set()


def test_every_field_of_vllm_has_a_decision() -> None:
    assert set(REQUEST_FIELDS_OF_VLLM) - ROWS.keys() == set()
    assert set(ANSWER_FIELDS_OF_VLLM) - ANSWER_ROWS.keys() == set()


def test_each_field_has_one_decision_with_a_reason() -> None:
    for table, verdicts in ((REQUEST, "pass scan ours drop deny"), (ANSWER, "pass guard ours drop")):
        assert len({row.name for row in table}) == len(table)
        assert {row.verdict for row in table} == set(verdicts.split())
        assert all(row.reason and not row.reason.endswith(".") for row in table)
    assert all((row.shape is not None) == (row.verdict == "pass") for row in REQUEST)


def test_what_a_client_reads_of_a_denied_field_tells_nothing_of_a_policy() -> None:
    words = re.compile(r"lethe|guard|polic|forg[eo]t|check|scan|target|secret|hid|oracle", re.I)
    assert [row.name for row in REQUEST if row.verdict == "deny" and words.search(row.reason)] == []


# -- what happens to a request ----------------------------------------------------------------------------


def put(place: str, value: object) -> tuple[bytes, str]:
    """Return the base request with `value` at a place of the table, and the path to it with numbers."""
    names = re.findall(r"[^.\[\]]+|\[\]", place)
    request: Any = copy.deepcopy(BASE)
    last = 0
    if place.startswith("messages[].tool_calls[]") or place.endswith(
        (".refusal", "reasoning", "reasoning_content")
    ):
        last = 1
    if place.endswith("tool_call_id"):
        last = 2
    at, path = request, ""
    for name, following in zip(names, [*names[1:], None], strict=True):
        key: Any = name if name != "[]" else (last if path == "messages" else 0)
        path += f"[{key}]" if name == "[]" else f".{key}" if path else key
        if following is None:
            at[key] = value
        else:
            at = at[key]
    return orjson.dumps(request), path


def rows(*verdicts: str) -> list[Any]:
    return [pytest.param(row, id=row.name) for row in REQUEST if row.verdict in verdicts]


@pytest.mark.parametrize("row", rows("deny"))
@pytest.mark.parametrize("value", [{MARK: MARK}, [MARK], MARK, 1, True], ids=repr)
def test_a_denied_field_is_refused_by_its_path_and_not_quoted(row: Field, value: object) -> None:
    body, path = put(row.name, value)
    with pytest.raises(FieldDenied) as refused:
        parse(body)
    assert refused.value.param == path
    assert row.reason in refused.value.message and MARK not in refused.value.body().decode()


@pytest.mark.parametrize("row", rows("deny", "drop"))
@pytest.mark.parametrize("value", [None, False, 0, "", [], {}], ids=repr)
def test_a_denied_or_dropped_field_that_asks_for_nothing_changes_nothing(row: Field, value: object) -> None:
    assert parse(put(row.name, value)[0]) == parse(orjson.dumps(BASE))


@pytest.mark.parametrize("row", rows("drop"))
@pytest.mark.parametrize("value", [{MARK: MARK}, [MARK], MARK, 1, True], ids=repr)
def test_a_dropped_field_changes_nothing(row: Field, value: object) -> None:
    assert parse(put(row.name, value)[0]) == parse(orjson.dumps(BASE))


@pytest.mark.parametrize(
    "place",
    ["", "messages[].", "messages[].content[].", "messages[].tool_calls[].",
     "messages[].tool_calls[].function.", "tools[].", "tools[].function.", "tool_choice.",
     "tool_choice.function.", "response_format.",
     "response_format.json_schema.", "stream_options."],
)  # fmt: skip
@pytest.mark.parametrize(
    "name", ["new_field", "tools[].function.strict", "stream_options.include_usage", "[]", ""]
)
def test_an_unknown_field_is_dropped_wherever_it_stands(place: str, name: str) -> None:
    body = put(place + "new_field", {MARK: MARK})[0].replace(b'"new_field"', orjson.dumps(name))
    assert parse(body) == parse(orjson.dumps(BASE))


def samples(shape: object) -> tuple[list[object], list[object]]:
    """Return values that a shape admits, and values that it does not."""
    wrong: list[object] = [[], {}, MARK, [1]]
    match shape:
        case Number(low, high):
            return [low, high], [*wrong, low - 1, high + 1, True, "1"]
        case Integer(low, high):
            return [low, high], [*wrong, float(low), high + 1, True, "1"]
        case Flag():
            return [True, False], [*wrong, 0, 1, "true"]
        case OneOf(words):
            return list(words), [*wrong, 0, True, ""]
    raise AssertionError(shape)


@pytest.mark.parametrize("row", rows("pass"))
def test_a_passing_field_goes_on_as_it_is_or_is_refused_by_its_path(row: Field) -> None:
    good, wrong = samples(row.shape)
    for value in good:
        body, _ = put(row.name, value)
        assert parse(body).upstream == {k: v for k, v in orjson.loads(body).items() if k != "stream_options"}
    for value in wrong:
        body, path = put(row.name, value)
        with pytest.raises(RequestRejected) as refused:
            parse(body)
        assert refused.value.param == path and MARK not in refused.value.message


def texts(row: Field) -> list[object]:
    """Return values with the mark in them for a field whose text is scanned; none for mere containers."""
    if row.name in ("tools[].function.parameters", "response_format.json_schema.schema"):
        return [{"enum": [MARK]}, {MARK: {"type": "string"}}, {"a": [[{"b": f"x {MARK}"}]]}]
    if row.name.endswith("arguments"):
        return [MARK, f'{{"a": ["{MARK}"]}}', '{"a": "' + "".join(f"\\u{ord(c):04x}" for c in MARK) + '"}']
    if row.name == "messages[].content":
        return [
            MARK,
            [{"type": "text", "text": MARK}],
            [{"type": "text", "text": "zqx"}, {"type": "text", "text": "jkv"}],
        ]
    return [] if row.reason == "see its fields" or row.name in CONTAINERS else [MARK]


CONTAINERS = (
    "tools",
    "tool_choice",
    "response_format",
    "messages[].tool_calls",
    "messages[].content[].refusal",
)


@pytest.mark.parametrize("row", rows("scan"))
def test_a_scanned_field_is_a_passage_and_goes_on(row: Field) -> None:
    for value in texts(row):
        body, _ = put(row.name, value)
        question = parse(body)
        assert any(MARK in passage.text for passage in question.passages), value
        assert orjson.dumps(value) in orjson.dumps(question.upstream)


# -- nothing but our own errors ---------------------------------------------------------------------------

NAMES = ["type", "text", "role", "content", "function", "name"]
WORDS = ["text", "function", "user", "assistant", "json_schema", "refusal"]
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | FLOATS
    | st.text(max_size=8)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(REQUEST), JSON)
def test_no_value_in_any_field_raises_anything_but_our_errors(row: Field, value: object) -> None:
    try:
        question = parse(put(row.name, value)[0])
    except RequestRejected:
        return
    assert set(question.upstream) <= {row.name for row in REQUEST if row.verdict in ("pass", "scan", "ours")}
    assert 1 <= question.choices <= MAX_CHOICES
    orjson.dumps(question.upstream)


@given(st.binary(max_size=40) | JSON.map(orjson.dumps))
def test_no_body_raises_anything_but_our_errors(body: bytes) -> None:
    with pytest.raises(RequestRejected):
        parse(body)


# -- what happens to an answer ----------------------------------------------------------------------------


def answer(place: str, value: object) -> dict[str, Any]:
    """Return a whole answer or a chunk with `value` at a place of the table."""
    form = "delta" if ".delta" in place else "message"
    made: Any = {"choices": [{"index": 0, form: {"role": "assistant"}, "finish_reason": "stop"}]}
    names = re.findall(r"[^.\[\]]+|\[\]", place)
    at = made
    for name, following in zip(names, [*names[1:], None], strict=True):
        key: Any = 0 if name == "[]" else name
        if following is None:
            at[key] = value
        elif following == "[]":
            at = at.setdefault(key, [copy.deepcopy(CALL)])
        else:
            at = at[key] if name == "[]" else at.setdefault(key, {"name": "f"})
    return made  # type: ignore[no-any-return]


CALL = {"index": 0, "id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}


NOT_TEXT = (
    "choices", "choices[].index", "choices[].finish_reason", "choices[].message", "choices[].delta", "error",
    ".tool_calls", "delta.tool_calls[].index", ".tool_calls[].type", ".function", ".function_call",
)  # fmt: skip
"""Where a text is no text but a container, a number or a word of a closed set of the wrong kind."""


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ANSWER])
def test_only_guarded_fields_of_an_answer_reach_the_guard(row: Field) -> None:
    streaming = ".delta" in row.name
    if row.name in NOT_TEXT or row.name.endswith(NOT_TEXT):
        with pytest.raises(GatewayError) as failed:
            deltas(answer(row.name, MARK), streaming, 1)
        assert row.verdict != "drop" and MARK not in failed.value.body().decode()
    else:
        steps, billed = deltas(answer(row.name, MARK), streaming, 1)
        assert (MARK in repr(steps)) == (row.verdict == "guard")
        assert MARK not in repr(billed)


@given(st.sampled_from(ANSWER), JSON, st.booleans())
def test_no_value_in_an_answer_raises_anything_but_our_errors(
    row: Field, value: Any, streaming: bool
) -> None:
    try:
        steps, _ = deltas(answer(row.name, value), streaming, 2)
    except GatewayError:
        return
    assert all(step.choice < 2 and isinstance(step.text, str) for step in steps)
