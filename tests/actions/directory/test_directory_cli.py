"""``bot directory``: the commands as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.directory_command import Run

HEADER = "id,first_name,last_name,agency,job_title,email,phone,skills"
ROWS = (
    "C1,Maëlys,Kerguelen,Nantes,Architecte,m.kerguelen@example.com,01 02,Kubernetes:5;Java:2",
    "C2,Paul,Martin,Lyon,[red]Développeur,,,Java:5",
)


def test_a_working_day(run: Run, directory_url: str, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("\n".join((HEADER, *ROWS)), encoding="utf-8")

    done = run("import", path, url=directory_url)
    assert done.returncode == 0, done.stderr
    assert "2 added, 0 changed, 0 unchanged, 0 removed" in done.stdout
    assert "Importing people.csv" in done.stderr or "search index" in done.stderr

    done = run("stats", url=directory_url)
    assert "2 (0 available now)" in done.stdout
    assert "Kubernetes" in done.stdout

    done = run("search", "kergelen", "maelys", url=directory_url)
    assert "Maëlys Kerguelen" in done.stdout
    assert "m.kerguelen@example.com" in done.stdout
    done = run("search", "--skill", "java", url=directory_url)
    assert done.stdout.index("Paul Martin") < done.stdout.index("Maëlys Kerguelen")
    assert "[red]Développeur" in done.stdout
    assert "2 of 2 people with Java" in done.stdout
    done = run("search", "--skill", "java", "--agency", "lyon", url=directory_url)
    assert "1 of 1 people with Java, 1 more in other agencies" in done.stdout
    done = run("search", "--skill", "scala", url=directory_url)
    assert "Nobody here has scala." in done.stdout
    assert "Related: Java" in done.stdout
    done = run("search", "Zébulon", "Kerguelen", url=directory_url)
    assert "Nobody has that name. Near:" in done.stdout
    assert "Maëlys Kerguelen" in done.stdout

    done = run("export", tmp_path / "out", "json", url=directory_url)
    assert done.returncode == 0, done.stderr
    done = run("import", tmp_path / "out", "--replace", url=directory_url)
    assert "0 added, 0 changed, 2 unchanged, 0 removed" in done.stdout


def test_words_of_the_company(run: Run, directory_url: str, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("\n".join((HEADER, *ROWS)), encoding="utf-8")
    assert run("import", path, url=directory_url).returncode == 0
    path.write_text("Domaine,Compétence\nConteneurs,Kubernetes\n", encoding="utf-8")
    columns = ("--columns", "domaine=family", "--columns", "Compétence=skill")
    done = run("families", path, *columns, url=directory_url)
    assert "1 families taken" in done.stdout, done.stderr
    done = run("search", "--skill", "conteneurs", url=directory_url)
    assert "1 of 1 people with conteneurs" in done.stdout
    done = run("synonyms", path, url=directory_url)
    assert done.returncode == 1
    assert "must begin with the line `synonym,skill`" in done.stderr
    path.write_text("synonym,skill\nkub\n", encoding="utf-8")
    done = run("synonyms", path, url=directory_url)
    assert "line 2: needs a synonym and a skill" in done.stderr


def test_bad_rows_are_printed(run: Run, directory_url: str, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    bad = "C3,,,[bold]Lyon,Dév,,,[bold]Java[/]:9"
    path.write_text("\n".join((HEADER, *ROWS, bad)), encoding="utf-8")
    done = run("import", path, url=directory_url)
    assert done.returncode == 1
    assert "line 4 ('C3'): level 9 of skill '[bold]Java[/]' is not" in done.stderr
    assert "; first_name and last_name are empty" in done.stderr
    assert "nothing was changed. Rows to correct: 1." in done.stderr
    assert "Traceback" not in done.stderr
    assert "People      0" in run("stats", url=directory_url).stdout


@pytest.mark.parametrize(
    ("arguments", "url", "message"),
    [
        (("stats",), "mysql://user:hunter2@host/db", "DIRECTORY_URL is not"),
        (("stats",), "postgresql://user:hunter2@127.0.0.1:1/db", "can't be reached"),
        (("import", "none.csv"), "", "No such file"),
        (("search",), "", "Give either a NAME or --skill SKILL"),
        (("export", "x.xlsx"), "", "choose csv or json"),
    ],
)
def test_errors_without_a_traceback(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], url: str, message: str
) -> None:
    done = run(*arguments, url=url or f"sqlite:///{tmp_path / 'd.db'}")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
