"""Families of skills of the company's own; prefixes out of the index; lists are made in memory."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# What is completed. PostgreSQL's usual order of letters finds no prefix in an index.
_PREFIXES = (
    ("agency", "key"), ("skill", "key"), ("name_token", "text"), ("collaborator_word", "word"),
)  # fmt: skip


def _collate(collation: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, column in _PREFIXES:
            kind = f'character varying(200) COLLATE "{collation}"'
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind}")


def upgrade() -> None:
    op.drop_index("ix_collaborator_skill_agency", "collaborator_skill")
    op.create_table(
        "family",
        sa.Column("name", sa.String(200), primary_key=True, nullable=False),
        sa.Column("kind", sa.String(10), primary_key=True, nullable=False),
        sa.Column("member", sa.String(200), primary_key=True, nullable=False),
        sqlite_with_rowid=False,
    )
    _collate("C")
    generation = sa.table("generation", sa.column("number"))
    # Without a number, nothing would be kept in memory until the next import.
    if op.get_bind().execute(sa.select(generation.c.number)).first() is None:
        op.execute(generation.insert().values(number=secrets.randbits(62) + 1))


def downgrade() -> None:
    _collate("default")
    op.drop_table("family")
    op.create_index(
        "ix_collaborator_skill_agency",
        "collaborator_skill",
        ["skill_id", "agency_id", "rank", "collaborator_pk"],
    )
