"""S3: true notifications, and only to functions that let S3 in."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any
from urllib.parse import quote_plus
from xml.etree import ElementTree

from moto.awslambda.models import lambda_backends
from moto.iam.access_control import PermissionResult
from moto.s3 import notifications
from moto.s3.models import FakeBucket, FakeDeleteMarker

from localaws.faults import Faults
from localaws.protocol import ACCOUNT, TO_MOTO, AwsError, Call, operation

_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class S3:
    """moto's S3 with the notifications of the real one.

    A fault on the operation ``Notification`` with the outcome ``DUPLICATE`` delivers an event
    twice, which S3 may do; ``LOST`` does not deliver it.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._sequence = itertools.count(time.time_ns())
        notifications._get_s3_event = self._event
        notifications._invoke_awslambda = self._invoke
        # moto asks it of every version that is deleted, and markers hold nothing.
        FakeDeleteMarker.dispose = lambda _: None  # type: ignore[attr-defined]
        # No policy is enforced here. moto takes a Deny under a condition for a Deny.
        FakeBucket.get_permission = _no_opinion  # type: ignore[method-assign,assignment]

    @operation
    def put_bucket_notification_configuration(self, call: Call) -> object:
        """Refuse functions that do not exist or do not let the bucket invoke them, as S3 does."""
        root = ElementTree.fromstring(call.request.get_data())
        for function in root.iter(f"{_NAMESPACE}CloudFunction"):
            if not _may_invoke(function.text or "", call.path["Bucket"]):
                raise AwsError(
                    "InvalidArgument",
                    "Unable to validate the following destination configurations: "
                    f"{function.text} does not exist or does not let s3.amazonaws.com invoke it",
                )
        return TO_MOTO

    def _event(
        self, event_name: str, bucket: Any, key: Any, notification_id: str
    ) -> dict[str, Any]:
        """Return the message of an event.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
        """
        now = time.time()
        entry: dict[str, Any] = {
            "key": quote_plus(key.name, safe="/"),
            "size": key.size,
            "eTag": key.etag.strip('"'),
            "sequencer": f"{next(self._sequence):018X}",
        }
        if key.version_id not in (None, "null"):
            entry["versionId"] = key.version_id
        return {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "awsRegion": bucket.region_name,
                    "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
                    + f".{int(now * 1000) % 1000:03d}Z",
                    "eventName": event_name.removeprefix("s3:"),
                    "userIdentity": {"principalId": f"AWS:{ACCOUNT}"},
                    "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                    "responseElements": {"x-amz-request-id": "LOCAL", "x-amz-id-2": "LOCAL"},
                    "s3": {
                        "s3SchemaVersion": "1.0",
                        "configurationId": notification_id,
                        "bucket": {
                            "name": bucket.name,
                            "ownerIdentity": {"principalId": ACCOUNT},
                            "arn": bucket.arn,
                        },
                        "object": entry,
                    },
                }
            ]
        }

    def _invoke(self, account_id: str, event_body: Any, fn_arn: str, region_name: str) -> None:
        body = json.dumps(event_body)
        fault = self._faults.outcome("s3", "Notification", body)
        times = {"DUPLICATE": 2, "LOST": 0}.get(fault.outcome, 1) if fault else 1
        function = lambda_backends[account_id][region_name].get_function(fn_arn)
        for _ in range(times):
            function.invoke(body, {}, {})


def _no_opinion(bucket: FakeBucket, action: str, resource: str) -> PermissionResult:
    return PermissionResult.NEUTRAL


def _may_invoke(function_arn: str, bucket: str) -> bool:
    """Return whether a function exists and its policy lets S3 invoke it for a bucket."""
    backend = lambda_backends[ACCOUNT][function_arn.split(":")[3]]
    function = backend.get_function_by_arn(function_arn)
    if function is None:
        return False
    for statement in function.policy.statements:
        principal = statement.get("Principal", {})
        conditions = statement.get("Condition", {})
        sources = [
            value
            for rules in conditions.values()
            for key, value in rules.items()
            if key.lower() == "aws:sourcearn"
        ]
        if principal.get("Service") == "s3.amazonaws.com" and all(
            source == f"arn:aws:s3:::{bucket}" for source in sources
        ):
            return True
    return False
