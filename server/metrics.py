"""What is counted, for the admin address.

Labels come from closed lists of this code: never a target's name or id, a model's name, or a word of a
request or an answer.  With `PROMETHEUS_MULTIPROC_DIR` set before this module is imported, the counts of all
processes that share the folder are shown together.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from guards.base import SCAN_NAMES, Ruling

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_SHARED = MULTIPROCESS in os.environ
"""Whether what is counted in this process goes to the shared folder, as prometheus_client decides once."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

OTHER = "other"
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


Outcome = Literal["in_force", "meaning_pending", "refused", "failed"]
"""What became of a change of the policy file: enforced in full; enforced but for the meaning of new examples;
no policy that can be used; or another try is needed."""


class Metrics:
    """The counts of one process."""

    _encoded = _queued = 0
    """What two of the gauges show: most exchanges change neither."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._exchanges = Counter(
            "lethe_exchanges", "Exchanges that ended.", ["ending", "streaming"], registry=registry
        )
        self._first_byte = Histogram(
            "lethe_first_byte_seconds",
            "From the request to the first released byte.",
            ["streaming"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._whole = Histogram(
            "lethe_exchange_seconds",
            "From the request to the end of its answer.",
            ["streaming"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._findings = Counter(
            "lethe_findings", "Findings in requests.", ["scan", "part"], registry=registry
        )
        self._rulings = Counter(
            "lethe_rulings",
            "What was done about findings in answers and, by cut, in requests.",
            ["action", "scan"],
            registry=registry,
        )
        self._upstream_errors = Counter(
            "lethe_upstream_errors",
            "Exchanges that failed because of the upstream.",
            ["kind"],
            registry=registry,
        )
        self._refused = Counter(
            "lethe_requests_refused", "Requests answered with an error.", ["status"], registry=registry
        )
        self._by_meaning(registry)
        self._in_flight = Gauge(
            "lethe_exchanges_in_flight",
            "Exchanges that have not ended.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._audit_queue = Gauge(
            "lethe_audit_queue", "Records to be written.", multiprocess_mode="livesum", registry=registry
        )
        self._audit_failures = Counter(
            "lethe_audit_failures", "Endings that could not be written at once.", registry=registry
        )
        self._of_policy(registry)
        self._in_force: str | None = None
        self._file: CollectorRegistry | None = None
        self._labelled: dict[tuple[str, bool], tuple[Counter, Histogram, Histogram]] = {}

    def _of_policy(self, registry: CollectorRegistry) -> None:
        self._policy = Gauge(
            "lethe_policy",
            "1 for the policy that is in force, 0 for those that were.",
            ["digest"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._targets = Gauge(
            "lethe_policy_targets", "Targets in force.", multiprocess_mode="livemax", registry=registry
        )

    def _by_meaning(self, registry: CollectorRegistry) -> None:
        self._encoder_texts = Gauge(
            "lethe_encoder_texts",
            "Texts given to the encoder since the start.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._judged = Counter(
            "lethe_meaning_sentences", "Sentences of requests that were judged by meaning.", registry=registry
        )
        self._high = Counter(
            "lethe_meaning_high",
            "Those of them that score above what the expected share of the calibration sentences exceeds.",
            ["expected"],
            registry=registry,
        )

    def began(self) -> None:
        """Count an exchange in."""
        self._in_flight.inc()

    def finished(self) -> None:
        """Count an exchange out, however it ended; pairs with `began`."""
        self._in_flight.dec()

    def ended(self, ending: str, *, streaming: bool, first_byte_s: float | None, whole_s: float) -> None:
        """Count an exchange by its ending; `first_byte_s` is None where no byte was released."""
        known = self._labelled.get((ending, streaming))
        if known is None:
            label = "true" if streaming else "false"
            known = self._labelled[ending, streaming] = (
                self._exchanges.labels(ending, label),
                self._whole.labels(label),
                self._first_byte.labels(label),
            )
        exchanges, whole, first_byte = known
        exchanges.inc()
        whole.observe(whole_s)
        if first_byte_s is not None:
            first_byte.observe(first_byte_s)

    def found(self, scan: str, part: str, count: int = 1) -> None:
        """Count findings of a scan in a request."""
        self._findings.labels(scan, part).inc(count)

    def ruled(self, rulings: Iterable[Ruling]) -> None:
        """Count the rulings of an exchange that ended, by action and scan."""
        for (action, scan), count in Tally((each.action, each.scan) for each in rulings).items():
            # A scan that is in no list has no name of its own here: labels are closed.
            self._rulings.labels(action, scan if scan in SCAN_NAMES else OTHER).inc(count)

    def upstream_failed(self, kind: str) -> None:
        """Count a failure of the upstream; `kind` is that of the error that it became."""
        self._upstream_errors.labels(kind).inc()

    def refused(self, status: int) -> None:
        """Count a request that was answered with an error."""
        self._refused.labels(str(status)).inc()

    def encoded(self, total: int) -> None:
        """Say how many texts the encoder has been given since the start."""
        if total != self._encoded:
            self._encoded = total
            self._encoder_texts.set(total)

    def judged(self, sentences: int, high: Mapping[float, int]) -> None:
        """Count sentences that were judged by meaning, and the high ones by their expected share."""
        if sentences:
            self._judged.inc(sentences)
            for expected, count in high.items():
                self._high.labels(f"{expected:g}").inc(count)

    def queued(self, count: int) -> None:
        """Say how many audit records wait."""
        if count != self._queued:
            self._queued = count
            self._audit_queue.set(count)

    def audit_failed(self) -> None:
        """Count an ending that could not be written at once."""
        self._audit_failures.inc()

    def in_force(self, digest: str, targets: int) -> None:
        """Say which policy is in force and how many targets it has."""
        if self._in_force not in (None, digest):
            self._policy.labels(self._in_force).set(0)
        self._in_force = digest
        self._policy.labels(digest).set(1)
        self._targets.set(targets)

    def watch_file(self) -> None:
        """Show how the policy file fares as well: for the one process that watches it."""
        self._file = CollectorRegistry()
        self._reloads = Counter(
            "lethe_policy_reloads",
            "Changes of the policy file, by what became of them.",
            ["outcome"],
            registry=self._file,
        )
        self._lag = Gauge(
            "lethe_policy_lag_seconds",
            "For how long the saved policy file has been another policy than the one enforced in full.",
            multiprocess_mode="livemax",
            registry=self._file,
        )

    def reloaded(self, outcome: Outcome) -> None:
        """Count what became of a change of the policy file."""
        self._reloads.labels(outcome).inc()

    def policy_lags(self, seconds: float) -> None:
        """Say how long the saved policy has differed from the one enforced in full; 0 where it does not."""
        self._lag.set(seconds)

    def render(self) -> bytes:
        """Return all counts in the text format of Prometheus, of all processes where there are several."""
        file = b"" if self._file is None or _SHARED else generate_latest(self._file)
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry) + file
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together) + file
