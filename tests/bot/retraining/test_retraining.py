"""The parts of the retraining pipeline that both back ends share: settings, log, gate, notices."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from bot.retraining import backends, gate, notifications
from bot.retraining.registry import Pointer, Registry, Run, Status, run_id
from bot.retraining.settings import Settings
from common.aws import AwsError, client
from common.errors import UserError
from localaws import LocalAWS
from tests.support.retraining_harness import REGION, TIME_SCALE

ENVIRONMENT = {
    "BACKEND": "comprehend",
    "ARTIFACT_BUCKET": "artifacts",
    "ROLE_ARN": "arn:aws:iam::123456789012:role/service",
    "STATE_MACHINE_ARN": "arn:aws:states:eu-west-1:123456789012:stateMachine:retraining",
    "TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:notices",
}
SETTINGS = Settings.from_environment(ENVIRONMENT)
DATASET = {
    "bucket": "datasets",
    "key": "datasets/été.json",
    "version_id": "v1",
    "sha256": "a" * 64,
    "examples": 30,
    "intents": {"A": 10, "B": 20},
}
RUN = Run(
    run_id("datasets", "datasets/été.json", "v1"),
    "2024-05-01T10:00:00.000+00:00",
    DATASET,
    SETTINGS.to_json(),
    heldout={"sha256": "b" * 64, "examples": 10},
)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with LocalAWS(time_scale=TIME_SCALE) as aws:
        yield aws


@pytest.fixture
def registry(server: LocalAWS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.client("s3").create_bucket(
        Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    yield Registry("artifacts")
    server.reset()


# --- settings ---------------------------------------------------------------------------------


def test_settings_have_the_types_of_their_fields() -> None:
    settings = Settings.from_environment(
        {**ENVIRONMENT, "GATE_MAX_LOSS": " 0.05 ", "KEEP_VERSIONS": "7", "PROJECT": ""}
    )
    assert settings.gate_max_loss == 0.05
    assert settings.keep_versions == 7
    assert settings.name == "skills-bot-dev"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TOPIC_ARN": ""}, "TOPIC_ARN is not set"),
        ({"BACKEND": "azure"}, "BACKEND is one of comprehend, sagemaker, local, not 'azure'"),
        ({"GATE_METRIC": "f2"}, "GATE_METRIC is one of macro_f1, accuracy"),
        ({"KEEP_VERSIONS": "many"}, "KEEP_VERSIONS is a number, not 'many'"),
        ({"PROJECT": "équipe"}, "cannot name the endpoint"),
        ({"PROJECT": "p" * 40}, "cannot name the endpoint"),
        ({"BACKEND": "sagemaker"}, "TRAINING_IMAGE and INFERENCE_IMAGE are needed"),
        ({"HYPERPARAMETERS": "{"}, "HYPERPARAMETERS is not JSON"),
        ({"HYPERPARAMETERS": "[]"}, "HYPERPARAMETERS is a JSON object"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings.from_environment({**ENVIRONMENT, **changes})


def test_settings_of_another_version_of_the_program_are_read() -> None:
    assert Settings.from_json({**SETTINGS.to_json(), "removed_since": 1}) == SETTINGS


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-gov-west-1", "aws-us-gov"), ("eusc-de-east-1", "aws-eusc"), ("eu-west-1", "aws")],
)
def test_regions_of_all_partitions_are_taken(region: str, partition: str) -> None:
    for service in ("s3", "stepfunctions", "sagemaker"):
        assert client(service, region).meta.partition == partition


def test_a_region_without_comprehend_is_refused_with_those_that_have_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with pytest.raises(UserError, match=r"(?s)'eu-west-3'.*eu-central-1"):
        backends.create(SETTINGS, registry)


# --- the log ----------------------------------------------------------------------------------


def test_a_run_id_names_a_version_of_an_object() -> None:
    first = run_id("bucket", "key", "1")
    assert first == run_id("bucket", "key", "1")
    assert len({first, run_id("bucket", "key", "2"), run_id("bucke", "tkey", "1")}) == 3


def test_a_run_comes_back_as_it_was(registry: Registry) -> None:
    run = RUN.moved(Status.TRAINING, training={"arn": "arn"}, warnings=["é"])
    assert registry.create(run)
    assert registry.run(run.run_id) == run
    assert not registry.create(RUN)
    assert registry.run(run.run_id) == run


def test_a_run_that_is_not_there_is_named(registry: Registry) -> None:
    assert registry.find("r-0") is None
    with pytest.raises(UserError, match="no run 'r-0' in the bucket 'artifacts'"):
        registry.run("r-0")
    with pytest.raises(UserError, match="no run 'r-0' in the bucket 'artifacts'"):
        registry.update("r-0", lambda run: run)


def test_a_missing_bucket_is_an_error_and_not_an_empty_log(registry: Registry) -> None:
    with pytest.raises(AwsError, match="There is no bucket 'elsewhere'"):
        Registry("elsewhere").find("r-0")


def test_runs_are_sorted_by_when_their_dataset_was_put(registry: Registry) -> None:
    times = ["2024-05-02", "2024-05-03", "2024-05-01"]
    for number, time in enumerate(times):
        registry.create(dataclasses.replace(RUN, run_id=f"r-{number}", created_at=time))
    assert [run.run_id for run in registry.runs()] == ["r-1", "r-0", "r-2"]


def test_changes_at_the_same_time_are_all_kept(registry: Registry) -> None:
    registry.create(RUN)

    def change(number: int) -> None:
        registry.update(RUN.run_id, lambda run: run.noted(str(number)))

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(change, range(9)))
    events = [line["event"] for line in registry.run(RUN.run_id).timeline]
    assert sorted(events) == [str(number) for number in range(9)]


def test_a_change_whose_answer_is_lost_is_made_once(registry: Registry, server: LocalAWS) -> None:
    registry.create(RUN)
    server.inject("s3", "PutObject", when="after", code="InternalError", status=500, times=1)
    registry.update(RUN.run_id, lambda run: run.noted("ONCE"))
    assert server.faults() == []
    assert len(registry.run(RUN.run_id).timeline) == 1


def test_claims_at_the_same_time_exclude_each_other(registry: Registry) -> None:
    class TakenError(Exception):
        pass

    def claim(number: int) -> bool:
        def change(pointer: Pointer) -> Pointer:
            if pointer.deploying:
                raise TakenError
            return Pointer(deploying=str(number))

        try:
            registry.change_pointer(change)
        except TakenError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        won = list(pool.map(claim, range(4)))
    assert won.count(True) == 1
    assert registry.pointer().deploying == str(won.index(True))


# --- the gate ---------------------------------------------------------------------------------


def judged(registry: Registry, new: float, live: float | None, **changes: Any) -> gate.Verdict:
    settings = dataclasses.replace(SETTINGS, gate_floor=0.5, **changes)
    backend = backends.create(SETTINGS, registry)

    def measured(name: str, value: float) -> Run:
        return dataclasses.replace(RUN, run_id=name, metrics={"macro_f1": value, "accuracy": 1.0})

    old = None if live is None else measured("r-old", live)
    return gate.judge(settings, measured("r-new", new), old, registry, backend)


@pytest.mark.parametrize(
    ("new", "live", "max_loss", "passed"),
    [
        (0.9, 0.8, 0.0, True),
        (0.8, 0.8, 0.0, True),
        (0.79, 0.8, 0.0, False),
        (0.79, 0.8, 0.01, True),
        (0.78, 0.8, 0.01, False),
        (0.5, None, 0.0, True),
        (0.49, None, 1.0, False),
        (0.49, 0.3, 1.0, False),
    ],
)
def test_a_model_passes_unless_it_loses_too_much_or_is_below_the_floor(
    registry: Registry, new: float, live: float | None, max_loss: float, passed: bool
) -> None:
    assert judged(registry, new, live, gate_max_loss=max_loss).passed is passed


def test_the_gate_looks_at_the_metric_that_is_configured(registry: Registry) -> None:
    assert judged(registry, 0.1, 0.9, gate_metric="accuracy").passed
    assert not judged(registry, 0.1, 0.9, gate_metric="macro_f1").passed


# --- notices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [status for status in Status if status.final])
def test_every_end_has_a_subject_that_sns_takes(status: Status) -> None:
    run = dataclasses.replace(RUN, status=status)
    longest = dataclasses.replace(SETTINGS, project="p" * 36, environment="dev")
    subject = notifications.subject(longest, run)
    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) <= 100


def test_a_notice_says_what_it_is_about() -> None:
    run = RUN.moved(Status.REJECTED, reason="Too bad.", warnings=["A has 10 examples"])
    text = notifications.message(SETTINGS, run, "artifacts", "Do better.")
    for part in (
        "Too bad.",
        "Do better.",
        "s3://datasets/datasets/été.json (version v1)",
        "a" * 64,
        "Examples: 30 (A 10, B 20)",
        "- A has 10 examples",
        f"s3://artifacts/runs/{RUN.run_id}/record.json",
    ):
        assert part in text
