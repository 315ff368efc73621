"""What holds for every test: no network beyond loopback, no skips, and reproducible properties.

Fixtures of one module live in that module; nothing here knows the product.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"  # inherited by every process that a test starts
for _name in [name for name in os.environ if name.startswith("LETHE_")]:
    del os.environ[_name]  # a developer's own settings are not the tests'

# Examples are counted and the seed is fixed in CI, so that a failure there is the same one everywhere.
# `deadline=None`: two cores that others use too say nothing about an algorithm.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    max_examples=1000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


class OutsideNetworkError(RuntimeError):
    """A test reached for an address that is not this machine's own; not an OSError, so no client hides it."""


def is_loopback(host: object) -> bool:
    """Whether a host as sockets take it, name or address, can only be this machine."""
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse_outside(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        # An address of a family other than IPv4 and IPv6, such as a Unix socket's path, is not a tuple.
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not is_loopback(host):
        raise OutsideNetworkError(f"{event}: tests talk to loopback only")


# An audit hook sees every connection of this interpreter whatever library makes it; it cannot be removed.
sys.addaudithook(_refuse_outside)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a skipped or expected failure as a failure: what was not run was not shown."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"not run, and that is a failure here: {report.longrepr}"
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Count a module that skips itself as a failure too."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"not run, and that is a failure here: {report.longrepr}"
    return report
