"""A policy as it lies on disk: its own file, and the files whose text its targets name.

They are read together and travel together, so that what is compiled is what was looked at; all of them count
into the digest, so that a text that changed makes another policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from policies.nodes import YamlError, compose, plain

_HINTS = b"file", b"passage"
"""Stand in every policy that names a text; one without them need not be parsed to know that it names none."""


@dataclass(frozen=True, slots=True)
class Text:
    """A file that a target names: its bytes, or why they cannot be read, which is then not empty."""

    data: bytes = field(default=b"", repr=False)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """What a policy is made of.  Immutable; two with the same digest are the same policy."""

    data: bytes = field(repr=False)
    texts: Mapping[str, Text] = field(default_factory=dict, repr=False)
    """By their names as they are written in the policy."""

    @property
    def digest(self) -> str:
        """SHA-256, hex: of the policy's bytes; where it names texts, of those and what the names lead to."""
        if not self.texts:
            return sha256(self.data).hexdigest()
        whole = sha256(b"lethe policy with texts\0" + sha256(self.data).digest())
        for name, text in sorted(self.texts.items()):
            for part in (name.encode("utf-8", "surrogatepass"), text.problem.encode(), text.data):
                whole.update(sha256(part).digest())
        return whole.hexdigest()

    def packed(self) -> tuple[list[list[Any]], bytes]:
        """Return it as a head of plain JSON values and the bytes that belong to it, for `unpacked`."""
        head: list[list[Any]] = [["", "", len(self.data)]]
        head += [[name, text.problem, len(text.data)] for name, text in self.texts.items()]
        return head, b"".join([self.data, *(text.data for text in self.texts.values())])

    @classmethod
    def unpacked(cls, head: Sequence[Sequence[Any]], data: bytes) -> Self:
        """Return what was packed."""
        parts, at = list[bytes](), 0
        for _, _, size in head:
            parts.append(data[at : at + size])
            at += size
        texts = {
            name: Text(part, problem) for (name, problem, _), part in zip(head[1:], parts[1:], strict=True)
        }
        return cls(parts[0], texts)


def named_texts(data: bytes) -> list[str]:
    """Return the names of the texts that a policy file of these bytes names, as written, each once.

    Of a file that is no policy whatever can be made out: what is wrong with it is said by others.
    """
    if not all(hint in data for hint in _HINTS):
        return []
    try:
        root = plain(compose(data.decode("utf-8-sig"))[0])
    except (UnicodeDecodeError, YamlError):
        return []
    return list(dict.fromkeys(_names(root)))


def _names(root: object) -> Iterator[str]:
    targets = root.get("targets") if isinstance(root, dict) else None
    for target in targets if isinstance(targets, list) else ():
        if isinstance(target, dict) and target.get("kind") == "passage":
            name = target.get("file")
            if isinstance(name, str) and name.strip():
                yield name.strip()


def path_of(name: str, policy: Path | str) -> Path:
    """Return where a text lies that the policy file at `policy` names."""
    return Path(policy).parent / name
