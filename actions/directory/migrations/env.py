"""Run by Alembic with the connection that :mod:`actions.directory.database` hands over.

To add a migration: copy the newest file of ``versions/``, with a new revision id. There is no
``alembic.ini``; the bot migrates by itself when it opens a directory.
"""

from __future__ import annotations

from alembic import context

from actions.directory.tables import metadata

attributes = context.config.attributes
# The caller holds the lock and the transaction: all pending migrations, or none.
context.configure(
    connection=attributes["connection"],
    target_metadata=metadata,
    version_table=attributes["version_table"],
    render_as_batch=True,
)
context.run_migrations()
