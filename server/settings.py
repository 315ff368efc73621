"""What an operator can set: each field is an option of `lethe serve` and an environment variable.

The names of fields, options (`--admin-port`) and variables (`LETHE_ADMIN_PORT`) are the same; an option wins
over a variable.  Keys are never set here: a field names the environment variable that holds one.
Everything is checked before anything listens.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.vllm_flags import refusal

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
        default="",
        description="URL of an OpenAI-style server, or 'demo' for the model that Lethe ships; "
        "this or --vllm is needed.",
    )
    upstream_key_env: str | None = Field(
        default=None, description="Name of the environment variable with the upstream's key."
    )
    vllm: str | None = Field(
        default=None,
        description="In place of an upstream: a model, by name or folder, that vLLM serves as a child of "
        "Lethe. Flags for vLLM itself stand at the end, behind --.",
    )
    vllm_python: Path | None = Field(
        default=None, description="Interpreter that has vLLM, which need not be Lethe's own."
    )
    vllm_log: Path | None = Field(
        default=None,
        description="File for what vLLM writes, which may quote prompts; without it, that is thrown away.",
    )
    vllm_flags: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Flags for vLLM as one text, for where none can stand behind --."
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
        description="Encoder for meaning: a folder, or a name of sentence-transformers; "
        "without it, the one that Lethe brings along.",
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
        if value in (DEMO, ""):  # whether there must be one, `_has_one_upstream` says
            return value
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be an http:// or https:// URL, or 'demo'")
        if url.username or url.password:
            raise ValueError("must not carry a user or a key; use --upstream-key-env")
        if url.path.rstrip("/").endswith(("/completions", "/responses", "/models")):
            raise ValueError("must be what the endpoints hang below, such as …/v1, and not one of them")
        if url.query or url.fragment:
            raise ValueError("must not have a query or a fragment")
        return value.rstrip("/")

    @field_validator("vllm")
    @classmethod
    def _is_a_model(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or value.startswith("-")):
            raise ValueError("must name a model, or a folder with one")
        return value

    @field_validator("vllm_flags", mode="before")
    @classmethod
    def _are_words(cls, value: object) -> object:
        try:
            return tuple(shlex.split(value)) if isinstance(value, str) else value
        except ValueError:
            raise ValueError("has a quotation mark without its end") from None

    @field_validator("vllm_flags")
    @classmethod
    def _may_be_passed(cls, flags: tuple[str, ...]) -> tuple[str, ...]:
        if reason := refusal(flags):
            raise ValueError(reason)
        return flags

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

    @model_validator(mode="after")
    def _has_two_ports(self) -> Settings:
        if self.port == self.admin_port != 0 and self.host == self.admin_host:
            raise ValueError("--port and --admin-port are the same; they need one each")
        return self

    @model_validator(mode="after")
    def _has_one_upstream(self) -> Settings:
        if self.vllm is None:
            for name in ("vllm_python", "vllm_log", "vllm_flags"):
                if getattr(self, name):
                    raise ValueError(f"--{name.replace('_', '-')} is for --vllm, which is not given")
            if not self.upstream:
                raise ValueError("--upstream is needed (or LETHE_UPSTREAM in the environment), or --vllm")
        elif self.upstream:
            raise ValueError("--upstream and --vllm exclude each other")
        elif self.upstream_key_env:
            raise ValueError("--upstream-key-env is not for --vllm: Lethe makes vLLM's key itself")
        return self

    def client_key(self) -> SecretStr | None:
        """Return the key that clients must send, or None where they need none."""
        return _read_key(self.api_key_env)

    def upstream_key(self) -> SecretStr | None:
        """Return the key for the upstream, or None."""
        return _read_key(self.upstream_key_env)


def _read_key(name: str | None) -> SecretStr | None:
    return None if name is None else SecretStr(os.environ[name].strip())
