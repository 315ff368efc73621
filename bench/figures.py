"""From measurements to figures: medians over rounds, ratios within a round, the table and the JSON."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.canned import EVENTS
from bench.load import Load, percentile

Setting = tuple[int, bool]
"""Connections, and whether the answer is streamed."""

BASE = "passthrough"
_MOST_WITHHELD = 0.005
"""Share of the questions to a policy with meaning that may be touched by mistake: it is allowed 0.002 of its
own corpus."""
_HEAD = "| | requests/s | of passthrough | events/s | p50 | p99 | first byte p50 | p99 | processor | failed |"


@dataclass
class Row:
    """What was measured of one gateway, by setting, one entry a round."""

    name: str
    loads: dict[Setting, list[Load]] = field(default_factory=dict)
    cpu_ms: dict[Setting, list[float]] = field(default_factory=dict)
    """Processor time of the gateway for an exchange."""
    notes: dict[str, Any] = field(default_factory=dict)

    def all_loads(self) -> Iterator[Load]:
        """Yield every measurement."""
        return itertools.chain.from_iterable(self.loads.values())

    def failures(self) -> dict[str, int]:
        """Return the counts of failed exchanges by reason."""
        counts: dict[str, int] = {}
        for load in self.all_loads():
            for reason, count in load.failures.items():
                counts[reason] = counts.get(reason, 0) + count
        return counts

    def valid(self) -> bool:
        """Whether nothing failed; where meaning is matched, a few questions may be touched by mistake."""
        failed = self.failures()
        asked = sum(load.exchanges for load in self.all_loads())
        if self.name.startswith("meaning") and failed.get("withheld", 0) <= _MOST_WITHHELD * asked:
            failed.pop("withheld", None)
        return not failed and all(load.exchanges for load in self.all_loads())


_TIMES = "p50_ms", "p99_ms", "first_p50_ms", "first_p99_ms", "cpu_ms"
_FIGURES: dict[str, Callable[[Load], float]] = {
    "requests_s": lambda load: load.rate,
    "p50_ms": lambda load: percentile(load.latencies, 0.5) * 1e3,
    "p99_ms": lambda load: percentile(load.latencies, 0.99) * 1e3,
    "first_p50_ms": lambda load: percentile(load.first_bytes, 0.5) * 1e3,
    "first_p99_ms": lambda load: percentile(load.first_bytes, 0.99) * 1e3,
}


def by_round(row: Row, setting: Setting) -> dict[str, list[float]]:
    """Return every figure of a row in a setting, one value a round."""
    figures = {name: [of(load) for load in row.loads[setting]] for name, of in _FIGURES.items()}
    return {**figures, "cpu_ms": row.cpu_ms[setting]}


def ratios(row: Row, base: Row, setting: Setting) -> dict[str, list[float]]:
    """Return every figure as a multiple of the base's in the same round, one value a round."""
    own, of = by_round(row, setting), by_round(base, setting)
    return {
        name: [value / other if other else math.nan for value, other in zip(own[name], of[name], strict=True)]
        for name in own
    }


def summary(row: Row, base: Row | None) -> dict[str, Any]:
    """Return what there is to say of a row: figures by setting, and ratios with their ranges over rounds.

    `events_s` counts the upstream's events that the gateway carried, `events_out` what a client gets of an
    answer: Lethe joins the events of a sentence.
    """
    said: dict[str, Any] = {"valid": row.valid(), "failures": row.failures(), **row.notes}
    for setting, loads in row.loads.items():
        figures = {name: statistics.median(each) for name, each in by_round(row, setting).items()}
        if setting[1]:
            figures["events_s"] = figures["requests_s"] * EVENTS
            figures["events_out"] = sum(each.events for each in loads) / max(
                1, sum(e.exchanges for e in loads)
            )
        shown: dict[str, Any] = {name: rounded(value) for name, value in figures.items()}
        for name, each in {} if base is None else ratios(row, base, setting).items():
            shown[f"{name}_ratio"] = rounded(statistics.median(each))
            shown[f"{name}_ratio_range"] = [rounded(min(each)), rounded(max(each))]
        said[key(setting)] = shown
    return said


def rounded(value: float) -> float | None:
    """Return four significant digits; None for what could not be measured, which JSON has no number for."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def key(setting: Setting) -> str:
    """Return what a setting is called in JSON."""
    return f"{setting[0]}_{'streamed' if setting[1] else 'whole'}"


def title(setting: Setting) -> str:
    """Return what a setting is called in a table."""
    many = "1 connection" if setting[0] == 1 else f"{setting[0]} connections"
    return f"{many}, {'streamed' if setting[1] else 'not streamed'}"


def table(summaries: Mapping[str, dict[str, Any]], settings: Sequence[Setting]) -> Iterator[str]:
    """Yield the lines of a Markdown table of summaries by row, a block for each setting."""
    yield _HEAD
    yield "|---" + "|--:" * 9 + "|"
    for setting in settings:
        yield f"| **{title(setting)}** |{' |' * 9}"
        for name, said in summaries.items():
            shown = said[key(setting)]
            cells = [
                _number(shown["requests_s"]), _with_range(shown, "requests_s"),
                _number(shown["events_s"]) if setting[1] else "–",
                *(_ms(shown[each]) for each in _TIMES),
                str(sum(said["failures"].values())),
            ]  # fmt: skip
            yield f"| {name} | {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f} ms" if value < 100 else f"{value:,.0f} ms"


def _with_range(shown: dict[str, Any], name: str) -> str:
    if shown.get(f"{name}_ratio") is None:
        return "–"
    low, high = shown[f"{name}_ratio_range"]
    return f"{shown[f'{name}_ratio']:.2f} ({low:.2f}–{high:.2f})"
