"""Passages whose lines come with something between them: tags, numbers, marks of footnotes, chords, keys.

A song as a numbered list, as subtitles, with chords, in HTML or as JSON is the song.  What stands between is
blanked out, so that every place stays where it is, and `guards.passage` reads what is left; each kind of it
is told by itself and is short, so an answer waits for its end for some characters only.  A word between that
is none of this, such as a speaker's name at each line, makes it another text.
"""

from __future__ import annotations

import re

from guards.base import Close, Progress
from guards.passage import Quotes, QuoteScan

_TAG, _SHORT = 200, 12
"""Code points of a tag, and of what stands in square brackets, at most."""
_BETWEEN = re.compile(
    rf"""</?[A-Za-z][A-Za-z0-9]{{0,20}}(?:[\s/][^<>\n]{{0,{_TAG}}})?>
    |&(?:\#\d{{1,7}}|\#[xX][0-9A-Fa-f]{{1,6}}|[A-Za-z]{{2,8}});
    |\[[^\[\]\n]{{1,{_SHORT}}}\]
    |"[^\W\d]\w{{0,20}}"\s?:
    |\b\d{{1,9}}\b""",
    re.VERBOSE,
)
_OPEN = re.compile(
    rf"""(?:</?(?:[A-Za-z][A-Za-z0-9]{{0,20}}(?:[\s/][^<>\n]{{0,{_TAG}}})?)?
    |&(?:\#[xX]?[0-9A-Fa-f]{{0,7}}|[A-Za-z]{{0,8}})
    |\[[^\[\]\n]{{0,{_SHORT}}}
    |"\w{{0,21}}(?:"\s?)?
    |\b\d{{1,9}})\Z""",
    re.VERBOSE,
)


class QuotesInLines(Quotes):
    """The shingles of a policy, looked for without what may stand between the lines of a text."""

    def open(self) -> QuoteScan:
        """Return the running state for one channel."""
        return _InLines(self)


class _InLines(QuoteScan):
    """Holds back what may become something that stands between lines, besides what `QuoteScan` does."""

    def __init__(self, quotes: Quotes) -> None:
        super().__init__(quotes)
        self._waiting = ""
        """Text that is not read yet, since its end may be the beginning of something else."""
        self._before = ""
        """The last character that was read: a number behind a letter is part of a word."""

    def feed(self, text: str) -> Progress:
        """Take more text."""
        self._waiting += text
        found = _OPEN.search(self._before + self._waiting, len(self._before))
        return super().feed(self._read(found.start() - len(self._before) if found else len(self._waiting)))

    def close(self, reason: Close, last: str = "") -> Progress:
        """End the text."""
        self._waiting += last
        return super().close(reason, self._read(len(self._waiting)))

    def _read(self, upto: int) -> str:
        """Take so much of what is waiting, and return it with what stands between lines blanked out."""
        if not upto:
            return ""
        text, at = self._before + self._waiting[:upto], len(self._before)
        pieces: list[str] = []
        for each in _BETWEEN.finditer(text, at):
            pieces += text[at : each.start()], " " * (each.end() - each.start())
            at = each.end()
        self._before, self._waiting = text[-1], self._waiting[upto:]
        return "".join([*pieces, text[at:]])
