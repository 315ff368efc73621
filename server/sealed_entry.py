"""The entry of a secret, as `lethe secret` writes it: a value comes in, keyed hashes go out.

The value is in no argument, file, log or message: whatever is wrong with it is said in lengths and kinds.
"""

from __future__ import annotations

import base64
import codecs
import math
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from guards.secret import digests
from policies.calibrate import retain_sentences
from policies.loader import parse_policy, read_policy
from policies.nodes import Mapping, Scalar, Sequence, compose
from policies.sealing import GRAM, MAX_LENGTH, MIN_BITS, Sealer, grams, worth_bits
from policies.text import letters

MAX_BYTES = 64 * 1024
"""Of a value, as it comes in."""
_MOST_IN_FORMS = 256
"""Letters and digits of a value whose other writings are hashed too: of a longer one, that is too many."""
_HEAD = "lethe: 1\nname: entry\ntargets:\n"


class Unsuitable(ValueError):
    """A value, or a policy file, that cannot be used; the message says why without a word of either."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """A target of kind secret, as YAML for below `targets:`."""

    id: str
    lines: tuple[str, ...]
    hashed: int = field(default=0)
    """Runs of letters and digits that are recognised."""
    ordinary: int = field(default=0)
    """Runs that are left out, since ordinary sentences hold them."""

    def text(self, indent: int = 2) -> str:
        """Return the lines, indented."""
        return "".join(f"{' ' * indent}{line}\n" for line in self.lines)


def entry(name: str, value: str, *, weak: bool = False) -> Entry:
    """Return the entry of a value under the key in the environment.

    name: the target's id.  weak: whether a value may be one that can be guessed.
    Raises Unsuitable, KeyProblem where there is no key, PolicyError where `name` can be no id.
    """
    sealer, plain = Sealer.of_environment(), letters(value)
    _refuse(plain, weak=weak)
    runs = dict.fromkeys(run for form in _forms(value, plain, weak=weak) for run in grams(form))
    known = frozenset[str]() if weak else _ordinary(runs)
    kept = [run for run in runs if run not in known]
    if not any(run not in known for run in grams(plain)):
        raise Unsuitable(
            "the value is made of ordinary words, which ordinary answers hold; a fact can name it instead"
        )
    found = sorted({digest for run in kept for digest in digests(run, sealer)})
    lines = (
        f"- id: {name}",
        "  kind: secret",
        f"  length: {len(plain)}",
        f"  key: {sealer.key_id}",
        "  digests: [",
        *(f"    {', '.join(found[at : at + 2])}," for at in range(0, len(found), 2)),
        "  ]",
    )
    made = Entry(name, lines, len(kept), len(runs) - len(kept))
    parse_policy(_HEAD + made.text(), "entry")
    return made


def _refuse(plain: str, *, weak: bool) -> None:
    if not plain:
        raise Unsuitable("the value has no letter or digit, which is all that is compared")
    if len(plain) > MAX_LENGTH:
        raise Unsuitable(f"the value has {len(plain)} letters and digits; at most {MAX_LENGTH}")
    if weak:
        return
    worth = worth_bits(plain)
    if len(plain) < GRAM or worth < MIN_BITS:
        raise Unsuitable(
            f"the value can be guessed: its {len(plain)} letters and digits are worth some {worth:.0f} bits "
            f"of at least {MIN_BITS}, so whoever gets the policy and its key finds it by trying all, "
            "as with PINs, dates, phone numbers and words; --weak writes it all the same"
        )


def _forms(value: str, plain: str, *, weak: bool) -> Iterator[str]:
    """Yield the letters of a value, and of what it is in a code.

    Reversed, in rot13, in hex (as URL escapes have it as well, and with an x as HTML entities have it), in
    base64 and in base32.
    """
    yield plain
    if weak or len(plain) > _MOST_IN_FORMS:
        return
    data = value.encode("utf-8", "surrogatepass")
    yield plain[::-1]
    yield codecs.encode(plain, "rot13")
    yield data.hex()
    yield "".join(f"x{byte:02x}" for byte in data)
    for encode, bits in ((base64.b64encode, 6), (base64.b32encode, 5)):
        for shift in range(math.lcm(8, bits) // 8):
            # Where it stands within a longer text decides which bits come together in one character.
            coded = encode(bytes(shift) + data).decode()
            yield letters(coded[-(-8 * shift // bits) : 8 * (shift + len(data)) // bits])


def _ordinary(runs: dict[str, None]) -> frozenset[str]:
    """Return the runs that ordinary sentences hold."""
    corpus = "\n".join(letters(sentence) for sentence in retain_sentences())
    return frozenset(run for run in runs if run in corpus)


def add_to(path: Path, made: Entry) -> None:
    """Write an entry into the policy file at `path`, as the last of its targets.

    The file is replaced in one step and keeps its mode.  Raises Unsuitable where its targets are no block
    list or one of them has the id already, and PolicyError where it is no policy, now or with the entry.
    """
    text = read_policy(path).data.decode("utf-8-sig")
    parse_policy(text, str(path))
    root = compose(text)[0]
    assert isinstance(root, Mapping)
    _refuse_known(root, made.id, path)
    at, indent = _place(root, text, path)
    lines = text.splitlines(keepends=True)
    end = "" if lines[at - 1].endswith(("\n", "\r")) else "\n"
    whole = "".join([*lines[:at], end, made.text(indent), *lines[at:]])
    parse_policy(whole, str(path))
    _replace(path, whole)


def _refuse_known(root: Mapping, name: str, path: Path) -> None:
    """Raise Unsuitable where a target of a policy has this id."""
    targets = root.entries["targets"][1]
    for target in targets.items if isinstance(targets, Sequence) else ():
        known = target.entries["id"][1] if isinstance(target, Mapping) else None
        if isinstance(known, Scalar) and known.text == name:
            raise Unsuitable(
                f"{path}:{known.place.line}: a target with the id {name} is there already; "
                "delete that entry first, or give this one another ID"
            )


def _place(root: Mapping, text: str, path: Path) -> tuple[int, int]:
    """Return the line with which the last target ends, counted from 1, and how far targets are indented."""
    place, targets = root.entries["targets"]
    lines = re.split(r"\r\n|[\n\r]", text)
    if isinstance(targets, Sequence) and targets.items:
        dash = re.match(r"( *)- ", lines[targets.items[0].place.line - 1])
        if dash is not None and lines[place.line - 1].strip().startswith("targets:"):
            indent = len(dash[1])
            at = targets.items[-1].place.line
            # What is indented deeper than its dash belongs to it, whatever it is; blank lines only within it.
            for number, line in enumerate(lines[at:], at + 1):
                deep = len(line) - len(line.lstrip(" "))
                if line.strip() and deep <= indent:
                    break
                at = number if line.strip() else at
            return at, indent
    raise Unsuitable(f"{path}: has no list of targets with one below the other; paste the entry instead")


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode & 0o777)
        os.replace(name, path)
    except BaseException:
        # Whatever it is, an operator's Ctrl-C included: beside the policy nothing is left of it.
        os.unlink(name)
        raise
