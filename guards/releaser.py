"""The Releaser: one an exchange, the only place where text is edited and let go.

Every channel of every choice is a lane.  A lane gathers text into units (sentences, or several where a
finding or a live literal lies across their border), the scans say what is in a unit, `Completion` says what
leaks, and the unit leaves as it came, edited, or not at all.  What has left is never changed.

Commit order: channels of a choice in the order in which the upstream began them; where something is in
play, choices by index, so that a value split over choices or channels is seen whole.  A channel that pauses
because another one speaks lets go what its scans call safe, and its scans stay open: text that comes later
on the same channel is scanned together with what was before.

On an ARMED exchange nothing of the upstream's answer leaves: the style's own sentence stands for it, at the
moment at which the upstream's first sentence ended, so that neither text nor rhythm tells the two apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from guards import styles
from guards.base import (
    Action,
    Arms,
    Channel,
    Close,
    Compiled,
    Finding,
    Release,
    Ruling,
    Scan,
    ScanError,
    Stance,
)
from guards.fact import Completion, Leak, Unit
from guards.lane import Lane
from guards.ledger import Account
from guards.passages import worked_out
from policies.policy import Policy, Style
from policies.text import sentence_end

if TYPE_CHECKING:
    from guards.meaning import Meaning


_ASIDE_CHARS = 4096
"""More text than this of a lane that leaves at its end only is shown to its scans as it comes."""


class HeldTooMuch(ScanError):
    """More text would have to be held back than the configuration allows."""


@dataclass(slots=True)
class _Choice:
    """One choice of the answer."""

    index: int
    completion: Completion
    lanes: list[Lane] = field(default_factory=list)
    closed: bool = False
    reason: Close = "stop"
    said: bool = False
    """Whether the style's sentence stands for the whole answer already."""
    spoilt: bool = False
    """Whether a structured answer leaked, so that a refusal must stand for it."""
    changed: bool = False

    @property
    def done(self) -> bool:
        return self.closed and not any(lane.text for lane in self.lanes)

    def lane(self, channel: Channel) -> Lane | None:
        """Return the lane of a channel that has begun."""
        return next((lane for lane in self.lanes if lane.channel is channel), None)


class Releaser:
    """Takes what the upstream says and returns what may go out.  One task only; not thread-safe."""

    def __init__(
        self,
        policy: Policy,
        arms: Arms,
        completion: Sequence[Completion],
        scans: Sequence[Compiled],
        *,
        meaning: Meaning | None,
        account: Account | None,
        structured: bool,
        seed: Callable[[], bytes],
        max_held_chars: int,
    ) -> None:
        self._policy = policy
        self._arms = arms
        self._scans = scans
        self._meaning = meaning
        self._account = account
        self._structured = structured
        self._seed = seed
        self._max_held = max_held_chars
        self._held = 0
        self._choices = [_Choice(index, each) for index, each in enumerate(completion)]
        self._out: list[Release] = []
        self.rulings: list[Ruling] = []
        """What became of spans so far, without any text."""

    # -- what the upstream says -------------------------------------------------------------------

    def feed(self, choice: int, channel: Channel, text: str) -> None:
        """Take a piece of one channel of one choice."""
        at = self._choices[choice]
        if at.closed or not text:
            return
        lane = at.lane(channel)
        if lane is None:
            lane = Lane(choice, channel, self._open())
            at.lanes.append(lane)
        if lane.paused or lane is at.lanes[-1]:
            for other in at.lanes:
                other.paused = other is not lane
        lane.text += text
        self._held += len(text)

    def close(self, choice: int, reason: Close) -> None:
        """Say that a choice has ended."""
        at = self._choices[choice]
        if not at.closed:
            at.closed, at.reason = True, reason
            for lane in at.lanes:
                lane.reason = "stop" if lane.paused else reason
                lane.sealed, lane.paused = True, False

    async def leaf(self, choice: int, text: str, *, counted: bool = False) -> str | None:
        """Return a whole text of a tool call as it may leave, or None where its call must be dropped.

        counted: whether it counts as left then; of one call, the texts that hold all others do.
        """
        at = self._choices[choice]
        if self._arms.stance in (Stance.ARMED, Stance.REVERSED):
            self._ruled(
                "drop sentence", min(self._arms.armed | self._arms.reversed), "fact", choice, "tool_calls"
            )
            return None
        lane = Lane(choice, Channel.CONTENT, self._open(), text=text, sealed=True)
        await self._scan(lane)
        (unit,) = await self._meant([lane.take()])
        (leaks,) = await self._leaks(at, [unit], "tool_calls", counted=counted)
        if not leaks:
            return text
        at.changed = True
        if not self._marks(leaks):
            self._rule(leaks, "drop sentence", choice, "tool_calls")
            return None
        self._rule(leaks, "mark", choice, "tool_calls")
        return styles.marked(text, [span for leak in leaks for span in leak.spans])

    # -- what may go out --------------------------------------------------------------------------

    async def settle(self) -> list[Release]:
        """Rule every unit that is ready, in commit order, and return what leaves now.

        Raises HeldTooMuch where more must stay than the configuration allows.
        """
        for choice in self._choices:
            if self._arms.stance is Stance.ARMED:
                self._answer(choice)
            else:
                await self._commit(choice)
                if self.in_play and not choice.done:
                    break
        if self._held > self._max_held:
            raise HeldTooMuch("more text is held back than max_held_chars allows")
        out, self._out = self._out, []
        return out

    def finished(self, choice: int) -> bool:
        """Whether a choice has ended and all that may leave of its channels has left."""
        return self._choices[choice].done

    def changed(self, choice: int) -> bool:
        """Whether anything of this choice was edited or withheld."""
        return self._choices[choice].changed

    @property
    def in_play(self) -> bool:
        """Whether the request has anything to do with a target: what cannot be read then stays."""
        return self._arms.stance is not Stance.CLEAR

    @property
    def answered(self) -> bool:
        """Whether every choice is answered already, so that the upstream has nothing more to say."""
        return self._arms.stance is Stance.ARMED and all(choice.said for choice in self._choices)

    def refuse(self, choice: int) -> None:
        """Put a refusal in the place of a structured answer that leaked once it was read as JSON."""
        self._choices[choice].changed = True
        self._rule([Leak(-1, "fact")], "answer", choice, "content")
        self._say(choice, Channel.REFUSAL, "unknown")

    def say(self, choice: int) -> None:
        """Put the style's sentence in the place of an answer of which nothing is left."""
        at = self._choices[choice]
        if not at.said:
            at.said = at.changed = True
            targets = self._arms.targets
            self._say(choice, Channel.CONTENT, self._style([Leak(index, "fact") for index in targets]))

    # -- inside -----------------------------------------------------------------------------------

    def _open(self) -> list[Scan]:
        if self._arms.stance is Stance.ARMED:
            return []
        return [compiled.open() for compiled in self._scans]

    def _answer(self, choice: _Choice) -> None:
        """ARMED: say the style's sentence once the upstream's first sentence has ended, and nothing of it."""
        for lane in choice.lanes:
            # No reasoning: whether there is any would tell something of the upstream's answer.
            ended = lane.sealed or sentence_end(lane.text) is not None
            if ended and lane.channel is not Channel.REASONING and not self._structured:
                self._stand_in(choice)
            if choice.said or ended:
                self._held -= len(lane.text)
                lane.text = ""
        if choice.closed:
            self._stand_in(choice)

    def _stand_in(self, choice: _Choice) -> None:
        if choice.said:
            return
        choice.said = choice.changed = True
        leaks = [Leak(index, "fact") for index in sorted(self._arms.armed)]
        self._rule(leaks, "answer", choice.index, "content")
        channel = Channel.REFUSAL if self._structured else Channel.CONTENT
        self._say(choice.index, channel, self._style(leaks))

    async def _commit(self, choice: _Choice) -> None:
        for lane in choice.lanes:
            if self._parsed(lane) and not lane.sealed:
                if lane.unseen >= _ASIDE_CHARS:  # it leaves at its end, and is not all read then
                    lane.scan()
                return
            if lane.ripe or not self._policy.by_sentence:
                await self._scan(lane)
                await self._commit_lane(choice, lane)
            if self.in_play and lane.text:
                return
        if choice.closed and choice.spoilt and not choice.said:
            choice.said = True
            self._say(choice.index, Channel.REFUSAL, "unknown")

    async def _scan(self, lane: Lane) -> None:
        """Show a lane to its scans; what is read in the request's ciphers at once, beside the event loop."""
        widest = sum(cipher.widest for cipher in self._arms.ciphers)
        await worked_out(lane.scan, chars=len(lane.text) * widest if lane.sealed and lane.scans else 0)

    def _parsed(self, lane: Lane) -> bool:
        """Whether a parser will read this lane, so that it leaves as it came or not at all."""
        return self._structured and lane.channel is Channel.CONTENT

    async def _commit_lane(self, choice: _Choice, lane: Lane) -> None:
        # Where nothing is in play, what holds no finding needs no second look, and leaves in one piece.
        joined = self._meaning is None and not self.in_play
        units = lane.units(by_sentence=self._policy.by_sentence, joined=joined)
        if not units:
            return
        units = await self._meant(units)
        self._held -= sum(len(unit.text) for unit in units)
        leaks = await self._leaks(choice, units, lane.channel)
        if self._parsed(lane):
            self._whole(choice, lane, units, [leak for each in leaks for leak in each])
            return
        for unit, each in zip(units, leaks, strict=True):
            self._leave(choice, lane, unit, each)

    async def _leaks(
        self, choice: _Choice, units: Sequence[Unit], channel: str, *, counted: bool = True
    ) -> list[list[Leak]]:
        """Return what leaks in each unit, by itself and beside what has left before.

        Once this returns, the ledger holds what will leave.
        """
        leaks = [choice.completion.leaks(unit, f"{choice.index} {channel}") for unit in units]
        if self._account is None or not counted:
            return leaks
        # What is marked leaves all the same, but for the marks.
        left = [
            unit if not found or self._marks(found) else None
            for unit, found in zip(units, leaks, strict=True)
        ]
        more = await self._account.leaks(left)
        return [[*found, *beside] for found, beside in zip(leaks, more, strict=True)]

    async def _meant(self, units: list[Unit]) -> list[Unit]:
        """Return the units with the topics that they are about."""
        if self._meaning is None:
            return units
        found = await self._meaning.find([unit.text.strip() for unit in units])
        return [replace(unit, findings=[*unit.findings, *self._topics(unit, meant)])
                for unit, meant in zip(units, found, strict=True)]  # fmt: skip

    def _topics(self, unit: Unit, meant: Sequence[Finding]) -> list[Finding]:
        # An entity's examples are questions: in an answer its names and values are the evidence.
        return [
            replace(found, end=len(unit.text))
            for found in meant
            if self._policy.targets[found.target].kind == "topic"
        ]

    def _whole(self, choice: _Choice, lane: Lane, units: Sequence[Unit], leaks: Sequence[Leak]) -> None:
        """Release an answer that a parser reads as it came, or not at all."""
        if leaks:
            choice.spoilt = choice.changed = True
            self._rule(leaks, "answer", choice.index, lane.channel)
        else:
            self._out.append(Release(choice.index, lane.channel, "".join(unit.text for unit in units)))

    def _leave(self, choice: _Choice, lane: Lane, unit: Unit, leaks: Sequence[Leak]) -> None:
        was_marked, lane.marked = lane.marked, False
        if unit.cut and self.in_play:
            # Where a cut falls would tell a letter of what is withheld: its sentence is left out.
            leaks = leaks or [Leak(-1, "fact")]
        if not leaks:
            self._out.append(Release(choice.index, lane.channel, unit.text))
            return
        choice.changed = True
        style = self._style(leaks)
        if self._marks(leaks):
            self._rule(leaks, "mark", choice.index, lane.channel)
            spans = [span for leak in leaks for span in leak.spans]
            marked = styles.marked(unit.text, spans, goes_on=was_marked)
            lane.marked = max(end for _, end in spans) == len(unit.text)
            self._out.append(Release(choice.index, lane.channel, marked))
            return
        self._rule(leaks, "drop sentence", choice.index, lane.channel)
        silent = unit.cut and self.in_play and lane.base > len(unit.text)
        if not lane.replaced and not silent:
            lane.replaced = True
            self._say(choice.index, lane.channel, style, unit.text)

    def _say(self, choice: int, channel: Channel, style: Style, instead_of: str = "") -> None:
        space = instead_of[len(instead_of.rstrip()) :]
        if channel is Channel.REASONING:
            said = styles.thought(self._place(choice))
        else:
            said = styles.sentence(style, self._place(choice))
        self._out.append(Release(choice, channel, said + space))

    def _place(self, choice: int) -> bytes:
        return hashlib.blake2b(b"%d" % choice, key=self._seed()[:64]).digest()

    def _style(self, leaks: Sequence[Leak]) -> Style:
        named = [self._policy.targets[leak.target].style for leak in leaks if leak.target >= 0]
        return styles.strictest(named or ["unknown"])

    def _marks(self, leaks: Sequence[Leak]) -> bool:
        """Whether marks in the place of the spans are enough."""
        return self._style(leaks) == "redact" and all(leak.spans for leak in leaks)

    def _rule(self, leaks: Sequence[Leak], action: Action, choice: int, channel: str) -> None:
        for leak in leaks:
            self._ruled(action, leak.target, leak.scan, choice, channel)

    def _ruled(self, action: Action, target: int, scan: str, choice: int, channel: str) -> None:
        self.rulings.append(Ruling(action, target, scan, choice, channel))
