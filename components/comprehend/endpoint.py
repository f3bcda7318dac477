"""From training examples to an endpoint that answers; free of Rasa.

Everything can be interrupted and called again: a version is named after its examples, so the same
examples are trained once, and the endpoint is created or moved only where it is not there yet.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from common.aws import AwsError
from common.errors import COMMAND, UserError
from components.comprehend.documents import Documents, to_csv
from components.comprehend.office_hours import Schedules
from components.comprehend.service import FAILED, IN_PROGRESS, READY, Comprehend, Endpoint, Version
from components.remote import label_difference

logger = logging.getLogger(__name__)

Found = TypeVar("Found")
# Told what is being waited for: "training (TRAINING)".
Show = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Trained:
    """An endpoint that was in service at the time of training.

    Attributes:
        endpoint_arn: ARN of the endpoint.
        model_arn: ARN of the version that answered.
        labels: Its intents, sorted.
        metrics: How it did on its test examples, see ``ConfusionMatrix.metrics``.
    """

    endpoint_arn: str
    model_arn: str
    labels: list[str]
    metrics: dict[str, Any]


def use_endpoint(service: Comprehend, name_or_arn: str, intents: Iterable[str]) -> Trained:
    """Check that an endpoint is in service and tells exactly ``intents`` apart.

    Raises:
        UserError: There is none, it is not in service, or its intents are others; the
            message names the difference.
        AwsError: AWS refuses or cannot be reached.
    """
    endpoint = service.endpoint(name_or_arn)
    if endpoint is None:
        raise UserError(
            f"There is no Comprehend endpoint '{name_or_arn}' in the region {service.region}. "
            f"`{COMMAND} comprehend train` trains and starts it; `{COMMAND} comprehend endpoint "
            "start` starts a version that is trained."
        )
    if endpoint.state != READY:
        raise UserError(
            f"The Comprehend endpoint '{endpoint.name}' is not in service: its status is "
            f"{_status(endpoint)}. Wait for it (`{COMMAND} comprehend endpoint status`), or stop "
            "it and start it again."
        )
    matrix = service.confusion_matrix(service.describe_version(endpoint.model_arn))
    difference = label_difference(intents, matrix.labels)
    if difference:
        raise UserError(
            f"The Comprehend endpoint '{endpoint.name}' tells other intents apart than the "
            f"training data: {difference} `{COMMAND} comprehend train` trains a version on these "
            "data."
        )
    return Trained(endpoint.arn, endpoint.model_arn, sorted(matrix.labels), matrix.metrics())


def train(
    service: Comprehend,
    endpoint_name: str,
    examples: Iterable[tuple[str, str]],
    settings: Mapping[str, Any],
    show: Show,
) -> Trained:
    """Train a version on ``examples`` unless there is one, and have the endpoint answer with it.

    Args:
        service: Comprehend in the region of the endpoint.
        endpoint_name: Name of the endpoint; it is created, or moved without a gap in service.
        examples: Pairs of intent and text.
        settings: Values for every key of ``components.comprehend.config.TRAIN_DEFAULTS``.
        show: Told the progress.

    Raises:
        DocumentsError: Comprehend cannot train on the examples.
        UserError: The training or the endpoint failed, or took too long.
        AwsError: AWS refuses or cannot be reached.
    """
    documents = to_csv(
        examples,
        minimum=settings["minimum_documents"],
        recommended=settings["recommended_documents"],
    )
    for warning in documents.warnings:
        logger.warning(warning)
    version = _train_version(service, documents, settings, show)
    metrics = service.confusion_matrix(version).metrics()
    endpoint = deploy(
        service,
        endpoint_name,
        version.arn,
        settings["units"],
        show,
        role_arn=settings["role_arn"] if settings["kms_key"] else None,
        poll_seconds=settings["poll_seconds"],
        time_limit=settings["time_limit"],
    )
    _move_office_hours(service, endpoint)
    return Trained(endpoint.arn, endpoint.model_arn, sorted(documents.counts), metrics)


def _move_office_hours(service: Comprehend, endpoint: Endpoint) -> None:
    """Have an endpoint that is created each morning be created with the version it has now."""
    try:
        if Schedules(service.region).move(endpoint.name, endpoint.model_arn):
            logger.info(f"The office hours of '{endpoint.name}' have the new version.")
    except AwsError as error:  # the endpoint answers; only who keeps office hours need know
        logger.warning(f"Office hours, if there are any, keep the version before: {error}")


def _train_version(
    service: Comprehend, documents: Documents, settings: Mapping[str, Any], show: Show
) -> Version:
    """Return the trained version of these examples, trained now unless there is one."""
    started = _find_or_start(service, documents, settings)

    def look() -> Version | None:
        version = service.describe_version(started.arn)
        show(f"training ({version.status})")
        return None if version.state == IN_PROGRESS else version

    version = wait(look, show, settings["poll_seconds"], settings["time_limit"], "training")
    if version.state == FAILED:
        raise UserError(
            f"Comprehend did not train the version '{version.name}': {_status(version)}. Mend "
            "that and train again."
        )
    if version.message:
        logger.warning(f"Comprehend on the version '{version.name}': {_status(version)}")
    return version


def _find_or_start(
    service: Comprehend, documents: Documents, settings: Mapping[str, Any]
) -> Version:
    digest = hashlib.sha256(documents.content).hexdigest()[:16]
    known = {version.name: version for version in service.versions(settings["classifier"])}
    # A version that failed keeps its name, so the next try has a name of its own.
    for name in (f"v-{digest}{suffix}" for suffix in _suffixes()):
        found = known.get(name)
        if found is None:
            break
        if found.state != FAILED:
            logger.info(f"Comprehend has a version of these examples: '{name}' ({found.status}).")
            return found
    folder = f"{settings['s3_uri'].rstrip('/')}/{name}"
    service.upload(f"{folder}/train.csv", documents.content, settings["kms_key"])
    return service.start_training(
        settings["classifier"],
        name,
        role_arn=settings["role_arn"],
        train_uri=f"{folder}/train.csv",
        output_uri=f"{folder}/output",
        language=settings["language"],
        kms_key=settings["kms_key"],
    )


def _suffixes() -> Iterable[str]:
    return itertools.chain([""], (f"-{number}" for number in itertools.count(2)))


def deploy(
    service: Comprehend,
    name: str,
    model_arn: str,
    units: int,
    show: Show,
    *,
    role_arn: str | None = None,
    poll_seconds: float,
    time_limit: float,
) -> Endpoint:
    """Create the endpoint or move it to ``model_arn``, and wait until that version answers.

    Raises:
        UserError: The endpoint failed, or took longer than ``time_limit`` seconds.
        AwsError: AWS refuses or cannot be reached.
    """
    asked = False

    def look() -> Endpoint | None:
        nonlocal asked
        found = service.endpoint(name)
        if found is not None:
            show(f"endpoint ({found.status})")
            if found.state == IN_PROGRESS or found.status == "DELETING":
                return None
            if found.state == READY and (found.model_arn, found.units) == (model_arn, units):
                return found
            if found.state == FAILED and asked:
                raise UserError(
                    f"The Comprehend endpoint '{name}' did not start: {_status(found)}. Mend that "
                    "and try again."
                )
        # A failed one is only removed by this, to be created by the next call.
        asked = found is None or found.state == READY
        try:
            service.deploy(name, model_arn, units, role_arn=role_arn)
        except AwsError as error:
            if not error.exists:  # else it is busy with a change asked for before
                raise
        return None

    return wait(look, show, poll_seconds, time_limit, f"start of the endpoint '{name}'")


def wait(
    look: Callable[[], Found | None],
    show: Show,
    poll_seconds: float,
    time_limit: float,
    what: str,
) -> Found:
    """Call ``look`` until it finds something; a passing fault of the network ends nothing.

    Raises:
        UserError: It took longer than ``time_limit`` seconds.
    """
    limit = time.monotonic() + time_limit
    while True:
        try:
            found = look()
        except AwsError as error:
            if not error.transient:
                raise
            show(f"AWS cannot be reached ({error.code}), trying again")
            found = None
        if found is not None:
            return found
        if time.monotonic() >= limit:
            raise UserError(
                f"The {what} was not through after {time_limit:g} s. It goes on at AWS: the same "
                "command again waits for it. 'time_limit' allows more."
            )
        time.sleep(poll_seconds)


def _status(item: Version | Endpoint) -> str:
    return f"{item.status} ({item.message})" if item.message else item.status
