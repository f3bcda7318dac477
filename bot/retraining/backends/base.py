"""What the pipeline asks of a service that trains and serves models."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from bot.retraining.dataset_check import Source
from bot.retraining.registry import Run
from common.aws import AwsError
from common.confusion_matrix import ConfusionMatrix

THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException"}
_PAUSE_SECONDS = 0.5  # what one inference unit of Comprehend needs for a text

T = TypeVar("T")


class State(str, enum.Enum):
    """How far the service has come."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a training or a deployment has come.

    Attributes:
        state: What that means to the pipeline.
        status: The service's own word for it.
        message: The service's explanation; a warning where the state is READY.
    """

    state: State
    status: str
    message: str = ""


class Backend(Protocol):
    """A service that trains and serves models; every method can be called again.

    All raise :class:`~common.aws.AwsError` where AWS refuses or does not answer.
    """

    def files(self, dataset: Source, heldout: Source) -> Mapping[str, bytes]:
        """Return what the training reads besides the two files, by name in the run's folder.

        Raises:
            UserError: The service would not train on this dataset.
        """

    def start(self, run: Run) -> str:
        """Start the training of a run whose files are in S3, or find it; return its ARN."""

    def training_status(self, run: Run) -> Progress:
        """Return how far the training has come."""

    def metrics(self, run: Run) -> ConfusionMatrix:
        """Return how a trained model did on the held-out set.

        Raises:
            UserError: The training's result is damaged.
        """

    def deploy(self, run: Run) -> str | None:
        """Let the endpoint serve a run's model, without a gap where it serves another.

        Returns:
            The endpoint's ARN; None where it has to settle first (it is being changed, or had
            failed and is being deleted): call again.
        """

    def endpoint_status(self, run: Run) -> Progress:
        """Return whether the endpoint serves the model of a run that was deployed."""

    def classify(self, texts: Sequence[str]) -> list[str | None]:
        """Return what the endpoint takes texts for; it waits where AWS limits the rate.

        Raises:
            AwsError: ``not_found`` where there is no endpoint.
        """

    def remove_endpoint(self) -> bool:
        """Have no endpoint; return False as long as it is there: call again."""

    def prune(self, run: Run) -> bool:
        """Delete a run's model; return False where something still uses it."""


def patiently(ask: Callable[..., T], *arguments: Any) -> T:
    """Return what ``ask`` does, as soon as AWS does not limit the rate.

    Lambda's own time limit ends it.
    """
    while True:
        try:
            return ask(*arguments)
        except AwsError as error:
            if error.code not in THROTTLED:
                raise
        time.sleep(_PAUSE_SECONDS)
