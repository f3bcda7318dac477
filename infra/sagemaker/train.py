"""``train``: fine-tunes the classifier on SageMaker's channels, as ``rasa train`` would.

Contract: Amazon SageMaker Developer Guide, "How Amazon SageMaker AI Provides Training Information",
"… Signals Algorithm Success and Failure" and "… Processes Training Output".

Channels: ``train/dataset.json`` and, optionally, ``test/dataset.json``, in the format of
``bot/dataset/schema.json``. Results: the served model, and how it does on the channel ``test``:
``metrics.json``, and ``confusion_matrix.json`` in the format of Amazon Comprehend. Without that
channel a tenth of the examples is kept back for it, as Comprehend does.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from bot import dataset as datasets
from bot.retraining import metrics
from common.confusion_matrix import ConfusionMatrix
from common.errors import UserError
from infra.sagemaker import hyperparameters
from infra.sagemaker.folders import Folders

logger = logging.getLogger(__name__)

_DATASET = "dataset.json"
_REASON_LENGTH = 1024
_TEST_SHARE = 0.1

Examples = list[tuple[str, str]]  # pairs of intent and text


def main() -> int:
    """Train; return 0, or 1 after the reason was left where SageMaker looks for it."""
    # First of all: as the container's first process it would not end on SIGTERM by itself.
    signal.signal(signal.SIGTERM, _stop)
    folders = Folders.from_environment()
    try:
        _train(folders)
    except Exception as error:
        known = isinstance(error, UserError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        logger.error(reason if known else traceback.format_exc())
        folders.failure.parent.mkdir(parents=True, exist_ok=True)
        folders.failure.write_text(reason[:_REASON_LENGTH], encoding="utf-8")
        return 1
    return 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """End for ``StopTrainingJob``, which is no failure; nothing half-finished is worth keeping."""
    logger.warning("Stopped.")
    sys.exit(0)


def _train(folders: Folders) -> None:
    config = hyperparameters.read(folders.hyperparameters)
    examples = _examples(folders.channel("train"))
    test = _examples(folders.channel("test")) if folders.channel("test").is_dir() else None
    # After the checks above, since these modules bring PyTorch along.
    from components.camembert.build import train_and_write
    from components.camembert.encoder import configured_encoder
    from components.camembert.progress import Progress, work_of
    from components.camembert.training import held_out

    if test is None:
        share = {**config, "validation_share": _TEST_SHARE}
        kept_back = set(held_out([intent for intent, _ in examples], share))
        test = [examples[index] for index in sorted(kept_back)]
        examples = [one for index, one in enumerate(examples) if index not in kept_back]
    texts, labels = [text for _, text in examples], [intent for intent, _ in examples]
    work = work_of(configured_encoder(config).path, len(texts), config)
    with Progress(work) as progress:
        trained = train_and_write(
            texts, labels, config, folders.model, progress=progress, resumable=False
        )
    for name, value in trained.validation.items():
        _metric(f"validation_{name}", value)
    matrix = _measure(folders.model, test, config)
    folders.output.mkdir(parents=True, exist_ok=True)
    _write(folders.output / "metrics.json", matrix.metrics())
    _write(folders.output / "confusion_matrix.json", matrix.to_json())
    _metric("test_accuracy", matrix.accuracy)
    _metric("test_macro_f1", matrix.macro_f1)


def _examples(channel: Path) -> Examples:
    path = channel / _DATASET
    if not path.is_file():
        found = ", ".join(sorted(item.name for item in channel.glob("*"))) or "nothing"
        raise UserError(f"The channel '{channel.name}' has no {_DATASET}, but {found}.")
    examples = datasets.read(path).examples
    empty = [str(example.line) for example in examples if not example.text.strip()]
    if empty:
        raise UserError(f"{_DATASET} of '{channel.name}': no text on line {', '.join(empty)}.")
    return [(example.intent, example.text) for example in examples]


def _measure(
    model: Path, examples: Sequence[tuple[str, str]], config: Mapping[str, Any]
) -> ConfusionMatrix:
    """Return how the model does on ``examples`` as it will be served: quantised, with ONNX."""
    from components.camembert.served_model import ServedModel

    reject = config["unknown_text"] == "reject"
    served = ServedModel(model, config["threads"], reject_unknown=reject)
    rankings = served.rank([text for _, text in examples])
    return ConfusionMatrix.of(
        [label for label, _ in examples],
        [ranking[0][0] if ranking else None for ranking in rankings],
    )


def _metric(name: str, value: float) -> None:
    """Print a metric where the job's ``MetricDefinitions`` find it."""
    print(metrics.line(name, value), flush=True)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
