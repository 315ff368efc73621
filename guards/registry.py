"""The guard of one policy: everything compiled once, opened anew for each exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from guards.base import Arms, Compiled, Part, Passage, Plan, Stance, What
from guards.cipher import SUFFIX, Deciphering, Tables, deciphered, to_read
from guards.codecs import Codecs
from guards.digits import Digits
from guards.everyday import Everyday, everyday
from guards.fact import Completion
from guards.knowledge import Knowledge
from guards.ledger import Account, Ledger, account
from guards.literal import Apart, Literals
from guards.numerals import Numerals
from guards.passage import Quotes
from guards.passage_lines import QuotesInLines
from guards.passages import Passages, worked_out
from guards.pattern import Patterns
from guards.primed import Primed, said_before
from guards.prompt import Reader
from guards.releaser import Releaser
from guards.runs import Runs
from guards.secret import Secrets
from guards.trigger import Triggers
from guards.written import Written
from policies.known import known_words
from policies.policy import Kind, Policy
from policies.relations import lexicon

if TYPE_CHECKING:
    from guards.encoder_thread import EncoderThread
    from guards.meaning import Meaning

SCANS: dict[str, Callable[[Policy], Compiled]] = {
    "literal": Literals, "numeral": Numerals, "digits": Digits, "pattern": Patterns, "codec": Codecs,
    "passage": Quotes, "passage in lines": QuotesInLines, "secret": Secrets,
}  # fmt: skip
"""Every scan that runs over a stream.  `meaning` is not one of them: it is awaited, at sentence ends."""
_PRIMED = (Quotes, Secrets)
"""Those of which the parts are nobody's name or value, so that the ledger does not count them."""
IN_REQUESTS: dict[str, Kind] = {"passage": "passage", "passage in lines": "passage", "secret": "secret"}
"""Those of them that look at requests as well, with the kind of target that a policy must have for them."""


class Guard:
    """A compiled policy.  Immutable; shared by all exchanges that began under it."""

    def __init__(
        self,
        policy: Policy,
        meaning: Meaning | None = None,
        *,
        scans: Sequence[Compiled] | None = None,
        pending: frozenset[str] = frozenset(),
    ) -> None:
        """Compile `policy`.  `meaning` must be given where the policy uses it; `scans` replaces the table.

        pending: ids of targets whose examples are still being compiled, so that `meaning` has none of theirs,
        or older ones.
        """
        if policy.uses_meaning and meaning is None and not pending:
            raise ValueError("a policy with examples cannot be enforced without an encoder")
        self.policy = policy
        self.pending = pending
        self._meaning = meaning
        written = Written.of(policy)
        self._literals = Literals(policy, written)
        runs: dict[str, Runs] = {"numeral": Numerals(policy, written), "digits": Digits(policy, written)}
        self._runs = tuple(each for each in runs.values() if each.keys)
        kinds = {target.kind for target in policy.targets}
        codecs = Codecs(policy, self._literals)
        made: dict[str, Compiled] = {"literal": self._literals, "codec": codecs, **runs}
        table: dict[str, Compiled] = {
            name: made.get(name) or make(policy)
            for name, make in SCANS.items()
            if (IN_REQUESTS[name] in kinds if name in IN_REQUESTS else name not in runs or runs[name].keys)
        }
        self._scans = tuple(table.values()) if scans is None else tuple(scans)
        self._triggers = Triggers(policy) if "trigger" in kinds else None
        asked = [table[name] for name in IN_REQUESTS if name in table]
        asked.append(Apart(self._literals, self._runs))
        self._knowledge = Knowledge(policy)
        self._tables = Tables()
        self._words = lexicon()
        self._ordinary = known_words().common if self._literals.max_chars else frozenset[str]()
        passages = Passages(policy, self._literals, meaning, self._words, asked, codecs, self._runs)
        self._parts, self._misspelt = passages.parts, passages.misspelt
        self._reader = Reader(policy, passages, self._words)

    @property
    def longest_chars(self) -> int:
        """Folded characters that the longest name or value takes."""
        return max([self._literals.max_chars, *(each.max_chars for each in self._runs)])

    @property
    def ready(self) -> bool:
        """Whether everything that the policy needs is at hand."""
        return self._meaning is None or self._meaning.ready

    def finds(self, text: str) -> bool:
        """Whether a short text of the upstream's, such as a model's name, brings a name or a pattern."""
        found = [each for scan in self._scans for each in scan.find(text)]
        return any(each.part is not Part.VALUE for each in found)

    @property
    def encoded(self) -> int:
        """Texts given to the encoder so far."""
        return 0 if self._meaning is None else self._meaning.encoded

    def everyday(self) -> Iterator[Everyday]:
        """Yield the targets whose names, phrases, patterns or passages are everybody's words."""
        looking = (Literals, Patterns, Quotes)
        return everyday(
            self.policy, [scan for scan in self._scans if isinstance(scan, looking)], self._triggers
        )

    def drift(self) -> tuple[int, ...] | None:
        """Return what `Drift.take` does, or None where nothing is judged by meaning."""
        return None if self._meaning is None else self._meaning.drift.take()

    @property
    def needs_encoder(self) -> bool:
        """Whether it finds targets by meaning: once unpickled it must then be given an encoder."""
        return self._meaning is not None

    @property
    def meaning(self) -> Meaning | None:
        """What finds targets by meaning, for the next policy's to be made from."""
        return self._meaning

    def attach(self, thread: EncoderThread) -> None:
        """Give an unpickled guard its encoder.  Raises EncoderUnavailable where it is another one."""
        assert self._meaning is not None
        self._meaning.attach(thread)

    def stops(self, older: Guard) -> bool:
        """Whether an exchange that began under `older` must not go on, now that this guard is in force.

        That is so where a target that is effective now is none of `older`'s, or had no meaning there yet.
        """
        now = [target for target in self.policy.targets if target.effective == "now"]
        known = {target.id: target for target in older.policy.targets} if now else {}
        return any(
            known.get(target.id) != target or (target.id in older.pending and target.id not in self.pending)
            for target in now
        )

    def close(self) -> None:
        """End the encoder's thread, where there is one."""
        if self._meaning is not None:
            self._meaning.close()

    async def read(self, passages: Sequence[Passage], client: str = "") -> Arms:
        """Return what a request arms.  Raises `ScanError` where that cannot be found out."""
        if self._triggers is None:
            return await self._read(passages, client)
        # All else is looked for in what the upstream gets: a phrase within a name would hide the name.
        passages, cut = await self._triggers.cut_out(passages)
        arms = await self._read(passages, client)
        return replace(arms, findings=(*arms.findings, *cut)) if cut else arms

    async def _read(self, passages: Sequence[Passage], client: str) -> Arms:
        ciphers = await self._tables.told([passage.text for passage in passages], client)
        if not ciphers:
            return await self._reader.read(passages, client)
        said = await worked_out(deciphered, passages, ciphers, chars=to_read(passages, ciphers))
        arms = await self._reader.read([*passages, *said], client)
        # Which sentence of a cipher holds what cannot be told: all of it is taken out.
        masked = {
            path.removesuffix(SUFFIX): "" if path.endswith(SUFFIX) else left
            for path, left in sorted(arms.masked.items(), key=lambda each: each[0].endswith(SUFFIX))
        }
        return replace(arms, masked=masked, ciphers=ciphers)

    def without_triggers(self, text: str) -> str:
        """Return a text of a request as the upstream may get it."""
        return text if self._triggers is None else self._triggers.without(text)

    def plan(self, arms: Arms, *, steering: bool = True) -> Plan:
        """Return what the prompt gets: an instruction for what was found, and for nothing else."""
        if arms.stance is Stance.CLEAR:
            return Plan()
        styles = [self.policy.targets[index].style for index in arms.armed]
        refused = arms.stance is Stance.ARMED and all(style == "refuse" for style in styles)
        local = refused and self.policy.disclosure == "declared"
        # Only what the client named itself: an instruction that is read back then tells no name.
        # And only where nothing of the answer leaves: elsewhere an upstream could repeat it to the client.
        known = {found.target for found in arms.findings if found.part in (Part.NAME, Part.MEANING)}
        steered = arms.armed & known if steering and not local else frozenset[int]()
        what: dict[int, What] = {
            index: "local" if local else "steer" if index in steered else "pass"
            for index in sorted(arms.targets)
        }
        return Plan(self._knowledge.instruction(steered), local, True, what)

    async def account(self, arms: Arms, passages: Sequence[Passage], ledger: Ledger | None) -> Account | None:
        """Return what may still leave of the targets in play; None where nothing of them could in pieces.

        ledger: what has left for this client; without one, nothing is known of other exchanges.
        """
        return await account(self.policy, arms, self._words, self._ordinary, passages, ledger)

    def releaser(
        self,
        arms: Arms,
        choices: int,
        *,
        structured: bool,
        seed: Callable[[], bytes],
        max_held_chars: int,
        account: Account | None = None,
        passages: Sequence[Passage] = (),
    ) -> Releaser:
        """Return the Releaser of one exchange.  `seed` gives what is keyed and stands for the question.

        account: as `account` returned it; without one, an answer is all that is known to have left.
        passages: the request's, for what begins in an earlier answer and ends in this one.
        """
        if account is None:
            account = Account.of(self.policy, arms, self._words, self._ordinary)
        known = (self._ordinary, self._parts, self._misspelt)
        made = (self.policy, arms, self._literals, self._words, self._runs, *known)
        if arms.stance is Stance.CLEAR:
            evidence = [Completion(*made) for _ in range(choices)]
        else:
            evidence = [Completion(*made)] * choices
        read = (Deciphering(arms.ciphers, self._scans),) if arms.ciphers else ()
        return Releaser(
            self.policy,
            arms,
            evidence,
            [*self._primed(passages), *read],
            meaning=self._meaning,
            account=account,
            structured=structured,
            seed=seed,
            max_held_chars=max_held_chars,
        )

    def _primed(self, passages: Sequence[Passage]) -> Sequence[Compiled]:
        """Return the scans, those that look at requests as well having seen the answers before this one."""
        before = said_before(passages) if any(isinstance(scan, _PRIMED) for scan in self._scans) else ""
        if not before:
            return self._scans
        return [Primed(scan, before) if isinstance(scan, _PRIMED) else scan for scan in self._scans]
