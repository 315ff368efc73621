"""Values of which a policy holds keyed hashes alone: what is hashed, by which key, what can be guessed.

A value is taken as its letters and digits (`policies.text.letters`): neither case nor separators count.  Of
every run of eight of them (of the whole, where it is shorter) the policy has an HMAC-SHA-256 (Krawczyk,
Bellare and Canetti 1997, RFC 2104) under the operator's key, so that any eight in a row are recognised and
nobody who reads the policy can try values against it.  The key is in the environment and in no file.
"""

from __future__ import annotations

import hmac
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

KEY = "LETHE_SECRET_KEY"
"""The environment variable with the operator's key."""
MIN_KEY = 32
"""Characters of the key: as many as 16 random bytes have in hexadecimal digits."""
GRAM = 8
"""Letters and digits in a row that are recognised."""
MAX_LENGTH = 4_096
"""Letters and digits of a value."""
MIN_BITS = 60
"""What a value's letters and digits must be worth, for a guesser who has the policy and its key."""
DIGEST_CHARS = 40
"""Hexadecimal digits of a digest: 8 that are looked up and 32 of the HMAC."""
_BITS_EACH = {"digits": math.log2(10), "letters": 2.5, "both": math.log2(36)}
"""What each character is worth: letters alone are mostly words, which are worth less than random ones."""


class KeyProblem(ValueError):
    """The operator's key is not there, or cannot be used; the message says how to come by one."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Hashes under the operator's key."""

    key: bytes = field(repr=False)

    @classmethod
    def of_environment(cls) -> Sealer:
        """Return the one of the key in the environment.  Raises KeyProblem."""
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise KeyProblem(f"needs the key in the environment variable {KEY}, which is not set")
        if len(key) < MIN_KEY:
            raise KeyProblem(f"needs a longer key in {KEY}: {len(key)} characters of at least {MIN_KEY}")
        return cls(sha256(b"lethe secret key\0" + key.encode("utf-8", "surrogatepass")).digest())

    @property
    def key_id(self) -> str:
        """What the key is called in policies: 16 hexadecimal digits, of which nothing follows about it."""
        return self._of(b"id", b"")[:8].hex()

    @property
    def lookup_key(self) -> bytes:
        """The key of what is looked up before an HMAC is worked out, 16 bytes."""
        return self._of(b"lookup", b"")[:16]

    def hmac(self, gram: str) -> str:
        """Return the HMAC of a run of letters and digits, 32 hexadecimal digits."""
        return self._of(b"gram", gram.encode("utf-8", "surrogatepass"))[:16].hex()

    def _of(self, label: bytes, data: bytes) -> bytes:
        return hmac.digest(self.key, label + b"\0" + data, "sha256")


def grams(value: str) -> Iterator[str]:
    """Yield every run of eight characters of a value's `letters`, or the whole where it is shorter."""
    if len(value) <= GRAM:
        yield value
    else:
        yield from dict.fromkeys(value[at : at + GRAM] for at in range(len(value) - GRAM + 1))


def worth_bits(value: str) -> float:
    """Return how many bits of guessing a value's `letters` are worth, by a cautious estimate.

    By kind of character, and no more than its own distribution of characters allows.
    """
    if not value:
        return 0.0
    kind = "digits" if value.isdecimal() else "letters" if value.isalpha() else "both"
    counts = Counter(value).values()
    spread = abs(sum(count / len(value) * math.log2(count / len(value)) for count in counts))
    # A short random value repeats few characters: its spread says less than it is worth.
    return len(value) * min(_BITS_EACH[kind], 1.5 * spread)
