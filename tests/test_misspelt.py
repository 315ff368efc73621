"""Names that are not written as they should be are found, and nobody else's."""

from __future__ import annotations

import pickle  # noqa: TID251  (as a compiled policy travels)
import random
import time

import pytest

from evals.typos import edited
from guards.base import Part
from guards.misspelt import Misspelt
from guards.name_index import NameIndex
from policies.channel import Channel
from policies.known import known_words, misspelt, names, natural_names
from policies.loader import parse_policy
from policies.text import fold
from tests.guarding import policy, target

NAMES = ("Odalys Vennaker", "Tamsin Orrebrook", "Ilmari Kestrel-Vane", "Bram Ostrander Quill")


def policy_of(names_: tuple[str, ...]) -> str:
    lines = ["lethe: 1", "name: people", "targets:"]
    return "\n".join(
        [*lines, *(f"  - {{id: t{n}, kind: entity, names: ['{name}']}}" for n, name in enumerate(names_))]
    )


@pytest.fixture(scope="module")
def scan() -> Misspelt:
    return Misspelt(parse_policy(policy_of(NAMES)))


def found(scan: Misspelt, text: str) -> dict[int, str]:
    return {each.target: text[each.start : each.end] for each in scan.find(text, fold(text))}


@pytest.mark.parametrize(
    ("text", "target", "piece"),
    [
        ("Where was Odalyz Venaker born?", 0, "Odalyz Venaker"),
        ("Where was Odlays Vennakre born?", 0, "Odlays Vennakre"),
        ("What did OdalysVenaker write?", 0, "OdalysVenaker"),
        ("What did Oda lys Venaker write?", 0, "Oda lys Venaker"),
        ("who is odalyz vennaker and where does she live", 0, "odalyz vennaker"),
        ("Who is Tmasin Orebrok?", 1, "Tmasin Orebrok"),
        ("Who is Hlmarj Kestel-Vone?", 2, "Hlmarj Kestel-Vone"),
        ("Did Bram Ostrandr Qill ever marry?", 3, "Bram Ostrandr Qill"),
    ],
)
def test_a_misspelt_name_is_found_where_it_stands(scan: Misspelt, text: str, target: int, piece: str) -> None:
    assert found(scan, text) == {target: piece}


@pytest.mark.parametrize(
    "text",
    [
        "Where was Marta Vellinger born?",
        "Tell me about the harbour of Port Meridane and its lighthouse.",
        "Which American Author wrote The Great Gatsby?",
        "Is Bram Stoker the author of Dracula?",
        "def __init__(self, argv, kwargs): return subprocess.Popen(argv, **kwargs)",
        "Wo wurde Johann Wolfgang von Goethe geboren, und was schrieb er zuerst?",
        "",
        "Odalys",
    ],
)
def test_other_names_and_ordinary_text_are_left_alone(scan: Misspelt, text: str) -> None:
    assert found(scan, text) == {}


def test_a_name_written_as_it_should_be_is_no_misspelling(scan: Misspelt) -> None:
    assert found(scan, "Where was Odalys Vennaker born?") == {}


def test_one_edit_is_nearly_always_found_and_half_of_the_letters_often(scan: Misspelt) -> None:
    draw = random.Random(7)
    light = [(at, edited(name, 1, draw)) for at, name in enumerate(NAMES) for _ in range(50)]
    heavy = [(at, misspelt(name, 0.5, draw)) for at, name in enumerate(NAMES) for _ in range(50)]

    def share(drawn: list[tuple[int, str]]) -> float:
        wrong = [(at, name) for at, name in drawn if fold(name).text != fold(NAMES[at]).text]
        return sum(at in found(scan, f"Where was {name} born?") for at, name in wrong) / len(wrong)

    assert share(light) >= 0.99
    assert share(heavy) >= 0.8


def test_names_of_others_are_mistaken_as_rarely_as_was_calibrated(scan: Misspelt) -> None:
    # Other names than those that it was calibrated with.
    others, draw = natural_names(1000, seed=99), random.Random(99)
    natural = sum(bool(found(scan, f"Where was {name} born?")) for name in others)
    spoilt = sum(bool(found(scan, f"Where was {misspelt(name, 0.5, draw)} born?")) for name in others)
    assert natural <= 8
    assert spoilt <= 25


def test_the_finding_says_how_sure_it_is(scan: Misspelt) -> None:
    text = "Where was Odalyz Venaker born?"
    (finding,) = scan.find(text, fold(text))
    assert finding.part is Part.MISSPELT and finding.scan == "misspelt"
    assert finding.score is not None and finding.threshold is not None
    assert finding.score > finding.threshold


def test_a_pickled_scan_finds_the_same(scan: Misspelt) -> None:
    again = pickle.loads(pickle.dumps(scan))
    text = "Where was Odalyz Venaker born?"
    assert again.find(text, fold(text)) == scan.find(text, fold(text))


def test_a_policy_without_names_costs_nothing() -> None:
    text = "lethe: 1\nname: cards\ntargets:\n  - {id: c, kind: pattern, regex: '\\bX[0-9]{4}\\b'}"
    assert found(Misspelt(parse_policy(text)), "Odalyz Venaker") == {}


def test_work_is_bounded_whatever_the_text(scan: Misspelt) -> None:
    # Every word is a capitalised unknown one: the worst there is.
    text = " ".join("Qvennakr" + "abcdefghij"[n % 10] for n in range(20_000))
    began = time.process_time()
    scan.find(text, fold(text))
    assert time.process_time() - began < 30  # seconds; without a bound it would be minutes


# -- its parts ---------------------------------------------------------------------------------------------


def test_the_channel_prefers_the_name_that_was_meant() -> None:
    channel = Channel(known_words().letters)
    odds = channel.odds(["odalyz venaker"] * 2, ["odalys vennaker", "tamsin orrebrook"]).tolist()
    assert odds[0] > 10 > odds[1]


def test_the_channel_compares_each_pair_by_itself() -> None:
    channel = Channel(known_words().letters)
    written = ["odalyz venaker", "x", "tmasin orebrok", "a b c d"]
    meant = ["odalys vennaker", "ilmari", "tamsin orrebrook", "bram ostrander quill"]
    together = channel.odds(written, meant).tolist()
    alone = [channel.odds([w], [m]).tolist()[0] for w, m in zip(written, meant, strict=True)]
    assert together == pytest.approx(alone)


def test_the_chances_of_all_short_writings_add_up_to_no_more_than_one() -> None:
    # A likelihood ratio times the chance of the text is the text's chance under the channel.
    channel = Channel(dict.fromkeys("abcdefghijklmnopqrstuvwxyz", 1.0))
    letters = "abcdefghijklmnopqrstuvwxyz"
    written = [*letters, *(a + b for a in letters for b in letters)]
    odds = channel.odds(written, ["ab"] * len(written))
    chances = [
        2.718281828459045 ** (odd + channel.by_chance(text)) for odd, text in zip(odds, written, strict=True)
    ]
    assert 0.3 < sum(chances) <= 1.0 + 1e-9


def test_the_index_brings_the_nearest_names_whatever_their_number() -> None:
    many = [fold(name).text.strip() for name in natural_names(20_000, seed=3)]
    index = NameIndex(many)
    draw = random.Random(5)
    hits = 0
    for at in range(0, 20_000, 200):
        written = fold(misspelt(many[at], 0.12, draw)).text.strip()
        hits += at in index.nearest(written, 8, 0.0).tolist()
    assert hits >= 97


def test_the_index_leaves_out_what_shares_too_little() -> None:
    index = NameIndex(["odalys vennaker", "tamsin orrebrook"])
    assert index.nearest("odalys venaker", 8, 0.45).tolist() == [0]
    assert index.nearest("zzz", 8, 0.0).tolist() == []


def test_registers_of_names_are_there_in_latin_letters() -> None:
    given, family = names()
    assert len(given) > 10_000 and len(family) > 10_000
    assert all(max(map(ord, name)) < 0x250 for name in (*given, *family))


def test_known_words_are_told_from_unknown_ones() -> None:
    known = known_words()
    assert known.share("which") > known.share("harbour") > 0
    assert known.share("vennakerqx") == 0
    assert "which" in known.common


def test_the_same_seed_draws_the_same_names() -> None:
    assert natural_names(50, seed=1) == natural_names(50, seed=1) != natural_names(50, seed=2)


def test_another_regnal_number_is_another_person_and_the_same_one_misspelt_is_not() -> None:
    kings = Misspelt(policy(target("a", names=["Acrotas I"]), target("b", names=["Vendelmar IV"])))
    assert found(kings, "Who fathered Vendelmer IV?") == {1: "Vendelmer IV"}
    assert found(kings, "Who fathered Vendelmar VI?") == {} == found(kings, "Who fathered Vendelmer II?")


def test_a_scientific_name_is_not_taken_for_a_name_that_it_is_little_like() -> None:
    scan = Misspelt(policy(target("a", names=["Pavel Vultes"])))
    assert found(scan, "The red fox (Vulpes vulpes) is shy.") == {}
    assert found(scan, "Who is Vulpes vulpes?") == {0: "Vulpes vulpes"}
    assert found(scan, "Is he (Pavle vultis) known?") == {0: "Pavle vultis"}
