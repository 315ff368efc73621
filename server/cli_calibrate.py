"""`lethe calibrate`: what a policy finds and what it touches by mistake, measured before it serves."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.cli_options import ENCODER, FILE, STATE, progress, usable_state

if TYPE_CHECKING:
    from guards.calibration import Calibration
    from policies.policy import Policy


@click.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Report as one JSON object.")
@click.option(
    "--picture", type=FILE, metavar="SVG", help="Draw recall against false positives into this file."
)
@STATE
@ENCODER
def calibrate(
    file: Path, as_json: bool, picture: Path | None, state: Path | None, encoder: str | None
) -> None:
    """Measure a policy's thresholds: what they find, what they touch by mistake, what is too near.

    On sentences, examples and names that did not set them, with 95 % intervals. The policy is compiled ten
    times over. Leaves with status 1 where `retain_fpr` is refuted.
    """
    import orjson

    from policies.loader import load_policy
    from server import calibration

    policy = load_policy(file)
    _require_writable(picture)
    with progress():
        found = _measured(policy, file, state, encoder)
    if picture is not None:
        picture.write_text(calibration.picture(found), encoding="utf-8")
    if as_json:
        click.echo(orjson.dumps(calibration.as_object(policy, found)))
    else:
        for line in calibration.lines(policy, found):
            click.echo(line)
    sys.exit(any(figure.broken for figure in found.figures))


def _require_writable(picture: Path | None) -> None:
    """Leave with a sentence where a picture cannot be written: not after minutes."""
    if picture is not None and not picture.absolute().parent.is_dir():
        raise click.ClickException(f"--picture: there is no folder {picture.absolute().parent}")
    if picture is not None and picture.is_dir():
        raise click.ClickException(f"--picture: {picture} is a folder; name a file, such as calibration.svg")


def _measured(policy: Policy, file: Path, state: Path | None, encoder: str | None) -> Calibration:
    from guards.calibration import calibration

    def step(what: str) -> None:
        logging.getLogger("lethe").info("%s", what)

    if not policy.uses_meaning:
        return calibration(policy, None, None, step)
    from policies.calibrate import refuse_rate
    from server.compiling import MeaningMaker

    refuse_rate(policy, str(file))
    step("loading the encoder")
    return MeaningMaker(usable_state(state), encoder).calibration(policy, step)
