"""What the benchmarks measure is what they say: policies, upstream, load, ratios.  No times."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import orjson
import pytest

from bench import gateways, history, index, overhead, peers, scale, sizes
from bench.canned import EVENTS, PROSE, Canned
from bench.exemplars import Exemplars
from bench.figures import Row, key, ratios, summary, table
from bench.late import stalled
from bench.load import Load, percentile, put, request
from bench.plot import draw, draw_by_size
from bench.policies import names, people, policy_yaml, regexes, targets_of, values
from bench.prompts import kept
from guards.encoder import HashingEncoder
from policies.loader import parse_policy
from policies.text import fold
from server.sse import DONE_DATA, Events

SETTING = (16, True)


@asynccontextmanager
async def served(protocol: type[asyncio.Protocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def sent(port: int, asked: bytes, until: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    async with asyncio.timeout(10):
        answer = await reader.readuntil(until)
    writer.close()
    await writer.wait_closed()
    return answer


def a_load(latency_s: float, exchanges: int, seconds: float = 1.0) -> Load:
    load = Load(*SETTING, seconds=seconds)
    load.latencies = [latency_s] * exchanges
    load.first_bytes = [latency_s / 2] * exchanges
    load.events = EVENTS * exchanges
    return load


def a_row(name: str, *loads: Load) -> Row:
    return Row(name, {SETTING: list(loads)}, {SETTING: [1.0] * len(loads)}, {"idle_share": 0.0})


# -- policies and prompts


@pytest.mark.parametrize("targets", [20, 1000])
def test_a_generated_policy_loads_and_has_the_promised_targets(targets: int) -> None:
    policy = parse_policy(policy_yaml(targets))
    kinds = [target.kind for target in policy.targets]
    assert len(kinds) == targets
    assert kinds.count("pattern") == targets // 20
    assert kinds.count("entity") == targets * 14 // 20 and kinds.count("fact") == targets // 4
    assert not policy.uses_meaning
    assert len(set(regexes(targets))) == targets // 20
    assert len(set(names(targets))) == targets - targets // 20
    assert all(len(target.facts) == 2 for target in policy.targets if target.kind == "entity")


def test_with_meaning_140_of_1000_targets_have_examples_and_50_are_patterns() -> None:
    policy = parse_policy(policy_yaml(1000, meaning=True))
    by_meaning = [target for target in policy.targets if target.like]
    assert len(policy.targets) == 1000
    assert sum(target.kind == "topic" for target in by_meaning) == 40
    assert sum(target.kind == "entity" for target in by_meaning) == 100
    assert sum(target.kind == "pattern" for target in policy.targets) == 50


def test_a_policy_without_targets_loads() -> None:
    assert parse_policy(gateways.policy_of("no_policy")).targets == ()


def test_the_same_arguments_give_the_same_policy() -> None:
    made = policy_yaml(40, meaning=True)
    targets_of.cache_clear()
    assert policy_yaml(40, meaning=True) == made


def test_no_prompt_and_no_answer_holds_a_word_of_a_target() -> None:
    forgotten = {word for text in (*names(1000), *values(1000)) for word in fold(text).text.split()}
    prompts = itertools.islice(kept(1), 5000)
    told = " ".join([PROSE, *prompts, *(each["content"] for each in history.conversation(1))])
    assert len(forgotten) > 4000
    assert not forgotten & set(fold(told).text.split())


def test_no_question_is_asked_twice() -> None:
    asked = [prompt for seed in range(5) for prompt in itertools.islice(kept(seed), 2000)]
    assert len(set(asked)) == len(asked)


# -- the upstream and the bare gateway


async def test_the_canned_stream_is_64_words_a_finish_the_usage_and_the_end() -> None:
    async with served(Canned) as port:
        answer = await sent(port, request("?", True), until=b"\r\n0\r\n\r\n")
    chunks = answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2]
    payloads = Events().feed(b"".join(chunks))
    assert len(payloads) == EVENTS and payloads[-1] == DONE_DATA
    events = [orjson.loads(payload) for payload in payloads[:-1]]
    told = [choice["delta"].get("content", "") for event in events for choice in event["choices"]]
    assert "".join(told) == PROSE and sum(map(bool, told)) == 64
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"]["completion_tokens"] == 64


class Written(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data


@pytest.mark.parametrize("streaming", [True, False])
def test_the_canned_answer_waits_for_the_whole_request_however_it_is_cut(streaming: bool) -> None:
    asked, written, canned = request("?", streaming), Written(), Canned()
    canned.connection_made(written)
    for place in range(len(asked)):
        assert not written.data
        canned.data_received(asked[place : place + 1])
    head, _, body = written.data.partition(b"\r\n\r\n")
    assert (b"text/event-stream" in head) is streaming
    if not streaming:
        assert f"content-length: {len(body)}".encode() in head
        assert orjson.loads(body)["choices"][0]["message"]["content"] == PROSE


def test_the_bare_gateway_has_fewer_than_40_lines() -> None:
    file = Path(overhead.__file__).with_name("passthrough.py")
    assert len(file.read_text(encoding="utf-8").splitlines()) < 40


@pytest.mark.parametrize("joined", [[], ["joined"]], ids=["one by one", "joined"])
async def test_the_bare_gateway_passes_whole_answers_on(joined: list[str]) -> None:
    with gateways.canned() as upstream, gateways.passthrough(upstream, *joined) as running:
        streamed = await put(running.port, 2, True, itertools.islice(kept(1), 6))
        whole = await put(running.port, 2, False, itertools.islice(kept(2), 6))
    assert not streamed.failures and not whole.failures
    assert streamed.exchanges == whole.exchanges == 6
    assert streamed.events == 6 * EVENTS


# -- the load


class Refuses(asyncio.Protocol):
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.write(self.answer)


class Withholds(Refuses):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nNo idea at"


class HangsUp(Refuses):
    def data_received(self, data: bytes) -> None:
        self.transport.close()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Refuses, "status 503"), (Withholds, "withheld"), (HangsUp, "connection lost")],
    ids=["refused", "withheld", "broken"],
)
async def test_what_is_not_the_canned_answer_counts_as_failed(kind: type[Refuses], reason: str) -> None:
    async with served(kind) as port:
        load = await put(port, 1, False, itertools.islice(kept(1), 3))
    assert load.exchanges == 0
    assert set(load.failures) == {reason}
    assert not a_row("targets_20", load).valid()


async def test_a_load_ends_with_its_prompts_and_asks_each_of_them_once() -> None:
    async with served(Canned) as port:
        load = await put(port, 4, True, itertools.islice(kept(1), 50))
    assert load.exchanges == 50 and load.events == 50 * EVENTS and not load.failures
    assert 0 < load.rate == 50 / load.seconds


def test_a_percentile_is_a_measured_value() -> None:
    drawn = random.Random(1).sample(range(100), 100)
    measured = [float(each) for each in drawn]
    assert percentile(measured, 0.5) == 50.0 and percentile(measured, 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0


# -- figures


def test_a_ratio_compares_rows_of_the_same_round() -> None:
    base = a_row("passthrough", a_load(0.001, 100), a_load(0.001, 400), a_load(0.001, 200))
    row = a_row("targets_20", a_load(0.002, 50), a_load(0.003, 100), a_load(0.004, 20))
    assert ratios(row, base, SETTING)["requests_s"] == [0.5, 0.25, 0.1]
    assert ratios(row, base, SETTING)["p50_ms"] == pytest.approx([2.0, 3.0, 4.0])
    said = summary(row, base)[key(SETTING)]
    assert said["requests_s_ratio"] == 0.25 and said["requests_s_ratio_range"] == [0.1, 0.5]
    assert said["requests_s"] == 50 and said["p50_ms"] == 3.0 and said["first_p50_ms"] == 1.5
    assert said["events_s"] == 50 * EVENTS and said["events_out"] == EVENTS


def test_an_added_latency_is_counted_in_encoder_calls_of_its_round() -> None:
    base = a_row("passthrough", a_load(0.001, 10), a_load(0.002, 10))
    row = a_row("meaning_1000", a_load(0.009, 10), a_load(0.018, 10))
    # 8 ms at 4 ms a call, 16 ms at 8 ms a call
    assert overhead.in_encoder_calls(row, base, SETTING, [250.0, 125.0]) == pytest.approx(2.0)


def test_one_failed_exchange_makes_a_row_invalid_and_shows_in_the_table() -> None:
    failed = a_load(0.001, 100)
    failed.fail("status 502")
    row = a_row("targets_20", failed)
    assert not row.valid() and a_row("targets_20", a_load(0.001, 100)).valid()
    said = summary(row, None)
    assert said["valid"] is False and said["failures"] == {"status 502": 1}
    assert [line for line in table({"targets_20": said}, [SETTING]) if line.endswith("| 1 |")]


@pytest.mark.parametrize(("withheld", "valid"), [(0, True), (5, True), (6, False)])
def test_only_few_questions_may_be_touched_by_mistake_where_meaning_is_matched(
    withheld: int, valid: bool
) -> None:
    load = a_load(0.001, 1000)
    for _ in range(withheld):
        load.fail("withheld")
    assert a_row("meaning_1000", load).valid() is valid
    assert a_row("targets_1000", load).valid() is not bool(withheld)


def test_a_stall_counts_for_every_timer_that_was_due_in_it() -> None:
    assert stalled(3.5) == [3.5, 2.5, 1.5, 0.5]
    assert stalled(0.2) == [0.2]


def test_without_peers_no_row_is_litellm() -> None:
    given = overhead.arguments(["--no-peers"])
    assert given.names == ["passthrough", "passthrough_joined", *gateways.LETHE_ROWS] and given.rounds == 5
    assert len(given.settings) == 4
    assert overhead.arguments([]).names == list(overhead.ROWS)


@pytest.mark.parametrize("row", ["litellm_filter", "litellm_keywords"])
def test_the_peer_gets_every_name_and_pattern_of_the_same_policy(row: str) -> None:
    params = peers.settings(row, "http://127.0.0.1:1")["guardrails"][0]["litellm_params"]
    patterns = {each["pattern"]: each["action"] for each in params["patterns"]}
    assert {pattern for pattern, action in patterns.items() if action == "MASK"} == set(regexes(1000))
    blocked = [re.escape(each["keyword"]) for each in params.get("blocked_words", ())]
    blocked += [pattern for pattern, action in patterns.items() if action == "BLOCK"]
    found = re.compile("|".join(blocked))
    assert all(found.fullmatch(name) for name in names(1000))
    assert params["mode"] == ["pre_call", "post_call"] and params["default_on"] is True


def test_a_drawing_has_a_bar_for_every_row_as_long_as_its_figure() -> None:
    rows = {"passthrough": a_load(0.001, 400), "targets_20": a_load(0.001, 100)}
    svg = ET.fromstring(draw({name: summary(a_row(name, load), None) for name, load in rows.items()}))
    bars = [float(each.attrib["width"]) for each in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(bars) == 2 and bars[0] == pytest.approx(4 * bars[1], rel=0.01)


# -- a long conversation


def test_a_conversation_has_200_messages_in_turn_and_no_sentence_twice() -> None:
    messages = history.conversation(12)  # drawn blindly, this one would say a sentence twice
    assert [each["role"] for each in messages] == ["user", "assistant"] * 100
    text = " ".join(each["content"] for each in messages)
    assert 420_000 <= len(text) <= 450_000
    told = text.removesuffix(".").split(". ")
    assert len(set(told)) == len(told)


def test_the_next_turn_begins_with_the_first_and_ends_with_a_new_question() -> None:
    first, after = history.turns(7)
    assert after[: len(first)] == first
    assert after[-2] == {"role": "assistant", "content": PROSE}
    assert after[-1]["role"] == "user" and after[-1] != first[-1]


def test_what_a_turn_adds_is_counted_within_a_repeat() -> None:
    found: dict[str, dict[str, list[float] | str]] = {
        "passthrough": {"first": [10.0, 20.0, 30.0]},
        "targets_1000": {"first": [15.0, 60.0, 31.0]},
    }
    said = history.summary(found)["targets_1000"]["first"]
    assert said == {"ms": 31.0, "added_ms": 5.0, "added_ms_range": [1.0, 40.0]}
    refused = history.summary({**found, "meaning_1000": {"first": "status 413"}})
    assert refused["meaning_1000"]["first"] == {"failed": "status 413"}


# -- by the size of the policy


def test_people_are_as_many_as_are_asked_for_and_no_two_have_a_name_in_common() -> None:
    made = list(people(3_000))
    assert len({name for name, _ in made}) == len(made) == 3_000
    assert made == list(people(3_000)) and all(len(facts) == 2 for _, facts in made)


def test_a_policy_by_size_loads_with_two_facts_and_five_examples_a_target(tmp_path: Path) -> None:
    scale.written(tmp_path / "policy.yaml", 30)
    policy = parse_policy((tmp_path / "policy.yaml").read_text())
    assert len(policy.targets) == 30
    assert {(each.kind, len(each.facts), len(each.like)) for each in policy.targets} == {("entity", 2, 5)}


def test_made_vectors_are_of_unit_length_and_as_far_from_each_other_as_real_ones() -> None:
    exemplars = Exemplars(HashingEncoder(64))
    rows = exemplars.rows(4_000)
    assert rows.shape == (4_000, 64) and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows[:2_000], exemplars.real.reshape(-1, 64))
    assert len(np.unique(rows.round(5), axis=0)) > 3_900
    real, made = exemplars.spread()
    assert abs(real - made) < 0.2


@pytest.mark.parametrize(
    ("lists_ms", "at"), [([3.0, 1.0, 1.0], 1_250), ([3.0, 2.0, 2.0], 1_500), ([9.0, 9.0, 9.0], None)]
)
def test_the_crossover_lies_where_the_lists_become_faster(lists_ms: list[float], at: int | None) -> None:
    table = [
        index.Measured(rows, exact_ms, graph, 64, 1.0, 1.0, 0.0, 0.0)
        for rows, exact_ms, graph in zip((1_000, 2_000, 4_000), (2.5, 2.5, 2.5), lists_ms, strict=True)
    ]
    assert index.crossover(table) == at


def test_what_two_processes_share_counts_once() -> None:
    mine = scale.pss_mb([os.getpid()])
    assert 0 < mine < 100_000 and scale.pss_mb([os.getpid()] * 2) > mine


def test_the_plot_by_size_is_whole() -> None:
    row = {"targets": 100, "cold_s": 3.0, "again_s": 1.0, "workers_mb": 200.0, "request_ms": 20.0}
    svg = ET.fromstring(draw_by_size([row, {**row, "targets": 1_000, "cold_s": 9.0}]))
    assert sum(each.text == "1,000 targets" for each in svg.iter()) == 4


@pytest.mark.parametrize(
    ("words", "meant"), [("100,1000", [100, 1000]), ("5", [5]), ("", None), ("5,", None), ("0,5", None), ("k", None)]
)  # fmt: skip
def test_sizes_are_numbers_of_one_and_more(words: str, meant: list[int] | None) -> None:
    if meant is not None:
        assert sizes.sizes(words) == meant
        return
    with pytest.raises(argparse.ArgumentTypeError, match="such as 100,1000"):
        sizes.sizes(words)
