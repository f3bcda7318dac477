"""The retraining pipeline with Amazon Comprehend, against the local AWS: its steps and faults."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from typing import Any

import pytest

from bot.retraining import handlers, registry
from bot.retraining.registry import Status
from common.aws import AwsError
from common.errors import UserError
from localaws import LocalAWS
from tests.support import retraining_permissions as permissions
from tests.support.retraining_harness import (
    STRICT,
    TIME_SCALE,
    Pipeline,
    confused,
    dataset,
    examples,
)

# AWS would not be asked again after this error, unlike after throttling.
DENIED = {"code": "AccessDeniedException", "times": 1}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with LocalAWS(time_scale=TIME_SCALE, comprehend_throughput=0, **STRICT) as aws:
        yield aws


@pytest.fixture(scope="module", autouse=True)
def done() -> Iterator[dict[str, set[str]]]:
    """What each function has called so far; it may call no more than its role allows."""
    with permissions.enforced("comprehend") as actions:
        yield actions


@pytest.fixture
def pipeline(server: LocalAWS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    created = Pipeline.create(server)
    for name, value in created.environment.items():
        monkeypatch.setenv(name, value)
    yield created
    server.reset()


def served(pipeline: Pipeline) -> str:
    """Return the run whose version the one endpoint serves."""
    (endpoint,) = pipeline.endpoints()
    assert endpoint["Status"] == "IN_SERVICE"
    return str(endpoint["ModelArn"].rsplit("/", 1)[-1])


# --- the way through --------------------------------------------------------------------------


def test_a_dataset_ends_in_a_live_endpoint(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put())
    answer = pipeline.finish(run_id)

    assert answer["status"] == "IN_SERVICE"
    assert answer["subject"].isascii()
    assert len(answer["subject"]) <= 100
    assert "s3://skills-bot-datasets/datasets/dataset.json" in answer["message"]
    assert served(pipeline) == run_id
    assert pipeline.registry.pointer().live == run_id
    assert pipeline.executions() == [run_id]


def test_the_log_says_what_was_trained_on_which_data(pipeline: Pipeline) -> None:
    event = pipeline.put()
    run_id = pipeline.start(event)
    pipeline.finish(run_id)
    run = pipeline.run(run_id)

    assert run.status is Status.DEPLOYED
    assert run.dataset["examples"] == 36
    assert run.dataset["intents"] == {"WHO_IS": 12, "WHO_KNOWS_ABOUT": 12, "HOW_ARE_YOU": 12}
    assert len(run.dataset["sha256"]) == len(run.heldout["sha256"]) == 64
    assert run.dataset["version_id"] == event["Records"][0]["s3"]["object"]["versionId"]
    assert run.metrics["test_examples"] == run.heldout["examples"] == 12
    assert run.metrics["macro_f1"] == 1
    assert f"/version/{run.run_id}" in run.training["arn"]
    assert run.endpoint["arn"].endswith("/skills-bot-test")
    events = [line["event"] for line in run.timeline]
    assert events == [
        "STARTING", "TRAINING", "TRAINED_WITH_WARNING", "MEASURED", "DEPLOYING", "DEPLOYED",
    ]  # fmt: skip
    matrix = json.loads(pipeline.registry.get(run.run_id, "confusion_matrix.json"))
    assert matrix["type"] == "multi_class"
    assert json.loads(pipeline.registry.get(run.run_id, "metrics.json")) == run.metrics


def test_what_people_wrote_is_tagged_and_nothing_else(pipeline: Pipeline) -> None:
    run_id = pipeline.retrain()
    s3, bucket = pipeline.aws.client("s3"), pipeline.artifacts
    tagged = {
        found["Key"].removeprefix(f"runs/{run_id}/")
        for found in s3.list_objects_v2(Bucket=bucket, Prefix=f"runs/{run_id}/")["Contents"]
        if s3.get_object_tagging(Bucket=bucket, Key=found["Key"])["TagSet"]
        == [{"Key": "content", "Value": "texts"}]
    }
    assert tagged == {"train/dataset.json", "test/dataset.json", "train.csv", "test.csv"}


def test_the_next_dataset_updates_the_endpoint_in_place(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    created = pipeline.endpoints()[0]["CreationTime"]
    second = pipeline.start(pipeline.put(dataset(examples(14))))
    pipeline.check(second, "training")
    assert pipeline.deploy(second)["status"] == "DEPLOYING"
    # No gap in service: the first model answers while the second is on its way.
    arn = pipeline.endpoints()[0]["EndpointArn"]
    assert pipeline.aws.client("comprehend").classify_document(EndpointArn=arn, Text="Qui ?")
    assert pipeline.check(second, "endpoint")["status"] == "IN_SERVICE"

    assert served(pipeline) == second
    assert pipeline.endpoints()[0]["CreationTime"] == created
    pointer = pipeline.registry.pointer()
    assert (pointer.live, pointer.previous, pointer.deploying) == (second, first, "")


def test_keys_may_have_spaces_accents_and_signs(pipeline: Pipeline) -> None:
    key = "datasets/été 2024/jeu d'équipe + 100 % & co.JSON"
    run_id = pipeline.retrain(key=key)
    assert pipeline.run(run_id).dataset["key"] == key
    assert pipeline.run(run_id).status is Status.DEPLOYED


@pytest.mark.parametrize("key", ["datasets/jeu.JSONL", "datasets/jeu.xlsx", "other/data.json"])
def test_what_is_no_dataset_by_its_name_is_ignored_not_in_silence(
    pipeline: Pipeline, key: str
) -> None:
    answer = handlers.start_training(pipeline.put(key=key))
    assert [run["status"] for run in answer["runs"]] == ["IGNORED"]
    assert pipeline.registry.runs() == []
    ((subject, message),) = pipeline.notices()
    assert "file ignored" in subject
    assert f"s3://{pipeline.datasets}/{key}" in message
    assert "below 'datasets/' that end in '.json'" in message


@pytest.mark.parametrize("key", ["heldout/heldout.json", "datasets/2026/"])
def test_the_held_out_set_and_folders_need_no_word(pipeline: Pipeline, key: str) -> None:
    answer = handlers.start_training(pipeline.put(key=key))
    assert [run["status"] for run in answer["runs"]] == ["IGNORED"]
    assert pipeline.notices() == []


def test_the_test_event_of_s3_is_ignored(pipeline: Pipeline) -> None:
    event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": pipeline.datasets}
    assert handlers.start_training(event) == {"runs": []}


def test_a_version_that_was_deleted_is_ignored(pipeline: Pipeline) -> None:
    event = pipeline.put()
    item = event["Records"][0]["s3"]["object"]
    pipeline.aws.client("s3").delete_object(
        Bucket=pipeline.datasets, Key=item["key"], VersionId=item["versionId"]
    )
    assert handlers.start_training(event)["runs"][0]["status"] == "IGNORED"


def test_without_versions_in_the_bucket_the_etag_names_what_is_trained(
    pipeline: Pipeline,
) -> None:
    pipeline.aws.client("s3").put_bucket_versioning(
        Bucket=pipeline.datasets, VersioningConfiguration={"Status": "Suspended"}
    )
    first, second = pipeline.put(), pipeline.put(dataset(examples(13)))
    # Overwritten since; what overwrote it has its own event.
    assert handlers.start_training(first)["runs"][0]["status"] == "IGNORED"
    assert pipeline.run(pipeline.start(second)).dataset["examples"] == 39


def test_several_datasets_in_one_event_are_all_taken_in(pipeline: Pipeline) -> None:
    good, bad = pipeline.put(key="datasets/a.json"), pipeline.put(b"{", key="datasets/b.json")
    event = {"Records": [*bad["Records"], *good["Records"]]}
    statuses = [run["status"] for run in handlers.start_training(event)["runs"]]
    assert statuses == ["REJECTED_DATASET", "STARTED"]


# --- datasets that cannot be trained on -------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"version": 1, "examples": [', "1: error: not JSON"),
        (b"[]", "a dataset is an object"),
        (b'{"version": 1, "examples": [{"text": "Qui ?"}]}', "'intent' is a required property"),
        (dataset([]), "the dataset is empty"),
        (dataset(examples(9)), "WHO_IS has 9 example(s); at least 10 are needed: add 1"),
        (dataset([*examples(12), examples(1)[0]]), "duplicate of line 1"),
        (
            dataset([*examples(12), {"text": "Qui ?", "intent": "NEW"}]),
            "NEW has no example in the held-out set",
        ),
        (
            dataset(examples(12, intents=("WHO_IS", "WHO_KNOWS_ABOUT"))),
            "HOW_ARE_YOU of the held-out set has no example",
        ),
        ("é".encode("cp1252"), "is not UTF-8"),
    ],
)
def test_a_bad_dataset_ends_in_a_notice_with_the_reasons(
    pipeline: Pipeline, content: bytes, reason: str
) -> None:
    event = pipeline.put(content)
    (run,) = handlers.start_training(event)["runs"]  # does not raise: AWS need not try again

    assert run["status"] == "REJECTED_DATASET"
    ((subject, message),) = pipeline.notices()
    assert "dataset rejected" in subject
    assert reason in message
    assert pipeline.run(run["run_id"]).status is Status.REJECTED_DATASET
    assert pipeline.versions() == pipeline.executions() == []


def test_what_is_too_large_to_be_read_is_rejected_unread(
    pipeline: Pipeline, monkeypatch: Any
) -> None:
    monkeypatch.setenv("MAXIMUM_BYTES", "2000")
    event = pipeline.put(dataset(examples(14)))
    pipeline.aws.inject("s3", "GetObject", resource="datasets/dataset.json", **DENIED)
    (run,) = handlers.start_training(event)["runs"]
    pipeline.aws.clear_faults()
    assert run["status"] == "REJECTED_DATASET"
    ((_, message),) = pipeline.notices()
    size = event["Records"][0]["s3"]["object"]["size"]
    assert f"{size:,} bytes; at most 2,000 are read" in message
    assert pipeline.executions() == []


# --- the same content again -------------------------------------------------------------------


@pytest.mark.parametrize("ended", [True, False])
def test_the_same_content_in_another_file_is_not_trained_again(
    pipeline: Pipeline, ended: bool
) -> None:
    first = pipeline.start(pipeline.put())
    if ended:
        pipeline.finish(first)
    again = b"\xef\xbb\xbf" + json.dumps(json.loads(dataset()), indent=2).encode()
    second = pipeline.start(pipeline.put(again, key="datasets/copie.json"))

    run = pipeline.run(second)
    assert run.status is Status.NOTHING_NEW
    assert first in run.reason
    ((subject, message),) = pipeline.notices()
    assert "nothing new" in subject
    assert first in message
    assert pipeline.versions() == pipeline.executions() == [first]


def test_what_the_gate_refused_is_not_trained_again_for_the_same_end(
    pipeline: Pipeline, monkeypatch: Any
) -> None:
    refused = pipeline.retrain(confused())
    again = pipeline.start(pipeline.put(confused(), key="datasets/b.json"))
    assert pipeline.run(again).status is Status.NOTHING_NEW
    monkeypatch.setenv("GATE_FLOOR", "0")  # it may pass now
    third = pipeline.start(pipeline.put(confused(), key="datasets/c.json"))
    assert pipeline.finish(third)["status"] == "IN_SERVICE"
    assert pipeline.run(refused).status is Status.REJECTED


def test_the_content_before_is_trained_again_where_another_is_live(pipeline: Pipeline) -> None:
    pipeline.retrain(key="datasets/a.json")
    pipeline.retrain(dataset(examples(13)), key="datasets/b.json")
    third = pipeline.retrain(key="datasets/c.json")
    assert served(pipeline) == third


# --- a quota that is used up ------------------------------------------------------------------

USED_UP = {"code": "ResourceLimitExceededException", "message": "The limit is 0 trainings"}


def test_a_training_waits_for_a_quota_and_says_how_to_ask_for_it(pipeline: Pipeline) -> None:
    pipeline.aws.inject("comprehend", "CreateDocumentClassifier", **USED_UP)
    run_id = pipeline.start(pipeline.put())
    assert pipeline.executions() == [run_id]
    for _ in range(2):  # as the state machine does, for hours
        answer = handlers.check_model_status({"run_id": run_id, "stage": "training"})
        assert answer["status"] == "NOT_STARTED"
        assert handlers.start_training({"run_id": run_id})["status"] == "IN_PROGRESS"
    ((subject, message),) = pipeline.notices()
    assert "waits for a quota" in subject
    assert "The limit is 0 trainings" in message
    assert "request-service-quota-increase --service-code comprehend" in message

    pipeline.aws.clear_faults()
    assert handlers.start_training({"run_id": run_id})["status"] == "IN_PROGRESS"
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert pipeline.run(run_id).reason == ""


def test_waiting_for_a_quota_ends_in_a_notice(pipeline: Pipeline, monkeypatch: Any) -> None:
    monkeypatch.setenv("QUOTA_WAIT_HOURS", "0")
    pipeline.aws.inject("comprehend", "CreateDocumentClassifier", **USED_UP)
    run_id = pipeline.start(pipeline.put())
    answer = handlers.start_training({"run_id": run_id})
    assert answer["status"] == "FAILED"
    assert "The limit is 0 trainings" in answer["message"]
    assert pipeline.run(run_id).status is Status.FAILED


def test_an_endpoint_waits_for_a_quota_too(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put())
    pipeline.check(run_id, "training")
    pipeline.aws.inject("comprehend", "CreateEndpoint", **USED_UP)
    for _ in range(2):
        assert handlers.create_endpoint({"run_id": run_id})["status"] == "WAITING"
    pipeline.aws.clear_faults()
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    ((subject, message),) = pipeline.notices()
    assert "waits for a quota" in subject
    assert "--service-code comprehend" in message


# --- approval ---------------------------------------------------------------------------------


def test_what_passes_the_gate_may_have_to_wait_for_a_person(
    pipeline: Pipeline, monkeypatch: Any
) -> None:
    monkeypatch.setenv("APPROVAL", "manual")
    run_id = pipeline.start(pipeline.put())
    answer = pipeline.finish(run_id)
    assert answer["status"] == "AWAITING_APPROVAL"
    assert f"bot pipeline approve {run_id}" in answer["message"]
    assert pipeline.endpoints() == []
    assert pipeline.registry.pointer() == registry.Pointer()


# --- executions that end without a word of their own ------------------------------------------


def outside(pipeline: Pipeline, run_id: str, status: str) -> Any:
    """Call the function with the event that EventBridge sends."""
    detail = {
        "executionArn": pipeline.run(run_id).execution_arn,
        "stateMachineArn": pipeline.environment["STATE_MACHINE_ARN"],
        "name": run_id,
        "status": status,
        "input": json.dumps({"run_id": run_id}),
    }
    return handlers.check_model_status(
        {
            "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change",
            "detail": detail,
        }
    )


@pytest.mark.parametrize("status", ["TIMED_OUT", "ABORTED"])
def test_a_run_whose_execution_was_ended_is_closed_and_told_once(
    pipeline: Pipeline, status: str
) -> None:
    run_id = pipeline.start(pipeline.put())
    for _ in range(2):
        outside(pipeline, run_id, status)
    run = pipeline.run(run_id)
    assert run.status is Status.FAILED
    ((_, message),) = pipeline.notices()
    assert status in message
    assert f"bot pipeline retry {run_id}" in message


def test_an_endpoint_that_came_up_after_the_time_is_live(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put())
    pipeline.check(run_id, "training")
    assert pipeline.deploy(run_id)["status"] == "DEPLOYING"
    while pipeline.endpoints()[0]["Status"] != "IN_SERVICE":
        pass
    assert outside(pipeline, run_id, "TIMED_OUT")["status"] == "IN_SERVICE"
    assert pipeline.registry.pointer() == registry.Pointer(live=run_id)
    assert pipeline.run(run_id).status is Status.DEPLOYED


# --- office hours -----------------------------------------------------------------------------


def office_hours(pipeline: Pipeline, action: str) -> None:
    pipeline._until_settled(handlers.create_endpoint, {"office_hours": action}, "WAITING")


def test_the_morning_after_a_retraining_has_the_new_model(pipeline: Pipeline) -> None:
    pipeline.retrain()
    office_hours(pipeline, "stop")
    assert pipeline.endpoints() == []
    newer = pipeline.retrain(dataset(examples(13)))
    office_hours(pipeline, "stop")
    rejected = pipeline.retrain(confused())
    office_hours(pipeline, "start")
    assert served(pipeline) == newer
    assert pipeline.run(rejected).status is Status.REJECTED
    assert pipeline.registry.pointer().live == newer


def test_a_stop_during_a_deployment_waits_for_its_end(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put())
    pipeline.check(run_id, "training")
    pipeline.deploy(run_id)
    stop = {"office_hours": "stop"}
    assert handlers.create_endpoint(stop)["status"] == "WAITING"
    pipeline.check(run_id, "endpoint")
    office_hours(pipeline, "stop")
    assert pipeline.endpoints() == []


def test_without_a_live_model_the_office_hours_say_so(pipeline: Pipeline) -> None:
    with pytest.raises(UserError, match="No model is live yet"):
        handlers.create_endpoint({"office_hours": "start"})


def test_a_notice_does_not_list_every_fault_of_a_hopeless_dataset(pipeline: Pipeline) -> None:
    spaced = [{"text": f" Qui {number} ?", "intent": "A"} for number in range(50)]
    handlers.start_training(pipeline.put(dataset(spaced)))
    ((_, message),) = pipeline.notices()
    assert "… and 30 more." in message


def test_without_a_held_out_set_nothing_is_trained(pipeline: Pipeline) -> None:
    pipeline.aws.client("s3").delete_object(Bucket=pipeline.datasets, Key="heldout/heldout.json")
    handlers.start_training(pipeline.put())
    ((_, message),) = pipeline.notices()
    assert "put one to 's3://skills-bot-datasets/heldout/heldout.json'" in message


def test_a_notice_that_could_not_be_sent_is_sent_by_the_next_call(pipeline: Pipeline) -> None:
    event = pipeline.put(b"{")
    pipeline.aws.inject("sns", "Publish", **DENIED)
    with pytest.raises(AwsError):
        handlers.start_training(event)
    assert handlers.start_training(event)["runs"][0]["status"] == "REJECTED_DATASET"
    handlers.start_training(event)
    assert len(pipeline.notices()) == 1


def test_few_examples_and_leaked_ones_are_warnings(pipeline: Pipeline) -> None:
    pipeline.put_heldout(dataset(examples(4, first=10)))
    run = pipeline.run(pipeline.start(pipeline.put()))
    assert "WHO_IS has 12 examples; 50 are recommended" in run.warnings
    assert any(warning.startswith("6 of 12 texts of the held-out") for warning in run.warnings)


# --- the same event again ---------------------------------------------------------------------


def test_an_event_delivered_twice_trains_once(pipeline: Pipeline) -> None:
    event = pipeline.put()
    run_id = pipeline.start(event)
    assert handlers.start_training(event)["runs"][0]["status"] == "ALREADY_STARTED"
    pipeline.finish(run_id)
    assert handlers.start_training(event)["runs"][0]["status"] == "ALREADY_STARTED"
    assert pipeline.run(run_id).status is Status.DEPLOYED
    assert pipeline.versions() == pipeline.executions() == [run_id]


def test_a_version_that_exists_is_found(pipeline: Pipeline) -> None:
    event = pipeline.put()
    identity = registry.run_id(
        pipeline.datasets,
        "datasets/dataset.json",
        event["Records"][0]["s3"]["object"]["versionId"],
    )
    arn = pipeline.aws.client("comprehend").create_document_classifier(
        DocumentClassifierName="skills-bot-test",
        VersionName=identity,
        DataAccessRoleArn=pipeline.environment["ROLE_ARN"],
        InputDataConfig={"S3Uri": f"s3://{pipeline.artifacts}/runs/{identity}/train.csv"},
        LanguageCode="fr",
    )["DocumentClassifierArn"]
    assert pipeline.start(event) == identity
    assert pipeline.run(identity).training["arn"] == arn
    assert pipeline.versions() == [identity]


def test_an_event_delivered_several_times_at_once_trains_once(pipeline: Pipeline) -> None:
    event = pipeline.put()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(handlers.start_training, [event] * 4))
    statuses = [answer["runs"][0]["status"] for answer in answers]
    assert statuses.count("STARTED") == 1
    assert len(pipeline.versions()) == len(pipeline.executions()) == 1


def test_a_bad_dataset_delivered_several_times_at_once_makes_one_notice(
    pipeline: Pipeline,
) -> None:
    event = pipeline.put(b"{")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(handlers.start_training, [event] * 4))
    assert len(pipeline.notices()) == 1


# "after": the call took effect, and only its answer was lost.
@pytest.mark.parametrize(
    ("service", "operation", "resource", "when"),
    [
        ("s3", "GetObject", "datasets/dataset.json", "before"),
        ("s3", "GetObject", "heldout.json", "before"),
        ("s3", "PutObject", "train.csv", "before"),
        ("s3", "PutObject", "record.json", "before"),
        ("s3", "PutObject", "record.json", "after"),
        ("comprehend", "CreateDocumentClassifier", "", "before"),
        ("comprehend", "CreateDocumentClassifier", "", "after"),
        ("stepfunctions", "StartExecution", "", "before"),
        ("stepfunctions", "StartExecution", "", "after"),
    ],
)
def test_a_crash_between_two_steps_is_made_good_by_the_next_call(
    pipeline: Pipeline, service: str, operation: str, resource: str, when: str
) -> None:
    event = pipeline.put()
    pipeline.aws.inject(service, operation, resource=resource, when=when, **DENIED)
    with pytest.raises(AwsError):
        handlers.start_training(event)
    assert pipeline.aws.faults() == []  # it happened

    run_id = pipeline.start(event)  # as Lambda does after an error
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert pipeline.versions() == pipeline.executions() == [run_id]
    assert served(pipeline) == run_id


@pytest.mark.parametrize(
    ("service", "operation", "resource", "when"),
    [
        ("comprehend", "DescribeDocumentClassifier", "", "before"),
        ("s3", "GetObject", "output.tar.gz", "before"),
        ("s3", "PutObject", "metrics.json", "before"),
        ("s3", "PutObject", "record.json", "before"),
        ("s3", "PutObject", "record.json", "after"),
        ("s3", "PutObject", "live.json", "before"),
        ("s3", "PutObject", "live.json", "after"),
        ("comprehend", "CreateEndpoint", "", "before"),
        ("comprehend", "CreateEndpoint", "", "after"),
        ("comprehend", "DescribeEndpoint", "", "before"),
    ],
)
def test_a_crash_on_the_way_to_the_endpoint_is_made_good_by_the_next_call(
    pipeline: Pipeline, service: str, operation: str, resource: str, when: str
) -> None:
    run_id = pipeline.start(pipeline.put())
    pipeline.check(run_id, "training")
    pipeline.aws.inject(service, operation, resource=resource, when=when, **DENIED)
    with pytest.raises(AwsError):
        pipeline.finish(run_id)

    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert pipeline.registry.pointer().live == run_id
    assert served(pipeline) == run_id


@pytest.mark.parametrize("resource", ["record.json", "live.json"])
def test_a_write_whose_answer_is_lost_is_not_taken_for_somebody_elses(
    pipeline: Pipeline, resource: str
) -> None:
    """botocore tries again after such an error; the condition of the write then fails."""
    pipeline.aws.inject(
        "s3", "PutObject", resource=resource, when="after", code="InternalError", status=500,
        times=1,
    )  # fmt: skip
    (run,) = handlers.start_training(pipeline.put())["runs"]
    assert run["status"] == "STARTED"
    assert pipeline.finish(run["run_id"])["status"] == "IN_SERVICE"
    assert pipeline.aws.faults() == []
    assert pipeline.versions() == pipeline.executions() == [run["run_id"]]


def test_throttling_is_waited_for(pipeline: Pipeline) -> None:
    pipeline.aws.inject("comprehend", code="ThrottlingException", times=2)
    run_id = pipeline.start(pipeline.put())
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"


# --- trainings that end badly -----------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["IN_ERROR", "STOPPED"])
def test_a_failed_training_ends_in_a_notice_with_the_reason(
    pipeline: Pipeline, outcome: str
) -> None:
    pipeline.aws.inject(
        "comprehend", "CreateDocumentClassifier", outcome=outcome, message="No more capacity."
    )
    run_id = pipeline.start(pipeline.put())
    answer = pipeline.check(run_id, "training")

    assert answer["status"] == "FAILED"
    assert f"{outcome}: No more capacity." in answer["message"]
    run = pipeline.run(run_id)
    assert run.status is Status.TRAINING_FAILED
    assert "No more capacity." in run.reason
    assert pipeline.endpoints() == []


def test_a_training_with_a_warning_ends_well_and_the_warning_is_told(pipeline: Pipeline) -> None:
    pipeline.aws.inject(
        "comprehend",
        "CreateDocumentClassifier",
        outcome="TRAINED_WITH_WARNING",
        message="Some documents were left out.",
    )
    run_id = pipeline.start(pipeline.put())
    answer = pipeline.finish(run_id)
    assert answer["status"] == "IN_SERVICE"
    assert "- training: Some documents were left out." in answer["message"]


def test_a_version_deleted_by_hand_is_a_failed_training(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put())
    pipeline.check(run_id, "training")
    arn = pipeline.run(run_id).training["arn"]
    pipeline.aws.client("comprehend").delete_document_classifier(DocumentClassifierArn=arn)
    answer = pipeline.check(run_id, "training")
    assert answer["status"] == "FAILED"


# --- the quality gate -------------------------------------------------------------------------


def test_a_worse_model_is_not_deployed(pipeline: Pipeline, monkeypatch: Any) -> None:
    monkeypatch.setenv("GATE_FLOOR", "0")
    first = pipeline.retrain()
    second = pipeline.start(pipeline.put(confused()))
    answer = pipeline.finish(second)

    assert answer["status"] == "REJECTED"
    run = pipeline.run(second)
    assert run.status is Status.REJECTED
    assert run.gate["live_run"] == first
    assert run.gate["live_value"] == 1
    assert "against 1.0000 of the live model" in answer["message"]
    assert served(pipeline) == pipeline.registry.pointer().live == first
    assert pipeline.registry.pointer().deploying == ""
    # Asked again, as after a lost answer, it says the same.
    assert handlers.create_endpoint({"run_id": second}) == answer


def test_losses_do_not_add_up_from_run_to_run(pipeline: Pipeline, monkeypatch: Any) -> None:
    """Each of them loses less than the limit against the one before, the third too much in all."""
    monkeypatch.setenv("GATE_MAX_LOSS", "0.05")
    monkeypatch.setenv("GATE_METRIC", "accuracy")
    runs = []
    for count, correct in ((12, 1.0), (13, 0.96), (14, 0.92)):
        run_id = pipeline.start(pipeline.put(dataset(examples(count))))
        pipeline.check(run_id, "training")
        measured(pipeline, run_id, correct)
        runs.append((run_id, pipeline.finish(run_id)["status"]))
    assert [status for _, status in runs] == ["IN_SERVICE", "IN_SERVICE", "REJECTED"]
    gate = pipeline.run(runs[2][0]).gate
    assert (gate["live_run"], gate["best_run"]) == (runs[1][0], runs[0][0])
    assert f"1.0000 of the best, {runs[0][0]}" in gate["reason"]


def test_what_somebody_rolled_back_from_is_no_measure(pipeline: Pipeline, monkeypatch: Any) -> None:
    monkeypatch.setenv("GATE_METRIC", "accuracy")
    for count, correct in ((12, 0.9), (13, 1.0)):
        run_id = pipeline.start(pipeline.put(dataset(examples(count))))
        pipeline.check(run_id, "training")
        measured(pipeline, run_id, correct)
        pipeline.finish(run_id)
    pipeline.roll_back(pipeline.registry.pointer().previous)
    run_id = pipeline.start(pipeline.put(dataset(examples(14))))
    pipeline.check(run_id, "training")
    measured(pipeline, run_id, 0.9)
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"


def measured(pipeline: Pipeline, run_id: str, correct: float) -> None:
    """Have a trained run's figures be those of a model of which that share is right."""
    metrics = {"accuracy": correct, "macro_f1": correct, "test_examples": 12}
    pipeline.registry.update(run_id, lambda run: run.noted("MEASURED", metrics=metrics))


def test_how_much_a_model_may_lose_is_configurable(pipeline: Pipeline, monkeypatch: Any) -> None:
    monkeypatch.setenv("GATE_FLOOR", "0")
    monkeypatch.setenv("GATE_MAX_LOSS", "1")
    monkeypatch.setenv("GATE_METRIC", "accuracy")
    pipeline.retrain()
    second = pipeline.retrain(confused())
    assert pipeline.run(second).gate["metric"] == "accuracy"
    assert served(pipeline) == second


def test_the_first_model_must_reach_the_floor(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put(confused()))
    answer = pipeline.finish(run_id)
    assert answer["status"] == "REJECTED"
    assert "is below the floor 0.5000" in answer["message"]
    assert pipeline.endpoints() == []


def test_with_another_held_out_set_the_live_model_is_measured_again(
    pipeline: Pipeline, monkeypatch: Any
) -> None:
    first = pipeline.retrain()
    heldout = examples(5, first=200)
    # A text that the live model cannot know.
    heldout.append({"text": "Qui est Bob ?", "intent": "HOW_ARE_YOU"})
    pipeline.put_heldout(dataset(heldout))
    second = pipeline.retrain(dataset(examples(14)))

    gate = pipeline.run(second).gate
    assert gate["measured_again"] is True
    assert gate["live_run"] == first
    assert 0.8 < gate["live_value"] < 1


def test_measuring_again_outlasts_a_throttled_endpoint(pipeline: Pipeline) -> None:
    pipeline.retrain()
    pipeline.put_heldout(dataset(examples(2, first=200)))
    # More often than botocore tries.
    pipeline.aws.inject("comprehend", "ClassifyDocument", code="ThrottlingException", times=4)
    second = pipeline.retrain(dataset(examples(14)))
    assert pipeline.aws.faults() == []
    assert pipeline.run(second).gate["live_value"] == 1


def test_a_live_model_whose_endpoint_is_gone_does_not_block(pipeline: Pipeline) -> None:
    pipeline.retrain()
    pipeline.put_heldout(dataset(examples(5, first=200)))
    comprehend = pipeline.aws.client("comprehend")
    comprehend.delete_endpoint(EndpointArn=pipeline.endpoints()[0]["EndpointArn"])
    second = pipeline.retrain(dataset(examples(14)))
    assert pipeline.run(second).gate["live_value"] is None
    assert served(pipeline) == second


# --- two datasets in quick succession ---------------------------------------------------------


def test_an_older_dataset_never_replaces_a_newer_one(pipeline: Pipeline) -> None:
    older = pipeline.start(pipeline.put(key="datasets/a.json"))
    newer = pipeline.retrain(dataset(examples(13)), key="datasets/b.json")
    answer = pipeline.finish(older)
    assert answer["status"] == "SUPERSEDED"
    assert newer in answer["message"]
    assert pipeline.run(older).status is Status.SUPERSEDED
    assert served(pipeline) == pipeline.registry.pointer().live == newer


def test_the_newer_one_waits_for_the_deployment_of_the_older(pipeline: Pipeline) -> None:
    older = pipeline.start(pipeline.put(key="datasets/a.json"))
    newer = pipeline.start(pipeline.put(dataset(examples(13)), key="datasets/b.json"))
    for run_id in (older, newer):
        pipeline.check(run_id, "training")
    assert handlers.create_endpoint({"run_id": older})["status"] == "DEPLOYING"
    assert handlers.create_endpoint({"run_id": newer})["status"] == "WAITING"
    assert pipeline.check(older, "endpoint")["status"] == "IN_SERVICE"
    assert pipeline.finish(newer)["status"] == "IN_SERVICE"
    assert pipeline.registry.pointer().live == newer
    assert pipeline.registry.pointer().previous == older


def test_a_run_whose_execution_died_does_not_block_the_next(pipeline: Pipeline) -> None:
    dead = pipeline.start(pipeline.put(key="datasets/a.json"))
    newer = pipeline.start(pipeline.put(dataset(examples(13)), key="datasets/b.json"))
    for run_id in (dead, newer):
        pipeline.check(run_id, "training")
    assert pipeline.deploy(dead)["status"] == "DEPLOYING"
    pipeline.aws.client("stepfunctions").stop_execution(
        executionArn=pipeline.run(dead).execution_arn
    )
    assert pipeline.finish(newer)["status"] == "IN_SERVICE"
    assert served(pipeline) == newer


# --- endpoints that fail ----------------------------------------------------------------------


def test_a_failed_endpoint_ends_in_a_notice_and_the_next_run_replaces_it(
    pipeline: Pipeline,
) -> None:
    pipeline.aws.inject(
        "comprehend", "CreateEndpoint", outcome="FAILED", message="No capacity.", times=1
    )
    # It has failed before the function looks at it for the first time.
    pipeline.aws.inject("comprehend", "DescribeEndpoint", delay_seconds=0.5, times=1)
    first = pipeline.start(pipeline.put())
    answer = pipeline.finish(first)
    assert answer["status"] == "FAILED"
    assert "FAILED: No capacity." in answer["message"]
    assert pipeline.run(first).status is Status.DEPLOYMENT_FAILED
    assert pipeline.registry.pointer().live == ""

    second = pipeline.retrain(dataset(examples(14)))
    assert served(pipeline) == pipeline.registry.pointer().live == second


def test_a_failed_update_says_how_to_go_back(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    pipeline.aws.inject("comprehend", "UpdateEndpoint", outcome="FAILED", times=1)
    second = pipeline.start(pipeline.put(dataset(examples(14))))
    answer = pipeline.finish(second)
    assert answer["status"] == "FAILED"
    assert f"bot pipeline rollback --to {first}" in answer["message"]
    assert pipeline.registry.pointer().live == first


def test_an_endpoint_deleted_meanwhile_is_a_failure(pipeline: Pipeline) -> None:
    run_id = pipeline.retrain()
    arn = pipeline.endpoints()[0]["EndpointArn"]
    pipeline.aws.client("comprehend").delete_endpoint(EndpointArn=arn)
    while pipeline.endpoints():
        pass
    answer = pipeline.check(run_id, "endpoint")
    assert answer["status"] == "FAILED"


# --- what the state machine gives up ----------------------------------------------------------


def test_what_the_state_machine_caught_closes_the_run(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put())
    cause = {"errorMessage": "Task timed out after 60.00 seconds", "errorType": "Timeout"}
    error = {"Error": "Lambda.Unknown", "Cause": json.dumps(cause)}
    answer = handlers.check_model_status({"run_id": run_id, "stage": "failure", "error": error})
    assert answer["status"] == "FAILED"
    assert "Lambda.Unknown: Task timed out after 60.00 seconds" in answer["message"]
    assert pipeline.run(run_id).status is Status.FAILED


def test_a_failure_after_the_end_does_not_change_how_it_ended(pipeline: Pipeline) -> None:
    run_id = pipeline.retrain()
    error = {"Error": "States.Timeout", "Cause": ""}
    answer = handlers.check_model_status({"run_id": run_id, "stage": "failure", "error": error})
    assert "After that: States.Timeout" in answer["message"]
    assert pipeline.run(run_id).status is Status.DEPLOYED


def test_a_run_that_was_given_up_is_deployed_when_it_is_tried_again(pipeline: Pipeline) -> None:
    run_id = pipeline.start(pipeline.put())
    event = {"run_id": run_id, "stage": "failure", "error": {"Error": "E", "Cause": "C"}}
    handlers.check_model_status(event)
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert pipeline.run(run_id).reason == ""


# --- old versions -----------------------------------------------------------------------------


def test_old_versions_are_pruned_but_for_the_live_one_and_its_predecessor(
    pipeline: Pipeline, monkeypatch: Any
) -> None:
    monkeypatch.setenv("KEEP_VERSIONS", "1")
    monkeypatch.setenv("GATE_FLOOR", "0")
    oldest = pipeline.retrain()
    previous = pipeline.retrain(dataset(examples(13)))
    live = pipeline.retrain(dataset(examples(14)))
    rejected = pipeline.retrain(confused())

    assert pipeline.run(rejected).status is Status.REJECTED
    assert pipeline.run(oldest).pruned_at
    kept = {run.run_id for run in pipeline.registry.runs() if not run.pruned_at}
    assert kept == {previous, live, rejected}
    assert served(pipeline) == live


def test_a_version_that_another_endpoint_serves_stays(pipeline: Pipeline, monkeypatch: Any) -> None:
    monkeypatch.setenv("KEEP_VERSIONS", "1")
    oldest = pipeline.retrain()
    pipeline.aws.client("comprehend").create_endpoint(
        EndpointName="other",
        ModelArn=pipeline.run(oldest).training["arn"],
        DesiredInferenceUnits=1,
    )
    for count in (13, 14):
        pipeline.retrain(dataset(examples(count)))
    assert not pipeline.run(oldest).pruned_at
    assert pipeline.registry.runs()[0].status is Status.DEPLOYED


def test_each_permission_is_needed(
    done: dict[str, set[str]], request: pytest.FixtureRequest
) -> None:
    if not permissions.whole_file_runs(request):
        pytest.skip("it looks at what all tests of this file have called")
    # Without the list, what does not exist is "access denied".
    assert permissions.unused("comprehend", done) <= {"s3:ListBucket"}
