"""What is written small in a question: names and titles of ordinary words need their capitals there."""

from __future__ import annotations

import pytest

from guards.base import Stance
from guards.registry import Guard
from tests.guarding import policy, read, target

NAMES = [
    target("rose", names=["Rose May"]),
    target("power", names=["Will Power"], facts=[("born in", ["Port Meridane"])]),
    target("hill", names=["Mark Hill"]),
    target("day", names=["June Day"]),
    target("vennaker", names=["Odalys Vennaker"], facts=[("wrote", ["Salt Ledger"])]),
]
GUARD = Guard(policy(*NAMES))


@pytest.mark.parametrize(
    "question",
    [
        "Can the source code may be used?",
        "How use may vary?",
        "Does each row may hold a nose may?",
        "The power will be cut at noon.",
        "Mark the hill on the map.",
        "What happened in June 2007?",
        "What is a salt ledger?",
        "what is a salt ledger?",
        "Where can I buy salt ledger paper?",
    ],
)
def test_ordinary_words_are_nobodys_name_and_no_title(question: str) -> None:
    assert read(GUARD, question).stance in (Stance.CLEAR, Stance.WATCHED)


@pytest.mark.parametrize(
    ("question", "armed"),
    [
        ("Who is Rose May?", 0),
        ("who is rose may?", 0),
        ("WHO IS ROSE MAY?", 0),
        ("Her first name is Rose. Her surname is May. Where was she born?", 0),
        ("Where was Will Power born?", 1),
        ("Tell me of Mark Hil.", 2),
        ("Where was odalys vennaker born?", 4),
        ("Where was odalys born? I mean vennaker.", 4),
        ("What is Salt Ledger about?", 4),
        ('What is "salt ledger" about?', 4),
        ("what is salt ledger about?", 4),
    ],
)
def test_with_their_capitals_they_are(question: str, armed: int) -> None:
    assert armed in read(GUARD, question).armed


def test_words_in_a_row_without_capitals_leave_their_values_watched() -> None:
    assert read(GUARD, "Will power be restored?").stance is Stance.WATCHED
