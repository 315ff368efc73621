"""The encoders, their export, and the thread that runs them."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import guards.encoder
import guards.retain
from guards import exports
from guards.base import EncoderUnavailable
from guards.encoder import HashingEncoder, OnnxEncoder, Vectors, export_encoder, load_encoder
from guards.encoder_thread import EncoderThread
from guards.retain import Retain


@pytest.fixture(scope="module")
def onnx(request: pytest.FixtureRequest) -> OnnxEncoder:
    # Kept between runs, as a server keeps its state folder.
    return load_encoder(request.config.cache.mkdir("lethe-state"))


@pytest.fixture
def onnx_folder(onnx: OnnxEncoder, request: pytest.FixtureRequest) -> Path:
    return exports.folder_of(request.config.cache.mkdir("lethe-state"), None)


# --- encoders ---------------------------------------------------------------------------------------------


@given(st.lists(st.text(), max_size=5))
def test_hashing_gives_unit_rows_that_do_not_depend_on_their_company(texts: list[str]) -> None:
    encoder = HashingEncoder(64)
    vectors = encoder.encode(texts)
    assert vectors.shape == (len(texts), 64) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(len(texts)), rtol=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_array_equal(encoder.encode([text])[0], vector)


def test_hashing_hears_words_and_not_their_order_or_case() -> None:
    one, same, other = HashingEncoder().encode(["Red boats sail", "sail, RED boats!", "green tea"])
    assert one @ same == pytest.approx(1.0)
    assert one @ other < 0.5


def test_onnx_gives_unit_rows_and_knows_paraphrases(onnx: OnnxEncoder) -> None:
    vectors = onnx.encode(
        ["How do I repair a bicycle?", "My bike is broken; can I fix it?", "What is a sonnet?"]
    )
    assert vectors.shape == (3, onnx.dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(3), rtol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6 > 0.3 > vectors[0] @ vectors[2]


def test_a_vector_does_not_depend_on_what_else_is_encoded(onnx: OnnxEncoder) -> None:
    texts = ["Short.", "A rather longer sentence about the ferry that goes to the island twice a day.", ""]
    together = onnx.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(onnx.encode([text])[0], vector)


def test_what_lies_beyond_the_token_limit_is_still_read(onnx: OnnxEncoder) -> None:
    filler = "boat " * 400
    plain, loaded, topic = onnx.encode([filler, filler + "volcano " * 100, "volcano"])
    assert np.linalg.norm(loaded) == pytest.approx(1.0, abs=1e-5)
    assert loaded @ topic > plain @ topic + 0.1


def test_lone_surrogates_and_invisible_characters_are_encoded(onnx: OnnxEncoder) -> None:
    assert np.isfinite(onnx.encode(["\ud800", "\u200b\u200b", "日本語" * 200])).all()


def test_importing_and_running_never_imports_torch(onnx: OnnxEncoder, request: pytest.FixtureRequest) -> None:
    state = request.config.cache.mkdir("lethe-state")
    code = (
        "import sys, pathlib, guards.meaning\n"
        "from guards.encoder import load_encoder\n"
        f"load_encoder(pathlib.Path({str(state)!r})).encode(['hello'])\n"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- the export -------------------------------------------------------------------------------------------


def test_an_export_agrees_with_the_original_and_is_written_once(tmp_path: Path, onnx: OnnxEncoder) -> None:
    folder = export_encoder(None, tmp_path / "encoders" / "made")
    assert sorted(file.name for file in folder.iterdir()) == ["encoder.json", "model.onnx", "tokenizer.json"]
    text = ["The bakery opens at six, except on Sundays."]
    np.testing.assert_allclose(OnnxEncoder(folder).encode(text), onnx.encode(text), atol=1e-5)

    written = (folder / "encoder.json").stat().st_mtime_ns
    export_encoder(None, folder)
    assert (folder / "encoder.json").stat().st_mtime_ns == written
    assert [path.name for path in folder.parent.iterdir()] == ["made"]


def test_an_export_that_differs_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards.encoder, "_LEAST_COSINE", 1.5)
    with pytest.raises(ValueError, match="differs from the original"):
        export_encoder(None, tmp_path / "encoders" / "made")
    assert not list((tmp_path / "encoders").iterdir())


def test_a_model_that_cannot_be_exported_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(EncoderUnavailable, match=r"model cannot be exported: .*modules\.json"):
        load_encoder(tmp_path / "state", str(tmp_path / "model"))


def test_a_folder_that_does_not_say_how_to_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"modules\.json"):
        export_encoder(str(tmp_path), tmp_path / "made")


def test_a_damaged_export_does_not_pass_as_loaded(tmp_path: Path) -> None:
    folder = exports.folder_of(tmp_path, None)
    folder.mkdir(parents=True)
    about = {"name": "n", "dim": 3, "lower": True, "max_tokens": 8}
    (folder / "encoder.json").write_text(json.dumps(about))
    with pytest.raises(EncoderUnavailable, match=r"cannot be loaded: encoder\.json is not what was written"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.onnx", "cut off"), ("model.onnx", "gone"),
        ("tokenizer.json", "cut off"), ("tokenizer.json", "other bytes"), ("tokenizer.json", "gone"),
        ("encoder.json", "cut off"), ("encoder.json", "other bytes"),
    ],
)  # fmt: skip
def test_a_damaged_export_is_told_of_by_its_file_and_by_what_helps(
    tmp_path: Path, onnx_folder: Path, name: str, damage: str
) -> None:
    folder = exports.folder_of(tmp_path, None)
    folder.mkdir(parents=True)
    for file in onnx_folder.iterdir():
        data = file.read_bytes()
        if file.name != name:
            (folder / file.name).symlink_to(file)
        elif damage != "gone":
            (folder / name).write_bytes(data[: len(data) // 2] if damage == "cut off" else b"\xff" + data[1:])
    with pytest.raises(EncoderUnavailable) as told:
        load_encoder(tmp_path)
    assert f"cannot be loaded: {name}" in str(told.value)
    assert f"{folder}; delete this folder: `lethe prepare`, or the next start, exports it anew" in str(
        told.value
    )
    assert exports.described(tmp_path, None)


def test_a_damaged_export_that_was_shipped_is_not_to_be_made_here(
    tmp_path: Path, onnx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "SHIPPED", tmp_path / "shipped")
    folder = shutil.copytree(onnx_folder, tmp_path / "shipped" / "encoders" / onnx_folder.name)
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(
        EncoderUnavailable, match=r"model\.onnx .*with this installation, which must be installed"
    ):
        load_encoder(tmp_path / "state")


def test_an_export_that_changed_by_a_bit_does_not_pass_as_loaded(tmp_path: Path, onnx_folder: Path) -> None:
    folder = shutil.copytree(onnx_folder, exports.folder_of(tmp_path, None))
    assert OnnxEncoder(folder).dim
    data = bytearray((folder / "model.onnx").read_bytes())
    data[-100] ^= 1
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(EncoderUnavailable, match=r"model\.onnx changed since the export"):
        load_encoder(tmp_path)


def test_a_shipped_export_comes_first_and_nothing_is_written(
    tmp_path: Path, onnx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(guards.retain, "SHIPPED", tmp_path / "shipped")
    state = tmp_path / "state"
    shutil.copytree(onnx_folder, tmp_path / "shipped" / "encoders" / onnx_folder.name)
    # What lies in a state folder is not looked at where the installation brought its own.
    (state / "encoders" / onnx_folder.name).mkdir(parents=True)
    (state / "encoders" / onnx_folder.name / "encoder.json").write_text("{}")
    encoder = load_encoder(state)
    shipped = Retain.load(encoder, tmp_path / "shipped", ["One.", "Two."])
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    loaded = Retain.load(load_encoder(state), state, ["One.", "Two."])
    np.testing.assert_array_equal(loaded.vectors, shipped.vectors)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files


def test_without_torch_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    with pytest.raises(EncoderUnavailable, match=r"no torch here: pip install 'lethe-gateway\[export\]'"):
        load_encoder(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards.encoder, "DEFAULT_MODEL", "no-such-package")
    with pytest.raises(FileNotFoundError, match="no-such-package"):
        guards.encoder._packaged()


def test_the_export_is_found_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present = exports.folder_of(tmp_path, None)

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert exports.folder_of(tmp_path, None) == present


def test_another_content_is_another_export(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("one")
    before = exports.folder_of(tmp_path, str(model))
    (model / "weights").write_text("two")
    assert exports.folder_of(tmp_path, str(model)) != before
    assert exports.folder_of(tmp_path, "a/name") != exports.folder_of(tmp_path, None)


# --- the thread -------------------------------------------------------------------------------------------


class Gated:
    """A hashing encoder that waits at a gate, and does to a batch what a test asks for."""

    name, dim = "gated", 16

    def __init__(self) -> None:
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.batches: list[list[str]] = []
        self.spoil: Callable[[Vectors], Vectors] = lambda vectors: vectors

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(list(texts))
        self.entered.set()
        assert self.gate.wait(20)
        if "bad" in texts:
            raise RuntimeError("do not quote: bad")
        return self.spoil(HashingEncoder(16).encode(texts))


@pytest.fixture
def gated() -> Iterator[tuple[Gated, EncoderThread]]:
    encoder = Gated()
    thread = EncoderThread(encoder, queue_texts=4, deadline_s=20.0)
    yield encoder, thread
    encoder.gate.set()
    thread.close()


async def hold(encoder: Gated, thread: EncoderThread) -> asyncio.Task[Vectors]:
    """Return a call that is inside the encoder, which waits at the gate."""
    encoder.gate.clear()
    encoder.entered.clear()
    first = asyncio.create_task(thread.encode(["first"]))
    assert await asyncio.to_thread(encoder.entered.wait, 20)
    return first


async def waiting(thread: EncoderThread, texts: Sequence[str]) -> asyncio.Task[Vectors]:
    """Return a call that has been queued."""
    task = asyncio.create_task(thread.encode(texts))
    await asyncio.sleep(0)
    return task


async def test_the_thread_answers_as_the_encoder_does(gated: tuple[Gated, EncoderThread]) -> None:
    _, thread = gated
    np.testing.assert_array_equal(await thread.encode(["a b", "c"]), HashingEncoder(16).encode(["a b", "c"]))
    assert (await thread.encode([])).shape == (0, 16)
    assert (thread.calls, thread.failures, thread.turns) == (2, 0, 1)


async def test_calls_take_turns_so_that_a_long_one_holds_up_nobody() -> None:
    encoder = Gated()
    thread = EncoderThread(encoder)
    first = await hold(encoder, thread)
    long, short = [await waiting(thread, texts) for texts in (list("abcdefghij"), ["short"])]
    encoder.gate.set()
    vectors = await asyncio.gather(first, long, short)
    assert encoder.batches == [["first"], list("abcd"), ["short"], list("efgh"), list("ij")]
    np.testing.assert_array_equal(vectors[1], HashingEncoder(16).encode(list("abcdefghij")))
    thread.close()


async def test_what_is_made_of_the_vectors_is_made_on_the_thread(gated: tuple[Gated, EncoderThread]) -> None:
    _, thread = gated
    assert await thread.apply(["a"], lambda vectors: threading.current_thread().name) == "encoder"
    with pytest.raises(EncoderUnavailable, match="ZeroDivisionError"):
        await thread.apply(["a"], lambda vectors: 1 // 0)


async def test_the_event_loop_runs_while_the_encoder_works(gated: tuple[Gated, EncoderThread]) -> None:
    encoder, thread = gated
    first = await hold(encoder, thread)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not first.done()
    encoder.gate.set()
    assert (await first).shape == (1, 16)


async def test_a_full_queue_refuses_at_once(gated: tuple[Gated, EncoderThread]) -> None:
    encoder, thread = gated
    first = await hold(encoder, thread)
    queued = await waiting(thread, ["a", "b", "c", "d"])
    with pytest.raises(EncoderUnavailable, match="full"):
        await thread.encode(["e"])
    assert thread.failures == 1
    encoder.gate.set()
    await asyncio.gather(first, queued)


async def test_a_call_larger_than_the_queue_runs_when_nothing_else_waits(
    gated: tuple[Gated, EncoderThread],
) -> None:
    _, thread = gated
    assert (await thread.encode(["x"] * 9)).shape == (9, 16)


async def test_a_missed_deadline_is_an_error_and_spares_the_encoder() -> None:
    encoder = Gated()
    thread = EncoderThread(encoder, deadline_s=0.05)
    first = await hold(encoder, thread)
    late = await waiting(thread, ["late"])
    for task in (first, late):
        with pytest.raises(EncoderUnavailable, match="deadline"):
            await task
    encoder.gate.set()
    await thread.encode(["next"])
    assert encoder.batches == [["first"], ["next"]]
    thread.close()


async def test_an_encoder_that_raises_fails_that_call_alone(gated: tuple[Gated, EncoderThread]) -> None:
    encoder, thread = gated
    with pytest.raises(EncoderUnavailable, match="RuntimeError") as caught:
        await thread.encode(["bad"])
    assert "quote" not in str(caught.value)

    first = await hold(encoder, thread)
    good, bad, last = [await waiting(thread, [name]) for name in ("good", "bad", "last")]
    encoder.gate.set()
    answers = await asyncio.gather(first, good, bad, last, return_exceptions=True)
    assert [isinstance(answer, EncoderUnavailable) for answer in answers] == [False, False, True, False]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda vectors: vectors * np.float32("nan"),
        lambda vectors: vectors[:, :3],
        lambda vectors: vectors[:0],
    ],
    ids=["not a number", "narrow", "empty"],
)
async def test_an_answer_that_is_no_vectors_is_a_failure(
    gated: tuple[Gated, EncoderThread], spoil: Callable[[Vectors], Vectors]
) -> None:
    encoder, thread = gated
    encoder.spoil = spoil
    with pytest.raises(EncoderUnavailable, match="ValueError"):
        await thread.encode(["text"])


async def test_closing_fails_what_waits_and_what_comes(gated: tuple[Gated, EncoderThread]) -> None:
    encoder, thread = gated
    first = await hold(encoder, thread)
    queued = await waiting(thread, ["queued"])
    closing = asyncio.create_task(asyncio.to_thread(thread.close))
    while not thread._closed:  # noqa: ASYNC110  # a thread sets it
        await asyncio.sleep(0)
    encoder.gate.set()
    await closing
    assert (await first).shape == (1, 16)
    with pytest.raises(EncoderUnavailable, match="closed"):
        await queued
    with pytest.raises(EncoderUnavailable, match="closed"):
        await thread.encode(["after"])
    thread.close()
    assert not thread._thread.is_alive()


async def test_a_cancelled_call_leaves_the_thread_working(gated: tuple[Gated, EncoderThread]) -> None:
    encoder, thread = gated
    first = await hold(encoder, thread)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    encoder.gate.set()
    assert (await thread.encode(["next"])).shape == (1, 16)


def test_a_loop_that_is_gone_does_not_end_the_thread() -> None:
    encoder = Gated()
    thread = EncoderThread(encoder)
    encoder.gate.clear()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await thread.encode(["left behind"])

    asyncio.run(leave())
    encoder.gate.set()
    assert asyncio.run(thread.encode(["next"])).shape == (1, 16)
    thread.close()


async def test_the_event_loop_goes_before_the_encoder_where_they_share_a_core() -> None:
    with closing(EncoderThread(HashingEncoder())) as thread:
        await thread.encode(["It is raining."])
        behind = os.getpriority(os.PRIO_PROCESS, thread._thread.native_id or 0)
        # Elsewhere a thread has no priority of its own.
        assert behind > os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) or sys.platform != "linux"


def test_the_runtime_of_the_encoder_leaves_nothing_of_its_own_behind(tmp_path: Path) -> None:
    alone = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    alone.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-B", "-c", "import guards.encoder"], env=alone, check=True)
    assert list(tmp_path.rglob("*")) == []
