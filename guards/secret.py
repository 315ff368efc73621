"""Values of which only keyed hashes are known, found in a stream by any eight of their letters and digits.

A text is read as its letters and digits.  Every run of eight of them is looked up by 32 bits of a cipher
(AES-128, FIPS 197, one block a run, all runs of a piece in one call); only where those are known is the
HMAC-SHA-256 worked out that the policy holds.  Nobody can tell from a beginning whether a value follows it,
since no hash of a beginning is known: so the last seven letters and digits are held back, in policies that
have a secret.  A value of eight or more is within runs that are all looked up, so nothing of it leaves.

A value that comes in words of up to seven, with others between ('it begins with k4kx9 and ends with 7zz2p'),
is found by putting words together that look like parts of one: two at a time, in either order, and the last
four in the order in which they came.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from guards.base import Close, Finding, Part, Progress
from policies.policy import Policy
from policies.sealing import GRAM, Sealer, grams
from policies.text import letter_offsets, letters

_TAG = 8
"""Hexadecimal digits of what is looked up: the beginning of a digest."""
_SPARSE = 1_024
"""Places of the first table for each tag: one run in so many passes it by chance."""
_MAX_BITS = 24
_PARTS = 16
"""Words of one channel that are remembered as what may be parts: the last ones."""
_MIN_PART = 3
_CHAIN = 3
"""Parts before a word that are read with it as one: with parts of three, a run of eight takes four words."""
_MAX_WORD = 64
"""Code points of a word that may be a part, with what shows nothing in it."""
_WORD = re.compile(r"[^\s:=,;!?()\[\]{}\"'“”‘’«»`<>|/*]+")
_ODD = re.compile(r"\d|[a-z][A-Z]")
_VOWELS = frozenset("aeiouy")


class Secrets:
    """The digests of a policy's secrets; immutable, shared by every exchange under it."""

    def __init__(self, policy: Policy) -> None:
        """Raises KeyProblem where there are secrets and the operator's key is not in the environment."""
        self._targets: dict[str, list[int]] = {}
        widths: set[int] = set()
        for index, target in enumerate(policy.targets):
            if target.sealed is not None:
                widths.add(min(GRAM, target.sealed.length))
                for digest in target.sealed.digests:
                    self._targets.setdefault(digest, []).append(index)
        self.widths = tuple(sorted(widths))
        self.longest = max(widths, default=1)
        """Letters and digits of the longest run that is looked up."""
        self._sealer = Sealer.of_environment() if widths else Sealer(b"")
        self._tags = {int(digest[:_TAG], 16) for digest in self._targets}
        bits = min(_MAX_BITS, max(16, (_SPARSE * len(self._tags)).bit_length()))
        self._mask = np.uint32((1 << bits) - 1)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[np.fromiter(self._tags, np.uint32, len(self._tags)) & self._mask] = True
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        # Nor the operator's key: it is in the environment of every process of ours, and in no file.
        return {name: value for name, value in self.__dict__.items() if name not in ("_local", "_sealer")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Raises KeyProblem where there are secrets and the operator's key is not in the environment."""
        self.__dict__.update(state)
        self._sealer = Sealer.of_environment() if self.widths else Sealer(b"")
        self._local = threading.local()

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text, in the order of their ends."""
        scan = self.open()
        return [*scan.feed(text).findings, *scan.close("stop").findings]

    def open(self) -> SecretScan:
        """Return the running state for one channel."""
        return SecretScan(self)

    def runs(self, text: str, known: int) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, target) of each run of letters and digits that is part of a secret.

        text: letters and digits; runs that end within the first `known` of them were looked up before.
        """
        if len(text) < self.widths[0]:
            return
        shown = _shown(text)
        for width in self.widths:
            first = max(0, known - width + 1)
            tags = self._looked_up(shown[first:], width)
            passing = self._table[tags & self._mask].tobytes()
            at = passing.find(1)
            while at >= 0:
                start = first + at
                for target in self._confirmed(int(tags[at]), text[start : start + width]):
                    yield start, start + width, target
                at = passing.find(1, at + 1)

    def across(self, parts: Iterable[str], word: str) -> set[int]:
        """Return the targets of which a run begins in one of the parts and ends in the word, or the reverse.

        Or begins in one of the last parts and goes on through those behind it to the word.
        All are letters and digits; one look does for all.  Values too short for a run of eight are left out:
        two numbers that end and begin with their halves stand in any text.
        """
        # A run over the border between two pairs holds a blank, and no secret does.
        before = list(parts)
        pairs = [pair for part in before for pair in (part + word, word + part)]
        text = " ".join([*pairs, "".join([*before[-_CHAIN:], word])])
        return {target for start, end, target in self.runs(text, 0) if end - start == GRAM}

    def _looked_up(self, shown: NDArray[np.uint16], width: int) -> NDArray[np.uint32]:
        """Return the 32 bits of each run of `width` characters."""
        count = len(shown) - width + 1
        if count < 1:
            return np.zeros(0, np.uint32)
        if not hasattr(self._local, "cipher"):
            # One for each thread: a cipher at work must not be asked from elsewhere.
            self._local.cipher = _cipher(self._sealer)
        runs = np.ndarray((count, width), "<u2", shown, 0, (2, 2))
        if width == GRAM:
            blocks = runs.tobytes()
        else:
            padded = np.zeros((count, GRAM), "<u2")
            padded[:, :width] = runs
            blocks = padded.tobytes()
        return np.frombuffer(self._local.cipher.update(blocks), "<u4")[::4]

    def _confirmed(self, tag: int, run: str) -> list[int]:
        if tag not in self._tags:
            return []
        return self._targets.get(f"{tag:0{_TAG}x}{self._sealer.hmac(run)}", [])


def digests(value: str, sealer: Sealer) -> list[str]:
    """Return what a policy holds of a value's `letters`: for each run 8 digits to look up, and its HMAC."""
    cipher = _cipher(sealer)
    found = []
    for run in grams(value):
        shown = np.zeros(GRAM, "<u2")
        shown[: len(run)] = _shown(run)
        tag = int.from_bytes(cipher.update(shown.tobytes())[:4], "little")
        found.append(f"{tag:0{_TAG}x}{sealer.hmac(run)}")
    # Sorted: their order would say which run follows which.
    return sorted(found)


def _is_odd(word: str, shown: str) -> bool:
    """Whether a word looks like part of a secret and not like one that is spoken."""
    return _ODD.search(word) is not None or _VOWELS.isdisjoint(shown)


def _shown(text: str) -> NDArray[np.uint16]:
    """Return two bytes of each character: what is looked up need not tell all of them apart."""
    if text.isascii():
        return np.frombuffer(text.encode("utf-16-le"), "<u2")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype("<u2")


def _cipher(sealer: Sealer) -> CipherContext:
    # Each block is a run of its own and nobody sees the result: no chaining is wanted.
    return Cipher(algorithms.AES(sealer.lookup_key), modes.ECB()).encryptor()  # noqa: S305


class SecretScan:
    """The running state of the secrets over one channel of one choice.

    Holds back the last seven letters and digits, with what stands between them.  Work is linear in the text.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held = ""
        """The last letters and digits, one fewer than the longest run."""
        self._places: list[int] = []
        """Where each of them stands."""
        self._length = 0
        self._parts: deque[str] = deque(maxlen=_PARTS)
        """Letters and digits of the last words that may be parts of a secret."""
        self._word = ""
        """The word that has not ended."""
        self._endless = False
        """Whether a word has not ended that is longer than any part."""

    def feed(self, text: str) -> Progress:
        """Take more text."""
        fresh, base = letters(text), self._length
        shown = self._held + fresh
        found = list(self._secrets.runs(shown, len(self._held))) if fresh else []
        findings = list(self._findings(found, text)) if found else []
        findings += self._joined(text, base)
        self._keep(text, fresh, base)
        self._length = base + len(text)
        return Progress(findings, self._places[0] if self._places else self._length)

    def close(self, reason: Close, last: str = "") -> Progress:
        """End the text: a run that has not ended is none."""
        findings = [*self.feed(last).findings] if last else []
        return Progress([*findings, *self._joined(" ", self._length)], self._length)

    def _joined(self, text: str, base: int) -> Iterator[Finding]:
        """Yield the words that have ended with this text and are, beside an earlier one, part of a secret.

        None of them has left: a word of seven letters is what is held back.
        """
        tail, base = self._word + text, base - len(self._word)
        self._word, endless = "", self._endless
        self._endless = endless and not text
        for match in _WORD.finditer(tail):
            start, end = match.span()
            long = end - start > _MAX_WORD or (endless and start == 0)
            if end < len(tail):
                if not long:
                    yield from self._part(match.group(), base + start)
            elif long:
                # Of a word longer than any part, only that it has not ended matters.
                self._endless = True
            else:
                self._word = match.group()

    def _part(self, word: str, at: int) -> Iterator[Finding]:
        shown = letters(word)
        if not _MIN_PART <= len(shown) < self._secrets.longest or not _is_odd(word, shown):
            return
        places = letter_offsets(word)
        for target in sorted(self._secrets.across(self._parts, shown)):
            yield Finding(target, "secret", Part.SECRET, at + places[0], at + places[-1] + 1)
        self._parts.append(shown)

    def _findings(self, found: list[tuple[int, int, int]], text: str) -> Iterator[Finding]:
        places = [*self._places, *(self._length + at for at in letter_offsets(text))]
        for start, end, target in found:
            yield Finding(target, "secret", Part.SECRET, places[start], places[end - 1] + 1)

    def _keep(self, text: str, fresh: str, base: int) -> None:
        """Remember the last letters and digits, and where they stand."""
        wanted = self._secrets.longest - 1
        places: list[int] = []
        at = len(text)
        while at and len(places) < wanted:
            at -= 1
            char = text[at]
            places += [base + at] * (char.isalnum() if char < "\x80" else len(letters(char)))
        places.reverse()
        self._held = (self._held + fresh)[-wanted:] if wanted else ""
        self._places = (self._places + places)[-wanted:] if wanted else []
