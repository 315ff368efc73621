"""Token counts that say what the client sent and what it got, and nothing about what lies between.

An upstream's own counts would show how long an injected instruction is, or how long an answer was that
did not leave.  So every exchange is counted here, touched or not, by one rule that needs no tokeniser of
any model: the same text always counts the same.  What the upstream billed goes to the audit instead.

A token is at most 8 Latin letters, 3 digits, 2 letters of another script, or 4 other marks, each with the
space before it, or a run of at most 16 white space characters: GPT-2's way of cutting text before it
merges bytes (Radford et al., 2019, and the pattern in its published encoder), with bounded pieces in place
of the merges.  Against a WordPiece vocabulary of 30,000 it counts between 0.8 (tables) and 1.15 (English
prose) of its tokens.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

import orjson

from server.exchange import Question, Usage

PER_MESSAGE = 4
"""Tokens that a chat template is taken to put around a message."""

_TOKEN = re.compile(r" ?[A-Za-zÀ-ɏ]{1,8}| ?\d{1,3}| ?[^\W\d_]{1,2}| ?(?:[^\w\s]|_){1,4}|\s{1,16}")
_TEXT_FIELDS = ("content", "refusal", "reasoning", "reasoning_content", "name")
_SCHEMA_FIELDS = ("tools", "response_format")


class Released(NamedTuple):
    """What one choice of an answer let out."""

    texts: Iterable[str]
    """The whole text of each channel, and the names and arguments of tool calls."""
    cut: bool
    """Whether it ended for its length."""


def count_tokens(text: str) -> int:
    """Return how many tokens `text` has, from 0; linear, and the same wherever it runs.

    Long texts come again with every turn of a conversation: their counts are kept, by the texts' own hashes,
    which are keyed by a secret of this process.
    """
    if len(text) < _LONG:
        return len(_TOKEN.findall(text))
    key = hash(text), len(text)
    known = _COUNTED.get(key)
    if known is None:
        known = _COUNTED[key] = len(_TOKEN.findall(text))
        while len(_COUNTED) > _KEPT:
            _COUNTED.popitem(last=False)
    else:
        _COUNTED.move_to_end(key)
    return known


_LONG = 1_000
_KEPT = 8_192
_COUNTED: OrderedDict[tuple[int, int], int] = OrderedDict()


def token_spans(text: str) -> list[int]:
    """Return where each token of `text` begins."""
    return [token.start() for token in _TOKEN.finditer(text)]


def truncate(text: str, max_tokens: int) -> tuple[str, bool]:
    """Return the first `max_tokens` tokens of `text`, and whether anything was cut off.

    `max_tokens` is from 0.  What is returned is a prefix of the text and counts at most `max_tokens`.
    """
    end = 0
    for token in islice(_TOKEN.finditer(text), max_tokens):
        end = token.end()
    return text[:end], end < len(text)


def usage(question: Question, released: Iterable[Released]) -> Usage:
    """Return the counts of what the client sent and of what was released, over all choices.

    A choice that ended for its length counts exactly what the client allowed: there an upstream's cut,
    made with other tokens, must not differ from one made here.  Any other counts what it holds, which by
    our tokens may be somewhat more than was allowed by the upstream's.
    """
    return Usage(_prompt_tokens(question.upstream), sum(_completion_tokens(question, it) for it in released))


def _completion_tokens(question: Question, released: Released) -> int:
    if released.cut and question.max_tokens is not None:
        return question.max_tokens
    # Not capped: an upstream that gave more than was allowed has its text counted, since it was released.
    return sum(map(count_tokens, released.texts))


def _prompt_tokens(upstream: Mapping[str, Any]) -> int:
    """Count the messages and tools that the client sent: `Question.upstream` holds no word of Lethe's."""
    messages = upstream.get("messages", ())
    texts = chain.from_iterable(map(_message_texts, messages))
    schemas = (orjson.dumps(upstream[name]).decode() for name in _SCHEMA_FIELDS if name in upstream)
    return PER_MESSAGE * len(messages) + sum(map(count_tokens, chain(texts, schemas)))


def _message_texts(message: Mapping[str, Any]) -> Iterator[str]:
    for name in _TEXT_FIELDS:
        value = message.get(name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (part.get("text") or part.get("refusal") or "" for part in value)
    for call in message.get("tool_calls", ()):
        yield call["function"]["name"]
        yield call["function"]["arguments"]
