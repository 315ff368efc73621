"""From a policy to everything that runs: the one place where encoder, corpus and guard are put together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from guards.calibration import Calibration, calibration
from guards.encoder import load_encoder
from guards.encoder_thread import EncoderThread
from guards.meaning import Meaning
from guards.retain import Retain
from guards.vectors import RememberingEncoder
from policies.policy import Policy
from server.keys import installation_key

log = logging.getLogger("lethe")

Tell = Callable[[str], None]
"""Is told what is being done, in words without a target's, again and again."""

_TOLD_STEPS = 100


class MeaningMaker:
    """Compiles policies by meaning, one after the other; what one has encoded the next one knows.

    Slow (it encodes every example; the first time on a machine it also exports the encoder and encodes the
    retain corpus; all of it is kept under `state`): for loading, not for the event loop.
    """

    def __init__(
        self,
        state: Path,
        encoder: str | None = None,
        step: Callable[[], None] = lambda: None,
        tell: Tell = lambda _: None,
    ) -> None:
        """`step` is called again and again while a policy is compiled; what it raises ends that.

        Raises EncoderUnavailable, or OSError or ValueError where the state folder cannot be used.
        """
        tell("the encoder")
        self.encoder = load_encoder(state, encoder)
        self._step = step
        self._remembering = RememberingEncoder(self.encoder, state, installation_key(state), step)
        tell("the sentences that must pass")
        self._retain = Retain.load(self._remembering, state)

    def make(self, policy: Policy, tell: Tell = lambda _: None) -> Meaning:
        """Return the calibrated meaning of a policy that uses it, without an encoder's thread.

        Raises ValueError where the policy cannot be enforced by meaning.
        """
        steps = 4 * sum(1 for target in policy.targets if target.like)
        done, before = 0, self._remembering.encoded

        def step() -> None:
            nonlocal done
            self._step()
            done += 1
            if done % _TOLD_STEPS == 0:
                encoded = self._remembering.encoded - before
                tell(f"meaning, {min(99, 100 * done // steps)} % of its steps; {encoded:,} sentences encoded")

        tell("meaning")
        meaning = Meaning.build(policy, self._remembering, self._retain, None, step)
        assert meaning is not None
        self._remembering.built()
        return meaning

    def calibration(self, policy: Policy, step: Callable[[str], None]) -> Calibration:
        """Return what can be measured of a policy's scans; `step` is told in words how far it is."""
        return calibration(policy, self._remembering, self._retain, step)


def compile_meaning(
    policy: Policy, state: Path, encoder: str | None = None, tell: Tell = lambda _: None
) -> Meaning | None:
    """Return the calibrated meaning of a policy, with its encoder's thread; None where it needs none.

    Slow: see `MeaningMaker`.
    Raises EncoderUnavailable or ValueError where the policy cannot be enforced by meaning.
    """
    if not policy.uses_meaning:
        return None
    maker = MeaningMaker(state, encoder, tell=tell)
    meaning = maker.make(policy, tell)
    meaning.attach(EncoderThread(maker.encoder))
    for problem in meaning.problems:
        log.warning("%s", problem)
    return meaning
