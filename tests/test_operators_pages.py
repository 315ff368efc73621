"""The pages for operators have every word that metrics and audit use, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import Metric

from guards.base import SCAN_NAMES, Action, Part, Stance, What
from guards.drift import SHARES
from server.errors import (
    GatewayError,
    ModelNotFound,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from server.exchange import Ending, Reason
from server.metrics import OTHER, Metrics, Outcome

DOCS = Path(__file__).parents[1] / "docs"
METRICS = (DOCS / "metrics.md").read_text(encoding="utf-8")
AUDIT = (DOCS / "audit.md").read_text(encoding="utf-8")
FAILURES = (UpstreamUnreachable, UpstreamTimeout, UpstreamFailed)
"""What `lethe_upstream_errors_total` counts."""


def every(kind: type[GatewayError]) -> set[type[GatewayError]]:
    """Return an error with all that are kinds of it, but for the demo's own."""
    below = {each for sub in kind.__subclasses__() for each in every(sub)}
    return {each for each in below | {kind} if not each.__module__.startswith("server.demo")}


KINDS = {each().kind for kind in FAILURES for each in every(kind)}
CODES = {each.code for kind in FAILURES for each in every(kind)}
LABELS = {
    "streaming": {"true", "false"},
    "scan": {*SCAN_NAMES, OTHER},
    "part": set(Part),
    "kind": KINDS,
    "status": {str(each.status) for each in every(GatewayError)},
    "outcome": set(get_args(Outcome)),
    "expected": {f"{share:g}" for share in SHARES},
}
WORDS = {
    "ending": set(Ending),
    "reason": {*get_args(Reason), *CODES, ModelNotFound.code} - {""},
    "stance": set(Stance),
    "plan": set(get_args(What)),
    "action": set(get_args(Action)),
}


def table(page: str, begin: str) -> list[list[str]]:
    """Return the rows of the first table behind `begin`, without its head."""
    lines = page[page.index(begin) :].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def shown() -> dict[str, tuple[Metric, tuple[str, ...]]]:
    """Return every metric of a process that watches a policy file, by the name it is exposed under."""
    metrics = Metrics()
    metrics.watch_file()
    assert metrics._file is not None
    found = {}
    for registry in (metrics._registry, metrics._file):
        for collector in registry._collector_to_names:
            (metric,) = collector.collect()
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            found[name] = metric, collector._labelnames  # type: ignore[attr-defined]
    return found


def test_the_page_has_every_metric_with_its_kind_labels_and_help() -> None:
    rows = {row[0]: row[1:] for row in table(METRICS, "## Every metric")}
    known = shown()
    assert rows.keys() == known.keys() and len(known) > 10
    for name, (kind, labels, said) in rows.items():
        metric, names = known[name]
        assert (kind, re.findall("[a-z]+", labels)) == (metric.type, list(names)), name
        assert said.startswith(metric.documentation), name


def test_every_label_has_its_values_on_the_page() -> None:
    labels = {label for _, names in shown().values() for label in names}
    assert labels == LABELS.keys() | {"ending", "action", "digest"}
    heads = re.findall(r"^### (.+)$", METRICS, re.MULTILINE)
    assert labels == {name for head in heads for name in head.split(", ")}


@pytest.mark.parametrize("label", LABELS)
def test_the_values_of_a_label_are_those_on_the_page(label: str) -> None:
    rows = [row[0] for row in table(METRICS, f"### {label}\n")]
    assert sorted(rows) == sorted(LABELS[label])


@pytest.mark.parametrize("word", WORDS)
def test_the_words_of_the_audit_are_those_on_the_page(word: str) -> None:
    rows = table(AUDIT, f"\n| {word} |")
    assert sorted(row[0] for row in rows) == sorted(WORDS[word])


def test_each_reason_is_told_with_an_ending_that_there_is() -> None:
    rows = table(AUDIT, "\n| reason |")
    assert {row[1] for row in rows} <= set(Ending)
