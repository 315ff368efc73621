"""Draws the table of `bench.overhead` as an SVG that is readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_LABELS = {
    "passthrough": "bare passthrough", "passthrough_joined": "bare, events joined",
    "no_policy": "Lethe, no target", "targets_20": "Lethe, 20 targets",
    "targets_1000": "Lethe, 1,000 targets", "meaning_1000": "Lethe, 1,000 with meaning",
    "litellm": "LiteLLM", "litellm_filter": "LiteLLM, filter", "litellm_keywords": "LiteLLM, keywords",
}  # fmt: skip
_PANELS = (
    ("Requests a second: 16 connections, streamed", "16_streamed", "requests_s", ""),
    ("Requests a second: 16 connections, not streamed", "16_whole", "requests_s", ""),
    ("Time to the first byte, median: 1 connection, streamed", "1_streamed", "first_p50_ms", " ms"),
)
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 }
.lethe { fill: #2f6feb } .other { fill: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 }
.lethe { fill: #58a6ff } .other { fill: #6e7681 } }
"""
_WIDTH, _LEFT, _BARS, _STEP, _HIGH = 760, 190, 470, 22, 15


def draw(summaries: Mapping[str, dict[str, Any]]) -> str:
    """Return the SVG of summaries by row; panels without figures are left out."""
    lines: list[str] = []
    top = 10
    for title, setting, figure, unit in _PANELS:
        values = {row: (said.get(setting) or {}).get(figure) for row, said in summaries.items()}
        known = {row: value for row, value in values.items() if value}
        if known:
            lines += _panel(title, known, unit, top)
            top += 30 + _STEP * len(known) + 14
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" role="img">'
    name = "<title>What Lethe costs beside a bare gateway and LiteLLM, one core each</title>"
    return "\n".join([svg, name, f"<style>{_STYLE}</style>", *lines, "</svg>", ""])


_BY_SIZE = (
    ("First start, without encoding", "cold_s", " s"), ("Second start", "again_s", " s"),
    ("Two workers together", "workers_mb", " MB"), ("Processor time of a request", "request_ms", " ms"),
)  # fmt: skip


def draw_by_size(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the SVG of `bench.scale`: each figure by the number of targets."""
    lines: list[str] = []
    top = 10
    for title, figure, unit in _BY_SIZE:
        lines += _panel(title, {f"{row['targets']:,} targets": row[figure] for row in rows}, unit, top)
        top += 30 + _STEP * len(rows) + 14
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" role="img">'
    name = "<title>What a policy costs by the number of its targets</title>"
    return "\n".join([svg, name, f"<style>{_STYLE}</style>", *lines, "</svg>", ""])


def _panel(title: str, values: Mapping[str, float], unit: str, top: int) -> Iterator[str]:
    yield f'<text class="title" x="10" y="{top + 14}">{escape(title)}</text>'
    largest = max(values.values())
    for number, (row, value) in enumerate(values.items()):
        y = top + 30 + number * _STEP
        long = max(1.0, value / largest * _BARS)
        kind = "other" if row.startswith(("passthrough", "litellm")) else "lethe"
        said = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
        yield f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(_LABELS.get(row, row))}</text>'
        yield f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{long:.1f}" height="{_HIGH}" rx="2"/>'
        yield f'<text x="{_LEFT + long + 6:.1f}" y="{y + 12}">{said}{unit}</text>'
