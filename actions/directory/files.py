"""Directory files: tables and lists of objects, read with every mistake named, and written back.

A table is CSV, an .xlsx workbook or what a database answers; its columns are those of ``COLUMNS``,
under these names or French ones, in any order. Skills are written ``Java:5;Spring Boot:4``, or one
column a skill with its level, or one row a skill (columns ``skill`` and ``level``). JSON is a list
of objects with the same keys, or an object with such a list under ``collaborators``; skills are
``[{"name": "Java", "level": 5}]``, ``{"Java": 5}`` or as in a table.

All of them become rows of text, which one checker turns into :class:`Row`.
"""

from __future__ import annotations

import csv
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from rapidfuzz import fuzz, process

from actions.directory.matching import agency_key, skill_key, words
from actions.directory.model import (
    MAX_LEVEL,
    MIN_LEVEL,
    Collaborator,
    InvalidFileError,
    Skill,
)
from common import spreadsheets
from common.errors import UserError
from common.spreadsheets import Progress, Say

COLUMNS = (
    "id",
    "first_name",
    "last_name",
    "agency",
    "job_title",
    "email",
    "phone",
    "skills",
    "available_from",
    "biography",
    "updated_at",
)
FORMATS = ("csv", "json")

# Of a table with one row a skill; ``level:NAME`` is the level in one skill, of each row.
_SKILL, _LEVEL, _LEVEL_IN = "skill", "level", "level:"
_LEFT_OUT = ""

# Names of columns as spreadsheets in French have them, folded.
_HEADERS = {
    "id": "matricule, n matricule, no matricule, numero matricule, numero de matricule, "
    "identifiant, id collaborateur, id salarie, code collaborateur, code salarie",
    "first_name": "prenom, prenoms, prenom usuel",
    "last_name": "nom, nom de famille, nom usuel, nom d usage",
    "agency": "agence, agence de rattachement, site, bureau, implantation, etablissement",
    "job_title": "poste, fonction, metier, emploi, intitule de poste, intitule du poste, titre",
    "email": "courriel, mail, e mail, adresse mail, adresse e mail, adresse email, "
    "adresse electronique, email professionnel, mail professionnel, courriel professionnel",
    "phone": "telephone, tel, portable, mobile, telephone portable, telephone mobile, "
    "tel portable, telephone professionnel, numero de telephone, n telephone, n de telephone",
    "skills": "competences",
    _SKILL: "competence",
    _LEVEL: "niveau, niveau de competence",
    "available_from": "disponible le, disponible a partir du, date de disponibilite, disponibilite",
    "biography": "biographie, bio, presentation",
    "updated_at": "mis a jour le, mise a jour, date de mise a jour, derniere mise a jour",
}


def _folded(header: str) -> str:
    return " ".join(words(header))


_FIELDS = {
    _folded(name): column
    for column, names in _HEADERS.items()
    for name in (column, *names.split(", "))
}

_NEVER_EMPTY = ("id", "agency", "job_title")
_MAX_LENGTH = {
    "id": 64,
    "first_name": 100,
    "last_name": 100,
    "agency": 100,
    "job_title": 200,
    "email": 254,
    "phone": 40,
    "biography": 5000,
    "skill": 200,
}
_MAX_SKILLS = 200
_EMAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;.]+(\.[^@\s<>,;.]+)+")
_DAY_FIRST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
# 6,39980001E+08: a spreadsheet's idea of a telephone number.
_SCIENTIFIC = re.compile(r"(\d)(?:[.,](\d+))?[eE]\+?(\d{1,2})")
# A level, also out of five; and what says that there is none.
_WRITTEN_LEVEL = re.compile(r"([0-9]{1,3})(?:[.,]0+)?(?:\s*/\s*5)?")
_LIKELY_LEVEL = re.compile(r"[0-5](?:[.,]0+)?(?:\s*/\s*5)?|-")
_NO_LEVEL = ("", "0", "-")
# So many rows tell what an unknown column holds.
_SAMPLE = 500


@dataclass(frozen=True)
class Row:
    """One person of a file: the line, the values given (``None`` for an emptied one) and what is
    wrong with them. Columns that the file lacks are absent from ``values``; ``repairs`` tell what
    was read otherwise than it is written."""

    line: int
    values: dict[str, Any]
    reasons: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()

    def says(self, what: Sequence[str]) -> str:
        """``line 12 ('C0007'): …``"""
        identifier = self.values.get("id")
        # Quoted so that odd characters of a wrong id can't upset the terminal.
        known = f" ({str(identifier)[:64]!r})" if identifier else ""
        return f"line {self.line}{known}: {'; '.join(what)}"

    @property
    def problem(self) -> str:
        """What is wrong, with the line."""
        return self.says(self.reasons)


# --- columns --------------------------------------------------------------------------------------


def chosen_columns(given: Iterable[str]) -> dict[str, str]:
    """Return what the words ``HEADER=COLUMN`` say: the column of :data:`COLUMNS` for each header.

    ``level:NAME`` is the level in that skill, ``skill`` and ``level`` those of one row a skill,
    nothing leaves a column out; the header ``*`` stands for all that would be unknown.

    Raises:
        UserError: one of them says something else.
    """
    chosen = {}
    for item in given:
        header, _, column = map(str.strip, item.rpartition("="))
        known = column in (*COLUMNS, _SKILL, _LEVEL, _LEFT_OUT) or (
            column.startswith(_LEVEL_IN) and column != _LEVEL_IN
        )
        if not header or not known:
            raise UserError(
                f"--columns {item!r} is not HEADER=COLUMN. Columns: {', '.join(COLUMNS)}; skill "
                "and level for one row a skill; level:NAME for the level in a skill; nothing to "
                "leave a column out."
            )
        chosen[header if header == "*" else _folded(header) or header] = column
    return chosen


class _Columns:
    """What the columns of a source mean, by their headers."""

    def __init__(self, chosen: Mapping[str, str] | None) -> None:
        self.chosen = chosen or {}
        self.unused = set(self.chosen) - {"*"}
        self._known: dict[tuple[str, ...], list[str | None]] = {}

    def fields(self, headers: Sequence[str]) -> list[str | None]:
        """The column that each header stands for, ``None`` where nothing tells."""
        known = tuple(headers)
        if known not in self._known:
            self._known[known] = self._fields(headers)
        return self._known[known]

    def _fields(self, headers: Sequence[str]) -> list[str | None]:
        keys = [_folded(header) or header.strip() for header in headers]
        self.unused.difference_update(keys)
        unknown = self.chosen.get("*")
        found: list[str | None] = [
            self.chosen.get(key, _FIELDS.get(key, unknown) if key else _LEFT_OUT) for key in keys
        ]
        # « Compétence » may head a list, « Compétences » the skill of a row.
        if _LEVEL in found and _SKILL not in found:
            return [_SKILL if name == "skills" else name for name in found]
        if _SKILL in found and _LEVEL not in found:
            return ["skills" if name == _SKILL else name for name in found]
        return found

    def unused_problems(self) -> list[str]:
        """What is wrong with ``chosen`` once the headers were seen."""
        return [f"there is no column {header!r}, which --columns names" for header in self.unused]


def _nearest(name: str) -> str:
    found = process.extractOne(name.strip().casefold(), COLUMNS, scorer=fuzz.ratio, score_cutoff=50)
    return f", did you mean {found[0]!r}?" if found else ""


def table_rows(
    name: str,
    lines: Iterator[tuple[int, list[Any]]],
    columns: Mapping[str, str] | None = None,
    say: Say | None = None,
) -> Iterator[Row]:
    """Yield the people of a table, whose first line is the header.

    Raises:
        InvalidFileError: the header does not tell what the columns are.
    """
    first, headers = next(lines, (1, []))
    if not headers:
        raise InvalidFileError(f"{name} is empty.")
    headers = [str(header) for header in headers]
    sample = list(islice(lines, _SAMPLE))
    known = _Columns(columns)
    fields = list(known.fields(headers))
    if not {"skills", _SKILL} & set(fields) and not _missing(fields):
        for index in _level_columns(fields, [cells for _, cells in sample]):
            fields[index] = _LEVEL_IN + headers[index].strip()
    problems = _header_problems(first, headers, fields, known)
    if problems:
        raise InvalidFileError(
            f"{name} was not imported. Columns are {','.join(COLUMNS)}, or their French names; "
            "--columns 'HEADER=COLUMN' says what another one is, 'HEADER=' leaves it out, '*=' all "
            "that are unknown.",
            tuple(problems),
        )
    named = [column or _LEFT_OUT for column in fields]
    if say:
        _say_columns(headers, named, say)
    rows = (_row(line, headers, named, cells) for line, cells in chain(sample, lines))
    return _joined(rows) if _SKILL in named else rows


def _level_columns(fields: Sequence[str | None], sample: Sequence[Sequence[Any]]) -> list[int]:
    """The places of unknown columns that hold levels: one column a skill."""
    held = {
        index: [
            text for row in sample for cell in row[index : index + 1] if (text := str(cell).strip())
        ]
        for index, column in enumerate(fields)
        if column is None
    }
    levels = {
        index: sum(bool(_LIKELY_LEVEL.fullmatch(text)) for text in texts)
        for index, texts in held.items()
    }
    # A column that is empty so far is one where others are.
    return [
        i
        for i, n in levels.items()
        if 2 * n > len(held[i]) or (not held[i] and any(levels.values()))
    ]


def _missing(fields: Sequence[str | None]) -> list[str]:
    named = "first_name" in fields or "last_name" in fields
    return [
        name for name in (*_NEVER_EMPTY, *(() if named else ("last_name",))) if name not in fields
    ]


def _header_problems(
    line: int, headers: Sequence[str], fields: Sequence[str | None], known: _Columns
) -> list[str]:
    problems = []
    for header, column in zip(headers, fields, strict=True):
        if column is None:
            problems.append(f"unknown column {header.strip()!r}{_nearest(header)}")
        elif column and fields.count(column) > 1:
            problems.append(f"column {column!r} occurs twice")
    if "skills" in fields and any(name and name.startswith(_LEVEL_IN) for name in fields):
        problems.append("skills are in one column or in one column each, not both")
    problems += [f"column {name!r} is missing" for name in _missing(fields)]
    problems += known.unused_problems()
    return [f"line {line}: {problem}" for problem in dict.fromkeys(problems)]


def _say_columns(headers: Sequence[str], fields: Sequence[str], say: Say) -> None:
    pairs = [(header.strip(), column) for header, column in zip(headers, fields, strict=True)]
    renamed = [
        f"{header} → {column}"
        for header, column in pairs
        if column and not column.startswith(_LEVEL_IN) and header.casefold() != column
    ]
    skills = [column[len(_LEVEL_IN) :] for _, column in pairs if column.startswith(_LEVEL_IN)]
    left_out = [header for header, column in pairs if header and not column]
    for title, names in (
        ("Columns", renamed),
        ("One column a skill", skills),
        ("Left out", left_out),
    ):
        if names:
            say(f"{title}: {', '.join(names)}")


def _row(line: int, headers: Sequence[str], fields: Sequence[str], cells: Sequence[Any]) -> Row:
    """The person on a line of a table; cells that a short line lacks are empty."""
    raw: dict[str, Any] = {column: "" for column in fields if column in COLUMNS}
    reasons, skill, level, levels = [], "", "", []
    for header, column, cell in zip(headers, fields, cells, strict=False):
        if column.startswith(_LEVEL_IN):
            if (text := str(cell).strip()) not in _NO_LEVEL:
                levels.append({"name": column[len(_LEVEL_IN) :], "level": text})
        elif column == _SKILL:
            skill = cell
        elif column == _LEVEL:
            level = str(cell).strip()
        elif column:
            raw[column] = cell
        elif not header.strip() and str(cell).strip():
            reasons.append(f"the cell {str(cell)[:40]!r} has no column name above it")
    if len(cells) > len(headers):
        reason = (
            f"{len(cells)} cells, but the header has {len(headers)}: put cells that hold the "
            "separator in double quotes"
        )
        return Row(line, {"id": str(raw.get("id", "")).strip()}, (reason,))
    if "skills" not in raw and any(name.startswith((_SKILL, _LEVEL_IN)) for name in fields):
        raw["skills"] = levels or ([{"name": skill, "level": level}] if skill or level else [])
    row = _check(line, raw)
    return replace(row, reasons=(*reasons, *row.reasons)) if reasons else row


def _joined(rows: Iterator[Row]) -> Iterator[Row]:
    """Make one person of the rows of an id, which say the same but for the skill."""
    people: dict[Any, Row] = {}
    for row in rows:
        identifier = row.values.get("id") or row.line
        first = people.setdefault(identifier, row)
        if first is row:
            continue
        reasons = [
            f"{name} is {value!r} here, {first.values.get(name)!r} on line {first.line}"
            for name, value in row.values.items()
            if name != "skills" and value != first.values.get(name)
        ]
        skills = (*first.values.get("skills", ()), *row.values.get("skills", ()))
        keys = [skill_key(skill.name) for skill in skills]
        if len(set(keys)) < len(keys):
            reasons.append(f"skill {skills[-1].name!r} is named twice")
        reasons = [f"line {row.line}: {reason}" for reason in (*row.reasons, *reasons)]
        people[identifier] = replace(
            first,
            values={**first.values, "skills": skills},
            reasons=(*first.reasons, *reasons),
            repairs=(*first.repairs, *row.repairs),
        )
    yield from people.values()


# --- reading --------------------------------------------------------------------------------------


def read_rows(
    path: Path,
    *,
    encoding: str | None = None,
    sheet: str | None = None,
    columns: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Iterator[Row]:
    """Yield the people of a CSV, .xlsx or JSON file one by one, wrong ones with their ``reasons``.

    Args:
        encoding: of a text file; found out where ``None``.
        sheet: of a workbook, where several hold something.
        columns: what headers mean, as :func:`chosen_columns` returns it.
        say: told how encoding and columns were understood.

    Raises:
        InvalidFileError: the file as a whole can't be read (missing, encoding, header, syntax).
    """
    try:
        if path.is_dir() or not path.stat().st_size:
            raise InvalidFileError(f"{path} is {'a directory' if path.is_dir() else 'empty'}.")
        if _is_json(path):
            yield from _read_json(path, encoding, columns, progress, say)
        else:
            lines = spreadsheets.rows(
                path, encoding=encoding, sheet=sheet, progress=progress, say=say
            )
            yield from table_rows(str(path), lines, columns, say)
    except OSError as error:
        raise InvalidFileError(f"Can't read {path}: {error.strerror or error}.") from None
    except InvalidFileError:
        raise
    except UserError as error:
        raise InvalidFileError(str(error)) from None


def _is_json(path: Path) -> bool:
    if path.suffix.lower() in {".csv", ".tsv", ".txt", ".xlsx"}:
        return False
    with path.open("rb") as stream:
        head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return path.suffix.lower() == ".json" or head[:1] in (b"[", b"{")


def _read_json(
    path: Path,
    encoding: str | None,
    columns: Mapping[str, str] | None,
    progress: Progress | None,
    say: Say | None,
) -> Iterator[Row]:
    total = path.stat().st_size
    encoding = encoding or spreadsheets.encoding_of(path, say)
    try:
        document = path.read_bytes().decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise InvalidFileError(f"{path} is not in {encoding}.") from None
    except LookupError:
        raise InvalidFileError(f"There is no encoding {encoding!r}.") from None
    if not document.strip():
        raise InvalidFileError(f"{path} is empty.")
    known = _Columns(columns)
    try:
        line, last = 1, 0
        for start, end, item in _json_items(document):
            line, last = line + document.count("\n", last, start), start
            yield _object_row(line, item, known)
            if progress:
                progress(int(total * end / len(document)), total)
        if problems := known.unused_problems():
            raise InvalidFileError(f"{path} was not imported.", tuple(problems))
    except json.JSONDecodeError as error:
        raise InvalidFileError(
            f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except RecursionError:
        raise InvalidFileError(f"{path} is nested too deeply to be a directory.") from None
    except ValueError:
        raise InvalidFileError(f"{path} holds a number of thousands of digits.") from None
    except _NotADirectoryError:
        raise InvalidFileError(
            f"{path} holds no directory: expected a list of objects, or an object with such a list "
            'under "collaborators".'
        ) from None


class _NotADirectoryError(Exception):
    pass


def _json_items(document: str) -> Iterator[tuple[int, int, Any]]:
    """The items of the list with their places in ``document``, which ``json.load`` forgets."""
    decoder = json.JSONDecoder()

    def skip(position: int) -> int:
        while document[position : position + 1] in {" ", "\t", "\r", "\n"}:
            position += 1
        return position

    def at(position: int, char: str) -> bool:
        return document[position : position + 1] == char

    def expect(position: int, char: str) -> int:
        position = skip(position)
        if not at(position, char):
            raise json.JSONDecodeError(f"Expecting {char!r}", document, position)
        return skip(position + 1)

    def items(position: int) -> Generator[tuple[int, int, Any], None, int]:
        """Yield the items of the list opened at ``position``; return the place after it."""
        position = skip(position + 1)
        while not at(position, "]"):
            value, end = decoder.raw_decode(document, position)
            yield position, end, value
            position = skip(end)
            if not at(position, "]"):
                position = expect(position, ",")
        return position + 1

    position = skip(0)
    found = False
    if at(position, "["):
        position = yield from items(position)
        found = True
    elif at(position, "{"):
        position = skip(position + 1)
        while not at(position, "}"):
            key, position = decoder.raw_decode(document, position)
            position = expect(position, ":")
            if key == "collaborators" and at(position, "[") and not found:
                position = yield from items(position)
                found = True
            else:
                _, position = decoder.raw_decode(document, position)
            position = skip(position)
            if not at(position, "}"):
                position = expect(position, ",")
        position += 1
    else:
        _, position = decoder.raw_decode(document, position)
    if skip(position) != len(document):
        raise json.JSONDecodeError("Extra data", document, skip(position))
    if not found:
        raise _NotADirectoryError


def _object_row(line: int, item: Any, known: _Columns) -> Row:
    if not isinstance(item, dict):
        return Row(line, {}, (f"expected an object, found {type(item).__name__}",))
    fields = known.fields(list(item))
    reasons = [
        f"unknown key {key!r}{_nearest(key)}"
        for key, column in zip(item, fields, strict=True)
        if column not in (*COLUMNS, _LEFT_OUT)
    ]
    reasons += [f"{name!r} occurs twice" for name in COLUMNS if fields.count(name) > 1]
    reasons += [f"{key!r} is missing" for key in _NEVER_EMPTY if key not in fields]
    raw = {
        column: value
        for column, value in zip(fields, item.values(), strict=True)
        if column in COLUMNS
    }
    row = _check(line, raw)
    return replace(row, reasons=(*reasons, *row.reasons)) if reasons else row


# --- checking -------------------------------------------------------------------------------------


def _check(line: int, raw: dict[str, Any]) -> Row:
    values: dict[str, Any] = {}
    reasons: list[str] = []
    repairs: list[str] = []
    for name, value in raw.items():
        try:
            if name == "skills":
                values[name] = _skills(value)
                if isinstance(value, str) and spreadsheets.clean(value) != _composed(value):
                    repairs.append(f"skills are read as {spreadsheets.clean(value)!r}")
                continue
            text = _text(name, value)
            if name == "phone" and text:
                text = _phone(text)
            if isinstance(value, str) and text != (_composed(value) or None):
                repairs.append(f"{name} {value.strip()!r} is read as {text!r}")
            if name == "available_from":
                values[name] = _date(text)
            elif name == "updated_at":
                values[name] = _datetime(text)
            else:
                values[name] = text
        except ValueError as error:
            reasons.append(str(error))
            continue
        if values[name] is None and name in _NEVER_EMPTY:
            reasons.append(f"{name} is empty")
    if set(values.get("id") or "") & set("[]{}"):  # nor can templates of answers hold them
        reasons.append(f"id {values['id']!r} holds one of the characters [ ] {{ }}")
    names = {name: values.get(name) for name in ("first_name", "last_name")}
    if any(name in raw for name in names):
        # Somebody may have one name only.
        if not any(names.values()) and not any(
            reason.startswith(tuple(names)) for reason in reasons
        ):
            reasons.append("first_name and last_name are empty")
    else:
        reasons.append("'last_name' is missing")
    email = values.get("email")
    if email and not _EMAIL.fullmatch(email):
        reasons.append(f"e-mail {email!r} is not an address like name@example.com")
    for name, given in names.items():
        if given and not words(given):
            reasons.append(f"{name} {given!r} holds neither letters nor digits")
        if name in raw:
            values[name] = given or ""
    if values.get("agency") and not agency_key(values["agency"]):
        reasons.append(f"agency {values['agency']!r} holds neither letters nor digits")
    return Row(line, values, tuple(reasons), tuple(repairs))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").strip())


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if name in ("id", "phone") and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {type(value).__name__}")
    value = spreadsheets.clean(value)
    if not value.isprintable():
        allowed = "\n\t" if name == "biography" else ""
        for char in value:
            if unicodedata.category(char) in {"Cc", "Cs"} and char not in allowed:
                raise ValueError(f"{name} holds the control character U+{ord(char):04X}")
    if "\ufffd" in value:
        raise ValueError(f"a character of {name} {value[:40]!r} was lost in a conversion (U+FFFD)")
    if spreadsheets.ERROR_VALUE.fullmatch(value):
        raise ValueError(f"{name} {value!r} is what a spreadsheet shows where it has no value")
    if name == "id" and _SCIENTIFIC.fullmatch(value):
        raise ValueError(f"id {value!r} was made a number by a spreadsheet: make its column text")
    longest = _MAX_LENGTH.get(name, 100)
    if len(value) > longest:
        raise ValueError(f"{name} is longer than {longest} characters ({len(value)})")
    return value or None


def _phone(value: str) -> str:
    """``value``, or the number that a spreadsheet made one of its own of."""
    digits = value
    if found := _SCIENTIFIC.fullmatch(value):
        first, rest, exponent = found[1], found[2] or "", int(found[3])
        if len(rest) != exponent:
            raise ValueError(
                f"phone {value!r} was made a number by a spreadsheet, and rounded: make its column "
                "text and write the number again"
            )
        digits = first + rest
    if re.fullmatch("[1-9][0-9]{8}", digits):
        return f"0{digits}"
    if re.fullmatch("33[1-9][0-9]{8}", digits):
        return f"+{digits}"
    if digits != value:
        raise ValueError(
            f"phone {value!r} was made a number by a spreadsheet: make its column text and write "
            "the number again"
        )
    return value


def _date(value: str | None) -> date | None:
    if value is None:
        return None
    try:
        if found := _DAY_FIRST.fullmatch(value):
            day, month, year = map(int, found.groups())
            return date(year, month, day)
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"available_from {value!r} is not a date like 2026-12-31") from None


def _datetime(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
        return (
            found.astimezone(timezone.utc) if found.tzinfo else found.replace(tzinfo=timezone.utc)
        )
    except (ValueError, OverflowError):
        raise ValueError(f"updated_at {value!r} is not a time like 2026-12-31T08:30:00Z") from None


def _skills(value: Any) -> tuple[Skill, ...]:
    """In the order given; a skill is named once."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, dict):
        named = [_skill_of(name, level) for name, level in value.items()]
    elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
        for item in value:
            if set(item) != {"name", "level"}:
                raise ValueError(f"a skill needs the keys name and level, found {sorted(item)}")
        named = [_skill_of(item["name"], item["level"]) for item in value]
    else:
        raise ValueError('skills must be text, {"Java": 5} or [{"name": "Java", "level": 5}]')
    if len(named) > _MAX_SKILLS:
        raise ValueError(f"{len(named)} skills, at most {_MAX_SKILLS} are possible")
    if len(dict(named)) < len(named):
        keys = [key for key, _ in named]
        twice = next(skill for n, (key, skill) in enumerate(named) if key in keys[:n])
        raise ValueError(f"skill {twice.name!r} is named twice")
    return tuple(skill for _, skill in named)


def _parsed(text: str) -> list[dict[str, Any]]:
    """The skills of ``Java:5;Spring Boot:4``; lines of a cell separate too."""
    found = []
    for item in re.split(r"[;|\n]", spreadsheets.clean(text)):
        name, colon, level = map(str.strip, item.rpartition(":"))
        if level and not colon:
            found.append({"name": level, "level": ""})
        elif colon:
            found.append({"name": name, "level": level})
    return found


def _skill_of(name: Any, level: Any) -> tuple[str, Skill]:
    if not isinstance(name, str) or isinstance(level, (list, dict)):
        return _skill.__wrapped__(name, level)  # which says what is wrong with them
    return _skill(name, level)


# A directory names few skills many times.
@lru_cache(maxsize=16384, typed=True)
def _skill(name: Any, level: Any) -> tuple[str, Skill]:
    """The skill with its key."""
    text = _text("skill", name)
    if text is None or not skill_key(text):
        raise ValueError("a skill has no name")
    if re.search(r"[;|]", text):
        raise ValueError(f"skill {text[:100]!r} holds ; or |")
    if level == "":
        raise ValueError(f"skill {text!r} has no level, write it {text}:3")
    if isinstance(level, str) and (found := _WRITTEN_LEVEL.fullmatch(level)):
        level = int(found[1])
    if isinstance(level, bool) or not isinstance(level, int) or not MIN_LEVEL <= level <= MAX_LEVEL:
        raise ValueError(
            f"level {level!r:.40} of skill {text!r} is not a whole number "
            f"from {MIN_LEVEL} to {MAX_LEVEL}"
        )
    return skill_key(text), Skill(text, level)


# --- writing --------------------------------------------------------------------------------------


def format_of(path: Path, wanted: str | None) -> str:
    """``csv`` or ``json``: as wanted, else by the file's ending, else CSV.

    Raises:
        UserError: another format is wanted.
    """
    chosen = (wanted or path.suffix.lstrip(".") or "csv").lower()
    if chosen not in FORMATS:
        raise UserError(f"There is no export format {chosen!r}: choose csv or json.")
    return chosen


def write_people(path: Path, people: Iterable[Collaborator], form: str) -> int:
    """Write ``people`` and return how many; a file appears whole or not at all.

    A link, a device or a pipe, such as ``/dev/stdout``, is written into.

    Raises:
        UserError: the file can't be written.
    """
    temporary = ""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            with path.open("w", encoding="utf-8", newline="") as stream:
                return _write(stream, people, form)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=path.parent, prefix=path.name, delete=False
        ) as stream:
            temporary = stream.name
            count = _write(stream, people, form)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = ""
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror or error}.") from None
    finally:
        if temporary:
            os.unlink(temporary)
    return count


def _write(stream: IO[str], people: Iterable[Collaborator], form: str) -> int:
    count = 0
    if form == "csv":
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for person in people:
            writer.writerow(map(spreadsheets.guarded, _csv_cells(person)))
            count += 1
        return count
    stream.write('{"collaborators": [')
    for person in people:
        stream.write(",\n" if count else "\n")
        json.dump(_json_object(person), stream, ensure_ascii=False)
        count += 1
    stream.write("\n]}\n")
    return count


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _stamp(moment: datetime | None) -> str:
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z") if moment else ""


def _csv_cells(person: Collaborator) -> list[str]:
    return [
        person.id,
        person.first_name,
        person.last_name,
        person.agency,
        person.job_title,
        person.email or "",
        person.phone or "",
        ";".join(f"{skill.name}:{skill.level}" for skill in person.skills),
        person.available_from.isoformat() if person.available_from else "",
        person.biography or "",
        _stamp(person.updated_at),
    ]


def _json_object(person: Collaborator) -> dict[str, Any]:
    return {
        "id": person.id,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "agency": person.agency,
        "job_title": person.job_title,
        "email": person.email,
        "phone": person.phone,
        "skills": [{"name": skill.name, "level": skill.level} for skill in person.skills],
        "available_from": person.available_from.isoformat() if person.available_from else None,
        "biography": person.biography,
        "updated_at": _stamp(person.updated_at) or None,
    }
