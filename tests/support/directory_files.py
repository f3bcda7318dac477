"""Files of people, and what the directory makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openpyxl import Workbook
from sqlalchemy import func, select

from actions.directory import Directory, matching, tables

HEADER = "id,first_name,last_name,agency,job_title,email,phone,skills"
PAUL = "C1,Paul,Martin,Nantes,Développeur,paul@example.com,01,Java:5;Spring Boot:4"
ANNE = "C2,Anne,Le Goff,Lyon,Testeuse,,,Java:3"


def csv_file(folder: Path, *lines: str, header: str = HEADER, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def snapshot(directory: Directory) -> dict[str, list[tuple]]:
    """Every row of every table."""
    with directory.database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in tables.metadata.sorted_tables
        }


def counts_are_right(directory: Directory) -> None:
    """The derived tables say what the people and their skills say."""
    held, posted = tables.collaborator_skill.c, tables.collaborator_token.c
    with directory.database.read() as connection:
        counted = connection.execute(
            select(held.skill_id, held.agency_id, func.count()).group_by(
                held.skill_id, held.agency_id
            )
        )
        stored = connection.execute(select(tables.skill_count))
        assert sorted(map(tuple, stored)) == sorted(map(tuple, counted))
        token = tables.name_token.c
        counted = connection.execute(
            select(posted.token_id, func.count()).group_by(posted.token_id)
        )
        stored = connection.execute(select(token.id, token.people)).all()
        assert sorted(map(tuple, stored)) == sorted(map(tuple, counted))
        rows = connection.execute(select(token.id, token.text)).all()
        expected = {(key, row.id) for row in rows for key in matching.index_hashes(row.text)}
        assert set(map(tuple, connection.execute(select(tables.name_token_hash)))) == expected
        rows = connection.execute(select(tables.skill.c.id, tables.skill.c.key)).all()
        expected = {(key, row.id) for row in rows for key in matching.skill_hashes(row.key)}
        assert set(map(tuple, connection.execute(select(tables.skill_hash)))) == expected


def workbook(folder: Path, name: str = "gens.xlsx", **sheets: list[list[Any]]) -> Path:
    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / name)
    return folder / name


ROWS: list[list[Any]] = [
    ["Matricule", "Prénom", "Nom", "Poste", "Agence", "Téléphone", "Java", "Disponible le"],
    [1.0, "Zoé", "Blanc", "Dév", "Nantes", 639980001, 5, None],
    [],
    ["A2", "Ali", "Petit", "Dév", "Lyon", "06 39 98 00 02", None, None],
]
