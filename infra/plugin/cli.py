"""The ``skills-bot`` command: what of ``bot`` is of use in other projects."""

from __future__ import annotations

import typer

from bot.cli import comprehend, encoder
from bot.cli.command import call

app = typer.Typer(
    help="Encoders and endpoints of the skills bot's Rasa components.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(encoder.app, name="encoder")
app.add_typer(comprehend.app, name="comprehend")


def main() -> None:
    """Run the command line."""
    call(app)
