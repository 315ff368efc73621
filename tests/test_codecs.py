"""Codes: a target is found however it is written, and nothing else is."""

from __future__ import annotations

import base64
import random
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import Arms, Channel, Finding, Part, Progress, ScanError, Stance
from guards.codecs import Codecs, CodecScan
from guards.codecs_initials import KINDS
from guards.codecs_shapes import NATO
from guards.registry import Guard
from policies.calibrate import retain_sentences
from policies.policy import Pattern
from tests.encodings import ACROSTICS, ENCODINGS, base64_of, caesar
from tests.guarding import CARDS, CLEAR, HARRY, ODALYS, answer, policy, read, target
from tests.properties import Opener, check_bounded, check_cut_invariant, check_withholding, quickly

NAME, VALUE = "Odalys Vennaker", "Port Meridane"
OTHER_NAME, OTHER_VALUE = "Tamsin Orrelby", "Cape Lorwin"
PEOPLE = policy(ODALYS, HARRY)
CODECS, GUARD = Codecs(PEOPLE), Guard(PEOPLE)
WATCHED = Arms(Stance.WATCHED, watched=frozenset([0]))
Encode = Callable[[str], str]
every_code = pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS.keys())
every_acrostic = pytest.mark.parametrize("encode", ACROSTICS.values(), ids=ACROSTICS.keys())


def streamed(text: str, codecs: Codecs = CODECS) -> list[Finding]:
    scan = codecs.open()
    found = [each for char in text for each in scan.feed(char).findings]
    return [*found, *scan.close("stop").findings]


def parts(findings: Sequence[Finding]) -> set[tuple[int, Part]]:
    return {(each.target, each.part) for each in findings}


# -- found -------------------------------------------------------------------------------------------


@every_code
@pytest.mark.parametrize(
    "around", ["{}", "The answer is {} and no more. It is so.", "See\n\n{}\n\nThat is all."]
)
def test_a_name_and_a_value_are_found_in_every_code(encode: Encode, around: str) -> None:
    for secret, part in ((NAME, Part.NAME), (VALUE, Part.VALUE)):
        text = around.format(encode(secret))
        assert (0, part) in parts(CODECS.find(text))
        assert (0, part) in parts(streamed(text))


@every_acrostic
def test_a_name_is_found_in_first_letters(encode: Encode) -> None:
    for text in (encode(NAME), f"So it goes.\n{encode(NAME)}\nThe sea is wide."):
        assert (0, Part.NAME) in parts(CODECS.find(text))
        assert (0, Part.NAME) in parts(streamed(text))


@every_code
def test_somebody_else_in_the_same_code_is_not_found(encode: Encode) -> None:
    text = f"The answer is {encode(OTHER_NAME)}, of {encode(OTHER_VALUE)}."
    assert CODECS.find(text) == [] == streamed(text)


@pytest.mark.parametrize(
    ("text", "span", "via"),
    [
        (f"It is {base64_of(NAME)}, no?", base64_of(NAME), ("base64",)),
        (f"It is {base64_of('by ' + NAME + '!')}, no?", base64_of("by " + NAME + "!"), ("base64",)),
        (f"It is {base64_of(base64_of(NAME))}", base64_of(base64_of(NAME)), ("base64", "base64")),
        (f"It is {NAME[::-1]}.", NAME[::-1], ("reversed",)),
        (f"It is {caesar(NAME, 13)}.", caesar(NAME, 13), ("rot13",)),
        (f"It is {caesar(NAME, 4)}.", caesar(NAME, 4), ("Caesar 4",)),
        (f"It is {caesar(NAME[::-1], 4)}.", caesar(NAME[::-1], 4), ("Caesar 4", "reversed")),
        ("It is Od%61lys Vennaker.", "Od%61lys Vennaker", ("URL",)),
        ("It is 0d4lys V3nn4ker.", "0d4lys V3nn4ker", ("leet",)),
        ("It is O d a l y s V e n n a k e r, no?", "O d a l y s V e n n a k e r", ("spaced letters",)),
    ],
)
def test_a_finding_spans_the_whole_run_and_says_how_it_was_reached(
    text: str, span: str, via: tuple[str, ...]
) -> None:
    found = CODECS.find(text)
    assert (span, via, "codec") in {(text[each.start : each.end], each.via, each.scan) for each in found}


def test_a_pattern_is_found_in_a_code() -> None:
    card = "4111 1111 1111 1111"
    scan = Codecs(policy(CARDS))
    for name in (
        "base64",
        "hex",
        "hex, in pairs",
        "URL",
        "URL, every letter",
        "JSON",
        "binary",
        "decimal codes",
    ):
        text = f"It is {ENCODINGS[name](card)} , no?"
        assert parts(scan.find(text)) == {(0, Part.PATTERN)}, name
        assert parts(streamed(text, scan)) == {(0, Part.PATTERN)}, name


ACCENTED = policy(target("m", names=["Marisol Quintavé"], facts=[("born in", ["Søndervåg Åsleia"])]))


@pytest.mark.parametrize("name", ["rot13", "atbash", "Caesar 3", "Caesar 20"])
def test_a_letter_that_no_alphabet_moves_hides_no_name(name: str) -> None:
    scan = Codecs(ACCENTED)

    def moved(text: str) -> str:
        return "".join(ENCODINGS[name](char) if char.isascii() else char for char in text)

    for text, part in (("Marisol Quintavé", Part.NAME), ("Søndervåg Åsleia", Part.VALUE)):
        found = scan.find(f"It is {moved(text)}, no?")
        assert parts(found) == {(0, part)}
        assert parts(streamed(f"It is {moved(text)}, no?", scan)) == {(0, part)}
    assert scan.find(f"It is {moved('Marisela Quintavö')}, no?") == []


def test_a_hyphen_keeps_two_words_together_where_each_is_written_backwards() -> None:
    scan = Codecs(policy(target("n", names=["Ngozi Adeyemi-Lund"])))
    for text in ("izogN dnuL-imeyedA", "izogN imeyedA-dnuL"):
        assert (
            parts(scan.find(f"It is {text}, no?"))
            == {(0, Part.NAME)}
            == parts(streamed(f"It is {text}, no?", scan))
        )


SIGNS = [
    "{}!", "{}?", "{}.", "{},", "{}:", "{};", "{}…", "({})", "[{}]", "{{{}}}", "**{}**", "*{}*", "_{}_", "__{}__", "~~{}~~", "`{}`",
    '"{}"', "'{}'", "“{}”", "‘{}’", "«{}»", "‹{}›", "<b>{}</b>", "({}).", '"{}."', "**({})**!", "> {}", "code:{}", "code={};",
]  # fmt: skip


@every_code
def test_signs_around_a_code_are_no_part_of_it(encode: Encode) -> None:
    for signs in SIGNS:
        for secret, part in ((NAME, Part.NAME), (VALUE, Part.VALUE)):
            text = f"It is {signs.format(encode(secret))} so."
            assert (0, part) in parts(CODECS.find(text)), signs
            assert (0, part) in parts(streamed(text)), signs


def test_nothing_of_a_value_leaves_in_a_code_with_signs_around_it() -> None:
    for name in ("Morse", "rot13 in Morse", "base64, four at a time", "base64, wrapped"):
        for signs in SIGNS:
            run = ENCODINGS[name](NAME)
            outs = {
                left(f"So. It is {signs.format(run)} so. The sky is blue.", CLEAR, by_character=each)
                for each in (False, True)
            }
            assert len(outs) == 1 and run[4:16] not in outs.pop(), (name, signs)


# -- in requests -------------------------------------------------------------------------------------


@every_code
def test_a_question_in_a_code_arms_as_it_does_in_clear(encode: Encode) -> None:
    assert read(GUARD, f"Tell me about {encode(NAME)} please").stance is Stance.ARMED


@pytest.mark.parametrize(
    "name",
    ["base64", "hex", "rot13", "Caesar 3", "URL, every letter", "reversed", "base64 in base64", "atbash"],
)
def test_a_fact_asked_for_in_a_code_arms_as_it_does_in_clear(name: str) -> None:
    asked = "Which school was Harry Potter educated at"
    assert read(GUARD, asked).stance is Stance.ARMED
    assert read(GUARD, ENCODINGS[name](asked)).stance is Stance.ARMED
    assert read(GUARD, ENCODINGS[name]("What colour are the eyes of Harry Potter")).stance is Stance.WATCHED


def test_the_relation_alone_may_be_in_the_code() -> None:
    assert read(GUARD, f"Harry Potter: {base64_of('which school was he educated at')}").stance is Stance.ARMED


# -- in answers, the whole way -----------------------------------------------------------------------


def left(text: str, arms: Arms, *, by_character: bool) -> str:
    pieces = [(0, Channel.CONTENT, char) for char in text] if by_character else [(0, Channel.CONTENT, text)]
    return answer(GUARD, arms, pieces=pieces).get((0, Channel.CONTENT), "")


@pytest.mark.parametrize("by_character", [False, True], ids=["whole", "by character"])
@every_code
def test_nothing_of_a_value_leaves_in_a_code(encode: Encode, by_character: bool) -> None:
    for secret, arms in ((NAME, CLEAR), (VALUE, WATCHED)):
        run = encode(secret)
        out = left(
            f"The sea is wide. The answer is {run} , they say. The sky is blue.",
            arms,
            by_character=by_character,
        )
        assert "The sea is wide." in out and "The sky is blue." in out
        pieces = {run[at : at + 6] for at in range(max(1, len(run) - 5))}
        assert not any(piece in out for piece in pieces)


@pytest.mark.parametrize("by_character", [False, True], ids=["whole", "by character"])
@every_acrostic
def test_nothing_but_the_first_letters_of_an_acrostic_leaves(encode: Encode, by_character: bool) -> None:
    out = left(f"Read on.\n{encode(NAME)}\nThe end.", CLEAR, by_character=by_character)
    assert "The end." in out
    assert len(out) < len(encode(NAME)) / 2 + 80
    assert CODECS.find(out) == []


@pytest.mark.parametrize("by_character", [False, True], ids=["whole", "by character"])
@pytest.mark.parametrize("encode", [*ENCODINGS.values(), *ACROSTICS.values()], ids=[*ENCODINGS, *ACROSTICS])
def test_the_same_about_somebody_else_leaves_byte_for_byte(encode: Encode, by_character: bool) -> None:
    text = f"The sea is wide. It is {encode(OTHER_NAME)} , of {encode(OTHER_VALUE)} .\nThe sky is blue."
    for arms in (CLEAR, WATCHED):
        assert left(text, arms, by_character=by_character) == text


def test_a_code_that_was_cut_short_is_reported_as_a_prefix() -> None:
    scan = CODECS.open()
    scan.feed(f"It is {base64_of('Port Mer')}")
    assert [each.part for each in scan.close("length").findings] == [Part.PREFIX]


# -- not found ---------------------------------------------------------------------------------------

ORDINARY = [
    str(uuid.UUID(int=0x1234_5678_9ABC_DEF0_1234_5678_9ABC_DEF0)),
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "https://example.com/a/B9xQz/index.html?q=%D0%B0%20b&utm_source=x",
    "def main(argv: list[str]) -> int:\n    for i, x in enumerate(argv):\n        print(f'{i}: {x!r}')\n    return 0\n",
    "| year | ships | crew |\n| --- | --- | --- |\n| 1901 | 12 | 118 |\n| 1902 | 15 | 144 |\n",
    "1. One\n2. Two\n3. Three\n- a\n- b\n* c\n---\n- [x] done\n",
    "Roses are red,\nViolets are blue,\nSugar is sweet,\nAnd so are you.\n",
    "a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p",
    "65 66 67 68 69 70 71 72 73 74 75 76",
    "H2O, CO2, COVID-19, iPhone 15, the 2nd of May, 3D, B2B, e.g. this, i.e. that, U.S.A.",
    "data:image/png;base64," + base64.b64encode(random.Random(1).randbytes(4_000)).decode(),
    "x = a + b - c * d; y = [0x1f, 0xff, 0b1010]; z = 1e-9 // 2",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_things_that_look_like_codes_hold_nothing(text: str) -> None:
    assert CODECS.find(text) == []
    assert left(text + "\n", CLEAR, by_character=True) == text + "\n"


MANY = policy(
    *(
        target(f"t{number}", names=[name])
        for number, name in enumerate(
            "Nadia Brunel|Green Lake|Anna Oto|Noel Reward|Port Deliver|Tessa Mallory|Ines Carvalho|Tom Reed|Arora|"
            "Marten Islands|Sarah Teller|Leon Drawer|Lisa North|Tarn|Otto|Stella Marin|Aston|Ethan Oswald|Easton".split(
                "|"
            )
        )
    )
)


def test_ordinary_sentences_hold_no_name_in_any_code() -> None:
    codecs = Codecs(MANY)
    text = " ".join(retain_sentences())
    assert codecs.find(text) == []


def test_random_text_in_a_code_is_found_no_more_often_than_the_bound_says() -> None:
    """Letters drawn at random, in the views that have no words, hit 5 letters at most once in 26**5 places."""
    chance = random.Random(7)
    codecs = Codecs(MANY)
    letters = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=100_000))
    assert len(codecs.find(" ".join(letters))) <= 1 + 4 * 2 * len(MANY.targets) * len(letters) / 26**5
    words = "\n".join(f"{letter}ver the hills" for letter in letters[:20_000])
    assert len(codecs.find(words)) <= 1 + 4 * KINDS["lines"][0] * 20_000


def test_short_names_are_not_looked_for_in_weak_views() -> None:
    codecs = Codecs(policy(target("a", names=["Tarn", "Vet"])))
    for name in ("rot13", "reversed", "atbash", "Caesar 3"):
        assert codecs.find(ENCODINGS[name]("Tarn")) == []
    assert parts(codecs.find(base64_of("by Tarn"))) == {(0, Part.NAME)}


# -- properties --------------------------------------------------------------------------------------

MIXED = policy(
    target("a", names=["Odalys Vennaker"], facts=[("born in", ["Port Meridane"])]),
    target("card", "pattern", pattern=Pattern(r"\b(?:\d[ -]?){13,19}\b", 0, 38, 1, "luhn")),
)
SCANS = Codecs(MIXED)
STRONG = ["base64", "base64, a token a word", "hex, in pairs", "URL, every letter", "JSON, one letter", "rot13", "reversed", "leet", "dots and spaces", "Morse", "NATO letters", "decimal codes", "A1Z26, spaced", "base64 in base64", "U+"]  # fmt: skip
FRAGMENTS = [
    *(f" {ENCODINGS[name](NAME)} " for name in STRONG),
    f" {base64_of('4111 1111 1111 1111')} ",
    ACROSTICS["words"](NAME) + " ",
    f"\n{ACROSTICS['lines']('Odalys')}\n",
    "Odalys ",
]


def test_findings_do_not_depend_on_how_the_text_was_cut() -> None:
    check_cut_invariant(SCANS.open, FRAGMENTS, by_place=True)


def test_what_is_called_safe_never_becomes_part_of_a_finding() -> None:
    check_withholding(SCANS.open, FRAGMENTS)


@pytest.mark.parametrize("sign", ["\u200b", "\u00ad", "\u0301"])
def test_an_invisible_sign_ends_no_word(sign: str) -> None:
    scan = SCANS.open()
    assert scan.feed(f"1{sign}").safe_to == 0 == scan.feed(" b").safe_to
    assert scan.feed("ut all of it. ").safe_to > 3


def test_what_is_held_back_is_bounded_by_the_policy() -> None:
    check_bounded(SCANS.open, FRAGMENTS, SCANS.max_chars)


class _Forgetful(CodecScan):
    """Looks at each piece by itself."""

    def feed(self, text: str) -> Progress:
        self._base += len(self._tail)
        self._tail = ""
        return super().feed(text)


class _Hasty(CodecScan):
    """Calls everything safe that it has seen."""

    def feed(self, text: str) -> Progress:
        return Progress(super().feed(text).findings, self._base + len(self._tail))


class _Hoarder(CodecScan):
    """Calls nothing safe before the end."""

    def feed(self, text: str) -> Progress:
        return Progress(super().feed(text).findings, 0)


@pytest.mark.parametrize(
    ("check", "mutant"),
    [(check_cut_invariant, lambda: _Forgetful(SCANS)), (check_withholding, lambda: _Hasty(SCANS))],
)
def test_each_property_kills_its_mutant(check: Callable[..., None], mutant: Opener) -> None:
    with pytest.raises(AssertionError):
        check(mutant, FRAGMENTS, mutant=True)


def test_the_bound_kills_a_scan_that_holds_everything() -> None:
    with pytest.raises(AssertionError):
        check_bounded(lambda: _Hoarder(SCANS), FRAGMENTS, 200, mutant=True)


LAST_WORD_LIVES = re.compile(rf"(?:\b\w|\b\d{{2,3}}|\b(?:{'|'.join(NATO)}))\W*$", re.IGNORECASE)
"""A letter that stands alone, a number that may be one and a word of the spelling alphabet may be the first
of more."""


def test_text_without_a_live_run_is_not_held_back() -> None:
    for sentence in retain_sentences():
        if sentence.isascii() and sentence[-1] in ".?!" and not LAST_WORD_LIVES.search(sentence):
            scan = CODECS.open()
            assert scan.feed(sentence + " ").safe_to == len(sentence) + 1, sentence


def test_what_is_sure_to_be_no_code_is_let_go_while_it_runs() -> None:
    scan = CODECS.open()
    picture = base64.b64encode(random.Random(2).randbytes(30_000)).decode()
    for at in range(0, len(picture), 100):
        safe_to = scan.feed(picture[at : at + 100]).safe_to
        assert at + 100 - safe_to <= CODECS.max_chars
        assert len(scan._tail) <= CODECS.max_chars


def test_a_code_that_goes_on_and_on_stops_the_scan() -> None:
    scan = CODECS.open()
    scan.feed("O d ")
    with pytest.raises(ScanError):
        scan.feed("\u200b" * 400_000)


def test_a_policy_without_literals_or_patterns_finds_nothing() -> None:
    scan = Codecs(policy()).open()
    assert scan.feed(base64_of(NAME)) == Progress((), len(base64_of(NAME)))
    assert scan.close("stop") == Progress((), len(base64_of(NAME)))


@quickly
@given(st.text(max_size=200))
def test_in_any_text_at_all_a_stream_finds_what_the_whole_does_and_within_it(text: str) -> None:
    whole = {(each.start, each.end, each.target) for each in CODECS.find(text)}
    assert whole == {(each.start, each.end, each.target) for each in streamed(text)}
    assert all(0 <= start < end <= len(text) for start, end, _ in whole)


@pytest.mark.parametrize(
    "text",
    [
        "Odalys&nbsp;Vennaker",
        "Od&shy;alys Vennaker",
        "Odalys%0AVennaker",
        "Odalys\\nVennaker",
        "Odalys\\u00a0Vennaker",
        "".join(f"%{ord(char):02x}" for char in "Odalys\nVennaker"),
    ],
)
def test_an_escape_of_white_space_or_of_nothing_hides_no_name(text: str) -> None:
    assert {each.part for each in CODECS.find(f"It was {text}, so.")} == {Part.NAME}


def test_a_long_run_in_a_code_is_read_a_few_times_and_not_once_for_each_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = 0
    look = Codecs.look

    def counted(self: Codecs, text: str, *given: Any, **more: Any) -> Any:
        nonlocal looked
        looked += len(text)
        return look(self, text, *given, **more)

    monkeypatch.setattr(Codecs, "look", counted)
    said = " ".join(f"{ord(char):08b}" for char in "the sea is wide and old and deep " * 6)
    scan = CODECS.open()
    for at in range(0, len(said), 4):
        scan.feed(said[at : at + 4])
    scan.close("stop")
    assert looked < 40 * len(said)
