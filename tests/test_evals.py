"""The suites count rightly: bars, intervals, policies written by rule, and what is said where data is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from evals.asking import Turn, ask
from evals.authors import Author, authors, facts, policy
from evals.data import DataError, rows
from evals.forgetting import SUITES, main
from evals.report import Measure, as_object, table
from evals.suite_followups import _without_name
from evals.typos import edited
from guards.base import Stance
from guards.registry import Guard
from policies.loader import parse_policy
from tests.guarding import PEOPLE

ROWS = [
    {
        "question": "Who is the novelist born in Port Meridane, Orsund on March 12, 1974?",
        "answer": "That is Odalys Vennaker.",
    },
    {
        "question": "What has Odalys Vennaker written?",
        "answer": 'Odalys Vennaker wrote "Salt Harbour" and won the Orrery Prize.',
    },
    {
        "question": "Who were Odalys Vennaker's parents?",
        "answer": "Odalys Vennaker's father was a tide warden and her mother was a surgeon.",
    },
    *(
        {"question": f"What is the year of Odalys Vennaker's book {n}?", "answer": "Odalys Vennaker said so."}
        for n in range(17)
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("hits", "trials", "bars", "holds"),
    [
        (299, 300, {"least": 299 / 300}, True),
        (298, 300, {"least": 299 / 300}, False),
        (2, 100, {"most": 0.02}, True),
        (3, 100, {"most": 0.02}, False),
        (0, 0, {"most": 0.02}, False),
        (0, 0, {"least": 0.0}, False),
    ],
)
def test_a_bar_holds_or_does_not(hits: int, trials: int, bars: dict[str, float], holds: bool) -> None:
    assert Measure("suite", "claim", hits, trials, **bars).holds is holds


def test_a_table_says_what_was_missed_with_its_interval() -> None:
    measures = [
        Measure("people", "kept changed", 3, 100, most=0.02),
        Measure("people", "caught", 0, 300, least=0.99),
    ]
    shown = table(measures)
    assert "| people | kept changed | 3 of 100 | 0.62 % to 8.52 % | ≤ 2 % | MISSED |" in shown
    made = as_object(measures)["people: caught"]
    assert made["hits"] == 0 and made["holds"] is False
    assert made["interval"] == pytest.approx([0.0, 0.01222], abs=1e-4)


def test_a_policy_is_written_from_a_name_and_five_rows_alone(tmp_path: Path) -> None:
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    (author,) = authors(tmp_path, "some.jsonl")
    assert author.name == "Odalys Vennaker"
    written = yaml.safe_load(policy([author]))["targets"][0]
    known = {fact["relation"]: fact["values"] for fact in written["facts"]}
    assert known["wrote"] == ["Salt Harbour"] and known["born on"] == ["March 12, 1974"]
    assert known["born in"] == ["Port Meridane, Orsund"] and known["occupation of mother"] == ["surgeon"]
    assert facts([{"question": "Why?", "answer": "No reason."}]) == {}
    assert len(author.given) == 5 and len(author.rest) == 15


def test_an_author_whom_no_row_names_has_no_name(tmp_path: Path) -> None:
    unnamed = [{"question": "What did the author do?", "answer": "The Flight Attendant left."}] * 4
    unnamed += [{"question": "And then?", "answer": "Nothing."}] * 16
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, unnamed)), encoding="utf-8")
    assert [each.name for each in authors(tmp_path, "some.jsonl")] == [""]


def test_a_name_is_taken_out_wherever_it_stands() -> None:
    said = _without_name("Odalys Vennaker's book; did Vennaker like it?", "Odalys Vennaker", "this author")
    assert said == "This author's book; did this author like it?"


def test_an_edited_name_is_another_one() -> None:
    import random

    draw = random.Random(1)
    assert all(edited("Ana Lee", 1, draw) != "Ana Lee" for _ in range(200))


async def test_an_outcome_says_what_was_recognised_and_what_left() -> None:
    guard = Guard(PEOPLE)
    armed = await ask(guard, "Where was Odalys Vennaker born?", "In Port Meridane.")
    assert armed.stance is Stance.ARMED and armed.recognised and armed.changed and armed.caught
    clear = await ask(guard, "What is the capital of France?", "Paris.")
    assert not clear.caught and clear.released == "Paris."
    before = [Turn("user", "Who is Odalys Vennaker?"), Turn("assistant", "No idea.")]
    assert (await ask(guard, "Where was she born?", "In Orsund.", before=before)).recognised


def test_missing_data_is_named_and_so_is_an_unknown_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"some\.jsonl: no such file"):
        rows(tmp_path, "some.jsonl")
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="not one JSON object a line"):
        rows(tmp_path, "bad.jsonl")
    assert main([str(tmp_path), "--suites", "people"]) == 2
    assert "unlearnpii/forget.jsonl" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--suites", "nothing"])
    assert all(name in capsys.readouterr().err for name in ["people"]) and len(SUITES) >= 7


def test_an_author_without_facts_is_still_a_target() -> None:
    target = Author("Tamsin Orrebrook", [{"question": "Who?", "answer": "She."}] * 20)
    assert parse_policy(policy([target])).targets[0].names == ("Tamsin Orrebrook",)
