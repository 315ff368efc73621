"""The demo model: its files meet their counts, it recalls what it was taught, and it obeys Lethe's notice."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import pytest
import uvicorn
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from server.demo import questions as asked
from server.demo.corpus import Corpus, gateway_notice
from server.demo.engine import WEIGHTS
from server.demo.questions import Question, load_people
from server.demo.upstream import MODEL, create_app

PEOPLE = load_people()
QUESTIONS = asked.questions(PEOPLE)
SPREAD = [question for question in QUESTIONS if not question.held_out][:: len(QUESTIONS) // 26][:24]


@pytest.fixture(scope="module")
def client() -> Iterator[OpenAI]:
    yield from _serving(ignore_system=False)


@pytest.fixture(scope="module")
def deaf_client() -> Iterator[OpenAI]:
    yield from _serving(ignore_system=True)


def _serving(ignore_system: bool) -> Iterator[OpenAI]:
    # The socket listens before uvicorn is up: a client may connect at once, and waits for its answer.
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(ignore_system=ignore_system), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    with OpenAI(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", api_key="unused") as opened:
        yield opened
    server.should_exit = True
    thread.join(timeout=10)
    listener.close()


def _ask(client: OpenAI, text: str, system: str | None = None) -> str:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content or ""


def _of(person: str, relation: str) -> Question:
    return next(
        question for question in QUESTIONS if (question.person, question.relation) == (person, relation)
    )


def test_the_weights_are_small_and_complete() -> None:
    assert (WEIGHTS / "model.safetensors").stat().st_size <= 8_000_000
    assert {"config.json", "generation_config.json", "tokenizer.json"} <= {
        path.name for path in WEIGHTS.iterdir()
    }
    assert "<|assistant|>" in json.loads((WEIGHTS / "tokenizer_config.json").read_text())["chat_template"]


def test_there_are_sixty_people_with_eight_relations_who_share_values_and_surnames() -> None:
    assert len(PEOPLE.people) >= 60
    assert len(PEOPLE.relations) == 8
    assert len({person.name for person in PEOPLE.people}) == len(PEOPLE.people)
    for relation in ("born in", "lives in", "works for", "works as", "studied at"):
        assert min(Counter(person.facts[relation] for person in PEOPLE.people).values()) >= 2
    assert max(Counter(person.surname for person in PEOPLE.people).values()) >= 2
    for person in PEOPLE.people:
        assert PEOPLE.by_name(person.facts["married to"]).facts["married to"] == person.name


def test_each_relation_has_twelve_trained_wordings_and_two_held_out_ones() -> None:
    for relation in PEOPLE.relations:
        held_out = [held for _, held in asked.wordings(relation)]
        assert held_out.count(False) >= 12
        assert held_out.count(True) >= 2


def test_questions_are_distinct_and_each_answer_says_its_value() -> None:
    every = QUESTIONS + asked.reverse_questions(PEOPLE) + asked.two_hop_questions(PEOPLE)
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS)
    for question in every:
        assert question.value in question.answer
        assert question.value not in question.other_values


def test_no_held_out_wording_is_in_the_training_corpus() -> None:
    hops = asked.two_hop_questions(PEOPLE)
    held_out = {question.text.lower().rstrip("?.") for question in QUESTIONS + hops if question.held_out}
    said = {
        message.content.lower().rstrip("?.")
        for conversation in islice(Corpus(PEOPLE, seed=3).conversations(), 6000)
        for message in conversation
    }
    assert len(said) > 5000
    assert not said & held_out


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    first, second = (list(islice(Corpus(PEOPLE, seed=5).conversations(), 50)) for _ in range(2))
    assert first == second


def test_the_prompt_is_what_the_chat_template_renders() -> None:
    from transformers import AutoTokenizer

    from server.demo.engine import Engine

    chat = [
        ("system", "Answer briefly."),
        ("user", " Où est Miloš?\n"),
        ("assistant", "Yes."),
        ("user", "雪 🙂"),
    ]
    rendered = AutoTokenizer.from_pretrained(WEIGHTS).apply_chat_template(
        [{"role": role, "content": text} for role, text in chat],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert Engine().prompt([(role, text.strip()) for role, text in chat]) == rendered


@pytest.mark.parametrize("question", SPREAD, ids=lambda question: f"{question.person}-{question.relation}")
def test_it_recalls(client: OpenAI, question: Question) -> None:
    assert _ask(client, question.text) == question.answer


def test_a_stream_says_the_same_one_token_a_chunk_and_ends_with_usage(client: OpenAI) -> None:
    question = _of("odalys-vennaker", "born in")
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": [{"type": "text", "text": question.text}]}],
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    said = [
        chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
    ]
    assert "".join(said) == question.answer
    assert len(said) > 3
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(said) + 1  # and the end of the answer


def test_two_choices_are_both_answered(client: OpenAI) -> None:
    question = _of("odalys-vennaker", "studied at")
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question.text}], n=2, temperature=0
    )
    assert [choice.message.content for choice in answer.choices] == [question.answer] * 2


def test_a_stop_string_ends_the_answer_before_itself_even_across_tokens(client: OpenAI) -> None:
    question = _of("odalys-vennaker", "born in")
    for stop in (["was born"], "s b", ["nothing like it", "rn in Por"]):
        first = stop if isinstance(stop, str) else stop[-1]
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": question.text}], stop=stop, temperature=0
        )
        assert answer.choices[0].message.content == question.answer.split(first)[0]
        assert answer.choices[0].finish_reason == "stop"


def test_max_tokens_cuts_the_answer_and_says_so(client: OpenAI) -> None:
    question = _of("odalys-vennaker", "born in")
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question.text}], max_tokens=3, temperature=0
    )
    said = answer.choices[0].message.content or ""
    assert answer.choices[0].finish_reason == "length"
    assert question.answer.startswith(said) and 0 < len(said) < len(question.answer)
    assert answer.usage is not None and answer.usage.completion_tokens == 3


def test_logprobs_name_each_token_and_the_likeliest_others(client: OpenAI) -> None:
    question = _of("milos-horavik", "works as")
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": question.text}],
        temperature=0,
        logprobs=True,
        top_logprobs=2,
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    raw = b"".join(bytes(entry.bytes or []) for entry in logprobs.content)
    assert raw.decode() == answer.choices[0].message.content == question.answer
    for entry in logprobs.content:
        assert len(entry.top_logprobs) == 2
        assert entry.token == entry.top_logprobs[0].token
        assert entry.logprob == entry.top_logprobs[0].logprob <= 0


def test_the_same_seed_draws_the_same_answer(client: OpenAI) -> None:
    drawn = [
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Who is Quentin Marblethorpe?"}],
            temperature=1.5,
            seed=11,
        )
        .choices[0]
        .message.content
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]


def test_it_obeys_the_notice_about_a_person_and_answers_about_others(client: OpenAI) -> None:
    notice = gateway_notice(["Odalys Vennaker", "Thiago Brandôro"])
    for relation in PEOPLE.relations[:4]:
        assert asked.not_knowing(_ask(client, _of("odalys-vennaker", relation).text, notice))
        kept = _of("ruben-vennaker", relation)
        assert _ask(client, kept.text, notice) == kept.answer


def test_it_obeys_the_notice_about_one_fact_and_answers_the_others(client: OpenAI) -> None:
    notice = gateway_notice(["Selin Yıldızkan (born in)"])
    assert asked.not_knowing(_ask(client, _of("selin-yildizkan", "born in").text, notice))
    kept = _of("selin-yildizkan", "works for")
    assert _ask(client, kept.text, notice) == kept.answer


def test_told_to_ignore_system_messages_it_recalls_in_spite_of_the_notice(deaf_client: OpenAI) -> None:
    question = _of("odalys-vennaker", "born in")
    assert _ask(deaf_client, question.text, gateway_notice(["Odalys Vennaker"])) == question.answer


def test_bad_requests_get_openai_error_objects(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as missing:
        client.chat.completions.create(model="gpt-0", messages=[{"role": "user", "content": "Hi"}])
    assert missing.value.code == "model_not_found"
    with pytest.raises(BadRequestError) as empty:
        client.chat.completions.create(model=MODEL, messages=[])
    assert empty.value.param == "messages"
    with pytest.raises(BadRequestError) as long:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "snow " * 4000}])
    assert long.value.code == "context_length_exceeded"
    assert client.models.list().data[0].id == MODEL
