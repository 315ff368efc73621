"""Benchmark data from a folder of the user's: JSON objects, one a line.  None of it comes with Lethe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class DataError(Exception):
    """The folder does not hold what a suite needs; the message says what, and where it was looked for."""


def rows(folder: Path, name: str) -> list[Any]:
    """Return the rows of `name` under `folder`.  Raises DataError where it is missing or no JSON lines."""
    file = folder / name
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        why = (error.strerror or "it cannot be read").lower()
        raise DataError(f"{file}: {why}; name the folder that holds {name}") from None
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise DataError(f"{file}: not one JSON object a line ({error})") from None
