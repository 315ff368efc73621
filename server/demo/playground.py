"""The page of `lethe demo`: one model asked twice, alone and through Lethe, and the policy to play with.

An ASGI application around the gateway's own.  It answers `/`, `/page/…` and `/demo/…`; every other request
goes on untouched, so that what the page asks at `/v1` is the product and nothing else.

By design it shows a policy's secrets, what Lethe found and what the model alone says: whoever runs the demo
owns all three.  It exists in `lethe demo` only, on loopback only and for its own page only
(`server.demo.access`); `lethe serve` knows nothing of it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from guards.base import ScanError
from policies.problems import PolicyError
from server.api.chat import parse
from server.api.json_body import as_object, as_text, read_object
from server.client import Client, ClientGone, read_body, unless_gone
from server.demo.access import refuse_foreign
from server.demo.findings import found
from server.demo.questions import HERE, read_yaml
from server.demo.recorded import recorded
from server.demo.working_policy import Enforcing, WorkingPolicy, complaints
from server.errors import GatewayError, GuardUnavailable, MethodNotAllowed, NotFound
from server.exchange import Question
from server.sse import DONE, event
from server.upstream import Answer, Upstream

log = logging.getLogger("lethe")

PAGE = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "editor.css": "text/css; charset=utf-8",
    "lethe.svg": "image/svg+xml",
    "same.svg": "image/svg+xml",
    "withheld.svg": "image/svg+xml",
    "page.js": "text/javascript; charset=utf-8",
    "ask.js": "text/javascript; charset=utf-8",
    "answers.js": "text/javascript; charset=utf-8",
    "found.js": "text/javascript; charset=utf-8",
    "timing.js": "text/javascript; charset=utf-8",
    "policy.js": "text/javascript; charset=utf-8",
    "editor.js": "text/javascript; charset=utf-8",
    "wire.js": "text/javascript; charset=utf-8",
    "elements.js": "text/javascript; charset=utf-8",
}
"""Every file of the page, with its type; no other is served."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}

MAX_ASKED_BYTES = 256 << 10
MAX_POLICY_BYTES = 2 << 20
_BODY_S = 15.0
_SEND_S = 60.0
_EXCHANGE = re.compile(r"[A-Za-z0-9_-]{1,80}")

Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gateway(Enforcing, Protocol):
    """What the page needs of the gateway whose application it stands around."""

    @property
    def upstream(self) -> Upstream: ...


class Playground:
    """The page and its routes, around `app`, the gateway's application for clients.

    audit: the database that the gateway writes, for what it holds of an exchange.
    model: the name that questions are asked with.
    """

    def __init__(
        self, app: ASGIApp, gateway: Gateway, policy: WorkingPolicy, audit: Path, model: str
    ) -> None:
        self._app = app
        self._gateway = gateway
        self._policy = policy
        self._audit = audit
        self._about = {"model": model, "groups": read_yaml("offers.yaml")}
        self._files = {name: (HERE / "page" / name).read_bytes() for name in PAGE}
        self._routes: dict[str, dict[str, Endpoint]] = {
            "/": {"GET": self._file("index.html")},
            **{f"/page/{name}": {"GET": self._file(name)} for name in PAGE},
            "/demo/config": {"GET": self._config},
            "/demo/alone": {"POST": self._alone},
            "/demo/findings": {"POST": self._findings},
            "/demo/record": {"GET": self._record},
            "/demo/state": {"GET": self._state},
            "/demo/check": {"POST": self._check_policy},
            "/demo/policy": {"GET": self._read_policy, "PUT": self._save_policy},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_ours(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            refuse_foreign(scope)
            await self._endpoint(scope)(scope, receive, send)
        except ClientGone:
            return
        except GatewayError as error:
            await _json(error.as_object(), error.status)(scope, receive, send)
        except Exception as error:  # noqa: BLE001  (whatever it is, the page reads the same, and it is not text)
            log.error("unforeseen %s on the demo's page", type(error).__name__)
            await _json(GatewayError().as_object(), 500)(scope, receive, send)

    def _endpoint(self, scope: Scope) -> Endpoint:
        methods = self._routes.get(scope["path"])
        if methods is None:
            raise NotFound
        endpoint = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if endpoint is None:
            raise MethodNotAllowed
        return endpoint

    def _file(self, name: str) -> Endpoint:
        return Response(self._files[name], 200, HEADERS, media_type=PAGE[name])

    async def _config(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _json(self._about)(scope, receive, send)

    # -- asking --------------------------------------------------------------------------------------

    async def _alone(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the model itself: what it says is passed on event by event, and nobody looks at it."""
        question = parse(await read_body(scope, receive, MAX_ASKED_BYTES, _BODY_S))
        await unless_gone(receive, self._relay(question, Client(send, _SEND_S)))

    async def _relay(self, question: Question, client: Client) -> None:
        body = dict(question.upstream)
        if question.max_tokens is not None:
            body[question.limit_field] = question.max_tokens
        if question.stop:
            body["stop"] = list(question.stop)
        answer = await self._gateway.upstream.open("/v1/chat/completions", body, streaming=True)
        async with aclosing(answer):
            await client.stream(_events(answer))

    async def _findings(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = read_object(await read_body(scope, receive, MAX_ASKED_BYTES, _BODY_S))
        question = parse(orjson.dumps(as_object(asked.get("request"), "request")))
        answer = as_text(asked.get("answer", ""), "answer")
        try:
            shown = await found(self._gateway.guard, question.passages, answer)
        except ScanError:
            raise GuardUnavailable from None
        await _json(shown)(scope, receive, send)

    async def _record(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = "".join(parse_qs(scope["query_string"].decode("latin-1")).get("exchange", []))
        if not _EXCHANGE.fullmatch(exchange):
            raise NotFound
        records = await asyncio.to_thread(recorded, self._audit, exchange)
        await _json({"records": records})(scope, receive, send)

    # -- the policy ----------------------------------------------------------------------------------

    async def _state(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _json(await self._policy.standing(self._gateway))(scope, receive, send)

    async def _read_policy(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _json(await self._policy.read(self._gateway))(scope, receive, send)

    async def _check_policy(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say what is wrong with a text that is still being written; nothing comes of it."""
        shown: dict[str, Any] = {"problems": [], "more": 0}
        try:
            await self._policy.check(await _text(scope, receive))
        except PolicyError as error:
            shown = complaints(error)
        await _json(shown)(scope, receive, send)

    async def _save_policy(self, scope: Scope, receive: Receive, send: Send) -> None:
        text = await _text(scope, receive)
        try:
            shown, status = await self._policy.save(text, self._gateway), 200
        except PolicyError as error:
            shown, status = complaints(error), 422
        await _json(shown, status)(scope, receive, send)


async def _text(scope: Scope, receive: Receive) -> str:
    asked = read_object(await read_body(scope, receive, MAX_POLICY_BYTES, _BODY_S))
    return as_text(asked.get("text"), "text")


async def _events(answer: Answer) -> AsyncGenerator[bytes, None]:
    async for together in answer:
        yield b"".join(event(each) for each in together)
    yield DONE


def _is_ours(path: str) -> bool:
    return path == "/" or path.startswith(("/page/", "/demo/"))


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, HEADERS, media_type="application/json")
