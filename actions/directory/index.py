"""Who has what, as arrays: however many conditions a list has, it costs a few operations on them.

People are numbered in the order of their names (places). Each condition is read from the database
when it is first asked for, and kept until the directory changes: numbers alone, and job titles.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import date
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, func, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import Select

from actions.directory import matching, tables

Numbers = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]

# So many numbers are kept at most, about 100 MB; a key takes the place of some.
_MAX_KEPT, _KEY_SIZE = 20_000_000, 100
# Skills and names that so many have are read beforehand: the others take no time.
_FREQUENT = 500

_person = tables.collaborator.c
_held = tables.collaborator_skill.c
_word = tables.collaborator_word.c
_token = tables.collaborator_token.c
_count = tables.skill_count.c

# Built once; who is read comes first.
_HOLDERS = select(_held.collaborator_pk, _held.level).where(_held.skill_id == bindparam("skill"))
_BEARERS = select(_token.collaborator_pk, _token.role).where(_token.token_id == bindparam("token"))
_WITH_WORD = select(_word.collaborator_pk).where(
    _word.word == bindparam("word"), _word.field == bindparam("field")
)


def _columns(
    connection: Connection, query: Select, values: Mapping[str, int | str] | None = None
) -> list[Numbers]:
    """Return the columns of ``query``, which are numbers, as the driver is fastest."""
    result = connection.execute(query, values or {})
    rows = result.cursor.fetchall()
    result.close()
    width = len(query.selected_columns)
    read = np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * width)
    return list(read.reshape(-1, width).T)


class PeopleIndex:
    """The people of a directory as it was when this was made. Thread-safe.

    ``pks`` are primary keys, ``agencies`` ids, both by place. A mask says of each place whether
    somebody is meant.
    """

    def __init__(self, connection: Connection) -> None:
        order = _person.name_order, _person.pk
        self.pks, self.agencies = _columns(
            connection, select(_person.pk, _person.agency_id).order_by(*order)
        )
        self._place_of = np.full(self.pks.max(initial=0) + 1, -1, np.int32)
        self._place_of[self.pks] = np.arange(len(self.pks))
        self._kept: dict[Hashable, tuple[Numbers, ...]] = {}
        self._size = 0
        self._days: Numbers | None = None
        self._titles: list[tuple[str, str]] | None = None
        self._loaded = False
        self._lock = threading.Lock()

    def _rows(
        self, connection: Connection, query: Select, **values: int | str
    ) -> tuple[Numbers, ...]:
        """Return the places of the people in the first column of ``query``, and the others."""
        key = (query, *values.values())
        found = self._kept.get(key)
        if found is None:
            pks, *others = _columns(connection, query, values)
            found = (self._place_of[pks], *(column.astype(np.int8) for column in others))
            with self._lock:
                if self._size > _MAX_KEPT:
                    self._kept, self._size = {}, 0
                self._kept[key] = found
                self._size += _KEY_SIZE + sum(map(len, found))
        return found

    def nobody(self) -> Mask:
        """Return a mask of nobody."""
        return np.zeros(len(self.pks), np.bool_)

    def places(self, pks: Iterable[int]) -> Numbers:
        """Return the places of people."""
        found: Numbers = self._place_of[np.fromiter(pks, np.int64)]
        return found

    # -- conditions -------------------------------------------------------------------------------

    def levels(
        self, connection: Connection, skills: Iterable[int], lowest: int = 1, highest: int = 5
    ) -> NDArray[np.int8]:
        """Return everybody's best level in ``skills`` (ids) within bounds; 0 without any."""
        best = np.zeros(len(self.pks), np.int8)
        for skill in skills:
            places, levels = self._rows(connection, _HOLDERS, skill=skill)
            if (lowest, highest) != (1, 5):
                within = (levels >= lowest) & (levels <= highest)
                places, levels = places[within], levels[within]
            best[places] = np.maximum(best[places], levels)
        return best

    def with_words(self, connection: Connection, field: int, stems: Sequence[str]) -> Mask:
        """Return who has all of ``stems`` in a field (:func:`matching.index_words`)."""
        found = ~self.nobody()
        for stem in stems:
            [places] = self._rows(connection, _WITH_WORD, word=stem, field=field)
            has = self.nobody()
            has[places] = True
            found &= has
        return found

    def days(self, connection: Connection) -> Numbers:
        """Return the day (its ordinal) from which each is available; 0 where nobody knows."""
        if self._days is None:
            query = select(_person.pk, _person.available_from)
            rows = connection.execute(query.where(_person.available_from.isnot(None))).all()
            days = np.zeros(len(self.pks), np.int32)
            days[self.places(row[0] for row in rows)] = [row[1].toordinal() for row in rows]
            self._days = days
        return self._days

    def available(self, connection: Connection, after: date | None, until: date | None) -> Mask:
        """Return who is available by a day, and not before the other is over."""
        days = self.days(connection)
        found: Mask = days > (after.toordinal() if after else 0)
        return found & (days <= until.toordinal()) if until else found

    # -- names and titles -------------------------------------------------------------------------

    def bearers(self, connection: Connection, tokens: Iterable[int]) -> tuple[Mask, Mask]:
        """Return who bears one of the words (ids) in the last name, and who in the first."""
        found = self.nobody(), self.nobody()
        for token in tokens:
            places, roles = self._rows(connection, _BEARERS, token=token)
            for role, mask in enumerate(found):
                mask[places[roles == role]] = True
        return found

    def titles(self, connection: Connection) -> list[tuple[str, str]]:
        """Return all job titles, each after its words, the most frequent first."""
        if self._titles is None:
            people = func.count().desc()
            query = select(_person.job_title).group_by(_person.job_title)
            titles = connection.execute(query.order_by(people, _person.job_title)).scalars()
            self._titles = [(" ".join(matching.words(title)), title) for title in titles]
        return self._titles

    # -- beforehand -------------------------------------------------------------------------------

    def load(self, connection: Connection) -> None:
        """Read what takes longest to read."""
        if self._loaded:
            return
        people, token = func.sum(_count.people), tables.name_token.c
        skills = select(_count.skill_id).group_by(_count.skill_id).having(people >= _FREQUENT)
        for skill in connection.execute(skills).scalars().all():
            self._rows(connection, _HOLDERS, skill=skill)
        names = select(token.id).where(token.people >= _FREQUENT)
        self.bearers(connection, connection.execute(names).scalars().all())
        self.days(connection)
        self.titles(connection)
        self._loaded = True
