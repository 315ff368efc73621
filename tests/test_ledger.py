"""What has left of a target counts against what comes next, for each API key, whatever the client sends."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards import styles
from guards.base import Channel
from guards.ledger import Attribute, Claim, LedgerUnavailable, allowed
from guards.registry import Guard
from policies.loader import parse_policy
from server.ledger import FILE, Ledger, LedgerProblem, Limits
from tests.fake_upstream import Choice, say
from tests.guarding import HARRY, ODALYS, answer, policy, read, target
from tests.lethe_server import KEY, Lethe, lethe

FREJA = target("freja", "fact", names=["Freja Oskelund"], facts=[("works for", ["Argent Quillon"])])
BORN = target("born", "fact", names=["Freja Oskelund"], facts=[("born on", ["12 March 1974"])])
PHONE = target("phone", "fact", names=["Freja Oskelund"], facts=[("phone", ["+46 70 123 45 67"])])
LIVES = target("lives", "fact", names=["Freja Oskelund"], facts=[("lives in", ["Salt Harbour"])])
MAKER = target("maker", "fact", names=["Freja Oskelund"], facts=[("occupation", ["carpenter"])])
TAMSIN = target(
    "tamsin",
    names=["Tamsin Orrebrook"],
    facts=[("born in", ["Kessary"]), ("works for", ["Halden Optics"]), ("lives in", ["Port Meridane"])],
)
ABOUT = "Tell me about Freja Oskelund."
SEA = "She likes the sea."

HALVES = [
    (FREJA, "The first word is Argent.", "The other word is Quillon."),
    (FREJA, "The other word is Quillon.", "The first word is Argent."),
    (LIVES, "There is a lot of salt.", "There is a harbour."),
    (HARRY, "It begins with Hog.", "It ends with warts."),
    (HARRY, "It begins with “Hogw”.", "Then “arts”."),
    (BORN, "It was on 12 March.", "It was in 1974."),
    (BORN, "It was in nineteen seventy-four.", "The twelfth of March it was."),
    (BORN, "le 12 mars, disent-ils.", "En 1974."),
    (BORN, "It was in March. It was in 1974.", "The day was the twelfth."),
    (BORN, "The month is March. The day is 12.", "The year is 1974."),
    (BORN, "It was the 12th of a month, in 1974.", "They say it was March."),
    (PHONE, "Dial 0701 first.", "Then dial 234567."),
    (PHONE, "It starts seven zero one two three.", "And then come 4567."),
    (MAKER, "It begins with car.", "It ends with penter."),
]


def about(made: Any) -> str:
    return "Tell me about Harry Potter." if made is HARRY else ABOUT


def withheld(text: str) -> bool:
    return any(text.startswith(said) for said in styles._UNKNOWN)


@pytest.mark.parametrize(("made", "first", "second"), HALVES)
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_value_whose_halves_come_in_two_turns_is_withheld(
    tmp_path: Path, made: Any, first: str, second: str, streaming: bool
) -> None:
    async with lethe(tmp_path, say(f"{first} {SEA}"), policy=policy(made)) as served:
        assert await told(served, about(made), streaming=streaming) == f"{first} {SEA}"
        # Again, in a fresh conversation: what has left may leave again.
        assert await told(served, about(made), streaming=streaming) == f"{first} {SEA}"
        served.play(say(f"{SEA} {second}"))
        left = await told(served, about(made), streaming=streaming)
        assert left.startswith(SEA) and second not in left and withheld(left.removeprefix(f"{SEA} "))


async def told(served: Lethe, question: str, *, streaming: bool = False, **more: Any) -> str:
    if not streaming:
        return (await served.ask(question, **more)).choices[0].message.content or ""
    parts = [part async for part in await served.ask(question, stream=True, **more)]
    return "".join(choice.delta.content or "" for part in parts for choice in part.choices)


@pytest.mark.parametrize(
    ("made", "first", "second"),
    [
        (MAKER, "She took the car to Kessary.", "You enter by the north gate of the garden."),
        (FREJA, "The first word is Argent.", "Red quills are sold in that shop."),
        (BORN, "It was on 12 March.", "It was in 1975, on 13 March."),
        (BORN, "It was in March 1974.", "Her twelfth book has 12 parts."),
        (BORN, "It was the twelfth, in 1974.", "They march on Saturdays."),
        (PHONE, "Dial 0701 first.", "There are 234 houses and 100 boats."),
        (HARRY, "It begins with Hog.", "He plays on Saturdays, as all the others do."),
    ],
)
async def test_what_is_no_piece_of_a_value_passes(tmp_path: Path, made: Any, first: str, second: str) -> None:
    async with lethe(tmp_path, say(first), policy=policy(made)) as served:
        assert await told(served, about(made)) == first
        served.play(say(second))
        assert await told(served, about(made)) == second


async def test_a_name_that_nobody_named_is_no_more_put_together_than_a_value(tmp_path: Path) -> None:
    book = target("book", "fact", names=["Odalys Vennaker"], facts=[("wrote", ["“The Salt Ledger”"])])
    question = "I left “The Salt Ledger” on the train. Which train goes to Kessary?"
    async with lethe(tmp_path, say("A word for you: Odalys."), policy=policy(book)) as served:
        assert await told(served, question) == "A word for you: Odalys."
        served.play(say("Another word for you: Vennaker."))
        assert withheld(await told(served, question))


async def test_halves_in_one_answer_are_withheld_over_sentences_choices_channels_and_tools(
    tmp_path: Path,
) -> None:
    first, second = "The first word is Argent.", "The other word is Quillon."
    tools = [{"type": "function", "function": {"name": "note", "parameters": {}}}]
    for number, (script, more) in enumerate(
        [
            (say(f"{first} {SEA} {second}"), {}),
            (say(f"- one: Argent\n- two: {SEA}\n- three: Quillon\n"), {}),
            (say(f"| Argent | x |\n|---|---|\n| {SEA} | Quillon |\n"), {}),
            (say(first, second), {"n": 2}),
            (say(Choice(second, reasoning=first)), {}),
            (say(Choice(f"{first} ", tool_calls=[("note", '{"rest": "and Quillon"}')])), {"tools": tools}),
            (say(Choice(tool_calls=[("note", '{"a": "Argent", "n": 7, "b": "Quillon"}')])), {"tools": tools}),
            (say('{"a": "Argent", "n": 7, "b": "Quillon"}'), {"response_format": {"type": "json_object"}}),
        ]
    ):
        async with lethe(tmp_path / str(number), script, policy=policy(FREJA)) as served:
            for streaming in (False, True):
                shown = (
                    await served.text(ABOUT, **more)
                    if streaming
                    else (await served.ask(ABOUT, **more)).model_dump_json()
                )
                assert "Quillon" not in shown or "Argent" not in shown


async def test_k_attributes_of_a_target_do_not_leave_in_k_turns(tmp_path: Path) -> None:
    question, works = "Who was born in Kessary?", "Ana Kovač was, and works for Halden Optics."
    async with lethe(tmp_path, say(works), policy=policy(TAMSIN)) as served:
        assert await told(served, question) == works
        assert await told(served, question) == works
        lives = "Ben Holm was born in Kessary and lives in Port Meridane."
        served.play(say(lives))
        assert withheld(await told(served, question))
        # The values that a question gives are the client's own, and who has them is no secret.
        served.play(say("Ben Holm lives in Port Meridane."))
        assert await told(served, "Who lives in Port Meridane?") == "Ben Holm lives in Port Meridane."
    two = replace(policy(TAMSIN), together=2)
    async with lethe(tmp_path / "two", say(works), policy=two) as served:
        assert withheld(await told(served, question))


async def test_another_api_key_starts_anew(tmp_path: Path) -> None:
    made, first, second = HALVES[0]
    async with lethe(tmp_path, say(first), policy=policy(made), api_key="sk-one") as served:
        assert await told(served, ABOUT) == first
    async with lethe(tmp_path, say(second), policy=policy(made), api_key="sk-two") as served:
        assert await told(served, ABOUT) == second


async def test_the_history_of_a_request_adds_to_what_has_left(tmp_path: Path) -> None:
    made, first, second = HALVES[0]
    asked = {"role": "user", "content": ABOUT}
    async with lethe(tmp_path, say(second), policy=policy(made)) as served:
        messages = [asked, {"role": "assistant", "content": first}, asked]
        assert withheld(await told(served, "", messages=messages))
        # It is the client's own text, and is kept for nobody.
        assert await told(served, ABOUT) == second


async def test_a_history_that_has_the_whole_value_licenses_no_half(tmp_path: Path) -> None:
    made, first, second = HALVES[0]
    asked = {"role": "user", "content": ABOUT}
    listed = {"role": "assistant", "content": "Is it Argent Quillon, Port Bank or Kessary Line?"}
    async with lethe(tmp_path, say(f"{first} {SEA} {second}"), policy=policy(made)) as served:
        left = await told(served, "", messages=[asked, listed, asked])
        assert left.startswith(f"{first} {SEA}") and "Quillon" not in left


async def test_a_restart_keeps_it(tmp_path: Path) -> None:
    made, first, second = HALVES[0]
    async with lethe(tmp_path, say(first), policy=policy(made)) as served:
        assert await told(served, ABOUT) == first
    async with lethe(tmp_path, say(second), policy=policy(made)) as served:
        assert withheld(await told(served, ABOUT))


async def test_an_edit_of_the_policy_keeps_what_it_leaves_in_place(tmp_path: Path) -> None:
    made, first, second = HALVES[0]
    before, after = policy(made), policy(HARRY, target("new", names=["Ruben Lark"]), made)
    async with lethe(tmp_path, say(first), policy=before) as served:
        assert await told(served, ABOUT) == first
        served.gateway.take(Guard(after))
        served.play(say(second))
        assert withheld(await told(served, ABOUT))


# The store.

HALF = Attribute("t", "works for", 0)


def claim(cells: int, *, need: int = 2, given: int = 0, attribute: Attribute = HALF) -> list[list[Claim]]:
    return [[Claim(attribute, cells, given, need)]]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


def opened(folder: Path, clock: Clock | None = None, **limits: Any) -> Ledger:
    return Ledger.open(folder / FILE, folder, KEY, clock or Clock(), Limits(**limits))


async def test_two_workers_share_it_and_of_two_halves_at_once_one_leaves(tmp_path: Path) -> None:
    workers = [opened(tmp_path), opened(tmp_path)]
    try:
        for number in range(30):
            attribute = Attribute("t", "works for", number)
            answers = await asyncio.gather(
                *(
                    worker.of("key", 24).claim(claim(1 << cell, attribute=attribute))
                    for cell, worker in enumerate(workers)
                )
            )
            assert sorted(answers) == [[False], [True]]
    finally:
        for worker in workers:
            worker.close()


async def test_another_process_sees_what_this_one_was_given(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from guards.ledger import Attribute, Claim\n"
        "from server.ledger import FILE, Ledger\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"ledger = Ledger.open(folder / FILE, folder, {KEY!r}, lambda: 1_700_000_000.0)\n"
        "half = [[Claim(Attribute('t', 'works for', 0), int(sys.argv[1]), 0, 2)]]\n"
        "print(asyncio.run(ledger.of('key', 24).claim(half)))\n"
        "ledger.close()"
    )

    def elsewhere(cells: int) -> str:
        command = [sys.executable, "-c", program, str(cells)]
        paths = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
        ).stdout

    ledger = opened(tmp_path)
    try:
        assert await ledger.of("key", 24).claim(claim(1)) == [True]
        assert await asyncio.to_thread(elsewhere, 2) == "[False]\n"
        assert await asyncio.to_thread(elsewhere, 1) == "[True]\n"
    finally:
        ledger.close()


async def test_what_has_expired_counts_no_more_and_is_gone(tmp_path: Path) -> None:
    clock = Clock()
    ledger = opened(tmp_path, clock, sweep_s=0)
    try:
        of_client = ledger.of("key", 24)
        assert await of_client.claim(claim(1)) == [True]
        clock.now_s += 20 * 3600
        # What leaves again counts from then on.
        assert await of_client.claim(claim(1)) == [True]
        clock.now_s += 20 * 3600
        assert await of_client.claim(claim(2)) == [False]
        assert len(rows(tmp_path)) == 1
        clock.now_s += 24 * 3600
        assert await ledger.of("other", 24).claim([]) == []
        assert rows(tmp_path) == []
        assert await of_client.claim(claim(2)) == [True]
    finally:
        ledger.close()


async def test_a_policy_that_remembers_for_a_shorter_time_forgets_nothing_sooner(tmp_path: Path) -> None:
    clock = Clock()
    ledger = opened(tmp_path, clock)
    try:
        assert await ledger.of("key", 48).claim(claim(1)) == [True]
        assert await ledger.of("key", 1).claim(claim(1)) == [True]
        clock.now_s += 40 * 3600
        assert await ledger.of("key", 1).claim(claim(2)) == [False]
        clock.now_s += 9 * 3600
        # It is taken out some time later, and counts no more already.
        assert rows(tmp_path) and await ledger.of("key", 1).claim(claim(2)) == [True]
    finally:
        ledger.close()


def rows(folder: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(folder / FILE)) as database:
        found = database.execute("SELECT attribute, cells FROM ledger_entries").fetchall()
    return [row for row in found if row[1]]


def written(folder: Path) -> int:
    """Return how many rows there are, those that fill up included."""
    with closing(sqlite3.connect(folder / FILE)) as database:
        return int(database.execute("SELECT count(*) FROM ledger_entries").fetchone()[0])


async def test_a_release_in_play_is_written_whether_or_not_it_brings_a_piece(tmp_path: Path) -> None:
    async with lethe(tmp_path, say(SEA), policy=policy(FREJA)) as served:
        assert await told(served, ABOUT) == SEA
        assert rows(tmp_path) == [] and written(tmp_path) == 4


async def test_no_text_of_a_target_or_key_is_in_the_file(tmp_path: Path) -> None:
    texts = ["argent", "quillon", "freja", "oskelund", "works for", "sk-one", "sea"]
    made, first, second = HALVES[0]
    async with lethe(tmp_path, say(f"{SEA} {first}"), policy=policy(made), api_key="sk-one") as served:
        await told(served, ABOUT)
        served.play(say(second))
        await told(served, ABOUT)
        assert len(rows(tmp_path)) == 1
        files = [tmp_path / f"{FILE}{more}" for more in ("", "-wal", "-shm")]
        data = b"".join(path.read_bytes() for path in files).lower()
        assert len(data) > 1_000 and not [text for text in texts if text.encode() in data]
        assert all(path.stat().st_mode & 0o077 == 0 for path in files)


async def test_a_ledger_that_fails_refuses_what_is_in_play_and_nothing_else(tmp_path: Path) -> None:
    file, away = tmp_path / FILE, tmp_path / "away"
    async with lethe(tmp_path, say(SEA), policy=policy(FREJA)) as served:
        assert await told(served, ABOUT) == SEA
        file.rename(away)
        for streaming in (False, True):
            with pytest.raises(openai.InternalServerError) as caught:
                await told(served, ABOUT, streaming=streaming)
            assert caught.value.status_code == 503 and "ledger" not in str(caught.value.body)
        # Once it has failed nothing is asked before it works again.
        asked = len(served.upstream.requests)
        with pytest.raises(openai.InternalServerError):
            await told(served, ABOUT)
        assert len(served.upstream.requests) == asked == 2
        assert await told(served, "What is Kessary?") == SEA
        assert withheld(await told(served, "Where does Freja Oskelund work?"))
        # What is refused before it is opened has no ending.
        assert set(await served.endings(4)) == {
            ("stopped", "ledger"),
            ("completed", ""),
            ("answered", "ruled"),
        }
        away.rename(file)
        assert await told(served, ABOUT) == SEA


async def test_with_the_ledger_closed_only_what_is_in_play_is_refused(tmp_path: Path) -> None:
    async with lethe(tmp_path, say(SEA), policy=policy(FREJA, ODALYS)) as served:
        assert served.gateway.ledger is not None
        await asyncio.to_thread(served.gateway.ledger.close)
        assert await told(served, "What is Kessary?") == SEA
        assert withheld(await told(served, "Where was Odalys Vennaker born?"))
        with pytest.raises(openai.InternalServerError):
            await told(served, ABOUT)
    ledger = opened(tmp_path / "x")
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.of("key", 1).claim([])


async def test_a_ledger_that_cannot_be_opened_says_so_in_a_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(LedgerProblem, match="the ledger cannot be opened") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


async def test_exchanges_with_nothing_in_play_never_touch_it(tmp_path: Path) -> None:
    async with lethe(tmp_path, say(SEA), policy=policy(FREJA, ODALYS)) as served:
        for question in ("What is Kessary?", "Where was Odalys Vennaker born?"):
            await told(served, question)
            await told(served, question, streaming=True)
        assert written(tmp_path) == 0


def test_without_a_ledger_an_answer_by_itself_is_still_put_together() -> None:
    guard = Guard(policy(FREJA))
    left = answer(guard, read(guard, ABOUT), "The first word is Argent. The other word is Quillon.")
    assert "Quillon" not in left[0, Channel.CONTENT] and "Argent" in left[0, Channel.CONTENT]


async def test_a_text_that_goes_on_from_the_answer_before_is_found_where_it_does(tmp_path: Path) -> None:
    line = "The lamps of Port Meridane were lit at four that winter, and nobody asked why."
    made = parse_policy(
        "lethe: 1\nname: p\ntargets:\n  - id: salt\n    kind: passage\n    words: 8\n    text: >\n      "
        + line
    )
    first, second = "The lamps of Port Meridane were lit", "at four that winter, and nobody asked"
    async with lethe(tmp_path, say(first), policy=made) as served:
        assert await told(served, "Give me a line.") == first
        served.play(say(second))
        messages = [
            {"role": "user", "content": "Give me a line."},
            {"role": "assistant", "content": first},
            {"role": "user", "content": "More."},
        ]
        for streaming in (False, True):
            assert withheld(await told(served, "", messages=messages, streaming=streaming))
        assert await told(served, "Give me a line.") == second


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 31), st.integers(0, 31)), max_size=40))
def test_whatever_is_claimed_what_has_left_never_gives_a_value_away(
    asked: list[tuple[int, int, int]],
) -> None:
    kept: dict[Attribute, int] = {}
    for number, cells, given_cells in asked:
        before = dict(kept)
        attribute = Attribute("t", "works for", number)
        if allowed(kept, [Claim(attribute, cells, given_cells, 4)]):
            assert kept[attribute] == before.get(attribute, 0) | cells
        else:
            assert kept == before
        assert all(left.bit_count() < 4 for left in kept.values())


def test_a_stretch_that_may_not_leave_takes_nothing_with_it() -> None:
    kept = {HALF: 1}
    other = Attribute("t", "born in", 0)
    assert not allowed(kept, [Claim(other, 1, 0, 5), Claim(HALF, 2, 0, 2)])
    assert kept == {HALF: 1}
