"""Passages: what was read before is known by a hash, and knowing it changes nothing but the cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import Finding, Part, Passage
from guards.encoder import HashingEncoder
from guards.encoder_thread import EncoderThread
from guards.literal import Literals
from guards.meaning import Meaning
from guards.passages import MAX_MEANING_TEXTS, OverBudget, Passages
from guards.registry import Guard
from guards.retain import Retain
from policies.policy import Policy
from policies.relations import lexicon
from tests.guarding import ODALYS, PEOPLE, policy, target

LOCKS = policy(target("locks", "topic", like=["How do I pick a lock?", "Open the padlock without a key"]))
FILLER = "The boats lay still in the harbour and nobody was in a hurry that day. " * 6


def reader(of: Policy) -> Passages:
    return Passages(of, Literals(of), None, lexicon())


def said(*texts: str) -> list[Passage]:
    last = len(texts) - 1
    return [Passage(f"messages[{at}].content", "user", text, at == last) for at, text in enumerate(texts)]


PIECES = st.lists(
    st.sampled_from(["Odalys", " Vennaker", "Vennaker", " in Port", " Meridane", ". ", "\n", FILLER, " She"]),
    max_size=6,
).map("".join)


@given(texts=st.lists(PIECES, min_size=1, max_size=4))
def test_what_was_read_before_holds_what_it_held_then(texts: Sequence[str]) -> None:
    async def go() -> None:
        passages = reader(PEOPLE)
        first = await passages.read(said(*texts))
        again = await passages.read(said(*texts))
        assert [each.findings for each in again] == [each.findings for each in first]
        alone = [(await reader(PEOPLE).read(said(text)))[0] for text in texts]
        assert [each.findings for each in alone] == [each.findings for each in first]

    asyncio.run(go())


@given(texts=st.lists(PIECES, min_size=2, max_size=4))
def test_a_name_across_messages_is_found_however_long_they_are(texts: Sequence[str]) -> None:
    async def go() -> None:
        passages = reader(PEOPLE)
        request = said(*texts)
        found = passages.across(request, await passages.read(request))
        joined, ends, at = "\n".join(texts), list[int](), 0
        for text in texts:
            at += len(text) + 1
            ends.append(at)
        wanted = set()
        for each in Literals(PEOPLE).find(joined):
            first = next(number for number, end in enumerate(ends) if each.start < end)
            last = next(number for number, end in enumerate(ends) if each.end <= end)
            if first < last:
                within = each.end - (ends[last - 1] if last else 0)
                wanted.add((each.target, each.part, request[last].path, within))
        assert {(each.target, each.part, each.via[0], each.end) for each in found} == wanted

    asyncio.run(go())


def test_a_conversation_that_grew_under_the_policy_is_never_over_budget() -> None:
    encoder = HashingEncoder()
    corpus = Retain.load(encoder, None)
    with closing(Guard(LOCKS, Meaning.build(LOCKS, encoder, corpus, EncoderThread(encoder)))) as guard:

        async def go() -> None:
            turns: list[str] = []
            for turn in range(6):
                turns.append(" ".join(f"Boat {turn} of {at} sails." for at in range(MAX_MEANING_TEXTS // 4)))
                before = guard.encoded
                await guard.read(said(*turns))
                assert guard.encoded - before <= MAX_MEANING_TEXTS // 4
            with pytest.raises(OverBudget):
                await Guard(LOCKS, Meaning.build(LOCKS, encoder, corpus, EncoderThread(encoder))).read(
                    said(*turns)
                )

        asyncio.run(go())


@pytest.mark.parametrize("text", ["?", "… ?", " ", ""])
def test_a_text_without_a_word_is_read_under_a_policy_without_a_name(text: str) -> None:
    (seen,) = asyncio.run(reader(policy()).read(said(text)))
    assert (seen.findings, seen.head, seen.tail) == ((), len(text), len(text))


def test_what_is_remembered_holds_no_text() -> None:
    passages = reader(PEOPLE)
    asyncio.run(passages.read(said(f"{FILLER} Odalys Vennaker was born in Port Meridane. {FILLER}")))
    (seen,) = passages._remembered.known(passages._remembered).values()
    assert seen.findings
    assert not any(word in repr(seen) for word in ("Odalys", "odalys", "harbour", "Meridane"))


def test_sentences_about_a_target_are_taken_out_wherever_a_span_touches_them() -> None:
    text = "One. Odalys Vennaker sails. Two. Three."
    (seen,) = asyncio.run(reader(policy(ODALYS)).read(said(text)))
    spans = [(each.start, each.end) for each in seen.findings]
    assert seen.without(text, spans) == "One. Two. Three."
    assert seen.without(text, [(3, 6)]) == "Two. Three."


def test_what_one_client_brought_is_no_cheaper_for_another() -> None:
    encoder = HashingEncoder()
    meaning = Meaning.build(LOCKS, encoder, Retain.load(encoder, None), EncoderThread(encoder))
    passages = Passages(LOCKS, Literals(LOCKS), meaning, lexicon())
    looked: list[str] = []
    by_meaning = passages._by_meaning

    async def watched(texts: Sequence[str]) -> list[list[Finding]]:
        looked.extend(texts)
        return await by_meaning(texts)

    passages._by_meaning = watched  # type: ignore[method-assign]

    async def go() -> None:
        for client in ("first", "first", "second"):
            await passages.read(said("Is it raining?"), client)

    asyncio.run(go())
    assert looked == ["Is it raining?"] * 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("where does odalys live?", ["odalys"]),
        ("tell me where vennaker lives, and what odalys does", ["vennaker", "odalys"]),
        ("Odalys met Odalys, and Vennaker.", ["Odalys", "Odalys", "Vennaker"]),
        ("Harry Truman and Potter Valley", []),
        ("In summer each garden is green.", []),
    ],
)
def test_a_word_of_a_name_counts_wherever_no_ordinary_word_can_be_meant(text: str, found: list[str]) -> None:
    summer = target("summer", names=["Summer Garden"])
    (seen,) = asyncio.run(reader(policy(*PEOPLE.targets, summer)).read(said(text)))
    assert [text[each.start : each.end] for each in seen.findings] == found


def test_a_hyphenated_part_of_a_name_counts_though_its_words_are_short() -> None:
    of = policy(target("lee", names=["Kim Bo-Ra"]))
    (seen,) = asyncio.run(reader(of).read(said("Is Bo-Ra online?")))
    assert [(each.part, each.start, each.end) for each in seen.findings] == [(Part.NAME_PART, 3, 8)]
