"""Watching a policy file: every change of what it holds is seen, and nothing else is a change."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from server import policy_file
from server.policy_file import PolicyFile, Saved

FIRST, SECOND = b"lethe: 1\nname: a\n", b"lethe: 1\nname: b\n"


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[PolicyFile]:
    made = PolicyFile(file)
    await made.first()
    async with asyncio.timeout(30):
        yield made


async def next_of(made: PolicyFile) -> Saved:
    saved = await made.changed(20)
    assert saved is not None
    return saved


async def test_a_change_is_seen_with_its_content_and_digest(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(FIRST)
    async with watched(file) as made:
        file.write_bytes(SECOND)
        saved = await next_of(made)
        assert (saved.source.data, saved.digest) == (SECOND, sha256(SECOND).hexdigest())
        assert await made.changed(0) is None


async def test_a_file_that_is_written_anew_with_the_same_content_has_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(FIRST)
    async with watched(file) as made:
        (tmp_path / "new").write_bytes(FIRST)
        (tmp_path / "new").replace(file)
        assert await made.changed(1) is None
        file.write_bytes(SECOND)
        assert (await next_of(made)).source.data == SECOND


async def test_a_change_that_leaves_no_mark_on_the_file_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system whose clock is coarse: same size, same times, same inode."""
    file = tmp_path / "p.yaml"
    file.write_bytes(FIRST)
    monkeypatch.setattr(PolicyFile, "_stamped", lambda self: (1, 2, 3))
    async with watched(file) as made:
        assert await made.changed(0.5) is None
        file.write_bytes(SECOND)
        assert await made.changed(0) is None
        made.look_now()
        assert (await next_of(made)).source.data == SECOND
        monkeypatch.setattr(policy_file, "_WHOLE_S", 0.3)
        made.look_now()
        await made.changed(0)
        file.write_bytes(FIRST)
        assert (await next_of(made)).source.data == FIRST


async def test_a_change_right_behind_another_is_seen_though_the_clock_did_not_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_file, "_WHOLE_S", 1e9)
    file = tmp_path / "p.yaml"
    file.write_bytes(FIRST)
    async with watched(file) as made:
        assert await made.changed(0.3) is None
        monkeypatch.setattr(PolicyFile, "_stamped", lambda self: (1, 2, 3))
        file.write_bytes(SECOND)
        assert (await next_of(made)).source.data == SECOND
        file.write_bytes(FIRST)
        assert (await next_of(made)).source.data == FIRST


async def test_a_file_is_not_taken_while_it_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_file, "_SETTLE_S", 1.0)
    file = tmp_path / "p.yaml"
    file.write_bytes(FIRST)
    async with watched(file) as made:
        with file.open("wb", buffering=0) as opened:
            for byte in SECOND:
                opened.write(bytes([byte]))
                assert await made.changed(0.02) is None
        assert (await next_of(made)).source.data == SECOND


async def test_a_file_that_goes_and_comes_back_is_told(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(FIRST)
    async with watched(file) as made:
        file.unlink()
        gone = await next_of(made)
        assert gone.digest == "" and "does not exist" in str(gone.error)
        assert await made.changed(1) is None
        file.mkdir()
        assert "is a directory" in str((await next_of(made)).error)
        file.rmdir()
        os.mkfifo(file)
        assert "no regular file" in str((await next_of(made)).error)
        file.unlink()
        file.write_bytes(FIRST)
        assert (await next_of(made)).source.data == FIRST


async def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(FIRST)
    async with watched(file) as made:
        with file.open("ab") as opened:
            opened.truncate(65 * 1024 * 1024)
        large = await next_of(made)
        assert large.source.data == b"" and "at most" in str(large.error)
