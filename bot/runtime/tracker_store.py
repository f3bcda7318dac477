"""The tracker store: Rasa's on SQL, with less work a turn, however long a conversation is.

Rasa's ``SQL`` store asks the database on the event loop, where every other user waits; before it
saves a turn it counts what is stored; and on SQLite it connects anew each time, and has the disk
confirm each save several times over. This one asks in a thread, remembers how much of a
conversation it has read (nobody else adds to it: the caller holds the conversation's lock), and
inserts the rest. Table and rows are Rasa's, so that either store can follow the other.

Rasa loads, replays and sends to the action server all of a session, and a session of somebody who
keeps asking never ends. Here a session is followed by another after :data:`SESSION_TURNS` turns,
one that begins with the same slots and that no user notices; so a turn costs the same at turn 2,000
as at turn 20. Which session is the last one is told by the order of the rows, not by their time: a
clock may go back.

``endpoints.yml``, with the settings of Rasa's ``SQL``::

    tracker_store:
      type: bot.runtime.tracker_store.AppendOnlySQLTrackerStore
      dialect: sqlite
      db: events.db

SQLite keeps a log ahead of the file (WAL, ``events.db-wal``). A process that is killed loses
nothing; a machine that loses its power may lose the last moments.
"""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from pathlib import Path
from typing import Any

from rasa.core.tracker_store import SQLTrackerStore
from rasa.shared.core.constants import ACTION_LISTEN_NAME, ACTION_SESSION_START_NAME
from rasa.shared.core.events import ActionExecuted, Event, SessionStarted, SlotSet, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.nlu.constants import INTENT_NAME_KEY
from sqlalchemy import bindparam, create_engine, event, func, literal_column, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import QueuePool

from bot.runtime import rasa_server
from common import environment

# As long as Rasa lets a lock be held.
SQLITE_WAIT_SECONDS = 60.0
# After so many turns another session begins; policies that look back further are not known.
SESSION_TURNS = 20
# On a tracker: how many of its events are stored, and the slots then.
_STORED, _SLOTS = "_events_stored", "_slots_stored"

_events = SQLTrackerStore.SQLEvent.__table__
_of_sender = _events.c.sender_id == bindparam("sender_id")
_session_start = (
    select(_events.c.id)
    # No parameter, or the index that bot/channels/conversations.py makes is not seen to fit.
    .where(_of_sender, literal_column(f"type_name = '{SessionStarted.type_name}'"))
    .order_by(_events.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_all_sessions = select(_events.c.data).where(_of_sender).order_by(_events.c.id)
_last_session = _all_sessions.where(_events.c.id >= func.coalesce(_session_start, 0))


class AppendOnlySQLTrackerStore(SQLTrackerStore):
    """See the module; arguments and errors as of Rasa's ``SQLTrackerStore``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        rasa_server.prepare()
        super().__init__(*arguments, **named)
        self.engine: Engine = _better(self.engine)
        self.sessionmaker = sessionmaker(bind=self.engine)

    async def _retrieve(
        self, sender_id: str, fetch_events_from_all_sessions: bool
    ) -> DialogueStateTracker | None:
        query = _all_sessions if fetch_events_from_all_sessions else _last_session

        def read() -> list[str]:
            with self.engine.connect() as connection:
                return list(connection.execute(query, {"sender_id": sender_id}).scalars())

        rows = await asyncio.to_thread(read)
        if not rows:
            return None
        listed = [json.loads(row) for row in rows]
        tracker = DialogueStateTracker.from_dict(sender_id, listed, self.domain.slots)
        _note_stored(tracker)
        return tracker

    async def save(self, tracker: DialogueStateTracker) -> None:
        """Store what is new in ``tracker``, and send it to the event broker, if there is one."""
        if getattr(tracker, _STORED, None) is None and tracker.events:  # it is not one of ours
            await super().save(tracker)
        elif new := _new(tracker):
            if self.event_broker is not None:
                await self._stream_new_events(self.event_broker, new, tracker.sender_id)
            rows = [_row(tracker.sender_id, one) for one in new]
            await asyncio.to_thread(self._insert, rows)
        _note_stored(tracker)

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        with self.engine.begin() as connection:
            connection.execute(_events.insert(), rows)


def _note_stored(tracker: DialogueStateTracker) -> None:
    setattr(tracker, _STORED, len(tracker.events))
    setattr(tracker, _SLOTS, tracker.current_slot_values())


def _new(tracker: DialogueStateTracker) -> list[Event]:
    """Return what is not stored yet: after a long session, with the beginning of another."""
    stored = getattr(tracker, _STORED, 0)
    new = list(islice(tracker.events, stored, None))
    last = tracker.events[stored - 1] if stored else None
    listens = isinstance(last, ActionExecuted) and last.action_name == ACTION_LISTEN_NAME
    if not (new and listens and tracker.active_loop is None and not tracker.is_paused()):
        return new
    turns = sum(isinstance(one, UserUttered) for one in islice(tracker.events, stored))
    if turns < SESSION_TURNS or any(isinstance(one, SessionStarted) for one in new):
        return new
    # Before the new turn: of the last message Rasa must know when it was.
    slots = getattr(tracker, _SLOTS)
    return [
        ActionExecuted(ACTION_SESSION_START_NAME, timestamp=new[0].timestamp),
        SessionStarted(timestamp=new[0].timestamp),
        *(
            SlotSet(name, slots[name], timestamp=new[0].timestamp)
            for name, slot in tracker.slots.items()
            if slots[name] != slot.initial_value
        ),
        ActionExecuted(ACTION_LISTEN_NAME, timestamp=new[0].timestamp),
        *new,
    ]


def _row(sender_id: str, stored: Event) -> dict[str, Any]:
    """Return a row of the table, as Rasa writes it."""
    data = stored.as_dict()
    return {
        "sender_id": sender_id,
        "type_name": stored.type_name,
        "timestamp": data.get("timestamp"),
        "intent_name": data.get("parse_data", {}).get("intent", {}).get(INTENT_NAME_KEY),
        "action_name": data.get("name"),
        "data": json.dumps(data),
    }


def _better(engine: Engine) -> Engine:
    """Return ``engine``, or one on the same database with better settings."""
    if engine.dialect.name != "sqlite":
        # A connection that a restart of the database has cut is replaced before it is used.
        engine.pool._pre_ping = True
        return engine
    if not engine.url.database or engine.url.database == ":memory:":
        return engine
    engine.dispose()
    environment.keep_private(Path(engine.url.database))
    options = {"check_same_thread": False, "timeout": SQLITE_WAIT_SECONDS}
    quick = create_engine(engine.url, poolclass=QueuePool, connect_args=options)

    @event.listens_for(quick, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    return quick


# The name in files of earlier releases.
QuickSqlTrackerStore = AppendOnlySQLTrackerStore
