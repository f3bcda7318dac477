"""One local AWS a module, started where a test needs it and emptied after each test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.localaws import LocalAWS

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


def eventually(read: Callable[[], Any], done: Callable[[Any], bool], patience: float = 30) -> Any:
    """Return what ``read`` gives once ``done`` accepts it; fail after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        value = read()
        if done(value):
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {patience} s"
        time.sleep(0.02)
