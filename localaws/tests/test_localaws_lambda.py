"""The local Lambda, and S3's notifications to it, through boto3."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from botocore.exceptions import ClientError

from localaws import LocalAWS
from localaws.tests.conftest import Functions, eventually, zipped

# Reports its event as a message of a queue.
REPORTER = """
import boto3, json, os
def handle(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
    if os.environ.get("FAIL"):
        raise ValueError("as asked")
    return {"done": True}
"""


class Queue:
    """A queue whose messages have JSON bodies."""

    def __init__(self, aws: LocalAWS, name: str = "reports") -> None:
        self._client = aws.client("sqs")
        self.url = str(self._client.create_queue(QueueName=name)["QueueUrl"])
        self.arn = f"arn:aws:sqs:eu-west-1:123456789012:{name}"
        self.bodies: list[Any] = []

    def receive(self) -> list[Any]:
        """Return all bodies so far, oldest first."""
        messages = self._client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        for message in messages.get("Messages", []):
            self._client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            self.bodies.append(json.loads(message["Body"]))
        return self.bodies

    def wait(self, number: int) -> list[Any]:
        """Return the bodies once there are ``number`` of them."""
        return list(eventually(self.receive, lambda bodies: len(bodies) >= number))


@pytest.fixture
def queue(aws: LocalAWS) -> Queue:
    return Queue(aws)


def variables(queue: Queue, **more: str) -> dict[str, Any]:
    return {"Variables": {"QUEUE": queue.url, **more}}


def failure(functions: Functions, event: Any = None) -> dict[str, Any]:
    """Invoke a function that must fail; return the error."""
    answer = functions.client.invoke(FunctionName="function", Payload=json.dumps(event))
    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled"
    return dict(json.load(answer["Payload"]))


# --- synchronous ---


def test_a_function_runs(functions: Functions) -> None:
    functions.create("def handle(event, context): return {'twice': 2 * event['number']}")
    assert functions.invoke({"number": 21}) == {"twice": 42}


def test_it_may_be_named_by_its_arn(functions: Functions) -> None:
    arn = functions.create("def handle(event, context): return context.invoked_function_arn")
    assert functions.invoke(name=arn) == arn
    assert functions.invoke(name=f"{arn}:$LATEST") == arn


def test_it_gets_its_environment_and_context(aws: LocalAWS, functions: Functions) -> None:
    functions.create(
        """
import os
def handle(event, context):
    return {
        "mine": os.environ["MINE"],
        "region": os.environ["AWS_REGION"],
        "url": os.environ["AWS_ENDPOINT_URL"],
        "home": os.environ.get("HOME"),
        "name": context.function_name,
        "version": context.function_version,
        "memory": context.memory_limit_in_mb,
        "remaining": 0 < context.get_remaining_time_in_millis() <= 60000,
        "group": context.log_group_name,
    }
""",
        Environment={"Variables": {"MINE": "é"}},
        MemorySize=256,
    )
    assert functions.invoke() == {
        "mine": "é",
        "region": "eu-west-1",
        "url": aws.url,
        "home": None,
        "name": "function",
        "version": "$LATEST",
        "memory": "256",
        "remaining": True,
        "group": "/aws/lambda/function",
    }


def test_it_has_boto3_and_nothing_else(functions: Functions) -> None:
    """What the zip lacks must be missing here too: the project, its dependencies, site-packages."""
    functions.create(
        """
import importlib
def handle(names, context):
    found = []
    for name in names:
        try:
            importlib.import_module(name)
            found.append(name)
        except ImportError:
            pass
    return found
"""
    )
    names = ["boto3", "botocore", "json", "bot", "infra", "yaml", "numpy", "pip", "moto"]
    assert functions.invoke(names) == ["boto3", "botocore", "json"]


def test_the_zip_may_hold_packages(functions: Functions) -> None:
    files = {
        "package/__init__.py": "",
        "package/inner.py": "NUMBER = 7",
        "package/app.py": "from package.inner import NUMBER\ndef run(e, c): return NUMBER",
    }
    functions.create("", Code={"ZipFile": zipped(files)}, Handler="package.app.run")
    assert functions.invoke() == 7


def test_the_zip_may_come_from_s3(functions: Functions, s3: Any, bucket: str) -> None:
    content = zipped({"main.py": "def handle(event, context): return 'from S3'"})
    s3.put_object(Bucket=bucket, Key="code.zip", Body=content)
    functions.create("", Code={"S3Bucket": bucket, "S3Key": "code.zip"})
    assert functions.invoke() == "from S3"


def test_a_warm_function_keeps_its_globals_until_it_is_changed(functions: Functions) -> None:
    source = "calls = []\ndef handle(event, context): calls.append(1); return len(calls)"
    functions.create(source)
    assert [functions.invoke() for _ in range(3)] == [1, 2, 3]
    functions.client.update_function_configuration(
        FunctionName="function", Environment={"Variables": {"A": "B"}}
    )
    assert functions.invoke() == 1
    functions.client.update_function_code(
        FunctionName="function", ZipFile=zipped({"main.py": source.replace("len", "-len")})
    )
    assert functions.invoke() == -1


def test_calls_at_once_run_side_by_side(functions: Functions, queue: Queue) -> None:
    """Each call waits for the other, so one after the other would time out."""
    functions.create(
        """
import boto3, os, time
def handle(event, context):
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody="0")
    while True:
        attributes = sqs.get_queue_attributes(QueueUrl=os.environ["QUEUE"], AttributeNames=["All"])
        if attributes["Attributes"]["ApproximateNumberOfMessages"] == "2":
            return os.getpid()
        time.sleep(0.01)
""",
        Environment=variables(queue),
    )
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: functions.invoke(), range(2))
    assert first != second


def test_reserved_concurrency_is_a_limit(functions: Functions, s3: Any, bucket: str) -> None:
    functions.create(
        f"""
import boto3, time
def handle(event, context):
    s3 = boto3.client("s3")
    s3.put_object(Bucket="{bucket}", Key="started", Body=b"")
    while "Contents" not in s3.list_objects_v2(Bucket="{bucket}", Prefix="go"):
        time.sleep(0.01)
    return "done"
"""
    )
    functions.client.put_function_concurrency(
        FunctionName="function", ReservedConcurrentExecutions=1
    )
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(functions.invoke)
        eventually(lambda: s3.list_objects_v2(Bucket=bucket)["KeyCount"], bool)
        with pytest.raises(ClientError, match="TooManyRequestsException"):
            functions.invoke()
        s3.put_object(Bucket=bucket, Key="go", Body=b"")
        assert first.result() == "done"


def test_errors_are_reported_as_lambda_does(functions: Functions) -> None:
    functions.create(
        "def inner():\n    raise KeyError('gone')\ndef handle(event, context):\n    inner()"
    )
    error = failure(functions)
    assert set(error) == {"errorMessage", "errorType", "requestId", "stackTrace"}
    assert (error["errorType"], error["errorMessage"]) == ("KeyError", "'gone'")
    assert [frame.split(", in ")[1].split("\n")[0] for frame in error["stackTrace"]] == [
        "handle",
        "inner",
    ]


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (
            "import none_such",
            "Runtime.ImportModuleError",
            "Unable to import module 'main': No module named 'none_such'",
        ),
        ("x = 1", "Runtime.HandlerNotFound", "Handler 'handle' missing on module 'main'"),
        ("def (", "Runtime.UserCodeSyntaxError", "Syntax error in module 'main': "),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        (
            "def handle(event, context): return {1, 2}",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type set is not JSON serializable",
        ),
        (
            "import os\ndef handle(event, context): os._exit(3)",
            "Runtime.ExitError",
            "Error: Runtime exited with error: exit status 3",
        ),
        (
            "import sys\ndef handle(event, context): sys.exit(1)",
            "Runtime.ExitError",
            "Error: Runtime exited with error: exit status 1",
        ),
    ],
)
def test_every_way_to_fail_has_its_type(
    functions: Functions, source: str, kind: str, message: str
) -> None:
    functions.create(source)
    for _ in range(2):  # what cannot start does not stay
        error = failure(functions)
        assert error["errorType"] == kind
        assert message in error["errorMessage"]


def test_a_function_that_takes_too_long_is_killed(functions: Functions) -> None:
    functions.create("import time\ndef handle(event, context): time.sleep(event)", Timeout=1)
    error = failure(functions, 600)
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert functions.invoke(0) is None


def test_its_log_is_kept(aws: LocalAWS, functions: Functions) -> None:
    functions.create(
        """
import logging
logging.getLogger().setLevel("INFO")
def handle(event, context):
    print("printed: été")
    logging.info("logged")
    raise ValueError("bad")
"""
    )
    answer = functions.client.invoke(FunctionName="function", LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()
    for text in ("printed: été", "logged", "[ERROR] ValueError: bad", "Traceback"):
        assert text in tail
    logs = aws.client("logs")
    events = logs.filter_log_events(logGroupName="/aws/lambda/function")["events"]
    messages = [event["message"] for event in events]
    assert messages[0].startswith("START RequestId: ")
    assert messages[1] == "printed: été"
    assert messages[2].startswith("[INFO]\t")
    assert messages[2].split("\t")[3] == "logged"
    assert messages[-1].startswith("REPORT RequestId: ")
    assert "logged" in aws.log.read_text()


def test_its_log_may_be_in_json(functions: Functions) -> None:
    functions.create(
        "import logging\ndef handle(event, context): logging.warning('watch out')",
        LoggingConfig={"LogFormat": "JSON"},
    )
    answer = functions.client.invoke(FunctionName="function", LogType="Tail")
    line = json.loads(base64.b64decode(answer["LogResult"]).decode().splitlines()[0])
    assert (line["level"], line["message"]) == ("WARNING", "watch out")
    assert line["requestId"] == answer["ResponseMetadata"]["RequestId"]


def test_what_cannot_be_invoked(functions: Functions) -> None:
    with pytest.raises(ClientError, match=r"Function not found: .*:function:none") as error:
        functions.invoke(name="none")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    functions.create("def handle(event, context): pass")
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        functions.client.invoke(FunctionName="function", Payload=b"{")
    functions.create("", name="node", Runtime="nodejs22.x")
    with pytest.raises(ClientError, match="runs Python functions"):
        functions.invoke(name="node")


def test_a_dry_run_runs_nothing(functions: Functions) -> None:
    functions.create("def handle(event, context): raise ValueError")
    answer = functions.client.invoke(FunctionName="function", InvocationType="DryRun")
    assert answer["StatusCode"] == 204


# --- asynchronous ---


def test_an_event_is_taken_at_once_and_run_later(functions: Functions, queue: Queue) -> None:
    functions.create(REPORTER, Environment=variables(queue))
    answer = functions.client.invoke(
        FunctionName="function", InvocationType="Event", Payload=json.dumps({"n": 1})
    )
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    assert queue.wait(1) == [{"n": 1}]


def test_a_failed_event_is_tried_three_times_and_sent_on(
    aws: LocalAWS, functions: Functions, queue: Queue
) -> None:
    failures, dead_letters = Queue(aws, "failures"), Queue(aws, "dead-letters")
    functions.create(
        REPORTER,
        Environment=variables(queue, FAIL="1"),
        DeadLetterConfig={"TargetArn": dead_letters.arn},
    )
    functions.client.put_function_event_invoke_config(
        FunctionName="function",
        DestinationConfig={"OnFailure": {"Destination": failures.arn}},
    )
    functions.client.invoke(
        FunctionName="function", InvocationType="Event", Payload=json.dumps({"n": 1})
    )
    (record,) = failures.wait(1)
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"] == {"n": 1}
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "as asked"
    assert queue.wait(3) == [{"n": 1}] * 3
    assert dead_letters.wait(1) == [{"n": 1}]


def test_the_number_of_attempts_can_be_set(
    aws: LocalAWS, functions: Functions, queue: Queue
) -> None:
    failures = Queue(aws, "failures")
    functions.create(REPORTER, Environment=variables(queue, FAIL="1"))
    for attempts in (2, 0):  # the last configuration holds
        functions.client.put_function_event_invoke_config(
            FunctionName="function",
            MaximumRetryAttempts=attempts,
            DestinationConfig={"OnFailure": {"Destination": failures.arn}},
        )
    functions.client.invoke(FunctionName="function", InvocationType="Event", Payload="{}")
    (record,) = failures.wait(1)
    assert record["requestContext"]["approximateInvokeCount"] == 1


def test_an_event_of_a_function_that_cannot_be_run_is_not_lost(
    aws: LocalAWS, functions: Functions
) -> None:
    failures = Queue(aws, "failures")
    functions.create("", Code={"ZipFile": b"no zip"})
    functions.client.put_function_event_invoke_config(
        FunctionName="function",
        DestinationConfig={"OnFailure": {"Destination": failures.arn}},
    )
    functions.client.invoke(FunctionName="function", InvocationType="Event", Payload="{}")
    (record,) = failures.wait(1)
    assert record["responsePayload"]["errorType"] == "BadZipFile"


def test_a_success_can_be_sent_on_through_a_topic(
    aws: LocalAWS, functions: Functions, queue: Queue
) -> None:
    sns, results = aws.client("sns"), Queue(aws, "results")
    topic = sns.create_topic(Name="results")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=results.arn)
    functions.create(REPORTER, Environment=variables(queue))
    functions.client.put_function_event_invoke_config(
        FunctionName="function", DestinationConfig={"OnSuccess": {"Destination": topic}}
    )
    functions.client.invoke(FunctionName="function", InvocationType="Event", Payload="{}")
    (message,) = results.wait(1)
    record = json.loads(message["Message"])
    assert record["requestContext"]["condition"] == "Success"
    assert record["responsePayload"] == {"done": True}


def test_a_topic_invokes_a_function(aws: LocalAWS, functions: Functions, queue: Queue) -> None:
    sns = aws.client("sns")
    topic = sns.create_topic(Name="news")["TopicArn"]
    arn = functions.create(REPORTER, Environment=variables(queue))
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="hello")
    assert queue.wait(1)[0]["Records"][0]["Sns"]["Message"] == "hello"


# --- crashes ---


def test_a_function_can_crash_between_two_calls(
    aws: LocalAWS, functions: Functions, queue: Queue
) -> None:
    """The first attempt dies after its call took effect; the second one gets through."""
    functions.create(
        REPORTER.replace("return", "boto3.client('sns').list_topics()\n    return"),
        Environment=variables(queue),
    )
    aws.inject("sqs", "SendMessage", crash_caller=True, when="after", times=1)
    functions.client.invoke(FunctionName="function", InvocationType="Event", Payload='{"n": 1}')
    assert queue.wait(2) == [{"n": 1}] * 2
    eventually(lambda: len(aws.calls(operation="ListTopics")), lambda number: number == 1)


def test_a_crash_before_the_call_leaves_no_trace(
    aws: LocalAWS, functions: Functions, queue: Queue
) -> None:
    functions.create(REPORTER, Environment=variables(queue))
    aws.inject("sqs", "SendMessage", crash_caller=True, times=1)
    error = failure(functions, {"n": 1})
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert functions.invoke({"n": 2}) == {"done": True}
    assert queue.wait(1) == [{"n": 2}]


@pytest.mark.parametrize("how", ["close", "kill"])
def test_nothing_of_a_function_outlives_the_server(how: str) -> None:
    with LocalAWS() as aws:
        functions = Functions(aws)
        functions.create("import os\ndef handle(event, context): return [os.getpid(), os.getcwd()]")
        pid, directory = functions.invoke()
        assert Path(f"/proc/{pid}").exists()
        assert Path(directory).exists()
        if how == "kill":
            aws.kill()
    eventually(lambda: Path(f"/proc/{pid}").exists(), lambda alive: not alive)
    eventually(lambda: Path(directory).exists(), lambda there: not there)


# --- S3's notifications ---


@pytest.fixture
def notified(aws: LocalAWS, functions: Functions, queue: Queue, s3: Any, bucket: str) -> Queue:
    """The bucket sends what is put below ``datasets/`` and ends in ``.json`` to a function."""
    arn = functions.create(REPORTER, Environment=variables(queue))
    allow(functions, bucket)
    notify(s3, bucket, arn)
    return queue


def allow(functions: Functions, bucket: str) -> None:
    functions.client.add_permission(
        FunctionName="function",
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
    )


def notify(s3: Any, bucket: str, arn: str) -> None:
    rules = [{"Name": "prefix", "Value": "datasets/"}, {"Name": "suffix", "Value": ".json"}]
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {
                    "Id": "datasets",
                    "LambdaFunctionArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": rules}},
                }
            ]
        },
    )


def test_an_object_invokes_the_function(notified: Queue, s3: Any, bucket: str) -> None:
    key = "datasets/jeu de données + été.json"
    put = s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    (event,) = notified.wait(1)
    (record,) = event["Records"]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["configurationId"] == "datasets"
    assert record["s3"]["bucket"] == {
        "name": bucket,
        "ownerIdentity": {"principalId": "123456789012"},
        "arn": f"arn:aws:s3:::{bucket}",
    }
    entry = record["s3"]["object"]
    assert entry["key"] == "datasets/jeu+de+donn%C3%A9es+%2B+%C3%A9t%C3%A9.json"
    assert unquote_plus(entry["key"]) == key
    assert entry["size"] == 2
    assert entry["eTag"] == put["ETag"].strip('"')
    assert entry["versionId"] == put["VersionId"]
    assert record["eventTime"].endswith("Z")


def test_only_matching_keys_do(notified: Queue, s3: Any, bucket: str) -> None:
    for key in ("other/a.json", "datasets/a.csv", "datasets/b.json"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    s3.delete_object(Bucket=bucket, Key="datasets/b.json")
    s3.copy_object(
        Bucket=bucket,
        Key="datasets/c.json",
        CopySource={"Bucket": bucket, "Key": "datasets/a.csv"},
    )
    records = [event["Records"][0] for event in notified.wait(2)]
    found = {(record["eventName"], record["s3"]["object"]["key"]) for record in records}
    assert found == {
        ("ObjectCreated:Put", "datasets/b.json"),
        ("ObjectCreated:Copy", "datasets/c.json"),
    }


def test_the_sequencer_tells_the_order(notified: Queue, s3: Any, bucket: str) -> None:
    versions = [
        s3.put_object(Bucket=bucket, Key="datasets/a.json", Body=b"")["VersionId"] for _ in range(3)
    ]
    entries = [event["Records"][0]["s3"]["object"] for event in notified.wait(3)]
    in_order = sorted(entries, key=lambda entry: entry["sequencer"])
    assert [entry["versionId"] for entry in in_order] == versions


def test_without_versions_an_event_has_none(functions: Functions, queue: Queue, s3: Any) -> None:
    s3.create_bucket(Bucket="plain", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    arn = functions.create(REPORTER, Environment=variables(queue))
    allow(functions, "plain")
    notify(s3, "plain", arn)
    s3.put_object(Bucket="plain", Key="datasets/a.json", Body=b"")
    assert "versionId" not in queue.wait(1)[0]["Records"][0]["s3"]["object"]


def test_an_event_can_come_twice(aws: LocalAWS, notified: Queue, s3: Any, bucket: str) -> None:
    aws.inject("s3", "Notification", outcome="DUPLICATE", times=1)
    s3.put_object(Bucket=bucket, Key="datasets/a.json", Body=b"")
    first, second = notified.wait(2)
    assert first == second


def test_a_failing_function_is_tried_again(
    functions: Functions, notified: Queue, s3: Any, bucket: str
) -> None:
    functions.client.update_function_configuration(
        FunctionName="function", Environment=variables(notified, FAIL="1")
    )
    s3.put_object(Bucket=bucket, Key="datasets/a.json", Body=b"")
    first, second, third = notified.wait(3)
    assert first == second == third


def test_a_bucket_needs_the_permission_of_the_function(
    functions: Functions, s3: Any, bucket: str
) -> None:
    arn = functions.create("def handle(event, context): pass")
    with pytest.raises(ClientError, match=r"InvalidArgument.*Unable to validate"):
        notify(s3, bucket, arn)
    allow(functions, "another-bucket")
    with pytest.raises(ClientError, match="Unable to validate"):
        notify(s3, bucket, arn)
    functions.client.remove_permission(FunctionName="function", StatementId="s3")
    allow(functions, bucket)
    notify(s3, bucket, arn)
    with pytest.raises(ClientError, match="does not exist"):
        notify(s3, bucket, arn + "s")


def test_many_events_all_arrive(notified: Queue, s3: Any, bucket: str) -> None:
    def put(number: int) -> None:
        s3.put_object(Bucket=bucket, Key=f"datasets/{number}.json", Body=b"")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = {event["Records"][0]["s3"]["object"]["key"] for event in notified.wait(6)}
    assert keys == {f"datasets/{number}.json" for number in range(6)}
