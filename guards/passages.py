"""What each passage of a request holds, found once: a passage that was read before costs a hash.

A conversation sends its whole history with every turn.  What was found in a passage depends on its text and
the policy alone, so it is kept, by a keyed hash and without any text, for as long as the policy is.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from guards.base import Compiled, Finding, Part, Passage, ScanError
from guards.codecs import Codecs
from guards.codecs_misspelt import misspelt_names
from guards.described import described
from guards.literal import Literals, name_parts, value_words
from guards.misspelt import Misspelt
from guards.name_words import NameWords
from guards.remembered import Remembered
from guards.small import is_number_for_word, is_small_name, is_small_title
from guards.whole import stands_alone
from policies.calibrate import ordinary_words
from policies.people import TITLES
from policies.policy import Policy
from policies.relations import Lexicon
from policies.text import Folded, fold, sentences

if TYPE_CHECKING:
    from guards.meaning import Meaning
    from guards.runs import Runs

MAX_MEANING_TEXTS = 400
"""Sentences of one request that are encoded at most, those of passages read before not counted; a request
with more is refused, never left unchecked."""
INLINE_CHARS = 20_000
"""More text than this is read on a thread, so that the event loop goes on."""

_MIN_PART = 4
"""Shorter words of names ('Lee', 'Ana', 'von') are found in full names only."""
_CACHED = 8_192
_CACHED_CHARS = 200
"""Shorter passages are read anew, where nothing need be encoded: it costs no more than their hash."""


_T = TypeVar("_T")
_READERS = ThreadPoolExecutor(2, thread_name_prefix="lethe-reading")
"""Threads of their own: what else needs one, such as a new policy, must not wait for long requests."""


async def worked_out(work: Callable[..., _T], *given: Any, chars: int, many: bool = False) -> _T:
    """Return what `work` makes of what is given; a thread works it out where that takes long.

    chars: code points of text that it reads: with more than `INLINE_CHARS` it takes long.
    many: whether it takes long for another reason.
    """
    if chars <= INLINE_CHARS and not many:
        return work(*given)
    return await asyncio.get_running_loop().run_in_executor(_READERS, work, *given)


def chars_of(passages: Iterable[Passage]) -> int:
    """Return the code points of the passages together."""
    return sum(len(passage.text) for passage in passages)


class OverBudget(ScanError):
    """The request holds more text than may be checked; it is refused, never passed on unchecked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one text holds, whichever passage it stands in; no part of the text itself."""

    findings: tuple[Finding, ...]
    named: bool
    """Whether a word of some name is in it."""
    head: int
    """Up to where a literal that began before this text may end in it; its length, where it is short."""
    tail: int
    """From where on a literal may begin in this text that ends behind it; its length, where it is short."""
    ends: Sequence[int] = ()
    """Where its sentences end, if anything was found in it."""

    def without(self, text: str, spans: Iterable[tuple[int, int]]) -> str:
        """Return the text that this was seen in without the sentences that the spans lie in."""
        ends = self.ends or _ends(text)
        out: set[int] = set()
        for start, end in spans:
            out.update(range(bisect_right(ends, start), bisect_right(ends, max(start, end - 1)) + 1))
        begins = [0, *ends]
        return "".join(text[begins[at] : ends[at]] for at in range(len(ends)) if at not in out)


class Passages:
    """Finds targets in passages under one policy; remembers what it found by a keyed hash of the text."""

    def __init__(
        self,
        policy: Policy,
        literals: Literals,
        meaning: Meaning | None,
        words: Lexicon,
        scans: Sequence[Compiled] = (),
        codecs: Codecs | None = None,
        runs: Sequence[Runs] = (),
    ) -> None:
        """`scans`: what else is looked for in requests, which arms wherever it stands; `runs`: values."""
        self._scans = tuple(scans)
        self._literals = literals
        self.codecs = Codecs(policy, literals) if codecs is None else codecs
        self._runs = runs
        self._reach = max([literals.max_chars, *(each.max_chars for each in runs)])
        self._meaning = meaning
        self._words = words
        self._targets = policy.targets
        self._own: dict[int, frozenset[str]] = {}
        """Words of the targets of which a value was found."""
        self.misspelt = Misspelt(policy)
        self.parts = NameWords(policy, shortest=_MIN_PART, ordinary=words.stop_words)
        """Targets by the words of their names."""
        self._hyphened: dict[tuple[str, str], set[int]] = {}
        for index, target in enumerate(policy.targets):
            for pair in _hyphened(target.names):
                self._hyphened.setdefault(pair, set()).add(index)
        self._remembered: Remembered[Seen] = Remembered(_CACHED)

    async def read(self, passages: Sequence[Passage], client: str = "") -> list[Seen]:
        """Return what each passage holds, in their order.

        client: who asks; what one has brought is no cheaper for another, who could learn of it by that.
        Raises OverBudget where more sentences would have to be encoded than one request may bring, and
        what the encoder raises.
        """
        if len(passages) == 1 and not self._is_worth_a_hash(passages[0].text):
            return self._literally([passages[0].text])
        keys = [
            self._remembered.key(passage.text, client) if self._is_worth_a_hash(passage.text) else None
            for passage in passages
        ]
        known = self._remembered.known(keys)
        fresh = {
            key if key is not None else place: passage.text
            for place, (key, passage) in enumerate(zip(keys, passages, strict=True))
            if key not in known
        }
        texts = list(fresh.values())
        meant = await self._by_meaning(texts) if self._meaning is not None else [[] for _ in texts]
        read = await worked_out(self._literally, texts, chars=sum(map(len, texts)))
        new: dict[bytes | int, Seen] = {
            place: seen
            if not found
            else replace(seen, findings=(*seen.findings, *found), ends=seen.ends or _ends(text))
            for (place, text), seen, found in zip(fresh.items(), read, meant, strict=True)
        }
        self._remembered.keep({**known, **{key: seen for key, seen in new.items() if isinstance(key, bytes)}})
        return [
            known[key] if key in known else new[place if key is None else key]
            for place, key in enumerate(keys)
        ]

    def _is_worth_a_hash(self, text: str) -> bool:
        return self._meaning is not None or len(text) >= _CACHED_CHARS

    async def _by_meaning(self, texts: Sequence[str]) -> list[list[Finding]]:
        assert self._meaning is not None
        places = [(at, *span) for at, text in enumerate(texts) for span in _meaning_spans(text)]
        if len(places) > MAX_MEANING_TEXTS:
            raise OverBudget("too many sentences to check by meaning")
        found: list[list[Finding]] = [[] for _ in texts]
        if places:
            said = [texts[at][start:end] for at, start, end in places]
            judged = await self._meaning.find(said, live=True)
            for (at, start, end), findings in zip(places, judged, strict=True):
                found[at] += [replace(each, start=start, end=end) for each in findings]
        return found

    def _literally(self, texts: Sequence[str]) -> list[Seen]:
        return [self._seen(text, fold(text)) for text in texts]

    def _seen(self, text: str, folded: Folded) -> Seen:
        findings = [found for _, found in self._literals.matches(folded)]
        for runs in self._runs:
            findings += runs.find_in(text, folded)
        findings = [self._weighed(found, text) for found in findings]
        for scan in self._scans:
            findings += scan.find(text)
        findings += [found for found in self.codecs.find(text) if found.part is not Part.PATTERN]
        words = folded.words
        findings += self._misspelt_names(text, folded, findings)
        findings = [found for each in findings if (found := self._as_written(each, text))]
        named = not self.parts.isdisjoint(words)
        if named:
            findings += self._name_parts(text, folded)
        if self._hyphened:
            findings += self._hyphened_parts(words, folded)
        findings += list(self._described(text, findings))
        reach = self._reach
        ends = _ends(text) if findings else ()
        if not folded.spans or len(folded.text) <= 2 * reach:
            return Seen(tuple(findings), named, len(text), len(text), ends)
        head = folded.spans[folded.word_at(reach)][1]
        tail = folded.spans[folded.word_at(len(folded.text) - reach)][0]
        return Seen(tuple(findings), named, head, tail, ends)

    def _described(self, text: str, found: Iterable[Finding]) -> Iterator[Finding]:
        """Find those who are told by a value of theirs: 'the wife of Ruben Kesselring'."""
        for each in found:
            if each.part is not Part.VALUE or each.fact is None:
                continue
            relation = self._targets[each.target].facts[each.fact].relation
            span = described(text, each.start, each.end, relation, self._words.stop_words)
            if span is None:
                continue
            for target in self.parts.of_same(each.target):
                # Of a fact, that who it is about is somebody's wife says nothing more.
                if target != each.target or self._targets[target].kind == "entity":
                    yield Finding(target, "literal", Part.DESCRIBED, *span)

    def _as_written(self, found: Finding, text: str) -> Finding | None:
        """Return a finding of a name as what it is: without the capitals that it needs, no name at all."""
        if found.part not in (Part.NAME, Part.MISSPELT) or found.scan == "codec":
            return found
        place = text, found.start, found.end, self._targets[found.target]
        small = is_small_name(*place)
        if found.part is Part.MISSPELT:
            return None if small or is_number_for_word(*place) else found
        # Its words in a row may be the name all the same: its values do not come, and the question passes.
        return replace(found, part=Part.NAME_PART) if small else found

    def _weighed(self, found: Finding, text: str) -> Finding:
        """Return a finding as what it is: a weak value within another thing's name is only part of that."""
        if found.part is not Part.VALUE or found.fact is None:
            return found
        if found.strong:
            titled = self._targets[found.target].facts[found.fact].of_works
            if not titled or not is_small_title(text, found.start, found.end, self._words.stop_words):
                return found
            found = replace(found, strong=False)
        own = self._own.get(found.target)
        if own is None:
            target = self._targets[found.target]
            own = name_parts(target) | value_words(target)
            self._own[found.target] = own
        if stands_alone(text, found.start, found.end, own, self._words.stop_words):
            return found
        return replace(found, part=Part.VALUE_PART)

    def _misspelt_names(self, text: str, folded: Folded, found: Sequence[Finding]) -> list[Finding]:
        """Find misspelt names of targets that are not named, where nothing else that is known stands."""
        named = {each.target for each in found if each.part is Part.NAME}
        return [
            each
            for each in misspelt_names(self.misspelt, self._targets, text, folded)
            if each.target not in named
            and not any(other.start < each.end and each.start < other.end for other in found)
        ]

    def _hyphened_parts(self, words: Sequence[str], folded: Folded) -> Iterator[Finding]:
        """Find parts of names, as 'Min-Jae', whose own words are too short to be looked for."""
        for at, pair in enumerate(pairwise(words)):
            for target in sorted(self._hyphened.get(pair, ())):
                start, end = folded.spans[at][0], folded.spans[at + 1][1]
                yield Finding(target, "literal", Part.NAME_PART, start, end)

    def _name_parts(self, text: str, folded: Folded) -> Iterator[Finding]:
        """Find words of names in runs of capitalised words that hold no other name's."""
        for run in _runs(text, folded, self._is_unusual):
            # A title is none of a name ('Captain'), unless it is a word of one ('King').
            words = {word for word, _ in run if word in self.parts or word not in TITLES}
            words -= self._words.stop_words
            targets = self.parts.targets_with(words)
            own = {target for target in targets if _has(name_parts(self._targets[target]), words)}
            for word, span in run if own else ():
                # Without a capital, or with signs before it, a first name beside it may not have been seen.
                alone = text[span[0]].isupper() and text[max(0, span[0] - 2) : span[0]].isascii()
                alone = alone and self.parts.is_nobody_elses(word)
                for target in self.parts.targets(word):
                    if target in own:
                        yield Finding(target, "literal", Part.NAME_PART, *span, strong=alone)

    def _is_unusual(self, word: str) -> bool:
        """Whether a word is of a name and no ordinary word, so that it counts without its capital as well."""
        return word in self.parts and word not in ordinary_words()

    def across(self, passages: Sequence[Passage], seen: Sequence[Seen]) -> list[Finding]:
        """Find what begins in one of the user's messages and ends in another; it counts where it ends."""
        said = [pair for pair in zip(passages, seen, strict=True) if pair[0].role == "user"]
        if len(said) < 2 or not self._reach:
            return []
        edges = [edge for number, pair in enumerate(said) for edge in _edges(number, *pair)]
        joined = "\n".join(text for _, _, text in edges)
        starts, at = [], 0
        for _, _, text in edges:
            starts.append(at)
            at += len(text) + 1
        findings: list[Finding] = []
        for each in [
            *self._literals.find(joined),
            *(each for runs in self._runs for each in runs.find(joined)),
        ]:
            first, last = _place(starts, each.start), _place(starts, each.end - 1)
            number, offset, _ = edges[last]
            if edges[first][0] < number:
                end = offset + each.end - starts[last]
                via = (said[number][0].path, "messages joined")
                findings.append(replace(each, start=0, end=end, via=via))
        return findings


def _has(parts: Set[str], words: Iterable[str]) -> bool:
    """Whether words are all of one's names, or initials of them."""
    return all(word in parts or word in {part[0] for part in parts} for word in words)


def _hyphened(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the two short words of each hyphenated part of a name."""
    for part in (part for name in names for part in name.split()):
        words = fold(part).text.split()
        if len(words) == 2 and max(map(len, words)) < _MIN_PART:
            yield words[0], words[1]


def _ends(text: str) -> Sequence[int]:
    return array("L", (end for _, end in sentences(text)))


def _edges(number: int, passage: Passage, seen: Seen) -> Iterator[tuple[int, int, str]]:
    """Yield (number, offset, text) of the parts of a message that a literal across its border may touch."""
    if seen.head >= seen.tail:
        yield number, 0, passage.text
    else:
        yield number, 0, passage.text[: seen.head]
        yield number, seen.tail, passage.text[seen.tail :]


def _place(starts: Sequence[int], position: int) -> int:
    return bisect_right(starts, position) - 1


def _runs(
    text: str, folded: Folded, unusual: Callable[[str], bool]
) -> Iterator[list[tuple[str, tuple[int, int]]]]:
    """Yield the runs of adjacent capitalised or unusual words, folded, with their places.

    In a text without capitals every word is a run or part of one.
    """
    cased = text != text.lower()
    run: list[tuple[str, tuple[int, int]]] = []
    for word, span in zip(folded.words, folded.spans, strict=True):
        if run and (cased and text[run[-1][1][1] : span[0]].strip(" -") or not text[span[0]].isupper()):
            yield run
            run = []
        if text[span[0]].isupper() or not cased or unusual(word):
            run.append((word, span))
    if run:
        yield run


def _meaning_spans(text: str) -> list[tuple[int, int]]:
    """Return each sentence that has a word, and the whole text where it is several but still short."""
    spans = [span for span in sentences(text) if fold(text[slice(*span)]).text != " "]
    if len(spans) > 1 and len(text) <= 600:
        spans.append((0, len(text)))
    return spans
