"""What a server says of a policy that takes long to compile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import server.compiler
from server.compiler import Compiler, NotCompiled


async def test_what_is_being_compiled_is_said_once_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server.compiler, "_TOLD_S", 0.0)
    caplog.set_level("INFO", "lethe")
    compiler = Compiler(tmp_path, None)
    waiting = asyncio.create_task(compiler.artefact())
    async with asyncio.timeout(30):
        for doing in ("the encoder", "the encoder", "meaning"):
            compiler._replies.put_nowait(({"doing": doing}, b""))
            while f"compiling the policy: {doing}" not in caplog.messages:  # noqa: ASYNC110
                await asyncio.sleep(0)
            for _ in range(20):  # it goes on looking
                await asyncio.sleep(0)
        compiler._replies.put_nowait(({"failed": "over"}, b""))
        with pytest.raises(NotCompiled, match="over"):
            await waiting
    told = [each.removeprefix("compiling the policy: ") for each in caplog.messages]
    assert [each for each in told if "waiting" not in each] == ["the encoder", "meaning"]
    assert len(told) == len(set(told))
