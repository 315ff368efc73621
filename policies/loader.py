"""From a policy file to a policy, or to every problem of the file, each with its line.

Nothing of a file is trusted: its size is looked at before it is opened, and whatever it holds ends in a
Policy or in a PolicyError.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from policies import clashes as between
from policies.compile import compile_policy
from policies.complaints import complaints
from policies.document import PassageTarget, PolicyDocument, TargetEntry
from policies.fields import MAX_TEXT, refuse_few_words
from policies.nodes import (
    Mapping,
    Node,
    Place,
    Repeated,
    Scalar,
    Sequence,
    YamlError,
    compose,
    place_at,
    plain,
)
from policies.policy import Policy
from policies.problems import PolicyError, Problem, visible
from policies.shingles import words_of
from policies.source import Source, Text, named_texts, path_of

MAX_BYTES = 64 * 1024 * 1024
"""Size of a policy file."""
_ENOUGH = 200
"""Problems after which no more are looked for: a file of nothing else must not fill the memory."""
_TARGET: TypeAdapter[TargetEntry] = TypeAdapter(TargetEntry)
_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"),
)  # fmt: skip


def load_policy(path: Path | str) -> Policy:
    """Return the policy in the file at `path`; raise PolicyError with all its problems otherwise."""
    return policy_of(read_policy(path), path)


def read_policy(path: Path | str) -> Source:
    """Return what lies at `path`: the policy file and the texts that it names.

    Raises PolicyError where the file is not to be read; a text that is not is a problem of the policy.
    """
    data = _read(str(path))
    return Source(data, _texts(data, path))


def policy_of(source: Source, path: Path | str) -> Policy:
    """Return the policy that a file's bytes are; raise PolicyError with all their problems otherwise.

    path: what problems call the file.
    """
    file = str(path)
    return _parsed(_decoded(source.data, file), file, source)


def parse_policy(text: str, file: str = "policy.yaml", beside: Path | None = None) -> Policy:
    """Return the policy that `text` is; raise PolicyError with all its problems otherwise.

    file: what problems call the text.
    beside: the file that it will be in, where that is another: the texts that it names are looked for there.
    """
    data = text.encode("utf-8", "surrogatepass")
    return _parsed(text.removeprefix("\ufeff"), file, Source(data, _texts(data, beside or file)))


def digest_of(data: bytes, path: Path | str) -> str:
    """Return the digest by which a policy file of these bytes, at `path`, is known."""
    return Source(data, _texts(data, path)).digest


def _texts(data: bytes, path: Path | str) -> dict[str, Text]:
    """Return the texts that a policy file names, as far as they can be read."""
    found: dict[str, Text] = {}
    left = MAX_TEXT
    for name in named_texts(data):
        text = _text(str(path_of(name, path)), left)
        left -= len(text.data)
        found[name] = text
    return found


def _text(file: str, limit: int) -> Text:
    try:
        data = _read(file)
    except PolicyError as error:
        wrong = error.problems[0].message.partition(";")[0]
        return Text(problem=f"{wrong}; name a text file that this user may read")
    if len(data) > limit:
        return Text(
            problem=f"is too large; all texts of a policy together have at most {MAX_TEXT:,} bytes (16 MB)"
        )
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Text(problem="is no UTF-8; save the text as UTF-8")
    return Text(data)


def _whole(file: str, message: str) -> PolicyError:
    return PolicyError([Problem(file, 0, 0, "", None, message)])


def _read(file: str) -> bytes:
    try:
        _refuse_unread(file, os.stat(file))
        with open(file, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise _whole(file, "does not exist; name a policy file") from None
    except OSError as error:
        reason = (error.strerror or "the system refused").lower()
        raise _whole(file, f"cannot be read: {reason}; a file that this user may read") from None
    except PolicyError:
        raise
    except ValueError:
        raise _whole(file, "is no file name; name a policy file") from None
    if len(data) > MAX_BYTES:
        raise _too_large(file, len(data))
    return data


def _refuse_unread(file: str, status: os.stat_result) -> None:
    """Raise where a file is not to be opened: a pipe would block, a device never ends."""
    if stat.S_ISDIR(status.st_mode):
        raise _whole(file, "is a directory; name the policy file in it")
    if not stat.S_ISREG(status.st_mode):
        raise _whole(file, "is no regular file; a policy is read from a file")
    if status.st_size > MAX_BYTES:
        raise _too_large(file, status.st_size)


def _too_large(file: str, size_bytes: int) -> PolicyError:
    return _whole(file, f"is {size_bytes:,} bytes large; at most {MAX_BYTES:,} (64 MB)")


def _decoded(data: bytes, file: str) -> str:
    for mark, encoding in _OTHER_ENCODINGS:
        if data.startswith(mark):
            raise PolicyError([Problem(file, 1, 1, "", None, f"is {encoding}; save the file as UTF-8")])
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        place = place_at(before, len(before))
        message = f"holds the byte 0x{data[error.start]:02x}, which is no UTF-8; save the file as UTF-8"
        raise PolicyError([Problem(file, place.line, place.column, "", None, message)]) from None


def _parsed(text: str, file: str, source: Source) -> Policy:
    try:
        root, repeated = compose(text)
    except YamlError as error:
        place = error.place
        raise PolicyError([Problem(file, place.line, place.column, "", error.value, str(error))]) from None
    if not isinstance(root, Mapping):
        kind = "a list" if isinstance(root, Sequence) else "a single text"
        message = f"is {kind} at the top; a policy is a mapping that begins with 'lethe: 1'"
        raise PolicyError([Problem(file, root.place.line, root.place.column, "", None, message)])
    data = plain(root)
    document, found = _validated(data)
    texts = {name: text.data.decode("utf-8-sig") for name, text in source.texts.items() if not text.problem}
    if document is not None:
        found += [*_unread(document, source), *_too_short(document, texts), *between.sealed_otherwise(data)]
    problems = [_problem(file, root, each) for each in (*islice(between.clashes(data), _ENOUGH), *found)]
    problems += [_repeated(file, each) for each in repeated[:_ENOUGH]]
    if problems or document is None:
        raise PolicyError(problems)
    return compile_policy(document, source.digest, list(_test_lines(root)), texts)


def _unread(document: PolicyDocument, source: Source) -> Iterator[between.Clash]:
    """Yield a clash for each text that cannot be read."""
    for index, entry in enumerate(document.targets):
        text = source.texts.get(entry.file) if isinstance(entry, PassageTarget) and entry.file else None
        if text is not None and text.problem:
            yield between.Clash(("targets", index, "file"), f"names a text that {text.problem}")


def _too_short(document: PolicyDocument, texts: dict[str, str]) -> Iterator[between.Clash]:
    """Yield a clash for each text of a file that has too few words to be found."""
    for index, entry in enumerate(document.targets):
        if not isinstance(entry, PassageTarget) or entry.file not in texts:
            continue
        try:
            refuse_few_words(words_of(texts[entry.file]), entry.words, ())
        except PydanticCustomError as error:
            said = error.context or {}
            message = f"names a text that {said['wrong']}; {said['valid']}"
            yield between.Clash(("targets", index, "file"), message)


def _validated(data: dict[str, Any]) -> tuple[PolicyDocument | None, list[between.Clash]]:
    """Return the document, or what is wrong with it.

    Targets are validated one by one, so that a file of a million wrong ones is given up early.
    """
    found: list[between.Clash] = []
    targets: list[TargetEntry] = []
    document = None
    entries = data.get("targets")
    each_by_itself = isinstance(entries, list)
    try:
        document = PolicyDocument.model_validate({**data, "targets": []} if each_by_itself else data)
    except ValidationError as error:
        found += complaints(error)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        try:
            targets.append(_TARGET.validate_python(entry))
        except ValidationError as error:
            found += complaints(error, ("targets", index))
            if len(found) > _ENOUGH:
                break
    if document is None or found:
        return None, found
    return document.model_copy(update={"targets": tuple(targets)}), []


def _repeated(file: str, each: Repeated) -> Problem:
    message = f"stands on line {each.first.line} already; a key stands once"
    return Problem(file, each.place.line, each.place.column, _field(each.path), None, message)


def _test_lines(root: Mapping) -> Iterator[int]:
    tests = root.entries.get("tests")
    if tests is not None and isinstance(tests[1], Sequence):
        yield from (item.place.line for item in tests[1].items)


def _problem(file: str, root: Node, clash: between.Clash) -> Problem:
    place, value = _found(root, clash.path)
    return Problem(file, place.line, place.column, _field(clash.path), value, clash.message)


def _found(root: Node, path: between.Path) -> tuple[Place, str | None]:
    """Return where `path` leads and the text there; where nothing is, the innermost place around it."""
    node, place = root, root.place
    for part in path:
        if isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            place = node.place
        elif isinstance(node, Mapping) and isinstance(part, str) and part in node.entries:
            place, node = node.entries[part]
        else:
            return place, None
    if isinstance(node, Scalar):
        return (place if node.empty else node.place), (None if node.empty else node.text)
    return place, None


def _field(path: between.Path) -> str:
    """Return `targets[2].regex` for ("targets", 2, "regex")."""
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{visible(part)}" for part in path)
    return shown.removeprefix(".")
