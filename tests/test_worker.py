"""A worker and its parent's line: for a worker that no longer hears its parent, policies would never change."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from server.messages import Line
from server.settings import Settings
from server.worker import _Worker


@pytest.mark.parametrize(
    "sent", [b"", b"\0" * 7, b"\0\0\0\4" + b"\0" * 8 + b"{no}"], ids=["gone", "cut", "garbled"]
)
async def test_a_worker_that_cannot_hear_its_parent_any_more_stops(tmp_path: Path, sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    settings = Settings(policy=tmp_path / "p", upstream="http://127.0.0.1:1", state=tmp_path)
    line, stopping = await Line.over(theirs), asyncio.Event()
    conversing = asyncio.create_task(_Worker(settings, line).converse(stopping))
    await asyncio.to_thread(ours.sendall, sent)
    if b"{no}" not in sent:  # that one is there still, and is not understood
        ours.close()
    async with asyncio.timeout(10):
        await stopping.wait()
    await conversing
    assert stopping.is_set() and conversing.done()
    line.close()
    ours.close()
