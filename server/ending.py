"""What becomes of an exchange by what its work raises: a stop, and in the end one ending."""

from __future__ import annotations

import asyncio

from guards.base import ScanError
from guards.ledger import LedgerUnavailable
from server.audit import AuditError
from server.errors import Code, GatewayError, GuardUnavailable
from server.exchange import Ending, Exchange, Reason


def ending_of(error: BaseException | None, exchange: Exchange, changed: bool) -> tuple[Ending, Reason | Code]:
    """Return the ending and what it came of.

    changed: whether anything of the answer was edited or withheld.
    """
    if error is None:
        return (Ending.ANSWERED, "ruled") if changed else (Ending.COMPLETED, "")
    if isinstance(error, (GuardUnavailable, ScanError)):
        unkept = isinstance(error.__cause__, LedgerUnavailable)
        return Ending.STOPPED, exchange.reason or ("ledger" if unkept else "guard")
    if isinstance(error, GatewayError):
        return Ending.FAILED, error.code
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return Ending.ABORTED, "gone"
    return Ending.FAILED, "error"


class Stops:
    """A context in which some errors become a stop.

    The message is ours: an error's own words may quote what a scan was shown.
    """

    def __init__(self, kind: type[Exception]) -> None:
        self._kind = kind

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._kind) and not isinstance(error, GatewayError):
            raise GuardUnavailable from error


CHECKED = Stops(Exception)
"""Whatever a guard raises: text that was not checked to the end never leaves."""
AUDITED = Stops(AuditError)
"""What cannot be recorded is not done."""
