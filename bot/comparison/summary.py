"""From the finished cells of a comparison to its figures."""

from __future__ import annotations

import os
import platform
import statistics
from pathlib import Path

from bot.comparison import cells, performance
from bot.comparison.cells import LEARNING, Cell
from bot.comparison.performance import Run
from bot.comparison.results import (
    CROSS_VALIDATION,
    FORMAT_VERSION,
    HELD_OUT,
    Candidate,
    LearningPoint,
    Machine,
    Protocol,
    Results,
    Significance,
    Training,
)
from bot.comparison.runner import Comparison
from bot.comparison.settings import Spec

STAND_INS = {
    "comprehend": "the local AWS answers, whose Comprehend is a small text classifier of this "
    "repository: its accuracy and its latency are not Amazon's",
    "sagemaker": "the local AWS answers, which runs our container with our model on this machine: "
    "the latency is not Amazon's",
}
_FIXED = (
    "Scored on the held-out set alone: its endpoint is fixed and has seen all training examples, "
    "so a cross-validation would be contaminated."
)
_PACKAGES = ("rasa", "tensorflow", "torch", "transformers", "onnxruntime", "scikit-learn", "numpy")


def results(comparison: Comparison) -> Results:
    """Sum up all cells that are there; a candidate without any is left out.

    A protocol of which a cell is missing or has failed has no figures: a mean over fewer splits
    would not be comparable.
    """
    settings, options = comparison.settings, comparison.options
    measured = [
        spec
        for spec in settings.candidates.values()
        if any(cell in comparison.records for cell in comparison.cells_of(spec))
    ]
    train, held_out = comparison.data.materials()
    return Results(
        format_version=FORMAT_VERSION,
        date=max((record.date for record in comparison.records.values()), default=cells.today()),
        machine=machine(),
        train=train,
        held_out=held_out,
        protocol=Protocol(
            folds=settings.folds,
            seeds=settings.seeds,
            learning_sizes=comparison.sizes,
            quick=options.quick,
            off_topic=comparison.off_topic,
            real_aws=options.real_aws,
            notes=_notes(comparison),
        ),
        candidates=[_candidate(comparison, spec) for spec in measured],
        significance=_significance(comparison, measured),
    )


def _notes(comparison: Comparison) -> list[str]:
    notes = list(comparison.data.notes)
    if comparison.off_topic is None:
        notes.append("The material has no off-topic intent: there are no figures for off-topic.")
    return notes


def _candidate(comparison: Comparison, spec: Spec) -> Candidate:
    intents = comparison.data.intents
    all_cells = comparison.cells_of(spec)
    records = [comparison.records[cell] for cell in all_cells if cell in comparison.records]
    facts = [record.facts for record in records if record.facts]
    notes = dict.fromkeys(note for one in facts for note in one.notes)
    if spec.service:
        notes[_FIXED] = None
    splits = _runs(comparison, [cell for cell in all_cells if cell.kind == CROSS_VALIDATION])
    held_out = _runs(comparison, [cell for cell in all_cells if cell.kind == HELD_OUT])
    off_topic = comparison.off_topic
    return Candidate(
        key=spec.key,
        name=spec.name,
        service=spec.service,
        stand_in=(
            STAND_INS[spec.service] if spec.service and not comparison.options.real_aws else None
        ),
        definition=spec.definition,
        encoder=next((one.encoder for one in facts), None),
        notes=list(notes),
        cross_validation=performance.cross_validated(splits, intents, off_topic)
        if splits
        else None,
        held_out=performance.held_out(held_out, intents, off_topic) if held_out else None,
        learning_curve=_learning_curve(comparison, spec, held_out),
        speed=next((record.speed for record in records if record.speed), None),
        training=_training(comparison, spec),
        failures=[record.failure for record in records if record.failure],
    )


def _runs(comparison: Comparison, wanted: list[Cell]) -> list[Run]:
    """Return the runs of cells, in order; none unless all are there."""
    records = [comparison.records.get(cell) for cell in wanted]
    runs = [record.run for record in records if record and record.run]
    return runs if len(runs) == len(wanted) else []


def _learning_curve(
    comparison: Comparison, spec: Spec, everything: list[Run]
) -> list[LearningPoint]:
    if spec.service:
        return []
    intents = comparison.data.intents
    points = []
    for size in comparison.sizes:
        runs = _runs(
            comparison,
            [Cell(spec.key, LEARNING, seed, size=size) for seed in comparison.settings.seeds],
        )
        if runs:
            points.append(performance.learning_point(runs, intents, size))
    if points and everything:
        points.append(performance.learning_point(everything, intents, None))
    return points


def _training(comparison: Comparison, spec: Spec) -> Training | None:
    """Return time and size of a training on all examples; not of what a stand-in trains."""
    if spec.service and not comparison.options.real_aws:
        return None
    records = [
        record
        for cell, record in comparison.records.items()
        if (cell.candidate, cell.kind) == (spec.key, HELD_OUT)
    ]
    facts = [record.facts for record in records if record.facts]
    if not facts:
        return None
    # The median: the first training of a process imports the libraries as well.
    return Training(
        seconds=statistics.median(one.seconds for one in facts),
        model_bytes=facts[0].model_bytes,
        measured_by=spec.model if spec.kind == "quantised" else None,
    )


def _significance(comparison: Comparison, specs: list[Spec]) -> list[Significance]:
    """Test the first two by accuracy, in each protocol.

    Those with a stand-in are no part of it: their answers are not their own.
    """
    own = [spec for spec in specs if not spec.service or comparison.options.real_aws]
    intents = comparison.data.intents
    found: list[Significance] = []
    for kind in (CROSS_VALIDATION, HELD_OUT):
        runs = {
            spec.key: _runs(
                comparison, [cell for cell in comparison.cells_of(spec) if cell.kind == kind]
            )
            for spec in own
        }
        ranked = sorted(
            (key for key in runs if runs[key]), key=lambda key: _accuracy(runs[key]), reverse=True
        )
        if len(ranked) < 2:
            continue
        first, second = ranked[:2]
        if kind == CROSS_VALIDATION:
            pair = (first, runs[first]), (second, runs[second])
            found += performance.compare_splits(*pair, intents)
        else:
            found.append(
                performance.compare_held_out((first, runs[first][0]), (second, runs[second][0]))
            )
    return found


def _accuracy(runs: list[Run]) -> float:
    return statistics.fmean(
        right == answered
        for run in runs
        for right, answered in zip(run.expected, run.answered, strict=True)
    )


def machine() -> Machine:
    """Describe this machine, without naming it."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={package: cells.version(package) for package in _PACKAGES},
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
