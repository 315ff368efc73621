"""How an exchange ended, by what its work raised."""

from __future__ import annotations

import asyncio

from guards.base import ScanError
from server.errors import GatewayError, GuardUnavailable
from server.exchange import Ending, Exchange


def ending_of(error: BaseException | None, exchange: Exchange, changed: bool) -> tuple[Ending, str]:
    """Return the ending and its reason, one word of a closed list.

    changed: whether anything of the answer was edited or withheld.
    """
    if error is None:
        return (Ending.ANSWERED, "ruled") if changed else (Ending.COMPLETED, "")
    if isinstance(error, (GuardUnavailable, ScanError)):
        return Ending.STOPPED, exchange.reason or "guard"
    if isinstance(error, GatewayError):
        return Ending.FAILED, error.code or "error"
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return Ending.ABORTED, "gone"
    return Ending.FAILED, "error"
