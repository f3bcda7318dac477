"""What somebody who types may be about to write: skills, agencies, job titles and names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from actions.directory import matching, tables
from actions.directory.model import Completion

# A name or a title may have so many words; fewer characters say too little.
_MAX_WORDS, _MIN_CHARACTERS = 3, 2
# Of each kind, so that none crowds the others out.
_MAX_OF_KIND = 4
_MAX_TOKENS, _MAX_TITLES = 24, 200
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
    skills = (
        select(tables.skill.c.name)
        .join(tables.skill_count, count.skill_id == tables.skill.c.id)
        .where(tables.skill.c.key.startswith(matching.skill_key(typed), autoescape=True))
        .group_by(tables.skill.c.id, tables.skill.c.name)
        .order_by(func.sum(count.people).desc(), tables.skill.c.name)
    )
    for name in connection.execute(skills.limit(_MAX_OF_KIND)).scalars():
        yield "technology", name, ()
    agency = tables.agency.c
    agencies = select(agency.name).where(
        agency.key.startswith(matching.agency_key(typed), autoescape=True)
    )
    for name in connection.execute(agencies.order_by(agency.key).limit(_MAX_OF_KIND)).scalars():
        yield "agency", name, ()
    yield from (("job_title", title, ()) for title in _titles(connection, words))
    yield from _people(connection, words)


def _titles(connection: Connection, words: list[str]) -> list[str]:
    """Job titles that begin with ``words``, the most frequent first."""
    person, index = tables.collaborator.c, tables.collaborator_word.c
    # The index has stems, which differ from what is typed in their last letters only.
    begins = index.word.startswith(words[0][: max(_MIN_CHARACTERS, len(words[0]) - 3)])
    bearers = select(index.collaborator_pk).where(begins, index.field == matching.TITLE)
    query = (
        select(person.job_title)
        .where(person.pk.in_(bearers.limit(_MAX_TITLES)))
        .group_by(person.job_title)
        .order_by(func.count().desc(), person.job_title)
    )
    typed = " ".join(words)
    titles = connection.execute(query).scalars()
    return [t for t in titles if " ".join(matching.words(t)).startswith(typed)][:_MAX_OF_KIND]


def _people(connection: Connection, words: list[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Give the people one of whose names begins with the last word, and who bear the others."""
    token, posted = tables.name_token.c, tables.collaborator_token.c
    person = tables.collaborator.c
    *others, last = words
    typed = " ".join(words)
    begins = select(token.id).where(token.text.startswith(last, autoescape=True))
    begins = begins.order_by(token.people.desc(), token.text).limit(_MAX_TOKENS)
    query = (
        select(person.id, person.first_name, person.last_name)
        .join(tables.collaborator_token, posted.collaborator_pk == person.pk)
        .where(posted.token_id.in_(connection.execute(begins).scalars().all()))
        .order_by(posted.role, posted.name_order, person.id)
    )
    for word in (word for word in others if word not in matching.PARTICLES):
        mate = tables.collaborator_token.alias()
        bears = select(mate.c.collaborator_pk).join(tables.name_token, token.id == mate.c.token_id)
        query = query.where(person.pk.in_(bears.where(token.text == word)))
    names: dict[str, list[str]] = {}
    for row in connection.execute(query.limit(_MAX_OF_KIND * 2)):
        name = f"{row.first_name} {row.last_name}"
        # « de Zer » may be « … de Zeroual »; « Le Ga » is the beginning of a name.
        if words[0] not in matching.PARTICLES or typed in " ".join(matching.words(name)):
            names.setdefault(name, []).append(row.id)
    for name, identifiers in list(names.items())[:_MAX_OF_KIND]:
        yield "person", name, tuple(dict.fromkeys(identifiers))
