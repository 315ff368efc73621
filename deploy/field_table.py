"""Writes docs/fields.md from the allow-list that decides: `python -m deploy.field_table`.

A test holds the page to `server/fields.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deploy.page import between
from server.fields import ANSWER, REQUEST, Field

FILE = Path(__file__).resolve().parent.parent / "docs" / "fields.md"
BEGIN, END = "<!-- fields: begin -->", "<!-- fields: end -->"
REQUESTS: Mapping[str, str] = {
    "pass": "checked and handed on as it is",
    "scan": "its text is checked, then handed on",
    "ours": "handled by Lethe",
    "drop": "ignored",
    "deny": "refused with 400",
}
"""What becomes of a request's field, in words."""
ANSWERS: Mapping[str, str] = {
    "pass": "passes, of a closed set",
    "guard": "text, checked before it leaves",
    "ours": "made by Lethe",
    "drop": "left out",
}
"""The same of an answer's."""


def tables() -> str:
    """Return the tables of all fields, as Markdown."""
    request = ["## The request", "", *_table(REQUEST, REQUESTS)]
    return "\n".join([*request, "", "## The answer", "", *_table(ANSWER, ANSWERS)])


def _table(rows: Iterable[Field], verdicts: Mapping[str, str]) -> Iterator[str]:
    yield "| field | what becomes of it | why, and within which bounds |"
    yield "|---|---|---|"
    for row in rows:
        shape = f"; {row.shape}" if row.shape is not None else ""
        yield f"| `{row.name}` | {verdicts[row.verdict]} | {row.reason}{shape} |"


def written(page: str) -> str:
    """Return `page` with the tables between its marks."""
    return between(page, BEGIN, END, tables())


if __name__ == "__main__":
    FILE.write_text(written(FILE.read_text(encoding="utf-8")), encoding="utf-8")
