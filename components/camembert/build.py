"""From examples to a served model on disk: the whole training, for whoever runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.camembert.distillation import distil
from components.camembert.encoder import configured_encoder
from components.camembert.model import Checkpoint, Metadata
from components.camembert.progress import Progress
from components.camembert.served_model import write
from components.camembert.training import fine_tune


def train_and_write(
    texts: Sequence[str],
    labels: Sequence[str],
    config: Mapping[str, Any],
    folder: Path,
    start: Checkpoint | None = None,
    progress: Progress | None = None,
    *,
    resumable: bool = True,
) -> Metadata:
    """Fine-tune the configured encoder and write what serving needs.

    Args:
        texts: Training sentences.
        labels: The intent of each sentence.
        config: A complete and valid configuration (see :mod:`components.camembert.config`).
        folder: Where to write the served model; made if missing.
        start: What to go on from; its labels must be the same.
        progress: Told what is done.
        resumable: Whether training may go on from the model some day; else it is a third smaller.

    Returns:
        The metadata as written.

    Raises:
        ConfigError: The encoder is nowhere to be had.
        UserError: A single intent, too few examples, or an encoder of another family.
    """
    progress = progress or Progress()
    progress.advance_fixed()
    encoder = configured_encoder(config)
    trained = fine_tune(texts, labels, encoder, config, start, progress)
    if config["distill"]:
        trained = dataclasses.replace(
            trained, student=distil(trained, texts, labels, encoder, config, progress)
        )
    metadata = Metadata(
        labels=trained.labels,
        max_length=config["max_length"],
        text_prefix=config["text_prefix"],
        pad_id=trained.pad_id,
        precision=config["precision"],
        temperature=trained.temperature,
        architecture=trained.architecture,
        encoder={"name": encoder.name, "used": encoder.used, "revision": encoder.revision},
        validation=trained.validation,
        student=trained.student.metadata if trained.student else None,
    )
    if not resumable:
        trained = dataclasses.replace(trained, trained={})
    progress.stage("writing the network")
    folder.mkdir(parents=True, exist_ok=True)
    return write(folder, trained, metadata, encoder.path / "tokenizer.json", texts)
