"""Counts depend on what was sent and released, on nothing else."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.chat import parse
from server.exchange import Question
from server.usage import PER_MESSAGE, Released, count_tokens, truncate, usage

COUNTS = [
    ("", 0),
    ("word", 1),
    ("a word", 2),
    (" word", 1),
    ("understand", 2),  # 8 letters and 2
    ("1999", 2),
    ("Yes.", 2),
    ("....", 1),
    ("a\n\n\nb", 3),
    ("дом", 2),
    ("猫が好き", 2),
    ("snake_case", 3),
    ("🙂🙂🙂🙂🙂", 2),
    (" " * 17, 2),
]


def asked(max_tokens: int | None = None, **fields: object) -> Question:
    messages = [{"role": "user", "content": "Where is it?"}]
    body = {"model": "m", "messages": messages, "max_tokens": max_tokens, **fields}
    return parse(orjson.dumps(body))


@pytest.mark.parametrize(("text", "tokens"), COUNTS, ids=repr)
def test_a_text_counts_as_its_pieces(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@given(st.text(), st.integers(0, 30))
def test_a_truncated_text_is_the_longest_prefix_within_the_count(text: str, limit: int) -> None:
    kept, cut = truncate(text, limit)
    assert text.startswith(kept) and cut == (kept != text)
    assert count_tokens(kept) == min(limit, count_tokens(text))


@given(st.text())
def test_no_character_is_free_and_none_counts_twice(text: str) -> None:
    assert truncate(text, len(text)) == (text, False)
    assert len(text) / 16 <= count_tokens(text) <= len(text)


def test_the_prompt_counts_as_the_client_sent_it() -> None:
    assert usage(asked(), []).prompt_tokens == PER_MESSAGE + count_tokens("Where is it?")


def test_parts_names_tools_and_schemas_of_the_prompt_count_once() -> None:
    parts = [{"type": "text", "text": "Where is"}, {"type": "text", "text": " it?"}]
    in_parts = asked(messages=[{"role": "user", "content": parts}])
    assert usage(in_parts, []) == usage(asked(), [])
    tool = {"type": "function", "function": {"name": "find", "description": "Finds a place."}}
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
    assert usage(asked(tools=[tool]), []).prompt_tokens > usage(asked(), []).prompt_tokens
    told = asked(messages=[{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}])
    assert usage(told, []).prompt_tokens == 2 * PER_MESSAGE + sum(
        map(count_tokens, ["x", "find", '{"a": 1}'])
    )


def test_all_choices_and_channels_of_an_answer_count() -> None:
    released = [Released(["It is", "here."], False), Released(["There."], False)]
    assert usage(asked(), released).completion_tokens == sum(map(count_tokens, ["It is", "here.", "There."]))


@pytest.mark.parametrize("text", ["", "a few words", "more words than " + "there may be " * 9])
def test_a_choice_cut_for_its_length_counts_what_was_allowed_wherever_it_was_cut(text: str) -> None:
    assert usage(asked(10), [Released([text], True)]).completion_tokens == 10


def test_what_was_released_counts_though_the_upstream_gave_more_than_was_allowed() -> None:
    assert usage(asked(3), [Released(["one two three four"], False)]).completion_tokens == 4
