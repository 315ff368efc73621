"""Words and names that are spelled as they should be, and names to calibrate with.

A word that a dictionary or a register of names knows is more likely meant than misspelt, and the commoner it
is the more.  The words are English ones with their frequencies (pyspellchecker) and given and family names of
many countries (Faker); neither is asked for anything else, and all but the commonest are kept as hashes.
"""

from __future__ import annotations

import gzip
import importlib
import json
import pkgutil
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from policies.calibrate import ordinary_words, retain_sentences
from policies.letters import NameLetters
from policies.text import fold

_HASH_BYTES = 8
_LATIN_END = 0x250
_FIRST, _LAST = ("first", "last")
_COMMON_WORDS = 20_000
_NAMES_TOO = frozenset(
    "april art august autumn banks basil bell berry bill bird bishop black bloom blossom bond bridge "
    "brook brooks bush camp chance chase christian church clay cliff cook cross crystal daisy dale "
    "dawn day dean destiny dove drew earl east eve faith fern field fields fish flint flower ford "
    "forest fox frank frost gene glass gold grace grant gray green guy hall hazel heath heather hill "
    "holly hope hunter iris ivory ivy jack jade jasmine jay jewel joy june king knight lake lane lily "
    "long love mark marsh mason may melody mercy miles moon nick north olive page park parks parsons "
    "pat patience pearl penny petal piper pope price prince queen rain ray reed rice river rivers rob "
    "robin rod rose ruby sage salt sandy savage scarlet sharp short silver sky small snow star "
    "sterling stone storm strong sue summer sunny swift temple topaz trinity viola violet wade ward "
    "west white will willow winter wolf wood woods worth young".split()
)
"""Words of every day that registers of names hold as well, and that mean themselves where they are written
small."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class KnownWords:
    """How common words are, by their hashes.  Immutable; about 2 MB.

    hashes: [words] uint64, ascending.  shares: [words] float32, the share of each among all words written.
    """

    hashes: NDArray[np.uint64]
    shares: NDArray[np.float32]
    letters: Mapping[str, float]
    """The share of each letter a-z in names."""
    spelling: NameLetters
    common: frozenset[str]
    """The commonest words, folded: most of what is ever written."""

    def share(self, word: str) -> float:
        """Return how common a folded word is, in [0, 1): 0.0 where it is not known."""
        # In the array's own type: any other would have all of it converted first.
        key = np.uint64(_hash(word))
        at = int(self.hashes.searchsorted(key))
        return float(self.shares[at]) if at < len(self.hashes) and self.hashes[at] == key else 0.0


@cache
def known_words() -> KnownWords:
    """Return the known words; read once a process, which takes about a second."""
    shares: dict[int, float] = {}
    written = _written()
    total = sum(written.values())
    most = sorted(written, key=lambda word: (-written[word], word))[:_COMMON_WORDS]
    common = frozenset(part for word in most for part in fold(word).text.split())
    for word, count in written.items():
        for part in fold(word).text.split():
            _raise(shares, part, count / total)
    given, family = names()
    # A name that is no word: as common as the least common of them, over all names.
    least = 1.0 / (2 * (len(given) + len(family)))
    parts = {part for name in (*given, *family) for part in fold(name).text.split() if part.isascii()}
    letters: Counter[str] = Counter()
    for part in sorted(parts):
        _raise(shares, part, least)
        letters.update(char for char in part if char in _ALPHABET)
    hashes = np.fromiter(shares, np.uint64, len(shares))
    order = np.argsort(hashes)
    each = np.fromiter(shares.values(), np.float32, len(shares))
    of_names = {char: float(letters[char]) for char in _ALPHABET}
    return KnownWords(hashes[order], each[order], of_names, NameLetters(parts), common)


def _raise(shares: dict[int, float], word: str, share: float) -> None:
    if len(word) > 1:
        key = _hash(word)
        shares[key] = max(shares.get(key, 0.0), share)


def _hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest())


def _written() -> dict[str, int]:
    packed = resources.files("spellchecker").joinpath("resources", "en.json.gz").read_bytes()
    counts: dict[str, int] = json.loads(gzip.decompress(packed))
    # The list is American: words of our own sentences ('harbour') are as common as its rarest ones.
    rarest = min(counts.values())
    for sentence in retain_sentences():
        for word in sentence.split():
            if word.islower():
                counts.setdefault(word, rarest)
    return counts


@cache
def names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return given and family names in Latin letters, of many countries, each in a fixed order."""
    given: set[str] = set()
    family: set[str] = set()
    for provider in _providers():
        for field in dir(provider):
            kept = given if field.startswith(_FIRST) else family if field.startswith(_LAST) else None
            listed = getattr(provider, field)
            if kept is not None and isinstance(listed, Mapping | list | tuple):
                kept.update(name for name in listed if isinstance(name, str) and _is_latin(name))
    return tuple(sorted(given)), tuple(sorted(family))


@cache
def _of_names() -> frozenset[str]:
    """Return the folded words of all names of the registers."""
    return frozenset(part for each in names() for name in each for part in fold(name).text.split())


def is_word(word: str) -> bool:
    """Whether a folded word is an ordinary one that, written small, is more likely itself than a name."""
    if word in _NAMES_TOO or word in ordinary_words():
        return True
    return word in known_words().common and word not in _of_names()


def _providers() -> Iterator[type]:
    folder = resources.files("faker.providers") / "person"
    for module in pkgutil.iter_modules([str(folder)]):
        if "_" in module.name:
            yield importlib.import_module(f"faker.providers.person.{module.name}").Provider


def _is_latin(name: str) -> bool:
    return len(name) > 1 and max(map(ord, name)) < _LATIN_END


def natural_names(count: int, seed: int) -> list[str]:
    """Return so many names of people, all different, given name first; the same for the same seed."""
    given, family = names()
    draw = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        made[f"{draw.choice(given)} {draw.choice(family)}"] = None
    return list(made)


def misspelt(name: str, share: float, draw: random.Random) -> str:
    """Return a name with about `share` of its letters changed: replaced, left out, doubled up or swapped."""
    made: list[str] = []
    for char in name:
        if not char.isalpha() or draw.random() >= share:
            made.append(char)
        else:
            _spoil(made, char, draw)
    return " ".join(word[:1].upper() + word[1:].lower() for word in "".join(made).split())


def _spoil(made: list[str], char: str, draw: random.Random) -> None:
    other = draw.choice(_ALPHABET)
    match draw.randrange(4):
        case 0:
            made.append(other)
        case 1:
            made.extend(draw.choice(((other, char), (char, other))))
        case 2 if made and made[-1].isalpha():
            made.insert(-1, char)
        case _:
            pass
