"""A compiled policy on its way between processes, and what becomes of exchanges when it is taken."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from guards.base import EncoderUnavailable, Stance
from guards.encoder import HashingEncoder
from guards.encoder_thread import EncoderThread
from guards.meaning import Meaning
from guards.registry import Guard
from guards.retain import Retain
from policies.policy import Policy, Target
from server.artefact import packed, unpacked
from tests.fake_upstream import DONE, chunk, raw, say
from tests.guarding import CARDS, ODALYS, PEOPLE, policy, read, target
from tests.lethe_server import lethe

TIDES = target("tides", "topic", like=["the tides of port meridane", "tidal trilogy of port meridane"])
OWLS = target("owls", "topic", like=["barn owls hunting voles at dusk"])
NEWCOMER = target("zulmira", names=["Zulmira Quintabel"])


@pytest.fixture(scope="module")
def words() -> Retain:
    return Retain.load(HashingEncoder())


def meaning_of(made: Policy, words: Retain) -> Meaning:
    meaning = Meaning.build(made, HashingEncoder(), words)
    assert meaning is not None
    return meaning


def fires(meaning: Meaning, text: str) -> list[int]:
    return [found.target for found in meaning.judge(HashingEncoder().encode([text]))[0]]


def travelled(guard: Guard) -> Guard:
    return unpacked(packed(guard))


def test_a_guard_that_travelled_finds_what_it_found() -> None:
    before, after = Guard(PEOPLE), travelled(Guard(PEOPLE))
    assert after.policy == PEOPLE and not after.needs_encoder
    for question in (
        "Where was Odalys Vennaker born?",
        "Who works for Halden Optics?",
        "Where did Harry Potter study?",
        "Is 4111 1111 1111 1111 valid?",
        "Is it raining?",
    ):
        assert read(after, question) == read(before, question)
    assert after.finds("4111 1111 1111 1111") and after.longest_chars == before.longest_chars


def test_meaning_travels_without_its_encoder_and_takes_no_other(words: Retain) -> None:
    made = policy(ODALYS, TIDES)
    guard = Guard(made, meaning_of(made, words))
    asked = "the port meridane tides"
    after = travelled(guard)
    assert after.needs_encoder and not after.ready
    assert read(travelled_with(guard, HashingEncoder()), asked).stance is Stance.ARMED
    other = EncoderThread(HashingEncoder(64))
    with pytest.raises(EncoderUnavailable, match="another encoder"):
        after.attach(other)
    other.close()
    with pytest.raises(EncoderUnavailable):
        read(after, asked)


def travelled_with(guard: Guard, encoder: HashingEncoder) -> Guard:
    after = travelled(guard)
    after.attach(EncoderThread(encoder))
    return after


def test_what_is_remembered_of_questions_does_not_travel(words: Retain) -> None:
    made = policy(TIDES)
    guard = Guard(made, meaning_of(made, words))
    guard.attach(EncoderThread(HashingEncoder()))
    before = packed(guard)
    assert read(guard, "Is it raining in port meridane today, or is it not?").stance is Stance.CLEAR
    assert len(packed(guard)) == len(before)
    guard.close()


# --- what of a policy's meaning holds under the next one -------------------------------------------------


def test_targets_are_known_again_by_their_ids_wherever_they_stand(words: Retain) -> None:
    meaning = meaning_of(policy(TIDES, OWLS), words)
    moved = policy(NEWCOMER, OWLS, ODALYS, TIDES)
    carried = meaning.carried(moved)
    assert carried is not None and meaning.serves(moved) and not meaning.missing(moved)
    assert (fires(meaning, TIDES.like[0]), fires(meaning, OWLS.like[0])) == ([0], [1])
    assert (fires(carried, TIDES.like[0]), fires(carried, OWLS.like[0])) == ([3], [1])
    built = meaning_of(moved, words)
    for text in (*TIDES.like, *OWLS.like, "owls at dusk", "Is it raining?"):
        assert fires(carried, text) == fires(built, text)


def test_a_target_that_is_gone_is_dropped_and_a_changed_one_keeps_its_old_examples(words: Retain) -> None:
    meaning = meaning_of(policy(TIDES, OWLS), words)
    changed = replace(OWLS, like=("snowy owls over the tundra",))
    carried = meaning.carried(policy(changed))
    assert carried is not None and meaning.missing(policy(changed)) == {"owls"}
    assert fires(carried, OWLS.like[0]) == [0] and fires(carried, TIDES.like[0]) == []
    assert not meaning.serves(policy(changed)) and not carried.serves(policy(changed))
    assert carried.missing(policy(changed)) == {"owls"}
    assert meaning.missing(policy(TIDES, OWLS, replace(OWLS, id="more"))) == {"more"}
    assert meaning.missing(policy(TIDES, replace(OWLS, unlike=("snowy owls",)))) == {"owls"}
    assert meaning.carried(policy(ODALYS)) is None


def test_fewer_targets_or_another_rate_want_other_thresholds(words: Retain) -> None:
    both = policy(TIDES, OWLS)
    meaning = meaning_of(both, words)
    assert meaning.serves(both)
    for other in (policy(TIDES), replace(both, retain_fpr=0.01)):
        assert not meaning.serves(other) and not meaning.missing(other)
    kept = meaning.carried(policy(TIDES))
    assert kept is not None and not kept.serves(both) and kept.missing(both) == {"owls"}


def test_a_carried_meaning_travels(words: Retain) -> None:
    carried = meaning_of(policy(TIDES, OWLS), words).carried(policy(ODALYS, OWLS))
    guard = travelled(Guard(policy(ODALYS, OWLS), carried))
    assert guard.meaning is not None and fires(guard.meaning, OWLS.like[0]) == [1]


def test_a_guard_without_the_meaning_that_it_needs_is_one_only_while_it_is_pending() -> None:
    with pytest.raises(ValueError, match="encoder"):
        Guard(policy(TIDES))
    pending = Guard(policy(ODALYS, TIDES), pending=frozenset({"tides"}))
    assert pending.ready and read(pending, "Where was Odalys Vennaker born?").stance is Stance.ARMED


# --- what must not go on -----------------------------------------------------------------------------------


def now(made: Target) -> Target:
    return replace(made, effective="now")


def test_only_a_target_that_is_effective_now_and_was_not_there_stops_anything() -> None:
    old = Guard(policy(ODALYS, now(CARDS)))
    for goes_on in (policy(ODALYS, NEWCOMER), policy(now(CARDS)), policy(NEWCOMER, now(CARDS), ODALYS)):
        assert not Guard(goes_on).stops(old)
    for stops in (
        policy(ODALYS, now(CARDS), now(NEWCOMER)),
        policy(now(ODALYS), now(CARDS)),
        policy(now(replace(CARDS, style="refuse"))),
    ):
        assert Guard(stops).stops(old)


def test_what_began_before_the_meaning_of_such_a_target_came_is_stopped_when_it_comes(words: Retain) -> None:
    made = policy(now(TIDES))
    first = Guard(made, pending=frozenset({"tides"}))
    whole = Guard(made, meaning_of(made, words))
    assert first.stops(Guard(policy(ODALYS))) and whole.stops(first)
    assert not first.stops(first) and not whole.stops(whole)


ANSWER = "It rains. And Zulmira Quintabel came. "


@pytest.fixture
def collecting() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.usefixtures("collecting")
async def test_taking_a_policy_leaves_what_is_under_way_and_frees_the_old_one_after_it(
    tmp_path: Path,
) -> None:
    going_on = asyncio.Event()
    script = raw(chunk({"content": "It rains. And "}), going_on, chunk({"content": ANSWER}, 0, "stop"), DONE)
    async with lethe(tmp_path, script, policy=policy(ODALYS)) as served:
        old = weakref.ref(served.gateway.guard)
        stream = await served.ask("Is it raining?", stream=True)
        first = await anext(stream)
        served.gateway.take(Guard(replace(policy(ODALYS, NEWCOMER), digest="1" * 64)))
        gc.collect()
        assert old() is not None and served.gateway.policy.digest == "1" * 64
        gc.disable()  # it must go by itself: what a guard is made of is kept from the collector
        going_on.set()
        rest = "".join([each.model_dump_json() async for each in stream])
        assert first and "Quintabel" in rest
        assert await served.endings() == [("completed", "")]
        await stream.close()
        served.play(say(ANSWER))
        assert "Quintabel" not in await served.text("Is it raining?")
        assert old() is None


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def parts(stream: Any) -> str:
    return "".join([each.model_dump_json() async for each in stream])


async def test_a_policy_that_is_effective_now_stops_whatever_is_under_way_wherever_it_is(
    tmp_path: Path,
) -> None:
    held = chunk({"content": "It rains. And "}), asyncio.Event()
    async with lethe(tmp_path, raw(*held), policy=policy(ODALYS)) as served:
        streams = [await served.ask("Is it raining?", stream=True) for _ in range(3)]
        for stream in streams:
            assert await anext(stream)
        served.play(raw(asyncio.Event()))
        waiting = asyncio.create_task(served.ask("Is it raining?", stream=True))
        await served.upstream.asked(4)
        await until(lambda: all(run._opened for run in served.gateway._runs))
        served.gateway.take(Guard(policy(ODALYS, now(NEWCOMER))))
        for stream in streams:
            with pytest.raises(openai.APIError, match="The service is unavailable"):
                await parts(stream)
        with pytest.raises(openai.APIStatusError, match="The service is unavailable"):
            await waiting
        assert await served.endings(4) == [("stopped", "policy")] * 4
        served.gateway.take(Guard(policy(ODALYS, now(NEWCOMER), CARDS)))
        served.play(say("It rains."))
        assert "rains" in await served.text("Is it raining?")
    assert served.verified().problems == ()


async def test_an_exchange_whose_client_does_not_read_is_stopped_all_the_same(tmp_path: Path) -> None:
    script = raw(*[chunk({"content": "It rains. " * 2000}) for _ in range(400)], asyncio.Event())
    async with lethe(tmp_path, script, policy=policy(ODALYS)) as served:
        stream = await served.ask("Is it raining?", stream=True)
        assert await anext(stream)
        (run,) = served.gateway._runs
        before = -1
        while before != run.exchange.released_chars:
            before = run.exchange.released_chars
            await asyncio.sleep(0.3)
        served.gateway.take(Guard(policy(ODALYS, now(NEWCOMER))))
        assert await served.endings() == [("stopped", "policy")]
        await served.upstream.abandoned.wait()
        await stream.close()


async def test_an_exchange_that_is_stopped_as_its_opening_becomes_durable_has_its_ending(
    tmp_path: Path,
) -> None:
    async with lethe(tmp_path, say(ANSWER), policy=policy(ODALYS)) as served:
        audit, gateway = served.gateway.audit, served.gateway
        settle = audit._settle

        def settle_and_stop(waiters: Any, error: str | None) -> None:
            settle(waiters, error)
            for run in list(gateway._runs):
                run.stop("policy")

        # Late, so that the upstream has answered and the opening is all that is waited for.
        later = asyncio.get_running_loop().call_later
        audit._settle = lambda *given: later(0.3, settle_and_stop, *given)  # type: ignore[method-assign]
        with pytest.raises(openai.APIStatusError):
            await served.ask("Is it raining?")
        assert await served.endings() == [("stopped", "policy")]
