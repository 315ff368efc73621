"""Commands whose options are settings, and groups that tell their commands in full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click


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
