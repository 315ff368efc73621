"""What fields of texts, secrets and numbers take, and how a wrong one is told."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from policies.relations import folded
from policies.sealing import DIGEST_CHARS

MAX_TEXT = 16 << 20
"""Code points of a passage, and bytes of the files that hold some."""
MAX_FILE_NAME = 4_000
"""Code points."""
_HEX = re.compile(r"[0-9a-f]+")


def flaw(wrong: str, valid: str, at: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """Return the error that says what is wrong and what would be valid; `at` leads on from the field."""
    return PydanticCustomError("flaw", "{wrong}; {valid}", {"wrong": wrong, "valid": valid, "at": at})


def refuse_few_words(words: list[str], least: int, at: tuple[str | int, ...]) -> None:
    """Raise where a text is too short for any of it to be found."""
    if len(words) < least:
        valid = f"at least {least}, as 'words' says; a shorter phrase is a value of a fact"
        raise flaw(f"has {len(words)} word{'' if len(words) == 1 else 's'}", valid, at)


def _verbatim(text: str) -> str:
    if not folded(text):
        raise flaw("has no letter or digit", "the text itself, or 'file' with the name of the file it is in")
    if len(text) > MAX_TEXT:
        raise flaw(f"is {len(text)} characters long", f"at most {MAX_TEXT}")
    return text


def _file(name: str) -> str:
    if not name or "\0" in name or len(name) > MAX_FILE_NAME:
        raise flaw("is no file name", "the name of a text file, as seen from the policy's folder")
    return name


def _digest(text: str) -> str:
    if len(text) != DIGEST_CHARS or not _HEX.fullmatch(text):
        raise flaw("is no digest", f"{DIGEST_CHARS} of 0-9 a-f, as `lethe secret` writes them")
    return text


def _key_id(text: str) -> str:
    if len(text) != 16 or not _HEX.fullmatch(text):
        raise flaw("is no key's name", "16 of 0-9 a-f, as `lethe secret` writes them")
    return text


def _whole(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise flaw("is no number", "a whole number, such as 8")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Verbatim = Annotated[
    str, AfterValidator(_verbatim), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
FileName = Annotated[str, AfterValidator(_file)]
Digest = Annotated[
    str,
    AfterValidator(_digest),
    WithJsonSchema({"type": "string", "pattern": f"^[0-9a-f]{{{DIGEST_CHARS}}}$"}),
]
KeyId = Annotated[
    str, AfterValidator(_key_id), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{16}$"})
]
