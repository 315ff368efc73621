"""From a policy to everything that runs: the one place where encoder, corpus and guard are put together."""

from __future__ import annotations

import logging
from pathlib import Path

from guards.encoder import EncoderThread, load_encoder
from guards.meaning import Meaning, Retain
from policies.policy import Policy

log = logging.getLogger("lethe")


def compile_meaning(policy: Policy, state: Path, encoder: str | None = None) -> Meaning | None:
    """Return the calibrated meaning of a policy, with its encoder's thread; None where it needs none.

    Slow (it encodes every example; the first time on a machine it also exports the encoder and encodes the
    retain corpus, both kept under `state`): for loading, not for the event loop.
    Raises EncoderUnavailable or ValueError where the policy cannot be enforced by meaning.
    """
    if not policy.uses_meaning:
        return None
    loaded = load_encoder(state, encoder)
    retain = Retain.load(loaded, state)
    meaning = Meaning.build(policy, loaded, retain, EncoderThread(loaded))
    assert meaning is not None
    for problem in meaning.problems:
        log.warning("%s", problem)
    return meaning
