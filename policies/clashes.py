"""What is wrong between two places of a policy that are each right by themselves.

Works on the file's plain data before it is known to be valid, so that an author sees these problems
together with all others; what has the wrong shape is somebody else's problem and is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from policies.relations import folded
from policies.sealing import KEY, KeyProblem, Sealer

Path = tuple[str | int, ...]
Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Clash:
    """A place, and what is wrong there."""

    path: Path
    message: str


def clashes(data: Data) -> Iterator[Clash]:
    """Yield every clash of a policy file's data."""
    targets = list(_mappings(data.get("targets")))
    yield from _same_id(targets)
    yield from _no_clause(targets, data.get("defaults"))
    yield from _contradictions(list(_mappings(data.get("tests"))))


def _mappings(data: object) -> Iterator[tuple[int, Data]]:
    for index, each in enumerate(data if isinstance(data, list) else ()):
        if isinstance(each, dict):
            yield index, each


def _same_id(targets: list[tuple[int, Data]]) -> Iterator[Clash]:
    first: dict[str, int] = {}
    for index, target in targets:
        name = target.get("id")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield Clash(("targets", index, "id"), f"is the id of targets[{first[name]}] too; ids differ")


def _no_clause(targets: list[tuple[int, Data]], defaults: object) -> Iterator[Clash]:
    usual = defaults.get("disclose_upstream") if isinstance(defaults, dict) else None
    for index, target in targets:
        told = target.get("disclose_upstream") or usual
        tells = told == "clause" and target.get("kind") in ("entity", "fact", "topic")
        if tells and target.get("clause") is None:
            message = "has no 'clause' to disclose; add one, or disclose_upstream: name"
            yield Clash(("targets", index), message)


def sealed_otherwise(data: Data) -> Iterator[Clash]:
    """Yield a clash for each secret that was not hashed by the key of this environment.

    Under another key its digests would match nothing, and it would pass.
    """
    secrets = [pair for pair in _mappings(data.get("targets")) if pair[1].get("kind") == "secret"]
    if not secrets:
        return
    try:
        known = Sealer.of_environment().key_id
    except KeyProblem as problem:
        yield Clash(("targets", secrets[0][0]), f"{problem}; the key under which `lethe secret` wrote it")
        return
    for index, target in secrets:
        if target.get("key") != known:
            message = f"names another key than {KEY} holds; set that one, or write it anew by `lethe secret`"
            yield Clash(("targets", index, "key"), message)


def _contradictions(tests: list[tuple[int, Data]]) -> Iterator[Clash]:
    first: dict[str, tuple[int, object]] = {}
    for index, test in tests:
        ask, expect = test.get("ask"), test.get("expect")
        if not isinstance(ask, str) or not isinstance(expect, str):
            continue
        before, expected = first.setdefault(folded(ask), (index, expect))
        if expected != expect:
            message = f"contradicts tests[{before}], which expects {expected!r} of the same; keep one"
            yield Clash(("tests", index, "expect"), message)
