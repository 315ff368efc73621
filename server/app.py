"""The two applications: the API for clients, and readiness with metrics for the admin address.

Here is what concerns every request whatever it asks: its id, its key, its size, how many at a time, a client
that goes away, and that every failure reads as an OpenAI error object.  What an exchange means is the
pipeline's, and how it looks is `server.api`'s.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from policies.policy import Policy
from server.api import chat
from server.client import Client, ClientGone, drain, read_body, unless_gone
from server.errors import GatewayError, MethodNotAllowed, NotFound, Overloaded, TooLarge, Unauthorized
from server.exchange import Exchange, Part, Question
from server.ids import fresh_id
from server.keys import Keys
from server.metrics import CONTENT_TYPE, Metrics
from server.settings import Settings
from server.upstream import Upstream

log = logging.getLogger("lethe")

COMPLETIONS = "/v1/chat/completions"

_REQUEST_ID = re.compile(r"(req-)?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


class Released(Protocol):
    """The parts of an answer, those that leave together at a time; must be closed, read or not."""

    def __aiter__(self) -> AsyncIterator[Sequence[Part]]: ...

    async def __anext__(self) -> Sequence[Part]: ...

    async def aclose(self) -> None: ...


class Gateway(Protocol):
    """What the applications need of `server.pipeline.Gateway`."""

    @property
    def policy(self) -> Policy: ...

    @property
    def upstream(self) -> Upstream: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def key(self) -> bytes: ...

    def open(self, question: Question, key_id: str) -> Exchange: ...

    async def models(self) -> list[dict[str, Any]]: ...

    async def begin(self, exchange: Exchange) -> Released:
        """Return the released answer; raises GatewayError before its first byte."""
        ...

    def ready(self) -> dict[str, Any]: ...


def create_app(settings: Settings, *, gateway: Gateway) -> ASGIApp:
    """Return the application for clients; it serves three routes and denies every other.

    Raises OSError or ValueError where the clients' key cannot be used.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_exception_handler(HTTPException, _no_route)
    keys = Keys(gateway.key, settings.client_key())
    app.add_middleware(Admission, keys=keys)
    # The last one added is the outermost.
    app.add_middleware(Front, metrics=gateway.metrics)
    completions = Completions(settings, gateway)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response(b"ok\n", media_type="text/plain")

    @app.get("/v1/models")
    async def models() -> Response:
        listed = {"object": "list", "data": await gateway.models()}
        return Response(orjson.dumps(listed), media_type="application/json")

    # As a bare application: its requests are read by `server.api`, and nothing is left for FastAPI to do.
    # The route is there for other methods to be denied; `Direct` takes the requests themselves.
    app.router.routes.append(Route(COMPLETIONS, completions, methods=["POST"]))
    return Direct(app, {COMPLETIONS: Front(Admission(completions, keys), gateway.metrics)})


def create_admin_app(ready: Callable[[], Awaitable[Mapping[str, Any]]], metrics: Metrics) -> FastAPI:
    """Return the application for the admin address; no part of it needs a key.

    `ready` gives the detail of `/readyz`, whose status is 200 only where no value of it is False.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_middleware(Front, metrics=metrics)

    @app.get("/readyz")
    async def readyz() -> Response:
        detail = {**await ready()}
        detail["ready"] = all(value is not False for value in detail.values())
        status = 200 if detail["ready"] else 503
        return Response(orjson.dumps(detail), status, media_type="application/json")

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return app


async def readiness(gateway: Gateway) -> dict[str, Any]:
    """Return what `/readyz` shows of one process."""
    return {**gateway.ready(), "upstream": await gateway.upstream.ready()}


class Front:
    """The outermost layer: an id for every request, and an error object for everything that is raised.

    A request id of the client's is kept only where it has the form of a UUID or a trace id, so that no text
    of the client's travels into records by this way.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] >= 400:
                    self._metrics.refused(message["status"])
                headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except ClientGone:
            return
        except asyncio.CancelledError:
            # The server stops, and this exchange was given its time.
            if not started:
                await _send_error(Overloaded(), scope, receive, tagged)
            raise
        except GatewayError as error:
            shown = error
        except Exception as error:  # noqa: BLE001  (whatever it is, a client reads the same, and it is not text)
            log.error("unforeseen %s in request %s", type(error).__name__, request_id)
            shown = GatewayError()
        else:
            return
        # Once an answer has begun, leaving it unfinished closes the connection: the client sees it break off.
        if not started:
            await _send_error(shown, scope, receive, tagged)


class Admission:
    """Who may ask: everything but `/healthz` needs the key, where there is one."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/healthz":
            scope["state"]["key_id"] = self._keys.admit(scope["headers"])
        await self._app(scope, receive, send)


class Direct:
    """The way past FastAPI's eight layers, for the endpoints that are asked all the time.

    posted: by path, the application for a POST; every other request goes to `app`.
    """

    def __init__(self, app: ASGIApp, posted: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._posted = posted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        posted = scope["type"] == "http" and scope["method"] == "POST"
        app = self._posted.get(scope["path"], self._app) if posted else self._app
        await app(scope, receive, send)


class Completions:
    """`POST /v1/chat/completions`, for one process."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self._settings = settings
        self._gateway = gateway
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a request and answer it.  Raises GatewayError before the first byte, and ClientGone."""
        key_id, request_id = scope["state"]["key_id"], scope["state"]["request_id"]
        if self._running >= self._settings.max_exchanges:
            raise Overloaded
        self._running += 1
        try:
            body = await read_body(scope, receive, self._settings.max_body_bytes, self._settings.body_s)
            await unless_gone(receive, self._answer(key_id, request_id, body, send))
        finally:
            self._running -= 1

    async def _answer(self, key_id: str, request_id: str, body: bytes, send: Send) -> None:
        question = chat.parse(body)
        exchange = self._gateway.open(question, key_id)
        exchange.request_id = request_id
        parts = await self._gateway.begin(exchange)
        async with aclosing(parts):
            client = Client(send, self._settings.send_s)
            if question.streaming:
                await client.stream(chat.stream_bytes(exchange, parts, lambda: client.started))
            else:
                await client.whole(await chat.whole_bytes(exchange, parts))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name.lower() == b"x-request-id":
            sent = str(value, "latin-1")
            if _REQUEST_ID.fullmatch(sent):
                return sent
    return fresh_id("req-")


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    shown = MethodNotAllowed() if error.status_code == 405 else NotFound()
    return _error_response(shown, error.headers or {})


def _error_response(error: GatewayError, more: Mapping[str, str] = {}) -> Response:
    headers = {**error.headers(), **more}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, TooLarge):
        headers["connection"] = "close"
    return Response(error.body(), error.status, headers, media_type="application/json")


async def _send_error(error: GatewayError, scope: Scope, receive: Receive, send: Send) -> None:
    response = _error_response(error)
    if not isinstance(error, TooLarge):
        await response(scope, receive, send)
        return
    # A client that is still sending would see a reset instead of the answer, if the connection closed now:
    # what it sends is thrown away for a while first.
    start = {"type": "http.response.start", "status": error.status, "headers": response.raw_headers}
    await send(start)
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    await drain(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
