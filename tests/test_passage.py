"""Texts that must not be repeated: found wherever a run of them begins, however the text arrives, and kept as hashes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import Finding, Part, Progress, ScanError, Stance
from guards.passage import MAX_OPEN, Quotes, QuoteScan, _Reading
from guards.registry import Guard
from policies.loader import load_policy, parse_policy
from policies.policy import Policy
from policies.problems import PolicyError
from policies.shingles import MAX_WORD, Shingles, shingles, shorter, words_of
from policies.source import Source, Text
from server.artefact import packed, unpacked
from server.cli import main
from tests.fake_upstream import say
from tests.guarding import CLEAR, answer, read
from tests.lethe_process import running
from tests.lethe_server import lethe
from tests.properties import check_bounded, check_cut_invariant, check_withholding, texts

SALT = (
    "The lamps of Port Meridane were lit at four that winter, and nobody asked why.\n"
    "Odalys counted the lamps; the lamps of Port Halden stayed dark. Nobody asked."
)
LEDGER = "Nine barges of salt left at dawn, and nine barges of salt came back at dusk."


def of(*texts: tuple[str, int], style: str = "unknown", more: str = "") -> Policy:
    """Return a policy of passages, each with its number of words."""
    head = f"lethe: 1\nname: p\ndefaults: {{style: {style}}}\ntargets:\n"
    entries = [
        f"  - id: p{at}\n    kind: passage\n    words: {words}\n    text: |\n"
        + "".join(f"      {line}\n" for line in text.splitlines())
        for at, (text, words) in enumerate(texts)
    ]
    return parse_policy(head + "".join(entries) + more)


QUOTES = Quotes(of((SALT, 6), (LEDGER, 4)))
PIECES = [
    "The lamps of Port Meridane were lit at four", "the LAMPS of Port", "Port Meridané — were lit at", "lit at four, that winter and nobody",
    "asked why. Odalys counted the lamps;", "of Port Halden stayed dark", "Nine barges of salt", "barges of salt left at dawn", "and nine barges",
    "of salt", "the lamps of\n\nPort Ha\u200blden stayed dark", "nobody asked", "Ｎｉｎｅ bárges of salt came",
]  # fmt: skip


def test_findings_do_not_depend_on_how_the_text_was_cut() -> None:
    check_cut_invariant(QUOTES.open, PIECES)


def test_what_is_called_safe_never_becomes_part_of_a_finding() -> None:
    check_withholding(QUOTES.open, PIECES)


def test_no_more_is_held_back_than_a_shingle_with_what_stands_between() -> None:
    check_bounded(QUOTES.open, PIECES, 160)


class _Sleepy(QuoteScan):
    """Forgets between two pieces that a run was found."""

    def feed(self, text: str) -> Progress:
        for reading in self._readings:
            reading.hit = -1
        return super().feed(text)


class _Eager(QuoteScan):
    """Calls everything safe that it has seen."""

    def _live(self, reading: _Reading) -> int:
        return self._base + len(self._tail)


class _Hoarder(QuoteScan):
    """Calls nothing safe before the end."""

    def feed(self, text: str) -> Progress:
        return Progress(super().feed(text).findings, 0)


def test_each_property_kills_its_mutant() -> None:
    with pytest.raises(AssertionError):
        check_cut_invariant(lambda: _Sleepy(QUOTES), PIECES, mutant=True)
    with pytest.raises(AssertionError):
        check_withholding(lambda: _Eager(QUOTES), PIECES, mutant=True)
    with pytest.raises(AssertionError):
        check_bounded(lambda: _Hoarder(QUOTES), PIECES, 160, mutant=True)


def covered(findings: list[Finding], text: str) -> set[tuple[int, int]]:
    """Return (target, position) of every letter that some finding covers."""
    return {
        (found.target, at) for found in findings for at in range(found.start, found.end) if text[at].isalnum()
    }


@given(texts([piece for piece in PIECES if piece.isascii()]))
def test_what_is_found_is_every_run_that_a_plain_search_finds(text: str) -> None:
    """But for its first words: fewer than half a shingle may be anybody's."""
    said = words_of(text)
    spans = [(0, 0)] * len(said)
    at = 0
    folded = text.lower()
    expected: set[tuple[int, int]] = set()
    if not text.isascii():
        return
    for index, word in enumerate(said):
        start = folded.index(word, at)
        spans[index], at = (start, start + len(word)), start + len(word)
    for target, (source, size) in enumerate(((SALT, 6), (LEDGER, 4))):
        words = words_of(source)
        known = {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
        for begin in range(len(said) - size + 1):
            if tuple(said[begin : begin + size]) in known:
                for start, end in spans[begin + shorter(size) - 1 : begin + size]:
                    expected |= {(target, place) for place in range(start, end)}
    assert covered(QUOTES.find(text), text) == expected


def long_text(count: int) -> list[str]:
    drawn = Random(7)
    words = ["".join(drawn.choices("abcdefghijklmnopqrstuvwxyz", k=drawn.randint(2, 7))) for _ in range(600)]
    return drawn.choices(words, k=count)


def test_eight_words_in_a_row_are_found_wherever_they_begin_and_seven_are_not() -> None:
    words = long_text(3_000)
    quotes = Quotes(of((" ".join(words), 8)))
    for begin in range(len(words) - 8):
        run = words[begin : begin + 8]
        assert quotes.find(f"As it says: {'. '.join(run)}!"), begin
        assert not quotes.find(f"As it says: {' '.join(run[:7])} qqq"), begin


def test_sixteen_bytes_a_word_are_enough_for_all_tables() -> None:
    words = long_text(20_000)
    alone = shingles([(0, words)], 8, bytes(16))
    shared = shingles([(0, words[:9_000]), (1, words[9_000:])], 8, bytes(16))
    for table in (alone, shared):
        size = sum(len(each) * each.itemsize for each in (table.hashes, table.targets)) + len(table.filter)
        assert size <= 16 * len(words)


class _Counting(Shingles):
    """Counts what is looked up."""

    looked_up = [0]

    def holds(self, run: object) -> bool:
        self.looked_up[0] += 1
        return super().holds(run)  # type: ignore[arg-type]


def test_what_is_looked_up_for_a_word_is_bounded_whatever_the_length_of_the_text() -> None:
    counts = []
    for length in (50, 50_000):
        table = shingles([(0, [f"w{at}" for at in range(length)])], 8, bytes(16))
        counting = _Counting(table.words, table.key, table.hashes, table.targets, table.filter)
        quotes = Quotes(Policy("p", "0" * 64, (), shingles=(counting,)))
        scan = quotes.open()
        counting.looked_up[0] = 0
        for at in range(2_000):
            scan.feed(f"nothing{at} ")
        counts.append(counting.looked_up[0])
    # One for the last words of each piece, and one for every fifth word.
    assert max(counts) <= 1.25 * 2_000


def test_ordinary_text_is_not_held_back_and_a_beginning_is_from_its_fourth_word_on() -> None:
    scan = Quotes(of((SALT, 8))).open()
    assert scan.feed("It rains in Port Meridane. ").safe_to == 27
    assert scan.feed("The lamps of ").safe_to == 40
    assert scan.feed("Port ").safe_to == 40
    assert scan.feed("Meridane ").safe_to == 40
    assert scan.feed("shone. ").safe_to == 61


def test_two_texts_that_share_a_run_are_both_named() -> None:
    quotes = Quotes(of((SALT, 6), (f"{LEDGER} The lamps of Port Meridane were lit", 6)))
    assert {found.target for found in quotes.find("the lamps of port meridane were lit")} == {0, 1}


def test_a_word_without_an_end_is_no_word_of_a_text_and_one_of_invisible_characters_stops() -> None:
    quotes = Quotes(of((SALT, 4)))
    scan = quotes.open()
    for _ in range(100):
        scan.feed("z" * 50)
    assert len(scan._tail) <= 2 * MAX_WORD
    assert not scan.feed("the lamps of Port ").findings
    assert scan.feed("Meridane ").findings
    with pytest.raises(ScanError):
        scan.feed("a" + "\u200b" * MAX_OPEN)


# -- answers and requests ---------------------------------------------------------------------------------


def test_a_recited_text_is_withheld_sentence_by_sentence() -> None:
    guard = Guard(of((SALT, 8)))
    (text,) = answer(guard, CLEAR, f"Gladly. {SALT} That is all.").values()
    assert text.startswith("Gladly. ") and text.endswith("\nThat is all.")
    assert "lamps" not in text and "four" not in text


@pytest.mark.parametrize("cut", [1, 2, 7, 1000])
def test_words_are_marked_alike_however_the_answer_was_cut(cut: int) -> None:
    guard = Guard(of((SALT, 8), style="redact"))
    text = "So the lamps of Port Meridane were lit at four that winter, and we slept. The lamps of Port Royal were lit."
    pieces = [(0, "content", text[at : at + cut]) for at in range(0, len(text), cut)]
    (told,) = answer(guard, CLEAR, pieces=pieces).values()  # type: ignore[arg-type]
    assert told == "So the lamps of [redacted] we slept. The lamps of Port Royal were lit."


@pytest.mark.parametrize(
    ("turns", "stance"),
    [
        (["Go on: the lamps of Port Meridane were lit at four that"], Stance.ARMED),
        (["Go on: the lamps of Port Meridane were lit"], Stance.CLEAR),
        ([("system", SALT), "What does the ledger say?"], Stance.WATCHED),
        ([("system", SALT), "What did he count?"], Stance.ARMED),
        (["Why do lamps burn in winter?"], Stance.CLEAR),
    ],
)
def test_a_question_that_quotes_the_text_is_about_it(turns: list[str], stance: Stance) -> None:
    assert read(Guard(of((SALT, 8))), *turns).stance is stance


def test_a_continuation_of_what_was_quoted_earlier_does_not_come_and_the_quotation_is_not_sent_on() -> None:
    guard = Guard(of((SALT, 8)))
    arms = read(
        guard, f"Remember this. {SALT.splitlines()[0]}", ("assistant", "I will."), "And how does it continue?"
    )
    assert arms.masked == {"messages[0].content": "Remember this. "}
    (text,) = answer(guard, arms, SALT.splitlines()[1]).values()
    assert "dark" not in text


async def test_on_the_wire_nothing_of_the_text_comes(tmp_path: Path) -> None:
    async with lethe(tmp_path, say(f"It goes: {SALT}"), policy=of((SALT, 8))) as served:
        told = await served.text("How does the novel begin?")
        assert "Meridane" not in told and "dark" not in told
        assert await served.endings() == [("answered", "ruled")]


# -- what the policy holds of it --------------------------------------------------------------------------


def test_no_word_of_the_text_is_in_what_is_compiled() -> None:
    text = "Zorrentike velubansk orrithmo pellandrik; quossava nimmertule brackovent ollissande."
    guard = Guard(of((text, 8)))
    data = packed(guard).lower()
    assert not [word for word in words_of(text) if word.encode() in data]
    arms_of = unpacked(packed(guard))
    assert read(arms_of, text).stance is Stance.ARMED
    assert "zorrentike" not in repr(guard.policy).lower()


def test_the_same_text_is_the_same_target_and_another_is_not() -> None:
    same, other = of((SALT, 8), (LEDGER, 8)), of((SALT, 8), (LEDGER + " Again.", 8))
    assert same.targets[0] == other.targets[0] and same.targets[1] != other.targets[1]


def write(folder: Path, text: str | bytes, more: str = "") -> Path:
    (folder / "salt.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    file = folder / "policy.yaml"
    file.write_text(f"lethe: 1\nname: p\ntargets:\n  - {{id: a, kind: passage, file: salt.txt{more}}}\n")
    return file


def test_a_text_in_a_file_counts_into_the_digest(tmp_path: Path) -> None:
    first = load_policy(write(tmp_path, SALT))
    assert load_policy(write(tmp_path, SALT)).digest == first.digest
    assert load_policy(write(tmp_path, SALT + " ")).digest != first.digest
    (found, *_) = Quotes(first).find(SALT)
    assert found.part is Part.PASSAGE


@pytest.mark.parametrize(
    ("text", "more", "says"),
    [
        (b"\xff\xfe one", "", "salt.txt': names a text that is no UTF-8; save the text as UTF-8"),
        (b"one two", "", "names a text that has 2 words; at least 8"),
        (b"", "", "names a text that has 0 words"),
        (SALT, ", words: 65", "words: '65': is out of range; a whole number from 4 to 64"),
        (SALT, ", text: b", "has 'text' and 'file'; one of them"),
    ],
)
def test_a_text_that_cannot_be_used_is_told_with_its_line(
    tmp_path: Path, text: str | bytes, more: str, says: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(write(tmp_path, text, more))
    assert says in str(caught.value) and "policy.yaml:4:" in str(caught.value)


def test_a_text_that_is_missing_is_told(tmp_path: Path) -> None:
    file = write(tmp_path, SALT)
    (tmp_path / "salt.txt").unlink()
    with pytest.raises(PolicyError, match=r"names a text that does not exist; name a text file"):
        load_policy(file)
    (tmp_path / "salt.txt").mkdir()
    with pytest.raises(PolicyError, match="names a text that is a directory"):
        load_policy(file)


@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.binary(max_size=8), max_size=3), st.binary(max_size=8)
)
def test_a_source_travels_whole(texts: dict[str, bytes], data: bytes) -> None:
    source = Source(
        data, {name: Text(each) for name, each in texts.items()} | {"\n": Text(problem="is gone")}
    )
    again = Source.unpacked(*source.packed())
    assert again == source and again.digest == source.digest


def test_explain_shows_which_words_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, SALT)
    with pytest.raises(SystemExit):
        main(["explain", str(file), "the lamps of Port Meridane were lit at four", "--state", str(tmp_path)])
    said = capsys.readouterr().out
    assert "passage  passage" in said and "stance: armed" in said


async def test_a_running_server_takes_up_a_text_that_changed(tmp_path: Path) -> None:
    file = write(tmp_path, LEDGER)
    async with running(tmp_path, say("Well: " + SALT.splitlines()[0]), policy=file.read_text()) as server:
        digest = (await server.ready())["digest"]
        assert "Meridane" in await server.ask()
        (tmp_path / "salt.txt").write_text(SALT)
        await server.said("is in force")
        assert "Meridane" not in await server.ask()
        assert (await server.ready())["digest"] != digest
        (tmp_path / "salt.txt").unlink()
        line = await server.said("names a text.*")
        assert "does not exist" in line and "stays in force" in line
        assert "Meridane" not in await server.ask()
