"""The connection to the directory's database: opening, migrating, timeouts, errors in plain words.

SQLite (a file, write-ahead log) and PostgreSQL are supported. Nothing is connected until the first
question, so a server that is down at start costs an answer, not the process; every later question
tries again.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from actions.directory.model import DirectoryError
from actions.directory.tables import metadata
from common.environment import keep_private

logger = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "DIRECTORY_URL"
PROJECT_ROOT = Path(__file__).resolve().parents[2]
DEFAULT_PATH = PROJECT_ROOT / "data" / "directory.db"

# Seconds. A question waits at most about CONNECT + STATEMENT for a database in trouble.
CONNECT_TIMEOUT = 2
STATEMENT_TIMEOUT = 2.0
POOL_TIMEOUT = 2.0
# How long an import, or the first opening, waits for another one to finish.
WRITE_LOCK_TIMEOUT = 10.0

_MIGRATIONS = Path(__file__).resolve().parent / "migrations"
VERSION_TABLE = "directory_version"
# Key of the PostgreSQL advisory lock under which one process migrates or imports ("bot directory").
_ADVISORY_LOCK = 0x0B07D1EC


def directory_url(url: str | None = None) -> URL:
    """Parse ``url``, else ``$DIRECTORY_URL``, else the SQLite file in ``data/``.

    Raises:
        DirectoryError: not a URL of SQLite or PostgreSQL. The message does not repeat the URL,
            which may hold a password.
    """
    origin = "the directory URL" if url else ENVIRONMENT_VARIABLE
    raw = (url or os.environ.get(ENVIRONMENT_VARIABLE) or "").strip()
    if not raw:
        return URL.create("sqlite", database=str(DEFAULT_PATH))
    help_text = (
        "Use sqlite:///path/to/directory.db or postgresql://user:password@host:5432/database "
        "(percent-encode special characters of the password, @ is %40)."
    )
    try:
        parsed = make_url(raw)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise DirectoryError(f"{origin} is not a database URL. {help_text}") from None
    if backend == "postgres":  # the older spelling, still handed out by hosting platforms
        backend = "postgresql"
    if backend == "sqlite" and parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        if parsed.database in {None, "", ":memory:"} or parsed.host:
            raise DirectoryError(f"{origin} names no SQLite file. {help_text}")
        return parsed
    if backend == "postgresql" and parsed.drivername.partition("+")[2] in {"", "psycopg2"}:
        # A password with a bare @ or / is cut in the wrong place; its rest must not be shown.
        if "@" in (parsed.host or "") or "@" in (parsed.database or ""):
            raise DirectoryError(f"{origin} has a misplaced @. {help_text}")
        return parsed.set(drivername="postgresql+psycopg2")
    raise DirectoryError(f"{origin} is not of a supported database. {help_text}")


def _secrets(url: URL) -> list[str]:
    found = [url.password, *(url.query.get(key) for key in ("password", "sslpassword"))]
    # A shorter one would only garble the message; the drivers repeat none.
    return [str(item) for item in found if item and len(str(item)) > 3]


def safe_url(url: URL) -> str:
    """``url`` as it may be shown: without password and options."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    host = url.host or url.query.get("host") or "local socket"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host}{port}/{url.database or ''}"


class Database:
    """A pool of connections to one directory; opened and migrated on first use. Thread-safe."""

    def __init__(self, url: str | None = None) -> None:
        self.url = directory_url(url)
        self.name = safe_url(self.url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._path = Path(str(self.url.database)) if self.is_sqlite else None
        self._engine = self._create_engine()
        self._opened = False
        self._file_id: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._failure: tuple[float, DirectoryError] | None = None

    # -- engine ---------------------------------------------------------------------------------

    def _create_engine(self) -> Engine:
        options: dict[str, Any] = {
            "future": True,
            "hide_parameters": True,  # personal data stays out of error messages
            "poolclass": QueuePool,
            "pool_timeout": POOL_TIMEOUT,
            "pool_size": 5,
            "max_overflow": 10,
        }
        if self.is_sqlite:
            engine = create_engine(
                self.url,
                connect_args={"check_same_thread": False, "timeout": STATEMENT_TIMEOUT},
                **options,
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        milliseconds = int(STATEMENT_TIMEOUT * 1000)
        engine = create_engine(
            self.url,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT,
                # A server that vanished without closing (cable, firewall) is noticed as fast.
                "tcp_user_timeout": milliseconds // 2,
                "keepalives_idle": 30,
                "application_name": "skills-bot",
            },
            executemany_mode="values_plus_batch",
            executemany_values_page_size=1000,
            **options,
        )

        def prepare(connection: Any, _: Any) -> None:
            # Not by the start-up packet's `options`: connection poolers refuse that.
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SET statement_timeout = {milliseconds}; SET lock_timeout = {milliseconds}; "
                    "SET client_encoding = 'UTF8'"
                )
            connection.commit()

        event.listen(engine, "connect", prepare)
        return engine

    def close(self) -> None:
        """Close the pooled connections; a later question opens new ones."""
        with self._lock:
            self._engine.dispose()
            self._opened = False

    # -- use --------------------------------------------------------------------------------------

    @contextmanager
    def read(self, *, patient: bool = False) -> Iterator[Connection]:
        """A read-only view that an import finishing meanwhile does not change.

        ``patient`` lifts the time limits, for what goes through the whole directory.

        Raises:
            DirectoryError: the database can't be reached or refuses.
        """
        self.open()
        with self._explained():
            if self.is_sqlite:
                with self._engine.connect() as connection, connection.begin():
                    yield connection
                return
            connection, watchdog = self._begin_read()
            if patient:
                watchdog.cancel()
                connection.execute(text("SET LOCAL statement_timeout = 0"))
            try:
                with connection.get_transaction():
                    yield connection
            finally:
                watchdog.cancel()
                connection.close()

    def _begin_read(self) -> tuple[Connection, threading.Timer]:
        """A PostgreSQL connection in a read-only transaction, and the timer that cuts it off.

        A pooled connection that died with its server is replaced. The server's statement timeout
        does not help where the server itself hangs, hence the timer.
        """
        for last_try in (False, True):
            connection = self._engine.connect().execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            watchdog = threading.Timer(STATEMENT_TIMEOUT, _cut_off, [connection.connection])
            watchdog.daemon = True
            watchdog.start()
            try:
                connection.begin()
                connection.exec_driver_sql("SELECT 1")
                return connection, watchdog
            except DBAPIError as error:
                hung = not watchdog.is_alive()
                watchdog.cancel()
                connection.close()
                if last_try or hung or not error.connection_invalidated:
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone: a second writer waits for ``WRITE_LOCK_TIMEOUT`` seconds.

        Raises:
            DirectoryError: as for :meth:`read`, or another import does not finish.
        """
        self.open()
        with self._explained(), self._write() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            if self.is_sqlite:
                milliseconds = int(WRITE_LOCK_TIMEOUT * 1000)
                raw = connection.connection
                raw.execute(f"PRAGMA busy_timeout = {milliseconds}")
                try:
                    connection = connection.execution_options(directory_write=True)
                    with connection.begin():
                        yield connection
                finally:
                    raw.execute(f"PRAGMA busy_timeout = {int(STATEMENT_TIMEOUT * 1000)}")
                return
            with connection.begin():
                milliseconds = int(WRITE_LOCK_TIMEOUT * 1000)
                connection.execute(text(f"SET LOCAL statement_timeout = {milliseconds}"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text(f"SET LOCAL lock_timeout = {milliseconds}"))
                yield connection

    def after_import(self) -> None:
        """Housekeeping after many changes: the planner's statistics, the write-ahead log's size."""
        with self._explained(), self._engine.connect() as connection:
            if self.is_sqlite:
                # Left for later, without waiting, where somebody is reading.
                raw = connection.connection
                raw.execute("PRAGMA busy_timeout = 0")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                raw.execute(f"PRAGMA busy_timeout = {int(STATEMENT_TIMEOUT * 1000)}")
            else:
                with connection.begin():
                    connection.execute(text("SET LOCAL statement_timeout = 0"))
                    for table in metadata.sorted_tables:
                        connection.execute(text(f"ANALYZE {table.name}"))

    def after_removal(self) -> None:
        """Overwrite what was deleted, which both engines leave in their files for later use."""
        with self._explained(), self._engine.connect() as connection:
            if self.is_sqlite:
                connection.connection.execute("VACUUM")
                connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return
            raw = connection.connection.connection
            raw.autocommit = True
            try:
                with raw.cursor() as cursor:
                    cursor.execute("SET statement_timeout = 0")
                    for table in metadata.sorted_tables:
                        cursor.execute(f"VACUUM {table.name}")
            finally:
                connection.invalidate()  # it has settings of its own now

    # -- opening ------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect and run the pending migrations, unless done already.

        Two processes may do so at once: one migrates, the other waits.

        Raises:
            DirectoryError: see :meth:`read`; also a directory that a newer bot has migrated.
        """
        if self._opened and not self._file_changed():
            return
        arrived = time.monotonic()
        with self._lock:
            if self._opened and not self._file_changed():
                return
            # Threads that waited behind a failed attempt share its outcome instead of queueing.
            if self._failure and self._failure[0] >= arrived:
                raise DirectoryError(str(self._failure[1]))
            try:
                self._engine.dispose()
                if self._opened and self._current_file_id() is None:
                    raise DirectoryError(
                        f"The directory {self.name} was removed while in use: bring the file back, "
                        "or import it again (bot directory import)."
                    )
                with self._explained():
                    self._migrate()
                self._file_id = self._current_file_id()
                self._opened, self._failure = True, None
            except DirectoryError as error:
                self._failure = time.monotonic(), error
                raise

    def _current_file_id(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _file_changed(self) -> bool:
        """Whether the SQLite file was removed or replaced; an open handle would not notice."""
        return self._path is not None and self._current_file_id() != self._file_id

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory
        from alembic.util.exc import CommandError

        if self._path is not None:
            if not self._path.parent.is_dir():
                if self._path != DEFAULT_PATH:
                    raise DirectoryError(
                        f"There is no folder {self._path.parent} for the directory "
                        f"{self._path.name}: create it or correct {ENVIRONMENT_VARIABLE}."
                    )
                try:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise DirectoryError(f"Can't create {self._path.parent}: {error}") from None
            keep_private(self._path)
            self._use_write_ahead_log()

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        script = ScriptDirectory.from_config(config)
        head = script.get_current_head()
        options = {"version_table": VERSION_TABLE}
        with self._engine.connect() as connection:
            context = MigrationContext.configure(connection, opts=options)
            # No lock and no right to write are needed where everything is up to date.
            if context.get_current_revision() == head:
                return
        try:
            with self._write() as connection:
                config.attributes.update(connection=connection, version_table=VERSION_TABLE)
                command.upgrade(config, "head")
        except CommandError:
            raise DirectoryError(
                f"The directory {self.name} was made by a newer version of the bot: update the "
                "bot, or point it to another directory."
            ) from None
        logger.info("The directory %s is ready (schema %s)", self.name, head)

    def _use_write_ahead_log(self) -> None:
        # Switching the journal ignores the busy timeout while another process does the same.
        deadline = time.monotonic() + STATEMENT_TIMEOUT
        while True:
            try:
                with self._engine.connect() as connection:
                    connection.connection.execute("PRAGMA journal_mode = WAL")
                return
            except Exception as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    # -- errors -----------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import sqlite3

        import psycopg2

        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, psycopg2.Error) as error:
            raise DirectoryError(self._explain(error)) from error

    def _explain(self, error: Exception) -> str:
        original = getattr(error, "orig", None) or error
        detail = " ".join(str(original).split())
        code = getattr(original, "pgcode", None) or ""
        low = detail.lower()
        known = _SQLITE_ADVICE if self.is_sqlite else _POSTGRESQL_ADVICE
        advice = next(
            (advice for needles, advice in known if any(n == code or n in low for n in needles)),
            "answers with an error; see the details",
        )
        for secret in _secrets(self.url):
            detail = detail.replace(secret, "***")
        return f"The directory {self.name} {advice}. ({detail[:300]})"


_SQLITE_ADVICE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("locked",), "is in use by another process: wait until its import has finished, then retry"),
    (("unable to open",), "can't be opened: check that the path exists and may be written to"),
    (
        ("not a database", "malformed", "file is encrypted"),
        "is damaged or not an SQLite file: restore a copy, or move it away and import again",
    ),
    (("readonly", "permission"), "may not be written to: correct the rights of file and folder"),
    (("full",), "can't grow: free some disk space"),
)
_POSTGRESQL_ADVICE: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("password authentication failed", "no password supplied", "no pg_hba.conf entry"),
        f"refuses the login: correct user and password in {ENVIRONMENT_VARIABLE}",
    ),
    (
        ("could not translate host name", "name or service not known"),
        f"is on an unknown host: correct {ENVIRONMENT_VARIABLE}",
    ),
    (
        ("57014", "55P03", "timeout expired", "pool limit", "timed out"),
        "does not answer in time: check the server's load, or wait until an import has finished",
    ),
    (("42501", "permission denied"), "refuses: grant the user rights on its database and schema"),
    (("25006",), "is read-only: connect to the primary server to import or migrate"),
    (("53100",), "can't grow: free disk space on the server"),
    (
        ("does not exist",),
        f"lacks the database or role named: create it or correct {ENVIRONMENT_VARIABLE}",
    ),
    (
        ("refused", "no such file", "closed the connection", "terminat", "shutting", "starting",
         "could not connect", "connection to server", "connection already closed", "recovery"),
        f"can't be reached: start the server, or correct {ENVIRONMENT_VARIABLE}",
    ),
)  # fmt: skip


def _cut_off(connection: Any) -> None:
    """Shut the socket of a hanging connection; the thread that waits on it gets an error."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as handle:
            handle.shutdown(socket.SHUT_RDWR)
    except Exception:
        logger.debug("The connection was closed already", exc_info=True)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver
    for pragma in ("synchronous = NORMAL", "cache_size = -32768", "mmap_size = 1073741824"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: waiting for it later could end in a deadlock.
    write = connection.get_execution_options().get("directory_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
