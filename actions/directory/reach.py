"""What of a directory users cannot reach by the names they would type, and what would help."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Connection

from actions.directory import matching, skills, spotting
from actions.directory.model import InvalidFileError
from common import spreadsheets

SYNONYMS = ("synonym", "skill")
FAMILIES = ("family", "skill", "title")
_MAX_LENGTH = 200
_PART = re.compile(r"[^\s/|;,&()+][^/|;,&()+]*")


@dataclass(frozen=True)
class Unreached:
    """A skill, why users do not find it, and the line of the synonyms' file that helps."""

    skill: str
    reason: str
    line: str


def unreached(connection: Connection) -> Iterator[Unreached]:
    """The skills that some name people would use for them does not bring."""
    known = skills.vocabulary(connection)
    slips: dict[int, list[tuple[int, str]]] = {}
    for identifier, name in known.names.items():
        key = matching.skill_key(name)
        if len(key) > 1 and not any(s.value for s in spotting.spot(connection, name)):
            yield Unreached(name, "is not recognised in a sentence", _line("SHORT NAME", name))
            continue
        squashed = matching.squash(key)
        if squashed in known.synonyms:
            continue
        for part in _parts(name):
            if identifier not in known.meaning(part).ids:
                yield Unreached(name, f"is not found by « {part} »", _line(part, name))
        for near in {matching.hash_key(item) for item in matching.deletions(squashed, 1)}:
            for other, theirs in slips.get(near, ()):
                alike = matching.is_skill_typo(squashed, theirs)
                if alike and identifier not in known.meaning(known.names[other]).ids:
                    reason = f"is spelled nearly as « {known.names[other]} », which is another one"
                    yield Unreached(name, reason, _line(name, known.names[other]))
                    break
            slips.setdefault(near, []).append((identifier, squashed))


def _parts(name: str) -> list[str]:
    """The names within ``name`` that its punctuation sets apart, where there are several."""
    if matching.squash(matching.skill_key(name)) in skills.lookups():
        return []
    found = [part.strip() for part in _PART.findall(name)]
    found = [part for part in found if len(part) > 1 and re.search(r"[^\W\d_]{2}", part)]
    return found if len(found) > 1 else []


def _line(synonym: str, skill: str) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow((synonym, skill))
    return stream.getvalue()


# --- the company's own words ----------------------------------------------------------------------


def read_synonyms(path: Path, columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """Read a file (CSV, .xlsx) with the columns ``synonym,skill``: spelling → skill.

    Args:
        columns: what headers mean in a file that was made for something else. There, rows without a
            synonym are passed over, and of several skills of one name the first counts.

    Raises:
        InvalidFileError: it is none; ``problems`` names every wrong line.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for line, (synonym, skill) in _rows(path, SYNONYMS, 2, columns or {}, problems):
        if not (synonym and skill):
            problems += [] if columns else [f"line {line}: needs a synonym and a skill"]
        elif found.setdefault(matching.skill_key(synonym), skill) != skill and not columns:
            known = found[matching.skill_key(synonym)]
            problems.append(f"line {line}: {synonym!r} already stands for {known!r}")
    _refuse(path, problems)
    return found


def read_families(
    path: Path, columns: Mapping[str, str] | None = None
) -> list[tuple[str, str, str]]:
    """Read a file with the columns ``family,skill`` and perhaps ``title``: the families' members.

    Each is the name of a family, ``skill`` or ``title``, and the member's name. For ``columns`` and
    errors see :func:`read_synonyms`.
    """
    names: dict[str, str] = {}
    found: list[tuple[str, str, str]] = []
    problems: list[str] = []
    for line, (family, *members) in _rows(path, FAMILIES, 2, columns or {}, problems):
        if not (family and any(members)):
            problems += [] if columns else [f"line {line}: needs a family, and a skill or a title"]
            continue
        name = names.setdefault(matching.squashed_key(matching.skill_key(family)), family)
        kinds = zip(FAMILIES[1:], members, strict=True)
        found += [(name, kind, member) for kind, member in kinds if member]
    _refuse(path, problems)
    return found


def _rows(
    path: Path, names: Sequence[str], needed: int, columns: Mapping[str, str], problems: list[str]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the cells of the columns ``names``, of which the first so many are needed.

    A cell of several lines makes as many rows.

    Raises:
        InvalidFileError: a column that is needed is not there.
    """
    chosen = {spreadsheets.clean(header).casefold(): name for header, name in columns.items()}
    try:
        lines = list(spreadsheets.rows(path))
    except OSError as error:
        raise InvalidFileError(f"Can't read {path}: {error.strerror or error}.") from None
    headers = [spreadsheets.clean(str(cell)).casefold() for cell in lines[0][1]] if lines else []
    places = {chosen.get(header, header): place for place, header in enumerate(headers)}
    if not places.keys() >= set(names[:needed]):
        raise InvalidFileError(
            f"{path} must begin with the line `{','.join(names)}`; --columns 'HEADER=COLUMN' says "
            "which of its columns is meant."
        )
    for number, cells in lines[1:]:
        held = [
            str(cells[places[n]]) if places.get(n, len(cells)) < len(cells) else "" for n in names
        ]
        cleaned = [
            [text for x in cell.splitlines() if (text := spreadsheets.clean(x))] for cell in held
        ]
        for values in itertools.product(*(texts or [""] for texts in cleaned)):
            if max(map(len, values)) > _MAX_LENGTH:
                problems.append(f"line {number}: longer than {_MAX_LENGTH} characters")
            else:
                yield number, values


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if problems:
        raise InvalidFileError(
            f"{path} was not taken, nothing was changed. Lines to correct: {len(problems)}.",
            tuple(problems),
        )
