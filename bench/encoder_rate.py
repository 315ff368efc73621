"""How many sentences a second the encoder takes, one by one: a child process of `bench.overhead`.

It is given the folder with the exported encoder, reads seconds from stdin, line by line, and answers each
with a rate; between them it waits.
"""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path

from bench.prompts import kept
from guards.encoder import load_encoder


def main() -> None:
    """Answer until stdin ends."""
    encoder = load_encoder(Path(sys.argv[1]))
    prompts = kept(10**9)
    encoder.encode(list(islice(prompts, 20)))
    print("ready", flush=True)
    for line in sys.stdin:
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < float(line):
            encoder.encode([next(prompts)])
            done += 1
        print(done / spent, flush=True)


if __name__ == "__main__":
    main()
