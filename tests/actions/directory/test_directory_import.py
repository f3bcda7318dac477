"""Bringing files into the directory and out of it, on both engines."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.directory import Directory, InvalidFileError, ensure_sample
from actions.directory.model import ImportResult, Skill
from common.errors import UserError
from tests.support import ROOT
from tests.support.directory_files import ANNE, HEADER, PAUL, counts_are_right, csv_file, snapshot


def json_file(folder: Path, content: Any, name: str = "people.json") -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def person(**changes: Any) -> dict[str, Any]:
    return {
        "id": "C1",
        "first_name": "Paul",
        "last_name": "Martin",
        "agency": "Nantes",
        "job_title": "Développeur",
        "skills": [{"name": "Java", "level": 5}],
    } | changes


# --- what is taken --------------------------------------------------------------------------------


def test_csv_then_the_same_again(directory: Directory, tmp_path: Path) -> None:
    path = csv_file(tmp_path, PAUL, ANNE)
    assert directory.import_(path) == ImportResult(added=2)
    found = directory.get("C1")
    assert found is not None
    assert found.skills == (Skill("Java", 5), Skill("Spring Boot", 4))
    assert (found.email, found.phone, found.available_from) == ("paul@example.com", "01", None)
    before = snapshot(directory)
    assert directory.import_(path) == ImportResult(unchanged=2)
    assert snapshot(directory) == before
    counts_are_right(directory)


def test_import_changes_adds_and_leaves_the_others(directory: Directory, tmp_path: Path) -> None:
    directory.import_(csv_file(tmp_path, PAUL, ANNE))
    changed = "C1,Pauline,Martin,Lyon,Développeuse,,,Kotlin:4;Java:4"
    new = "C3,Omar,Sy,Lille,Acteur,,,Java:1"
    result = directory.import_(csv_file(tmp_path, changed, new))
    assert result == ImportResult(added=1, changed=1)
    assert [p.id for p in directory.find_people("Pauline Martin").matches] == ["C1"]
    assert directory.find_people("Paul").total == 0
    assert directory.agencies() == ("Lille", "Lyon")
    found = directory.find_experts("Java")
    assert [(e.collaborator.id, e.level) for e in found.experts] == [
        ("C1", 4),
        ("C2", 3),
        ("C3", 1),
    ]
    assert directory.find_experts("Spring Boot").skill is None
    assert directory.get("C2") is not None
    counts_are_right(directory)


def test_replace_removes_the_absent(directory: Directory, tmp_path: Path) -> None:
    directory.import_(csv_file(tmp_path, PAUL, ANNE))
    assert directory.import_(csv_file(tmp_path, ANNE), replace=True) == ImportResult(
        unchanged=1, removed=1
    )
    assert directory.get("C1") is None
    assert directory.find_people("Martin").matches == ()
    assert directory.find_experts("Spring Boot").skill is None
    assert directory.agencies() == ("Lyon",)
    counts_are_right(directory)
    # Nothing of the removed person is left, but for what an undo needs.
    left = snapshot(directory)
    assert "martin" in repr(left.pop("last_import")).lower()
    assert "martin" not in repr(left).lower()


def test_json_in_its_three_forms(directory: Directory, tmp_path: Path) -> None:
    people = [
        person(),
        person(id="C2", skills={"Java": 5}),
        person(id="C3", skills="Java:5", available_from="2026-12-31", biography="Née\nà Brest"),
    ]
    assert directory.import_(json_file(tmp_path, people)) == ImportResult(added=3)
    wrapped = {"version": 1, "collaborators": people, "comment": "[]"}
    assert directory.import_(json_file(tmp_path, wrapped)) == ImportResult(unchanged=3)
    for identifier in ("C1", "C2", "C3"):
        found = directory.get(identifier)
        assert found is not None
        assert found.skills == (Skill("Java", 5),)
    assert found.available_from == date(2026, 12, 31)
    assert found.biography == "Née\nà Brest"


def test_a_column_that_the_file_lacks_keeps_its_value(directory: Directory, tmp_path: Path) -> None:
    directory.import_(json_file(tmp_path, [person(biography="Ancienne", email="a@b.fr")]))
    directory.import_(csv_file(tmp_path, PAUL.replace("paul@example.com", "")))
    found = directory.get("C1")
    assert found is not None
    assert (found.biography, found.email) == ("Ancienne", None)
    directory.import_(json_file(tmp_path, [person(biography=None)]))
    found = directory.get("C1")
    assert found is not None
    assert found.biography is None


@pytest.mark.parametrize(
    ("encode", "encoding"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), None),
        (lambda text: text.replace(",", "\t").encode(), None),
        (lambda text: text.replace("\n", "\r\n").encode(), None),
        (lambda text: text.encode("cp1252"), "cp1252"),
        (lambda text: text.encode("cp1252"), None),
        (lambda text: text.encode("mac_roman"), None),
        (lambda text: text.encode("cp850"), None),
        (lambda text: text.encode("utf-16"), "utf-16"),
        (lambda text: text.encode("utf-16"), None),
        (lambda text: text.replace("\n", "\r").encode(), None),
        (lambda text: ("sep=,\n" + text).encode(), None),
        (lambda text: ("\ufeff\r\n" + text).encode(), None),
        (lambda text: text.replace("\n", ",,,\n").encode(), None),
        (lambda text: text.replace(",,,Java:3", ",,,Java:3,,,").encode(), None),
        (lambda text: ("\n\n" + text).replace("\n\n", "", 1).encode() + b"\n,,,,,,,\n\n", None),
        (lambda text: text.replace(HEADER, HEADER.upper()).encode(), None),
    ],
    ids=[
        "bom",
        "tabs",
        "crlf",
        "cp1252 named",
        "cp1252",
        "Mac",
        "DOS",
        "utf-16 named",
        "utf-16",
        "cr",
        "sep=",
        "blank first line",
        "empty columns",
        "longer row",
        "blank lines",
        "capitals",
    ],
)
def test_files_as_spreadsheets_write_them(
    directory: Directory, tmp_path: Path, encode: Any, encoding: str | None
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(encode(f"{HEADER}\n{PAUL}\n{ANNE}\n"))
    assert directory.import_(path, encoding=encoding) == ImportResult(added=2)
    found = directory.get("C1")
    assert found is not None
    assert found.job_title == "Développeur"
    assert len(found.skills) == 2


def test_semicolons_between_columns(directory: Directory, tmp_path: Path) -> None:
    row = 'C1;Paul;Martin;Nantes;"Dév; Java";;;"Java:5;Go:1"'
    bars = "C2;Paul;Martin;Nantes;Dév;;;Java:5|Go:1"
    directory.import_(csv_file(tmp_path, row, bars, header=HEADER.replace(",", ";")))
    found = directory.get("C1")
    assert found is not None
    assert (found.job_title, len(found.skills)) == ("Dév; Java", 2)
    other = directory.get("C2")
    assert other is not None
    assert other.skills == found.skills


def test_dates_day_first_and_update_time(directory: Directory, tmp_path: Path) -> None:
    header = HEADER + ",available_from,updated_at"
    directory.import_(
        csv_file(tmp_path, PAUL + ",31/12/2026,2026-01-02T10:00:00+02:00", header=header)
    )
    found = directory.get("C1")
    assert found is not None
    assert found.updated_at is not None
    assert found.available_from == date(2026, 12, 31)
    assert found.updated_at.isoformat() == "2026-01-02T08:00:00+00:00"
    experts = directory.find_experts("Java")
    assert experts.updated_at == found.updated_at


def test_spelling_follows_the_file_that_names_most(directory: Directory, tmp_path: Path) -> None:
    rows = [f"C{n},Paul,Martin,Orleans,Dév,,,java script:3" for n in range(3)]
    directory.import_(csv_file(tmp_path, *rows))
    # One odd row changes nothing for the others …
    directory.import_(csv_file(tmp_path, "C9,Anne,Roux,ORLEANS,Dév,,,JAVA SCRIPT:3"))
    assert directory.agencies() == ("Orleans",)
    assert directory.find_experts("java script").skill == "java script"
    # … a corrected file does.
    path = csv_file(
        tmp_path, *(r.replace("Orleans", "Orléans").replace("java s", "Java S") for r in rows)
    )
    assert directory.import_(path) == ImportResult(unchanged=3)
    assert directory.agencies() == ("Orléans",)
    assert directory.find_experts("java script").skill == "Java Script"
    before = snapshot(directory)
    directory.import_(path)
    assert snapshot(directory) == before


def test_another_process_sees_the_import(directory_url: str, tmp_path: Path) -> None:
    asking, importing = Directory(directory_url), Directory(directory_url)
    assert asking.find_experts("Java").total == 0
    importing.import_(csv_file(tmp_path, PAUL))
    assert asking.find_experts("Java").total == 1
    assert asking.find_people("Martin").total == 1
    importing.import_(csv_file(tmp_path, PAUL.replace("Martin", "Durand").replace("Java", "Go")))
    assert asking.find_people("Durand").total == 1
    assert asking.find_people("Martin").total == 0
    assert asking.find_experts("Go").total == 1
    assert asking.find_experts("Java").total == 0
    asking.close()
    importing.close()


def test_a_large_file_goes_in_batches(directory: Directory, tmp_path: Path) -> None:
    rows = [f"C{n},Paul{n % 7},Martin{n % 11},A{n % 3},Dév,,,Java:{n % 5 + 1}" for n in range(4500)]
    steps: list[tuple[int, int]] = []
    path = csv_file(tmp_path, *rows)
    result = directory.import_(path, progress=lambda done, total: steps.append((done, total)))
    assert result.added == 4500
    assert steps == sorted(steps)
    assert steps[-1] == (path.stat().st_size,) * 2
    assert directory.find_experts("Java").total == 4500
    assert directory.import_(csv_file(tmp_path, rows[0]), replace=True).removed == 4499
    counts_are_right(directory)


# --- what is refused ------------------------------------------------------------------------------


def refused(directory: Directory, path: Path, **options: Any) -> InvalidFileError:
    """The error of an import that must not change anything."""
    before = snapshot(directory)
    with pytest.raises(InvalidFileError) as caught:
        directory.import_(path, **options)
    assert snapshot(directory) == before
    return caught.value


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("C7,Paul,Martin,Nantes,Dév,,,Java:6", "level 6 of skill 'Java'"),
        ("C7,Paul,Martin,Nantes,Dév,,,Java:0", "whole number from 1 to 5"),
        ("C7,Paul,Martin,Nantes,Dév,,,Java:3.5", "level '3.5'"),
        ("C7,Paul,Martin,Nantes,Dév,,,Java:³", "level '³'"),
        ("C7,Paul,Martin,Nantes,Dév,,,Java", "skill 'Java' has no level, write it Java:3"),
        ("C7,Paul,Martin,Nantes,Dév,,,:3", "a skill has no name"),
        ("C7,Paul,Martin,Nantes,Dév,,,Java:3;JAVA:4", "skill 'JAVA' is named twice"),
        ("C7,Paul,Martin,Nantes,Dév,paul.example.com,,", "e-mail 'paul.example.com'"),
        ("C7,Paul,Martin,Nantes,Dév,a b@example.com,,", "e-mail"),
        (",Paul,Martin,Nantes,Dév,,,", "id is empty"),
        ("C7,,,Nantes,Dév,,,", "first_name and last_name are empty"),
        ("C7,Paul,Martin, ,Dév,,,", "agency is empty"),
        ("C7,…,Martin,Nantes,Dév,,,", "holds neither letters nor digits"),
        ("C7,Paul,Martin,Nantes,Dév,,,,x", "9 cells, but the header has 8"),
        ("C7,Paul,Martin,Nantes", "job_title is empty"),
        (f"C7,{'P' * 101},Martin,Nantes,Dév,,,", "first_name is longer than 100 characters"),
        ("C7,Pa\x07ul,Martin,Nantes,Dév,,,", "control character U+0007"),
        ("C[7],Paul,Martin,Nantes,Dév,,,", "id 'C[7]' holds one of"),
        ("C{7},Paul,Martin,Nantes,Dév,,,", "id 'C{7}' holds one of"),
        (f"C7,Paul,Martin,Nantes,Dév,,,Java:{'9' * 5000}", "level '9999"),
        ("C1,Paul,Autre,Nantes,Dév,,,", "the id was used before, on line 2"),
    ],
)
def test_bad_rows_are_named(directory: Directory, tmp_path: Path, row: str, reason: str) -> None:
    error = refused(directory, csv_file(tmp_path, PAUL, ANNE, row))
    [problem] = error.problems
    assert problem.startswith("line 4")
    assert reason in problem
    assert problem in str(error)


def test_every_bad_row_and_every_reason(directory: Directory, tmp_path: Path) -> None:
    directory.import_(csv_file(tmp_path, ANNE))
    header = HEADER + ",available_from"
    rows = (
        PAUL + ",",
        "C2,,,Lyon,Dév,x,,Java:9,2026-02-30",
        '"C3","multi\nline",Durand,Lyon,Dév,,,,',
        "C4,Luc,Roux,Lyon,Dév,,,Java:2,demain",
    )
    error = refused(directory, csv_file(tmp_path, *rows, header=header))
    assert len(error.problems) == 3
    assert error.problems[0].startswith("line 3 ('C2'): ")
    for reason in ("last_name are empty", "e-mail 'x'", "level 9", "available_from '2026-02-30'"):
        assert reason in error.problems[0]
    assert error.problems[1].startswith("line 4 ('C3'): first_name holds the control character")
    # The cell of two lines counts for two.
    assert error.problems[2].startswith("line 6 ('C4'): available_from 'demain'")


@pytest.mark.parametrize(
    ("header", "reasons"),
    [
        (HEADER.replace("last_name", "lastname"), ["'lastname', did you mean 'last_name'?"]),
        (HEADER.replace(",agency", ""), ["column 'agency' is missing"]),
        (HEADER.replace("first_name,last_name,", ""), ["column 'last_name' is missing"]),
        (HEADER + ",biografie", ["unknown column 'biografie', did you mean 'biography'?"]),
        (HEADER + ",phone", ["column 'phone' occurs twice"]),
        (PAUL, ["unknown column 'Paul'"]),
    ],
)  # fmt: skip
def test_bad_header(directory: Directory, tmp_path: Path, header: str, reasons: list[str]) -> None:
    error = refused(directory, csv_file(tmp_path, PAUL, header=header))
    for reason in reasons:
        assert reason in str(error)
    assert HEADER in str(error)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (HEADER.encode() + b"\n", "names no collaborator"),
        (
            f"{HEADER}\n{PAUL}\nC2,Łukasz,Ś,N,D\n".encode("cp1250"),
            "not in UTF-8 (line 2, byte 0xe9)",
        ),
        (f"{HEADER}\n{PAUL}\nC2,Pa\0ul,M,N,D,,,\n".encode(), "line 3"),
        (f'{HEADER}\n{PAUL}\nC2,"Paul,M,N,D,,,\n'.encode(), "never closed"),
        (f"{HEADER}\n{PAUL}\nC2,{'x' * 140000},M,N,D,,,\n".encode(), "line 3"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "UTF-8"),
    ],
)
def test_unreadable_csv(directory: Directory, tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(content)
    assert reason in str(refused(directory, path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "names no collaborator"),
        ("{}", "holds no directory"),
        ('{"collaborators": 3}', "holds no directory"),
        ("3", "holds no directory"),
        ('[{"id": "C1",}]', "not valid JSON: line 1"),
        ('[\n{"id": "C1"', "not valid JSON: line 2"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"skills": {"Java": ' + "9" * 5000 + "}}]", "thousands of digits"),
        ("[] []", "Extra data"),
        ("nul", "not valid JSON"),
    ],
)
def test_unreadable_json(directory: Directory, tmp_path: Path, content: str, reason: str) -> None:
    assert reason in str(refused(directory, json_file(tmp_path, content)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"skil": []}, "unknown key 'skil', did you mean 'skills'?"),
        ({"Nom": "Martin"}, "'last_name' occurs twice"),
        ({"skills": {"Java": True}}, "level True"),
        ({"skills": {"Java": 2.0}}, "level 2.0"),
        ({"skills": [{"name": "Java"}]}, "needs the keys name and level"),
        ({"skills": [{"name": ["Java"], "level": 2}]}, "must be text"),
        ({"skills": [{"name": "Java;Go", "level": 2}]}, "holds ; or |"),
        ({"skills": 4}, "skills must be text"),
        ({"first_name": 12}, "first_name must be text, not int"),
        ({"first_name": None, "last_name": ""}, "first_name and last_name are empty"),
        ({"last_name": "Mar\u0000tin"}, "control character U+0000"),
        ({"last_name": "\ud800"}, "control character U+D800"),
        ({"available_from": "12-31"}, "available_from '12-31' is not a date"),
        ({"updated_at": "hier"}, "updated_at 'hier' is not a time"),
        ({"biography": "x" * 5001}, "longer than 5000"),
    ],
)
def test_bad_objects_are_named(
    directory: Directory, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    content = "[\n" + json.dumps(person()) + ",\n" + json.dumps(person(id="C2", **changes)) + "]"
    [problem] = refused(directory, json_file(tmp_path, content)).problems
    assert problem.startswith("line 3 ('C2'): ")
    assert reason in problem


def test_objects_that_are_none(directory: Directory, tmp_path: Path) -> None:
    content = json.dumps([person(), "Paul", {"id": "C3"}], indent=0)
    problems = refused(directory, json_file(tmp_path, content)).problems
    assert "expected an object, found str" in problems[0]
    assert "'last_name' is missing" in problems[1]


def test_missing_file_and_folder(directory: Directory, tmp_path: Path) -> None:
    assert "No such file" in str(refused(directory, tmp_path / "none.csv"))
    assert "directory" in str(refused(directory, tmp_path))
    path = csv_file(tmp_path, PAUL)
    assert "no encoding 'klingon'" in str(refused(directory, path, encoding="klingon"))


def test_interrupted_import_changes_nothing(directory: Directory, tmp_path: Path) -> None:
    rows = [f"C{n},Paul,Martin,Nantes,Dév,,,Java:3" for n in range(5000)]

    def interrupt(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    directory.import_(csv_file(tmp_path, ANNE))
    before = snapshot(directory)
    with pytest.raises(KeyboardInterrupt):
        directory.import_(csv_file(tmp_path, *rows), progress=interrupt)
    assert snapshot(directory) == before
    assert directory.import_(csv_file(tmp_path, PAUL)).added == 1


# --- export ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "json"])
def test_round_trip_is_identical(directory_url: str, tmp_path: Path, form: str) -> None:
    tricky = [
        person(
            biography='Ligne 1\nLigne "2", fin;\t\\N',
            email="paul@example.com",
            available_from="2026-12-31",
            updated_at="2020-01-01T00:00:00.000125Z",
            skills=[{"name": "C#", "level": 1}, {"name": "Énergie : bases", "level": 5}],
        ),
        person(id="=1+1", first_name="محمد", last_name="O'Brien, Jr", skills=[]),
        person(id="\\.", agency="Saint-Étienne", phone="+33 1 02 03 04 05"),
    ]
    first = Directory(directory_url)
    first.import_(json_file(tmp_path, tricky))
    exported = tmp_path / f"first.{form}"
    assert first.export(exported) == 3
    second = Directory(f"sqlite:///{tmp_path / 'second.db'}")
    assert second.import_(exported) == ImportResult(added=3)
    again = tmp_path / f"second.{form}"
    second.export(again)
    assert again.read_bytes() == exported.read_bytes()
    assert [second.get(p["id"]) for p in tricky] == [first.get(p["id"]) for p in tricky]
    assert first.import_(exported) == ImportResult(unchanged=3)
    found = second.get("C1")
    assert found is not None
    assert found.biography == tricky[0]["biography"]
    first.close()
    second.close()


_TEXT = st.text(
    st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=30
).map(lambda text: "x" + text.strip().replace(";", "").replace("|", ""))  # fmt: skip


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(_TEXT, _TEXT, _TEXT, st.integers(1, 5)), min_size=1, max_size=4))
def test_any_text_survives_the_round_trip(
    directory: Directory, tmp_path: Path, texts: list[tuple[str, str, str, int]]
) -> None:
    people = [
        person(id=f"C{n}", last_name=name, agency=agency, skills={skill: level})
        for n, (name, agency, skill, level) in enumerate(texts)
    ]
    directory.import_(json_file(tmp_path, people), replace=True)
    counts_are_right(directory)
    for form in ("csv", "json"):
        path = tmp_path / f"out.{form}"
        directory.export(path)
        assert directory.import_(path, replace=True) == ImportResult(unchanged=len(people))


def test_export_says_what_it_can_not(directory: Directory, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose csv or json"):
        directory.export(tmp_path / "people.xlsx")
    with pytest.raises(UserError, match="Can't write"):
        directory.export(tmp_path / "none" / "people.csv")
    assert directory.export(tmp_path / "people.txt", "csv") == 0
    assert (tmp_path / "people.txt").read_text().startswith(HEADER)
    assert sorted(p.name for p in tmp_path.iterdir() if "people" in p.name) == ["people.txt"]


# --- the sample -----------------------------------------------------------------------------------


def test_sample_fills_only_an_empty_directory(directory_url: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, PAUL)
    assert ensure_sample(directory_url, path) is True
    assert ensure_sample(directory_url, csv_file(tmp_path, ANNE)) is False
    directory = Directory(directory_url)
    assert directory.get("C1") is not None
    assert directory.get("C2") is None
    directory.close()


def test_the_sample_of_the_project(directory: Directory, tmp_path: Path) -> None:
    sample = ROOT / "data" / "directory.csv"
    result = directory.import_(sample)
    assert result.added >= 60
    assert len(directory.agencies()) == 6
    assert directory.import_(sample, replace=True) == ImportResult(unchanged=result.added)
    directory.export(tmp_path / "out.csv")
    with sample.open(encoding="utf-8") as left, (tmp_path / "out.csv").open() as right:
        given, exported = list(csv.DictReader(left)), list(csv.DictReader(right))
    assert given == [{key: row[key] for key in given[0]} for row in exported]
    for row in given:
        name = f"{row['first_name']} {row['last_name']}"
        assert row["id"] in [p.id for p in directory.find_people(name).matches]
    counts_are_right(directory)
