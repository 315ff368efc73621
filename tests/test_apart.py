"""Names that are taken apart, by markup or by other words: found, streamed and not; others' names pass."""

from __future__ import annotations

import random

import pytest

from guards.base import Channel, Stance
from guards.literal import Literals
from guards.markup import marked
from guards.registry import Guard
from policies.known import names, natural_names
from tests.guarding import CLEAR, answer, policy, read, target

GUARD = Guard(policy(target("odalys", names=["Odalys Vennaker"], facts=[("born on", ["3 May 1971"])])))
PLACE = (0, Channel.CONTENT)
_CROWD = 1_000
_MOST_OF_OTHERS = 0.005

MARKED = [
    "**O**dalys Vennaker", "Odalys <br> Vennaker", "Odalys&nbsp;Vennaker", "Odalys **Vennaker**",
    "[Odalys](x) Vennaker", "<b>Oda</b>lys Vennaker", "O\\dalys Ven\\naker", "Oda-lys Venna-ker",
    "Oda\u00adlys Vennaker", "O*d*a*l*y*s* *V*ennaker", '<span class="x">O</span>dalys Vennaker',
    "[Odalys](http://x.y/z_(a)) [Vennaker][1]", "O<!-- x -->dalys Vennaker", "\\textbf{O}dalys Vennaker",
    "Odalys \\emph{Vennaker}", "Oda[lys] Venna(ker)", "Odalys[^1] Vennaker", "O&#100;alys <i>Ven</i>naker",
]  # fmt: skip
SPREAD = [
    "Odalys J. Vennaker", "Odalys A. Vennaker", "Odalys J. R. Vennaker", "Odalys Marie Vennaker", "Odalys Marie-Luise Vennaker",
    'Odalys "Ody" Vennaker', "Odalys van der Vennaker", "Vennaker, Odalys", "Vennaker, J. Odalys",
    "Vennaker, Dr. Odalys", "First name: Odalys. Last name: Vennaker", "Odalys M. **V**ennaker",
    "Her first name is Odalys and her last name is Vennaker", "| First name | Odalys |\n| Last name | Vennaker |",
    '{"first": "Odalys", "middle": "J", "last": "Vennaker"}', "odalys quilmar vennaker",
]  # fmt: skip
OTHERS = [
    "Odalys Brandt met Tom Vennaker", "Odalys Brandt and Tom Vennaker", "Odalys, Marie Vennaker",
    "Odalys met Vennaker", "Thanks, Odalys. Marie Vennaker said so", "Odalys\nMarie Vennaker",
    "The first name is Odalys. It is nice. Vennaker is a firm", "Odalys Brandt was born on 3 May 1971",
    "Tom Vennaker was born on 3 May 1971", "a well-known **bold** [link](http://a.b), R&D, a < b, x_y",
]  # fmt: skip


def left(text: str, size: int) -> str:
    pieces = [(0, Channel.CONTENT, text[at : at + size]) for at in range(0, len(text), size)]
    return answer(GUARD, CLEAR, pieces=pieces)[PLACE]


@pytest.mark.parametrize("name", [*MARKED, *SPREAD])
def test_a_name_that_is_taken_apart_does_not_leave_in_pieces(name: str) -> None:
    text = f"The sea is wide. It was {name} who came. The sky is blue."
    whole = left(text, len(text))
    assert name not in whole and "aker" not in whole and "dalys" not in whole
    assert whole.startswith("The sea is wide. ") and whole.endswith("The sky is blue.")
    assert {left(text, size) for size in (1, 3, 7)} == {whole}


@pytest.mark.parametrize("name", [*MARKED, *SPREAD])
def test_a_name_that_is_taken_apart_arms(name: str) -> None:
    assert read(GUARD, f"Who is {name}?").stance is Stance.ARMED


@pytest.mark.parametrize("text", OTHERS)
def test_other_peoples_names_and_other_texts_pass(text: str) -> None:
    assert {left(f"{text}. The sea is wide.", size) for size in (1, 5, 1_000)} == {
        f"{text}. The sea is wide."
    }


def test_a_date_that_is_taken_apart_is_found() -> None:
    text = "Odalys Brandt. Odalys Vennaker is said to be 3 <br> May&nbsp;19<b>71</b>."
    assert "71" not in left(text, 1) and left(text, 1) == left(text, len(text))


@pytest.mark.parametrize(
    "text",
    [
        "Vennaker was born on 3 May 1971.",
        "Born on 3 May 1971, Vennaker writes.",
        "Vennaker writes. She was born on 3 May 1971.",
    ],
)
def test_a_value_does_not_leave_beside_the_surname_of_its_owner(text: str) -> None:
    assert "1971" not in left(text, 1) and left(text, 1) == left(text, len(text))


def test_a_surname_behind_its_owners_value_does_not_leave() -> None:
    assert "Vennaker" not in left("Somebody was born on 3 May 1971. It was Vennaker.", 1)


def test_a_surname_of_two_targets_is_nobodys() -> None:
    two = Guard(
        policy(
            target("a", names=["Odalys Vennaker"], facts=[("born on", ["3 May 1971"])]),
            target("b", names=["Ilse Vennaker"], facts=[("born on", ["4 May 1972"])]),
        )
    )
    text = "Vennaker was born on 3 May 1971."
    assert answer(two, CLEAR, text)[PLACE] == text


def test_a_crowd_of_natural_names_is_not_taken_for_the_targets() -> None:
    listed = natural_names(2 * _CROWD, 5)
    literals = Literals(policy(*(target(f"t{at}", names=[name]) for at, name in enumerate(listed[:_CROWD]))))
    draw = random.Random(7)
    given, family = names()
    firsts = [name.split(" ", 1)[0] for name in listed[:_CROWD]]
    lasts = [name.split(" ", 1)[1] for name in listed[:_CROWD]]
    others = [
        *listed[_CROWD:],
        *(f"{first} {draw.choice(given)} {draw.choice(family)}" for first in firsts),
        *(f"{draw.choice(given)} {draw.choice(given)} {last}" for last in lasts),
        *(f"{first} {draw.choice(family)} met {draw.choice(given)} {last}" for first, last in zip(firsts, lasts, strict=True)),
    ]  # fmt: skip
    taken = [text for text in others if text not in listed and literals.find(f"It was {text} who came.")]
    assert len(taken) <= _MOST_OF_OTHERS * len(others), taken[:5]


def test_plain_text_has_no_other_reading() -> None:
    assert marked("It is 5 o'clock; R & D, they say (and rightly), is dear.", closed=True) is None


@pytest.mark.parametrize("sign", "=*_`~|[]{}$^\\<&")
def test_a_run_of_signs_is_read_in_proportion_to_its_length(sign: str) -> None:
    # The square of so many takes longer than any test may.
    assert read(GUARD, sign * 100_000 + " Who is Odalys Vennaker?").stance is Stance.ARMED


@pytest.mark.parametrize("signs", ["[", "]", "*_", "](", "][", "](x", "<a ](", "[^", "](<a ", "&#", "\\a{["])
def test_an_answer_that_ends_in_signs_leaves_however_long_they_are_and_however_it_comes(signs: str) -> None:
    text = "x " + signs * 1_200
    assert {left(text, size) for size in (11, 500, len(text))} == {text}
