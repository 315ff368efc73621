"""What was found in texts, kept by keyed hashes: a text that was read before costs a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

_Kept = TypeVar("_Kept")


class Remembered(Generic[_Kept]):
    """Keeps what was found in the texts used last, and of the texts themselves nothing.

    Texts are known by a hash of 16 bytes, keyed by a secret of this object: what is dumped of a process tells
    nobody what was asked.  Pickled, it is empty and has another secret, since what is kept belongs to one
    process.  For one thread.
    """

    def __init__(self, most: int) -> None:
        """most: texts of which it is kept; that which was used longest ago is forgotten first."""
        self._most = most
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __getstate__(self) -> int:
        return self._most

    def __setstate__(self, most: int) -> None:
        Remembered.__init__(self, most)

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._kept)

    def key(self, text: str, client: str = "") -> bytes:
        """Return what a text is known by.

        client: who asks; what one has brought is no cheaper for another, who could learn of it by that.
        """
        whose = f"{client}\0{text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(whose, key=self._secret, digest_size=16).digest()

    def known(self, keys: Iterable[bytes | None]) -> dict[bytes, _Kept]:
        """Return what is kept of these texts; None is the key of none."""
        return {key: self._kept[key] for key in keys if key is not None and key in self._kept}

    def keep(self, found: Mapping[bytes, _Kept]) -> None:
        """Keep what was found, as used now, the last of it last."""
        for key, each in found.items():
            self._kept[key] = each
            self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
