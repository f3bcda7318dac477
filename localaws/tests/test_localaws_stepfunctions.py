"""State machines that really run, through boto3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws import LocalAWS
from localaws.tests.conftest import Functions, eventually, standstill

ROLE = "arn:aws:iam::123456789012:role/machine"


def wait_and(following: dict[str, Any]) -> dict[str, Any]:
    """A machine that waits two minutes, then does what ``following`` says."""
    return {
        "StartAt": "Wait",
        "States": {"Wait": {"Type": "Wait", "Seconds": 120, "Next": "Then"}, "Then": following},
    }


class Machines:
    """Creates and runs state machines."""

    def __init__(self, aws: LocalAWS) -> None:
        self.client = aws.client("stepfunctions", retries={"total_max_attempts": 1})

    def create(self, definition: Any, name: str = "machine", **options: Any) -> str:
        return str(
            self.client.create_state_machine(
                name=name, definition=json.dumps(definition), roleArn=ROLE, **options
            )["stateMachineArn"]
        )

    def start(self, arn: str, input_: Any = None, **options: Any) -> str:
        return str(
            self.client.start_execution(
                stateMachineArn=arn, input=json.dumps(input_ or {}), **options
            )["executionArn"]
        )

    def ended(self, execution: str) -> dict[str, Any]:
        def describe() -> dict[str, Any]:
            return dict(self.client.describe_execution(executionArn=execution))

        return dict(eventually(describe, lambda it: it["status"] != "RUNNING"))

    def run(self, definition: Any, input_: Any = None) -> dict[str, Any]:
        return self.ended(self.start(self.create(definition), input_))


@pytest.fixture
def machines(aws: LocalAWS) -> Machines:
    return Machines(aws)


def lambda_task(**more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "function", "Payload.$": "$"},
        "OutputPath": "$.Payload",
        **more,
    }


def test_minutes_of_waiting_take_no_minutes(machines: Machines) -> None:
    ended = machines.run(wait_and({"Type": "Succeed"}), {"a": 1})
    assert ended["status"] == "SUCCEEDED"
    assert json.loads(ended["output"]) == {"a": 1}


def test_a_machine_polls_with_a_function(machines: Machines, functions: Functions) -> None:
    functions.create(
        "def handle(event, context):\n"
        "    polls = event['polls'] + 1\n"
        "    return {'polls': polls, 'ready': polls == 3}"
    )
    choice = {"Variable": "$.ready", "BooleanEquals": True, "Next": "Done"}
    ended = machines.run(
        {
            "StartAt": "Wait",
            "States": {
                "Wait": {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "Poll"},
                "Poll": lambda_task(ResultPath="$.result", OutputPath="$", Next="Merge"),
                "Merge": {
                    "Type": "Pass",
                    "Parameters": {
                        "seconds.$": "$.seconds",
                        "polls.$": "$.result.Payload.polls",
                        "ready.$": "$.result.Payload.ready",
                    },
                    "Next": "Ready?",
                },
                "Ready?": {"Type": "Choice", "Choices": [choice], "Default": "Wait"},
                "Done": {"Type": "Succeed"},
            },
        },
        {"seconds": 120, "polls": 0},
    )
    assert ended["status"] == "SUCCEEDED", ended
    assert json.loads(ended["output"])["polls"] == 3
    history = machines.client.get_execution_history(executionArn=ended["executionArn"])["events"]
    assert [event["type"] for event in history].count("TaskSucceeded") == 3


def test_a_failing_function_is_retried_then_caught(
    aws: LocalAWS, machines: Machines, functions: Functions
) -> None:
    functions.create("def handle(event, context): raise KeyError('gone')")
    retry = {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 60,
        "MaxAttempts": 2,
        "BackoffRate": 2.0,
    }
    catch = {"ErrorEquals": ["KeyError"], "ResultPath": "$.error", "Next": "Failed"}
    ended = machines.run(
        {
            "StartAt": "Work",
            "States": {
                "Work": lambda_task(Retry=[retry], Catch=[catch], Next="Done"),
                "Done": {"Type": "Succeed"},
                "Failed": {"Type": "Fail", "Error": "Broken", "Cause": "It is broken."},
            },
        }
    )
    assert ended["status"] == "FAILED"
    assert (ended["error"], ended["cause"]) == ("Broken", "It is broken.")
    assert len(aws.calls(service="lambda", operation="Invoke")) == 3


def test_a_missing_function_is_an_error_of_lambda(machines: Machines) -> None:
    ended = machines.run({"StartAt": "Work", "States": {"Work": lambda_task(End=True)}})
    assert ended["status"] == "FAILED"
    assert ended["error"] == "Lambda.ResourceNotFoundException"


def test_a_machine_publishes(aws: LocalAWS, machines: Machines) -> None:
    sns, sqs = aws.client("sns"), aws.client("sqs")
    topic = sns.create_topic(Name="news")["TopicArn"]
    queue = sqs.create_queue(QueueName="news")["QueueUrl"]
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:eu-west-1:123456789012:news"
    )
    ended = machines.run(
        {
            "StartAt": "Notify",
            "States": {
                "Notify": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::sns:publish",
                    "Parameters": {
                        "TopicArn": topic,
                        "Subject": "News",
                        "Message.$": "States.Format('{} is ready', $.name)",
                    },
                    "End": True,
                }
            },
        },
        {"name": "The model"},
    )
    assert ended["status"] == "SUCCEEDED", ended
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    notice = json.loads(message["Body"])
    assert (notice["Subject"], notice["Message"]) == ("News", "The model is ready")


def test_an_execution_exists_once(server: LocalAWS, machines: Machines) -> None:
    arn = machines.create(wait_and({"Type": "Succeed"}))
    with standstill(server):
        execution = machines.start(arn, {"a": 1}, name="run-1")
        assert execution == "arn:aws:states:eu-west-1:123456789012:execution:machine:run-1"
        assert machines.start(arn, {"a": 1}, name="run-1") == execution
        with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
            machines.start(arn, {"a": 2}, name="run-1")
        other = machines.start(arn, {"a": 2}, name="run-2")
        listed = machines.client.list_executions(stateMachineArn=arn)["executions"]
        assert {item["name"] for item in listed} == {"run-1", "run-2"}
        machines.client.stop_execution(executionArn=execution)
        assert machines.ended(execution)["status"] == "ABORTED"
    assert machines.ended(other)["status"] == "SUCCEEDED"


def test_a_name_cannot_be_used_again(machines: Machines) -> None:
    arn = machines.create(wait_and({"Type": "Succeed"}))
    machines.ended(machines.start(arn, name="run-1"))
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        machines.start(arn, name="run-1")


def test_a_function_starts_a_machine(machines: Machines, functions: Functions) -> None:
    arn = machines.create(wait_and({"Type": "Succeed"}))
    functions.create(
        "import boto3\n"
        "def handle(event, context):\n"
        "    machine = boto3.client('stepfunctions')\n"
        f"    return machine.start_execution(stateMachineArn='{arn}')['executionArn']"
    )
    assert machines.ended(functions.invoke())["status"] == "SUCCEEDED"


def test_a_running_machine_does_not_keep_the_server(machines: Machines) -> None:
    with LocalAWS(time_scale=1) as aws:
        others = Machines(aws)
        others.start(others.create(wait_and({"Type": "Succeed"})))


@pytest.mark.parametrize(
    ("definition", "code", "location"),
    [
        ("{", "INVALID_JSON_DESCRIPTION", "/"),
        ('{"StartAt": "A"}', "SCHEMA_VALIDATION_FAILED", "/"),
        (
            '{"StartAt": "A", "States": {"A": {"Type": "Wait", "End": true}}}',
            "SCHEMA_VALIDATION_FAILED",
            "/",
        ),
        (
            '{"StartAt": "B", "States": {"A": {"Type": "Succeed"}}}',
            "MISSING_TRANSITION_TARGET",
            "/StartAt",
        ),
        (
            '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "C"}}}',
            "MISSING_TRANSITION_TARGET",
            "/States/A/Next",
        ),
        (
            json.dumps(
                {
                    "StartAt": "A",
                    "States": {
                        "A": lambda_task(
                            Catch=[{"ErrorEquals": ["States.ALL"], "Next": "X"}], End=True
                        )
                    },
                }
            ),
            "MISSING_TRANSITION_TARGET",
            "/States/A/Catch[0]/Next",
        ),
    ],
)
def test_definitions_are_checked(
    machines: Machines, definition: str, code: str, location: str
) -> None:
    answer = machines.client.validate_state_machine_definition(definition=definition)
    assert answer["result"] == "FAIL"
    assert (answer["diagnostics"][0]["code"], answer["diagnostics"][0]["location"]) == (
        code,
        location,
    )
    with pytest.raises(ClientError, match=f"InvalidDefinition.*{code}"):
        machines.client.create_state_machine(name="m", definition=definition, roleArn=ROLE)


def test_a_good_definition_is_accepted_and_can_be_changed(machines: Machines) -> None:
    definition = json.dumps(wait_and({"Type": "Succeed"}))
    answer = machines.client.validate_state_machine_definition(definition=definition)
    assert (answer["result"], answer["diagnostics"]) == ("OK", [])
    arn = machines.create(wait_and({"Type": "Succeed"}))
    with pytest.raises(ClientError, match="InvalidDefinition"):
        machines.client.update_state_machine(stateMachineArn=arn, definition="{")
    machines.client.update_state_machine(
        stateMachineArn=arn, definition=json.dumps(wait_and({"Type": "Fail"}))
    )
    assert machines.ended(machines.start(arn))["status"] == "FAILED"
    machines.client.update_state_machine(stateMachineArn=arn, roleArn=ROLE + "2")
    assert machines.client.describe_state_machine(stateMachineArn=arn)["roleArn"] == ROLE + "2"


def test_versions_are_listed(machines: Machines) -> None:
    arn = machines.create(wait_and({"Type": "Succeed"}), publish=True)
    machines.client.update_state_machine(stateMachineArn=arn, roleArn=ROLE, publish=True)
    versions = machines.client.list_state_machine_versions(stateMachineArn=arn)
    listed = [item["stateMachineVersionArn"] for item in versions["stateMachineVersions"]]
    assert listed == [f"{arn}:2", f"{arn}:1"]
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        machines.client.list_state_machine_versions(stateMachineArn=arn + "x")


def test_a_redrive_goes_on_with_the_state_that_failed(
    machines: Machines, functions: Functions, tmp_path: Path
) -> None:
    functions.create(
        "import pathlib\n"
        "def handle(event, context):\n"
        f"    mended = pathlib.Path({str(tmp_path / 'mended')!r})\n"
        "    if not mended.exists():\n"
        "        raise ValueError(event['from'])\n"
        "    return {**event, 'mended': True}"
    )
    states = {
        "First": {"Type": "Pass", "Result": {"from": "First"}, "Next": "Call"},
        "Call": lambda_task(Next="Last"),
        "Last": {"Type": "Pass", "End": True},
    }
    failed = machines.run({"StartAt": "First", "States": states}, {"from": "outside"})
    assert failed["status"] == "FAILED"
    arn = failed["executionArn"]
    machines.client.redrive_execution(executionArn=arn)
    again = machines.ended(arn)
    assert (again["status"], again["redriveCount"]) == ("FAILED", 1)
    (tmp_path / "mended").touch()
    machines.client.redrive_execution(executionArn=arn)
    ended = machines.ended(arn)
    assert (ended["status"], ended["redriveCount"]) == ("SUCCEEDED", 2)
    assert json.loads(ended["input"]) == {"from": "outside"}
    assert json.loads(ended["output"]) == {"from": "First", "mended": True}
    events = machines.client.get_execution_history(executionArn=arn)["events"]
    details = [one["stateEnteredEventDetails"] for one in events if "Entered" in one["type"]]
    entered = [one["name"] for one in details]
    assert entered[-2:] == ["Call", "Last"]
    assert "First" not in entered
    with pytest.raises(ClientError, match="ExecutionNotRedrivable"):
        machines.client.redrive_execution(executionArn=arn)
    with pytest.raises(ClientError, match="ExecutionDoesNotExist"):
        machines.client.redrive_execution(executionArn=f"{arn}-other")
