"""`python -m evals.scale DATA`: how does finding by meaning fare as the number of targets grows?

Ten authors of the benchmark, with the first five of their twenty questions as examples and no name to look
for, stand among made-up ones; they are asked about in the other fifteen, original and paraphrased.  What is
kept are all questions about the other ninety authors, original and paraphrased.  Two scores are compared at
thresholds that half a percent of the kept questions exceed: the largest cosine to any example, and the score
that serves.  A question counts as found where its own target's score is above the threshold.

Made-up targets are topics: nothing raises their thresholds, so that what they touch by mistake is no less
than it would be for authors.  Beyond ten thousand (--encoded) their vectors are made from those
of the first (`evals.crowd.imagined`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.authors import Author, authors
from evals.crowd import EXAMPLES, MadeUp, crowd, imagined, renamed
from evals.data import DataError
from evals.encodings import Encodings
from evals.report import Measure
from guards.base import EncoderUnavailable
from guards.encoder import Encoder, Vectors, load_encoder
from guards.meaning import SHORTLIST, Meaning
from guards.retain import Retain
from guards.space import Space, index_of
from policies.calibrate import interval
from policies.policy import Kind, Policy, Target
from server.curves import Curve, draw

Step = Callable[[str], None]

SIZES = (10, 100, 1_000)
_ALLOWED = 0.005
"""The share of kept questions that may be above a threshold."""
_BAR = 4 * 0.13
"""Four times what the largest cosine finds with 1,000 targets in the feasibility study."""
_OWN = 10
_ENCODED = 9_990
"""Made-up authors whose examples are encoded unless said otherwise; a larger crowd is made from theirs."""
_DRAWS = 2
_SEED = 2_412


@dataclass(frozen=True, slots=True)
class Point:
    """What was found with so many targets, over all draws."""

    targets: int
    asked: int
    plain: int
    """Found by the largest cosine, at half a percent of what is kept."""
    shipped: int
    """Found by the score that serves, at the same share."""
    ranked: int
    """Questions whose own target is the nearest to firing of all."""
    calibrated: int
    """Found by the score that serves at the thresholds that it serves with."""
    kept: int
    touched: int
    """Kept questions above those thresholds."""


class _Known:
    """An encoder that has encoded before."""

    def __init__(self, encodings: Encoder, known: Mapping[str, Vectors]) -> None:
        self.name, self.dim = encodings.name, encodings.dim
        self._encodings, self._known = encodings, dict(known)

    def encode(self, texts: Sequence[str]) -> Vectors:
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(new, self._encodings.encode(new), strict=True))
        rows = [self._known[text] for text in texts]
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)


class _Unreviewed(Meaning):
    """Meaning that looks for no examples that would pass: that takes the square of their number."""

    def _find_problems(self) -> Iterator[str]:
        return iter(())


class Bench:
    """Everything that is asked, encoded once, and the ways to score it."""

    def __init__(
        self,
        folder: Path,
        encodings: Encoder,
        retain: Retain,
        step: Step,
        encoded: int = _ENCODED,
        *,
        harder: bool = False,
    ) -> None:
        """encoded: made-up authors whose examples are encoded; more are made from theirs.

        harder: whether the made-up authors are asked about as the benchmark's are (`evals.crowd.renamed`).
        """
        forget = authors(folder, "tofu/forget.jsonl")
        kept = authors(folder, "tofu/retain.jsonl", "tofu/retain_paraphrases.jsonl")
        self._everyone = [author for author in (*forget, *kept) if author.name]
        texts = list(dict.fromkeys(text for author in self._everyone for text in _questions(author, 0)))
        step(f"encoding {len(texts):,} questions")
        self._known = dict(zip(texts, encodings.encode(texts), strict=True))
        self._encodings, self._retain, self._step = encodings, retain, step
        self._encoded, self._harder = encoded, harder
        self._people: Sequence[MadeUp] = ()
        self._vectors = np.empty((0, encodings.dim), np.float32)

    def among(self, size: int, draws: int = _DRAWS) -> Point:
        """Return what is found with `size` targets; sizes should rise, so that nothing is encoded twice.

        draws: how often ten authors are drawn out of all of them.
        """
        if len(self._people) < size - _OWN:
            self._gather(size - _OWN)
        points = [self._drawn(size, number) for number in range(draws)]
        fields = [asdict(point) for point in points]
        return Point(size, *(sum(each[name] for each in fields) for name in list(fields[0])[1:]))

    def _gather(self, count: int) -> None:
        some = min(count, self._encoded)
        people = renamed(self._everyone, some) if self._harder else crowd(some)
        self._step(f"encoding {EXAMPLES * len(people):,} questions about made-up authors")
        vectors = self._encodings.encode([text for each in people for text in each.like])
        if count > len(people):
            self._step(f"imagining {count - len(people):,} more")
            nobodies, made = imagined(people, vectors, count - len(people))
            people, vectors = [*people, *nobodies], np.concatenate([vectors, made])
        self._people, self._vectors = people, vectors

    def _drawn(self, size: int, number: int) -> Point:
        self._step(f"{size:,} targets, draw {number + 1}")
        own = random.Random(_SEED + number).sample(self._everyone, _OWN)
        asked = [(at, text) for at, each in enumerate(own) for text in _questions(each, EXAMPLES)]
        kept = [text for each in self._everyone if each not in own for text in _questions(each, 0)]
        questions, others = self._rows([text for _, text in asked]), self._rows(kept)
        owners = [at for at, _ in asked]
        like = [[row["question"] for row in each.given] for each in own]
        mine = np.stack([self._rows(texts) for texts in like])
        crowded = self._vectors[: EXAMPLES * (size - _OWN)]
        plain = _plain(questions, owners, others, mine, crowded)
        meaning = self._meaning(own, like, mine, crowded, np.concatenate([questions, others]))
        margins = [meaning.margins(vector) for vector in questions]
        own_margin = np.array([dict(each).get(at, -np.inf) for each, at in zip(margins, owners, strict=True)])
        worst = np.array([meaning.margins(vector)[0][1] for vector in others])
        return Point(
            size,
            len(asked),
            plain,
            int((own_margin > _allowing(worst)).sum()),
            sum(each[0][0] == at for each, at in zip(margins, owners, strict=True)),
            int((own_margin > 0).sum()),
            len(kept),
            int((worst > 0).sum()),
        )

    def _rows(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._known[text] for text in texts])

    def _meaning(
        self,
        own: Sequence[Author],
        like: Sequence[Sequence[str]],
        mine: Vectors,
        crowded: Vectors,
        texts: Vectors,
    ) -> Meaning:
        """Return the score that serves, for the targets that any of the texts is near to.

        The rest of the crowd is left out, and nothing comes out differently: a text is scored by the targets
        of its nearest examples only, whatever else the policy has.
        """
        space = Space(self._retain.vectors)
        seen = np.concatenate([space.retain, space.centred(texts)])
        examples = np.concatenate([mine.reshape(-1, mine.shape[2]), crowded])
        nearest = index_of(space.centred(examples)).search(seen, min(SHORTLIST, len(examples)))[1]
        near = sorted({row // EXAMPLES - _OWN for row in np.unique(nearest).tolist()} - set(range(-_OWN, 0)))
        targets = [_target(f"own-{at}", texts_, "entity") for at, texts_ in enumerate(like)]
        targets += [_target(f"made-up-{at}", self._people[at].like, "topic") for at in near]
        known = dict(self._known)
        for at in near:
            known.update(zip(self._people[at].like, crowded[EXAMPLES * at :][:EXAMPLES], strict=True))
        policy = Policy("scale", "0" * 64, tuple(targets))
        return _Unreviewed(policy, _Known(self._encodings, known), self._retain, None)


def _questions(author: Author, start: int) -> list[str]:
    """Return the author's questions from row `start` on, each in both wordings."""
    return [row[key] for row in author.rows[start:] for key in ("question", "paraphrased_question")]


def _target(name: str, like: Sequence[str], kind: Kind) -> Target:
    return Target(name, kind, "unknown", "forget", "name", like=tuple(like))


def _allowing(scores: NDArray[np.floating]) -> float:
    """Return the lowest threshold that no more than the allowed share of the scores is above."""
    return float(np.sort(scores)[::-1][int(_ALLOWED * len(scores))])


def _plain(
    questions: Vectors, owners: Sequence[int], others: Vectors, mine: Vectors, crowded: Vectors
) -> int:
    """Return how many questions the largest cosine finds."""
    largest = np.max(others @ mine.reshape(-1, mine.shape[2]).T, axis=1)
    if len(crowded):
        largest = np.maximum(largest, index_of(crowded).search(others, 1)[0][:, 0])
    own = np.array([(mine[at] @ vector).max() for at, vector in zip(owners, questions, strict=True)])
    return int((own > _allowing(largest)).sum())


def measured(
    folder: Path,
    sizes: Sequence[int],
    state: Path,
    step: Step,
    *,
    cache: Path | None = None,
    encoded: int = _ENCODED,
    draws: int = _DRAWS,
    harder: bool = False,
) -> list[Point]:
    """Return a point for each number of targets, of ten at least, in their order; the rest as for `Bench`."""
    step("loading the encoder")
    encoder = load_encoder(state)
    encodings, retain = Encodings(encoder, cache, step), Retain.load(encoder, state)
    bench = Bench(folder, encodings, retain, step, encoded, harder=harder)
    points: list[Point] = []
    for size in sorted(sizes):
        points.append(bench.among(size, draws))
        step(f"{size:,} targets: {points[-1].shipped} of {points[-1].asked} found")
    return points


async def measure(folder: Path, step: Step) -> AsyncIterator[Measure]:
    """Measure up to a thousand targets in the harder crowd, which takes a few minutes."""
    try:
        points = measured(folder, SIZES, state_folder(), step, harder=True)
    except EncoderUnavailable as error:
        raise DataError(f"meaning cannot be measured: {error}") from None
    for point in points:
        bar = _BAR if point.targets == SIZES[-1] else None
        of = f"{point.targets:,} targets"
        yield Measure("meaning at scale", f"{of}, largest cosine", point.plain, point.asked)
        yield Measure("meaning at scale", f"{of}, as it serves", point.shipped, point.asked, least=bar)


def state_folder() -> Path:
    """Return where the encoder's export lies, as for `lethe serve`."""
    base = os.environ.get("XDG_STATE_HOME")
    default = (Path(base) if base else Path.home() / ".local" / "state") / "lethe"
    return Path(os.environ.get("LETHE_STATE") or default)


def table(points: Sequence[Point]) -> str:
    """Return the points as a Markdown table with Clopper-Pearson intervals of 95 %."""
    lines = [
        "| targets | largest cosine | as it serves | ranked first | at its thresholds | kept touched there |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for each in points:
        cells = [
            f"{each.targets:,}",
            _share(each.plain, each.asked),
            _share(each.shipped, each.asked),
            _share(each.ranked, each.asked),
            _share(each.calibrated, each.asked),
            _share(each.touched, each.kept, 2),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(hits: int, trials: int, digits: int = 0) -> str:
    low, high = (f"{100 * end:.{digits}f}" for end in interval(hits, trials))
    return f"{100 * hits / trials:.{digits}f} % ({low} to {high})"


def picture(points: Sequence[Point]) -> str:
    """Return recall against the number of targets as SVG."""
    curves = [
        Curve("as it serves", tuple((each.targets, each.shipped / each.asked) for each in points)),
        Curve("largest cosine", tuple((each.targets, each.plain / each.asked) for each in points)),
    ]
    return draw(
        "Found by meaning at 0.5 % of kept questions, by the number of targets", curves, ("targets", "found")
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and one JSON object, and return the exit status."""
    parser = argparse.ArgumentParser(prog="evals.scale", description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of benchmark data")
    parser.add_argument("--targets", default=",".join(map(str, SIZES)), help="numbers of targets, as 10,1000")
    parser.add_argument("--cache", type=Path, help="a folder to keep encodings in")
    parser.add_argument("--state", type=Path, default=state_folder(), help="where the encoder's export lies")
    parser.add_argument(
        "--encoded", type=int, default=_ENCODED, help="made-up authors to encode; more are made from theirs"
    )
    parser.add_argument("--draws", type=int, default=_DRAWS, help="how often ten authors are drawn")
    parser.add_argument(
        "--harder", action="store_true", help="a crowd that is asked about as the benchmark's authors are"
    )
    parser.add_argument("--picture", type=Path, help="an SVG file to draw")
    chosen = parser.parse_args(arguments)
    try:
        sizes = [int(size) for size in chosen.targets.split(",")]
    except ValueError:
        sizes = []
    if chosen.draws < 1:
        parser.error(f"--draws: {chosen.draws}; one at least")
    if chosen.encoded < 200:
        parser.error(f"--encoded: {chosen.encoded}; fewer than 200 do not have every wording often enough")
    if not sizes or min(sizes) < _OWN:
        parser.error(f"--targets: {chosen.targets!r}; numbers of {_OWN} and more, such as 10,100,1000")
    began = time.monotonic()

    def step(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    try:
        points = measured(
            chosen.data,
            sizes,
            chosen.state,
            step,
            cache=chosen.cache,
            encoded=chosen.encoded,
            draws=chosen.draws,
            harder=chosen.harder,
        )
    except (DataError, EncoderUnavailable) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(points))
    if chosen.picture is not None:
        chosen.picture.write_text(picture(points), encoding="utf-8")
    print(json.dumps([asdict(point) for point in points]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
