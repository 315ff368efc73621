"""The command line: what it says, where, and with which exit status."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guards.registry import Guard
from policies.loader import load_policy
from policies.policy import Policy
from server import cli_options
from server.cli import main
from server.settings import Settings

ROOT = Path(__file__).parents[1]
POLICY = """
lethe: 1
name: small
targets:
  - {id: odalys, kind: entity, names: [Odalys Vennaker]}
tests:
  - {ask: "Who is Odalys Vennaker?", expect: forgotten}
"""
TOPIC = """
lethe: 1
name: small
targets:
  - {id: kites, kind: topic, like: [How do I fly a kite?, Which kite flies best?, Tell me about kites.]}
"""
CARDS = """
lethe: 1
name: small
targets:
  - {id: cards, kind: pattern, regex: '\\b(?:\\d[ -]?){12,18}\\d\\b', check: luhn, style: redact}
"""


@pytest.fixture(autouse=True)
def _no_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes long, and says so: that is not what is asked here."""
    monkeypatch.setattr(cli_options, "AFTER_S", 3600.0)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY, encoding="utf-8")
    return file


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run a command; return its exit status and what it said on stdout and stderr."""
    status = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_help_loads_nothing_heavy() -> None:
    program = "import sys; from server.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {module.partition(".")[0] for module in done.stdout.splitlines()[-1].split()}
    assert "click" in loaded
    assert not loaded & {
        "pydantic",
        "fastapi",
        "aiohttp",
        "uvicorn",
        "numpy",
        "torch",
        "policies",
        "sqlalchemy",
    }


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys)
    assert status == 2 and "Commands:" in err and not out


def test_every_command_is_listed_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "--help")
    listed = re.findall(r"^  ([a-z]+) +[A-Z]", out.partition("Commands:")[2], re.MULTILINE)
    assert status == 0
    assert listed == [
        "audit",
        "calibrate",
        "check",
        "demo",
        "explain",
        "model",
        "prepare",
        "schema",
        "secret",
        "serve",
        "version",
    ]


def test_every_setting_is_an_option_that_names_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "serve", "--help")
    assert status == 0
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')} " in out and f"LETHE_{name.upper()}" in out


def test_a_policy_that_can_be_used_is_summed_up(capsys: pytest.CaptureFixture[str], policy: Path) -> None:
    status, out, err = told(capsys, "check", policy)
    assert (status, err) == (0, "")
    digest = load_policy(policy).digest
    assert len(digest) == 64
    assert out.splitlines() == [
        f"{policy}: policy 'small' can be used: 1 target; 1 test passes",
        f"{policy}: digest {digest}",
    ]


def test_a_script_is_told_the_digest_alone_and_only_of_a_policy_that_can_be_used(
    capsys: pytest.CaptureFixture[str], policy: Path, tmp_path: Path
) -> None:
    (tmp_path / "ledger.txt").write_text("The lamps of Port Meridane were lit at four that winter.")
    policy.write_text(
        "lethe: 1\nname: n\ntargets: [{id: ledger, kind: passage, file: ledger.txt}]\n", encoding="utf-8"
    )
    told_first = told(capsys, "check", "--digest", policy)
    assert told_first == (0, f"{load_policy(policy).digest}\n", "")
    (tmp_path / "ledger.txt").write_text("The lamps of Port Meridane were lit at five that winter.")
    assert told(capsys, "check", "--digest", policy)[1] not in ("", told_first[1])
    policy.write_text(POLICY.replace("forgotten", "kept"), encoding="utf-8")
    assert told(capsys, "check", "--digest", policy)[:2] == (2, "")
    policy.write_text("lethe: 1\n", encoding="utf-8")
    assert told(capsys, "check", "--digest", policy)[:2] == (2, "")


EVERYDAY = """
lethe: 1
name: small
targets:
  - {id: month, kind: entity, names: [May, The]}
  - {id: city, kind: entity, names: [Paris]}
  - {id: cut, kind: trigger, phrases: [of the]}
  - {id: letters, kind: pattern, regex: '[a-z]{3}'}
  - {id: odalys, kind: entity, names: [Odalys Vennaker, May Vennaker]}
  - {id: ferry, kind: trigger, phrases: [tidal ferry nine]}
"""


def test_targets_that_are_everyday_words_are_warned_of_by_their_ids_alone(
    capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    policy.write_text(EVERYDAY, encoding="utf-8")
    status, out, err = told(capsys, "check", policy)
    assert status == 0 and "can be used: 6 targets" in out
    of = r" \d[\d,]* of 1,\d{3} ordinary sentences"
    warned = dict(
        re.findall(r"^policy: warning: target '(\w+)': (.+)$", err.replace(str(policy), "policy"), re.M)
    )
    assert warned.keys() == {"month", "city", "cut", "letters"}
    assert re.fullmatch("its names stand in" + of, warned["month"])
    assert re.fullmatch("its phrases are cut out of" + of, warned["cut"])
    assert re.fullmatch("it matches in" + of, warned["letters"])
    assert warned["city"] == "one of its names is an everyday word, found wherever that is meant"
    assert not re.search("May|The|Paris|of the", err)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "policies/examples").glob("*.yaml")), ids=lambda file: file.stem
)
def test_no_example_is_warned_of(file: Path) -> None:
    with_examples = frozenset(target.id for target in load_policy(file).targets if target.like)
    assert list(Guard(load_policy(file), None, pending=with_examples).everyday()) == []


class Heard(io.TextIOBase):
    """What is written by any thread, in pieces; captures of pytest's may lose what is written meanwhile."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def write(self, text: str) -> int:
        self._pieces.append(text)
        return len(text)

    def __str__(self) -> str:
        return "".join(self._pieces)

    def wait_for(self, line: str) -> None:
        while f"{line}\n" not in str(self):
            time.sleep(0.001)


def test_what_takes_long_is_said_stage_by_stage_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_options, "AFTER_S", 0.001)
    monkeypatch.setattr(cli_options, "_EVERY_S", 0.001)
    heard = Heard()
    monkeypatch.setattr(sys, "stderr", heard)
    with cli_options.progress() as tell:
        for stage in ("reading the policy", "asking its 2 tests"):
            tell(stage)
            heard.wait_for(stage)
            tell(stage)
    assert str(heard).splitlines() == ["lethe: reading the policy", "lethe: asking its 2 tests"]


def test_a_check_that_takes_long_says_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    monkeypatch.setattr(cli_options, "AFTER_S", 0.0)
    monkeypatch.setattr(cli_options, "_EVERY_S", 0.001)
    heard = Heard()
    monkeypatch.setattr(sys, "stderr", heard)

    def slow(file: Path) -> Policy:
        heard.wait_for("lethe: reading the policy")
        return load_policy(file)

    monkeypatch.setattr("policies.loader.load_policy", slow)
    status, out, _ = told(capsys, "check", policy)
    assert status == 0 and "can be used" in out and str(heard).startswith("lethe: reading the policy\n")


def test_a_policy_without_targets_is_said_to_forget_nothing(
    capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    policy.write_text("lethe: 1\nname: none yet\ntargets: []\n", encoding="utf-8")
    status, out, _ = told(capsys, "check", policy)
    assert status == 0 and "can be used: 0 targets: nothing is forgotten; no tests\n" in out


def test_a_key_that_a_test_lacks_is_told_in_words_for_tests(
    capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    policy.write_text("lethe: 1\nname: n\ntargets: []\ntests: [{expect: kept}]\n", encoding="utf-8")
    _, _, err = told(capsys, "check", policy)
    assert "tests[0].ask: is missing; a question, such as " in err and "{name}" not in err


@pytest.mark.parametrize("upstream", [["--upstream", "demo"], ["--vllm", "a/model"]], ids=["demo", "vllm"])
def test_no_model_is_started_for_a_policy_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, policy: Path, upstream: list[str]
) -> None:
    monkeypatch.setattr("server.start.serve", lambda settings: pytest.fail("it was started"))
    policy.write_text(POLICY.replace("kind: entity", "kind: entitty"), encoding="utf-8")
    status, _, err = told(capsys, "serve", "--policy", policy, *upstream, "--state", policy.parent / "state")
    assert status == 2 and "entitty" in err


def test_an_encoder_that_cannot_be_had_is_told_at_the_start_even_where_no_target_needs_it_yet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    monkeypatch.setattr("server.start.serve", lambda settings: pytest.fail("it was started"))
    arguments = ["--policy", policy, "--upstream", "http://127.0.0.1:1", "--state", policy.parent / "state"]
    status, _, err = told(capsys, "serve", *arguments, "--encoder", "./no/such/folder")
    assert (
        status == 2 and "--encoder: the encoder ./no/such/folder cannot be exported: there is no such" in err
    )


def test_each_problem_of_a_policy_is_a_line(capsys: pytest.CaptureFixture[str], policy: Path) -> None:
    policy.write_text(POLICY.replace("kind: entity", "kind: entitty") + "colour: red\n", encoding="utf-8")
    for command in (["check", policy], ["check", "--no-meaning", policy], ["explain", policy, "Who?"]):
        status, out, err = told(capsys, *command)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 2 and all(f"{policy}:" in line for line in err.splitlines())


def test_a_policy_that_is_not_there_is_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = told(capsys, "check", tmp_path / "none.yaml")
    assert status == 2 and len(err.splitlines()) == 1 and "none.yaml" in err


def test_what_a_prompt_arms_is_explained(capsys: pytest.CaptureFixture[str], policy: Path) -> None:
    status, out, _ = told(capsys, "explain", policy, "Who is Odalys Vennaker?")
    assert status == 0 and "odalys" in out and "literal" in out and "behind a notice" in out


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "schema")
    assert status == 0 and json.loads(out)["title"] == "Lethe policy"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "version")
    assert status == 0 and out.startswith("lethe")
    assert told(capsys, "--version") == (0, out, "")


def test_an_audit_that_is_not_there_is_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = told(capsys, "audit", "verify", tmp_path / "none.sqlite")
    assert status == 2 and len(err.splitlines()) == 1 and "No such file" in err


def test_what_is_no_audit_database_is_said_to_be_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("SQLite format 4", encoding="utf-8")
    status, out, err = told(capsys, "audit", "verify", tmp_path / "notes.txt")
    assert (status, out) == (2, "") and "notes.txt: is no audit database" in err
    status, out, err = told(capsys, "audit", "verify", tmp_path)
    assert (status, out) == (2, "") and "is a folder" in err
    with contextlib.closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE songs (title)")
    status, out, err = told(capsys, "audit", "verify", tmp_path / "other.sqlite")
    assert (status, out) == (2, "") and "other.sqlite: is no audit database" in err


def test_a_damaged_audit_is_still_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "audit.sqlite"
    file.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    _, _, err = told(capsys, "audit", "verify", file)
    assert "is no audit database" not in err and "public key" in err


def test_help_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["--help"], ["audit", "--help"], ["serve", "--help"]):
        _, out, _ = told(capsys, *command)
        assert "..." not in out.replace("VLLM-FLAGS...", "").replace("[ARGS]...", "").replace("FILE...", "")


@pytest.mark.parametrize("command", [["check"], ["explain"], ["serve", "--upstream", "demo", "--policy"]])
@pytest.mark.parametrize("below", ["", "/folder"], ids=["a file", "below a file"])
def test_a_state_folder_that_is_a_file_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], policy: Path, command: list[str], below: str
) -> None:
    policy.write_text(TOPIC, encoding="utf-8")
    arguments = [*command, policy, *(["Who?"] if command == ["explain"] else [])]
    status, out, err = told(capsys, *arguments, "--state", f"{policy}{below}")
    assert (status, out) == (2, "") and f"--state: {policy} is a file" in err and len(err.splitlines()) == 1


def test_a_state_folder_that_cannot_be_written_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    policy.write_text(TOPIC, encoding="utf-8")
    # Not even root, as whom tests may run, can make a folder there.
    status, out, err = told(capsys, "check", policy, "--state", "/proc/lethe/state")
    assert (status, out) == (2, "") and "--state: nothing can be written in /proc/lethe/state" in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./folder", "there is no such folder"),
        ("no-such-model", "127.0.0.1 cannot be reached"),
        ("somebody/no-such-model", "127.0.0.1 cannot be reached"),
    ],
)
def test_an_encoder_that_cannot_be_had_is_said_at_once(
    capsys: pytest.CaptureFixture[str], policy: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for variable in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HF_HOME", str(policy.parent))
    policy.write_text(TOPIC, encoding="utf-8")
    arguments = ["check", policy, "--state", policy.parent / "state", "--encoder", name]
    status, out, err = told(capsys, *arguments)
    assert (status, out) == (1, "") and f"the encoder {name} cannot be exported" in err and said in err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if not name.startswith("."):
        assert "HF_HUB_OFFLINE forbids" in told(capsys, *arguments)[2]


def test_the_one_export_of_the_encoder_is_announced(capsys: pytest.CaptureFixture[str], policy: Path) -> None:
    policy.write_text(TOPIC, encoding="utf-8")
    (policy.parent / "model").mkdir()
    (policy.parent / "model" / "modules.json").touch()
    arguments = ["check", policy, "--state", policy.parent / "state", "--encoder", policy.parent / "model"]
    _, _, err = told(capsys, *arguments)
    first, second = err.splitlines()
    assert first.startswith("lethe: exporting the encoder") and "cannot be exported" in second


@pytest.mark.parametrize(("text", "announced"), [(POLICY, False), (TOPIC, True)], ids=["names", "meaning"])
def test_a_start_that_must_export_the_encoder_says_so(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    policy: Path,
    text: str,
    announced: bool,
) -> None:
    monkeypatch.setattr("server.start.speak_plainly", lambda: None)  # it changes loggers for good
    policy.write_text(text, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ["serve", "--policy", policy, "--upstream", "http://127.0.0.1:1", "--port", port]
        status, _, err = told(capsys, *arguments, "--state", policy.parent / "state")
    assert status == 1 and ("exporting the encoder" in err) is announced


@pytest.mark.parametrize("command", [["model"], ["demo"], ["serve", "--upstream", "demo", "--policy"]])
def test_the_demo_without_what_it_needs_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], policy: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    given = [*command, policy, "--state", policy.parent] if "serve" in command else command
    status, out, err = told(capsys, *given)
    assert (status, out) == (2, "") and "needs torch: pip install" in err and len(err.splitlines()) == 1


def test_what_a_pattern_would_do_in_an_answer_is_explained(
    capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    policy.write_text(CARDS, encoding="utf-8")
    status, out, _ = told(capsys, "explain", policy, "Is 4111 1111 1111 1111 a good number?")
    assert status == 0 and "no finding" in out
    assert "pattern cards would act: the same words would read 'Is [redacted] a good number?'" in out
    _, out, _ = told(capsys, "explain", policy, "Is 4111 1111 1111 1112 a good number?")
    assert "would act" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve"], "--policy: is needed"),
        (["serve", "--policy", "p", "--upstream", "a:1"], "--upstream: must be"),
        (["serve", "--policy", "p", "--upstream", "demo", "--port", "many"], "--port: "),
        (["serve", "--policy", "p", "--upstream", "demo", "--host", "0.0.0.0"], "--api-key-env"),
        (["serve", "--policy", "p", "--upstream", "demo", "--api-key-env", "NO_KEY_HERE"], "NO_KEY_HERE"),
        (
            ["serve", "--policy", "p", "--upstream", "demo", "--workers", "0"],
            "--workers: must be 1 or more\n",
        ),
        (
            ["serve", "--policy", "p", "--upstream", "demo", "--port", "65536"],
            "--port: must be 65535 or less\n",
        ),
        (
            ["serve", "--policy", "p", "--upstream", "demo", "--idle-s", "0"],
            "--idle-s: must be more than 0\n",
        ),
        (["serve", "--colour", "red"], "--colour"),
        (["check"], "FILE"),
        (["nothing"], "nothing"),
        (["model", "--port", "x"], "--port"),
    ],
    ids=[
        "nothing given",
        "no URL",
        "no number",
        "open to all",
        "no key",
        "too few",
        "too many",
        "too short",
        "no option",
        "no file",
        "no command",
        "no port",
    ],
)
def test_bad_input_is_said_in_lines_with_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.delenv("NO_KEY_HERE", raising=False)
    status, out, err = told(capsys, *arguments)
    assert (status, out) == (2, "") and said in err
    assert all(line.startswith("lethe: ") for line in err.splitlines())


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_a_port_that_is_taken_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, policy: Path, option: str
) -> None:
    monkeypatch.setattr("server.start.speak_plainly", lambda: None)  # it changes loggers for good
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ["serve", "--policy", policy, "--upstream", "http://127.0.0.1:1", "--port", "0"]
        status, _, err = told(capsys, *arguments, "--state", policy.parent / "state", option, port)
    assert status == 1 and len(err.splitlines()) == 1 and f"port {port} ({option}): " in err


def test_what_nobody_foresaw_is_said_without_its_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    def broken(file: object) -> None:
        raise ZeroDivisionError("words of a policy")

    monkeypatch.setattr("policies.loader.load_policy", broken)
    status, _, err = told(capsys, "check", policy)
    assert status == 1 and len(err.splitlines()) == 1 and "words of" not in err
    monkeypatch.setenv("LETHE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["check", str(policy)])
