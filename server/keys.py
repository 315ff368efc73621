"""Who may ask, and how an API key is called in records.

A key is compared in constant time and never stored; records hold `key_id`, a hash under a random key of this
installation, which says that two exchanges had the same key and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from pydantic import SecretStr

from server.errors import Unauthorized

ANYONE = "anyone"
"""The `key_id` where no key is asked for."""

log = logging.getLogger("lethe")

_FILE = "installation.key"
_BYTES = 32


class InstallationKeyProblem(ValueError):
    """What lies where the installation's key should be is none; the message says so."""


def installation_key(state: Path) -> bytes:
    """Return the random key of this installation (32 bytes), made on first use with mode 0600.

    Safe for several processes at once: the first one's key is everybody's, and it says that it made one.
    Raises InstallationKeyProblem where the file is not such a key, OSError where the folder cannot be used.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state / _FILE
    if not path.exists():
        fresh = state / f".{_FILE}.{secrets.token_hex(8)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
        try:
            # A link, not a rename: it fails where another process was first, and a reader never sees half.
            os.link(fresh, path)
            log.info("made %s, which keys the hashes of this installation: keep it with its folder", path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    key = path.read_bytes()
    if len(key) != _BYTES:
        raise InstallationKeyProblem(
            f"{path}: not an installation key ({len(key)} bytes instead of {_BYTES}); "
            "put the file back as it was"
        )
    return key


def _hash(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


class Keys:
    """The keys that clients may send."""

    def __init__(self, installation: bytes, required: SecretStr | None = None) -> None:
        self._installation = installation
        # Hashes have one length, so that the comparison says nothing about the key's.
        self._required = None if required is None else _hash(required.get_secret_value())

    def key_id(self, key: str) -> str:
        """Return what records call `key`: 16 hex digits, the same on every start of this installation."""
        return hmac.new(self._installation, b"key " + key.encode("utf-8"), hashlib.sha256).hexdigest()[:16]

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the `key_id` of a request with these headers.

        Raises Unauthorized unless it has exactly one `Authorization: Bearer` header with the required key.
        Where none is required, whatever is sent is not looked at.
        """
        if self._required is None:
            return ANYONE
        sent = [value for name, value in headers if name.lower() == b"authorization"]
        scheme, _, key = (sent[0] if len(sent) == 1 else b"").decode("latin-1").partition(" ")
        matches = hmac.compare_digest(_hash(key.strip()), self._required)
        if scheme.lower() != "bearer" or not matches:
            raise Unauthorized
        return self.key_id(key.strip())
