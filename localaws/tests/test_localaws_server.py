"""The server itself: start, end, settings, faults, errors in every protocol."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from localaws import LocalAWS
from localaws.tests.conftest import eventually


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_client_of_aws_finds_it_by_the_environment_alone(
    aws: LocalAWS, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    identity = boto3.session.Session().client("sts").get_caller_identity()
    assert identity["Account"] == "123456789012"


def test_it_listens_on_loopback_only(aws: LocalAWS) -> None:
    port = int(aws.url.rsplit(":", 1)[1])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    assert [address for address in listening if int(address.split(":")[1], 16) == port] == [
        f"0100007F:{port:04X}"
    ]


def test_its_log_says_what_it_is_not(aws: LocalAWS) -> None:
    log = aws.log.read_text()
    for word in ("stand-in", "IAM", "latencies", "cold", "quotas", "Amazon's own model"):
        assert word in log


def test_it_ends_with_the_process_that_started_it() -> None:
    code = (
        "from localaws import LocalAWS; import time\n"
        "aws = LocalAWS().__enter__(); print(aws.url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    port = int(parent.stdout.readline().rsplit(":", 1)[1])
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def refused() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) != 0

    eventually(refused, bool)


def test_the_command_line_serves_until_interrupted() -> None:
    command = [sys.executable, "-m", "localaws", "--port=0", "--time-scale=0.5"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", server.stdout.readline())
    server.send_signal(signal.SIGINT)
    _, log = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "Traceback" not in log


def test_a_port_that_is_taken_is_reported() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(RuntimeError, match="did not start"):
            LocalAWS(port).__enter__()


def test_a_wrong_setting_is_refused(aws: LocalAWS) -> None:
    with pytest.raises(ValueError, match="'time_skale' is no setting; known: time_scale"):
        aws.set(time_skale=1)
    with pytest.raises(ValueError, match="must be a number of at least 0"):
        aws.set(time_scale=-1)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"code": "X", "whenn": "after"}, "'whenn' is no key"),
        ({"code": "X", "when": "never"}, "must be 'before' or 'after'"),
        ({}, "must be given"),
        ({"code": 3}, "wrong type"),
    ],
)
def test_a_wrong_fault_is_refused(aws: LocalAWS, fault: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        aws.inject("s3", "GetObject", **fault)


def test_a_fault_happens_as_often_as_asked(aws: LocalAWS, bucket: str) -> None:
    s3 = aws.client("s3", retries={"total_max_attempts": 1})
    aws.inject("s3", "ListObjectsV2", code="SlowDown", message="Please wait.", status=503, times=2)
    for _ in range(2):
        with pytest.raises(ClientError, match="Please wait") as error:
            s3.list_objects_v2(Bucket=bucket)
        assert code_of(error) == "SlowDown"
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert aws.faults() == []


def test_faults_can_be_cleared(aws: LocalAWS, s3: Any) -> None:
    aws.inject("s3", code="AccessDenied")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_buckets()
    aws.clear_faults()
    assert s3.list_buckets()["Buckets"] == []


def test_a_fault_can_be_for_one_resource(aws: LocalAWS, s3: Any, bucket: str) -> None:
    aws.inject("s3", "PutObject", code="AccessDenied", resource="secret/")
    s3.put_object(Bucket=bucket, Key="open/a", Body=b"")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="secret/a", Body=b"")


def test_an_answer_can_be_lost_after_the_effect(aws: LocalAWS, bucket: str) -> None:
    s3 = aws.client("s3", retries={"total_max_attempts": 1})
    aws.inject("s3", "PutObject", code="InternalError", status=500, when="after", times=1)
    with pytest.raises(ClientError, match="InternalError"):
        s3.put_object(Bucket=bucket, Key="key", Body=b"stored")
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"stored"


def test_a_delay_is_a_black_hole_to_the_impatient(aws: LocalAWS) -> None:
    aws.inject("sqs", "ListQueues", delay_seconds=30)
    sqs = aws.client("sqs", read_timeout=0.2, retries={"total_max_attempts": 1})
    with pytest.raises(ReadTimeoutError):
        sqs.list_queues()


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("stepfunctions", "ListStateMachines", {}),  # JSON 1.0
        ("comprehend", "ListEndpoints", {}),  # JSON 1.1
        ("lambda", "ListFunctions", {}),  # REST-JSON
        ("sns", "ListTopics", {}),  # query
        ("s3", "ListBuckets", {}),  # REST-XML
        ("sagemaker-runtime", "InvokeEndpoint", {"EndpointName": "e", "Body": b"{}"}),
    ],
)
def test_errors_come_in_the_protocol_of_the_service(
    aws: LocalAWS, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    import botocore

    aws.inject(service, operation, code="ThrottlingException", message="Rate <exceeded> & more")
    client = aws.client(service, retries={"total_max_attempts": 1})
    with pytest.raises(ClientError) as error:
        getattr(client, botocore.xform_name(operation))(**arguments)
    assert error.value.response["Error"]["Code"] == "ThrottlingException"
    assert error.value.response["Error"]["Message"] == "Rate <exceeded> & more"


def test_the_status_of_an_error_is_that_of_the_service_model(aws: LocalAWS) -> None:
    aws.inject("lambda", "ListFunctions", code="TooManyRequestsException")
    client = aws.client("lambda", retries={"total_max_attempts": 1})
    with pytest.raises(ClientError) as error:
        client.list_functions()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_calls_are_recorded(aws: LocalAWS, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a key/é", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a key/é"})
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key="none")
    calls = [(call["operation"], call["status"]) for call in aws.calls(service="s3")]
    assert calls == [
        ("CreateBucket", 200),
        ("PutBucketVersioning", 200),
        ("PutObject", 200),
        ("CopyObject", 200),
        ("GetObject", 404),
    ]
    assert len(aws.calls(operation="GetObject", status="404")) == 1


def test_what_it_lacks_is_refused_at_once(aws: LocalAWS) -> None:
    client = aws.client("comprehend")
    with pytest.raises(ClientError, match="has no DetectDominantLanguage of comprehend") as error:
        client.detect_dominant_language(Text="Bonjour")
    assert code_of(error) == "UnknownOperationException"


def test_reset_forgets_everything(aws: LocalAWS, s3: Any, bucket: str) -> None:
    aws.inject("s3", code="AccessDenied")
    aws.reset()
    assert s3.list_buckets()["Buckets"] == []
    assert [call["operation"] for call in aws.calls()] == ["ListBuckets"]


def test_the_environment_of_the_caller_does_not_disturb_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "none-such")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with LocalAWS() as aws:
        monkeypatch.delenv("AWS_PROFILE")
        assert aws.client("s3").list_buckets()["Buckets"] == []


def test_a_held_request_holds_up_no_other_and_goes_on_when_faults_are_cleared(
    aws: LocalAWS,
) -> None:
    aws.inject("sqs", "ListQueues", delay_seconds=600)
    sqs = aws.client("sqs", read_timeout=600)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sqs.list_queues)
        assert aws.client("sns").list_topics()["Topics"] == []
        assert not waiting.done()
        aws.clear_faults()
        assert waiting.result()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [("s3", "list_buckets", "SlowDown"), ("sagemaker", "list_models", "ThrottlingException")],
)
def test_each_second_request_may_be_refused_for_its_rate(
    aws: LocalAWS, service: str, operation: str, code: str
) -> None:
    aws.set(throttle_every=2)
    try:
        once = aws.client(service, retries={"total_max_attempts": 1})
        answers = []
        for _ in range(4):
            try:
                getattr(once, operation)()
                answers.append("")
            except ClientError as error:
                answers.append(str(error.response["Error"]["Code"]))
        assert sorted(answers) == ["", "", code, code]
        patient = aws.client(service)
        for _ in range(3):
            getattr(patient, operation)()
    finally:
        aws.set(throttle_every=0)


def test_service_quotas_lists_what_is_set(aws: LocalAWS) -> None:
    client = aws.client("service-quotas")
    assert client.list_service_quotas(ServiceCode="sagemaker")["Quotas"] == []
    aws.set(sagemaker_endpoint_instances=2)
    try:
        pages = client.get_paginator("list_service_quotas").paginate(
            ServiceCode="sagemaker", PaginationConfig={"PageSize": 1}
        )
        quotas = {one["QuotaName"]: one["Value"] for page in pages for one in page["Quotas"]}
    finally:
        aws.set(sagemaker_endpoint_instances=0)
    assert quotas["ml.m5.large for endpoint usage"] == 2


def test_a_bucket_with_delete_markers_is_emptied(aws: LocalAWS) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="marked", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="marked", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="marked", Key="one", Body=b"1")
    s3.delete_object(Bucket="marked", Key="one")
    # As Terraform does before it empties a bucket.
    s3.put_bucket_versioning(Bucket="marked", VersioningConfiguration={"Status": "Suspended"})
    listed = s3.list_object_versions(Bucket="marked")
    versions = [
        {"Key": one["Key"], "VersionId": one["VersionId"]}
        for one in (*listed["Versions"], *listed["DeleteMarkers"])
    ]
    assert "Errors" not in s3.delete_objects(Bucket="marked", Delete={"Objects": versions})
    s3.delete_bucket(Bucket="marked")
