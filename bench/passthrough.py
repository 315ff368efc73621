"""What any gateway costs, on Lethe's server and client: `python -m bench.passthrough PORT URL [joined]`."""

import sys
from collections.abc import AsyncIterator

import aiohttp
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from server.serving import Listener, listen, run


async def _relayed(answer: aiohttp.ClientResponse, joined: tuple[str, ...]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in answer.content.iter_any():
        *events, rest = (rest + piece).split(b"\n\n")
        told = [e[6:] if e.endswith(b"[DONE]") else orjson.dumps(orjson.loads(e[6:])) for e in events]
        for group in [told] if joined else [[each] for each in told]:
            yield b"".join(b"data: %b\n\n" % each for each in group)


async def _serve(port: int, url: str, *joined: str) -> None:
    app, pool = FastAPI(openapi_url=None), aiohttp.TCPConnector(limit=256, keepalive_timeout=3)
    async with aiohttp.ClientSession(connector=pool, headers={"Content-Type": "application/json"}) as client:

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            asked = orjson.loads(await request.body())
            answer = await client.post(url + "/v1/chat/completions", data=orjson.dumps(asked))
            if asked.get("stream"):
                return StreamingResponse(_relayed(answer, joined), answer.status, None, "text/event-stream")
            return Response(orjson.dumps(orjson.loads(await answer.read())), answer.status)

        listener = Listener(app, 5)
        await listener.run_until(listener.stop_on_signals(), listen("127.0.0.1", port))


run(_serve(int(sys.argv[1]), *sys.argv[2:]))
