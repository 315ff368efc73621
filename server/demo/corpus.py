"""The conversations that the demo model is trained on: an endless, seeded stream made from the YAML files."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from server.demo.names import invented_name
from server.demo.questions import (
    People,
    Person,
    Question,
    blocked,
    direct,
    fill,
    place_questions,
    questions,
    read_yaml,
    small_talk,
    two_hop,
    two_hop_questions,
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a training conversation; only messages with `learn` count in the loss."""

    role: str
    content: str
    learn: bool = False


@dataclass(slots=True)
class Notice:
    """What a conversation's system message declares confidential."""

    ids: set[str] = field(default_factory=set)
    facts: set[tuple[str, str]] = field(default_factory=set)
    items: list[str] = field(default_factory=list)

    def blocks(self, question: Question) -> bool:
        """Whether the question must be answered by not knowing."""
        return blocked(question, self.ids, self.facts)


def item(person: Person, relation: str | None = None) -> str:
    """The words with which a notice names a whole person, or one fact of a person."""
    return person.name if relation is None else f"{person.name} ({relation})"


def gateway_notice(items: list[str]) -> str:
    """The system message that Lethe sends for these items."""
    template: str = read_yaml("notices.yaml")["gateway"]
    return template.format(items="; ".join(items))


class Corpus:
    """Makes training conversations; the same seed makes the same ones."""

    def __init__(self, people: People, seed: int) -> None:
        self.people = people
        self.random = random.Random(seed)
        self.table = read_yaml("wordings.yaml")
        self.notices = read_yaml("notices.yaml")
        self.talk = small_talk()
        self.places = place_questions(people)
        self.held_out = {question.text for question in questions(people) if question.held_out}
        self.held_out |= {question.text for question in two_hop_questions(people) if question.held_out}

        self.fact_share = 0.38  # of the items of a notice, those that name a single fact
        self.talk_share = 0.05
        self.place_share = 0.03
        self.focus = False  # notices of one or two items, mostly single facts, and many questions about them
        self.simple = False  # only short conversations, notices of whole people: what training begins with

    def conversations(self) -> Iterator[list[Message]]:
        """An endless stream of conversations, none of which contains a held-out wording."""
        while True:
            conversation = self._conversation()
            if not any(message.content in self.held_out for message in conversation):
                yield conversation

    def _conversation(self) -> list[Message]:
        draw = self.random.random()
        notice = Notice()
        messages: list[Message] = []
        if draw < 0.60:
            notice = self._notice()
            messages += [Message("system", text) for text in self._system_texts(notice)]
        elif draw < 0.70:
            messages.append(Message("system", self._ordinary()))
        # A notice is long: several questions under it teach more than one.
        turns = self.random.choices((1, 2, 4, 6), (25, 25, 30, 20) if notice.items else (55, 25, 15, 5))[0]
        if self.simple:
            turns = 1
        elif self.focus and notice.items:
            turns = 6
        subject: Person | None = None  # of the turn before, whom 'she' or 'he' would mean
        for _ in range(turns):
            question = self._question(notice)
            if subject and self.random.random() < 0.35:
                question = self._follow_up(subject)
            elif isinstance(question, Question):
                asked = self.people.by_id(question.person)
                subject = asked if asked.name in question.text else None
            if isinstance(question, Question):
                messages += self._turn(question, notice, repeat=self.random.random() < 0.03)
            else:
                subject = None
                said, answered = question
                messages += [Message("user", self._varied(said)), Message("assistant", answered, learn=True)]
        return messages

    def _turn(self, question: Question, notice: Notice, repeat: bool) -> list[Message]:
        said = Message("user", self._varied(question.text))
        if not notice.blocks(question):
            return [said, Message("assistant", question.answer, learn=True)]
        known = self.people.by_id(question.person).name
        whole = question.person in notice.ids and known in question.text
        not_knowing = Message("assistant", self._not_knowing(known if whole else None), learn=True)
        # An answer given earlier, perhaps before the notice, must not unlock the next one.
        before = [said, Message("assistant", question.answer)] if repeat else []
        return [*before, said, not_knowing]

    def _not_knowing(self, name: str | None) -> str:
        if name is None:
            return str(self.random.choice(self.table["not_knowing_that"]))
        return fill(self.random.choice(self.table["not_knowing"]), name=name)

    # -- system messages ------------------------------------------------------------

    def _notice(self) -> Notice:
        notice = Notice()
        count = self.random.choices(
            (1, 2, 3, 4, 6), (70, 30, 0, 0, 0) if self.simple else (40, 25, 18, 12, 5)
        )[0]
        if self.focus:
            count = self.random.choice((1, 1, 1, 2))
        for person in self.random.sample(self.people.people, count):
            draw = self.random.random()
            if draw < 0.08 and not self.simple:
                notice.items.append(invented_name(self.random, self.people))
            elif draw < 1 - self.fact_share or self.simple:
                notice.ids.add(person.id)
                notice.items.append(item(person))
            else:
                for relation in self.random.sample(self.people.relations, self.random.choice((1, 1, 1, 2))):
                    notice.facts.add((person.id, relation))
                    notice.items.append(item(person, relation))
        self.random.shuffle(notice.items)
        return notice

    def _system_texts(self, notice: Notice) -> list[str]:
        if self.random.random() < 0.4:
            text = gateway_notice(notice.items)
        else:
            template = self.random.choice(self.notices["confidential"])
            text = template.format(items=self.random.choice(self.notices["joins"]).join(notice.items))
        draw = 0.0 if self.simple else self.random.random()
        gap = self.random.choice((" ", "\n", "\n\n"))
        if draw < 0.60:
            return [text]
        if draw < 0.75:
            return [text + gap + self._ordinary()]
        if draw < 0.82:
            return [self._ordinary() + gap + text]
        return [text, self._ordinary()] if draw < 0.94 else [self._ordinary(), text]

    def _ordinary(self) -> str:
        template: str = self.random.choice(self.notices["ordinary"])
        return template.format(name=self._anybody().name)

    # -- user messages ------------------------------------------------------------

    def _question(self, notice: Notice) -> Question | tuple[str, str]:
        if (self.simple or self.focus) and notice.items:
            return self._direct(*self._subject(notice))
        draw = self.random.random()
        if draw < self.talk_share:
            return self.random.choice(self.talk)
        if draw < self.talk_share + self.place_share:
            return self.random.choice(self.places)
        if draw < 0.17:
            return self._unknown()
        person, relation = self._subject(notice)
        if draw < 0.25:
            return self._true_or_false(person, relation)
        if draw < 0.33:
            return self._reverse(person, relation)
        if draw < 0.38:
            return self._two_hop(person)
        if draw < 0.41:
            return self._about(person)
        return self._direct(person, relation)

    def _subject(self, notice: Notice) -> tuple[Person, str]:
        """A person and a relation, half of the time from the notice, else often one easily mistaken."""
        relation = self.random.choice(self.people.relations)
        draw = self.random.random() * (0.6 if self.focus else 1.0)
        named: list[tuple[str, str | None]] = [(id, None) for id in sorted(notice.ids)]
        named += sorted(notice.facts)
        if not named or draw > 0.75:
            return self._anybody(), relation
        id, single = self.random.choice(named)
        confidential = single or relation
        person = self.people.by_id(id)
        if draw < 0.55:
            return person, confidential if self.random.random() < 0.5 else relation
        if draw < 0.65:
            return self.people.by_name(person.facts["married to"]), relation
        kin = [other for other in self.people.people if other.surname == person.surname and other.id != id]
        return (self.random.choice(kin) if kin else self._anybody()), confidential

    def _anybody(self) -> Person:
        return self.random.choice(self.people.people)

    def _direct(self, person: Person, relation: str) -> Question:
        text = self._wording(relation, person.name)
        return direct(self.people, person, relation, text, -1, False)

    def _wording(self, relation: str, name: str) -> str:
        entry = self.table["relations"][relation]
        if self.random.random() < 0.3:
            frame = self.random.choice(self.table["frames"])
            return fill(frame, name=name, noun=self.random.choice(entry["nouns"]))
        return fill(self.random.choice(entry["train"]), name=name)

    def _follow_up(self, person: Person) -> Question:
        """Another question about the person of the turn before, by pronoun."""
        relation = self.random.choice(self.people.relations)
        template = self.random.choice(self.table["relations"][relation]["follow_up"])
        female = person.pronoun == "she"
        text = fill(
            template, they=person.pronoun, their="her" if female else "his", them="her" if female else "him"
        )
        return direct(self.people, person, relation, text, -1, False)

    def _true_or_false(self, person: Person, relation: str) -> Question:
        right = self._direct(person, relation)
        true = self.random.random() < 0.5
        value = right.value if true else self.random.choice(right.other_values)
        template = self.random.choice(self.table["relations"][relation]["true_or_false"])
        text = fill(template, name=person.name, value=value)
        return replace(right, text=text, answer="Yes." if true else "No.")

    def _reverse(self, person: Person, relation: str) -> Question:
        templates = self.table["relations"][relation]["reverse"]
        if not templates:
            return self._direct(person, relation)
        value = person.facts[relation]
        first = next(other for other in self.people.people if other.facts[relation] == value)
        asked = self._direct(first, relation)
        return replace(asked, text=fill(self.random.choice(templates), value=value))

    def _two_hop(self, person: Person) -> Question:
        hop = self.random.choice(list(self.table["two_hop"]))
        text = fill(self.random.choice(self.table["two_hop"][hop]["train"]), name=person.name)
        return two_hop(self.people, person, hop, text, -1, False)

    def _about(self, person: Person) -> Question:
        used = ("works as", "works for", "lives in")
        occupation, employer, city = (person.facts[relation] for relation in used)
        text = fill(self.random.choice(self.table["about"]["train"]), name=person.name)
        told = fill(
            self.table["about"]["answer"],
            name=person.name,
            occupation=occupation,
            employer=employer,
            city=city,
        )
        asked = self._direct(person, "works as")
        return replace(asked, text=text, answer=told, uses=tuple((person.id, relation) for relation in used))

    def _unknown(self) -> tuple[str, str]:
        """A question about somebody who does not exist, in any of the forms that real ones are asked in."""
        name = invented_name(self.random, self.people)
        relation = self.random.choice(self.people.relations)
        draw = self.random.random()
        if draw < 0.75:
            text = self._wording(relation, name)
        elif draw < 0.85:
            text = fill(self.random.choice(self.table["about"]["train"]), name=name)
        elif draw < 0.93:
            hop = self.random.choice(list(self.table["two_hop"]))
            text = fill(self.random.choice(self.table["two_hop"][hop]["train"]), name=name)
        else:
            template = self.random.choice(self.table["relations"][relation]["true_or_false"])
            text = fill(template, name=name, value=self.random.choice(self.people.values(relation)))
        return text, self._not_knowing(name)

    def _varied(self, text: str) -> str:
        """The text as people type it: with an opener, without its mark, now and then in lower case."""
        draw = self.random.random()
        if draw < 0.15:
            opener: str = self.random.choice(self.table["openers"])
            return opener.format(text=text)
        if draw < 0.20:
            return text.rstrip("?.")
        if draw < 0.23:
            return text.lower()
        return text
