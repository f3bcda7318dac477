"""The retraining pipeline with Amazon SageMaker, against the local AWS: what is different there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient

from bot.retraining import handlers
from bot.retraining.registry import Status
from common.aws import AwsError
from localaws import LocalAWS
from tests.support import ROOT
from tests.support import retraining_permissions as permissions
from tests.support.retraining_harness import (
    STRICT,
    TIME_SCALE,
    Pipeline,
    confused,
    dataset,
    examples,
)

CONTAINER = f"{sys.executable} {ROOT / 'tests/support/retraining_container.py'}"
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DENIED = {"code": "AccessDeniedException", "times": 1}
NAME = "skills-bot-test"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with LocalAWS(time_scale=TIME_SCALE, images={"*camembert*": CONTAINER}, **STRICT) as aws:
        yield aws


@pytest.fixture(scope="module", autouse=True)
def done() -> Iterator[dict[str, set[str]]]:
    """What each function has called so far; it may call no more than its role allows."""
    with permissions.enforced("sagemaker") as actions:
        yield actions


@pytest.fixture
def pipeline(server: LocalAWS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    created = Pipeline.create(
        server,
        BACKEND="sagemaker",
        TRAINING_IMAGE=f"{REGISTRY}/camembert-training:1",
        INFERENCE_IMAGE=f"{REGISTRY}/camembert-inference:1",
        HYPERPARAMETERS='{"epochs": 2, "recipe": "full"}',
        ROLLBACK_ALARMS="errors,latency",
    )
    for name, value in created.environment.items():
        monkeypatch.setenv(name, value)
    yield created
    server.reset()


def endpoint(pipeline: Pipeline) -> Any:
    (summary,) = pipeline.aws.client("sagemaker").list_endpoints()["Endpoints"]
    return pipeline.aws.client("sagemaker").describe_endpoint(EndpointName=summary["EndpointName"])


def served(pipeline: Pipeline) -> str:
    """Return the run whose model the one endpoint serves."""
    found = endpoint(pipeline)
    assert found["EndpointStatus"] == "InService"
    return str(found["EndpointConfigName"].removeprefix(f"{NAME}-"))


def ask(pipeline: Pipeline, text: str) -> str:
    body = pipeline.aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=NAME, ContentType="application/json", Body=f'{{"inputs": ["{text}"]}}'
    )["Body"]
    return str(body.read().decode())


def names(pipeline: Pipeline, operation: str, items: str, name: str) -> list[str]:
    answer = getattr(pipeline.aws.client("sagemaker"), operation)()
    return [item[name].removeprefix(f"{NAME}-") for item in answer[items]]


def jobs(pipeline: Pipeline) -> list[str]:
    return names(pipeline, "list_training_jobs", "TrainingJobSummaries", "TrainingJobName")


def models(pipeline: Pipeline) -> list[str]:
    return names(pipeline, "list_models", "Models", "ModelName")


def test_a_dataset_ends_in_a_live_endpoint(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put(key="datasets/été 2024.json"))
    answer = pipeline.finish(run_id)

    assert answer["status"] == "IN_SERVICE"
    assert served(pipeline) == pipeline.registry.pointer().live == run_id
    assert "WHO_IS" in ask(pipeline, "Qui est Marie ?")
    run = pipeline.run(run_id)
    assert run.metrics["macro_f1"] == 1
    assert run.metrics["test_examples"] == 12
    assert run.training["arn"].endswith(f"training-job/{NAME}-{run_id}")
    job = pipeline.aws.client("sagemaker").describe_training_job(TrainingJobName=f"{NAME}-{run_id}")
    assert job["HyperParameters"] == {"epochs": "2", "recipe": "full"}
    assert job["EnableNetworkIsolation"] is True
    (metric,) = job["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("test_macro_f1", 1)


def test_the_next_dataset_updates_the_endpoint_in_place(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    second = pipeline.start(pipeline.put(dataset(examples(14))))
    pipeline.check(second, "training")
    assert pipeline.deploy(second)["status"] == "DEPLOYING"
    assert "WHO_IS" in ask(pipeline, "Qui est Marie ?")  # the first model answers meanwhile
    assert pipeline.check(second, "endpoint")["status"] == "IN_SERVICE"
    assert served(pipeline) == second
    assert pipeline.registry.pointer().previous == first


def test_an_update_is_rolled_back_by_alarms(pipeline: Pipeline, monkeypatch: Any) -> None:
    pipeline.retrain()
    sent: list[Any] = []
    call = BaseClient._make_api_call

    def watched(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        if operation == "UpdateEndpoint":
            sent.append(request)
        return call(client, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", watched)
    pipeline.retrain(dataset(examples(14)))
    (request,) = sent
    alarms = request["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert alarms == [{"AlarmName": "errors"}, {"AlarmName": "latency"}]


def test_an_endpoint_may_be_serverless(pipeline: Pipeline, monkeypatch: Any) -> None:
    monkeypatch.setenv("SERVERLESS_MEMORY_MB", "3072")
    run_id = pipeline.retrain()
    config = pipeline.aws.client("sagemaker").describe_endpoint_config(
        EndpointConfigName=f"{NAME}-{run_id}"
    )
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 5}
    assert "InstanceType" not in variant


def test_a_failed_training_ends_in_a_notice_with_the_reason(pipeline: Pipeline) -> None:
    pipeline.aws.inject(
        "sagemaker", "CreateTrainingJob", outcome="Failed", message="AlgorithmError: no memory"
    )
    run_id = pipeline.start(pipeline.put())
    answer = pipeline.check(run_id, "training")
    assert answer["status"] == "FAILED"
    assert "Failed: AlgorithmError: no memory" in answer["message"]
    assert pipeline.run(run_id).status is Status.TRAINING_FAILED


@pytest.mark.parametrize(
    ("operation", "when"),
    [("CreateTrainingJob", "before"), ("CreateTrainingJob", "after")],
)
def test_a_crash_at_the_start_is_made_good_by_the_next_call(
    pipeline: Pipeline, operation: str, when: str
) -> None:
    event = pipeline.put()
    pipeline.aws.inject("sagemaker", operation, when=when, **DENIED)
    with pytest.raises(AwsError):
        handlers.start_training(event)
    run_id = pipeline.start(event)
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert jobs(pipeline) == pipeline.executions() == [run_id]


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_a_crash_on_the_way_to_the_endpoint_is_made_good_by_the_next_call(
    pipeline: Pipeline, operation: str
) -> None:
    run_id = pipeline.start(pipeline.put())
    pipeline.check(run_id, "training")
    pipeline.aws.inject("sagemaker", operation, when="after", **DENIED)
    with pytest.raises(AwsError):
        pipeline.deploy(run_id)
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert served(pipeline) == run_id


def test_with_another_held_out_set_the_live_model_is_measured_again(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    heldout = [*examples(20, first=200), {"text": "Qui est Bob ?", "intent": "HOW_ARE_YOU"}]
    pipeline.put_heldout(dataset(heldout))
    second = pipeline.retrain(dataset(examples(14)))
    gate = pipeline.run(second).gate
    assert gate["live_run"] == first
    assert gate["measured_again"] is True
    assert 0.9 < gate["live_value"] < 1


def test_a_failed_endpoint_is_replaced_by_the_next_run(pipeline: Pipeline) -> None:
    pipeline.aws.inject(
        "sagemaker", "CreateEndpoint", outcome="Failed", message="No capacity.", times=1
    )
    first = pipeline.start(pipeline.put())
    answer = pipeline.finish(first)
    assert answer["status"] == "FAILED"
    assert "No capacity." in answer["message"]
    second = pipeline.retrain(dataset(examples(14)))
    assert served(pipeline) == second


def test_a_failed_update_leaves_the_live_model_in_service(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    pipeline.aws.inject("sagemaker", "UpdateEndpoint", outcome="Failed", times=1)
    second = pipeline.start(pipeline.put(dataset(examples(14))))
    assert pipeline.finish(second)["status"] == "FAILED"
    assert pipeline.run(second).status is Status.DEPLOYMENT_FAILED
    assert pipeline.registry.pointer().live == first


def test_a_worse_model_is_not_deployed(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    second = pipeline.start(pipeline.put(confused()))
    assert pipeline.finish(second)["status"] == "REJECTED"
    assert served(pipeline) == first


def test_what_is_pruned_is_gone_with_its_model_file(pipeline: Pipeline, monkeypatch: Any) -> None:
    monkeypatch.setenv("KEEP_VERSIONS", "1")
    runs = [pipeline.retrain(dataset(examples(count))) for count in (12, 13, 14)]
    assert sorted(models(pipeline)) == sorted(runs[1:])
    assert pipeline.run(runs[0]).pruned_at
    objects = pipeline.aws.client("s3").list_objects_v2(
        Bucket=pipeline.artifacts, Prefix=f"runs/{runs[0]}/"
    )
    kept = {item["Key"].rsplit("/", 1)[-1] for item in objects["Contents"]}
    assert "model.tar.gz" not in kept
    assert {"record.json", "metrics.json", "dataset.json"} <= kept


# --- what a new account, and a new Docker, have in store ---------------------------------------

OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def push(pipeline: Pipeline, kind: str) -> None:
    """Push both images with a manifest of that type."""
    ecr = pipeline.aws.client("ecr")
    for name in ("camembert-training", "camembert-inference"):
        ecr.create_repository(repositoryName=name)
        manifest = {"schemaVersion": 2, "mediaType": kind, "layers": []}
        ecr.put_image(
            repositoryName=name, imageTag="1", imageManifest=json.dumps(manifest),
            imageManifestMediaType=kind,
        )  # fmt: skip


def test_an_image_that_sagemaker_does_not_take_is_found_before_the_training(
    pipeline: Pipeline,
) -> None:
    push(pipeline, OCI)
    run_id = pipeline.start(pipeline.put())
    assert pipeline.run(run_id).status is Status.FAILED
    ((_, message),) = pipeline.notices()
    assert OCI in message
    assert "infra/sagemaker/push.sh" in message
    assert jobs(pipeline) == pipeline.executions() == []


def test_images_of_docker_are_taken(pipeline: Pipeline) -> None:
    push(pipeline, DOCKER)
    assert pipeline.finish(pipeline.start(pipeline.put()))["status"] == "IN_SERVICE"


def test_the_second_of_two_trainings_waits_for_the_quota(pipeline: Pipeline) -> None:
    pipeline.aws.set(sagemaker_training_instances=1, time_scale=1000)  # a standstill
    first = pipeline.start(pipeline.put(key="datasets/a.json"))
    second = pipeline.start(pipeline.put(dataset(examples(13)), key="datasets/b.json"))
    assert pipeline.run(second).status is Status.STARTING
    ((_, message),) = pipeline.notices()
    assert "'ml.m5.xlarge for training job usage' is 1" in message
    assert "--service-code sagemaker" in message
    assert handlers.start_training({"run_id": second})["status"] == "IN_PROGRESS"
    pipeline.aws.set(time_scale=TIME_SCALE)
    pipeline.check(first, "training")
    handlers.start_training({"run_id": second})
    pipeline.aws.set(**STRICT)
    assert pipeline.run(second).status is Status.TRAINING
    pipeline.check(second, "training")


def test_an_update_of_the_endpoint_needs_twice_the_instances(pipeline: Pipeline) -> None:
    pipeline.aws.set(sagemaker_endpoint_instances=1)
    first = pipeline.retrain()
    second = pipeline.start(pipeline.put(dataset(examples(13))))
    pipeline.check(second, "training")
    assert handlers.create_endpoint({"run_id": second})["status"] == "WAITING"
    ((_, message),) = pipeline.notices()
    assert "needs twice as many while it is updated" in message
    # Found out by the quotas, before the update is asked for.
    assert "The quota 'ml.m5.large for endpoint usage' (L-" in message
    assert pipeline.aws.calls(operation="UpdateEndpoint") == []
    assert served(pipeline) == first
    pipeline.aws.set(sagemaker_endpoint_instances=2)
    assert pipeline.finish(second)["status"] == "IN_SERVICE"
    pipeline.aws.set(**STRICT)


def test_who_may_not_look_at_the_quotas_learns_of_them_from_sagemaker(pipeline: Pipeline) -> None:
    pipeline.aws.set(sagemaker_endpoint_instances=1)
    pipeline.retrain()
    second = pipeline.start(pipeline.put(dataset(examples(13))))
    pipeline.check(second, "training")
    pipeline.aws.inject("service-quotas", "ListServiceQuotas", code="AccessDeniedException")
    assert handlers.create_endpoint({"run_id": second})["status"] == "WAITING"
    ((_, message),) = pipeline.notices()
    assert "with current utilization of 1 Instances" in message
    assert pipeline.aws.calls(operation="UpdateEndpoint")
    pipeline.aws.set(**STRICT)


def test_each_permission_is_needed(
    done: dict[str, set[str]], request: pytest.FixtureRequest
) -> None:
    if not permissions.whole_file_runs(request):
        pytest.skip("it looks at what all tests of this file have called")
    # Without the list, what does not exist is "access denied"; bad datasets, and runs that meet on
    # their way to the endpoint, are in the other solution's tests.
    elsewhere = {"s3:ListBucket", "sns:Publish", "states:DescribeExecution"}
    assert permissions.unused("sagemaker", done) <= elsewhere
