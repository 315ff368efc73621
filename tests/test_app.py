"""The applications over real sockets: admission, bounds, errors, and clients that go away."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from guards.base import Channel
from server.app import create_admin_app, readiness
from server.errors import GuardUnavailable, UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from server.exchange import Exchange, Part
from server.upstream import HttpUpstream
from tests.fake_gateway import ASKED, CHAT, STREAMED, FakeGateway, is_error, listening, serve
from tests.fake_upstream import FakeUpstream

KEY = "sk-of-the-clients"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def served(tmp_path: Path) -> Any:
    return partial(serve, tmp_path)


# Answers.


async def test_an_answer_in_json(served: Any) -> None:
    async with served() as lethe:
        status, body, headers = await lethe.ask()
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert body["choices"][0]["message"]["content"] == "It rains."
        assert lethe.gateway.ended == 1


async def test_an_answer_as_a_stream(served: Any) -> None:
    async with served() as lethe:
        async with lethe.client.post(CHAT, json=STREAMED) as response:
            body = await response.read()
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["X-Accel-Buffering"] == "no"
        *frames, done, end = body.split(b"\n\n")
        assert (done, end) == (b"data: [DONE]", b"")
        deltas = [orjson.loads(frame[6:])["choices"][0]["delta"] for frame in frames]
        assert "".join(delta.get("content", "") for delta in deltas) == "It rains."
        assert lethe.gateway.ended == 1


async def test_what_is_released_is_sent_at_once(served: Any) -> None:
    held = asyncio.Event()

    async def wait(exchange: Exchange) -> AsyncGenerator[Part, None]:
        yield Part(0, Channel.CONTENT, "first")
        await held.wait()
        yield Part(0, finish_reason="stop")

    async with served(wait) as lethe, lethe.client.post(CHAT, json=STREAMED) as response:
        seen = b""
        while b"first" not in seen:
            seen += await response.content.readany()
        held.set()
        assert (await response.read()).endswith(b"[DONE]\n\n")


async def test_a_failure_of_any_route_reads_as_an_error_object(served: Any) -> None:
    async def unreachable() -> list[dict[str, Any]]:
        raise UpstreamUnreachable

    async def unforeseen() -> list[dict[str, Any]]:
        raise ZeroDivisionError("words of a policy")

    async with served() as lethe:
        for models, status, code in (
            (unreachable, 502, "upstream_unreachable"),
            (unforeseen, 500, "internal_error"),
        ):
            lethe.gateway.models = models
            async with lethe.client.get("/v1/models") as response:
                assert response.status == status and response.headers["x-request-id"]
                assert (await response.json())["error"]["code"] == code


async def test_models_are_those_of_the_upstream(served: Any) -> None:
    async with served() as lethe, lethe.client.get("/v1/models") as response:
        listed = await response.json()
    assert listed["object"] == "list" and [model["id"] for model in listed["data"]] == ["fake"]


# Requests that are not served.


async def test_whatever_is_not_served_is_not_there(served: Any) -> None:
    async with served() as lethe:
        for path in (
            "/",
            "/docs",
            "/openapi.json",
            "/redoc",
            "/metrics",
            "/readyz",
            "/v1/embeddings",
            "/v1/models/",
        ):
            async with lethe.client.get(path) as response:
                assert response.status == 404 and is_error(await response.json())


async def test_another_method_is_refused(served: Any) -> None:
    async with served() as lethe:
        for method, path, allowed in (
            ("GET", CHAT, "POST"),
            ("PUT", CHAT, "POST"),
            ("POST", "/v1/models", "GET"),
        ):
            async with lethe.client.request(method, path) as response:
                assert response.status == 405 and is_error(await response.json())
                assert response.headers["Allow"] == allowed


async def test_an_answer_to_head_has_no_body(served: Any) -> None:
    async with served() as lethe, lethe.client.head(CHAT) as response:
        assert (response.status, await response.read()) == (405, b"")


async def test_a_body_that_is_not_declared_as_json_is_refused(served: Any) -> None:
    async with served() as lethe:
        for kind in ("text/plain", "", "application/x-www-form-urlencoded"):
            headers = {"Content-Type": kind}
            async with lethe.client.post(CHAT, data=orjson.dumps(ASKED), headers=headers) as response:
                assert response.status == 415 and is_error(await response.json())
        assert lethe.gateway.opened == []


async def test_a_compressed_body_is_refused(served: Any) -> None:
    async with served() as lethe:
        status, body, _ = await lethe.ask(headers={"Content-Encoding": "gzip"})
        assert status == 415 and is_error(body)


async def test_a_body_that_is_no_request_is_refused(served: Any) -> None:
    async with served() as lethe:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        for data in (b"", b"{", b"[]", b'{"model":"m"}', b"\xff"):
            async with lethe.client.post(CHAT, data=data, headers=headers) as response:
                assert response.status == 400 and is_error(await response.json())
        assert lethe.gateway.opened == []


# Keys and ids.


@pytest.fixture
def client_key(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("CLIENT_KEY", KEY)
    return {"api_key_env": "CLIENT_KEY"}


async def test_without_the_key_nothing_is_answered(served: Any, client_key: dict[str, str]) -> None:
    sent: list[dict[str, str]] = [{}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": f"Basic {KEY}"}]
    async with served(**client_key) as lethe:
        for path, headers in itertools.product((CHAT, "/v1/models", "/nowhere"), sent):
            async with lethe.client.post(path, json=ASKED, headers=headers) as response:
                body = await response.json()
                assert response.status == 401 and is_error(body)
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert "sk-" not in str(body)
        assert lethe.gateway.opened == [] and lethe.fake.paths == []


async def test_with_the_key_an_exchange_has_its_id(served: Any, client_key: dict[str, str]) -> None:
    async with served(**client_key) as lethe:
        status, _, _ = await lethe.ask(headers={"Authorization": f"Bearer {KEY}"})
        assert status == 200
        assert len(lethe.gateway.opened[0].key_id) == 16 and KEY not in lethe.gateway.opened[0].key_id


async def test_liveness_needs_no_key(served: Any, client_key: dict[str, str]) -> None:
    async with served(**client_key) as lethe, lethe.client.get("/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")


async def test_a_request_id_is_kept(served: Any) -> None:
    async with served() as lethe:
        for sent in (UUID, UUID.replace("-", ""), f"req-{UUID}"):
            _, _, headers = await lethe.ask(headers={"X-Request-Id": sent})
            assert headers["x-request-id"] == sent == lethe.gateway.opened[-1].request_id


async def test_a_request_id_that_could_be_a_text_is_replaced(served: Any) -> None:
    async with served() as lethe:
        for sent in ("odalys-vennaker", "4111111111111111", "", UUID + "x", "ü"):
            _, _, headers = await lethe.ask(headers={"X-Request-Id": sent})
            assert headers["x-request-id"].startswith("req-") and headers["x-request-id"] != sent
            assert lethe.gateway.opened[-1].request_id == headers["x-request-id"]


async def test_errors_have_a_request_id_too(served: Any) -> None:
    async with served() as lethe, lethe.client.get("/nowhere") as response:
        assert response.headers["x-request-id"].startswith("req-")


# Failures.


async def failing(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("error", [UpstreamTimeout(), GuardUnavailable()], ids=["upstream", "guard"])
async def test_what_fails_before_the_first_byte_is_a_status(served: Any, body: Any, error: Any) -> None:
    async def at_once(exchange: Exchange) -> AsyncGenerator[Part, None]:
        raise error
        yield

    async with served() as lethe:
        lethe.gateway.beginning = lambda: failing(error)
        assert (await lethe.ask(body))[:2] == (error.status, error.as_object())
        lethe.gateway.beginning, lethe.gateway.script = None, at_once
        assert (await lethe.ask(body))[:2] == (error.status, error.as_object())
        assert lethe.gateway.ended == 2


async def late(exchange: Exchange) -> AsyncGenerator[Part, None]:
    yield Part(0, Channel.CONTENT, "It ")
    raise UpstreamFailed


async def test_what_fails_later_is_told_in_the_stream(served: Any) -> None:
    async with served(late) as lethe, lethe.client.post(CHAT, json=STREAMED) as response:
        *_, error, done, end = (await response.read()).split(b"\n\n")
    assert is_error(orjson.loads(error[6:])) and (done, end) == (b"data: [DONE]", b"")


async def broken(exchange: Exchange) -> AsyncGenerator[Part, None]:
    if exchange.question.streaming:
        yield Part(0, Channel.CONTENT, "It ")
    raise ZeroDivisionError("with words of the client")
    yield


async def test_what_nobody_foresaw_is_a_500_without_words(
    served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(broken) as lethe:
        status, body, headers = await lethe.ask()
    assert status == 500 and is_error(body) and "words" not in str(body)
    assert "words" not in caplog.text
    request_id = headers["x-request-id"]
    assert [record.getMessage() for record in caplog.records if record.name == "lethe"] == [
        f"unforeseen ZeroDivisionError in request {request_id}"
    ]


async def test_what_nobody_foresaw_within_a_stream_breaks_it_off(
    served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(broken) as lethe, lethe.client.post(CHAT, json=STREAMED) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        assert lethe.gateway.ended == 1
    assert "words" not in caplog.text


# The admin address.


async def test_readiness_tells_of_policy_encoder_and_upstream() -> None:
    async with FakeUpstream() as fake:
        upstream = HttpUpstream(fake.url)
        gateway = FakeGateway(upstream)
        app = create_admin_app(lambda: readiness(gateway), gateway.metrics)
        async with listening(app) as (_, port), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            async with client.get("/readyz") as response:
                assert response.status == 200
                assert await response.json() == {
                    "digest": "d", "targets": 0, "encoder": True, "upstream": True, "ready": True,
                }  # fmt: skip
            gateway.encoder = False
            async with client.get("/readyz") as response:
                assert (response.status, (await response.json())["ready"]) == (503, False)
            async with client.get("/metrics") as response:
                assert "lethe_exchanges_in_flight 0.0" in (await response.text()).splitlines()
                assert response.headers["Content-Type"].startswith("text/plain")
            async with client.post(CHAT, json=ASKED) as response:
                assert response.status == 404
        await upstream.close()


async def test_an_upstream_that_cannot_be_asked_is_not_ready() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        upstream = HttpUpstream(f"http://127.0.0.1:{taken.getsockname()[1]}")
        gateway = FakeGateway(upstream)
        assert (await readiness(gateway))["upstream"] is False
        await upstream.close()
