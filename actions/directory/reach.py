"""What of a directory users cannot reach by the names they would type, and what would help."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Connection

from actions.directory import matching, skills, spotting
from actions.directory.model import InvalidFileError
from common import spreadsheets

HEADER = ("synonym", "skill")
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


def read_synonyms(path: Path) -> dict[str, str]:
    """Read a file (CSV, .xlsx) with the columns ``synonym,skill``: spelling → skill.

    Raises:
        InvalidFileError: it is none; ``problems`` names every wrong line.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    try:
        lines = list(spreadsheets.rows(path))
    except OSError as error:
        raise InvalidFileError(f"Can't read {path}: {error.strerror or error}.") from None
    if not lines or tuple(str(cell).strip().casefold() for cell in lines[0][1]) != HEADER:
        raise InvalidFileError(f"{path} must begin with the line `{','.join(HEADER)}`.")
    for number, cells in lines[1:]:
        values = [spreadsheets.clean(str(cell)) for cell in cells]
        if len(values) != 2 or not all(matching.skill_key(value) for value in values):
            problems.append(f"line {number}: needs a synonym and a skill")
        elif max(map(len, values)) > _MAX_LENGTH:
            problems.append(f"line {number}: longer than {_MAX_LENGTH} characters")
        elif (key := matching.skill_key(values[0])) in found and found[key] != values[1]:
            problems.append(f"line {number}: {values[0]!r} already stands for {found[key]!r}")
        else:
            found[key] = values[1]
    if problems:
        raise InvalidFileError(
            f"{path} was not taken, nothing was changed. Lines to correct: {len(problems)}.",
            tuple(problems),
        )
    return found
