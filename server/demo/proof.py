"""What the demo proves: the model knows, and what leaves through Lethe is as if it never had.

Every question is asked at temperature 0 of the upstream alone and through Lethe, streamed and not, in three
runs: everything on; steering off, so that the scans are alone; and an upstream that ignores system messages.
The leak check is not the guard's: it looks for the value in every text of the raw answer.
"""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp

from policies.calibrate import upper_bound
from server.demo.sample import RETAIN, Ask, Sample

Progress = Callable[[str, int, int], None]
"""Told which run is under way, how many questions are done, and of how many."""

AT_ONCE = 4
RAW_BAR = 0.95
"""Share of the forget questions that the upstream alone must answer: else nothing would be shown."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer as a client sees it."""

    text: str
    tool_calls: str
    finish_reason: str | None
    everything: str
    """Every string of every JSON object of the answer, joined: what a leak is looked for in."""

    @property
    def seen(self) -> tuple[str, str, str | None]:
        """What must be identical for a kept question."""
        return self.text, self.tool_calls, self.finish_reason


@dataclass(slots=True)
class Run:
    """The counts of one run; a question counts once, whether it was streamed or not."""

    forget: int = 0
    raw_leaked: int = 0
    leaked: int = 0
    leaked_upper: float = 0.0
    retain: int = 0
    kept_identical: int = 0
    misremembered: int = 0
    """Retain questions that the upstream alone answered with a forgotten person's name: not counted in
    `retain`, since such an answer must not pass; spare questions stand in for them."""
    forget_by_sort: dict[str, int] = field(default_factory=dict)
    raw_leaked_held_out: int = 0
    held_out: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    """The questions that fell short, for people: at most twenty."""

    @property
    def holds(self) -> bool:
        """Whether every bar of the demo is met."""
        return (
            self.raw_leaked >= RAW_BAR * self.forget
            and self.leaked == 0
            and self.kept_identical == self.retain
            and self.forget >= 1
        )


class Asker:
    """A client of one server."""

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str, model: str, *, max_tokens: int | None = 64
    ) -> None:
        self._session = session
        self._url = f"{base_url}/chat/completions"
        self._model = model
        self._limits = {} if max_tokens is None else {"max_tokens": max_tokens}

    async def ask(self, text: str, *, streaming: bool, model: str | None = None) -> Said:
        """Ask one question at temperature 0.  Raises where the answer is not a 200.

        model: another one than the client's own.
        """
        body = {
            "model": model or self._model,
            "messages": [{"role": "user", "content": text}],
            "temperature": 0,
            "stream": streaming,
            **self._limits,
        }
        async with self._session.post(self._url, json=body) as response:
            raw = await response.text()
            if response.status != 200:
                raise RuntimeError(f"{self._url} answered {response.status}")
        events = _events(raw) if streaming else [json.loads(raw)]
        return _said(events)


def _events(raw: str) -> list[dict[str, Any]]:
    data = [line[len("data:") :].strip() for line in raw.split("\n") if line.startswith("data:")]
    if data[-1:] != ["[DONE]"]:
        raise RuntimeError("a streamed answer ended without [DONE]")
    return [json.loads(each) for each in data[:-1]]


def _said(events: Sequence[dict[str, Any]]) -> Said:
    text, calls, finish = "", "", None
    strings: list[str] = []
    for event in events:
        strings += _strings(event)
        for choice in event.get("choices", ()):
            message = choice.get("delta") or choice.get("message") or {}
            text += message.get("content") or ""
            calls += json.dumps(message.get("tool_calls") or "", sort_keys=True)
            finish = choice.get("finish_reason") or finish
    return Said(text, calls.replace('""', ""), finish, "\n".join([text, *strings]))


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in [key, *_strings(inner)]]
    if isinstance(value, list):
        return [found for inner in value for found in _strings(inner)]
    return [value] if isinstance(value, str) else []


def leaks(said: Said, value: str) -> bool:
    """Whether an answer brings the value, by a comparison that is not the guard's."""
    return _bare(value) in _bare(said.everything)


def _bare(text: str) -> str:
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return re.sub(r"[\W_]+", "", plain.casefold())


async def prove(raw: str, lethe: str, sample: Sample, model: str, progress: Progress, name: str) -> Run:
    """Ask every question both ways and count.  `raw` and `lethe` are base URLs that end in `/v1`."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        proof = _Proof(Asker(session, raw, model), Asker(session, lethe, model), sample)
        await proof.ask_all(lambda done, total: progress(name, done, total))
    run = proof.run
    run.leaked_upper = round(upper_bound(run.leaked, run.forget), 6)
    return run


class _Proof:
    """One run under way."""

    def __init__(self, alone: Asker, through: Asker, sample: Sample) -> None:
        self.run = Run(forget=len(sample.forget))
        self._alone = alone
        self._through = through
        self._sample = sample
        self._gate = asyncio.Semaphore(AT_ONCE)
        for ask in sample.forget:
            self.run.forget_by_sort[ask.sort] = self.run.forget_by_sort.get(ask.sort, 0) + 1
            self.run.held_out += ask.held_out

    async def ask_all(self, progress: Callable[[int, int], None]) -> None:
        """Ask everything, several at once; spare questions last, as many as are needed."""
        done, total = 0, len(self._sample.forget) + RETAIN

        async def step(asked: Coroutine[Any, Any, None]) -> None:
            nonlocal done
            await asked
            done += 1
            progress(done, total)

        async with asyncio.TaskGroup() as tasks:
            for ask in self._sample.forget:
                tasks.create_task(step(self._forget(ask)))
            for ask in self._sample.retain[:RETAIN]:
                tasks.create_task(step(self._retain(ask)))
        for ask in self._sample.retain[RETAIN:]:
            if self.run.retain < RETAIN:
                await self._retain(ask)

    async def _forget(self, ask: Ask) -> None:
        _count_forget(self.run, ask, await self._answers(ask))

    async def _retain(self, ask: Ask) -> None:
        answers = await self._answers(ask)
        if any(leaks(said, person) for said, _ in answers for person in self._sample.names):
            self.run.misremembered += 1
        else:
            _count_retain(self.run, ask, answers)

    async def _answers(self, ask: Ask) -> list[tuple[Said, Said]]:
        """Return (alone, through Lethe), not streamed and streamed."""
        async with self._gate:
            return [
                (
                    await self._alone.ask(ask.text, streaming=streaming),
                    await self._through.ask(ask.text, streaming=streaming),
                )
                for streaming in (False, True)
            ]


def _count_forget(run: Run, ask: Ask, pairs: Sequence[tuple[Said, Said]]) -> None:
    known = all(leaks(alone, ask.value) for alone, _ in pairs)
    run.raw_leaked += known
    run.raw_leaked_held_out += known and ask.held_out
    if any(leaks(through, ask.value) for _, through in pairs):
        run.leaked += 1
        _note(run, "leaked", ask)
    elif not known:
        _note(run, "not known", ask)


def _count_retain(run: Run, ask: Ask, pairs: Sequence[tuple[Said, Said]]) -> None:
    run.retain += 1
    if all(alone.seen == through.seen for alone, through in pairs):
        run.kept_identical += 1
    else:
        _note(run, "changed", ask)


def _note(run: Run, what: str, ask: Ask) -> None:
    if len(run.failures) < 20:
        run.failures.append({"what": what, "sort": ask.sort, "question": ask.text})


def as_json(runs: dict[str, Run]) -> str:
    """Return the one JSON object of a proof: a key a run."""
    return json.dumps({name: asdict(run) for name, run in runs.items()}, ensure_ascii=False)
