"""The CamemBERT classifier behind a SageMaker endpoint: the local AWS runs the real container code.

The model is trained here, once, with a tiny encoder; what is tested is everything after it.
"""

from __future__ import annotations

import dataclasses
import http.server
import io
import json
import logging
import shutil
import tarfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import INTENT

from comparison.local_aws import IMAGES
from components.camembert import CamembertIntentClassifier, endpoint
from components.camembert.config import DEFAULTS
from components.component import DamagedModelError, TrainingError
from components.remote import Fault, RemoteError
from localaws import LocalAWS
from tests.support.intent_classifier_contract import (
    EXAMPLES,
    TrainedClassifier,
    check_output,
    classify,
    training_data,
)
from tests.support.local_aws import BUCKET, ROLE, local_aws
from tests.support.remote_classifier_contract import (
    PATIENT,
    QUESTION,
    RemoteClassifierContract,
    hurried,
    intent_of,
    wait_until,
)
from tests.support.tiny_encoder import TRAINING, build_tiny_encoder

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/camembert-inference:1"
ENDPOINT = "skills-bot"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with local_aws(images=IMAGES, time_scale=0.0001) as aws:
        yield aws


@pytest.fixture
def aws(server: LocalAWS) -> Iterator[LocalAWS]:
    """The local AWS; faults do not outlast the test."""
    yield server
    server.clear_faults()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> TrainedClassifier:
    """The same classifier, trained and served in this process."""
    texts = [text for texts in EXAMPLES.values() for text in texts]
    encoder = build_tiny_encoder(tmp_path_factory.mktemp("encoder"), texts)
    config = {**TRAINING, "encoder": str(encoder)}
    return TrainedClassifier.train(
        CamembertIntentClassifier, config, tmp_path_factory.mktemp("local")
    )


def archive_of(classifier: TrainedClassifier) -> bytes:
    """``model.tar.gz`` as a training job leaves it."""
    buffer = io.BytesIO()
    with (
        classifier.storage.read_from(classifier.resource) as folder,
        tarfile.open(fileobj=buffer, mode="w:gz") as archive,
    ):
        for path in folder.iterdir():
            archive.add(path, path.name)
    return buffer.getvalue()


@dataclasses.dataclass
class Hosting:
    """SageMaker endpoints of one model."""

    aws: LocalAWS
    model: str

    def start(self, endpoint: str) -> None:
        client = self.aws.client("sagemaker")
        variant = {
            "VariantName": "only",
            "ModelName": self.model,
            "InstanceType": "ml.t2.medium",
            "InitialInstanceCount": 1,
        }
        name = f"{endpoint}-{uuid.uuid4().hex[:6]}"
        client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        client.create_endpoint(EndpointName=endpoint, EndpointConfigName=name)
        wait_until(lambda: self.status(endpoint) != "Creating")

    def stop(self, endpoint: str) -> None:
        self.aws.client("sagemaker").delete_endpoint(EndpointName=endpoint)
        wait_until(lambda: self.status(endpoint) is None)

    def status(self, endpoint: str) -> str | None:
        client = self.aws.client("sagemaker")
        try:
            return str(client.describe_endpoint(EndpointName=endpoint)["EndpointStatus"])
        except client.exceptions.ClientError:
            return None


@pytest.fixture(scope="module")
def hosting(server: LocalAWS, local: TrainedClassifier) -> Hosting:
    """A model in SageMaker, and its endpoint ``ENDPOINT`` in service."""
    server.client("s3").put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive_of(local))
    server.client("sagemaker").create_model(
        ModelName="model",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"},
    )
    hosting = Hosting(server, "model")
    hosting.start(ENDPOINT)
    assert hosting.status(ENDPOINT) == "InService"
    return hosting


CONFIG = {**DEFAULTS, **PATIENT, "sagemaker_endpoint": ENDPOINT}


def train(
    folder: Path, examples: dict[str, list[str]] | None = None, **config: Any
) -> TrainedClassifier:
    folder.mkdir(parents=True, exist_ok=True)
    data = training_data(examples or EXAMPLES)
    return TrainedClassifier.train(CamembertIntentClassifier, {**CONFIG, **config}, folder, data)


@pytest.fixture(scope="module")
def classifier(hosting: Hosting, tmp_path_factory: pytest.TempPathFactory) -> TrainedClassifier:
    return train(tmp_path_factory.mktemp("remote"))


@pytest.fixture
def hasty(classifier: TrainedClassifier, aws: LocalAWS) -> TrainedClassifier:
    return hurried(classifier)


class TestContract(RemoteClassifierContract):
    """The suite that every intent classifier of ours passes that AWS serves."""

    service, operation = "sagemaker-runtime", "InvokeEndpoint"
    out_of_order = ("ThrottlingException", "ServiceUnavailable", "ModelError")


def calls(aws: LocalAWS) -> int:
    return len(aws.calls(operation="InvokeEndpoint"))


# --- Training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sagemaker_endpoint": "skills_bot"}, "must be null or a name of up to 63"),
        ({"sagemaker_fallback": "yes"}, "'sagemaker_fallback' is not a key"),
        ({"deadline": 0}, "'deadline' is 0; it must be a number above 0"),
    ],
)
def test_bad_configurations_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        CamembertIntentClassifier.validate_config(change)


def test_nothing_is_trained_here(classifier: TrainedClassifier) -> None:
    with classifier.storage.read_from(classifier.resource) as folder:
        assert [path.name for path in folder.iterdir()] == ["sagemaker.json"]
        content = json.loads((folder / "sagemaker.json").read_text("utf-8"))
    assert content.pop("configuration").startswith(ENDPOINT)
    assert content == {
        "format_version": 1,
        "endpoint": ENDPOINT,
        "region": "eu-west-1",
        "labels": sorted(EXAMPLES),
    }


def test_it_answers_as_in_process(classifier: TrainedClassifier, local: TrainedClassifier) -> None:
    texts = [QUESTION, "qui connaît Java", "ça va ?", "谁知道"]
    remote_rankings, local_rankings = (
        [message.get("intent_ranking") for message in classify(one.load(), *texts)]
        for one in (classifier, local)
    )
    for remote, here in zip(remote_rankings, local_rankings, strict=True):
        assert [item["name"] for item in remote] == [item["name"] for item in here]


def test_an_endpoint_that_does_not_exist_is_refused(hosting: Hosting, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no SageMaker endpoint 'nobody' in eu-west-1"):
        train(tmp_path, sagemaker_endpoint="nobody")


def test_an_endpoint_that_is_not_in_service_is_refused(
    aws: LocalAWS, hosting: Hosting, tmp_path: Path
) -> None:
    aws.inject("sagemaker", "CreateEndpoint", outcome="Failed", message="No capacity.", times=1)
    hosting.start("failed")
    with pytest.raises(TrainingError, match=r"not in service.*Failed \(No capacity\.\)"):
        train(tmp_path, sagemaker_endpoint="failed")


def test_other_intents_are_refused_with_the_difference(hosting: Hosting, tmp_path: Path) -> None:
    other = {**EXAMPLES, "GREET": ["bonjour", "salut"]}
    del other["WHO_IS"]
    with pytest.raises(TrainingError, match=r"does not know GREET\. it knows WHO_IS besides"):
        train(tmp_path, other)


def test_a_missing_region_is_said(
    hosting: Hosting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(TrainingError, match="Set 'region' in the configuration"):
        train(tmp_path)
    assert intent_of(train(tmp_path, region="eu-west-1").load()) == "WHO_IS"


def test_a_damaged_model_is_refused_by_name(hosting: Hosting, tmp_path: Path) -> None:
    trained = train(tmp_path)
    with trained.storage.read_from(trained.resource) as folder:
        (folder / "sagemaker.json").write_text("{}")
    with pytest.raises(DamagedModelError, match=r"sagemaker\.json is damaged.*rasa train"):
        trained.load()


def test_the_fingerprint_follows_the_endpoint(aws: LocalAWS, hosting: Hosting) -> None:
    addon = CamembertIntentClassifier.fingerprint_addon
    config = {**CONFIG, "sagemaker_endpoint": "moving"}
    none = addon(config)
    hosting.start("moving")
    first = addon(config)
    hosting.stop("moving")
    hosting.start("moving")  # with another endpoint configuration
    assert len({none, first, addon(config)}) == 3


# --- Talking


def test_a_batch_is_one_request(aws: LocalAWS, classifier: TrainedClassifier) -> None:
    component = classifier.load()
    before = calls(aws)
    classify(component, *(f"qui connaît Java {number}" for number in range(20)), "", "/WHO_IS")
    assert calls(aws) == before + 1


def test_an_endpoint_deleted_while_the_bot_talks(
    aws: LocalAWS, hosting: Hosting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hosting.start("short-lived")
    limits = {"breaker_seconds": 0, "cache_size": 0}
    component = train(tmp_path, sagemaker_endpoint="short-lived", **limits).load()
    assert intent_of(component) == "WHO_IS"
    hosting.stop("short-lived")
    caplog.clear()
    assert [intent_of(component) for _ in range(4)] == [None] * 4
    (record,) = caplog.records
    assert "aws sagemaker describe-endpoint" in record.message
    hosting.start("short-lived")
    assert intent_of(component) == "WHO_IS"


def test_what_the_container_refuses_says_nothing_of_its_health(
    aws: LocalAWS, hosting: Hosting
) -> None:
    with pytest.raises(RemoteError, match="status 413") as refused:
        endpoint.invoke(aws.client("sagemaker-runtime"), ENDPOINT, [QUESTION] * 300)
    assert refused.value.fault is Fault.INPUT


class AnotherContainer(http.server.BaseHTTPRequestHandler):
    """Answers, but not as ours does."""

    def do_POST(self) -> None:
        body = b'[{"label": "WHO_IS", "score": 0.9}]'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_another_container_is_not_asked_again_and_again(
    hasty: TrainedClassifier,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), AnotherContainer) as other:
        threading.Thread(target=other.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{other.server_port}")
        component = hasty.load(breaker_seconds=3600)
        assert [intent_of(component) for _ in range(3)] == [None] * 3
        other.shutdown()
    assert component.remote.statistics()["requests"] == 1
    assert "none of our container's" in caplog.text


# --- The local fallback


def one_epoch(local: TrainedClassifier) -> dict[str, Any]:
    """Settings of a model that is worse than the endpoint's, and so can be told from it."""
    return {**{key: local.config[key] for key in ("encoder", *TRAINING)}, "epochs": 1}


@pytest.mark.parametrize("key", ["fallback", "sagemaker_fallback"])
def test_the_fallback_answers_while_the_endpoint_does_not(
    aws: LocalAWS,
    hosting: Hosting,
    local: TrainedClassifier,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    key: str,
) -> None:
    limits = {"breaker_seconds": 0, "cache_size": 0}
    named = {"name": "components.camembert.CamembertIntentClassifier", **one_epoch(local)}
    config = {"fallback": named} if key == "fallback" else {key: True, **one_epoch(local)}
    trained = train(tmp_path, **config, **limits)
    assert ("'sagemaker_fallback: true' is now 'fallback: {name:" in caplog.text) == (
        key == "sagemaker_fallback"
    )
    component = trained.load()
    remote = classify(component, QUESTION)[0].get("intent_ranking")
    aws.inject("sagemaker-runtime", "InvokeEndpoint", code="ServiceUnavailable")
    here = classify(component, QUESTION)[0]
    check_output(here)
    assert here.get(INTENT)["name"] is not None
    assert here.get("intent_ranking") != remote
    aws.clear_faults()
    assert classify(component, QUESTION)[0].get("intent_ranking") == remote


def test_a_fallback_of_the_release_before_is_found(
    aws: LocalAWS, hosting: Hosting, local: TrainedClassifier, tmp_path: Path
) -> None:
    """Its files lay beside the endpoint's."""
    trained = train(tmp_path, sagemaker_fallback=False)
    with (
        local.storage.read_from(local.resource) as source,
        trained.storage.write_to(trained.resource) as folder,
    ):
        shutil.copytree(source, folder, dirs_exist_ok=True)
    component = trained.load(sagemaker_fallback=True)
    aws.inject("sagemaker-runtime", "InvokeEndpoint", code="ServiceUnavailable")
    assert intent_of(component) == intent_of(local.load()) == "WHO_IS"
