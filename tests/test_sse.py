"""Events: the same payloads however the bytes are cut, and nothing without an end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import UpstreamFailed
from server.sse import COMMENT, DONE, DONE_DATA, Events, event

BODIES = [
    # body, payloads, whether it ends within an event
    (b"data: one\n\ndata: two\n\n", [b"one", b"two"], False),
    (b"data: one\r\n\r\ndata: two\r\n\r\n", [b"one", b"two"], False),
    (b"data: one\r\rdata: two\r\r", [b"one", b"two"], False),
    (b"data: one\r\n\ndata: two\n\r\n", [b"one", b"two"], False),
    (b"data:one\n\n", [b"one"], False),
    (b"data:  one \n\n", [b" one "], False),
    (b"data: {\ndata: }\n\n", [b"{\n}"], False),
    (b"data: {\r\ndata: }\r\n\r\n", [b"{\n}"], False),
    (b"data: {\rdata: }\r\r", [b"{\n}"], False),
    (b"data\ndata\n\n", [b"\n"], False),
    (b"data:\n\ndata: one\n\n", [b"one"], False),
    (b": ping\n\n:\n\ndata: one\n: ping\n\n", [b"one"], False),
    (b"event: error\nid: 7\nretry: 10\ndata: one\ndatum: two\n\n", [b"one"], False),
    (b"\xef\xbb\xbfdata: one\n\n", [b"one"], False),
    (b"\n\xef\xbb\xbfdata: one\n\n", [], False),
    (b"\n\n\n\ndata: one\n\n\n\n", [b"one"], False),
    (
        "data: a\u2028b\u0085c\x0bd\x0ce\u2029\n\n".encode(),
        ["a\u2028b\u0085c\x0bd\x0ce\u2029".encode()],
        False,
    ),
    (b"data: [DONE]\n\n", [DONE_DATA], False),
    (b"", [], False),
    (b"data: one\n\n: pin", [b"one"], False),
    (b"event: error\n", [], False),
    (b"data: one\n\ndata: tw", [b"one"], True),
    (b"data: one\n\ndata: two\n", [b"one"], True),
    (b"data: one\n\nda", [b"one"], True),
]


def read(pieces: list[bytes], limit: int = 1 << 20) -> tuple[list[bytes], bool]:
    events = Events(limit)
    payloads: list[bytes] = []
    try:
        for piece in pieces:
            payloads += events.feed(piece)
    except UpstreamFailed:
        assert events.close() is not None
        return payloads, True
    return payloads, events.close() is not None


def cuts(body: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(body)), max_size=12).map(sorted)
    return places.map(lambda at: [body[i:j] for i, j in zip([0, *at], [*at, len(body)], strict=True)])


@pytest.mark.parametrize(("body", "payloads", "broken"), BODIES, ids=lambda value: repr(value)[:30])
def test_a_body_reads_as_its_payloads_whole_and_byte_by_byte(
    body: bytes, payloads: list[bytes], broken: bool
) -> None:
    assert read([body]) == (payloads, broken)
    assert read([body[i : i + 1] for i in range(len(body))]) == (payloads, broken)


@given(st.data())
def test_no_cut_changes_what_is_read(data: st.DataObject) -> None:
    alphabet = st.sampled_from(
        [b"data", b"data: ", b"x", b":", b"\r", b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"e"]
    )
    body = b"".join(data.draw(st.lists(alphabet, max_size=40)))
    limit = data.draw(st.sampled_from([8, 20, 1 << 20]))
    assert read(data.draw(cuts(body)), limit) == read([body], limit)


@given(st.lists(st.tuples(st.text(), st.sampled_from(["\n", "\r", "\r\n"]))), st.data())
def test_what_was_sent_is_what_is_read(sent: list[tuple[str, str]], data: st.DataObject) -> None:
    lines = [(json.dumps(text, ensure_ascii=False).encode(), end.encode()) for text, end in sent]
    body = b"".join(b"data: " + line + end + end for line, end in lines)
    assert read(data.draw(cuts(body))) == ([line for line, _ in lines], False)


@pytest.mark.parametrize("flood", [b"data: " + b"x" * 100, b"x" * 107, b"data: xxxxxx\n" * 9, b"data\n" * 30])
def test_an_event_over_the_limit_is_an_error_and_what_came_before_it_is_not_lost(flood: bytes) -> None:
    body = b"data: one\n\n" + flood + b"\n\ndata: two\n\n"
    assert read([body], limit=100) == ([b"one"], True)
    assert read([body[i : i + 1] for i in range(len(body))], limit=100) == ([b"one"], True)


def test_an_event_of_exactly_the_limit_is_read() -> None:
    assert read([b"data: " + b"x" * 94 + b"\n\n"], limit=100) == ([b"x" * 94], False)


def test_a_line_without_an_end_is_held_up_to_the_limit_and_no_further() -> None:
    events = Events(limit=1000)
    for _ in range(100):
        assert events.feed(b"0123456789") == []
    assert events.feed(b"0") == []
    with pytest.raises(UpstreamFailed):
        events.feed(b"0")


def test_what_is_written_can_be_read() -> None:
    value = {"content": 'a\u2028b\nc\r\n"d"', "n": None}
    payloads, broken = read([event(value) + COMMENT + DONE])
    assert not broken and payloads[1] == DONE_DATA
    assert json.loads(payloads[0]) == value
