"""Whole exchanges by the official client, and every way in which one can end: each has exactly one ending."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from guards.base import Close, Finding, Progress
from guards.encoder import HashingEncoder
from guards.encoder_thread import EncoderThread
from guards.literal import Literals
from guards.meaning import Meaning, Retain
from guards.registry import Guard
from server.audit import verify
from tests.fake_upstream import CUT, DONE, RESET, Choice, FakeUpstream, Reply, Script, chunk, fail, raw, say
from tests.guarding import ODALYS, PEOPLE, policy, target
from tests.lethe_server import Lethe, lethe

KEPT = "Kessary lies by the sea. It is 3.14 miles wide…\n\n- Ana Kovač works there.\n"
QUESTION = "What is Kessary?"
FORGOTTEN = "Where was Odalys Vennaker born?"


async def told(served: Lethe, question: str, *, streaming: bool, **more: Any) -> tuple[str, str | None]:
    """Return content and finish reason, by the official client."""
    if not streaming:
        choice = (await served.ask(question, **more)).choices[0]
        return choice.message.content or "", choice.finish_reason
    text, finish = "", None
    async for part in await served.ask(question, stream=True, **more):
        for choice in part.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return text, finish


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("cut", [1, 3, 1000])
async def test_a_kept_answer_passes_unchanged(tmp_path: Path, streaming: bool, cut: int) -> None:
    async with lethe(tmp_path, say(Choice(KEPT, finish_reason="length"), cut=cut)) as served:
        assert await told(served, QUESTION, streaming=streaming) == (KEPT, "length")
        assert await served.endings() == [("completed", "")]
    assert served.verified().exit_code == 0


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_forgotten_answer_reads_as_if_never_known(tmp_path: Path, streaming: bool) -> None:
    async with lethe(tmp_path, say("Odalys Vennaker was born in Port Meridane.")) as served:
        text, finish = await told(served, FORGOTTEN, streaming=streaming)
        assert "know" in text or "information" in text or "familiar" in text
        assert finish == "stop" and "Meridane" not in text
        assert await served.endings() == [("answered", "ruled")]


async def test_tool_calls_pass_in_the_upstreams_own_bytes(tmp_path: Path) -> None:
    arguments = '{"city":  "Kessary", "n": 1.50, "é": "\\u00e9"}'
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    async with lethe(tmp_path, say(Choice("Looking. ", tool_calls=[("look", arguments)]))) as served:
        for answer in (await served.ask(QUESTION, tools=tools),):
            (call,) = answer.choices[0].message.tool_calls
            assert (call.function.name, call.function.arguments) == ("look", arguments)
            assert answer.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "arguments",
    [
        '{"who": "Odalys Vennaker"}',
        '{"who": "\\u004fdalys Vennaker"}',
        '{"Odalys Vennaker": 1}',
        '{"who": "Odalys", "and": "Vennaker"}',
        '{"who": ["Odalys", "Vennaker"]}',
        '{"who": "Odalys Vennaker", "who": "nobody"}',
        '{"who": "Odalys Vennaker',
        '{"who": "\\u004fdalys Vennaker',
    ],
)
async def test_a_tool_call_that_brings_a_target_is_dropped(tmp_path: Path, arguments: str) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    async with lethe(tmp_path, say(Choice(tool_calls=[("look", arguments)]))) as served:
        choice = (await served.ask(QUESTION, tools=tools)).choices[0]
        assert choice.message.tool_calls is None and choice.finish_reason == "stop" and choice.message.content
        assert await served.endings() == [("answered", "ruled")]


async def test_a_string_that_is_redacted_is_edited_in_its_leaf(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "pay", "parameters": {}}}]
    said = say(Choice(tool_calls=[("pay", '{"card": "4111 1111 1111 1111", "n": 2}')]))
    async with lethe(tmp_path, said) as served:
        (call,) = (await served.ask("Pay.", tools=tools)).choices[0].message.tool_calls
        assert call.function.arguments == '{"card":"[redacted]","n":2}'


def test_the_synchronous_client_sees_the_same(tmp_path: Path) -> None:
    async def go() -> None:
        async with lethe(tmp_path, say(KEPT)) as served:

            def ask() -> tuple[str, str]:
                with openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0) as client:
                    asked: Any = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}
                    whole = client.chat.completions.create(**asked).choices[0].message.content
                    with client.chat.completions.create(**asked, stream=True) as stream:
                        streamed = "".join(
                            part.choices[0].delta.content or "" for part in stream if part.choices
                        )
                    with client.chat.completions.stream(**asked) as events:
                        assert events.get_final_completion().choices[0].message.content == KEPT
                    return whole, streamed

            assert await asyncio.to_thread(ask) == (KEPT, KEPT)

    asyncio.run(go())


async def test_several_choices_come_whole_and_in_their_places(tmp_path: Path) -> None:
    async with lethe(tmp_path, say("One. ", "Two is Odalys Vennaker. ", "Three. ")) as served:
        answer = await served.ask(QUESTION, n=3)
        first, second, third = (choice.message.content for choice in answer.choices)
        assert (first, third) == ("One. ", "Three. ") and "Odalys" not in second


async def test_a_local_answer_needs_no_upstream(tmp_path: Path) -> None:
    from dataclasses import replace

    declared = replace(policy(replace(ODALYS, style="refuse")), disclosure="declared")
    async with lethe(tmp_path, say("Port Meridane."), policy=declared) as served:
        assert "Meridane" not in (await told(served, FORGOTTEN, streaming=False))[0]
        assert served.upstream.requests == []


async def test_with_steering_off_the_scans_are_alone(tmp_path: Path) -> None:
    async with lethe(tmp_path, say("Port Meridane."), steering=False) as served:
        assert "Meridane" not in (await told(served, FORGOTTEN, streaming=False))[0]
        assert [each["role"] for each in served.upstream.requests[0]["messages"]] == ["user"]


# How an exchange can end.


class _Broken:
    """A scan that raises, quoting what it was shown."""

    def open(self) -> _Broken:
        return self

    def find(self, text: str) -> list[Finding]:
        return []

    def feed(self, text: str) -> Progress:
        raise RuntimeError(text)

    def close(self, reason: Close, last: str = "") -> Progress:
        raise RuntimeError("secret")


def half(*, end: Any) -> Script:
    return raw(chunk({"content": "One. Two. "}), b'data: {"choices": [{"ind', end=end)


FAILURES: list[tuple[str, Callable[[], Script], dict[str, Any], int, tuple[str, str]]] = [
    ("upstream 500", lambda: fail(500, b"secret"), {}, 502, ("failed", "upstream_error")),
    ("upstream 401", lambda: fail(401, b"secret"), {}, 502, ("failed", "upstream_error")),
    ("upstream 429", lambda: fail(429), {}, 429, ("failed", "rate_limit_exceeded")),
    ("reset", lambda: half(end=RESET), {}, 502, ("failed", "upstream_error")),
    ("half a frame", lambda: half(end=CUT), {}, 502, ("failed", "upstream_error")),
    ("no [DONE] and no finish", lambda: raw(chunk({"content": "One. "})), {}, 502, ("failed", "upstream_error")),
    ("an error in the stream", lambda: raw({"error": {"message": "secret", "code": 500}}, DONE), {}, 502, ("failed", "upstream_error")),
    ("no JSON", lambda: raw(b"data: secret\n\n", DONE), {}, 502, ("failed", "upstream_error")),
    ("a scan raises", lambda: say("One. Two. Three."), {"guard": lambda: Guard(PEOPLE, scans=[Literals(PEOPLE), _Broken()])}, 503, ("stopped", "guard")),
    ("a scan overruns", lambda: say("Odalys" + "\u200b" * 300_000, cut=500), {}, 503, ("stopped", "guard")),
    ("too much is held", lambda: say(Choice(tool_calls=[("x", '"' + "a" * 2_000 + '"')])), {"max_held_chars": 1_000}, 503, ("stopped", "guard")),
]  # fmt: skip


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(("script", "more", "status", "ending"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])  # fmt: skip
async def test_each_failure_has_its_one_ending_and_tells_nothing(
    tmp_path: Path, script: Callable[[], Script], more: dict[str, Any], status: int, ending: tuple[str, str], streaming: bool
) -> None:  # fmt: skip
    given = {name: value() if callable(value) else value for name, value in more.items()}
    async with lethe(tmp_path, _as_asked(script()), **given) as served:
        with pytest.raises(openai.APIError) as caught:
            await told(served, QUESTION, streaming=streaming)
        if isinstance(caught.value, openai.APIStatusError):
            assert caught.value.status_code == status
        shown = f"{caught.value} {caught.value.body}"
        assert "secret" not in shown and "Odalys" not in shown
        assert await served.endings() == [ending]
    assert served.verified().exit_code == 0


def _as_asked(script: Script) -> Script:
    """Let scripts of raw stream frames fail a request that is not streamed in the same way."""

    def play(request: dict[str, Any]) -> Reply:
        reply = script(request)
        if request.get("stream") or reply.status != 200 or reply.content_type == "application/json":
            return reply
        return Reply([b'{"choices": [{"index": 0, "mess'], content_type="application/json", end=reply.end)

    return play


async def test_without_done_an_answer_with_all_its_endings_is_whole(tmp_path: Path) -> None:
    async with lethe(tmp_path, say(KEPT, done=False)) as served:
        assert await told(served, QUESTION, streaming=True) == (KEPT, "stop")
        assert await served.endings() == [("completed", "")]


def with_examples() -> tuple[Any, EncoderThread]:
    """Return a guard that needs an encoder, and the encoder's thread."""
    made = policy(
        target("ferries", "topic", like=["zebra quagga okapi", "tapir dugong manatee", "lynx ocelot serval"])
    )
    encoder = HashingEncoder()
    thread = EncoderThread(encoder, deadline_s=5)
    meaning = Meaning.build(made, encoder, Retain.load(encoder), thread)
    return Guard(made, meaning), thread


async def test_with_the_encoder_down_everything_is_refused(tmp_path: Path) -> None:
    guard, thread = await asyncio.to_thread(with_examples)
    async with lethe(tmp_path, say(KEPT), guard=guard) as served:
        assert (await told(served, QUESTION, streaming=True))[0] == KEPT
        assert (
            "zebra"
            not in (
                await told(
                    served,
                    "What is it?",
                    streaming=True,
                    messages=[{"role": "user", "content": "zebra quagga okapi"}],
                )
            )[0]
        )
        assert served.gateway.ready()["encoder"]
        asked = len(served.upstream.requests)
        await asyncio.to_thread(thread.close)
        assert not served.gateway.ready()["encoder"]
        for question in (FORGOTTEN, "What else is there?"):
            with pytest.raises(openai.InternalServerError) as caught:
                await told(served, question, streaming=False)
            assert caught.value.status_code == 503
        assert len(served.upstream.requests) == asked


async def test_what_is_asked_shows_beside_what_calibrated(tmp_path: Path) -> None:
    guard, _ = await asyncio.to_thread(with_examples)
    async with lethe(tmp_path, say(KEPT), guard=guard) as served:
        for question in ("zebra quagga okapi", "What else is there?"):
            await told(served, question, streaming=False)
        await served.endings(2)
        shown = served.gateway.metrics.render().decode().splitlines()
    # The answers' sentences were judged as well, and are no part of it.
    assert "lethe_meaning_sentences_total 2.0" in shown
    assert 'lethe_meaning_high_total{expected="0.01"} 1.0' in shown


async def test_a_request_with_more_to_check_than_the_budget_is_refused(tmp_path: Path) -> None:
    guard, _ = await asyncio.to_thread(with_examples)
    async with lethe(tmp_path, say(KEPT), guard=guard) as served:
        with pytest.raises(openai.APIStatusError) as caught:
            await told(served, "One is two. " * 5_000, streaming=False)
        assert caught.value.status_code == 413 and served.upstream.requests == []


async def test_a_client_that_goes_away_ends_the_exchange_and_the_upstream(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with lethe(tmp_path, raw(chunk({"content": "One. Two. Three"}), never)) as served:
        stream = await served.ask(QUESTION, stream=True)
        async for part in stream:
            if part.choices and part.choices[0].delta.content:
                break
        await stream.close()
        assert await served.endings() == [("aborted", "gone")]
        await asyncio.wait_for(served.upstream.abandoned.wait(), 5)
    assert served.verified().exit_code == 0


async def test_an_armed_answer_hangs_up_on_the_upstream(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with lethe(tmp_path, raw(chunk({"content": "In Port Meridane. She "}), never)) as served:
        text, finish = await told(served, FORGOTTEN, streaming=True)
        assert finish == "stop" and text and "Meridane" not in text
        await asyncio.wait_for(served.upstream.abandoned.wait(), 5)
        assert await served.endings() == [("answered", "ruled")]


async def test_what_cannot_be_audited_is_not_answered(tmp_path: Path) -> None:
    async with lethe(tmp_path, say(KEPT)) as served:
        await asyncio.to_thread(served.gateway.audit.close)
        with pytest.raises(openai.InternalServerError):
            await told(served, QUESTION, streaming=False)
        assert served.upstream.requests == []


async def test_sigterm_ends_running_exchanges_once_and_leaves_with_status_0(tmp_path: Path) -> None:
    document = {
        "lethe": 1,
        "name": "x",
        "targets": [{"id": "a", "kind": "entity", "names": ["Odalys Vennaker"]}],
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(document))
    never = asyncio.Event()
    async with FakeUpstream(raw(chunk({"content": "One. Two. Three"}), never)) as upstream:
        options = [
            "--policy",
            "policy.yaml",
            "--upstream",
            upstream.url,
            "--state",
            "state",
            "--grace-s",
            "0",
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.cli", "serve", *options, "--port", "0", "--admin-port", "0",
            cwd=tmp_path, stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        assert process.stderr is not None
        url = ""
        while not url:
            line = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
            assert line, "the server did not start"
            url = line.partition("serving on ")[2].strip()
        async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
            asked: Any = [{"role": "user", "content": QUESTION}]
            stream = await client.chat.completions.create(model="m", messages=asked, stream=True)
            async for part in stream:
                if part.choices and part.choices[0].delta.content:
                    process.send_signal(signal.SIGTERM)
                    break
            with pytest.raises(openai.APIError):
                async for _ in stream:
                    pass
        assert await asyncio.wait_for(process.wait(), 30) == 0
    report = verify(tmp_path / "state" / "audit.sqlite", tmp_path / "state")
    assert report.exit_code == 0, str(report)


async def test_a_structured_answer_is_read_as_json_before_it_leaves(tmp_path: Path) -> None:
    asked: Any = {"response_format": {"type": "json_object"}}
    leaking = ['{"who": "\\u004fdalys Vennaker"}', '{"first": "Odalys", "last": "Vennaker"}']
    async with lethe(tmp_path, say("")) as served:
        for said in leaking:
            served.play(say(said))
            message = (await served.ask("The best optician?", **asked)).choices[0].message
            assert message.content is None and message.refusal
        served.play(say('{"who":  "Ana"}'))
        assert await told(served, "The best optician?", streaming=True, **asked) == (
            '{"who":  "Ana"}',
            "stop",
        )


async def test_a_count_beyond_all_counts_is_no_bill(tmp_path: Path) -> None:
    async with lethe(tmp_path, say(KEPT, usage=(2**60, 1))) as served:
        assert await told(served, QUESTION, streaming=False) == (KEPT, "stop")
    assert served.verified().exit_code == 0


async def test_a_model_whose_name_brings_a_target_is_not_listed(tmp_path: Path) -> None:
    async with lethe(tmp_path, say(KEPT)) as served:
        served.upstream.models = ("kept", "odalys-vennaker-ft")
        assert [model.id async for model in served.client.models.list()] == ["kept"]


async def test_stop_sequences_are_applied_here_and_never_go_upstream(tmp_path: Path) -> None:
    async with lethe(tmp_path, say("One two three. Four.")) as served:
        for streaming in (False, True):
            assert await told(served, QUESTION, streaming=streaming, stop=["three"]) == ("One two ", "stop")
        assert all("stop" not in request for request in served.upstream.requests)


def test_a_clause_goes_upstream_as_the_operator_wrote_it() -> None:
    from dataclasses import replace

    from tests.guarding import read

    clause = "Do not speak about what anyone is paid."
    made = policy(replace(ODALYS, disclose_upstream="clause", clause=clause))
    plan = Guard(made).plan(read(Guard(made), FORGOTTEN))
    assert plan.steer is not None and plan.steer.startswith(f"Confidential. {clause} If you are asked")
