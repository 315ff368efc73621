"""Rules of the repository that no linter states: what is ours, what pulls in what, how large things are."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.conftest import is_loopback

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("policies", "guards", "server")
CODE = (*PACKAGES, "bench", "deploy", "evals", "tests")
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_FILE = 450
MOST_BYTES_OF_A_FILE = 8_000_000
VAGUE = {"utils", "util", "common", "helpers", "helper", "core", "models", "misc", "base_classes"}
HEAVY = ("torch", "transformers", "sentence_transformers", "onnxruntime", "faiss")
HTTP = ("fastapi", "starlette", "uvicorn", "aiohttp")


def modules(*tops: str) -> list[Path]:
    return sorted(
        path for top in tops for path in (ROOT / top).rglob("*.py") if "__pycache__" not in path.parts
    )


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def repository_files() -> list[Path]:
    """Every file that is, or would be, in the repository; without git, every file of the code folders."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        return [path for top in CODE for path in (ROOT / top).rglob("*") if path.is_file()]
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    program = f"import sys\n{code}\nprint()\nprint(*{{module.partition('.')[0] for module in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", [*PACKAGES, "deploy", "evals", "tests"])
def test_each_package_is_ours(package: str) -> None:
    assert Path(importlib.import_module(package).__file__ or "").parent == ROOT / package


def importing(package: str) -> str:
    """Code that imports every module of a package."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in modules(package))
    return "\n".join(f"import {'.'.join(path.parts).removesuffix('.__init__')}" for path in paths)


def test_policies_load_without_a_model_or_http() -> None:
    assert not loaded_by(importing("policies")) & {*HEAVY, *HTTP, "orjson", "sqlalchemy"}


def test_a_policy_is_read_without_numpy() -> None:
    assert "numpy" not in loaded_by("import policies.loader")


def test_guards_load_without_http_or_torch() -> None:
    assert not loaded_by(importing("guards")) & {*HTTP, "orjson", "sqlalchemy", "torch", "transformers"}


def test_the_gateway_loads_no_torch() -> None:
    assert not loaded_by("import server.app, server.serving") & {"torch", "transformers"}


def test_the_help_of_the_command_line_loads_no_model() -> None:
    asked = "from server.cli import main\nsys.argv = ['lethe', '--help']\n"
    asked += "try: main()\nexcept SystemExit as end: assert not end.code"
    assert not loaded_by(asked) & {*HEAVY, "numpy"}


def test_no_function_is_long() -> None:
    long = [
        f"{name(path)}:{node.lineno} {node.name} has {length} lines"
        for path in modules(*CODE)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long


def test_no_file_is_long() -> None:
    long = {
        name(path): lines
        for path in modules(*(top for top in CODE if top != "tests"))  # tables of claims may be long
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES_OF_A_FILE
    }
    assert not long


def test_no_file_is_larger_than_the_weights_may_be() -> None:
    large = [name(path) for path in repository_files() if path.stat().st_size > MOST_BYTES_OF_A_FILE]
    assert not large


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name(path)
        for path in modules(*CODE)
        if (source := path.read_text(encoding="utf-8")).strip() and not ast.get_docstring(ast.parse(source))
    ]
    assert not silent


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [name(path) for path in modules(*CODE) if VAGUE & {path.stem, *path.relative_to(ROOT).parts}]
    assert not vague


def test_only_registries_by_name_and_no_folder_of_one_machine_are_mentioned() -> None:
    # Pieces, so that this file does not name what it forbids.
    forbidden = re.compile(
        "|".join(
            [
                r"(?<![\w.])/(?:" + "work|opt/pypi|opt/wheels" + r")(?:/|\b(?=[\s'\"]))",
                r"(?<![\w.])/(?:" + "root|tmp/bash_jobs" + r")/[\w.]",
                "file" + r":///",
                "extra-" + "index-url",
                r"https?://(?!127\.0\.0\.1|localhost)[\w.-]+:\d+/simple",
            ]
        )
    )
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights
        found += [
            f"{name(path)}:{number}"
            for number, line in enumerate(text.splitlines(), 1)
            if forbidden.search(line)
        ]
    assert not found


def test_everything_a_package_holds_is_installed_with_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    listed = set(settings["packages"])
    left_out = []
    for path in repository_files():
        folder = path.relative_to(ROOT).parent
        if folder.parts[:1] == () or folder.parts[0] not in PACKAGES:
            continue
        if path.suffix == ".py":
            if ".".join(folder.parts) not in listed:
                left_out.append(name(path))
            continue
        if not any(
            fnmatch(name(path), f"{package.replace('.', '/')}/{pattern}")
            for package, patterns in settings["package-data"].items()
            for pattern in patterns
        ):
            left_out.append(name(path))
    assert not left_out


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        (None, True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_tests_reach_loopback_only(host: str | None, ours: bool) -> None:
    assert is_loopback(host) is ours


def test_a_connection_beyond_loopback_is_refused() -> None:
    import socket

    with pytest.raises(RuntimeError, match="loopback only"), socket.socket() as client:
        client.connect(("192.0.2.1", 9))


@pytest.mark.parametrize(
    "body",
    [
        "import pytest\ndef test_a(): pytest.skip('no')",
        "import pytest\n@pytest.mark.skip\ndef test_a(): pass",
        "import pytest\n@pytest.mark.xfail\ndef test_a(): assert False",
        "import pytest\npytest.importorskip('not_there_at_all')\ndef test_a(): pass",
    ],
)
def test_what_was_not_run_counts_as_a_failure(body: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_it.py").write_text(body)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0, done.stdout
