"""Indexes of job titles, biographies, contacts and availability."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from actions.directory.matching import index_words

revision = "0002"
down_revision = "0001"

_BATCH = 1000


def upgrade() -> None:
    op.create_index("ix_collaborator_available", "collaborator", ["available_from"])
    op.drop_index("ix_collaborator_skill_person", "collaborator_skill")
    op.create_index(
        "ix_collaborator_skill_person",
        "collaborator_skill",
        ["collaborator_pk", "skill_id", "level"],
    )
    word = op.create_table(
        "collaborator_word",
        sa.Column("word", sa.String(200), primary_key=True, nullable=False),
        sa.Column("field", sa.SmallInteger, primary_key=True, autoincrement=False, nullable=False),
        sa.Column(
            "collaborator_pk", sa.Integer, primary_key=True, autoincrement=False, nullable=False
        ),
        sqlite_with_rowid=False,
    )
    names = ("pk", "job_title", "biography", "email", "phone")
    person = sa.table("collaborator", *map(sa.column, names))
    connection, last = op.get_bind(), 0
    while True:
        query = sa.select(person).where(person.c.pk > last).order_by(person.c.pk).limit(_BATCH)
        people = connection.execute(query).all()
        if not people:
            return
        last = people[-1].pk
        rows = [
            {"word": found, "field": field, "collaborator_pk": row.pk}
            for row in people
            for found, field in index_words(row.job_title, row.biography, row.email, row.phone)
        ]
        connection.execute(word.insert(), rows)


def downgrade() -> None:
    op.drop_table("collaborator_word")
    op.drop_index("ix_collaborator_skill_person", "collaborator_skill")
    op.create_index("ix_collaborator_skill_person", "collaborator_skill", ["collaborator_pk"])
    op.drop_index("ix_collaborator_available", "collaborator")
