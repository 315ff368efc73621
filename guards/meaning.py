"""Finds targets by what a sentence means: nearness to a policy's `like` examples, judged against a corpus.

Whole sentences come in; cutting them, and saying what is done about a finding, is the business of others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guards.base import EncoderUnavailable, Finding, Part
from guards.drift import Drift
from guards.encoder import Encoder, Vectors
from guards.encoder_thread import EncoderThread
from guards.nearest import Nearest
from guards.remembered import Remembered
from guards.retain import Retain
from guards.scoring import Scores, Targets, score_texts
from guards.siblings import Passing
from guards.space import Space
from policies.calibrate import conformal_threshold, raise_thresholds
from policies.policy import Policy, Target
from policies.slots import quickly_pickled

_RIVAL = 5
"""The target, counted from the nearest, whose nearness speaks against all: four may share a subject."""
_ROUNDING = 1e-4
"""What a floor is raised by, in standard deviations: alone, its own text may score a last bit higher."""
SHORTLIST = 64
"""Nearest examples of a sentence whose targets are scored; the rest of a large policy is not looked at."""
_BLOCK = 1024
_CACHE_TEXTS = 4096

_Made = tuple[bool, tuple[str, ...], tuple[str, ...]]
"""What a prototype is made of: whether siblings raise its threshold, `like` and `unlike`."""


def _made_of(target: Target) -> _Made:
    return target.kind in ("entity", "fact"), target.like, target.unlike


@quickly_pickled
@dataclass(frozen=True, slots=True)
class _Prototype:
    """One target's examples: the rows of `examples` and `counterexamples` that are its own."""

    target: int
    like: slice
    unlike: Vectors
    """[unlike, dim], centred; may have no rows."""
    made_of: _Made


class Meaning:
    """Fires where a sentence is nearer to a target's examples than ordinary sentences ever are.

    The raw score of a text x, in vectors centred on the retain corpus, is

          mean of cos(x, like), the nearest quarter of the examples left out where there are four or more
        + what max cos(x, like) has above 0.6
        - 0.8 crowd(x) - 0.8 rival(x)
        - max(0, max cos(x, unlike) - max cos(x, like) + 0.1)

    A shared word makes a sentence resemble one or two examples, a shared topic makes it resemble most: hence
    the first term, which leaves the nearest out; the second catches what rewords one example.  crowd(x), the
    mean cosine to the five nearest retain sentences, is the local scaling of Conneau et al. (2018),
    arXiv:1710.04087, section 2.3 (CSLS); departures: only the side of x is scaled, by less than the mean, and
    against a corpus instead of the targets.  rival(x), the cosine to the nearest example of the fifth nearest
    target, is the same on the targets' side, 0 where there are fewer: what is near to many targets, since it
    asks for what people ask of all of them, is about none.  It is what lets thresholds of one corpus hold for
    another (docs/recognition.md).

    Scores are standardised by target over the retain corpus (z-norm in speaker verification: Auckenthaler,
    Carey and Lloyd-Thomas 2000), so that `score` and `threshold` count standard deviations above ordinary
    sentences and one threshold serves all targets; it is conformal on the maximum over targets, each retain
    sentence scored without itself in the crowd (`policies.calibrate`).

    A target's own threshold is raised, never lowered, above its `unlike`, and for entities and facts above
    the same examples with other names in them: to ask the same of somebody else is no finding.

    Immutable but for its cache of findings; made for one policy.  Cost by text, after the encoder: one faiss
    search over the examples, one over the corpus.

    Can be pickled, and is then without what belongs to one process: it must be given an encoder's thread
    (`attach`).  Only a process that made it, or trusts who did, may unpickle it.
    """

    def __init__(
        self,
        policy: Policy,
        encoder: Encoder,
        retain: Retain,
        thread: EncoderThread | None,
        step: Callable[[], None] = lambda: None,
    ) -> None:
        self._policy = policy
        self._encoder: Encoder | None = encoder
        self._encoder_name = encoder.name
        self._thread = thread
        self._step = step
        self._space = Space(retain.vectors)
        self._remembered: Remembered[tuple[Finding, ...]] = Remembered(_CACHE_TEXTS)
        self.encoded = 0
        """Texts given to the encoder by `find` so far."""
        self._enroll(encoder)
        self._calibrate(encoder, retain.sentences)
        self._calibrated_for = _calibration(policy)
        self.problems: list[str] = list(self._find_problems())
        """What an operator must know, a line each: examples that would pass, by target id and number only."""

    @classmethod
    def build(
        cls,
        policy: Policy,
        encoder: Encoder,
        retain: Retain,
        thread: EncoderThread | None = None,
        step: Callable[[], None] = lambda: None,
    ) -> Meaning | None:
        """Return the compiled scan, or None where no target has `like`.

        Synchronous and slow (it encodes every example): for loading, not for the event loop.  Raises
        ValueError where `retain` is too small for the policy's `retain_fpr`.  `find` needs `thread`.
        step: called again and again on the way; what it raises ends the build.
        """
        return cls(policy, encoder, retain, thread, step) if policy.uses_meaning else None

    def __getstate__(self) -> dict[str, Any]:
        ours = ("_encoder", "_thread", "_step", "_targets")
        return {name: value for name, value in self.__dict__.items() if name not in ours}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._encoder = self._thread = None
        self._renew()

    def _renew(self) -> None:
        """Make what no copy shares with another."""
        self._step = lambda: None
        self.__dict__.pop("_targets", None)
        self._remembered = Remembered(_CACHE_TEXTS)

    def attach(self, thread: EncoderThread) -> None:
        """Give an unpickled scan its encoder; raise EncoderUnavailable unless it was built by that one."""
        if thread.encoder.name != self._encoder_name:
            raise EncoderUnavailable("the policy was compiled with another encoder")
        self._encoder, self._thread = thread.encoder, thread

    def carried(self, policy: Policy) -> Meaning | None:
        """Return what of this scan holds under another policy, or None where that is nothing.

        Targets are known again by their ids and keep the examples that they have here, with the thresholds
        calibrated for them.  Encodes nothing.  `missing` says for which targets that is not enough.
        """
        index = {target.id: number for number, target in enumerate(policy.targets) if target.like}
        ids = [self._policy.targets[each.target].id for each in self._prototypes]
        places = [place for place, target_id in enumerate(ids) if target_id in index]
        if not places:
            return None
        made = copy.copy(self)
        made._policy = policy
        made._prototypes = [replace(self._prototypes[place], target=index[ids[place]]) for place in places]
        # The rows stay where they are, with those that nobody owns any more: to move them would be to build
        # the index anew, which another build by meaning does soon enough.
        moved = np.full(len(ids) + 1, -1)
        moved[places] = np.arange(len(places))
        made._owner = moved[self._owner]
        gone = made._owner < 0
        made._index = self._index.without(gone) if gone.any() else self._index
        made._mean, made._spread = self._mean[places], self._spread[places]
        made._thresholds = self._thresholds[places]
        made._calibrated_for = self._calibrated_for if self.serves(policy) else frozenset()
        made.problems = list(self.problems) if made._calibrated_for else []
        made.encoded = 0
        made._renew()
        # With other targets the same sentences score otherwise.
        made.drift = self.drift.renewed(watching=bool(made._calibrated_for))
        return made

    def missing(self, policy: Policy) -> frozenset[str]:
        """Return the ids of the policy's targets whose examples are not those that this scan has."""
        known = {self._policy.targets[each.target].id: each.made_of for each in self._prototypes}
        return frozenset(
            target.id for target in policy.targets if target.like and known.get(target.id) != _made_of(target)
        )

    def serves(self, policy: Policy) -> bool:
        """Whether a scan built for `policy` would find just what this one does."""
        return self._calibrated_for == _calibration(policy)

    @property
    def ready(self) -> bool:
        """Whether the encoder's thread is there to be asked."""
        return self._thread is not None and self._thread.alive

    def close(self) -> None:
        """End the encoder's thread; `find` then raises."""
        if self._thread is not None:
            self._thread.close()

    def _enroll(self, encoder: Encoder) -> None:
        rows: list[Vectors] = []
        nothing = np.empty((0, encoder.dim), np.float32)
        self._prototypes: list[_Prototype] = []
        start = 0
        for number, target in enumerate(self._policy.targets):
            if not target.like:
                continue
            self._step()
            rows.append(self._space.centred(encoder.encode(target.like)))
            unlike = self._space.centred(encoder.encode(target.unlike)) if target.unlike else nothing
            mine = slice(start, start + len(target.like))
            self._prototypes.append(_Prototype(number, mine, unlike, _made_of(target)))
            start += len(target.like)
        self._owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        self._index = Nearest(np.concatenate(rows), self._space.retain, self._step)

    def _calibrate(self, encoder: Encoder, sentences: Sequence[str]) -> None:
        count = len(self._prototypes)
        self._mean, self._spread = np.zeros(count), np.ones(count)
        crowds = self._space.own_crowds() + self._rivals(self._space.retain)
        for place in range(count):
            self._step()
            raw = self._raw(place, self._space.retain, crowds)
            self._mean[place], self._spread[place] = raw.mean(), max(float(raw.std()), 1e-6)
        largest = np.full(len(sentences), -np.inf)
        for start in range(0, len(sentences), _BLOCK):
            rows = slice(start, start + _BLOCK)
            for text, _, score in self._shortlisted(self._space.retain[rows], crowds[rows]):
                largest[start + text] = max(largest[start + text], score)
        threshold = conformal_threshold(largest, self._policy.retain_fpr)
        self.drift = Drift(largest)
        passing = Passing(encoder, sentences, self._space.centred, self._crowded)
        floors = np.array([self._floor(place, passing) for place in range(count)])
        self._thresholds = raise_thresholds(threshold, floors)

    def _floor(self, place: int, passing: Passing) -> float:
        """Return the highest score among the texts that must pass this target; -inf without any."""
        self._step()
        prototype = self._prototypes[place]
        centred, crowds = passing.of(self._policy.targets[prototype.target])
        if len(prototype.unlike):
            centred = np.concatenate([prototype.unlike, centred])
            crowds = np.concatenate([self._crowded(prototype.unlike), crowds])
        if not len(centred):
            return -np.inf
        return float(self._standard(place, centred, crowds).max()) + _ROUNDING

    def _nearest(self, centred: Vectors, *, brief: bool = False) -> tuple[Vectors, NDArray[np.int64]]:
        """Return [texts, shortlist] cosines and rows of the examples nearest to each text, in their order."""
        found: tuple[Vectors, NDArray[np.int64]] = self._index.search(centred, SHORTLIST, brief=brief)
        return found

    def _crowded(self, centred: Vectors, *, brief: bool = False) -> Scores:
        """Return [texts]: how crowded it is around each text, with sentences and with targets."""
        return self._space.crowds(centred) + self._rivals(centred, brief=brief)

    def _rivals(self, centred: Vectors, *, brief: bool = False) -> Scores:
        cosines, nearest = self._nearest(centred, brief=brief)
        rows = zip(cosines.tolist(), self._owner[nearest].tolist(), strict=True)
        return np.array([self._rival(near, owners) for near, owners in rows])

    def _rival(self, cosines: Sequence[float], owners: Sequence[int]) -> float:
        """Return the cosine to the fifth nearest of the targets; the last that was looked at, at least."""
        if len(self._prototypes) < _RIVAL:
            return 0.0
        first = dict(zip(reversed(owners), reversed(cosines), strict=True))
        ranked = sorted(first.values(), reverse=True)
        return ranked[_RIVAL - 1] if len(ranked) >= _RIVAL else ranked[-1]

    def _raw(self, place: int, centred: Vectors, crowds: Scores) -> Scores:
        """Return [texts] raw scores of the texts for one target."""
        prototype = self._prototypes[place]
        return score_texts(centred, self._index.vectors(prototype.like), prototype.unlike, crowds)

    def _standard(self, place: int, centred: Vectors, crowds: Scores) -> Scores:
        standard: Scores = (self._raw(place, centred, crowds) - self._mean[place]) / self._spread[place]
        return standard

    def _shortlisted(self, centred: Vectors, crowds: Scores) -> Iterator[tuple[int, int, float]]:
        """Yield (text, place, score) for every target that owns one of the examples nearest to a text."""
        owners = self._owner[self._nearest(centred)[1]]
        for place in np.unique(owners).tolist():
            texts = np.flatnonzero((owners == place).any(axis=1))
            scores = self._standard(place, centred[texts], crowds[texts])
            yield from zip(texts.tolist(), [place] * len(texts), scores.tolist(), strict=True)

    def judge(self, vectors: Vectors) -> list[tuple[Finding, ...]]:
        """Return the findings of each text, the highest score first; their spans are 0 to 0, for the caller.

        vectors: [texts, dim] float32, rows of unit length.  Raises EncoderUnavailable if one is not finite.
        """
        # One by one: a product of matrices rounds differently by their shapes, and a text must be judged
        # the same whatever it comes with.
        return [tuple(self._findings(self._ranked(vector))) for vector in vectors]

    def _judge_live(self, vectors: Vectors) -> list[tuple[Finding, ...]]:
        ranked = [self._ranked(vector) for vector in vectors]
        for each in ranked:
            self.drift.count(each[0][1])
        return [tuple(self._findings(each)) for each in ranked]

    def _findings(self, ranked: Sequence[tuple[int, float]]) -> Iterator[Finding]:
        for place, score in ranked:
            threshold = float(self._thresholds[place])
            if score > threshold:
                target = self._prototypes[place].target
                yield Finding(target, "meaning", Part.MEANING, 0, 0, score=score, threshold=threshold)

    def _ranked(self, vector: Vectors) -> list[tuple[int, float]]:
        """Return (place, score) of the targets that one text is nearest to, the highest score first."""
        # A comparison with not-a-number is false: without this, a broken vector would pass as ordinary.
        if not np.isfinite(vector).all():
            raise EncoderUnavailable("a vector is not finite")
        centred = self._space.centred(vector[np.newaxis])
        cosines, nearest = self._nearest(centred)
        owners = self._owner[nearest[0]].tolist()
        crowd = float(self._space.crowds(centred)[0]) + self._rival(cosines[0].tolist(), owners)
        places = sorted(set(owners))
        raw = self._targets.score(centred[0], crowd, places)
        scored = (np.array(raw) - self._mean[places]) / self._spread[places]
        return sorted(zip(places, scored.tolist(), strict=True), key=lambda pair: -pair[1])

    @cached_property
    def _targets(self) -> Targets:
        spans = [prototype.like for prototype in self._prototypes]
        return Targets(self._index, spans, [prototype.unlike for prototype in self._prototypes])

    async def find(self, texts: Sequence[str], *, live: bool = False) -> list[tuple[Finding, ...]]:
        """Return the findings of each text, spanning it whole; texts seen before cost no encoding.

        live: whether they are sentences of a request, and count for `drift` unless they were seen before.
        Raises EncoderUnavailable where the encoder is missing, down, slow or overloaded.
        """
        keys = [self._remembered.key(text) for text in texts]
        known = self._remembered.known(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            if self._thread is None:
                raise EncoderUnavailable("no encoder runs")
            self.encoded += len(new)
            # On the encoder's thread as well: judging is no work for the event loop.
            judge = self._judge_live if live else self.judge
            judged = await self._thread.apply(tuple(new.values()), judge)
            known |= dict(zip(new, judged, strict=True))
        self._remembered.keep({key: known[key] for key in keys})
        return [
            tuple(replace(finding, end=len(text)) for finding in known[key])
            for key, text in zip(keys, texts, strict=True)
        ]

    def explain(self, text: str) -> list[tuple[str, float, float]]:
        """Return (target id, score, threshold) of the five targets nearest to firing, synchronously."""
        if self._encoder is None:
            raise EncoderUnavailable("no encoder runs")
        scored = [
            (self._policy.targets[self._prototypes[place].target].id, score, float(self._thresholds[place]))
            for place, score in self._ranked(self._encoder.encode([text])[0])
        ]
        return sorted(scored, key=lambda row: row[2] - row[1])[:5]

    @property
    def thresholds(self) -> tuple[float, float]:
        """The lowest and the highest threshold of its targets, in standard deviations."""
        return float(self._thresholds.min()), float(self._thresholds.max())

    def margins(self, vector: Vectors) -> list[tuple[int, float]]:
        """Return (index of target, score less its threshold) of the targets near to one text: > 0 fires.

        vector: [dim] float32, of unit length.  The one nearest to firing first; never none.
        """
        margins = [
            (self._prototypes[place].target, score - float(self._thresholds[place]))
            for place, score in self._ranked(vector)
        ]
        return sorted(margins, key=lambda pair: -pair[1])

    def _find_problems(self) -> Iterator[str]:
        for place, prototype in enumerate(self._prototypes):
            self._step()
            examples = self._index.vectors(prototype.like)
            # Told and not decided: among half a million examples that need not take an hour.
            scores = self._standard(place, examples, self._crowded(examples, brief=True))
            threshold = float(self._thresholds[place])
            for number in np.flatnonzero(scores <= threshold).tolist():
                yield (
                    f"target {self._policy.targets[prototype.target].id!r}: like[{number}] would pass"
                    f" (score {scores[number]:.2f}, threshold {threshold:.2f}):"
                    f" it is too near to what must pass"
                )


def _calibration(policy: Policy) -> frozenset[object]:
    """Return all of a policy that its thresholds come from."""
    made = {(target.id, *_made_of(target)) for target in policy.targets if target.like}
    return frozenset({("retain_fpr", policy.retain_fpr), *made})
