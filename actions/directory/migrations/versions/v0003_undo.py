"""What the last import changed, to undo it; longer names of skills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "last_import",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("data", sa.Text),
    )
    with op.batch_alter_table("skill") as skill:
        skill.alter_column("name", type_=sa.String(200))


def downgrade() -> None:
    op.drop_table("last_import")
