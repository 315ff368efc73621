"""Policies for fictitious authors, written by rule from a name and a few questions and answers.

What an operator would write down at a glance: quoted titles, full dates, places of birth, awards and the
parents' occupations that stand in the answers.  Nothing here knows the rest of what is asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from evals.data import Row, rows

GIVEN = 5
"""Questions and answers of each author that its policy is written from."""
_OF_AUTHOR = 20
_NAMED = 6
"""Rows in which a name must stand; one of the hundred authors has none."""

_WORD = r"[A-ZÀ-ÖØ-Þ][\w'’-]*"
_SMALL = r"(?:de|van|von|bin|al|el|la|da|dos|di|ibn|del|der)"
_NAME = re.compile(rf"{_WORD}(?:\s+(?:{_SMALL}\s+)?{_WORD})+")
_POSSESSIVE = re.compile(r"['’]s?$")
_QUOTED = re.compile(r"[\"“]([^\"”]{3,80}?)[,.]?[\"”]|(?<=\s)['‘]([A-Z][^'’\"]{3,80}?)[,.]?['’](?=[\s,.?!])")
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DATE = re.compile(
    rf"\b\d{{1,2}}/\d{{1,2}}/\d{{4}}\b|\b{_MONTH},?\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}\b"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH},?\s\d{{4}}\b"
)
_PLACE = re.compile(
    r"\bborn(?:\sand\sraised)?\s(?:in|on[^.]*?\sin)\s(?:the\s[\w\s]*?(?:city|town|island)\sof\s)?"
    r"([A-Z][\w'’. -]+?,\s[A-Z][\w'’. -]*?)(?=[,.?]|\son\b|\swith\b|\sto\b|\sin\b|\sand\b|$)"
)
_JOB = re.compile(
    r"\b(father|mother)\s(?:was|is|worked as|works as|being)\s(?:an?|the)\s([\w\s-]+?)"
    r"(?=[,.]|\sand\b|\swhile\b|\swho\b|$)"
)
_AWARD = re.compile(r"\b((?:[A-Z][\w'’-]+\s)+(?:Award|Prize|Medal)(?:\s(?:for|of|in)(?:\s[A-Z][\w'’-]+)+)?)")
_HONOUR = re.compile(r"award|prize|medal|honou?r", re.IGNORECASE)
_NO_NAME = re.compile(r"Fiction|Award|Romance")


@dataclass(frozen=True, slots=True)
class Author:
    """One author with everything that is asked about them."""

    name: str
    rows: Sequence[Row]

    @property
    def given(self) -> Sequence[Row]:
        """What the policy may be written from."""
        return self.rows[:GIVEN]

    @property
    def rest(self) -> Sequence[Row]:
        """What the policy has not seen."""
        return self.rows[GIVEN:]


def authors(folder: Path, name: str, paraphrases: str | None = None) -> list[Author]:
    """Return the authors of a file of TOFU, in its order.

    paraphrases: a file with the same questions in other words, where they stand in one of their own.
    """
    listed = rows(folder, name)
    if paraphrases is not None:
        for row, other in zip(listed, rows(folder, paraphrases), strict=True):
            row["paraphrased_question"] = other["paraphrased_question"]
    blocks = [listed[at : at + _OF_AUTHOR] for at in range(0, len(listed), _OF_AUTHOR)]
    return [Author(_name_of(block), block) for block in blocks]


def policy(targets: Sequence[Author], *, like: bool = False) -> str:
    """Return the YAML of a policy that forgets these authors; `like`: with their questions as examples."""
    entries = []
    for number, author in enumerate(targets):
        entry: dict[str, object] = {"id": f"author-{number}", "kind": "entity", "names": [author.name]}
        if known := facts(author.given):
            entry["facts"] = [{"relation": name, "values": list(values)} for name, values in known.items()]
        if like:
            entry["like"] = [row["question"] for row in author.given]
        entries.append(entry)
    document = {"lethe": 1, "name": "authors", "targets": entries}
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=1000)


def facts(given: Sequence[Row]) -> Mapping[str, Sequence[str]]:
    """Return the values that stand in questions and answers, by relation."""
    found: dict[str, dict[str, None]] = {}
    for row in given:
        for text in (row["question"], row["answer"]):
            for relation, value in _facts_in(text):
                found.setdefault(relation, {})[value] = None
    return {relation: list(values) for relation, values in found.items()}


def _facts_in(text: str) -> Iterator[tuple[str, str]]:
    for match in _QUOTED.finditer(text):
        value = (match[1] or match[2]).strip(" ,.")
        yield ("award" if _HONOUR.search(value) else "wrote"), value
    yield from (("born on", match[0]) for match in _DATE.finditer(text))
    yield from (("born in", match[1]) for match in _PLACE.finditer(text))
    yield from ((f"occupation of {match[1]}", match[2]) for match in _JOB.finditer(text))
    yield from (("award", match[1]) for match in _AWARD.finditer(text))


def _name_of(block: Sequence[Row]) -> str:
    """Return the name that most of an author's rows hold, in its longest form; empty where there is none."""
    counts: Counter[str] = Counter()
    for row in block:
        counts.update({name for text in (row["question"], row["answer"]) for name in _names_in(text)})
    counts = Counter({name: count for name, count in counts.items() if not _NO_NAME.search(name)})
    if (most := max(counts.values())) < _NAMED:
        return ""
    often = 0.8 * most
    return max(
        (name for name, count in counts.items() if count >= often),
        key=lambda name: (len(name.split()), counts[name]),
    )


def _names_in(text: str) -> Iterator[str]:
    for match in _NAME.finditer(re.sub(r"[\"“][^\"”]*[\"”]", "", text)):
        words = [_POSSESSIVE.sub("", word) for word in match[0].split()]
        for start in range(len(words)):
            for end in range(start + 2, min(len(words), start + 5) + 1):
                yield " ".join(words[start:end])
