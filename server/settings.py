"""What an operator can set: each field is an option of `lethe serve` and an environment variable.

The names of fields, options (`--admin-port`) and variables (`LETHE_ADMIN_PORT`) are the same; an option wins
over a variable.  Keys are never set here: a field names the environment variable that holds one.
Everything is checked before anything listens.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEMO = "demo"
"""In place of an upstream's URL: the small model that Lethe ships, as a child process."""


def state_folder() -> Path:
    """Return where state lies unless a setting says otherwise: `$XDG_STATE_HOME/lethe` or its default."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "lethe"


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """The settings of one gateway; immutable.

    Raises pydantic's ValidationError; `problems` turns it into lines for people.
    """

    model_config = SettingsConfigDict(
        env_prefix="LETHE_", env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    policy: Path = Field(description="Policy file: what is forgotten.")
    upstream: str = Field(
        description="URL of an OpenAI-style server, or 'demo' for the model that Lethe ships."
    )
    upstream_key_env: str | None = Field(
        default=None, description="Name of the environment variable with the upstream's key."
    )
    host: str = Field(default="127.0.0.1", description="Address for clients.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port for clients; 0 takes a free one.")
    admin_host: str = Field(
        default="127.0.0.1", description="Address for /readyz and /metrics; they need no key."
    )
    admin_port: int = Field(default=9090, ge=0, le=65535, description="Port for /readyz and /metrics.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve clients.")
    api_key_env: str | None = Field(
        default=None,
        description="Name of the environment variable with the key that clients must send; "
        "needed wherever others than this machine can connect.",
    )
    state: Path = Field(
        default_factory=state_folder, description="Folder for the audit, keys and compiled state."
    )
    encoder: str | None = Field(
        default=None,
        description="Encoder for meaning: a folder or a name; the one that Lethe ships without it.",
    )
    steering: bool = Field(
        default=True,
        description="Put a confidential instruction in front of prompts about a target; "
        "false leaves the scans alone, which is for measuring them.",
    )
    max_body_bytes: int = Field(
        default=8 << 20, ge=1024, description="Largest request body; larger ones get 413."
    )
    max_exchanges: int = Field(
        default=256, ge=1, description="Exchanges at a time in one worker; more get 503 with Retry-After."
    )
    max_held_chars: int = Field(
        default=262_144, ge=1024, description="Code points of one answer that may be held back at a time."
    )
    connect_s: float = Field(default=5, gt=0, description="Seconds to connect to the upstream.")
    first_byte_s: float = Field(default=300, gt=0, description="Seconds until the upstream begins to answer.")
    idle_s: float = Field(default=60, gt=0, description="Seconds between two events of a streamed answer.")
    whole_s: float = Field(default=1800, gt=0, description="Seconds for a whole answer.")
    body_s: float = Field(default=30, gt=0, description="Seconds for a client to send its request.")
    send_s: float = Field(
        default=60, gt=0, description="Seconds for a client to take in a piece of its answer."
    )
    grace_s: int = Field(default=20, ge=0, description="Seconds that answers may still take after SIGTERM.")

    @field_validator("upstream")
    @classmethod
    def _is_a_server(cls, value: str) -> str:
        if value == DEMO:
            return value
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be an http:// or https:// URL, or 'demo'")
        if url.username or url.password:
            raise ValueError("must not carry a user or a key; use --upstream-key-env")
        if url.query or url.fragment:
            raise ValueError("must not have a query or a fragment")
        return value.rstrip("/")

    @field_validator("upstream_key_env", "api_key_env")
    @classmethod
    def _names_a_key(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if not name.isidentifier():
            raise ValueError("must be the name of an environment variable, not a key")
        key = os.environ.get(name, "").strip()
        if not key:
            raise ValueError(f"names the environment variable {name}, which is not set")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError(f"names the environment variable {name}, which does not hold a key")
        return name

    @model_validator(mode="after")
    def _is_closed_to_strangers(self) -> Settings:
        if self.api_key_env is None and not is_loopback(self.host):
            raise ValueError("--host is not a loopback address: name the clients' key with --api-key-env")
        return self

    def client_key(self) -> SecretStr | None:
        """Return the key that clients must send, or None where they need none."""
        return _read_key(self.api_key_env)

    def upstream_key(self) -> SecretStr | None:
        """Return the key for the upstream, or None."""
        return _read_key(self.upstream_key_env)


def _read_key(name: str | None) -> SecretStr | None:
    return None if name is None else SecretStr(os.environ[name].strip())
