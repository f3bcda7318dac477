"""The tables. A change here needs a migration (``migrations/versions``); a test compares both.

Only the import writes. ``collaborator``, ``agency``, ``skill`` and ``collaborator_skill`` hold what
is known; the other tables are search indexes derived from them in the same transaction.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
)
from sqlalchemy.sql import ColumnElement

metadata = MetaData()


def beginning(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a word begins with ``text``, out of the index.

    PostgreSQL keeps the columns that are asked so in the order of their characters, as SQLite does
    (``COLLATE "C"``, migration 0005).
    """
    return and_(column >= text, column < f"{text}\U0010ffff")


agency = Table(
    "agency",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(100), nullable=False),
    Column("key", String(200), nullable=False, unique=True),
)

collaborator = Table(
    "collaborator",
    metadata,
    Column("pk", Integer, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("first_name", String(100), nullable=False),
    Column("last_name", String(100), nullable=False),
    Column("agency_id", Integer, ForeignKey("agency.id"), nullable=False),
    Column("job_title", String(200), nullable=False),
    Column("email", String(254)),
    Column("phone", String(40)),
    Column("available_from", Date),
    Column("biography", Text),
    Column("updated_at", DateTime, nullable=False),  # UTC
    Column("name_key", String(400), nullable=False),
    Column("name_order", BigInteger, nullable=False),
)
Index("ix_collaborator_name_key", collaborator.c.name_key)
Index("ix_collaborator_agency", collaborator.c.agency_id)
Index("ix_collaborator_available", collaborator.c.available_from)

skill = Table(
    "skill",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False),
    Column("key", String(200), nullable=False, unique=True),
    Column("squashed", String(200), nullable=False),
)
Index("ix_skill_squashed", skill.c.squashed)

# `rank` orders the holders of a skill: (5 - level) in the high bits, then the name's sort key.
# The primary key answers "who knows X" in that order.
collaborator_skill = Table(
    "collaborator_skill",
    metadata,
    Column("skill_id", Integer, ForeignKey("skill.id"), primary_key=True, autoincrement=False),
    Column("rank", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "collaborator_pk",
        Integer,
        ForeignKey("collaborator.pk"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("agency_id", Integer, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("position", SmallInteger, nullable=False),  # among the person's skills, as in the file
    sqlite_with_rowid=False,
)
Index(
    "ix_collaborator_skill_person",
    collaborator_skill.c.collaborator_pk,
    collaborator_skill.c.skill_id,
    collaborator_skill.c.level,
)

# How many people of an agency have a skill: the totals, without counting.
skill_count = Table(
    "skill_count",
    metadata,
    Column("skill_id", Integer, primary_key=True, autoincrement=False),
    Column("agency_id", Integer, primary_key=True, autoincrement=False),
    Column("people", Integer, nullable=False),
    sqlite_with_rowid=False,
)

skill_hash = Table(
    "skill_hash",
    metadata,
    Column("hash", Integer, primary_key=True, autoincrement=False),
    Column("skill_id", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# Distinct words of names, how many people bear each, and the keys of their typos and sounds.
name_token = Table(
    "name_token",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("text", String(200), nullable=False, unique=True),
    Column("people", Integer, nullable=False),
)

name_token_hash = Table(
    "name_token_hash",
    metadata,
    Column("hash", Integer, primary_key=True, autoincrement=False),
    Column("token_id", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

collaborator_token = Table(
    "collaborator_token",
    metadata,
    Column("token_id", Integer, primary_key=True, autoincrement=False),
    Column("role", SmallInteger, primary_key=True, autoincrement=False),  # 0 last, 1 first name
    Column("name_order", BigInteger, primary_key=True, autoincrement=False),
    Column("collaborator_pk", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
Index(
    "ix_collaborator_token_person",
    collaborator_token.c.collaborator_pk,
    collaborator_token.c.token_id,
)

# Words by which people are found: stems of the job title (field 0) and of the biography (1), and
# e-mail address and telephone number (2).
collaborator_word = Table(
    "collaborator_word",
    metadata,
    Column("word", String(200), primary_key=True),
    Column("field", SmallInteger, primary_key=True, autoincrement=False),
    Column("collaborator_pk", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# Other names of skills that the company has imported; `key` is squashed.
synonym = Table(
    "synonym",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("spelling", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    sqlite_with_rowid=False,
)

# The company's own families: skills, and titles of jobs (`kind`), by the family's name.
family = Table(
    "family",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("member", String(200), primary_key=True),
    sqlite_with_rowid=False,
)

# One row, another number after each change: what is held in memory is then out of date.
generation = Table(
    "generation",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
)

# What the last import changed, as it was before: people (JSON; nothing for those who were added)
# and spellings of agencies and skills, by id or key.
last_import = Table(
    "last_import",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(10), nullable=False),
    Column("key", String(200), nullable=False),
    Column("data", Text),
)
