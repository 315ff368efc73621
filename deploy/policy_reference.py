"""Writes the reference in docs/policy.md from the policy's own schema: `python -m deploy.policy_reference`.

What stands there of a key is what an editor shows of it; a test holds the file to the schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.page import between
from policies.document import KINDS
from policies.schema import schema

FILE = Path(__file__).resolve().parent.parent / "docs" / "policy.md"
BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"
SECTIONS = {
    "": "The file",
    "Defaults": "defaults",
    "EntityTarget": "targets, kind: entity",
    "FactTarget": "targets, kind: fact",
    "TopicTarget": "targets, kind: topic",
    "PatternTarget": "targets, kind: pattern",
    "PassageTarget": "targets, kind: passage",
    "SecretTarget": "targets, kind: secret",
    "TriggerTarget": "targets, kind: trigger",
    "FactEntry": "facts of an entity",
    "Expectation": "tests",
}
"""The models of the schema, in the order of the page, with their headings."""
COMMON = ("id", "kind", "style", "context", "disclose_upstream", "clause", "effective", "ticket")
"""Keys of every target, in one table of their own."""
_USUAL = ("style", "context", "disclose_upstream")
"""Keys of a target that stand in `defaults` too."""


def reference() -> str:
    """Return the tables of all keys, as Markdown."""
    whole = schema()
    models: dict[str, Any] = {"": whole, **whole["$defs"]}
    lines: list[str] = []
    for name, heading in SECTIONS.items():
        model = models[name]
        keys = list(model["properties"])
        if heading.startswith("targets"):
            if name == "EntityTarget":
                lines += [
                    "### targets, every kind",
                    "",
                    *_table(model, [key for key in COMMON if key in keys]),
                ]
            keys = [key for key in keys if key not in COMMON]
        lines += [f"### {heading}", "", model["description"], "", *_table(model, keys)]
    return "\n".join(lines).strip()


def _table(model: Mapping[str, Any], keys: list[str]) -> Iterator[str]:
    yield "| key | takes | where it is left out | what it is for |"
    yield "|---|---|---|---|"
    for key in keys:
        field = model["properties"][key]
        takes = _alternatives(KINDS) if key == "kind" else _takes(field)
        said = "Which of the kinds below the target is." if key == "kind" else field["description"]
        left_out = "it is needed" if key in model.get("required", ()) else _left_out(key, field)
        yield f"| `{key}` | {takes} | {left_out} | {_shown(said, field)} |"
    yield ""


def _takes(field: Mapping[str, Any]) -> str:
    field = next((each for each in field.get("anyOf", ()) if each.get("type") != "null"), field)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return _alternatives(field["enum"])
    if field.get("type") == "array":
        least = f", at least {_COUNTED[field['minItems']]}" if field.get("minItems") else ""
        return f"a list of {'texts' if 'type' in field['items'] else 'entries'}{least}"
    if "$ref" in field:
        return "keys and values"
    return {"number": "a number", "integer": "a whole number"}.get(str(field.get("type")), "a text")


def _alternatives(values: Iterable[str]) -> str:
    *others, last = (f"`{value}`" for value in values)
    return f"{', '.join(others)} or {last}" if others else last


def _values(field: Mapping[str, Any]) -> list[str]:
    """Return the words that a key takes, where it takes some words only."""
    each = [field, *field.get("anyOf", ())]
    consts = [part["const"] for part in each if "const" in part]
    return [str(value) for value in (*consts, *(value for part in each for value in part.get("enum", ())))]


_COUNTED = {1: "one", 3: "three"}


def _left_out(key: str, field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if key in _USUAL and default is None:
        return "as in `defaults`"
    return "nothing" if default in (None, [], {}) or "$ref" in field else f"`{default}`"


def _shown(said: str, field: Mapping[str, Any]) -> str:
    examples = "".join(f" Such as: `{_yaml(example)}`" for example in field.get("examples", ()))
    for value in _values(field):
        said = said.replace(f"{value}: ", f"`{value}`: ", 1)
    return f"{said}{examples}".replace("|", "\\|")  # a bar would end the cell


def _yaml(example: object) -> str:
    if isinstance(example, list):
        return f"[{', '.join(_yaml(each) for each in example)}]"
    text = str(example)
    if "\\" in text:
        return f"'{text}'"
    return f'"{text}"' if re.search(r"[{}?:,\[\]]", text) else text


def written(page: str) -> str:
    """Return `page` with the reference between its marks."""
    return between(page, BEGIN, END, reference())


if __name__ == "__main__":
    FILE.write_text(written(FILE.read_text(encoding="utf-8")), encoding="utf-8")
