"""The upstream over a real socket: what reaches it, what comes back, and what each failure becomes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from server import upstream as module
from server.errors import (
    ContextTooLong,
    GatewayError,
    ModelNotFound,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefusesKey,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from server.upstream import HttpUpstream, Timeouts, Truncated, base_of
from tests.fake_upstream import (
    CUT,
    DONE,
    RESET,
    Choice,
    FakeUpstream,
    Reply,
    Script,
    chunk,
    fail,
    raw,
    say,
)

PATH = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Is it raining?"}]}
SECRET = "sk-not-to-be-seen"
QUICK = Timeouts(first_byte_s=0.1, idle_s=0.1)


@asynccontextmanager
async def connected(
    url: str, key: str | None = None, timeouts: Timeouts | None = None
) -> AsyncIterator[HttpUpstream]:
    made = HttpUpstream(url, SecretStr(key) if key else None, timeouts or Timeouts())
    try:
        yield made
    finally:
        await made.close()


@dataclass
class Mute:
    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def mute() -> AsyncIterator[Mute]:
    """A server that reads one request and never answers."""
    made = Mute()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        made.asked.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        made.left.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made
        await made.left.wait()


async def events(script: Script, *, streaming: bool = True, **more: Any) -> list[dict[str, Any]]:
    async with FakeUpstream(script) as fake, connected(fake.url, **more) as upstream:
        answer = await upstream.open(PATH, ASKED, streaming=streaming)
        try:
            return [event async for events in answer for event in events]
        finally:
            await answer.aclose()


def content(answered: list[dict[str, Any]]) -> str:
    deltas = [choice["delta"] for event in answered for choice in event["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://a:8000", "http://a:8000/v1"),
        ("http://a:8000/", "http://a:8000/v1"),
        ("http://a:8000/v1", "http://a:8000/v1"),
        ("http://a/v1/", "http://a/v1"),
        ("https://a/openai/v1", "https://a/openai/v1"),
        ("https://a/api/v3", "https://a/api/v3"),
        ("https://a/v1beta/openai", "https://a/v1beta/openai"),
        ("https://a/vllm", "https://a/vllm/v1"),
    ],
)
def test_a_base_url_may_name_the_version_or_leave_it_out(url: str, base: str) -> None:
    assert base_of(url) == base


async def test_a_streamed_answer_is_its_events_up_to_done() -> None:
    assert content(await events(say("It is raining."))) == "It is raining."


async def test_events_come_one_by_one_as_they_are_sent() -> None:
    held = asyncio.Event()
    script = raw(chunk({"content": "a"}), held, chunk({"content": "b"}), DONE)
    async with FakeUpstream(script) as fake, connected(fake.url) as upstream:
        answer = await upstream.open(PATH, ASKED, streaming=True)
        assert content(await anext(answer)) == "a"
        held.set()
        assert content([event async for events in answer for event in events]) == "b"
        assert answer.done
        await answer.aclose()


async def test_an_answer_that_is_not_streamed_is_one_event() -> None:
    (event,) = await events(say("Yes."), streaming=False)
    assert event["choices"][0]["message"]["content"] == "Yes."


async def test_what_is_sent_is_the_body_with_its_way_of_answering_and_usage_asked_for() -> None:
    async with FakeUpstream(say("x")) as fake, connected(fake.url) as upstream:
        for streaming in (True, False):
            await (await upstream.open(PATH, ASKED, streaming=streaming)).aclose()
    assert fake.requests == [
        {**ASKED, "stream": True, "stream_options": {"include_usage": True}},
        {**ASKED, "stream": False},
    ]
    assert fake.paths == [PATH, PATH]


async def test_several_choices_reasoning_and_tool_calls_come_as_they_are() -> None:
    script = say(Choice("a", reasoning="hm", tool_calls=[("f", '{"x":1}')]), Choice("b"))
    (event,) = await events(script, streaming=False)
    assert [choice["finish_reason"] for choice in event["choices"]] == ["tool_calls", "stop"]
    streamed = await events(script)
    indexes = [choice["index"] for event in streamed for choice in event["choices"]]
    assert set(indexes) == {0, 1} and indexes != sorted(indexes)


# Failures.


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, UpstreamRejected), (404, ModelNotFound), (413, ContextTooLong), (422, UpstreamRejected),
        (401, UpstreamRefusesKey), (403, UpstreamRefusesKey), (429, UpstreamBusy), (500, UpstreamFailed),
        (503, UpstreamFailed), (504, UpstreamTimeout), (204, UpstreamFailed), (302, UpstreamFailed),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])
async def test_a_status_becomes_an_error_in_our_own_words(
    status: int, expected: type[GatewayError], streaming: bool
) -> None:
    with pytest.raises(expected) as raised:
        await events(fail(status, b'{"error":{"message":"quoted words"}}'), streaming=streaming)
    assert type(raised.value) is expected
    assert b"quoted words" not in raised.value.body()


async def test_a_refused_key_is_said_once_until_that_changes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAID_EVERY_S", 0.0)
    scripts = (fail(401), fail(403), fail(500), say("x"), say("x"), fail(403))
    with caplog.at_level(logging.INFO, "lethe"):
        async with FakeUpstream(*scripts) as fake, connected(fake.url, SECRET) as upstream:
            for _ in scripts:
                assert await upstream.models()
                with contextlib.suppress(UpstreamFailed):
                    await (await upstream.open(PATH, ASKED, streaming=False)).aclose()
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "the upstream refuses Lethe's key (401)",
        "the upstream takes Lethe's key again",
        "the upstream refuses Lethe's key (403)",
    ]
    assert SECRET not in caplog.text


async def test_an_upstream_that_takes_a_key_now_and_then_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripts = (fail(403), say("x")) * 4
    with caplog.at_level(logging.INFO, "lethe"):
        async with FakeUpstream(*scripts) as fake, connected(fake.url) as upstream:
            for _ in scripts:
                with contextlib.suppress(UpstreamFailed):
                    await (await upstream.open(PATH, ASKED, streaming=False)).aclose()
    assert len(caplog.records) == 1


def test_a_client_reads_of_a_refused_key_what_it_reads_of_any_failure() -> None:
    refused = UpstreamRefusesKey()
    assert (refused.status, refused.body()) == (UpstreamFailed.status, UpstreamFailed().body())
    assert refused.kind not in refused.body().decode()


async def test_a_prompt_that_is_too_long_is_told_from_other_bad_requests() -> None:
    with pytest.raises(ContextTooLong):
        await events(fail(400, b'{"error":{"message":"maximum context length is 512"}}'))


async def test_the_pause_that_a_busy_upstream_asks_for_is_kept() -> None:
    with pytest.raises(UpstreamBusy) as raised:
        await events(fail(429, retry_after="7"))
    assert raised.value.retry_after == 7


async def test_redirects_are_not_followed() -> None:
    async with FakeUpstream(say("other")) as other:
        with pytest.raises(UpstreamFailed):
            await events(fail(307, location=other.url + "/chat/completions"))
    assert other.requests == []


NO_ANSWERS: dict[str, tuple[Script, bool]] = {
    "JSON for a stream": (raw(DONE, content_type="application/json"), True),
    "HTML for a stream": (raw(DONE, content_type="text/html"), True),
    "a stream for JSON": (raw(b"{}", content_type="text/event-stream"), False),
    "compressed": (lambda request: Reply([DONE], headers={"content-encoding": "gzip"}), True),
    "an event that is not JSON": (raw(b"data: {\n\n", DONE), True),
    "an event that is no object": (raw(b"data: []\n\n", DONE), True),
    "a body that is no object": (raw(b"[1]", content_type="application/json"), False),
    "half a body": (raw(b'{"a":', content_type="application/json"), False),
    "no body": (raw(content_type="application/json"), False),
    "an error with 200": (raw(b'{"error":{"message":"m"}}', content_type="application/json"), False),
    "an error in a stream": (raw({"error": {"message": "m", "code": 500}}, DONE), True),
    "an error in words": (raw({"error": "words"}, DONE), True),
    "an event without end": (raw(b"data: " + b"x" * (2 << 20)), True),
}


@pytest.mark.parametrize("case", NO_ANSWERS)
async def test_what_is_no_answer_of_this_protocol_fails(case: str) -> None:
    script, streaming = NO_ANSWERS[case]
    with pytest.raises(UpstreamFailed) as raised:
        await events(script, streaming=streaming)
    assert raised.value.status == 502 and not isinstance(raised.value, Truncated)


@pytest.mark.parametrize(
    "steps",
    [(chunk({"content": "a"}),), (chunk({"content": "a"}), b"data: {"), ()],
    ids=["an event", "half an event", "nothing"],
)
async def test_a_stream_without_done_is_truncated_after_what_came(steps: tuple[Any, ...]) -> None:
    async with FakeUpstream(raw(*steps)) as fake, connected(fake.url) as upstream:
        answer = await upstream.open(PATH, ASKED, streaming=True)
        if steps:
            assert content(await anext(answer)) == "a"
        with pytest.raises(Truncated):
            await anext(answer)
        assert not answer.done
        await answer.aclose()


@pytest.mark.parametrize("end", [CUT, RESET])
async def test_a_connection_that_breaks_is_no_end(end: Any) -> None:
    with pytest.raises(UpstreamFailed) as raised:
        await events(raw(chunk({"content": "a"}), end=end))
    assert not isinstance(raised.value, Truncated)
    with pytest.raises(UpstreamFailed):
        await events(raw(b'{"choices":', content_type="application/json", end=end), streaming=False)


async def test_nothing_behind_done_is_read() -> None:
    assert content(await events(raw(chunk({"content": "a"}), DONE, chunk({"content": "late"})))) == "a"


async def test_a_server_that_does_not_listen_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with connected(f"http://127.0.0.1:{taken.getsockname()[1]}") as upstream:
            with pytest.raises(UpstreamUnreachable):
                await upstream.open(PATH, ASKED, streaming=True)
            assert not await upstream.ready()


def silent_from(*steps: Any) -> Script:
    return raw(*steps, asyncio.Event())


@pytest.mark.parametrize(
    "script",
    [
        silent_from(),
        silent_from(b": waiting\n\n"),
        raw(*itertools.repeat(b": waiting\n\n", 200_000)),
        silent_from(chunk({"content": "a"})),
        silent_from(chunk({"content": "a"}), b"data: {"),
    ],
    ids=["nothing", "a comment", "comments", "one event", "half an event"],
)
async def test_a_stream_that_says_nothing_for_too_long_times_out(script: Script) -> None:
    with pytest.raises(UpstreamTimeout):
        await asyncio.wait_for(events(script, timeouts=QUICK), 10)


async def test_an_answer_has_an_end_in_time_however_it_trickles() -> None:
    timeouts = Timeouts(first_byte_s=5, idle_s=5, whole_s=0.2)
    with pytest.raises(UpstreamTimeout):
        await events(lambda request: Reply(itertools.repeat(chunk({"content": "a"}))), timeouts=timeouts)
    script = raw(b"{", asyncio.Event(), content_type="application/json")
    with pytest.raises(UpstreamTimeout):
        await events(script, streaming=False, timeouts=timeouts)


async def test_a_head_that_does_not_come_times_out() -> None:
    async with mute() as server, connected(server.url, timeouts=QUICK) as upstream:
        with pytest.raises(UpstreamTimeout):
            await upstream.open(PATH, ASKED, streaming=True)


async def test_an_answer_over_the_bound_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(UpstreamFailed):
        await events(say("x" * 1000), streaming=False)


# Connections and keys.


async def test_closing_an_answer_closes_the_connection_at_once() -> None:
    script = silent_from(chunk({"content": "a"}))
    async with FakeUpstream(script) as fake, connected(fake.url) as upstream:
        answer = await upstream.open(PATH, ASKED, streaming=True)
        await anext(answer)
        await answer.aclose()
        assert await asyncio.wait_for(fake.abandoned.wait(), 5)
        await answer.aclose()


async def test_cancelling_an_answer_that_has_not_begun_closes_the_connection() -> None:
    async with mute() as server, connected(server.url) as upstream:
        opening = asyncio.create_task(upstream.open(PATH, ASKED, streaming=True))
        await server.asked.wait()
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
        assert await asyncio.wait_for(server.left.wait(), 5)


async def test_the_key_goes_to_the_upstream_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeUpstream(fail(500)) as fake, connected(fake.url, key=SECRET) as upstream:
        with pytest.raises(UpstreamFailed) as raised:
            await upstream.open(PATH, ASKED, streaming=True)
        assert SECRET not in repr(upstream) + str(raised.value) + repr(raised.value) + caplog.text
    assert fake.headers[0]["authorization"] == f"Bearer {SECRET}"


async def test_without_a_key_none_is_sent() -> None:
    async with FakeUpstream(say("x")) as fake, connected(fake.url) as upstream:
        await (await upstream.open(PATH, ASKED, streaming=True)).aclose()
    assert "authorization" not in fake.headers[0]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert content(await events(say("direct"))) == "direct"


async def test_models_are_listed_with_known_fields_only() -> None:
    listed = b'{"data":[{"id":"m","created":5,"root":"/secret","permission":[]},{"id":7},"x"]}'
    fake = FakeUpstream(listing=raw(listed, content_type="application/json"))
    async with fake, connected(fake.url) as upstream:
        models = await upstream.models()
    assert models == [{"id": "m", "object": "model", "created": 5, "owned_by": "upstream"}]
    assert fake.paths == ["/v1/models"]


@pytest.mark.parametrize("body", [b"{}", b'{"data":{}}', b"nothing"])
async def test_a_list_of_models_that_is_none_fails(body: bytes) -> None:
    fake = FakeUpstream(listing=raw(body, content_type="application/json"))
    async with fake, connected(fake.url) as upstream:
        with pytest.raises(UpstreamFailed):
            await upstream.models()


@pytest.mark.parametrize(
    ("status", "ready"), [(200, True), (404, True), (401, False), (403, False), (500, False)]
)
async def test_an_upstream_is_ready_where_it_answers_and_knows_the_key(status: int, ready: bool) -> None:
    async with FakeUpstream(listing=fail(status)) as fake, connected(fake.url) as upstream:
        assert await upstream.ready() is ready
