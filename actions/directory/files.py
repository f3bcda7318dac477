"""Directory files: CSV and JSON, read with every mistake named, and written back.

CSV has the columns ``id,first_name,last_name,agency,job_title,email,phone,skills`` and optionally
``available_from,biography,updated_at``, separated by commas, semicolons or tabs; skills are written
``Java:5;Spring Boot:4``. JSON is a list of objects with the same keys, or an object with such a
list under ``collaborators``; skills are ``[{"name": "Java", "level": 5}]``, ``{"Java": 5}`` or as
in CSV.
"""

from __future__ import annotations

import csv
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from rapidfuzz import fuzz, process

from actions.directory.matching import agency_key, skill_key, words
from actions.directory.model import (
    MAX_LEVEL,
    MIN_LEVEL,
    Collaborator,
    InvalidFileError,
    Skill,
)
from bot.errors import UserError

REQUIRED_COLUMNS = (
    "id",
    "first_name",
    "last_name",
    "agency",
    "job_title",
    "email",
    "phone",
    "skills",
)
OPTIONAL_COLUMNS = ("available_from", "biography", "updated_at")
COLUMNS = REQUIRED_COLUMNS + OPTIONAL_COLUMNS
FORMATS = ("csv", "json")

_STEERING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_NEVER_EMPTY = ("id", "first_name", "last_name", "agency", "job_title")
_MAX_LENGTH = {
    "id": 64,
    "first_name": 100,
    "last_name": 100,
    "agency": 100,
    "job_title": 200,
    "email": 254,
    "phone": 40,
    "biography": 5000,
}
_MAX_SKILLS = 200
_MAX_SKILL_NAME = 100
_EMAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;.]+(\.[^@\s<>,;.]+)+")
_DAY_FIRST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")

# Called with the bytes read and the bytes in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Row:
    """One person of a file: the line, the values given (``None`` for an emptied one) and what is
    wrong with them. Columns that the file lacks are absent from ``values``."""

    line: int
    values: dict[str, Any]
    reasons: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """``line 12 (C0007): …``"""
        identifier = self.values.get("id")
        # Quoted so that odd characters of a wrong id can't upset the terminal.
        known = f" ({str(identifier)[:64]!r})" if identifier else ""
        return f"line {self.line}{known}: {'; '.join(self.reasons)}"


# --- reading --------------------------------------------------------------------------------------


def read_rows(
    path: Path, *, encoding: str | None = None, progress: Progress | None = None
) -> Iterator[Row]:
    """Yield the people of a CSV or JSON file one by one, wrong ones with their ``reasons``.

    Raises:
        InvalidFileError: the file as a whole can't be read (missing, encoding, header, syntax).
    """
    try:
        total = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(4096)
            if path.is_dir() or not head.strip():
                raise InvalidFileError(f"{path} is empty.")
            if head.startswith((b"\xff\xfe", b"\xfe\xff")) and encoding is None:
                raise InvalidFileError(
                    f"{path} is in UTF-16: save it as UTF-8, or pass --encoding utf-16."
                )
            stream.seek(0)
            is_json = path.suffix.lower() == ".json" or (
                path.suffix.lower() not in {".csv", ".tsv", ".txt"}
                and head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{")
            )
            reader = _read_json if is_json else _read_csv
            yield from reader(path, stream, encoding, total, progress)
    except OSError as error:
        raise InvalidFileError(f"Can't read {path}: {error.strerror or error}.") from None


def _encoding_error(path: Path, line: int, error: UnicodeError) -> InvalidFileError:
    byte = error.object[error.start] if isinstance(error, UnicodeDecodeError) else 0
    return InvalidFileError(
        f"{path} is not in UTF-8 (line {line}, byte 0x{byte:02x}): save it as “CSV UTF-8”, or pass "
        "--encoding cp1252 if it comes from Excel on Windows."
    )


def _decoded(
    path: Path, stream: Any, encoding: str | None, total: int, progress: Progress | None
) -> Iterator[str]:
    if encoding and encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32")):
        # Lines of these can't be cut before they are decoded.
        yield from stream.read().decode(encoding).splitlines(keepends=True)
        return
    done = 0
    for number, raw in enumerate(stream, 1):
        done += len(raw)
        try:
            line = raw.decode(encoding or "utf-8")
        except UnicodeDecodeError as error:
            raise _encoding_error(path, number, error) from None
        yield line.removeprefix("\ufeff") if number == 1 else line
        if progress and number % 500 == 0:
            progress(done, total)
    if progress:
        progress(total, total)


def _read_csv(
    path: Path, stream: Any, encoding: str | None, total: int, progress: Progress | None
) -> Iterator[Row]:
    try:
        lines = _decoded(path, stream, encoding, total, progress)
        first = next(lines)
    except LookupError:
        raise InvalidFileError(f"There is no encoding {encoding!r}.") from None
    except UnicodeError:
        raise InvalidFileError(f"{path} is not in {encoding}.") from None
    # Before Excel's list separator in French, the semicolon, all else: header names hold none.
    delimiter = max(",;\t", key=first.count)

    def chained() -> Iterator[str]:
        yield first
        yield from lines

    reader = csv.reader(chained(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            message = str(error)
            if "NUL" in message:
                message = "contains a NUL character"
            elif "unexpected end" in message:
                message = 'a quote (") that is opened is never closed'
            raise InvalidFileError(
                f"{path}: line {start}: not readable as CSV: {message}. Nothing after it was read."
            ) from None
        if header is None:
            header = _header(path, cells)
        elif any(cell.strip() for cell in cells):
            yield _csv_row(start, header, cells)
        start = reader.line_num + 1
    if header is None:
        raise InvalidFileError(f"{path} has no header line.")


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip().casefold() for cell in cells]
    problems = []
    for given, name in zip(cells, names, strict=True):
        if name not in COLUMNS:
            problems.append(f"line 1: unknown column {given.strip()!r}{_nearest(name)}")
        elif names.count(name) > 1 and f"line 1: column {name!r} occurs twice" not in problems:
            problems.append(f"line 1: column {name!r} occurs twice")
    problems += [
        f"line 1: column {name!r} is missing" for name in REQUIRED_COLUMNS if name not in names
    ]
    if problems:
        raise InvalidFileError(
            f"{path} was not imported. Expected: {','.join(REQUIRED_COLUMNS)}, then optionally "
            f"{','.join(OPTIONAL_COLUMNS)}.",
            tuple(problems),
        )
    return names


def _nearest(name: str) -> str:
    found = process.extractOne(name, COLUMNS, scorer=fuzz.ratio, score_cutoff=50)
    return f", did you mean {found[0]!r}?" if found else ""


def _csv_row(line: int, header: list[str], cells: list[str]) -> Row:
    raw = dict(zip(header, cells, strict=False))
    if len(cells) > len(header):
        reason = (
            f"{len(cells)} cells, but the header has {len(header)}: put cells that hold the "
            "separator in double quotes"
        )
        return Row(line, {"id": raw.get("id", "").strip()}, (reason,))
    if len(cells) < len(header):
        missing = ", ".join(header[len(cells) :])
        reason = f"{len(cells)} cells, but the header has {len(header)} ({missing} missing)"
        return Row(line, {"id": raw.get("id", "").strip()}, (reason,))
    return _check(line, raw)


def _read_json(
    path: Path, stream: Any, encoding: str | None, total: int, progress: Progress | None
) -> Iterator[Row]:
    data = stream.read()
    try:
        document = data.decode(encoding or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _encoding_error(path, data.count(b"\n", 0, error.start) + 1, error) from None
    except LookupError:
        raise InvalidFileError(f"There is no encoding {encoding!r}.") from None
    try:
        line, last = 1, 0
        for start, end, item in _json_items(document):
            line, last = line + document.count("\n", last, start), start
            yield _json_row(line, item)
            if progress:
                progress(int(total * end / len(document)), total)
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


def _json_row(line: int, item: Any) -> Row:
    if not isinstance(item, dict):
        return Row(line, {}, (f"expected an object, found {type(item).__name__}",))
    reasons = [f"unknown key {key!r}{_nearest(key)}" for key in item if key not in COLUMNS]
    reasons += [f"{key!r} is missing" for key in _NEVER_EMPTY if key not in item]
    row = _check(line, {key: value for key, value in item.items() if key in COLUMNS})
    return Row(line, row.values, (*reasons, *row.reasons)) if reasons else row


# --- checking -------------------------------------------------------------------------------------


def _check(line: int, raw: dict[str, Any]) -> Row:
    values: dict[str, Any] = {}
    reasons: list[str] = []
    for name, value in raw.items():
        try:
            if name == "skills":
                values[name] = _skills(value)
            elif name == "available_from":
                values[name] = _date(_text(name, value))
            elif name == "updated_at":
                values[name] = _datetime(_text(name, value))
            else:
                values[name] = _text(name, value)
        except ValueError as error:
            reasons.append(str(error))
            continue
        if values[name] is None and name in _NEVER_EMPTY:
            reasons.append(f"{name} is empty")
    if set(values.get("id") or "") & set("[]{}"):  # nor can templates of answers hold them
        reasons.append(f"id {values['id']!r} holds one of the characters [ ] {{ }}")
    email = values.get("email")
    if email and not _EMAIL.fullmatch(email):
        reasons.append(f"e-mail {email!r} is not an address like name@example.com")
    for name in ("first_name", "last_name"):
        if values.get(name) and not words(values[name]):
            reasons.append(f"{name} {values[name]!r} holds neither letters nor digits")
    if values.get("agency") and not agency_key(values["agency"]):
        reasons.append(f"agency {values['agency']!r} holds neither letters nor digits")
    return Row(line, values, tuple(reasons))


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {type(value).__name__}")
    value = unicodedata.normalize("NFC", value.replace("\r\n", "\n").strip())
    if not value.isprintable():
        allowed = "\n\t" if name == "biography" else ""
        for char in value:
            # Embeddings and overrides make a line read otherwise than it is.
            steers = unicodedata.bidirectional(char) in _STEERING
            if (steers or unicodedata.category(char) in {"Cc", "Cs"}) and char not in allowed:
                raise ValueError(f"{name} holds the control character U+{ord(char):04X}")
    longest = _MAX_LENGTH.get(name, 100)
    if len(value) > longest:
        raise ValueError(f"{name} is longer than {longest} characters ({len(value)})")
    return value or None


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
        named = [_written_skill(item) for item in re.split(r"[;|]", value) if item.strip()]
    elif isinstance(value, dict):
        named = [_skill(name, level) for name, level in value.items()]
    elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
        for item in value:
            if set(item) != {"name", "level"}:
                raise ValueError(f"a skill needs the keys name and level, found {sorted(item)}")
        named = [_skill(item["name"], item["level"]) for item in value]
    else:
        raise ValueError('skills must be text, {"Java": 5} or [{"name": "Java", "level": 5}]')
    if len(named) > _MAX_SKILLS:
        raise ValueError(f"{len(named)} skills, at most {_MAX_SKILLS} are possible")
    if len(dict(named)) < len(named):
        keys = [key for key, _ in named]
        twice = next(skill for n, (key, skill) in enumerate(named) if key in keys[:n])
        raise ValueError(f"skill {twice.name!r} is named twice")
    return tuple(skill for _, skill in named)


# A directory names few skills many times.
@lru_cache(maxsize=16384)
def _written_skill(item: str) -> tuple[str, Skill]:
    name, colon, level = item.rpartition(":")
    if not colon:
        raise ValueError(f"skill {item.strip()!r} has no level, write it {item.strip()}:3")
    level = level.strip()
    return _skill(name, int(level) if re.fullmatch("[0-9]{1,3}", level) else level)


def _skill(name: Any, level: Any) -> tuple[str, Skill]:
    """The skill with its key."""
    text = _text("skill", name)
    if text is None or not skill_key(text):
        raise ValueError("a skill has no name")
    if len(text) > _MAX_SKILL_NAME or re.search(r"[;|]", text):
        raise ValueError(f"skill {text[:100]!r} is too long or holds ; or |")
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
    """Write ``people`` and return how many; the file appears whole or not at all.

    Raises:
        UserError: the file can't be written.
    """
    count = 0
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=path.parent, prefix=path.name, delete=False
        ) as stream:
            temporary = stream.name
            if form == "csv":
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(COLUMNS)
                for person in people:
                    writer.writerow(_csv_cells(person))
                    count += 1
            else:
                stream.write('{"collaborators": [')
                for person in people:
                    stream.write(",\n" if count else "\n")
                    json.dump(_json_object(person), stream, ensure_ascii=False)
                    count += 1
                stream.write("\n]}\n")
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = ""
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror or error}.") from None
    finally:
        if temporary:
            os.unlink(temporary)
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
