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

import numpy as np

from guards.base import Close, Finding, Part, Progress, ScanError
from guards.codecs_initials import KINDS, MAX_STEP, Acrostics
from guards.codecs_letters import MIN_GLUED, MIN_RUN, Glued, Run, glue, has_singles, morse, numbers, singles, spelled
from guards.codecs_shapes import Shaped, Shapes, shape, turns
from guards.codecs_tokens import LEET_VIEWS, MAX_RUN, Decoded, Segment, Segments, coded, insert, segments_of
from guards.literal import Entry, Literals
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
_MARK_AT_END = re.compile(r"[!|](?![A-Za-z0-9@$])")
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
        self.shapes = Shapes(self.literals)
        self.glued = Glued(self.literals)
        self.acrostics = {kind: Acrostics(self.literals, kind) for kind in KINDS}
        self.empty = not self.literals.max_chars and not self.patterns.compiled
        initials = max(each.max_letters for each in self.acrostics.values())
        spread = max(self.shapes.max_chars, self.glued.max_chars, self.literals.max_chars)
        self.max_chars = 3 * MAX_RUN + (MAX_GAP + 2) * spread + (MAX_STEP + 1) * initials
        """Code points that are held back at most: an open run, or the longest literal as far apart as its
        words, letters or initials may stand."""

    def find(self, text: str) -> list[Finding]:
        """Return every finding of a whole text."""
        scan = self.open()
        return [*scan.feed(text).findings, *scan.close("stop").findings]

    def open(self) -> CodecScan:
        """Return the running state for one channel."""
        return CodecScan(self)

    def decoded(self, text: str, findings: Sequence[Finding] = ()) -> list[str]:
        """Return what the coded stretches of a whole text say, and the text read as `findings` were."""
        said = [turned for name in {name for each in findings for name in each.via} for turned in turns(text, name)]
        for _ in range(MAX_DEPTH):
            segments, _ = self._segments(text, fold(text), (), closed=True)
            if not segments.found and not segments.readings:
                break
            text = Decoded(text, segments.found).text
            said += [text, *(each.shown for each in segments.readings)]
        return said

    # -- one look ---------------------------------------------------------------------------------

    def look(self, text: str, folded: Folded, steps: str, *, closed: bool, glued: bool, depth: int = 0) -> Look:
        """Look at a text.  `glued`: its first word began before it.  `depth`: how many codes it was in."""
        look = Look([], len(text))
        self._hold_words(look, folded, steps)
        shaped: list[Shaped] = []
        for each in self.shapes.matches(folded, steps):
            if glued and each.start == 0:
                continue
            if not each.form.entries:
                shaped.append(each)
                continue
            start, end = folded.span(each.start, each.end - 1)
            look.findings += [_finding(entry, start, end, each.via) for entry in each.form.entries]
        if depth:
            found = (found for _, found in self.literals.matches(folded) if not glued or found.start > 0)
            look.findings += [replace(each, scan="codec") for each in found]
        if depth < MAX_DEPTH:
            self._look_inside(look, text, folded, steps, shaped, closed=closed, glued=glued, depth=depth)
        return look

    def _hold_words(self, look: Look, folded: Folded, steps: str) -> None:
        for live in (self.literals.live(folded), self.shapes.live(folded, steps)):
            if live is not None:
                look.hold(folded.spans[live][0])

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
        alone = "^ ^ ^ " in steps or folded.text[-3:-2] == " " or not text.isascii() and has_singles(folded.text)
        if not alone and not shaped and not coded(text):
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
        for start, end, entry, via in self.glued.matches(letters):
            span = run.letters[numbers_[start]].start, run.letters[numbers_[end - 1]].end
            if run.whole and short:
                span = run.start, run.end
            look.findings.append(_finding(entry, *span, (run.via, *via)))
        live = self.glued.live(letters) if run.open else None
        if live is not None:
            look.hold(run.letters[numbers_[live]].start)

    def _look_at_leet(self, look: Look, text: str, *, closed: bool, glued: bool) -> None:
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
        for each in (*readings, *(each for each in segments if any(map(str.isspace, text[each.start : each.end])))):
            for found in self.patterns.find(each.shown):
                yield replace(found, scan="codec", start=each.start, end=each.end, via=each.via)


def _finding(entry: Entry, start: int, end: int, via: tuple[str, ...]) -> Finding:
    return Finding(entry.target, "codec", entry.part, start, end, fact=entry.fact, via=via)


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
        self._firsts = _Firsts(codecs)
        self._seen: set[tuple[object, ...]] = set()
        self._looked = 0
        """How much of the tail was looked at the last time: while it is no more, nothing changes."""
        self._safe_to = 0

    def feed(self, text: str) -> Progress:
        """Take more text; work is linear in it and in what is undecided."""
        self._tail += text
        if self._codecs.empty:
            return self._skip()
        findings, live = self._firsts.feed(text)
        progress = self._advance(closed=False)
        return Progress([*findings, *progress.findings], min(live, progress.safe_to))

    def close(self, reason: Close) -> Progress:
        """End the text; where it was cut short, a literal that had begun in a code is reported as a prefix."""
        if self._codecs.empty:
            return self._skip()
        prefix = self._prefix() if reason == "length" else []
        progress = self._advance(closed=True)
        return Progress([*progress.findings, *prefix], self._base)

    def _skip(self) -> Progress:
        self._base += len(self._tail)
        self._tail = ""
        return Progress((), self._base)

    def _advance(self, *, closed: bool) -> Progress:
        decided = len(self._tail) if closed else self._decided()
        if decided == self._looked and not closed:
            return Progress((), self._safe_to)
        text = self._tail[:decided]
        codecs = self._codecs
        folded = fold(text, closed=closed)
        steps = shape(folded.text)
        look = codecs.look(text, folded, steps, closed=closed, glued=self._glued)
        self._look_at_words(look, text, folded, steps)
        total = self._base + len(self._tail)
        findings = self._fresh(look.findings)
        if closed:
            self._tail, self._base = "", total
            return Progress(findings, total)
        self._safe_to = self._base + look.undecided
        self._looked = decided - self._drop(text, folded, steps, look.undecided)
        return Progress(findings, self._safe_to)

    def _decided(self) -> int:
        """Return where the token at the end begins that may still go on."""
        start = len(self._tail.rstrip(_OPEN))
        return start + (len(self._tail) - start) // MAX_RUN * MAX_RUN

    def _look_at_words(self, look: Look, text: str, folded: Folded, steps: str) -> None:
        acrostics = self._codecs.acrostics["words"]
        if not acrostics.max_letters:
            return
        before = len(self._initials)
        found, live = acrostics.look(self._initials + _initials(folded.text, steps, self._glued))
        if not found and live is None:
            return
        places = _places(folded, steps, self._glued)
        for head, end, entry in found:
            if end > before and head >= before:
                span = places[head - before], places[end - 1 - before] + 1
                look.findings.append(_finding(entry, *span, ("acrostic of words",)))
        if live is not None and live >= before:
            look.hold(places[live - before])

    def _fresh(self, findings: Sequence[Finding]) -> list[Finding]:
        fresh = []
        for found in findings:
            placed = replace(found, start=self._base + found.start, end=self._base + found.end)
            key = (placed.start, placed.end, placed.target, placed.part, placed.fact, placed.via)
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(placed)
        return fresh

    def _drop(self, text: str, folded: Folded, steps: str, undecided: int) -> int:
        """Forget what is decided, but not the word that is still open; return how much that is."""
        cut = undecided
        if folded.text[-1] != " ":
            cut = min(cut, folded.spans[-1][0])
        if cut == len(text):
            self._initials += _initials(folded.text, steps, self._glued)
        elif cut:
            places = _places(folded, steps, self._glued)
            count = sum(place < cut for place in places)
            self._initials += _initials(folded.text, steps, self._glued)[:count]
        self._initials = self._initials[-self._codecs.acrostics["words"].max_letters :]
        if cut:
            self._glued = " " not in fold(f"{text[cut - 1]}x").text.strip() if text[cut - 1].isalnum() else False
            self._tail = self._tail[cut:]
            self._base += cut
            self._seen = {key for key in self._seen if key[0] >= self._base}  # type: ignore[operator]
        if len(self._tail) > OVERRUN * self._codecs.max_chars:
            raise ScanError("a code has gone on for longer than any text needs")
        return cut

    def _prefix(self) -> list[Finding]:
        """Find a literal that had begun in a code: a whole word and the beginning of the next, as in clear."""
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
        begun = codecs.glued.live(letters) if last.end >= len(text.rstrip()) else None
        if begun is not None and len(letters) - begun >= MIN_GLUED:
            return [Finding(-1, "codec", Part.PREFIX, self._base + last.start, self._base + last.end)]
        return []


class _Firsts:
    """The first letters of lines and of sentences, as they come."""

    def __init__(self, codecs: Codecs) -> None:
        self._acrostics = [codecs.acrostics[kind] for kind in ("lines", "sentences")]
        self._pending = "\n"
        """What stands behind the last end of a line or sentence, where no letter has come yet."""
        self._length = 0
        self._rows: list[tuple[str, list[int]]] = [("", []), ("", [])]
        self._live: list[int | None] = [None, None]

    def feed(self, text: str) -> tuple[list[Finding], int]:
        """Take more text; return what is found and where the frontier is."""
        findings: list[Finding] = []
        base = self._length - len(self._pending)
        shown = self._pending + text
        self._length += len(text)
        fresh: list[list[int]] = [[], []]
        for match in _STARTS.finditer(shown):
            place = base + match.start(1)
            fresh[1].append(place)
            if "\n" in match.group():
                fresh[0].append(place)
        waiting = _WAITING.search(shown, max(0, len(shown) - 64))
        self._pending = shown[waiting.start() :] if waiting else ""
        for number, acrostics in enumerate(self._acrostics):
            if fresh[number] and acrostics.max_letters:
                letters = [shown[place - base] for place in fresh[number]]
                findings += self._extend(number, acrostics, letters, fresh[number])
        live = min((each for each in self._live if each is not None), default=self._length)
        return findings, live

    def _extend(
        self, number: int, acrostics: Acrostics, letters: Sequence[str], places: Sequence[int]
    ) -> Iterator[Finding]:
        row, before = self._rows[number]
        known = len(row)
        row += "".join((letter.lower() if letter.isascii() else fold(letter).text.strip()[:1] or ".") for letter in letters)
        before = [*before, *places]
        found, live = acrostics.look(row)
        for head, end, entry in found:
            if end > known:
                yield _finding(entry, before[head], before[end - 1] + 1, (f"acrostic of {acrostics.kind}",))
        self._live[number] = None if live is None else before[live]
        keep = max(0, len(row) - acrostics.max_letters)
        self._rows[number] = row[keep:], before[keep:]


_STARTS = re.compile(r"(?:\n|(?<=[.!?…])[\"'”’)\]*_]{0,3}\s)[\W\d_]{0,40}([^\W\d_])")
_WAITING = re.compile(r"(?:\n|[.!?…][\"'”’)\]*_]{0,3}\s)[\W\d_]{0,40}\Z|[.!?…][\"'”’)\]*_]{0,3}\Z")


def _initials(folded: str, steps: str, glued: bool) -> str:
    """Return the first letters of the words that begin with one of a to z."""
    if not folded.isascii():
        letters = "".join(folded[at + 1] for at, step in enumerate(steps) if step == "^")
    else:
        marks = np.frombuffer(steps.encode("latin-1"), np.uint8) == 94
        letters = np.frombuffer(folded.encode("ascii"), np.uint8)[1:][marks].tobytes().decode("ascii")
    return letters[1:] if glued and steps[:1] == "^" else letters


def _places(folded: Folded, steps: str, glued: bool) -> list[int]:
    """Return where the words of `_initials` start in the original."""
    places = [folded.spans[folded.word_at(at + 1)][0] for at, step in enumerate(steps) if step == "^"]
    return places[1:] if glued and steps[:1] == "^" else places
