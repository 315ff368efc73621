"""What may be in the audit: closed forms and keyed hashes, never text; and who may read its files."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateTable

from guards.base import Arms, Passage, Plan, Ruling, Stance
from policies.policy import Policy, Target
from server import records
from server.audit import Audit, AuditError, count_rulings, store, verify
from server.audit.records import NO_HASH, chained
from server.exchange import Ending, Exchange, Question
from tests.audit_trail import ended, opened, start


def test_a_second_start_uses_the_same_keys_and_they_are_private(tmp_path: Path) -> None:
    state = tmp_path / "state"
    start(tmp_path).close()
    keys = {path.name: path.read_bytes() for path in state.glob("audit-*.*") if path.suffix != ".jsonl"}
    first = start(tmp_path)
    first.close()
    assert keys == {name: (state / name).read_bytes() for name in keys}
    for name in ("audit-sign.pem", "audit-heads.jsonl"):
        assert (state / name).stat().st_mode & 0o077 == 0
    assert (tmp_path / "audit.db").stat().st_mode & 0o077 == 0
    assert keys["audit-sign.pub"].startswith(b"-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize("name", ["audit-sign.pem", "audit-sign.pub"])
def test_a_spoiled_key_stops_the_start(tmp_path: Path, name: str) -> None:
    start(tmp_path).close()
    (tmp_path / "state" / name).write_bytes(b"spoiled")
    with pytest.raises(AuditError, match=name):
        start(tmp_path)


def test_a_database_in_memory_is_refused(tmp_path: Path) -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(ValueError, match="memory"):
            Audit.open(url, tmp_path / "state")


def test_a_database_may_be_named_by_url_and_lie_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1?" / "audit log.db"
    Audit.open(f"sqlite:///{str(path).replace('?', '%3F')}", tmp_path / "state").close()
    Audit.open(path, tmp_path / "state").close()
    assert verify(path, tmp_path / "state").chains == 2


TEXT = "Odalys Vennaker was born in Port Meridane"


@pytest.mark.parametrize(
    "field", ["exchange_id", "key_id", "policy_digest", "model", "stance", "plan", "targets", "prompt_chars"]
)
def test_no_field_of_an_opening_takes_text(field: str) -> None:
    spoiled: Any = {field: (TEXT,) if field == "targets" else TEXT}
    with pytest.raises(ValueError, match="audit field") as refusal:
        replace(opened(0), **spoiled)
    assert "Odalys" not in str(refusal.value)


@pytest.mark.parametrize(
    "field", ["exchange_id", "ending", "reason", "released", "rulings", "released_chars", "prompt_tokens"]
)
def test_no_field_of_an_ending_takes_text(field: str) -> None:
    spoiled: Any = {field: {f"mark/{TEXT}": 1} if field == "rulings" else TEXT}
    with pytest.raises(ValueError, match="audit field") as refusal:
        replace(ended(0), **spoiled)
    assert "Odalys" not in str(refusal.value)


def test_rulings_are_counted_by_action_and_scan() -> None:
    rulings = [Ruling("mark", 3, "literal", 0, "content")] * 2 + [Ruling("answer", -1, "fact", 0, "content")]
    assert count_rulings(rulings) == {"mark/literal": 2, "answer/fact": 1}
    assert replace(ended(0), rulings=count_rulings(rulings)).rulings == {"mark/literal": 2, "answer/fact": 1}


async def test_no_text_of_an_exchange_is_in_any_file_of_the_audit(tmp_path: Path) -> None:
    """A whole exchange is recorded as the gateway does it, and none of its texts is found on the disk."""
    texts = ["Odalys Vennaker", "Port Meridane", "odalys", "tinydemo", "I do not know"]
    target = Target("odalys", "entity", "unknown", "forget", "name", names=("Odalys Vennaker",))
    asked = Passage("messages[0].content", "user", "Was Odalys Vennaker born in Port Meridane?", current=True)
    question = Question(
        model="tinydemo",
        passages=(asked,),
        upstream={"temperature": 0},
        streaming=False,
        choices=1,
        stop=(),
        max_tokens=None,
        limit_field="max_tokens",
        structured=False,
        include_usage=False,
    )
    exchange = Exchange(question, "a" * 64, "anyone", arms=Arms(Stance.ARMED, armed=frozenset({0})))
    exchange.plan, exchange.ending = Plan(steer="Odalys Vennaker is confidential."), Ending.ANSWERED
    exchange.rulings = [Ruling("answer", 0, "literal", 0, "content")]
    released = hmac.new(b"key", b"I do not know", hashlib.sha256).hexdigest()

    audit = start(tmp_path)
    await audit.opened(records.opened(exchange, Policy("authors", "a" * 64, (target,)), b"key"))
    await audit.ended(records.ended(exchange, released, 0.5))
    running = everything(tmp_path)
    audit.close()
    for content in (running, everything(tmp_path)):
        assert released.encode() in content
        assert not [text for text in texts if text.lower().encode() in content.lower()]


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_hash_depends_on_the_chain_the_counter_the_hash_before_and_the_record() -> None:
    inputs = [
        ("ab", 1, NO_HASH, b"{}"),
        ("ac", 1, NO_HASH, b"{}"),
        ("ab", 2, NO_HASH, b"{}"),
        ("ab", 1, b"1" * 32, b"{}"),
        ("ab", 1, NO_HASH, b"[]"),
        ("a", 1, NO_HASH, b"{}"),
    ]
    assert len({chained(*one) for one in inputs}) == len(inputs)


def test_a_transaction_has_the_write_lock_from_its_beginning(tmp_path: Path) -> None:
    url = store.locate(tmp_path / "audit.db")
    store.create(url, 1)
    engine = store.writing(url, 1)
    other = sqlite3.connect(tmp_path / "audit.db", timeout=0, isolation_level=None)
    with closing(other), engine.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    engine.dispose()


def test_a_writer_never_makes_a_database_that_is_not_there(tmp_path: Path) -> None:
    engine = store.writing(store.locate(tmp_path / "audit.db"), 1)
    with pytest.raises(OperationalError):
        engine.connect()
    assert list(tmp_path.iterdir()) == []


def test_the_tables_are_plain_sql_on_postgresql_too() -> None:
    for table in (store.records, store.checkpoints):
        text = str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        assert "ROWID" not in text and "BIGSERIAL" not in text
