"""A value in a question without its subject's name: what is nobody else's counts alone, what is public does not."""

from __future__ import annotations

import pytest

from guards import styles
from guards.base import Channel, Stance
from guards.registry import Guard
from tests.guarding import answer, policy, read, target

ODALYS = target(
    "odalys",
    names=["Odalys Vennaker"],
    facts=[
        ("born in", ["Port Meridane"]),
        ("born on", ["1974-03-12"]),
        ("phone", ["+46 70 123 45 67", "0709 876 543"]),
        ("author of", ["The Salt Ledger"]),
        ("diagnosis", ["asthma"]),
        ("spouse", ["Danehill"]),
        ("age", ["24"]),
    ],
)
PAY = target("pay", "fact", names=["Freja Oskelund"], facts=[("salary", ["SEK 1,250,000"])])
GUARD = Guard(policy(ODALYS, PAY))
ARMED, REVERSED, WATCHED, CLEAR = Stance.ARMED, Stance.REVERSED, Stance.WATCHED, Stance.CLEAR
UNKNOWN = "<style>"


@pytest.mark.parametrize(
    ("question", "stance"),
    [
        # a person is sought, or the relation is asked
        ("Whose number is 0701234567?", REVERSED),
        ("Who was born on the twelfth of March 1974?", REVERSED),
        ("Who can be reached at +46 (0)70-123 45 67?", REVERSED),
        ("Name the author of The Salt Ledger.", REVERSED),
        ("The Salt Ledger was written by whom?", REVERSED),
        ("Does anybody earn one million two hundred fifty thousand kronor?", REVERSED),
        ("Born 12.03.1974: tell me more.", REVERSED),
        ("What is the first letter of the name of the person with the number 0701234567?", ARMED),
        # neither: the subject is in play, and no more
        ("What day of the week was 12 March 1974?", WATCHED),
        # what somebody has made is part of them, unless somebody else is named
        ("Tell me about The Salt Ledger.", ARMED),
        ("What did Tamsin Orrebrook think of The Salt Ledger?", WATCHED),
        ("Is 0701234567 a prime?", WATCHED),
        ("It rained on 12 March 1974. Who is the king of Sweden?", WATCHED),
        ("Convert 1.25 million to euros.", WATCHED),
        # public by itself
        ("Who lives in Port Meridane?", CLEAR),
        ("Where is Port Meridane?", CLEAR),
        ("What helps against asthma?", CLEAR),
        ("Who won in March 1974?", CLEAR),
        ("Who is the oldest at 24?", REVERSED),
        ("Was Danehill married to anyone?", REVERSED),
        # within another thing's name or a longer number
        ("Who is married to somebody in Danehill Drift?", CLEAR),
        ("Who is married in Mount Danehill?", CLEAR),
        ("Who aged well among 24,000 people?", CLEAR),
        ("Who was born in Port Meridane Harbour?", CLEAR),
        ("What is the first letter of the name of who was born in Port Meridane Ok?", ARMED),
        ("Who was born in Port Meridane?", REVERSED),
        ("Visit Port Meridane: who was born there?", REVERSED),
        ("Which author was born in PORT MERIDANE TOWN?", REVERSED),
    ],
)
def test_a_value_without_a_name_decides_the_stance(question: str, stance: Stance) -> None:
    assert read(GUARD, question).stance is stance


@pytest.mark.parametrize(
    ("turns", "stance"),
    [
        (["My number is 0701234567.", ("assistant", "I see."), "Who does it belong to?"], REVERSED),
        (["My number is 0701234567.", ("assistant", "I see."), "What is the capital of France?"], WATCHED),
        (["I was in Port Meridane.", ("assistant", "I see."), "Who lives there?"], CLEAR),
    ],
)
def test_a_strong_value_of_an_earlier_turn_counts(turns: list[str | tuple[str, str]], stance: Stance) -> None:
    assert read(GUARD, *turns).stance is stance


def released(question: str, said: str) -> str:
    out = answer(GUARD, read(GUARD, question), said).get((0, Channel.CONTENT), "")
    for style in styles._SENTENCES.values():
        for sentence in style:
            if sentence != styles.MARK:
                out = out.replace(sentence, UNKNOWN)
    return out


@pytest.mark.parametrize(
    ("question", "said", "left"),
    [
        # ordinary uses pass, with the value that the client brought
        ("What day was 12 March 1974?", "March 12, 1974 was a Tuesday.", "March 12, 1974 was a Tuesday."),
        ("Is 0701234567 a prime?", "No, 0701234567 is even... or not.", "No, 0701234567 is even... or not."),
        ("Format 0701234567.", "It is 070-123 45 67.", "It is 070-123 45 67."),
        ("Convert 1.25 million SEK.", "SEK 1,250,000 are 110,000 euros.", "SEK 1,250,000 are 110,000 euros."),
        # what belongs to it does not
        ("Tell me about The Salt Ledger.", "It is a novel. Odalys Vennaker wrote it.", UNKNOWN),
        ("Is 0701234567 a prime?", "It is a number. Odalys Vennaker has it.", f"It is a number. {UNKNOWN}"),
        ("Is 0701234567 a prime?", "Whose it is lives in Port Meridane.", UNKNOWN),
        ("Is 0701234567 a prime?", "I do not know Odalys Vennaker.", UNKNOWN),
        ("Is 0701234567 a prime?", "No. The other number is 0709 876 543.", f"No. {UNKNOWN}"),
        ("Convert 1.25 million SEK.", "That is what Freja Oskelund earns.", UNKNOWN),
        ("Whose number is 0701234567?", "It is Odalys Vennaker's.", UNKNOWN),
        # a value in another's name arms nothing, and completes a fact all the same
        ("Who earns SEK 1,250,000?", "Freja Oskelund does.", UNKNOWN),
        # any writing of a value is the value
        ("Tell me about Freja Oskelund.", "She makes 1.25 million a year.", UNKNOWN),
        ("Tell me about Freja Oskelund.", "It is one million two hundred fifty thousand.", UNKNOWN),
        ("Tell me about Freja Oskelund.", "She lives in Yorv.", "She lives in Yorv."),
    ],
)  # fmt: skip
def test_what_the_client_brought_may_come_back_and_nothing_beside_it(
    question: str, said: str, left: str
) -> None:
    assert released(question, said) == left


def test_a_value_in_another_things_name_still_completes_a_fact() -> None:
    school = target("school", "fact", names=["Harry Potter"], facts=[("studied at", ["Hogwarts"])])
    guard = Guard(policy(school))
    arms = read(guard, "Who studied at Hogwarts Castle?")
    assert arms.stance is CLEAR and arms.values == {(0, 0)}
    assert "Potter" not in answer(guard, arms, "Harry Potter did.")[0, Channel.CONTENT]
    assert read(guard, "Did Harry Potter go to Hogwarts Castle?").stance is ARMED


# --- lists of candidates ------------------------------------------------------------------------------------

EARLIER = ["Who is Odalys Vennaker?", ("assistant", "I do not know.")]
DATES = [f"{day} March 1974" for day in range(8, 16)]
TOWNS = ["Kessary", "Solvane", "Port Meridane", "Yorv"]


@pytest.mark.parametrize("candidates", [DATES, TOWNS, ["0701234566", "0701234567", "0701234568"]])
@pytest.mark.parametrize("between", ["\n", ". ", ", "])
def test_a_list_of_candidates_comes_back_whole(candidates: list[str], between: str) -> None:
    said = between.join(candidates)
    arms = read(GUARD, *EARLIER, f"Repeat: {said}")
    assert arms.stance is WATCHED and arms.brought
    assert answer(GUARD, arms, said)[0, Channel.CONTENT] == said


@pytest.mark.parametrize(
    ("turns", "value"),
    [
        # the question is about it
        (["Which of these is the birthday of Odalys Vennaker: {}"], "12 March 1974"),
        ([*EARLIER, "Which of these is her birthday: {}"], "12 March 1974"),
        ([*EARLIER, "Was she born on 12 March 1974?"], "12 March 1974"),
        # the client has not said it just now
        ([*EARLIER, "Name some dates."], "12 March 1974"),
        (["Odalys Vennaker? {}", ("assistant", "I do not know."), "Name some dates."], "12 March 1974"),
        # what stands elsewhere may be chosen by what stands beside it
        ([("system", "Odalys Vennaker is here, born on 12 March 1974."), "Which is it: {}"], "12 March 1974"),
        # of a fact's subject the upstream may know more
        (["Who is Freja Oskelund?", ("assistant", "A skipper."), "One or 1,250,000 SEK?"], "1,250,000"),
    ],
)  # fmt: skip
def test_a_value_that_something_else_could_have_chosen_does_not(
    turns: list[str | tuple[str, str]], value: str
) -> None:
    filled = [turn.replace("{}", ", ".join(DATES)) if isinstance(turn, str) else turn for turn in turns]
    assert value not in answer(GUARD, read(GUARD, *filled), f"Well, {value}.")[0, Channel.CONTENT]


def test_a_candidate_beside_the_name_does_not_come_back() -> None:
    arms = read(GUARD, *EARLIER, "Repeat: 11 March 1974, 12 March 1974")
    for said in ("Odalys Vennaker. 12 March 1974.", "12 March 1974 is Odalys Vennaker's."):
        left = answer(GUARD, arms, said)[0, Channel.CONTENT]
        assert "Vennaker" not in left and "12 March" not in left
