"""Trains, measures and asks a bot for ``bot.retraining`` without AWS, in a process of its own.

``python -m bot.local_training train|classify``; what fails says why on the last lines.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bot import dataset as datasets
from bot.dataset import Example
from bot.runtime import rasa_cli, tensorflow_stub
from common.confusion_matrix import ConfusionMatrix

DATA, DOMAIN = Path("data"), Path("domain.yml")
EXAMPLES = "nlu.yml"


def train(dataset: Path, heldout: Path, config: Path, model: Path, matrix: Path) -> None:
    """Train the bot with other examples, and write its file once it has been measured.

    Args:
        dataset: The examples, which take the place of ``data/nlu.yml``; all else of ``data/``,
            ``domain.yml`` and the configuration are those of the bot.
        heldout: What it is measured on.
        config: The configuration.
        model: Where the model goes.
        matrix: Where its confusion matrix goes.

    Raises:
        UserError: The data cannot be read.
        SystemExit: Rasa does not train.
    """
    from rasa.api import train as rasa_train

    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir()
        for path in DATA.glob("*.yml"):
            shutil.copy(path, data)
        datasets.write(datasets.read(dataset), data / EXAMPLES)
        result = rasa_train(
            domain=str(DOMAIN),
            config=str(config),
            training_files=str(data),
            output=str(folder),
            fixed_model_name="model",
        )
        if result.code or not result.model:
            raise SystemExit(f"Rasa's training ended with the code {result.code}.")
        examples = datasets.read(heldout).examples
        trained = Path(result.model)
        predicted = classify(trained, [example.text for example in examples])
        found = ConfusionMatrix.of([example.intent for example in examples], predicted)
        matrix.write_text(json.dumps(found.to_json(), ensure_ascii=False), encoding="utf-8")
        # As a whole, and last: its being there says that the training is through.
        half = model.with_name(f".{model.name}")
        shutil.copy(trained, half)
        half.replace(model)


def classify(model: Path, texts: Sequence[str]) -> list[str | None]:
    """Return the intent of each text; off-topic is one, however the model says it."""
    from bot import evaluation

    predictions = evaluation.predict(model, [Example(text, "") for text in texts])
    return [prediction.answered for prediction in predictions]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["train", "classify"])
    for name in ("dataset", "heldout", "config", "model", "matrix"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args(arguments)
    rasa_cli.configure_process()
    process = ["--config", str(given.config)] if given.config else ["--model", str(given.model)]
    if not tensorflow_stub.is_needed_for(["train" if given.config else "run", *process]):
        tensorflow_stub.leave_out()
    if given.what == "train":
        train(given.dataset, given.heldout, given.config, given.model, given.matrix)
    else:
        print(json.dumps(classify(given.model, json.load(sys.stdin)), ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
