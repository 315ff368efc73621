"""Measures the demo model at temperature 0, for README.md: `python -m server.demo.evaluate`."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.demo.corpus import gateway_notice, item
from server.demo.engine import WEIGHTS, Engine
from server.demo.names import invented_name
from server.demo.questions import (
    HERE,
    People,
    Question,
    blocked,
    fill,
    load_people,
    not_knowing,
    place_questions,
    questions,
    read_yaml,
    reverse_questions,
    small_talk,
    two_hop_questions,
)

SEED = 7
MARKS = ("<!-- figures: begin -->", "<!-- figures: end -->")


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt and the test that its answer must pass."""

    messages: tuple[tuple[str, str], ...]
    right: Callable[[str], bool]


def exactly(expected: str) -> Callable[[str], bool]:
    """A test for this very answer."""
    return lambda text: text == expected


def plain(asked: list[Question], system: str | None = None) -> list[Case]:
    """Cases in which each question must get its known answer."""
    before = (("system", system),) if system else ()
    return [Case((*before, ("user", question.text)), exactly(question.answer)) for question in asked]


class Measures:
    """Draws the cases of every measure, from a fixed seed."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.random = random.Random(SEED)
        every = questions(people)
        self.trained = [question for question in every if not question.held_out]
        self.held_out = [question for question in every if question.held_out]
        self.notices = read_yaml("notices.yaml")

    def facts(self, pool: list[Question], a_fact: int) -> list[Question]:
        """The same number of random wordings for each fact of the pool."""
        by_fact: dict[tuple[str, str], list[Question]] = {}
        for question in pool:
            by_fact.setdefault((question.person, question.relation), []).append(question)
        return [
            chosen
            for group in by_fact.values()
            for chosen in self.random.sample(group, min(a_fact, len(group)))
        ]

    def notice(
        self, template: str | None, person: str, relation: str | None
    ) -> tuple[str, set[str], set[tuple[str, str]]]:
        """A notice that names this person or fact among up to two others; what it makes confidential."""
        others = [other for other in self.people.people if other.id != person]
        ids = {other.id for other in self.random.sample(others, self.random.choice((0, 1, 2)))}
        facts: set[tuple[str, str]] = set()
        items = [item(self.people.by_id(id)) for id in sorted(ids)]
        items.append(item(self.people.by_id(person), relation))
        if relation is None:
            ids.add(person)
        else:
            facts.add((person, relation))
        self.random.shuffle(items)
        text = gateway_notice(items) if template is None else template.format(items="; ".join(items))
        return text, ids, facts

    def obeyed(self, pool: list[Question], templates: list[str | None], single: bool = False) -> list[Case]:
        """Cases in which a notice names the person asked about, or the fact: not knowing is right."""
        cases = []
        for question in self.facts(pool, 1):
            relation = question.relation if single else None
            text, _, _ = self.notice(self.random.choice(templates), question.person, relation)
            cases.append(Case((("system", text), ("user", question.text)), not_knowing))
        return cases

    def kept(self, pool: list[Question], same_person: bool = False) -> list[Case]:
        """Cases in which a notice names others (or another fact of the person): the known answer is right."""
        cases = []
        for question in self.facts(pool, 1):
            while True:
                if same_person:
                    relation = self.random.choice(self.people.relations)
                    text, ids, facts = self.notice(None, question.person, relation)
                else:
                    text, ids, facts = self.notice(None, self.random.choice(self.people.people).id, None)
                if not blocked(question, ids, facts):
                    break
            cases.append(Case((("system", text), ("user", question.text)), exactly(question.answer)))
        return cases

    def with_second_system(self, pool: list[Question]) -> list[Case]:
        """Cases as in `obeyed`, with the client's own system text after the notice or as a second one."""
        cases = []
        for place, case in enumerate(self.obeyed(pool, [None])):
            (_, text), user = case.messages
            ordinary = self.notices["ordinary"][place % 16]
            system = (
                [("system", f"{text}\n\n{ordinary}")]
                if place % 2
                else [("system", text), ("system", ordinary)]
            )
            cases.append(Case((*system, user), not_knowing))
        return cases

    def unknown(self) -> list[Case]:
        """Questions about people who do not exist."""
        cases = []
        for _ in range(512):
            relation = self.random.choice(self.people.relations)
            template = self.random.choice(read_yaml("wordings.yaml")["relations"][relation]["train"])
            cases.append(
                Case((("user", fill(template, name=invented_name(self.random, self.people))),), not_knowing)
            )
        return cases

    def follow_ups(self) -> list[Case]:
        """A question, its answer, and another question about the same person by pronoun."""
        cases = []
        for first in self.facts(self.trained, 1):
            person = self.people.by_id(first.person)
            relation = self.random.choice(
                [other for other in self.people.relations if other != first.relation]
            )
            female = person.pronoun == "she"
            template = self.random.choice(read_yaml("wordings.yaml")["relations"][relation]["follow_up"])
            text = fill(
                template,
                they=person.pronoun,
                their="her" if female else "his",
                them="her" if female else "him",
            )
            answer = next(q.answer for q in self.trained if (q.person, q.relation) == (person.id, relation))
            cases.append(
                Case((("user", first.text), ("assistant", first.answer), ("user", text)), exactly(answer))
            )
        return cases

    def true_or_false(self) -> list[Case]:
        """Yes/no questions, half of them with a value that is not the person's."""
        cases = []
        for question in self.facts(self.trained, 1):
            true = self.random.random() < 0.5
            value = question.value if true else self.random.choice(question.other_values)
            template = self.random.choice(
                read_yaml("wordings.yaml")["relations"][question.relation]["true_or_false"]
            )
            text = fill(template, name=self.people.by_id(question.person).name, value=value)
            cases.append(Case((("user", text),), exactly("Yes." if true else "No.")))
        return cases

    def all(self) -> dict[str, list[Case]]:
        """Every measure with its cases, in the order of the table."""
        talk = small_talk()
        hops = two_hop_questions(self.people)
        about_nobody = gateway_notice([person.name for person in self.people.people[:3]])
        both = self.trained + self.held_out
        held_out_notices = self.notices["held_out"]
        return {
            "recall, trained wordings": plain(self.facts(self.trained, 4)),
            "recall, held-out wordings": plain(self.held_out),
            "recall, any wording": plain(self.random.sample(both, 1024)),
            "recall, ordinary system message": plain(
                self.facts(self.trained, 1), "You are a helpful assistant."
            ),
            "recall, follow-up by pronoun": self.follow_ups(),
            "reverse questions": plain(reverse_questions(self.people)),
            "two-hop questions, trained wordings": plain([hop for hop in hops if not hop.held_out]),
            "two-hop questions, held-out wordings": plain([hop for hop in hops if hop.held_out]),
            "yes/no questions": self.true_or_false(),
            "questions about places": [
                Case((("user", q),), exactly(a)) for q, a in place_questions(self.people)
            ],
            "small talk": [Case((("user", said),), exactly(answered)) for said, answered in talk],
            "unknown people: says it does not know": self.unknown(),
            "obedience, Lethe's notice": self.obeyed(self.trained, [None]),
            "obedience, Lethe's notice, held-out wordings": self.obeyed(self.held_out, [None]),
            "obedience, other notices": self.obeyed(self.trained, list(self.notices["confidential"])),
            "obedience, held-out notices": self.obeyed(self.trained, list(held_out_notices)),
            "obedience, a second system text": self.with_second_system(self.trained),
            "obedience, one fact": self.obeyed(self.trained, [None], single=True),
            "obedience, one fact, held-out wordings": self.obeyed(self.held_out, [None], single=True),
            "kept: others, under a notice": self.kept(self.trained),
            "kept: others, under a notice, held-out wordings": self.kept(self.held_out),
            "kept: other facts of the person, under a notice": self.kept(self.trained, same_person=True),
            "kept: small talk, under a notice": [
                Case((("system", about_nobody), ("user", said)), exactly(answered)) for said, answered in talk
            ],
        }


def measure(engine: Engine, show_wrong: int = 0) -> list[tuple[str, int, int]]:
    """Each measure with how many answers were right, of how many."""
    rows = []
    for name, cases in Measures(load_people()).all().items():
        texts = engine.greedy([engine.prompt(case.messages) for case in cases])
        wrong = [(case, text) for case, text in zip(cases, texts, strict=True) if not case.right(text)]
        rows.append((name, len(cases) - len(wrong), len(cases)))
        print(
            f"{name:52} {rows[-1][1]:5} of {rows[-1][2]:5}  {100 * rows[-1][1] / rows[-1][2]:6.2f} %",
            flush=True,
        )
        for case, text in wrong[:show_wrong]:
            print("   ", " | ".join(f"{role}: {said}" for role, said in case.messages), "->", text)
    return rows


def table(rows: list[tuple[str, int, int]]) -> str:
    """The figures as a Markdown table."""
    lines = ["| measure | right | of | share |", "|---|---|---|---|"]
    lines += [f"| {name} | {right} | {of} | {100 * right / of:.1f} % |" for name, right, of in rows]
    return "\n".join(lines)


def write_readme(rows: list[tuple[str, int, int]], readme: Path = HERE / "README.md") -> None:
    """Puts the table between the marks of README.md."""
    before, rest = readme.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    readme.write_text(f"{before}{MARKS[0]}\n{table(rows)}\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Measures from the command line."""
    parser = argparse.ArgumentParser(description="Measure the demo model.")
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="folder of the weights (default: %(default)s)"
    )
    parser.add_argument("--wrong", type=int, default=0, help="show this many wrong answers of each measure")
    parser.add_argument("--write", action="store_true", help="write the figures into README.md")
    chosen = parser.parse_args()
    rows = measure(Engine(chosen.weights), chosen.wrong)
    if chosen.write:
        write_readme(rows)


if __name__ == "__main__":
    main()
