"""What a worker does for the runner: train, score, keep; everything here runs in the child."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.comparison import candidates, performance
from bot.comparison.candidates import Facts
from bot.comparison.performance import Run
from bot.comparison.settings import Spec
from bot.comparison.splits import Labelled

# What became of a candidate: its answers and facts, or error and traceback.
Outcome = tuple[Run, Facts] | tuple[str, str]


@dataclass(frozen=True)
class Job:
    """A training, and the candidates that share it.

    Attributes:
        spec: The candidate that is trained.
        score: It and those that are made of its model; only these are scored.
        train: Examples to train on.
        test: Examples to score.
        seed: Of the training.
        intents: All intents of the material.
        off_topic: The off-topic intent, where there is one.
        threads: Threads that the libraries may use.
        keep: Where the models are to stay, by the key of the candidate.
    """

    spec: Spec
    score: list[Spec]
    train: Labelled
    test: Labelled
    seed: int
    intents: list[str]
    off_topic: str | None
    threads: int
    keep: Mapping[str, Path]


def run(job: Job) -> dict[str, Outcome]:
    """Train once, and score each candidate of the job; one that fails does not fail the others."""
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / job.spec.key
        source.mkdir()
        # A training that fails fails all that is made of it.
        facts = candidates.fit(job.spec, job.train, job.seed, source)
        for spec in job.score:
            try:
                folder = source
                if spec.kind == "quantised":
                    folder = Path(scratch) / spec.key
                    folder.mkdir()
                    facts = candidates.quantise(source, job.train, folder)
                outcomes[spec.key] = _score(job, spec, folder), facts
                if spec.key in job.keep:
                    _keep(folder, job.keep[spec.key])
            except Exception as error:
                message = "".join(traceback.format_exception_only(type(error), error)).strip()
                outcomes[spec.key] = message, traceback.format_exc()
    return outcomes


def _score(job: Job, spec: Spec, folder: Path) -> Run:
    classifier = candidates.load(spec, job.spec, folder, job.threads)
    rankings = candidates.rank_all(classifier, spec, job.test.texts)
    return performance.score(rankings, job.test.intents, job.intents, job.off_topic, len(job.train))


def _keep(folder: Path, target: Path) -> None:
    """Copy a model; what is half copied is never taken for a model."""
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part)
    part.rename(target)
