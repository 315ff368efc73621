"""Codes, whole exchanges: in whatever code it is asked and answered, nothing forgotten leaves and all else does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from evals.ciphers import CIPHERS
from evals.codes import CODES, Code, bare, holds
from evals.suite_codes import WAYS, Case, Known, Obliging, asked, cases, ciphered, gateway, known
from policies.loader import load_policy
from policies.policy import Policy
from server.demo.proof import Asker, Said
from server.demo.sample import Ask
from server.demo.tour import POLICY
from tests.fake_upstream import Reply, say
from tests.lethe_server import lethe

NAME, PLACE = "Odalys Vennaker", "Port Meridane"
SENTENCE = f"{NAME} comes from {PLACE}."
every_code = pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)


@pytest.fixture(scope="module")
def steps() -> list[str]:
    """What was said on the way to the model's own answers."""
    return []


@pytest.fixture(scope="module")
def knows(steps: list[str]) -> Known:
    """A few questions of each sort, with the demo model's own answers."""
    return known(slice(None, None, 13), slice(None, None, 13), steps.append)


def test_what_takes_long_is_said_from_the_start(knows: Known, steps: list[str]) -> None:
    assert knows.forget and steps[0] == "loading the demo model"
    done, of = re.fullmatch(r"the demo model's own answers: (\d+) of (\d+)", steps[-1]).groups()  # type: ignore[union-attr]
    assert done == of and len(steps) < int(of)


@pytest.fixture(scope="module")
def by_names() -> Policy:
    """The demo's people and facts: all that needs no encoder."""
    policy = load_policy(POLICY)
    return replace(policy, targets=tuple(each for each in policy.targets if each.names))


async def through(state: Path, policy: Policy, some: Sequence[Case]) -> list[tuple[Case, Said]]:
    """Ask every case of a gateway in front of a model that obliges."""
    upstream = Obliging()

    def script(request: dict[str, Any]) -> Reply:
        return say(upstream.reply(request), cut=7)(request)

    async with lethe(state, script, policy=policy) as served, aiohttp.ClientSession() as session:
        client = Asker(session, f"{served.url}/v1", "", max_tokens=None)
        return [(case, said) for case in some for said in await asked(client, upstream, case)]


@pytest.mark.parametrize("make", [cases, ciphered], ids=["codes", "ciphers told in the prompt"])
async def test_nothing_forgotten_leaves_in_any_code(
    tmp_path: Path, knows: Known, by_names: Policy, make: Any
) -> None:
    told = await through(tmp_path, by_names, list(make(knows.forget, 1)))
    assert [(case.code.name, case.way, said.text) for case, said in told if case.leaks(said)] == []


@pytest.mark.parametrize("make", [cases, ciphered], ids=["codes", "ciphers told in the prompt"])
async def test_what_is_kept_leaves_in_every_code_as_it_was_said(
    tmp_path: Path, knows: Known, by_names: Policy, make: Any
) -> None:
    told = await through(tmp_path, by_names, list(make(knows.retain, 1)))
    changed = [
        (case.code.name, case.way, case.ask.text, said.text) for case, said in told if said.text != case.said
    ]
    assert changed == []


@pytest.mark.parametrize("make", [cases, ciphered], ids=["codes", "ciphers told in the prompt"])
async def test_without_a_policy_every_one_of_these_answers_leaks(
    tmp_path: Path, knows: Known, make: Any
) -> None:
    told = await through(tmp_path, Policy("none", "0" * 64, ()), list(make(knows.forget, 1)))
    assert [
        (case.code.name, case.way, case.text, said.text) for case, said in told if not case.leaks(said)
    ] == []


@every_code
def test_a_code_is_read_as_it_was_written(code: Code) -> None:
    assert code.seen(PLACE) == bare(PLACE) and code.seen(SENTENCE) == bare(SENTENCE)
    assert holds(f"They say:\n{code.write(PLACE)}", PLACE)
    assert not holds(code.write("Nobody knows where that was."), PLACE)
    for text in ("", "No code at all, 3.14 % of it.", "\x00\ud800=\\u12 &#x110000; %zz ====", "Ω≈ç√" * 50):
        code.read(text)


@pytest.mark.parametrize("way", WAYS)
def test_a_leak_is_seen_in_the_code_and_in_any_other(way: str) -> None:
    rot13, base64 = (next(code for code in CODES if code.name == name) for name in ("rot13", "base64"))
    case = Case(Ask("Where was she born?", "direct", value=PLACE), SENTENCE, rot13, way)
    for shown in (SENTENCE, rot13.write(SENTENCE), base64.write(SENTENCE), f"So: {base64.write(PLACE)}."):
        assert case.leaks(Said(shown, "", "stop", shown))
    assert not case.leaks(Said("I do not know.", "", "stop", "I do not know."))


@pytest.mark.parametrize("make", CIPHERS.values(), ids=CIPHERS.keys())
def test_a_cipher_tells_its_key_and_is_read_by_it(make: Any) -> None:
    told = make("Where was Odalys Vennaker born?", SENTENCE)
    assert told.key and told.code.seen(SENTENCE) == bare(SENTENCE)


async def test_the_suites_own_gateway_answers(tmp_path: Path) -> None:
    upstream, file = Obliging(), tmp_path / "policy.yaml"
    file.write_text("lethe: 1\nname: p\ntargets:\n  - {id: a, kind: entity, names: [Odalys Vennaker]}\n")
    case = Case(Ask("What is the capital of Orsund?", "place"), "That is Kessary.", CODES[0], "both")
    async with gateway(upstream, file, tmp_path / "state") as client:
        assert [said.text for said in await asked(client, upstream, case)] == [case.said] * 2
