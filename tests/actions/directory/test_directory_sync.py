"""Going back, stopping at too many removals, and directories that live elsewhere."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from actions.directory import Directory, InvalidFileError
from actions.directory.model import DirectoryError, ImportResult
from tests.support import ROOT
from tests.support.directory_command import Run
from tests.support.directory_files import ANNE, PAUL, counts_are_right, csv_file, snapshot
from tests.support.postgres import PostgresServer
from tests.support.tty import ENTER, Tty

EVE = "C3,Eve,Roux,Orleans,Dév,,,java:2"


def contents(directory: Directory, folder: Path) -> list[str]:
    directory.export(folder / "contents.csv")
    return sorted((folder / "contents.csv").read_text(encoding="utf-8").splitlines())


# --- undo -----------------------------------------------------------------------------------------


def test_undo_goes_back_and_forth(directory: Directory, tmp_path: Path) -> None:
    with pytest.raises(DirectoryError, match="There is no import to undo"):
        directory.undo()
    directory.import_(csv_file(tmp_path, PAUL, ANNE, EVE))
    before = contents(directory, tmp_path)
    changed = PAUL.replace("Nantes", "Brest").replace("Java:5;", "JAVA:4;Go:1;")
    corrected = EVE.replace("Orleans", "Orléans").replace("java", "JAVA")
    new = "C4,Luc,Blanc,Lyon,Dév,,,JAVA:1"
    directory.import_(csv_file(tmp_path, changed, corrected, new), replace=True)
    after = contents(directory, tmp_path)
    assert directory.agencies() == ("Brest", "Lyon", "Orléans")
    # What changes nothing is no import to go back from.
    assert directory.import_(csv_file(tmp_path, new)) == ImportResult(unchanged=1)
    # Paul changed, Anne was removed, Luc added; Eve's agency and skill were only spelt otherwise.
    assert directory.undo() == ImportResult(added=1, changed=1, removed=1)
    assert contents(directory, tmp_path) == before
    counts_are_right(directory)
    assert directory.undo() == ImportResult(added=1, changed=1, removed=1)
    assert contents(directory, tmp_path) == after
    counts_are_right(directory)


def test_undo_of_a_spelling_alone(directory: Directory, tmp_path: Path) -> None:
    directory.import_(csv_file(tmp_path, EVE))
    directory.import_(csv_file(tmp_path, EVE.replace("java", "JAVA")))
    assert directory.find_experts("java").skill == "JAVA"
    # Who asks has the names of skills in memory.
    assert directory.undo() == ImportResult()
    assert directory.find_experts("JAVA").skill == "java"
    assert directory.undo() == ImportResult()
    assert directory.find_experts("java").skill == "JAVA"


def test_undo_of_the_first_import(directory: Directory, tmp_path: Path) -> None:
    directory.import_(csv_file(tmp_path, PAUL, ANNE))
    before = contents(directory, tmp_path)
    assert directory.undo(confirm=lambda result: False) == ImportResult(removed=2)
    assert contents(directory, tmp_path) == before
    assert directory.undo() == ImportResult(removed=2)
    assert directory.is_empty()
    assert directory.undo() == ImportResult(added=2)
    assert contents(directory, tmp_path) == before


def test_undo_does_not_bring_back_whoever_was_forgotten(
    directory: Directory, tmp_path: Path
) -> None:
    directory.import_(csv_file(tmp_path, PAUL, ANNE))
    directory.import_(csv_file(tmp_path, PAUL.replace("01", "02"), EVE), replace=True)
    for person in ("C1", "C2"):
        directory.forget(person)
    assert "Paul" not in repr(snapshot(directory))
    assert "Anne" not in repr(snapshot(directory))
    assert directory.undo() == ImportResult(removed=1)
    assert directory.is_empty()


def test_what_is_not_confirmed_is_not_done(directory: Directory, tmp_path: Path) -> None:
    directory.import_(csv_file(tmp_path, PAUL, ANNE))
    before = snapshot(directory)
    seen: list[ImportResult] = []

    def refuse(result: ImportResult) -> bool:
        seen.append(result)
        return False

    path = csv_file(tmp_path, EVE, PAUL.replace("Paul", "Jean"))
    directory.import_(path, replace=True, confirm=refuse)
    assert snapshot(directory) == before
    assert seen == [ImportResult(added=1, changed=1, removed=1)]
    assert seen[0].before == 2
    assert seen[0].people == (
        "+ C3 Eve Roux (Orleans)",
        "~ C1 Jean Martin (Nantes): first_name",
        "- C2 Anne Le Goff (Lyon)",
    )


# --- the command ----------------------------------------------------------------------------------


def test_a_truncated_file_stops(run: Run, directory_url: str, tmp_path: Path) -> None:
    rows = [f"C{n},Paul,Martin{n},Nantes,Dév,,,Java:3" for n in range(10, 30)]
    run("import", csv_file(tmp_path, *rows), url=directory_url)
    fewer = csv_file(tmp_path, *rows[:18])
    assert run("import", fewer, "--replace", url=directory_url).returncode == 0
    cut = csv_file(tmp_path, *rows[:3])
    done = run("import", cut, "--replace", url=directory_url)
    assert done.returncode == 3
    assert "15 of 18 people would be removed, more than 10 %" in done.stderr
    assert "People      18" in run("stats", url=directory_url).stdout
    # Nothing that was told before does away with it, but for saying so.
    assert run("import", cut, "--replace", "--yes", url=directory_url).returncode == 3
    done = run("import", cut, "--replace", "--max-removals", "90", url=directory_url)
    assert (done.returncode, "15 removed" in done.stdout) == (0, True)
    done = run("undo", url=directory_url)
    assert "15 added, 0 changed, 0 unchanged, 0 removed" in done.stdout


def test_dry_run_shows_and_leaves_all(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'd.db'}"
    run("import", csv_file(tmp_path, PAUL, ANNE), url=url)
    path = csv_file(tmp_path, EVE, PAUL.replace("Java:5", "Java:4"))
    done = run("import", path, "--dry-run", "--replace", url=url)
    assert done.returncode == 0
    assert "Nothing was changed. It would be: 1 added, 1 changed, 0 unchanged, 1 rem" in done.stdout
    for line in ("+ C3 Eve Roux (Orleans)", "~ C1 Paul Martin (Nantes): skills", "- C2 Anne Le G"):
        assert line in done.stderr
    assert "1 of 2 people would be removed" in done.stderr
    assert "People      2" in run("stats", url=url).stdout


def test_columns_and_sheet_of_the_command(run: Run, tmp_path: Path) -> None:
    from tests.support.directory_files import ROWS, workbook

    url = f"sqlite:///{tmp_path / 'd.db'}"
    path = workbook(tmp_path, Notes=[["x"]], Liste=[[*ROWS[0], "Chef"], [*ROWS[1], "Ali"]])
    done = run("import", path, "--sheet", "Liste", url=url)
    assert (done.returncode, "unknown column 'Chef'" in done.stderr) == (1, True)
    done = run("import", path, "--sheet", "Liste", "--columns", "Chef=", url=url)
    assert done.returncode == 0, done.stderr
    for line in ("Matricule → id", "One column a skill: Java", "Left out: Chef"):
        assert line in done.stderr
    assert "phone '639980001' is read as '0639980001'" in done.stderr


@pytest.mark.parametrize(("answer", "added"), [("n", 0), ("y", 1)])
def test_a_terminal_asks(tmp_path: Path, answer: str, added: int) -> None:
    url = f"sqlite:///{tmp_path / 'd.db'}"
    command = [sys.executable, "-m", "bot", "directory", "import", str(csv_file(tmp_path, PAUL))]
    with Tty(command, cwd=ROOT, environ={**os.environ, "DIRECTORY_URL": url}) as terminal:
        terminal.expect(r"\+ C1 Paul Martin \(Nantes\)")
        terminal.expect("1 added, 0 changed, 0 unchanged, 0 removed: change sqlite")
        terminal.send(answer + ENTER)
        assert terminal.wait() == 1 - added
    directory = Directory(url)
    assert directory.stats().people == added
    directory.close()


# --- from a database ------------------------------------------------------------------------------

QUERY = """
SELECT matricule, prenom, nom, poste, agence, courriel AS mail, competences,
       date '2026-12-31' AS available_from
FROM salarie WHERE poste <> '%stagiaire:' ORDER BY matricule::int
"""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Directory]:
    opened = Directory(f"sqlite:///{tmp_path / 'mirror.db'}")
    yield opened
    opened.close()


@pytest.fixture
def personnel(postgresql_server: PostgresServer) -> str:
    """Address of a company's database, which has tables of its own."""
    url = postgresql_server.create_database()
    postgresql_server.execute(
        """
        CREATE TABLE salarie (matricule numeric, prenom text, nom text, poste text, agence text,
                              courriel text, competences jsonb);
        INSERT INTO salarie VALUES
            (1, 'Zoé', 'Blanc', 'Dév', 'Nantes', 'zoe@example.com', '{"Java": 5, "Go": 2}'),
            (2, 'Ali', 'Petit', 'Dév', 'Lyon', NULL, '[{"name": "Java", "level": 1}]'),
            (3, NULL, 'Suharto', 'Dév', 'Lyon', NULL, NULL);
        """,
        url,
    )
    return url


def test_sync_from_postgresql(
    run: Run,
    directory_url: str,
    personnel: str,
    postgresql_server: PostgresServer,
) -> None:
    done = run("sync", personnel, "--query", QUERY, url=directory_url)
    assert done.returncode == 0, done.stderr
    assert "3 added, 0 changed, 0 unchanged, 0 removed" in done.stdout
    directory = Directory(directory_url)
    found = directory.get("1")
    assert found is not None
    assert (found.full_name, found.email, str(found.available_from)) == (
        "Zoé Blanc", "zoe@example.com", "2026-12-31",
    )  # fmt: skip
    assert [e.collaborator.id for e in directory.find_experts("Java").experts] == ["1", "2"]
    directory.close()
    done = run("sync", personnel, "--query", QUERY, url=directory_url)
    assert "0 added, 0 changed, 3 unchanged, 0 removed" in done.stdout
    # As an import: a bad row changes nothing, too many removals neither.
    postgresql_server.execute("UPDATE salarie SET agence = NULL WHERE matricule = 2", personnel)
    done = run("sync", personnel, "--query", QUERY, url=directory_url)
    assert (done.returncode, "line 2 ('2'): agency is empty" in done.stderr) == (1, True)
    postgresql_server.execute("DELETE FROM salarie WHERE matricule = 2", personnel)
    done = run("sync", personnel, "--query", QUERY, url=directory_url)
    assert (done.returncode, "1 of 3 people would be removed" in done.stderr) == (3, True)
    postgresql_server.execute("TRUNCATE salarie", personnel)
    done = run("sync", personnel, "--query", QUERY, "--max-removals", "100", url=directory_url)
    assert (done.returncode, "names no collaborator" in done.stderr) == (1, True)


def test_a_sync_only_reads(mirror: Directory, personnel: str) -> None:
    deletes = "WITH gone AS (DELETE FROM salarie RETURNING *) SELECT * FROM gone WHERE false"
    with pytest.raises(InvalidFileError, match="names no collaborator"):
        mirror.sync(personnel, deletes)
    assert mirror.sync(personnel, QUERY).added == 3


@pytest.mark.parametrize(
    ("address", "query", "reason"),
    [
        ("{personnel}", None, "say by --query what to select"),
        ("{personnel}", "SELECT nothing", 'column "nothing" does not exist'),
        ("{personnel}", "SET search_path = public", "selects nothing"),
        ("{personnel}", "SELECT 1 AS matricule", "column 'agency' is missing"),
        ("postgresql://{login}@127.0.0.1:1/people", "SELECT 1", "Connection refused"),
        ("nosuch://{login}@host/people", "SELECT 1", "driver"),
        ("people.csv", "SELECT 1", "is no address"),
        ("https://host/people.json", "SELECT 1", "A query is for a database"),
    ],
)
def test_sources_that_can_not_be_asked(
    mirror: Directory, personnel: str, address: str, query: str | None, reason: str
) -> None:
    with pytest.raises(InvalidFileError) as caught:
        mirror.sync(address.format(personnel=personnel, login="bob:hunter2"), query)
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)


# --- from a server --------------------------------------------------------------------------------

PEOPLE = [
    {"id": n, "last_name": f"Blanc{n}", "agency": "Nantes", "job_title": "Dév", "skills": {"Go": 3}}
    for n in range(200)
]
Answer = Callable[[BaseHTTPRequestHandler], None]


class Source:
    """An HTTP server whose answer each test sets; it keeps the headers that it was sent."""

    def __init__(self) -> None:
        self.answer: Answer = lambda handler: None
        self.headers: list[Any] = []
        source = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                source.headers.append(self.headers)
                self.close_connection = True
                source.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/people"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def source() -> Iterator[Source]:
    served = Source()
    yield served
    served.server.shutdown()
    served.server.server_close()


def whole(people: Any, **headers: str) -> Answer:
    body = people if isinstance(people, bytes) else json.dumps(people).encode()

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


def cut_off(how: str) -> Answer:
    """Half of the people, as many bytes as a whole object has, then the server is gone."""
    body = json.dumps(PEOPLE).encode()
    half = body[: body.index(b"}}, ", len(body) // 2) + 2]

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if how == "length":
            handler.send_header("Content-Length", str(len(body)))
        elif how == "chunked":
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n" % len(half) + half + b"\r\n" if how == "chunked" else half)

    return send


def test_sync_from_a_server(run: Run, directory_url: str, source: Source, monkeypatch: Any) -> None:
    source.answer = whole(PEOPLE)
    monkeypatch.setenv("DIRECTORY_SOURCE", source.url)
    monkeypatch.setenv("DIRECTORY_SOURCE_TOKEN", "s3cret")
    done = run("sync", url=directory_url)
    assert done.returncode == 0, done.stderr
    assert "200 added" in done.stdout
    assert source.headers[0]["Authorization"] == "Bearer s3cret"
    source.answer = whole(PEOPLE[:190])
    assert "190 unchanged, 10 removed" in run("sync", url=directory_url).stdout
    source.answer = whole(PEOPLE[:3])
    assert run("sync", url=directory_url).returncode == 3
    # The same address may give a table.
    text = "Matricule;Nom;Agence;Poste;Go\n" + "".join(
        f"{n};Blanc{n};Nantes;Dév;3\n" for n in range(190)
    )
    source.answer = whole(text.encode("cp1252"), Content_Type="text/csv")
    assert "190 unchanged, 0 removed" in run("sync", url=directory_url).stdout


@pytest.mark.parametrize("how", ["length", "chunked", "closed"])
def test_a_server_that_goes_away_half_way(
    run: Run, tmp_path: Path, source: Source, how: str
) -> None:  # fmt: skip
    url = f"sqlite:///{tmp_path / 'd.db'}"
    source.answer = whole(PEOPLE)
    run("sync", source.url, url=url)
    source.answer = cut_off(how)
    done = run("sync", f"{source.url}?key=s3cret", "--max-removals", "100", url=url)
    assert done.returncode == 1
    expected = "is not valid JSON" if how == "closed" else "did not answer, or not to the end"
    assert expected in done.stderr
    assert "s3cret" not in done.stderr
    assert "People      200" in run("stats", url=url).stdout


def test_answers_that_are_no_directory(mirror: Directory, source: Source) -> None:
    source.answer = whole(b"<html>Please sign in</html>", Content_Type="text/html; charset=utf-8")
    with pytest.raises(InvalidFileError, match=r"is a web page and no file.*token"):
        mirror.sync(source.url)
    source.answer = lambda handler: handler.send_error(401)
    with pytest.raises(InvalidFileError, match=r"answers 401; is the token right\?"):
        mirror.sync(source.url)
    source.server.shutdown()
    source.server.server_close()
    with pytest.raises(InvalidFileError, match=r"did not answer.*ConnectionError"):
        mirror.sync(source.url)
