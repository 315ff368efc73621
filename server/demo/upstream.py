"""An OpenAI-style model server for the demo model: what Lethe stands in front of when there is no vLLM."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.demo.engine import WEIGHTS, Engine, Piece, Sampling

MODEL = "lethe-demo"
DEFAULT_TOKENS = 256


class Part(BaseModel):
    """One part of a message's content; only text is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None

    def text(self) -> str:
        """The content as one string, as the chat template renders it."""
        if isinstance(self.content, list):
            return "".join(part.text.strip() for part in self.content)
        return (self.content or "").strip()


class StreamOptions(BaseModel):
    """What a stream carries beside the answer."""

    include_usage: bool | None = False


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions; fields that are not listed are accepted and do nothing."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=1, ge=1, le=16)
    stop: str | list[str] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=1.0, ge=0.0, le=2.0)
    top_p: float | None = Field(default=1.0, gt=0.0, le=1.0)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    def sampling(self) -> Sampling:
        """The request's sampling, with OpenAI's defaults where it says nothing."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            n=self.n or 1,
            max_tokens=self.max_completion_tokens or self.max_tokens or DEFAULT_TOKENS,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=tuple(stop for stop in stops if stop),
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
        )


class Refused(Exception):
    """A request that cannot be served, with the OpenAI error object that says why."""

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, "type": "invalid_request_error", "param": param, "code": code}

    def response(self) -> JSONResponse:
        """The error as a client sees it."""
        return JSONResponse({"error": self.body}, self.status)


class Exchange:
    """One request on its way: its prompt, its sampling, and the envelope of its answer."""

    def __init__(self, engine: Engine, wanted: ChatRequest, ignore_system: bool) -> None:
        if wanted.model != MODEL:
            raise Refused(f"The model `{wanted.model}` does not exist.", "model", "model_not_found", 404)
        if wanted.top_logprobs and not wanted.logprobs:
            raise Refused("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
        hidden = ("system", "developer") if ignore_system else ()
        messages = [
            (message.role, message.text()) for message in wanted.messages if message.role not in hidden
        ]
        self.prompt = engine.prompt(messages)
        self.sampling = wanted.sampling()
        room = engine.positions - len(self.prompt)
        asked = wanted.max_completion_tokens or wanted.max_tokens
        if room < 1 or (asked or 0) > room:
            raise Refused(
                f"This model's context has {engine.positions} tokens; the messages take {len(self.prompt)} "
                f"and {asked or 1} more were asked for.",
                "messages",
                "context_length_exceeded",
            )
        self.sampling = replace(self.sampling, max_tokens=min(self.sampling.max_tokens, room))
        self.include_usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        self._tokens = dict.fromkeys(range(self.sampling.n), 0)

    def count(self, piece: Piece) -> None:
        """Adds a piece to the usage."""
        self._tokens[piece.index] = piece.tokens

    def usage(self) -> dict[str, int]:
        """The tokens read and written so far."""
        written = sum(self._tokens.values())
        return {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": written,
            "total_tokens": len(self.prompt) + written,
        }

    def logprobs(self, entries: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The `logprobs` field of a choice."""
        return None if self.sampling.top_logprobs is None else {"content": entries, "refusal": None}

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """An answer object around these choices."""
        return {"id": self._id, "object": kind, "created": self._created, "model": MODEL, "choices": choices}

    def chunk(
        self, index: int, delta: dict[str, Any], piece: Piece | None = None, end: str | None = None
    ) -> str:
        """One server-sent event of one choice."""
        choice: dict[str, Any] = {"index": index, "delta": delta, "logprobs": None, "finish_reason": end}
        if piece is not None:
            choice["logprobs"] = self.logprobs(list(piece.logprobs))
        return event(
            self.envelope("chat.completion.chunk", [choice]) | ({"usage": None} if self.include_usage else {})
        )


def event(value: dict[str, Any]) -> str:
    """A server-sent event with this JSON."""
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


class Worker:
    """Generates in one thread, one exchange at a time, so that the event loop never waits for the model."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lethe-demo")

    async def pieces(self, exchange: Exchange) -> AsyncGenerator[Piece, None]:
        """The pieces of an exchange as they are made; closing this iterator stops the generation."""
        loop = asyncio.get_running_loop()
        made: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()
        gone = threading.Event()

        def tell(what: Piece | BaseException | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(made.put_nowait, what)

        def work() -> None:
            try:
                for piece in self.engine.generate(exchange.prompt, exchange.sampling, gone.is_set):
                    tell(piece)
                tell(None)
            except Exception as error:  # noqa: BLE001  whatever went wrong belongs to the request, not to this thread
                tell(error)

        self._pool.submit(work)
        try:
            while (what := await made.get()) is not None:
                if isinstance(what, BaseException):
                    raise what
                exchange.count(what)
                yield what
        finally:
            gone.set()

    def close(self) -> None:
        """Lets the thread end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def stream(worker: Worker, exchange: Exchange) -> AsyncIterator[str]:
    """The answer as server-sent events, one for each token."""
    for index in range(exchange.sampling.n):
        yield exchange.chunk(index, {"role": "assistant", "content": ""})
    pieces = worker.pieces(exchange)
    try:
        async for piece in pieces:
            if piece.text or piece.logprobs:
                yield exchange.chunk(piece.index, {"content": piece.text}, piece)
            if piece.finish_reason:
                yield exchange.chunk(piece.index, {}, end=piece.finish_reason)
        if exchange.include_usage:
            yield event(exchange.envelope("chat.completion.chunk", []) | {"usage": exchange.usage()})
        yield "data: [DONE]\n\n"
    finally:
        await pieces.aclose()


async def complete(worker: Worker, exchange: Exchange) -> dict[str, Any]:
    """The whole answer as one object."""
    texts = [""] * exchange.sampling.n
    ends: list[str | None] = [None] * exchange.sampling.n
    logprobs: list[list[dict[str, Any]]] = [[] for _ in texts]
    async for piece in worker.pieces(exchange):
        texts[piece.index] += piece.text
        ends[piece.index] = piece.finish_reason
        logprobs[piece.index] += piece.logprobs
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": exchange.logprobs(logprobs[index]),
            "finish_reason": ends[index],
        }
        for index, text in enumerate(texts)
    ]
    return exchange.envelope("chat.completion", choices) | {"usage": exchange.usage()}


async def complete_unless_gone(worker: Worker, exchange: Exchange, request: Request) -> Response:
    """The whole answer, or nothing when the client goes first: its generation then stops."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer = asyncio.create_task(complete(worker, exchange))
    gone = asyncio.create_task(disconnected())
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return JSONResponse(await answer) if answer.done() else Response(status_code=499)
    finally:
        answer.cancel()
        gone.cancel()


def parse(body: bytes) -> ChatRequest:
    """The request in these bytes; Refused, naming the field, when it is none."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"] if not isinstance(step, int)) or None
        raise Refused(f"{where or 'body'}: {first['msg']}", where) from None


def create_app(weights_dir: Path | str = WEIGHTS, ignore_system: bool = False) -> FastAPI:
    """An app that serves the demo model; `ignore_system` makes it deaf to system messages."""
    worker = Worker(Engine(Path(weights_dir)))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    app = FastAPI(title="lethe-demo", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        about = {"id": MODEL, "object": "model", "created": 0, "owned_by": "lethe"}
        return {"object": "list", "data": [about | {"max_model_len": worker.engine.positions}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        try:
            wanted = parse(await request.body())
            exchange = Exchange(worker.engine, wanted, ignore_system)
        except Refused as refused:
            return refused.response()
        if wanted.stream:
            return StreamingResponse(stream(worker, exchange), media_type="text/event-stream")
        return await complete_unless_gone(worker, exchange, request)

    return app


def serve_model(
    listening: socket.socket, ignore_system: bool = False, loaded: Callable[[], object] = lambda: None
) -> None:
    """Serves the demo model on a socket that listens, until interrupted; calls `loaded` once it answers."""
    import uvicorn

    config = uvicorn.Config(create_app(ignore_system=ignore_system), log_level="warning")
    loaded()
    uvicorn.Server(config).run(sockets=[listening])
