"""Keys: who is admitted, and what records call them."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from server.errors import Unauthorized
from server.keys import ANYONE, Keys, installation_key

KEY = "sk-right"
KEYS = Keys(b"i" * 32, SecretStr(KEY))


def bearer(value: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", value.encode())]


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer  {KEY} "])
def test_the_right_key_is_admitted_under_its_id(value: str) -> None:
    assert KEYS.admit(bearer(value)) == KEYS.key_id(KEY)


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", KEY, f"Basic {KEY}", "Bearer sk-righ", f"Bearer {KEY}t", "Bearer ü"]
)
def test_any_other_key_is_not(value: str) -> None:
    with pytest.raises(Unauthorized):
        KEYS.admit(bearer(value))


def test_no_key_and_two_keys_are_not_admitted() -> None:
    for headers in ([], bearer(f"Bearer {KEY}") * 2):
        with pytest.raises(Unauthorized):
            KEYS.admit(headers)


def test_where_no_key_is_needed_whatever_is_sent_is_not_looked_at() -> None:
    assert Keys(b"i" * 32).admit(bearer("Bearer sk-somebodys")) == ANYONE


def test_an_id_tells_keys_apart_and_not_what_they_are() -> None:
    assert KEYS.key_id(KEY) == Keys(b"i" * 32).key_id(KEY) != KEYS.key_id(KEY + "2")
    assert KEYS.key_id(KEY) != Keys(b"j" * 32).key_id(KEY)
    assert KEY not in KEYS.key_id(KEY) and len(KEYS.key_id(KEY)) == 16


def test_an_installation_has_one_key_for_itself(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(installation_key, [state] * 16))
    assert len(keys) == 1 and keys != {installation_key(tmp_path / "b")}
    assert [file.name for file in state.iterdir()] == ["installation.key"]
    assert stat.S_IMODE((state / "installation.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_key_that_another_process_was_quicker_to_make_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = installation_key(tmp_path)
    with monkeypatch.context() as late:
        late.setattr(Path, "exists", lambda path: False)
        assert installation_key(tmp_path) == first
    assert [file.name for file in tmp_path.iterdir()] == ["installation.key"]


def test_a_new_key_is_told_of_once_by_where_it_lies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "lethe")
    key = installation_key(tmp_path)
    assert installation_key(tmp_path) == key
    (line,) = caplog.messages
    assert line.startswith(f"made {tmp_path / 'installation.key'}, ") and key.hex() not in line


def test_a_broken_installation_key_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "installation.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="not an installation key"):
        installation_key(tmp_path)
