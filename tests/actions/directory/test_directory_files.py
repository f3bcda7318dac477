"""Files as other companies have them: their columns, and what spreadsheets leave in them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from actions.directory import Directory, InvalidFileError
from actions.directory.files import chosen_columns
from actions.directory.model import ImportResult, Skill
from common.errors import UserError
from tests.support.directory_files import ROWS, workbook

FRENCH = "Matricule;Prénom;Nom;Poste;Agence;Courriel;Téléphone"
ZOE = "1;Zoé;Blanc;Développeuse;Nantes;zoe@example.com;06 39 98 00 01"
ALI = "2;Ali;Petit;Testeur;Lyon;;"


@pytest.fixture
def directory(tmp_path: Path) -> Any:
    opened = Directory(f"sqlite:///{tmp_path / 'd.db'}")
    yield opened
    opened.close()


def text_file(folder: Path, *lines: str, name: str = "gens.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def skills_of(directory: Directory, identifier: str) -> dict[str, int]:
    found = directory.get(identifier)
    assert found is not None
    return {skill.name: skill.level for skill in found.skills}


def refusal(directory: Directory, path: Path, **options: Any) -> InvalidFileError:
    with pytest.raises(InvalidFileError) as caught:
        directory.import_(path, **options)
    assert directory.is_empty()
    return caught.value


# --- columns --------------------------------------------------------------------------------------


def test_french_headers_are_known_and_told(directory: Directory, tmp_path: Path) -> None:
    path = text_file(tmp_path, FRENCH + ";Compétences", ZOE + ";Java:5|Go : 3", ALI + ";")
    told: list[str] = []
    assert directory.import_(path, say=told.append).added == 2
    found = directory.get("1")
    assert found is not None
    assert (found.full_name, found.job_title, found.agency) == (
        "Zoé Blanc",
        "Développeuse",
        "Nantes",
    )
    assert (found.email, found.phone) == ("zoe@example.com", "06 39 98 00 01")
    assert found.skills == (Skill("Java", 5), Skill("Go", 3))
    assert told == [
        "Columns: Matricule → id, Prénom → first_name, Nom → last_name, Poste → job_title, "
        "Agence → agency, Courriel → email, Téléphone → phone, Compétences → skills"
    ]


@pytest.mark.parametrize(
    "header",
    [
        "N° Matricule;PRENOM;Nom de famille;Fonction;Site;E-mail;Tél.",
        "Identifiant;Prénoms;NOM;Intitulé du poste;Agence de rattachement;Adresse mail;Portable",
        "ID;first_name;last_name;Métier;Établissement;MAIL;Numéro de téléphone",
    ],
)
def test_headers_vary(directory: Directory, tmp_path: Path, header: str) -> None:
    assert directory.import_(text_file(tmp_path, header, ZOE)).added == 1
    found = directory.get("1")
    assert found is not None
    assert (found.full_name, found.phone) == ("Zoé Blanc", "06 39 98 00 01")


def test_columns_say_what_other_headers_are(directory: Directory, tmp_path: Path) -> None:
    path = text_file(
        tmp_path, "Clé;Appellation;Nom;Rôle;Ville;Chef;Étage", "1;Zoé;Blanc;Dév;Nantes;A;2"
    )
    error = refusal(directory, path)
    for name in ("Clé", "Appellation", "Rôle", "Ville", "Chef"):
        assert f"unknown column '{name}'" in str(error)
    assert "--columns 'HEADER=COLUMN'" in str(error)
    given = ["Clé=id", "appellation=first_name", "Rôle = job_title", "Ville=agency"]
    assert "unknown column 'Chef'" in str(refusal(directory, path, columns=chosen_columns(given)))
    told: list[str] = []
    columns = chosen_columns([*given, "Chef=", "*="])
    assert directory.import_(path, columns=columns, say=told.append).added == 1
    assert told[-1] == "Left out: Chef, Étage"
    found = directory.get("1")
    assert found is not None
    assert (found.full_name, found.agency, found.skills) == ("Zoé Blanc", "Nantes", ())


@pytest.mark.parametrize("given", ["Clé", "Clé=identifier", "=id", "Clé=level:", "Clé=levels"])
def test_wrong_columns_are_refused(given: str) -> None:
    with pytest.raises(UserError, match="is not HEADER=COLUMN"):
        chosen_columns([given])


def test_columns_that_are_not_there(directory: Directory, tmp_path: Path) -> None:
    columns = chosen_columns(["Clef=id"])
    message = "there is no column 'clef', which --columns names"
    assert message in str(refusal(directory, text_file(tmp_path, FRENCH, ZOE), columns=columns))
    person = {"id": "1", "nom": "Blanc", "agence": "Nantes", "poste": "Dév"}
    path = text_file(tmp_path, json.dumps([person]), name="gens.json")
    assert message in str(refusal(directory, path, columns=columns))


def test_one_column_a_skill(directory: Directory, tmp_path: Path) -> None:
    header = FRENCH + ";Java;SAP FI/CO;Cobol"
    path = text_file(tmp_path, header, ZOE + ";5;0;", ALI + ";;3/5;", "3;Eve;Roux;Dév;Lyon;;;-;2,0")
    told: list[str] = []
    assert directory.import_(path, say=told.append).added == 3
    assert told[-1] == "One column a skill: Java, SAP FI/CO, Cobol"
    assert skills_of(directory, "1") == {"Java": 5}
    assert skills_of(directory, "2") == {"SAP FI/CO": 3}
    assert skills_of(directory, "3") == {"SAP FI/CO": 2}
    wrong = text_file(tmp_path, header, ZOE + ";5;4;6", ALI + ";3;3;1", "3;E;R;D;L;;;2;2;2")
    with pytest.raises(InvalidFileError, match=r"line 2.*level 6 of skill 'Cobol'"):
        directory.import_(wrong)
    columns = chosen_columns(["Niv. Java=level:Java"])
    path = text_file(tmp_path, FRENCH + ";Niv. Java", ALI + ";1")
    directory.import_(path, columns=columns)
    assert skills_of(directory, "2") == {"Java": 1}


def test_one_row_a_skill(directory: Directory, tmp_path: Path) -> None:
    header = "Matricule;Nom;Poste;Agence;Compétence;Niveau"
    rows = ("1;Blanc;Dév;Nantes;Java;5", "2;Petit;Dév;Lyon;;", "1;Blanc;Dév;Nantes;Go;2")
    assert directory.import_(text_file(tmp_path, header, *rows)) == ImportResult(added=2)
    assert skills_of(directory, "1") == {"Java": 5, "Go": 2}
    assert skills_of(directory, "2") == {}
    odd = (
        "1;Blanc;Dév;Lyon;C#;9",
        "2;Petit;Dév;Lyon;Go;1",
        "2;Petit;Dév;Lyon;go;3",
        "1;Blanc;Dév;Brest;Go;",
    )
    with pytest.raises(InvalidFileError) as caught:
        directory.import_(text_file(tmp_path, header, *odd))
    first, second = caught.value.problems
    assert first.startswith("line 2 ('1'): level '9'") or "level 9 of skill 'C#'" in first
    assert "line 5: skill 'Go' has no level" in first
    assert "line 5: agency is 'Brest' here, 'Lyon' on line 2" in first
    assert second == "line 3 ('2'): line 4: skill 'go' is named twice"


def test_objects_with_french_keys(directory: Directory, tmp_path: Path) -> None:
    person = {"Matricule": 7, "Nom": "Blanc", "Agence": "Nantes", "Poste": "Dév"}
    person |= {"Téléphone": 639980001, "Compétences": {"Java": 4}}
    path = text_file(tmp_path, json.dumps([person]), name="gens.json")
    assert directory.import_(path).added == 1
    found = directory.get("7")
    assert found is not None
    assert (found.full_name, found.phone, skills_of(directory, "7")) == (
        "Blanc", "0639980001", {"Java": 4},
    )  # fmt: skip


def test_somebody_with_one_name(directory: Directory, tmp_path: Path) -> None:
    path = text_file(tmp_path, FRENCH, "1;;Suharto;Dév;Nantes", "2;Madonna;;Dév;Lyon")
    assert directory.import_(path).added == 2
    for name, identifier in (("Suharto", "1"), ("madonna", "2")):
        (found,) = directory.find_people(name).matches
        assert (found.id, found.full_name) == (identifier, name.capitalize())
    copy = tmp_path / "copy.csv"
    directory.export(copy)
    assert directory.import_(copy) == ImportResult(unchanged=2)


# --- workbooks ------------------------------------------------------------------------------------


def test_workbook(directory: Directory, tmp_path: Path) -> None:
    from datetime import datetime

    rows = [*ROWS, [3, "Eve", "Roux", "Dév", "Lyon", None, 3.0, datetime(2026, 12, 31)]]
    result = directory.import_(workbook(tmp_path, Annuaire=rows, Vide=[]))
    assert result.added == 3
    assert result.warnings == ("line 2 ('1'): phone '639980001' is read as '0639980001'",)
    found = directory.get("1")
    assert found is not None
    assert (found.phone, found.skills) == ("0639980001", (Skill("Java", 5),))
    found = directory.get("3")
    assert found is not None
    assert str(found.available_from) == "2026-12-31"


def test_the_sheet_is_chosen(directory: Directory, tmp_path: Path) -> None:
    path = workbook(tmp_path, Notes=[["Lire", "moi"]], Annuaire=ROWS)
    error = refusal(directory, path)
    assert "choose one of them with --sheet: Notes, Annuaire" in str(error)
    assert "no sheet 'Liste'; it has Notes, Annuaire" in str(
        refusal(directory, path, sheet="Liste")
    )
    assert directory.import_(path, sheet="annuaire") == ImportResult(added=2)
    assert directory.import_(path, sheet="2") == ImportResult(unchanged=2)
    assert "has no sheet" in _message(directory, text_file(tmp_path, FRENCH, ZOE), sheet="1")


def _message(directory: Directory, path: Path, **options: Any) -> str:
    with pytest.raises(InvalidFileError) as caught:
        directory.import_(path, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel file (.xls) or has a password"),
        (b"PK\x03\x04 and no more", "can't be read as an Excel workbook"),
    ],
)
def test_what_is_no_workbook(
    directory: Directory, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "gens.xlsx").write_bytes(content)
    assert reason in str(refusal(directory, tmp_path / "gens.xlsx"))


def test_cells_that_hold_no_value(directory: Directory, tmp_path: Path) -> None:
    head = ["id", "nom", "poste", "agence", "phone"]
    path = workbook(tmp_path, A=[head, ["1", "Blanc", "Dév", "Lyon", '=CONCAT("0","1")']])
    assert "line 2: the formula '=CONCAT" in str(refusal(directory, path))
    for value in ("#N/A", "#NOM?", "########"):
        path = workbook(tmp_path, A=[head, ["1", "Blanc", "Dév", value]])
        assert f"agency '{value}' is what a spreadsheet shows" in str(refusal(directory, path))


# --- what spreadsheets and copying leave ----------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("639980001", "0639980001"),
        ("6,39980001E+08", "0639980001"),
        ("6.39980001e8", "0639980001"),
        ("33639980001", "+33639980001"),
        ("3,3639980001E+10", "+33639980001"),
        ("'+33 6 39 98 00 01", "+33 6 39 98 00 01"),
        ("0639980001", "0639980001"),
        ("5512", "5512"),
    ],
)
def test_telephone_numbers(directory: Directory, tmp_path: Path, written: str, read: str) -> None:
    result = directory.import_(text_file(tmp_path, FRENCH, f"1;Zoé;Blanc;Dév;Nantes;;{written}"))
    found = directory.get("1")
    assert found is not None
    assert found.phone == read
    assert bool(result.warnings) is (read not in (written, written[1:]))


@pytest.mark.parametrize("written", ["6,3998E+08", "6,39980E+08", "4,4E+10", "4,4207946E+07"])
def test_telephone_numbers_that_are_lost(
    directory: Directory, tmp_path: Path, written: str
) -> None:
    path = text_file(tmp_path, FRENCH, f"1;Zoé;Blanc;Dév;Nantes;;{written}")
    message = str(refusal(directory, path))
    assert f"phone '{written}' was made a number by a spreadsheet" in message
    assert "make its column text" in message


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("ZoÃ©", "Zoé"),
        ("Zo\u200bé", "Zoé"),
        ("\ufeffZoé\u00ad", "Zoé"),
        ("Zo&eacute;&nbsp;", "Zoé"),
        ("Zo&amp;eacute;", "Zoé"),
        ("FranÃ§oise & Cie", "Françoise & Cie"),
    ],
)
def test_texts_are_repaired_and_told(
    directory: Directory, tmp_path: Path, written: str, read: str
) -> None:
    path = text_file(
        tmp_path, FRENCH + ";Compétences", f'1;"{written}";Blanc;Dév;Nantes;;;"{written}:3"'
    )
    result = directory.import_(path)
    found = directory.get("1")
    assert found is not None
    assert (found.first_name, found.skills) == (read, (Skill(read, 3),))
    (warning,) = result.warnings
    assert f"is read as '{read}'" in warning
    assert "skills" in warning


def test_what_can_not_be_repaired_is_named(directory: Directory, tmp_path: Path) -> None:
    rows = ("1;Zo\ufffd;Blanc;Dév;Nantes", "1,2E+05;Zoé;Blanc;Dév;Nantes")
    problems = refusal(directory, text_file(tmp_path, FRENCH, *rows)).problems
    assert "a character of first_name 'Zo\ufffd' was lost" in problems[0]
    assert "id '1,2E+05' was made a number by a spreadsheet" in problems[1]


def test_a_cell_under_no_header(directory: Directory, tmp_path: Path) -> None:
    header = FRENCH.replace("Courriel", "")
    assert directory.import_(text_file(tmp_path, header, ALI)).added == 1
    assert "the cell 'zoe@example.com' has no column name above it" in _message(
        directory, text_file(tmp_path, header, ZOE)
    )


def test_long_names_of_skills(directory: Directory, tmp_path: Path) -> None:
    name = "Réaliser les travaux de maintenance préventive et curative " * 3
    for length, skill in ((len(name.strip()), name.strip()), (200, (name * 2)[:199] + "x")):
        assert len(skill) == length
        directory.import_(text_file(tmp_path, FRENCH + ";Compétences", ALI + f";{skill}:3"))
        assert skills_of(directory, "2") == {skill: 3}
        assert directory.find_experts(skill).total == 1
    message = "skill is longer than 200 characters (201)"
    path = text_file(tmp_path, FRENCH + ";Compétences", ALI + f";{'x' * 201}:3")
    assert message in _message(directory, path)


# --- formulas -------------------------------------------------------------------------------------


def test_export_writes_into_a_link_and_a_pipe(directory: Directory, tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.touch()
    link.symlink_to(target)
    directory.export(link)
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8").startswith("id,")
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    directory.export(pipe)
    assert os.read(reader, 3) == b"id,"
    os.close(reader)


def test_export_guards_formulas_and_import_undoes_it(directory: Directory, tmp_path: Path) -> None:
    texts = ["=1+1", "+33 1", "-", "@x", "'=quoted", "''=twice", "'plain"]
    people = [
        {
            "id": text,
            "last_name": text + "x",
            "agency": text + "x",
            "job_title": text,
            "biography": text,
        }
        for text in texts
    ]
    directory.import_(text_file(tmp_path, json.dumps(people), name="gens.json"))
    before = [directory.get(text) for text in texts]
    directory.export(tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1:]
    cells = [cell for line in lines for cell in line.split(",")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert cells[0] == "'=1+1"
    assert directory.import_(tmp_path / "out.csv") == ImportResult(unchanged=len(texts))
    assert [directory.get(text) for text in texts] == before


# --- twins ----------------------------------------------------------------------------------------


def test_people_alike_but_for_the_id_are_told(directory: Directory, tmp_path: Path) -> None:
    rows = (ZOE + ";Java:3", ZOE.replace("1;", "9;", 1) + ";Java:3", ALI + ";Java:3")
    result = directory.import_(text_file(tmp_path, FRENCH + ";Compétences", *rows))
    assert result.warnings == ("Zoé Blanc is there 2 times, alike but for the id: 1, 9",)
    # Also with one who was there before; not where the skills differ.
    late = [ALI.replace("2;", f"{n};", 1) + f";Java:{n}" for n in (3, 4)]
    result = directory.import_(text_file(tmp_path, FRENCH + ";Compétences", *late))
    assert result.warnings == ("Ali Petit is there 2 times, alike but for the id: 2, 3",)
