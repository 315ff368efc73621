"""A value in a heading stands over what is below it, and no further; however the answer is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest

from guards.base import Channel
from guards.headings import Headings
from guards.registry import Guard
from tests.guarding import CLEAR, answer, policy, target

GUARD = Guard(
    policy(target("works", "fact", names=["Freja Oskelund"], facts=[("works for", ["Argent Quillon"])]))
)
PLACE = (0, Channel.CONTENT)
PEOPLE = ["Tom Marsh", "Ann Lee", "Bo Ek", "Freja Oskelund"]
LIST = "\n".join(f"- {name}" for name in PEOPLE)
ROWS = "\n".join(f"| {name} | clerk |" for name in PEOPLE)
JSON = ",\n".join(f'    "{name}"' for name in PEOPLE)
PROSE = "It was founded long ago. It has a fine roof. It is by the sea."

UNDER = {
    "a line with a colon": f"Staff of Argent Quillon:\n{LIST}",
    "a blank line between": f"Staff of Argent Quillon:\n\n{LIST}",
    "every other line blank": f"Staff of Argent Quillon:\n{LIST}".replace("\n", "\n\n"),
    "a mark of rank": f"## Argent Quillon\n\n{LIST}",
    "ranks below it": f"# Argent Quillon\n\n## Staff\n\n### Second floor:\n{LIST}",
    "a heading, then sentences": f"## Argent Quillon\n\n{PROSE}\n\n{LIST}",
    "emphasis": f"**Argent Quillon**\n\n{LIST}",
    "emphasis with a colon inside": f"**Argent Quillon:**\n{LIST}",
    "emphasis over a line with a colon": f"**Argent Quillon**\n\nStaff:\n{LIST}",
    "an underline": f"Argent Quillon\n==============\n\n{LIST}",
    "lines without signs": "Staff of Argent Quillon:\n" + "\n".join(PEOPLE),
    "a caption without a colon": f"The staff of Argent Quillon\n{LIST}",
    "a table's caption": f"The staff of Argent Quillon\n\n| Name | Role |\n|---|---|\n{ROWS}",
    "a table under a heading": f"## Argent Quillon\n\n| Name | Role |\n|---|---|\n{ROWS}",
    "a table's first row": f"| Argent Quillon | Role |\n|---|---|\n{ROWS}",
    "a key of JSON": f'{{\n  "Argent Quillon": [\n{JSON}\n  ]\n}}',
    "a member of the same object": f'{{\n  "firm": "Argent Quillon",\n  "staff": [\n{JSON}\n  ]\n}}',
    "a key of YAML": f"Argent Quillon:\n  staff:\n{LIST}",
    "an outer item": "- Argent Quillon\n" + "\n".join(f"  - {name}" for name in PEOPLE),
    "HTML": "<h2>Argent Quillon</h2>\n<ul>\n" + "\n".join(f"<li>{name}</li>" for name in PEOPLE) + "\n</ul>",
    "surnames": "Staff of Argent Quillon:\n- Marsh\n- Lee\n- Ek\n- Oskelund",
    "carriage returns": f"Staff of Argent Quillon:\n{LIST}".replace("\n", "\r\n"),
}  # fmt: skip
BEYOND = {
    "the next line with a colon": f"Staff of Argent Quillon:\n- Tom Marsh\n- Ann Lee\n\nStaff of Halden Optics:\n{LIST}",
    "the next heading": f"## Argent Quillon\n\n- Tom Marsh\n- Ann Lee\n\n## Halden Optics\n\n{LIST}",
    "a heading of a higher rank": f"## Argent Quillon\n\n- Tom Marsh\n- Ann Lee\n\n# Halden Optics\n\n{LIST}",
    "two blank lines": f"Staff of Argent Quillon:\n- Tom Marsh\n- Ann Lee\n\n\n{LIST}",
    "the next key": f'{{\n  "Argent Quillon": [\n    "Tom Marsh",\n    "Ann Lee"\n  ],\n  "Halden": [\n{JSON}\n  ]\n}}',
    "another object": '[\n  {\n    "firm": "Argent Quillon",\n    "of": "Tom"\n  },\n  {\n    "of": "Freja Oskelund"\n  }\n]',
    "the next outer item": "- Argent Quillon\n  - Tom Marsh\n  - Ann Lee\n- Halden\n  - Freja Oskelund",
    "another row": "| Name | Firm |\n|---|---|\n| Tom | Argent Quillon |\n| Ann | Halden |\n| Bo | Halden |\n| Freja Oskelund | Halden |",
    "sentences": f"Argent Quillon is a firm. {PROSE} Freja Oskelund is a poet.",
}  # fmt: skip


def left(text: str, size: int) -> str:
    pieces = [(0, Channel.CONTENT, text[at : at + size]) for at in range(0, len(text), size)]
    return answer(GUARD, CLEAR, pieces=pieces)[PLACE]


@pytest.mark.parametrize("text", UNDER.values(), ids=UNDER)
def test_a_name_below_a_heading_with_its_value_does_not_leave(text: str) -> None:
    whole = left(text, len(text))
    assert "Oskelund" not in whole and "Marsh" in whole
    assert {left(text, size) for size in (1, 3, 7, 40)} == {whole}


@pytest.mark.parametrize("text", BEYOND.values(), ids=BEYOND)
def test_a_heading_reaches_no_further_than_the_next(text: str) -> None:
    assert {left(text, size) for size in (1, 3, 7, len(text))} == {text}


@pytest.mark.parametrize("text", [*UNDER.values(), *BEYOND.values()], ids=[*UNDER, *BEYOND])
def test_what_stands_over_a_text_does_not_depend_on_its_cuts(text: str) -> None:
    at = text.index("Argent Quillon") + len("Argent Quillon")
    name = max(text.find("Freja"), text.rfind("Oskelund"))
    whole = Headings()
    whole.take(text[:name], [(at, (0, 0))])
    expected = whole.take(text[name:], [])
    for size in (1, 2, 5, 11):
        cut, seen = Headings(), set()
        starts = [*range(0, name, size), *range(name, len(text), size)]
        for start, end in pairwise([*starts, len(text)]):
            inside = [(at - start, (0, 0))] if start < at <= end else []
            over = cut.take(text[start:end], inside)
            seen |= over if start >= name else set()
        assert seen == expected
