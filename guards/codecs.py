"""Codec: finds targets that are written in a code, in requests and in answers, streamed or not.

A text is looked at as it stands (letters changed one by one, letters written one by one) and once more with
every stretch that is in a code replaced by what that says, to `MAX_DEPTH` codes one inside the other.  A
finding carries the original span, the whole stretch where it is in one, and in `via` the codes from the
outermost to the innermost.  What is in clear is left to the other scans.

The frontier is the start of what may still become a finding: a run of letters, a token or a line of initials
that is still open, a name that began in clear.  Text that holds none of it is not held back.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from guards.base import Close, Finding, Part, Progress, ScanError
from guards.codecs_accented import accented
from guards.codecs_initials import MAX_STEP, Firsts, acrostics, has_lines
from guards.codecs_letters import (
    MIN_GLUED,
    MIN_RUN,
    Glued,
    Run,
    cuts_number,
    glue,
    has_singles,
    morse,
    singles,
    spelled,
)
from guards.codecs_numbers import dumps, numbers
from guards.codecs_shapes import Shaped, Shapes, shape, turns
from guards.codecs_signs import signs
from guards.codecs_tokens import LEET_VIEWS, MAX_RUN, Decoded, Segment, Segments, coded, insert, segments_of
from guards.literal import Literals
from guards.pattern import Patterns
from policies.policy import Policy
from policies.text import MAX_GAP, Folded, fold

MAX_DEPTH = 2
"""How many codes may lie one inside the other."""
OVERRUN = 2
"""So many times more than the bound, by white space and invisible characters, stops the exchange."""
MIN_LEET = 4
"""Letters that a literal must have to be looked for in leet."""

_OPEN = "".join(map(chr, range(33, 127))) + "·•∙⋅–—−"
"""Characters of which a token in a code may consist."""
_GROWTH = 8
"""What is undecided is looked at again when it has grown by this part of it: a long run in a code, a few
characters at a time, is then read some eight times in all, and not once for each of its pieces."""
_MARK_AT_END = re.compile(r"[!|](?![A-Za-z0-9@$])")
_LEET_LIKE = re.compile(r"[0-9@$€!|](?:(?<=[^\W\d].)|(?=[^\W\d]))")
_STRETCH = re.compile(r"\S+")


@dataclass(slots=True)
class Look:
    """What a look at a text found, and from where on the text is undecided."""

    findings: list[Finding]
    undecided: int
    segments: Segments | None = None

    def hold(self, position: int) -> None:
        """Keep the text undecided from `position` on, or from where what that is in the middle of starts."""
        if position < self.undecided:
            self.undecided = position if self.segments is None else self.segments.outside(position)


class Codecs:
    """The compiled codes of a policy; immutable, shared by every exchange under it."""

    def __init__(self, policy: Policy, literals: Literals | None = None) -> None:
        self.literals = Literals(policy) if literals is None else literals
        self.patterns = Patterns(policy)
        self.shapes = Shapes(self.literals, accented(policy, self.literals))
        self.glued = Glued(self.literals)
        self.acrostics = acrostics(self.literals)
        self.empty = not self.literals.max_chars and not self.patterns.compiled
        initials = max(each.max_letters for each in self.acrostics.values())
        spread = max(self.shapes.max_chars, self.glued.max_chars, self.literals.max_chars)
        self.max_chars = 3 * MAX_RUN + (MAX_GAP + 2) * spread + (MAX_STEP + 1) * initials
        """Code points that are held back at most: an open run, or the longest literal as far apart as its
        words, letters or initials may stand."""

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        return [*self.open().close("stop", text).findings]

    def open(self) -> CodecScan:
        """Return the running state for one channel."""
        return CodecScan(self)

    def decoded(self, text: str, findings: Sequence[Finding] = ()) -> list[str]:
        """Return what the coded stretches of a whole text say, and the text read as `findings` were."""
        said: list[str] = []
        for name in {name for each in findings for name in each.via}:
            readings = list(turns(text, name))
            # Of two readings, the one that has the name the right way round has the question so as well.
            said += [each for each in readings if self.literals.find(each)] or readings
        for _ in range(MAX_DEPTH):
            segments, _ = self._segments(text, fold(text), (), closed=True)
            if not segments.found and not segments.readings:
                break
            text = Decoded(text, segments.found).text
            said += [text, *(each.shown for each in segments.readings)]
        return said

    # -- one look ---------------------------------------------------------------------------------

    def look(
        self, text: str, folded: Folded, steps: str, *, closed: bool, glued: bool, depth: int = 0
    ) -> Look:
        """Look at a text.  `glued`: its first word began before it.  `depth`: how many codes it was in."""
        look = Look([], len(text))
        found, live = self.shapes.look(folded, steps, closed=closed)
        for word in () if closed else (live, self.literals.live(folded)):
            if word is not None:
                look.hold(folded.spans[word][0])
        shaped: list[Shaped] = []
        for each in found:
            if glued and each.start == 0:
                continue
            if each.form.literal < 0:
                shaped.append(each)
                continue
            start, end = folded.span(each.start, each.end - 1)
            entries = self.literals.entries(each.form.literal)
            look.findings += [entry.finding("codec", start, end, each.via) for entry in entries]
        if depth:
            plain = (each for _, each in self.literals.matches(folded) if not glued or each.start > 0)
            look.findings += [replace(each, scan="codec") for each in plain]
        if depth < MAX_DEPTH:
            self._look_inside(look, text, folded, steps, shaped, closed=closed, glued=glued, depth=depth)
        return look

    def _look_inside(
        self,
        look: Look,
        text: str,
        folded: Folded,
        steps: str,
        shaped: Sequence[Shaped],
        *,
        closed: bool,
        glued: bool,
        depth: int,
    ) -> None:
        alone = (
            "^ ^ ^ " in steps or folded.text[-3:-2] == " " or not text.isascii() and has_singles(folded.text)
        )
        if not alone and not shaped and not coded(text, closed=closed):
            return
        segments, runs = self._segments(text, folded, shaped, closed=closed)
        look.segments, undecided = segments, segments.undecided
        look.undecided = segments.outside(min(undecided, look.undecided))
        for run in runs:
            self._look_at_run(look, run)
        self._look_at_leet(look, text, closed=closed, glued=glued)
        if segments.found or undecided < len(text):
            inner = Decoded(text[:undecided], segments.found)
            ended = closed and undecided == len(text)
            deeper = self._deeper(inner.text, closed=ended, glued=glued, depth=depth)
            for found in deeper.findings:
                place = inner.original(found.start, found.end)
                if place is not None:
                    start, end, via = place
                    look.findings.append(replace(found, start=start, end=end, via=via + found.via))
            if deeper.undecided < len(inner.text):
                look.hold(inner.group(deeper.undecided))
        for each in segments.readings:
            for found in self._deeper(each.shown, closed=True, glued=False, depth=depth).findings:
                via = each.via + found.via
                look.findings.append(replace(found, start=each.start, end=each.end, via=via))
        if self.patterns.compiled:
            look.findings += self._by_pattern(text, segments.found, segments.readings)

    def _deeper(self, text: str, *, closed: bool, glued: bool, depth: int) -> Look:
        folded = fold(text, closed=closed)
        return self.look(text, folded, shape(folded.text), closed=closed, glued=glued, depth=depth + 1)

    def _segments(
        self, text: str, folded: Folded, shaped: Sequence[Shaped], *, closed: bool
    ) -> tuple[Segments, list[Run]]:
        """Return what of a text is in a code, runs of letters included, and all such runs."""
        segments = segments_of(text, closed=closed)
        runs = [
            *singles(text, folded, closed=closed),
            *morse(text, closed=closed),
            *spelled(text, folded, shaped, closed=closed),
            *numbers(text, closed=closed, whole=bool(self.patterns.compiled)),
            *dumps(text, closed=closed),
            *signs(text, closed=closed),
        ]
        for run in runs:
            if not run.whole or run.end - run.start > MAX_RUN:
                continue
            if run.open:
                segments.undecided = min(segments.undecided, run.start)
            if run.open or len(run.letters) < MIN_RUN:
                continue
            segment = Segment(run.start, run.end, run.spoken, (run.via,), run.start)
            if not insert(segments.found, segment):
                segments.readings.append(segment)
        segments.undecided = segments.outside(segments.undecided)
        segments.found = [each for each in segments.found if each.end <= segments.undecided]
        return segments, runs

    def _look_at_run(self, look: Look, run: Run) -> None:
        short = run.end - run.start <= MAX_RUN
        if run.whole and run.open and short:
            return
        letters, numbers_ = glue(run)
        found, live = self.glued.look(letters)
        for start, end, entry, via in found:
            if cuts_number(run, letters, numbers_, start, end):
                continue
            span = run.letters[numbers_[start]].start, run.letters[numbers_[end - 1]].end
            if run.whole and short:
                span = run.start, run.end
            look.findings.append(entry.finding("codec", *span, (run.via, *via)))
        if live is not None and run.open:
            look.hold(run.letters[numbers_[live]].start)

    def _look_at_leet(self, look: Look, text: str, *, closed: bool, glued: bool) -> None:
        if _LEET_LIKE.search(text) is None:
            return
        text = _MARK_AT_END.sub(" ", text)
        for table in LEET_VIEWS:
            shown = text.translate(table)
            if shown == text:
                return
            folded = fold(shown, closed=closed)
            for _, found in self.literals.matches(folded):
                raw = text[found.start : found.end]
                odd = raw.translate(table) != raw and any(map(str.isalpha, raw))
                if odd and sum(map(str.isalnum, raw)) >= MIN_LEET and not (glued and found.start == 0):
                    look.findings.append(replace(found, scan="codec", via=("leet",)))
            live = self.literals.live(folded)
            if live is not None:
                look.hold(folded.spans[live][0])

    def _by_pattern(
        self, text: str, segments: Sequence[Segment], readings: Sequence[Segment]
    ) -> Iterator[Finding]:
        """Find what looks like a pattern in a stretch without spaces once its segments are decoded."""
        for match in _STRETCH.finditer(text) if segments else ():
            left, right = match.span()
            first = bisect_left(segments, left, key=lambda each: each.start)
            inside = [
                replace(each, start=each.start - left, end=each.end - left)
                for each in segments[first : bisect_left(segments, right, key=lambda each: each.start)]
                if each.end <= right
            ]
            if not inside:
                continue
            view = Decoded(match.group(), inside)
            for found in self.patterns.find(view.text):
                place = view.original(found.start, found.end)
                if place is not None:
                    start, end, via = place
                    yield replace(found, scan="codec", start=left + start, end=left + end, via=via)
        for each in (
            *readings,
            *(each for each in segments if any(map(str.isspace, text[each.start : each.end]))),
        ):
            for found in self.patterns.find(each.shown):
                yield replace(found, scan="codec", start=each.start, end=each.end, via=each.via)


class CodecScan:
    """The running state of the codes over one channel of one choice.

    Holds back at most `Codecs.max_chars` code points.  What has not been decided is looked at anew with each
    piece of text; findings and frontier do not depend on where the pieces were cut.
    """

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs
        self._tail = ""
        self._base = 0
        self._glued = False
        """Whether the tail's first word began in text that is gone."""
        self._initials = ""
        """The first letters of the words before the tail."""
        self._firsts: Firsts | None = None
        """None until text is fed that more may follow."""
        self._seen: set[tuple[int, int, int, Part, int | None, tuple[str, ...]]] = set()
        self._looked = 0
        """How much of the tail was looked at the last time: while it is no more, nothing changes."""
        self._safe_to = 0

    def feed(self, text: str) -> Progress:
        """Take more text; work is linear in it and in what is undecided."""
        self._tail += text
        if self._codecs.empty:
            return self._skip()
        if self._firsts is None:
            self._firsts = Firsts(self._codecs.acrostics)
        findings, live = self._firsts.feed(text)
        progress = self._advance(closed=False)
        if not findings and live >= progress.safe_to:
            return progress
        return Progress([*findings, *progress.findings], min(live, progress.safe_to))

    def close(self, reason: Close, last: str = "") -> Progress:
        """End the text; where it was cut short, a literal that had begun in a code is a prefix."""
        self._tail += last
        if self._codecs.empty:
            return self._skip()
        if not self._tail:
            return Progress((), self._base)
        findings = self._last_firsts(last) if last else []
        prefix = self._prefix() if reason == "length" else []
        progress = self._advance(closed=True)
        return Progress([*findings, *progress.findings, *prefix], self._base)

    def _last_firsts(self, last: str) -> Sequence[Finding]:
        if self._firsts is None:
            if not has_lines(last):
                return ()
            self._firsts = Firsts(self._codecs.acrostics)
        return self._firsts.feed(last)[0]

    def _skip(self) -> Progress:
        self._base += len(self._tail)
        self._tail = ""
        return Progress((), self._base)

    def _advance(self, *, closed: bool) -> Progress:
        decided = len(self._tail) if closed else self._decided()
        if not closed and decided - self._looked < max(1, self._looked // _GROWTH):
            return Progress((), self._safe_to)
        text = self._tail[:decided]
        codecs = self._codecs
        folded = fold(text, closed=closed)
        steps = shape(folded.text)
        look = codecs.look(text, folded, steps, closed=closed, glued=self._glued)
        initials = self._look_at_words(look, folded)
        total = self._base + len(self._tail)
        findings = self._fresh(look.findings)
        if closed:
            self._tail, self._base = "", total
            return Progress(findings, total)
        if folded.text[-1] != " ":
            # An invisible sign has not ended the word: a space behind it would make it a letter by itself.
            look.hold(folded.spans[-1][0])
        self._safe_to = self._base + look.undecided
        self._looked = decided - self._drop(text, folded, initials, look.undecided)
        return Progress(findings, self._safe_to)

    def _decided(self) -> int:
        """Return where the token at the end begins that may still go on."""
        start = len(self._tail.rstrip(_OPEN))
        return start + (len(self._tail) - start) // MAX_RUN * MAX_RUN

    def _look_at_words(self, look: Look, folded: Folded) -> str:
        """Look for a name in the first letters of the words, and return these."""
        words = self._codecs.acrostics["words"]
        if not words.max_letters:
            return ""
        initials = _initials(folded, self._glued)
        before = len(self._initials) - self._glued
        found, live = words.look(self._initials + initials)
        for head, end, entry in found:
            if head >= before + self._glued:
                span = folded.spans[head - before][0], folded.spans[end - 1 - before][0] + 1
                look.findings.append(entry.finding("codec", *span, ("acrostic of words",)))
        if live is not None and live >= before + self._glued:
            look.hold(folded.spans[live - before][0])
        return initials

    def _fresh(self, findings: Sequence[Finding]) -> list[Finding]:
        fresh = []
        for found in findings:
            placed = replace(found, start=self._base + found.start, end=self._base + found.end)
            key = (placed.start, placed.end, placed.target, placed.part, placed.fact, placed.via)
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(placed)
        return fresh

    def _drop(self, text: str, folded: Folded, initials: str, undecided: int) -> int:
        """Forget what is decided, but not the word that is still open; return how much that is."""
        cut = undecided
        if folded.text[-1] != " ":
            cut = min(cut, folded.spans[-1][0])
        if len(self._tail) - cut > OVERRUN * self._codecs.max_chars:
            raise ScanError("a code has gone on for longer than any text needs")
        if not cut:
            return 0
        if initials:
            if cut < len(text):
                initials = initials[: bisect_left(folded.spans, (cut, 0)) - self._glued]
            self._initials = (self._initials + initials)[-self._codecs.acrostics["words"].max_letters :]
        before = text[cut - 1]
        self._glued = before.isalnum() and " " not in fold(f"{before}x").text.strip()
        self._tail = self._tail[cut:]
        self._base += cut
        if self._seen:
            self._seen = {key for key in self._seen if key[0] >= self._base}
        return cut

    def _prefix(self) -> list[Finding]:
        """Find what had begun in a code: a whole word and the beginning of the next, as in clear."""
        codecs, text = self._codecs, self._tail
        folded = fold(text)
        segments = codecs._segments(text, folded, (), closed=True)[0].found
        if not segments:
            return []
        view = Decoded(text, segments)
        shown = fold(view.text, closed=False)
        live = codecs.literals.live(shown)
        if live is not None and live < len(shown.spans) - 1:
            place = view.original(shown.spans[live][0], shown.spans[-1][1])
            if place is not None:
                return [Finding(-1, "codec", Part.PREFIX, self._base + place[0], self._base + place[1])]
        last = segments[-1]
        letters = fold(last.shown).text.replace(" ", "")
        begun = codecs.glued.look(letters)[1] if last.end >= len(text.rstrip()) else None
        if begun is not None and len(letters) - begun >= MIN_GLUED:
            return [Finding(-1, "codec", Part.PREFIX, self._base + last.start, self._base + last.end)]
        return []


def _initials(folded: Folded, glued: bool) -> str:
    """Return the first characters of the words of a text."""
    letters = "".join([word[0] for word in folded.words])
    return letters[1:] if glued else letters
