"""`lethe demo --once`: what it says before it begins, and what it calls its runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.demo import tour
from server.demo.proof import Run
from server.demo.stack import StartFailed

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_proof_says_how_long_it_takes_before_it_does_anything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StartFailed):
        tour._prove(True, "http://127.0.0.1:1/v1")
    out, err = capsys.readouterr()
    said = "3 runs of 600 questions, each asked alone and through Lethe, streamed and not: "
    assert (out, err) == ("", f"{said}about ten minutes of processor time.\n")


def test_the_runs_are_called_as_in_the_readme() -> None:
    names = [name for name, _, _ in tour.RUNS]
    table = README.partition("<!-- proof: begin -->")[2].partition("<!-- proof: end -->")[0]
    rows = [line.split("|")[1].strip() for line in table.strip().splitlines()[2:]]
    assert list(tour.SAID) == names and list(tour.SAID.values()) == rows
    shown = tour._lines({name: Run(forget=3, raw_leaked=3) for name in names})
    for line, row in zip(shown[1:], rows, strict=True):
        assert line.startswith(row) and line.removeprefix(row).split()[:2] == ["3", "3"]
