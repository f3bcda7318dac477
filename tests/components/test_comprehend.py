"""The Comprehend intent classifier against the local AWS: the shared contract, what is its own."""

from __future__ import annotations

import json
import logging
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import INTENT

from components.component import DamagedModelError, TrainingError
from components.comprehend import ComprehendIntentClassifier
from components.comprehend.config import DEFAULTS, RULES, TRAIN_DEFAULTS, TRAIN_RULES
from components.comprehend.service import READY, Comprehend, Version
from components.remote import State
from localaws import LocalAWS
from tests.support import ROOT
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

TRAIN = {
    "s3_uri": f"s3://{BUCKET}/comprehend",
    "role_arn": ROLE,
    "poll_seconds": 0.05,
    "time_limit": 60,
}
CONFIG = {**DEFAULTS, **PATIENT, "train": TRAIN}
GREETING = {**EXAMPLES, "GREET": [f"bonjour {number}" for number in range(10)]}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with local_aws(comprehend_throughput=0, time_scale=0.0001) as aws:
        yield aws


@pytest.fixture
def aws(server: LocalAWS) -> Iterator[LocalAWS]:
    """The local AWS; faults and changed settings do not outlast the test."""
    yield server
    server.clear_faults()
    server.set(comprehend_throughput=0, comprehend_endpoint_seconds=900, comprehend_classes=0)


@pytest.fixture(scope="module")
def classifier(server: LocalAWS, tmp_path_factory: pytest.TempPathFactory) -> TrainedClassifier:
    return train(CONFIG, tmp_path_factory.mktemp("model"))


class TestContract(RemoteClassifierContract):
    """The suite that every intent classifier of ours passes that AWS serves."""

    batch_tolerance = 0.0
    service, operation = "comprehend", "ClassifyDocument"
    out_of_order = ("InternalServerException", "ResourceUnavailableException")


def train(
    config: dict[str, Any], folder: Path, examples: dict[str, list[str]] | None = None
) -> TrainedClassifier:
    folder.mkdir(parents=True, exist_ok=True)
    data = training_data(examples or EXAMPLES)
    return TrainedClassifier.train(ComprehendIntentClassifier, config, folder, data)


@pytest.fixture
def config(aws: LocalAWS) -> dict[str, Any]:
    """Settings to train a classifier that no other test knows."""
    name = f"bot-{uuid.uuid4().hex[:8]}"
    return {**CONFIG, "endpoint": name, "train": {**TRAIN, "classifier": name}}


def use(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Settings to use the endpoint that ``config`` trains."""
    return {**config, "train": None, **changes}


def stored(classifier: TrainedClassifier) -> dict[str, Any]:
    """What the model of the bot keeps."""
    with classifier.storage.read_from(classifier.resource) as folder:
        return json.loads((folder / "comprehend.json").read_text("utf-8"))


def versions(config: dict[str, Any]) -> list[Version]:
    return Comprehend().versions(config["train"]["classifier"])


def endpoints(config: dict[str, Any]) -> list[str]:
    """Names of the endpoints that begin as that of ``config``."""
    names = [one.name for one in Comprehend().endpoints()]
    return [name for name in names if name.startswith(config["endpoint"])]


def calls(aws: LocalAWS, operation: str) -> int:
    return len(aws.calls(service="comprehend", operation=operation))


# --- Configuration


def test_every_key_has_a_rule() -> None:
    assert set(RULES) == set(DEFAULTS)
    assert set(TRAIN_RULES) == set(TRAIN_DEFAULTS)
    ComprehendIntentClassifier.validate_config({})
    ComprehendIntentClassifier.validate_config({"train": TRAIN, "fallback": {}})


def test_one_changed_line_swaps_the_classifiers() -> None:
    lines = [
        (ROOT / name).read_text("utf-8").splitlines()
        for name in ("config.yml", "config.comprehend.yml")
    ]
    changed = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
    assert changed == [
        (
            "  - name: components.camembert.CamembertIntentClassifier",
            "  - name: components.comprehend.ComprehendIntentClassifier",
        )
    ]
    (step,) = [
        step
        for step in yaml.safe_load("\n".join(lines[1]))["pipeline"]
        if step["name"].endswith("ComprehendIntentClassifier")
    ]
    ComprehendIntentClassifier.validate_config(step)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"endpoint": "skills_bot"}, "'endpoint' is 'skills_bot'; it must be the ARN"),
        ({"endpoint": "a" * 41}, "up to 40 letters"),
        ({"endpoint": "arn:aws:comprehend:eu-west-1:1:endpoint/a"}, "must be the ARN"),
        ({"deadline": 0}, "'deadline' is 0; it must be a number above 0"),
        ({"concurrency": 0}, "whole number of at least 1"),
        ({"dead_line": 1}, "Did you mean 'deadline'"),
        ({"train": "yes"}, "'train' is 'yes'; it must be null or a mapping"),
        ({"train": {}}, r"'s3_uri' is None; it must be an address in S3.*'role_arn' is None"),
        ({"train": {**TRAIN, "role": "x"}}, "Did you mean 'role_arn'"),
        ({"train": {**TRAIN, "units": 11}}, "at least 1 and at most 10"),
        ({"train": {**TRAIN, "language": "nl"}}, "one of 'fr'"),
        ({"train": {**TRAIN, "minimum_documents": 5}}, "at least 10"),
        (
            {
                "train": TRAIN,
                "endpoint": "arn:aws:comprehend:eu-west-1:123456789012"
                ":document-classifier-endpoint/skills-bot",
            },
            "give its name alone",
        ),
        ({"fallback": {"epoch": 3}}, "Did you mean 'epochs'"),
    ],
)
def test_bad_configurations_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        ComprehendIntentClassifier.validate_config(change)


# --- Training


def test_training_makes_an_endpoint_and_keeps_what_it_made(
    config: dict[str, Any], tmp_path: Path
) -> None:
    content = stored(train(config, tmp_path))
    endpoint = Comprehend().endpoint(config["endpoint"])
    (version,) = versions(config)
    assert endpoint is not None
    assert endpoint.state == READY
    assert content.pop("metrics")["test_examples"] > 0
    assert content == {
        "format_version": 1,
        "endpoint_arn": endpoint.arn,
        "model_arn": version.arn,
        "labels": sorted(EXAMPLES),
    }
    assert endpoint.model_arn == version.arn


def test_the_same_examples_are_trained_once(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path
) -> None:
    first = stored(train(config, tmp_path / "first"))
    before = calls(aws, "CreateDocumentClassifier"), calls(aws, "CreateEndpoint")
    second = stored(train(config, tmp_path / "second"))
    assert first == second
    assert before == (calls(aws, "CreateDocumentClassifier"), calls(aws, "CreateEndpoint"))


def test_other_examples_move_the_endpoint_to_a_new_version(
    config: dict[str, Any], tmp_path: Path
) -> None:
    first = stored(train(config, tmp_path / "first"))
    second = stored(train(config, tmp_path / "second", GREETING))
    assert first["endpoint_arn"] == second["endpoint_arn"]
    assert first["model_arn"] != second["model_arn"]
    assert second["labels"] == sorted(GREETING)
    assert len(versions(config)) == 2
    assert endpoints(config) == [config["endpoint"]]


@pytest.mark.parametrize("operation", ["CreateDocumentClassifier", "CreateEndpoint"])
def test_an_answer_lost_on_the_way_makes_nothing_twice(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path, operation: str
) -> None:
    fault = {"code": "InternalServerException", "when": "after", "times": 1}
    aws.inject("comprehend", operation, **fault)
    train(config, tmp_path)
    assert aws.faults() == []
    assert len(versions(config)) == 1
    assert endpoints(config) == [config["endpoint"]]


@pytest.mark.parametrize("operation", ["DescribeDocumentClassifier", "CreateEndpoint"])
def test_an_interrupted_training_goes_on(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path, operation: str
) -> None:
    aws.inject("comprehend", operation, code="AccessDeniedException")
    with pytest.raises(TrainingError, match="AccessDeniedException"):
        train(config, tmp_path / "first")
    aws.clear_faults()
    train(config, tmp_path / "second")
    assert len(versions(config)) == 1
    assert endpoints(config) == [config["endpoint"]]


@pytest.mark.parametrize("operation", ["DescribeDocumentClassifier", "ListEndpoints"])
def test_a_passing_fault_does_not_end_the_waiting(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path, operation: str
) -> None:
    train(config, tmp_path / "first")  # so that the first look is that of the waiting
    aws.inject("comprehend", operation, code="ThrottlingException", times=3)
    train(config, tmp_path / "second")
    assert aws.faults() == []


def test_a_failed_training_says_why_and_can_be_repeated(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path
) -> None:
    aws.inject(
        "comprehend", "CreateDocumentClassifier", outcome="IN_ERROR", message="No access.", times=1
    )
    with pytest.raises(TrainingError, match=r"IN_ERROR \(No access\.\)"):
        train(config, tmp_path / "first")
    content = stored(train(config, tmp_path / "second"))
    newest, failed = versions(config)
    assert failed.status == "IN_ERROR"
    assert content["model_arn"] == newest.arn


def test_a_warning_is_passed_on(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aws.inject(
        "comprehend",
        "CreateDocumentClassifier",
        outcome="TRAINED_WITH_WARNING",
        message="Some rows were left out.",
        times=1,
    )
    train(config, tmp_path)
    assert "TRAINED_WITH_WARNING (Some rows were left out.)" in caplog.text


def test_a_failed_endpoint_says_why_and_can_be_repeated(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path
) -> None:
    aws.inject("comprehend", "CreateEndpoint", outcome="FAILED", message="No capacity.", times=1)
    with pytest.raises(TrainingError, match=r"FAILED \(No capacity\.\)"):
        train(config, tmp_path / "first")
    component = train(config, tmp_path / "second").load()
    assert intent_of(component) == "WHO_IS"
    assert len(versions(config)) == 1


def test_too_few_examples_are_refused_before_anything_is_made(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path
) -> None:
    few = {**EXAMPLES, "GREET": ["bonjour", "salut"]}
    with pytest.raises(TrainingError, match=r"'GREET' has 2 example.*add 8"):
        train(config, tmp_path, few)
    assert versions(config) == []


def test_few_examples_are_warned_of(
    config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(config, tmp_path)
    assert "'WHO_IS' has 10 examples; Comprehend recommends at least 50" in caplog.text


def test_waiting_ends_at_the_time_limit(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path
) -> None:
    trained = train(config, tmp_path / "first")
    aws.set(comprehend_endpoint_seconds=36_000_000)
    Comprehend().delete_endpoint(stored(trained)["endpoint_arn"])
    hasty = {**config, "train": {**config["train"], "time_limit": 0.2}}
    with pytest.raises(TrainingError, match=r"not through after 0\.2 s"):
        train(hasty, tmp_path / "second")


def test_a_missing_bucket_is_named(config: dict[str, Any], tmp_path: Path) -> None:
    elsewhere = {**config, "train": {**config["train"], "s3_uri": "s3://no-such-bucket/x"}}
    with pytest.raises(TrainingError, match=r"no-such-bucket.*NoSuchBucket"):
        train(elsewhere, tmp_path)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "NoCredentialsError.*aws configure"),
        (["AWS_REGION", "AWS_DEFAULT_REGION"], "Set 'region' in the configuration"),
    ],
)
@pytest.mark.parametrize("mode", ["train", "use"])
def test_what_the_chain_lacks_is_said(
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    absent: list[str],
    message: str,
    mode: str,
) -> None:
    for name in absent:
        monkeypatch.delenv(name)
    with pytest.raises(TrainingError, match=message):
        train(config if mode == "train" else use(config), tmp_path)


def test_a_region_without_comprehend_is_refused(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"'eu-west-3'.*eu-west-1"):
        train({**config, "region": "eu-west-3"}, tmp_path)


def test_fine_tuning_checks_or_trains_as_ever(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trained = train(config, tmp_path)
    trained.load(finetuning=True).train(training_data(EXAMPLES))
    assert "Comprehend cannot go on from a trained version" in caplog.text
    assert len(versions(config)) == 1


# --- An endpoint that exists


@pytest.mark.parametrize("by", ["name", "arn"])
def test_an_endpoint_is_used_by_name_or_arn(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    content = stored(train(config, tmp_path / "trained"))
    changes = {}
    if by == "arn":  # it names the region
        changes = {"endpoint": content["endpoint_arn"]}
        monkeypatch.delenv("AWS_REGION")
        monkeypatch.delenv("AWS_DEFAULT_REGION")
    used = train(use(config, **changes), tmp_path / "used")
    assert stored(used) == content
    assert intent_of(used.load()) == "WHO_IS"


def test_an_endpoint_that_does_not_exist_is_refused(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no Comprehend endpoint 'bot-.*eu-west-1"):
        train(use(config), tmp_path)


def test_an_endpoint_that_is_not_in_service_is_refused(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path
) -> None:
    content = stored(train(config, tmp_path / "trained"))
    aws.set(comprehend_endpoint_seconds=36_000_000)
    Comprehend().deploy(config["endpoint"], content["model_arn"], units=2)
    with pytest.raises(TrainingError, match="not in service: its status is UPDATING"):
        train(use(config), tmp_path / "used")


def test_other_intents_are_refused_with_the_difference(
    config: dict[str, Any], tmp_path: Path
) -> None:
    train(config, tmp_path / "trained")
    other = {**GREETING}
    del other["WHO_IS"]
    expected = "does not know GREET. it knows WHO_IS besides"
    with pytest.raises(TrainingError, match=expected):
        train(use(config), tmp_path / "used", other)


def test_the_fingerprint_follows_the_version_that_answers(
    config: dict[str, Any], tmp_path: Path
) -> None:
    used = use(config)
    none = ComprehendIntentClassifier.fingerprint_addon(used)
    train(config, tmp_path / "first")
    first = ComprehendIntentClassifier.fingerprint_addon(used)
    train(config, tmp_path / "second", GREETING)
    second = ComprehendIntentClassifier.fingerprint_addon(used)
    assert len({none, first, second}) == 3


def test_the_fingerprint_does_without_aws(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert ComprehendIntentClassifier.fingerprint_addon(config)


# --- The model on disk


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-20], "JSONDecodeError"),
        (lambda content: "[]", "TypeError"),
        (lambda content: content.replace('"labels"', '"label"'), "label"),
        (lambda content: content.replace('"format_version": 1', '"format_version": 9'), "9, 1 is"),
    ],
)
def test_a_damaged_model_is_refused_by_name(
    config: dict[str, Any], tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    trained = train(config, tmp_path)
    with trained.storage.read_from(trained.resource) as folder:
        path = folder / "comprehend.json"
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(DamagedModelError, match=rf"comprehend\.json.*{message}.*rasa train"):
        trained.load()


# --- Faults while the bot talks


@pytest.fixture
def hasty(classifier: TrainedClassifier, aws: LocalAWS) -> TrainedClassifier:
    return hurried(classifier)


def test_identical_texts_cost_one_call(aws: LocalAWS, classifier: TrainedClassifier) -> None:
    component = classifier.load()
    before = calls(aws, "ClassifyDocument")
    classify(component, QUESTION, f" {QUESTION} ", QUESTION)
    classify(component, QUESTION)
    assert calls(aws, "ClassifyDocument") == before + 1


def test_what_is_no_question_costs_no_call(aws: LocalAWS, classifier: TrainedClassifier) -> None:
    component = classifier.load()
    before = calls(aws, "ClassifyDocument")
    classify(component, "", "  ", None, "/WHO_IS", '/WHO_IS{"collaborator_id": "C0001"}')
    assert calls(aws, "ClassifyDocument") == before


def test_a_text_too_long_is_not_sent(
    aws: LocalAWS, classifier: TrainedClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    component = classifier.load()
    before = calls(aws, "ClassifyDocument")
    assert intent_of(component, "é" * 5_001) is None
    assert intent_of(component, "a" * 10_001) is None
    assert calls(aws, "ClassifyDocument") == before
    assert caplog.text.count("no text of more than 10000 bytes") == 1
    assert intent_of(component, "é" * 5_000) is not None


def test_a_throttling_storm_opens_the_breaker_and_passes(
    aws: LocalAWS, hasty: TrainedClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    component = hasty.load(breaker_seconds=3600)
    aws.inject("comprehend", "ClassifyDocument", code="ThrottlingException")
    assert [intent_of(component) for _ in range(20)] == [None] * 20
    assert component.remote.state is State.OPEN
    assert component.remote.statistics()["failures"] == {"ThrottlingException": 3}
    assert caplog.text.count("raise the inference units") == 1
    component = hasty.load()
    assert [intent_of(component) for _ in range(4)] == [None] * 4
    aws.clear_faults()
    assert intent_of(component) == "WHO_IS"
    assert caplog.text.count("answers again") == 1


def test_an_endpoint_overloaded_for_real_throttles(aws: LocalAWS, hasty: TrainedClassifier) -> None:
    aws.set(comprehend_throughput=1)  # one unit: two texts a second
    component = hasty.load(concurrency=8)
    messages = classify(component, *(f"qui est Paul {number}" for number in range(40)))
    for message in messages:
        check_output(message)
    assert "ThrottlingException" in component.remote.statistics()["failures"]


def test_an_endpoint_deleted_while_the_bot_talks(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trained = train({**config, "breaker_seconds": 0, "cache_size": 0}, tmp_path / "model")
    component = trained.load()
    assert intent_of(component) == "WHO_IS"
    content = stored(trained)
    Comprehend().delete_endpoint(content["endpoint_arn"])
    wait_until(lambda: Comprehend().endpoint(content["endpoint_arn"]) is None)
    caplog.clear()
    assert [intent_of(component) for _ in range(5)] == [None] * 5
    (record,) = caplog.records
    assert "`bot comprehend endpoint start`" in record.message
    Comprehend().deploy(config["endpoint"], content["model_arn"])
    wait_until(lambda: intent_of(component) == "WHO_IS")


@pytest.mark.parametrize("code", ["TextSizeLimitExceededException", "InvalidRequestException"])
def test_a_text_that_comprehend_refuses_harms_no_other(
    aws: LocalAWS, hasty: TrainedClassifier, code: str
) -> None:
    component = hasty.load(breaker_failures=1)
    aws.inject("comprehend", "ClassifyDocument", code=code, times=1)
    assert intent_of(component) is None
    assert component.remote.state is State.CLOSED
    assert intent_of(component) == "WHO_IS"


def test_intents_that_the_bot_does_not_know_are_left_out(
    aws: LocalAWS, config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = train(config, tmp_path / "before")
    train(config, tmp_path / "after", GREETING)  # the endpoint moves on, the bot does not
    component = before.load()
    caplog.clear()
    for text in ("bonjour 3", "bonjour 4"):
        (message,) = classify(component, text)
        assert "GREET" not in {item["name"] for item in message.get("intent_ranking")}
    assert caplog.text.count("GREET") == 1


def test_a_profile_that_does_not_exist(
    hasty: TrainedClassifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    component = hasty.load()
    assert "aws configure list-profiles" in caplog.text
    assert intent_of(component) is None
    monkeypatch.delenv("AWS_PROFILE")
    assert intent_of(component) == "WHO_IS"


def test_the_region_is_that_of_the_endpoint(
    hasty: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert intent_of(hasty.load()) == "WHO_IS"


def test_part_of_the_classes_is_enough(aws: LocalAWS, hasty: TrainedClassifier) -> None:
    aws.set(comprehend_classes=1)
    (message,) = classify(hasty.load(), QUESTION)
    assert message.get(INTENT)["name"] == "WHO_IS"
    assert len(message.get("intent_ranking")) == 1


# --- The local fallback


@pytest.fixture(scope="module")
def with_fallback(server: LocalAWS, tmp_path_factory: pytest.TempPathFactory) -> TrainedClassifier:
    texts = [text for texts in EXAMPLES.values() for text in texts]
    encoder = build_tiny_encoder(tmp_path_factory.mktemp("encoder"), texts)
    # Without a name, as in the release before.
    fallback = {**TRAINING, "encoder": str(encoder)}
    config = {**CONFIG, "fallback": fallback, "breaker_seconds": 0, "cache_size": 0}
    return train(config, tmp_path_factory.mktemp("fallback"))


def test_the_fallback_is_part_of_the_model(with_fallback: TrainedClassifier) -> None:
    with with_fallback.storage.read_from(with_fallback.resource) as folder:
        assert (folder / "comprehend.json").exists()
        assert (folder / "fallback" / "model.onnx").exists()


def test_the_fallback_answers_while_the_endpoint_does_not(
    aws: LocalAWS, with_fallback: TrainedClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    component = with_fallback.load()
    remote = classify(component, QUESTION)[0].get("intent_ranking")
    aws.inject("comprehend", "ClassifyDocument", code="ResourceUnavailableException")
    local = classify(component, QUESTION)[0].get("intent_ranking")
    assert remote != local
    assert local[0]["name"] == "WHO_IS"
    assert "The fallback answers meanwhile." in caplog.text
    aws.clear_faults()
    assert classify(component, QUESTION)[0].get("intent_ranking") == remote


def test_the_fallback_answers_what_the_endpoint_left_open(
    with_fallback: TrainedClassifier,
) -> None:
    component = with_fallback.load()
    remote, local, none = classify(component, QUESTION, f"{QUESTION} " * 1000, "")
    for message in (remote, local, none):
        check_output(message)
    assert remote.get(INTENT)["name"] == local.get(INTENT)["name"] == "WHO_IS"
    assert none.get(INTENT)["name"] is None
    assert component.remote.statistics()["requests"] == 1


def test_the_fingerprint_follows_the_fallback(with_fallback: TrainedClassifier) -> None:
    config = with_fallback.config
    without = {**config, "fallback": None}
    addon = ComprehendIntentClassifier.fingerprint_addon
    assert addon(config) != addon(without)
