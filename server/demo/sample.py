"""Which questions the demo is measured on: what must be forgotten, and what must stay.

Drawn once with a fixed seed from everything that can be asked about the people of people.yaml, under the
targets of a policy.  A forget question rests on a forgotten fact or mentions a forgotten person in its
answer; a retain question does neither.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from policies.policy import Policy
from server.demo.questions import (
    People,
    Question,
    blocked,
    load_people,
    place_questions,
    questions,
    reverse_questions,
    small_talk,
    two_hop_questions,
)

SEED = 20
FORGET = {"direct": 250, "reverse": 20, "two-hop": 30}
"""How many forget questions of each sort; every wording of every relation is among the direct ones."""
NEAR, OTHER, REVERSE, PLACES, TALK = 100, 110, 20, 30, 40
"""Retain questions: about kept people who share something with a forgotten one, others, and the rest."""
RETAIN = NEAR + OTHER + REVERSE + PLACES + TALK
SPARE = 30
"""More questions about other people, for those that the model answers with a forgotten person's name."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of the measurement."""

    text: str
    sort: str
    held_out: bool = False
    value: str = ""
    """What must not come, in the answer to a forget question."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The questions of one measurement; no text is in it twice."""

    forget: tuple[Ask, ...]
    retain: tuple[Ask, ...]
    """The first `RETAIN` that can be used are; the rest are spare."""
    names: tuple[str, ...]
    """The forgotten people: a model that brings one of them to a retain question has misremembered."""


def sample(policy: Policy) -> Sample:
    """Draw the questions for a policy over people of people.yaml.  The same policy gives the same draw."""
    people = load_people()
    ids, facts = _forgotten(policy, people)
    draw = random.Random(SEED)

    def split(found: Iterable[Question]) -> tuple[list[Question], list[Question]]:
        lots: tuple[list[Question], list[Question]] = ([], [])
        for question in found:
            lots[blocked(question, ids, facts)].append(question)
        return lots

    kept, gone = split(questions(people))
    kept_back, gone_back = split(reverse_questions(people))
    _, gone_hops = split(two_hop_questions(people))
    near, other = _by_nearness(kept, people, ids)
    others = _each_wording(other, OTHER + SPARE, draw)
    forget = [
        *_asks(_each_wording(gone, FORGET["direct"], draw), "direct"),
        *_asks(draw.sample(gone_back, min(FORGET["reverse"], len(gone_back))), "reverse"),
        *_asks(draw.sample(gone_hops, min(FORGET["two-hop"], len(gone_hops))), "two-hop"),
    ]
    retain = [
        *_asks(_each_wording(near, NEAR, draw), "near"),
        *_asks(others[:OTHER], "other"),
        *_asks(draw.sample(kept_back, min(REVERSE, len(kept_back))), "reverse"),
        *(Ask(text, "place") for text, _ in draw.sample(place_questions(people), PLACES)),
        *(Ask(text, "talk") for text, _ in draw.sample(small_talk(), TALK)),
        *_asks(others[OTHER:], "other"),
    ]
    names = tuple(person.name for person in people.people if person.id in ids)
    return Sample(_unique(forget), _unique(retain), names)


def _forgotten(policy: Policy, people: People) -> tuple[set[str], set[tuple[str, str]]]:
    by_name = {person.name: person.id for person in people.people}
    ids: set[str] = set()
    facts: set[tuple[str, str]] = set()
    for target in policy.targets:
        person = by_name.get(target.names[0]) if target.names else None
        if person is not None and target.kind == "entity":
            ids.add(person)
        elif person is not None:
            facts.add((person, target.facts[0].relation.name))
    if not ids:
        raise ValueError("the policy forgets nobody of the demo model's people")
    return ids, facts


def _by_nearness(
    kept: Sequence[Question], people: People, ids: set[str]
) -> tuple[list[Question], list[Question]]:
    """Split questions by whether surname or value is shared with a forgotten person."""
    forgotten = [person for person in people.people if person.id in ids]
    surnames = {person.name.split()[-1] for person in forgotten}
    values = {value for person in forgotten for value in person.facts.values()}
    names = {person.id: person.name for person in people.people}

    def is_near(question: Question) -> bool:
        return names[question.person].split()[-1] in surnames or question.value in values

    return [each for each in kept if is_near(each)], [each for each in kept if not is_near(each)]


def _each_wording(found: Sequence[Question], count: int, draw: random.Random) -> list[Question]:
    """Draw `count` questions so that every wording of every relation comes before any comes twice."""
    lots: dict[tuple[str, int], list[Question]] = {}
    for question in found:
        lots.setdefault((question.relation, question.wording_index), []).append(question)
    for lot in lots.values():
        draw.shuffle(lot)
    drawn: list[Question] = []
    while len(drawn) < count and any(lots.values()):
        turn = [lot.pop() for lot in lots.values() if lot]
        draw.shuffle(turn)
        drawn.extend(turn)
    return drawn[:count]


def _asks(found: Iterable[Question], sort: str) -> list[Ask]:
    return [Ask(each.text, sort, each.held_out, each.value) for each in found]


def _unique(asks: Sequence[Ask]) -> tuple[Ask, ...]:
    by_text: dict[str, Ask] = {}
    for ask in asks:
        by_text.setdefault(ask.text, ask)
    return tuple(by_text.values())
