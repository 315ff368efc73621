"""The allow-list: one decision a field, for what comes in and for what goes out.

A row names a field of `POST /v1/chat/completions` by its place, `[]` for the members of a list.  What has
no row is dropped, so that tomorrow's field of an upstream stays shut until someone decides.  Rows below a
field that is dropped or denied are not needed.

Request verdicts: `pass` (checked against its shape and forwarded), `scan` (the text in it is scanned, then
forwarded), `ours` (handled here), `drop` (accepted and forgotten: ignoring it harms no answer), `deny` (400:
ignoring it would give another answer than was asked for).  A denied field that is null, false, zero or
empty asks for nothing and is dropped.  The reason of a denied field is shown to the client, so it tells
nothing of what is checked and why.
Answer verdicts: `pass` (a value of a closed set), `guard` (text that the guard rules over), `ours` (made
again here), `drop`.

When an upstream is upgraded, list its fields again; a test does so for the openai package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from server.errors import FieldDenied, RequestRejected

Verdict = Literal["pass", "scan", "guard", "ours", "drop", "deny"]

MAX_CHOICES = 8
"""Largest `n`: each choice is one more draw at a value that must not come."""
MAX_MESSAGES = 10_000
MAX_PARTS = 10_000
"""Content parts in one message."""
MAX_TOOLS = 1_024
"""Tools in a request, and tool calls in a message."""
MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_NAME_CHARS = 256
"""Length of a model's name, a person's, a tool's and of an id, in code points."""
MAX_TOKENS = 1 << 31
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number within closed bounds."""

    low: float
    high: float

    def admits(self, value: object) -> bool:
        """Whether `value` may pass; true and false are no numbers."""
        return isinstance(value, int | float) and value is not True and value is not False and (
            self.low <= value <= self.high
        )  # fmt: skip

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Integer:
    """A JSON integer within closed bounds."""

    low: int
    high: int

    def admits(self, value: object) -> bool:
        """Whether `value` may pass; 1.0, true and false are no integers."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"an integer from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def admits(self, value: object) -> bool:
        """Whether `value` may pass."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True, slots=True)
class OneOf:
    """A word of a closed list."""

    words: tuple[str, ...]

    def admits(self, value: object) -> bool:
        """Whether `value` may pass."""
        return isinstance(value, str) and value in self.words

    def __str__(self) -> str:
        return "one of " + ", ".join(self.words)


@dataclass(frozen=True, slots=True)
class Field:
    """One decision: a field's place, what becomes of it, and why."""

    name: str
    verdict: Verdict
    reason: str
    shape: Number | Integer | Flag | OneOf | None = None
    """What a `pass` field must be."""


_ORACLE = "shows what was likely, also where it was not said"
_PROMPT = "would show the prompt with what Lethe put into it"
_TOKENS = "works below the text, where nothing is checked"
_BY_ID = "it works on token ids"
_ENGINE = "it steers the engine, which is the operator's to steer"
_TEMPLATE = "the prompt's template is fixed"
_CUSTOM = "only functions are"
_RETAINS = "has the upstream keep what was not checked"
_CACHE = "the upstream's cache is Lethe's to partition, and its timing tells what others asked"
_MEDIA = "only text is supported"
_LEGACY = "it is the legacy form; use tools"
_SCHEMA_FIRST = "use response_format"
_SAMPLING = "shapes the sampling; the answer is checked all the same"
_NAMING = "names someone to the upstream, and changes no answer"

REQUEST: tuple[Field, ...] = (
    Field("model", "ours", f"forwarded, and named again in the answer; at most {MAX_NAME_CHARS} characters"),
    Field("messages", "ours", f"built again from what was checked; at most {MAX_MESSAGES:,}"),
    Field("n", "ours", f"1 to {MAX_CHOICES}; all choices are checked together"),
    Field("stop", "ours", "applied to released text, upstream it would be an oracle; "
          f"at most {MAX_STOPS} of at most {MAX_STOP_CHARS} characters"),
    Field("max_tokens", "ours", f"1 to {MAX_TOKENS:,}; handed on where nothing is in play; else raised "
          "upstream, where it would be an oracle, and applied to released text"),
    Field("max_completion_tokens", "ours", "as max_tokens, and before it"),
    Field("stream", "ours", "how the answer travels"),
    Field("stream_options", "ours", "one option is known"),
    Field("stream_options.include_usage", "ours", "our own count, in a last chunk"),
    Field("stream_options.include_obfuscation", "drop", "Lethe's cadence hides lengths already"),
    Field("stream_options.continuous_usage_stats", "drop", "would show what is being held"),
    Field("modalities", "ours", "['text'] asks for nothing more; anything else is denied"),
    # Sampling that both OpenAI and vLLM know.
    Field("temperature", "pass", _SAMPLING, Number(0, 2)),
    Field("top_p", "pass", _SAMPLING, Number(0, 1)),
    Field("min_p", "pass", _SAMPLING, Number(0, 1)),
    Field("top_k", "pass", _SAMPLING, Integer(-1, 1 << 31)),
    Field("seed", "pass", _SAMPLING, Integer(-_INT64, _INT64 - 1)),
    Field("frequency_penalty", "pass", _SAMPLING, Number(-2, 2)),
    Field("presence_penalty", "pass", _SAMPLING, Number(-2, 2)),
    Field("reasoning_effort", "pass", "how long it thinks; reasoning is checked",
          OneOf(("none", "minimal", "low", "medium", "high", "xhigh", "max"))),
    Field("verbosity", "pass", "how long it answers", OneOf(("low", "medium", "high"))),
    Field("parallel_tool_calls", "pass", "how many calls; each is checked", Flag()),
    # Tools and schemas are text that the model reads.
    Field("tools", "scan", f"can carry a question or a fact; at most {MAX_TOOLS:,}"),
    Field("tools[].type", "ours", "always 'function'"),
    Field("tools[].function", "scan", "see its fields"),
    Field("tools[].function.name", "scan", "the model reads it"),
    Field("tools[].function.description", "scan", "the model reads it"),
    Field("tools[].function.parameters", "scan", "the model reads it; its enums offer answers"),
    Field("tools[].function.strict", "pass", "how closely the schema is followed", Flag()),
    Field("tools[].function.defer_loading", "drop", _TEMPLATE),
    Field("tools[].defer_loading", "drop", _TEMPLATE),
    Field("tools[].custom", "deny", _CUSTOM),
    Field("tool_choice", "scan", "none, auto, required, or a function's name"),
    Field("tool_choice.type", "ours", "always 'function'"),
    Field("tool_choice.function", "scan", "see its fields"),
    Field("tool_choice.function.name", "scan", "can name a fact"),
    Field("tool_choice.custom", "deny", _CUSTOM),
    Field("tool_choice.allowed_tools", "deny", "send only the tools that are allowed"),
    Field("tool_choice.mode", "drop", "belongs to allowed_tools"),
    Field("response_format", "scan", "a schema is text that the model reads"),
    Field("response_format.type", "ours", "text, json_object or json_schema"),
    Field("response_format.json_schema", "scan", "see its fields"),
    Field("response_format.json_schema.name", "scan", "the model may read it"),
    Field("response_format.json_schema.description", "scan", "the model reads it"),
    Field("response_format.json_schema.schema", "scan", "its enums offer answers"),
    Field("response_format.json_schema.strict", "pass", "how closely it is followed", Flag()),
    Field("functions", "deny", _LEGACY),
    Field("function_call", "deny", _LEGACY),
    # Messages.
    Field("messages[].role", "ours", "system, developer, user, assistant or tool"),
    Field("messages[].content", "scan", f"text, or a list of at most {MAX_PARTS:,} text parts"),
    Field("messages[].name", "scan", "the model may read it"),
    Field("messages[].refusal", "scan", "an earlier answer, as the client tells it"),
    Field("messages[].reasoning", "scan", "earlier reasoning, as the client tells it"),
    Field("messages[].reasoning_content", "scan", "the older name of reasoning"),
    Field("messages[].tool_call_id", "scan", "some templates show it to the model"),
    Field("messages[].tool_calls", "scan", "earlier calls, as the client tells them"),
    Field("messages[].tool_calls[].id", "scan", "some templates show it to the model"),
    Field("messages[].tool_calls[].type", "ours", "always 'function'"),
    Field("messages[].tool_calls[].index", "drop", "belongs to streamed answers"),
    Field("messages[].tool_calls[].function", "scan", "see its fields"),
    Field("messages[].tool_calls[].function.name", "scan", "the model reads it"),
    Field("messages[].tool_calls[].function.arguments", "scan", "as one text, and its keys and leaves"),
    Field("messages[].tool_calls[].custom", "deny", _CUSTOM),
    Field("messages[].function_call", "deny", _LEGACY),
    Field("messages[].audio", "deny", _MEDIA),
    Field("messages[].annotations", "drop", "belongs to answers"),
    Field("messages[].tools", "deny", "tools belong to the request"),
    Field("messages[].prefix", "deny", _TEMPLATE),
    Field("messages[].partial", "deny", _TEMPLATE),
    Field("messages[].content[].type", "ours", "text; refusal in an assistant's message"),
    Field("messages[].content[].text", "scan", "the text"),
    Field("messages[].content[].refusal", "scan", "an earlier answer, as the client tells it"),
    Field("messages[].content[].image_url", "deny", _MEDIA),
    Field("messages[].content[].image_embeds", "deny", _MEDIA),
    Field("messages[].content[].video_url", "deny", _MEDIA),
    Field("messages[].content[].audio_url", "deny", _MEDIA),
    Field("messages[].content[].input_audio", "deny", _MEDIA),
    Field("messages[].content[].file", "deny", _MEDIA),
    Field("messages[].content[].prompt_cache_breakpoint", "drop", _CACHE),
    Field("messages[].content[].cache_control", "drop", _CACHE),
    # Oracles: they go without a word, since an answer is complete without them.
    Field("logprobs", "drop", _ORACLE),
    Field("top_logprobs", "drop", _ORACLE),
    Field("logprob_token_ids", "drop", _ORACLE),
    Field("prompt_logprobs", "drop", _PROMPT),
    Field("return_tokens_as_token_ids", "drop", _ORACLE),
    Field("return_token_ids", "drop", _PROMPT),
    Field("return_prompt_text", "drop", _PROMPT),
    Field("return_token_offsets", "drop", _PROMPT),
    Field("return_mm_kwargs", "drop", _PROMPT),
    Field("enable_response_messages", "drop", _PROMPT),
    Field("prediction", "drop", "how much of it was right would be told by the speed and the counts"),
    Field("best_of", "drop", "n is the only count of draws"),
    Field("use_beam_search", "drop", _SAMPLING),
    Field("length_penalty", "drop", "belongs to beam search"),
    Field("repetition_penalty", "drop", "counts the prompt's words, Lethe's own among them"),
    Field("repetition_detection", "drop", _ENGINE),
    # What would change the prompt, or the words that are allowed.
    Field("echo", "deny", "an answer does not repeat its prompt"),
    Field("logit_bias", "deny", _BY_ID),
    Field("allowed_token_ids", "deny", _BY_ID),
    Field("bad_words", "deny", "words cannot be forbidden"),
    Field("stop_token_ids", "deny", _BY_ID + "; use stop"),
    Field("structured_outputs", "deny", _SCHEMA_FIRST),
    Field("guided_json", "deny", _SCHEMA_FIRST),
    Field("guided_regex", "deny", _SCHEMA_FIRST),
    Field("guided_choice", "deny", _SCHEMA_FIRST),
    Field("guided_grammar", "deny", _SCHEMA_FIRST),
    Field("guided_decoding_backend", "drop", _ENGINE),
    Field("guided_whitespace_pattern", "drop", _ENGINE),
    Field("chat_template", "deny", _TEMPLATE),
    Field("chat_template_kwargs", "deny", _TEMPLATE + "; use reasoning_effort for thinking"),
    Field("documents", "deny", "put the text into a message"),
    Field("continue_final_message", "deny", _TEMPLATE),
    Field("add_generation_prompt", "drop", _TEMPLATE),
    Field("add_special_tokens", "drop", _TEMPLATE),
    Field("truncate_prompt_tokens", "deny", "prompts are not truncated"),
    Field("truncation_side", "drop", "belongs to truncate_prompt_tokens"),
    Field("prompt_embeds", "deny", _MEDIA),
    Field("mm_processor_kwargs", "deny", _MEDIA),
    Field("media_io_kwargs", "deny", _MEDIA),
    Field("audio", "deny", _MEDIA),
    Field("web_search_options", "deny", "nothing is searched"),
    # Lengths and token details of the upstream.
    Field("min_tokens", "drop", "forces words out of a model that would stop"),
    Field("ignore_eos", "drop", "forces words out of a model that would stop"),
    Field("thinking_token_budget", "drop", "a cut in the reasoning is an oracle; use reasoning_effort"),
    Field("include_reasoning", "drop", "Lethe must see the reasoning to rule over it"),
    Field("include_stop_str_in_output", "drop", "stops are applied here"),
    Field("skip_special_tokens", "drop", _TOKENS),
    Field("spaces_between_special_tokens", "drop", _TOKENS),
    Field("stream_interval", "drop", "Lethe's cadence is its own"),
    Field("watermarking", "drop", _ENGINE),
    # Routing, caches, accounts.
    Field("cache_salt", "drop", _CACHE),
    Field("prompt_cache_key", "drop", _CACHE),
    Field("prompt_cache_options", "drop", _CACHE),
    Field("prompt_cache_retention", "drop", _CACHE),
    Field("kv_transfer_params", "deny", _ENGINE),
    Field("ec_transfer_params", "deny", _ENGINE),
    Field("vllm_xargs", "deny", _ENGINE),
    Field("routed_experts_prompt_start", "drop", _ENGINE),
    Field("priority", "drop", _ENGINE),
    Field("request_id", "drop", "Lethe numbers its own"),
    Field("session_id", "drop", _NAMING),
    Field("user", "drop", _NAMING),
    Field("safety_identifier", "drop", _NAMING),
    Field("metadata", "drop", _RETAINS),
    Field("store", "drop", _RETAINS),
    Field("service_tier", "drop", _ENGINE),
    Field("moderation", "drop", "would have the upstream report on the unchecked answer"),
)  # fmt: skip

_MADE = "made again here"
_UNSEEN = "text that no scan sees"

_MESSAGE: tuple[Field, ...] = (
    Field("role", "ours", "always 'assistant'"),
    Field("content", "guard", "the answer"),
    Field("refusal", "guard", "the answer, where it is a refusal"),
    Field("reasoning", "guard", "what is thought is told"),
    Field("reasoning_content", "guard", "the older name of reasoning"),
    Field("tool_calls", "guard", "held whole, then each key and leaf is checked"),
    Field("tool_calls[].index", "ours", "counted again over what is released"),
    Field("tool_calls[].id", "guard", "held to the form of an id, and checked"),
    Field("tool_calls[].type", "ours", "always 'function'"),
    Field("tool_calls[].function", "guard", "see its fields"),
    Field("tool_calls[].function.name", "guard", "can be a value"),
    Field("tool_calls[].function.arguments", "guard", "can hold a value"),
    Field("tool_calls[].custom", "drop", "custom tools are not let in"),
    Field("function_call", "guard", "the legacy form: becomes tool call 0"),
    Field("function_call.name", "guard", "can be a value"),
    Field("function_call.arguments", "guard", "can hold a value"),
    Field("annotations", "drop", _UNSEEN),
    Field("audio", "drop", _MEDIA),
    Field("images", "drop", _MEDIA),
    Field("citations", "drop", _UNSEEN),
    Field("reasoning_details", "drop", _UNSEEN),
)
"""The same in a whole answer and in a streamed one."""

ANSWER: tuple[Field, ...] = (
    Field("id", "ours", _MADE),
    Field("object", "ours", _MADE),
    Field("created", "ours", _MADE),
    Field("model", "ours", "the name that the client asked for"),
    Field("choices", "ours", "one for each that was asked for"),
    Field("choices[].index", "pass", "from 0 to n - 1"),
    Field("choices[].finish_reason", "pass", "of a closed set"),
    Field("choices[].message", "ours", "see its fields"),
    Field("choices[].delta", "ours", "see its fields"),
    *(Field(f"choices[].{form}.{row.name}", row.verdict, row.reason) for form in ("message", "delta")
      for row in _MESSAGE),
    Field("choices[].logprobs", "drop", _ORACLE + "; null in every answer"),
    Field("choices[].stop_reason", "drop", "would show which stop was met upstream"),
    Field("choices[].token_ids", "drop", _TOKENS),
    Field("choices[].routed_experts", "drop", _ORACLE),
    Field("usage", "ours", "counted here, from what was sent and released"),
    Field("usage.prompt_tokens", "ours", "without what Lethe put in"),
    Field("usage.completion_tokens", "ours", "of what was released"),
    Field("usage.total_tokens", "ours", "their sum"),
    Field("usage.prompt_tokens_details", "drop", "cached counts tell what others asked"),
    Field("usage.completion_tokens_details", "drop", "would show what was not released"),
    Field("error", "ours", "becomes an error of our own words"),
    Field("system_fingerprint", "drop", "text that no scan sees, and tells upstreams apart"),
    Field("service_tier", "drop", _UNSEEN),
    Field("metadata", "drop", _UNSEEN),
    Field("moderation", "drop", "reports on the unchecked answer"),
    Field("obfuscation", "drop", "as long as the unchecked text is short"),
    Field("prompt_logprobs", "drop", _PROMPT),
    Field("prompt_token_ids", "drop", _PROMPT),
    Field("prompt_text", "drop", _PROMPT),
    Field("prompt_routed_experts", "drop", _PROMPT),
    Field("weight_versions", "drop", _ENGINE),
    Field("kv_transfer_params", "drop", _ENGINE),
    Field("ec_transfer_params", "drop", _ENGINE),
    Field("metrics", "drop", "timing of the unchecked answer"),
    Field("provider", "drop", _UNSEEN),
    Field("citations", "drop", _UNSEEN),
)  # fmt: skip

_BY_PLACE: dict[str, dict[str, Field]] = {}
"""The rows of the request by the object that they belong to, so that a key with a dot in it meets no row."""
for _field in REQUEST:
    _place, _, _name = _field.name.rpartition(".")
    _BY_PLACE.setdefault(_place, {})[_name] = _field


def admit(value: Mapping[str, Any], place: str = "", path: str = "") -> dict[str, Any]:
    """Return the fields of one JSON object of a request that may be looked at further.

    `place` is the object's place in the table ('messages[]'), `path` the same with numbers, for the error.
    Nulls and fields that are dropped or unknown are left out; a denied field that asks for something
    raises FieldDenied, and a passing one of the wrong shape RequestRejected.
    """
    rows = _BY_PLACE[place]
    admitted: dict[str, Any] = {}
    for name, item in value.items():
        field = rows.get(name)
        if field is None or item is None or field.verdict == "drop":
            continue
        where = f"{path}.{name}" if path else name
        if field.verdict == "deny":
            if item:
                raise FieldDenied(f"'{where}' is not supported: {field.reason}.", param=where)
            continue
        if field.shape is not None and not field.shape.admits(item):
            raise RequestRejected(f"'{where}' must be {field.shape}.", param=where)
        admitted[name] = item
    return admitted


def passing(place: str = "") -> tuple[str, ...]:
    """Return the names of an object's `pass` fields, which go on as they are."""
    return tuple(name for name, field in _BY_PLACE[place].items() if field.verdict == "pass")
