"""The raw figures of a comparison: what ``bot compare`` measures and the report reads.

``results.json`` is :class:`Results`, field by field; :func:`json_schema` describes it. Times are
in seconds, memory in bytes, shares from 0 to 1. What was not measured is null, never 0.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from common.errors import UserError

# To be raised when an older report could not read what this one writes.
FORMAT_VERSION = 1
FILE = "results.json"
CROSS_VALIDATION, HELD_OUT = "cross-validation", "held-out"
#: The note of a candidate whose encoder was out of reach.
ENCODER_STANDS_IN = "The encoder {used} stands in for {asked}, which was out of reach."


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval.

    Attributes:
        value: The mean over the runs.
        low: Lower bound; equal to ``value`` where a single run leaves no spread to estimate.
        high: Upper bound.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class IntentScores:
    """How one intent is recognised.

    Attributes:
        precision: Share of the answers with this intent that are right; null where there are none.
        recall: Share of the examples of this intent that are recognised.
        support: Scored examples of this intent, over all runs.
    """

    precision: Interval | None
    recall: Interval | None
    support: int


@dataclass(frozen=True)
class Confusion:
    """Counts summed over the runs.

    Attributes:
        labels: Intents in the order of rows and columns; ``""`` is « no intent ».
        counts: A row is the true intent, a column the predicted one.
    """

    labels: list[str]
    counts: list[list[int]]


@dataclass(frozen=True)
class Performance:
    """How well a candidate classifies, by one protocol.

    Attributes:
        protocol: ``cross-validation``: repeated stratified splits, intervals by Nadeau and
            Bengio's corrected variance (2003, equation 9) with Student's t; ``held-out``: trained
            on all examples, scored on the frozen set, intervals by bootstrap of its examples
            (percentiles). The two must not be compared with each other.
        runs: Trainings behind it.
        train_examples: Mean number of examples of a training.
        test_examples: Mean number of examples scored by a run.
        accuracy: Share of examples whose first intent is right.
        macro_f1: Mean F1 of the intents that occur.
        log_loss: Mean negative natural logarithm of the probability given to the right intent,
            which counts as 1e-15 at least.
        calibration_error: Expected calibration error, 10 bins (Guo et al. 2017).
        off_topic_auroc: Area under the ROC curve of off-topic detection, by 1 minus the highest
            confidence in an intent that is ours; null where the material has no off-topic
            examples.
        false_accepts: Share of off-topic examples accepted at the threshold that accepts 95 % of
            the others; null as above.
        intents: Scores by intent.
        confusion: Its confusion matrix.
    """

    protocol: str
    runs: int
    train_examples: float
    test_examples: float
    accuracy: Interval
    macro_f1: Interval
    log_loss: Interval
    calibration_error: Interval
    off_topic_auroc: Interval | None
    false_accepts: Interval | None
    intents: dict[str, IntentScores]
    confusion: Confusion


@dataclass(frozen=True)
class LearningPoint:
    """What a candidate makes of a part of the training examples, on the held-out set.

    Attributes:
        examples_per_intent: Examples of each intent, as far as it has so many; null: all.
        train_examples: Examples in all.
        runs: Trainings behind it.
        accuracy: As in :class:`Performance`; the bounds are those of the held-out protocol.
        macro_f1: Likewise.
    """

    examples_per_intent: int | None
    train_examples: int
    runs: int
    accuracy: Interval
    macro_f1: Interval


@dataclass(frozen=True)
class Latency:
    """Times from question to answer.

    Attributes:
        count: Questions.
        unanswered: Of these, without an intent (a service that refused or was too slow).
        mean: Mean.
        sd: Standard deviation (n - 1).
        p50: Median.
        p95: 95th percentile.
        p99: 99th percentile.
    """

    count: int
    unanswered: int
    mean: float
    sd: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Load:
    """A sustained load: each client asks its next question when the last one is answered.

    One process answers one question at a time, as Rasa's server does; the others wait in line,
    and that is in the latency.

    Attributes:
        clients: Clients at once.
        seconds: Length of the measurement.
        throughput: Answers a second.
        latency: As the clients see it.
    """

    clients: int
    seconds: float
    throughput: float
    latency: Latency


@dataclass(frozen=True)
class ColdStart:
    """From the start of a process to its first answer, by parts.

    Attributes:
        total: From the start of the process to the first answer.
        imports: Of this, Python and the imports.
        loading: Of this, reading the model.
        first_answer: Of this, the first question.
    """

    total: float
    imports: float
    loading: float
    first_answer: float


@dataclass(frozen=True)
class Speed:
    """How fast a candidate answers, in a process of its own.

    Attributes:
        spaced: The original protocol: 4 series of 10 questions one second apart.
        pause: Seconds between two of these questions (1, less with ``--quick``).
        back_to_back: The original protocol: 10 questions without a pause.
        load: Sustained loads, by rising number of clients.
        resident_bytes: Resident memory of the process after the load. For a candidate that is
            served elsewhere: of the asking side alone.
        cold_start: Start of the process to first answer.
        threads: Threads that the candidate's libraries may use.
    """

    spaced: Latency
    pause: float
    back_to_back: Latency
    load: list[Load]
    resident_bytes: int
    cold_start: ColdStart
    threads: int


@dataclass(frozen=True)
class Training:
    """What it takes to train on all examples.

    Attributes:
        seconds: Mean time of a training on all examples.
        model_bytes: Size of the stored model; for one served elsewhere, of what the bot keeps.
    """

    seconds: float
    model_bytes: int


@dataclass(frozen=True)
class Failure:
    """A measurement that raised.

    Attributes:
        cell: Which one, such as ``cross-validation seed 1 fold 3``.
        error: Type and message.
        traceback: Where.
    """

    cell: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Candidate:
    """A candidate and what was measured of it; null where it was not, ``notes`` say why.

    Attributes:
        key: Its key in the configuration.
        name: Its name in tables.
        service: The AWS service that answers; null for those that answer in process.
        stand_in: What stands in for Amazon's service where that was not asked; every table that
            shows the candidate says so. Null: nothing does.
        definition: Its lines in the configuration.
        why: Why a reader wants to know about it.
        is_default: Whether config.yml has it.
        encoder: The pretrained encoder that was really used; null where there is none.
        notes: What a reader of its figures must know.
        cross_validation: Scores on the repeated splits; null for a fixed endpoint, which has seen
            all training examples.
        held_out: Scores on the frozen held-out set.
        learning_curve: By rising number of examples.
        speed: Times, memory.
        training: Time and size.
        failures: What raised.
    """

    key: str
    name: str
    service: str | None
    stand_in: str | None
    definition: dict[str, Any]
    why: str = ""
    is_default: bool = False
    encoder: str | None = None
    notes: list[str] = field(default_factory=list)
    cross_validation: Performance | None = None
    held_out: Performance | None = None
    learning_curve: list[LearningPoint] = field(default_factory=list)
    speed: Speed | None = None
    training: Training | None = None
    failures: list[Failure] = field(default_factory=list)

    @property
    def encoder_asked(self) -> str | None:
        """The encoder that was asked for, where another one stands in."""
        pattern = re.escape(ENCODER_STANDS_IN).replace(r"\{used\}", ".+")
        found = (re.fullmatch(pattern.replace(r"\{asked\}", "(.+)"), one) for one in self.notes)
        return next((one[1] for one in found if one), None)


@dataclass(frozen=True)
class Significance:
    """A paired test between the first two candidates by accuracy in a protocol.

    Attributes:
        protocol: Of the scores that are paired.
        test: Name and source of the test.
        first: Key of the better candidate.
        second: Key of the other.
        measure: What is compared: ``accuracy`` or ``macro_f1``.
        difference: First minus second, with its interval where the test has one.
        statistic: The test's statistic: Student's t, or for McNemar's test the number of examples
            that only the first one has right; null where the differences do not vary.
        p_value: Two-sided.
        pairs: Pairs: splits, or examples on which only one of the two is right.
    """

    protocol: str
    test: str
    first: str
    second: str
    measure: str
    difference: Interval
    statistic: float | None
    p_value: float
    pairs: int


@dataclass(frozen=True)
class Material:
    """Labelled examples that a comparison stands on.

    Attributes:
        path: The file.
        examples: Number of examples.
        intents: Examples by intent.
        digest: SHA-256 over texts and intents, in hexadecimal.
    """

    path: str
    examples: int
    intents: dict[str, int]
    digest: str


@dataclass(frozen=True)
class Protocol:
    """How it was measured.

    Attributes:
        folds: Folds of a cross-validation.
        seeds: A cross-validation and a training on all examples for each.
        learning_sizes: Examples an intent of the learning curve, without « all ».
        quick: Whether the pauses and the load were shortened.
        off_topic: The off-topic intent; null where the material has none.
        real_aws: Whether Amazon was asked, instead of the local AWS.
        notes: Remarks on the material: intents left out, how the held-out set was made.
    """

    folds: int
    seeds: list[int]
    learning_sizes: list[int]
    quick: bool
    off_topic: str | None
    real_aws: bool
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    """Where it was measured, without naming the machine.

    Attributes:
        processor: Model of the processor.
        cores: Cores that the process may use.
        memory_bytes: Main memory.
        system: Operating system.
        python: Version of Python.
        packages: Versions of the packages that matter.
    """

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    packages: dict[str, str]


@dataclass(frozen=True)
class Results:
    """All figures of a comparison.

    Attributes:
        format_version: Of this file.
        date: Day of the last measurement, ISO 8601.
        machine: Where.
        train: The training material.
        held_out: The frozen held-out set.
        protocol: How.
        candidates: In the order of the configuration.
        significance: Tests between the first two; empty where there are no two.
    """

    format_version: int
    date: str
    machine: Machine
    train: Material
    held_out: Material
    protocol: Protocol
    candidates: list[Candidate]
    significance: list[Significance]


_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of ``results.json``."""
    definitions: dict[str, Any] = {}
    reference = _schema(Results, definitions)
    draft = "http://json-schema.org/draft-07/schema#"
    return {"$schema": draft, **reference, "definitions": definitions}


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type; those of dataclasses are put into ``definitions``."""
    if kind is Any:
        return {}
    if kind in _JSON_TYPES:
        return {"type": _JSON_TYPES[kind]}
    if isinstance(kind, type) and is_dataclass(kind):
        name = kind.__name__
        if name not in definitions:
            definitions[name] = {}  # for those that refer to it before it is complete
            hints = get_type_hints(kind)
            properties = {key: _schema(hint, definitions) for key, hint in hints.items()}
            definitions[name] = {
                "type": "object",
                "properties": properties,
                "required": sorted(properties),
                "additionalProperties": False,
            }
        return {"$ref": f"#/definitions/{name}"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    (present,) = (one for one in arguments if one is not type(None))  # X | None
    return {"anyOf": [_schema(present, definitions), {"type": "null"}]}


def write(results: Results, folder: Path) -> Path:
    """Write ``results.json`` into ``folder``; return the file."""
    path = folder / FILE
    text = json.dumps(asdict(results), ensure_ascii=False, indent=1)
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
