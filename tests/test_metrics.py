"""Metrics: what is counted is shown, of one process and of several."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from guards.base import SCAN_NAMES, Ruling
from guards.registry import SCANS
from server.metrics import Metrics


def lines(metrics: Metrics) -> set[str]:
    return set(metrics.render().decode().splitlines())


def test_what_is_counted_is_shown() -> None:
    metrics = Metrics()
    metrics.began()
    metrics.began()
    metrics.finished()
    metrics.ended("answered", streaming=True, first_byte_s=0.02, whole_s=0.3)
    metrics.ended("failed", streaming=False, first_byte_s=None, whole_s=0.1)
    metrics.found("literal", "name", 2)
    withheld = Ruling("drop sentence", 0, "ledger", 0, "content")
    metrics.ruled([Ruling("answer", 0, "fact", 0, "content"), withheld, withheld])
    metrics.ruled([Ruling("mark", 0, "of nobody's list", 0, "content")])
    metrics.upstream_failed("upstream_timeout")
    metrics.refused(413)
    metrics.encoded(3)
    metrics.queued(4)
    metrics.judged(40, {0.05: 3, 0.01: 1})
    metrics.judged(0, {0.05: 0, 0.01: 0})
    assert lines(metrics) >= {
        "lethe_exchanges_in_flight 1.0",
        'lethe_exchanges_total{ending="answered",streaming="true"} 1.0',
        'lethe_exchanges_total{ending="failed",streaming="false"} 1.0',
        'lethe_first_byte_seconds_count{streaming="true"} 1.0',
        'lethe_exchange_seconds_count{streaming="false"} 1.0',
        'lethe_findings_total{part="name",scan="literal"} 2.0',
        'lethe_rulings_total{action="answer",scan="fact"} 1.0',
        'lethe_rulings_total{action="drop sentence",scan="ledger"} 2.0',
        'lethe_rulings_total{action="mark",scan="other"} 1.0',
        'lethe_upstream_errors_total{kind="upstream_timeout"} 1.0',
        'lethe_requests_refused_total{status="413"} 1.0',
        "lethe_encoder_texts 3.0",
        "lethe_audit_queue 4.0",
        "lethe_meaning_sentences_total 40.0",
        'lethe_meaning_high_total{expected="0.05"} 3.0',
        'lethe_meaning_high_total{expected="0.01"} 1.0',
    }
    assert 'lethe_first_byte_seconds_count{streaming="false"} 1.0' not in lines(metrics)


def test_one_policy_is_in_force_at_a_time() -> None:
    metrics = Metrics()
    metrics.in_force("d1", 3)
    metrics.in_force("d2", 5)
    assert lines(metrics) >= {
        'lethe_policy{digest="d1"} 0.0',
        'lethe_policy{digest="d2"} 1.0',
        "lethe_policy_targets 5.0",
    }


def test_the_counts_of_two_gateways_in_a_process_are_apart() -> None:
    one, other = Metrics(), Metrics()
    one.encoded(1)
    assert "lethe_encoder_texts 0.0" in lines(other)


def test_several_processes_are_shown_together(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    count = "from server.metrics import Metrics; m = Metrics(); m.encoded(2); m.in_force('d', 3)"
    root = Path(__file__).parents[1]
    for _ in range(2):
        subprocess.run([sys.executable, "-c", count], check=True, env=environment, cwd=root)
    show = "from server.metrics import Metrics; print(Metrics().render().decode())"
    shown = subprocess.run(
        [sys.executable, "-c", show], check=True, env=environment, cwd=root, capture_output=True, text=True
    ).stdout
    assert "lethe_encoder_texts 4.0" in shown.splitlines()


def test_every_scan_that_the_guards_name_is_a_label() -> None:
    """A scan that is not listed would be counted as `other`."""
    named = set(SCANS) - {"passage in lines"}  # what that finds is a finding of `passage`
    for file in (Path(__file__).parents[1] / "guards").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                said = node.args[1:2] if node.func.id in ("Finding", "Leak") else []
                said += [each.value for each in node.keywords if each.arg == "scan"]
                named |= {each.value for each in said if isinstance(each, ast.Constant)}
    assert {"trigger", "fact", "misspelt", "codec"} <= named <= SCAN_NAMES
    assert SCAN_NAMES - named == {"ledger"}, "whose name is a constant of guards/ledger.py"
