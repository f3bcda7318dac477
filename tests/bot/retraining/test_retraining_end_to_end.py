"""From S3 to a notice, with nobody in between: the real archive in Lambda functions that S3's own
notification starts, and the real state machine, on the local AWS.
"""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from bot.retraining import executions
from bot.retraining.registry import Registry, Run, Status, run_id
from bot.retraining.settings import Settings
from localaws import LocalAWS
from tests.support import ROOT
from tests.support.retraining_harness import STRICT, TIME_SCALE, Pipeline, dataset, examples

DEFINITIONS = ROOT / "infra/terraform/modules/retraining"
FUNCTIONS = ("start_training", "check_model_status", "create_endpoint")
DENIED = {"code": "AccessDeniedException"}

T = TypeVar("T")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("lambda") / "lambda.zip"
    runpy.run_path(str(ROOT / "infra/lambda/build.py"))["build"](path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with LocalAWS(time_scale=TIME_SCALE, **STRICT) as aws:
        yield aws


@pytest.fixture
def pipeline(
    server: LocalAWS, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    pipeline = Pipeline.create(server)
    for name, value in pipeline.environment.items():
        monkeypatch.setenv(name, value)
    own = {key: value for key, value in pipeline.environment.items() if key[:4] != "AWS_"}
    role = _role(server)
    arns = {name: _function(server, name, archive, role, own) for name in FUNCTIONS}
    server.client("stepfunctions").update_state_machine(
        stateMachineArn=own["STATE_MACHINE_ARN"],
        definition=_definition("state_machine", arns, own["TOPIC_ARN"]),
    )
    server.client("stepfunctions").create_state_machine(
        name="retraining-office-hours",
        definition=_definition("office_hours", arns, own["TOPIC_ARN"]),
        roleArn=role,
    )
    server.client("lambda").add_permission(
        FunctionName="start_training",
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{pipeline.datasets}",
    )
    server.client("s3").put_bucket_notification_configuration(
        Bucket=pipeline.datasets,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": arns["start_training"], "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )
    yield pipeline
    server.reset()


def _role(aws: LocalAWS) -> str:
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    answer = aws.client("iam").create_role(
        RoleName="lambda", AssumeRolePolicyDocument=json.dumps(policy)
    )
    return str(answer["Role"]["Arn"])


def _function(
    aws: LocalAWS, name: str, archive: bytes, role: str, environment: dict[str, str]
) -> str:
    answer = aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler=f"bot.retraining.handlers.{name}",
        Role=role,
        Timeout=60,
        Code={"ZipFile": archive},
        Environment={"Variables": environment},
    )
    return str(answer["FunctionArn"])


def _definition(name: str, arns: dict[str, str], topic: str) -> str:
    """Return a state machine as Terraform fills it in."""
    retry = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 5, "MaxAttempts": 2}]
    text = (DEFINITIONS / f"{name}.asl.json").read_text(encoding="utf-8")
    for name, value in {
        "description": "Test",
        "partition": "aws",
        "poll_seconds": "120",
        "timeout_seconds": "100000000",
        "start_timeout_seconds": "300000",
        "check_timeout_seconds": "300000",
        "create_timeout_seconds": "300000",
        "retry": json.dumps(retry),
        "topic": topic,
        **arns,
    }.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    return text


def wait(read: Callable[[], T | None], patience: float = 60) -> T:
    """Return what ``read`` finds, as soon as it finds something."""
    deadline = time.monotonic() + patience
    while not (found := read()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.1)
    return found


def put(pipeline: Pipeline, content: bytes, key: str) -> str:
    """Put a dataset and leave the rest to AWS; return its run id."""
    answer = pipeline.aws.client("s3").put_object(Bucket=pipeline.datasets, Key=key, Body=content)
    return run_id(pipeline.datasets, key, answer["VersionId"])


def ended(pipeline: Pipeline, run_id: str) -> Run:
    def read() -> Run | None:
        run = Registry(pipeline.artifacts).find(run_id)
        return run if run and run.status.final else None

    return wait(read)


def execution(pipeline: Pipeline, run_id: str) -> str:
    """Return the status in which the execution of a run ended."""
    return state_of(pipeline, pipeline.run(run_id).execution_arn)


def state_of(pipeline: Pipeline, arn: str) -> str:
    """Return the status in which an execution ended."""

    def read() -> str | None:
        client = pipeline.aws.client("stepfunctions")
        status = str(client.describe_execution(executionArn=arn)["status"])
        return None if status == "RUNNING" else status

    return wait(read)


def test_a_dataset_put_into_the_bucket_ends_in_an_endpoint_that_answers(
    pipeline: Pipeline,
) -> None:
    identity = put(pipeline, dataset(), "datasets/jeu d'été.json")
    assert ended(pipeline, identity).status is Status.DEPLOYED
    assert execution(pipeline, identity) == "SUCCEEDED"
    ((subject, message),) = wait(pipeline.notices)
    assert "new model is live" in subject
    assert "jeu d'été.json" in message
    (endpoint,) = pipeline.endpoints()
    answer: Any = pipeline.aws.client("comprehend").classify_document(
        EndpointArn=endpoint["EndpointArn"], Text="Qui est Marie ?"
    )
    assert answer["Classes"][0]["Name"] == "WHO_IS"


def test_a_function_that_crashes_between_two_steps_is_called_again(pipeline: Pipeline) -> None:
    pipeline.aws.inject("stepfunctions", "StartExecution", times=1, **DENIED)
    pipeline.aws.inject("comprehend", "CreateEndpoint", when="after", times=1, **DENIED)
    identity = put(pipeline, dataset(), "datasets/a.json")
    assert ended(pipeline, identity).status is Status.DEPLOYED
    assert execution(pipeline, identity) == "SUCCEEDED"
    assert pipeline.aws.faults() == []
    assert pipeline.versions() == [identity]
    assert len(pipeline.endpoints()) == 1


def test_what_keeps_failing_ends_in_a_notice(pipeline: Pipeline) -> None:
    pipeline.aws.inject("comprehend", "CreateEndpoint", **DENIED)
    identity = put(pipeline, dataset(), "datasets/a.json")
    run = ended(pipeline, identity)
    assert run.status is Status.FAILED
    assert "AccessDeniedException" in run.reason
    assert execution(pipeline, identity) == "FAILED"
    ((subject, message),) = wait(pipeline.notices)
    assert "retraining failed" in subject
    assert "create the endpoint 'skills-bot-test'" in message

    # Step Functions' redrive goes on with the state that failed, which is the last one here.
    pipeline.aws.clear_faults()
    states = pipeline.aws.client("stepfunctions")
    states.redrive_execution(executionArn=run.execution_arn)
    assert execution(pipeline, identity) == "FAILED"
    assert pipeline.run(identity).status is Status.FAILED
    # `bot pipeline retry` goes on with what is left to do.
    executions.resume(pipeline.registry, Settings.from_environment(), identity)
    assert execution(pipeline, identity) == "SUCCEEDED"
    assert pipeline.run(identity).status is Status.DEPLOYED


def test_a_training_that_waits_for_a_quota_is_started_when_there_is_room(
    pipeline: Pipeline,
) -> None:
    refused = {"code": "ResourceLimitExceededException", "message": "The limit is 0."}
    pipeline.aws.inject("comprehend", "CreateDocumentClassifier", times=2, **refused)
    identity = put(pipeline, dataset(), "datasets/a.json")
    assert ended(pipeline, identity).status is Status.DEPLOYED
    assert execution(pipeline, identity) == "SUCCEEDED"
    first, last = (subject for subject, _ in wait(pipeline.notices))
    assert "waits for a quota" in first
    assert "new model is live" in last


def test_office_hours_by_their_state_machine(pipeline: Pipeline) -> None:
    identity = put(pipeline, dataset(), "datasets/a.json")
    ended(pipeline, identity)
    for action, endpoints in (("stop", 0), ("start", 1)):
        states = pipeline.aws.client("stepfunctions")
        machine = f"{pipeline.environment['STATE_MACHINE_ARN']}-office-hours"
        answer = states.start_execution(
            stateMachineArn=machine, name=action, input=json.dumps({"office_hours": action})
        )
        assert state_of(pipeline, answer["executionArn"]) == "SUCCEEDED"
        assert len(pipeline.endpoints()) == endpoints


def test_a_failed_training_ends_in_one_notice(pipeline: Pipeline) -> None:
    pipeline.aws.inject(
        "comprehend", "CreateDocumentClassifier", outcome="IN_ERROR", message="No luck."
    )
    identity = put(pipeline, dataset(), "datasets/a.json")
    assert ended(pipeline, identity).status is Status.TRAINING_FAILED
    assert execution(pipeline, identity) == "FAILED"
    ((_, message),) = wait(pipeline.notices)
    assert "IN_ERROR: No luck." in message


def test_two_datasets_at_once_end_with_the_newer_live(pipeline: Pipeline) -> None:
    runs = [
        put(pipeline, dataset(examples(12 + number)), f"datasets/{number}.json")
        for number in range(2)
    ]
    older, newer = (ended(pipeline, identity) for identity in runs)
    assert newer.status is Status.DEPLOYED
    assert older.status in (Status.DEPLOYED, Status.SUPERSEDED)
    assert [execution(pipeline, identity) for identity in runs] == ["SUCCEEDED"] * 2
    assert pipeline.registry.pointer().live == newer.run_id
    (endpoint,) = pipeline.endpoints()
    assert endpoint["ModelArn"] == newer.training["arn"]
