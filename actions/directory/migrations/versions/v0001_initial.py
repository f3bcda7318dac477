"""Collaborators, skills and the search indexes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _id(
    name: str, type_: type = sa.Integer, primary_key: bool = True, **options: object
) -> sa.Column:
    return sa.Column(
        name, type_, primary_key=primary_key, autoincrement=False, nullable=False, **options
    )


def upgrade() -> None:
    op.create_table(
        "agency",
        _id("id"),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("key", sa.String(200), nullable=False, unique=True),
    )
    op.create_table(
        "collaborator",
        _id("pk"),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("first_name", sa.String(100), nullable=False),
        sa.Column("last_name", sa.String(100), nullable=False),
        sa.Column("agency_id", sa.Integer, sa.ForeignKey("agency.id"), nullable=False),
        sa.Column("job_title", sa.String(200), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("phone", sa.String(40)),
        sa.Column("available_from", sa.Date),
        sa.Column("biography", sa.Text),
        sa.Column("updated_at", sa.DateTime, nullable=False),
        sa.Column("name_key", sa.String(400), nullable=False),
        sa.Column("name_order", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_collaborator_name_key", "collaborator", ["name_key"])
    op.create_index("ix_collaborator_agency", "collaborator", ["agency_id"])
    op.create_table(
        "skill",
        _id("id"),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("key", sa.String(200), nullable=False, unique=True),
        sa.Column("squashed", sa.String(200), nullable=False),
    )
    op.create_index("ix_skill_squashed", "skill", ["squashed"])
    op.create_table(
        "collaborator_skill",
        sa.Column("skill_id", sa.Integer, sa.ForeignKey("skill.id"), primary_key=True),
        _id("rank", sa.BigInteger),
        sa.Column(
            "collaborator_pk", sa.Integer, sa.ForeignKey("collaborator.pk"), primary_key=True
        ),
        sa.Column("agency_id", sa.Integer, nullable=False),
        sa.Column("level", sa.SmallInteger, nullable=False),
        sa.Column("position", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_collaborator_skill_agency",
        "collaborator_skill",
        ["skill_id", "agency_id", "rank", "collaborator_pk"],
    )
    op.create_index("ix_collaborator_skill_person", "collaborator_skill", ["collaborator_pk"])
    op.create_table(
        "skill_count",
        _id("skill_id"),
        _id("agency_id"),
        sa.Column("people", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table("skill_hash", _id("hash"), _id("skill_id"), sqlite_with_rowid=False)
    op.create_table(
        "name_token",
        _id("id"),
        sa.Column("text", sa.String(200), nullable=False, unique=True),
        sa.Column("people", sa.Integer, nullable=False),
    )
    op.create_table("name_token_hash", _id("hash"), _id("token_id"), sqlite_with_rowid=False)
    op.create_table(
        "collaborator_token",
        _id("token_id"),
        _id("role", sa.SmallInteger),
        _id("name_order", sa.BigInteger),
        _id("collaborator_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_collaborator_token_person", "collaborator_token", ["collaborator_pk", "token_id"]
    )


def downgrade() -> None:
    for table in (
        "collaborator_token",
        "name_token_hash",
        "name_token",
        "skill_hash",
        "skill_count",
        "collaborator_skill",
        "skill",
        "collaborator",
        "agency",
    ):
        op.drop_table(table)
