"""A surname by itself: whose it is, what stands before it, and when it is somebody else's."""

from __future__ import annotations

import pytest

from guards.base import Channel, Stance
from guards.registry import Guard
from policies.policy import Target
from tests.guarding import CLEAR, answer, policy, read, target

PLACE = (0, Channel.CONTENT)


def fact(id: str, relation: str, value: str, *names: str) -> Target:
    """Return a fact's target; its subject is Freja Oskelund where no other is named."""
    return target(id, "fact", names=names or ["Freja Oskelund"], facts=[(relation, [value])])


WORKS = fact("works", "works for", "Argent Quillon")
BORN = fact("born", "born on", "3 May 1980")


def left(guard: Guard, text: str, question: str | None = None) -> str:
    """Return what leaves of an answer; without a question, nothing is in play."""
    return answer(guard, CLEAR if question is None else read(guard, question), text)[PLACE]


@pytest.mark.parametrize(
    "subject",
    [
        ("Freja Oskelund",),
        ("Oskelund, Freja",),
        ("Dr Freja Oskelund",),
        ("Freja M. Oskelund",),
        ("Frida Oskelund", "Freja Oskelund"),
    ],
)
def test_two_facts_about_one_person_have_one_surname(subject: tuple[str, ...]) -> None:
    guard = Guard(policy(WORKS, fact("born", "born on", "3 May 1980", *subject)))
    assert "Quillon" not in left(guard, "Oskelund: Argent Quillon.")
    assert read(guard, "Where does Oskelund work?").armed == {0}


def test_one_person_is_told_through_a_third_target() -> None:
    guard = Guard(
        policy(
            WORKS,
            fact("born", "born on", "3 May 1980", "Frida Oskelund"),
            fact("phone", "phone", "+46 70 123 45 67", "Frida Oskelund", "Freja Oskelund"),
        )
    )
    assert "Quillon" not in left(guard, "Oskelund: Argent Quillon.")


def test_a_surname_of_two_people_is_nobodys() -> None:
    guard = Guard(policy(WORKS, fact("born", "born on", "3 May 1980", "Ilse Oskelund")))
    text = "Oskelund: Argent Quillon."
    assert left(guard, text) == text
    assert read(guard, "Where does Oskelund work?").stance is Stance.WATCHED


GUARD = Guard(policy(WORKS))
ODALYS = Guard(
    policy(target("odalys", names=["Odalys Vennaker", "Vera King"], facts=[("born in", ["Port Meridane"])]))
)
TITLES = "Captain Nurse Engineer Herr Frau Sen. Dr. Sailor Author Sgt. Uncle".split()


@pytest.mark.parametrize(
    "before", [*TITLES, "F.", "F", "F. M.", "Engineer F.", "It was Marsh. F.", "F. M. R.", "As for F."]
)
def test_a_title_and_ones_own_initial_are_no_other_person(before: str) -> None:
    assert "Quillon" not in left(GUARD, f"{before} Oskelund works for Argent Quillon.")
    if "Marsh" not in before:
        assert "Quillon" not in left(GUARD, "Argent Quillon.", f"Where does {before} Oskelund work?")


@pytest.mark.parametrize("before", ["Tom", "T.", "T. F.", "Tom F.", "Captain Tom", "Captain T."])
def test_another_first_name_or_initial_is_another_person(before: str) -> None:
    text = f"{before} Oskelund works for Argent Quillon."
    assert left(GUARD, text) == text


@pytest.mark.parametrize("called", ["Freja O.", "Freja O", "Captain Freja O.", "freja o."])
def test_a_first_name_with_ones_own_initial_is_watched(called: str) -> None:
    assert read(GUARD, f"Where does {called} work?").stance is not Stance.CLEAR
    assert "Quillon" not in left(GUARD, "Argent Quillon.", f"Where does {called} work?")


def test_a_first_name_with_another_initial_is_somebody_else() -> None:
    assert read(GUARD, "Where does Freja B. work?").stance is Stance.CLEAR
    assert read(ODALYS, "Where was Odalys V. born?").stance is not Stance.CLEAR


def test_a_title_that_is_a_word_of_a_name_is_the_name() -> None:
    assert read(ODALYS, "Where was Mrs King born?").stance is not Stance.CLEAR
    assert read(ODALYS, "Where was King Alaric born?").stance is Stance.CLEAR
