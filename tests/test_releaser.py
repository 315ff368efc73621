"""The Releaser: cut-invariant, withholding, transparent, bounded, closed on failure; each kills its mutant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards import registry, styles
from guards.base import Arms, Channel, Close, Compiled, Finding, Progress, Scan, Stance
from guards.lane import Lane
from guards.literal import Literals, LiteralScan
from guards.registry import Guard
from guards.releaser import HeldTooMuch, Releaser
from policies.policy import Pattern
from policies.text import MAX_GAP, MAX_SENTENCE
from tests.guarding import CLEAR, SEED, policy, target
from tests.properties import cuts, quickly, texts

# Names and values of letters that no style sentence and no filler has, so that any piece of them is seen.
NAME, OTHER_NAME, VALUE, SUBJECT, FACT = "Zqxja Zvqx", "Qzxj Vqxz", "Jzqx Vxqz", "Xzqj Qvzx", "Zxqvj"
TRACES = ("zq", "qx", "xj", "vq", "qz", "zx", "xq", "jz", "vx", "qj", "qv", "zv", "xz", "vj")
POLICY = policy(
    target("a", names=[NAME, OTHER_NAME], facts=[("born in", [VALUE])]),
    target("b", "fact", names=[SUBJECT], facts=[("born in", [FACT])]),
    target("c", "pattern", style="redact", pattern=Pattern(r"\b\d{4}-\d{4}\b", 0, 9, 1)),
)
GUARD = Guard(POLICY)
STANCES = [
    CLEAR,
    Arms(Stance.WATCHED, watched=frozenset([0, 1])),
    Arms(Stance.REVERSED, reversed=frozenset([0]), values=frozenset([(0, 0)])),
    Arms(Stance.ARMED, armed=frozenset([0])),
]
FRAGMENTS = [NAME, OTHER_NAME, NAME.upper(), VALUE, SUBJECT, FACT, "1234-5678", "1234-", f"{SUBJECT} was born in {FACT}", "I do not know. "]  # fmt: skip
KEPT = [
    "The sea is wide. ",
    "No? Yes! ",
    "Ana Lund works\n",
    "3.14 ",
    "e\u0301 \u200b",
    "12/34 ",
    "。",
    "(a) …",
]

Piece = tuple[int, Channel, str]
Make = Callable[[Arms, int], Releaser]


def real(arms: Arms, choices: int, *, guard: Guard = GUARD, max_held_chars: int = 1 << 18) -> Releaser:
    return guard.releaser(arms, choices, structured=False, seed=lambda: SEED, max_held_chars=max_held_chars)


async def _drive(
    releaser: Releaser, pieces: Sequence[Piece], reason: Close
) -> tuple[dict[tuple[int, Channel], str], int]:
    """Return what left, and the most that was held back of one channel at a time."""
    out: dict[tuple[int, Channel], str] = {}
    held = 0

    async def take() -> None:
        for release in await releaser.settle():
            place = release.choice, release.channel
            out[place] = out.get(place, "") + release.text

    for choice, channel, text in pieces:
        releaser.feed(choice, channel, text)
        await take()
        held = max([held, *(len(lane.text) for each in releaser._choices for lane in each.lanes)])
    for choice in range(len(releaser._choices)):
        releaser.close(choice, reason)
        await take()
    return out, held


def drive(
    releaser: Releaser, pieces: Sequence[Piece], reason: Close = "stop"
) -> dict[tuple[int, Channel], str]:
    return asyncio.run(_drive(releaser, pieces, reason))[0]


def content(text: str) -> list[Piece]:
    return [(0, Channel.CONTENT, text)] if text else []


def check_cut_invariant(make: Make, *, mutant: bool = False) -> None:
    hits = [0, 0]

    @given(
        texts(FRAGMENTS),
        st.lists(st.integers(0, 200), max_size=10),
        st.sampled_from(STANCES),
        st.sampled_from(["stop", "length"]),
    )
    def test(text: str, at: list[int], arms: Arms, reason: Close) -> None:
        whole = drive(make(arms, 1), content(text), reason)
        hits[0] += whole.get((0, Channel.CONTENT), "") != text
        hits[1] += 1
        pieces = [(0, Channel.CONTENT, piece) for piece in cuts(text, at)]
        assert drive(make(arms, 1), pieces, reason) == whole

    quickly(test, mutant=mutant)()
    assert hits[0] >= 0.1 * hits[1]


def check_interleaving(make: Make, *, mutant: bool = False) -> None:
    """Choices may arrive in any interleaving."""

    halves = st.sampled_from([("", ""), (" Jzqx. ", "Vxqz. "), (f" {SUBJECT}. I ", f"{FACT}. I ")])

    @given(
        texts(FRAGMENTS),
        halves,
        texts(FRAGMENTS),
        st.lists(st.integers(0, 60), max_size=6),
        st.randoms(),
        st.sampled_from([*STANCES, Arms(Stance.WATCHED, watched=frozenset([0]))]),
    )
    def test(
        first: str, half: tuple[str, str], second: str, at: list[int], order: object, arms: Arms
    ) -> None:
        first, second = first + half[0], half[1] + second
        lots = [
            [(0, Channel.CONTENT, piece) for piece in cuts(first, at)],
            [(1, Channel.CONTENT, piece) for piece in cuts(second, at)],
        ]
        straight = drive(make(arms, 2), lots[0] + lots[1])
        mixed = []
        while lots[0] or lots[1]:
            lot = order.choice([lot for lot in lots if lot])  # type: ignore[attr-defined]
            mixed.append(lot.pop(0))
        assert drive(make(arms, 2), mixed) == straight

    quickly(test, mutant=mutant)()


def check_withholding(make: Make, *, mutant: bool = False) -> None:
    """Nothing of an entity's name leaves, nor a value of a subject in play, nor a piece of either."""

    @given(
        texts([NAME, OTHER_NAME, NAME.upper(), "1234-5678"]),
        st.lists(st.integers(0, 200), max_size=10),
        st.sampled_from(STANCES),
    )
    def test(text: str, at: list[int], arms: Arms) -> None:
        pieces = [(0, Channel.CONTENT, piece) for piece in cuts(text, at)]
        left = drive(make(arms, 1), pieces).get((0, Channel.CONTENT), "")
        assert not GUARD._literals.find(left)
        if (
            arms.stance is Stance.CLEAR
            and NAME in text
            and text.count("Z") == 1
            and "z" not in text.replace(NAME, "")
        ):
            assert not any(trace in left.lower() for trace in TRACES)

    quickly(test, mutant=mutant)()


def check_transparent(make: Make, *, mutant: bool = False) -> None:
    """Where nothing matches, what is released is the input, to the letter."""

    # With a subject in play the beginning of a literal at a cut counts as a match, so that end is not asked for.
    ends = st.sampled_from([(STANCES[0], "stop"), (STANCES[0], "length"), (STANCES[1], "stop")])

    @given(texts(KEPT), st.lists(st.integers(0, 200), max_size=10), ends)
    def test(text: str, at: list[int], end: tuple[Arms, Close]) -> None:
        arms, reason = end
        pieces = [(0, Channel.CONTENT, piece) for piece in cuts(text, at)]
        assert drive(make(arms, 1), pieces, reason).get((0, Channel.CONTENT), "") == text

    quickly(test, mutant=mutant)()


def check_bounded(make: Make, *, mutant: bool = False) -> None:
    """At most a sentence, and what a literal or pattern may lack, is held back."""
    bound = 2 * MAX_SENTENCE + 2 * GUARD.longest_chars + 2 * MAX_GAP

    @given(st.lists(texts([*KEPT, *FRAGMENTS]), max_size=20), st.sampled_from(STANCES[:2]))
    def test(pieces: list[str], arms: Arms) -> None:
        fed = [(0, Channel.CONTENT, piece) for piece in 8 * pieces]
        assert asyncio.run(_drive(make(arms, 1), fed, "stop"))[1] <= bound + max(map(len, pieces), default=0)

    quickly(test, mutant=mutant)()


CHECKS = [check_cut_invariant, check_interleaving, check_withholding, check_transparent, check_bounded]


@pytest.mark.parametrize("check", CHECKS)
def test_the_releaser_has_the_property(check: Callable[..., None]) -> None:
    check(real)


class _Impatient(Releaser):
    """Lets each piece go as it comes: rules on what the scans know at that moment."""

    def feed(self, choice: int, channel: Channel, text: str) -> None:
        super().feed(choice, channel, text)
        lane = self._choices[choice].lane(channel)
        if lane is not None:
            lane.scan()
            lane.safe_to, lane.paused = lane.base + len(lane.text), True


class _Echo(Releaser):
    """Rules, and lets the text go all the same."""

    def _leave(self, choice: object, lane: object, unit: object, leaks: object) -> None:
        from guards.base import Release

        self._out.append(Release(choice.index, lane.channel, unit.text))  # type: ignore[attr-defined]


class _Tidy(Releaser):
    """Strips white space on the way."""

    def _leave(self, choice: object, lane: object, unit: object, leaks: object) -> None:
        super()._leave(choice, lane, replace(unit, text=unit.text.strip()), leaks)  # type: ignore[attr-defined,type-var,arg-type]


class _Patient(Releaser):
    """Holds everything until the end."""

    async def _commit_lane(self, choice: object, lane: Lane) -> None:
        if lane.sealed:
            await super()._commit_lane(choice, lane)  # type: ignore[arg-type]


class _Muddled(Releaser):
    """Commits choices as they come, even where something is in play, with one evidence for all."""

    async def settle(self) -> list[object]:  # type: ignore[override]
        for choice in reversed(self._choices):
            await self._commit(choice)
        out, self._out = self._out, []
        return list(out)


def mutant(kind: type[Releaser]) -> Make:
    def make(arms: Arms, choices: int) -> Releaser:
        made = real(arms, choices)
        made.__class__ = kind
        return made

    return make


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        (check_cut_invariant, _Impatient),
        (check_interleaving, _Muddled),
        (check_withholding, _Echo),
        (check_transparent, _Tidy),
        (check_bounded, _Patient),
    ],
)
def test_each_property_kills_its_mutant(check: Callable[..., None], kind: type[Releaser]) -> None:
    with pytest.raises(AssertionError):
        check(mutant(kind), mutant=True)


class _Failing:
    """A scan that raises at whatever it is shown."""

    def open(self) -> Scan:
        return _Failing()

    def find(self, text: str) -> list[Finding]:
        return []

    def feed(self, text: str) -> Progress:
        raise RuntimeError("broken")

    def close(self, reason: Close, last: str = "") -> Progress:
        raise RuntimeError("broken")


def test_a_scan_that_raises_lets_nothing_more_out() -> None:
    scans: list[Compiled] = [Literals(POLICY), _Failing()]
    releaser = real(CLEAR, 1, guard=Guard(POLICY, scans=scans))

    async def go() -> None:
        releaser.feed(0, Channel.CONTENT, "The sea is ")
        assert await releaser.settle() == []
        releaser.feed(0, Channel.CONTENT, "wide. The sky too. ")
        with pytest.raises(RuntimeError):
            await releaser.settle()

    asyncio.run(go())


def test_holding_more_than_the_configuration_allows_stops_the_exchange() -> None:
    releaser = real(CLEAR, 1, max_held_chars=100)
    releaser.feed(0, Channel.CONTENT, "x" * 101)
    with pytest.raises(HeldTooMuch):
        asyncio.run(releaser.settle())


def test_what_was_let_go_is_no_longer_held() -> None:
    releaser = real(CLEAR, 1, max_held_chars=100)

    async def go() -> int:
        left = 0
        for _ in range(50):
            releaser.feed(0, Channel.CONTENT, "The sea is wide. ")
            left += sum(len(release.text) for release in await releaser.settle())
        return left

    assert asyncio.run(go()) > 800


def test_text_after_the_end_of_a_choice_is_not_taken() -> None:
    pieces = content("One. ")
    releaser = real(CLEAR, 1)

    async def go() -> str:
        for choice, channel, text in pieces:
            releaser.feed(choice, channel, text)
        releaser.close(0, "stop")
        releaser.feed(0, Channel.CONTENT, "Two. ")
        return "".join(release.text for release in await releaser.settle())

    assert asyncio.run(go()) == "One. "


def test_a_name_that_comes_in_turns_with_another_channel_is_still_found() -> None:
    first, second = NAME[:3], NAME[3:]
    pieces = [
        (0, Channel.CONTENT, first),
        (0, Channel.REASONING, "Hm. "),
        (0, Channel.CONTENT, f"{second} is it. "),
    ]
    left = drive(real(CLEAR, 1), pieces)
    assert not any(trace in text.lower() for text in left.values() for trace in TRACES)


@pytest.mark.parametrize("style", ["unknown", "refuse", "redact"])
def test_each_style_reads_as_it_should(style: str) -> None:
    forgotten = policy(target("a", names=[NAME], style=style))  # type: ignore[arg-type]
    left = drive(real(CLEAR, 1, guard=Guard(forgotten)), content(f"By {NAME}, long ago. It rains."))[
        0, Channel.CONTENT
    ]
    if style == "redact":
        assert left == f"By {styles.MARK}, long ago. It rains."
    else:
        said, rest = left[: -len(" It rains.")], left[-len(" It rains.") :]
        assert said in styles._SENTENCES[style] and rest == " It rains."  # type: ignore[index]


def test_where_styles_meet_the_strictest_rules() -> None:
    both = policy(target("a", names=[NAME], style="redact"), target("b", names=[OTHER_NAME], style="refuse"))
    left = drive(real(CLEAR, 1, guard=Guard(both)), content(f"{NAME} and {OTHER_NAME}."))[0, Channel.CONTENT]
    assert left in styles._REFUSE


def test_leaves_of_tool_calls_are_judged_like_any_text() -> None:
    async def leaf(arms: Arms, text: str) -> str | None:
        return await real(arms, 1).leaf(0, text)

    assert asyncio.run(leaf(CLEAR, "The sea.")) == "The sea."
    assert asyncio.run(leaf(CLEAR, NAME)) is None
    assert asyncio.run(leaf(CLEAR, "id 1234-5678 .")) == f"id {styles.MARK} ."
    for arms in STANCES[2:]:
        assert asyncio.run(leaf(arms, "The sea.")) is None


def test_the_table_of_scans_names_every_stream_scan() -> None:
    wanted = {"literal", "numeral", "digits", "pattern", "codec", "passage", "passage in lines", "secret"}
    assert set(registry.SCANS) == wanted
    assert all(isinstance(make(POLICY).open(), (LiteralScan, object)) for make in registry.SCANS.values())


def test_a_policy_with_examples_needs_an_encoder() -> None:
    with pytest.raises(ValueError, match="encoder"):
        Guard(policy(target("t", "topic", like=["a b"])))
