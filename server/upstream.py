"""The model server, over HTTP: one request out, an answer as parsed JSON objects back.

Whatever goes wrong becomes one of the errors of `server.errors`, in our own words: nothing that the upstream
wrote, its address or the key for it is in them.  Nothing is retried: clients do that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import orjson
from pydantic import SecretStr

from server.deadline import within
from server.errors import (
    KEY_REFUSED,
    GatewayError,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
    upstream_error,
)
from server.settings import Settings
from server.sse import DONE_DATA, Events

log = logging.getLogger("lethe")

MAX_BYTES = 64 << 20
"""Largest answer that is not streamed."""

_KEEPALIVE_S = 3
"""Below the 5 s of uvicorn, so that a request never meets a connection that is being closed."""

_READY_S = 5
_ERROR_S = 2
_ERROR_BYTES = 64 << 10
_SETTLE_S = 0.05
_SAID_EVERY_S = 60.0
"""How often it may be said that a key is refused, or no longer: some refuse it for one model alone."""
_VERSION = re.compile(r"v\d")


class Truncated(UpstreamFailed):
    """A streamed answer ended without `[DONE]`: whether it is whole is for the pipeline to say."""


class Answer(Protocol):
    """An answer that has begun with status 200: its events in order, one only where it is not streamed.

    Each step gives the events that arrived together, at least one.
    Iteration raises UpstreamTimeout or UpstreamFailed, as Truncated where the connection ended in peace.
    """

    done: bool
    """Whether the answer came to its proper end."""

    def __aiter__(self) -> Answer: ...

    async def __anext__(self) -> list[dict[str, Any]]: ...

    async def aclose(self) -> None:
        """Close the connection at once, wherever the answer is; again is harmless."""
        ...


class Upstream(Protocol):
    """What answers questions."""

    async def open(self, path: str, body: Mapping[str, Any], *, streaming: bool) -> Answer:
        """Send `body` to `path`, such as `/v1/chat/completions`, and return once the answer begins.

        `stream` and, where nothing else is said, `stream_options` are set here.
        Raises UpstreamUnreachable, UpstreamTimeout or UpstreamFailed.
        """
        ...

    async def models(self) -> list[dict[str, Any]]:
        """Return its models as `/v1/models` lists them, with allow-listed fields only.  Raises as `open`."""
        ...

    async def ready(self) -> bool:
        """Whether it can be asked now; takes seconds at most and never raises."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an upstream may take, in seconds."""

    connect_s: float = 5
    first_byte_s: float = 300
    """Until the head of the answer, and from there until the first event.  Comments do not count."""
    idle_s: float = 60
    """Between two events of a streamed answer."""
    whole_s: float = 1800


def base_of(url: str) -> str:
    """Return where the API's paths hang below `url`: with `/v1`, unless it names a version already."""
    url = url.rstrip("/")
    versioned = any(_VERSION.match(part) for part in urlsplit(url).path.split("/"))
    return url if versioned else f"{url}/v1"


class HttpUpstream:
    """An OpenAI-style server; made inside the event loop that it is used in, once a process.

    limit: connections at a time.
    """

    def __init__(
        self,
        base_url: str,
        key: SecretStr | None = None,
        timeouts: Timeouts = Timeouts(),
        limit: int = 256,
    ) -> None:
        self._base = base_of(base_url)
        self._timeouts = timeouts
        self._key = _KeyState()
        # Compressed answers are not asked for and not taken: a small one could unpack to any size.
        headers = {"User-Agent": "lethe", "Accept-Encoding": "identity"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=_KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return "HttpUpstream()"

    async def open(self, path: str, body: Mapping[str, Any], *, streaming: bool) -> Answer:
        sent = {**body, "stream": streaming}
        if streaming:
            sent.setdefault("stream_options", {"include_usage": True})
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.whole_s
        response = await self._request("POST", path, orjson.dumps(sent), self._timeouts.first_byte_s)
        self._key.answered(response.status)
        await _check(response, "text/event-stream" if streaming else "application/json")
        if streaming:
            return _Streamed(response, self._timeouts, deadline)
        return _Whole(response, self._timeouts, deadline)

    async def models(self) -> list[dict[str, Any]]:
        response = await self._request("GET", "/v1/models", None, self._timeouts.first_byte_s)
        await _check(response, "application/json")
        deadline = asyncio.get_running_loop().time() + self._timeouts.idle_s
        answer = _Whole(response, self._timeouts, deadline)
        try:
            (told,) = await anext(answer)
            listed = told.get("data")
        finally:
            await answer.aclose()
        if not isinstance(listed, list):
            raise UpstreamFailed
        return [shown for model in listed if (shown := _model(model))]

    async def ready(self) -> bool:
        try:
            response = await self._request("GET", "/v1/models", None, _READY_S)
        except GatewayError:
            return False
        response.close()
        # A server without a list of models can be asked all the same; one that does not know our key cannot.
        return response.status < 500 and response.status not in (401, 403)

    async def close(self) -> None:
        await self._session.close()

    async def _request(
        self, method: str, path: str, data: bytes | None, timeout_s: float
    ) -> aiohttp.ClientResponse:
        headers = {} if data is None else {"Content-Type": "application/json"}
        url = self._base + path.removeprefix("/v1")
        try:
            asking = self._session.request(method, url, data=data, headers=headers, allow_redirects=False)
            return await within(timeout_s, asking)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise UpstreamUnreachable from error
        except TimeoutError as error:
            raise UpstreamTimeout from error
        except aiohttp.ClientError as error:
            raise UpstreamFailed from error


class _KeyState:
    """Says in the log when the upstream begins to refuse Lethe's key, and when it takes it again.

    Only what is asked shows it: servers list their models to anybody.
    """

    def __init__(self) -> None:
        self._said = False
        """Whether it was said last that the key is refused."""
        self._said_at_s = -_SAID_EVERY_S

    def answered(self, status: int) -> None:
        """Take note of the status of an answer."""
        refused = status in KEY_REFUSED
        if refused == self._said or not (refused or status == 200):
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_at_s < _SAID_EVERY_S:
            return
        self._said, self._said_at_s = refused, now_s
        if refused:
            log.warning("the upstream refuses Lethe's key (%d); --upstream-key-env names it", status)
        else:
            log.info("the upstream takes Lethe's key again")


def connect(settings: Settings) -> HttpUpstream:
    """Return the upstream that the settings name; must be called inside the event loop."""
    timeouts = Timeouts(settings.connect_s, settings.first_byte_s, settings.idle_s, settings.whole_s)
    return HttpUpstream(settings.upstream, settings.upstream_key(), timeouts, settings.max_exchanges)


async def _check(response: aiohttp.ClientResponse, content_type: str) -> None:
    """Raise, with the connection closed, unless the answer begins as it should."""
    if response.status != 200:
        # Of a bad request, the text says whether it was too long; of anything else, nothing is read.
        text = await _error_text(response) if response.status == 400 else b""
        response.close()
        raise upstream_error(response.status, text, response.headers.get("Retry-After"))
    if response.content_type != content_type or "Content-Encoding" in response.headers:
        response.close()
        raise UpstreamFailed


async def _error_text(response: aiohttp.ClientResponse) -> bytes:
    text = b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_ERROR_S):
            while len(text) < _ERROR_BYTES and (piece := await response.content.readany()):
                text += piece
    return text


def _model(listed: object) -> dict[str, Any] | None:
    if not isinstance(listed, dict) or not isinstance(listed.get("id"), str):
        return None
    created = listed.get("created")
    shown = {"id": listed["id"], "object": "model", "owned_by": "upstream"}
    return {**shown, "created": created if isinstance(created, int) else 0}


def _parse(data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        # Not `from error`: its text quotes the document.
        raise UpstreamFailed from None
    if not isinstance(event, dict):
        raise UpstreamFailed
    if error := event.get("error"):
        code = error.get("code") if isinstance(error, dict) else None
        raise upstream_error(code if isinstance(code, int) else 500, data)
    return event


class _Body:
    """The bytes of an answer, with errors of ours and a time for each piece."""

    def __init__(self, response: aiohttp.ClientResponse, timeouts: Timeouts, deadline: float) -> None:
        self.done = False
        self._response = response
        self._timeouts = timeouts
        self._deadline = deadline

    async def _read(self, until: float) -> bytes:
        """Return the next bytes, or none at the end; `until` is in the loop's time."""
        try:
            left_s = min(until, self._deadline) - asyncio.get_running_loop().time()
            if left_s <= 0:
                raise TimeoutError
            data = await within(left_s, self._response.content.readany())
        except TimeoutError as error:
            raise UpstreamTimeout from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed from error
        return data

    async def aclose(self) -> None:
        if self.done and not self._response.closed and not self._response.content.at_eof():
            # The end of the body is on its way: with it, the connection serves the next exchange.
            with contextlib.suppress(GatewayError):
                await self._read(asyncio.get_running_loop().time() + _SETTLE_S)
        self._response.close()


class _Whole(_Body):
    """An answer that is not streamed: one event."""

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> list[dict[str, Any]]:
        if self.done:
            raise StopAsyncIteration
        body = bytearray()
        while not self._response.content.at_eof():
            body += await self._read(self._deadline)
            if len(body) > MAX_BYTES:
                raise UpstreamFailed
        event = _parse(bytes(body))
        self.done = True
        return [event]


class _Streamed(_Body):
    """An answer as server-sent events."""

    def __init__(self, response: aiohttp.ClientResponse, timeouts: Timeouts, deadline: float) -> None:
        super().__init__(response, timeouts, deadline)
        self._events = Events()
        self._until = asyncio.get_running_loop().time() + timeouts.first_byte_s
        self._error: GatewayError | None = None
        """What was wrong behind the events that were returned last."""

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> list[dict[str, Any]]:
        if self._error is not None:
            raise self._error
        while not self.done:
            data = await self._read(self._until)
            if not data:
                raise Truncated
            if payloads := self._events.feed(data):
                self._until = asyncio.get_running_loop().time() + self._timeouts.idle_s
                if events := self._parsed(payloads):
                    return events
        raise StopAsyncIteration

    def _parsed(self, payloads: list[bytes]) -> list[dict[str, Any]]:
        """Return the events up to `[DONE]` or to one that is none; that is raised now if it is the first."""
        events: list[dict[str, Any]] = []
        try:
            for data in payloads:
                if data.strip() == DONE_DATA:
                    self.done = True
                    break
                events.append(_parse(data))
        except GatewayError as error:
            if not events:
                raise
            self._error = error
        return events
