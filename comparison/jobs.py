"""What a worker does for the runner: train, score, keep; everything here runs in the child."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from comparison import candidates, scores
from comparison.candidates import Facts
from comparison.scores import Run
from comparison.settings import Spec
from comparison.splits import Labelled


@dataclass(frozen=True)
class Job:
    """A training, and what is scored of it.

    Attributes:
        spec: The candidate.
        train: Examples to train on.
        test: Examples to score.
        seed: Of the training.
        intents: All intents of the material.
        off_topic: The off-topic intent, where there is one.
        threads: Threads that the libraries may use.
        keep: Where the model is to stay; None: nowhere.
    """

    spec: Spec
    train: Labelled
    test: Labelled
    seed: int
    intents: list[str]
    off_topic: str | None
    threads: int
    keep: Path | None


def run(job: Job) -> tuple[Run, Facts]:
    """Train, score, and keep the model if so asked."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / job.spec.key
        folder.mkdir()
        facts = candidates.fit(job.spec, job.train, job.seed, folder)
        scored = _score(job, folder)
        if job.keep:
            _keep(folder, job.keep)
    return scored, facts


def _score(job: Job, folder: Path) -> Run:
    classifier = candidates.load(job.spec, folder, job.threads)
    rankings = candidates.rank_all(classifier, job.spec, job.test.texts)
    return scores.score(rankings, job.test.intents, job.intents, job.off_topic, len(job.train))


def _keep(folder: Path, target: Path) -> None:
    """Copy a model; what is half copied is never taken for a model."""
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part)
    part.rename(target)
