"""What each Lambda function of a retraining pipeline may do, held to while tests run it.

The tests of the pipelines call the functions' handlers within :func:`enforced`, which refuses what
is not listed here; those of Terraform compare the list with the roles that it makes. So what the
functions call is allowed, and what is allowed is what they call.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import BaseClient

from bot.retraining import handlers

_RUNS = {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}
_INTAKE = {
    *_RUNS,
    "s3:GetObjectVersion",
    "s3:PutObjectTagging",
    "iam:PassRole",
    "sns:Publish",
    "states:StartExecution",
}
ALLOWED: dict[str, dict[str, set[str]]] = {
    "comprehend": {
        "start_training": {
            *_INTAKE,
            "comprehend:CreateDocumentClassifier",
            "comprehend:DescribeDocumentClassifier",
            "comprehend:ListDocumentClassifiers",
            "comprehend:TagResource",
        },
        "check_model_status": {
            *_RUNS,
            "sns:Publish",
            "comprehend:DescribeDocumentClassifier",
            "comprehend:DeleteDocumentClassifier",
            "comprehend:DescribeEndpoint",
        },
        "create_endpoint": {
            *_RUNS,
            "sns:Publish",
            "states:DescribeExecution",
            "comprehend:DescribeDocumentClassifier",
            "comprehend:DeleteDocumentClassifier",
            "comprehend:ListEndpoints",
            "comprehend:DescribeEndpoint",
            "comprehend:CreateEndpoint",
            "comprehend:UpdateEndpoint",
            "comprehend:DeleteEndpoint",
            "comprehend:ClassifyDocument",
            "comprehend:TagResource",
        },
    },
    "sagemaker": {
        "start_training": {
            *_INTAKE,
            "ecr:DescribeImages",
            "sagemaker:CreateTrainingJob",
            "sagemaker:DescribeTrainingJob",
            "sagemaker:AddTags",
        },
        "check_model_status": {
            *_RUNS,
            "sns:Publish",
            "s3:DeleteObject",
            "sagemaker:DescribeTrainingJob",
            "sagemaker:DescribeEndpoint",
            "sagemaker:DeleteEndpointConfig",
            "sagemaker:DeleteModel",
        },
        "create_endpoint": {
            *_RUNS,
            "sns:Publish",
            "s3:DeleteObject",
            "iam:PassRole",
            "states:DescribeExecution",
            "sagemaker:CreateModel",
            "sagemaker:CreateEndpointConfig",
            "sagemaker:DescribeEndpoint",
            "sagemaker:CreateEndpoint",
            "cloudwatch:DescribeAlarms",
            "servicequotas:ListServiceQuotas",
            "sagemaker:DescribeEndpointConfig",
            "sagemaker:UpdateEndpoint",
            "sagemaker:DeleteEndpoint",
            "sagemaker:DeleteEndpointConfig",
            "sagemaker:DeleteModel",
            "sagemaker:InvokeEndpoint",
            "sagemaker:AddTags",
        },
    },
}
# Lambda's own, for the log and for events that were given up.
OF_LAMBDA = {"logs:CreateLogStream", "logs:PutLogEvents"}
OF_FAILED_EVENTS = {"sqs:SendMessage"}
# Where the action is not called as the operation is: Service Authorization Reference.
_ACTIONS = {"ListObjectsV2": "ListBucket"}
_PREFIXES = {
    "stepfunctions": "states",
    "sagemaker-runtime": "sagemaker",
    "service-quotas": "servicequotas",
}
_ROLES = ("RoleArn", "ExecutionRoleArn", "DataAccessRoleArn", "DesiredDataAccessRoleArn")


def actions(service: str, operation: str, request: dict[str, Any]) -> set[str]:
    """Return the actions that a request of boto3 needs.

    Args:
        service: boto3's name of the service.
        operation: The operation, ``GetObject`` for instance.
        request: Its parameters.
    """
    prefix = _PREFIXES.get(service, service)
    needed = {f"{prefix}:{_ACTIONS.get(operation, operation)}"}
    if "VersionId" in request:
        needed.add(f"{prefix}:GetObjectVersion")
    if "Tagging" in request:
        needed.add(f"{prefix}:PutObjectTagging")
    if request.get("Tags"):
        needed.add("comprehend:TagResource" if service == "comprehend" else f"{prefix}:AddTags")
    if "DeploymentConfig" in request:  # it names alarms
        needed.add("cloudwatch:DescribeAlarms")
    if any(name in request for name in _ROLES):
        needed.add("iam:PassRole")
    return needed


def whole_file_runs(request: pytest.FixtureRequest) -> bool:
    """Whether no test of the requesting file was left out: then what they did is all there is."""
    items = [item for item in request.session.items if item.module is request.module]
    chosen = {item.originalname for item in items}
    return chosen == {name for name in vars(request.module) if name.startswith("test_")}


def unused(solution: str, done: dict[str, set[str]]) -> set[str]:
    """Return what the functions of a solution may do, and none of them has done.

    All together: how a run ends decides which of them prunes.
    """
    return set().union(*ALLOWED[solution].values()) - set().union(*done.values())


@contextlib.contextmanager
def enforced(solution: str) -> Iterator[dict[str, set[str]]]:
    """Refuse what a handler may not do; give what each has done, by its name.

    Args:
        solution: A key of :data:`ALLOWED`.
    """
    done: dict[str, set[str]] = {name: set() for name in ALLOWED[solution]}
    running: list[str] = []  # several threads may call the same handler

    def watched(name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def call(*arguments: Any) -> Any:
            running.append(name)
            try:
                return handler(*arguments)
            finally:
                running.remove(name)

        return call

    send = BaseClient._make_api_call

    def checked(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        if running:
            needed = actions(client.meta.service_model.service_name, operation, request)
            for name in running:
                done[name] |= needed
            allowed = set().union(*(ALLOWED[solution][name] for name in running))
            assert needed <= allowed, f"{running} may not {sorted(needed - allowed)}"
        return send(client, operation, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", checked)
        for name in done:
            patch.setattr(handlers, name, watched(name, getattr(handlers, name)))
        yield done
