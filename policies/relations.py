"""How relations are talked about: the bundled lexicon, and a relation of the operator's own.

Everything here is folded by `policies.text.fold`, so that a scan may look for it in folded text.  The
words themselves stand in `relations.yaml`, which people may read and correct.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from policies.nodes import compose, plain
from policies.policy import Relation
from policies.text import fold


@dataclass(frozen=True, slots=True)
class Entry:
    """A common relation.  All texts are folded."""

    names: tuple[str, ...]
    """Ways in which an operator writes it."""
    cues: tuple[str, ...]
    unless: tuple[str, ...]
    despite: tuple[str, ...]
    nouns: tuple[str, ...]
    joins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words by which questions and answers are read.  All texts are folded; no list is empty."""

    relations: tuple[Entry, ...]
    probes: tuple[str, ...]
    """Show a question about the form of a value in place of the value."""
    persons: tuple[str, ...]
    """Show that a person is sought."""
    anaphora: tuple[str, ...]
    """Stand for a person or thing that was named before."""
    not_knowing: tuple[str, ...]
    """Phrases by which a sentence says that its speaker does not know."""
    stop_words: frozenset[str]
    """Words that say nothing about a relation."""
    things: frozenset[str]
    """Words that make a run of capitalised words the name of a thing."""
    generic: frozenset[str]
    """Words that many relations share ('city', 'year'): a cue only where there is no other."""
    by_name: Mapping[str, Entry]
    """Entries by each of their names, in full and without leading words such as 'is' or 'the'."""


@cache
def lexicon() -> Lexicon:
    """Return the bundled lexicon; read once."""
    text = resources.files("policies").joinpath("relations.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = plain(compose(text)[0])
    entries = tuple(
        Entry(**{field.name: _all(each.get(field.name, ())) for field in fields(Entry)})
        for each in data["relations"]
    )
    by_name: dict[str, Entry] = {}
    for entry in entries:
        for name in entry.names:
            by_name.setdefault(name, entry)
    for entry in entries:
        for name in entry.names:
            by_name.setdefault(_bare(name), entry)
    return Lexicon(
        relations=entries,
        probes=_all(data["probes"]),
        persons=_all(data["persons"]),
        anaphora=_all(data["anaphora"]),
        not_knowing=_all(data["not_knowing"]),
        stop_words=frozenset(_all(data["stop_words"])),
        things=frozenset(_all(data["things"])),
        generic=frozenset(_all(data["generic"])),
        by_name=by_name,
    )


def relation(name: str, asks: Sequence[str], names: Sequence[str]) -> Relation:
    """Return how the relation `name` is talked about.

    asks: the operator's own wordings, with or without the names filled in.
    names: the subject's names, whose words are no cues.
    The cues are those of the lexicon where it knows `name`, else the content words of `name`; and then the
    content words of `asks`.  There is at least one cue if `name` holds a letter or digit.
    """
    known = lexicon()
    ignored = known.stop_words | known.generic
    asked = _content((ask.replace("{name}", " ") for ask in asks), names, ignored)
    return _with_cues(name, asked)


# Thousands of facts have one relation: it is worked out once, and is one object.
@lru_cache(maxsize=4096)
def _with_cues(name: str, asked: tuple[str, ...]) -> Relation:
    known = lexicon()
    entry = known.by_name.get(folded(name)) or known.by_name.get(_bare(folded(name)))
    if entry is None:
        own = _content((name,), (), known.stop_words) or (folded(name),)
        return Relation(name, _unique((*own, *asked)))
    return Relation(
        name, _unique((*entry.cues, *asked)), entry.unless, entry.despite, entry.nouns, entry.joins
    )


def folded(text: str) -> str:
    """Return the words of `text` as scans compare them, one space between."""
    return fold(text).text.strip()


def _all(texts: Iterable[str]) -> tuple[str, ...]:
    return _unique(folded(text) for text in texts)


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


_LEADING = frozenset(
    ["is", "was", "are", "were", "be", "has", "have", "had", "did", "does", "do", "the", "a", "an"]
    + ["his", "her", "their", "its", "of", "s"]
)


def _bare(name: str) -> str:
    words = name.split()
    while len(words) > 1 and words[0] in _LEADING:
        words.pop(0)
    return " ".join(words)


def _content(texts: Iterable[str], names: Sequence[str], ignored: frozenset[str]) -> tuple[str, ...]:
    """Return the words of `texts` that are neither ignored nor part of a name, in order."""
    words = [word for text in texts for word in folded(text).split()]
    of_names = {word for name in names for word in folded(name).split()} if words else ()
    return _unique(word for word in words if word not in ignored and word not in of_names and len(word) > 1)
