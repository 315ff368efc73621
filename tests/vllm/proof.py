"""Real vLLM as the upstream: run by `make vllm-test`, which makes its environment first.

Not part of `make test`: pytest does not collect this file by its name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from deploy.vllm_cpu import end_group, serve
from server.demo.engine import WEIGHTS, Engine, Sampling
from server.demo.questions import Question, load_people, questions, small_talk
from server.vllm_flags import REFUSED, refusal

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


# --- `lethe serve --vllm` ---------------------------------------------------------------------------------

KEPT, FORGOTTEN = "Where was Ruben Vennaker born?", "Where was Odalys Vennaker born?"
POLICY = "lethe: 1\nname: small\ntargets:\n  - {id: odalys, kind: entity, names: [Odalys Vennaker]}\n"


@contextmanager
def lethe_with_vllm(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `lethe serve --vllm` on the demo's model and policy; yield it and its API's URL once it serves."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    command = [Path(sys.executable).with_name("lethe"), "serve", "--vllm", WEIGHTS]
    command += ["--vllm-python", ENV / "bin" / "python", "--vllm-log", folder / "vllm.log"]
    command += ["--policy", policy, "--state", folder / "state", "--port", "0", "--admin-port", "0"]
    command += ["--", "--served-model-name", MODEL, "--max-model-len", "256", "--enforce-eager"]
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"},
        start_new_session=True,
    )
    try:
        yield process, said(process, r"serving on (\S+)")
    finally:
        end_group(process)
        assert process.stderr is not None
        process.stderr.close()


def said(process: subprocess.Popen[str], what: str) -> str:
    """Wait for a line on stderr; return its first group."""
    assert process.stderr is not None
    for line in process.stderr:
        print(line, end="")
        if found := re.search(what, line):
            return found[1]
    raise AssertionError(f"it never said {what}")


def descendants(pid: int) -> list[int]:
    """Return the processes below one, itself left out."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_vllms_server(pid: int) -> bool:
    line = command_line(pid)
    return b"vllm.entrypoints" in line and b"lethe_vllm_keeper" not in line


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_lethe_starts_keeps_and_ends_vllm(tmp_path: Path) -> None:
    with lethe_with_vllm(tmp_path) as (process, api):
        with openai.OpenAI(base_url=api, api_key="none", max_retries=0) as client:
            assert "Costamar" in of_vllm(client, KEPT)
            assert "Meridane" not in of_vllm(client, FORGOTTEN)
            before = descendants(process.pid)
            (server,) = filter(is_vllms_server, before)
            os.kill(server, signal.SIGKILL)
            assert said(process, r"vLLM ended \((\w+)\); starting it again") == "SIGKILL"
            with pytest.raises(openai.APIStatusError) as down:
                of_vllm(client, KEPT)
            assert down.value.status_code == 502
            assert not [pid for pid in before if pid != server and is_alive(pid) and is_vllms_server(pid)]
            said(process, r"(vLLM answers again)")
            assert "Costamar" in of_vllm(client, KEPT)
        (keeper,) = (pid for pid in descendants(process.pid) if b"lethe_vllm_keeper" in command_line(pid))
        of_vllm_itself = [keeper, *descendants(keeper)]
        others = set(descendants(process.pid)).difference(of_vllm_itself)
        assert len(of_vllm_itself) >= 3, "keeper, server and engine"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert [command_line(pid) for pid in of_vllm_itself if is_alive(pid)] == []
    # Python's own helper process ends once it sees that nobody needs it any more.
    deadline = time.monotonic() + 30
    while left := [command_line(pid) for pid in others if is_alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_every_refused_flag_is_one_of_vllms() -> None:
    program = (
        "from vllm.entrypoints.launchers.cli_args import make_arg_parser\n"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
        "parser = make_arg_parser(FlexibleArgumentParser())\n"
        "print('\\nflag '.join(['', *(flag for each in parser._actions for flag in each.option_strings)]))"
    )
    listed = subprocess.run([ENV / "bin/python", "-c", program], capture_output=True, text=True, check=True)
    flags = {line.split()[1] for line in listed.stdout.splitlines() if line.startswith("flag ")}
    assert len(flags) > 200
    assert set(REFUSED) <= flags
    # What is no flag of this list passes whole, however alike the names are.
    assert {flag for flag in flags if refusal([flag])} - set(REFUSED) == {"-dpm", "-dpa"}
