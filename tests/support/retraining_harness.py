"""A retraining pipeline on the local AWS, its Lambda functions called as Lambda would."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
import urllib.parse
from typing import Any

from bot.retraining import handlers
from bot.retraining.backends import State
from bot.retraining.deployment import Deployment
from bot.retraining.registry import Registry, Run
from bot.retraining.settings import Settings
from localaws import LocalAWS

REGION = "eu-west-1"
TIME_SCALE = 0.00005
# A new account, on a busy day: AWS refuses some requests for their rate, and there is one instance
# to train on, and two to serve from, without which no endpoint could be updated.
STRICT = {
    "throttle_every": 200,
    "sagemaker_training_instances": 1,
    "sagemaker_endpoint_instances": 2,
}
# A state machine that goes on until somebody stops it; the tests play its part.
WAITING = {
    "StartAt": "Wait",
    "States": {"Wait": {"Type": "Wait", "Seconds": 100_000_000, "End": True}},
}
_WORDS = {
    "WHO_IS": "Qui est {} ?",
    "WHO_KNOWS_ABOUT": "Quelqu'un connaît {} dans l'équipe ?",
    "HOW_ARE_YOU": "Bonjour, comment vas-tu {} ?",
}
_FILLERS = ("Marie", "Zoé", "Inès", "Paul", "Rust", "Python", "Kafka", "Cobol", "Perl", "Scala")


def examples(count: int, first: int = 0, intents: tuple[str, ...] = tuple(_WORDS)) -> list[Any]:
    """Return ``count`` examples an intent that a small model learns without fault."""
    return [
        {"text": _WORDS[intent].format(f"{_FILLERS[i % len(_FILLERS)]} {i}"), "intent": intent}
        for intent in intents
        for i in range(first, first + count)
    ]


def dataset(some: list[Any] | None = None) -> bytes:
    """Return a dataset as it is put into the bucket."""
    content = {"version": 1, "examples": examples(12) if some is None else some}
    return json.dumps(content, ensure_ascii=False).encode()


def confused() -> bytes:
    """Return a dataset from which nobody learns: every text has the label of another."""
    some = examples(12)
    labels = [example["intent"] for example in some]
    wrong = labels[12:] + labels[:12]
    return dataset(
        [{**example, "intent": intent} for example, intent in zip(some, wrong, strict=True)]
    )


@dataclasses.dataclass
class Pipeline:
    """What Terraform makes, and the events that AWS would send.

    Attributes:
        aws: The local AWS.
        datasets: Bucket of the datasets.
        artifacts: Bucket of the runs.
        queue_url: Queue that gets every notice.
        environment: Of the Lambda functions.
    """

    aws: LocalAWS
    datasets: str = "skills-bot-datasets"
    artifacts: str = "skills-bot-artifacts"
    queue_url: str = ""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def create(cls, aws: LocalAWS, **environment: str) -> Pipeline:
        """Make the buckets with a held-out set, the topic and the state machine."""
        handlers.parts.cache_clear()  # its clients lead to the last local AWS
        pipeline = cls(aws)
        s3, sns, sqs = aws.client("s3"), aws.client("sns"), aws.client("sqs")
        for bucket in (pipeline.datasets, pipeline.artifacts):
            s3.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        topic = sns.create_topic(Name="notices")["TopicArn"]
        pipeline.queue_url = sqs.create_queue(QueueName="notices")["QueueUrl"]
        queue = sqs.get_queue_attributes(QueueUrl=pipeline.queue_url, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
        machine = aws.client("stepfunctions").create_state_machine(
            name="retraining",
            definition=json.dumps(WAITING),
            roleArn="arn:aws:iam::123456789012:role/states",
        )["stateMachineArn"]
        pipeline.environment = {
            **aws.environment(),
            "BACKEND": "comprehend",
            "ARTIFACT_BUCKET": pipeline.artifacts,
            "ROLE_ARN": "arn:aws:iam::123456789012:role/service",
            "STATE_MACHINE_ARN": machine,
            "TOPIC_ARN": topic,
            "ENVIRONMENT": "test",
            **environment,
        }
        pipeline.put_heldout(dataset(examples(4, first=100)))
        return pipeline

    # --- S3 ---

    def put_heldout(self, content: bytes) -> None:
        self.aws.client("s3").put_object(
            Bucket=self.datasets, Key="heldout/heldout.json", Body=content
        )

    def put(self, content: bytes | None = None, key: str = "datasets/dataset.json") -> Any:
        """Put a dataset; return the event that S3 sends to the function."""
        content = dataset() if content is None else content
        answer = self.aws.client("s3").put_object(Bucket=self.datasets, Key=key, Body=content)
        # S3 gives no version where the bucket keeps none.
        version = {"versionId": answer["VersionId"]} if "VersionId" in answer else {}
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        return {
            "Records": [
                {
                    "eventTime": at.replace("+00:00", "Z"),
                    "s3": {
                        "bucket": {"name": self.datasets},
                        "object": {
                            "key": urllib.parse.quote_plus(key, safe="/"),
                            **version,
                            "eTag": answer["ETag"].strip('"'),
                            "size": len(content),
                        },
                    },
                }
            ]
        }

    # --- the functions ---

    def start(self, event: Any) -> str:
        """Call ``start_training`` with the event of one dataset; return the run id."""
        (run,) = handlers.start_training(event)["runs"]
        return str(run["run_id"])

    def check(self, run_id: str, stage: str) -> Any:
        """Call ``check_model_status`` until it says other than IN_PROGRESS."""
        return self._until_settled(
            handlers.check_model_status, {"run_id": run_id, "stage": stage}, "IN_PROGRESS"
        )

    def deploy(self, run_id: str) -> Any:
        """Call ``create_endpoint`` until it says other than WAITING."""
        return self._until_settled(handlers.create_endpoint, {"run_id": run_id}, "WAITING")

    def finish(self, run_id: str) -> Any:
        """Play the state machine from the training on; return the last answer."""
        answer = self.check(run_id, "training")
        if answer["status"] == "TRAINED":
            answer = self.deploy(run_id)
        if answer["status"] == "DEPLOYING":
            answer = self.check(run_id, "endpoint")
        return answer

    def retrain(self, content: bytes | None = None, key: str = "datasets/dataset.json") -> str:
        """Take a dataset to its end; return the run id."""
        run_id = self.start(self.put(content, key))
        self.finish(run_id)
        return run_id

    def roll_back(self, run_id: str) -> None:
        """Do as ``bot pipeline rollback --to``."""
        deployment = Deployment(*handlers.parts(Settings.from_environment()))
        while not deployment.restore(run_id):
            time.sleep(0.02)
        while deployment.restored(run_id).state is State.IN_PROGRESS:
            time.sleep(0.02)

    @staticmethod
    def _until_settled(function: Any, event: Any, unsettled: str) -> Any:
        deadline = time.monotonic() + 60
        while (answer := function(event))["status"] == unsettled:
            assert time.monotonic() < deadline, f"still {unsettled}"
            time.sleep(0.05)
        return answer

    # --- what came of it ---

    @property
    def registry(self) -> Registry:
        return Registry(self.artifacts)

    def run(self, run_id: str) -> Run:
        return self.registry.run(run_id)

    def notices(self) -> list[tuple[str, str]]:
        """Return subject and message of the notices since the last call."""
        sqs = self.aws.client("sqs")
        found = []
        while messages := sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                body = json.loads(message["Body"])
                found.append((body["Subject"], body["Message"]))
                sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def executions(self) -> list[str]:
        """Return the names of the executions of the state machine."""
        pages = (
            self.aws.client("stepfunctions")
            .get_paginator("list_executions")
            .paginate(stateMachineArn=self.environment["STATE_MACHINE_ARN"])
        )
        return [execution["name"] for page in pages for execution in page["executions"]]

    def versions(self) -> list[str]:
        """Return the names of the versions of the Comprehend classifier."""
        answer = self.aws.client("comprehend").list_document_classifiers()
        return [item["VersionName"] for item in answer["DocumentClassifierPropertiesList"]]

    def endpoints(self) -> list[Any]:
        """Return the endpoints of Comprehend."""
        answer = self.aws.client("comprehend").list_endpoints()
        return list(answer["EndpointPropertiesList"])
