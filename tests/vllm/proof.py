"""Real vLLM as the upstream: run by `make vllm-test`, which makes its environment first.

Not part of `make test`: pytest does not collect this file by its name.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from deploy.vllm_cpu import end_group, serve
from server.demo.engine import WEIGHTS, Engine, Sampling
from server.demo.questions import Question, load_people, questions, small_talk

ROOT = Path(__file__).resolve().parents[2]
ENV = ROOT / ".venv-vllm"
MODEL = "lethe-demo"
ASKED = 60
BAR_LIMIT_S = 45 * 60


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serve(ENV, WEIGHTS, MODEL) as url:
        yield url


@pytest.fixture(scope="module")
def spread() -> list[Question]:
    """Questions over all people, relations and wordings, the held-out wordings among them."""
    every = questions(load_people())
    return every[:: len(every) // ASKED][:ASKED]


def of_demo_upstream(engine: Engine, text: str) -> str:
    pieces = engine.generate(engine.prompt([("user", text)]), Sampling(temperature=0.0), lambda: False)
    return "".join(piece.text for piece in pieces)


def of_vllm(client: openai.OpenAI, text: str) -> str:
    answer = client.chat.completions.create(
        model=MODEL, temperature=0, messages=[{"role": "user", "content": text}]
    )
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content or ""


def test_vllm_answers_as_the_demo_upstream_does(base_url: str, spread: list[Question]) -> None:
    engine = Engine()
    texts = [question.text for question in spread] + [said for said, _ in small_talk()[:10]]
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        answers = {text: (of_vllm(client, text), of_demo_upstream(engine, text)) for text in texts}
    other = {text: pair for text, pair in answers.items() if pair[0] != pair[1]}
    assert not other


def test_vllm_streams_what_it_answers_whole(base_url: str, spread: list[Question]) -> None:
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        for question in spread[:10]:
            stream = client.chat.completions.create(
                model=MODEL,
                temperature=0,
                stream=True,
                messages=[{"role": "user", "content": question.text}],
            )
            streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
            assert streamed == of_vllm(client, question.text)


def prove(base_url: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the demo's proof; nothing that it started outlives this."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("lethe"), "demo", "--once", "--json", "--upstream", base_url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=BAR_LIMIT_S)
    finally:
        end_group(process)
    return process.returncode, stdout, stderr


def test_nothing_forgotten_leaves_with_vllm_as_upstream(base_url: str) -> None:
    status, stdout, stderr = prove(base_url)
    assert stdout, stderr[-4000:]
    runs = json.loads(stdout)
    shown = "\n".join(f"{name}: {json.dumps(run, ensure_ascii=False)}" for name, run in runs.items())
    print(shown)
    assert set(runs) == {"everything", "scans_alone", "deaf_upstream"}
    for name, run in runs.items():
        assert run["forget"] >= 300, name
        assert run["retain"] >= 300, name
        assert run["raw_leaked"] >= 0.95 * run["forget"], name
        assert run["leaked"] == 0, name
        assert run["kept_identical"] == run["retain"], name
    assert status == 0, stderr[-4000:]
