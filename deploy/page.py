"""Pages of the documentation of which a part is written by a program, between two marks."""

from __future__ import annotations


def between(page: str, begin: str, end: str, part: str) -> str:
    """Return `page` with `part` between the lines of its marks, in place of what stands there."""
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
