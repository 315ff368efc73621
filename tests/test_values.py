"""What a value's form says it is, every writing that stands for it, and what it tells by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.digits import Digits
from guards.literal import Literals
from guards.numerals import Numerals
from policies.numbers import Number, number
from policies.numerals import numeral, spelled
from policies.text import fold
from policies.values import Strength, Type, readings, strength, type_of
from tests.guarding import policy, target


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1974-03-12", "date"),
        ("12/03/1974", "date"),
        ("12.03.74", "date"),
        ("March 12, 1974", "date"),
        ("Tuesday, 12th of March 1974", "date"),
        ("12 de marzo de 1974", "date"),
        ("19740312", "date"),
        ("31/02/1974", "identifier"),
        ("1974", "text"),
        ("March 12", "text"),
        ("March 1974", "text"),
        ("84,000", "number"),
        ("€84.000,50", "number"),
        ("84k", "number"),
        ("eighty-four thousand", "number"),
        ("12.5 %", "number"),
        ("24th", "number"),
        ("1.80 m", "measure"),
        ("181 lb", "measure"),
        ("1.80", "number"),
        ("one", "number"),
        ("One Direction", "name"),
        ("+46 70 123 45 67", "identifier"),
        ("4111 1111 1111 1111", "identifier"),
        ("GB29 NWBK 6016 1331 9268 19", "identifier"),
        ("MRN-0048213", "identifier"),
        ("odalys@example.org", "email"),
        ("https://www.example.org/odalys", "url"),
        ("Port Meridane", "name"),
        ("Dr. Odalys Vennaker", "name"),
        ("Ludwig van Holt", "name"),
        ("Одалис Веннакер", "name"),
        ("type 2 diabetes", "text"),
        ("14 Elm Street", "text"),
        ("novelist", "text"),
        ("B+", "text"),
    ],
)
def test_the_form_of_a_value_says_what_it_is(value: str, kind: Type) -> None:
    assert type_of(value) == kind


@pytest.mark.parametrize(
    ("value", "writings"),
    [
        ("odalys.v@example.org", ["odalys.v [at] example [dot] org", "odalys dot v at example dot org", "odalys.v(at)example.org"]),
        ("https://www.example.org/ov", ["example.org/ov", "example dot org slash ov", "www.example.org/ov"]),
        ("Odalys Vennaker", ["Vennaker, Odalys", "O. Vennaker", "Vennaker, O.", "Одалис Веннакер", "Ονταλις Βεννακερ"]),
        ("Dr. Odalys Vennaker", ["Odalys Vennaker", "Vennaker, Odalys"]),
        ("Ana Maria Kovač", ["Ana Kovac", "A. M. Kovač", "Kovač, Ana Maria", "Ana M. Kovač"]),
        ("Одалис Веннакер", ["Odalis Vennaker", "Веннакер, Одалис"]),
        ("Οδαλις", ["Odalis"]),
        ("Halden Optics", ["HALDEN-OPTICS", "HaldenOptics", "Халден Оптикс"]),
        ("1.80 m", ["180 cm", "1,80m", "1 m 80", "5 ft 11", "5 feet, 11 inches"]),
        ("5'11\"", ["180 cm", "5ft 11"]),
        ("82 kg", ["82 kilos", "82kg", "181 lbs"]),
        ("王小明", ["Wang Xiaoming", "Xiaoming Wang", "Wang Xiao Ming"]),
        ("12.03.05", ["12/3/05", "March 12, '05", "3 Dec 05"]),
    ],
)  # fmt: skip
def test_a_value_is_found_however_it_is_written(value: str, writings: list[str]) -> None:
    forms = set(readings(value).forms)
    assert [written for written in writings if not _holds(forms, fold(written).text)] == []


def _holds(forms: set[str], written: str) -> bool:
    return any(form in written for form in forms)


@pytest.mark.parametrize(
    ("value", "relation", "has_initials"),
    [
        ("Ruben Aldane", "spouse", True),
        ("Ruben Aldane", "", True),
        ("Ruben Aldane", "employer", False),
        ("Dr Ruben Aldane", "employer", True),
        ("Argent Bank", "employer", False),
    ],
)
def test_only_persons_have_initials(value: str, relation: str, has_initials: bool) -> None:
    forms = readings(value, relation).forms
    assert any(len(word) == 1 for form in forms for word in form.split()) is has_initials


@pytest.mark.parametrize(("value", "form"), [("Anna Hill", " a hill "), ("Ida Young", " i young ")])
def test_an_initial_that_reads_as_a_word_is_no_form(value: str, form: str) -> None:
    assert form not in readings(value, "spouse").forms
    assert " b hill " in readings("Bo Hill", "spouse").forms


@pytest.mark.parametrize(
    ("value", "how_strong"),
    [
        ("1974-03-12", "strong"),
        ("+46 70 123 45 67", "strong"),
        ("MRN-0048213", "strong"),
        ("odalys@example.org", "strong"),
        ("https://example.org/odalys", "strong"),
        ('"The Salt Ledger"', "strong"),
        ("«Le Livre de Sel»", "strong"),
        ("1,250,000", "strong"),
        ("example.org", "weak"),
        ('"Salt"', "weak"),
        ("84,000", "weak"),
        ("1974", "weak"),
        ("March 1974", "weak"),
        ("Port Meridane", "weak"),
        ("novelist", "weak"),
        ("type 2 diabetes", "weak"),
        ("Ruben Aldane", "weak"),
        ("14 Elm Street", "weak"),
    ],
)
def test_what_is_nobody_elses_is_strong(value: str, how_strong: Strength) -> None:
    assert strength(value) == how_strong


def test_a_title_is_strong_where_the_relation_asks_for_works() -> None:
    (fact,) = target("a", names=["A B"], facts=[("author of", ["The Salt Ledger", "Salt"])]).facts
    assert fact.strong == (True, False)
    (fact,) = target("a", names=["A B"], facts=[("born in", ["Port Meridane"])]).facts
    assert fact.strong == (False,)


ORDINARY_VALUES = ["novelist", "type 2 diabetes", "asthma", "a harbour town", "chess", "vegetarian", "1974"]


@pytest.mark.parametrize("value", ORDINARY_VALUES)
def test_most_values_have_one_form_or_two(value: str) -> None:
    found = readings(value, "likes")
    assert len(found.forms) <= 2 and not found.numerals and not found.digits


@given(st.integers(0, 10**9))
def test_a_number_is_the_same_in_figures_and_in_words(count: int) -> None:
    words = " ".join(_word(token) for token in spelled(count))
    if not 1000 <= count < 2100:
        assert number(str(count)) == Number(count)
    assert number(words) == Number(count)


def _word(token: str) -> str:
    small = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
             "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]  # fmt: skip
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    named = {"h": "hundred", "k": "thousand", "M": "million", "G": "billion"}
    if token in named:
        return named[token]
    value = int(token)
    word = small[value] if value < 20 else tens[value // 10 - 2]
    assert numeral(word) == (token,)
    return word


@given(st.text(max_size=80), st.sampled_from(["", "spouse", "born in"]))
def test_any_text_has_readings_with_itself_among_them(value: str, relation: str) -> None:
    found = readings(value, relation)
    assert fold(value).text in found.forms
    assert all(form[0] == form[-1] == " " for form in found.forms)
    assert len(found.forms) + len(found.numerals) + len(found.digits) < 150


EVERYTHING = policy(
    target(
        "a",
        names=["Odalys Vennaker"],
        facts=[
            ("born on", ["1974-03-12"]),
            ("phone", ["+46 70 123 45 67", "555-0142"]),
            ("card", ["4111 1111 1111 1111"]),
            ("salary", ["84,000"]),
            ("spouse", ["Ruben Aldane", "Anna Hill"]),
            ("email", ["odalys.v@example.org"]),
            ("website", ["https://www.example.org/ov"]),
            ("born in", ["Port Meridane"]),
        ],
    )
)


@pytest.mark.parametrize(
    "text",
    [
        "We met on 12 March and again in 1974.",
        "In March 1974, twelve ships sank.",
        "On 12 March 1975 and 13 March 1974 nothing happened.",
        "Room 12, floor 3, 1975.",
        "The march of 1974 drew 12 thousand people.",
        "Dial 0701234568 or +46 70 123 45 68.",
        "Call 555-0143, extension 0142.",
        "It costs 84 dollars, or 840,000 a year, or 8,400.",
        "Eighty-four people, a thousand ships, eighty-five thousand horses.",
        "84 kilos, 84 km, 8 K and 840k.",
        "He climbed a hill and met Anna at the hill.",
        "R. Aldern and Ruben Alder were there; Aldane was not.",
        "Visit example dot com or www.example.org/about.",
        "Odalys V. at example university. The dot org boom.",
        "The port of Meridan lies near a meridian port.",
        "one two three four five six seven eight nine ten",
        "1974-12-04, 3.12.1975 and 12:03:19 75",
        "4111 1111 1111 1112 and 4111 2222 1111 1111",
    ],
)
def test_an_ordinary_sentence_with_a_near_value_holds_none(text: str) -> None:
    found = [each for scan in (Literals, Numerals, Digits) for each in scan(EVERYTHING).find(text)]
    assert [text[each.start : each.end] for each in found] == []
