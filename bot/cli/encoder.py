"""``bot encoder …``."""

from __future__ import annotations

import typer

app = typer.Typer(help="encoder", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Placeholder until the commands land."""
