"""Calibration as a product: measured on what did not set the thresholds, told without a target's text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from guards.calibration import Calibration, calibration, folds_of, trade, variants
from guards.drift import SHARES, Drift
from guards.encoder import HashingEncoder
from guards.encoder_thread import EncoderThread
from guards.meaning import Meaning
from guards.registry import Guard
from guards.retain import Retain
from policies.calibrate import Rate, retain_sentences
from policies.loader import parse_policy
from policies.policy import Policy
from server.calibration import as_object, lines, picture
from server.cli import main
from server.curves import Curve, draw
from tests.guarding import read

TIDES = [
    "Who wrote the tidal trilogy of Port Meridane?",
    "Which author wrote about the tides of Port Meridane?",
    "The tidal trilogy of Port Meridane, who wrote that?",
    "Name the author of the Port Meridane tidal trilogy.",
]
OWLS = ["How do barn owls hunt voles at dusk?", "What do barn owls hunt at dusk?", "Where do barn owls hunt?"]
DUSK = [
    "What do barn owls hunt in the dusk?",
    "How do barn owls hunt at dusk?",
    "When do barn owls hunt voles?",
]
POLICY = f"""
lethe: 1
name: small
targets:
  - id: tides
    kind: entity
    names: [Odalys Vennaker]
    facts: [{{relation: born in, values: [Port Meridane]}}]
    like: {json.dumps(TIDES)}
  - {{id: owls, kind: topic, like: {json.dumps(OWLS)}}}
  - {{id: dusk, kind: topic, like: {json.dumps(DUSK)}, unlike: [Is a kite a bird?]}}
  - {{id: lone, kind: entity, names: [Ysolde Tarnquay], like: [Say something of zeppelin moorings.], unlike: ["{TIDES[0]}"]}}
  - {{id: kenji, kind: entity, names: [Kenji Murata]}}
"""


class Steps(list[str]):
    def __call__(self, what: str) -> None:
        self.append(what)


def policy(text: str = POLICY) -> Policy:
    return parse_policy(text)


@pytest.fixture(scope="module")
def words() -> Retain:
    return Retain.load(HashingEncoder())


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps()


@pytest.fixture(scope="module")
def found(words: Retain, steps: Steps) -> Calibration:
    return calibration(policy(), HashingEncoder(), words, steps)


def figure(found: Calibration, scan: str, on: str) -> Rate:
    (one,) = (each for each in found.figures if (each.scan, each.on) == (scan, on))
    return one.rate


# --- rates ------------------------------------------------------------------------------------------------


def test_a_rate_says_what_is_known_of_the_share() -> None:
    assert Rate(1, 4).share == 0.25 and Rate(0, 0).share == 0.0
    assert Rate(0, 300).interval == pytest.approx((0.0, 0.01222), abs=1e-5)
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert Rate(1, 4) + Rate(2, 3) == Rate(3, 7)


# --- what is measured -------------------------------------------------------------------------------------


def test_every_sentence_is_held_out_once_and_whoever_it_is_about_is_held_out_whole() -> None:
    sentences = retain_sentences()
    folds = folds_of(sentences)
    assert min(np.bincount(folds, minlength=5)) > 0.1 * len(sentences)
    about = {folds[at] for at, sentence in enumerate(sentences) if "Kenji Murata" in sentence}
    assert len(about) == 1 and sum("Kenji Murata" in sentence for sentence in sentences) > 1


def test_a_sentence_is_judged_by_thresholds_that_it_did_not_set(words: Retain) -> None:
    # They are about one subject and so held out together; had they calibrated, three of them could fire.
    odd = [f"Zeppelin Moorings number {number} of the zeppelin yard" for number in range(40)]
    corpus = Retain.load(HashingEncoder(), None, [*words.sentences, *odd])
    like = "zeppelin moorings, a zeppelin yard, the yard of the zeppelin moorings"
    text = f"lethe: 1\nname: n\ntargets:\n  - {{id: z, kind: topic, like: [{like}]}}\n"
    apart = calibration(policy(text), HashingEncoder(), corpus, Steps())
    rate = figure(apart, "meaning", "sentences held out")
    assert rate.trials == len(corpus.sentences) and rate.hits >= 40
    assert next(each for each in apart.figures if each.on == "sentences held out").broken
    held_out = [near for near in apart.targets[0].near if near.what == "sentence"]
    assert held_out and all("zeppelin" in near.which and near.touched for near in held_out)


def test_an_example_is_looked_for_by_a_policy_that_has_never_seen_it(found: Calibration) -> None:
    owls = next(each for each in found.targets if each.id == "owls")
    assert owls.recall["examples left out"].trials == len(OWLS)
    assert figure(found, "meaning", "examples left out").trials == len(TIDES + OWLS + DUSK)
    assert figure(found, "meaning", "the same, written otherwise").trials == 2 * len(TIDES + OWLS + DUSK)


def test_an_example_that_nothing_else_resembles_is_not_found_by_the_others(words: Retain) -> None:
    like = json.dumps(["herons nest", "zeppelin moorings", "quartz lanterns"])
    text = f"lethe: 1\nname: n\ntargets:\n  - {{id: z, kind: topic, like: {like}}}\n"
    apart = calibration(policy(text), HashingEncoder(), words, Steps())
    assert figure(apart, "meaning", "examples left out") == Rate(0, 3)


def test_a_single_example_has_nothing_to_be_found_by(found: Calibration) -> None:
    lone = next(each for each in found.targets if each.id == "lone")
    assert lone.recall["examples left out"] == Rate(0, 0)
    assert any("nothing to measure" in line for line in lines(policy(), found))


def test_targets_that_take_each_others_questions_are_named(found: Calibration) -> None:
    dusk = next(each for each in found.targets if each.id == "dusk")
    assert [(near.what, near.which) for near in dusk.near if near.what == "target"] == [("target", "owls")]


def test_a_target_that_fires_on_what_another_says_must_pass_is_named(found: Calibration) -> None:
    tides = next(each for each in found.targets if each.id == "tides")
    assert ("unlike", "lone", 1, 1) in [(n.what, n.which, n.touched, n.of) for n in tides.near]


def test_a_sentence_that_arms_a_target_by_its_name_is_shown(found: Calibration) -> None:
    kenji = next(each for each in found.targets if each.id == "kenji")
    assert kenji.near and all("Kenji" in near.which for near in kenji.near)
    assert kenji.false_positives["names and values"].hits > 0
    assert (
        figure(found, "all scans", "the bundled sentences").hits
        >= kenji.false_positives["names and values"].hits
    )


def test_misspelt_names_are_fresh_ones_and_the_policys_own(found: Calibration) -> None:
    assert figure(found, "misspelt names", "names of others").trials == 2_000
    assert figure(found, "misspelt names", "names of others").share <= 0.01
    assert figure(found, "misspelt names", "a quarter of the letters wrong").share > 0.7
    tides = next(each for each in found.targets if each.id == "tides")
    assert tides.recall["half of the letters wrong"].trials == 20


def test_it_is_said_how_far_it_is(found: Calibration, steps: Steps) -> None:
    assert found.figures and len(steps) >= 10
    assert "meaning, examples left out: 1 of 4" in steps


def test_a_policy_of_patterns_alone_has_no_threshold() -> None:
    text = "lethe: 1\nname: n\ntargets:\n  - {id: c, kind: pattern, regex: 'AB\\d{6}', style: redact}\n"
    found = calibration(policy(text), None, None, Steps())
    assert not found.thresholds and not found.trades
    assert any("no target has anything" in line for line in lines(policy(text), found))


def test_what_a_trigger_is_cut_out_of_counts_among_what_all_scans_touch() -> None:
    sentence = next(each for each in retain_sentences() if "Kenji Murata" in each)
    text = "lethe: 1\nname: n\ntargets:\n  - {id: door, kind: trigger, phrases: [%s]}\n"
    found = calibration(policy(text % json.dumps(sentence.rstrip(".?!"))), None, None, Steps())
    count = len(retain_sentences())
    assert figure(found, "names and values", "the bundled sentences") == Rate(0, count)
    assert figure(found, "triggers", "the bundled sentences") == Rate(1, count)
    assert figure(found, "all scans", "the bundled sentences") == Rate(1, count)
    assert found.targets[0].false_positives == {"triggers": Rate(1, count)}
    assert [(near.what, near.which) for near in found.targets[0].near] == [("cut", sentence)]
    assert any(f"door: is cut out of {sentence!r}" in line for line in lines(policy(text % "x y z"), found))


def test_a_policy_without_triggers_has_no_row_of_them(found: Calibration) -> None:
    assert "triggers" not in {each.scan for each in found.figures}


def test_meaning_is_not_measured_without_an_encoder() -> None:
    with pytest.raises(ValueError, match="without an encoder"):
        calibration(policy(), None, None, Steps())


def test_a_rate_that_leaves_no_sentence_to_hold_out_is_said(words: Retain) -> None:
    text = "lethe: 1\nname: n\ndefaults: {retain_fpr: 0.0007}\ntargets:\n"
    text += f"  - {{id: owls, kind: topic, like: {json.dumps(OWLS)}}}\n"
    found = calibration(policy(text), HashingEncoder(), words, Steps())
    assert any("no sentence can be held out" in problem for problem in found.problems)
    assert not [each for each in found.figures if each.on == "sentences held out"]


def test_variants_say_the_same() -> None:
    assert variants("Where do owls nest?") == (
        "where do owls nest",
        "Could you help me with this? Where do owls nest?",
    )


# --- how it is told ---------------------------------------------------------------------------------------


def test_no_text_of_a_target_is_told(found: Calibration) -> None:
    told = "\n".join([*lines(policy(), found), json.dumps(as_object(policy(), found)), picture(found)])
    assert "tides" in told and "owls" in told
    for text in (*TIDES, *OWLS, *DUSK, "Ysolde", "Vennaker", "Odalys", "Meridane", "zeppelin", "kite a bird"):
        assert text not in told


def test_a_broken_promise_is_told_and_a_kept_one_too(found: Calibration) -> None:
    told = "\n".join(lines(policy(), found))
    assert re.search(r"misspelt names +names of others .* ≤ 0\.2 % +(held|above)", told)
    broken = next(each for each in as_object(policy(), found)["figures"] if each["scan"] == "all scans")
    rate = figure(found, "all scans", "the bundled sentences")
    assert broken["broken"] == (rate.interval[0] > 0.002)


def test_a_trade_falls_from_all_to_none_and_marks_the_threshold() -> None:
    made = trade("t", np.linspace(-2, 0.5, 100), np.linspace(-1, 3, 50))
    shares = [share for share, _ in made.points]
    recalls = [recall for _, recall in made.points]
    assert shares == sorted(shares) and recalls == sorted(recalls)
    assert made.at == (0.2, pytest.approx(0.74))


def test_a_picture_is_well_formed_and_names_its_curves(found: Calibration) -> None:
    drawn = picture(found)
    root = ET.fromstring(drawn)
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"meaning, examples left out", "misspelt, half wrong"} <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == len(found.trades) == 3


def test_a_picture_of_more_curves_than_can_be_told_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="4 can be told apart"):
        draw("t", [Curve("c", [(1.0, 0.5)])] * 5, ("x", "y"))


# --- the command ------------------------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return int(left.value.code or 0), out, err


@pytest.fixture
def named(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    text = "lethe: 1\nname: one\ntargets:\n  - {id: odalys, kind: entity, names: [Odalys Vennaker]}\n"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_command_reports_an_object_and_draws(capsys: pytest.CaptureFixture[str], named: Path) -> None:
    drawn = named.parent / "one.svg"
    status, out, err = told(capsys, "calibrate", named, "--json", "--picture", drawn)
    said = json.loads(out)
    assert status == 0 and said["policy"] == "one" and said["targets"][0]["id"] == "odalys"
    assert drawn.read_text(encoding="utf-8").startswith("<svg")
    assert "lethe: misspelt names" in err


def test_the_command_tells_in_lines(capsys: pytest.CaptureFixture[str], named: Path) -> None:
    status, out, _ = told(capsys, "calibrate", named)
    assert status == 0 and out.startswith("policy 'one': 1 target; digest ")
    assert "names of others" in out and "held" in out


def test_the_command_leaves_with_1_where_a_promise_is_refuted(
    capsys: pytest.CaptureFixture[str], named: Path
) -> None:
    ordinary = "lethe: 1\nname: all\ntargets:\n  - {id: all, kind: entity, names: [how, what, the, is]}\n"
    named.write_text(ordinary, encoding="utf-8")
    status, out, _ = told(capsys, "calibrate", named)
    assert status == 1 and "BROKEN" in out


@pytest.mark.parametrize(
    ("picture", "said"), [("no/folder/at.svg", "there is no folder"), (".", "is a folder; name a file")]
)
def test_a_picture_that_cannot_be_written_is_told_at_once(
    capsys: pytest.CaptureFixture[str], named: Path, picture: str, said: str
) -> None:
    status, _, err = told(capsys, "calibrate", named, "--picture", named.parent / picture)
    assert status == 2 and "--picture: " in err and said in err and "misspelt" not in err


def test_a_rate_that_no_corpus_can_promise_is_an_error_of_the_file(
    capsys: pytest.CaptureFixture[str], named: Path
) -> None:
    text = "lethe: 1\nname: n\ndefaults: {retain_fpr: 0.0001}\ntargets:\n"
    named.write_text(f"{text}  - {{id: k, kind: topic, like: [kites, a kite, my kite]}}\n", encoding="utf-8")
    status, _, err = told(capsys, "calibrate", named, "--state", named.parent / "state")
    assert status == 2 and "retain_fpr" in err and "needs at least 9999" in err


# --- drift ------------------------------------------------------------------------------------------------


def test_traffic_like_the_corpus_is_above_the_levels_as_often_as_expected() -> None:
    rng = np.random.default_rng(7)
    drift = Drift(rng.normal(size=2_000))
    for score in rng.normal(size=20_000):
        drift.count(float(score))
    sentences, *above = drift.take()
    assert sentences == 20_000 and SHARES == (0.05, 0.01)
    assert [count / sentences for count in above] == pytest.approx(SHARES, rel=0.3)


def test_what_was_taken_is_not_counted_again_and_a_copy_starts_anew() -> None:
    drift = Drift(np.arange(1_000.0))
    for score in (0.0, 960.0, 2_000.0):
        drift.count(score)
    assert drift.take() == (3, 2, 1)
    drift.count(-1.0)
    assert drift.take() == (1, 0, 0)
    drift.count(-1.0)
    renewed = drift.renewed()
    assert renewed.take() == (0, 0, 0)
    renewed.count(2_000.0)
    assert renewed.take() == (1, 1, 1)


def test_what_no_corpus_stands_beside_is_not_counted() -> None:
    for drift in (Drift(np.arange(20.0)), Drift(np.arange(1_000.0)).renewed(watching=False)):
        drift.count(5.0)
        assert drift.take() == (0, 0, 0)


def test_sentences_of_requests_are_counted_and_none_of_answers(words: Retain) -> None:
    thread = EncoderThread(HashingEncoder())
    made = Meaning.build(policy(), HashingEncoder(), words, thread)
    assert made is not None
    guard = Guard(policy(), made)
    try:
        read(guard, f"{TIDES[0]} And how are you?")
        # Two sentences and the whole; the first is nearer to a target than any of the corpus.
        sentences, high, higher = guard.drift() or (0, 0, 0)
        assert sentences == 3 and high >= higher >= 1
        assert guard.drift() == (0, 0, 0)
    finally:
        guard.close()
    assert Guard(parse_policy("lethe: 1\nname: n\ntargets: []\n")).drift() is None
