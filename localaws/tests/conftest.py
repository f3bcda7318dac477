"""One local AWS a module, started where a test needs it and emptied after each test."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localaws import LocalAWS

# Fractions of a second instead of minutes.
TIME_SCALE = 0.0002


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with LocalAWS(time_scale=TIME_SCALE) as aws:
        yield aws


@pytest.fixture
def aws(server: LocalAWS) -> Iterator[LocalAWS]:
    yield server
    server.reset()


@pytest.fixture
def s3(aws: LocalAWS) -> Any:
    return aws.client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    """A versioned bucket."""
    name = "localaws-tests"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@contextlib.contextmanager
def standstill(aws: LocalAWS) -> Iterator[None]:
    """Let nothing that takes time in AWS come to its end."""
    aws.set(time_scale=1_000_000)
    try:
        yield
    finally:
        aws.set(time_scale=TIME_SCALE)


class Functions:
    """Makes Lambda functions from Python source."""

    def __init__(self, aws: LocalAWS) -> None:
        self.client = aws.client("lambda", retries={"total_max_attempts": 1}, read_timeout=120)
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
        self._role = aws.client("iam").create_role(
            RoleName="lambda",
            AssumeRolePolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [trust | {"Action": "sts:AssumeRole"}]}
            ),
        )["Role"]["Arn"]

    def create(self, source: str, name: str = "function", **options: Any) -> str:
        """Create a function from the source of ``main.py``, whose handler is ``handle``."""
        return str(
            self.client.create_function(
                **{
                    "FunctionName": name,
                    "Runtime": "python3.13",
                    "Role": self._role,
                    "Handler": "main.handle",
                    "Timeout": 60,
                    "Code": {"ZipFile": zipped({"main.py": source})},
                    **options,
                }
            )["FunctionArn"]
        )

    def invoke(self, event: Any = None, name: str = "function", **options: Any) -> Any:
        """Invoke a function that must not fail; return its answer."""
        answer = self.client.invoke(FunctionName=name, Payload=json.dumps(event), **options)
        payload = answer["Payload"].read()
        assert "FunctionError" not in answer, payload
        return json.loads(payload)


@pytest.fixture
def functions(aws: LocalAWS) -> Functions:
    return Functions(aws)


def zipped(files: dict[str, str]) -> bytes:
    """Return a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def eventually(read: Callable[[], Any], done: Callable[[Any], bool], patience: float = 30) -> Any:
    """Return what ``read`` gives once ``done`` accepts it; fail after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        value = read()
        if done(value):
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {patience} s"
        time.sleep(0.02)
