"""`lethe check`: whether a policy file can be used, and what is in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.cli_options import ENCODER, FILE, STATE, compiling, progress, usable_state
from server.wording import counted, forgetting

if TYPE_CHECKING:
    from guards.everyday import Everyday
    from policies.policy import Policy

_WARNED = 20
"""Targets that are warned of one by one."""
_DONE = {
    "trigger": "its phrases are cut out of",
    "pattern": "it matches in",
    "passage": "its words stand in",
}


@click.command()
@click.argument("file", type=FILE)
@click.option("--no-meaning", is_flag=True, help="Check the file alone: load no encoder, compile no example.")
@click.option(
    "--digest",
    "digest_alone",
    is_flag=True,
    help="Print the policy's digest and nothing else, for scripts: what /readyz shows once it is in force.",
)
@STATE
@ENCODER
def check(file: Path, no_meaning: bool, digest_alone: bool, state: Path | None, encoder: str | None) -> None:
    """Say whether a policy file can be used and passes its own tests, or what is wrong, a line each.

    Leaves with status 0 only where it can be used. Warns, on stderr, of names and phrases that are everyday
    words.
    """
    with progress() as tell:
        tell("reading the policy")
        from policies.loader import load_policy

        policy = load_policy(file)
        tests = counted(len(policy.tests), "test")
        if policy.uses_meaning and no_meaning:
            passing = f"{tests} (not run)"
        else:
            _pass_its_tests(policy, file, state, encoder, tell)
            passing = f"{tests} pass{'es' if len(policy.tests) == 1 else ''}" if policy.tests else "no tests"
    if digest_alone:
        click.echo(policy.digest)
        return
    click.echo(f"{file}: policy '{policy.name}' can be used: {forgetting(len(policy.targets))}; {passing}")
    click.echo(f"{file}: digest {policy.digest}")


def _warnings(policy: Policy, found: Sequence[Everyday]) -> Iterator[str]:
    """Yield what to say of targets that ordinary text is full of: their ids, and no word of theirs."""
    for each in sorted(found, key=lambda each: -each.sentences)[:_WARNED]:
        target = policy.targets[each.target]
        if each.what == "word":
            what = "phrases" if target.kind == "trigger" else "names"
            yield f"target '{target.id}': one of its {what} is an everyday word, found wherever that is meant"
            continue
        done = _DONE.get(target.kind, "its names stand in")
        yield f"target '{target.id}': {done} {each.sentences:,} of {each.of:,} ordinary sentences"
    if len(found) > _WARNED:
        yield f"and {counted(len(found) - _WARNED, 'more target')}"


def _pass_its_tests(
    policy: Policy, file: Path, state: Path | None, encoder: str | None, tell: Callable[[str], None]
) -> None:
    """Compile a policy whole and ask it its own questions; leave with status 2 where one comes out wrong."""
    from guards.registry import Guard
    from policies.calibrate import refuse_rate
    from server.compiling import compile_meaning
    from server.policy_tests import failed_tests, lines

    refuse_rate(policy, str(file))
    meaning = compile_meaning(policy, usable_state(state), encoder, compiling(tell))
    compiling(tell)(f"names and values of {counted(len(policy.targets), 'target')}")
    guard = Guard(policy, meaning)
    try:
        tell(f"asking its {counted(len(policy.tests), 'test')}")
        failed = failed_tests(guard, file)
        tell("looking for names and phrases that are everyday words")
        for warning in _warnings(policy, list(guard.everyday())):
            click.echo(f"{file}: warning: {warning}", err=True)
    finally:
        guard.close()
    for line in lines(failed):
        click.echo(line, err=True)
    if failed:
        sys.exit(2)
