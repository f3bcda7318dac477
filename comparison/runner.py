"""Runs what is not measured yet, and keeps each result.

A folder of results has ``cells/`` (one file a measurement, see :mod:`comparison.measurements`),
``models/`` (trained on all examples, to measure their speed), ``logs/`` and ``results.json``.
"""

from __future__ import annotations

import contextlib
import random
import select
import shutil
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bot.runtime.rasa_cli import project_environment
from common.errors import UserError
from comparison import candidates, latency, local_aws, measurements, splits
from comparison.measurements import SPEED, Cell, Record, Store
from comparison.results import CROSS_VALIDATION, HELD_OUT, Failure
from comparison.settings import Settings, Spec
from comparison.splits import Data, Labelled
from comparison.worker import Job, Worker, WorkerError, train_and_score

if TYPE_CHECKING:
    from localaws import LocalAWS

# Seconds between two questions that are not back to back, as in the original; with --quick, that
# and the length of a sustained load.
PAUSE, QUICK_PAUSE, QUICK_LOAD = 1.0, 0.05, 2.0
_QUESTIONS_SEED = 0
# Measured alone: the time counts, of the training or of the answers.
_TIMED = (HELD_OUT, SPEED)
# By these, libraries of numbers are told how many threads to use.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)

# The content of the record of a cell.
_Content = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What the command line adds to the configuration."""

    quick: bool = False  # shorter pauses and loads
    real_aws: bool = False  # Amazon answers, not the local AWS
    only: Collection[str] = ()  # keys of the candidates to measure; empty for all
    kinds: Collection[str] = measurements.KINDS  # of cells to measure
    # Trainings at once, where their time is not measured; they share the threads.
    jobs: int = 1
    # What was measured with other code, settings or libraries counts too, provided that it was
    # scored on the same examples; for a report alone.
    outdated: bool = False


class Reporter(Protocol):
    """Is told how a run goes."""

    def begins(self, cell: Cell) -> None:
        """A measurement begins."""

    def ends(self, cell: Cell, record: Record, progress: Progress) -> None:
        """A measurement has ended."""


@dataclass(frozen=True)
class Progress:
    """How far a run is, in cells of this run."""

    done: int
    total: int
    remaining: float | None  # estimated seconds; None where there is nothing to estimate from


class Comparison:
    """A comparison in a folder.

    Attributes:
        records: What is measured, by cell.
        outdated: Cells whose kept record is of other code, settings, libraries or examples.

    Args:
        settings: The configuration.
        data: The material.
        out: The folder; it is made where it is missing.
        options: What the command line adds.

    Raises:
        UserError: ``only`` names a candidate that is not there.
    """

    def __init__(self, settings: Settings, data: Data, out: Path, options: Options) -> None:
        unknown = sorted(set(options.only) - set(settings.candidates))
        if unknown:
            raise UserError(
                f"There is no candidate {', '.join(unknown)}. The configuration has "
                f"{', '.join(settings.candidates)}."
            )
        self.settings = settings
        self.data = data
        self.options = options
        self.out = out.resolve()  # for processes that may be elsewhere
        off_topic = settings.material.off_topic
        self.off_topic = off_topic if off_topic in data.intents else None
        self.sizes = splits.useful_sizes(data.train.intents, settings.splits.learning_sizes)
        self._folds = {
            seed: splits.folds(data.train.intents, settings.splits.folds, seed)
            for seed in settings.splits.seeds
        }
        self._store = Store(self.out / "cells")
        self._specs = settings.candidates
        self._fingerprints: dict[tuple[str, str], str] = {}
        self._deployed: set[str] = set()
        self.records: dict[Cell, Record] = {}
        self.outdated: set[Cell] = set()
        for spec in self._specs.values():
            kept = {cell: self._store.get(cell) for cell in self.cells_of(spec)}
            there = {cell: record for cell, record in kept.items() if record}
            earlier = {
                cell: record
                for cell, record in there.items()
                if record.fingerprint != self._fingerprint(cell)
            }
            self.outdated.update(earlier)
            takes = options.outdated and all(self._fits(*one) for one in earlier.items())
            self.records.update(
                (cell, record) for cell, record in there.items() if takes or cell not in earlier
            )

    def _fits(self, cell: Cell, record: Record) -> bool:
        """Whether a record is of today's examples, as far as their intents tell.

        Of a service there is no telling who answered, of a failure what would happen today.
        """
        if self._specs[cell.candidate].service or record.failure:
            return False
        if record.speed:
            return record.speed.pause == self._pause
        assert record.run is not None
        train, test = self._examples(cell)
        return (record.run.expected, record.run.train_examples) == (test.intents, len(train))

    def cells_of(self, spec: Spec) -> list[Cell]:
        """Return the cells of a candidate."""
        return measurements.cells_of(spec, self.settings, self.sizes)

    # --- the plan -----------------------------------------------------------------------------

    def plan(self) -> list[Cell]:
        """Return what is to be measured, in order."""
        pending = self._pending()
        # What services need of others is there before them.
        specs = sorted(self._specs.values(), key=lambda spec: spec.service is not None)
        return [
            cell
            for phase in measurements.PHASES
            for spec in specs
            for cell in self.cells_of(spec)
            if cell.kind in phase and cell in pending
        ]

    def _pending(self) -> set[Cell]:
        """Return the cells to measure: missing, failed, or needed again by one of those."""
        pending = {
            cell
            for spec in self._specs.values()
            if not self.options.only or spec.key in self.options.only
            for cell in self.cells_of(spec)
            if cell.kind in self.options.kinds and not self._has(cell)
        }
        for spec in self._specs.values():
            if not any(cell.candidate == spec.key for cell in pending):
                continue
            # An endpoint of the local AWS ends with it.
            stand_in = self._uses_stand_in(spec)
            if Cell(spec.key, SPEED) in pending and (stand_in or not self._has_model(spec.key)):
                pending.add(self._model_cell(spec.key))
            if stand_in and spec.local_model and not self._has_model(spec.local_model):
                pending.add(self._model_cell(spec.local_model))
        return pending

    def _model_cell(self, key: str) -> Cell:
        """Return the cell whose model is kept."""
        return Cell(key, HELD_OUT, self.settings.splits.seeds[0])

    def _has_model(self, key: str) -> bool:
        """Whether the kept model of a candidate is there, and still the one that it describes."""
        return self._model(key).is_dir() and self._has(self._model_cell(key))

    def _has(self, cell: Cell) -> bool:
        record = self.records.get(cell)
        return record is not None and record.failure is None

    def _uses_stand_in(self, spec: Spec) -> bool:
        return spec.service is not None and not self.options.real_aws

    @property
    def _pause(self) -> float:
        return QUICK_PAUSE if self.options.quick else PAUSE

    def _model(self, key: str) -> Path:
        return self.out / "models" / key

    def _log(self, spec: Spec) -> Path:
        return self.out / "logs" / f"{spec.key}.log"

    def _fingerprint(self, cell: Cell) -> str:
        key, spec = (cell.candidate, cell.kind), self._specs[cell.candidate]
        if key not in self._fingerprints:
            # What decides the figures of a kind beside the candidate itself.
            facts: dict[str, Any] = {
                "train": self.data.train.digest(),
                "test": self.data.held_out.digest(),
                "off_topic": self.off_topic,
            }
            if cell.kind == CROSS_VALIDATION:
                facts["folds"] = self.settings.splits.folds
            if cell.kind == SPEED:
                facts |= {"quick": self.options.quick, **self.settings.speed.dict()}
            if spec.service:
                facts["real_aws"] = self.options.real_aws
            self._fingerprints[key] = measurements.fingerprint(spec, self._specs, facts)
        return self._fingerprints[key]

    # --- the run ------------------------------------------------------------------------------

    def run(self, reporter: Reporter) -> None:
        """Measure what is to be measured; a failure is recorded, and the others go on.

        Raises:
            UserError: The local AWS is needed and not there.
        """
        planned = self.plan()
        timed = deque(cell for cell in planned if cell.kind in _TIMED)
        others = deque(cell for cell in planned if cell.kind not in _TIMED)
        pending = dict.fromkeys(planned)

        def finish(cell: Cell, content: _Content, seconds: float) -> None:
            record = Record(self._fingerprint(cell), seconds, measurements.today(), **content)
            self._store.put(cell, record)
            self.records[cell] = record
            del pending[cell]
            done = len(planned) - len(pending)
            remaining = _remaining([*pending], self.records)
            reporter.ends(cell, record, Progress(done, len(planned), remaining))

        with contextlib.ExitStack() as stack:
            aws = self._start_aws(planned, stack)
            # Nothing runs beside what is timed, and no service is asked beside something else.
            self._measure(timed, 1, aws, reporter, finish)
        self._measure(others, min(self.options.jobs, len(others)), None, reporter, finish)

    def _measure(
        self,
        planned: deque[Cell],
        count: int,
        aws: LocalAWS | None,
        reporter: Reporter,
        finish: Callable[[Cell, _Content, float], None],
    ) -> None:
        """Measure cells, ``count`` at once, which share the threads.

        Arithmetic on one thread each is faster in all than one after the other on several.
        """
        threads = max(1, self.settings.speed.threads // max(1, count))
        environ = {
            **project_environment(),
            **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
            **(local_aws.environment(aws) if aws else {}),
        }
        with contextlib.ExitStack() as stack:
            free = [stack.enter_context(_Workers(self._log, environ)) for _ in range(count)]
            running: dict[Worker, tuple[Cell, _Workers, float]] = {}

            def end(cell: Cell, workers: _Workers, begin: float, content: _Content) -> None:
                if cell.kind == SPEED:
                    workers.close()
                finish(cell, content, (time.monotonic() - begin) / count)
                free.append(workers)

            while planned or running:
                while planned and free:
                    cell, workers, begin = planned.popleft(), free.pop(), time.monotonic()
                    reporter.begins(cell)
                    try:
                        running[self._begin(cell, workers, aws, threads)] = cell, workers, begin
                    except WorkerError as error:
                        end(cell, workers, begin, _failed(cell, error))
                # Of nobody, select would wait for ever.
                for worker in select.select([*running], [], [])[0] if running else []:
                    cell, workers, begin = running.pop(worker)
                    try:
                        content = worker.result()
                    except WorkerError as error:
                        content = _failed(cell, error)
                    end(cell, workers, begin, content)

    def _begin(self, cell: Cell, workers: _Workers, aws: LocalAWS | None, threads: int) -> Worker:
        """Let a worker begin a measurement, whose result is the content of the record.

        Raises:
            WorkerError: It cannot.
        """
        spec = self._specs[cell.candidate]
        if cell.kind == SPEED:
            plan = self._plan_of_speed(spec)
            self._prepare_service(spec, aws, limited=True)
            workers.close()
            worker = workers.of(spec, prepare=False)
            worker.begin(latency.measure, plan, worker.started)
            return worker
        job = self._job(cell, threads)  # first, since it removes the models of earlier
        self._prepare_service(spec, aws, limited=False)
        worker = workers.of(spec)
        worker.begin(train_and_score, job)
        return worker

    def _start_aws(self, planned: Sequence[Cell], stack: contextlib.ExitStack) -> LocalAWS | None:
        asked = dict.fromkeys(cell.candidate for cell in planned)
        specs = [self._specs[key] for key in asked if self._uses_stand_in(self._specs[key])]
        log = self.out / "logs" / "local-aws.log"
        return stack.enter_context(local_aws.started(specs, log)) if specs else None

    def _job(self, cell: Cell, threads: int) -> Job:
        """Return what a worker is told; a model to be kept again is removed first."""
        train, test = self._examples(cell)
        keep = self._model(cell.candidate) if cell == self._model_cell(cell.candidate) else None
        if keep:  # lest an older one be taken for it when the training fails
            shutil.rmtree(keep, ignore_errors=True)
        return Job(
            self._specs[cell.candidate], train, test, cell.seed, self.data.intents,
            self.off_topic, threads, keep,
        )  # fmt: skip

    def _examples(self, cell: Cell) -> tuple[Labelled, Labelled]:
        """Return what to train on and what to score."""
        train = self.data.train
        if cell.fold is not None:
            split = self._folds[cell.seed][cell.fold]
            return train.take(split.train), train.take(split.test)
        if cell.size is not None:
            train = train.take(splits.subset(train.intents, cell.size, cell.seed))
        return train, self.data.held_out

    def _plan_of_speed(self, spec: Spec) -> latency.Plan:
        folder, speed = self._model(spec.key), self.settings.speed
        if not folder.is_dir():
            raise WorkerError("There is no trained model: its training has failed.", "")
        questions = list(self.data.held_out.texts)
        random.Random(_QUESTIONS_SEED).shuffle(questions)
        quick = self.options.quick
        seconds = min(speed.load_seconds, QUICK_LOAD) if quick else speed.load_seconds
        return latency.Plan(
            spec, folder, questions, speed.threads, speed.clients, seconds, self._pause
        )

    def _prepare_service(self, spec: Spec, aws: LocalAWS | None, *, limited: bool) -> None:
        """Have the local AWS serve a candidate, with Comprehend's rate limited or not.

        Scoring needs no limit, which would only take time; speed does.

        Raises:
            WorkerError: It cannot be served.
        """
        if aws is None or spec.service is None:
            return
        try:
            aws.set(comprehend_throughput=1 if limited else 0)
            if spec.local_model and spec.key not in self._deployed:
                models = candidates.served_models(self._model(spec.local_model))
                if not models:
                    raise UserError(f"{spec.local_model}, whose model it serves, has none.")
                local_aws.deploy(aws, spec, models[0])
                self._deployed.add(spec.key)
        except (UserError, OSError) as error:
            raise WorkerError(str(error), "") from error


class _Workers:
    """One worker at a time: that of the candidate whose turn it is."""

    def __init__(self, log: Callable[[Spec], Path], environ: dict[str, str | None]) -> None:
        self._log = log
        self._environ = environ
        self._worker: Worker | None = None
        self._key = ""

    def of(self, spec: Spec, *, prepare: bool = True) -> Worker:
        """Return the worker of a candidate; it is started where there is none, or it has died."""
        if self._worker and (self._key != spec.key or not self._worker.is_alive):
            self.close()
        if self._worker is None:
            self._worker = Worker(self._log(spec), self._environ)
            self._key = spec.key
            if prepare:
                self._worker.call(candidates.prepare, spec)
        return self._worker

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker:
            self._worker.close()
            self._worker = None

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _failed(cell: Cell, error: WorkerError) -> _Content:
    return {"failure": Failure(cell.title, error.error, error.traceback)}


def _remaining(pending: Sequence[Cell], records: dict[Cell, Record]) -> float | None:
    """Estimate the seconds that ``pending`` cells take.

    From the mean of the same candidate's cells of the same kind, else of its others, else of those
    of the same kind, else of all; None where there are none.
    """

    def keys(cell: Cell) -> list[tuple[str, str]]:
        return [(cell.candidate, cell.kind), (cell.candidate, ""), ("", cell.kind), ("", "")]

    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for cell, record in records.items():
        for key in keys(cell):
            seconds[key].append(record.seconds)
    if pending and not seconds:
        return None
    means = {key: statistics.fmean(values) for key, values in seconds.items()}
    return sum(next(means[key] for key in keys(cell) if key in means) for cell in pending)
