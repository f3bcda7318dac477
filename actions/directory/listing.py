"""Lists of people under constraints (:mod:`actions.query`)."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from actions.directory import matching, search, skills, tables, vocabulary
from actions.directory.index import Mask
from actions.directory.model import (
    MAX_LEVEL,
    MIN_LEVEL,
    Expert,
    ExpertsFound,
    Found,
    Listed,
    Relaxed,
)
from actions.directory.skills import Meant, Vocabulary
from actions.query import MAX_OFFSET, PAGE_SIZE, Constraint, Query, Term

_held = tables.collaborator_skill.c
_count = tables.skill_count.c

# Skills that an inexact name may stand for, and people that an excluded name may mean.
_MAX_SKILLS = 20
_MAX_NAMESAKES = 100
# Constraints of a query that are dropped in pairs, where nobody fits.
_MAX_PAIRED = 6
# Somebody's best skills that another must share to be like them.
_MAIN_SKILLS = 6


# --- what the terms of a constraint mean in this directory ----------------------------------------


@dataclass(frozen=True)
class _Meaning:
    """A constraint, spelled as the directory does; ids of what it names, and stems of words.

    Of ``skills``, ``exact`` have the very ``versions`` that are asked for, where others do as well.
    """

    constraint: Constraint
    skills: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    words: tuple[tuple[int, tuple[str, ...]], ...] = ()
    agencies: tuple[int, ...] = ()
    people: tuple[int, ...] = ()
    unknown: tuple[Term, ...] = ()
    exact: tuple[int, ...] = ()
    versions: tuple[str, ...] = ()


def _meanings(connection: Connection, constraints: Sequence[Constraint]) -> list[_Meaning]:
    """What each constraint means; two spellings of one are one."""
    known = skills.vocabulary(connection)
    found = (_meaning(connection, known, constraint) for constraint in constraints)
    return list({meaning.constraint: meaning for meaning in found}.values())


def _meaning(connection: Connection, known: Vocabulary, constraint: Constraint) -> _Meaning:
    ids: dict[int, None] = {}
    exact: list[int] = []
    versions: list[str] = []
    words: list[tuple[int, tuple[str, ...]]] = []
    agencies: list[int] = []
    people: list[int] = []
    terms: list[Term] = []
    unknown: list[Term] = []

    def size() -> int:
        return len(ids) + len(words) + len(agencies) + len(people)

    for term in constraint.terms:
        before = size()
        if term.kind == "job_title":
            words += [(matching.TITLE, title) for title in vocabulary.titles(term.value)]
        elif term.kind == "topic":
            stems = tuple(matching.stems(matching.clean(term.value)))
            words += [(matching.BIOGRAPHY, stems)] if stems else []
        elif term.kind == "agency":
            found = search.agency_row(connection, term.value)
            if found is not None:
                agencies.append(found.id)
                term = Term(term.kind, found.name)
        elif term.kind == "person":
            named = search.find_people(connection, term.value, limit=_MAX_NAMESAKES).matches
            pks = (search.pk_of(connection, person.id) for person in named)
            people += [pk for pk in pks if pk is not None]
        elif term.kind != "availability":
            asked = term.value
            term, meant, titles = _skills(connection, known, term)
            ids.update(dict.fromkeys(meant.ids))
            words += [(matching.TITLE, title) for title in titles]
            if not meant.ids and term.kind == "technology":
                before = size()  # a title, perhaps
            if meant.version and meant.others:
                exact += meant.exact
                versions.append(asked)
        terms.append(term)
        if size() == before and term.kind != "availability":
            unknown.append(term)
    return _Meaning(
        dataclasses.replace(constraint, terms=tuple(dict.fromkeys(terms))),
        tuple(ids),
        tuple(known.names[i] for i in ids),
        tuple(words),
        tuple(agencies),
        tuple(people),
        tuple(unknown),
        tuple(exact),
        tuple(versions),
    )


def _skills(
    connection: Connection, known: Vocabulary, term: Term
) -> tuple[Term, Meant, tuple[tuple[str, ...], ...]]:
    """The skills and titles that a technology or a family stands for.

    In turn: the skills of that name, the family of that name (with them), skills that it is a slip
    for, the skills that have all its words (Spring: Spring Boot), the title of that name.
    """
    meant = known.meaning(term.value)
    family = known.family(term.value)
    if family is not None and not (meant.exact and term.kind == "technology"):
        others = (i for name in family.skills for i in known.meaning(name).ids)
        ids = tuple(matching.unique((*meant.ids, *others)))
        return Term("family", term.value), Meant((), ids), family.titles
    if not meant.ids:
        meant = search.slip(connection, known, term.value)
    if not meant.ids:
        found = dict(search.containing(connection, term.value, _MAX_SKILLS))
        name = next(iter(found.values())) if len(found) == 1 else term.value
        meant = Meant((), tuple(found), False, name)
    # « je cherche un SRE »: no skill, and what people are
    titles = () if meant.ids else vocabulary.titles(term.value)
    return Term("technology", meant.name or term.value), meant, titles


# --- who fits -------------------------------------------------------------------------------------


class _Selection:
    """People whom all of ``meanings`` fit.

    ``found`` are their places in ``index``, in the order of names; ``levels`` those of everybody in
    each skill wanted, ``exact`` in the very version that was asked for.
    """

    def __init__(
        self,
        connection: Connection,
        meanings: Sequence[_Meaning],
        within: Iterable[int] | None = None,
    ) -> None:
        self.connection = connection
        self.index = skills.vocabulary(connection).people(connection)
        self.levels: list[NDArray[np.int8]] = []
        self.exact: list[NDArray[np.int8]] = []
        fits = ~self.index.nobody()
        for meaning in meanings:
            named = self._named(meaning)
            fits &= ~named if meaning.constraint.excluded else named
        if within is not None:
            seen = self.index.nobody()
            seen[self.index.places(within)] = True
            fits &= seen
        self.found = np.flatnonzero(fits)

    def _named(self, meaning: _Meaning) -> Mask:
        """Whom the terms of a constraint name."""
        index, constraint = self.index, meaning.constraint
        if constraint.kind == "availability":
            return index.available(self.connection, constraint.after, constraint.until)
        bounds = constraint.minimum or MIN_LEVEL, constraint.maximum or MAX_LEVEL
        levels = index.levels(self.connection, meaning.skills, *bounds)
        if constraint.is_skill:
            self.levels.append(levels)
            if meaning.exact:
                self.exact.append(index.levels(self.connection, meaning.exact, *bounds))
        named = levels > 0
        for field, stems in () if constraint.has_level else meaning.words:
            named |= index.with_words(self.connection, field, stems)
        for agency in meaning.agencies:
            named |= index.agencies == agency
        named[index.places(meaning.people)] = True
        return named

    def page(self, order: str, limit: int, offset: int) -> list[int]:
        """Primary keys of a page."""
        found, keys = self.found, []
        if self.levels and order != "name":
            levels = np.stack([level[found] for level in self.levels])
            keys = [-levels.sum(axis=0), -levels.min(axis=0)]
            keys += [-level[found] for level in reversed(self.exact)]
        if order == "agency":
            agency = tables.agency.c
            ids = self.connection.execute(select(agency.id).order_by(agency.key)).scalars().all()
            rank = np.zeros(max(ids, default=0) + 1, np.int32)
            rank[ids] = np.arange(len(ids))
            keys.append(rank[self.index.agencies[found]])
        elif order == "availability":
            days = self.index.days(self.connection)[found]
            keys.append(np.where(days, days, date.max.toordinal()))
        if keys:
            found = found[np.lexsort(keys)]
        pks: list[int] = self.index.pks[found[offset : offset + limit]].tolist()
        return pks


# --- answers --------------------------------------------------------------------------------------


def find(connection: Connection, query: Query, within: Sequence[str] | None = None) -> Found:
    """See :meth:`actions.directory.Directory.find`."""
    meanings = _meanings(connection, query.constraints)
    spelled = query.with_(constraints=tuple(m.constraint for m in meanings))
    pks = None
    if within is not None:
        looked_up = (search.pk_of(connection, identifier) for identifier in within)
        pks = [pk for pk in looked_up if pk is not None]
    total, rows = 0, []
    if not any(_is_impossible(meaning) for meaning in meanings):
        fitting = _Selection(connection, meanings, pks)
        total = len(fitting.found)
        rows = fitting.page(query.order, query.limit or PAGE_SIZE, query.offset)
    relaxed = [] if total else _relaxed(connection, spelled, meanings, pks)
    people = search.load(connection, rows)
    return Found(
        spelled,
        tuple(Listed(person, _levels(person.skills, meanings)) for person in people),
        total,
        tuple(relaxed),
        tuple(term for meaning in meanings for term in meaning.unknown),
        versions=tuple(name for meaning in meanings for name in meaning.versions) if total else (),
    )


def _relaxed(
    connection: Connection,
    query: Query,
    meanings: Sequence[_Meaning],
    within: Sequence[int] | None,
) -> list[Relaxed]:
    """See :attr:`Found.relaxed`."""
    found: list[Relaxed] = []

    def weigh(dropped: Sequence[_Meaning], weaker: Sequence[_Meaning] = ()) -> None:
        left = [*(m for m in meanings if m not in dropped), *weaker]
        if left and not any(map(_is_impossible, left)):
            total = len(_Selection(connection, left, within).found)
            if total:
                constraints = tuple(meaning.constraint for meaning in left)
                gone = tuple(meaning.constraint for meaning in dropped)
                found.append(Relaxed(gone, query.with_(constraints=constraints, offset=0), total))

    for meaning in meanings:
        if meaning.constraint.has_level:
            any_level = meaning.constraint.at_level(None, None)
            weigh([meaning], [dataclasses.replace(meaning, constraint=any_level)])
        if (meaning.constraint,) not in [relaxed.dropped for relaxed in found]:
            weigh([meaning])
    if not found and len(meanings) <= _MAX_PAIRED:
        for pair in itertools.combinations(meanings, 2):
            weigh(pair)
    return sorted(found, key=lambda relaxed: -relaxed.total)


def _is_impossible(meaning: _Meaning) -> bool:
    """Whether nobody can fit, for want of anything that the directory knows."""
    constraint = meaning.constraint
    known = meaning.skills or meaning.words or meaning.agencies or meaning.people
    return not (known or constraint.excluded or constraint.kind == "availability")


def _levels(skills: Sequence[Any], meanings: Sequence[_Meaning]) -> dict[str, int]:
    """The levels of a person in what is asked for, best first within a constraint."""
    found: dict[str, int] = {}
    for meaning in meanings:
        if meaning.constraint.is_skill:
            best = [skill for skill in skills if skill.name in meaning.names]
            found.update({skill.name: skill.level for skill in best[:3]})
    return found


def count_by_agency(connection: Connection, query: Query) -> dict[str, int]:
    """See :meth:`actions.directory.Directory.count_by_agency`."""
    meanings = _meanings(connection, query.constraints)
    if any(_is_impossible(meaning) for meaning in meanings):
        return {}
    fitting = _Selection(connection, meanings)
    numbers = Counter(fitting.index.agencies[fitting.found].tolist())
    agency = tables.agency.c
    named = connection.execute(select(agency.id, agency.name).order_by(agency.key))
    return {row.name: numbers[row.id] for row in named if row.id in numbers}


def count_by_skill(connection: Connection, agency: str | None, limit: int) -> dict[str, int]:
    """See :meth:`actions.directory.Directory.count_by_skill`."""
    skill, people = tables.skill.c, func.sum(_count.people)
    query = select(skill.name, people).join(tables.skill_count, _count.skill_id == skill.id)
    if agency is not None:
        place = search.agency_row(connection, agency)
        query = query.where(_count.agency_id == (place.id if place else None))
    query = query.group_by(skill.id, skill.name, skill.key).order_by(people.desc(), skill.key)
    return {name: int(number) for name, number in connection.execute(query.limit(limit))}


def alike(
    connection: Connection, identifier: str, constraints: tuple[Constraint, ...], limit: int
) -> Found:
    """See :meth:`actions.directory.Directory.find_alike`."""
    pk = search.pk_of(connection, identifier)
    main = (
        select(_held.skill_id, tables.skill.c.name)
        .join(tables.skill, tables.skill.c.id == _held.skill_id)
        .where(_held.collaborator_pk == pk)
        .order_by(_held.level.desc(), _held.position)
        .limit(_MAIN_SKILLS)
    )
    mine = connection.execute(main).all()
    names = [row.name for row in mine]
    meanings = _meanings(connection, constraints)
    best: list[int] = []
    if mine and not any(_is_impossible(meaning) for meaning in meanings):
        fitting = _Selection(connection, meanings)
        index = fitting.index
        # Each skill in common outweighs all levels.
        shared = MAX_LEVEL * _MAIN_SKILLS
        likeness = np.zeros(len(index.pks), np.int16)
        for row in mine:
            levels = index.levels(connection, (row.skill_id,))
            likeness += levels + shared * (levels > 0)
        likeness[index.places([pk or 0])] = 0
        likeness = likeness[fitting.found]
        # One skill in common is no likeness, unless nobody has more.
        most = int(likeness.max(initial=0)) // shared
        [enough] = np.nonzero(likeness >= shared * max(1, min(2, most)))
        order = np.argsort(-likeness[enough], kind="stable")[:limit]
        best = index.pks[fitting.found[enough[order]]].tolist()
    people = search.load(connection, best)
    return Found(
        Query(tuple(meaning.constraint for meaning in meanings)),
        tuple(Listed(p, {s.name: s.level for s in p.skills if s.name in names}) for p in people),
        len(people),
    )


def find_experts(
    connection: Connection, typed: str, agency: str | None, offset: int, limit: int
) -> ExpertsFound:
    """See :meth:`actions.directory.Directory.find_experts`."""
    meant = search.meaning(connection, typed)
    if not (meant.ids or skills.vocabulary(connection).family(typed)):
        return ExpertsFound(related=search.related(connection, typed, agency))
    name = meant.name or typed
    wanted = Query((Constraint((Term("technology", name),)),))
    place = () if agency is None else (Constraint((Term("agency", agency),)),)
    found = find(
        connection,
        Query(
            (*wanted.constraints, *place),
            limit=max(1, min(limit, 100)),
            offset=max(0, min(offset, MAX_OFFSET)),
        ),
    )
    everywhere = find(connection, wanted.with_(limit=1)).total if place else found.total
    return ExpertsFound(
        name,
        tuple(Expert(p.collaborator, max(p.levels.values(), default=0)) for p in found.people),
        found.total,
        () if found.total else search.related(connection, typed, agency),
        everywhere - found.total,
        found.updated_at,
    )
