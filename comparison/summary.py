"""From the finished cells of a comparison to its figures."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from comparison import measurements, scores
from comparison.measurements import LEARNING
from comparison.results import (
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
from comparison.runner import Comparison
from comparison.scores import Run
from comparison.settings import Spec

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

    Of a cross-validation, the seeds count whose folds are all there: each is the mean over all
    examples, so a candidate of fewer seeds compares, with a wider interval, and its notes say so.
    A protocol of which a cell has failed has no figures: what is left would flatter.
    """
    settings, options = comparison.settings, comparison.options
    measured = [
        spec
        for spec in settings.candidates.values()
        if any(cell in comparison.records for cell in comparison.cells_of(spec))
    ]
    train, held_out = comparison.data.materials()
    notes = list(comparison.data.notes)
    if comparison.off_topic is None:
        notes.append("The material has no off-topic intent: there are no figures for off-topic.")
    return Results(
        format_version=FORMAT_VERSION,
        date=max(
            (record.date for record in comparison.records.values()), default=measurements.today()
        ),
        machine=_machine(),
        train=train,
        held_out=held_out,
        protocol=Protocol(
            folds=settings.splits.folds,
            seeds=settings.splits.seeds,
            learning_sizes=comparison.sizes,
            quick=options.quick,
            off_topic=comparison.off_topic,
            real_aws=options.real_aws,
            notes=notes,
        ),
        candidates=[_candidate(comparison, spec) for spec in measured],
        significance=_significance(comparison, measured),
    )


def _candidate(comparison: Comparison, spec: Spec) -> Candidate:
    intents = comparison.data.intents
    all_cells = comparison.cells_of(spec)
    records = [comparison.records[cell] for cell in all_cells if cell in comparison.records]
    facts = [record.facts for record in records if record.facts]
    notes = dict.fromkeys(note for one in facts for note in one.notes)
    if spec.service:
        notes[_FIXED] = None
    notes.update(dict.fromkeys(_shortfalls(comparison, spec)))
    splits = _together(_by_seed(comparison, spec, CROSS_VALIDATION))
    held_out = _together(_by_seed(comparison, spec, HELD_OUT))
    off_topic = comparison.off_topic
    return Candidate(
        key=spec.key,
        name=spec.name,
        service=spec.service,
        stand_in=(
            STAND_INS[spec.service] if spec.service and not comparison.options.real_aws else None
        ),
        definition=spec.definition,
        why=spec.why,
        is_default=spec.default,
        encoder=next((one.encoder for one in facts), None),
        notes=list(notes),
        cross_validation=scores.cross_validated(splits, intents, off_topic) if splits else None,
        held_out=scores.held_out(held_out, intents, off_topic) if held_out else None,
        learning_curve=_learning_curve(comparison, spec, held_out),
        speed=next((record.speed for record in records if record.speed), None),
        training=_training(comparison, spec),
        failures=[record.failure for record in records if record.failure],
    )


def _by_seed(
    comparison: Comparison, spec: Spec, kind: str, size: int | None = None
) -> dict[int, list[Run]]:
    """Return the runs of a protocol by seed: of those seeds whose cells are all there.

    None at all where a cell of any seed has failed.
    """
    records = defaultdict(list)
    for cell in comparison.cells_of(spec):
        if (cell.kind, cell.size) == (kind, size):
            records[cell.seed].append(comparison.records.get(cell))
    if any(record and record.failure for found in records.values() for record in found):
        return {}
    return {
        seed: [record.run for record in found if record and record.run]
        for seed, found in records.items()
        if all(found)
    }


def _together(runs: dict[int, list[Run]]) -> list[Run]:
    return [run for found in runs.values() for run in found]


def _shortfalls(comparison: Comparison, spec: Spec) -> Iterator[str]:
    """Yield what a reader must know where not all was measured, or not with today's code."""
    for kind in (HELD_OUT, CROSS_VALIDATION, LEARNING):
        wanted = [cell for cell in comparison.cells_of(spec) if cell.kind == kind]
        missing = dict.fromkeys(cell.seed for cell in wanted if cell not in comparison.records)
        if missing and any(cell in comparison.records for cell in wanted):
            seeds = f"seed{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}"
            yield f"{kind.capitalize()}: {seeds} not measured yet, or not as a whole."
    earlier = [cell for cell in comparison.cells_of(spec) if cell in comparison.outdated]
    kinds = dict.fromkeys(cell.kind for cell in earlier if cell in comparison.records)
    if kinds:
        yield f"Measured with earlier code, settings or libraries: {', '.join(kinds)}."


def _learning_curve(
    comparison: Comparison, spec: Spec, everything: list[Run]
) -> list[LearningPoint]:
    if spec.service:
        return []
    intents = comparison.data.intents
    points = []
    for size in comparison.sizes:
        runs = _together(_by_seed(comparison, spec, LEARNING, size))
        if runs:
            points.append(scores.learning_point(runs, intents, size))
    if points and everything:
        points.append(scores.learning_point(everything, intents, None))
    return points


def _training(comparison: Comparison, spec: Spec) -> Training | None:
    """Return time and size of a training on all examples; not of what a stand-in trains."""
    if spec.service and not comparison.options.real_aws:
        return None
    facts = [
        record.facts
        for cell, record in comparison.records.items()
        if (cell.candidate, cell.kind) == (spec.key, HELD_OUT) and record.facts
    ]
    if not facts:
        return None
    # The median: the first training of a process imports the libraries as well.
    return Training(statistics.median(one.seconds for one in facts), facts[0].model_bytes)


def _significance(comparison: Comparison, specs: list[Spec]) -> list[Significance]:
    """Test the first two by accuracy, in each protocol.

    Those with a stand-in are no part of it: their answers are not their own.
    """
    own = [spec for spec in specs if not spec.service or comparison.options.real_aws]
    intents = comparison.data.intents
    found: list[Significance] = []
    for kind in (CROSS_VALIDATION, HELD_OUT):
        runs = {spec.key: _by_seed(comparison, spec, kind) for spec in own}
        ranked = sorted(
            (key for key in runs if runs[key]),
            key=lambda key: _accuracy(_together(runs[key])),
            reverse=True,
        )
        if len(ranked) < 2:
            continue
        first, second = ranked[:2]
        common = [seed for seed in runs[first] if seed in runs[second]]
        if not common:
            continue
        # On the splits that both have.
        pair = [(key, [run for seed in common for run in runs[key][seed]]) for key in ranked[:2]]
        if kind == CROSS_VALIDATION:
            found += scores.compare_splits(pair[0], pair[1], intents)
        else:
            (_, ours), (_, theirs) = pair
            found.append(scores.compare_held_out((first, ours[0]), (second, theirs[0])))
    return found


def _accuracy(runs: list[Run]) -> float:
    return statistics.fmean(
        right == answered
        for run in runs
        for right, answered in zip(run.expected, run.answered, strict=True)
    )


def _machine() -> Machine:
    """Describe this machine, without naming it."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={package: measurements.version(package) for package in _PACKAGES},
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
