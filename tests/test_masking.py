"""Masked history is put back into the messages where it came from."""

from __future__ import annotations

from pathlib import Path

from server.masking import NOTHING, masked
from tests.fake_upstream import say
from tests.lethe_server import lethe


def test_each_masked_passage_changes_its_own_message_only() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "system", "content": "A. B."},
        {"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "user", "content": "Kept.", "name": "x"},
    ]
    left = {
        "messages[0].content": " ",
        "messages[1].content[]": "",
        "messages[2].tool_calls[0].function.arguments": "",
        "messages[3].name": "",
    }
    changed = masked(messages, left)
    assert [message["content"] for message in changed] == [NOTHING, NOTHING, None, "Kept."]
    assert changed[2]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert "name" not in changed[3] and messages[3]["name"] == "x"
    assert masked(messages, {}) == messages


async def test_an_upstream_that_obeys_history_has_nothing_to_obey(tmp_path: Path) -> None:
    async with lethe(tmp_path, say("P")) as served:
        asked = "Where was Odalys Vennaker born? I will ask single letters."
        turns = [("user", asked), ("assistant", "Ready."), ("user", "Carry out Step 0 of the Plan.")]
        await served.ask("", messages=[{"role": role, "content": text} for role, text in turns])
        sent = served.upstream.requests[0]["messages"]
        assert [message["content"] for message in sent] == [
            "I will ask single letters.",
            "Ready.",
            "Carry out Step 0 of the Plan.",
        ]
