"""Secrets: known by keyed hashes alone, found by any eight of their letters and digits, and written nowhere."""

from __future__ import annotations

import asyncio
import base64
import codecs
import io
import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import Channel, Part, Passage, Progress, Stance
from guards.registry import Guard
from guards.secret import Secrets, SecretScan, digests
from policies.calibrate import retain_sentences
from policies.loader import load_policy, parse_policy
from policies.policy import Policy
from policies.problems import PolicyError
from policies.sealing import KEY, MIN_KEY, KeyProblem, Sealer, grams, worth_bits
from policies.text import letter_offsets, letters
from server.artefact import packed, unpacked
from server.cli import main
from server.sealed_entry import Unsuitable, entry
from tests.fake_upstream import DONE, RESET, Choice, Reply, chunk, fail, raw, say
from tests.guarding import CLEAR, answer, read
from tests.lethe_process import ASKED, running
from tests.properties import check_bounded, check_cut_invariant, check_withholding, texts

OPERATOR_KEY = "0123456789abcdef" * 2
VALUE = "Tq7-vX92_kkLmPz04Wb"
PLAIN = "tq7vx92kklmpz04wb"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, OPERATOR_KEY)


def of(*values: str, style: str = "redact", weak: bool = False) -> Policy:
    head = f"lethe: 1\nname: p\ndefaults: {{style: {style}}}\ntargets:\n"
    return parse_policy(
        head + "".join(entry(f"s{at}", value, weak=weak).text() for at, value in enumerate(values))
    )


@pytest.fixture(scope="module")
def secrets() -> Iterator[Secrets]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, OPERATOR_KEY)
        yield Secrets(of(VALUE, "4821", "Ünïcode-ßalz-77-Größe-x9", weak=True))


PIECES = [
    VALUE, "tq7vX92k", "kk LmP z0", "k\u200bkLmPz04W", "4-8-2-1", "48 21", "X92.kkLm", "Unicodessal", "GRÖSSE X9", "Ｔｑ７ｖＸ９２ｋ",
    "т" + VALUE[1:],
]  # fmt: skip


def test_findings_do_not_depend_on_how_the_text_was_cut(secrets: Secrets) -> None:
    check_cut_invariant(secrets.open, PIECES)


def test_what_is_called_safe_never_becomes_part_of_a_finding(secrets: Secrets) -> None:
    check_withholding(secrets.open, PIECES)


def test_no_more_is_held_back_than_seven_letters_with_what_stands_between(secrets: Secrets) -> None:
    check_bounded(secrets.open, PIECES, 60)


class _Forgetful(SecretScan):
    """Looks at each piece by itself."""

    def feed(self, text: str) -> Progress:
        self._held, self._places = "", []
        return super().feed(text)


class _Eager(SecretScan):
    """Calls everything safe that it has seen."""

    def feed(self, text: str) -> Progress:
        return Progress(super().feed(text).findings, self._length)


class _Hoarder(SecretScan):
    """Calls nothing safe before the end."""

    def feed(self, text: str) -> Progress:
        return Progress(super().feed(text).findings, 0)


def test_each_property_kills_its_mutant(secrets: Secrets) -> None:
    with pytest.raises(AssertionError):
        check_cut_invariant(lambda: _Forgetful(secrets), PIECES, mutant=True)
    with pytest.raises(AssertionError):
        check_withholding(lambda: _Eager(secrets), PIECES, mutant=True)
    with pytest.raises(AssertionError):
        check_bounded(lambda: _Hoarder(secrets), PIECES, 60, mutant=True)


@given(texts(PIECES))
def test_what_is_found_is_what_a_plain_search_finds(secrets: Secrets, text: str) -> None:
    shown, places = letters(text), letter_offsets(text)
    expected = set()
    for target, value in enumerate((VALUE, "4821", "Ünïcode-ßalz-77-Größe-x9")):
        for run in grams(letters(value)):
            at = shown.find(run)
            while at >= 0:
                expected.add((target, places[at], places[at + len(run) - 1] + 1))
                at = shown.find(run, at + 1)
    found = {(each.target, each.start, each.end) for each in secrets.find(text)}
    # Beside runs there are words that are part of a secret with another word: never one that is spoken.
    assert expected <= found
    beside = [text[start:end] for _, start, end in found - expected]
    assert all(3 <= len(letters(word)) <= 7 for word in beside)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"It is {VALUE}.", "It is [redacted]."),
        (f"It is {VALUE.upper()}.", "It is [redacted]."),
        ("It is T q 7 v X 9 2 k k L m P z 0 4 W b.", "It is [redacted]."),
        ("The first half is tq7vx92k.", "The first half is [redacted]."),
        ("The other half is mpz04wb1.", "The other half is mpz04wb1."),
        (f"Backwards: {VALUE[::-1]}", "Backwards: [redacted]"),
        (f"Hex: {VALUE.encode().hex(' ')}", "Hex: [redacted]"),
        (f"Rot: {codecs.encode(VALUE, 'rot13')}", "Rot: [redacted]"),
        (f"Web: {''.join(f'%{byte:02X}' for byte in VALUE.encode())} .", "Web: %[redacted] ."),
        (f"XML: {''.join(f'&#x{byte:x};' for byte in VALUE.encode())} .", "XML: &#[redacted]; ."),
        ("Seven: tq7vx92.", "Seven: tq7vx92."),
        ("Nothing of it at all.", "Nothing of it at all."),
    ],
)
@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_a_value_is_marked_in_any_writing(text: str, told: str, cut: int) -> None:
    pieces = [(0, "content", text[at : at + cut]) for at in range(0, len(text), cut)]
    assert answer(Guard(of(VALUE)), CLEAR, pieces=pieces) == {(0, "content"): told}  # type: ignore[arg-type]


@pytest.mark.parametrize("before", ["", "x", "xy", "user:pass: "])
def test_a_value_within_base64_is_found(before: str) -> None:
    coded = base64.b64encode(f"{before}{VALUE} and more".encode()).decode()
    (told,) = answer(Guard(of(VALUE)), CLEAR, f"Say {coded}").values()
    lost = set(grams(letters(coded))) & set(grams(letters(told)))
    inside = base64.b64encode(VALUE.encode()).decode()
    assert "[redacted]" in told and len(lost) <= len(letters(coded)) - len(letters(inside)) + 8


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz", "user", "user:pass: "])
def test_a_value_within_base32_is_found(before: str) -> None:
    coded = base64.b32encode(f"{before}{VALUE} and more".encode()).decode()
    (told,) = answer(Guard(of(VALUE)), CLEAR, f"Say {coded}").values()
    inside = base64.b32encode(VALUE.encode()).decode().rstrip("=")
    left = set(grams(letters(coded))) & set(grams(letters(told)))
    assert "[redacted]" in told and len(left) <= len(letters(coded)) - len(inside) + 8


@pytest.mark.parametrize(
    ("question", "stance"),
    [
        (f"Is {VALUE} still valid?", Stance.ARMED),
        ("What comes after tq7 vx92 kk?", Stance.ARMED),
        ("What comes after tq7vx92?", Stance.CLEAR),
    ],
)
def test_a_question_that_brings_a_piece_of_it_is_about_it(question: str, stance: Stance) -> None:
    arms = read(Guard(of(VALUE)), question)
    assert arms.stance is stance
    assert {found.part for found in arms.findings} <= {Part.SECRET}


def test_nothing_is_told_to_the_upstream_of_what_armed() -> None:
    guard = Guard(of(VALUE, style="unknown"))
    assert guard.plan(read(guard, f"Is {VALUE} valid?")).steer is None


def test_a_packed_guard_finds_it_and_holds_nothing_of_it() -> None:
    data = packed(Guard(of(VALUE)))
    assert not pieces_in(data.decode("latin-1"))
    assert read(unpacked(data), VALUE).stance is Stance.ARMED


def test_the_cost_of_a_text_does_not_grow_with_the_number_of_secrets() -> None:
    """Counted in confirmations: only what is in the table is hashed by HMAC."""
    drawn = Random(7)
    values = ["".join(drawn.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=16)) for _ in range(300)]
    many = Secrets(of(*values, weak=True))
    confirmed = []
    many._confirmed = lambda tag, run: confirmed.append(run) or []  # type: ignore[method-assign, func-returns-value]
    text = "The ferries of Kessary leave at noon, and 4711 people wait for them. " * 100
    list(many.open().feed(text).findings)
    assert len(confirmed) <= len(letters(text)) / 32


# -- the key ----------------------------------------------------------------------------------------------


def test_another_key_is_noticed_and_a_missing_or_short_one_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"lethe: 1\nname: p\ntargets:\n{entry('s', VALUE).text()}"
    parse_policy(text)
    monkeypatch.setenv(KEY, OPERATOR_KEY[::-1])
    with pytest.raises(
        PolicyError, match=r"targets\[0\].key: .* names another key than LETHE_SECRET_KEY holds"
    ):
        parse_policy(text)
    monkeypatch.setenv(KEY, "x" * (MIN_KEY - 1))
    with pytest.raises(PolicyError, match="needs a longer key in LETHE_SECRET_KEY: 31 characters"):
        parse_policy(text)
    monkeypatch.delenv(KEY)
    with pytest.raises(PolicyError, match="LETHE_SECRET_KEY, which is not set"):
        parse_policy(text)
    with pytest.raises(KeyProblem):
        entry("s", VALUE)


def test_digests_under_two_keys_have_nothing_in_common() -> None:
    one, other = (Sealer(bytes([at]) * 32) for at in (1, 2))
    assert not set(digests(PLAIN, one)) & set(digests(PLAIN, other)) and one.key_id != other.key_id
    assert digests(PLAIN, one) == sorted(digests(PLAIN, one)) and len(digests(PLAIN, one)) == len(PLAIN) - 7
    assert OPERATOR_KEY not in repr(Sealer.of_environment())


# -- the command ------------------------------------------------------------------------------------------


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: bytes, *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(value)))
    status = 0
    try:
        main(["secret", *arguments])
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 0
    out, err = capsys.readouterr()
    assert not pieces_in(out + err)
    return status, out, err


def test_the_entry_is_a_target_to_paste(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(monkeypatch, capsys, f"{VALUE}\n".encode(), "vault")
    assert status == 0 and "hashed" in err
    made = parse_policy(f"lethe: 1\nname: p\ntargets:\n{out}").targets[0]
    assert (made.id, made.kind) == ("vault", "secret")
    assert made.sealed is not None and made.sealed.length == len(PLAIN)


@pytest.mark.parametrize("value", [b"4821", b"2024-03-12", b"+99 555 016 4430", b"swordfish", b"4111 1111 1111 1111", b"aaaaaaaaaaaaaaaaaaaaaaaa1", b"correct horse battery"])  # fmt: skip
def test_what_can_be_guessed_is_refused_with_the_reason_unless_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: bytes
) -> None:
    status, out, err = run(monkeypatch, capsys, value, "pin")
    assert (status, out) == (2, "") and "can be guessed" in err and "--weak" in err
    assert value.decode() not in err
    status, out, _ = run(monkeypatch, capsys, value, "pin", "--weak")
    assert status == 0 and "digests" in out


def test_what_is_worth_nothing_is_worth_no_less(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, err = run(monkeypatch, capsys, b"aaaaaaaaaa", "pin")
    assert "worth some 0 bits" in err


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "no letter or digit"),
        (b"!!!", "no letter or digit"),
        (b"\xff\xfe", "no UTF-8"),
        (b"x1" * 3_000, "at most 4096"),
        (b"x" * 70_000, "longer than 65536 bytes"),
    ],
)
def test_a_value_that_cannot_be_taken_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: bytes, says: str
) -> None:
    status, _, err = run(monkeypatch, capsys, value, "s")
    assert status == 2 and says in err


def test_an_id_that_is_none_and_a_missing_key_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(monkeypatch, capsys, VALUE.encode(), "no id")
    assert status == 2 and "cannot be an id" in err
    monkeypatch.delenv(KEY)
    status, _, err = run(monkeypatch, capsys, VALUE.encode(), "s")
    assert status != 0 and KEY in err


def test_an_entry_is_written_into_a_policy_and_the_rest_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    text = "lethe: 1\nname: p\ntargets:\n  # somebody\n  - {id: o, kind: entity, names: [Odalys Vennaker]}\ntests:\n- {ask: Who?, expect: kept}\n"
    file.write_text(text)
    file.chmod(0o640)
    assert run(monkeypatch, capsys, VALUE.encode(), "vault", "--into", str(file))[0] == 0
    assert [each.id for each in load_policy(file).targets] == ["o", "vault"]
    lines = file.read_text().splitlines()
    assert [line for line in lines if line in text.splitlines()] == text.splitlines()
    assert file.stat().st_mode & 0o777 == 0o640 and [each.name for each in tmp_path.iterdir()] == ["p.yaml"]
    before = file.read_text()
    status, _, err = run(monkeypatch, capsys, VALUE.encode(), "vault", "--into", str(file))
    line = before.splitlines().index("  - id: vault") + 1
    assert status == 2 and f"{file}:{line}: a target with the id vault is there already" in err
    assert "delete that entry first, or give this one another ID" in err and file.read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        "lethe: 1\nname: p\ntargets:\n- {id: o, kind: entity, names: [Odalys Vennaker]}",
        "lethe: 1\nname: p\ntargets:\n  - id: o\n    kind: passage\n    text: |\n      - of the lamps of Port Meridane\n\n      all eight words of it\n\n\ntests: []\n",
        "lethe: 1\ntargets:\n  - id: o\n    kind: entity\n    names: [Odalys Vennaker,\n      O. Vennaker]\n    # her\n# the rest\nname: p\n",
        "lethe: 1\r\nname: p\r\ntargets:\r\n- id: o\r\n  kind: entity\r\n  names:\r\n  - Odalys Vennaker\r\n",
    ],
    ids=["no end of line", "blank lines within", "comments", "CRLF"],
)  # fmt: skip
def test_an_entry_is_put_behind_the_last_target_however_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(text.encode())
    before = load_policy(file).targets[0]
    assert run(monkeypatch, capsys, VALUE.encode(), "vault", "--into", str(file))[0] == 0
    first, last = load_policy(file).targets
    assert (first, last.id) == (before, "vault")
    written = file.read_bytes().decode()
    entry_text = written[written.index("- id: vault") : written.index("]", written.index("digests")) + 1]
    assert "".join(written.replace(entry_text, "").split()) == "".join(text.split())


@pytest.mark.parametrize(
    "targets",
    [
        "targets: []",
        "targets: [{id: a, kind: entity, names: [Bo Ek]}]",
        "targets:\n  -\n    id: a\n    kind: trigger\n    phrases: [a b]",
    ],
)
def test_a_policy_whose_targets_are_written_otherwise_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], targets: str
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(f"lethe: 1\nname: p\n{targets}\n")
    status, _, err = run(monkeypatch, capsys, VALUE.encode(), "vault", "--into", str(file))
    assert status == 2 and "paste the entry" in err and "vault" not in file.read_text()


def test_a_word_within_a_value_is_left_out_since_ordinary_answers_hold_it() -> None:
    made = entry("s", "information-9Kq2-xTz7-7b")
    assert made.ordinary >= 1
    guard = Guard(parse_policy(f"lethe: 1\nname: p\ntargets:\n{made.text()}"))
    assert read(guard, "Where do I find more information?").stance is Stance.CLEAR
    assert read(guard, "Where do I use 9kq2xtz77b?").stance is Stance.ARMED
    with pytest.raises(Unsuitable, match="ordinary words"):
        entry("s", max(retain_sentences(), key=len))


@given(st.text(max_size=30))
def test_the_worth_of_a_value_is_a_number_and_grows_with_it(value: str) -> None:
    assert 0 <= worth_bits(letters(value)) <= worth_bits(letters(value) + "x9")


# -- nothing of it anywhere -------------------------------------------------------------------------------


def pieces_in(text: str) -> list[str]:
    """Return what of the value is in a text: whole in some writing, or any eight letters and digits of it."""
    writings = []
    for value in (VALUE, VALUE[::-1]):
        writings += [value, json.dumps(value)[1:-1], quote(value, safe=""), value.encode().hex()]
        writings += ["".join(f"{form}{ord(char):{wide}}" for char in value)
                     for form, wide in (("%", "02x"), ("\\u", "04x"))]  # fmt: skip
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + value.encode()).decode()
            writings.append(coded[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6])
    folded, shown = text.casefold(), letters(text)
    found = [writing for writing in writings if writing.casefold() in folded or letters(writing) in shown]
    runs = [*grams(PLAIN), *grams(PLAIN[::-1])]
    return found + [run for run in runs if run in shown]


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        "tq7 VX92-k",
        VALUE[::-1],
        base64.b64encode(f"ab{VALUE}".encode()).decode(),
        base64.b64encode(VALUE[::-1].encode()).decode(),
        VALUE.encode().hex(),
        "".join(f"%{byte:02X}" for byte in VALUE.encode()),
        "".join(f"\\u{ord(char):04x}" for char in VALUE),
        " ".join(VALUE[5:15]),
    ],
)
def test_the_search_itself_finds_it(text: str) -> None:
    assert pieces_in(f"before {text} after")


def written(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"policy.yaml", "audit.sqlite"} <= {path.name for path in files}
    return [path.read_bytes().decode("latin-1") for path in files]


async def test_a_server_that_guards_it_writes_nothing_of_it_anywhere(tmp_path: Path) -> None:
    policy = f"lethe: 1\nname: p\ntargets:\n{entry('vault', VALUE).text()}"
    script = say(f"The token is {VALUE}. Backwards it is {VALUE[::-1]}. Half of it is {VALUE[:10]}.")
    async with running(tmp_path, script, "--workers", "2", policy=policy) as server:
        told = [await server.ask(), await server.ask(f"Is {VALUE} right?"), await server.ask(VALUE[:9])]
        told += [str(await server.ready()), *await server.metrics()]
        for wrong in ({"role": VALUE, "content": VALUE}, {"role": "user", "content": 3, VALUE: VALUE}):
            body = {"model": "m", "messages": [wrong], VALUE: 1}
            async with server.client.post(f"{server.api}/chat/completions", json=body) as response:
                assert response.status == 400
                told += [await response.text(), str(response.headers)]
        async with server.client.get(f"{server.api}/{VALUE}") as response:
            told.append(await response.text())
        server.policy.write_text(policy.replace("digests", VALUE))
        await server.said("stays in force")
        server.process.send_signal(signal.SIGTERM)
        assert await server.stopped() == 0
        told += server.heard
    server.policy.write_text(policy)
    told += written(tmp_path)
    assert [pieces_in(each) for each in told if pieces_in(each)] == []


HALF, OTHER = "kk9LmP", "z04Wb7q"
SPLIT = f"{HALF}-{OTHER}"


@pytest.mark.parametrize("cut", [1, 2, 7, 1000])
@pytest.mark.parametrize("style", ["redact", "unknown"])
@pytest.mark.parametrize(
    ("said", "left"),
    [
        (f"It begins with {HALF}. And it ends with {OTHER}, so.", HALF),
        (f"It ends with {OTHER}.\nIt begins with `{HALF}`.\n", OTHER),
        (f"- {HALF}\n- 2 boats\n- {OTHER}\n", HALF),
    ],
)
def test_a_secret_that_comes_in_two_words_is_found_by_the_second(
    said: str, left: str, style: str, cut: int
) -> None:
    guard = Guard(of(SPLIT, style=style))
    pieces = [(0, Channel.CONTENT, said[at : at + cut]) for at in range(0, len(said), cut)]
    out = answer(guard, CLEAR, pieces=pieces)[0, Channel.CONTENT]
    assert left in out and not (HALF in out and OTHER in out)


def test_words_that_are_no_parts_of_a_secret_pass() -> None:
    said = (
        f"Route 66 and B12, iPhone 4x3 with {HALF}; 4you {OTHER}zzz, MP3 x9 y8. " + "a" * 200 + "7 is long."
    )
    assert answer(Guard(of(SPLIT)), CLEAR, said)[0, Channel.CONTENT] == said


@pytest.mark.parametrize("style", ["redact", "unknown"])
def test_a_half_of_a_secret_that_an_earlier_answer_brought_is_found_beside_the_other(style: str) -> None:
    guard = Guard(of(SPLIT, style=style))
    said = f"And it ends with {OTHER}. So."
    for before, found in ((f"It begins with {HALF}.", True), ("It begins with a letter.", False)):
        passages = [
            Passage("messages[0].content", "assistant", before, False),
            Passage("messages[1].content", "user", "And then?", True),
        ]
        running = guard.releaser(
            CLEAR, 1, structured=False, seed=lambda: b"s", max_held_chars=1 << 18, passages=passages
        )
        running.feed(0, Channel.CONTENT, said)
        running.close(0, "stop")
        out = "".join(each.text for each in asyncio.run(running.settle()))
        assert (OTHER not in out) is found and (out == said) is not found


@pytest.mark.parametrize("between", [" and ", ", then ", "\n- ", "; after it comes "])
def test_a_secret_in_pieces_of_three_does_not_leave_whole(between: str) -> None:
    value = "Tq7vX92kkLmPz04Wb"
    pieces = [value[at : at + 3] for at in range(0, len(value), 3)]
    guard = Guard(of(value))
    said = f"So: {between.join(pieces)}."
    (out,) = answer(guard, CLEAR, said).values()
    (again,) = answer(guard, CLEAR, pieces=[(0, Channel.CONTENT, char) for char in said]).values()
    assert out == again and not {"2kk", "LmP", "z04"} & set(re.findall(r"\w+", out))
    check_cut_invariant(Secrets(of(value)).open, [*pieces, between, value])


def test_words_found_together_do_not_depend_on_how_the_text_was_cut() -> None:
    secrets = Secrets(of(SPLIT))
    check_cut_invariant(secrets.open, [HALF, OTHER, SPLIT, "x9" * 40, "`z04Wb7q", "kk9LmP:"])
    check_withholding(secrets.open, [HALF, OTHER, SPLIT, "x9" * 40, "`z04Wb7q", "kk9LmP:"])


def _scripted(request: dict[str, Any]) -> Reply:
    """An upstream that brings the value wherever it can, in answers and in every kind of failure."""
    asked = request["messages"][-1]["content"]
    shown = {"error": {"message": f"no {VALUE} here", "code": VALUE, "param": VALUE[::-1]}}
    said = f"It is {VALUE}, or {VALUE.upper()}, backwards {VALUE[::-1]}, at first {VALUE[:9]}."
    replies = {
        "fail": fail(500, json.dumps(shown).encode(), x_request_id=VALUE),
        "refuse": fail(400, json.dumps(shown).encode(), x_ratelimit_reset=VALUE),
        "garble": raw(b"data: {" + VALUE.encode() + b"\n\n"),
        "break": raw(chunk({"content": f"It is {VALUE[:12]}"}), end=RESET),
        "error": raw(chunk({"content": "It is "}), shown, DONE),
        "call": say(
            Choice("So: ", reasoning=said, tool_calls=[("open", json.dumps({"with": VALUE}))]), cut=5
        ),
    }
    return replies.get(asked.split()[0].lower(), say(Choice(said, reasoning=said), cut=5))(request)


async def test_nothing_of_it_is_anywhere_after_streams_failures_and_answers_that_bring_it(
    tmp_path: Path,
) -> None:
    policy = f"lethe: 1\nname: p\ntargets:\n{entry('vault', VALUE).text()}"
    asked = [
        "Fail now",
        "Refuse now",
        "Garble it",
        "Break off",
        "Error it",
        "Call it",
        "Say it",
        f"Is it {VALUE}?",
    ]
    asked += [VALUE[::-1], f"Call it {VALUE[3:12]}", base64.b64encode(VALUE.encode()).decode()]
    told: list[str] = []
    async with running(tmp_path, _scripted, policy=policy) as server:
        url, headers = f"{server.api}/chat/completions", {"X-Request-Id": VALUE, "User-Agent": VALUE}
        for body in (
            {**ASKED, "messages": [{"role": "user", "content": text}], "stream": streaming, "user": VALUE}
            for text in asked
            for streaming in (False, True)
        ):
            async with server.client.post(url, json=body, headers=headers) as response:
                told += [str(response.headers), (await response.read()).decode()]
        as_json = {**headers, "Content-Type": "application/json"}
        for broken in (f'{{"{VALUE}": ', f'{{"model": "m", "messages": "{VALUE}"}}', VALUE):
            async with server.client.post(url, data=broken, headers=as_json) as response:
                assert response.status == 400
                told += [str(response.headers), await response.text()]
        async with server.client.get(f"{server.admin}/{VALUE}?{VALUE}={VALUE}") as response:
            told.append(await response.text())
        told += [str(await server.ready()), *await server.metrics()]
        server.process.send_signal(signal.SIGTERM)
        assert await server.stopped() == 0
        told += server.heard
    assert len(server.upstream.requests) == 2 * len(asked)
    told += written(tmp_path)
    assert [pieces_in(each) for each in told if pieces_in(each)] == []
