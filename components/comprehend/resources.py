"""The bucket and the role that a training needs, for who has no Terraform at hand."""

from __future__ import annotations

import json
import time
from typing import Any

from common.aws import AwsError, aws_errors, client


def ensure_bucket(name: str, region: str | None = None) -> None:
    """Create a private bucket unless it is there.

    Raises:
        AwsError: AWS refuses, or the name belongs to somebody else.
    """
    s3 = client("s3", region)
    try:
        with aws_errors(f"look for the bucket '{name}'"):
            s3.head_bucket(Bucket=name)
    except AwsError as error:
        if not error.not_found:
            raise
        place = {"CreateBucketConfiguration": {"LocationConstraint": s3.meta.region_name}}
        with aws_errors(f"create the bucket '{name}'"):
            s3.create_bucket(Bucket=name, **({} if s3.meta.region_name == "us-east-1" else place))


def ensure_role(name: str, bucket: str, settle_seconds: float) -> str:
    """Return the ARN of a role by which Comprehend reads and writes ``bucket``; made if missing.

    Args:
        name: Name of the role.
        bucket: Name of the bucket.
        settle_seconds: How long to wait until a new role is known everywhere.

    Raises:
        AwsError: AWS refuses.
    """
    iam = client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "comprehend.amazonaws.com"}}
    access = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]}
    place = f"arn:{iam.meta.partition}:s3:::{bucket}"
    resources = [place, f"{place}/*"]
    is_new = False
    try:
        with aws_errors(f"look for the role '{name}'"):
            role = iam.get_role(RoleName=name)["Role"]
    except AwsError as error:
        if not error.not_found:
            raise
        is_new = True
        with aws_errors(f"create the role '{name}'"):
            role = iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=_policy({**trust, "Action": "sts:AssumeRole"}),
            )["Role"]
    with aws_errors(f"give the role '{name}' its permissions"):
        iam.put_role_policy(
            RoleName=name,
            PolicyName="data",
            PolicyDocument=_policy({**access, "Resource": resources}),
        )
    if is_new:
        time.sleep(settle_seconds)
    return str(role["Arn"])


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
