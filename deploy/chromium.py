"""A browser for the tests of the demo's page: the one that is there, or else one that is installed.

`python -m deploy.chromium` does nothing where a Chromium or Chrome is on PATH.  Elsewhere it installs one:
Debian's and Ubuntu's own as root, else the build that Playwright downloads into its own folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""How it is started: without a screen, as whatever user there is, and without calling anybody."""


class NoBrowser(RuntimeError):
    """There is no browser, and none could be installed; the message says what was tried."""


def find() -> str:
    """Return the path of a browser that runs.  Raises NoBrowser."""
    for path in _candidates():
        if path is not None and _runs(path):
            return path
    raise NoBrowser(f"no browser on PATH ({', '.join(NAMES)}); `make browser` installs one")


def install() -> str:
    """Return the path of a browser, installed where there was none.  Raises NoBrowser."""
    tried = []
    for name, commands in _ways():
        try:
            return find()
        except NoBrowser:
            tried.append(name)
        print(f"Installing a browser for the tests: {name} …", flush=True)  # noqa: T201
        for command in commands:
            subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, check=False)
    try:
        return find()
    except NoBrowser:
        raise NoBrowser(
            f"no browser on PATH ({', '.join(NAMES)}), and none came of: {'; '.join(tried)}."
            " Install Chromium or Chrome, then try again."
        ) from None


def _ways() -> list[tuple[str, list[list[str]]]]:
    ways = [
        (
            "python -m playwright install chromium",
            [[sys.executable, "-m", "playwright", "install", "chromium"]],
        )
    ]
    if shutil.which("apt-get") and os.geteuid() == 0:
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        ways.insert(0, (" ".join(install), [["apt-get", "update", "-qq"], install]))
    return ways


def _candidates() -> Iterator[str | None]:
    yield from map(shutil.which, NAMES)
    yield _playwrights_own()


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def _runs(path: str) -> bool:
    done = subprocess.run([path, "--version"], capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    try:
        install()
    except NoBrowser as none:
        sys.exit(str(none))
