"""Which of vLLM's flags an operator may pass behind `lethe serve --vllm MODEL --`, and why not the others.

Taken from vLLM 0.32's own list of arguments.  A flag that is not here passes: vLLM has hundreds, and most are
about speed and memory.
"""

from __future__ import annotations

from collections.abc import Sequence

_ADDRESS = "Lethe chooses where vLLM listens: on this machine only, for Lethe alone"
_TLS = "Lethe speaks to vLLM on this machine, without TLS"
_ORIGINS = "no browser may ask vLLM past Lethe"
_KEY = "Lethe makes vLLM's key anew at each start"
_LOGS = "it would write prompts and answers down"
_SERVERS = "it opens a second way to the model"

REFUSED: dict[str, str] = {
    "--model": "the model is what --vllm names",
    "--host": _ADDRESS,
    "--port": _ADDRESS,
    "--uds": _ADDRESS,
    "--root-path": _ADDRESS,
    "--api-key": _KEY,
    "--hf-token": "a command line can be read by everybody on the machine: set HF_TOKEN in the environment",
    "--config": "the file could hold any flag of this list: write its flags out",
    "--ssl-keyfile": _TLS,
    "--ssl-certfile": _TLS,
    "--ssl-ca-certs": _TLS,
    "--ssl-cert-reqs": _TLS,
    "--ssl-ciphers": _TLS,
    "--enable-ssl-refresh": _TLS,
    "--allow-credentials": _ORIGINS,
    "--allowed-origins": _ORIGINS,
    "--allowed-methods": _ORIGINS,
    "--allowed-headers": _ORIGINS,
    "--middleware": "it sees every prompt and answer; Lethe's own asks for the key on every path",
    "--enable-log-requests": _LOGS,
    "--enable-log-outputs": _LOGS,
    "--enable-log-deltas": _LOGS,
    "--log-config-file": _LOGS,
    "--logging-config": _LOGS,
    "--kv-events-config": "it publishes the tokens of prompts and answers to whoever subscribes",
    "--grpc": _SERVERS,
    "--grpc-port": _SERVERS,
    "--enable-scale-out": _SERVERS,
    "--data-parallel-multi-port-external-lb": _SERVERS,
    "--data-parallel-supervisor-port": _SERVERS,
    "--data-parallel-address": _SERVERS,
    "--master-addr": _SERVERS,
    "--nnodes": _SERVERS,
    "--kv-transfer-config": _SERVERS,
    "--ec-transfer-config": _SERVERS,
    "--uvicorn-log-level": _LOGS,
    "--tokens-only": "Lethe needs /v1/chat/completions, which it takes away",
    "--headless": "Lethe needs vLLM's API, which it takes away",
    "--enable-server-load-tracking": "it answers /load with how busy vLLM is; Lethe has its own metrics",
    "--enable-tokenizer-info-endpoint": "it shows the chat template; Lethe serves no such route",
    "--enable-offline-docs": "it serves pages that Lethe has no use for",
}  # fmt: skip
"""Flags that Lethe sets itself, or that would weaken it, with the reason."""

_SHORT = {"-dpm": "--data-parallel-multi-port-external-lb", "-dpa": "--data-parallel-address"}


def refusal(flags: Sequence[str]) -> str | None:
    """Return why these flags cannot be passed on, or None where they can.

    vLLM takes any unique beginning of a flag for the flag, `_` for `-`, `--flag=value` and
    `--flag.part value`; so does this.
    """
    for flag in flags:
        name = flag.partition("=")[0].partition(".")[0].replace("_", "-")
        found = _SHORT.get(name, name)
        if not found.startswith("--"):
            continue
        for refused, reason in REFUSED.items():
            if len(found) > len("--") and refused.startswith(found):
                return f"{name} cannot be given: {reason}"
    return None
