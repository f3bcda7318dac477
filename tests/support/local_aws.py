"""The local AWS as AWS's own chain finds it: by the environment alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from localaws import LocalAWS

ROLE = "arn:aws:iam::123456789012:role/comprehend"
BUCKET = "skills-bot-data"


@contextlib.contextmanager
def local_aws(**settings: Any) -> Iterator[LocalAWS]:
    """Run a local AWS with a bucket, and lead this process's clients to it and nowhere else."""
    with LocalAWS(**settings) as aws, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        variables = {
            **aws.environment(),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        location = {"LocationConstraint": variables["AWS_REGION"]}
        aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
        yield aws
