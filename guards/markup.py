"""A text as it reads without its markup: what is within a word vanishes, what is between words is a space.

'**O**dalys <br> Venna-ker' is a name to whoever sees it rendered.  A text is read anew only where it holds
marks within or between words: HTML tags and comments, links, footnotes, emphasis, escapes, entities, commands
of LaTeX; and once more without hyphens and the like within words.  Every mark has at most `MAX_MARK` code
points, so the work is linear.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from policies.text import MAX_GAP

MAX_MARK = 200
"""Code points of a tag or a link's target at most; a longer one is text."""
MAX_MARKS = 600
"""Words with more than so many code points of marks between them are not of one name."""
MAX_KEPT = 400
"""Code points that are kept at most for how the text behind them reads."""
GROWTH = 8
"""What is kept is read again when it has grown by this part of it, so that a long run of marks that comes a
few characters at a time is not read once for each piece."""
_LINKED = rf"[^()\n]{{0,{MAX_MARK}}}"
LINK = (
    rf"\]\({_LINKED}(?:\({_LINKED}\){_LINKED})?\)|\]\[[^\[\]\n]{{0,40}}\]|\[\^[^\W_]{{1,20}}\]|\[\d{{1,3}}\]"
)
"""The end of a link with its target, and a footnote."""
_MARK = re.compile(
    rf"""<!--[^>\n]{{0,{MAX_MARK}}}-->|</?(?P<tag>[A-Za-z][A-Za-z0-9]{{0,20}})(?:[\s/][^<>\n]{{0,{MAX_MARK}}})?>
    |{LINK}
    |(?P<entity>&(?:\#\d{{1,7}}|\#[xX][0-9A-Fa-f]{{1,6}}|[A-Za-z][A-Za-z0-9]{{1,30}});)
    |\\[A-Za-z]{{1,20}}\{{|\\|[*_~`{{}}\[\]|=^$]+""",
    re.VERBOSE,
)
_OPEN = re.compile(
    rf"""(?:<(?:!(?:-(?:-[^>\n]{{0,{MAX_MARK}}})?)?|/?(?:[A-Za-z][^<>\n]{{0,{MAX_MARK + 22}}})?)?
    |\](?:\({_LINKED}(?:\({_LINKED}(?:\){_LINKED})?)?|\[[^\[\]\n]{{0,40}})?|\[\^?[^\W_]{{0,20}}
    |&\#?[A-Za-z0-9]{{0,31}}|\\[A-Za-z]{{0,20}}|[*_~`{{}}\[\]|=^$]+)\Z""",
    re.VERBOSE,
)
_JOINTS = r"\-‐‑·•⁃/()\[\]{}+:"
_L = r"(?:[^\W_]|[\u00ad\u0300-\u036f\u200b-\u200f\u2060\ufeff])"
"""A letter, or what belongs to one."""
_A = r"(?:[^\W\d_]|[\u00ad\u0300-\u036f\u200b-\u200f\u2060\ufeff])"
"""The same but for digits: '3-10' is no name, whatever it is."""
JOINT = re.compile(rf"(?<={_A})[{_JOINTS}*_~`|=^$]{{1,4}}\n?(?={_A})")
"""What joins two parts of a word."""
_OPEN_JOINT = re.compile(rf"(?<={_A})[{_JOINTS}*_~`|=^$]{{1,4}}\n?\Z")
_SIGNS_ALONE = "*_~`{}[]|=^$"
_SIGNS = ("<", "&", "\\", *_SIGNS_ALONE)
_JOINT_SIGNS = tuple("-/()[]{}+:‐‑·•⁃")
# A run of signs is looked at from its first one alone: from each of them, a long run would cost its square.
_TELLING = re.compile(
    rf"(?<![*_~`{{}}\[\]|=^$])[*_~`{{}}\[\]|=^$]++(?:{_L}|\Z)|<(?:[A-Za-z/!]|\Z)|\](?:[(\[]|\Z)|\[(?:[\^\d]|\Z)|&(?:[\#A-Za-z]|\Z)|\\"
)
_JOINED = re.compile(rf"[{_JOINTS}]{{1,4}}\n?(?:{_A}|\Z)")
_APART = frozenset(
    "address article aside blockquote br button caption center dd div dl dt figcaption figure footer form h1 "
    "h2 h3 h4 h5 h6 header hr input label legend li main nav ol option p pre section select summary table "
    "tbody td tfoot th thead title tr ul".split()
)
"""Tags that show their content by itself; all others stand within a line."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A text without its marks."""

    text: str
    offsets: Sequence[int]
    """Where each character of `text` stands in the original, ascending."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original half-open span of a shown one that is not empty."""
        return self.offsets[start], self.offsets[end - 1] + 1


@dataclass(slots=True)
class Marked:
    """A text with marks: how it reads, and where it may be cut."""

    original: str
    plain: Reading | None = None
    """Without marks, where there are any."""
    joined: Reading | None = None
    """Also without what joins parts of words, where there is any of it."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    """The marks, and last the one that is open at the end, if any."""

    inside: tuple[int, Marked] | None = None
    """What stands in a mark that is open at the end, and where that begins, should it turn out to be none."""

    def within(self) -> Iterator[tuple[int, Marked]]:
        """Yield what stands in the mark that is open at the end, with where it begins, and so on inwards."""
        begins, inner = 0, self.inside
        while inner is not None:
            begins += inner[0]
            yield begins, inner[1]
            inner = inner[1].inside

    @property
    def readings(self) -> Sequence[Reading]:
        """The ways in which it reads."""
        return [each for each in (self.plain, self.joined) if each is not None]

    def keep_from(self, position: int) -> int:
        """Return from where on the text is needed, so that what follows `position` reads as it does in it.

        At most `MAX_KEPT` code points before it.
        """
        at, least = position, max(0, position - MAX_KEPT)
        while at > least:
            space = max(self.original.rfind(each, least, at) for each in " \n\t\r")
            at = space + 1 if space >= 0 else least
            mark = bisect_right(self.spans, (at, -1)) - 1
            if mark < 0 or not self.spans[mark][0] < at < self.spans[mark][1]:
                break
            at = self.spans[mark][0]
        return max(at, least)


def _holds(text: str, signs: Sequence[str]) -> bool:
    """Whether a text holds one of the signs; faster than any expression, since most texts hold none."""
    for sign in signs:  # noqa: SIM110  (a generator would cost as much as the looks)
        if sign in text:
            return True
    return False


def _tells(match: re.Match[str]) -> bool:
    """Whether a mark is more than emphasis around whole words."""
    return match[0][0] in "<&\\" or match[0][0] in "[]" and len(match[0]) > 1 or _behind_a_word(match)


def _behind_a_word(match: re.Match[str]) -> bool:
    at = match.start()
    return at > 0 and (match.string[at - 1].isalnum() or not match.string[at - 1].isascii())


def _behind_a_letter(match: re.Match[str]) -> bool:
    at = match.start()
    return at > 0 and (match.string[at - 1].isalpha() or not match.string[at - 1].isascii())


# Several scans look at the same text, one after the other.
@lru_cache(maxsize=4)
def marked(text: str, *, closed: bool) -> Marked | None:
    """Return a text with marks within or between its words, or None where it has none.

    closed: whether nothing more will come; else what may be the beginning of a mark at the end is left out.
    Linear in the text; most texts cost a look.
    """
    telling = _holds(text, _SIGNS) and any(map(_tells, _TELLING.finditer(text)))
    joined = _holds(text, _JOINT_SIGNS) and any(map(_behind_a_letter, _JOINED.finditer(text)))
    if not telling and not joined:
        return None
    made = Marked(text)
    pieces = _pieces(made, text, closed=closed) if telling else [(0, text)]
    plain = _in_one(pieces)
    made.plain = plain if telling else None
    # Also where a mark stands between a joint and what it joins.
    if (joined or telling) and (JOINT.search(plain.text) or not closed and _OPEN_JOINT.search(plain.text)):
        made.joined = _without_joints(plain, closed=closed)
    return made


Pieces = list[tuple[int, str]]
"""Stretches of text as they are read, each with where it begins; a stretch that begins with a NUL stands
there as a whole."""


def _pieces(made: Marked, text: str, *, closed: bool) -> Pieces:
    end = len(text)
    if not closed:
        open_mark = _OPEN.search(text, max(0, end - 3 * MAX_MARK - 30))
        end = end if open_mark is None else open_mark.start()
    pieces: Pieces = []
    at = run = 0
    for match in _MARK.finditer(text, 0, end):
        start, stop = match.span()
        if start > at:
            pieces.append((at, text[at:start]))
            run = 0 if text[at:start].strip() else run
        run += stop - start
        shown = _shown(match)
        if run > MAX_MARKS:
            shown, run = "." * (MAX_GAP + 1), 0
        if shown:
            pieces.append((start, f"\0{shown}"))
        made.spans.append((start, stop))
        at = stop
    if end > at:
        pieces.append((at, text[at:end]))
    if end < len(text):
        made.spans.append((end, len(text) + 1))  # what comes next is in it
        # Signs alone hold nothing, and each of them would be one mark more within the others.
        if text[end:].strip(_SIGNS_ALONE):
            within = marked(text[end + 1 :], closed=False)
            made.inside = None if within is None else (end + 1, within)
    return pieces


def _shown(match: re.Match[str]) -> str:
    if match["entity"]:
        return html.unescape(match["entity"])
    return " " if match["tag"] and match["tag"].lower() in _APART else ""


def _in_one(pieces: Pieces) -> Reading:
    offsets: list[int] = []
    shown = []
    for at, piece in pieces:
        if piece[0] == "\0":
            shown.append(piece[1:])
            offsets.extend([at] * (len(piece) - 1))
        else:
            shown.append(piece)
            offsets.extend(range(at, at + len(piece)))
    return Reading("".join(shown), offsets)


def _without_joints(plain: Reading, *, closed: bool) -> Reading:
    text: list[str] = []
    offsets: list[int] = []
    at = 0
    end = len(plain.text)
    if not closed and (open_joint := _OPEN_JOINT.search(plain.text)):
        end = open_joint.start()
    for match in JOINT.finditer(plain.text, 0, end):
        text.append(plain.text[at : match.start()])
        offsets.extend(plain.offsets[at : match.start()])
        at = match.end()
    text.append(plain.text[at:end])
    offsets.extend(plain.offsets[at:end])
    return Reading("".join(text), offsets)
