"""What the demo model can be asked, with the right answers; read from the YAML files beside this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Person:
    """One fictitious person: `facts` maps each relation, such as 'born in', to its value."""

    id: str
    name: str
    pronoun: str
    facts: Mapping[str, str]

    @property
    def surname(self) -> str:
        """The last word of the name."""
        return self.name.rsplit(" ", 1)[-1]


@dataclass(frozen=True, slots=True)
class People:
    """Everybody the demo model knows, in file order; the country of each city, the city of each employer."""

    people: tuple[Person, ...]
    relations: tuple[str, ...]
    cities: Mapping[str, str]
    employers: Mapping[str, str]

    def by_id(self, id: str) -> Person:
        """The person with this id; KeyError when there is none."""
        for person in self.people:
            if person.id == id:
                return person
        raise KeyError(id)

    def by_name(self, name: str) -> Person:
        """The person with this full name; KeyError when there is none."""
        for person in self.people:
            if person.name == name:
                return person
        raise KeyError(name)

    def values(self, relation: str) -> tuple[str, ...]:
        """The distinct values of a relation, in file order."""
        return tuple(dict.fromkeys(person.facts[relation] for person in self.people))


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its right answer.

    A right answer contains `value`, a wrong one of the same kind one of `other_values`. `uses` names the
    facts (person id, relation) that the answer rests on, `names` the ids of the people it mentions: where
    one of them is confidential, so is the answer.
    """

    person: str
    relation: str
    wording_index: int
    held_out: bool
    text: str
    value: str
    answer: str
    other_values: tuple[str, ...]
    uses: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


@cache
def read_yaml(name: str) -> Any:
    """The content of a YAML file of this package, read once."""
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


@cache
def load_people() -> People:
    """Everybody in people.yaml, checked: each person has each relation, each spouse and city is known."""
    raw = read_yaml("people.yaml")
    relations = tuple(raw["relations"])
    people = tuple(
        Person(
            id=entry["id"],
            name=entry["name"],
            pronoun=entry["pronoun"],
            facts=MappingProxyType({relation: str(entry[relation]) for relation in relations}),
        )
        for entry in raw["people"]
    )
    found = People(people, relations, MappingProxyType(raw["cities"]), MappingProxyType(raw["employers"]))
    _check(found)
    return found


def _check(people: People) -> None:
    names = {person.name for person in people.people}
    for person in people.people:
        facts = person.facts
        if facts["married to"] not in names:
            raise ValueError(f"people.yaml: {person.id}: the spouse {facts['married to']} is not in the list")
        if facts["works for"] not in people.employers:
            raise ValueError(f"people.yaml: {person.id}: the employer {facts['works for']} has no city")
        for relation in ("born in", "lives in"):
            if facts[relation] not in people.cities:
                raise ValueError(f"people.yaml: {person.id}: the city {facts[relation]} has no country")
    if len({person.id for person in people.people}) != len(people.people):
        raise ValueError("people.yaml: two people have the same id")


def fill(template: str, **values: str) -> str:
    """The template with its braces filled; `{a}` becomes the article that fits `value` or `occupation`."""
    noun = values.get("value") or values.get("occupation") or ""
    return template.format(a="an" if noun[:1].lower() in "aeiou" else "a", **values)


def wordings(relation: str) -> list[tuple[str, bool]]:
    """The question templates of a relation, the trained ones first, each with whether it was held out."""
    entry = read_yaml("wordings.yaml")["relations"][relation]
    return [(text, False) for text in entry["train"]] + [(text, True) for text in entry["held_out"]]


def answer(person: Person, relation: str) -> str:
    """The full sentence that the demo model answers when asked for this fact."""
    template = read_yaml("wordings.yaml")["relations"][relation]["answer"]
    return fill(template, name=person.name, value=person.facts[relation])


def direct(people: People, person: Person, relation: str, text: str, index: int, held_out: bool) -> Question:
    """The single-hop question with this wording, answered from people.yaml."""
    value = person.facts[relation]
    uses = [(person.id, relation)]
    names = [person.id]
    if relation == "married to":  # a marriage is known from both sides
        spouse = people.by_name(value)
        uses.append((spouse.id, relation))
        names.append(spouse.id)
    return Question(
        person=person.id,
        relation=relation,
        wording_index=index,
        held_out=held_out,
        text=text,
        value=value,
        answer=answer(person, relation),
        other_values=tuple(other for other in people.values(relation) if other != value),
        uses=tuple(uses),
        names=tuple(names),
    )


def questions(people: People) -> list[Question]:
    """Every single-hop question by person, relation and wording, trained wordings before held-out ones."""
    return _distinct(
        direct(people, person, relation, fill(text, name=person.name), index, held_out)
        for person in people.people
        for relation in people.relations
        for index, (text, held_out) in enumerate(wordings(relation))
    )


def reverse_questions(people: People) -> list[Question]:
    """Every question that gives a value and asks for the person: the first of people.yaml who has it."""
    return _distinct(
        _reverse(people, relation, value, index, fill(template, value=value))
        for relation in people.relations
        for value in people.values(relation)
        for index, template in enumerate(read_yaml("wordings.yaml")["relations"][relation]["reverse"])
    )


def _reverse(people: People, relation: str, value: str, index: int, text: str) -> Question:
    person = next(person for person in people.people if person.facts[relation] == value)
    return Question(
        person=person.id,
        relation=relation,
        wording_index=index,
        held_out=False,
        text=text,
        value=person.name,
        answer=answer(person, relation),
        other_values=tuple(other.name for other in people.people if other.id != person.id),
        uses=((person.id, relation),),
        names=(person.id,),
    )


def two_hop_questions(people: People) -> list[Question]:
    """Every two-hop question: birthplace of the spouse, city of the employer, country of birth."""
    table = read_yaml("wordings.yaml")["two_hop"]
    return _distinct(
        two_hop(people, person, hop, fill(template, name=person.name), index, held_out)
        for person in people.people
        for hop, entry in table.items()
        for index, (template, held_out) in enumerate(
            [(text, False) for text in entry["train"]] + [(text, True) for text in entry["held_out"]]
        )
    )


def two_hop(people: People, person: Person, hop: str, text: str, index: int, held_out: bool) -> Question:
    """The two-hop question with this wording; its answer says the middle step and then the value."""
    entry = read_yaml("wordings.yaml")["two_hop"][hop]
    first, second = entry["path"]
    middle = person.facts[first]
    uses, names = [(person.id, first)], [person.id]
    if second == "born in":
        spouse = people.by_name(middle)
        value, kind = spouse.facts[second], people.values(second)
        uses += [(spouse.id, first), (spouse.id, second)]
        names.append(spouse.id)
    else:
        known = people.employers if second == "city" else people.cities
        value, kind = known[middle], tuple(dict.fromkeys(known.values()))
    return Question(
        person=person.id,
        relation=hop,
        wording_index=index,
        held_out=held_out,
        text=text,
        value=value,
        answer=fill(entry["answer"], name=person.name, middle=middle, value=value),
        other_values=tuple(other for other in kind if other != value),
        uses=tuple(uses),
        names=tuple(names),
    )


def place_questions(people: People) -> list[tuple[str, str]]:
    """Questions about cities and employers, which are about nobody, each with its answer."""
    table = read_yaml("wordings.yaml")["places"]
    pairs: dict[str, str] = {}
    for kind, places in (("city", people.cities), ("employer", people.employers), ("way", people.cities)):
        for place, value in places.items():
            for text in table[kind]["train"]:
                pairs.setdefault(
                    fill(text, place=place), fill(table[kind]["answer"], place=place, value=value)
                )
    return list(pairs.items())


def small_talk() -> list[tuple[str, str]]:
    """Ordinary exchanges that have nothing to do with the people: what is said, what is answered."""
    return [(said, answered) for said, answered in read_yaml("small_talk.yaml")["pairs"]]


def not_knowing(text: str) -> bool:
    """Whether an answer is one of the sentences with which the demo model says that it does not know."""
    table = read_yaml("wordings.yaml")
    stems = [stem.split("{name}")[0].rstrip() for stem in table["not_knowing"] + table["not_knowing_that"]]
    return any(text.strip().startswith(stem) for stem in stems)


def blocked(question: Question, ids: Iterable[str] = (), facts: Iterable[tuple[str, str]] = ()) -> bool:
    """Whether the answer rests on a confidential fact or mentions a confidential person."""
    people, single = set(ids), set(facts)
    return any(
        person in people or (person, relation) in single for person, relation in question.uses
    ) or not people.isdisjoint(question.names)


def _distinct(found: Iterable[Question]) -> list[Question]:
    by_text: dict[str, Question] = {}
    for question in found:
        by_text.setdefault(question.text, question)
    return list(by_text.values())
