"""What may be said of a problem where others read along, as in a log: where it is and of what kind.

A policy's names, values, ids and even its unknown keys may be the very thing to be forgotten.  So nothing of
a problem's own words is passed on: its message is compared with a closed list of beginnings, and what stands
in that list is said instead; its field is said as far as it is made of this format's own keys.
"""

from __future__ import annotations

import re

from pydantic import BaseModel

from policies.document import KINDS, Defaults, Expectation, FactEntry, PolicyDocument
from policies.problems import PolicyError, Problem, visible

_AS_IT_IS = (
    "does not exist", "is no file name", "is a directory", "is no regular file", "is missing",
    "is no key here", "is no key of kind", "is a merge key", "is no kind of target", "is not taken here",
    "is empty", "is out of range", "is a text", "is a list", "is a mapping", "is a single text",
    "has no letter or digit", "is a name of one letter", "asks nothing but the name", "cannot be an id",
    "is no number", "tells the upstream a value of the target", "is not YAML", "is an alias", "is an anchor",
    "is a tag", "begins a second document", "a list or mapping stands where a key should",
    "is nested deeper than", "has no 'clause' to disclose", "does not compile", "can match nothing at all",
    "can match no digit", "has the unbounded quantifier", "has neither 'text' nor 'file'",
    "has 'text' and 'file'", "names a text that does not exist", "names a text that cannot be read",
    "names a text that is no file name", "names a text that is a directory",
    "names a text that is no regular file",
    "names a text that is too large", "names a text that is no UTF-8", "is no digest", "is no key's name",
    "needs the key in the environment variable LETHE_SECRET_KEY, which is not set",
    "needs a longer key in LETHE_SECRET_KEY", "names another key than LETHE_SECRET_KEY holds",
)  # fmt: skip
_KINDS = {
    **{said: said for said in _AS_IT_IS},
    "cannot be read": "cannot be read by this user",
    "is the id of": "is the id of another target too",
    "contradicts": "contradicts another test",
    "stands on line": "stands there twice",
    "stands in 'like'": "stands in 'like' too",
    "holds the byte": "is no UTF-8",
    "holds the character": "holds a character that no text file has",
    "holds the invisible": "holds an invisible character",
    "holds {name}": "holds {name} outside of 'ask'",
    "may try": "may try too many ways to match",
    "is up to": "is too wide",
    "has ": "has too few words or entries",
    "names a text that has": "names a text that has too few words",
    "names a text that": "names a text that cannot be used",
}
_OTHER = "cannot be taken"

_MODELS: tuple[type[BaseModel], ...] = (*KINDS.values(), Defaults, Expectation, FactEntry, PolicyDocument)
_KEYS = {key for model in _MODELS for key in model.model_fields}
_STEP = rf"(?:{'|'.join(sorted(_KEYS))})(?![^.\[])(?:\[\d+\])?"
_FIELD = re.compile(rf"{_STEP}(?:\.{_STEP})*")


def discreet(error: PolicyError) -> str:
    """Return one line that says where a file's first problem is, of what kind, and how many more it has."""
    more = len(error.problems) + error.more - 1
    count = "" if not more else f", and {more} more problem{'' if more == 1 else 's'}"
    return _discreet(error.problems[0]) + count


def _discreet(problem: Problem) -> str:
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    field = _FIELD.match(problem.field)
    said = next((said for begin, said in _KINDS.items() if problem.message.startswith(begin)), _OTHER)
    return ": ".join([visible(place), *([field[0]] if field else []), said])
