"""Runs a Dockerfile's steps without a container engine, in folders that stand for the image's root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click

from deploy.dockerfile import Stage, assignments

CONTEXT = Path(__file__).resolve().parent.parent
_PATHS = re.compile(r"(?<![\w.}$/-])/(?:opt|src|var/lib/lethe)(?![\w.-])")
"""What of the image's root is made here; a step that writes elsewhere fails, or is skipped by name."""
_SKIPPED = ("useradd", "groupadd", "apt-get")
_SHOWN_CHARS = 100
_TAIL_CHARS = 4000


class ImageError(RuntimeError):
    """The image cannot be made, or is not as it should be."""


@dataclass
class Builder:
    """Runs stages, one after the other, each in an empty root.

    The root of the stage at hand is always the same folder, so that paths which a step writes into files (the
    first lines of scripts) hold for as long as the stage does; a finished stage is moved aside.
    """

    folder: Path
    python: Path
    """Stands for the Python of every base image."""
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """What the stage at hand has said with ENV and ARG, as it is here."""

    def __post_init__(self) -> None:
        self.root = self.folder / "root"
        self._base = self.folder / "base"
        self._base.mkdir()
        (self._base / "python").symlink_to(self.python)
        self._directory = self.root

    def build(self, stage: Stage) -> None:
        """Run a stage; its root stays where it is until `finish`.  Raises ImageError."""
        self.root.mkdir()
        self._directory = self.root
        self.environment = {"PATH": f"{self._base}:/usr/local/bin:/usr/bin:/bin"}
        steps: dict[str, Callable[[str], None]] = {
            "ARG": self._argue, "ENV": self._set, "WORKDIR": self._go, "COPY": self._copy, "RUN": self._run
        }  # fmt: skip
        click.echo(f"stage {stage.name}, from {stage.base}")
        for step in stage.steps:
            text = step.text if len(step.text) <= _SHOWN_CHARS else f"{step.text[:_SHOWN_CHARS]}…"
            click.echo(f"  {step.word} {text}")
            if step.word in steps:  # the others say how the image is run
                steps[step.word](step.text)

    def finish(self, stage: Stage) -> None:
        """Move a stage aside, for the next ones to copy from."""
        self._stages.mkdir(exist_ok=True)
        self.root.rename(self._stages / stage.name)

    def mapped(self, text: str) -> str:
        """Return `text` with the image's paths as they are here."""
        return _PATHS.sub(lambda found: f"{self.root}{found[0]}", text)

    @property
    def _stages(self) -> Path:
        return self.folder / "stages"

    def _argue(self, text: str) -> None:
        name, _, default = text.partition("=")
        self.environment[name] = self.arguments.get(name, default)

    def _set(self, text: str) -> None:
        for name, value in assignments(text, self.environment).items():
            self.environment[name] = self.mapped(value)

    def _go(self, text: str) -> None:
        self._directory = Path(self.mapped(text))
        self._directory.mkdir(parents=True, exist_ok=True)

    def _copy(self, text: str) -> None:
        *sources, target = text.split()
        stage = sources.pop(0).removeprefix("--from=") if sources[0].startswith("--from=") else None
        to = Path(self.mapped(target)) if target.startswith("/") else self._directory / target
        for source in sources:
            if stage is not None:
                _take(self._stages / stage / source.lstrip("/"), to)
            elif _in_context(source):
                _take(CONTEXT / source, to, shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                raise ImageError(f"COPY {source}: .dockerignore leaves it out")

    def _run(self, text: str) -> None:
        if text.startswith(_SKIPPED):
            click.echo("    skipped: it would change this machine")
            return
        # Where packages come from is the machine's business, as it is an engine's.
        passed = {
            name: value
            for name, value in os.environ.items()
            if name.startswith("PIP_") or name.lower().endswith("_proxy")
        }
        done = subprocess.run(
            ["/bin/sh", "-c", self.mapped(text)],
            cwd=self._directory,
            env={**passed, "HOME": str(self.folder), **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ImageError(f"a step ended with status {done.returncode}:\n{done.stdout[-_TAIL_CHARS:]}")


def _in_context(source: str) -> bool:
    lines = (CONTEXT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return lines[0] == "*" and f"!{source}" in lines


def _take(source: Path, to: Path, left_out: Callable[..., set[str]] | None = None) -> None:
    if source.is_dir():
        shutil.copytree(source, to, symlinks=True, ignore=left_out, dirs_exist_ok=True)
        return
    target = to / source.name if to.is_dir() else to
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
