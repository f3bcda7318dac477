"""The three Lambda functions of a retraining pipeline.

Their environment variables are the fields of :class:`~bot.retraining.settings.Settings`, all three
functions get the same. Every function may be called again with the same event: it goes on where the
last call stopped and makes nothing twice. What the user must mend ends in a notice and a record;
AWS errors are raised, for Lambda and Step Functions to try again.

What the state machine hands over and gets back (every field is always there, texts may be empty)::

    input of the execution             {"run_id"}
    check_model_status                 {"run_id", "stage": "training"}
      → NOT_STARTED | IN_PROGRESS | TRAINED | FAILED
    start_training                     {"run_id"}
      → IN_PROGRESS | FAILED
    create_endpoint                    {"run_id"}
      → WAITING | DEPLOYING | REJECTED | SUPERSEDED | AWAITING_APPROVAL
    check_model_status                 {"run_id", "stage": "endpoint"}
      → IN_PROGRESS | IN_SERVICE | FAILED
    check_model_status                 {"run_id", "stage": "failure", "error": …}
      → FAILED | IN_SERVICE

    office hours: create_endpoint      {"office_hours": "start" | "stop"}
      → WAITING | DONE

    every answer                       {"run_id", "stage", "status", "subject", "message"}

NOT_STARTED means: call ``start_training``, since a quota was used up, or the run is tried again.
WAITING means: call ``create_endpoint`` again after a pause, since the endpoint is being changed or
deleted, or a quota is used up. ``subject`` and ``message`` are the notice for SNS (subject: ASCII,
100 characters at most), empty where there is nothing to announce yet. REJECTED (by the quality
gate) and FAILED are failures; SUPERSEDED, a newer dataset being live, is not. The stage ``failure``
is for whatever the state machine caught (``error`` is its ``{"Error", "Cause"}``): it closes the
record of the run and words the notice.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from bot.retraining import backends, notifications
from bot.retraining.deployment import Deployment
from bot.retraining.intake import Intake
from bot.retraining.registry import Registry
from bot.retraining.settings import Settings
from common.errors import UserError

logging.getLogger("bot.retraining").setLevel(logging.INFO)
log = logging.getLogger(__name__)


def start_training(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Start the training for each dataset of an S3 event, and the state machine that follows it.

    A record whose key is not below the dataset prefix or does not end in ``.json`` is ignored, and
    who gets the notices is told.

    Args:
        event: ``{"run_id"}`` from the state machine, for a training that has not started yet; or
            an S3 notification, ``{"Records": [{"eventTime", "s3": {"bucket": {"name"}, "object":
            {"key", "versionId", "eTag", "size"}}}]}``; the key is URL-encoded. Source: Amazon S3
            User Guide, "Event message structure".
        context: Lambda's context, not used.

    Returns:
        ``{"runs": [{"run_id", "bucket", "key", "status"}]}``; the status is STARTED,
        ALREADY_STARTED, REJECTED_DATASET or NOTHING_NEW (after a notice with the reasons), or
        IGNORED (after a notice, unless it is the held-out set).

    Raises:
        AwsError: AWS refuses or cannot be reached; Lambda shall call again. The other datasets of
            the event were taken in all the same.
    """
    intake = Intake(*parts(Settings.from_environment()))
    if "run_id" in event:
        return intake.start(event["run_id"]).to_json()
    runs, failures = [], []
    for record in event.get("Records", []):
        try:
            runs.append(intake.take(record))
        except UserError as error:
            log.error("%s", error)
            failures.append(error)
    if failures:
        raise failures[0]
    return {"runs": runs}


def check_model_status(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Say how far a training or a deployment has come; see the module for event and answer.

    An endpoint in service with the new model makes its run the live one and prunes old versions.
    EventBridge calls it for an execution that ran out of time or was stopped, which nothing within
    the state machine can tell: the run is closed, and the notice sent from here.

    Raises:
        AwsError: AWS refuses or cannot be reached; Step Functions shall call again.
        UserError: There is no such run or stage.
    """
    settings = Settings.from_environment()
    deployment = Deployment(*parts(settings))
    if event.get("source") == "aws.states":
        answer = deployment.ended_from_outside(event["detail"])
        if answer.message:
            notifications.publish(settings, answer.subject, answer.message)
        return answer.to_json()
    stage = event["stage"]
    if stage == "training":
        answer = deployment.check_training(event["run_id"])
    elif stage == "endpoint":
        answer = deployment.check_endpoint(event["run_id"])
    elif stage == "failure":
        answer = deployment.fail(event["run_id"], event.get("error") or {})
    else:
        raise UserError(f"'{stage}' is no stage; there are training, endpoint and failure.")
    return answer.to_json()


def create_endpoint(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Keep the metrics of a trained model, put it through the quality gate, and deploy it.

    In office hours: make or delete the endpoint. See the module for event and answer.

    Raises:
        AwsError: AWS refuses or cannot be reached; Step Functions shall call again.
        UserError: There is no such run, or the result of its training is damaged.
    """
    deployment = Deployment(*parts(Settings.from_environment()))
    if "office_hours" in event:
        return deployment.office_hours(event["office_hours"]).to_json()
    return deployment.deploy(event["run_id"]).to_json()


@functools.cache
def parts(settings: Settings) -> tuple[Settings, Registry, backends.Backend]:
    """Return what the functions work with, kept from call to call: clients are slow to make."""
    registry = Registry(settings.artifact_bucket)
    return settings, registry, backends.create(settings, registry)
