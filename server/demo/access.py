"""Who may use the demo's page: this machine's own browser, on that page, and nobody through it.

A server on loopback can be reached by every web page that its user has open.  Two of their ways in are
closed here: a request that another site's page makes (its `Origin` and `Sec-Fetch-Site` say so), and a name
of theirs that is made to point at this machine (its `Host` is not a loopback one).
"""

from __future__ import annotations

import re

from starlette.types import Scope

from server.errors import GatewayError
from server.settings import is_loopback

_READING = ("GET", "HEAD")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")


class Foreign(GatewayError):
    """The request does not come from the demo's own page."""

    status = 403
    type = "invalid_request_error"
    code = "foreign"
    sentence = "The demo answers its own page only: open it at http://127.0.0.1, with the port it printed."


def refuse_foreign(scope: Scope) -> None:
    """Raise Foreign unless a request may use the page's own routes.

    `Host` must be a loopback address.  What is more than reading must name the page itself as its `Origin`;
    reading must not come from another site's page, but for the page at `/`, which anybody may link to.
    """
    host = _only(scope, b"host")
    if host is None or not _is_loopback(host):
        raise Foreign
    site = _only(scope, b"sec-fetch-site")
    if scope["method"] in _READING:
        if site not in (None, "none", "same-origin") and scope["path"] != "/":
            raise Foreign
    elif _only(scope, b"origin") != f"{scope['scheme']}://{host}" or site not in (None, "same-origin"):
        raise Foreign


def _only(scope: Scope, name: bytes) -> str | None:
    """Return a header's value, or None where it is not there; a header that comes twice is refused."""
    values = [str(value, "latin-1") for key, value in scope["headers"] if key.lower() == name]
    if len(values) > 1:
        raise Foreign
    return values[0] if values else None


def _is_loopback(host: str) -> bool:
    written = _HOST.fullmatch(host)
    return written is not None and is_loopback(written["name"].strip("[]").lower())
