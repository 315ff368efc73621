"""Vectors that are kept: no text is encoded twice, and nothing but a whole file of one's own is believed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import guards.vectors
from guards.encoder import HashingEncoder, Vectors
from guards.vectors import RememberingEncoder

KEY = b"k" * 32
TEXTS = ["the tides of port meridane", "barn owls at dusk", "barn owls at dusk"]


class Counting(HashingEncoder):
    def __init__(self, dim: int = 16) -> None:
        super().__init__(dim)
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.seen.extend(texts)
        return super().encode(texts)


def kept(state: Path) -> Path:
    (file,) = (state / "vectors").iterdir()
    return file


def filled(state: Path) -> Vectors:
    first = RememberingEncoder(Counting(), state, KEY)
    vectors = first.encode(TEXTS)
    first.built()
    return vectors


def test_a_text_is_encoded_once_for_all_starts(tmp_path: Path) -> None:
    encoder = Counting()
    vectors = filled(tmp_path)
    again = RememberingEncoder(encoder, tmp_path, KEY)
    np.testing.assert_array_equal(again.encode(TEXTS), vectors)
    assert encoder.seen == [] and (again.name, again.dim) == (encoder.name, encoder.dim)
    np.testing.assert_array_equal(vectors, HashingEncoder(16).encode(TEXTS))
    again.encode(["something new"])
    assert encoder.seen == ["something new"]


def test_the_file_is_the_owners_alone_and_holds_no_text(tmp_path: Path) -> None:
    filled(tmp_path)
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o600
    assert kept(tmp_path).parent.stat().st_mode & 0o777 == 0o700
    assert b"owls" not in kept(tmp_path).read_bytes()


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_file_that_was_damaged_is_made_anew(tmp_path: Path, place: int) -> None:
    vectors = filled(tmp_path)
    damaged = bytearray(kept(tmp_path).read_bytes())
    damaged[place] ^= 1
    kept(tmp_path).write_bytes(damaged)
    encoder = Counting()
    again = RememberingEncoder(encoder, tmp_path, KEY)
    np.testing.assert_array_equal(again.encode(TEXTS), vectors)
    assert len(encoder.seen) == 2
    again.built()
    assert RememberingEncoder(Counting(), tmp_path, KEY).encode(TEXTS).shape == vectors.shape


@pytest.mark.parametrize("size", [0, 31, 32, 100])
def test_a_file_that_was_cut_short_is_made_anew(tmp_path: Path, size: int) -> None:
    filled(tmp_path)
    os.truncate(kept(tmp_path), size)
    encoder = Counting()
    RememberingEncoder(encoder, tmp_path, KEY).encode(TEXTS)
    assert len(encoder.seen) == 2


def test_neither_another_encoder_nor_another_installation_reads_it(tmp_path: Path) -> None:
    filled(tmp_path)
    for encoder, key in ((Counting(32), KEY), (Counting(), b"o" * 32)):
        RememberingEncoder(encoder, tmp_path, key).encode(TEXTS)
        assert len(encoder.seen) == 2


def test_a_file_of_another_encoder_in_its_place_is_not_believed(tmp_path: Path) -> None:
    filled(tmp_path)
    RememberingEncoder(Counting(32), tmp_path, KEY).encode(TEXTS[:1])
    other = RememberingEncoder(Counting(32), tmp_path, KEY)
    other.encode(TEXTS)
    sealed = kept(tmp_path).read_bytes()
    other.built()
    for file in (tmp_path / "vectors").iterdir():
        file.write_bytes(sealed)
    encoder = Counting(32)
    RememberingEncoder(encoder, tmp_path, KEY).encode(TEXTS)
    assert len(encoder.seen) == 2


def test_what_two_builds_did_not_use_is_forgotten(tmp_path: Path) -> None:
    remembering = RememberingEncoder(Counting(), tmp_path, KEY)
    for texts in (TEXTS, TEXTS[:1], TEXTS[1:], ["else"], ["else"]):
        remembering.encode(texts)
        remembering.built()
    assert remembering.encoded == 3
    remembering.encode(TEXTS)
    assert remembering.encoded == 5


def test_a_build_that_is_given_up_keeps_what_it_encoded(tmp_path: Path) -> None:
    class GivenUp(Exception):
        pass

    left = 1

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise GivenUp

    remembering = RememberingEncoder(Counting(), tmp_path, KEY, step)
    with pytest.raises(GivenUp):
        remembering.encode(TEXTS)
    left = 9
    remembering.encode(TEXTS)
    assert remembering.encoded == 2


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "vectors").write_text("in the way")
    remembering = RememberingEncoder(Counting(), tmp_path, KEY)
    assert remembering.encode(TEXTS).shape == (3, 16)
    remembering.built()


def test_a_long_first_build_that_is_cut_short_is_not_lost_nor_written_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards.vectors, "_SAVED_EVERY", 4)
    written: list[int] = []

    class Watched(RememberingEncoder):
        def _save(self, kept: set[bytes]) -> None:
            written.append(len(kept))
            super()._save(kept)

    texts = [f"text {number}" for number in range(300)]
    first = Watched(Counting(), tmp_path, KEY)
    vectors = first.encode(texts)
    assert sum(written) < 6 * len(texts) and written[-1] > 200
    encoder = Counting()
    again = RememberingEncoder(encoder, tmp_path, KEY)
    np.testing.assert_array_equal(again.encode(texts), vectors)
    assert len(encoder.seen) == len(texts) - written[-1]
    np.testing.assert_array_equal(first.encode(texts), vectors)


def test_another_build_goes_on_where_a_full_disk_stopped_the_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    encoder = Counting()
    only = RememberingEncoder(encoder, tmp_path, KEY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        vectors = only.encode(TEXTS)
        only.built()
    np.testing.assert_array_equal(only.encode(TEXTS), vectors)
    assert len(encoder.seen) == 2
    only.built()
    assert len(RememberingEncoder(Counting(), tmp_path, KEY)._places) == 2
