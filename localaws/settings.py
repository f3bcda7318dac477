"""What can be set: how long things take, and which local command stands for which image."""

from __future__ import annotations

import dataclasses
import fnmatch
import shlex
from collections.abc import Mapping
from typing import Any

from localaws.protocol import AwsError


def _setting(default: float, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass
class Settings:
    """Durations as the real AWS has them, and the scale that makes them bearable.

    A duration named ``…_seconds`` is in seconds of the real AWS; here it takes ``time_scale`` times
    as long. The scale also holds for Wait states and retry intervals of Step Functions, and for
    the minutes between Lambda's attempts at an asynchronous event. Work that is really done (a
    training, a Lambda) takes the time it takes.
    """

    time_scale: float = _setting(0.001, "local seconds for one second of the real AWS")
    comprehend_queue_seconds: float = _setting(60, "a classifier stays SUBMITTED")
    comprehend_training_seconds: float = _setting(1200, "a training lasts at least")
    comprehend_endpoint_seconds: float = _setting(900, "an endpoint is CREATING or UPDATING")
    comprehend_deletion_seconds: float = _setting(60, "an endpoint or classifier is DELETING")
    comprehend_throughput: float = _setting(1, "factor on what an inference unit can do; 0: no end")
    comprehend_classes: int = _setting(0, "classes in an answer at most; 0: all")
    sagemaker_start_seconds: float = _setting(60, "an instance starts, for a job or an endpoint")
    sagemaker_deletion_seconds: float = _setting(30, "an endpoint is Deleting")
    sagemaker_training_instances: float = _setting(0, "instances of all trainings; 0: no end")
    sagemaker_endpoint_instances: float = _setting(0, "instances of all endpoints; 0: no end")
    throttle_every: int = _setting(0, "each so many-th request is refused for its rate; 0: none")
    sagemaker_health_patience: float = _setting(
        240, "local seconds that a container has to answer its first ping"
    )
    # Pattern of an image, and the command that stands for it.
    images: tuple[tuple[str, str], ...] = ()

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change settings by name.

        Raises:
            ValueError: A name is unknown, or a value is not a number of at least 0.
        """
        numbers = {field.name: field for field in numeric_fields()}
        for name, value in changes.items():
            if name not in numbers:
                raise ValueError(f"'{name}' is no setting; known: {', '.join(numbers)}.")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ValueError(f"'{name}' is {value!r}; it must be a number of at least 0.")
        for name, value in changes.items():
            setattr(self, name, value)

    def scaled(self, seconds: float) -> float:
        """Return how long something of ``seconds`` in the real AWS takes here, in seconds."""
        return seconds * self.time_scale

    def check_quota(self, name: str, what: str, used: int, more: int) -> None:
        """Refuse what is more than a quota that is set.

        Args:
            name: The setting.
            what: The quota's name at AWS.
            used: What is in use.
            more: What is asked for.

        Raises:
            AwsError: It is too much.
        """
        limit = int(getattr(self, name))
        if limit and used + more > limit:
            raise AwsError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{what}' is {limit} Instances, with current "
                f"utilization of {used} Instances and a request delta of {more} Instances. Please "
                "use AWS Service Quotas to request an increase for this quota.",
            )

    def command_of(self, image: str) -> list[str] | None:
        """Return the command that stands for a container image; None where none does."""
        for pattern, command in self.images:
            if fnmatch.fnmatchcase(image, pattern):
                return shlex.split(command)
        return None


def numeric_fields() -> list[dataclasses.Field[Any]]:
    """Return the settings that are numbers, which is all but the images."""
    return [field for field in dataclasses.fields(Settings) if field.name != "images"]
