"""The smoke test of the real AWS, put to the local one: it measures, and leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra import smoke
from localaws import LocalAWS
from tests.support import ROOT
from tests.support.local_aws import BUCKET, local_aws

QUICK = ["--poll-seconds", "0.1", "--pause", "0", "--role-delay", "0"]


@pytest.fixture
def aws() -> Iterator[LocalAWS]:
    with local_aws(comprehend_throughput=0, time_scale=0.0001) as server:
        yield server


def left_over(aws: LocalAWS) -> list[Any]:
    comprehend = aws.client("comprehend")
    buckets = [bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]]
    return [
        *(name for name in buckets if name != BUCKET),
        *aws.client("iam").list_roles()["Roles"],
        *comprehend.list_endpoints()["EndpointPropertiesList"],
        *comprehend.list_document_classifiers()["DocumentClassifierPropertiesList"],
    ]


def test_it_measures_and_leaves_nothing(aws: LocalAWS, capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main(["--yes", *QUICK]) == 0
    output = capsys.readouterr().out
    assert "costs at most $5.30" in output  # an hour each of training and endpoint, and the model
    assert "40 questions one second apart" in output
    assert "10 questions back to back" in output
    assert left_over(aws) == []


def test_a_failure_leaves_nothing_either(aws: LocalAWS, capsys: pytest.CaptureFixture[str]) -> None:
    aws.inject("comprehend", "CreateDocumentClassifier", outcome="IN_ERROR", message="no access")
    assert smoke.main(["--yes", *QUICK]) == 1
    assert "no access" in capsys.readouterr().out
    assert left_over(aws) == []


@pytest.fixture
def interrupted(aws: LocalAWS) -> Iterator[subprocess.Popen[str]]:
    """The command, while its endpoint is being made, which takes a second more."""
    aws.set(comprehend_endpoint_seconds=20_000)
    command = [sys.executable, "-m", "infra.smoke", "--yes", *QUICK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        while not aws.client("comprehend").list_endpoints()["EndpointPropertiesList"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        yield process
        process.kill()


def test_interrupted_while_the_endpoint_is_made_it_leaves_nothing(
    aws: LocalAWS, interrupted: subprocess.Popen[str]
) -> None:
    output, _ = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert "bot comprehend endpoint stop --yes --endpoint skills-bot-smoke-" in output
    assert left_over(aws) == []


def test_interrupted_again_it_says_what_is_left(
    aws: LocalAWS, interrupted: subprocess.Popen[str]
) -> None:
    assert interrupted.stdout is not None
    for line in interrupted.stdout:
        if "by hand" in line:
            break
    interrupted.send_signal(signal.SIGINT)
    output, _ = interrupted.communicate(timeout=60)
    (endpoint,) = aws.client("comprehend").list_endpoints()["EndpointPropertiesList"]
    assert f"Left, and billed: {endpoint['EndpointArn']} (CREATING)" in output


def test_without_credentials_it_is_skipped(
    aws: LocalAWS, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert smoke.main(["--yes", *QUICK]) == 0
    assert "Skipped" in capsys.readouterr().out
    assert left_over(aws) == []
