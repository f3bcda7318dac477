"""Bringing a file into the directory: one transaction, only what changed is written.

The search indexes (tokens, hashes, counts) are kept up to date from the differences, so a small
import into a large directory stays small.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import Table, bindparam, delete, func, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Row as DatabaseRow

from actions.directory import matching, skills, tables
from actions.directory.database import Database
from actions.directory.files import Progress, Row, read_rows
from actions.directory.model import MAX_LEVEL, ImportResult, InvalidFileError

BATCH = 2000
NAME_BITS = 60
_INDEXED = ("job_title", "biography", "email", "phone")

# (name, level) pairs as stored: (skill id, level), in the file's order.
_Skills = tuple[tuple[int, int], ...]


def skill_rank(level: int, name_order: int) -> int:
    """Sort key of a holder among those of a skill: best level first, then by name."""
    return (MAX_LEVEL - level) << NAME_BITS | name_order


def import_file(
    database: Database,
    path: Path,
    *,
    replace: bool = False,
    encoding: str | None = None,
    progress: Progress | None = None,
    only_if_empty: bool = False,
) -> ImportResult | None:
    """Add and change the people of ``path``; with ``replace`` remove those whom it does not name.

    ``None`` where ``only_if_empty`` and the directory holds people.

    Raises:
        InvalidFileError: the file is wrong; nothing was changed.
        DirectoryError: the database can't be reached, or another import is running.
    """
    with database.write() as connection:
        writer = _Writer(connection)
        if only_if_empty and not writer.empty:
            return None
        lines: dict[str, int] = {}
        problems: list[str] = []
        batch: list[Row] = []
        for row in read_rows(path, encoding=encoding, progress=progress):
            identifier = row.values.get("id")
            reasons = row.reasons
            if identifier:
                first = lines.setdefault(identifier, row.line)
                if first != row.line:
                    reasons = (*reasons, f"the id was used before, on line {first}")
            if reasons:
                problems.append(Row(row.line, row.values, reasons).problem)
                batch.clear()
            elif not problems:
                batch.append(row)
            if len(batch) == BATCH:
                writer.write(batch)
                batch.clear()
        if problems:
            raise InvalidFileError(
                f"{path} was not imported, nothing was changed. Rows to correct: {len(problems)}.",
                tuple(problems),
            )
        if not lines:
            raise InvalidFileError(f"{path} names no collaborator; nothing was changed.")
        writer.write(batch)
        if replace:
            writer.remove_others(lines.keys())
        result = writer.finish()
    database.after_import()
    return result


def remove_person(database: Database, identifier: str) -> bool:
    """Remove somebody from every table; return whether they were there.

    Raises:
        DirectoryError: the database can't be reached, or an import is running.
    """
    with database.write() as connection:
        writer = _Writer(connection)
        writer.remove(identifier)
        removed = writer.finish().removed
    database.after_removal()
    return removed > 0


def _chunks(items: Sequence[Any], size: int = BATCH) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _bulk_insert(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert ``rows``, whose values are in the order of the table's columns, as the driver is
    fastest: COPY on PostgreSQL, the plain driver call on SQLite."""
    if not rows:
        return
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(table.columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({places})", rows)
        return
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)  # None becomes an unquoted nothing: NULL
    buffer.seek(0)
    with connection.connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {table.name} ({names}) FROM STDIN (FORMAT csv)", buffer)


class _Names:
    """The ids of agencies or skills by key, and how this file spells them."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self.connection, self.table = connection, table
        rows = connection.execute(select(table.c.key, table.c.id, table.c.name)).all()
        self.ids: dict[str, int] = {row.key: row.id for row in rows}
        self.spelling: dict[int, str] = {row.id: row.name for row in rows}
        self.next_id = max(self.spelling, default=0) + 1
        self.seen: dict[int, Counter[str]] = {}
        self.new: list[tuple[int, str, str]] = []

    def identify(self, key: str, name: str) -> int:
        """The id of ``key``, a new one where it is unknown."""
        found = self.ids.get(key)
        if found is None:
            found = self.ids[key] = self.next_id
            self.next_id += 1
            self.spelling[found] = name
            self.new.append((found, name, key))
        spellings = self.seen.get(found)
        if spellings is None:
            spellings = self.seen[found] = Counter()
        spellings[name] += 1
        return found

    def correct_spelling(self, people: dict[int, int]) -> None:
        """Take the file's most frequent spelling where it names most of those concerned.

        ``people``: how many the directory counts for an id, for those that :meth:`respelled`
        names. So a corrected file corrects the directory, and a stray row does not.
        """
        for identifier, name in self.respelled().items():
            if 2 * sum(self.seen[identifier].values()) > people.get(identifier, 0):
                self.connection.execute(
                    update(self.table).where(self.table.c.id == identifier).values(name=name)
                )

    def respelled(self) -> dict[int, str]:
        """Ids whose most frequent spelling in the file is not the directory's."""
        usual = {found: counts.most_common(1)[0][0] for found, counts in self.seen.items()}
        return {found: name for found, name in usual.items() if name != self.spelling[found]}


class _Writer:
    """Writes batches of checked rows; :meth:`finish` brings the derived tables up to date."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        people = tables.collaborator
        highest = connection.execute(select(func.max(people.c.pk))).scalar()
        self.empty = highest is None
        self.next_pk = (highest or 0) + 1
        self.now = datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None)
        self.agencies = _Names(connection, tables.agency)
        self.skills = _Names(connection, tables.skill)
        self.tokens: dict[str, int] = {}
        self.new_tokens: dict[int, str] = {}
        token_id = connection.execute(select(func.max(tables.name_token.c.id))).scalar()
        self.next_token = (token_id or 0) + 1
        self.token_change: Counter[int] = Counter()
        self.skill_change: Counter[tuple[int, int]] = Counter()
        self.left_agencies: set[int] = set()
        self.added = self.changed = self.unchanged = self.removed = 0

    # -- batches ----------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> None:
        """Insert the new people of a batch and rewrite those that changed."""
        known = self._load([row.values["id"] for row in rows])
        skills_of = self._load_skills([person.pk for person in known.values()])
        insertions: list[tuple[int, dict[str, Any], _Skills]] = []
        outdated: list[DatabaseRow] = []
        for row in rows:
            old = known.get(row.values["id"])
            old_skills = skills_of.get(old.pk, ()) if old else ()
            values, skills = self._merge(row.values, old, old_skills)
            if old is None:
                self.added += 1
                insertions.append((self.next_pk, values, skills))
                self.next_pk += 1
            elif self._same(values, skills, old, old_skills):
                self.unchanged += 1
            else:
                self.changed += 1
                outdated.append(old)
                insertions.append((old.pk, values, skills))
        self._delete(outdated, skills_of)
        self._insert(insertions)

    def _load(self, identifiers: Sequence[str]) -> dict[str, DatabaseRow]:
        if self.empty or not identifiers:
            return {}
        query = select(tables.collaborator).where(tables.collaborator.c.id.in_(identifiers))
        return {row.id: row for row in self.connection.execute(query)}

    def _load_skills(self, pks: Sequence[int]) -> dict[int, _Skills]:
        held = tables.collaborator_skill.c
        if not pks:
            return {}
        query = (
            select(held.collaborator_pk, held.skill_id, held.level)
            .where(held.collaborator_pk.in_(pks))
            .order_by(held.collaborator_pk, held.position)
        )
        found: dict[int, list[tuple[int, int]]] = {}
        for pk, skill_id, level in self.connection.execute(query):
            found.setdefault(pk, []).append((skill_id, level))
        return {pk: tuple(pairs) for pk, pairs in found.items()}

    def _merge(
        self, given: dict[str, Any], old: DatabaseRow | None, old_skills: _Skills
    ) -> tuple[dict[str, Any], _Skills]:
        """The person as the file wants it; a column that the file lacks keeps its value."""
        values: dict[str, Any] = {
            name: given.get(name, getattr(old, name, None))
            for name in ("id", "first_name", "last_name", "job_title", "email", "phone",
                         "available_from", "biography")
        }  # fmt: skip
        name = given["agency"]
        values["agency_id"] = self.agencies.identify(matching.agency_key(name), name)
        stamp = given.get("updated_at")
        values["updated_at"] = stamp.replace(tzinfo=None) if stamp else None
        if "skills" not in given:
            return values, old_skills
        return values, tuple(
            (self.skills.identify(matching.skill_key(skill.name), skill.name), skill.level)
            for skill in given["skills"]
        )

    @staticmethod
    def _same(
        values: dict[str, Any], skills: _Skills, old: DatabaseRow, old_skills: _Skills
    ) -> bool:
        return skills == old_skills and all(
            value == getattr(old, name)
            for name, value in values.items()
            if not (name == "updated_at" and value is None)
        )

    def _insert(self, people: Sequence[tuple[int, dict[str, Any], _Skills]]) -> None:
        person_rows, skill_rows, token_rows, word_rows = [], [], [], []
        tokens_of = {
            pk: matching.name_tokens(values["first_name"], values["last_name"])
            for pk, values, _ in people
        }
        self._identify_tokens({token for tokens in tokens_of.values() for token in tokens})
        for pk, values, skills in people:
            first, last, agency_id = values["first_name"], values["last_name"], values["agency_id"]
            order = matching.name_order(first, last)
            person_rows.append(
                (
                    pk,
                    values["id"],
                    first,
                    last,
                    agency_id,
                    values["job_title"],
                    values["email"],
                    values["phone"],
                    values["available_from"] and values["available_from"].isoformat(),
                    values["biography"],
                    (values["updated_at"] or self.now).isoformat(" ", "microseconds"),
                    matching.name_key(first, last),
                    order,
                )
            )
            for position, (skill_id, level) in enumerate(skills):
                rank = skill_rank(level, order)
                skill_rows.append((skill_id, rank, pk, agency_id, level, position))
                self.skill_change[skill_id, agency_id] += 1
            words = matching.index_words(*(values[name] for name in _INDEXED))
            word_rows += [(word, field, pk) for word, field in words]
            for token, role in tokens_of[pk].items():
                token_id = self.tokens[token]
                token_rows.append((token_id, role, order, pk))
                self.token_change[token_id] += 1
        self._insert_names()
        _bulk_insert(self.connection, tables.collaborator, person_rows)
        # In the order of the primary key, which spares a b-tree half of its page writes.
        _bulk_insert(self.connection, tables.collaborator_skill, sorted(skill_rows))
        _bulk_insert(self.connection, tables.collaborator_token, sorted(token_rows))
        _bulk_insert(self.connection, tables.collaborator_word, sorted(word_rows))

    def _insert_names(self) -> None:
        _bulk_insert(self.connection, tables.agency, self.agencies.new)
        rows = [(i, name, key, matching.squash(key) or key) for i, name, key in self.skills.new]
        _bulk_insert(self.connection, tables.skill, rows)
        hashes = sorted((h, i) for i, _, key in self.skills.new for h in matching.skill_hashes(key))
        _bulk_insert(self.connection, tables.skill_hash, hashes)
        self.agencies.new, self.skills.new = [], []

    def _identify_tokens(self, wanted: Iterable[str]) -> None:
        unknown = sorted(set(wanted) - self.tokens.keys())
        if not self.empty:
            for chunk in _chunks(unknown):
                query = select(tables.name_token.c.text, tables.name_token.c.id)
                rows = self.connection.execute(query.where(tables.name_token.c.text.in_(chunk)))
                self.tokens.update({row.text: row.id for row in rows})
        for token in unknown:
            if token not in self.tokens:
                self.tokens[token] = self.next_token
                self.new_tokens[self.next_token] = token
                self.next_token += 1

    def _delete(self, people: Sequence[DatabaseRow], skills_of: dict[int, _Skills]) -> None:
        """Take people out with all their index rows."""
        if not people:
            return
        tokens_of = {row.pk: matching.name_tokens(row.first_name, row.last_name) for row in people}
        self._identify_tokens({token for tokens in tokens_of.values() for token in tokens})
        for row in people:
            self.left_agencies.add(row.agency_id)
            for skill_id, _ in skills_of.get(row.pk, ()):
                self.skill_change[skill_id, row.agency_id] -= 1
            for token in tokens_of[row.pk]:
                self.token_change[self.tokens[token]] -= 1
        word = tables.collaborator_word.c
        keys = [
            {"key": key, "of": field, "owner": row.pk}
            for row in people
            for key, field in matching.index_words(*(getattr(row, name) for name in _INDEXED))
        ]
        if keys:
            statement = delete(tables.collaborator_word).where(
                word.word == bindparam("key"),
                word.field == bindparam("of"),
                word.collaborator_pk == bindparam("owner"),
            )
            self.connection.execute(statement, keys)
        pks = [row.pk for row in people]
        for column in (
            tables.collaborator_skill.c.collaborator_pk,
            tables.collaborator_token.c.collaborator_pk,
            tables.collaborator.c.pk,
        ):
            self.connection.execute(delete(column.table).where(column.in_(pks)))

    def remove(self, identifier: str) -> None:
        """Remove the person with that id, if there is one."""
        leaving = list(self._load([identifier]).values())
        self._delete(leaving, self._load_skills([row.pk for row in leaving]))
        self.removed += len(leaving)

    def remove_others(self, keep: Iterable[str]) -> None:
        """Remove everybody whose id is not in ``keep``."""
        kept = set(keep)
        people = tables.collaborator
        last = 0
        while True:
            query = select(people).where(people.c.pk > last).order_by(people.c.pk).limit(BATCH)
            rows = self.connection.execute(query).all()
            if not rows:
                return
            last = rows[-1].pk
            leaving = [row for row in rows if row.id not in kept]
            self._delete(leaving, self._load_skills([row.pk for row in leaving]))
            self.removed += len(leaving)

    # -- derived tables ---------------------------------------------------------------------------

    def finish(self) -> ImportResult:
        """Update counts and hashes, drop what nobody has any more."""
        self._finish_tokens()
        self._finish_skills()
        self._finish_agencies()
        if self.added or self.changed or self.removed:
            skills.renew(self.connection)
        return ImportResult(self.added, self.changed, self.unchanged, self.removed)

    def _finish_tokens(self) -> None:
        token = tables.name_token
        born = {i: text for i, text in self.new_tokens.items() if self.token_change[i] > 0}
        rows = [(i, text, self.token_change[i]) for i, text in born.items()]
        _bulk_insert(self.connection, token, rows)
        hashes = [(h, i) for i, text in born.items() for h in matching.index_hashes(text)]
        _bulk_insert(self.connection, tables.name_token_hash, sorted(hashes))
        changes = [
            {"token_id": i, "change": change}
            for i, change in self.token_change.items()
            if change and i not in self.new_tokens
        ]
        if changes:
            statement = update(token).where(token.c.id == bindparam("token_id"))
            change = bindparam("change", type_=token.c.people.type)
            self.connection.execute(statement.values(people=token.c.people + change), changes)
        lost = [item["token_id"] for item in changes if item["change"] < 0]
        for chunk in _chunks(lost):
            query = select(token.c.id, token.c.text).where(token.c.id.in_(chunk))
            gone = self.connection.execute(query.where(token.c.people <= 0)).all()
            keys = [
                {"key": key, "owner": row.id} for row in gone
                for key in matching.index_hashes(row.text)
            ]  # fmt: skip
            self._delete_hashes(tables.name_token_hash, tables.name_token_hash.c.token_id, keys)
            self.connection.execute(delete(token).where(token.c.id.in_([row.id for row in gone])))

    def _delete_hashes(self, table: Table, owner: Any, keys: list[dict[str, Any]]) -> None:
        if keys:
            statement = delete(table).where(
                table.c.hash == bindparam("key"), owner == bindparam("owner")
            )
            self.connection.execute(statement, keys)

    def _finish_skills(self) -> None:
        count, skill = tables.skill_count, tables.skill
        changed = {pair: change for pair, change in self.skill_change.items() if change}
        touched = sorted({skill_id for skill_id, _ in changed})
        totals: Counter[int] = Counter()
        for chunk in _chunks(touched):
            rows = self.connection.execute(select(count).where(count.c.skill_id.in_(chunk))).all()
            people = Counter({(row.skill_id, row.agency_id): row.people for row in rows})
            self.connection.execute(delete(count).where(count.c.skill_id.in_(chunk)))
            wanted = set(chunk)
            people.update({pair: n for pair, n in changed.items() if pair[0] in wanted})
            kept = sorted((*pair, n) for pair, n in people.items() if n > 0)
            _bulk_insert(self.connection, count, kept)
            for skill_id, _, number in kept:
                totals[skill_id] += number
        gone = [skill_id for skill_id in touched if not totals[skill_id]]
        for chunk in _chunks(gone):
            rows = self.connection.execute(select(skill).where(skill.c.id.in_(chunk))).all()
            keys = [
                {"key": key, "owner": row.id} for row in rows
                for key in matching.skill_hashes(row.key)
            ]  # fmt: skip
            self._delete_hashes(tables.skill_hash, tables.skill_hash.c.skill_id, keys)
            self.connection.execute(delete(skill).where(skill.c.id.in_(chunk)))
        respelled = sorted(self.skills.respelled())
        query = select(count.c.skill_id, func.sum(count.c.people)).group_by(count.c.skill_id)
        holders: dict[int, int] = {}
        for chunk in _chunks(respelled):
            found = self.connection.execute(query.where(count.c.skill_id.in_(chunk)))
            holders.update({row[0]: int(row[1]) for row in found})
        self.skills.correct_spelling(holders)

    def _finish_agencies(self) -> None:
        people = tables.collaborator
        for agency_id in sorted(self.left_agencies):
            query = select(people.c.pk).where(people.c.agency_id == agency_id).limit(1)
            if self.connection.execute(query).first() is None:
                self.connection.execute(
                    delete(tables.agency).where(tables.agency.c.id == agency_id)
                )
        respelled = self.agencies.respelled()
        sizes: dict[int, int] = {}
        for agency_id in respelled:
            query = select(func.count()).where(people.c.agency_id == agency_id)
            sizes[agency_id] = int(self.connection.execute(query).scalar_one())
        self.agencies.correct_spelling(sizes)
