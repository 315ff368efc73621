"""Reads a Dockerfile into its stages: as much of the language as ours uses, and an error for the rest."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_KNOWN = frozenset(
    "ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK RUN STOPSIGNAL USER VOLUME WORKDIR".split()
)


class DockerfileError(ValueError):
    """The file holds what this reader does not know, so that a check of it would check something else."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction, in one line."""

    word: str
    text: str
    """What follows the word, as it is written."""


@dataclass(slots=True)
class Stage:
    """One stage: what it begins with, and its steps in order."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def last(self, word: str) -> str:
        """Return the text of the last step with this word.  Raises DockerfileError where there is none."""
        for step in reversed(self.steps):
            if step.word == word:
                return step.text
        raise DockerfileError(f"the stage {self.name} has no {word}")


def read(text: str, arguments: Mapping[str, str]) -> list[Stage]:
    """Return the stages of a Dockerfile; `arguments` are what `--build-arg` would give.

    Raises DockerfileError.
    """
    stages: list[Stage] = []
    defaults: dict[str, str] = {}
    for step in _steps(text):
        if step.word == "FROM":
            base, _, name = expand(step.text, defaults).partition(" AS ")
            stages.append(Stage(base.strip(), name.strip() or "final"))
        elif stages:
            stages[-1].steps.append(step)
        elif step.word == "ARG":
            name, _, value = step.text.partition("=")
            defaults[name] = arguments.get(name, value)
        else:
            raise DockerfileError(f"{step.word} before the first FROM")
    return stages


def _steps(text: str) -> Iterator[Step]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            if word not in _KNOWN:
                raise DockerfileError(f"{word}: not known to this reader")
            yield Step(word, rest.strip())


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with `$NAME` and `${NAME}` replaced, as the engine does outside of RUN."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def assignments(text: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what `ENV` sets."""
    pairs = (word.partition("=") for word in shlex.split(text))
    return {name: expand(value, variables) for name, _, value in pairs}


def words(text: str) -> list[str]:
    """Return a command in its JSON form, the only one that ours has.  Raises DockerfileError."""
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        raise DockerfileError(f"{text}: not in JSON form") from None
    return [str(word) for word in parsed]
