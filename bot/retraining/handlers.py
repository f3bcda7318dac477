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

from typing import Any


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
        AwsError: AWS refuses or cannot be reached; Lambda shall call again.
    """
    raise NotImplementedError


def check_model_status(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Say how far a training or a deployment has come; see the module for event and answer.

    An endpoint in service with the new model makes its run the live one and prunes old versions.

    Raises:
        AwsError: AWS refuses or cannot be reached; Step Functions shall call again.
    """
    raise NotImplementedError


def create_endpoint(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Keep the metrics of a trained model, put it through the quality gate, and deploy it.

    See the module for event and answer.

    Raises:
        AwsError: AWS refuses or cannot be reached; Step Functions shall call again.
    """
    raise NotImplementedError
