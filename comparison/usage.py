"""How much a bot is used: what its monthly bill depends on beside the prices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common import config
from common.config import Rule, integer, number, text

MONTH_DAYS = 30
MONTH_HOURS = 24 * MONTH_DAYS

# Memory sizes of a SageMaker serverless endpoint, GB. Source: SageMaker Developer Guide,
# "Deploy models with Amazon SageMaker Serverless Inference".
SERVERLESS_MEMORY = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Profile:
    """How much a bot is asked, and what else the bill depends on.

    Attributes:
        questions_per_minute: Questions a minute, in the hours of use.
        hours_per_day: Hours of use a day.
        days_per_month: Days of use a month of 30 days.
        mean_characters: Mean length of a question; ours have 38.
        answer_seconds: Time that a SageMaker endpoint takes for an answer; the default is what
            the original measured on ml.t2.medium.
        serverless_seconds: The same for a serverless endpoint, by its memory in GB, where that
            was measured; ``answer_seconds`` stands in for the others.
        start_stop_minutes: Paid time around the hours of use of an endpoint that is created and
            deleted each day; creating one took the original 15 minutes.
        trainings_per_month: How often the model is trained.
        comprehend_training_minutes: Billed minutes of a training by Comprehend.
        sagemaker_training_minutes: Billed minutes of a training on SageMaker.
        hosting_instance: The instance type of a real-time endpoint in the comparisons.
        training_instance: The instance type that trains.
        serverless_memory_gb: The memory of a serverless endpoint in the comparisons.
        models_kept: How many trained models are kept: the live one and the one before.
        model_gb: Size of a model's archive.
        images_gb: Size of the training and the serving image together.
        volume_gb: Disk of an endpoint's instance, set by AWS.
        kilobytes_per_question: Request and response together.
    """

    questions_per_minute: float = 10
    hours_per_day: float = 10
    days_per_month: float = 22
    mean_characters: float = 38
    answer_seconds: float = 0.344
    serverless_seconds: Mapping[int, float] = field(default_factory=dict)
    start_stop_minutes: float = 20
    trainings_per_month: float = 4
    comprehend_training_minutes: float = 20
    sagemaker_training_minutes: float = 7
    hosting_instance: str = "ml.t2.medium"
    training_instance: str = "ml.m5.xlarge"
    serverless_memory_gb: int = 3
    models_kept: int = 2
    model_gb: float = 0.2
    images_gb: float = 3
    volume_gb: float = 20
    kilobytes_per_question: float = 2

    @property
    def questions(self) -> float:
        """Questions a month."""
        return self.questions_per_minute * 60 * self.hours_per_day * self.days_per_month

    @property
    def questions_per_second(self) -> float:
        """Questions a second, in the hours of use."""
        return self.questions_per_minute / 60

    @property
    def questions_per_day(self) -> float:
        """Questions on a day of use."""
        return self.questions_per_minute * 60 * self.hours_per_day

    def at(self, questions_per_day: float) -> Profile:
        """Return the profile with another volume, spread over the same hours."""
        rate = questions_per_day / (60 * self.hours_per_day)
        return dataclasses.replace(self, questions_per_minute=rate)

    def serverless(self, memory_gb: int) -> float:
        """Return the seconds of an answer by a serverless endpoint."""
        return self.serverless_seconds.get(memory_gb, self.answer_seconds)

    def changed(self, values: Any, where: str) -> Profile:
        """Return the profile with other values, as read from ``where``; the others stay.

        Raises:
            UserError: A key is unknown or a value cannot be; every fault is named.
        """
        config.refuse(where, config.faults("the profile", values, _PROFILE))
        return dataclasses.replace(self, **values)

    def sentence(self) -> str:
        """Return the usage in words."""
        return (
            f"{self.questions_per_minute:g} questions a minute, {self.hours_per_day:g} hours a "
            f"day, {self.days_per_month:g} days a month: {self.questions:,.0f} questions of "
            f"{self.mean_characters:g} characters"
        )


def _is_seconds_by_memory(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        memory in SERVERLESS_MEMORY and _SECONDS.holds(seconds) for memory, seconds in value.items()
    )


_SECONDS = number(0, 60, above=True)
_MINUTES = number(0, 24 * 60)
_SIZE = number(0, 1000)
_PROFILE: dict[str, Rule] = {
    "questions_per_minute": number(0, 100_000),
    "hours_per_day": number(0, 24, above=True),
    "days_per_month": number(0, MONTH_DAYS, above=True),
    "mean_characters": number(1, 10_000),
    "answer_seconds": _SECONDS,
    "serverless_seconds": Rule(
        f"seconds (at most 60) by memory in GB ({', '.join(map(str, SERVERLESS_MEMORY))})",
        _is_seconds_by_memory,
    ),
    "start_stop_minutes": _MINUTES,
    "trainings_per_month": number(0, 10_000),
    "comprehend_training_minutes": _MINUTES,
    "sagemaker_training_minutes": _MINUTES,
    "hosting_instance": text(),
    "training_instance": text(),
    "serverless_memory_gb": integer(SERVERLESS_MEMORY[0], SERVERLESS_MEMORY[-1]),
    "models_kept": integer(0),
    "model_gb": _SIZE,
    "images_gb": _SIZE,
    "volume_gb": _SIZE,
    "kilobytes_per_question": number(0, 10_000),
}
