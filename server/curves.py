"""Lines in a picture: SVG that is readable on light and on dark pages, made by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 }
.grid { stroke: #8c959f; stroke-opacity: .3 } .line { fill: none; stroke-width: 2 }
.a { stroke: #2f6feb } .b { stroke: #8c959f } .c { stroke: #bf5700 } .d { stroke: #1a7f37 }
.dot.a { fill: #2f6feb } .dot.b { fill: #8c959f } .dot.c { fill: #bf5700 } .dot.d { fill: #1a7f37 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .a { stroke: #58a6ff } .dot.a { fill: #58a6ff }
.c { stroke: #ffa657 } .dot.c { fill: #ffa657 } .d { stroke: #56d364 } .dot.d { fill: #56d364 } }
"""
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 860, 400, 60, 52, 560, 340
_KINDS = "abcd"


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points (x, y), and the one point that is marked on it, if any.

    x > 0, on a logarithmic axis; y in [0, 1].
    """

    name: str
    points: Sequence[tuple[float, float]]
    mark: tuple[float, float] | None = None


def draw(title: str, curves: Sequence[Curve], axes: tuple[str, str], *, percent: bool = False) -> str:
    """Return the SVG of the curves, each with its name beside it; of four curves at most.

    axes: what x and y are.  percent: whether x is a share, to be shown in percent.
    """
    if len(curves) > len(_KINDS):
        raise ValueError(f"{len(curves)} curves; {len(_KINDS)} can be told apart")
    every = [point for curve in curves for point in (*curve.points, *([curve.mark] if curve.mark else []))]
    lowest = math.floor(math.log10(min((x for x, _ in every), default=1.0)) + 1e-9)
    highest = max(math.ceil(math.log10(max((x for x, _ in every), default=1.0)) - 1e-9), lowest + 1)
    scale = _Scale(lowest, highest)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="10" y="20">{escape(title)}</text>',
        *_grid(scale, axes, percent),
    ]
    for number, (kind, curve) in enumerate(zip(_KINDS, curves, strict=False)):
        lines += _drawn(curve, kind, number, scale)
    return "\n".join([*lines, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Scale:
    """From x and y to places in the picture."""

    lowest: int
    highest: int
    """Powers of ten at both ends of the axis."""

    def x(self, value: float) -> float:
        along = (math.log10(value) - self.lowest) / (self.highest - self.lowest)
        return _LEFT + along * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        return _BOTTOM - value * (_BOTTOM - _TOP)


def _grid(scale: _Scale, axes: tuple[str, str], percent: bool) -> Iterator[str]:
    for power in range(scale.lowest, scale.highest + 1):
        x = scale.x(10.0**power)
        shown = f"{100 * 10.0**power:.10g} %" if percent else f"{10.0**power:,.10g}"
        yield f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_BOTTOM}"/>'
        yield f'<text x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{shown}</text>'
    for fifth in range(6):
        y = scale.y(fifth / 5)
        yield f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{20 * fifth} %</text>'
    middle = (_LEFT + _RIGHT) / 2
    yield f'<text x="{middle}" y="{_BOTTOM + 40}" text-anchor="middle">{escape(axes[0])}</text>'
    yield f'<text x="{_LEFT}" y="{_TOP - 6}" text-anchor="end">{escape(axes[1])}</text>'


def _drawn(curve: Curve, kind: str, number: int, scale: _Scale) -> Iterator[str]:
    places = [(scale.x(x), scale.y(y)) for x, y in curve.points]
    along = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline class="line {kind}" points="{along}"/>'
    dots = places if curve.mark is None else [(scale.x(curve.mark[0]), scale.y(curve.mark[1]))]
    for x, y in dots:
        yield f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    y = _TOP + 20 + 24 * number
    yield f'<line class="line {kind}" x1="{_RIGHT + 16}" y1="{y - 4}" x2="{_RIGHT + 40}" y2="{y - 4}"/>'
    yield f'<text x="{_RIGHT + 46}" y="{y}">{escape(curve.name)}</text>'
