"""Stop sequences and token limits, applied to released text.

On an exchange where something is in play the upstream never sees `stop` or the client's `max_tokens`: a cut
made by the model would tell where in a withheld text a letter stands.  They are applied here, to what leaves.
"""

from __future__ import annotations

from typing import Literal

from server.usage import token_spans, truncate


class Limits:
    """The client's limits on one choice.

    A stop sequence that has begun is held back until it is complete or impossible.  Released text up to a
    limit is the same however it arrives.
    """

    def __init__(self, stop: tuple[str, ...], max_tokens: int | None) -> None:
        self._stop = tuple(sequence for sequence in stop if sequence)
        self._max_tokens = max_tokens
        self._held = ""
        self._open = ""
        """The last token released: the next piece may still be part of it."""
        self._tokens = 0
        """Tokens released before that one."""
        self.reached: Literal["stop", "length"] | None = None

    def feed(self, text: str) -> str:
        """Return what of the text so far may leave now."""
        if self.reached or not text:
            return ""
        self._held += text
        found = min((at for each in self._stop if (at := self._held.find(each)) >= 0), default=None)
        if found is not None:
            self.reached = "stop"
            return self._let(self._held[:found])
        keep = max((_overlap(self._held, each) for each in self._stop), default=0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return self._let(ready)

    def close(self) -> str:
        """Return what was held back for a stop sequence that did not come."""
        if self.reached:
            return ""
        ready, self._held = self._held, ""
        return self._let(ready)

    def _let(self, text: str) -> str:
        if self._max_tokens is None or not text:
            return text
        known = self._open + text
        whole, cut = truncate(known, self._max_tokens - self._tokens)
        if cut:
            self.reached = "length"
        spans = token_spans(whole)
        if spans:
            self._tokens += len(spans) - 1
            self._open = whole[spans[-1] :]
        return whole[len(known) - len(text) :]


def _overlap(text: str, sequence: str) -> int:
    """Return how many characters at the end of `text` begin `sequence`."""
    return next(
        (size for size in range(min(len(sequence) - 1, len(text)), 0, -1) if text.endswith(sequence[:size])),
        0,
    )
