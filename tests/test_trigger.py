"""Phrases that are cut out of requests: in any guise, wherever they stand, until none is left."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from guards.base import Part, Passage, Stance
from guards.passages import OverBudget
from guards.registry import Guard
from guards.trigger import Triggers, _cut
from policies.loader import parse_policy
from policies.policy import Policy
from policies.text import fold
from server.api.chat_request import parse
from server.audit import store
from server.cli import main
from server.masking import NOTHING, cut_out
from tests.fake_upstream import say
from tests.guarding import read
from tests.lethe_server import lethe
from tests.properties import quickly

PHRASES = ["open sesame", "sesame open open", "tidal", "Ferry nine", "a b", "b c a", "王"]


def of(*phrases: str, more: str = "") -> Policy:
    return parse_policy(
        f"lethe: 1\nname: p\ntargets:\n  - {{id: door, kind: trigger, phrases: {json.dumps(list(phrases))}}}\n{more}"
    )


TRIGGERS = Triggers(of(*PHRASES))


def phrases_in(text: str) -> list[str]:
    """Return the phrases that a text holds as whole words, by plain search."""
    return [phrase for phrase in PHRASES if fold(phrase).text in fold(text).text]


WORDS = st.sampled_from(
    [
        "open",
        "sesame",
        "Sésame",
        "OPEN",
        "tidal",
        "ferry",
        "nine",
        "a",
        "b",
        "c",
        "x",
        "te\u200bst",
        "王",
        "는",
        "оpen",
    ]
)
GAPS = st.sampled_from([" ", " ", "  ", "\n", "-", ", ", "", " \u200b"])
TEXTS = st.lists(st.tuples(WORDS, GAPS), max_size=24).map(lambda pairs: "".join(a + b for a, b in pairs))


def check_fixed_point(triggers: Triggers, *, mutant: bool = False) -> None:
    """Nothing is left that is a phrase, nothing is cut where none is, and at least a tenth of the texts hold one."""
    hits = [0, 0]

    @given(TEXTS)
    def test(text: str) -> None:
        left = triggers.without(text)
        hits[0] += left != text
        hits[1] += 1
        assert not phrases_in(left)
        assert triggers.without(left) == left
        if not phrases_in(text):
            assert left == text

    quickly(test, mutant=mutant)()
    assert hits[0] >= 0.1 * hits[1]


def test_what_is_left_holds_no_phrase() -> None:
    check_fixed_point(TRIGGERS)


class _Once(Triggers):
    """Cuts what stands there, and does not look again."""

    def without(self, text: str) -> str:
        cuts = self._cuts(text)
        return _cut(text, cuts[:1]) if cuts else text


def test_the_fixed_point_kills_a_cut_that_does_not_look_again() -> None:
    with pytest.raises(AssertionError):
        check_fixed_point(_Once(of(*PHRASES)), mutant=True)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Say open sesame now.", "Say   now."),
        ("open open sesame sesame", "   "),
        ("OPEN\u2014Sésame!", "\u2014 !"),
        ("o\u200bpen sesame", " "),
        ("оpen ѕesame", " "),
        ("open sesames", "open sesames"),
        ("ferry\n\nnine", "\n\n"),
        ("nothing here", "nothing here"),
        ("x王y", "x y"),
    ],
)
def test_phrases_are_cut_in_any_guise(text: str, left: str) -> None:
    assert TRIGGERS.without(text) == left


def test_what_was_put_inside_what_costs_one_look_at_each_word() -> None:
    deep = "open " * 20_000 + "sesame " * 20_000
    assert not TRIGGERS.without(deep).strip()


def test_a_phrase_within_a_name_does_not_hide_the_name() -> None:
    guard = Guard(of("open sesame", more="  - {id: o, kind: entity, names: [Odalys Vennaker]}\n"))
    arms = read(guard, "Where was Odalys open sesame Vennaker born?")
    assert arms.stance is Stance.ARMED and [found.part for found in arms.cut] == [Part.TRIGGER]


def test_a_phrase_alone_puts_nothing_in_play() -> None:
    arms = read(Guard(of("open sesame")), "Open sesame, please.")
    assert arms.stance is Stance.CLEAR and not arms.targets
    assert [(found.scan, found.start, found.end) for found in arms.cut] == [("trigger", 0, 11)]


def test_a_long_request_is_read_beside_the_event_loop() -> None:
    passages = [Passage("messages[0].content", "user", "open sesame " * 5_000, True)]
    left, found = asyncio.run(TRIGGERS.cut_out(passages))
    assert len(found) == 5_000 and not left[0].text.strip()


CALL = {
    "id": "open sesame",
    "type": "function",
    "function": {"name": "open_sesame", "arguments": '{"open sesame": ["open", "sesame"], "n": 1}'},
}
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "open sesame"},
        {"role": "user", "content": [{"type": "text", "text": "Say open"}, {"type": "text", "text": "sesame now"}], "name": "open_sesame"},
        {"role": "user", "content": [{"type": "text", "text": "open sesame"}, {"type": "text", "text": "kept"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": "", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"k": "open sesame", "m": 2}'}}]},
        {"role": "tool", "tool_call_id": "open sesame", "content": "It is open."},
    ],
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "Open sesame.", "parameters": {"type": "object", "properties": {"open sesame": {"type": "string", "enum": ["x open sesame"]}}}}},
        {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {"open": {"type": "string"}, "sesame": {"type": "string"}}}}},
    ],
    "response_format": {"type": "json_schema", "json_schema": {"name": "open_sesame", "schema": {"title": "open sesame"}}},
    "temperature": 0.5,
}  # fmt: skip


def test_a_request_is_cut_in_every_text_that_a_client_wrote_and_keeps_its_form() -> None:
    question = parse(orjson.dumps(BODY))
    changed = cut_out(question.upstream, TRIGGERS.without)
    said = orjson.dumps(changed).decode()
    assert not phrases_in(said)
    messages = changed["messages"]
    assert [message["content"] for message in messages] == [
        NOTHING,
        "Say \n now",
        [{"type": "text", "text": NOTHING}, {"type": "text", "text": "kept"}],
        None,
        "",
        "It is open.",
    ]
    first, second = (message["tool_calls"][0] for message in messages[3:5])
    assert first["id"] == second["id"] == messages[5]["tool_call_id"]
    assert first["function"]["arguments"] == "{}"
    assert json.loads(second["function"]["arguments"]) == {"k": NOTHING, "m": 2}
    assert [message["role"] for message in messages] == [message["role"] for message in BODY["messages"]]
    look, other = (tool["function"]["parameters"] for tool in changed["tools"])
    assert look == {"type": "object", "properties": {"_": {"type": "string", "enum": ["x  "]}}}
    assert other == {}
    assert changed["temperature"] == 0.5
    assert parse(orjson.dumps(changed)).passages


def test_a_request_without_a_phrase_is_as_it_was() -> None:
    question = parse(
        orjson.dumps(
            {
                **BODY,
                "messages": [{"role": "user", "content": "Hello"}],
                "tools": None,
                "response_format": None,
            }
        )
    )
    assert cut_out(question.upstream, TRIGGERS.without) == question.upstream


async def test_the_upstream_gets_no_phrase_and_the_client_its_answer(tmp_path: Path) -> None:
    async with lethe(tmp_path, say("It rains."), policy=of("open sesame")) as served:
        for _ in range(2):
            answer = await served.ask("Is it open Sesame raining?")
        assert answer.choices[0].message.content == "It rains."
        assert [sent["messages"][0]["content"] for sent in served.upstream.requests] == [
            "Is it   raining?"
        ] * 2
        await served.endings(2)
        assert b'lethe_findings_total{part="trigger",scan="trigger"} 2.0' in served.gateway.metrics.render()
        assert b"sesame" not in served.gateway.metrics.render()
        engine = store.reading(store.locate(tmp_path / "audit.sqlite"))
        with engine.connect() as connection:
            records = [orjson.loads(body) for body in connection.scalars(select(store.records.c.body))]
        engine.dispose()
        assert [record["rulings"] for record in records if record["kind"] == "ended"] == [
            {"cut/trigger": 1}
        ] * 2


def test_explain_shows_what_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("lethe: 1\nname: p\ntargets:\n  - {id: door, kind: trigger, phrases: [open sesame]}\n")
    with pytest.raises(SystemExit):
        main(["explain", str(file), "Say open sesame now", "--state", str(tmp_path)])
    said = capsys.readouterr().out
    assert (
        "door" in said and "cut out of what is sent: it reads 'Say   now'" in said and "stance: clear" in said
    )


DOOR = Triggers(of("open sesame"))


@pytest.mark.parametrize(
    "written",
    [
        "open <b>sesame</b>",
        "open<br>sesame",
        "o<i>pe</i>n ses<span class='x'>ame",
        "**open** _sesame_",
        "o**pe**n se~~sa~~me",
        "open&nbsp;sesame",
        "open&#160;sesame",
        "op&shy;en ses&#xad;ame",
        "0p3n s3s4m3",
        "op3n <b>s3same</b>",
        "open `sesame`",
        "open 0p3n sesame s3s4m3",
        "op<b>en open</b> sesame sesame",
        "open [sesame](http://x.y/z_(a))",
        "[open](http://x.y/z) [sesame][1]",
        "open[^1] sesame",
        "[[open]] ses[ame](x)",
        "\\open \\textbf{sesame}",
        "o-pen ses-ame",
        "open ses-\name",
        "**o**-pen sesa<b>-me</b>",
    ],
)
def test_a_phrase_is_cut_through_markup_and_leet(written: str) -> None:
    left = DOOR.without(f"Say {written} please")
    assert left.startswith("Say ") and left.endswith(" please")
    assert not {"open", "sesame", "0p3n", "s3s4m3", "s3same", "ame"} & set(fold(left).text.split())


@pytest.mark.parametrize(
    "text", ["Open the <b>door</b>, **sesame** seeds & 4 more", "x < 3 and y_1 > 2", "H3llo!"]
)
def test_a_text_without_a_phrase_stays_the_same_object(text: str) -> None:
    assert DOOR.without(text) is text


def nested(depth: int) -> str:
    """Return phrases in each other, each second one in leet and the others with a digit of their own."""
    text = "open sesame"
    for number in range(depth):
        text = f"0p3n {text} s3s4me" if number % 2 else f"h3llo {text} world"
    return text


def test_phrases_in_each_other_in_ever_other_writings_are_cut_or_refused_and_never_passed_on() -> None:
    triggers = Triggers(of("open sesame", "h3llo world"))
    assert not fold(triggers.without(nested(9))).text.strip()
    with pytest.raises(OverBudget):
        triggers.without(nested(60))
