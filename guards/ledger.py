"""The ledger as the guards see it: what of the targets in play has left, and whether more of it may.

What leaves piece by piece is no leak by itself, so it is counted: the cells of a value or name
(`guards.pieces`), and how many attributes of one target answers have brought.  Before a stretch of an answer
leaves, what it would add is claimed; the ledger keeps it and says yes, or keeps nothing and says no.  Both
happen in one step, so that two answers at once cannot each take a half.  Who keeps the ledger, and for how
long, the guards do not know (docs/design.md, 'Closure').
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence, Set
from typing import NamedTuple, Protocol

from guards.base import Arms, Part, Passage, ScanError, Stance
from guards.fact import Leak, Unit
from guards.passages import chars_of, worked_out
from guards.pieces import MAX_CELLS, MAX_READ, Pieces, Whole
from policies.policy import Policy
from policies.relations import Lexicon
from policies.text import fold

COUNTED = (Stance.WATCHED, Stance.REVERSED)
"""Stances under which something of a target in play may leave: of an armed answer nothing does."""
_MANY = 50
"""More targets in play than this are prepared beside the event loop."""
_SCAN = "ledger"


class LedgerUnavailable(ScanError):
    """The ledger cannot be read or written now: what may leave is not known, so nothing does."""


class Attribute(NamedTuple):
    """What is counted, by names that no text of a target is in."""

    target: str
    """The target's id."""
    what: str
    """A relation as the policy names it; `NAMES` and `FACTS` are no relation's."""
    number: int


NAMES, FACTS = "\0names", "\0facts"


class Claim(NamedTuple):
    """What a stretch of an answer would add to one attribute."""

    attribute: Attribute
    cells: int
    """A bit for each; never 0."""
    given: int
    """Those that the request brought itself: they count beside what has left, and are not kept."""
    need: int
    """With so many cells nothing more may leave."""


class Ledger(Protocol):
    """What has left for one client.  Shared by all that client's exchanges, wherever they are served."""

    async def claim(self, stretches: Sequence[Sequence[Claim]]) -> Sequence[bool]:
        """Say of each stretch, in this order, whether it may leave; what may is kept before this returns.

        Costs a client the same time whatever is claimed, nothing included.  Raises LedgerUnavailable.
        """
        ...


def allowed(kept: MutableMapping[Attribute, int], claims: Sequence[Claim]) -> bool:
    """Whether a stretch may leave, given what has left before; if so, add it to that.

    The same cells may leave again.  That a request brings all cells licenses none of them.
    """
    for claim in claims:
        if (kept.get(claim.attribute, 0) | claim.given | claim.cells).bit_count() >= claim.need:
            return False
    for claim in claims:
        kept[claim.attribute] = kept.get(claim.attribute, 0) | claim.cells
    return True


class Unkept:
    """A ledger of one exchange alone, for where nothing is served: it forgets with it."""

    def __init__(self) -> None:
        self._kept: dict[Attribute, int] = {}

    async def claim(self, stretches: Sequence[Sequence[Claim]]) -> Sequence[bool]:
        return [allowed(self._kept, claims) for claims in stretches]


class Account:
    """What one exchange may still release of the targets in play.  One task only."""

    def __init__(
        self, policy: Policy, arms: Arms, pieces: Pieces, texts: Iterable[str], ledger: Ledger
    ) -> None:
        """texts: what of the request counts beside what has left."""
        self._policy = policy
        self._arms = arms
        self._pieces = pieces
        self._ledger = ledger
        self._attributes = [self._attribute(whole) for whole in pieces.wholes]
        self._given: dict[int, int] = {}
        for text in texts:
            for number, cells in pieces.find(text, fold(text).text).items():
                self._given[number] = self._given.get(number, 0) | cells
        # Who has the whole of it learns nothing from a list of candidates: that neither licenses a piece nor
        # forbids one.
        self._given = {
            number: cells
            for number, cells in self._given.items()
            if cells.bit_count() < pieces.wholes[number].need
        }

    @classmethod
    def of(
        cls,
        policy: Policy,
        arms: Arms,
        words: Lexicon,
        ordinary: Set[str],
        passages: Sequence[Passage] = (),
        ledger: Ledger | None = None,
    ) -> Account | None:
        """Return the account of an exchange; None where nothing that is in play could come in pieces.

        passages: the request's; what the client said just now and what it says it was answered counts.
        ledger: without one, nothing is known of other exchanges.
        """
        if arms.stance not in COUNTED:
            return None
        in_play = ((index, index not in arms.named) for index in sorted(arms.targets))
        pieces = Pieces(policy, in_play, words, ordinary)
        if not pieces.wholes and not any(len(policy.targets[index].facts) > 1 for index in arms.reversed):
            return None
        texts = [passage.text for passage in passages if passage.current or passage.role == "assistant"]
        return cls(policy, arms, pieces, _last(texts), ledger or Unkept())

    async def leaks(self, units: Sequence[Unit | None]) -> list[list[Leak]]:
        """Return of each unit, in commit order, what must not leave beside what left before.

        None stands for a unit that does not leave anyhow.  Raises LedgerUnavailable.
        """
        claimed = [self._claims(unit) if unit is not None else [] for unit in units]
        free = await self._ledger.claim([[claim for _, claim in claims] for claims in claimed])
        return [
            [] if may else [Leak(target, _SCAN) for target in sorted({target for target, _ in claims})]
            for claims, may in zip(claimed, free, strict=True)
        ]

    def _claims(self, unit: Unit) -> list[tuple[int, Claim]]:
        """Return what a unit would add, each claim with its target."""
        whole = {
            (found.target, found.fact, found.value) for found in unit.findings if found.part is Part.VALUE
        }
        claims = []
        for number, cells in sorted(self._pieces.find(unit.text, unit.folded).items()):
            each = self._pieces.wholes[number]
            place = (each.target, each.fact, each.index)
            # A value that may leave whole is not looked at in pieces.
            if place in whole or place in self._arms.brought or self._sought_by(each):
                continue
            given = self._given.get(number, 0)
            claims.append((each.target, Claim(self._attributes[number], cells, given, each.need)))
        return [*claims, *self._brought_facts(whole)]

    def _sought_by(self, whole: Whole) -> bool:
        """Whether it is what the question gives in order to learn whose it is."""
        return whole.target in self._arms.reversed and (whole.target, whole.fact) in self._arms.values

    def _brought_facts(self, whole: Set[tuple[int, int | None, int | None]]) -> list[tuple[int, Claim]]:
        """Return a claim for each target that is sought by a value and of which the unit brings another."""
        facts: dict[int, int] = {}
        for target, fact, _ in whole:
            if target in self._arms.reversed and fact is not None and (target, fact) not in self._arms.values:
                facts[target] = facts.get(target, 0) | 1 << _cell(fact)
        claims = []
        for target, cells in sorted(facts.items()):
            given = sum({1 << _cell(fact) for at, fact in self._arms.values if at == target})
            need = min(self._policy.together, len(self._policy.targets[target].facts))
            attribute = Attribute(self._policy.targets[target].id, FACTS, 0)
            claims.append((target, Claim(attribute, cells, given, need)))
        return claims

    def _attribute(self, whole: Whole) -> Attribute:
        target = self._policy.targets[whole.target]
        if whole.fact is None:
            return Attribute(target.id, NAMES, whole.index)
        name = target.facts[whole.fact].relation.name
        # Of several facts with one relation the later ones count on: an order that an edit elsewhere keeps.
        before = sum(len(fact.values) for fact in target.facts[: whole.fact] if fact.relation.name == name)
        return Attribute(target.id, name, before + whole.index)


async def account(
    policy: Policy,
    arms: Arms,
    words: Lexicon,
    ordinary: Set[str],
    passages: Sequence[Passage],
    ledger: Ledger | None,
) -> Account | None:
    """Return `Account.of`, worked out beside the event loop where that takes long."""
    given = (policy, arms, words, ordinary, passages, ledger)
    if arms.stance not in COUNTED:
        return None
    return await worked_out(Account.of, *given, chars=chars_of(passages), many=len(arms.targets) > _MANY)


def _cell(fact: int) -> int:
    return min(fact, MAX_CELLS - 1)


def _last(texts: Sequence[str]) -> Iterable[str]:
    """Yield the last texts of a request, no more of them than are read for pieces."""
    left = MAX_READ
    for text in reversed(texts):
        if left <= 0:
            return
        yield text[-left:]
        left -= len(text)
