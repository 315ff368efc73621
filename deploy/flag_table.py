"""Writes the table of refused flags in docs/vllm.md: `python -m deploy.flag_table`.

A test holds the page to the code.
"""

from __future__ import annotations

from pathlib import Path

from deploy.page import between
from server.vllm_flags import REFUSED

FILE = Path(__file__).resolve().parent.parent / "docs" / "vllm.md"
BEGIN, END = "<!-- flags: begin -->", "<!-- flags: end -->"


def table() -> str:
    """Return the refused flags by their reason, as Markdown."""
    by_reason: dict[str, list[str]] = {}
    for flag, reason in REFUSED.items():
        by_reason.setdefault(reason, []).append(f"`{flag}`")
    rows = [f"| {', '.join(flags)} | {reason} |" for reason, flags in by_reason.items()]
    return "\n".join(["| flag | why |", "|---|---|", *rows])


def written(page: str) -> str:
    """Return `page` with the table between its marks."""
    return between(page, BEGIN, END, table())


if __name__ == "__main__":
    FILE.write_text(written(FILE.read_text(encoding="utf-8")), encoding="utf-8")
