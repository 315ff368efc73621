"""pydantic's errors in the words of this format: what is wrong, and what would be valid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from policies.clashes import Clash, Path
from policies.document import KINDS, Defaults, Expectation, FactEntry, PolicyDocument

_VALID: Final = {
    "lethe": "the version of this format, lethe: 1",
    "name": "what the policy is called, such as authors",
    "defaults": "a mapping of style, disclosure, retain_fpr, context, disclose_upstream, remember_hours, "
    "together",
    "retain_fpr": "a number above 0 and up to 0.05, such as 0.002",
    "remember_hours": "a whole number from 1 to 8760, such as 24",
    "together": "a whole number from 2 to 16, such as 3",
    "targets": "a list of targets, each with id and kind",
    "tests": "a list of tests, each {ask: a question, expect: forgotten or kept}",
    "id": "a name of your own for the target, such as odalys",
    "kind": "one of entity, fact, topic, pattern, passage, secret, trigger",
    "names": "a list of names, such as [Odalys Vennaker, O. Vennaker]",
    "facts": "a list of facts, each {relation: born in, values: [Port Meridane]}",
    "relation": "what the fact is about, such as born in",
    "values": "a list of values, such as [Port Meridane]",
    "subject": "the name of whom the fact is about",
    "ask": "a question; in a fact a list of them, in which {name} stands for the name",
    "expect": "one of forgotten, kept",
    "like": "a list of sentences that must be caught",
    "unlike": "a list of sentences that must pass",
    "keep": "a list of sentences that stay",
    "regex": "a regular expression in single quotes",
    "check": "luhn, or no check at all",
    "text": "the text that must not be repeated, or 'file' with the name of the file it is in",
    "file": "the name of a text file, as seen from the policy's folder",
    "words": "a whole number from 4 to 64, such as 8",
    "length": "how many letters and digits the value has, as `lethe secret` writes it",
    "key": "what the key is called, as `lethe secret` writes it",
    "digests": "a list of digests, as `lethe secret` writes it",
    "phrases": "a list of phrases, such as [tidal ferry nine]",
    "clause": "a sentence for the upstream",
    "ticket": "where the request is filed, such as ER-101",
    "effective": "next, or now to stop answers under way",
}  # fmt: skip


_KIND_CLOSE = 0.7
"""How alike a kind must be to be suggested, of 1: 'person' is like 'pattern' by its letters alone."""
_KINDS_MEANT: Final = {
    **dict.fromkeys(("person", "people", "organisation", "organization", "company", "name"), "entity"),
    **dict.fromkeys(("association", "attribute", "value"), "fact"),
    **dict.fromkeys(("subject", "theme"), "topic"),
    **dict.fromkeys(("regex", "regexp"), "pattern"),
    **dict.fromkeys(("text", "book", "quote", "document"), "passage"),
    **dict.fromkeys(("token", "password", "key"), "secret"),
    **dict.fromkeys(("phrase", "backdoor"), "trigger"),
}
"""What others call a kind."""


def complaints(error: ValidationError, at: Path = ()) -> Iterator[Clash]:
    """Yield pydantic's findings, each at its place in the file.

    at: the place of what was validated, `("targets", 2)` for a target, nothing for the whole.
    """
    for each in error.errors(include_url=False):
        loc = each["loc"]
        # The tag of a target's kind is part of pydantic's path and not of the file's.
        kind = str(loc[0]) if at and loc else None
        yield from _complaint(each, (*at, *loc[1:]) if kind else (*at, *loc), kind)


def _complaint(error: ErrorDetails, path: Path, kind: str | None) -> Iterator[Clash]:
    context = error.get("ctx", {})
    match error["type"]:
        case "flaw":
            yield Clash((*path, *context["at"]), f"{context['wrong']}; {context['valid']}")
        case "extra_forbidden":
            yield Clash(path, _unknown_key(str(path[-1]), path, kind))
        case "missing":
            yield Clash(path, f"is missing; {_valid(path)}")
        case "union_tag_not_found":
            yield Clash((*path, "kind"), f"is missing; {_VALID['kind']}")
        case "union_tag_invalid":
            tag = str(context["tag"])
            meant = _KINDS_MEANT.get(tag.casefold())
            said = f"did you mean {meant!r}? " if meant else _meant(tag, KINDS, _KIND_CLOSE)
            yield Clash((*path, "kind"), f"is no kind of target; {said}{_VALID['kind']}")
        case "literal_error":
            choices = [each.strip("'") for each in context["expected"].replace(" or ", ", ").split(", ")]
            given = error["input"] if isinstance(error["input"], str) else ""
            one_of = _valid(path) if len(choices) == 1 else f"one of {', '.join(choices)}"
            yield Clash(path, f"is not taken here; {_meant(given, choices)}{one_of}")
        case "too_short":
            # pydantic counts valid entries alone; where invalid ones make up the number, they are the point.
            least, found = context["min_length"], len(error["input"])
            if found < least:
                entries = "1 entry" if found == 1 else f"{found} entries"
                yield Clash(path, f"has {entries}; at least {least}: {_valid(path)}")
        case _:
            yield Clash(path, f"{_shape(error)}; {_valid(path)}")


def _shape(error: ErrorDetails) -> str:
    given: Any = error["input"]
    if given is None:
        return "is empty, or the word null without quotes"
    if isinstance(given, str):
        return "is out of range" if error["type"] in _OUT_OF_RANGE else "is a text"
    return "is a list" if isinstance(given, list) else "is a mapping (quote a text that holds ': ')"


def _valid(path: Path) -> str:
    """Return what the field at `path` takes: that of the innermost named field."""
    if path[:1] == ("tests",) and path[-1] == "ask":
        return "a question, such as Where was Odalys Vennaker born?"
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    valid = _VALID.get(name, "see the documentation")
    return f"one text of: {valid}" if path and isinstance(path[-1], int) and name in _OF_TEXTS else valid


_OF_TEXTS = frozenset(("names", "values", "ask", "like", "unlike", "keep", "digests", "phrases"))
_OUT_OF_RANGE = frozenset(("greater_than", "greater_than_equal", "less_than_equal"))


def _unknown_key(key: str, path: Path, kind: str | None) -> str:
    model = _model(path, kind)
    takes = f"{'kind ' + kind if kind and len(path) == 3 else 'it'} takes {', '.join(model.model_fields)}"
    others = [name for name, other in KINDS.items() if key in other.model_fields]
    if kind and len(path) == 3 and others:
        return f"is no key of kind {kind}, but of {' and '.join(others)}; {takes}"
    if key == "<<":
        return f"is a merge key, which a policy does not take; {takes}"
    return f"is no key here; {_meant(key, model.model_fields)}{takes}"


def _model(path: Path, kind: str | None) -> type[BaseModel]:
    """Return the model of the mapping that holds the last part of `path`."""
    if len(path) == 1:
        return PolicyDocument
    if path[0] == "targets":
        return FactEntry if "facts" in path[2:-1] else KINDS[str(kind)]
    return Defaults if path[0] == "defaults" else Expectation


def _meant(given: str, choices: Iterable[str], least: float = 0.6) -> str:
    close: Sequence[str] = get_close_matches(given.lower(), list(choices), 1, least)
    return f"did you mean {close[0]!r}? " if close else ""
