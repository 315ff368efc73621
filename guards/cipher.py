"""Ciphers that a request defines itself: a table of letters or words, or one alphabet under the other.

Who tells a model a cipher tells it to Lethe as well.  What is written in it in the request is read besides
what stands there, and an answer is read in it, whole, before anything of it leaves.  No other exchange pays
for it: without a table there is nothing to do.

A table is read in both directions, since nobody says which side is the cipher's.  One that is no cipher (a
key of abbreviations, settings) makes letters of no meaning out of a text, in which nothing is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from string import ascii_lowercase

from guards.base import Close, Compiled, Finding, Passage, Progress, Scan, ScanError
from guards.cipher_tables import alphabets_of, pairs_of
from guards.passages import OverBudget, chars_of, worked_out
from guards.remembered import Remembered

MIN_LETTERS, MIN_WORDS = 8, 6
"""Entries that make a table: of letters; of signs that stand for words."""
MAX_TABLES = 48
"""Directions of tables that one request may define."""
MAX_READ = 4_000_000
"""Code points that all readings of a request may have; with more it is refused, never left unread."""
MAX_ANSWER = 65_536
"""An answer of more code points to a request that defines a cipher stops the exchange; with several tables,
fewer do."""
_FEW, _WORTH = 200, 2_000
"""More texts than this are looked through beside the event loop; fewer code points are not worth a hash."""
_CACHED = 8_192
_USUAL_WIDTH = 6
"""What the two directions of one table of letters read for each code point."""
SUFFIX = " (read in the cipher that the request defines)"
"""Behind the path of a passage, for what it says in a cipher."""

_QUOTES = "\"'`“”‘’*_"
_TIGHT = re.compile(r"(?<=\w)[ \-.,_](?=\w)")
_WIDE = re.compile(r"[ \t]*[/|\n][ \t]*|[ \t]{2,}")


@dataclass(frozen=True, slots=True)
class Cipher:
    """One direction of a table: what stands for what."""

    table: Mapping[str, str]
    """Casefolded signs of the cipher, each with the letter or word that it stands for."""
    signs: re.Pattern[str]

    @property
    def widest(self) -> int:
        """Code points that its readings have for one of a text, at most."""
        return 3 * max(map(len, self.table.values()))

    def readings(self, text: str) -> list[str]:
        """Return what a text says: with its gaps as they stand, and with the letters put together."""
        said = self.signs.sub(self._meant, text)
        if said == text:
            return []
        if max(map(len, self.table.values())) > 1:
            return [said]
        # Letters one by one, with a wider gap between words.
        put = self.signs.sub(self._meant, _TIGHT.sub("", text))
        words = " ".join(re.sub(r"[ \-.,_]", "", word) for word in _WIDE.split(said))
        return list(dict.fromkeys((said, put, words)))

    def _meant(self, match: re.Match[str]) -> str:
        # A capital of another alphabet may match a sign and fold to something else.
        return self.table.get(match.group().casefold(), match.group())


def told(texts: Iterable[str]) -> tuple[Cipher, ...]:
    """Return the ciphers that texts of a request define.  Linear in their length.

    Raises OverBudget where there are more than `MAX_TABLES`: one that is not read could be the one in use.
    """
    found: dict[tuple[tuple[str, str], ...], Cipher] = {}
    for text in texts:
        words = text.split()
        tables = chain.from_iterable(map(_tables, pairs_of(text, words)))
        for each in chain(tables, _alphabets(alphabets_of(text, words))):
            found[tuple(sorted(each.table.items()))] = each
    if len(found) > MAX_TABLES:
        raise OverBudget("too many tables that may be ciphers")
    return tuple(found.values())


class Tables:
    """Finds the ciphers that a request defines; what was looked through before without one costs a hash.

    A conversation sends its history with every turn.  Nothing of a text is kept but a keyed hash.
    """

    def __init__(self) -> None:
        self._without: Remembered[None] = Remembered(_CACHED)

    async def told(self, texts: Sequence[str], client: str) -> tuple[Cipher, ...]:
        """Return the ciphers that texts define, as `told` does; much text is read beside the event loop.

        client: who asks; what one has brought is no cheaper for another, who could learn of it by that.
        """
        if len(texts) <= _FEW and sum(map(len, texts)) <= _WORTH:
            return told(texts)
        keys = [self._without.key(text, client) for text in texts]
        known = self._without.known(keys)
        new = [text for key, text in zip(keys, texts, strict=True) if key not in known]
        found = await worked_out(told, new, chars=sum(map(len, new)), many=len(new) > _FEW)
        if not found:
            self._without.keep(dict.fromkeys(keys))
        return found


def _tables(pairs: Sequence[tuple[str, str, str]]) -> Iterator[Cipher]:
    """Yield the ciphers that pairs of (one side, joint, other side) make."""
    if len(pairs) < MIN_WORDS:
        return
    sides = [(one.strip(_QUOTES), joint, other.strip(_QUOTES).rstrip(".")) for one, joint, other in pairs]
    turned = [(other, joint, one) for one, joint, other in sides]
    for some in (sides, turned):
        letters = {sign.casefold(): meant.casefold() for meant, _, sign in some if sign and _is_letter(meant)}
        single = {sign: meant for sign, meant in letters.items() if len(sign) == 1 and not sign.isdecimal()}
        # What else is said in pairs ('the key: a') is then no part of the table.
        letters = single if len(set(single.values())) >= MIN_LETTERS else letters
        if len(set(letters.values())) >= MIN_LETTERS:
            yield _cipher(letters)
        # 'one: 1' is any list's; words that stand for signs are told by signs.
        words = {
            sign.casefold(): meant
            for meant, joint, sign in some
            if joint.strip() not in (":", "is") and len(meant) > 1 and _is_sign(sign)
        }
        if len(words) >= MIN_WORDS and any(map(str.isalpha, "".join(words.values()))):
            yield _cipher(words)


def _is_letter(text: str) -> bool:
    return len(text) == 1 and text.casefold() in ascii_lowercase


def _is_sign(text: str) -> bool:
    return bool(text) and (len(text) == 1 or not any(map(str.isalpha, text)))


def _alphabets(strings: Iterable[str]) -> Iterator[Cipher]:
    """Yield the ciphers of the strings that are alphabets: 26 different signs, other than a to z."""
    for each in strings:
        signs = each.casefold()
        if len(signs) == len(set(signs)) == len(ascii_lowercase) and signs != ascii_lowercase:
            yield _cipher(dict(zip(signs, ascii_lowercase, strict=True)))
            if signs.isascii():
                yield _cipher(dict(zip(ascii_lowercase, signs, strict=True)))


def _cipher(table: dict[str, str]) -> Cipher:
    ordered = sorted(table, key=len, reverse=True)
    signs = "|".join(map(re.escape, ordered))
    if len({len(sign) for sign in table}) > 1 or max(map(len, table.values())) > 1:
        # Of several lengths, or for words: a sign is what stands by itself.
        signs = rf"(?<!\w)(?:{signs})(?!\w)" if all(sign.isalnum() for sign in table) else signs
    return Cipher(table, re.compile(signs, re.IGNORECASE))


def deciphered(passages: Sequence[Passage], ciphers: Sequence[Cipher]) -> list[Passage]:
    """Return what the passages say in the ciphers, each as a passage of its own.

    Raises OverBudget where that could be more than `MAX_READ`.
    """
    if to_read(passages, ciphers) > MAX_READ:
        raise OverBudget("too much text to read in the request's ciphers")
    return [
        replace(passage, path=f"{passage.path}{SUFFIX}", text="\n".join(said))
        for passage in passages
        for cipher in ciphers
        if (said := cipher.readings(passage.text))
    ]


def to_read(passages: Sequence[Passage], ciphers: Sequence[Cipher]) -> int:
    """Return how many code points the readings of passages in ciphers may have."""
    return chars_of(passages) * sum(each.widest for each in ciphers)


class Deciphering:
    """What reads an answer in the ciphers of its request."""

    def __init__(self, ciphers: Sequence[Cipher], scans: Sequence[Compiled]) -> None:
        self._ciphers = ciphers
        self._scans = scans
        self.widest = sum(each.widest for each in ciphers)

    def find(self, text: str) -> list[Finding]:
        """Return what the text brings in a cipher; the span is the text as a whole."""
        found: dict[tuple[object, ...], Finding] = {}
        for said in (said for cipher in self._ciphers for said in cipher.readings(text)):
            for each in (each for scan in self._scans for each in scan.find(said)):
                placed = replace(
                    each, start=0, end=len(text), scan="codec", via=("the request's cipher", *each.via)
                )
                found.setdefault((each.target, each.part, each.fact, each.value), placed)
        return list(found.values())

    def open(self) -> Scan:
        """Return the running state for one channel."""
        return _Whole(self)


class _Whole:
    """Holds a channel until it ends: a cipher is read as a whole."""

    def __init__(self, compiled: Deciphering) -> None:
        self._compiled = compiled
        self._pieces: list[str] = []
        self._length = 0

    def feed(self, text: str) -> Progress:
        """Take more text; nothing of it is safe yet."""
        self._pieces.append(text)
        self._length += len(text)
        if self._length * max(_USUAL_WIDTH, self._compiled.widest) > MAX_ANSWER * _USUAL_WIDTH:
            raise ScanError("an answer to a request that defines a cipher is too long to be read in it")
        return Progress((), 0)

    def close(self, reason: Close, last: str = "") -> Progress:
        """Read all of it."""
        self.feed(last)
        return Progress(self._compiled.find("".join(self._pieces)), self._length)
