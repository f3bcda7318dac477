"""What the directory answers with: plain, immutable values without a tie to the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from actions.query import Constraint, Query, Term
from common.errors import UserError

MIN_LEVEL, MAX_LEVEL = 1, 5


class DirectoryError(UserError):
    """The directory can't be reached, refuses or is broken; the message says what to do.

    The message never holds the password of the database URL.
    """


class InvalidFileError(UserError):
    """A file to import is wrong, and nothing was changed.

    ``problems`` names every bad row, ``summary`` is the message without them.
    """

    def __init__(self, summary: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join((summary, *problems)))
        self.summary, self.problems = summary, problems


@dataclass(frozen=True)
class Skill:
    """A skill as the directory spells it, with a level of 1 (beginner) to 5 (expert)."""

    name: str
    level: int


@dataclass(frozen=True)
class Collaborator:
    """One person. ``skills`` come best level first, equal levels as the file lists them;
    ``updated_at`` is UTC. ``hidden`` names the fields that were withheld from the caller."""

    id: str
    first_name: str
    last_name: str
    agency: str
    job_title: str
    email: str | None = None
    phone: str | None = None
    skills: tuple[Skill, ...] = ()
    available_from: date | None = None
    biography: str | None = None
    updated_at: datetime | None = None
    hidden: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """First name, then last name."""
        return f"{self.first_name} {self.last_name}".strip()


@dataclass(frozen=True)
class PeopleFound:
    """Answer of :meth:`Directory.find_people`.

    ``matches`` are confident, best first, at most ``limit`` of the ``total``; ``near`` are the
    nearest names, filled only where there is no match.
    """

    matches: tuple[Collaborator, ...] = ()
    near: tuple[Collaborator, ...] = ()
    total: int = 0


@dataclass(frozen=True)
class Completion:
    """``text`` may stand for the last ``replaces`` characters of what is typed.

    ``kind`` is ``technology``, ``agency``, ``job_title`` or ``person``; ``people`` are the ids of
    those who are shown by it.
    """

    kind: str
    text: str
    replaces: int
    people: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expert:
    """Somebody who has the skill asked for, and how well (1 to 5; 0 where a title says it)."""

    collaborator: Collaborator
    level: int


@dataclass(frozen=True)
class ExpertsFound:
    """Answer of :meth:`Directory.find_experts`.

    ``skill`` is the name as the directory spells it, ``None`` where no skill comes close.
    ``experts`` is one page of the ``total`` (best level first, then by name) in the agency asked
    for; where the agency leaves nobody, ``total_elsewhere`` counts the people of the other
    agencies. ``related`` names skills that somebody has, most useful first, and is filled only
    where nobody was found. ``updated_at`` is the oldest update (UTC) among ``experts``.
    """

    skill: str | None = None
    experts: tuple[Expert, ...] = ()
    total: int = 0
    related: tuple[str, ...] = ()
    total_elsewhere: int = 0
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Listed:
    """Somebody on a list, with the levels (1 to 5) in the skills asked for that they have."""

    collaborator: Collaborator
    levels: dict[str, int]


@dataclass(frozen=True)
class Relaxed:
    """How many (``total``) would fit ``query``, which does without ``dropped``."""

    dropped: tuple[Constraint, ...]
    query: Query
    total: int


@dataclass(frozen=True)
class Found:
    """Answer of :meth:`Directory.find`: one page of the ``total`` people.

    ``query`` is spelled as the directory does. Where nobody fits, ``relaxed`` are the queries with
    one constraint less, or without its level, that somebody fits, most people first; with two less
    where one is not enough. ``unknown`` are terms that name nothing in the directory;
    ``refused`` constraints that were not applied, since the caller may not see what they ask for;
    ``versions`` are skills asked for with a version that not all of these people have.
    """

    query: Query
    people: tuple[Listed, ...] = ()
    total: int = 0
    relaxed: tuple[Relaxed, ...] = ()
    unknown: tuple[Term, ...] = ()
    refused: tuple[Constraint, ...] = ()
    versions: tuple[str, ...] = ()

    @property
    def updated_at(self) -> datetime | None:
        """The oldest update (UTC) among the people of the page."""
        moments = (listed.collaborator.updated_at for listed in self.people)
        return min((moment for moment in moments if moment), default=None)


@dataclass(frozen=True)
class Stats:
    """Figures of the whole directory."""

    people: int
    skills: int
    agencies: dict[str, int]
    top_skills: dict[str, int]
    available_now: int
    updated_at: datetime | None


@dataclass(frozen=True)
class ImportResult:
    """How many people an import added, changed, left as they were and removed.

    Of ``before`` people; ``people`` are lines on the first who are added (+), changed (~) and
    removed (-), ``warnings`` what was read otherwise than it is written, and people twice.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    before: int = field(default=0, compare=False)
    people: tuple[str, ...] = field(default=(), compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
