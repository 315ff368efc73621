"""From the policy as written to the policy as run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

from policies import document as written
from policies.document import (
    EntityTarget,
    FactTarget,
    PassageTarget,
    PatternTarget,
    SecretTarget,
    TopicTarget,
    TriggerTarget,
)
from policies.patterns import bounded
from policies.policy import Fact, Policy, PolicyTest, Quoted, Sealed, Target
from policies.relations import relation
from policies.shingles import Shingles, shingles, words_of

_ByMeaning = EntityTarget | FactTarget | TopicTarget


def compile_policy(
    document: written.PolicyDocument,
    digest: str,
    test_lines: Sequence[int] = (),
    texts: Mapping[str, str] | None = None,
) -> Policy:
    """Return what `document` means; a document that was validated always compiles.

    test_lines: the line of each of the document's tests, or nothing.
    texts: what is in the files that its passages name; nothing of them is in the policy but hashes.
    """
    defaults = document.defaults
    quoted = {
        index: words_of(entry.text if entry.text is not None else (texts or {})[entry.file or ""])
        for index, entry in enumerate(document.targets)
        if isinstance(entry, PassageTarget)
    }
    lines: Sequence[int | None] = test_lines or [None] * len(document.tests)
    return Policy(
        name=document.name,
        digest=digest,
        targets=tuple(
            _target(entry, defaults, quoted.get(index, ())) for index, entry in enumerate(document.targets)
        ),
        retain_fpr=defaults.retain_fpr,
        disclosure=defaults.disclosure,
        remember_hours=defaults.remember_hours,
        together=defaults.together,
        tests=tuple(
            PolicyTest(test.ask, test.expect, line) for test, line in zip(document.tests, lines, strict=True)
        ),
        shingles=tuple(_tables(document, quoted, digest)),
    )


def _target(entry: written.TargetEntry, defaults: written.Defaults, words: Sequence[str]) -> Target:
    names, facts, keep = _subject(entry)
    return Target(
        id=entry.id,
        kind=entry.kind,
        style=entry.style or defaults.style,
        context=entry.context or defaults.context,
        disclose_upstream=entry.disclose_upstream or defaults.disclose_upstream,
        names=names,
        facts=facts,
        like=entry.like if isinstance(entry, _ByMeaning) else (),
        unlike=entry.unlike if isinstance(entry, _ByMeaning) else (),
        keep=keep,
        pattern=bounded(entry.regex, entry.check) if isinstance(entry, PatternTarget) else None,
        quoted=Quoted(entry.words, _identity(words)) if isinstance(entry, PassageTarget) else None,
        sealed=Sealed(entry.length, entry.digests) if isinstance(entry, SecretTarget) else None,
        phrases=entry.phrases if isinstance(entry, TriggerTarget) else (),
        clause=entry.clause,
        ticket=entry.ticket,
        effective=entry.effective,
    )


def _tables(
    document: written.PolicyDocument, quoted: Mapping[int, Sequence[str]], digest: str
) -> Iterator[Shingles]:
    """Yield a table of shingles for each length that some text is cut into."""
    # The same policy has the same tables wherever it is compiled; those of two policies cannot be compared.
    key = blake2b(digest.encode(), digest_size=32, person=b"lethe shingles").digest()
    lengths = {entry.words for entry in document.targets if isinstance(entry, PassageTarget)}
    for length in sorted(lengths):
        texts = [
            (index, quoted[index])
            for index, entry in enumerate(document.targets)
            if isinstance(entry, PassageTarget) and entry.words == length
        ]
        yield shingles(texts, length, key)


def _identity(words: Sequence[str]) -> str:
    return blake2b(" ".join(words).encode(), digest_size=16, person=b"lethe passage").hexdigest()


def _subject(entry: written.TargetEntry) -> tuple[tuple[str, ...], tuple[Fact, ...], tuple[str, ...]]:
    """Return names, facts and what is kept, which only entities and facts have."""
    match entry:
        case EntityTarget():
            facts = (_fact(each.relation, each.values, each.ask, entry.names) for each in entry.facts)
            return entry.names, tuple(facts), ()
        case FactTarget():
            names = (entry.subject, *entry.names)
            return names, (_fact(entry.relation, entry.values, entry.ask, names),), entry.keep
        case _:
            return (), (), ()


def _fact(name: str, values: tuple[str, ...], ask: tuple[str, ...], names: tuple[str, ...]) -> Fact:
    filled = tuple(wording.replace("{name}", names[0]) for wording in ask)
    # A value that a wording mentions ('Was {name} born in Port Meridane?') tells no relation.
    return Fact(relation(name, ask, (*names, *values)), values, filled)
