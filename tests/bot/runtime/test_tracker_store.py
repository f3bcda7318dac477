"""Our tracker store leaves the same behind as Rasa's, and reads the same, on both engines."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from rasa.core.brokers.broker import EventBroker
from rasa.core.tracker_store import FailSafeTrackerStore, SQLTrackerStore, TrackerStore
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActiveLoop,
    BotUttered,
    ConversationPaused,
    Event,
    Restarted,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa.utils.endpoints import EndpointConfig

from bot.runtime.tracker_store import SESSION_TURNS, AppendOnlySQLTrackerStore
from tests.support.postgres import PostgresServer

DOMAIN = Domain.from_dict(
    {
        "intents": ["ask"],
        "slots": {
            name: {"type": "text", "mappings": [{"type": "custom"}]} for name in ("person", "first")
        },
        "actions": ["action_answer"],
    }
)


class Broker(EventBroker):
    """Keeps what is published."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []

    def publish(self, event: dict[str, Any]) -> None:
        self.published.append(event)


def turn(number: int, start: float) -> list[Event]:
    """Return the events of a turn, one second each."""
    intent = {"name": "ask", "confidence": 0.9}
    events = [
        UserUttered(f"Qui est « {number} » ?", intent, [], {"intent": intent, "text": "…"}),
        SlotSet("person", f"Zoé {number}"),
        ActionExecuted("action_answer"),
        BotUttered("Voilà.", {"custom": {"n": number}}),
        ActionExecuted("action_listen"),
    ]
    for second, event in enumerate(events):
        event.timestamp = start + second
    return events


async def converse(store: TrackerStore, sender_id: str, turns: int, restart: int) -> None:
    """Hold a conversation as Rasa's processor does; a new session begins at turn ``restart``."""
    for number in range(turns):
        tracker = await store.get_or_create_tracker(sender_id, append_action_listen=False)
        start = 1000.0 + 100 * number
        if number in (0, restart):
            for event in (ActionExecuted("action_session_start"), SessionStarted()):
                event.timestamp = start - 10 + isinstance(event, SessionStarted)
                tracker.update(event, DOMAIN)
        for event in turn(number, start):
            tracker.update(event, DOMAIN)
        await store.save(tracker)


def rows(store: SQLTrackerStore) -> list[tuple[Any, ...]]:
    with store.engine.connect() as connection:
        found = connection.execute(sqlalchemy.select(store.SQLEvent.__table__)).fetchall()
    return [tuple(row)[1:] for row in sorted(found)]


@pytest.fixture
def store(directory_url: str) -> AppendOnlySQLTrackerStore:
    return AppendOnlySQLTrackerStore(domain=DOMAIN, host=directory_url, event_broker=Broker())


@pytest.fixture
def theirs(tmp_path_factory: pytest.TempPathFactory) -> SQLTrackerStore:
    path = tmp_path_factory.mktemp("theirs") / "events.db"
    return SQLTrackerStore(domain=DOMAIN, db=str(path), event_broker=Broker())


def test_it_stores_and_publishes_what_rasa_does(
    store: AppendOnlySQLTrackerStore, theirs: SQLTrackerStore
) -> None:
    for one in (store, theirs):
        asyncio.run(converse(one, "me", turns=5, restart=3))
        asyncio.run(converse(one, "you", turns=1, restart=0))
    assert rows(store) == rows(theirs)
    assert len(rows(store)) == 6 * 5 + 3 * 2
    assert store.event_broker.published == theirs.event_broker.published
    assert len(store.event_broker.published) == len(rows(store))


def test_it_reads_what_rasa_does(store: AppendOnlySQLTrackerStore) -> None:
    asyncio.run(converse(store, "me", turns=5, restart=3))
    rasa = SQLTrackerStore(domain=DOMAIN, host=store.engine.url.render_as_string(False))
    for read in ("retrieve", "retrieve_full_tracker"):
        ours, other = (asyncio.run(getattr(one, read)("me")) for one in (store, rasa))
        assert [e.as_dict() for e in ours.events] == [e.as_dict() for e in other.events]
        assert ours.current_slot_values() == other.current_slot_values()
        assert ours.get_slot("person") == "Zoé 4"
    assert len(ours.events) == 5 * 5 + 2 * 2
    assert asyncio.run(store.retrieve("nobody")) is None
    # And one store goes on where the other was.
    asyncio.run(converse(rasa, "me", turns=2, restart=-1))
    asyncio.run(converse(store, "me", turns=2, restart=-1))
    assert len(rows(store)) == 9 * 5 + 2 * 2 + 2 * 2


def test_a_conversation_that_has_only_begun_is_not_stored(store: AppendOnlySQLTrackerStore) -> None:
    for one in (store, FailSafeTrackerStore(store)):
        tracker = asyncio.run(one.get_or_create_tracker("me", append_action_listen=False))
        assert not tracker.events
    assert rows(store) == []
    tracker = asyncio.run(store.get_or_create_tracker("me"))
    assert [row[4] for row in rows(store)] == ["action_listen"]


@pytest.mark.parametrize("how", ["read", "read in full", "copied"])
def test_each_event_is_stored_once(store: AppendOnlySQLTrackerStore, how: str) -> None:
    asyncio.run(converse(store, "me", turns=1, restart=0))
    read = store.retrieve_full_tracker if how == "read in full" else store.retrieve
    tracker = asyncio.run(read("me"))
    if how == "copied":
        tracker = tracker.copy()
    for number in (1, 2):
        for event in turn(number, 5000.0 + number * 100):
            tracker.update(event, DOMAIN)
        for _ in range(2):
            asyncio.run(store.save(tracker))
    texts = [json.loads(row[5]).get("text") for row in rows(store) if row[1] == "user"]
    assert texts == [f"Qui est « {number} » ?" for number in range(3)]
    assert len(store.event_broker.published) == len(rows(store)) == 3 * 5 + 2


# --- long conversations -----------------------------------------------------------------------


def test_a_long_conversation_is_loaded_from_its_last_turns(
    store: AppendOnlySQLTrackerStore,
) -> None:
    """With all slots, as in a session that has no end; and what is stored is all of it."""
    loaded = []
    for number in range(4 * SESSION_TURNS):
        tracker = asyncio.run(store.get_or_create_tracker("me", append_action_listen=False))
        loaded.append(len(tracker.events))
        assert tracker.get_slot("person") == (f"Zoé {number - 1}" if number else None)
        assert tracker.get_slot("first") == ("Zoé 0" if number else None)
        if number:  # or Rasa would not see that the user has been away
            assert tracker.get_last_event_for(UserUttered).text == f"Qui est « {number - 1} » ?"
        events = turn(number, 1000.0 + 100 * number)
        if not number:
            events.insert(0, SessionStarted(timestamp=990.0))
            events.insert(2, SlotSet("first", "Zoé 0", timestamp=1000.0))
        for event in events:
            tracker.update(event, DOMAIN)
        asyncio.run(store.save(tracker))
    longest = (SESSION_TURNS + 1) * 5 + 5
    assert max(loaded[SESSION_TURNS:]) <= longest < 2 * max(loaded[:SESSION_TURNS])
    whole = asyncio.run(store.retrieve_full_tracker("me"))
    said = [event.text for event in whole.events if isinstance(event, UserUttered)]
    assert said == [f"Qui est « {number} » ?" for number in range(4 * SESSION_TURNS)]
    assert [one["event"] for one in store.event_broker.published] == [row[1] for row in rows(store)]
    # Rasa's own store goes on there.
    rasa = SQLTrackerStore(domain=DOMAIN, host=store.engine.url.render_as_string(False))
    theirs = asyncio.run(rasa.retrieve("me"))
    assert theirs.current_slot_values() == asyncio.run(store.retrieve("me")).current_slot_values()
    assert len(theirs.events) <= longest


@pytest.mark.parametrize("open_end", ["loop", "no listening", "pause"])
def test_no_session_ends_in_the_middle_of_something(
    store: AppendOnlySQLTrackerStore, open_end: str
) -> None:
    event = {
        "loop": ActiveLoop("action_answer"),
        "no listening": ActionExecuted("action_answer"),
        "pause": ConversationPaused(),
    }[open_end]
    for number in range(SESSION_TURNS + 5):
        tracker = asyncio.run(store.get_or_create_tracker("me", append_action_listen=False))
        for one in turn(number, 1000.0 + 100 * number):
            tracker.update(one, DOMAIN)
        if number >= SESSION_TURNS - 1:
            tracker.update(event, DOMAIN)
        asyncio.run(store.save(tracker))
    assert "session_started" not in [row[1] for row in rows(store)]


def test_a_clock_that_goes_back_hides_no_turn(store: AppendOnlySQLTrackerStore) -> None:
    asyncio.run(converse(store, "me", turns=2, restart=1))
    tracker = asyncio.run(store.retrieve("me"))
    for event in turn(7, -7200.0):
        tracker.update(event, DOMAIN)
    asyncio.run(store.save(tracker))
    assert asyncio.run(store.retrieve("me")).get_slot("person") == "Zoé 7"
    # And a session that begins in the past is the last one all the same.
    tracker = asyncio.run(store.retrieve("me"))
    for event in (SessionStarted(timestamp=-7000.0), *turn(8, -6990.0)):
        tracker.update(event, DOMAIN)
    asyncio.run(store.save(tracker))
    tracker = asyncio.run(store.retrieve("me"))
    assert [type(event) for event in tracker.events].count(UserUttered) == 1
    assert tracker.get_slot("person") == "Zoé 8"


def test_what_is_deleted_during_a_turn_stays_deleted(store: AppendOnlySQLTrackerStore) -> None:
    asyncio.run(converse(store, "me", turns=3, restart=0))
    tracker = asyncio.run(store.retrieve("me"))
    with store.engine.begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM events"))
    tracker.update(Restarted(timestamp=9000.0))
    asyncio.run(store.save(tracker))
    assert [row[1] for row in rows(store)] == ["restart"]


def test_many_at_once(store: AppendOnlySQLTrackerStore) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(converse(store, f"user {n}", 4, 2) for n in range(25)))

    asyncio.run(all_of_them())
    assert len(rows(store)) == 25 * (4 * 5 + 2 * 2)
    for number in range(25):
        tracker = asyncio.run(store.retrieve_full_tracker(f"user {number}"))
        seen = [event.text for event in tracker.events if isinstance(event, UserUttered)]
        assert seen == [f"Qui est « {number} » ?" for number in range(4)]


def test_a_failing_database_is_heard_of(store: AppendOnlySQLTrackerStore) -> None:
    with store.engine.begin() as connection:
        connection.execute(sqlalchemy.text("ALTER TABLE events RENAME TO elsewhere"))
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
        asyncio.run(store.retrieve("me"))
    tracker = store.init_tracker("me")
    tracker.update(SessionStarted())
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
        asyncio.run(store.save(tracker))


def test_sqlite_logs_ahead(tmp_path: Path) -> None:
    store = AppendOnlySQLTrackerStore(domain=DOMAIN, db=str(tmp_path / "events.db"))
    asyncio.run(converse(store, "me", turns=1, restart=0))
    with store.engine.connect() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert settings == ["wal", 1, 60_000]
    # And what is in it is for the bot alone.
    assert modes == dict.fromkeys(["events.db", "events.db-wal", "events.db-shm"], 0o600)


def test_connections_that_a_restart_cut_are_replaced(
    own_postgresql_server: PostgresServer,
) -> None:
    url = own_postgresql_server.create_database()
    store = AppendOnlySQLTrackerStore(domain=DOMAIN, host=url)
    asyncio.run(converse(store, "me", turns=2, restart=0))
    own_postgresql_server.stop()
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
        asyncio.run(store.retrieve("me"))
    own_postgresql_server.start()
    asyncio.run(converse(store, "me", turns=1, restart=0))
    assert len(rows(store)) == 3 * 5 + 2 * 2


def test_endpoints_name_it(directory_url: str) -> None:
    endpoint = EndpointConfig(
        url=directory_url, type="bot.runtime.tracker_store.AppendOnlySQLTrackerStore"
    )
    assert type(TrackerStore.create(endpoint, DOMAIN)) is AppendOnlySQLTrackerStore
