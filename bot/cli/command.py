"""How a command of ours ends."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from common.errors import UserError


def call(app: typer.Typer) -> None:
    """Run a command line; a :class:`~common.errors.UserError` ends it with status 1."""
    try:
        app()
    except UserError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]Error:[/] {escape(str(error))}")
        sys.exit(1)
