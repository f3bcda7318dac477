"""``bot pipeline`` against the local AWS."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bot.cli import app
from bot.errors import UserError
from bot.retraining import handlers
from infra.localaws import LocalAWS
from tests.retraining_harness import TIME_SCALE, Pipeline, confused, dataset, examples


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
