"""Candidates: from their description in ``compare.yml`` to a classifier that answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bot.runtime import tensorflow_stub
from comparison.results import ENCODER_STANDS_IN
from comparison.settings import Spec
from comparison.splits import Labelled
from components.remote import Ranking

# A service that limits its rate is asked again for what it has not answered: so often, after so
# many seconds. Some texts have no answer at all, hence not for ever.
_ATTEMPTS, _PAUSE = 5, 1.0


class Classifier(Protocol):
    """What every candidate becomes."""

    def rank(self, texts: Sequence[str]) -> list[Ranking]:
        """Return the intents of each text, best first; empty where there is no telling."""


@dataclass(frozen=True)
class Facts:
    """What is known of a trained model beside its answers."""

    seconds: float  # what the training took
    model_bytes: int  # size of what it wrote
    # The pretrained encoder that was really used; None where there is none.
    encoder: str | None = None
    notes: list[str] = field(default_factory=list)  # what a reader of the figures must know


def prepare(spec: Spec) -> None:
    """Import what a trained candidate needs, as the bot would; for a process of its own."""
    if spec.kind == "transformers":
        import torch  # noqa: F401
        import transformers  # noqa: F401
    else:
        if not tensorflow_stub.is_needed_by(one["name"] for one in spec.model):
            tensorflow_stub.leave_out()
        import comparison.rasa_pipeline  # noqa: F401


def fit(spec: Spec, examples: Labelled, seed: int, folder: Path) -> Facts:
    """Train a candidate into the empty folder ``folder``.

    Raises:
        Exception: Whatever the training raises.
    """
    arguments = spec.model, examples.texts, examples.intents, seed, folder
    encoders: list[tuple[str, str]] = []  # asked for, used
    if spec.kind == "transformers":
        from comparison import torch_pipeline

        begin = time.perf_counter()
        encoder = torch_pipeline.fit(*arguments)
        seconds = time.perf_counter() - begin
        encoders.append((encoder.name, encoder.used))
    else:
        from comparison import rasa_pipeline
        from components.camembert.served_model import read_metadata

        begin = time.perf_counter()
        rasa_pipeline.fit(*arguments)
        seconds = time.perf_counter() - begin
        for model in served_models(folder):
            metadata = read_metadata(model).encoder
            encoders.append((metadata["name"], metadata["used"]))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    notes = [
        ENCODER_STANDS_IN.format(used=used, asked=asked)
        for asked, used in encoders
        if used != asked
    ]
    return Facts(seconds, size, encoders[-1][1] if encoders else None, notes)


def load(spec: Spec, folder: Path, threads: int) -> Classifier:
    """Return a trained candidate, ready to answer.

    Args:
        spec: The candidate.
        folder: Where it was trained.
        threads: Threads of a candidate without a key of its own for them.
    """
    if spec.kind == "transformers":
        from comparison.torch_pipeline import TorchPipeline

        return TorchPipeline(folder, threads)
    from comparison.rasa_pipeline import RasaPipeline

    return RasaPipeline(spec.model, folder)


def rank_all(classifier: Classifier, spec: Spec, texts: Sequence[str]) -> list[Ranking]:
    """Return the answers to all texts; a service is asked again for what it does not answer."""
    if spec.service is None:
        return classifier.rank(texts)
    rankings = []
    for text in texts:
        for _ in range(_ATTEMPTS):
            (ranking,) = classifier.rank([text])
            if ranking:
                break
            time.sleep(_PAUSE)
        rankings.append(ranking)
    return rankings


def served_models(folder: Path) -> list[Path]:
    """Return the folders below ``folder`` that hold a served CamemBERT."""
    return sorted(path.parent for path in folder.rglob("model.onnx"))
