"""What a trained model of the bot keeps of its Comprehend endpoint: ``comprehend.json``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from components import record

# To be raised when an older component could not read what this one writes.
FORMAT_VERSION = 1
_FILE = "comprehend.json"


@dataclasses.dataclass(frozen=True)
class Trained:
    """An endpoint that was in service at the time of training.

    Attributes:
        endpoint_arn: ARN of the endpoint.
        model_arn: ARN of the version that answered.
        labels: Its intents, sorted.
        metrics: How it did on its test examples, see ``ConfusionMatrix.metrics``.
    """

    endpoint_arn: str
    model_arn: str
    labels: list[str]
    metrics: dict[str, Any]


def write(folder: Path, trained: Trained) -> None:
    """Write ``comprehend.json`` into ``folder``."""
    record.write(folder / _FILE, trained, FORMAT_VERSION)


def read(folder: Path) -> Trained:
    """Read ``comprehend.json`` from ``folder``; raises as :func:`components.record.read`."""
    return record.read(folder / _FILE, Trained, FORMAT_VERSION)
