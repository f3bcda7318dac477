"""The directory's public face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timezone
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from actions.directory import listing, reach, search, skills, spotting, tables
from actions.directory.completion import complete
from actions.directory.database import Database
from actions.directory.files import format_of, read_rows, write_people
from actions.directory.importer import Confirm, import_people, remove_person, undo_import
from actions.directory.model import (
    Collaborator,
    Completion,
    ExpertsFound,
    Found,
    ImportResult,
    PeopleFound,
    Stats,
)
from actions.directory.sources import rows_behind
from actions.directory.spotting import Spotted
from actions.query import Constraint, Query
from common.spreadsheets import Progress, Say

_EXPORT_BATCH = 500


class Directory:
    """Collaborators and their skills in an SQLite file or a PostgreSQL database.

    Nothing is connected before the first question (:meth:`open` does it at once); every method may
    be called from any thread, and answers from what the database holds at that moment.

    Args:
        url: ``sqlite:///…`` or ``postgresql://…``; ``None`` for ``$DIRECTORY_URL``, else the
            SQLite file ``data/directory.db`` of the project.

    Raises:
        DirectoryError: (here) not such a URL; (every method) the database can't be reached or
            refuses. A later call tries again.
    """

    def __init__(self, url: str | None = None) -> None:
        self.database = Database(url)

    def open(self) -> None:
        """Connect and run pending migrations now, to hear of trouble early."""
        self.database.open()

    def prepare(self) -> None:
        """Read what answers need into memory, where the directory has changed since.

        The next question would do it otherwise.
        """
        with self.database.read(patient=True) as connection:
            skills.vocabulary(connection).people(connection).load(connection)

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        self.database.close()

    def get(self, collaborator_id: str) -> Collaborator | None:
        """The person with this id."""
        with self.database.read() as connection:
            pk = search.pk_of(connection, collaborator_id)
            people = search.load(connection, [pk]) if pk is not None else []
        return people[0] if people else None

    def find_people(self, name: str, *, agency: str | None = None, limit: int = 6) -> PeopleFound:
        """People called ``name``, in any order, case and spelling that leaves no doubt.

        ``matches`` holds the best kind that there is: the whole name (other words around it do no
        harm), else some of its words, else either with typos. Where an ``agency`` (folded) leaves
        no match, ``near`` holds those who match elsewhere.
        """
        with self.database.read() as connection:
            return search.find_people(connection, name, agency, limit)

    def find_experts(
        self, skill: str, *, agency: str | None = None, offset: int = 0, limit: int = 5
    ) -> ExpertsFound:
        """Who has ``skill`` (folded, small typos forgiven), best level first, then by name."""
        with self.database.read() as connection:
            return listing.find_experts(connection, skill, agency, offset, limit)

    def find(self, query: Query, *, within: Sequence[str] | None = None) -> Found:
        """One page (5 rows, or ``query.limit``) of the people whom all constraints fit.

        Args:
            within: ids of the only people to look at.
        """
        with self.database.read() as connection:
            return listing.find(connection, query, within)

    def find_alike(
        self, collaborator_id: str, constraints: tuple[Constraint, ...] = (), *, limit: int = 5
    ) -> Found:
        """Other people who share most of a person's main skills, and fit ``constraints``."""
        with self.database.read() as connection:
            return listing.alike(connection, collaborator_id, constraints, limit)

    def related(self, skill: str, *, agency: str | None = None) -> tuple[str, ...]:
        """Skills that somebody (of ``agency``) has, most useful first, where nobody has ``skill``.

        Empty for an agency that does not exist.
        """
        with self.database.read() as connection:
            return search.related(connection, skill, agency)

    def find_contact(self, contact: str) -> tuple[Collaborator, ...]:
        """The people with this e-mail address or telephone number, however it is written."""
        with self.database.read() as connection:
            return search.find_contact(connection, contact)

    def spot(self, text: str) -> list[Spotted]:
        """The whole names of people and skills in ``text``, the longest of those that overlap."""
        with self.database.read() as connection:
            return spotting.spot(connection, text)

    def knows_skill(self, name: str) -> bool:
        """Whether ``name`` is a skill of somebody, by any of its names."""
        with self.database.read() as connection:
            return bool(skills.vocabulary(connection).meaning(name).ids)

    def count_by_agency(self, query: Query) -> dict[str, int]:
        """How many people of each agency fit ``query``, in alphabetical order."""
        with self.database.read() as connection:
            return listing.count_by_agency(connection, query)

    def count_by_skill(self, agency: str | None = None, *, limit: int = 10) -> dict[str, int]:
        """How many people (of an agency) have each of their most frequent skills."""
        with self.database.read() as connection:
            return listing.count_by_skill(connection, agency, limit)

    def complete(self, text: str, *, limit: int = 6) -> tuple[Completion, ...]:
        """What the last words of ``text`` may be the beginning of, at most ``limit``."""
        with self.database.read() as connection:
            return complete(connection, text, limit)

    def agencies(self) -> tuple[str, ...]:
        """Agencies where somebody works, in alphabetical order."""
        with self.database.read() as connection:
            query = select(tables.agency.c.name).order_by(tables.agency.c.key)
            return tuple(connection.execute(query).scalars())

    def names(self) -> list[tuple[str, str]]:
        """First and last name of everybody, each pair once."""
        person = tables.collaborator.c
        query = select(person.first_name, person.last_name).distinct()
        with self.database.read(patient=True) as connection:
            return [(row.first_name, row.last_name) for row in connection.execute(query)]

    def is_empty(self) -> bool:
        """Whether the directory holds nobody."""
        with self.database.read() as connection:
            return connection.execute(select(tables.collaborator.c.pk).limit(1)).first() is None

    def stats(self, *, top: int = 10) -> Stats:
        """Counts of the whole directory, and its ``top`` most frequent skills."""
        person = tables.collaborator.c
        with self.database.read(patient=True) as connection:
            agencies = listing.count_by_agency(connection, Query())
            top_skills = listing.count_by_skill(connection, None, top)
            distinct = connection.execute(select(func.count()).select_from(tables.skill))
            available = select(func.count()).where(person.available_from <= date.today())
            updated = connection.execute(select(func.max(person.updated_at))).scalar()
            return Stats(
                people=sum(agencies.values()),
                skills=distinct.scalar_one(),
                agencies=agencies,
                top_skills=top_skills,
                available_now=connection.execute(available).scalar_one(),
                updated_at=updated.replace(tzinfo=timezone.utc) if updated else None,
            )

    def import_(
        self,
        path: str | Path,
        *,
        replace: bool = False,
        encoding: str | None = None,
        sheet: str | None = None,
        columns: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        say: Say | None = None,
        confirm: Confirm | None = None,
    ) -> ImportResult:
        """Add and change the people of a CSV, .xlsx or JSON file; all of it or nothing.

        People are told apart by id. Those whom the file does not name stay, unless ``replace``.

        Args:
            encoding: of a text file; found out where ``None``.
            sheet: name or number (from 1) of a workbook's sheet, where several hold something.
            columns: what headers mean that are not known (:func:`files.chosen_columns`).
            progress: called with the bytes read and the bytes in all.
            say: called with how encoding and columns were understood.
            confirm: called with what the import would do; nothing is changed unless it says so.

        Raises:
            InvalidFileError: nothing was changed; ``problems`` names every wrong row.
        """
        rows = read_rows(
            Path(path),
            encoding=encoding,
            sheet=sheet,
            columns=columns,
            progress=progress,
            say=say,
        )
        result = import_people(self.database, rows, str(path), replace=replace, confirm=confirm)
        assert result is not None
        return result

    def sync(
        self,
        address: str,
        query: str | None = None,
        *,
        token: str | None = None,
        columns: Mapping[str, str] | None = None,
        say: Say | None = None,
        confirm: Confirm | None = None,
    ) -> ImportResult:
        """Make the directory what the one behind ``address`` is, by :meth:`import_`.

        Args:
            address: ``https://…`` of a file as :meth:`import_` takes it, or SQLAlchemy's of a
                database, where ``query`` selects the columns.
            token: sent to the server of the file as ``Authorization: Bearer``.

        Raises:
            InvalidFileError: it can't be had, or is wrong; nothing was changed.
        """
        with rows_behind(address, query, token=token, columns=columns, say=say) as (rows, name):
            result = import_people(self.database, rows, name, replace=True, confirm=confirm)
        assert result is not None
        return result

    def undo(self, *, confirm: Confirm | None = None) -> ImportResult:
        """Make the directory what it was before the last import; another undo takes that back.

        Raises:
            DirectoryError: (also) there was none.
        """
        return undo_import(self.database, confirm=confirm)

    def take_synonyms(self, path: str | Path, columns: Mapping[str, str] | None = None) -> int:
        """Make the names of a file (``synonym,skill``) the company's own; returns how many.

        They count from the next question on, instead of those taken before. ``columns`` are as of
        :func:`reach.read_synonyms`.

        Raises:
            InvalidFileError: nothing was changed; ``problems`` names every wrong line.
        """
        names = reach.read_synonyms(Path(path), columns)
        with self.database.write() as connection:
            skills.replace_synonyms(connection, names)
        return len(names)

    def take_families(self, path: str | Path, columns: Mapping[str, str] | None = None) -> int:
        """Make the families of a file (``family,skill,title``) the company's own, alike."""
        members = reach.read_families(Path(path), columns)
        with self.database.write() as connection:
            skills.replace_families(connection, members)
        return len({family for family, *_ in members})

    def unreached(self) -> list[reach.Unreached]:
        """The skills that users cannot reach by a name that they would type."""
        with self.database.read(patient=True) as connection:
            return list(reach.unreached(connection))

    def forget(self, collaborator_id: str) -> bool:
        """Remove the person with this id, for good; returns whether they were there.

        An import of a file that names them brings them back.
        """
        return remove_person(self.database, collaborator_id)

    def export(self, path: str | Path, format: str | None = None) -> int:
        """Write everybody to a CSV or JSON file that :meth:`import_` takes; returns how many.

        Args:
            format: ``csv`` or ``json``; by the file's ending where ``None``.

        Raises:
            UserError: no such format, or the file can't be written.
        """
        path = Path(path)
        form = format_of(path, format)
        with self.database.read(patient=True) as connection:
            return write_people(path, _everybody(connection), form)


def _everybody(connection: Connection) -> Iterator[Collaborator]:
    person = tables.collaborator.c
    last = 0
    while True:
        query = select(person.pk).where(person.pk > last).order_by(person.pk).limit(_EXPORT_BATCH)
        pks = list(connection.execute(query).scalars())
        if not pks:
            return
        last = pks[-1]
        yield from search.load(connection, pks, as_listed=True)


def ensure_sample(url: str | None, csv_path: str | Path) -> bool:
    """Fill an empty directory from ``csv_path``; one that holds people is left as it is.

    Returns whether it was filled. Two processes may call it at once: one fills.

    Raises:
        DirectoryError: the database can't be reached.
        InvalidFileError: the sample is wrong.
    """
    directory = Directory(url)
    try:
        if not directory.is_empty():
            return False
        rows = read_rows(Path(csv_path))
        result = import_people(directory.database, rows, str(csv_path), only_if_empty=True)
        return result is not None
    finally:
        directory.close()
