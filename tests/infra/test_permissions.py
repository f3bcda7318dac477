"""The roles that Terraform makes, enforced: they suffice for a retraining, each action is needed.

ministack judges each call of a function to S3, Step Functions and SNS by the policies of its role
and of the bucket. It judges neither what a state machine calls nor what Comprehend is asked, which
is beside it; and what does not exist is "not found" without ``s3:ListBucket`` too.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from bot.retraining.registry import run_id
from common.errors import UserError
from localaws.terraform import Terraform
from tests.support import ROOT
from tests.support.enforcing_aws import EnforcingAWS, enforcing_aws
from tests.support.retraining_harness import dataset, examples

if not Terraform.available():
    pytest.skip("Terraform or its provider is not here", allow_module_level=True)

T = TypeVar("T")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnforcingAWS]:
    with contextlib.ExitStack() as stack:
        try:
            started = enforcing_aws(tmp_path_factory.mktemp("ministack"), time_scale=0.0002)
            yield stack.enter_context(started)
        except UserError as error:
            pytest.skip(str(error))


class Pipeline:
    """The pipeline of Comprehend as Terraform makes it, and what is asked of it here."""

    def __init__(self, aws: EnforcingAWS, outputs: dict[str, Any]) -> None:
        self.s3, self.states = aws.client("s3"), aws.client("stepfunctions")
        self.functions, self.iam, self.sqs = map(aws.client, ("lambda", "iam", "sqs"))
        self.datasets, self.artifacts = outputs["dataset_bucket"], outputs["artifact_bucket"]
        self.names = outputs["retraining"]["function_names"]
        self.machine = outputs["retraining"]["state_machine_arn"]
        self.queue = self.sqs.create_queue(QueueName="heard")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(
            QueueUrl=self.queue, AttributeNames=["QueueArn"]
        )["Attributes"]
        topic, heard = outputs["retraining"]["topic_arn"], attributes["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": heard,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"Policy": policy})
        aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=heard)
        self.put(dataset(examples(4, first=100)), "heldout/heldout.json")

    def put(self, content: bytes, key: str) -> str:
        """Put an object; return its version."""
        answer = self.s3.put_object(Bucket=self.datasets, Key=key, Body=content)
        return str(answer["VersionId"])

    def keep(self, key: str, content: bytes) -> None:
        """Put an artifact."""
        self.s3.put_object(Bucket=self.artifacts, Key=key, Body=content)

    def event(self, key: str, version: str) -> dict[str, Any]:
        """Return the event that S3 sends of an object."""
        entry = {"key": key, "versionId": version, "size": 1}
        record = {"bucket": {"name": self.datasets}, "object": entry}
        return {"Records": [{"eventTime": "2026-11-26T05:00:00.000Z", "s3": record}]}

    def record(self, identity: str) -> dict[str, Any] | None:
        try:
            found = self.s3.get_object(Bucket=self.artifacts, Key=f"runs/{identity}/record.json")
        except self.s3.exceptions.NoSuchKey:
            return None
        return dict(json.load(found["Body"]))

    def ended(self, identity: str) -> str:
        """Return the status in which the execution of a run ended."""

        def read() -> str | None:
            found = self.states.list_executions(stateMachineArn=self.machine)["executions"]
            states = {one["name"]: one["status"] for one in found}
            return None if states.get(identity, "RUNNING") == "RUNNING" else states[identity]

        return wait(read)

    def call(self, function: str, event: dict[str, Any]) -> str:
        """Call a function; return its answer, or the error that it raises."""
        answer = self.functions.invoke(
            FunctionName=self.names[function], Payload=json.dumps(event).encode()
        )
        return str(answer["Payload"].read().decode())

    def notices(self) -> list[str]:
        """Return the subjects that have come since the last call."""
        found = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                found.append(str(json.loads(message["Body"])["Subject"]))
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    @contextlib.contextmanager
    def without(self, action: str, role: str) -> Iterator[None]:
        """Take an action out of the policies of a role for a while."""
        names = self.iam.list_role_policies(RoleName=role)["PolicyNames"]
        before = {
            name: self.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            for name in names
        }
        taken = json.loads(json.dumps(before))
        for document in taken.values():
            for statement in document["Statement"]:
                actions = statement["Action"]
                actions = [actions] if isinstance(actions, str) else actions
                kept = [one for one in actions if one != action]
                statement["Action"] = kept or ["none:None"]
        assert taken != before, f"{role} has no {action}"
        self._write(role, taken)
        try:
            yield
        finally:
            self._write(role, before)

    def _write(self, role: str, documents: dict[str, Any]) -> None:
        for name, document in documents.items():
            self.iam.put_role_policy(
                RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document)
            )


def wait(read: Callable[[], T | None], patience: float = 120) -> T:
    deadline = time.monotonic() + patience
    while not (found := read()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def pipeline(aws: EnforcingAWS, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("terraform")
    archive = folder / "lambda.zip"
    builder = ROOT / "infra" / "lambda" / "build.py"
    subprocess.run([sys.executable, builder, archive], check=True, capture_output=True)
    variables = {
        "lambda_zip": str(archive),
        "enable_sagemaker": False,
        "poll_seconds": 1,
        "max_retries": 2,
        "s3_use_path_style": True,
    }
    terraform = Terraform(ROOT / "infra" / "terraform", folder, aws.environment, variables)
    terraform.apply()
    return Pipeline(aws, terraform.outputs()["comprehend"])


@pytest.fixture(scope="module")
def deployed(pipeline: Pipeline) -> str:
    """A run from the dataset in the bucket to the live endpoint."""
    version = pipeline.put(dataset(), "datasets/first.json")
    identity = run_id(pipeline.datasets, "datasets/first.json", version)
    assert pipeline.ended(identity) == "SUCCEEDED", pipeline.record(identity)
    # From here on the functions are called by the tests alone.
    pipeline.s3.put_bucket_notification_configuration(
        Bucket=pipeline.datasets, NotificationConfiguration={}
    )
    return identity


def test_the_roles_suffice_from_the_dataset_to_the_notice(
    pipeline: Pipeline, deployed: str
) -> None:
    record = pipeline.record(deployed)
    assert record is not None
    assert record["status"] == "DEPLOYED"
    assert any("new model is live" in subject for subject in wait(pipeline.notices))


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"])
def test_without_an_action_no_dataset_is_taken_in(
    pipeline: Pipeline, deployed: str, action: str
) -> None:
    key = f"datasets/{action[3:]}.json"
    with pipeline.without(action, pipeline.names["start_training"]):
        event = pipeline.event(key, pipeline.put(b"{}", key))
        assert f"not authorized to perform: {action}" in pipeline.call("start_training", event)


def test_without_its_action_no_execution_is_started(pipeline: Pipeline, deployed: str) -> None:
    with pipeline.without("states:StartExecution", pipeline.names["start_training"]):
        version = pipeline.put(dataset(examples(15)), "datasets/states.json")
        event = pipeline.event("datasets/states.json", version)
        assert "states:StartExecution" in pipeline.call("start_training", event)


def test_without_its_action_no_notice_is_sent(pipeline: Pipeline, deployed: str) -> None:
    version = pipeline.put(b"no dataset", "elsewhere.txt")
    with pipeline.without("sns:Publish", pipeline.names["start_training"]):
        answer = pipeline.call("start_training", pipeline.event("elsewhere.txt", version))
    assert "sns:Publish" in answer


@pytest.fixture
def under_way(pipeline: Pipeline, deployed: str) -> Iterator[str]:
    """A run that is trained, and has the claim on the endpoint."""
    record = pipeline.record(deployed)
    assert record is not None
    identity, arn = f"{deployed[:-4]}0000", record["training"]["arn"]
    content = {**record, "run_id": identity, "status": "TRAINING", "training": {"arn": arn}}
    before = pipeline.s3.get_object(Bucket=pipeline.artifacts, Key="live.json")["Body"].read()
    claim = {**json.loads(before), "deploying": identity}
    pipeline.keep(f"runs/{identity}/record.json", json.dumps(content).encode())
    pipeline.keep("live.json", json.dumps(claim).encode())
    yield identity
    pipeline.keep("live.json", before)
    pipeline.s3.delete_object(Bucket=pipeline.artifacts, Key=f"runs/{identity}/record.json")


@pytest.mark.parametrize(
    ("function", "event", "action"),
    [
        ("check_model_status", {"stage": "training"}, "s3:GetObject"),
        ("check_model_status", {"stage": "training"}, "s3:PutObject"),
        ("create_endpoint", {}, "s3:GetObject"),
        ("create_endpoint", {}, "s3:PutObject"),
    ],
)
def test_without_an_action_no_run_is_followed(
    pipeline: Pipeline, under_way: str, function: str, event: dict[str, str], action: str
) -> None:
    with pipeline.without(action, pipeline.names[function]):
        answer = pipeline.call(function, {"run_id": under_way, **event})
    assert f"not authorized to perform: {action}" in answer


def test_without_an_action_old_models_are_not_found(pipeline: Pipeline, deployed: str) -> None:
    with pipeline.without("s3:ListBucket", pipeline.names["check_model_status"]):
        answer = pipeline.call("check_model_status", {"run_id": deployed, "stage": "endpoint"})
    assert "not authorized to perform: s3:ListBucket" in answer


def test_without_an_action_a_claim_cannot_be_judged(
    pipeline: Pipeline, deployed: str, under_way: str
) -> None:
    with pipeline.without("states:DescribeExecution", pipeline.names["create_endpoint"]):
        answer = pipeline.call("create_endpoint", {"run_id": deployed})
    assert "states:DescribeExecution" in answer
