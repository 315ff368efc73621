"""LiteLLM's proxy beside Lethe: installed from PyPI into an environment of its own, `.venv-bench`.

It is set up to do as little as it can: one worker, no key, no database, no access log, no look at a remote
price list.  Its filter gets the names and patterns of Lethe's 1,000 targets, which it blocks and masks in
questions and answers, in one of two ways: as one regular expression for all names (`litellm_filter`), or as
the list of blocked words that its documentation shows (`litellm_keywords`), which is slower: it compiles and
searches name by name.  It knows no facts: nothing says which value belongs to which name.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import yaml

from bench.canned import MODEL
from bench.gateways import Running, StartError, free_port, process, wait_for
from bench.policies import names, regexes

VERSION = "1.106.2"
ROWS = ("litellm", "litellm_filter", "litellm_keywords")
TARGETS = 1000
_ENV = Path(__file__).resolve().parent.parent / ".venv-bench"
_SETTINGS = {
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
}
_NO_ACCESS_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"uvicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False}},
}


def install() -> None:
    """Make `.venv-bench` hold LiteLLM; does nothing where it already does.  Raises StartError."""
    wanted, stamp = f"litellm[proxy]=={VERSION}", _ENV / ".installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_ENV)], check=True, stdout=sys.stderr)
        pip = [str(_ENV / "bin" / "python"), "-m", "pip", "install", "--quiet", wanted]
        subprocess.run(pip, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError):
        message = f"LiteLLM {VERSION} cannot be installed into {_ENV.name}; --no-peers measures without it"
        raise StartError(message) from None
    stamp.write_text(wanted)


@contextlib.contextmanager
def litellm(row: str, upstream: str) -> Iterator[Running]:
    """Run LiteLLM's proxy with the settings of a row.  Raises StartError."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="litellm-bench-") as folder:
        config, logs = Path(folder) / "config.yaml", Path(folder) / "logs.json"
        config.write_text(yaml.safe_dump(settings(row, upstream)), encoding="utf-8")
        logs.write_bytes(orjson.dumps(_NO_ACCESS_LOG))
        command = [str(_ENV / "bin" / "python"), str(_ENV / "bin" / "litellm"), "--config", str(config)]
        command += [
            "--log_config",
            str(logs),
            "--num_workers",
            "1",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        with process(command, {**os.environ, **_SETTINGS}) as (started, log):
            wait_for(f"http://127.0.0.1:{port}/health/liveliness", started, log)
            yield Running(port, started)


def settings(row: str, upstream: str) -> dict[str, Any]:
    """Return the configuration file of a row."""
    model = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"}
    config: dict[str, Any] = {"model_list": [{"model_name": MODEL, "litellm_params": model}]}
    if row == "litellm":
        return config
    # `mode` and `default_on`: every question and every answer, streamed or not.
    both: dict[str, Any] = {"mode": ["pre_call", "post_call"], "default_on": True}
    patterns = [_regex(f"pattern-{number}", each, "MASK") for number, each in enumerate(regexes(TARGETS))]
    if row == "litellm_keywords":
        both["blocked_words"] = [{"keyword": name, "action": "BLOCK"} for name in names(TARGETS)]
    else:
        together = rf"\b(?:{'|'.join(map(re.escape, names(TARGETS)))})\b"
        patterns.append(_regex("names", together, "BLOCK"))
    params = {"guardrail": "litellm_content_filter", **both, "patterns": patterns}
    return {**config, "guardrails": [{"guardrail_name": "filter", "litellm_params": params}]}


def _regex(name: str, pattern: str, action: str) -> dict[str, str]:
    return {"pattern_type": "regex", "name": name, "pattern": pattern, "action": action}
