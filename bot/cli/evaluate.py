"""``bot evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.run import DEFAULT_CONFIG, Config


def evaluate(
    model: Annotated[
        Path | None,
        typer.Option(help="A Rasa model; by default one of the present data, trained if need be."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    data: Annotated[
        Path, typer.Option(help="Labelled examples that no model was trained on.")
    ] = Path("tests/data/heldout.yml"),
    dialogues: Annotated[
        Path, typer.Option(help="Whole dialogues that no model was trained on.")
    ] = Path("tests/data/dialogues.yml"),
    out: Annotated[Path, typer.Option(help="Folder for figures and pictures.")] = Path(
        "results/eval"
    ),
) -> None:
    """Measure a model on held-out messages and dialogues: intents, entities, turns right."""
    from rich.console import Console

    from bot import dataset, evaluation, rasa_model
    from bot import dialogues as whole
    from common.errors import UserError

    console = Console()
    examples = dataset.read(data).examples
    if model is None:
        model = rasa_model.ensure_model(config)
    elif not model.exists():
        raise UserError(f"{model}: no such model.")
    console.print(f"{model.name} on {len(examples)} examples of {data} …", highlight=False)
    predictions = evaluation.predict(model, examples)
    figures = evaluation.evaluate(predictions)
    evaluation.print_report(figures, console)
    written = evaluation.write_report(figures, predictions, out)
    if dialogues.exists():
        turns = whole.summary(whole.judge(model, dialogues))
        whole.print_summary(turns, console)
        path = out / "dialogues.json"
        path.write_text(json.dumps(turns, indent=2) + "\n", encoding="utf-8")
        written = [*written, path]
    for path in written:
        console.print(str(path), highlight=False)
