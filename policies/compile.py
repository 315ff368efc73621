"""From the policy as written to the policy as run."""

from __future__ import annotations

from collections.abc import Sequence

from policies import document as written
from policies.document import EntityTarget, FactTarget, PatternTarget, TopicTarget
from policies.patterns import bounded
from policies.policy import Fact, Policy, PolicyTest, Target
from policies.relations import relation


def compile_policy(document: written.PolicyDocument, digest: str, test_lines: Sequence[int] = ()) -> Policy:
    """Return what `document` means; a document that was validated always compiles.

    test_lines: the line of each of the document's tests, or nothing.
    """
    defaults = document.defaults
    lines: Sequence[int | None] = test_lines or [None] * len(document.tests)
    return Policy(
        name=document.name,
        digest=digest,
        targets=tuple(_target(entry, defaults) for entry in document.targets),
        retain_fpr=defaults.retain_fpr,
        disclosure=defaults.disclosure,
        tests=tuple(
            PolicyTest(test.ask, test.expect, line) for test, line in zip(document.tests, lines, strict=True)
        ),
    )


def _target(entry: written.TargetEntry, defaults: written.Defaults) -> Target:
    names, facts, keep = _subject(entry)
    return Target(
        id=entry.id,
        kind=entry.kind,
        style=entry.style or defaults.style,
        context=entry.context or defaults.context,
        disclose_upstream=entry.disclose_upstream or defaults.disclose_upstream,
        names=names,
        facts=facts,
        like=() if isinstance(entry, PatternTarget) else entry.like,
        unlike=() if isinstance(entry, PatternTarget) else entry.unlike,
        keep=keep,
        pattern=bounded(entry.regex, entry.check) if isinstance(entry, PatternTarget) else None,
        clause=entry.clause,
        ticket=entry.ticket,
        effective=entry.effective,
    )


def _subject(entry: written.TargetEntry) -> tuple[tuple[str, ...], tuple[Fact, ...], tuple[str, ...]]:
    """Return names, facts and what is kept, which topics and patterns have none of."""
    match entry:
        case EntityTarget():
            facts = (_fact(each.relation, each.values, each.ask, entry.names) for each in entry.facts)
            return entry.names, tuple(facts), ()
        case FactTarget():
            names = (entry.subject, *entry.names)
            return names, (_fact(entry.relation, entry.values, entry.ask, names),), entry.keep
        case TopicTarget() | PatternTarget():
            return (), (), ()


def _fact(name: str, values: tuple[str, ...], ask: tuple[str, ...], names: tuple[str, ...]) -> Fact:
    filled = tuple(wording.replace("{name}", names[0]) for wording in ask)
    # A value that a wording mentions ('Was {name} born in Port Meridane?') tells no relation.
    return Fact(relation(name, ask, (*names, *values)), values, filled)
