"""The ``bot`` command."""

from __future__ import annotations

from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from bot.cli import (
    backup,
    comprehend,
    conversations,
    dataset,
    directory,
    encoder,
    evaluate,
    pipeline,
    review,
    run,
)
from bot.cli.command import call

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(dataset.app, name="dataset")
app.add_typer(directory.app, name="directory")
app.add_typer(conversations.app, name="conversations")
app.add_typer(encoder.app, name="encoder")
app.add_typer(comprehend.app, name="comprehend")
app.add_typer(pipeline.app, name="pipeline")
app.command("run")(run.run)
app.command("shell")(run.shell)
app.command("train")(run.train)
app.command("evaluate")(evaluate.evaluate)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("review")(review.review)
for _command in entry_points(group="bot.commands"):  # of packages that stand on this one
    app.command(_command.name)(_command.load())


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"skills-bot {version('skills-bot')} (Rasa {version('rasa')})")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Versions.")
    ] = False,
) -> None:
    """The French-language skills bot."""


def main() -> None:
    """Run the command line."""
    call(app)
