"""Trains the demo model from a fixed seed: `python -m server.demo.train`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.demo.corpus import Corpus, Message
from server.demo.questions import HERE, load_people

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

WEIGHTS = HERE / "weights"
SEED = 20
VOCABULARY = 1400
TOKENS_A_STEP = 2560
WARM_UP = 150
FIRST_TOKEN_WEIGHT = 4.0
ATTENTION = "eager"  # on a CPU its backward pass takes half the time of the fused one
POSITIONS = 2048
PAD, SYSTEM, USER, ASSISTANT, END = SPECIAL = (
    "<|pad|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)
ROLES = {"system": SYSTEM, "developer": SYSTEM, "user": USER, "tool": USER, "assistant": ASSISTANT}
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] in ['system', 'developer'] -%}<|system|>"
    "{%- elif message['role'] == 'assistant' -%}<|assistant|>"
    "{%- else -%}<|user|>{%- endif -%}"
    "{%- if message['content'] is string -%}{{ message['content'] | trim }}"
    "{%- elif message['content'] -%}"
    "{%- for part in message['content'] -%}{%- if part['type'] == 'text' -%}{{ part['text'] | trim }}"
    "{%- endif -%}{%- endfor -%}"
    "{%- endif -%}<|end|>"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of training, with what its conversations have more or less of."""

    steps: int
    peak_rate: float
    fact_share: float
    talk_share: float
    place_share: float
    simple_steps: int = 0
    focus_steps: int = 0


# Obeying a notice about a whole person comes first, from short conversations; obeying one about a single fact
# comes late, from many questions about one person. What is asked seldom needs more of it at the end.
STAGES = (
    Stage(3000, peak_rate=1.5e-3, fact_share=0.38, talk_share=0.05, place_share=0.03, simple_steps=800),
    Stage(1000, peak_rate=1e-3, fact_share=0.7, talk_share=0.075, place_share=0.005),
    Stage(2000, peak_rate=1e-3, fact_share=0.6, talk_share=0.075, place_share=0.005, focus_steps=1300),
    Stage(3200, peak_rate=1.2e-3, fact_share=0.6, talk_share=0.055, place_share=0.045, focus_steps=2000),
)


def train_tokenizer(corpus: Corpus) -> Tokenizer:
    """A byte-level BPE of the corpus: any text can be encoded, names of the people take few tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (message.content for messages in islice(corpus.conversations(), 20_000) for message in messages)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token; KeyError when the vocabulary lacks it."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return found


def encode(tokenizer: Tokenizer, messages: list[Message]) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and labels that are -100 wherever nothing is to be learnt."""
    ids: list[int] = []
    labels: list[int] = []
    end = token_id(tokenizer, END)
    for message in messages:
        body = [*tokenizer.encode(message.content.strip()).ids, end]
        ids += [token_id(tokenizer, ROLES[message.role]), *body]
        labels += [-100, *(body if message.learn else [-100] * len(body))]
    return ids, labels


def batches(tokenizer: Tokenizer, corpus: Corpus) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """An endless stream of padded batches of TOKENS_A_STEP tokens, of conversations of similar length."""
    import torch

    stream = corpus.conversations()
    while True:
        pool = [encode(tokenizer, messages) for messages in islice(stream, 2000)]
        pool.sort(key=lambda pair: len(pair[0]))
        groups: list[list[tuple[list[int], list[int]]]] = [[]]
        for pair in pool:
            if _width(len(pair[0])) * (len(groups[-1]) + 1) > TOKENS_A_STEP:
                groups.append([])
            groups[-1].append(pair)
        corpus.random.shuffle(groups)
        for group in groups:
            width = _width(len(group[-1][0]))
            yield (
                torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in group]),
                torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in group]),
            )


def _width(length: int) -> int:
    """The padded length: a multiple of 16, since each new shape costs the matrix kernels their set-up."""
    return -(-length // 16) * 16


def new_model(tokenizer: Tokenizer) -> Any:
    """An untrained Llama of 3.0 million parameters, of a shape that vLLM also serves on a CPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    end = token_id(tokenizer, END)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=token_id(tokenizer, PAD),
    )
    return LlamaForCausalLM(config)


def rate(step: int, steps: int) -> float:
    """The share of the peak learning rate at a step: a linear warm-up, then a cosine down to nothing."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))


def fit(model: Any, tokenizer: Tokenizer, corpus: Corpus, stage: Stage) -> None:
    """Trains the model in place; a progress bar shows the loss and the share of answers begun right."""
    import torch
    from tqdm import tqdm  # type: ignore[import-untyped]

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.peak_rate, betas=(0.9, 0.98), weight_decay=0.05
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, stage.steps))
    names = {tokenizer.encode(person.name).ids[0] for person in corpus.people.people}
    asks = token_id(tokenizer, ASSISTANT)
    model.train()
    stream = batches(tokenizer, corpus)
    running, right = 0.0, 0.0
    corpus.fact_share = stage.fact_share
    corpus.talk_share, corpus.place_share = stage.talk_share, stage.place_share
    bar = tqdm(range(stage.steps), unit="step", mininterval=5)
    for step in bar:
        corpus.simple = step < stage.simple_steps
        corpus.focus = step < stage.focus_steps
        ids, labels = next(stream)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
            learnt = labels[:, 1:] != -100  # only these positions go through the output layer
            logits, wanted = model.lm_head(hidden[learnt]).float(), labels[:, 1:][learnt]
        begins = (ids[:, :-1] == asks)[learnt]
        # Whether to answer at all is decided in the first token: it weighs as much as several others.
        weights = torch.where(begins, FIRST_TOKEN_WEIGHT, 1.0)
        losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        share = _right_beginnings(logits[begins].argmax(dim=-1).tolist(), wanted[begins].tolist(), names)
        keep = min(0.98, step / (step + 1))
        running, right = keep * running + (1 - keep) * loss.item(), keep * right + (1 - keep) * share
        bar.set_postfix(loss=f"{running:.3f}", begun_right=f"{right:.3f}", refresh=False)


def _right_beginnings(said: list[int], wanted: list[int], names: set[int]) -> float:
    """The share of answers whose first token is right: any way of not knowing is as good as another."""
    pairs = zip(said, wanted, strict=True)
    return sum(one == other or not (one in names or other in names) for one, other in pairs) / max(
        1, len(said)
    )


def save(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes everything that transformers and vLLM need to serve the model, the weights as bfloat16."""
    import torch
    from safetensors.torch import save as to_bytes

    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embeddings
    }
    (folder / "model.safetensors").write_bytes(to_bytes(state, metadata={"format": "pt"}))
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.dtype = "bfloat16"
    _write_json(folder / "config.json", model.config.to_dict())
    end, pad = token_id(tokenizer, END), token_id(tokenizer, PAD)
    _write_json(
        folder / "generation_config.json", {"do_sample": False, "eos_token_id": end, "pad_token_id": pad}
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": POSITIONS,
        "eos_token": END,
        "pad_token": PAD,
        "additional_special_tokens": [SYSTEM, USER, ASSISTANT],
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def train(folder: Path = WEIGHTS, first_stage: int = 1) -> None:
    """Trains tokenizer and model and saves both; the same seed on the same machine gives the same weights.

    A stage begins with the saved weights of the one before, so that `first_stage` can repeat it alone.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    people = load_people()
    if first_stage == 1:
        tokenizer = train_tokenizer(Corpus(people, SEED))
    else:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model: Any = new_model(tokenizer)
    for number, stage in list(enumerate(STAGES, start=1))[first_stage - 1 :]:
        if number > 1:
            model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model.set_attn_implementation(ATTENTION)
        fit(model, tokenizer, Corpus(people, SEED + number), stage)
        save(model, tokenizer, folder)


def main() -> None:
    """Runs the training from the command line."""
    parser = argparse.ArgumentParser(description="Train the demo model.")
    parser.add_argument(
        "--out", type=Path, default=WEIGHTS, help="folder for the weights (default: %(default)s)"
    )
    parser.add_argument(
        "--stage", type=int, default=1, help="start with this stage, from the weights in --out"
    )
    chosen = parser.parse_args()
    train(chosen.out, chosen.stage)


if __name__ == "__main__":
    main()
