"""What somebody who types may be about to write: skills, agencies, job titles and names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from actions.directory import matching, skills, tables
from actions.directory.index import PeopleIndex
from actions.directory.model import Completion

# A name or a title may have so many words; fewer characters say too little.
_MAX_WORDS, _MIN_CHARACTERS = 3, 2
# Of each kind, so that none crowds the others out.
_MAX_OF_KIND = 4
_MAX_TOKENS = 24
# They begin questions, and are not being completed. Folded.
# fmt: off
_ORDINARY = frozenset((
    "qui", "que", "quoi", "quel", "quelle", "est", "et", "en", "un", "une", "des", "les", "dans",
    "pour", "avec", "sans", "sauf", "pas", "ou", "par", "sur", "je", "tu", "il", "elle", "on",
    "nous", "vous", "ils", "elles", "connait", "sait", "mais",
))
# fmt: on
_WORD = re.compile(r"[^\s,;:?!()«»\"]+")


def complete(connection: Connection, text: str, limit: int) -> tuple[Completion, ...]:
    """See :meth:`actions.directory.Directory.complete`."""
    text = text[-matching.MAX_QUERY_CHARS :]
    spans = [match.span() for match in _WORD.finditer(text)]
    if not spans or spans[-1][1] < len(text):
        return ()  # the last word is finished
    found: dict[str, Completion] = {}
    for start, _ in spans[-_MAX_WORDS:]:
        typed = matching.clean(text[start:])
        words = matching.words(typed)
        if len(typed) < _MIN_CHARACTERS or not words or words[0] in _ORDINARY:
            continue
        for kind, name, people in _beginning(connection, typed, words):
            if matching.skill_key(name) != matching.skill_key(typed):
                found.setdefault(name, Completion(kind, name, len(text) - start, people))
    return tuple(found.values())[:limit]


def _beginning(
    connection: Connection, typed: str, words: list[str]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Give what begins with ``typed``: kind, text, and the ids of the people whose name it is."""
    count = tables.skill_count.c
    found = (
        select(tables.skill.c.name)
        .join(tables.skill_count, count.skill_id == tables.skill.c.id)
        .where(tables.beginning(tables.skill.c.key, matching.skill_key(typed)))
        .group_by(tables.skill.c.id, tables.skill.c.name)
        .order_by(func.sum(count.people).desc(), tables.skill.c.name)
    )
    for name in connection.execute(found.limit(_MAX_OF_KIND)).scalars():
        yield "technology", name, ()
    agency = tables.agency.c
    agencies = select(agency.name).where(tables.beginning(agency.key, matching.agency_key(typed)))
    for name in connection.execute(agencies.order_by(agency.key).limit(_MAX_OF_KIND)).scalars():
        yield "agency", name, ()
    index = skills.vocabulary(connection).people(connection)
    start = " ".join(words)
    titles = (title for known, title in index.titles(connection) if known.startswith(start))
    yield from (("job_title", title, ()) for title in islice(titles, _MAX_OF_KIND))
    yield from _people(connection, index, words)


def _people(
    connection: Connection, index: PeopleIndex, words: list[str]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Give the people one of whose names begins with the last word, and who bear the others."""
    token, person = tables.name_token.c, tables.collaborator.c
    *others, last = words
    typed = " ".join(words)
    begins = select(token.id).where(tables.beginning(token.text, last))
    begins = begins.order_by(token.people.desc(), token.text).limit(_MAX_TOKENS)
    last_names, first_names = index.bearers(connection, connection.execute(begins).scalars().all())
    bears_all = ~index.nobody()
    for word in (word for word in others if word not in matching.PARTICLES):
        same = connection.execute(select(token.id).where(token.text == word)).scalars().all()
        bears_all &= np.logical_or(*index.bearers(connection, same))
    masks = last_names & bears_all, first_names & bears_all & ~last_names
    places = np.concatenate([np.flatnonzero(mask)[: 2 * _MAX_OF_KIND] for mask in masks])
    pks = index.pks[places[: 2 * _MAX_OF_KIND]].tolist()
    query = select(person.pk, person.id, person.first_name, person.last_name)
    rows = {row.pk: row for row in connection.execute(query.where(person.pk.in_(pks)))}
    names: dict[str, list[str]] = {}
    for row in (rows[pk] for pk in pks):
        name = f"{row.first_name} {row.last_name}"
        # « de Zer » may be « … de Zeroual »; « Le Ga » is the beginning of a name.
        if words[0] not in matching.PARTICLES or typed in " ".join(matching.words(name)):
            names.setdefault(name, []).append(row.id)
    for name, identifiers in list(names.items())[:_MAX_OF_KIND]:
        yield "person", name, tuple(identifiers)
