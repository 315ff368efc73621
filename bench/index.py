"""Where inverted lists of examples become faster than looking at all of them: `python -m bench.index`.

By the number of examples: what a search costs in processor time, with all rows looked at and with the lists,
how many of the ten nearest the lists find for questions near to the examples (other wordings about the same
people, and examples on the way to an ordinary sentence) and far from them (ordinary sentences), how many
lists were looked at for that, and what building it cost.  The vectors are those of `bench.exemplars`.

Prints a table, the size from which on the lists are faster and, as the last line, one JSON object; exits with
1 where the lists find fewer than 99 of 100, or a search costs more than half of an encoder's call.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import orjson

import guards.nearest
from bench import gateways
from bench.exemplars import Exemplars
from bench.sizes import sizes
from guards.encoder import Vectors, load_encoder
from guards.nearest import Nearest
from guards.retain import Retain
from guards.space import Space

SIZES = (2_000, 5_000, 10_000, 20_000, 50_000, 500_000)
RECALL, SHARE = 0.99, 0.5
"""The bars: of the ten nearest, and of an encoder's call."""
_TEN, _COUNT = 10, 64
_ROUNDS = 3
_FAR = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured with one size."""

    rows: int
    exact_ms: float
    lists_ms: float
    looked_at: int
    """Lists, for a search."""
    near: float
    """Of the ten nearest rows, the share that is found."""
    far: float
    build_s: float
    megabytes: float


def cost_ms(search: Callable[[Vectors], object], texts: Vectors) -> float:
    """Return the processor time of one search: the median over rounds of the mean over texts."""
    each: list[float] = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        for text in texts:
            search(text[np.newaxis])
        each.append((time.process_time() - began) / len(texts) * 1e3)
    return statistics.median(each)


def measured(rows: Vectors, near: Vectors, far: Vectors, probes: Vectors) -> Measured:
    """Measure the rows with all of them looked at, and with the lists.

    probes: what the lists are tried with when they are built; none of `near` and `far`.
    """
    few = np.concatenate([near[:20], far[:20]])
    exact_ms, wanted = of_all(rows, few, (near, far))
    guards.nearest.LISTS_FROM = 0
    began = time.process_time()
    lists = Nearest(rows, probes)
    build_s = time.process_time() - began
    lists_ms = cost_ms(lambda text: lists.search(text, _COUNT), few)
    # A little lower than the tenth: the lists' rows are of half precision.
    found_near, found_far = (
        float((lists.search(texts, _TEN)[0] >= least - 1e-4).mean())
        for texts, least in zip((near, far), wanted, strict=True)
    )
    size = 0 if lists._lists is None else lists._lists.nbytes
    return Measured(
        len(rows), exact_ms, lists_ms, lists._looked_at, found_near, found_far, build_s, size / 1e6
    )


def of_all(rows: Vectors, few: Vectors, kinds: Sequence[Vectors]) -> tuple[float, list[Vectors]]:
    """Return what it costs to look at all rows, and of each kind of texts the tenth cosine, [texts, 1]."""
    guards.nearest.LISTS_FROM = len(rows) + 1
    index = Nearest(rows, few)
    return cost_ms(lambda text: index.search(text, _COUNT), few), [
        index.search(texts, _TEN)[0][:, -1:] for texts in kinds
    ]


def crossover(table: Sequence[Measured]) -> int | None:
    """Return where the lists become faster, between two sizes that were measured; None where it does not."""
    for before, after in zip(table, table[1:], strict=False):
        gain, loss = after.exact_ms - after.lists_ms, before.lists_ms - before.exact_ms
        if gain > 0 <= loss:
            return round(before.rows + (after.rows - before.rows) * loss / (loss + gain))
    return None


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.index", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=sizes, default=SIZES, help="numbers of examples, ascending")
    given = parser.parse_args()
    gateways.COMPILED.mkdir(parents=True, exist_ok=True)
    print("encoding what is real", file=sys.stderr, flush=True)
    encoder = load_encoder(gateways.COMPILED)
    exemplars, retain = Exemplars(encoder), Retain.load(encoder, gateways.COMPILED)
    call_ms = cost_ms(lambda _: encoder.encode([exemplars.names[0]]), exemplars.asked[:20])
    # The sentences that the lists are tried with when they are built are not those that it is measured with.
    space, odd = Space(retain.vectors), retain.vectors[1::2]
    far, probes = space.centred(odd[:_FAR]), space.centred(retain.vectors[::2])
    table: list[Measured] = []
    for size in given.sizes:
        rows = space.centred(exemplars.rows(size))
        halfway = rows[:: max(1, size // _FAR)][:_FAR] + far / 2
        halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
        near = np.concatenate([space.centred(exemplars.asked), halfway.astype(np.float32)])
        table.append(measured(rows, near, far, probes))
        print(orjson.dumps(asdict(table[-1])).decode(), file=sys.stderr, flush=True)
    return 0 if report(table, call_ms, exemplars.spread()) else 1


def report(table: Sequence[Measured], call_ms: float, spread: tuple[float, float]) -> bool:
    """Print what was found; return whether the bars are met."""
    print("| examples | all looked at | lists | looked at | near, of ten | far, of ten | built | size |")
    print("|" + "--:|" * 8)
    for each in table:
        print(
            f"| {each.rows:,} | {each.exact_ms:.2f} ms | {each.lists_ms:.2f} ms | {each.looked_at} |"
            f" {each.near:.4f} | {each.far:.4f} | {each.build_s:.0f} s | {each.megabytes:.0f} MB |"
        )
    at = crossover(table)
    print(
        f"\nThe lists are faster from {'no size here' if at is None else f'{at:,}'} on; an encoder's call",
        end="",
    )
    print(
        f" of a name is {call_ms:.1f} ms. Nearest neighbour of a real row {spread[0]:.3f}, of a made one",
        end="",
    )
    print(f" {spread[1]:.3f}.")
    good = all(min(each.near, each.far) >= RECALL and each.lists_ms <= SHARE * call_ms for each in table)
    said = {
        "sizes": [asdict(each) for each in table],
        "crossover": at,
        "encoder_ms": call_ms,
        "bars_met": good,
    }
    print(orjson.dumps(said).decode())
    return good


if __name__ == "__main__":
    sys.exit(main())
