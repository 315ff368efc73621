"""What commands share: options, folders and progress; commands whose options are settings."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

AFTER_S = 2.0
"""A command that takes longer says what it is doing."""
_EVERY_S = 3.0
FILE = click.Path(path_type=Path)
STATE = click.option(
    "--state", type=FILE, envvar="LETHE_STATE", help="Folder for what is compiled. [env: LETHE_STATE]"
)
ENCODER = click.option(
    "--encoder",
    envvar="LETHE_ENCODER",
    help="Encoder for meaning, a folder or a name, as for `serve`. [env: LETHE_ENCODER]",
)


class Whole(click.Group):
    """A group whose list of commands has their first sentences uncut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, (each.help or "").partition("\n\n")[0]) for name, each in commands if each is not None]
        with formatter.section("Commands"):
            formatter.write_dl([(name, " ".join(said.split())) for name, said in rows])


class FromSettings(click.Command):
    """A command whose options are the fields of Settings, read only when they are looked at.

    What stands behind `--` is for vLLM, and looked at by nobody here.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*_options(), *super().get_params(ctx)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        flags = tuple(args[end + 1 :])
        try:
            rest = super().parse_args(ctx, args[:end])
        except click.NoSuchOption as error:
            if any(given.partition("=")[0] == "--vllm" for given in args[:end]):
                raise click.UsageError(
                    f"no option of Lethe's: {error.option_name}; flags for vLLM stand at the end, behind --",
                    ctx,
                ) from None
            raise
        if flags:
            if ctx.params.get("vllm_flags") is not None:
                raise click.UsageError("flags for vLLM stand behind -- or in --vllm-flags, not in both", ctx)
            ctx.params["vllm_flags"] = flags
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- VLLM-FLAGS...]"]


def _options() -> Iterator[click.Option]:
    from pydantic_core import PydanticUndefined

    from server.settings import Settings

    for name, field in Settings.model_fields.items():
        notes = [f"env: LETHE_{name.upper()}"]
        if field.is_required():
            notes.append("required")
        elif field.default not in (None, PydanticUndefined, "", ()):
            notes.append(f"default: {field.default}")
        help_text = f"{field.description} [{'; '.join(notes)}]"
        # Values stay text: Settings reads them as it reads the environment, with the same messages.
        yield click.Option([flag(name)], metavar=_metavar(field.annotation), help=help_text)


def flag(name: str) -> str:
    """Return the option that sets a field of Settings."""
    return f"--{name.replace('_', '-')}"


def _metavar(kind: Any) -> str:
    known = {int: "INTEGER", float: "SECONDS", bool: "true|false", Path: "PATH", Path | None: "PATH"}
    return known.get(kind, "TEXT")


def usable_state(given: Path | None) -> Path:
    """Return the state folder, which can be used, or leave with a sentence and status 2."""
    from server.settings import state_folder

    folder = given or state_folder()
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise click.ClickException(f"--state: {nearest} is a file; name a folder, which is made where needed")
    try:
        # Whether something can be written is known once it has been.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError:
        message = f"--state: nothing can be written in {folder}; name a folder of your own"
        raise click.ClickException(message) from None
    return folder


class _Stages:
    """Says what is being done, once it has taken a while; each thing once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._doing = ""
        self._over = threading.Event()
        # What takes long may be one call that says nothing itself.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def tell(self, doing: str) -> None:
        self._doing = doing

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        said, wait_s = "", AFTER_S
        while not self._over.wait(wait_s):
            doing, wait_s = self._doing, _EVERY_S
            if doing != said:
                self._say(doing)
            said = doing


def compiling(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Return what is told what of a policy is being compiled, and tells it as the server does."""
    return lambda doing: tell(f"compiling the policy: {doing}")


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Say on stderr what takes long: what is logged, such as the one export of the encoder, and stages.

    The context's value is told what is being done from now on, in words without a policy's; that is said
    where the whole takes longer than `AFTER_S`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("lethe: %(message)s"))
    log = logging.getLogger("lethe")
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    stages = _Stages(lambda doing: log.info("%s", doing))
    try:
        yield stages.tell
    finally:
        stages.stop()
        log.removeHandler(handler)
        log.level, log.propagate = before
