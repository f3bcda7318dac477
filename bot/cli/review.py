"""``bot review``: label what the bot did not know, and add it to the dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.conversations import DEFAULT_ENDPOINTS, Endpoints, stored
from common.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from bot.dataset import Dataset, Example
    from bot.review.anonymise import Anonymiser
    from bot.review.memory import Memory
    from bot.review.questions import Question

HELD_OUT = Path("tests/data/heldout.yml")


def review(
    listing: Annotated[bool, typer.Option("--list", help="Print the questions and end.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Write them to this CSV file, to be labelled elsewhere.")
    ] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", help="Take over what was labelled in a CSV file.")
    ] = None,
    below: Annotated[
        float, typer.Option(min=0, max=1, help="Confidence below which the bot was unsure.")
    ] = 0.8,
    refused: Annotated[
        bool, typer.Option("--refused", help="Also what it was sure to be off-topic.")
    ] = False,
    days: Annotated[
        float | None, typer.Option(min=0, help="Only what was asked in the last so many days.")
    ] = None,
    dataset: Annotated[Path, typer.Option(help="Where examples are added.")] = Path("data/nlu.yml"),
    memory: Annotated[Path, typer.Option(help="File that remembers what was reviewed.")] = Path(
        "data/reviewed.json"
    ),
    domain: Annotated[Path, typer.Option(help="Where the known labels stand.")] = Path(
        "domain.yml"
    ),
    held_out: Annotated[Path, typer.Option(help="Examples never to be trained on.")] = HELD_OUT,
    endpoints: Endpoints = DEFAULT_ENDPOINTS,
) -> None:
    """Label what the bot did not know or was not sure of, without personal data."""
    from rich.console import Console

    from bot import dataset as datasets
    from bot.review import spreadsheet
    from bot.review.memory import Memory
    from bot.review.review import Review
    from bot.review.terminal import Labelling

    console = Console(highlight=False)
    reserved = datasets.read(held_out).examples if held_out.exists() else []
    examples = datasets.read(dataset)
    session = Review(dataset, examples, datasets.read_labels(domain), Memory(memory), reserved)
    if import_ is not None:
        taken, known, dropped = spreadsheet.read(import_, session)
        session.finish()
        typer.echo(f"{taken} examples added to {dataset}, {known} were there, {dropped} dropped")
        return

    anonymise = _anonymiser(examples, dataset.parent)
    questions, kept_back = _open(
        anonymise, session.memory, reserved, endpoints, below, refused, days
    )
    if kept_back:
        typer.echo(f"{kept_back} of the held-out set are left out")
    if export is not None:
        spreadsheet.write(questions, export)
        typer.echo(f"{export}: {len(questions)} questions; fill the column intent, then --import")
    elif listing:
        _print(questions, console)
    else:
        labelling = Labelling(session, console)
        try:
            left = labelling.run(questions)
        finally:
            added = session.finish()
        typer.echo(f"{added} examples added to {dataset}, {labelling.dropped} dropped, {left} left")
        if added:
            typer.echo("They count from the next training on: make train, then make eval.")


def _anonymiser(examples: Dataset, folder: Path) -> Anonymiser:
    """Return what takes personal data out, by the directory and the lookup tables in ``folder``."""
    from actions.directory import Directory, DirectoryError
    from bot import dataset as datasets
    from bot.review.anonymise import GIVEN_NAMES, SURNAMES, Anonymiser

    try:
        directory = Directory()
        try:
            people = directory.names()
        finally:
            directory.close()
    except DirectoryError as error:
        raise UserError(f"Without the directory, names would be shown. {error}") from None
    if not people:
        raise UserError(
            "The directory is empty, so names would be shown: set DIRECTORY_URL as the bot has it."
        )
    tables = datasets.Dataset()
    for path in (path for path in datasets.files_of(folder) if path.suffix != ".json"):
        read = datasets.read(path)
        tables.lookups.update(read.lookups)
        tables.synonyms.update(read.synonyms)
    given, surnames = (tables.lookups.pop(name, []) for name in (GIVEN_NAMES, SURNAMES))
    return Anonymiser(people, examples, given, surnames, tables)


def _open(
    anonymise: Anonymiser,
    memory: Memory,
    reserved: list[Example],
    endpoints: Path,
    below: float,
    refused: bool,
    days: float | None,
) -> tuple[list[Question], int]:
    from sqlalchemy.exc import SQLAlchemyError

    from bot.review.questions import collect
    from bot.review.review import still_open

    try:
        turns = stored(endpoints).turns(None if days is None else days * 86400)
        questions = collect(turns, anonymise, below, refused)
    except SQLAlchemyError as error:
        raise UserError(f"The tracker store fails: {error}") from None
    return still_open(questions, memory, reserved, anonymise)


def _print(questions: list[Question], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from bot.dataset import annotate

    if not questions:
        console.print("There is nothing to review.")
        return
    table = Table("Asked", "Why", "In mind", "Question")
    for one in questions:
        guess = f"{one.guess or '–'} {one.confidence:.0%}"
        table.add_row(
            str(one.count), Text(", ".join(one.reasons)), guess, Text(annotate(one.example("")))
        )
    console.print(table)
