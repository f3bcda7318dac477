"""``bot pipeline`` against the local AWS."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from bot.retraining import handlers
from common.errors import UserError
from localaws import LocalAWS
from tests.support.retraining_harness import TIME_SCALE, Pipeline, confused, dataset, examples


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with LocalAWS(time_scale=TIME_SCALE, comprehend_throughput=0) as aws:
        yield aws


@pytest.fixture
def pipeline(server: LocalAWS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    created = Pipeline.create(server)
    for name, value in created.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    yield created
    server.reset()


def bot(*arguments: str, answer: str = "") -> Result:
    """Run ``bot pipeline``; it finds its bucket by the environment."""
    return CliRunner().invoke(app, ["pipeline", *arguments], input=answer)


def served(pipeline: Pipeline) -> str:
    (endpoint,) = pipeline.endpoints()
    assert endpoint["Status"] == "IN_SERVICE"
    return str(endpoint["ModelArn"].rsplit("/", 1)[-1])


def refusal(result: Result) -> str:
    """Return the message of the error that ended a command."""
    assert isinstance(result.exception, UserError)
    return str(result.exception)


def test_status_shows_the_live_run_and_what_is_under_way(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    second = pipeline.retrain(dataset(examples(13)))
    third = pipeline.start(pipeline.put(dataset(examples(14)), key="datasets/[bold].json"))

    live, previous, deploying, endpoint, under_way = bot("status").output.splitlines()
    assert live.split()[:2] == ["Live", second]
    assert previous.split()[:2] == ["Previous", first]
    assert deploying.split() == ["Being", "deployed", "none"]
    assert endpoint.split() == ["Endpoint", "IN_SERVICE"]
    assert under_way.split()[:3] == ["Under", "way", third]
    assert "(s3://skills-bot-datasets/datasets/[bold].json of " in under_way
    assert under_way.rstrip().endswith(": TRAINING")


def test_without_any_run_it_says_so(pipeline: Pipeline) -> None:
    for command in ("status", "history", "rollback"):
        assert "has no run" in refusal(bot(command))


def test_history_lists_the_runs_newest_first(pipeline: Pipeline) -> None:
    good = pipeline.retrain()
    bad = pipeline.start(pipeline.put(b"{", key="datasets/broken.json"))

    lines = bot("history").output.splitlines()
    rows = [line for line in lines if good in line or bad in line]
    assert bad in rows[0]
    assert "REJECTED_DATASET" in rows[0]
    assert "DEPLOYED live" in rows[1]
    assert "1.000" in rows[1]
    records = json.loads(bot("history", "--json").output)
    assert [record["run_id"] for record in records] == [bad, good]
    assert len(json.loads(bot("history", "--json", "--limit", "1").output)) == 1


def test_rollback_goes_back_and_forth(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    second = pipeline.retrain(dataset(examples(13)))

    result = bot("rollback", "--every", "0.02", answer="y\n")
    assert result.exit_code == 0, result.output
    assert f"{first} is live." in result.output
    assert served(pipeline) == pipeline.registry.pointer().live == first
    assert pipeline.run(first).timeline[-1]["event"] == f"ROLLED BACK FROM {second}"
    assert pipeline.run(second).timeline[-1]["event"] == f"ROLLED BACK TO {first}"

    assert bot("rollback", "--yes", "--every", "0.02").exit_code == 0
    assert served(pipeline) == pipeline.registry.pointer().live == second


def test_rollback_to_a_named_run(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    for count in (13, 14):
        pipeline.retrain(dataset(examples(count)))
    assert bot("rollback", "--to", first, "--yes", "--every", "0.02").exit_code == 0
    assert served(pipeline) == first


def test_rollback_puts_the_live_model_back_after_a_failed_update(pipeline: Pipeline) -> None:
    live = pipeline.retrain()
    pipeline.aws.inject("comprehend", "UpdateEndpoint", outcome="FAILED", times=1)
    pipeline.retrain(dataset(examples(13)))
    result = bot("rollback", "--to", live, "--yes", "--every", "0.02")
    assert result.exit_code == 0, result.output
    assert served(pipeline) == pipeline.registry.pointer().live == live


def test_rollback_asks_first(pipeline: Pipeline) -> None:
    pipeline.retrain()
    second = pipeline.retrain(dataset(examples(13)))
    assert bot("rollback", answer="n\n").exit_code == 1
    assert served(pipeline) == pipeline.registry.pointer().live == second


def test_rollback_that_fails_says_why_and_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.retrain()
    second = pipeline.retrain(dataset(examples(13)))
    pipeline.aws.inject("comprehend", "UpdateEndpoint", outcome="FAILED", message="No capacity.")
    assert "FAILED: No capacity." in refusal(bot("rollback", "--yes", "--every", "0.02"))
    assert pipeline.registry.pointer().live == second


def test_rollback_refuses_what_cannot_be_served(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEP_VERSIONS", "1")
    first = pipeline.retrain()
    assert "no previous model" in refusal(bot("rollback", "--yes"))
    for count in (13, 14):
        pipeline.retrain(dataset(examples(count)))
    broken = pipeline.start(pipeline.put(b"{"))
    assert "was deleted" in refusal(bot("rollback", "--to", first, "--yes"))
    assert "has no trained model" in refusal(bot("rollback", "--to", broken, "--yes"))
    assert "There is no run" in refusal(bot("rollback", "--to", "r-0", "--yes"))


def test_rollback_waits_for_no_deployment_under_way(pipeline: Pipeline) -> None:
    first = pipeline.retrain()
    second = pipeline.start(pipeline.put(dataset(examples(13))))
    pipeline.check(second, "training")
    handlers.create_endpoint({"run_id": second})
    assert f"{second} is being deployed" in refusal(bot("rollback", "--to", first, "--yes"))


# --- a run is taken up again ------------------------------------------------------------------


def test_a_failed_training_is_tried_again_under_another_name(pipeline: Pipeline) -> None:
    pipeline.aws.inject("comprehend", "CreateDocumentClassifier", outcome="IN_ERROR", times=1)
    run_id = pipeline.retrain()
    assert bot("retry", run_id).exit_code == 0
    assert handlers.start_training({"run_id": run_id})["status"] == "IN_PROGRESS"
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert sorted(pipeline.versions()) == [run_id, f"{run_id}-2"]
    assert sorted(pipeline.executions()) == [run_id, f"{run_id}-2"]
    assert "there is nothing to try again" in refusal(bot("retry", run_id))


def test_what_was_trained_is_not_trained_again(pipeline: Pipeline) -> None:
    pipeline.aws.inject("comprehend", "CreateEndpoint", outcome="FAILED", times=1)
    run_id = pipeline.start(pipeline.put())
    assert "is under way" in refusal(bot("retry", run_id))
    pipeline.finish(run_id)
    assert bot("retry", run_id).exit_code == 0
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert pipeline.versions() == [run_id]
    assert sorted(pipeline.executions()) == [run_id, f"{run_id}-2"]


def test_an_approval_makes_a_run_live_and_is_in_the_log(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROVAL", "manual")
    run_id = pipeline.retrain()
    assert f"bot pipeline approve {run_id}" in bot("status").output
    assert f"bot pipeline approve {run_id}" in bot("watch", run_id).output
    assert "there is nothing to try again" in refusal(bot("retry", run_id))
    assert bot("approve", run_id).exit_code == 0
    assert pipeline.finish(run_id)["status"] == "IN_SERVICE"
    assert served(pipeline) == run_id
    assert pipeline.run(run_id).approved_by.startswith("arn:aws:")
    assert "does not wait for approval" in refusal(bot("approve", run_id))


# --- what is served, and when -----------------------------------------------------------------


def endpoint(*arguments: str) -> Result:
    """Run ``bot comprehend endpoint`` for the endpoint of the pipeline."""
    options = ["--endpoint", "skills-bot-test"]
    return CliRunner().invoke(app, ["comprehend", "endpoint", *arguments, *options])


def test_saving_costs_does_not_go_round_the_gate(pipeline: Pipeline) -> None:
    live = pipeline.retrain()
    rejected = pipeline.retrain(confused())
    assert endpoint("stop", "--yes").exit_code == 0
    text = refusal(endpoint("start", "--version", rejected, "--poll-seconds", "0.02"))
    assert "REJECTED" in text
    assert f"bot pipeline rollback --bucket {pipeline.artifacts} --to {rejected}" in text
    result = endpoint("start", "--poll-seconds", "0.02")
    assert result.exit_code == 0, result.output
    assert served(pipeline) == live


def test_before_anything_passed_the_gate_nothing_is_started(pipeline: Pipeline) -> None:
    pipeline.retrain(confused())
    assert "has no live model" in refusal(endpoint("start"))


def test_status_says_when_something_else_is_served(pipeline: Pipeline) -> None:
    live = pipeline.retrain()
    other = pipeline.retrain(confused())
    pipeline.aws.client("comprehend").update_endpoint(
        EndpointArn=pipeline.endpoints()[0]["EndpointArn"],
        DesiredModelArn=pipeline.run(other).training["arn"],
    )
    while pipeline.endpoints()[0]["Status"] != "IN_SERVICE":
        pass
    assert f"bot pipeline rollback --to {live}" in bot("status").output


def test_office_hours_ask_the_pipeline_which_model_is_live(pipeline: Pipeline) -> None:
    pipeline.retrain()
    role = "arn:aws:iam::123456789012:role/office-hours"
    result = endpoint("schedule", "--role-arn", role)
    assert result.exit_code == 0, result.output
    assert "the version that is live then" in result.output
    assert "the pipeline says" in refusal(
        endpoint("schedule", "--role-arn", role, "--units", "2")
    ).replace("The", "the")
    scheduler = pipeline.aws.client("scheduler")
    for action in ("start", "stop"):
        target = scheduler.get_schedule(Name=f"skills-bot-test-{action}")["Target"]
        assert target["Arn"] == f"{pipeline.environment['STATE_MACHINE_ARN']}-office-hours"
        assert json.loads(target["Input"]) == {"office_hours": action}
        assert target["DeadLetterConfig"]["Arn"].endswith(":retraining-dead-letters")
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] >= 4 * 3600


def test_teardown_leaves_nothing_that_is_billed(pipeline: Pipeline) -> None:
    pipeline.retrain()
    pipeline.retrain(confused())
    endpoint("schedule", "--role-arn", "arn:aws:iam::123456789012:role/office-hours")
    under_way = pipeline.start(pipeline.put(dataset(examples(13))))
    assert under_way in refusal(bot("teardown", "--yes"))
    pipeline.finish(under_way)
    result = bot("teardown", "--yes", "--every", "0.02")
    assert result.exit_code == 0, result.output
    assert pipeline.endpoints() == []
    assert pipeline.aws.client("scheduler").list_schedules()["Schedules"] == []
    assert all(run.pruned_at for run in pipeline.registry.runs())
    while pipeline.versions():
        pass
    assert pipeline.registry.pointer().live == ""


def test_watch_follows_a_run_to_the_answer_of_its_endpoint(pipeline: Pipeline) -> None:
    event = pipeline.put(key="datasets/l'été.json")

    def work() -> None:
        pipeline.finish(pipeline.start(event))

    thread = threading.Thread(target=work)
    thread.start()
    result = bot(
        "watch", "--dataset", "s3://skills-bot-datasets/datasets/l'été.json",
        "--ask", "Qui est Marie ?", "--every", "0.02",
    )  # fmt: skip
    thread.join()
    assert result.exit_code == 0, result.output
    steps = [line.split()[-1] for line in result.output.splitlines()]
    assert steps[1:-1] == [
        "STARTING", "TRAINING", "TRAINED_WITH_WARNING", "MEASURED", "DEPLOYING", "DEPLOYED",
    ]  # fmt: skip
    assert "« Qui est Marie ? » → WHO_IS" in result.output


def test_watch_fails_with_the_run(pipeline: Pipeline) -> None:
    run_id = pipeline.retrain(confused())
    assert f"{run_id} is REJECTED" in refusal(bot("watch", "--every", "0.02"))


def test_watch_does_not_wait_for_ever(pipeline: Pipeline) -> None:
    text = refusal(bot("watch", "--patience", "0", "--every", "0.02"))
    assert "Waited long enough for a run to begin" in text
    assert "--patience" in text


def test_what_is_not_there_is_told_with_what_to_do(pipeline: Pipeline) -> None:
    for name in ("no-such-bucket", "No bucket's name"):
        text = refusal(bot("status", "--bucket", name))
        assert f"There is no bucket '{name}'" in text
        assert "`terraform output`" in text
    missing = "s3://skills-bot-datasets/datasets/none.json"
    assert f"put it there first: aws s3 cp FILE '{missing}'" in refusal(
        bot("watch", "--dataset", missing)
    )
