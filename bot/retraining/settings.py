"""What the pipeline is told by its environment variables."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from common.errors import UserError
from components.comprehend.documents import (
    ENDPOINT_NAME_LENGTH,
    MINIMUM_DOCUMENTS,
    RECOMMENDED_DOCUMENTS,
    check_name,
)

BACKENDS = ("comprehend", "sagemaker", "local")
_NEEDED = {"local": ("artifact_bucket",)}
_NEEDED_AT_AWS = ("artifact_bucket", "role_arn", "state_machine_arn", "topic_arn")
GATE_METRICS = ("macro_f1", "accuracy")
APPROVALS = ("automatic", "manual")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration of one pipeline; the variable of a field is its name in capitals.

    The bucket of the datasets comes with each event, the held-out set is in the same bucket.

    Attributes:
        backend: ``comprehend``, ``sagemaker`` or ``local``.
        artifact_bucket: Where runs are kept: ``runs/<run id>/…`` and ``live.json``.
        role_arn: Role that Comprehend (data access) or SageMaker (execution) takes on.
        state_machine_arn: The state machine that follows a training to its endpoint.
        topic_arn: SNS topic of the notices.
        project: First part of every name.
        environment: Second part of every name, such as ``dev``.
        dataset_prefix: Only ``.json`` objects below it start a run.
        heldout_key: The fixed held-out set, in the format of the datasets.
        kms_key_arn: Key that encrypts models and results; empty for AWS's own.
        maximum_bytes: Size of a dataset that the functions can read in their time and memory.
        quota_wait_hours: How long a run waits for a quota of the account that is used up.
        approval: ``automatic``, or ``manual``: what passes the gate waits for a person.
        minimum_examples: Examples that an intent must have.
        recommended_examples: Examples below which an intent gets a warning.
        gate_metric: ``macro_f1`` or ``accuracy``, on the held-out set.
        gate_max_loss: What a new model may lose of it against the live one, 0 to 1.
        gate_floor: What it must reach in any case, 0 to 1.
        keep_versions: Newest models kept besides the live one and its predecessor.
        inference_units: Comprehend: units of the endpoint, 1 to 10.
        training_config: Local: the configuration of the bot that is trained.
        training_image: SageMaker: image of the training job.
        inference_image: SageMaker: image of the endpoint.
        training_instance_type: SageMaker: machine of the training job.
        training_volume_gb: SageMaker: its disk.
        training_max_seconds: SageMaker: how long it may take.
        hyperparameters: SageMaker: JSON object handed to the training as it is.
        endpoint_instance_type: SageMaker: machine of the endpoint.
        endpoint_instance_count: SageMaker: how many.
        rollback_alarms: SageMaker: names of alarms, with commas between them, that have an update
            of the endpoint rolled back; serverless endpoints know no such thing.
        serverless_memory_mb: SageMaker: 1024 to 6144 makes the endpoint serverless; 0 does not.
        serverless_concurrency: SageMaker: requests at once of a serverless endpoint, 1 to 200.
    """

    backend: str
    artifact_bucket: str = ""
    role_arn: str = ""
    state_machine_arn: str = ""
    topic_arn: str = ""
    project: str = "skills-bot"
    environment: str = "dev"
    dataset_prefix: str = "datasets/"
    heldout_key: str = "heldout/heldout.json"
    kms_key_arn: str = ""
    maximum_bytes: int = 10_000_000
    quota_wait_hours: float = 3.0
    approval: str = "automatic"
    minimum_examples: int = MINIMUM_DOCUMENTS
    recommended_examples: int = RECOMMENDED_DOCUMENTS
    gate_metric: str = "macro_f1"
    gate_max_loss: float = 0.01
    gate_floor: float = 0.5
    keep_versions: int = 3
    inference_units: int = 1
    training_config: str = "config.yml"
    training_image: str = ""
    inference_image: str = ""
    training_instance_type: str = "ml.m5.xlarge"
    training_volume_gb: int = 30
    training_max_seconds: int = 7200
    hyperparameters: str = "{}"
    endpoint_instance_type: str = "ml.m5.large"
    endpoint_instance_count: int = 1
    rollback_alarms: str = ""
    serverless_memory_mb: int = 0
    serverless_concurrency: int = 5

    def __post_init__(self) -> None:
        _one_of("BACKEND", self.backend, BACKENDS)
        for name in _NEEDED.get(self.backend, _NEEDED_AT_AWS):
            if not getattr(self, name):
                raise UserError(f"{name.upper()} is not set.")
        _one_of("GATE_METRIC", self.gate_metric, GATE_METRICS)
        _one_of("APPROVAL", self.approval, APPROVALS)
        check_name(self.name, ENDPOINT_NAME_LENGTH, "the endpoint (PROJECT-ENVIRONMENT)")
        if self.backend == "sagemaker" and not (self.training_image and self.inference_image):
            raise UserError("TRAINING_IMAGE and INFERENCE_IMAGE are needed with BACKEND=sagemaker.")
        try:
            hyperparameters = json.loads(self.hyperparameters)
        except ValueError as error:
            raise UserError(f"HYPERPARAMETERS is not JSON: {error}.") from error
        if not isinstance(hyperparameters, dict):
            raise UserError('HYPERPARAMETERS is a JSON object, such as {"epochs": 3}.')

    @property
    def name(self) -> str:
        """Name of the classifier and of the endpoint, ``<project>-<environment>``."""
        return f"{self.project}-{self.environment}"

    @property
    def gate(self) -> tuple[str, float, float]:
        """What the quality gate asks: metric, loss at most, floor."""
        return self.gate_metric, self.gate_max_loss, self.gate_floor

    def of_the_model(self) -> dict[str, Any]:
        """Return what a model depends on, besides what it is trained and measured on."""
        names = (
            "backend",
            "training_config",
            "training_image",
            "inference_image",
            "hyperparameters",
        )
        return {name: getattr(self, name) for name in names}

    def tags(self, run_id: str = "") -> dict[str, str]:
        """Return the tags of what the pipeline makes, of a run or of all."""
        tags = {"project": self.project, "environment": self.environment}
        return {**tags, "run": run_id} if run_id else tags

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; a variable that is empty counts as not set.

        Raises:
            UserError: A variable is missing or makes no sense.
        """
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            variable = field.name.upper()
            text = environment.get(variable, "").strip()
            if text:
                values[field.name] = _converted(variable, text, str(field.type))
            elif field.default is dataclasses.MISSING:
                raise UserError(f"{variable} is not set.")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as the log keeps them; there is no secret in them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Settings:
        """Read what the log keeps; settings of other versions of this program are left out."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in content.items() if key in known})


def _converted(variable: str, text: str, kind: str) -> Any:
    kinds: dict[str, type] = {"int": int, "float": float, "str": str}
    try:
        return kinds[kind](text)
    except ValueError as error:
        raise UserError(f"{variable} is a number, not '{text}'.") from error


def _one_of(variable: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{variable} is one of {', '.join(choices)}, not '{value}'.")
