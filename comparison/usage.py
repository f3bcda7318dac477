"""How much a bot is used: what its monthly bill depends on beside the prices."""

from __future__ import annotations

from typing import Any

from pydantic import Field, confloat, conint

from common.schema import Schema, parse

MONTH_DAYS = 30
MONTH_HOURS = 24 * MONTH_DAYS
# Memory sizes of a SageMaker serverless endpoint, GB. Source: SageMaker Developer Guide,
# "Deploy models with Amazon SageMaker Serverless Inference".
SERVERLESS_MEMORY = (1, 2, 3, 4, 5, 6)


class Profile(Schema):
    """How much a bot is asked, and what else the bill depends on; docs/cost.md says why so much."""

    questions_per_minute: float = Field(default=10, ge=0, le=100_000)  # in the hours of use
    hours_per_day: float = Field(default=10, gt=0, le=24)
    days_per_month: float = Field(default=22, gt=0, le=MONTH_DAYS)
    mean_characters: float = Field(default=38, ge=1, le=10_000)
    answer_seconds: float = Field(default=0.344, gt=0, le=60)  # of a SageMaker endpoint
    # The same by memory in GB, where it was measured; `answer_seconds` for the others.
    serverless_seconds: dict[conint(ge=1, le=6), confloat(gt=0, le=60)] = Field(  # type: ignore[valid-type]
        default={}
    )
    start_stop_minutes: float = Field(default=20, ge=0, le=24 * 60)  # paid around the hours of use
    trainings_per_month: float = Field(default=4, ge=0, le=10_000)
    comprehend_training_minutes: float = Field(default=20, ge=0, le=24 * 60)  # as billed
    sagemaker_training_minutes: float = Field(default=7, ge=0, le=24 * 60)
    hosting_instance: str = "ml.t2.medium"  # of a real-time endpoint in the comparisons
    training_instance: str = "ml.m5.xlarge"
    serverless_memory_gb: int = Field(default=3, ge=1, le=6)  # in the comparisons
    models_kept: int = Field(default=2, ge=0)  # the live one and the one before
    model_gb: float = Field(default=0.2, ge=0, le=1000)
    images_gb: float = Field(default=3, ge=0, le=1000)  # of training and serving together
    volume_gb: float = Field(
        default=20, ge=0, le=1000
    )  # disk of an endpoint's instance, set by AWS
    kilobytes_per_question: float = Field(
        default=2, ge=0, le=10_000
    )  # request and response together

    @property
    def questions(self) -> float:
        """Questions a month."""
        return self.questions_per_day * self.days_per_month

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
        return self.copy(update={"questions_per_minute": rate})

    def changed(self, values: Any, where: str) -> Profile:
        """Return the profile with other values, as read from ``where``; the others stay.

        Raises:
            UserError: A key is unknown or a value cannot be; every fault is named.
        """
        parse(Profile, values, where, "the profile")
        return parse(Profile, {**self.dict(), **values}, where, "the profile")

    def sentence(self) -> str:
        """Return the usage in words."""
        return (
            f"{self.questions_per_minute:g} questions a minute, {self.hours_per_day:g} hours a "
            f"day, {self.days_per_month:g} days a month: {self.questions:,.0f} questions of "
            f"{self.mean_characters:g} characters"
        )
