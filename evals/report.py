"""What was measured: counts beside their bars, with intervals; a table for people and JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policies.calibrate import interval


@dataclass(frozen=True, slots=True)
class Measure:
    """So many of so many, and what is asked of them."""

    suite: str
    claim: str
    hits: int
    trials: int
    least: float | None = None
    """The share that `hits` must reach at least; or None."""
    most: float | None = None
    """The share that `hits` may reach at most; or None."""

    @property
    def share(self) -> float:
        """Hits of trials, in [0, 1]; 0 where nothing was tried."""
        return self.hits / self.trials if self.trials else 0.0

    @property
    def holds(self) -> bool:
        """Whether the bar is met; nothing tried meets no bar."""
        if not self.trials:
            return False
        return (self.least is None or self.share >= self.least - 1e-12) and (
            self.most is None or self.share <= self.most + 1e-12
        )

    @property
    def bar(self) -> str:
        """The bar in words; empty where there is none."""
        if self.least is not None:
            return f"≥ {_percent(self.least)}"
        return "" if self.most is None else f"≤ {_percent(self.most)}"


def table(measures: Sequence[Measure]) -> str:
    """Return the measures as a Markdown table with Clopper-Pearson intervals of 95 %."""
    lines = ["| suite | claim | k of n | 95 % interval | bar | |", "|---|---|---|---|---|---|"]
    for each in measures:
        low, high = interval(each.hits, each.trials) if each.trials else (0.0, 1.0)
        verdict = "" if not each.bar else "held" if each.holds else "MISSED"
        cells = [
            each.suite,
            each.claim,
            f"{each.hits} of {each.trials}",
            f"{_percent(low)} to {_percent(high)}",
            each.bar,
            verdict,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_object(measures: Sequence[Measure]) -> dict[str, dict[str, object]]:
    """Return the measures for a program, by `suite: claim`."""
    return {
        f"{each.suite}: {each.claim}": {
            "hits": each.hits,
            "trials": each.trials,
            "interval": list(interval(each.hits, each.trials)) if each.trials else None,
            "least": each.least,
            "most": each.most,
            "holds": each.holds if each.bar else None,
        }
        for each in measures
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %"
