"""What is remembered of texts: what was found in them, for a while, and of the texts nothing."""

from __future__ import annotations

import pickle  # noqa: TID251  (what travels is our own)

from hypothesis import given
from hypothesis import strategies as st

from guards.remembered import Remembered

TEXT = "a telltale sentence"


def test_what_is_kept_is_known_again_and_nothing_else() -> None:
    kept: Remembered[int] = Remembered(4)
    one, other = kept.key(TEXT), kept.key("another")
    kept.keep({one: 1})
    assert kept.known([one, other, None]) == {one: 1}


def test_neither_text_nor_client_is_in_it() -> None:
    kept: Remembered[None] = Remembered(4)
    kept.keep({kept.key(TEXT, "somebody"): None})
    assert [len(key) for key in kept] == [16]
    assert not any(word in repr(vars(kept)) for word in ("telltale", "somebody"))


def test_two_clients_and_two_processes_know_a_text_by_different_keys() -> None:
    kept: Remembered[None] = Remembered(4)
    again = pickle.loads(pickle.dumps(kept))
    keys = [kept.key(TEXT), kept.key(TEXT, "one"), kept.key(TEXT, "two"), again.key(TEXT)]
    assert len(set(keys)) == 4 and kept.key(TEXT, "one") == keys[1]


def test_what_travels_is_empty_and_as_wide() -> None:
    kept: Remembered[int] = Remembered(2)
    kept.keep({kept.key(TEXT): 1})
    again = pickle.loads(pickle.dumps(kept))
    assert len(kept) == 1 and len(again) == 0
    again.keep({again.key(str(number)): number for number in range(3)})
    assert len(again) == 2


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=12), st.integers(1, 5))
def test_those_used_last_are_kept(rounds: list[list[int]], most: int) -> None:
    kept: Remembered[int] = Remembered(most)
    used: list[int] = []
    for some in rounds:
        kept.keep({kept.key(str(number)): number for number in some})
        for number in dict.fromkeys(some):
            used = [*(each for each in used if each != number), number]
    every = kept.known(kept.key(str(number)) for number in range(10))
    assert sorted(every.values()) == sorted(used[-most:])
