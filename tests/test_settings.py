"""Settings: from options and the environment, and what may not be started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from server.settings import Settings, is_loopback, state_folder

NEEDED = {"policy": "p.yaml", "upstream": "http://127.0.0.1:8000"}


def made(**given: Any) -> Settings:
    return Settings(**{**NEEDED, **given})


def complaint(**given: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        made(**given)
    return str(raised.value)


def test_every_setting_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "policy": "q.yaml",
        "upstream": "demo",
        "port": "81",
        "workers": "3",
        "state": "/s",
        "idle_s": "9",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"LETHE_{name.upper()}", value)
    settings = Settings()  # type: ignore[call-arg]
    assert (settings.policy, settings.upstream, settings.state) == (Path("q.yaml"), "demo", Path("/s"))
    assert (settings.port, settings.workers, settings.idle_s) == (81, 3, 9)


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_PORT", "81")
    assert made(port="82").port == 82
    assert made().port == 81


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_PORT", "")
    assert made().port == 8080


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        made().port = 1


@pytest.mark.parametrize("upstream", ["demo", "http://a:1", "https://a/v1", "http://[::1]:8/v1"])
def test_an_upstream_is_a_url_or_the_demo_model(upstream: str) -> None:
    assert made(upstream=upstream).upstream == upstream


@pytest.mark.parametrize(
    "upstream", ["", "a:8000", "ftp://a", "http://", "http://u:sk-1@a", "http://sk-1@a", "http://a/?k=sk-1",
                 "http://a/v1/chat/completions", "http://a/v1/models/"]
)  # fmt: skip
def test_another_upstream_is_refused_without_being_quoted(upstream: str) -> None:
    said = complaint(upstream=upstream)
    assert "upstream" in said and "sk-1" not in said


def test_the_two_addresses_are_not_one() -> None:
    assert "--port and --admin-port" in complaint(port=8085, admin_port=8085)
    assert made(port=0, admin_port=0).port == 0
    assert made(port=8085, admin_port=8085, admin_host="127.0.0.2").port == 8085


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_only_loopback_is_served_without_a_key(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert "--api-key-env" in complaint(host=host)
    monkeypatch.setenv("CLIENT_KEY", "sk-client")
    assert made(host=host, api_key_env="CLIENT_KEY").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)
    assert made(host=host).host == host


@pytest.mark.parametrize("field", ["api_key_env", "upstream_key_env"])
def test_a_variable_that_should_hold_a_key_must_hold_one(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    assert "not set" in complaint(**{field: "A_KEY"})
    monkeypatch.setenv("A_KEY", "  ")
    assert "not set" in complaint(**{field: "A_KEY"})
    for value in ("two words", "new\nline", "schlüssel"):
        monkeypatch.setenv("A_KEY", value)
        said = complaint(**{field: "A_KEY"})
        assert "A_KEY" in said and value not in said


@pytest.mark.parametrize("field", ["api_key_env", "upstream_key_env"])
def test_a_key_in_place_of_a_variable_is_refused_without_being_quoted(field: str) -> None:
    assert "sk-12" not in complaint(**{field: "sk-12"})


def test_keys_are_read_from_their_variables_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_KEY", "sk-client\n")
    monkeypatch.setenv("UPSTREAM_KEY", "sk-upstream")
    settings = made(api_key_env="CLIENT_KEY", upstream_key_env="UPSTREAM_KEY")
    client, upstream = settings.client_key(), settings.upstream_key()
    assert client is not None and client.get_secret_value() == "sk-client"
    assert upstream is not None and upstream.get_secret_value() == "sk-upstream"
    assert "sk-" not in f"{settings!r} {settings.model_dump()} {client!r} {upstream}"


def test_without_variables_there_are_no_keys() -> None:
    assert made().client_key() is None and made().upstream_key() is None


@pytest.mark.parametrize("field", ["port", "admin_port"])
def test_ports_are_in_range(field: str) -> None:
    assert field in complaint(**{field: 65536}) and field in complaint(**{field: -1})


def test_an_unknown_setting_is_refused() -> None:
    assert "colour" in complaint(colour="red")


def test_state_lies_where_the_system_keeps_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert state_folder() == Path("/var/state/lethe")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert made().state == Path("/home/someone/.local/state/lethe")


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
