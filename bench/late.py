"""Lethe with a clock in its event loop: a child process of `bench.stalls`.

It serves as `lethe serve` does, and beside it runs a task that sleeps a millisecond again and again and notes
by how much it came late.  `GET /bench/late` says what was noted since it was last asked.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from pathlib import Path

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.load import percentile
from server.pipeline import Gateway
from server.settings import Settings
from server.start import serve

PATH = "/bench/late"
_NAP_S = 0.001


def stalled(late_ms: float) -> list[float]:
    """Return how late the timers were that became due while one was late by `late_ms`, itself first.

    Timers are due every millisecond: else a long stall would count as little as a short one.
    """
    return [late_ms - passed for passed in range(max(1, math.ceil(late_ms)))]


class Clock:
    """An application around the gateway's own, with the task beside it."""

    def __init__(self, gateway: Gateway, app: ASGIApp) -> None:
        self._app = app
        self._late_ms: list[float] = []
        self._noting = asyncio.get_running_loop().create_task(self._note())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            noted, self._late_ms = self._late_ms, []
            said = {f"p{share * 100:g}_ms": percentile(noted, share) for share in (0.5, 0.99, 0.999)}
            await Response(orjson.dumps({**said, "max_ms": max(noted)}))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _note(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_NAP_S)
            self._late_ms += stalled((time.perf_counter() - began - _NAP_S) * 1e3)


def main() -> int:
    """Serve until a signal comes; return the exit status."""
    policy, upstream, port, admin_port, state = sys.argv[1:]
    settings = Settings(
        policy=Path(policy), upstream=upstream, port=int(port), admin_port=int(admin_port), state=Path(state)
    )
    return serve(settings, Clock)


if __name__ == "__main__":
    sys.exit(main())
