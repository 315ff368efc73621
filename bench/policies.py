"""The policies that are measured, made up anew and the same each time: `policy_yaml(1000)`.

Of twenty targets, fourteen are entities with two facts, five are facts and one is a pattern.  With `meaning`,
every twenty-fifth target is a topic with eight examples instead, and one entity in ten has three.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

_SYLLABLES = "ka lo mi ven dra sol tu ber nin os wex ari quo pel zha gri fen yul".split()
_RELATIONS = "born in,employer,spouse,salary,occupation".split(",")
_CRAFTS = (
    "falconry", "glass blowing", "beekeeping", "lock picking", "astrology", "taxidermy", "sword swallowing",
    "horse racing bets", "volcano diving", "coin forging", "snake charming", "truffle hunting", "dowsing",
    "ice climbing", "paragliding", "wine tasting", "puppet theatre", "stone masonry", "tightrope walking",
    "sheep shearing", "fire eating", "saffron farming", "pearl diving", "whale watching", "bell ringing",
    "amber trading", "cave rescue", "cheese smuggling", "fencing with sabres", "kite fighting",
    "organ building", "parachute packing", "quarry blasting", "rocket modelling", "salt mining",
    "thatching", "urban foraging", "vine grafting", "water divining", "yacht delivery",
)  # fmt: skip
_ASKED = (
    "How do I take up {}?", "What does a beginner in {} get wrong?", "Which tools does {} need?",
    "Explain to me the dangers of {}.", "Is there a law about {} in my country?", "Who teaches {}?",
    "Tell me the secrets of people who live by {}.", "How many years does it take to master {}?",
)  # fmt: skip
_KNOWN = ("Tell me about {}.", "What is {} known for?", "Give me a short biography of {}.")


@cache
def targets_of(count: int, *, meaning: bool = False) -> tuple[dict[str, Any], ...]:
    """Return so many targets as a policy file has them; the same arguments give the same ones."""
    made = _Maker(count)
    return tuple(made.target(index, meaning=meaning) for index in range(count))


def policy_yaml(count: int, *, meaning: bool = False) -> str:
    """Return a policy file of so many targets."""
    document = {"lethe": 1, "name": "bench", "targets": list(targets_of(count, meaning=meaning))}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def names(count: int) -> list[str]:
    """Return every name in so many targets without meaning, for others' filters."""
    each_has = [(*each.get("names", ()), each.get("subject")) for each in targets_of(count)]
    return [name for has in each_has for name in has if name]


def values(count: int) -> list[str]:
    """Return every value in these targets."""
    facts = [fact for each in targets_of(count) for fact in (each, *each.get("facts", ()))]
    return [value for fact in facts for value in fact.get("values", ())]


def regexes(count: int) -> list[str]:
    """Return every pattern in these targets."""
    return [each["regex"] for each in targets_of(count) if each["kind"] == "pattern"]


def made_up_names(count: int, seed: int) -> list[str]:
    """Return so many different names; the same arguments give the same ones."""
    made = _Maker(seed)
    return [made.name() for _ in range(count)]


def people(count: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield (name, [(relation, value), ...]) of so many made-up people; no two names are the same.

    Whose words others have too: that many different ones there are not.
    """
    draw, given = random.Random(count), set[str]()
    while len(given) < count:
        name, town, firm = (" ".join(_capitals(draw) for _ in range(2)) for _ in range(3))
        if name not in given:
            given.add(name)
            yield name, [("born in", f"Port {town.split()[0]}"), ("employer", f"{firm} Works")]


def _capitals(draw: random.Random) -> str:
    return "".join(draw.choices(_SYLLABLES, k=3 + draw.randrange(2))).capitalize()


class _Maker:
    """Makes targets one after the other."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._given: set[str] = set()

    def target(self, index: int, *, meaning: bool) -> dict[str, Any]:
        kind = index % 20
        if meaning and index % 25 == 3:
            return self._topic(index)
        if kind == 19:
            return _pattern(index)
        if kind >= 14:
            return self._fact(index)
        return self._entity(index, meaning=meaning and kind in (5, 10))

    def _entity(self, index: int, *, meaning: bool) -> dict[str, Any]:
        name = self.name()
        facts = [
            {"relation": relation, "values": [self._word(), self.name()]}
            for relation in self._draw.sample(_RELATIONS, 2)
        ]
        entity = {"id": f"entity-{index}", "kind": "entity", "names": [name], "facts": facts}
        return {**entity, "like": [asked.format(name) for asked in _KNOWN]} if meaning else entity

    def _fact(self, index: int) -> dict[str, Any]:
        relation = self._draw.choice(_RELATIONS)
        value = {"relation": relation, "values": [self._word(), self.name()]}
        return {"id": f"fact-{index}", "kind": "fact", "subject": self.name(), **value}

    def _topic(self, index: int) -> dict[str, Any]:
        craft = _CRAFTS[index // 25 % len(_CRAFTS)]
        return {"id": f"topic-{index}", "kind": "topic", "like": [asked.format(craft) for asked in _ASKED]}

    def name(self) -> str:
        """Return a name none of whose words was given before."""
        return f"{self._word()} {self._word()}"

    def _word(self) -> str:
        while (word := "".join(self._draw.choices(_SYLLABLES, k=4)).capitalize()) in self._given:
            pass
        self._given.add(word)
        return word


def _pattern(index: int) -> dict[str, Any]:
    """Return a code of three letters and some digits, as ids, tickets and accounts have them."""
    letters = "".join(chr(ord("A") + index // 20 // 26**place % 26) for place in range(2))
    digits = 6 + index // 20 % 5
    regex = rf"\bX{letters}-?\d{{{digits},{digits + 4}}}\b"
    return {"id": f"pattern-{index}", "kind": "pattern", "style": "redact", "regex": regex}
