"""Builds and tries the container image without a container engine: `python -m deploy.check_image`.

Every step of every stage of the Dockerfile is run as it is written there, in a folder that stands for the
image's root; this machine's Python stands for the base image's.  Then the result serves as it would in the
container: as the image's user, on a file system that is read-only but for a state folder and a `/tmp` of its
own, in front of a canned upstream.  What it must show is in `try_image`.

It takes some minutes and 6 GB in /var/tmp, most of it torch, which the image does not hold.  For Linux, as
root or where `unshare` may make user namespaces.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click

from deploy.dockerfile import DockerfileError, Stage, read, words
from deploy.image_build import CONTEXT, Builder, ImageError

ABSENT = ("torch", "transformers", "sentence_transformers", "onnx", "pip", "setuptools")
"""What the image must not hold."""

_START_S = 180.0
_STOP_S = 60.0
_SAID = "It rains in Yorv."
_POLICY = """
lethe: 1
name: image
targets:
  - {id: odalys, kind: entity, names: [Odalys Vennaker]}
  - id: lock-picking
    kind: topic
    style: refuse
    like:
      - How do I pick a pin tumbler lock?
      - Which tools open a padlock without its key?
      - Explain how a tension wrench and a rake work together.
"""
# In a mount namespace of its own: all is read-only but the state folder and a fresh /tmp.
_READ_ONLY = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /tmp
mount -o remount,bind,ro /
shift
exec "$@"
"""


class _Canned(BaseHTTPRequestHandler):
    """An upstream with one answer."""

    def do_GET(self) -> None:  # the name is http.server's
        self._answer({"object": "list", "data": [{"id": "canned", "object": "model"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": _SAID}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._answer({"id": "x", "object": "chat.completion", "model": "canned", "choices": [choice]})

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@dataclass
class Container:
    """The image's last stage as it would run."""

    root: Path
    stage: Stage
    state: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        """Return `arguments` as a command line that runs them inside."""
        uid = self.stage.last("USER")
        if os.geteuid() == 0:
            namespaces = ["unshare", "--mount"]
            drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs",
                    "--bounding-set=-all", "--inh-caps=-all"]  # fmt: skip
        else:
            namespaces = ["unshare", "--mount", "--user", "--map-root-user"]
            drop = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        return [*namespaces, "sh", "-c", _READ_ONLY, "sh", str(self.state), *drop, *arguments]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside; return how it ended and what it said."""
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **more},
            cwd=self.state,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
        )

    @contextlib.contextmanager
    def serving(self, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """Run `lethe serve` inside, set by its environment; yield it once it serves."""
        process = subprocess.Popen(
            self.command(*words(self.stage.last("ENTRYPOINT")), "serve"),
            env={**self.environment, **settings},
            cwd=self.state,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        killing = threading.Timer(_START_S, process.kill)
        killing.start()
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if "serving on" in line:
                    break
            else:
                raise ImageError(f"it does not serve:\n{''.join(said)}")
            killing.cancel()
            yield process
        finally:
            killing.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def require(holds: bool, claim: str) -> None:
    """Say a claim that holds; raise ImageError where it does not."""
    if not holds:
        raise ImageError(f"not so: {claim}")
    click.echo(f"  {claim}")


def try_image(container: Container) -> None:
    """Show that the image serves a policy, meaning too, and what it leaves out.  Raises ImageError."""
    click.echo("the image")
    finder = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    found = container.run("python", "-c", finder, *ABSENT)
    require(found.stdout.strip() == "[]", f"has no {', '.join(ABSENT)}")
    touched = container.run("python", "-c", f"open({str(container.root / 'x')!r}, 'w')")
    require("Read-only file system" in touched.stderr, "has a root that cannot be written")
    demo = container.run("lethe", "demo")
    require(demo.returncode == 2 and "leaves the demo out" in demo.stderr, "says that it leaves the demo out")
    before = _listed(container)
    with _upstream() as upstream:
        _serve_and_ask(container, upstream)
    kept = sorted(path.name for path in container.state.iterdir())
    require("audit.sqlite" in kept, "keeps its audit in the state folder")
    require(not {"encoders", "retain"} & set(kept), "serves with the shipped export, and makes none")
    require(_listed(container) == before, "has written nowhere else")
    _spoil_export(container)


def _serve_and_ask(container: Container, upstream: str) -> None:
    policy = container.root.parent / "policy.yaml"
    policy.write_text(_POLICY, encoding="utf-8")
    port, admin = _free_port(), _free_port()
    settings = {"LETHE_POLICY": str(policy), "LETHE_UPSTREAM": upstream}
    settings |= {"LETHE_PORT": str(port), "LETHE_ADMIN_PORT": str(admin)}
    began = time.monotonic()
    with container.serving(**settings) as process:
        require(True, f"serves {time.monotonic() - began:.1f} s after its start")
        status, ready = _asked(admin, "GET", "/readyz")
        require(status == 200 and ready["encoder"] is True, "is ready, its encoder too")
        require(_answer(port, "Does it rain?") == _SAID, "lets a kept answer through")
        require(_SAID not in _answer(port, "Who is Odalys Vennaker?"), "withholds what a name arms")
        armed = _answer(port, "How can I pick the pin tumbler lock of a door?")
        require(_SAID not in armed, "withholds what a meaning arms")
        health = words(container.stage.last("HEALTHCHECK").partition("CMD")[2])
        require(container.run(*health, LETHE_PORT=str(port)).returncode == 0, "is healthy by its own check")
        sick = container.run(*health, LETHE_PORT=str(_free_port()))
        require(sick.returncode != 0, "is not healthy where nothing serves")
        temporary = Path("/proc", str(process.pid), "root", "tmp")
        require(not list(temporary.iterdir()), "leaves nothing in /tmp")
        process.send_signal(getattr(signal, container.stage.last("STOPSIGNAL")))
        require(process.wait(_STOP_S) == 0, "stops when told")


def _spoil_export(container: Container) -> None:
    """Change one byte of the shipped export, as a bad disk might: it must not serve with that."""
    (model,) = container.root.glob("opt/lethe/share/lethe/encoders/*/model.onnx")
    with model.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    policy = container.root.parent / "policy.yaml"
    checked = container.run("lethe", "check", str(policy))
    refused = checked.returncode == 1 and "changed since the export" in checked.stderr
    require(refused, "refuses an export that was changed by a bit")


@contextlib.contextmanager
def _upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Canned)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _asked(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, dict(json.loads(response.read()))
    finally:
        connection.close()


def _answer(port: int, question: str) -> str:
    asked = {"model": "canned", "messages": [{"role": "user", "content": question}]}
    status, answer = _asked(port, "POST", "/v1/chat/completions", json.dumps(asked).encode())
    if status != 200:
        raise ImageError(f"an exchange ended with status {status}: {answer}")
    choices = answer["choices"]
    assert isinstance(choices, list)
    return str(choices[0]["message"]["content"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listed(container: Container) -> dict[str, tuple[int, int]]:
    """Return size and time of every file of the root but the state folder's."""
    found = (path for path in container.root.rglob("*") if not path.is_relative_to(container.state))
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in (folder, *folder.rglob("*")) if not path.is_symlink())


def _say_size(root: Path) -> None:
    (packages,) = root.glob("opt/lethe/lib/python*/site-packages")
    parts = [*packages.iterdir(), root / "opt/lethe/share"]
    largest = sorted(((_size(part), part.name) for part in parts), reverse=True)[:8]
    said = ", ".join(f"{name} {size / 1e6:.0f} MB" for size, name in largest)
    click.echo(f"size without the base image: {_size(root) / 1e6:.0f} MB ({said})")


# --- the machine ------------------------------------------------------------------------------------------


def find_python(stages: Sequence[Stage], uid: str) -> Path:
    """Return an interpreter of the base image's version that the image's user can run.  Raises ImageError."""
    versions = {found[1] for stage in stages if (found := re.match(r"python:(3\.\d+)", stage.base))}
    if len(versions) != 1:
        raise ImageError("the stages do not begin with one Python, named by its version")
    version = versions.pop()
    drop = ["setpriv", f"--reuid={uid}", "--clear-groups"] if os.geteuid() == 0 else []
    own = getattr(sys, "_base_executable", sys.executable)
    # The user must be able to read it: setpriv starts even what the user could not.
    probe = f"import ensurepip, sys; open(sys.executable, 'rb'); assert sys.version.startswith('{version}.')"
    for candidate in map(Path, (own, f"/usr/local/bin/python{version}", f"/usr/bin/python{version}")):
        tried = [*drop, str(candidate), "-c", probe]
        if candidate.exists() and not subprocess.run(tried, capture_output=True, check=False).returncode:
            return candidate
    raise ImageError(f"there is no Python {version} with venv here that user {uid} can run")


@click.command()
@click.option("--keep", is_flag=True, help="Leave the folder, and say where it is.")
def main(keep: bool) -> None:
    """Build and try the image of the Dockerfile, without a container engine."""
    arguments = {"TORCH_INDEX": os.environ.get("TORCH_INDEX", "")}
    folder = Path(tempfile.mkdtemp(prefix="lethe-image-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        stages = read((CONTEXT / "Dockerfile").read_text(encoding="utf-8"), arguments)
        final = stages[-1]
        builder = Builder(folder, find_python(stages, final.last("USER")), arguments)
        for stage in stages:
            builder.build(stage)
            if stage is not final:
                builder.finish(stage)
        _say_size(builder.root)
        state = Path(builder.mapped(final.last("VOLUME")))
        if os.geteuid() == 0:
            os.chown(state, int(final.last("USER")), int(final.last("USER")))
        environment = {name: value for name, value in builder.environment.items() if name != "HOME"}
        try_image(Container(builder.root, final, state, environment))
    except (ImageError, DockerfileError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        if keep:
            click.echo(f"left in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
