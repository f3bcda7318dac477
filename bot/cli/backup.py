"""``bot backup`` and ``bot restore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bot.cli.conversations import DEFAULT_ENDPOINTS, Endpoints

Archive = Annotated[Path, typer.Argument(help="The archive, such as backup-2026-11-26.tar.")]
Only = Annotated[
    list[str] | None,
    typer.Option(help="directory, conversations, models or audit; several times, or all."),
]


def backup(archive: Archive, only: Only = None, endpoints: Endpoints = DEFAULT_ENDPOINTS) -> None:
    """Copy directory, conversations, models and audit log to an archive, while the bot runs."""
    from bot import backup as work
    from bot.runtime.rasa_cli import project_environment

    written = work.backup(archive, _parts(only), endpoints, project_environment())
    for name, size in written.items():
        typer.echo(f"{name}: {size} bytes")


def restore(archive: Archive, only: Only = None, endpoints: Endpoints = DEFAULT_ENDPOINTS) -> None:
    """Put back what an archive of `bot backup` has, in the place of what is there."""
    from bot import backup as work
    from bot.runtime.rasa_cli import project_environment

    for name in work.restore(archive, _parts(only), endpoints, project_environment()):
        typer.echo(f"{name}: restored")


def _parts(only: list[str] | None) -> list[str]:
    from bot import backup as work
    from common.errors import UserError

    for part in only or ():
        if part not in work.PARTS:
            raise UserError(f"{part}: --only takes one of {', '.join(work.PARTS)}.")
    return list(only or work.PARTS)
