"""The audit's key, and what it signs: checkpoints, which are heads of chains.

Two files lie in the state folder: `audit-sign.pem` (Ed25519, mode 0600), and `audit-sign.pub` beside it,
which is all that a check needs.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from server.audit.records import AuditError

PRIVATE, PUBLIC = "audit-sign.pem", "audit-sign.pub"

_CHECKPOINT = b"lethe audit checkpoint 1\0"
_LINE = b"lethe audit line 1\0"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed head: the chain `chain` has `counter` records, and the last one's hash is `head`."""

    chain: str
    number: int
    """Counts the chain's checkpoints from 1."""
    counter: int
    head: bytes
    at: int
    """Microseconds since the epoch, UTC."""

    @property
    def body(self) -> str:
        """The canonical JSON that is signed and stored."""
        values = {"at": self.at, "chain": self.chain, "counter": self.counter, "head": self.head.hex()}
        return orjson.dumps(values | {"number": self.number}, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def parse(cls, body: str) -> Checkpoint | None:
        """Return the checkpoint that `body` is the canonical form of, or None."""
        try:
            values = orjson.loads(body)
            head = bytes.fromhex(values["head"])
            found = cls(values["chain"], values["number"], values["counter"], head, values["at"])
            whole = all(type(value) is int for value in (found.number, found.counter, found.at))
            return found if whole and type(found.chain) is str and found.body == body else None
        except (ValueError, TypeError, KeyError):
            return None


class Verifier:
    """The public half: says whether a checkpoint or a line of the heads file was signed here."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @classmethod
    def load(cls, state: Path) -> Verifier:
        """Read `audit-sign.pub`.  Raises AuditError where there is none, or no Ed25519 key in it."""
        try:
            key = load_pem_public_key((state / PUBLIC).read_bytes())
        except OSError:
            raise AuditError(
                f"{state / PUBLIC}: the audit's public key cannot be read; --state names its folder"
            ) from None
        except ValueError:
            raise AuditError(f"{state / PUBLIC}: not a public key") from None
        if not isinstance(key, Ed25519PublicKey):
            raise AuditError(f"{state / PUBLIC}: not an Ed25519 key")
        return cls(key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the raw public key, 64 hex digits: what to write down somewhere else."""
        return hashlib.sha256(self._key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()

    def signed(self, body: str, signature: str) -> bool:
        """Whether `signature` (hex) is one of ours for the checkpoint `body`."""
        return self._check(_CHECKPOINT + body.encode("utf-8", "surrogateescape"), signature)

    def signed_line(self, link: str, signature: str, line_signature: str) -> bool:
        """Whether `line_signature` ties a checkpoint's signature to the line before it."""
        text = f"{link} {signature}".encode("utf-8", "surrogatepass")
        return self._check(_LINE + text, line_signature)

    def _check(self, data: bytes, signature: str) -> bool:
        try:
            self._key.verify(bytes.fromhex(signature), data)
        except (InvalidSignature, ValueError):
            return False
        # Hex has two cases and allows white space; only the form that is written here is the signature.
        return signature == bytes.fromhex(signature).hex()


class Keys:
    """Both halves, for a process that writes."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def load(cls, state: Path) -> Keys:
        """Read the keys of the state folder, making what is missing; one process at a time.

        Raises AuditError where a file is not such a key, or the public one is not the private one's.
        """
        fresh = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            key = load_pem_private_key(_kept(state / PRIVATE, fresh, 0o600), password=None)
        except (ValueError, TypeError):
            raise AuditError(f"{state / PRIVATE}: not a private key without a password") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise AuditError(f"{state / PRIVATE}: not an Ed25519 key")
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if _kept(state / PUBLIC, public, 0o644) != public:
            raise AuditError(f"{state / PUBLIC}: not the public half of {PRIVATE}")
        return cls(key)

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the signature of a checkpoint, 128 hex digits; always the same for the same one."""
        return self._key.sign(_CHECKPOINT + checkpoint.body.encode()).hex()

    def sign_line(self, link: str, signature: str) -> str:
        """Return the signature that ties a checkpoint's signature to the line before it."""
        return self._key.sign(_LINE + f"{link} {signature}".encode()).hex()


def _kept(path: Path, fresh: bytes, mode: int) -> bytes:
    """Return the file's bytes, after writing `fresh` to it where there is none."""
    if not path.exists():
        partial = path.with_name(f".{path.name}.new")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        sync_folder(path.parent)
    return path.read_bytes()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
