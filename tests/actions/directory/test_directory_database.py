"""Opening the directory, and what happens when its database is in trouble."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from actions.directory import Directory, DirectoryError, ensure_sample, tables
from actions.directory.database import CONNECT_TIMEOUT, DEFAULT_PATH, VERSION_TABLE, directory_url
from tests.support import ROOT
from tests.support.postgres import PostgresServer

SAMPLE = (
    "id,first_name,last_name,agency,job_title,email,phone,skills\n"
    "C1,Paul,Martin,Nantes,Dév,,,Java:5\n"
)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE, encoding="utf-8")
    return path


# --- opening --------------------------------------------------------------------------------------


def test_migrations_make_the_tables_that_the_code_uses(directory: Directory) -> None:
    directory.open()
    with directory.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, tables.metadata) == []
        assert context.get_current_revision() is not None


def test_reopening_keeps_the_people(directory_url: str, sample: Path) -> None:
    for _ in range(2):
        directory = Directory(directory_url)
        directory.import_(sample)
        directory.close()
    directory = Directory(directory_url)
    assert directory.get("C1") is not None
    directory.close()
    assert directory.get("C1") is not None  # a closed directory opens again
    directory.close()


def test_threads_open_one_directory(directory: Directory) -> None:
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: directory.find_people("Paul").total, range(24)))
    assert found == [0] * 24


def test_processes_open_and_fill_at_once(directory_url: str, sample: Path) -> None:
    """One of them migrates, one fills; the others wait and find it done."""
    code = (
        "import sys; from actions.directory import ensure_sample;"
        "print(ensure_sample(sys.argv[1], sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, directory_url, str(sample)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    outcomes = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, outcomes
    assert sorted(out.strip() for out, _ in outcomes) == [b"False"] * 3 + [b"True"]
    directory = Directory(directory_url)
    assert directory.stats().people == 1
    directory.close()


def test_migrations_happen_completely_or_not(directory: Directory) -> None:
    """A table in the way of the last one leaves no half of a schema behind."""
    database = directory.database
    with database._engine.connect() as connection, connection.begin():
        connection.execute(text("CREATE TABLE collaborator_token (x INTEGER)"))
    with pytest.raises(DirectoryError, match="collaborator_token"):
        directory.open()
    with database._engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["collaborator_token"]
        connection.execute(text("DROP TABLE collaborator_token"))
        connection.commit()
    directory.open()
    assert directory.stats().people == 0


def test_directory_of_a_newer_bot_is_refused(directory: Directory) -> None:
    directory.open()
    with directory.database.write() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    directory.close()
    with pytest.raises(DirectoryError, match="newer version of the bot"):
        directory.open()


# --- the URL --------------------------------------------------------------------------------------


def test_url_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sample: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("DIRECTORY_URL", url)
    assert ensure_sample(None, sample) is True
    assert (tmp_path / "elsewhere.db").is_file()
    assert Directory().get("C1") is not None
    monkeypatch.delenv("DIRECTORY_URL")
    assert directory_url().database == str(DEFAULT_PATH)
    monkeypatch.setenv("DIRECTORY_URL", "")
    assert directory_url().database == str(DEFAULT_PATH)


@pytest.mark.parametrize(
    "url",
    [
        "directory.db",
        "mysql://user:hunter2@host/db",
        "nosuch://user:hunter2@host/db",
        "postgresql://user:hunter2@host:port/db",
        "postgresql://user:hun@ter2@host/db",
        "postgresql+asyncpg://user:hunter2@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://folder/directory.db",
        "://hunter2",
    ],
)
def test_bad_urls_are_refused_without_being_shown(url: str) -> None:
    with pytest.raises(DirectoryError, match="Use sqlite:///path") as caught:
        Directory(url)
    assert "ter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_spellings_of_postgresql(scheme: str) -> None:
    assert directory_url(f"{scheme}://u:p%40ss@host/db").password == "p@ss"


# --- trouble --------------------------------------------------------------------------------------


def fails(question: Callable[[], object], *, within: float = 30) -> DirectoryError:
    """The error that ``question`` ends with. The bound is generous: it tells waiting from hanging,
    which would be minutes."""
    start = time.monotonic()
    with pytest.raises(DirectoryError) as caught:
        question()
    assert time.monotonic() - start < within
    return caught.value


def test_server_that_refuses(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    caplog.set_level(logging.DEBUG)
    directory = Directory(f"postgresql://user:hunter2@127.0.0.1:{port}/people?password=hunter2")
    error = fails(lambda: directory.find_people("Paul"))
    assert "can't be reached: start the server" in str(error)
    assert f"127.0.0.1:{port}/people" in str(error)
    assert "hunter2" not in "".join(traceback.format_exception(error))
    assert "hunter2" not in caplog.text


def test_unknown_host() -> None:
    directory = Directory("postgresql://user:hunter2@no-such-host.invalid/people")
    assert "DIRECTORY_URL" in str(fails(directory.agencies))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield listening.getsockname()[1]


def test_server_that_never_answers(silent_port: int) -> None:
    directory = Directory(f"postgresql://u:p@127.0.0.1:{silent_port}/people")
    assert "does not answer in time" in str(fails(directory.agencies))
    # Many waiting at once wait together, not one after the other.
    with ThreadPoolExecutor(10) as pool:
        start = time.monotonic()
        list(pool.map(lambda _: fails(directory.agencies), range(10)))
        assert time.monotonic() - start < 10 * CONNECT_TIMEOUT


def test_unknown_role_and_database(postgresql_server: PostgresServer) -> None:
    url = postgresql_server.url("nosuchdatabase")
    assert "lacks the database" in str(fails(Directory(url).agencies))
    url = postgresql_server.url("postgres").replace("postgres:@", "nobody:hunter2@")
    error = fails(Directory(url).agencies)
    assert "lacks the database or role" in str(error)
    assert "hunter2" not in str(error)


def test_user_without_rights(postgresql_server: PostgresServer, sample: Path) -> None:
    """A role that may only read answers questions, and is told why it can't import."""
    url = postgresql_server.create_database()
    owner = Directory(url)
    owner.import_(sample)
    owner.close()
    postgresql_server.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN", url)
    postgresql_server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", url)
    reader = Directory(url.replace("postgres:@", "reader:@"))
    assert reader.find_people("Paul").total == 1
    sample.write_text(SAMPLE.replace("Paul", "Pol"), encoding="utf-8")
    assert "grant the user rights" in str(fails(lambda: reader.import_(sample)))
    reader.close()
    postgresql_server.execute("DROP OWNED BY reader; DROP ROLE reader", url)


def test_postgresql_stopped_and_started(
    own_postgresql_server: PostgresServer, sample: Path
) -> None:
    directory = Directory(own_postgresql_server.create_database())
    directory.import_(sample)
    assert directory.find_people("Paul").total == 1
    for mode in ("fast", "immediate"):
        own_postgresql_server.stop(mode)
        for _ in range(2):
            assert "can't be reached" in str(fails(lambda: directory.find_people("Paul")))
        fails(lambda: directory.import_(sample))
        own_postgresql_server.start()
        assert directory.find_people("Paul").total == 1
        assert directory.import_(sample).unchanged == 1
    directory.close()


def test_process_started_while_postgresql_is_down(
    own_postgresql_server: PostgresServer,
) -> None:
    url = own_postgresql_server.create_database()
    own_postgresql_server.stop()
    directory = Directory(url)
    fails(lambda: directory.find_experts("Java"))
    own_postgresql_server.start()
    assert directory.find_experts("Java").total == 0
    directory.close()


def test_postgresql_killed_in_the_middle_of_an_import(
    own_postgresql_server: PostgresServer, sample: Path, tmp_path: Path
) -> None:
    directory = Directory(own_postgresql_server.create_database())
    directory.import_(sample)
    large = tmp_path / "large.csv"
    rows = (f"D{n},Anne,Roux{n},Lyon,Dév,,,Go:2" for n in range(6000))
    large.write_text(SAMPLE + "\n".join(rows) + "\n", encoding="utf-8")
    stopped: list[bool] = []

    def stop(done: int, total: int) -> None:
        if done > total / 2 and not stopped:
            stopped.append(True)
            own_postgresql_server.stop("immediate")

    fails(lambda: directory.import_(large, progress=stop), within=120)
    assert stopped
    own_postgresql_server.start()
    assert directory.stats().people == 1
    assert directory.import_(large).added == 6000
    directory.close()


def test_postgresql_that_hangs(own_postgresql_server: PostgresServer, sample: Path) -> None:
    """Frozen, not dead: connections stay open and nothing comes back."""
    directory = Directory(own_postgresql_server.create_database())
    directory.import_(sample)
    postmaster = psutil.Process(own_postgresql_server.pid)
    frozen = [postmaster, *postmaster.children(recursive=True)]
    for process in frozen:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            fails(lambda: directory.find_people("Paul"))
    finally:
        for process in frozen:
            os.kill(process.pid, signal.SIGCONT)
    assert directory.find_people("Paul").total == 1
    directory.close()


def test_second_import_waits_then_says_so(
    directory: Directory, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actions.directory.database.WRITE_LOCK_TIMEOUT", 0.3)
    directory.import_(sample)
    other = Directory(str(directory.database.url.render_as_string(hide_password=False)))
    with directory.database.write():
        error = fails(lambda: other.import_(sample))
        assert "import" in str(error)
        # Whoever only asks is not kept waiting.
        assert other.find_people("Paul").total == 1
        assert other.find_experts("Java").total == 1
    assert other.import_(sample).unchanged == 1
    other.close()


def test_locked_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    directory = Directory(f"sqlite:///{path}")
    locking = sqlite3.connect(path, isolation_level=None)
    locking.execute("BEGIN EXCLUSIVE")
    error = fails(lambda: directory.find_people("Paul"))
    assert "in use by another process" in str(error)
    locking.close()
    assert directory.find_people("Paul").total == 0
    directory.close()


def test_sqlite_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear directory, " * 500)
    directory = Directory(f"sqlite:///{path}")
    assert "damaged or not an SQLite file" in str(fails(directory.agencies))
    path.unlink()
    assert directory.agencies() == ()
    directory.close()


def test_damaged_sqlite_file(tmp_path: Path, sample: Path) -> None:
    path = tmp_path / "damaged.db"
    directory = Directory(f"sqlite:///{path}")
    directory.import_(sample)
    directory.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xee" * (len(content) - 4096)
    path.write_bytes(content)
    assert "damaged" in str(fails(lambda: directory.find_people("Paul Martin")))
    directory.close()


def test_sqlite_paths_that_can_not_be_opened(tmp_path: Path) -> None:
    error = fails(Directory(f"sqlite:///{tmp_path}").agencies)
    assert "can't be opened" in str(error)
    error = fails(Directory(f"sqlite:///{tmp_path / 'none' / 'x.db'}").agencies)
    assert "There is no folder" in str(error)
    assert "create it" in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_sqlite_file_without_the_right_to_write(tmp_path: Path, sample: Path) -> None:
    path = tmp_path / "readonly.db"
    Directory(f"sqlite:///{path}").import_(sample)
    path.chmod(0o400)
    assert "rights" in str(fails(lambda: Directory(f"sqlite:///{path}").import_(sample)))


def test_sqlite_file_removed_and_brought_back(tmp_path: Path, sample: Path) -> None:
    path = tmp_path / "moving.db"
    directory = Directory(f"sqlite:///{path}")
    directory.import_(sample)
    directory.close()
    path.rename(tmp_path / "away.db")
    assert directory.find_people("Paul").total == 0  # a new, empty one
    directory.close()
    (tmp_path / "away.db").replace(path)
    assert directory.find_people("Paul").total == 1
    other = Directory(f"sqlite:///{tmp_path / 'other.db'}")
    sample.write_text(SAMPLE.replace("Paul", "Anne"), encoding="utf-8")
    other.import_(sample)
    other.close()
    # Replaced under an open directory: a handle kept open would still show Paul.
    (tmp_path / "other.db").replace(path)
    assert directory.find_people("Anne").total == 1
    assert directory.find_people("Paul").total == 0
    directory.close()


def test_sqlite_file_removed_while_in_use(tmp_path: Path, sample: Path) -> None:
    """No empty directory takes its place, which would know nobody; what is brought back is used."""
    path = tmp_path / "moving.db"
    directory = Directory(f"sqlite:///{path}")
    directory.import_(sample)
    path.rename(tmp_path / "away.db")
    for _ in range(2):
        assert "was removed while in use" in str(fails(lambda: directory.find_people("Paul")))
        assert "was removed while in use" in str(fails(directory.is_empty))
        assert not path.exists()
    (tmp_path / "away.db").rename(path)
    assert directory.find_people("Paul").total == 1
    directory.close()


def test_sqlite_files_are_for_their_owner_alone(tmp_path: Path, sample: Path) -> None:
    path = tmp_path / "people.db"
    path.touch(mode=0o644)  # of an older version
    directory = Directory(f"sqlite:///{path}")
    directory.import_(sample)
    with directory.database.read():
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("people.db*")}
    assert modes == dict.fromkeys(["people.db", "people.db-wal", "people.db-shm"], 0o600)
    directory.close()


# --- threads --------------------------------------------------------------------------------------


def test_threads_ask_while_another_imports(directory: Directory, tmp_path: Path) -> None:
    """Every answer is that of a whole import, before or after."""
    files = []
    for n, (first, skill) in enumerate((("Paul", "Java"), ("Anne", "Go"))):
        files.append(tmp_path / f"{n}.csv")
        rows = [f"C{i},{first},Martin,Nantes,Dév,,,{skill}:5" for i in range(40)]
        files[n].write_text(SAMPLE.splitlines()[0] + "\n" + "\n".join(rows) + "\n")
    directory.import_(files[0])
    done = threading.Event()
    answers: list[tuple[int, int]] = []

    def ask() -> None:
        while not done.is_set():
            experts = directory.find_experts("Java", limit=100)
            assert experts.total == len(experts.experts)
            for expert in experts.experts:
                assert expert.collaborator.first_name == "Paul"
            people = directory.find_people("Paul Martin", limit=100)
            assert people.total == len(people.matches)
            answers.append((experts.total, people.total))

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask) for _ in range(5)]
        try:
            for turn in range(8):
                directory.import_(files[(turn + 1) % 2])
        finally:
            done.set()
        for future in asking:
            future.result()
    assert {total for pair in answers for total in pair} <= {0, 40}
    assert directory.find_experts("Java").total == 40
