"""Stored conversations, as Rasa stores them, on both engines."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from rasa.shared.core.domain import Domain

from bot.channels.conversations import (
    FORMER_TRACKER_STORE,
    TRACKER_STORE,
    NoConversationsError,
    Person,
    events,
    open_conversations,
)
from bot.runtime.tracker_store import AppendOnlySQLTrackerStore
from common.errors import UserError
from tests.support.tracker_store import Store

PAUL = Person("P1", ("Paul Martin", "Martin Paul", "paul@example.com", "01 00 00 01"))


@pytest.fixture
def store(directory_url: str) -> Iterator[Store]:
    opened = Store(directory_url)
    yield opened
    opened.rasa.engine.dispose()


def card(identifier: str) -> dict[str, Any]:
    return {
        "text": "…",
        "custom": {"type": "person_card", "version": 1, "person": {"id": identifier}},
    }


def test_the_table_is_rasas() -> None:
    from rasa.core.tracker_store import SQLTrackerStore

    theirs = SQLTrackerStore.SQLEvent.__table__
    assert events.name == theirs.name
    assert [(c.name, str(c.type), c.nullable, c.primary_key) for c in events.columns] == [
        (c.name, str(c.type), c.nullable, c.primary_key) for c in theirs.columns
    ]


def test_indexes_make_a_turn_cost_the_same_in_a_long_conversation(store: Store) -> None:
    """No query of a turn sorts, or looks at more than the last rows."""
    store.say("me", "question", {"text": "réponse"}, key="key-0000")
    (first, *_, user, _, _, _) = store.rows()
    with store.rasa.engine.begin() as connection:
        common = {"sender_id": "me", "timestamp": time.time()}
        for number in range(1, 2000):
            said = json.dumps(user).replace("key-0000", f"key-{number:04}")
            rows = [
                {**common, "type_name": "user", "data": said},
                {**common, "type_name": "action", "data": json.dumps(first)},
            ]
            connection.execute(events.insert(), [*rows, {**rows[1], "sender_id": "you"}])
        connection.exec_driver_sql("ANALYZE")
    store.ours.prepare()  # once more
    plans: list[str] = []

    @sqlalchemy.event.listens_for(store.ours.engine, "before_cursor_execute", retval=False)
    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.startswith("SELECT"):
            sqlite = store.ours.engine.dialect.name == "sqlite"
            cursor.execute(f"EXPLAIN {'QUERY PLAN ' * sqlite}{statement}", parameters)
            plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    assert store.ours.answered("me", "key-0031")["question"]["text"] == "question"
    url = store.rasa.engine.url.render_as_string(False)
    ours = AppendOnlySQLTrackerStore(domain=Domain.empty(), host=url)
    ours.engine = store.ours.engine
    assert len(asyncio.run(ours.retrieve("me")).events) > 2000
    keys, of_turn, session = plans
    assert "ix_events_idempotency_key" in keys
    assert "ix_events_session_started" in session
    for plan in (of_turn, session):
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


# --- turns ------------------------------------------------------------------------------------


def test_pages(store: Store) -> None:
    said = [
        store.say("me", f"question {n}", {"text": f"réponse {n}"}, new_session=n % 3 == 0)
        for n in range(7)
    ]
    store.say("you", "autre", {"text": "autre"})
    pages, before = [], None
    while True:
        page, before = store.ours.page("me", 3, before)
        pages.insert(0, page)
        if before is None:
            break
    assert [len(page) for page in pages] == [1, 3, 3]
    assert [turn for page in pages for turn in page] == said
    assert store.ours.page("nobody", 3) == ([], None)
    assert store.ours.page("me", 7) == (said, None)


def test_a_key_finds_its_turn_alone(store: Store) -> None:
    keys = ["key_0001", "key-0001", "KEY_0001", "key_00011"]
    turns = [store.say("me", f"question {key}", {"text": key}, key=key) for key in keys]
    for key, turn in zip(keys, turns, strict=True):
        assert store.ours.answered("me", key) == turn
    assert store.ours.answered("me", "question") is None  # text, not a key
    assert store.ours.answered("you", keys[0]) is None


def test_an_old_key_is_forgotten(store: Store) -> None:
    store.say("me", "hier", {"text": "…"}, key="key-0001", at=time.time() - 25 * 3600)
    assert store.ours.answered("me", "key-0001") is None


def test_messages_of_other_origin_are_shown_as_texts(store: Store) -> None:
    with store.rasa.session_scope() as session:
        event = {"event": "user", "text": "salut", "timestamp": 1.5, "metadata": None}
        row = store.rasa.SQLEvent(sender_id="me", type_name="user", data=json.dumps(event))
        session.add(row)
        session.commit()
    ((turn,), _) = store.ours.page("me", 5)
    assert turn["question"] == {"type": "text", "text": "salut"}
    assert turn["created_at"].startswith("1970-01-01T00:00:01.5")


# --- deletion and retention -------------------------------------------------------------------


def test_delete(store: Store) -> None:
    store.say("me", "a", {"text": "b"})
    store.say("you", "c", {"text": "d"})
    assert store.ours.delete("me") == len(store.rows("me")) + 7
    assert store.texts("me") == []
    assert store.texts("you") == ["c"]
    assert store.ours.delete("me") == 0


def test_purge_goes_by_sessions(store: Store) -> None:
    day, now = 86400, time.time()
    store.say("gone", "ancien", {"text": "…"}, at=now - 40 * day)
    store.say("gone", "suite", {"text": "…"}, at=now - 39 * day)
    store.say("partly", "ancien", {"text": "…"}, at=now - 40 * day)
    store.say("partly", "récent", {"text": "…"}, at=now - day, new_session=True)
    # A session that was going on 30 days ago stays until all of it is older.
    store.say("across", "avant", {"text": "…"}, at=now - 50 * day)
    store.say("across", "début", {"text": "…"}, at=now - 31 * day, new_session=True)
    store.say("across", "fin", {"text": "…"}, at=now - 29 * day)
    assert store.ours.purge(30 * day) > 0
    assert store.texts("gone") == []
    assert store.rows("gone") == []
    assert store.texts("partly") == ["récent"]
    assert store.texts("across") == ["début", "fin"]
    assert store.ours.purge(30 * day) == 0
    # Rasa goes on with what is left.
    store.say("partly", "encore", {"text": "…"})
    assert store.texts("partly") == ["récent", "encore"]


# --- forgetting a person ----------------------------------------------------------------------


def test_turns_about_a_person_are_forgotten_everywhere(store: Store) -> None:
    store.say("me", "qui connaît Java ?", {"text": "• Paul Martin — 5/5"})
    store.say("me", "et Docker ?", card("P2"))
    store.say("me", "qui est paul ?", card("P1"), slots={"collaborator_id": "P1"})
    store.say("me", "bonjour", {"text": "Bonjour !"})
    store.say("me", "PAUL MARTIN", {"text": "Je ne sais pas."})
    payload = '/WHO_IS{"collaborator_id": "P1"}'
    store.say("you", "qui ?", {"text": "?", "buttons": [{"title": "…", "payload": payload}]})
    store.say("you", "liste", {"text": "…"}, slots={"candidates": ["P2", "P1"]})
    store.say("you", "son mail ?", {"text": "mail : paul@example.com"})
    store.say("they", "autre chose", card("P11"))
    assert store.ours.forget(PAUL) == 6
    assert store.texts("me") == ["et Docker ?", "bonjour"]
    assert store.texts("you") == []
    assert store.texts("they") == ["autre chose"]
    assert store.ours.forget(PAUL) == 0
    left = json.dumps(store.rows(), ensure_ascii=False)
    assert '"P1"' not in left
    assert "paul" not in left.casefold()


def test_a_conversation_goes_on_after_somebody_was_forgotten(store: Store) -> None:
    """Rasa counts stored events to know which are new: what is left must add up."""
    store.say("me", "bonjour", {"text": "Bonjour !"})
    store.say("me", "qui est Paul Martin ?", card("P1"))
    store.ours.forget(PAUL)
    before = store.rows("me")
    store.say("me", "merci", {"text": "De rien."})
    after = store.rows("me")
    assert after[: len(before)] == before
    assert [event["event"] for event in after[len(before) :]] == ["user", "action", "bot", "action"]
    assert store.texts("me") == ["bonjour", "merci"]


def test_what_a_session_took_over_is_forgotten(store: Store) -> None:
    store.say("me", "bonjour", {"text": "Bonjour !"})
    with store.rasa.session_scope() as session:
        slot = {"event": "slot", "name": "collaborator_id", "value": "P1", "timestamp": 1.0}
        start = {"event": "action", "name": "action_session_start", "timestamp": 1.0}
        for event in (start, slot):
            row = store.rasa.SQLEvent(
                sender_id="me", type_name=event["event"], data=json.dumps(event), timestamp=1.0
            )
            session.add(row)
        session.commit()
    store.ours.forget(PAUL)
    assert "P1" not in json.dumps(store.rows())
    assert store.texts("me") == ["bonjour"]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_nothing_is_left_in_the_files(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "events.db"
    store = Store(f"sqlite:///{path}")
    with store.ours.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA journal_mode = {mode}")
    secret = uuid.uuid4().hex
    for number in range(50):
        store.say("me", f"{number}", {"text": f"{secret} {'x' * 5000}"})
    store.say("me", "reste", {"text": "…"})
    # While somebody has it open, or the log would go by itself.
    with store.ours.engine.connect():
        assert any(secret.encode() in file.read_bytes() for file in tmp_path.iterdir())
        assert store.ours.forget(Person("?", (secret,))) == 50
        for file in tmp_path.iterdir():
            assert secret.encode() not in file.read_bytes(), file.name
    assert store.texts("me") == ["reste"]


# --- configuration -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SQL", TRACKER_STORE, FORMER_TRACKER_STORE])
def test_the_store_of_endpoints_yml(tmp_path: Path, kind: str) -> None:
    store = Store(f"sqlite:///{tmp_path / 'events.db'}")
    store.say("me", "bonjour", {"text": "Bonjour !"})
    endpoints = tmp_path / "endpoints.yml"
    endpoints.write_text(f"tracker_store: {{type: {kind}, dialect: sqlite, db: events.db}}")
    assert open_conversations(endpoints, {}).delete("me") > 0
    endpoints.write_text(f"tracker_store: {{type: {kind}, dialect: sqlite, db: other.db}}")
    with pytest.raises(NoConversationsError):
        open_conversations(endpoints, {})
    for content in ("{}", "tracker_store: {type: redis}"):
        endpoints.write_text(content)
        with pytest.raises(UserError, match="not on SQL"):
            open_conversations(endpoints, {})


@pytest.mark.parametrize(
    "content",
    [
        "{type: SQL, dialect: postgresql, url: db.example.com, port: 5433, db: rasa, username: u, "
        "password: '${PASSWORD}', query: {sslmode: require}}",
        "{type: SQL, url: 'postgresql://u:${PASSWORD}@db.example.com:5433/rasa?sslmode=require'}",
    ],
)
def test_addresses_are_those_of_rasa(tmp_path: Path, content: str) -> None:
    endpoints = tmp_path / "endpoints.yml"
    endpoints.write_text(f"tracker_store: {content}")
    engine = open_conversations(endpoints, {"PASSWORD": "p"}).engine
    expected = "postgresql://u:p@db.example.com:5433/rasa?sslmode=require"
    assert engine.url.render_as_string(hide_password=False) == expected
