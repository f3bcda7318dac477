"""Small figures of a comparison, made by hand: what ``bot compare`` could have measured."""

from __future__ import annotations

import dataclasses

from comparison.results import (
    CROSS_VALIDATION,
    FORMAT_VERSION,
    HELD_OUT,
    Candidate,
    ColdStart,
    Confusion,
    Failure,
    IntentScores,
    Interval,
    Latency,
    LearningPoint,
    Load,
    Machine,
    Material,
    Performance,
    Protocol,
    Results,
    Significance,
    Speed,
    Training,
)

SENTENCES = {
    "greet": "bonjour toi {}",
    "who": "qui est monsieur {} ?",
    "other": "un train pour la ville {}",
}

STAND_IN = "The local AWS answers: its accuracy and latency are not Amazon's."
INTENTS = ("HOW_ARE_YOU", "OUT_OF_SCOPE", "WHO_IS", "WHO_KNOWS_ABOUT")


def interval(value: float, half: float = 0.0) -> Interval:
    """Return a value with a symmetric interval."""
    return Interval(value, value - half, value + half)


def performance(protocol: str, right: float, wrong: int = 5) -> Performance:
    """Return scores around ``right``, with a confusion matrix of ``wrong`` errors an intent."""
    counts = [
        [100 - wrong if row == column else wrong if column == (row + 1) % 4 else 0
         for column in range(4)]
        for row in range(4)
    ]  # fmt: skip
    return Performance(
        protocol=protocol,
        runs=15 if protocol == CROSS_VALIDATION else 3,
        train_examples=312,
        test_examples=78,
        accuracy=interval(right, 0.02),
        macro_f1=interval(right - 0.01, 0.03),
        log_loss=interval(0.21, 0.04),
        calibration_error=interval(0.03, 0.01),
        off_topic_auroc=interval(0.98, 0.01),
        false_accepts=interval(0.08, 0.04),
        intents={
            name: IntentScores(interval(right, 0.03), interval(right, 0.03), 20) for name in INTENTS
        },
        confusion=Confusion(list(INTENTS), counts),
    )


def latency(seconds: float, unanswered: int = 0) -> Latency:
    """Return times around ``seconds``."""
    return Latency(40, unanswered, seconds, seconds / 5, seconds, 1.3 * seconds, 1.5 * seconds)


def speed(seconds: float) -> Speed:
    """Return times around ``seconds`` for all protocols."""
    return Speed(
        spaced=latency(seconds),
        pause=1.0,
        back_to_back=latency(1.1 * seconds),
        load=[Load(n, 5.0, 1 / seconds, latency(n * seconds)) for n in (1, 4, 16, 64)],
        resident_bytes=280_000_000,
        cold_start=ColdStart(1.0, 0.6, 0.3, 0.1),
        threads=2,
    )


def curve(best: float) -> list[LearningPoint]:
    """Return a learning curve that ends at ``best``."""
    return [
        LearningPoint(
            size, 4 * (size or 100), 3, interval(best - loss), interval(best - loss, 0.02)
        )
        for size, loss in ((5, 0.3), (20, 0.1), (50, 0.04), (None, 0.0))
    ]


def camembert() -> Candidate:
    """A fast candidate in process, with everything measured."""
    return Candidate(
        key="camembert-int8",
        name="CamemBERT int8",
        service=None,
        stand_in=None,
        definition={"pipeline": [{"name": "components.camembert.CamembertIntentClassifier"}]},
        why="the default",
        is_default=True,
        encoder="e5-small-fr",
        notes=["The offline encoder, not camembert-base."],
        cross_validation=performance(CROSS_VALIDATION, 0.97, 3),
        held_out=performance(HELD_OUT, 0.95, 5),
        learning_curve=curve(0.95),
        speed=speed(0.005),
        training=Training(70.0, 120_000_000),
    )


def diet() -> Candidate:
    """A slower and worse candidate in process."""
    return dataclasses.replace(
        camembert(),
        key="diet",
        name="DIETClassifier",
        is_default=False,
        encoder=None,
        notes=[],
        cross_validation=performance(CROSS_VALIDATION, 0.90, 10),
        held_out=performance(HELD_OUT, 0.88, 12),
        learning_curve=curve(0.88),
        speed=speed(0.02),
        training=Training(150.0, 30_000_000),
    )


def comprehend() -> Candidate:
    """A fixed endpoint of the local AWS: on the held-out set alone."""
    return Candidate(
        key="comprehend",
        name="Comprehend",
        service="Comprehend",
        stand_in=STAND_IN,
        definition={
            "route": "comprehend",
            "pipeline": [{"name": "components.comprehend.ComprehendIntentClassifier"}],
        },
        notes=["A fixed endpoint has seen all training examples: no cross-validation."],
        held_out=performance(HELD_OUT, 0.91, 9),
        speed=speed(0.11),
        training=Training(1200.0, 0),
    )


def failed() -> Candidate:
    """A candidate whose trainings raised."""
    return Candidate(
        key="transformers",
        name="transformers pipeline",
        service=None,
        stand_in=None,
        definition={"transformers": {"encoder": "e5-small-fr"}},
        failures=[Failure("held-out seed 0", "MemoryError: <no> room", "Traceback …")],
    )


def results(*candidates: Candidate) -> Results:
    """Return figures with these candidates, or with all four."""
    given = list(candidates or (camembert(), diet(), comprehend(), failed()))
    return Results(
        format_version=FORMAT_VERSION,
        date="2026-11-23",
        machine=Machine(
            "Test Processor", 2, 8 * 2**30, "Linux 6.1", "3.10.20", {"rasa": "3.6.21"}
        ),
        train=Material("data/nlu.yml", 390, dict.fromkeys(INTENTS, 98), "a" * 64),
        held_out=Material("tests/data/heldout.yml", 420, dict.fromkeys(INTENTS, 105), "b" * 64),
        protocol=Protocol(5, [0, 1, 2], [5, 20, 50], False, "OUT_OF_SCOPE", False, ["A remark."]),
        candidates=given,
        significance=[
            Significance(
                HELD_OUT, "McNemar's test, exact", given[0].key, given[1].key, "accuracy",
                interval(0.07, 0.03), 35, 0.0004, 41,
            )
        ]
        if len(given) > 1
        else [],
    )  # fmt: skip
