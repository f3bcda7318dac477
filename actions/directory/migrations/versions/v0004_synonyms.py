"""The company's own names of skills, and the number of the vocabulary's last change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "synonym",
        sa.Column("key", sa.String(200), primary_key=True, nullable=False),
        sa.Column("spelling", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "generation",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("generation")
    op.drop_table("synonym")
