"""How well a policy keeps its promises, measured on what did not set its thresholds.

False positives of meaning: the sentences that must pass are split into folds by whom they are about, the
policy is calibrated without each fold in turn, and the fold is judged by what came of it.  Recall of meaning:
the policy is calibrated without each example in turn, and the example is judged.  Neither is what serves, but
each is what would serve with a little less to go by, so that the figures are fair and a little too low.
Misspelt names: fresh ones, drawn as those that calibrated were, but not the same.

Nothing here holds a target's text: targets are named by their ids.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from guards.base import Passage
from guards.encoder import Encoder
from guards.meaning import Meaning
from guards.misspelt import RARER, Misspelt
from guards.registry import Guard
from guards.retain import Retain
from policies.calibrate import Rate, conformal_rank, retain_sentences
from policies.known import misspelt, natural_names
from policies.policy import Policy, Target

Step = Callable[[str], None]
Margins = NDArray[np.float64]
"""By how much scores exceed their thresholds; above 0 fires."""

_FOLDS = 5
_NATURAL, _SPOILT = 2_000, 1_000
"""Fresh names of people who are no targets, as they are and misspelt."""
_SPELLINGS = 4_000
"""Misspellings of the policy's own names that are tried, shared out among the names."""
_EACH = 4, 20
"""Misspellings of one name, at least and at most."""
_SHARES = 0.25, 0.5
_SEED = 2_011
_FRAMES = ("Where was {} born?", "What is {} known for?", "Please tell me about {}.", "Did {} ever marry?")
_NEAR_MARGIN = 1.0
"""What must pass is near to a target from so many standard deviations below its threshold on."""
_NEAREST = 3
_NAMES, _TRIGGERS = "names and values", "triggers"
_FAR = -1e9
"""The margin of a text that no target is near to."""
_ABOUT = re.compile(r"[^\W\d_a-z][\w’'-]*(?:\s[^\W\d_a-z][\w’'-]*)+")


@dataclass(frozen=True, slots=True)
class Near:
    """Something that must pass and that a target is close to, or takes for its own."""

    what: str
    """'sentence', 'cut' (a sentence of which a trigger cuts something out), 'target' or 'unlike'."""
    which: str
    """The sentence, which is one of the bundled ones; or the other target's id."""
    touched: int
    """How much of it this target fires on: 1 or 0 for a sentence, a count of examples for a target."""
    of: int
    margin: float | None = None
    """Of a sentence judged by meaning, how far it is above the target's threshold, in standard deviations."""


@dataclass(slots=True)
class TargetFigures:
    """What was measured of one target."""

    id: str
    recall: dict[str, Rate] = field(default_factory=dict)
    """By what was tried; of no trials where nothing can be: one example has no others to be found by."""
    false_positives: dict[str, Rate] = field(default_factory=dict)
    near: list[Near] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of one scan on one kind of text, over all targets."""

    scan: str
    on: str
    rate: Rate
    promised: float | None = None
    """The share that was promised not to be exceeded; None for recall."""

    @property
    def broken(self) -> bool:
        """Whether the promise is refuted: the whole interval lies above it."""
        return self.promised is not None and self.rate.interval[0] > self.promised


@dataclass(frozen=True, slots=True)
class Trade:
    """Recall against false positives of one scan as its thresholds move, with where they are."""

    name: str
    points: Sequence[tuple[float, float]]
    """(share of what must pass that fires, share of what must be found that does), both in [0, 1]."""
    at: tuple[float, float]


@dataclass(slots=True)
class Calibration:
    """All that was measured of a policy."""

    thresholds: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By scan, the lowest and the highest over its targets (meaning) or kinds of words (misspelt names)."""
    figures: list[Figure] = field(default_factory=list)
    targets: list[TargetFigures] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Examples that would pass, and what could not be measured; by id and number."""


def calibration(policy: Policy, encoder: Encoder | None, retain: Retain | None, step: Step) -> Calibration:
    """Return what can be measured of a policy's scans.

    encoder, retain: needed where the policy uses meaning; an encoder that remembers saves much.
    step: told in words how far it is.  Slow: ten policies are built where one serves.
    Raises ValueError where the policy cannot be enforced by meaning at all.
    """
    found = Calibration(targets=[TargetFigures(target.id) for target in policy.targets])
    sentences = retain_sentences() if retain is None else retain.sentences
    touched = _without_meaning(policy, sentences, found, step)
    if policy.uses_meaning:
        if encoder is None or retain is None:
            raise ValueError("a policy with examples cannot be calibrated without an encoder")
        touched |= _ByMeaning(policy, encoder, retain, found, step).measure()
    name = "the bundled sentences"
    found.figures.append(Figure("all scans", name, Rate(len(touched), len(sentences)), policy.retain_fpr))
    _of_names(policy, found, step)
    return found


def trade(name: str, must_pass: Margins, must_be_found: Margins) -> Trade:
    """Return how recall and false positives go together as all thresholds move by one amount."""
    passing = np.sort(must_pass)[::-1]
    places = sorted({min(len(passing) - 1, round(share)) for share in np.geomspace(1, len(passing), 40)})
    points = [
        (float(place / len(passing)), float((must_be_found > passing[place]).mean())) for place in places
    ]
    # No share of what was tried is less than one of it: where none fired, half of one is drawn.
    at = max(float((must_pass > 0).mean()), 0.5 / len(passing)), float((must_be_found > 0).mean())
    return Trade(name, points, at)


# -- names, values and whatever else needs no encoder ------------------------------------------------------


def _without_meaning(policy: Policy, sentences: Sequence[str], found: Calibration, step: Step) -> set[int]:
    """Judge the sentences by everything but meaning; return the places of those that arm a target."""
    step("names, values and phrases to be cut out on the sentences that must pass")
    with_examples = frozenset(target.id for target in policy.targets if target.like)
    guard = Guard(policy, None, pending=with_examples)
    stances = asyncio.run(_read(guard, sentences))
    counts: Counter[int] = Counter()
    for place, (armed, targets, cut) in enumerate(stances):
        counts.update(armed | cut)
        for target in sorted(targets | cut):
            near = found.targets[target].near
            if len(near) < _NEAREST:
                what = "cut" if target in cut else "sentence"
                near.append(Near(what, sentences[place], int(target in armed | cut), 1))
    all_armed = {place for place, (armed, _, _) in enumerate(stances) if armed}
    all_cut = {place for place, (_, _, cut) in enumerate(stances) if cut}
    scans = [_TRIGGERS if target.kind == "trigger" else _NAMES for target in policy.targets]
    for scan, places in ((_NAMES, all_armed), (_TRIGGERS, all_cut)):
        if scan in scans or scan == _NAMES:
            rate = Rate(len(places), len(sentences))
            found.figures.append(Figure(scan, "the bundled sentences", rate, policy.retain_fpr))
    for number, (scan, figures) in enumerate(zip(scans, found.targets, strict=True)):
        figures.false_positives[scan] = Rate(counts[number], len(sentences))
    return all_armed | all_cut


async def _read(
    guard: Guard, texts: Sequence[str]
) -> list[tuple[frozenset[int], frozenset[int], frozenset[int]]]:
    """Return which targets each text arms, which it has to do with at all, and of which it is rid."""
    read = [await guard.read([Passage("sentence", "user", text, True)]) for text in texts]
    return [
        (arms.armed | arms.reversed, arms.targets, frozenset(found.target for found in arms.cut))
        for arms in read
    ]


# -- meaning -----------------------------------------------------------------------------------------------


class _ByMeaning:
    """Meaning, measured by builds without a part of what it is made of."""

    def __init__(
        self, policy: Policy, encoder: Encoder, retain: Retain, found: Calibration, step: Step
    ) -> None:
        self._policy, self._encoder, self._retain = policy, encoder, retain
        self._found, self._step = found, step
        self._nearest: dict[int, list[tuple[float, int]]] = {}
        """Held-out sentences by target, with their margins."""

    def measure(self) -> set[int]:
        """Add what is found; return the places of the held-out sentences that fire."""
        self._step("meaning, as it serves")
        whole = self._built(self._policy, self._retain)
        self._found.thresholds["meaning"] = whole.thresholds
        self._found.problems += whole.problems
        held_out = self._held_out()
        recalled = self._left_out()
        self._unlike(whole)
        for target, margins in self._nearest.items():
            self._note(target, sorted(margins, reverse=True))
        if held_out is None:
            return set()
        if recalled:
            self._found.trades.append(trade("meaning, examples left out", held_out, np.array(recalled)))
        return set(np.flatnonzero(held_out > 0).tolist())

    def _built(self, policy: Policy, retain: Retain) -> Meaning:
        made = Meaning.build(policy, self._encoder, retain)
        assert made is not None
        return made

    def _held_out(self) -> Margins | None:
        """Return each sentence's highest margin where it was held out; None where there are too few."""
        sentences, rate = self._retain.sentences, self._policy.retain_fpr
        folds = folds_of(sentences)
        try:
            for fold in range(_FOLDS):
                conformal_rank(int((folds != fold).sum()), rate)
        except ValueError as error:
            self._found.problems.append(f"no sentence can be held out, since {error}")
            return None
        best = np.full(len(sentences), _FAR)
        for fold in range(_FOLDS):
            self._step(f"meaning, calibrated without a fifth of the sentences: {fold + 1} of {_FOLDS}")
            rest = np.flatnonzero(folds != fold)
            kept = Retain(tuple(sentences[at] for at in rest), self._retain.vectors[rest])
            meaning = self._built(self._policy, kept)
            for at in np.flatnonzero(folds == fold).tolist():
                margins = meaning.margins(self._retain.vectors[at])
                best[at] = margins[0][1]
                for target, margin in margins:
                    self._nearest.setdefault(target, []).append((margin, at))
        rate_found = Rate(int((best > 0).sum()), len(sentences))
        self._found.figures.append(Figure("meaning", "sentences held out", rate_found, rate))
        return best

    def _note(self, target: int, margins: Sequence[tuple[float, int]]) -> None:
        """Note which held-out sentences a target fires on, and which come close."""
        figures = self._found.targets[target]
        fired = sum(margin > 0 for margin, _ in margins)
        figures.false_positives["meaning"] = Rate(fired, len(self._retain.sentences))
        figures.near += [
            Near("sentence", self._retain.sentences[at], int(margin > 0), 1, margin)
            for margin, at in margins[:_NEAREST]
            if margin > -_NEAR_MARGIN
        ]

    def _left_out(self) -> list[float]:
        """Judge every example by a policy without it; return the margins to the examples' own targets."""
        most = max(len(target.like) for target in self._policy.targets)
        folds = min(_FOLDS, most)
        recalled: list[float] = []
        taken: Counter[tuple[int, int]] = Counter()
        written, reworded = (dict[int, list[bool]](), dict[int, list[bool]]())
        for fold in range(folds if most > 1 else 0):
            self._step(f"meaning, examples left out: {fold + 1} of {folds}")
            out = [_out(target, fold, folds) for target in self._policy.targets]
            targets = [_without(target, gone) for target, gone in zip(self._policy.targets, out, strict=True)]
            meaning = self._built(replace(self._policy, targets=tuple(targets)), self._retain)
            for number, gone in enumerate(out):
                for text in gone:
                    own = self._judged(meaning, number, text, taken)
                    recalled.append(own)
                    written.setdefault(number, []).append(own > 0)
                    others = [self._judged(meaning, number, each, None) for each in variants(text)]
                    reworded.setdefault(number, []).extend(margin > 0 for margin in others)
        self._recall("examples left out", written)
        self._recall("the same, written otherwise", reworded)
        for (target, other), count in sorted(taken.items()):
            near = Near("target", self._policy.targets[other].id, count, len(written[other]))
            self._found.targets[target].near.append(near)
        return recalled

    def _judged(
        self, meaning: Meaning, number: int, text: str, taken: Counter[tuple[int, int]] | None
    ) -> float:
        """Return a text's margin to its own target; count in `taken` which others fire on it."""
        margins = dict(meaning.margins(self._encoder.encode([text])[0]))
        if taken is not None:
            taken.update(
                (other, number) for other, margin in margins.items() if margin > 0 and other != number
            )
        return margins.get(number, _FAR)

    def _recall(self, on: str, found: Mapping[int, Sequence[bool]]) -> None:
        rates = {number: Rate(sum(hits), len(hits)) for number, hits in found.items()}
        for number, target in enumerate(self._policy.targets):
            if target.like:
                self._found.targets[number].recall[on] = rates.get(number, Rate(0, 0))
        self._found.figures.append(Figure("meaning", on, sum(rates.values(), Rate(0, 0))))

    def _unlike(self, whole: Meaning) -> None:
        """Note which targets fire on what another one's `unlike` or `keep` says must pass."""
        for other in self._policy.targets:
            texts = (*other.unlike, *other.keep)
            fired = Counter(
                target
                for vector in (self._encoder.encode(texts) if texts else ())
                for target, margin in whole.margins(vector)
                if margin > 0 and self._policy.targets[target] is not other
            )
            for target, count in sorted(fired.items()):
                self._found.targets[target].near.append(Near("unlike", other.id, count, len(texts)))


def folds_of(sentences: Sequence[str]) -> NDArray[np.int64]:
    """Return the fold of each sentence, in [0, 5): what is about one person or place is in one fold."""
    keys = [match.group() if (match := _ABOUT.search(sentence)) else sentence for sentence in sentences]
    drawn = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % _FOLDS for key in keys]
    return np.array(drawn, np.int64)


def variants(text: str) -> tuple[str, ...]:
    """Return an example as others would type it: in small letters without its end, and politely."""
    bare = text.rstrip(" .?!")
    return bare.lower(), f"Could you help me with this? {text}"


def _out(target: Target, fold: int, folds: int) -> tuple[str, ...]:
    """Return the examples that a fold leaves out of a target; none where it would have none left."""
    return tuple(target.like[fold::folds]) if len(target.like) > 1 else ()


def _without(target: Target, gone: Sequence[str]) -> Target:
    return replace(target, like=tuple(text for text in target.like if text not in gone)) if gone else target


# -- misspelt names ----------------------------------------------------------------------------------------


def _of_names(policy: Policy, found: Calibration, step: Step) -> None:
    scan = Misspelt(policy)
    if (thresholds := scan.thresholds) is None:
        return
    step("misspelt names: names of other people")
    found.thresholds["misspelt names"] = min(thresholds), max(thresholds)
    draw = random.Random(_SEED)  # noqa: S311  (no secret: the same figures each time)
    fresh = natural_names(_NATURAL + _SPOILT, _SEED)
    natural = _others(scan, fresh[:_NATURAL], found)
    spoilt = [misspelt(name, _SHARES[at % 2], draw) for at, name in enumerate(fresh[_NATURAL:])]
    others = _others(scan, spoilt, found)
    rates = [Rate(int((each > 0).sum()), len(each)) for each in (natural, others)]
    found.figures.append(Figure("misspelt names", "names of others", rates[0], policy.retain_fpr))
    promised = min(RARER * policy.retain_fpr, 0.5)
    found.figures.append(Figure("misspelt names", "misspelt names of others", rates[1], promised))
    for share, said in zip(_SHARES, ("a quarter", "half"), strict=True):
        step(f"misspelt names: the policy's own, {said} of the letters wrong")
        own = _own(scan, policy, share, f"{said} of the letters wrong", found, draw)
        if len(own):
            found.trades.append(trade(f"misspelt, {said} wrong", others, own))


def _others(scan: Misspelt, names: Sequence[str], found: Calibration) -> Margins:
    """Return the highest margin of each name, which is no target's."""
    margins = np.full(len(names), _FAR)
    for at, name in enumerate(names):
        near = scan.margins(_FRAMES[at % len(_FRAMES)].format(name))
        margins[at] = max(near.values(), default=_FAR)
        for target in (target for target, margin in near.items() if margin > 0):
            rates = found.targets[target].false_positives
            rates["names of others"] = rates.get("names of others", Rate(0, _NATURAL + _SPOILT)) + Rate(1, 0)
    return margins


def _own(
    scan: Misspelt, policy: Policy, share: float, on: str, found: Calibration, draw: random.Random
) -> Margins:
    """Return the margins of misspellings of the policy's own names to their own targets."""
    named = [(number, name) for number, target in enumerate(policy.targets) for name in target.names]
    least, most = _EACH
    each = min(most, max(least, _SPELLINGS // max(1, len(named))))
    if len(named) * each > _SPELLINGS:
        named = sorted(draw.sample(named, _SPELLINGS // each))
    margins: list[float] = []
    rates: dict[int, Rate] = {}
    for number, made in _spelled(named, each, share, draw):
        margin = scan.margins(_FRAMES[len(margins) % len(_FRAMES)].format(made)).get(number, _FAR)
        margins.append(margin)
        rates[number] = rates.get(number, Rate(0, 0)) + Rate(int(margin > 0), 1)
    for number, rate in rates.items():
        found.targets[number].recall[on] = rate
    found.figures.append(Figure("misspelt names", on, sum(rates.values(), Rate(0, 0))))
    return np.array(margins)


def _spelled(
    named: Sequence[tuple[int, str]], each: int, share: float, draw: random.Random
) -> Iterator[tuple[int, str]]:
    """Yield misspellings of the names, none of which is the name itself."""
    for number, name in named:
        for _ in range(each):
            made = misspelt(name, share, draw)
            for _ in range(10):
                if made.casefold() != name.casefold():
                    break
                made = misspelt(name, share, draw)
            yield number, made
