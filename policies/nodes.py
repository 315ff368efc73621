"""YAML as a tree that remembers where everything stands, and nothing that YAML can do beyond data.

PyYAML's event stream is used, and not its composer or constructor: events carry line and column, are
produced without recursion, and show anchors, aliases, tags and depth before anything is built from them,
so that an alias bomb is refused at its first alias.  libyaml's parser is taken where PyYAML has it (some
ten times faster; PyYAML's own also wants quotes around a text with '?' inside brackets); ruamel.yaml was
not taken, since it adds round-tripping, which nobody here needs, to a
second dependency.

Scalars stay text.  Whether `1974` is a number is for the field it stands in to say, so `no`, `on`, `1_000`
and `1974-03-12` reach a text field as they were written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_DEPTH = 32
"""Nested lists and mappings; a policy needs seven."""

MAX_ITEMS = 10_000
"""Entries of one list; of targets there may be any number."""
MAX_KEYS = 200
"""Keys of one mapping; a target has at most twenty."""

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What YAML 1.2 lets a file contain, less the byte order mark inside a file and the three line breaks
# that YAML counts and editors do not: line numbers must be those that the author sees.
_CONTROL = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_BREAK = re.compile(r"\r\n|[\n\r]")
_NULL = frozenset(("", "~", "null", "Null", "NULL"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Scalar:
    """A text as written; `quoted` tells the word 'null' from no value."""

    place: Place
    text: str
    quoted: bool

    @property
    def empty(self) -> bool:
        """Whether YAML reads it as no value."""
        return not self.quoted and self.text in _NULL


@dataclass(slots=True)
class Sequence:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """Keys with their values, in the order of the file; of a key that stands twice, the first value."""

    place: Place
    entries: dict[str, tuple[Place, Node]] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping


class YamlError(ValueError):
    """The text is no YAML that a policy may use."""

    def __init__(self, place: Place, wrong: str, valid: str, value: str | None = None) -> None:
        super().__init__(f"{wrong}; {valid}")
        self.place = place
        self.value = value


@dataclass(frozen=True, slots=True)
class Repeated:
    """A key that stands twice in one mapping: where the second is, and where the first."""

    path: tuple[str | int, ...]
    place: Place
    first: Place


def compose(text: str, loader: type[Any] = _LOADER) -> tuple[Node, list[Repeated]]:
    """Return the root of `text` and the keys that stand twice in it.

    Raises YamlError at the first place that is not YAML, or is YAML that a policy does not take: an
    anchor, alias or tag, a second document, a key that is no text, more than `MAX_DEPTH` levels.
    """
    control = _CONTROL.search(text)
    if control is not None:
        wrong = f"holds the character U+{ord(control[0]):04X}, which no text file has"
        raise YamlError(place_at(text, control.start()), wrong, "save the file as plain UTF-8 text")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _syntax(text, error) from None
    if builder.root is None:
        raise YamlError(Place(1, 1), "is empty", "a policy begins with 'lethe: 1'")
    return builder.root, builder.repeated


def place_at(text: str, offset: int) -> Place:
    """Return the place of a code point offset."""
    line, begin = 1, 0
    for match in _BREAK.finditer(text, 0, offset):
        line, begin = line + 1, match.end()
    return Place(line, offset - begin + 1)


def plain(node: Node) -> Any:
    """Return a tree, at most `MAX_DEPTH` deep, as dict, list, str and None."""
    if isinstance(node, Scalar):
        return None if node.empty else node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, (_, value) in node.entries.items()}


class _Builder:
    """Makes the tree of events, with a stack of its own."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.repeated: list[Repeated] = []
        self._open: list[Sequence | Mapping] = []
        self._keys: list[Scalar | None] = []
        """For each open mapping the key whose value comes next; None for a list or where a key comes next."""
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.NodeEvent):
            place = _place(event.start_mark)
            _refuse_cleverness(event, place)
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(Scalar(place, event.value, bool(event.style)))
            else:
                self._begin(Sequence(place) if isinstance(event, yaml.SequenceStartEvent) else Mapping(place))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                wrong = "begins a second document"
                raise YamlError(_place(event.start_mark), wrong, "one policy a file", "---")

    def _scalar(self, scalar: Scalar) -> None:
        if self._open and isinstance(self._open[-1], Mapping) and self._keys[-1] is None:
            self._keys[-1] = scalar
        else:
            self._add(scalar)

    def _begin(self, node: Sequence | Mapping) -> None:
        if self._open and isinstance(self._open[-1], Mapping) and self._keys[-1] is None:
            wrong = "a list or mapping stands where a key should"
            raise YamlError(node.place, wrong, "a key is a word; quote a text that holds { or [")
        if len(self._open) >= MAX_DEPTH:
            raise YamlError(node.place, f"is nested deeper than {MAX_DEPTH} levels", "a policy needs seven")
        self._add(node)
        self._open.append(node)
        self._keys.append(None)

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            self._refuse_endless(parent, node.place)
            parent.items.append(node)
            return
        key = self._keys[-1]
        assert key is not None
        self._keys[-1] = None
        if len(parent.entries) >= MAX_KEYS:
            raise YamlError(
                key.place, f"is key {MAX_KEYS + 1} of one mapping", "a policy needs twenty", key.text
            )
        if key.text in parent.entries:
            path = (*self._path(), key.text)
            self.repeated.append(Repeated(path, key.place, parent.entries[key.text][0]))
        else:
            parent.entries[key.text] = (key.place, node)

    def _refuse_endless(self, items: Sequence, place: Place) -> None:
        if len(items.items) < MAX_ITEMS:
            return
        targets = self.root.entries.get("targets") if isinstance(self.root, Mapping) else None
        if targets is None or targets[1] is not items:
            valid = f"at most {MAX_ITEMS:,}; of targets any number"
            raise YamlError(place, f"is entry {MAX_ITEMS + 1:,} of one list", valid)

    def _path(self) -> Iterator[str | int]:
        """Yield the way to the innermost open node: each one is the last that its parent got."""
        for parent, child in zip(self._open, self._open[1:], strict=False):
            if isinstance(parent, Sequence):
                yield len(parent.items) - 1
            else:
                yield next((key for key, (_, node) in parent.entries.items() if node is child), "?")


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _refuse_cleverness(event: yaml.NodeEvent, place: Place) -> None:
    if isinstance(event, yaml.AliasEvent):
        valid = "write the value out; a text that begins with * goes in quotes"
        raise YamlError(place, "is an alias, which a policy does not take", valid, f"*{event.anchor}")
    if event.anchor is not None:
        valid = "leave it out; a text that begins with & goes in quotes"
        raise YamlError(place, "is an anchor, which a policy does not take", valid, f"&{event.anchor}")
    tag = getattr(event, "tag", None)
    if tag is not None:
        valid = "leave it out; a text that begins with ! goes in quotes"
        raise YamlError(place, "is a tag, which a policy does not take", valid, tag)


_HINTS = (
    ("mapping values are not allowed", "put a text that holds ': ' in quotes"),
    ("unknown escape", "use single quotes, in which a backslash is only a backslash"),
    ("unexpected end of stream", "close the quote or bracket that was opened"),
    ("expected ',' or", "separate with ',' and close the bracket; quote a text that holds , [ ] { or }"),
    ("cannot start any token", "put a text that begins with @ ` % or another mark in quotes"),
    ("could not find expected ':'", "write 'key: value'"),
)


def _syntax(text: str, error: yaml.YAMLError) -> YamlError:
    mark = getattr(error, "problem_mark", None)
    place = _place(mark) if mark is not None else Place(1, 1)
    lines = _BREAK.split(text)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return YamlError(place, "is not YAML: a tab indents this line", "indent with spaces")
    said = str(getattr(error, "problem", None) or "it cannot be read")
    valid = next((hint for known, hint in _HINTS if known in said), "check indentation and quotes")
    return YamlError(place, f"is not YAML: {said}", valid)
