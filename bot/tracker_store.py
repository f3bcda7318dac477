"""The tracker store: Rasa's on SQL, with less work a turn, and none of it on the event loop.

Rasa's ``SQL`` store asks the database on the event loop, where every other user waits; before it
saves a turn it counts what is stored; and on SQLite it connects anew each time, and has the disk
confirm each save several times over. This one asks in a thread, remembers how much of a
conversation it has read (nobody else adds to it: the caller holds the conversation's lock), and
inserts the rest. Table and rows are Rasa's, so that either store can follow the other.

``endpoints.yml``, with the settings of Rasa's ``SQL``::

    tracker_store:
      type: bot.tracker_store.QuickSqlTrackerStore
      dialect: sqlite
      db: events.db

SQLite keeps a log ahead of the file (WAL, ``events.db-wal``). A process that is killed loses
nothing; a machine that loses its power may lose the last moments.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

from rasa.core.tracker_store import SQLTrackerStore
from rasa.shared.core.events import Event, SessionStarted
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.nlu.constants import INTENT_NAME_KEY
from sqlalchemy import bindparam, create_engine, event, func, or_, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import QueuePool

from bot import rasa_server

# As long as Rasa lets a lock be held.
SQLITE_WAIT_SECONDS = 60.0
# On a tracker: how many of its events are stored.
_STORED = "_events_stored"

_events = SQLTrackerStore.SQLEvent.__table__
_of_sender = _events.c.sender_id == bindparam("sender_id")
_session_start = (
    select(func.max(_events.c.timestamp))
    .where(_of_sender, _events.c.type_name == SessionStarted.type_name)
    .scalar_subquery()
)
_all_sessions = select(_events.c.data).where(_of_sender).order_by(_events.c.id)
_last_session = _all_sessions.where(
    or_(_events.c.timestamp >= _session_start, _session_start.is_(None))
)


class QuickSqlTrackerStore(SQLTrackerStore):
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
        setattr(tracker, _STORED, len(tracker.events))
        return tracker

    async def save(self, tracker: DialogueStateTracker) -> None:
        """Store what is new in ``tracker``, and send it to the event broker, if there is one."""
        stored = getattr(tracker, _STORED, None if tracker.events else 0)
        if stored is None:  # it is not one of ours
            await super().save(tracker)
        elif stored < len(tracker.events):
            await self.stream_events(tracker)
            rows = [_row(tracker.sender_id, one) for one in _new(tracker, stored)]
            await asyncio.to_thread(self._insert, rows)
        setattr(tracker, _STORED, len(tracker.events))

    async def stream_events(self, tracker: DialogueStateTracker) -> None:
        """Send what is new in ``tracker`` to the event broker, if there is one."""
        stored = getattr(tracker, _STORED, None)
        if self.event_broker is None or stored is None:
            await super().stream_events(tracker)
        else:
            new = list(_new(tracker, stored))
            await self._stream_new_events(self.event_broker, new, tracker.sender_id)

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        with self.engine.begin() as connection:
            connection.execute(_events.insert(), rows)


def _new(tracker: DialogueStateTracker, stored: int) -> Iterable[Event]:
    return islice(tracker.events, stored, None)


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
    options = {"check_same_thread": False, "timeout": SQLITE_WAIT_SECONDS}
    quick = create_engine(engine.url, poolclass=QueuePool, connect_args=options)

    @event.listens_for(quick, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    return quick
