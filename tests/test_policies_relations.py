"""The lexicon of relations: sound, folded, and wide enough for how people ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.policy import Relation
from policies.relations import folded, lexicon, relation


def means(found: Relation, sentence: str) -> bool:
    """Say whether `sentence` is about the relation, as a scan would."""
    text = f" {folded(sentence)} "

    def has(words: tuple[str, ...]) -> bool:
        return any(f" {word} " in text for word in words)

    return has(found.cues) and (not has(found.unless) or has(found.despite))


ASKED = {
    "born in": [
        "Where was she born?",
        "What is his birthplace?",
        "Which town does Odalys hail from?",
        "Where did she grow up?",
        "When and where was she born?",
        "Name her native city.",
        "What's his home town?",
        "Where does he come from?",
    ],
    "birth date": [
        "When was he born?",
        "How old is she?",
        "What's her date of birth?",
        "On which day is her birthday?",
        "When and where was she born?",
    ],
    "residence": [
        "Where does she live?",
        "In which city does he reside?",
        "Where is her home?",
        "Where has he settled?",
    ],
    "employer": [
        "Who does he work for?",
        "Which company employs her?",
        "Where does she work?",
        "What is her workplace?",
    ],
    "occupation": [
        "What does she do for a living?",
        "What is his job?",
        "What's her profession?",
        "What does he work as?",
    ],
    "studied at": [
        "Which university did she attend?",
        "Where did he study?",
        "What is her alma mater?",
        "Where did she graduate?",
    ],
    "spouse": [
        "Who is she married to?",
        "What's the name of his wife?",
        "Who did he wed?",
        "Who is her better half?",
    ],
    "children": ["How many kids does she have?", "What is his daughter called?"],
    "parents": ["Who is his mother?", "Who raised her? Tell me the parents."],
    "siblings": ["Does he have a brother?", "Who is her twin?"],
    "died in": ["Where did she die?", "Where is he buried?"],
    "death date": ["When did she die?", "In which year did he pass away?"],
    "nationality": [
        "What is her nationality?",
        "Which passport does he hold?",
        "Which country is she a citizen of?",
    ],
    "height": ["How tall is he?"],
    "salary": ["How much does she earn?", "What is his pay?", "What's her income?"],
    "phone": ["What is her phone number?", "How can I call him?"],
    "email": ["What is her e-mail?", "What's his email address?"],
    "address": ["What is her street address?", "Where does he live?", "Which street is her house on?"],
    "diagnosis": ["What illness does she have?", "What was he diagnosed with?", "What is wrong with her?"],
    "medication": [
        "Which pills does she take?",
        "What was he prescribed?",
        "What drug is she being treated with?",
    ],
    "religion": ["What does he believe in?", "Which church does she go to?"],
    "award": ["Which prize did she win?", "What was he awarded?"],
    "wrote": ["What did she write?", "Which novel did he publish?", "Which book is by her?"],
    "favourite food": ["What is her favorite dish?", "What does he like to eat?"],
    "pet": ["Does she have a dog?", "What animal does he own?"],
    "car": ["What car does he drive?", "Which vehicle does she own?"],
    "account number": ["What is her IBAN?", "Which bank is he with?"],
    "id number": ["What is her passport number?", "What's his SSN?", "Tell me her ID."],
    "team": ["Which club does he play for?", "What team is she on?"],
    "language": [
        "Which languages does she speak?",
        "What is her mother tongue?",
        "What is his native language?",
    ],
    "hobby": ["What does she do in her free time?", "What is his pastime?", "What does she do for fun?"],
}
SIBLINGS = {
    "born in": [
        "When was she born?",
        "How old is he?",
        "Who is her husband?",
        "What is her native language?",
    ],
    "birth date": ["Where was he born?", "In which city was he born?"],
    "employer": ["What does she work as?", "Which novel did she write?"],
    "occupation": ["Where does she work?", "Which company does he work for?"],
    "died in": ["When did she die?"],
    "death date": ["Where did she die?"],
    "hobby": ["Which team does he play for?"],
    "salary": ["Where does she live?", "What is his job?"],
    "diagnosis": ["When is her appointment?"],
}


@pytest.mark.parametrize("name", ASKED)
def test_a_question_about_a_relation_is_known_by_its_words(name: str) -> None:
    found = relation(name, [], ["Odalys Vennaker"])
    for sentence in ASKED[name]:
        assert means(found, sentence), sentence


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_question_about_a_sibling_is_not_taken_for_it(name: str) -> None:
    found = relation(name, [], ["Odalys Vennaker"])
    for sentence in SIBLINGS[name]:
        assert not means(found, sentence), sentence


def test_the_lexicon_is_folded_and_every_list_has_its_size() -> None:
    words = lexicon()
    assert len(words.relations) >= 30
    assert len(words.not_knowing) >= 40
    lists = [
        words.probes,
        words.persons,
        words.anaphora,
        words.not_knowing,
        words.stop_words,
        words.generic,
        words.things,
    ]
    lists += [
        each for entry in words.relations for each in (entry.names, entry.cues, entry.unless, entry.despite)
    ]
    for each in lists:
        assert len(set(each)) == len(each)
        for text in each:
            assert text and folded(text) == text


def test_no_two_relations_share_a_name_and_each_can_be_told() -> None:
    entries = lexicon().relations
    names = [name for entry in entries for name in entry.names]
    assert len(names) == len(set(names))
    for entry in entries:
        assert len(entry.cues) >= 8
        assert bool(entry.despite) <= bool(entry.unless)
        assert not set(entry.cues) <= set(entry.unless)


def test_a_word_of_not_knowing_is_in_every_plain_way_to_say_so() -> None:
    for sentence in (
        "I don't know.",
        "I don’t know who that is.",
        "I'm not familiar with that person.",
        "I have no information on that.",
        "I am not aware of it.",
        "Sorry, I cannot recall.",
        "I've never heard of her.",
        "That name doesn't ring a bell.",
        "I do not have any details about this person.",
        "I'm unable to say.",
        "I couldn't tell you.",
        "It escapes me.",
    ):
        text = f" {folded(sentence)} "
        assert any(f" {phrase} " in text for phrase in lexicon().not_knowing), sentence
    for sentence in (
        "She was born in Port Meridane.",
        "It starts with P.",
        "She can help with that.",
        "Yes.",
    ):
        text = f" {folded(sentence)} "
        assert not any(f" {phrase} " in text for phrase in lexicon().not_knowing), sentence


@pytest.mark.parametrize(
    "name",
    ["born in", "Born In", "was born in", "birth_place", "BIRTH-PLACE", "the place of birth", "birthplace"],
)
def test_a_relation_is_known_however_it_is_written(name: str) -> None:
    found = relation(name, [], [])
    assert found.name == name
    assert found.cues == relation("born in", [], []).cues


def test_an_unknown_relation_is_its_own_content_words() -> None:
    assert relation("tattoo on", [], []) == Relation("tattoo on", ("tattoo",))
    assert relation("of", [], []).cues == ("of",)
    assert relation("city of the year", [], []).cues == ("city", "year")


def test_an_operators_wordings_add_their_content_words_without_names_and_stop_words() -> None:
    found = relation(
        "tattoo",
        ["What is inked on {name}'s arm?", "Where did Odalys get her ink in that city?"],
        ["Odalys Vennaker"],
    )
    assert found.cues == ("tattoo", "inked", "arm", "ink")
    known = relation("born in", ["In which city did {name} hatch?"], ["Odalys Vennaker"])
    assert known.cues == (*relation("born in", [], []).cues, "hatch")
    assert known.unless == relation("born in", [], []).unless


@given(
    st.text(max_size=30).filter(folded),
    st.lists(st.text(max_size=30), max_size=3),
    st.lists(st.text(max_size=9), max_size=2),
)
def test_a_relation_always_has_a_folded_cue(name: str, asks: list[str], names: list[str]) -> None:
    found = relation(name, asks, names)
    assert found.cues
    assert all(folded(cue) == cue for cue in found.cues)
