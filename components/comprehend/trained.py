"""What a trained model of the bot keeps of its Comprehend endpoint: ``comprehend.json``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

# To be raised when an older component could not read what this one writes.
FORMAT_VERSION = 1
_FILE = "comprehend.json"


class DamagedFileError(Exception):
    """``comprehend.json`` is missing, damaged or of another version."""


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
    content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(trained)}
    (folder / _FILE).write_text(json.dumps(content, ensure_ascii=False, indent=2), "utf-8")


def read(folder: Path) -> Trained:
    """Read ``comprehend.json`` from ``folder``.

    Raises:
        DamagedFileError: With the file's name and the way out.
    """
    path = folder / _FILE
    try:
        content = json.loads(path.read_text("utf-8"))
        version = content.pop("format_version")
        trained = Trained(**content) if version == FORMAT_VERSION else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedFileError(
            f"{path} is missing or damaged ({error!r}). Train again with `rasa train`."
        ) from error
    if trained is None:
        raise DamagedFileError(
            f"{path} has format version {version}; this component reads {FORMAT_VERSION}. Train "
            "again with `rasa train`."
        )
    return trained
