"""The command line.

Every command imports what it needs when it runs, so that `lethe --help` is quick.  Whatever goes wrong is
said in lines of plain words on stderr: exit status 2 where the input is at fault, 1 otherwise.  A traceback
is shown only with `LETHE_TRACEBACK=1`, since it may quote a policy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.cli_calibrate import calibrate
from server.cli_check import check
from server.cli_options import ENCODER, STATE, FromSettings, Whole, compiling, flag, progress, usable_state
from server.wording import counted

if TYPE_CHECKING:
    from pydantic import ValidationError


_FILE = click.Path(path_type=Path)


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        version.callback()  # type: ignore[misc]
        ctx.exit()


@click.group(cls=Whole, context_settings={"max_content_width": 110})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
              help="Print the version and leave.")  # fmt: skip
def lethe() -> None:
    """Make a language model answer as if it had never known what a policy says to forget."""


@lethe.command(cls=FromSettings)
def serve(**given: Any) -> None:
    """Serve the API in front of an upstream.

    The upstream is a server that is there already (--upstream URL), a vLLM that Lethe starts, watches and
    ends (--vllm MODEL -- VLLM-FLAGS), or the small model that Lethe ships (--upstream demo).
    """
    from policies.loader import load_policy
    from server.settings import DEMO, Settings
    from server.start import serve as serve_until_stopped

    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    usable_state(settings.state)
    if settings.encoder is not None:
        _require_encoder(settings.state, settings.encoder)
    if settings.upstream == DEMO:
        _require_demo()
    if settings.upstream == DEMO or settings.vllm is not None:
        # A model takes a while to start, which would be in vain under a policy that cannot be used.
        load_policy(settings.policy)
    _announce_export(settings.policy, settings.state)
    sys.exit(serve_until_stopped(settings))


def _require_encoder(state: Path, encoder: str) -> None:
    """Leave with a sentence where an encoder can neither be loaded nor, by all that is seen, exported."""
    from guards.base import EncoderUnavailable
    from guards.encoder import require_obtainable

    try:
        require_obtainable(state, encoder)
    except EncoderUnavailable as error:
        raise click.ClickException(f"--encoder: {error}") from None


def _require_demo() -> None:
    """Leave with a sentence where what the demo's model needs is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]:
        raise click.ClickException(
            f"the demo's model needs {', '.join(missing)}: pip install 'lethe-gateway[demo]'; "
            "the container image leaves the demo out"
        )


def _announce_export(policy: Path, state: Path) -> None:
    """Say why a first start takes a minute: the process that exports the encoder says nothing itself."""
    from guards.exports import ANNOUNCEMENT, is_first

    with suppress(OSError):
        if is_first(state) and b"like" in policy.read_bytes():
            click.echo(f"lethe: {ANNOUNCEMENT}", err=True)


lethe.add_command(check)


@lethe.command()
@click.argument("file", type=_FILE)
@click.argument("prompt")
@STATE
@ENCODER
def explain(file: Path, prompt: str, state: Path | None, encoder: str | None) -> None:
    """Show what a prompt arms: targets, scans, places and scores, and the plan that follows.

    Where a pattern matches in the prompt, it shows as well what an answer with the same words would become.
    """
    with progress() as tell:
        tell("reading the policy")
        from server.explain import explain as explained

        lines = explained(file, prompt, usable_state(state), encoder, compiling(tell))
    for line in lines:
        click.echo(line)


lethe.add_command(calibrate)


@lethe.command()
@STATE
@ENCODER
def prepare(state: Path | None, encoder: str | None) -> None:
    """Export the encoder now, so that the first start need not.

    Encodes the sentences that must pass as well. Whatever serves with the folder later needs neither torch
    nor sentence-transformers: images are built with this.
    """
    with progress() as tell:
        tell("loading the encoder")
        from guards.encoder import load_encoder
        from guards.retain import Retain

        folder = usable_state(state)
        loaded = load_encoder(folder, encoder)
        tell("encoding the sentences that must pass")
        Retain.load(loaded, folder)
    click.echo(f"{folder}: the encoder is ready")


@lethe.command()
@click.argument("name", metavar="ID")
@click.option(
    "--into",
    type=_FILE,
    metavar="POLICY",
    help="Write the entry into this policy file; without it, on stdout.",
)
@click.option("--weak", is_flag=True, help="Take a value that can be guessed, such as a PIN or a date.")
def secret(name: str, into: Path | None, weak: bool) -> None:
    """Write a policy's entry for a secret value, which is read from stdin and kept nowhere.

    On a terminal the value is asked for and not shown. The entry holds hashes of it under the key in the
    environment variable LETHE_SECRET_KEY, which `lethe serve` and `lethe check` need as well; `openssl rand
    -hex 32` makes one.
    """
    from server.sealed_entry import add_to, entry

    made = entry(name, _value(), weak=weak)
    if into is None:
        click.echo(made.text(), nl=False)
    else:
        add_to(into, made)
        click.echo(f"{into}: {name} is in it")
    left_out = f"; {made.ordinary} that stand in ordinary sentences are left out" if made.ordinary else ""
    click.echo(f"lethe: {counted(made.hashed, 'run')} of letters and digits hashed{left_out}", err=True)


def _value() -> str:
    """Return a secret value from stdin, without the end of its last line."""
    import getpass

    from server.sealed_entry import MAX_BYTES

    if sys.stdin.isatty():
        value = getpass.getpass("Value (not shown): ", sys.stderr)
        if value != getpass.getpass("Once more: ", sys.stderr):
            raise click.ClickException("the two are not the same")
        return value
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise click.ClickException(f"the value is longer than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.ClickException("the value is no UTF-8") from None


@lethe.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    import orjson

    from policies.schema import schema as policy_schema

    click.echo(orjson.dumps(policy_schema(), option=orjson.OPT_INDENT_2))


@lethe.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8001, show_default=True, type=click.IntRange(0, 65535))
@click.option("--ignore-system", is_flag=True, help="Be a model that does not heed system messages.")
def model(host: str, port: int, ignore_system: bool) -> None:
    """Serve the small demo model, without a gateway in front."""
    _require_demo()
    from server.serving import listen, url_of

    with listen(host, port) as listening:
        click.echo("lethe: loading the demo model", err=True)
        os.environ["TQDM_DISABLE"] = "1"  # before its libraries are imported
        from server.demo.upstream import serve_model

        where = f"lethe: the demo model is at {url_of(listening)}/v1"
        serve_model(listening, ignore_system, loaded=lambda: click.echo(where, err=True))


@lethe.command()
@click.option("--once", is_flag=True, help="Ask, report and leave.")
@click.option("--json", "as_json", is_flag=True, help="Report as one JSON object.")
@click.option("--upstream", help="URL of an upstream that serves the demo model; without it, one is started.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
def demo(once: bool, as_json: bool, upstream: str | None, port: int) -> None:
    """Ask the demo model with and without Lethe, side by side."""
    if upstream is None:
        _require_demo()
    from server.demo import tour

    sys.exit(tour.main(once, as_json, upstream, port))


@lethe.group(cls=Whole)
def audit() -> None:
    """Check records."""


@audit.command("verify")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--state",
    type=_FILE,
    help="Folder with the public key; without it, FILE's own.",
)
def audit_verify(files: tuple[str, ...], state: Path | None) -> None:
    """Check audit databases, files or URLs: was a record changed, removed or cut off?"""
    from sqlalchemy.exc import ArgumentError

    from server.audit import verify
    from server.settings import state_folder

    worst = 0
    for file in files:
        beside = state_folder() if "://" in file else Path(file).parent
        _require_database(file)
        try:
            report = verify(file, state or beside)
        except (ArgumentError, ImportError):
            message = f"{file}: is no URL of a database here; such as sqlite:////var/lib/lethe/audit.sqlite"
            raise click.ClickException(message) from None
        click.echo(f"{file}: {report}")
        worst = max(worst, report.exit_code)
    sys.exit(worst)


def _require_database(file: str) -> None:
    """Leave with a sentence where `file` is a path and no audit's SQLite database is there."""
    import sqlite3
    from contextlib import closing

    if "://" in file:
        return
    path = Path(file)
    if path.is_dir():
        raise click.ClickException(f"{file}: is a folder; the database in it is audit.sqlite")
    try:
        with path.open("rb") as opened:
            is_audit = opened.read(16) == b"SQLite format 3\0"
        if is_audit:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
                tables = database.execute("SELECT name FROM sqlite_master").fetchall()
            is_audit = ("audit_records",) in tables
    except sqlite3.DatabaseError:
        return  # it is damaged or busy: the check itself says how
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    if not is_audit:
        raise click.ClickException(f"{file}: is no audit database; one is called audit.sqlite, in --state")


@lethe.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        click.echo(f"lethe {installed('lethe-gateway')}")
    except PackageNotFoundError:
        click.echo("lethe, not installed")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    try:
        status = lethe.main(arguments, prog_name="lethe", standalone_mode=False)
        sys.exit(status or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        ctx = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" (see '{ctx.command_path} --help')" if ctx else ""
        _leave(error.format_message() + hint, 2)
    except Exception as error:
        # Whatever it is, a terminal gets words and not a traceback.
        if os.environ.get("LETHE_TRACEBACK") == "1":
            raise
        _leave(*_said(error))


def _leave(text: str, status: int) -> None:
    for line in text.splitlines():
        click.echo(f"lethe: {line}", err=True)
    sys.exit(status)


def _said(error: Exception) -> tuple[str, int]:
    """Return what to say of an error that ended a command, and the exit status."""
    from pydantic import ValidationError

    from policies.problems import PolicyError

    if isinstance(error, PolicyError):
        return str(error), 2
    if isinstance(error, ValidationError):
        return "\n".join(_problems(error)), 2
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or 'failed'}", 1
    if type(error).__module__.partition(".")[0] in ("policies", "guards", "server") and str(error):
        # Our own errors are sentences for people.
        return str(error), getattr(error, "exit_code", 1)
    return "an unforeseen error; LETHE_TRACEBACK=1 shows where", 1


_FORMS = {
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "greater_than": "must be more than {gt:g}",
}


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False):
        where = flag(str(problem["loc"][0])) if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in _FORMS:
            message = _FORMS[problem["type"]].format(**problem.get("ctx", {}))
        if problem["type"] == "missing":
            message = f"is needed (or the environment variable LETHE_{str(problem['loc'][0]).upper()})"
        yield f"{where}: {message}" if where else message


if __name__ == "__main__":
    main()
