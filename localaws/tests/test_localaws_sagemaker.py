"""The local SageMaker, with a fake container, through boto3."""

from __future__ import annotations

import io
import json
import shlex
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws import LocalAWS
from localaws.tests.conftest import TIME_SCALE, eventually, standstill

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/fake:1"
COMMAND = shlex.join([sys.executable, str(Path(__file__).with_name("fake_container.py"))])
ROLE = "arn:aws:iam::123456789012:role/sagemaker"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    images = {"*/fake:*": COMMAND, "*/broken:*": "/none/such"}
    with LocalAWS(time_scale=TIME_SCALE, images=images) as aws:
        yield aws


@pytest.fixture
def client(aws: LocalAWS) -> Any:
    return aws.client("sagemaker", retries={"total_max_attempts": 1})


class Setup:
    """What most tests do."""

    def __init__(self, aws: LocalAWS, client: Any, s3: Any, bucket: str) -> None:
        self.client, self.s3, self.bucket = client, s3, bucket
        self.runtime = aws.client("sagemaker-runtime", retries={"total_max_attempts": 1})

    def put(self, key: str, body: str = "{}") -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body.encode())

    def archive(self, key: str) -> dict[str, str]:
        """Return the files of an archive in S3."""
        content = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            found = {}
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                found[member.name] = file.read().decode()
        return found

    def start(self, name: str = "job", **changes: Any) -> str:
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}],
            },
            "RoleArn": ROLE,
            "InputDataConfig": [self.channel("train", "data/train/")],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/runs/"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.xlarge",
                "InstanceCount": 1,
                "VolumeSizeInGB": 10,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }
        return str(self.client.create_training_job(**(request | changes))["TrainingJobArn"])

    def channel(self, name: str, key: str) -> dict[str, Any]:
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{self.bucket}/{key}"}
        return {"ChannelName": name, "DataSource": {"S3DataSource": source}}

    def job(self, name: str = "job") -> dict[str, Any]:
        return dict(self.client.describe_training_job(TrainingJobName=name))

    def train(self, name: str = "job", **changes: Any) -> dict[str, Any]:
        self.start(name, **changes)
        return dict(
            eventually(
                lambda: self.job(name),
                lambda it: it["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"),
            )
        )

    def model(self, name: str = "model", **environment: str) -> None:
        """Make a model that answers with its name."""
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            data = json.dumps(name).encode()
            member = tarfile.TarInfo("model.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        self.s3.put_object(Bucket=self.bucket, Key=f"{name}.tar.gz", Body=content.getvalue())
        self.client.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": f"s3://{self.bucket}/{name}.tar.gz",
                "Environment": environment,
            },
        )

    def config(self, name: str = "model", **variant: Any) -> None:
        """Make an endpoint configuration of a model, both of that name."""
        instance = {"InstanceType": "ml.t2.medium", "InitialInstanceCount": 1}
        self.client.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {"VariantName": "AllTraffic", "ModelName": name, **(variant or instance)}
            ],
        )

    def endpoint(self) -> dict[str, Any]:
        return dict(self.client.describe_endpoint(EndpointName="bot"))

    def endpoints(self) -> list[dict[str, Any]]:
        return list(self.client.list_endpoints()["Endpoints"])

    def settled(self) -> dict[str, Any]:
        return dict(
            eventually(
                self.endpoint, lambda it: it["EndpointStatus"] not in ("Creating", "Updating")
            )
        )

    def deploy(self, name: str = "model", **environment: str) -> dict[str, Any]:
        self.model(name, **environment)
        self.config(name)
        self.client.create_endpoint(EndpointName="bot", EndpointConfigName=name)
        return self.settled()

    def invoke(self, content: Any = None, **options: Any) -> dict[str, Any]:
        answer = self.runtime.invoke_endpoint(
            **{
                "EndpointName": "bot",
                "ContentType": "application/json",
                "Body": json.dumps(content or {}),
                **options,
            }
        )
        return dict(json.load(answer["Body"]))


@pytest.fixture
def setup(aws: LocalAWS, client: Any, s3: Any, bucket: str) -> Setup:
    return Setup(aws, client, s3, bucket)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


# --- training ---


def test_a_job_trains_for_real(aws: LocalAWS, setup: Setup) -> None:
    setup.put("data/train/dataset.json", "train")
    setup.put("data/train/more/words.txt", "words")
    setup.put("data/test.json", "test")
    job = setup.train(
        HyperParameters={"epochs": "3"},
        InputDataConfig=[
            setup.channel("train", "data/train/"),
            setup.channel("test", "data/test.json"),
        ],
    )
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    assert job["TrainingJobArn"] == "arn:aws:sagemaker:eu-west-1:123456789012:training-job/job"
    artifacts = f"s3://{setup.bucket}/runs/job/output/model.tar.gz"
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": artifacts}
    model = json.loads(setup.archive("runs/job/output/model.tar.gz")["model.json"])
    assert model == {
        "train/dataset.json": "train",
        "train/more/words.txt": "words",
        "test/test.json": "test",
    }
    assert setup.archive("runs/job/output/output.tar.gz") == {"metrics.json": '{"accuracy": 0.9}'}
    (metric,) = job["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("accuracy", pytest.approx(0.9))
    phases = [phase["Status"] for phase in job["SecondaryStatusTransitions"]]
    assert phases == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"]
    events = aws.client("logs").filter_log_events(logGroupName="/aws/sagemaker/TrainingJobs")
    assert events["events"][0]["message"] == "training job with {'epochs': '3'}"


def test_what_was_given_comes_back(setup: Setup) -> None:
    setup.put("data/train/a")
    job = setup.train(
        HyperParameters={"epochs": "3"},
        VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        EnableNetworkIsolation=True,
        Tags=[{"Key": "project", "Value": "bot"}],
    )
    assert job["HyperParameters"] == {"epochs": "3"}
    assert job["VpcConfig"] == {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    assert job["EnableNetworkIsolation"] is True
    arn = job["TrainingJobArn"]
    setup.client.add_tags(ResourceArn=arn, Tags=[{"Key": "env", "Value": "dev"}])
    setup.client.delete_tags(ResourceArn=arn, TagKeys=["project"])
    assert setup.client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "env", "Value": "dev"}]


def test_a_failure_has_its_reason(setup: Setup) -> None:
    setup.put("data/train/a")
    job = setup.train(HyperParameters={"fail": "The dataset is empty."})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: The dataset is empty., exit code: 1"
    assert "ModelArtifacts" not in job


def algorithm(image: str) -> dict[str, Any]:
    return {"AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (algorithm("other"), "knows no command for the image 'other'"),
        (algorithm("x/broken:1"), "cannot be started"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://none-such"}}, "no bucket none-such"),
    ],
)
def test_what_is_missing_ends_a_job(setup: Setup, changes: dict[str, Any], reason: str) -> None:
    setup.put("data/train/a")
    job = setup.train(**changes)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert reason in job["FailureReason"]


def test_a_channel_without_data_ends_a_job(setup: Setup) -> None:
    job = setup.train()
    assert job["TrainingJobStatus"] == "Failed"
    assert "No S3 objects found under S3 URL" in job["FailureReason"]


def test_what_a_container_leaves_running_ends_with_it(aws: LocalAWS, setup: Setup) -> None:
    setup.put("data/train/a")
    job = setup.train(HyperParameters={"leave_behind": "1"})
    assert job["TrainingJobStatus"] == "Completed"
    events = aws.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", filterPattern="left"
    )["events"]
    pid = next(int(event["message"].split()[1]) for event in events if "left" in event["message"])
    eventually(lambda: gone(pid), bool)


def test_an_unforeseen_failure_ends_a_job(setup: Setup) -> None:
    setup.put("data/train/a")
    job = setup.train(HyperParameters={"remove_model": "1"})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError: ")
    assert "No such file" in job["FailureReason"]


def test_metrics_that_are_no_numbers_are_left_out(setup: Setup) -> None:
    setup.put("data/train/a")
    definitions = [
        {"Name": "words", "Regex": "(training)"},
        {"Name": "no_group", "Regex": "accuracy"},
        {"Name": "no_expression", "Regex": "("},
        {"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"},
    ]
    image = {**algorithm(IMAGE)["AlgorithmSpecification"], "MetricDefinitions": definitions}
    job = setup.train(AlgorithmSpecification=image)
    assert [item["MetricName"] for item in job["FinalMetricDataList"]] == ["accuracy"]


def test_a_job_can_be_stopped(setup: Setup) -> None:
    setup.put("data/train/a")
    setup.start(HyperParameters={"endless": "1"})
    eventually(setup.job, lambda it: it["SecondaryStatus"] == "Training")
    setup.client.stop_training_job(TrainingJobName="job")
    job = eventually(setup.job, lambda it: it["TrainingJobStatus"] == "Stopped")
    assert "Stopping" in [phase["Status"] for phase in job["SecondaryStatusTransitions"]]
    with pytest.raises(ClientError, match="in status Stopped"):
        setup.client.stop_training_job(TrainingJobName="job")


def test_a_job_may_run_no_longer_than_allowed(setup: Setup) -> None:
    setup.put("data/train/a")
    job = setup.train(
        HyperParameters={"endless": "1"}, StoppingCondition={"MaxRuntimeInSeconds": 1}
    )
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_a_job_ends_as_injected(aws: LocalAWS, setup: Setup) -> None:
    aws.inject(
        "sagemaker", "CreateTrainingJob", outcome="Failed", message="CapacityError: none", times=1
    )
    job = setup.train()
    assert (job["TrainingJobStatus"], job["FailureReason"]) == ("Failed", "CapacityError: none")


def test_a_job_name_is_used_once(setup: Setup) -> None:
    setup.put("data/train/a")
    setup.train()
    with pytest.raises(ClientError, match=r"\(ResourceInUse\).*must be unique"):
        setup.start()
    setup.train("other")
    listed = setup.client.list_training_jobs()["TrainingJobSummaries"]
    assert [item["TrainingJobName"] for item in listed] == ["other", "job"]
    found = setup.client.list_training_jobs(NameContains="oth", StatusEquals="Completed")
    assert len(found["TrainingJobSummaries"]) == 1
    with pytest.raises(ClientError, match=r"\(ValidationException\).*Requested resource not found"):
        setup.job("none")
    with pytest.raises(ClientError, match=r"\(ValidationException\).*'trainingJobName'"):
        setup.start("under_score")


# --- endpoints ---


def test_an_endpoint_serves_for_real(setup: Setup) -> None:
    endpoint = setup.deploy(NAME="one")
    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["EndpointArn"] == "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/bot"
    (variant,) = endpoint["ProductionVariants"]
    assert (variant["VariantName"], variant["CurrentInstanceCount"]) == ("AllTraffic", 1)
    answer = setup.runtime.invoke_endpoint(
        EndpointName="bot",
        ContentType="application/json",
        Accept="application/json;v=1",
        Body='{"inputs": ["é"]}',
    )
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "fake"
    content = json.load(answer["Body"])
    assert content["model"] == "model"
    assert content["name"] == "one"
    assert content["accept"] == "application/json;v=1"
    assert content["echo"] == {"inputs": ["é"]}


def test_a_trained_model_is_served(setup: Setup) -> None:
    setup.put("data/train/a", "A")
    artifacts = setup.train()["ModelArtifacts"]["S3ModelArtifacts"]
    setup.client.create_model(
        ModelName="trained",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": artifacts},
    )
    setup.config("trained", ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 5})
    setup.client.create_endpoint(EndpointName="bot", EndpointConfigName="trained")
    assert setup.settled()["ProductionVariants"][0]["CurrentServerlessConfig"] == {
        "MemorySizeInMB": 2048,
        "MaxConcurrency": 5,
    }
    assert setup.invoke()["model"] == {"train/a": "A"}


def test_an_endpoint_that_is_not_there_does_not_answer(setup: Setup) -> None:
    message = r"\(ValidationError\).*Endpoint bot of account 123456789012 not found"
    with pytest.raises(ClientError, match=message):
        setup.invoke()
    setup.deploy(UNHEALTHY="1")
    with pytest.raises(ClientError, match=message):
        setup.invoke()


def test_an_unhealthy_container_fails(aws: LocalAWS, setup: Setup) -> None:
    endpoint = setup.deploy(UNHEALTHY="1")
    assert endpoint["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    logs = aws.client("logs").filter_log_events(logGroupName="/aws/sagemaker/Endpoints/bot")
    assert [event["message"] for event in logs["events"]] == ["no model for me"]
    with pytest.raises(ClientError, match="can only be deleted"):
        setup.client.update_endpoint(EndpointName="bot", EndpointConfigName="model")
    setup.client.delete_endpoint(EndpointName="bot")
    eventually(setup.endpoints, lambda it: not it)
    with pytest.raises(ClientError, match="Could not find endpoint"):
        setup.endpoint()


def test_a_container_that_stays_sick_fails(server: LocalAWS, setup: Setup) -> None:
    server.set(sagemaker_health_patience=0.5)
    try:
        endpoint = setup.deploy(SICK="1")
    finally:
        server.set(sagemaker_health_patience=240)
    assert endpoint["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in endpoint["FailureReason"]


def test_an_unforeseen_failure_ends_a_change(setup: Setup) -> None:
    setup.deploy("old")
    setup.model("new")
    setup.config("new")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("model.json")
        member.pax_headers = {"path": "no\0name"}
        archive.addfile(member)
    setup.s3.put_object(Bucket=setup.bucket, Key="new.tar.gz", Body=content.getvalue())
    setup.client.update_endpoint(EndpointName="bot", EndpointConfigName="new")
    endpoint = setup.settled()
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "old")
    assert "ValueError" in endpoint["FailureReason"]
    assert setup.invoke()["model"] == "old"


@pytest.mark.parametrize(("status", "kind"), [(400, "client"), (422, "client"), (500, "server")])
def test_an_error_of_the_model_is_a_model_error(setup: Setup, status: int, kind: str) -> None:
    setup.deploy()
    with pytest.raises(ClientError) as error:
        setup.invoke({"status": status})
    response = error.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert json.loads(response["OriginalMessage"])["echo"] == {"status": status}
    message = f"Received {kind} error ({status}) from primary with message"
    assert response["Error"]["Message"].startswith(message)


def test_a_content_type_is_the_containers_affair(setup: Setup) -> None:
    setup.deploy()
    with pytest.raises(ClientError) as error:
        setup.invoke(ContentType="text/plain")
    assert error.value.response["OriginalStatusCode"] == 415


def test_a_container_that_dies_is_a_model_error(setup: Setup) -> None:
    setup.deploy()
    for content in ({"crash": True}, {}):
        with pytest.raises(ClientError, match=r"\(ModelError\).*does not answer"):
            setup.invoke(content)


def test_an_update_has_no_gap(server: LocalAWS, setup: Setup) -> None:
    setup.deploy("old", NAME="old")
    pid = setup.invoke()["pid"]
    setup.model("new", NAME="new")
    setup.config("new")
    with standstill(server):
        setup.client.update_endpoint(EndpointName="bot", EndpointConfigName="new")
        endpoint = setup.endpoint()
        assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("Updating", "old")
        assert endpoint["PendingDeploymentSummary"]["EndpointConfigName"] == "new"
        for refused in (
            lambda: setup.client.update_endpoint(EndpointName="bot", EndpointConfigName="new"),
            lambda: setup.client.delete_endpoint(EndpointName="bot"),
        ):
            with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
                refused()
        assert setup.invoke()["model"] == "old"
    answers = []

    def answer() -> str:
        answers.append(setup.invoke()["model"])
        return str(answers[-1])

    eventually(answer, lambda it: it == "new")
    assert answers == sorted(answers, reverse=True)
    endpoint = setup.settled()
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "new")
    eventually(lambda: gone(pid), bool)


def test_a_request_under_way_survives_an_update(setup: Setup, tmp_path: Path) -> None:
    setup.deploy("old")
    setup.model("new")
    setup.config("new")
    begun = tmp_path / "begun"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(setup.invoke, {"until": str(begun)})
        eventually(begun.exists, bool)
        setup.client.update_endpoint(EndpointName="bot", EndpointConfigName="new")
        eventually(lambda: setup.invoke()["model"], lambda it: it == "new")
        begun.unlink()
        assert slow.result()["model"] == "old"


def test_a_failed_update_leaves_the_old_model(setup: Setup) -> None:
    setup.deploy("old")
    setup.model("new", UNHEALTHY="1")
    setup.config("new")
    setup.client.update_endpoint(EndpointName="bot", EndpointConfigName="new")
    endpoint = setup.settled()
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "old")
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    assert setup.invoke()["model"] == "old"


def test_an_endpoint_fails_as_injected(aws: LocalAWS, setup: Setup) -> None:
    aws.inject("sagemaker", "CreateEndpoint", outcome="Failed", message="No capacity.", times=1)
    endpoint = setup.deploy()
    assert (endpoint["EndpointStatus"], endpoint["FailureReason"]) == ("Failed", "No capacity.")


def test_deleting_ends_the_container(setup: Setup) -> None:
    setup.deploy()
    pid = setup.invoke()["pid"]
    listed = setup.client.list_endpoints(StatusEquals="InService")["Endpoints"]
    assert [item["EndpointName"] for item in listed] == ["bot"]
    setup.client.delete_endpoint(EndpointName="bot")
    eventually(lambda: gone(pid), bool)
    eventually(setup.endpoints, lambda it: not it)
    setup.client.create_endpoint(EndpointName="bot", EndpointConfigName="model")
    assert setup.settled()["EndpointStatus"] == "InService"


@pytest.mark.parametrize("how", ["close", "kill"])
def test_no_container_outlives_the_server(how: str) -> None:
    with LocalAWS(time_scale=TIME_SCALE, images={"*/fake:*": COMMAND}) as aws:
        s3 = aws.client("s3")
        s3.create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        setup = Setup(aws, aws.client("sagemaker"), s3, "bucket")
        setup.deploy()
        pid = setup.invoke()["pid"]
        assert not gone(pid)
        if how == "kill":
            aws.kill()
    eventually(lambda: gone(pid), bool)


def test_names_exist_once(setup: Setup) -> None:
    setup.deploy()
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        setup.model()
    with pytest.raises(ClientError, match="Cannot create already existing endpoint configuration"):
        setup.config()
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        setup.client.create_endpoint(EndpointName="bot", EndpointConfigName="model")


def test_what_does_not_exist_is_refused(setup: Setup) -> None:
    with pytest.raises(ClientError, match="Could not find model data"):
        setup.client.create_model(
            ModelName="m",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://none/model.tar.gz"},
        )
    for refused, message in (
        (lambda: setup.config("none"), 'Could not find model "arn:'),
        (lambda: setup.client.describe_model(ModelName="none"), "Could not find model"),
        (
            lambda: setup.client.create_endpoint(EndpointName="e", EndpointConfigName="none"),
            "Could not find endpoint configuration",
        ),
        (lambda: setup.client.delete_model(ModelName="none"), "Could not find model"),
    ):
        with pytest.raises(ClientError, match=message) as error:
            refused()
        assert error.value.response["Error"]["Code"] == "ValidationException"


def test_models_and_configurations_come_back_as_given(setup: Setup) -> None:
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    setup.client.create_model(
        ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE}, VpcConfig=vpc
    )
    model = setup.client.describe_model(ModelName="m")
    assert model["VpcConfig"] == vpc
    assert model["PrimaryContainer"] == {"Image": IMAGE, "Mode": "SingleModel"}
    assert model["EnableNetworkIsolation"] is False
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 50,
        "DestinationS3Uri": f"s3://{setup.bucket}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    setup.client.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[
            {
                "VariantName": "v",
                "ModelName": "m",
                "InstanceType": "ml.t2.medium",
                "InitialInstanceCount": 1,
            }
        ],
        DataCaptureConfig=capture,
    )
    config = setup.client.describe_endpoint_config(EndpointConfigName="c")
    assert config["DataCaptureConfig"] == capture
    assert config["ProductionVariants"][0]["InitialVariantWeight"] == 1.0
    listed = setup.client.list_endpoint_configs()["EndpointConfigs"]
    assert [item["EndpointConfigName"] for item in listed] == ["c"]
    setup.client.delete_endpoint_config(EndpointConfigName="c")
    setup.client.delete_model(ModelName="m")
    assert setup.client.list_models()["Models"] == []
