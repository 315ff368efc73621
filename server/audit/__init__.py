"""The audit: what was asked of Lethe and what became of it, in lengths, counts and keyed hashes.

`Audit` writes, `verify` checks; docs/audit.md says what a check can and cannot see.  No text of a prompt, an
answer or a policy is ever in it: the fields of `Opened` and `Ended` refuse anything that could be one.
"""

from __future__ import annotations

from server.audit.records import AuditError, Ended, Opened, count_rulings
from server.audit.verification import Problem, Report, verify
from server.audit.writer import Audit

__all__ = ["Audit", "AuditError", "Ended", "Opened", "Problem", "Report", "count_rulings", "verify"]
