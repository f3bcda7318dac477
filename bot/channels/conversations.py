"""Stored conversations: history, deletion, retention, and forgetting a person.

They are the events in Rasa's SQL tracker store (SQLite or PostgreSQL), table ``events``: one row an
event, ``data`` its JSON. Every method blocks; :exc:`sqlalchemy.exc.SQLAlchemyError` says that the
database is in trouble.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    literal_column,
    select,
)
from sqlalchemy.engine import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from bot.channels.turns import OWN_METADATA, Event, Turn, stored_turn
from bot.configuration import read_yaml
from common.errors import UserError
from common.text import fold

# The type of the tracker store in endpoints.yml; Rasa's own, ``SQL``, would do as well.
TRACKER_STORE = "bot.runtime.tracker_store.AppendOnlySQLTrackerStore"
# In files of earlier releases.
FORMER_TRACKER_STORE = "bot.tracker_store.QuickSqlTrackerStore"

# For how long a message sent again is known, in seconds.
IDEMPOTENCY_SECONDS = 24 * 3600

SCANNED_AT_ONCE = 1000

# As rasa.core.tracker_store.SQLTrackerStore.SQLEvent defines it, so that the command line need not
# import Rasa; a test compares both.
events = Table(
    "events",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("sender_id", String(255), nullable=False, index=True),
    Column("type_name", String(255), nullable=False),
    Column("timestamp", Float),
    Column("intent_name", String(255)),
    Column("action_name", String(255)),
    Column("data", Text),
)
# Out of a message of the user: its key, by which a message that comes again is found (JSON escapes
# the quotes in what a user writes).
_KEYS = {
    "sqlite": "json_extract(data, '$.metadata.mobile.idempotency_key')",
    "postgresql": """substring(data from '"idempotency_key": "([^"]*)"')""",
}
_OF_USER = "type_name = 'user'"
# Rasa's own index has the sender alone, and reads all that somebody ever said at each message.
_INDEXES = {
    "ix_events_sender_id_timestamp": "(sender_id, timestamp)",
    "ix_events_sender_id_id": "(sender_id, id)",
    "ix_events_session_started": "(sender_id, id) WHERE type_name = 'session_started'",
    "ix_events_idempotency_key": f"(sender_id, ({{key}})) WHERE {_OF_USER}",
}

_Row = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Person:
    """Somebody who is to be forgotten. ``texts`` are what identifies them in a text."""

    id: str
    texts: tuple[str, ...]


class NoConversationsError(UserError):
    """The file of the tracker store is not there (yet)."""


def open_conversations(endpoints: Path, environ: Mapping[str, str]) -> Conversations:
    """Return the conversations of the bot with that ``endpoints.yml``.

    Args:
        environ: what the variables in the file stand for.

    Raises:
        NoConversationsError: the bot has not run yet.
        UserError: its tracker store is not SQL, or the file cannot be read.
    """
    url = conversations_url(endpoints, environ)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise NoConversationsError(f"There are no conversations: {url.database} does not exist.")
    return Conversations(create_engine(url))


def conversations_url(endpoints: Path, environ: Mapping[str, str]) -> URL:
    """Return the address of their database; arguments and errors as of
    :func:`open_conversations`."""
    store = read_yaml(endpoints, environ).get("tracker_store") or {}
    if str(store.get("type")) not in ("SQL", "sql", TRACKER_STORE, FORMER_TRACKER_STORE):
        raise UserError(f"{endpoints}: the tracker store is not on SQL (type: {TRACKER_STORE}).")
    address, database = str(store.get("url") or ""), store.get("db", "rasa.db")
    try:
        if "://" in address:  # Rasa takes a whole URL there as well
            url = make_url(address)
        else:
            url = URL.create(
                store.get("dialect", "sqlite"),
                store.get("username"),
                store.get("password"),
                address or None,
                int(store["port"]) if store.get("port") else None,
                database,
                store.get("query") or {},
            )
    except (ArgumentError, ValueError):
        raise UserError(f"{endpoints}: the tracker store has no usable address.") from None
    if url.get_backend_name() == "sqlite" and url.database:
        # `bot run` starts Rasa in the folder of the file.
        url = url.set(database=str(endpoints.resolve().parent / url.database))
    return url


class Conversations:
    """The conversations in the tracker store behind ``engine``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # What people say would otherwise be in the message of a database error.
        engine.hide_parameters = True

    def prepare(self) -> None:
        """Create the indexes that a turn needs to cost the same in a long conversation."""
        for name, columns in _INDEXES.items():
            statement = f"CREATE INDEX IF NOT EXISTS {name} ON events {columns}"
            # Another process may create it at this moment.
            with suppress(SQLAlchemyError), self.engine.begin() as connection:
                connection.exec_driver_sql(statement.format(key=self._key))

    @property
    def _key(self) -> str:
        return _KEYS[self.engine.dialect.name]

    @property
    def folder(self) -> Path | None:
        """Where SQLite's file is, None on a database server."""
        name = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        return Path(name).absolute().parent if name and name != ":memory:" else None

    def ping(self) -> None:
        """Ask the database for a sign of life."""
        with self.engine.connect() as connection:
            connection.execute(select(events.c.id).limit(1)).first()

    # -- turns --------------------------------------------------------------------------------

    def answered(self, conversation_id: str, key: str) -> Turn | None:
        """Return the turn whose message came with that idempotency key lately."""
        row, since = events.c, time.time() - IDEMPOTENCY_SECONDS
        query = (
            select(row.id, row.timestamp)
            .where(
                row.sender_id == conversation_id,
                literal_column(_OF_USER),  # no parameters, or the index is not seen to fit
                literal_column(self._key) == key,
            )
            .order_by(row.id)
        )
        with self.engine.connect() as connection:
            for identifier, timestamp in connection.execute(query):
                if timestamp > since:
                    rows = self._rows(connection, conversation_id, identifier)
                    return stored_turn(event for _, event in next(split_turns(rows)))
        return None

    def page(
        self, conversation_id: str, limit: int, before: int | None = None
    ) -> tuple[list[Turn], int | None]:
        """Return the last ``limit`` turns (before ``before``), oldest first.

        And what to give as ``before`` for the page before, None where there is none.
        """
        row = events.c
        begins = (
            select(row.id)
            .where(row.sender_id == conversation_id, row.type_name == "user")
            .order_by(row.id.desc())
            .limit(limit + 1)
        )
        if before is not None:
            begins = begins.where(row.id < before)
        with self.engine.connect() as connection:
            first = list(connection.execute(begins).scalars())
            if not first:
                return [], None
            start = first[:limit][-1]
            rows = self._rows(connection, conversation_id, start, before)
        turns = [stored_turn(event for _, event in turn) for turn in split_turns(rows)]
        return turns, start if len(first) > limit else None

    def judge(self, conversation_id: str, turn_id: str, verdict: str | None) -> bool:
        """Note beside a turn's message what its user says of the answer; None takes it back.

        Returns whether there is such a turn.
        """
        row = events.c
        query = select(row.id, row.data).where(
            row.sender_id == conversation_id,
            row.type_name == "user",
            row.data.contains(turn_id, autoescape=True),
        )
        with self.engine.begin() as connection:
            for identifier, data in connection.execute(query.order_by(row.id.desc())).all():
                event = json.loads(data)
                if event.get("message_id") == turn_id:
                    own = event.setdefault("metadata", {}).setdefault(OWN_METADATA, {})
                    own["verdict"] = verdict
                    changed = events.update().where(row.id == identifier)
                    connection.execute(changed.values(data=json.dumps(event)))
                    return True
        return False

    @staticmethod
    def _rows(
        connection: Connection, conversation_id: str, start: int, before: int | None = None
    ) -> list[_Row]:
        row = events.c
        query = select(row.id, row.data).where(row.sender_id == conversation_id, row.id >= start)
        if before is not None:
            query = query.where(row.id < before)
        found = connection.execute(query.order_by(row.id))
        return [(identifier, json.loads(data)) for identifier, data in found]

    def turns(self, seconds: float | None = None) -> Iterator[list[Event]]:
        """Give the events of each turn of everybody, the user's message first; not whose they are.

        Args:
            seconds: only what was said in the last ``seconds``; None for all that there is.
        """
        row, since = events.c, 0.0 if seconds is None else time.time() - seconds
        with self.engine.connect() as connection:
            of_whom = select(row.sender_id).where(row.timestamp >= since).distinct()
            senders = connection.execute(of_whom.order_by(row.sender_id)).scalars().all()
        for sender_id in senders:
            # A connection each: a long query would keep writers waiting on SQLite.
            with self.engine.connect() as connection:
                rows = self._rows(connection, sender_id, start=0)
            for turn in split_turns(rows):
                if (turn[0][1].get("timestamp") or since) >= since:
                    yield [event for _, event in turn]

    # -- deletion -----------------------------------------------------------------------------

    def delete(self, conversation_id: str) -> int:
        """Delete a conversation; return how many events it had."""
        with self._deletion() as connection:
            query = delete(events).where(events.c.sender_id == conversation_id)
            return int(connection.execute(query).rowcount)

    def purge(self, seconds: float) -> int:
        """Delete the sessions that ended more than ``seconds`` ago; return how many events.

        A session that was going on at that time stays whole until all of it is old enough.
        """
        row, limit, deleted = events.c, time.time() - seconds, 0
        with self.engine.connect() as connection:
            old = select(row.sender_id).group_by(row.sender_id)
            senders = (
                connection.execute(old.having(func.min(row.timestamp) < limit)).scalars().all()
            )
        for sender_id in senders:
            with self._deletion() as connection:
                until = self._ended_before(connection, sender_id, limit)
                query = delete(events).where(row.sender_id == sender_id, row.timestamp < until)
                deleted += connection.execute(query).rowcount
        return deleted

    @staticmethod
    def _ended_before(connection: Connection, sender_id: str, limit: float) -> float:
        """Return the time at which the session that was going on at ``limit`` had begun.

        ``limit`` itself where none was.
        """
        row = events.c
        own = select(row.type_name, row.action_name).where(row.sender_id == sender_id)
        after = connection.execute(own.where(row.timestamp >= limit).order_by(row.id)).first()
        if after is None or {"session_started", "action_session_start"} & set(after):
            return limit
        begun = select(func.max(row.timestamp)).where(
            row.sender_id == sender_id, row.type_name == "session_started", row.timestamp < limit
        )
        return connection.execute(begun).scalar() or 0.0

    def forget(self, person: Person) -> int:
        """Delete the turns of everybody's conversations in which ``person`` occurs.

        Returns how many. The rest of the conversations stays: turns are cut out whole, so Rasa can
        go on with what is left.
        """
        forgotten = 0
        for conversation_id in self._mentioning(person):
            with self._deletion() as connection:
                rows = self._rows(connection, conversation_id, start=0)
                doomed = []
                for turn in split_turns(rows):
                    if any(mentions(event, person) for _, event in turn):
                        doomed += [identifier for identifier, _ in turn]
                        forgotten += 1
                # What a session took over from the one before it, and summaries of older versions.
                inside = set(doomed)
                doomed += [i for i, e in rows if i not in inside and mentions(e, person)]
                for start in range(0, len(doomed), 500):
                    chunk = doomed[start : start + 500]
                    connection.execute(delete(events).where(events.c.id.in_(chunk)))
        return forgotten

    def _mentioning(self, person: Person) -> list[str]:
        """Return the conversations in which ``person`` may occur."""
        row, found, last = events.c, set[str](), 0
        query = select(row.id, row.sender_id, row.data).order_by(row.id).limit(SCANNED_AT_ONCE)
        while True:
            # A query that reads all at once would keep writers waiting on SQLite.
            with self.engine.connect() as connection:
                rows = connection.execute(query.where(row.id > last)).all()
            if not rows:
                return sorted(found)
            last = rows[-1].id
            for _, sender_id, data in rows:
                if sender_id not in found and mentions(json.loads(data), person):
                    found.add(sender_id)

    @contextmanager
    def _deletion(self) -> Iterator[Connection]:
        """A transaction; on SQLite one that overwrites what it deletes, in its log as well."""
        with self.engine.connect() as connection:
            on_sqlite = connection.dialect.name == "sqlite"
            if on_sqlite:
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            with connection.begin():
                yield connection
            if on_sqlite:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def split_turns(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Give each user's message with what follows it, up to the next one or the session's end."""
    turn: list[_Row] = []
    for identifier, event in rows:
        kind = event.get("event")
        starts_session = kind == "session_started" or (
            kind == "action" and event.get("name") == "action_session_start"
        )
        if (kind == "user" or starts_session) and turn:
            yield turn
            turn = []
        if kind == "user" or (turn and not starts_session):
            turn.append((identifier, event))
    if turn:
        yield turn


def mentions(event: Event, person: Person) -> bool:
    """Return whether ``person`` occurs in ``event``: their id as a value or in a button's payload,
    or one of their texts (whatever case and accents) in a text."""
    payload = f'"{person.id}"'
    texts = tuple(map(fold, person.texts))

    def occurs(text: str) -> bool:
        if text == person.id or payload in text:
            return True
        folded = fold(text)
        return any(part in folded for part in texts)

    return any(map(occurs, _strings(event)))


def _strings(value: Any) -> Iterator[str]:
    """Give every text in ``value``."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
