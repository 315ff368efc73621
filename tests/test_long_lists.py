"""Long lists in arrays: whatever an automaton of whole items would find is found, however short the heads are cut."""

from __future__ import annotations

import codecs
import pickle  # noqa: TID251  (what travels is our own)

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guards.heads
from guards.base import Part
from guards.codecs import Codecs
from guards.name_words import NameWords
from guards.written import Entry, Index
from tests.guarding import policy, target

ALPHABETS = st.sampled_from(["ab ", "01", "aé ", "kИ東 ", "0123456789"])
KEYS = ALPHABETS.flatmap(
    lambda letters: st.tuples(
        st.lists(st.text(letters, min_size=1, max_size=14), min_size=1, max_size=40, unique=True),
        st.text(letters, max_size=40),
    )
)
nodes = pytest.mark.parametrize("most", [2, 12, 60, guards.heads.NODES])
KNOWN = policy(
    target(
        "a",
        names=["Odalys Vennaker"],
        facts=[("born in", ["Port Meridane"]), ("card", ["4111 1111 1111 1111"])],
    ),
    target("b", names=["Ruben Aldane", "Одалис"], facts=[("spouse", ["Odalys Vennaker"])]),
)


def _index(keys: list[str], most: int = guards.heads.NODES) -> Index:
    entries = {key: (Entry(Part.VALUE, at, 0, at, at % 2 == 0),) for at, key in enumerate(keys)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guards.heads, "NODES", most)
        return Index(entries)


@nodes
@given(drawn=KEYS)
def test_every_key_in_a_text_is_found_in_the_order_of_their_ends(
    most: int, drawn: tuple[list[str], str]
) -> None:
    keys, text = drawn
    index = _index(keys, most)
    expected = sorted(
        (start + len(key), start, at)
        for at, key in enumerate(keys)
        for start in range(len(text))
        if text.startswith(key, start)
    )
    found = [(end, start, entry) for start, end, entries in index.matches(text) for entry in entries]
    assert [(end, start, entry.target) for end, start, entry in found] == expected
    assert all(
        entry == (Part.VALUE, at, 0, at, at % 2 == 0) for _, _, entry in found for at in [entry.target]
    )


@nodes
@given(drawn=KEYS)
def test_a_tail_is_live_where_a_longer_key_begins_with_it_and_nowhere_else(
    most: int, drawn: tuple[list[str], str]
) -> None:
    keys, text = drawn
    index = _index(keys, most)
    for tail in {text[: at + 1] for at in range(len(text))} | {
        key[: at + 1] for key in keys for at in range(len(key))
    }:
        assert index.begins(tail) == any(key.startswith(tail) and key != tail for key in keys)
        assert index.begins(tail, whole=True) == any(key.startswith(tail) for key in keys)


NAME = "odalys vennaker"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CODED = [
    codecs.encode(NAME, "rot13"), NAME.translate(str.maketrans(LETTERS, LETTERS[::-1])), NAME[::-1],
    NAME.translate(str.maketrans(LETTERS, LETTERS[3:] + LETTERS[:3])), "sylado rekannev", " ".join(NAME),
    "odalysyay ennakervay", "romedary\n".join(NAME.replace(" ", "")),
]  # fmt: skip


@nodes
@pytest.mark.parametrize("text", CODED)
def test_codes_are_found_however_short_the_heads_are_cut(
    most: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = set(Codecs(KNOWN).find(text))
    assert any(found.target == 0 and found.part is Part.NAME for found in whole)
    monkeypatch.setattr(guards.heads, "NODES", most)
    assert set(Codecs(KNOWN).find(text)) == whole


def test_an_index_that_has_travelled_is_the_same() -> None:
    index = _index([" odalys vennaker ", " port meridane ", " одалис "])
    again = pickle.loads(pickle.dumps(index, 5))
    text = " in port meridane lived одалис odalys vennaker "
    assert list(again.matches(text)) == list(index.matches(text)) != []


def test_the_bulk_of_a_long_list_is_arrays_that_are_passed_without_a_copy() -> None:
    index = _index([f" person {number:06} of port meridane " for number in range(20_000)])
    buffers: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(index, 5, buffer_callback=buffers.append)
    assert sum(buffer.raw().nbytes for buffer in buffers) > 20_000 * 30
    assert len(rest) < 6_000_000


def test_a_long_list_without_a_common_beginning_needs_few_nodes() -> None:
    index = _index([f" {number * 7919 % 100_003:05} meridane " for number in range(10_000)], most=500)
    assert len(index._heads._automaton) < 500
    assert [start for start, _, _ in index.matches(" see 07919 meridane ")] == [4]


def test_targets_are_known_by_the_words_of_their_names() -> None:
    words = NameWords(KNOWN, shortest=4, ordinary=frozenset(["ruben"]))
    assert words.targets("odalys") == [0] and words.targets("aldane") == [1] and words.targets("ruben") == ()
    assert (
        words.targets_with({"odalys", "vennaker"}) == {0}
        and words.targets_with({"odalys", "aldane"}) == set()
    )
    assert words.targets_with({"al"}) == set()
    assert "vennaker" in words and "meridane" not in words and words.isdisjoint(["meridane"])
