"""Questions to the directory as SQL: every statement is answered from an index.

No copy of people or names is held in memory, so what another process imports is seen by the next
question.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import timezone

from rapidfuzz import fuzz
from sqlalchemy import and_, bindparam, case, exists, func, select
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Row as DatabaseRow
from sqlalchemy.sql import Select

from actions.directory import matching, skills, tables, vocabulary
from actions.directory.matching import CONFIDENT_GRADE, Closeness, NameMatch, Question
from actions.directory.model import Collaborator, PeopleFound, Skill
from actions.directory.skills import Meant, Vocabulary

# Candidates that one statement may bring to the exact scoring.
_MAX_CANDIDATES = 80
# Known words that a typed word may stand for.
_TOKEN_CANDIDATES = 24
# Best holders of a skill that are asked what else they know.
_CO_HOLDERS = 200
_MAX_RELATED = 5

_person = tables.collaborator.c
_held = tables.collaborator_skill.c
_posted = tables.collaborator_token.c
_count = tables.skill_count.c
_skill = tables.skill.c
# Statements are built once: that would take longer than most of them run.
_PKS = bindparam("pks", expanding=True)
_LOAD_PEOPLE = (
    select(tables.collaborator, tables.agency.c.name.label("agency"))
    .join(tables.agency, tables.agency.c.id == _person.agency_id)
    .where(_person.pk.in_(_PKS))
)
_LOAD_SKILLS = (
    select(_held.collaborator_pk, _skill.name, _held.level, _held.position)
    .join(tables.skill, _skill.id == _held.skill_id)
    .where(_held.collaborator_pk.in_(_PKS))
)
_PK_OF = select(_person.pk).where(_person.id == bindparam("identifier"))
_AGENCY = select(tables.agency.c.id, tables.agency.c.name).where(
    tables.agency.c.key == bindparam("key")
)
_WHOLE_NAME = (
    select(_person.pk)
    .where(_person.name_key.in_(bindparam("keys", expanding=True)))
    .order_by(_person.name_order, _person.pk)
    .limit(bindparam("limit"))
)
_TOKENS = select(
    tables.name_token.c.id, tables.name_token.c.text, tables.name_token.c.people
).where(tables.name_token.c.text.in_(bindparam("words", expanding=True)))
_CLOSE_TOKENS = (
    select(
        tables.name_token_hash.c.hash,
        tables.name_token.c.id,
        tables.name_token.c.text,
        tables.name_token.c.people,
    )
    .join(tables.name_token, tables.name_token_hash.c.token_id == tables.name_token.c.id)
    .where(tables.name_token_hash.c.hash.in_(bindparam("hashes", expanding=True)))
)
_candidates = select(_person.pk, _person.first_name, _person.last_name, _person.name_order).join(
    tables.collaborator_token, _posted.collaborator_pk == _person.pk
)


# --- people ---------------------------------------------------------------------------------------


def load(
    connection: Connection, pks: Sequence[int], *, as_listed: bool = False
) -> list[Collaborator]:
    """The people of ``pks`` in that order, with their skills; a missing one is left out.

    Skills come best level first, or ``as_listed`` in the file that was imported.
    """
    if not pks:
        return []
    rows = {row.pk: row for row in connection.execute(_LOAD_PEOPLE, {"pks": pks})}
    held: dict[int, list[DatabaseRow]] = {}
    for row in connection.execute(_LOAD_SKILLS, {"pks": pks}):
        held.setdefault(row.collaborator_pk, []).append(row)
    known: dict[int, list[Skill]] = {}
    for pk, items in held.items():
        items.sort(key=lambda item: (0 if as_listed else -item.level, item.position))
        known[pk] = [Skill(item.name, item.level) for item in items]
    return [_collaborator(rows[pk], known.get(pk, [])) for pk in pks if pk in rows]


def _collaborator(row: DatabaseRow, known: Iterable[Skill]) -> Collaborator:
    return Collaborator(
        id=row.id,
        first_name=row.first_name,
        last_name=row.last_name,
        agency=row.agency,
        job_title=row.job_title,
        email=row.email,
        phone=row.phone,
        skills=tuple(known),
        available_from=row.available_from,
        biography=row.biography,
        updated_at=row.updated_at.replace(tzinfo=timezone.utc),
    )


def pk_of(connection: Connection, identifier: str) -> int | None:
    """Primary key of the person with this id, ``None`` where there is none."""
    if matching.clean(identifier) != identifier.strip():
        return None  # too long, or with characters that no id holds
    return connection.execute(_PK_OF, {"identifier": identifier.strip()}).scalar()


def agency_row(connection: Connection, name: str) -> DatabaseRow | None:
    """The agency (id, name) that ``name`` folds to, ``None`` where nobody works there."""
    key = matching.agency_key(matching.clean(name))
    return connection.execute(_AGENCY, {"key": key}).first()


def agency_id(connection: Connection, name: str) -> int | None:
    """Id of :func:`agency_row`."""
    row = agency_row(connection, name)
    return row.id if row else None


def find_contact(connection: Connection, contact: str) -> tuple[Collaborator, ...]:
    """See :meth:`actions.directory.Directory.find_contact`."""
    key, word = matching.contact_key(matching.clean(contact)), tables.collaborator_word.c
    query = select(word.collaborator_pk).where(word.word == key, word.field == matching.CONTACT)
    return tuple(load(connection, connection.execute(query.limit(10)).scalars().all()))


def find_people(
    connection: Connection, name: str, agency: str | None = None, limit: int = 6
) -> PeopleFound:
    """See :meth:`actions.directory.Directory.find_people`."""
    limit = max(0, min(limit, 100))
    question = Question.of(name)
    if not question.tokens or not limit:
        return PeopleFound()
    if agency is None:
        return _PeopleSearch(connection, question, limit, None).run()
    place = agency_id(connection, agency)
    if place is not None:
        found = _PeopleSearch(connection, question, limit, place).run()
        if found.matches:
            return found
    elsewhere = _PeopleSearch(connection, question, limit, None).run()
    return PeopleFound(near=elsewhere.matches or elsewhere.near)


class _PeopleSearch:
    """One question for a name, optionally within one agency.

    From the cheapest and surest to the widest: the whole name by its key; people who bear two of
    the words as typed; the same with typos and sounds; a single word; and what is merely near.
    """

    def __init__(
        self, connection: Connection, question: Question, limit: int, place: int | None
    ) -> None:
        self.connection, self.question, self.limit, self.place = connection, question, limit, place
        self.scored: dict[int, tuple[NameMatch, DatabaseRow]] = {}
        # Typed words (and runs of them) that are somebody's name as they stand, with their ids.
        self.exact_words: dict[str, int] = {}
        self.close: dict[tuple[str, str], Closeness] = {}

    def run(self) -> PeopleFound:
        if found := self._whole_name():
            return found
        exact, people = self._exact_tokens()
        self._score_pairs(exact, people)
        if found := self._best(grades=(0,)):
            return found
        if len(self.question.content) == 1:
            if found := self._single(exact, people):
                return found
        elif found := self._best(grades=(1,)):
            return found
        close = self._close_tokens(people)
        self.scored.clear()  # graded without the typos known now
        self._score_pairs(close, people)
        if found := self._best(grades=(0, 1, 2)):
            return found
        self._score_singles(close, people)
        return self._best(grades=(0, 1, 2, 3)) or self._near(people)

    # -- candidates -------------------------------------------------------------------------------

    def _within(self, query: Select) -> Select:
        return query if self.place is None else query.where(_person.agency_id == self.place)

    def _whole_name(self) -> PeopleFound | None:
        keys = matching.query_name_keys(self.question.tokens)
        if not keys:
            return None
        query = self._within(_WHOLE_NAME)
        pks = self.connection.execute(query, {"keys": keys, "limit": self.limit}).scalars().all()
        if not pks:
            return None
        total = len(pks)
        if total == self.limit:
            counting = self._within(select(func.count()).where(_person.name_key.in_(keys)))
            total = self.connection.execute(counting).scalar_one()
        return PeopleFound(tuple(load(self.connection, pks)), (), total)

    def _exact_tokens(self) -> tuple[dict[int, list[int]], dict[int, int]]:
        """Ids of the names typed as they stand, by position of the word; and who bears each."""
        typed = {word for word, _ in self.question.units}
        rows = self.connection.execute(_TOKENS, {"words": list(typed)}).all()
        self.exact_words = {row.text: row.id for row in rows}
        exact: dict[int, list[int]] = {}
        for word, positions in self.question.units:
            if word in self.exact_words:
                for position in positions & self.question.content:
                    exact.setdefault(position, []).append(self.exact_words[word])
        return exact, {row.id: row.people for row in rows}

    def _close_tokens(self, people: dict[int, int]) -> dict[int, list[int]]:
        """Ids of the names that each typed word may stand for, closest first; fills ``people``."""
        places: dict[str, set[int]] = {}
        for word, positions in self.question.units:
            places.setdefault(word, set()).update(positions & self.question.content)
        owners: dict[int, list[str]] = {}
        for word in places:
            for key in matching.index_hashes(word):
                owners.setdefault(key, []).append(word)
        sounds = {word: matching.sound_hash(word) for word in places}
        rows = self.connection.execute(_CLOSE_TOKENS, {"hashes": list(owners)}).all()
        ranked: dict[int, set[tuple[float, int, int]]] = {}
        scored: set[tuple[str, int]] = set()  # most pairs meet under several keys
        for key, token_id, text, number in rows:
            for word in owners[key]:
                same_sound = key == sounds[word]
                if (word, token_id) in scored and not same_sound:
                    continue
                scored.add((word, token_id))
                score = matching.similarity(word, text, same_sound)
                if score:
                    self.close[word, text] = Closeness(score, same_sound)
                    people[token_id] = number
                    for position in places[word]:
                        ranked.setdefault(position, set()).add((score, number, token_id))
        return {
            position: list(dict.fromkeys(i for *_, i in sorted(found, reverse=True)))[
                :_TOKEN_CANDIDATES
            ]
            for position, found in ranked.items()
        }

    def _score_pairs(self, tokens: dict[int, list[int]], people: dict[int, int]) -> None:
        """Grade the people who bear words for two different positions of the question.

        Neighbouring words first; once those name somebody whole, the others are mere company.
        """
        positions = sorted(tokens)
        pairs = itertools.combinations(range(len(positions)), 2)
        for gap, group in itertools.groupby(
            sorted(pairs, key=lambda pair: pair[1] - pair[0]), key=lambda pair: pair[1] - pair[0]
        ):
            if gap > 1 and any(match.grade == 0 for match, _ in self.scored.values()):
                return
            for first, second in group:
                self._score_pair(tokens[positions[first]], tokens[positions[second]], people)

    def _score_pair(self, one: list[int], other: list[int], people: dict[int, int]) -> None:
        # Go through those who bear the rarer names.
        if sum(people[token] for token in other) < sum(people[token] for token in one):
            one, other = other, one
        condition = _posted.token_id.in_(one)
        if set(one) != set(other):  # else one name is typed as two words: le goff, legoff
            mate = tables.collaborator_token.alias()
            same_person = mate.c.collaborator_pk == _posted.collaborator_pk
            # "+ 0" keeps the names out of the index: a person's few are read and compared, instead
            # of one search for each of the names wanted.
            condition &= exists().where(same_person, (mate.c.token_id + 0).in_(other))
        self._score(_candidates.where(condition))

    def _score(self, query: Select) -> None:
        """Grade the people whom ``query`` (one of :data:`_candidates`) brings."""
        for row in self.connection.execute(self._within(query).limit(_MAX_CANDIDATES)):
            if row.pk not in self.scored:
                match = matching.match_name(
                    self.question,
                    row.first_name,
                    row.last_name,
                    self.close,
                    self.exact_words,
                )
                self.scored[row.pk] = match, row

    def _single(self, exact: dict[int, list[int]], people: dict[int, int]) -> PeopleFound | None:
        """Everybody who bears the only word asked for, last names first."""
        tokens = next(iter(exact.values()), [])
        if not tokens:
            return None
        # Typed as several words, the run as a whole comes first: N'Diaye before Diaye.
        whole = self.exact_words.get("".join(self.question.tokens))
        order = [case((_posted.token_id == whole, 0), else_=1)] if len(tokens) > 1 else []
        condition = _posted.token_id.in_(tokens)
        query = (
            select(_posted.collaborator_pk)
            .where(condition)
            .order_by(*order, _posted.role, _posted.name_order, _posted.collaborator_pk)
        )
        total = sum(people[token] for token in tokens)
        if self.place is not None:
            joined = and_(_person.pk == _posted.collaborator_pk, _person.agency_id == self.place)
            query = query.join(tables.collaborator, joined)
        if self.place is not None or len(tokens) > 1:
            distinct = select(func.count(_posted.collaborator_pk.distinct())).where(condition)
            if self.place is not None:
                distinct = distinct.join(tables.collaborator, joined)
            total = self.connection.execute(distinct).scalar_one()
        # Whoever bears the whole run bears its words as well, and comes once for each.
        rows = self.connection.execute(query.limit(len(tokens) * self.limit)).scalars()
        pks = list(dict.fromkeys(rows))[: self.limit]
        return PeopleFound(tuple(load(self.connection, pks)), (), total) if pks else None

    def _score_singles(self, close: dict[int, list[int]], people: dict[int, int]) -> None:
        """Grade people who bear one of the words, from the closest spelling on."""
        for tokens in close.values():
            # Together while they are few, so that a frequent name does not crowd out a closer one.
            borne = list(itertools.accumulate(people[token] for token in tokens))
            few = sum(total <= _MAX_CANDIDATES for total in borne)
            for chosen in (tokens[:few], tokens[few : few + 1]):
                if chosen:
                    query = _candidates.where(_posted.token_id.in_(chosen))
                    self._score(query.order_by(_posted.role, _posted.name_order))

    # -- outcome ----------------------------------------------------------------------------------

    def _best(self, grades: Sequence[int]) -> PeopleFound | None:
        """The people of the best of ``grades`` that anybody has."""
        for grade in grades:
            found = [item for item in self.scored.values() if item[0].grade == grade]
            if found:
                found.sort(key=_closest_first)
                pks = [row.pk for _, row in found[: self.limit]]
                return PeopleFound(tuple(load(self.connection, pks)), (), len(found))
        return None

    def _near(self, people: dict[int, int]) -> PeopleFound:
        """Suggestions: by last name, or by a first name that few people bear."""
        typed = " ".join(self.question.tokens)
        suggestions = []
        for match, row in self.scored.values():
            if match.grade <= CONFIDENT_GRADE:
                continue
            few = any(
                people.get(self.exact_words.get(word, 0), self.limit + 1) <= self.limit
                for word in matching.words(row.first_name)
            )
            if match.last_name_hit or few:
                whole = " ".join(matching.words(f"{row.first_name} {row.last_name}"))
                likeness = fuzz.token_sort_ratio(typed, whole)
                suggestions.append((-round(match.score, 3), -likeness, row.name_order, row.pk))
        suggestions.sort()
        pks = [pk for *_, pk in suggestions[: self.limit]]
        return PeopleFound(near=tuple(load(self.connection, pks)))


def _closest_first(item: tuple[NameMatch, DatabaseRow]) -> tuple[float, bool, int, int]:
    match, row = item
    return -round(match.score, 6), not match.last_name_hit, row.name_order, row.pk


# --- skills ---------------------------------------------------------------------------------------


def meaning(connection: Connection, typed: str) -> Meant:
    """The skills that ``typed`` stands for, small slips forgiven; none where none comes close.

    A technology that the project knows by another name is no slip (MSSQL is not MySQL).
    """
    known = skills.vocabulary(connection)
    meant = known.meaning(typed)
    return meant if meant.ids else slip(connection, known, typed)


def slip(connection: Connection, known: Vocabulary, typed: str) -> Meant:
    """The skills whose name ``typed`` nearly is, as of :func:`meaning`."""
    key = matching.skill_key(matching.clean(typed))
    squashed = matching.squash(key)
    if not key or squashed in vocabulary.known_technologies():
        return Meant()
    hashes, _ = matching.skill_query_hashes(key)
    best: tuple[float, int, DatabaseRow] | None = None
    holders = select(func.coalesce(func.sum(_count.people), 0)).where(_count.skill_id == _skill.id)
    query = (
        select(_skill.id, _skill.name, _skill.squashed)
        .add_columns(holders.scalar_subquery().label("people"))
        .join(tables.skill_hash, tables.skill_hash.c.skill_id == _skill.id)
        .where(tables.skill_hash.c.hash.in_(hashes))
        .distinct()
    )
    for row in connection.execute(query):
        score = matching.is_skill_typo(squashed, row.squashed)
        if score and (best is None or (score, row.people) > best[:2]):
            best = score, row.people, row
    # The one meant, and all that its name stands for.
    return known.meaning(best[2].name) if best else Meant()


def related(connection: Connection, typed: str, agency: str | None) -> tuple[str, ...]:
    """See :meth:`actions.directory.Directory.related`."""
    meant = meaning(connection, typed).ids
    place = None if agency is None else agency_id(connection, agency)
    if agency is not None and place is None:
        return ()
    return _related(connection, typed, meant[0] if meant else None, place)


def _related(
    connection: Connection, typed: str, skill_id: int | None, place: int | None
) -> tuple[str, ...]:
    """Skills that somebody (of agency ``place``) has, instead of one that nobody has.

    First what the best holders of that skill know besides, then the skills that share a word with
    what was typed, then those of the same family (``families.yml``).
    """
    key = matching.skill_key(matching.clean(typed))
    sources: list[Callable[[], list[int]]] = [
        lambda: _co_held(connection, skill_id) if skill_id is not None else [],
        lambda: _resembling(connection, key),
        lambda: _family(connection, key),
    ]
    found: dict[int, None] = {}
    for source in sources:
        candidates = [i for i in source() if i not in found and i != skill_id]
        held = select(_count.skill_id).where(_count.skill_id.in_(candidates), _count.people > 0)
        if place is not None:
            held = held.where(_count.agency_id == place)
        somebody = set(connection.execute(held).scalars()) if candidates else set()
        found.update(dict.fromkeys(i for i in candidates if i in somebody))
        if len(found) >= _MAX_RELATED:
            break
    chosen = list(found)[:_MAX_RELATED]
    rows = connection.execute(select(_skill.id, _skill.name).where(_skill.id.in_(chosen)))
    names = {row.id: row.name for row in rows}
    return tuple(names[i] for i in chosen)


def containing(connection: Connection, typed: str, limit: int) -> list[tuple[int, str]]:
    """Id and name of the skills that have all the words of ``typed``, most frequent first."""
    key = matching.skill_key(matching.clean(typed))
    wanted = set(matching.skill_words(key))
    _, hashes = matching.skill_query_hashes(key)
    people = select(func.coalesce(func.sum(_count.people), 0)).where(_count.skill_id == _skill.id)
    query = (
        select(_skill.id, _skill.name, _skill.key, people.scalar_subquery().label("people"))
        .join(tables.skill_hash, tables.skill_hash.c.skill_id == _skill.id)
        .where(tables.skill_hash.c.hash.in_(hashes))
        .distinct()
    )
    rows = connection.execute(query).all() if wanted else []
    found = [row for row in rows if wanted <= set(matching.skill_words(row.key))]
    found.sort(key=lambda row: (-row.people, row.key))
    return [(row.id, row.name) for row in found[:limit]]


def _co_held(connection: Connection, skill_id: int) -> list[int]:
    """What the best holders of a skill know besides, most frequent first."""
    best = (
        select(_held.collaborator_pk)
        .where(_held.skill_id == skill_id)
        .order_by(_held.rank, _held.collaborator_pk)
        .limit(_CO_HOLDERS)
    )
    holders = connection.execute(best).scalars().all()
    query = (
        select(_held.skill_id)
        .where(_held.collaborator_pk.in_(holders))
        .group_by(_held.skill_id)
        .order_by(func.count().desc(), _held.skill_id)
    )
    return list(connection.execute(query).scalars())


def _family(connection: Connection, key: str) -> list[int]:
    """Skills of the families that the skill typed belongs to, in the order written there."""
    squashed = {matching.squash(key), matching.squash(matching.without_version(key))} - {""}
    names = [
        name
        for family in vocabulary.related()
        if not squashed.isdisjoint(family)
        for name in family
        if name not in squashed
    ]
    known = skills.vocabulary(connection)
    return matching.unique(i for name in names for i in known.meaning(name).ids)


def _resembling(connection: Connection, key: str) -> list[int]:
    """Skills that share a word with ``key``, the most alike first."""
    _, hashes = matching.skill_query_hashes(key)
    query = (
        select(_skill.id, _skill.key)
        .join(tables.skill_hash, tables.skill_hash.c.skill_id == _skill.id)
        .where(tables.skill_hash.c.hash.in_(hashes))
        .distinct()
        .limit(_MAX_CANDIDATES)
    )
    wanted = set(matching.skill_words(key))
    rows = [
        row
        for row in connection.execute(query)
        if not wanted.isdisjoint(matching.skill_words(row.key))
    ]
    rows.sort(key=lambda row: (-fuzz.token_sort_ratio(key, row.key), row.key))
    return [row.id for row in rows]
