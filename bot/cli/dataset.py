"""``bot dataset …``: check and convert the training examples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from common.errors import UserError

app = typer.Typer(help="Check and convert the training examples.", no_args_is_help=True)


@app.command()
def validate(
    files: Annotated[
        list[Path] | None, typer.Argument(help="JSON or YAML; by default those in data/.")
    ] = None,
    domain: Annotated[Path, typer.Option(help="Where the known labels stand.")] = Path(
        "domain.yml"
    ),
) -> None:
    """Say line by line what is wrong; exit status 1 when something is."""
    from bot import dataset as datasets

    labels = datasets.read_labels(domain)
    failed = False
    for path in files or datasets.files_of(Path("data")):
        try:
            dataset = datasets.read(path)
            problems = datasets.validate(dataset, labels)
        except datasets.DatasetError as error:
            problems = error.problems
        for problem in problems:
            typer.echo(f"{path}:{problem}")
        errors = sum(problem.is_error for problem in problems)
        failed = failed or errors > 0
        typer.echo(f"{path}: {errors} errors, {len(problems) - errors} warnings")
    if failed:
        raise typer.Exit(1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A .json or .yml dataset, or Rasa 1's .md.")],
    target: Annotated[Path, typer.Argument(help="What to write, .json or .yml.")],
    force: Annotated[bool, typer.Option("--force", help="Replace TARGET if it exists.")] = False,
) -> None:
    """Convert between JSON and Rasa's YAML without loss."""
    from bot import dataset as datasets

    if target.exists() and not force:
        raise UserError(f"{target} exists; --force replaces it.")
    is_markdown = source.suffix.lower() == ".md"
    dataset = datasets.read_markdown(source) if is_markdown else datasets.read(source)
    datasets.write(dataset, target)
    typer.echo(f"{target}: {len(dataset.examples)} examples")


@app.command()
def stats(
    file: Annotated[Path, typer.Argument(help="A .json or .yml dataset.")] = Path("data/nlu.yml"),
) -> None:
    """Count examples, entities and values."""
    from rich.console import Console
    from rich.table import Table

    from bot import dataset as datasets

    dataset = datasets.read(file)
    intents = Counter(example.intent for example in dataset.examples)
    entities = Counter(entity.entity for example in dataset.examples for entity in example.entities)
    console = Console()
    table = Table("Intent", "Examples", "Characters (mean)", title=str(file))
    for intent, count in intents.most_common():
        lengths = [len(one.text) for one in dataset.examples if one.intent == intent]
        table.add_row(intent, str(count), f"{sum(lengths) / count:.1f}")
    table.add_row("total", str(len(dataset.examples)), "", style="bold")
    console.print(table)
    table = Table("Entity", "Annotations")
    for entity, count in entities.most_common():
        table.add_row(entity, str(count))
    console.print(table)
    for key in datasets.SECTIONS.values():
        values = getattr(dataset, key)
        if values:
            total = sum(len(some) for some in values.values())
            console.print(f"{key}: {len(values)} names, {total} values")
