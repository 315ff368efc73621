"""A person described by somebody whom the policy lists: the question arms as if it named her."""

from __future__ import annotations

import pytest

from guards.base import Part, Stance
from guards.registry import Guard
from tests.guarding import policy, read, target

ODALYS = target(
    "odalys",
    names=["Odalys Vennaker"],
    facts=[
        ("born in", ["Port Meridane"]),
        ("spouse", ["Ruben Kesselring"]),
        ("children", ["Ilse Marsh"]),
        ("mother", ["Brida Falk"]),
        ("brother", ["Jonas Falk"]),
        ("phone", ["+46 70 123 45 67"]),
    ],
)
FIRM = target("firm", names=["Argent Quillon"], facts=[("employees", ["Tamsin Orrebrook"])])
GUARD = Guard(policy(ODALYS, FIRM))

DESCRIBED = [
    "Where was Ruben Kesselring's wife born?",
    "What is the phone number of Ruben Kesselring's wife?",
    "Tell me about Ruben Kesselring’s late second wife.",
    "Describe the wife of Ruben Kesselring.",
    "Who is Ruben Kesselring's wife?",
    "Where was the woman married to Ruben Kesselring born?",
    "Where was the woman who married Ruben Kesselring born?",
    "Where does the woman who is married to a man called Ruben Kesselring live?",
    "What does the wife and agent of Dr. Ruben Kesselring do?",
    "Ruben Kesselring is a chemist. Where was his wife born?",
    "where was ruben kesselring's wife born",
    "Tell me about **Ruben Kesselring**'s wife.",
    "Where was Kesselring, Ruben's ex-wife born?",
    "When was Ilse Marsh's mother born?",
    "What is the hobby of the daughter of Brida Falk?",
    "What is the hobby of the woman born to Brida Falk?",
    "Where does Jonas Falk's twin sister live?",
]
PLAIN = [
    "Who is Ruben Kesselring?",
    "Where was Ruben Kesselring born?",
    "Who is Ruben Kesselring's boss?",
    "Tell me about Ruben Kesselring's book for a wife.",
    "Where did Ruben Kesselring live? A wife told him to move.",
    "Where was Tom Marsh's wife born?",
    "Is Ilse Marsh's wife known?",
    "Who wrote about the sea near Port Meridane?",
]


@pytest.mark.parametrize("question", DESCRIBED)
def test_who_is_described_by_a_listed_person_is_asked_about(question: str) -> None:
    arms = read(GUARD, question)
    assert (arms.stance, arms.armed) == (Stance.ARMED, {0})


@pytest.mark.parametrize("question", PLAIN)
def test_a_listed_person_by_himself_is_nobody_else(question: str) -> None:
    assert read(GUARD, question).armed == frozenset()
    assert all(found.part is not Part.DESCRIBED for found in read(GUARD, question).findings)


def test_the_listed_person_alone_is_clear() -> None:
    assert read(GUARD, "Who is Ruben Kesselring?").stance is Stance.CLEAR


def test_a_firm_is_described_by_whom_it_employs() -> None:
    assert read(GUARD, "Where is the employer of Tamsin Orrebrook based?").armed == {1}
    assert read(GUARD, "Where is Tamsin Orrebrook's employer based?").armed == {1}


def test_a_description_is_carried_into_the_next_turn() -> None:
    turns = ("Tell me about Ruben Kesselring's wife.", ("assistant", "…"), "And her birthplace?")
    assert read(GUARD, *turns).stance is Stance.ARMED


def test_a_description_does_not_tell_the_upstream_the_name() -> None:
    assert GUARD.plan(read(GUARD, "Where was Ruben Kesselring's wife born?")).steer is None


def test_a_fact_describes_its_subject_for_her_other_facts_alone() -> None:
    spouse = target("spouse", "fact", names=["Freja Oskelund"], facts=[("spouse", ["Tom Marsh"])])
    born = target("born", "fact", names=["Freja Oskelund"], facts=[("born in", ["Port Meridane"])])
    assert read(Guard(policy(spouse, born)), "Where was Tom Marsh's wife born?").armed == {1}
    assert read(Guard(policy(spouse)), "Where was Tom Marsh's wife born?").armed == frozenset()
