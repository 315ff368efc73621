"""The suites count rightly: bars, intervals, policies written by rule, and what is said where data is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

import guards.meaning
from evals import scale
from evals.asking import Turn, ask
from evals.authors import Author, authors, facts, policy
from evals.crowd import EXAMPLES, crowd, imagined, renamed
from evals.data import DataError, rows
from evals.encodings import Encodings
from evals.forgetting import SUITES, main
from evals.report import Measure, as_object, table
from evals.suite_followups import _without_name
from evals.typos import edited
from guards.base import Stance
from guards.encoder import HashingEncoder, Vectors
from guards.meaning import Meaning
from guards.registry import Guard
from guards.retain import Retain
from policies.calibrate import retain_sentences
from policies.known import natural_names
from policies.loader import parse_policy
from policies.policy import Policy
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


# --- meaning at scale -------------------------------------------------------------------------------------


def _asked(name: str, number: int) -> dict[str, str]:
    about = (
        "birthplace",
        "father",
        "first novel",
        "award",
        "style",
        "teacher",
        "garden",
        "ship",
        "lamp",
        "dog",
    )
    what = f"the {about[number % 10]} {number} of {name}"
    return {
        "question": f"What is {what}?",
        "answer": f"{name} never told.",
        "paraphrased_question": f"Could somebody describe {what}?",
    }


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "tofu").mkdir()
    listed = [_asked(name, number) for name in natural_names(14, 5) for number in range(20)]
    for file, some in (("forget", listed[:40]), ("retain", listed[40:]), ("retain_paraphrases", listed[40:])):
        text = "\n".join(map(json.dumps, some))
        (folder / "tofu" / f"{file}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bench(benchmark: Path) -> scale.Bench:
    encoder = HashingEncoder()
    corpus = Retain.load(encoder, None, retain_sentences()[:520])
    return scale.Bench(benchmark, encoder, corpus, lambda what: None)


def test_a_larger_crowd_begins_with_the_smaller_one_and_is_nobody() -> None:
    few, many = crowd(40), crowd(90)
    assert list(many[:40]) == list(few)
    assert len({each.name for each in many}) == 90
    assert all(len(set(each.like)) == EXAMPLES for each in many)


def test_imagined_authors_are_as_alike_as_made_up_ones_and_all_different() -> None:
    people = crowd(200)
    vectors = HashingEncoder().encode([text for each in people for text in each.like])
    nobodies, made = imagined(people, vectors, 100)
    assert len(nobodies) == 100 and made.shape == (500, vectors.shape[1])
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-5)
    assert len(np.unique(made.round(4), axis=0)) == 500

    def within(rows: Vectors) -> float:
        grouped = rows.reshape(-1, EXAMPLES, rows.shape[1])
        return float(np.mean([(each @ each.T).mean() for each in grouped]))

    assert within(made) == pytest.approx(within(vectors), abs=0.1)


def test_a_harder_crowd_is_asked_what_the_benchmarks_authors_are_asked(bench: scale.Bench) -> None:
    asked = {row["question"].replace(each.name, "?") for each in bench._everyone for row in each.given}
    names = [each.name for each in bench._everyone]
    for nobody in renamed(bench._everyone, 30):
        assert {text.replace(nobody.name, "?") for text in nobody.like} <= asked
        assert not any(name in text for name in names for text in nobody.like)


def test_points_count_what_was_asked_and_more_targets_are_no_easier(bench: scale.Bench) -> None:
    few, many = bench.among(10, 2), bench.among(60, 2)
    assert few.asked == many.asked == 2 * 10 * 15 * 2
    assert few.kept == many.kept == 2 * 4 * 20 * 2
    assert few.plain >= many.plain and few.shipped <= few.asked
    table = scale.table([few, many])
    assert table.count("\n") == 3 and "| 60 |" in table
    assert "largest cosine" in scale.picture([few, many])


def test_leaving_out_the_crowd_that_no_text_is_near_to_changes_no_score(
    bench: scale.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few sentences stand beside few near examples, so that part of the crowd is near to none.
    for module in (scale, guards.meaning):
        monkeypatch.setattr(module, "SHORTLIST", 5)
    bench._gather(150)
    own = bench._everyone[:10]
    like = [[row["question"] for row in each.given] for each in own]
    mine = np.stack([bench._rows(texts) for texts in like])
    asked = bench._rows([row["question"] for each in bench._everyone for row in each.rows[::3]])
    near = bench._meaning(own, like, mine, bench._vectors, asked)
    everybody = [
        *(scale._target(f"own-{at}", texts, "entity") for at, texts in enumerate(like)),
        *(scale._target(f"made-up-{at}", each.like, "topic") for at, each in enumerate(bench._people)),
    ]
    whole = Meaning.build(Policy("all", "0" * 64, tuple(everybody)), HashingEncoder(), bench._retain)
    assert whole is not None and len(near._policy.targets) < len(everybody)
    for vector in asked[::9]:
        one, other = near.margins(vector), whole.margins(vector)
        assert [margin for _, margin in one] == pytest.approx([margin for _, margin in other], abs=1e-4)


def test_texts_that_were_encoded_before_are_read_and_not_encoded(tmp_path: Path) -> None:
    class Once(HashingEncoder):
        seen = 0

        def encode_alike(self, texts: Sequence[str]) -> Vectors:
            self.seen += len(texts)
            return self.encode(texts)

    encoder = Once()
    said: list[str] = []
    for _ in range(2):
        vectors = Encodings(encoder, tmp_path, said.append).encode(["one", "two"])  # type: ignore[arg-type]
        np.testing.assert_array_equal(vectors, encoder.encode(["one", "two"]))
    assert encoder.seen == 2
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"cut short")
    Encodings(encoder, tmp_path, said.append).encode(["one", "two"])  # type: ignore[arg-type]
    assert encoder.seen == 4


@pytest.mark.parametrize(
    ("option", "given"),
    [("--targets", ""), ("--targets", "5"), ("--targets", "ten"), ("--draws", "0"), ("--encoded", "20")],
)
def test_a_number_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, given: str
) -> None:
    with pytest.raises(SystemExit) as left:
        scale.main([str(tmp_path), option, given])
    assert left.value.code == 2 and f"{option}: " in capsys.readouterr().err
