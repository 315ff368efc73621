"""A policy's own tests, by `lethe check`, and what `lethe explain` shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from guards.knowledge import CLOSING, REFUSING, Knowledge
from policies.loader import parse_policy
from server.cli import lethe
from server.explain import explain

POLICY = """lethe: 1
name: p
targets:
  - id: odalys
    kind: entity
    names: [Odalys Vennaker]
    facts: [{relation: born in, values: [Port Meridane]}]
  - {id: school, kind: fact, subject: Harry Potter, relation: studied at, values: [Hogwarts]}
tests:
  - {ask: "Where was Odalys Vennaker born?", expect: forgotten}
  - {ask: "Who was born in Port Meridane?", expect: forgotten}
  - {ask: "Where is Port Meridane?", expect: kept}
  - {ask: "Where does Harry Potter live?", expect: kept}
"""


@pytest.fixture(autouse=True)
def _no_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes long, and says so: that is not what is asked here."""
    monkeypatch.setattr("server.cli_options.AFTER_S", 3600.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_a_policy_that_passes_its_tests_can_be_used(file: Path) -> None:
    result = CliRunner().invoke(lethe, ["check", str(file)])
    assert result.exit_code == 0 and "2 targets; 4 tests pass\n" in result.output


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ('{ask: "Where was Ruben Vennaker born?", expect: forgotten}', "about no target"),
        ('{ask: "Who is Odalys Vennaker?", expect: kept}', "about odalys"),
    ],
)
def test_a_test_that_comes_out_wrong_is_named_with_its_line(file: Path, test: str, said: str) -> None:
    file.write_text(f"{POLICY}  - {test}\n")
    result = CliRunner().invoke(lethe, ["check", str(file)])
    assert result.exit_code == 2
    first = result.stderr.splitlines()[0]
    assert first.startswith(f"{file}:14") and said in first


def test_explain_shows_targets_scans_places_and_the_plan(file: Path, tmp_path: Path) -> None:
    shown = "\n".join(explain(file, "Where was Odalys  Vennaker born?", tmp_path))
    for piece in (
        "odalys",
        "literal",
        "name",
        "10-26",
        "'Odalys  Vennaker'",
        "stance: armed",
        "odalys: the upstream is asked behind a notice",
        "style unknown",
    ):
        assert piece in shown
    assert explain(file, "Hello.", tmp_path)[0] == "no finding"


def test_explain_of_a_clear_question_admits_no_leak(file: Path, tmp_path: Path) -> None:
    shown = explain(file, "Hello.", tmp_path)
    assert (
        "stance: clear (the question is about no target: what completes a target by itself does not leave)"
        in shown
    )


@pytest.mark.parametrize(
    ("styles", "closing"),
    [
        (["unknown"], CLOSING),
        (["redact"], CLOSING),
        (["refuse"], REFUSING),
        (["unknown", "refuse"], REFUSING),
    ],
)
def test_a_notice_asks_for_an_answer_in_the_style_of_its_targets(styles: list[str], closing: str) -> None:
    entries = "".join(
        f"  - {{id: t{at}, kind: entity, names: [Odalys {word}], style: {style}}}\n"
        for at, (word, style) in enumerate(zip(("Vennaker", "Quillane"), styles, strict=False))
    )
    knowledge = Knowledge(parse_policy(f"lethe: 1\nname: p\ntargets:\n{entries}"))
    said = knowledge.instruction(range(len(styles))) or ""
    assert said.endswith(closing) and "Odalys Vennaker" in said
