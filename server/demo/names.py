"""Names of people who do not exist, for teaching the demo model to say that it does not know them."""

from __future__ import annotations

import random

from server.demo.questions import People, read_yaml


def invented_name(source: random.Random, people: People) -> str:
    """A full name that nobody in people.yaml has; often sharing a first name or surname with somebody."""
    taken = {person.name for person in people.people}
    while True:
        name = f"{_first(source, people)} {_last(source, people)}"
        if source.random() < 0.06:
            name += f"-{_last(source, people)}"
        if name not in taken:
            return name


def _first(source: random.Random, people: People) -> str:
    draw = source.random()
    if draw < 0.3:
        return source.choice(people.people).name.split(" ")[0]
    return _part(source, "first") if draw < 0.55 else _made_up(source)


def _last(source: random.Random, people: People) -> str:
    draw = source.random()
    if draw < 0.3:
        return source.choice(people.people).surname
    return _part(source, "last") if draw < 0.55 else _made_up(source)


def _made_up(source: random.Random) -> str:
    middle = "".join(_part(source, "middles") for _ in range(source.choice((0, 1, 1, 2))))
    return _part(source, "starts") + middle + _part(source, "ends")


def _part(source: random.Random, kind: str) -> str:
    return str(source.choice(read_yaml("names.yaml")[kind]))
