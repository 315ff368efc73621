"""`make forgetting DATA=folder`: does it find what it must, and nothing else?  One table, one JSON object.

Without a folder, the suites run that need none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from evals import scale, suite_authors, suite_codes, suite_facts, suite_followups, suite_replay
from evals.data import DataError
from evals.report import Measure, as_object, table

Suite = Callable[[Path, Callable[[str], None]], AsyncIterator[Measure]]

SUITES: dict[str, Suite] = {
    "authors": suite_authors.fixed,
    "ordinary": suite_authors.ordinary,
    "followups": suite_followups.measure,
    "people": suite_facts.people,
    "inverse": suite_facts.inverse,
    "replay": suite_replay.measure,
    "random": suite_authors.drawn,
    "codes": suite_codes.measure,
    "scale": scale.measure,
}
WITHOUT_DATA = ("codes",)
"""Those that need no benchmark data."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites and return the exit status: 1 where a bar is missed, 2 where data is missing."""
    parser = argparse.ArgumentParser(prog="evals.forgetting", description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", help="the folder of benchmark data")
    parser.add_argument(
        "--suites",
        help=f"of {', '.join(SUITES)}; all, or without data {', '.join(WITHOUT_DATA)}, where none is named",
    )
    chosen = parser.parse_args(arguments)
    names = (SUITES if chosen.data else WITHOUT_DATA) if chosen.suites is None else chosen.suites.split(",")
    if unknown := [name for name in names if name not in SUITES]:
        parser.error(f"no suite is called {unknown[0]!r}; there are {', '.join(SUITES)}")
    if chosen.data is None and (needy := [name for name in names if name not in WITHOUT_DATA]):
        parser.error(f"the suite {needy[0]!r} needs the folder of benchmark data before --suites")
    try:
        measures = asyncio.run(_measured(chosen.data or Path(), list(names)))
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(measures))
    print(json.dumps(as_object(measures)))
    return 0 if all(each.holds for each in measures if each.bar) else 1


async def _measured(folder: Path, names: Sequence[str]) -> list[Measure]:
    began = time.monotonic()
    measures: list[Measure] = []

    def step(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    for name in names:
        measures += [each async for each in SUITES[name](folder, step)]
    return measures


if __name__ == "__main__":
    sys.exit(main())
