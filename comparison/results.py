"""The raw figures of a comparison: what ``bot compare`` measures and the report reads.

``results.json`` is :class:`Results`, field by field. Times are in seconds, memory in
bytes, shares from 0 to 1. What was not measured is null, never 0.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.errors import UserError

# To be raised when an older report could not read what this one writes.
FORMAT_VERSION = 1
FILE = "results.json"
CROSS_VALIDATION, HELD_OUT = "cross-validation", "held-out"
#: The note of a candidate whose encoder was out of reach.
ENCODER_STANDS_IN = "The encoder {used} stands in for {asked}, which was out of reach."


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    value: float  # the mean over the runs
    low: float  # lower bound; equal to `value` where a single run leaves no spread to estimate
    high: float  # upper bound


@dataclass(frozen=True)
class IntentScores:
    """How one intent is recognised."""

    # Share of the answers with this intent that are right; null where there are none.
    precision: Interval | None
    recall: Interval | None  # share of the examples of this intent that are recognised
    support: int  # scored examples of this intent, over all runs


@dataclass(frozen=True)
class Confusion:
    """Counts summed over the runs."""

    labels: list[str]  # intents in the order of rows and columns; `""` is « no intent »
    counts: list[list[int]]  # A row is the true intent, a column the predicted one


@dataclass(frozen=True)
class Performance:
    """How well a candidate classifies, by one protocol."""

    # `cross-validation`: repeated stratified splits, intervals by Nadeau and Bengio's corrected
    # variance (2003, equation 9) with Student's t; `held-out`: trained on all examples, scored on
    # the frozen set, intervals by bootstrap of its examples (percentiles). The two must not be
    # compared with each other.
    protocol: str
    runs: int  # trainings behind it
    train_examples: float  # mean number of examples of a training
    test_examples: float  # mean number of examples scored by a run
    accuracy: Interval  # share of examples whose first intent is right
    macro_f1: Interval  # mean F1 of the intents that occur
    # Mean negative natural logarithm of the probability given to the right intent, which counts as
    # 1e-15 at least.
    log_loss: Interval
    calibration_error: Interval  # expected calibration error, 10 bins (Guo et al. 2017)
    # Area under the ROC curve of off-topic detection, by 1 minus the highest confidence in an
    # intent that is ours; null where the material has no off-topic examples.
    off_topic_auroc: Interval | None
    # Share of off-topic examples accepted at the threshold that accepts 95 % of the others; null as
    # above.
    false_accepts: Interval | None
    intents: dict[str, IntentScores]
    confusion: Confusion


@dataclass(frozen=True)
class LearningPoint:
    """What a candidate makes of a part of the training examples, on the held-out set."""

    examples_per_intent: int | None  # examples of each intent, as far as it has so many; null: all
    train_examples: int  # examples in all
    runs: int  # trainings behind it
    accuracy: Interval  # as in :class:`Performance`; the bounds are those of the held-out protocol
    macro_f1: Interval  # likewise


@dataclass(frozen=True)
class Latency:
    """Times from question to answer."""

    count: int
    unanswered: int  # of these, without an intent (a service that refused or was too slow)
    mean: float
    sd: float  # standard deviation (n - 1)
    p50: float  # median
    p95: float  # 95th percentile
    p99: float  # 99th percentile


@dataclass(frozen=True)
class Load:
    """A sustained load: each client asks its next question when the last one is answered.

    One process answers one question at a time, as Rasa's server does; the others wait in line,
    and that is in the latency.
    """

    clients: int  # at once
    seconds: float  # length of the measurement
    throughput: float  # answers a second
    latency: Latency  # as the clients see it


@dataclass(frozen=True)
class ColdStart:
    """From the start of a process to its first answer, by parts."""

    total: float  # from the start of the process to the first answer
    imports: float  # of this, Python and the imports
    loading: float  # of this, reading the model
    first_answer: float  # of this, the first question


@dataclass(frozen=True)
class Speed:
    """How fast a candidate answers, in a process of its own."""

    spaced: Latency  # the original protocol: 4 series of 10 questions one second apart
    pause: float  # seconds between two of these questions (1, less with `--quick`)
    back_to_back: Latency  # the original protocol: 10 questions without a pause
    load: list[Load]  # sustained loads, by rising number of clients
    # Resident memory of the process after the load. For a candidate that is served elsewhere: of
    # the asking side alone.
    resident_bytes: int
    cold_start: ColdStart  # start of the process to first answer
    threads: int  # threads that the candidate's libraries may use


@dataclass(frozen=True)
class Training:
    """What it takes to train on all examples."""

    seconds: float  # mean time of a training on all examples
    model_bytes: int  # size of the stored model; for one served elsewhere, of what the bot keeps


@dataclass(frozen=True)
class Failure:
    """A measurement that raised."""

    cell: str  # which one, such as `cross-validation seed 1 fold 3`
    error: str  # type and message
    traceback: str  # where


@dataclass(frozen=True)
class Candidate:
    """A candidate and what was measured of it; null where it was not, ``notes`` say why."""

    key: str  # its key in the configuration
    name: str  # its name in tables
    service: str | None  # the AWS service that answers; null for those that answer in process
    # What stands in for Amazon's service where that was not asked; every table that shows the
    # candidate says so. Null: nothing does.
    stand_in: str | None
    definition: dict[str, Any]  # its lines in the configuration
    why: str = ""  # why a reader wants to know about it
    is_default: bool = False  # whether config.yml has it
    # The pretrained encoder that was really used; null where there is none.
    encoder: str | None = None
    notes: list[str] = field(default_factory=list)  # what a reader of its figures must know
    # Scores on the repeated splits; null for a fixed endpoint, which has seen all training
    # examples.
    cross_validation: Performance | None = None
    held_out: Performance | None = None  # scores on the frozen held-out set
    # By rising number of examples.
    learning_curve: list[LearningPoint] = field(default_factory=list)
    speed: Speed | None = None  # times, memory
    training: Training | None = None  # time and size
    failures: list[Failure] = field(default_factory=list)  # what raised

    @property
    def encoder_asked(self) -> str | None:
        """The encoder that was asked for, where another one stands in."""
        pattern = re.escape(ENCODER_STANDS_IN).replace(r"\{used\}", ".+")
        found = (re.fullmatch(pattern.replace(r"\{asked\}", "(.+)"), one) for one in self.notes)
        return next((one[1] for one in found if one), None)


@dataclass(frozen=True)
class Significance:
    """A paired test between the first two candidates by accuracy in a protocol."""

    protocol: str  # of the scores that are paired
    test: str  # name and source of the test
    first: str  # key of the better candidate
    second: str  # key of the other
    measure: str  # what is compared: `accuracy` or `macro_f1`
    difference: Interval  # first minus second, with its interval where the test has one
    # The test's statistic: Student's t, or for McNemar's test the number of examples that only the
    # first one has right; null where the differences do not vary.
    statistic: float | None
    p_value: float  # two-sided
    pairs: int  # pairs: splits, or examples on which only one of the two is right


@dataclass(frozen=True)
class Material:
    """Labelled examples that a comparison stands on."""

    path: str  # the file
    examples: int  # number of examples
    intents: dict[str, int]  # examples by intent
    digest: str  # SHA-256 over texts and intents, in hexadecimal


@dataclass(frozen=True)
class Protocol:
    """How it was measured."""

    folds: int  # folds of a cross-validation
    seeds: list[int]  # A cross-validation and a training on all examples for each
    learning_sizes: list[int]  # examples an intent of the learning curve, without « all »
    quick: bool  # whether the pauses and the load were shortened
    off_topic: str | None  # the off-topic intent; null where the material has none
    real_aws: bool  # whether Amazon was asked, instead of the local AWS
    # Remarks on the material: intents left out, how the held-out set was made.
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    """Where it was measured, without naming the machine."""

    processor: str  # model of the processor
    cores: int  # cores that the process may use
    memory_bytes: int  # main memory
    system: str  # operating system
    python: str  # version of Python
    packages: dict[str, str]  # versions of the packages that matter


@dataclass(frozen=True)
class Results:
    """All figures of a comparison."""

    format_version: int  # of this file
    date: str  # day of the last measurement, ISO 8601
    machine: Machine  # where
    train: Material  # the training material
    held_out: Material  # the frozen held-out set
    protocol: Protocol  # how
    candidates: list[Candidate]  # in the order of the configuration
    significance: list[Significance]  # tests between the first two; empty where there are no two


def write(results: Results, folder: Path) -> Path:
    """Write ``results.json`` into ``folder``; return the file."""
    path = folder / FILE
    text = json.dumps(asdict(results), ensure_ascii=False, indent=1)
    # What holds nothing else in one line: an interval, a row of counts.
    text = re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda found: re.sub(r"\n *", " ", found[0]), text)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def read(path: Path) -> Results:
    """Read ``results.json``.

    Raises:
        UserError: It is missing, damaged or of another version.
    """
    from pydantic import ValidationError, parse_obj_as

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format_version"]
        results = parse_obj_as(Results, content) if version == FORMAT_VERSION else None
    except (OSError, ValueError, TypeError, LookupError, ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} holds no figures of `bot compare`: {reason}") from error
    if results is None:
        raise UserError(
            f"{path} has format version {version}; this program reads {FORMAT_VERSION}. Run "
            "`bot compare` again: what it has measured is kept."
        )
    return results
