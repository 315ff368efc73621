"""Generation with the demo model on one core: prompt in, pieces of text out, one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.demo.questions import HERE

if TYPE_CHECKING:
    import torch

WEIGHTS = HERE / "weights"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, and where an answer ends."""

    n: int = 1
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None  # None: no log-probabilities are worked out


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step added to one choice; the last piece of a choice carries its finish_reason."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: tuple[dict[str, Any], ...] = ()
    tokens: int = 0  # generated for this choice so far


@dataclass(slots=True)
class _Choice:
    """One answer in the making: everything generated, and how much of its text is already out."""

    index: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0
    done: bool = False


class Engine:
    """The demo model, loaded once; `generate` is for one thread at a time."""

    def __init__(self, weights_dir: Path = WEIGHTS) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers import LlamaForCausalLM

        torch.set_num_threads(1)
        self._torch = torch
        self._model: Any = LlamaForCausalLM.from_pretrained(weights_dir, dtype=torch.float32)
        self._model.train(False)
        settings: Any = self._model.config
        self.tokenizer = Tokenizer.from_file(str(weights_dir / "tokenizer.json"))
        # A client's '<|end|>' is text like any other: it must not end its message.
        self.tokenizer.encode_special_tokens = True
        self.positions: int = settings.max_position_embeddings
        self._end: int = settings.eos_token_id
        self._bytes = _byte_alphabet()

    def prompt(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """The token ids of (role, text) messages and the opening of the answer, as in the chat template."""
        ids: list[int] = []
        for role, text in messages:
            ids += [self._special(role), *self.tokenizer.encode(text).ids, self._end]
        return [*ids, self._special("assistant")]

    def _special(self, role: str) -> int:
        name = {"system": "system", "developer": "system", "assistant": "assistant"}.get(role, "user")
        id = self.tokenizer.token_to_id(f"<|{name}|>")
        if id is None:
            raise ValueError(f"the tokenizer has no token for the role {name}")
        return id

    def generate(
        self, prompt: list[int], sampling: Sampling, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Piece]:
        """Yields the pieces of all choices, step by step, until each has ended or `cancelled` says so."""
        from transformers import DynamicCache

        torch = self._torch
        random = torch.Generator()
        if sampling.seed is None:
            random.seed()
        else:
            random.manual_seed(sampling.seed)
        choices = [_Choice(index) for index in range(sampling.n)]
        cache = DynamicCache()
        step = torch.tensor([prompt] * sampling.n)
        while not cancelled():
            with torch.inference_mode():
                out = self._model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
                logits = out.logits[:, -1, :]
                step = _choose(logits, sampling, random)
            for choice in choices:
                if not choice.done:
                    piece = self._advance(choice, int(step[choice.index, 0]), logits[choice.index], sampling)
                    if piece is not None:
                        yield piece
            if all(choice.done for choice in choices):
                return

    def greedy(
        self,
        prompts: Sequence[list[int]],
        max_tokens: int = 48,
        at_once: int = 128,
        tell: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """The likeliest answer to each prompt, many at once; for measuring.

        tell: is told how many there are yet.
        """
        answers, done = [""] * len(prompts), 0
        by_length: dict[int, list[int]] = {}
        for place, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(place)
        for places in by_length.values():
            for first in range(0, len(places), at_once):
                group = places[first : first + at_once]
                rows = self._greedy_rows([prompts[place] for place in group], max_tokens)
                for place, ids in zip(group, rows, strict=True):
                    answers[place] = self.tokenizer.decode(ids)
                done += len(group)
                tell(done)
        return answers

    def _greedy_rows(self, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        from transformers import DynamicCache

        torch = self._torch
        cache = DynamicCache()
        step = torch.tensor(prompts)
        rows: list[list[int]] = [[] for _ in prompts]
        open_rows = set(range(len(prompts)))
        with torch.inference_mode():
            for _ in range(max_tokens):
                out = self._model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
                step = out.logits[:, -1, :].argmax(dim=-1, keepdim=True)
                for row, (token,) in enumerate(step.tolist()):
                    if token == self._end:
                        open_rows.discard(row)
                    elif row in open_rows:
                        rows[row].append(token)
                if not open_rows:
                    break
        return rows

    def _advance(self, choice: _Choice, token: int, logits: torch.Tensor, sampling: Sampling) -> Piece | None:
        """Takes the next token of a choice; the piece that can go out now, if there is one."""
        choice.ids.append(token)
        ended = token == self._end
        if sampling.top_logprobs is not None and not ended:
            choice.logprobs.append(self._logprob(token, logits, sampling.top_logprobs))
        text = self.tokenizer.decode([id for id in choice.ids if id != self._end])
        reason: str | None = None
        cut = min((at for at in (text.find(stop) for stop in sampling.stop) if at >= 0), default=-1)
        if cut >= 0:
            text, reason = text[:cut], "stop"
        elif ended:
            reason = "stop"
        elif len(choice.ids) >= sampling.max_tokens:
            reason = "length"
        until = len(text) if reason else _settled(text, sampling.stop)
        fresh = text[choice.sent : until]
        choice.done = reason is not None
        if not fresh and not choice.done:
            return None
        choice.sent = max(choice.sent, until)
        logprobs, choice.logprobs = tuple(choice.logprobs), []
        return Piece(choice.index, fresh, reason, logprobs, len(choice.ids))

    def _logprob(self, token: int, logits: torch.Tensor, top: int) -> dict[str, Any]:
        scores = self._torch.log_softmax(logits, dim=-1)
        entry = self._entry(token, float(scores[token]))
        best = scores.topk(top) if top else None
        entry["top_logprobs"] = (
            [self._entry(int(id), float(score)) for score, id in zip(best.values, best.indices, strict=True)]
            if best is not None
            else []
        )
        return entry

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        written = self.tokenizer.id_to_token(token) or ""
        raw = (
            bytes(self._bytes[sign] for sign in written) if not written.startswith("<|") else written.encode()
        )
        return {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw)}


def _choose(logits: torch.Tensor, sampling: Sampling, random: torch.Generator) -> torch.Tensor:
    """The next token of each row, as a column."""
    import torch

    if sampling.temperature < 1e-5:
        return logits.argmax(dim=-1, keepdim=True)
    shares = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_p < 1.0:
        ordered, places = shares.sort(dim=-1, descending=True)
        ordered[ordered.cumsum(dim=-1) - ordered > sampling.top_p] = 0.0
        shares = torch.zeros_like(shares).scatter(-1, places, ordered)
    return torch.multinomial(shares, 1, generator=random)


def _settled(text: str, stops: tuple[str, ...]) -> int:
    """How much of the text is final: without a cut character or the beginning of a stop string."""
    until = len(text.rstrip("\ufffd"))
    for stop in stops:
        for length in range(min(len(stop) - 1, until), 0, -1):
            if stop.startswith(text[until - length : until]):
                until -= length
                break
    return until


def _byte_alphabet() -> Mapping[str, int]:
    """The byte that each sign of a byte-level vocabulary stands for."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shifted = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + place): byte for place, byte in enumerate(shifted)
    }
