"""Lists of people under constraints (:mod:`actions.query`), as one SQL statement."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, false, func, literal, not_, or_, select, union_all
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement, FromClause, Select

from actions.directory import matching, search, skills, tables, vocabulary
from actions.directory.importer import NAME_BITS
from actions.directory.model import Expert, ExpertsFound, Found, Listed, Relaxed
from actions.directory.skills import Meant, Vocabulary
from actions.query import MAX_OFFSET, PAGE_SIZE, Constraint, Query, Term

_person = tables.collaborator.c
_held = tables.collaborator_skill.c
_word = tables.collaborator_word.c
_count = tables.skill_count.c

# Skills that an inexact name may stand for, and people that an excluded name may mean.
_MAX_SKILLS = 20
_MAX_NAMESAKES = 100
# Rows of the lists of several skills that are merged for a page; more are sorted by the engine.
_MAX_MERGED = 500
# Constraints of a query that are dropped in pairs, where nobody fits.
_MAX_PAIRED = 6
# Somebody's best skills that another must share to be like them, and holders compared for each.
_MAIN_SKILLS = 6
_MAX_COMPARED = 200


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
    family = vocabulary.family(term.value)
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


# --- conditions -----------------------------------------------------------------------------------


def _level(meaning: _Meaning, level: ColumnElement[int]) -> list[ColumnElement[bool]]:
    lowest, highest = meaning.constraint.minimum, meaning.constraint.maximum
    conditions = []
    if lowest is not None:
        conditions.append(level >= lowest)
    if highest is not None:
        conditions.append(level <= highest)
    return conditions


def _having_words(field: int, stems: Sequence[str]) -> Select:
    """Primary keys of those who have all of ``stems`` in a field."""
    first, *others = stems
    query = select(_word.collaborator_pk).where(_word.word == first, _word.field == field)
    return query.where(_word.collaborator_pk.in_(_having_words(field, others))) if others else query


def _matching(meaning: _Meaning, pk: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the person ``pk`` is one of those whom the constraint's terms name."""
    alternatives: list[ColumnElement[bool]] = []
    if meaning.skills:
        skilled = [_held.skill_id.in_(meaning.skills), *_level(meaning, _held.level)]
        alternatives.append(pk.in_(select(_held.collaborator_pk).where(*skilled)))
    if not meaning.constraint.has_level:
        alternatives += [pk.in_(_having_words(*words)) for words in meaning.words]
    if meaning.people:
        alternatives.append(pk.in_(meaning.people))
    return or_(*alternatives) if alternatives else false()


def _available(constraint: Constraint) -> ColumnElement[bool]:
    day = _person.available_from
    conditions = []
    if constraint.until is not None:
        conditions.append(day <= constraint.until)
    if constraint.after is not None:
        conditions.append(day > constraint.after)
    wanted = and_(day.isnot(None), *conditions)
    return or_(day.is_(None), not_(wanted)) if constraint.excluded else wanted


# --- the statement --------------------------------------------------------------------------------


class _Statement:
    """People whom all of ``meanings`` fit: where they come from, and how they are ordered."""

    def __init__(self, meanings: Sequence[_Meaning], order: str, within: Sequence[int] | None):
        self.conditions: list[ColumnElement[bool]] = []
        # Kept beside each skill: fewer rows to group.
        self.places = [
            m.agencies
            for m in meanings
            if m.constraint.kind == "agency" and not m.constraint.excluded
        ]
        sources: list[FromClause] = []
        for meaning in meanings:
            if meaning.constraint.is_skill:
                sources.append(self._source(meaning, first=not sources))
        held = [source for source in sources if "rank" in source.c]
        base = held[0] if held else tables.collaborator
        self.pk = base.c.collaborator_pk if held else base.c.pk
        self.agency = base.c.agency_id
        self.source: Any = base
        for other in sources:
            if other is not base:
                self.source = self.source.join(other, other.c.collaborator_pk == self.pk)
        needs_person = order == "availability" or any(
            m.constraint.kind == "availability" for m in meanings
        )
        if held and needs_person:
            self.source = self.source.join(tables.collaborator, _person.pk == self.pk)
        for meaning in meanings:
            if not meaning.constraint.is_skill:
                self.conditions.append(self._condition(meaning))
        if within is not None:
            self.conditions.append(self.pk.in_(within))
        self._order(order, sources, held)

    def _source(self, meaning: _Meaning, first: bool) -> FromClause:
        """Whom a wanted skill brings, with the level: rows of the table, or the best of several.

        The engine goes through the ``first`` one, and looks the people up in the others.
        """
        if len(meaning.skills) == 1 and (meaning.constraint.has_level or not meaning.words):
            held = tables.collaborator_skill.alias()
            # "+ 0" keeps the skill out of the index: a person's few skills are read and compared,
            # instead of the many people who have it.
            skill_id = held.c.skill_id if first else held.c.skill_id + 0
            self.conditions.append(skill_id == meaning.skills[0])
            self.conditions += _level(meaning, held.c.level)
            return held
        # The level in the very version that is asked for: whoever has that comes first.
        exact = case((_held.skill_id.in_(meaning.exact), _held.level), else_=0).label("exact")
        parts = [
            select(_held.collaborator_pk, _held.level, exact).where(
                _held.skill_id.in_(meaning.skills),
                *_level(meaning, _held.level),
                *(_held.agency_id.in_(agencies) for agencies in self.places),
            )
        ]
        if not meaning.constraint.has_level:
            for field, stems in meaning.words:
                named = _having_words(field, stems).subquery()
                parts.append(select(named.c.collaborator_pk, literal(0).label("level"), literal(0)))
        every = (union_all(*parts) if len(parts) > 1 else parts[0]).subquery()
        best = [func.max(every.c.level).label("level"), func.max(every.c.exact).label("exact")]
        return select(every.c.collaborator_pk, *best).group_by(every.c.collaborator_pk).subquery()

    def _condition(self, meaning: _Meaning) -> ColumnElement[bool]:
        constraint = meaning.constraint
        if constraint.kind == "availability":
            return _available(constraint)
        fits = (
            self.agency.in_(meaning.agencies)
            if constraint.kind == "agency"
            else _matching(meaning, self.pk)
        )
        return not_(fits) if constraint.excluded else fits

    def _order(self, order: str, sources: Sequence[FromClause], held: Sequence[FromClause]) -> None:
        name = held[0].c.rank.op("&")(2**NAME_BITS - 1) if held else _person.name_order
        levels = [source.c.level for source in sources]
        best: list[Any] = [name]
        if len(levels) == 1 and held:
            best = [held[0].c.rank]
        elif levels:
            lowest = levels[0]
            for level in levels[1:]:
                lowest = case((level < lowest, level), else_=lowest)
            best = [lowest.desc(), sum(levels[1:], levels[0]).desc(), name]
        best = [*(source.c.exact.desc() for source in sources if "exact" in source.c), *best]
        if order == "name":
            best = [name]
        elif order == "agency":
            place = tables.agency
            self.source = self.source.join(place, place.c.id == self.agency)
            best = [place.c.key, *best]
        elif order == "availability":
            day = _person.available_from
            best = [case((day.is_(None), 1), else_=0), day, *best]
        self.order = [*best, self.pk]

    def page(self, limit: int, offset: int, counted: bool = False) -> Select:
        """Primary keys of a page; unless they are ``counted``, each with the number of all."""
        query = select(self.pk, *([] if counted else [func.count().over()]))
        query = query.select_from(self.source).where(*self.conditions)
        return query.order_by(*self.order).limit(limit).offset(offset)

    def count(self) -> Select:
        """How many there are."""
        return select(func.count()).select_from(self.source).where(*self.conditions)

    def by_agency(self) -> Select:
        """How many there are of each agency, by id."""
        query = select(self.agency, func.count()).select_from(self.source)
        return query.where(*self.conditions).group_by(self.agency)


def _rarest_first(connection: Connection, meanings: Sequence[_Meaning]) -> list[_Meaning]:
    """Skills that few have first: the engine goes through these, and looks the others up."""
    ids = [i for meaning in meanings for i in meaning.skills]
    query = select(_count.skill_id, func.sum(_count.people)).where(_count.skill_id.in_(ids))
    holders: dict[int, int] = {}
    if len([m for m in meanings if m.constraint.is_skill]) > 1:
        holders = {row[0]: row[1] for row in connection.execute(query.group_by(_count.skill_id))}
    return sorted(meanings, key=lambda m: sum(holders.get(i, 0) for i in m.skills))


def _is_counted(meanings: Sequence[_Meaning]) -> bool:
    """Whether they are counted without going through them: one skill, perhaps in an agency."""
    skilled = [m for m in meanings if m.constraint.is_skill]
    return (
        len(skilled) == 1
        and bool(skilled[0].skills)
        and not skilled[0].words
        and all(m.constraint.is_plain for m in meanings)
    )


def _holders(connection: Connection, ids: tuple[int, ...]) -> Mapping[int, int]:
    """How many people of each agency (id) have one of the skills ``ids``."""
    if len(ids) == 1:
        query = select(_count.agency_id, _count.people).where(_count.skill_id == ids[0])
        return {row[0]: row[1] for row in connection.execute(query)}
    counts = skills.vocabulary(connection).counts
    if ids not in counts:
        people = func.count(_held.collaborator_pk.distinct())
        query = select(_held.agency_id, people).where(_held.skill_id.in_(ids))
        rows = connection.execute(query.group_by(_held.agency_id))
        counts[ids] = {row[0]: row[1] for row in rows}
    return counts[ids]


def _first_holders(connection: Connection, meanings: Sequence[_Meaning], end: int) -> list[int]:
    """The first ``end`` of those who are :func:`_is_counted`, from the head of each skill's list.

    Whoever is among the first of all is among the first of their best skill.
    """
    meant = next(m for m in meanings if m.constraint.is_skill)
    query = select(_held.collaborator_pk, _held.rank)
    for meaning in meanings:
        if not meaning.constraint.is_skill:
            query = query.where(_held.agency_id.in_(meaning.agencies))
    query = query.order_by(_held.rank, _held.collaborator_pk).limit(end)
    best: dict[int, tuple[bool, int, int]] = {}
    for skill_id in meant.skills:
        other = skill_id not in meant.exact
        for pk, rank in connection.execute(query.where(_held.skill_id == skill_id)):
            best[pk] = min(best.get(pk, (True, rank, pk)), (other, rank, pk))
    return sorted(best, key=best.__getitem__)[:end]


def _count_people(
    connection: Connection, meanings: Sequence[_Meaning], within: Sequence[int] | None = None
) -> int:
    if within is None and _is_counted(meanings):
        people = _holders(connection, next(m for m in meanings if m.constraint.is_skill).skills)
        places = [m.agencies for m in meanings if not m.constraint.is_skill]
        return sum(n for place, n in people.items() if all(place in some for some in places))
    return int(connection.execute(_Statement(meanings, "name", within).count()).scalar_one())


# --- answers --------------------------------------------------------------------------------------


def find(connection: Connection, query: Query, within: Sequence[str] | None = None) -> Found:
    """See :meth:`actions.directory.Directory.find`."""
    meanings = _meanings(connection, query.constraints)
    spelled = query.with_(constraints=tuple(m.constraint for m in meanings))
    pks = None
    if within is not None:
        looked_up = (search.pk_of(connection, identifier) for identifier in within)
        pks = [pk for pk in looked_up if pk is not None]
    ordered = _rarest_first(connection, meanings)
    total, rows = 0, []
    if not any(_is_impossible(meaning) for meaning in meanings):
        limit, offset = query.limit or PAGE_SIZE, query.offset
        statement = _Statement(ordered, query.order, pks)
        if _is_counted(ordered) and pks is None:
            total = _count_people(connection, ordered)
            if query.order == "level" and offset <= _MAX_MERGED:
                rows = _first_holders(connection, ordered, offset + limit)[offset:]
            else:
                page = statement.page(limit, offset, counted=True)
                rows = list(connection.execute(page).scalars())
        else:
            found = connection.execute(statement.page(limit, offset)).all()
            rows = [row[0] for row in found]
            total = found[0][1] if found else 0
            if offset and not found:
                total = _count_people(connection, ordered, pks)
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
            total = _count_people(connection, _rarest_first(connection, left), within)
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
    rows = connection.execute(_Statement(meanings, "name", None).by_agency())
    numbers = {row[0]: row[1] for row in rows}
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
    shared: Counter[int] = Counter()
    levels: Counter[int] = Counter()
    names = []
    for skill_id, name in connection.execute(main).all():
        names.append(name)
        holders = (
            select(_held.collaborator_pk, _held.level)
            .where(_held.skill_id == skill_id)
            .order_by(_held.rank)
            .limit(_MAX_COMPARED)
        )
        for row in connection.execute(holders):
            shared[row.collaborator_pk] += 1
            levels[row.collaborator_pk] += row.level
    del shared[pk or 0]
    meanings = _meanings(connection, constraints)
    if any(_is_impossible(meaning) for meaning in meanings):
        shared.clear()
    fitting = set(shared)
    if meanings and shared:
        page = _Statement(meanings, "name", list(shared)).page(len(shared), 0, counted=True)
        fitting = set(connection.execute(page).scalars())
    # One skill in common is no likeness, unless nobody has more.
    enough = min(2, max((shared[other] for other in fitting), default=0))
    fitting = {other for other in fitting if shared[other] >= enough}
    best = sorted(fitting, key=lambda other: (-shared[other], -levels[other], other))
    people = search.load(connection, best[:limit])
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
    if not meant.ids:
        return ExpertsFound(related=search.related(connection, typed, agency))
    wanted = Query((Constraint((Term("technology", meant.name),)),))
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
        meant.name,
        tuple(Expert(p.collaborator, max(p.levels.values())) for p in found.people),
        found.total,
        () if found.total else search.related(connection, typed, agency),
        everywhere - found.total,
        found.updated_at,
    )
