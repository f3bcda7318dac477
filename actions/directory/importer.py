"""Bringing people into the directory: one transaction, only what changed is written.

The search indexes (tokens, hashes, counts) are kept up to date from the differences, so a small
import into a large directory stays small. What an import changes is kept as it was before, until
the next one, to go back to (:func:`undo_import`).
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timezone
from typing import Any

from sqlalchemy import String, Table, bindparam, delete, func, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Row as DatabaseRow

from actions.directory import matching, tables
from actions.directory.database import Database
from actions.directory.files import Row
from actions.directory.model import (
    MAX_LEVEL,
    DirectoryError,
    ImportResult,
    InvalidFileError,
    Skill,
)
from actions.directory.skills import renew

BATCH = 2000
NAME_BITS = 60
_NAMES = ("first_name", "last_name")
_INDEXED = ("job_title", "biography", "email", "phone")

# (name, level) pairs as stored: (skill id, level), in the file's order.
_Skills = tuple[tuple[int, int], ...]
# Whether an import that would come out so may go on.
Confirm = Callable[[ImportResult], bool]
# What ``last_import`` remembers, beside the spelling of agencies and skills: somebody as they were,
# or that nobody was there.
_PERSON, _EMPTY = "person", "empty"
# So many of a kind are told by name.
_TOLD = 20


def skill_rank(level: int, name_order: int) -> int:
    """Sort key of a holder among those of a skill: best level first, then by name."""
    return (MAX_LEVEL - level) << NAME_BITS | name_order


def import_people(
    database: Database,
    rows: Iterable[Row],
    name: str,
    *,
    replace: bool = False,
    only_if_empty: bool = False,
    confirm: Confirm | None = None,
) -> ImportResult | None:
    """Add and change the people of ``rows``; with ``replace`` remove those whom they do not name.

    ``confirm`` is asked before anything is done for good, while nobody else can import; what it
    raises ends the import, and ``False`` does so without an error. ``None`` where
    ``only_if_empty`` and the directory holds people.

    Raises:
        InvalidFileError: the source is wrong; nothing was changed.
        DirectoryError: the database can't be reached, or another import is running.
    """
    return _confirmed(
        database,
        confirm,
        lambda connection: _import(connection, rows, name, replace, only_if_empty),
    )


def undo_import(database: Database, *, confirm: Confirm | None = None) -> ImportResult:
    """Make the directory what it was before the last import; once more, and that is undone.

    Raises:
        DirectoryError: there was none, or as for :func:`import_people`.
    """
    result = _confirmed(database, confirm, _undo)
    assert result is not None
    return result


class _NotConfirmedError(Exception):
    pass


def _confirmed(
    database: Database,
    confirm: Confirm | None,
    change: Callable[[Connection], ImportResult | None],
) -> ImportResult | None:
    result = None
    try:
        with database.write() as connection:
            result = change(connection)
            if result and confirm and not confirm(result):
                raise _NotConfirmedError
    except _NotConfirmedError:
        return result
    if result:
        database.after_import()
    return result


def _import(
    connection: Connection, rows: Iterable[Row], name: str, replace: bool, only_if_empty: bool
) -> ImportResult | None:
    writer = _Writer(connection)
    if only_if_empty and not writer.empty:
        return None
    lines: dict[str, int] = {}
    problems: list[str] = []
    repairs: list[str] = []
    batch: list[Row] = []
    for row in rows:
        identifier = row.values.get("id")
        reasons = row.reasons
        if identifier:
            first = lines.setdefault(identifier, row.line)
            if first != row.line:
                reasons = (*reasons, f"the id was used before, on line {first}")
        if reasons:
            problems.append(row.says(reasons))
            batch.clear()
        elif not problems:
            batch.append(row)
        if row.repairs:
            repairs.append(row.says(row.repairs))
        if len(batch) == BATCH:
            writer.write(batch)
            batch.clear()
    if problems:
        raise InvalidFileError(
            f"{name} was not imported, nothing was changed. Rows to correct: {len(problems)}.",
            tuple(problems),
        )
    if not lines:
        raise InvalidFileError(f"{name} names no collaborator; nothing was changed.")
    writer.write(batch)
    if replace:
        writer.remove_others(lines.keys())
    return writer.finish(repairs)


def _undo(connection: Connection) -> ImportResult:
    memory = tables.last_import.c
    found = connection.execute(
        select(memory.kind, memory.key, memory.data).order_by(memory.position)
    )
    remembered = found.all()
    if not remembered:
        raise DirectoryError("There is no import to undo.")
    writer = _Writer(connection)
    if remembered[0].kind == _EMPTY:
        writer.remove_others(())
    people = [row for row in remembered if row.kind == _PERSON]
    for chunk in _chunks([_as_remembered(row.data) for row in people if row.data]):
        writer.write(chunk)
    for chunk in _chunks([row.key for row in people if not row.data]):
        writer.remove(chunk)
    named = {table.name: table for table in (tables.agency, tables.skill)}
    for row in remembered:
        if row.kind in named:
            writer.respell(named[row.kind], row.key, row.data)
    return writer.finish()


def _as_remembered(data: str) -> Row:
    values = json.loads(data)
    free = values["available_from"]
    values["available_from"] = date.fromisoformat(free) if free else None
    values["updated_at"] = datetime.fromisoformat(values["updated_at"])
    values["skills"] = tuple(Skill(name, level) for name, level in values["skills"].items())
    return Row(0, values)


def remove_person(database: Database, identifier: str) -> bool:
    """Remove somebody from every table; return whether they were there.

    Raises:
        DirectoryError: the database can't be reached, or an import is running.
    """
    with database.write() as connection:
        writer = _Writer(connection)
        writer.remove([identifier], remember=False)
        removed = writer.finish().removed
        memory = tables.last_import
        connection.execute(
            delete(memory).where(memory.c.kind == _PERSON, memory.c.key == identifier)
        )
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
    csv.writer(buffer).writerows(rows)  # None becomes nothing: NULL, and so would an empty text
    buffer.seek(0)
    texts = [f'"{c.name}"' for c in table.columns if isinstance(c.type, String) and not c.nullable]
    options = f"FORMAT csv, FORCE_NOT_NULL ({', '.join(texts)})" if texts else "FORMAT csv"
    with connection.connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {table.name} ({names}) FROM STDIN ({options})", buffer)


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

    def corrections(self, people: dict[int, int]) -> dict[str, str]:
        """The file's most frequent spelling, by key, where it names most of those concerned.

        ``people``: how many the directory counts for an id, for those that :meth:`respelled`
        names. So a corrected file corrects the directory, and a stray row does not.
        """
        wanted = {
            identifier: name
            for identifier, name in self.respelled().items()
            if 2 * sum(self.seen[identifier].values()) > people.get(identifier, 0)
        }
        return {key: wanted[found] for key, found in self.ids.items() if found in wanted}

    def respelled(self) -> dict[int, str]:
        """Ids whose most frequent spelling in the file is not the directory's."""
        usual = {found: counts.most_common(1)[0][0] for found, counts in self.seen.items()}
        return {found: name for found, name in usual.items() if name != self.spelling[found]}


class _Writer:
    """Writes batches of checked rows; :meth:`finish` brings the derived tables up to date."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        people = tables.collaborator
        counted = connection.execute(select(func.max(people.c.pk), func.count()))
        highest, self.before = counted.one()
        self.empty = not self.before
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
        self.has_respelled = False
        self.told: dict[str, list[str]] = {"+": [], "~": [], "-": []}
        self.remembered = 0
        self.arrived: set[str] = set()

    # -- batches ----------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> None:
        """Insert the new people of a batch and rewrite those that changed."""
        known = self._load([row.values["id"] for row in rows])
        skills_of = self._load_skills([person.pk for person in known.values()])
        insertions: list[tuple[int, dict[str, Any], _Skills]] = []
        outdated: list[DatabaseRow] = []
        newcomers: list[str] = []
        for row in rows:
            old = known.get(row.values["id"])
            old_skills = skills_of.get(old.pk, ()) if old else ()
            values, skills = self._merge(row.values, old, old_skills)
            if old is None:
                self.added += 1
                newcomers.append(values["id"])
                insertions.append((self.next_pk, values, skills))
                self.next_pk += 1
                self._tell("+", values)
            elif different := self._different(values, skills, old, old_skills):
                self.changed += 1
                outdated.append(old)
                insertions.append((old.pk, values, skills))
                self._tell("~", values, f": {', '.join(different)}")
            else:
                self.unchanged += 1
        self._remember(_PERSON, [(identifier, None) for identifier in newcomers])
        self._remember_people(outdated, skills_of)
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
            name: given.get(name, getattr(old, name, "" if name in _NAMES else None))
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
    def _different(
        values: dict[str, Any], skills: _Skills, old: DatabaseRow, old_skills: _Skills
    ) -> list[str]:
        """The names of what changes."""
        names = [
            name.removesuffix("_id")
            for name, value in values.items()
            if value != getattr(old, name) and not (name == "updated_at" and value is None)
        ]
        return names if skills == old_skills else [*names, "skills"]

    def _tell(self, sign: str, person: Any, what: str = "") -> None:
        """Keep a line on somebody who is added (+), changed (~) or removed (-)."""
        if len(self.told[sign]) < _TOLD:
            given = person if isinstance(person, dict) else person._mapping
            name = f"{given['first_name']} {given['last_name']}".strip()
            agency = self.agencies.spelling[given["agency_id"]]
            self.told[sign].append(f"{sign} {given['id']} {name} ({agency}){what}")

    # -- memory -----------------------------------------------------------------------------------

    def _remember(self, kind: str, items: Sequence[tuple[str, str | None]]) -> None:
        """Keep the ``data`` that the directory held under keys; those before are forgotten."""
        if items and not self.remembered:
            self.connection.execute(delete(tables.last_import))
            if self.empty:
                kind, items = _EMPTY, [("", None)]
        elif self.empty:
            return  # nobody was there, which is remembered
        rows = [(self.remembered + n, kind, key, data) for n, (key, data) in enumerate(items, 1)]
        self.remembered += len(rows)
        _bulk_insert(self.connection, tables.last_import, rows)

    def _remember_people(
        self, people: Sequence[DatabaseRow], skills_of: dict[int, _Skills]
    ) -> None:
        names = self.skills.spelling
        items = []
        for row in people:
            person = {
                "id": row.id,
                "first_name": row.first_name,
                "last_name": row.last_name,
                "agency": self.agencies.spelling[row.agency_id],
                "job_title": row.job_title,
                "email": row.email,
                "phone": row.phone,
                "skills": {names[skill]: level for skill, level in skills_of.get(row.pk, ())},
                "available_from": row.available_from and row.available_from.isoformat(),
                "biography": row.biography,
                "updated_at": row.updated_at.isoformat(),
            }
            items.append((row.id, json.dumps(person, ensure_ascii=False)))
        self._remember(_PERSON, items)

    def respell(self, table: Table, key: str, name: str) -> None:
        """Spell an agency or a skill in another way, and remember the old one."""
        old = self.connection.execute(select(table.c.name).where(table.c.key == key)).scalar()
        if old is not None and old != name:
            self.has_respelled = True
            self._remember(table.name, [(key, old)])
            self.connection.execute(update(table).where(table.c.key == key).values(name=name))

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
            name_key = matching.name_key(first, last)
            self.arrived.add(name_key)
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
                    name_key,
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
        rows = [(i, name, key, matching.squashed_key(key)) for i, name, key in self.skills.new]
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

    def remove(self, identifiers: Sequence[str], *, remember: bool = True) -> None:
        """Remove the people with these ids who are there."""
        self._remove(list(self._load(identifiers).values()), remember)

    def _remove(self, leaving: Sequence[DatabaseRow], remember: bool = True) -> None:
        skills_of = self._load_skills([row.pk for row in leaving])
        if remember:
            self._remember_people(leaving, skills_of)
        for row in leaving:
            self._tell("-", row)
        self._delete(leaving, skills_of)
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
            self._remove([row for row in rows if row.id not in kept])

    # -- derived tables ---------------------------------------------------------------------------

    def finish(self, repairs: Sequence[str] = ()) -> ImportResult:
        """Update counts and hashes, drop what nobody has any more."""
        self._finish_tokens()
        self._finish_skills()
        self._finish_agencies()
        if self.added or self.changed or self.removed or self.has_respelled:
            renew(self.connection)
        return ImportResult(
            self.added,
            self.changed,
            self.unchanged,
            self.removed,
            before=self.before,
            people=tuple(line for lines in self.told.values() for line in lines),
            warnings=(*repairs, *self._twins()),
        )

    def _twins(self) -> Iterator[str]:
        """Warn of people who arrived and are like another one in everything but the id."""
        person = tables.collaborator.c
        alike = [getattr(person, name) for name in (
            "name_key", "first_name", "last_name", "agency_id", "job_title", "email", "phone",
            "available_from", "biography",
        )]  # fmt: skip
        for chunk in _chunks(sorted(self.arrived)):
            query = select(person.name_key).where(person.name_key.in_(chunk))
            query = query.group_by(*alike).having(func.count() > 1)
            keys = sorted(set(self.connection.execute(query).scalars()))
            found = self.connection.execute(
                select(person.pk, person.id, *alike).where(person.name_key.in_(keys))
            ).all()
            skills_of = self._load_skills([row.pk for row in found])
            groups: dict[Any, list[DatabaseRow]] = {}
            for row in found:
                skills = frozenset(skills_of.get(row.pk, ()))
                groups.setdefault((*row[2:], skills), []).append(row)
            for (_, first, last, *_), group in groups.items():
                if len(group) > 1:
                    ids = ", ".join(row.id for row in group)
                    name = f"{first} {last}".strip()
                    yield f"{name} is there {len(group)} times, alike but for the id: {ids}"

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
        for key, name in self.skills.corrections(holders).items():
            self.respell(skill, key, name)

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
        for key, name in self.agencies.corrections(sizes).items():
            self.respell(tables.agency, key, name)
