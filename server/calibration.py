"""What calibration measured, as lines for an operator, as an object for programs and as a picture.

No text of a target is in any of them: targets are named by their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from guards.calibration import Calibration, Figure, Near, TargetFigures
from policies.calibrate import Rate
from policies.policy import Policy
from server.curves import Curve, draw
from server.wording import counted, forgetting

_SHOWN = 20
"""Targets that the lines tell of one by one, the ones found least of all first."""


def lines(policy: Policy, found: Calibration) -> Iterator[str]:
    """Yield what to show of a calibration, widest first: the scans, the targets, what is too near."""
    yield f"policy '{policy.name}': {forgetting(len(policy.targets))}; digest {policy.digest[:12]}"
    yield from _thresholds(found)
    yield ""
    yield from _aligned(
        [("scan", "on", "k of n", "95 % interval", "promised", ""), *map(_row, found.figures)]
    )
    yield ""
    yield from _targets(found)
    near = [(each, some) for each in found.targets for some in each.near]
    if near:
        yield ""
        yield "near to what must stay:"
    for each, some in near[: 3 * _SHOWN]:
        yield f"  {each.id}: {_near(some)}"
    if len(near) > 3 * _SHOWN:
        yield f"  and {counted(len(near) - 3 * _SHOWN, 'more case')}; --json has them all"
    for problem in found.problems:
        yield f"to mend: {problem}"


def as_object(policy: Policy, found: Calibration) -> dict[str, Any]:
    """Return a calibration for a program."""
    return {
        "policy": policy.name,
        "digest": policy.digest,
        "retain_fpr": policy.retain_fpr,
        "thresholds": {scan: list(ends) for scan, ends in found.thresholds.items()},
        "figures": [
            {
                "scan": each.scan,
                "on": each.on,
                **_rate(each.rate),
                "promised": each.promised,
                "broken": each.broken,
            }
            for each in found.figures
        ],
        "targets": [
            {
                "id": each.id,
                "recall": {on: _rate(rate) for on, rate in each.recall.items()},
                "false_positives": {on: _rate(rate) for on, rate in each.false_positives.items()},
                "near": [
                    {"what": some.what, "which": some.which, "touched": some.touched, "of": some.of,
                     "margin": some.margin}
                    for some in each.near
                ],
            }
            for each in found.targets
        ],
        "trades": [{"name": each.name, "points": each.points, "at": each.at} for each in found.trades],
        "problems": found.problems,
    }  # fmt: skip


def picture(found: Calibration) -> str:
    """Return recall against false positives of each scan as SVG; the dot is where its threshold is."""
    curves = [Curve(each.name, each.points, each.at) for each in found.trades]
    axes = "share of what must pass that is touched", "found"
    return draw("Recall against false positives; the dot is the threshold", curves, axes, percent=True)


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "hits": rate.hits,
        "trials": rate.trials,
        "interval": list(rate.interval) if rate.trials else None,
    }


def _thresholds(found: Calibration) -> Iterator[str]:
    units = {"meaning": "standard deviations above ordinary sentences", "misspelt names": "log odds"}
    for scan, (low, high) in found.thresholds.items():
        ends = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        yield f"threshold of {scan}: {ends} ({units[scan]})"


def _row(figure: Figure) -> tuple[str, ...]:
    promised, verdict = "", ""
    if figure.promised is not None:
        promised = f"≤ {_percent(figure.promised)}"
        # A share above what was promised may be chance; an interval above it is none.
        kept = figure.rate.share <= figure.promised
        verdict = "BROKEN" if figure.broken else "held" if kept else "above, perhaps by chance"
    return figure.scan, figure.on, _of(figure.rate), _interval(figure.rate), promised, verdict


def _targets(found: Calibration) -> Iterator[str]:
    told = [each for each in found.targets if each.recall or any(map(_hits, each.false_positives.values()))]
    listed = sorted(told, key=_least)
    columns = list(dict.fromkeys(on for each in listed for on in each.recall))
    if not columns:
        yield "no target has anything whose recall can be measured: names of five letters, or `like`"
        return
    rows = [("target", *columns, "false positives")]
    for each in listed[:_SHOWN]:
        cells = (_cell(each.recall[on]) if on in each.recall else "" for on in columns)
        rows.append((each.id, *cells, _wrong(each.false_positives)))
    yield from _aligned(rows)
    if len(listed) > _SHOWN:
        yield f"and {counted(len(listed) - _SHOWN, 'more target')}, found no less often; --json has them all"


def _least(target: TargetFigures) -> float:
    return min((rate.share for rate in target.recall.values() if rate.trials), default=2.0)


def _hits(rate: Rate) -> int:
    return rate.hits


def _wrong(rates: dict[str, Rate]) -> str:
    return ", ".join(f"{on} {_of(rate)}" for on, rate in rates.items() if rate.hits) or "none"


def _near(near: Near) -> str:
    match near.what:
        case "cut":
            return f"is cut out of {near.which!r}"
        case "sentence" if near.margin is None:
            said = "is armed by" if near.touched else "is put in play by"
            return f"{said} {near.which!r}"
        case "sentence":
            where = "above" if near.touched else "below"
            said = "fires on" if near.touched else "nearly fires on"
            return f"{said} {near.which!r} ({abs(near.margin or 0.0):.2f} {where} its threshold)"
        case "target":
            return f"takes {near.touched} of {near.of} examples of {near.which} for its own"
        case _:
            return f"fires on {near.touched} of {near.of} texts that {near.which} says must pass"


def _cell(rate: Rate) -> str:
    return f"{_of(rate)} ({_interval(rate)})" if rate.trials else "nothing to measure"


def _of(rate: Rate) -> str:
    return f"{rate.hits} of {rate.trials}"


def _interval(rate: Rate) -> str:
    low, high = rate.interval
    return f"{_percent(low)} to {_percent(high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %"


def _aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
