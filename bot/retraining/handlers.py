"""The three Lambda functions of a retraining pipeline.

Their environment variables are the fields of :class:`~bot.retraining.settings.Settings`, all three
functions get the same. Every function may be called again with the same event: it goes on where the
last call stopped and makes nothing twice. What the user must mend ends in a notice and a record;
AWS errors are raised, for Lambda and Step Functions to try again.

What the state machine hands over and gets back (every field is always there, texts may be empty)::

    input of the execution             {"run_id"}
    check_model_status                 {"run_id", "stage": "training"}
      → IN_PROGRESS | TRAINED | FAILED
    create_endpoint                    {"run_id"}
      → WAITING | DEPLOYING | REJECTED | SUPERSEDED
    check_model_status                 {"run_id", "stage": "endpoint"}
      → IN_PROGRESS | IN_SERVICE | FAILED
    check_model_status                 {"run_id", "stage": "failure", "error": …}
      → FAILED

    every answer                       {"run_id", "stage", "status", "subject", "message"}

WAITING means: call ``create_endpoint`` again after a pause, since the endpoint is being changed or
deleted. ``subject`` and ``message`` are the notice for SNS (subject: ASCII, 100 characters at
most), empty where there is nothing to announce yet (IN_PROGRESS, TRAINED, WAITING, DEPLOYING).
REJECTED (by the quality gate) and FAILED are failures; SUPERSEDED, a newer dataset being live, is
not. The stage ``failure`` is for whatever the state machine caught (``error`` is its
``{"Error", "Cause"}``): it closes the record of the run and words the notice.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from bot.errors import UserError
from bot.retraining import backends
from bot.retraining.deployment import Deployment
from bot.retraining.intake import Intake
from bot.retraining.registry import Registry
from bot.retraining.settings import Settings

logging.getLogger("bot.retraining").setLevel(logging.INFO)
log = logging.getLogger(__name__)


def start_training(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Start the training for each dataset of an S3 event, and the state machine that follows it.

    A record whose key is not below the dataset prefix or does not end in ``.json`` is ignored.

    Args:
        event: S3 notification, ``{"Records": [{"eventTime", "s3": {"bucket": {"name"}, "object":
            {"key", "versionId", "eTag", "size"}}}]}``; the key is URL-encoded. Source: Amazon S3
            User Guide, "Event message structure".
        context: Lambda's context, not used.

    Returns:
        ``{"runs": [{"run_id", "bucket", "key", "status"}]}``; the status is STARTED,
        ALREADY_STARTED, REJECTED_DATASET (after a notice with the reasons) or IGNORED.

    Raises:
        AwsError: AWS refuses or cannot be reached; Lambda shall call again. The other datasets of
            the event were taken in all the same.
    """
    intake = Intake(*parts(Settings.from_environment()))
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

    Raises:
        AwsError: AWS refuses or cannot be reached; Step Functions shall call again.
        UserError: There is no such run or stage.
    """
    deployment = Deployment(*parts(Settings.from_environment()))
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

    See the module for event and answer.

    Raises:
        AwsError: AWS refuses or cannot be reached; Step Functions shall call again.
        UserError: There is no such run, or the result of its training is damaged.
    """
    return Deployment(*parts(Settings.from_environment())).deploy(event["run_id"]).to_json()


@functools.cache
def parts(settings: Settings) -> tuple[Settings, Registry, backends.Backend]:
    """Return what the functions work with, kept from call to call: clients are slow to make."""
    registry = Registry(settings.artifact_bucket)
    return settings, registry, backends.create(settings, registry)
