"""``bot comprehend endpoint`` against the local AWS: the commands as a user types them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bot.cli import main
from components.comprehend.documents import to_csv
from components.comprehend.office_hours import Schedules
from components.comprehend.service import READY, Comprehend, Version
from localaws import LocalAWS
from tests.support.local_aws import BUCKET, ROLE, local_aws

BOT = "skills-bot"
SCHEDULER_ROLE = "arn:aws:iam::123456789012:role/scheduler"


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAWS]:
    with local_aws(comprehend_throughput=0, time_scale=0.0001) as aws:
        yield aws


@pytest.fixture(scope="module")
def versions(aws: LocalAWS) -> list[Version]:
    """Two trained versions of the classifier, oldest first."""
    service = Comprehend()
    examples = [(intent, f"{intent} {number}") for intent in "ABC" for number in range(10)]
    uri = f"s3://{BUCKET}/train.csv"
    service.upload(uri, to_csv(examples).content)
    trained = []
    for name in ("v-1", "v-2"):
        version = service.start_training(
            BOT, name, role_arn=ROLE, train_uri=uri, output_uri=f"s3://{BUCKET}/output"
        )
        while version.state != READY:
            version = service.describe_version(version.arn)
        trained.append(version)
    return trained


@pytest.fixture
def no_endpoint(aws: LocalAWS) -> Iterator[None]:
    """Nothing runs before or after the test."""
    yield
    service = Comprehend()
    while endpoint := service.endpoint(BOT):
        if endpoint.status == "IN_SERVICE":
            service.delete_endpoint(endpoint.arn)
    aws.clear_faults()


@dataclass
class Outcome:
    """What a command printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(
    versions: list[Version],
    no_endpoint: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """``bot comprehend endpoint …`` from its entry point."""

    def command(*arguments: str, answer: str = "") -> Outcome:
        monkeypatch.setattr("sys.argv", ["bot", "comprehend", "endpoint", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return command


def start(run: Run, *arguments: str) -> Outcome:
    outcome = run("start", "--poll-seconds", "0.02", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    return outcome


def test_a_working_day(run: Run, versions: list[Version]) -> None:
    assert "There is no endpoint 'skills-bot' in eu-west-1" in run("status").stdout
    outcome = start(run)
    assert re.search(r"State +IN_SERVICE", outcome.stdout)
    assert versions[1].arn in outcome.stdout  # the last one trained
    outcome = run("status")
    assert re.search(r"Units +1\n", outcome.stdout)
    assert re.search(r"about \$\d+\.\d\d so far, \$1\.80 an hour \(\$0\.0005 a", outcome.stdout)
    assert re.search(r"https://aws.amazon.com/comprehend/pricing/, 20\d\d-", outcome.stdout)
    assert "is being deleted. It cost about $0." in run("stop", "--yes").stdout


def test_starting_twice_makes_one_endpoint(run: Run, aws: LocalAWS) -> None:
    start(run)
    before = aws.calls(operation="CreateEndpoint"), aws.calls(operation="UpdateEndpoint")
    start(run)
    assert before == (aws.calls(operation="CreateEndpoint"), aws.calls(operation="UpdateEndpoint"))


def test_version_and_units_are_changed_where_asked(run: Run, versions: list[Version]) -> None:
    start(run, "--version", "v-1", "--units", "2")
    outcome = start(run)  # neither is asked for: both stay
    assert versions[0].arn in outcome.stdout
    assert re.search(r"Units +2\n", outcome.stdout)
    outcome = start(run, "--version", "v-2", "--units", "3")
    assert versions[1].arn in outcome.stdout
    assert "$5.40 an hour" in outcome.stdout


def test_starting_without_waiting(run: Run, aws: LocalAWS) -> None:
    aws.set(comprehend_endpoint_seconds=20_000)
    outcome = run("start", "--no-wait")
    aws.set(comprehend_endpoint_seconds=900)
    assert re.search(r"State +CREATING", outcome.stdout)


def test_a_failed_start_says_why(run: Run, aws: LocalAWS) -> None:
    aws.inject("comprehend", "CreateEndpoint", outcome="FAILED", message="No capacity.", times=1)
    outcome = run("start", "--poll-seconds", "0.02")
    assert outcome.returncode == 1
    assert "FAILED (No capacity.)" in outcome.stderr
    assert re.search(r"State +IN_SERVICE", start(run).stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classifier", "nobody"], "'nobody' has no trained version in eu-west-1"),
        (["--version", "v-9"], r"no trained version 'v-9'.*v-2 \(TRAINED"),
        (["--region", "eu-west-3"], "no 'comprehend' in the region 'eu-west-3'"),
        (["--endpoint", "skills_bot"], "'skills_bot' cannot name"),
    ],
)
def test_what_cannot_be_started(run: Run, arguments: list[str], message: str) -> None:
    outcome = run("start", *arguments)
    assert outcome.returncode == 1
    assert re.search(message, outcome.stderr, re.DOTALL)


def test_stopping_asks(run: Run) -> None:
    start(run)
    assert run("stop", answer="n\n").returncode == 1
    assert Comprehend().endpoint(BOT) is not None
    assert run("stop", answer="y\n").returncode == 0
    while Comprehend().endpoint(BOT):
        pass
    assert "There is no endpoint" in run("stop").stdout


# --- Office hours


@pytest.fixture
def schedule(aws: LocalAWS) -> Iterator[Callable[[str], dict[str, Any]]]:
    scheduler = aws.client("scheduler")
    yield lambda action: scheduler.get_schedule(Name=f"{BOT}-{action}")
    for found in scheduler.list_schedules()["Schedules"]:
        scheduler.delete_schedule(Name=found["Name"])


Schedule = Callable[[str], dict[str, Any]]


def test_office_hours(run: Run, schedule: Schedule, versions: list[Version]) -> None:
    outcome = run("schedule", "--role-arn", SCHEDULER_ROLE, "--units", "2")
    assert outcome.returncode == 0, outcome.stderr
    assert "with the version 'v-2' at 07:30 and deleted at 19:00, MON-FRI" in outcome.stdout
    created, deleted = schedule("start"), schedule("stop")
    assert created["ScheduleExpression"] == "cron(30 7 ? * MON-FRI *)"
    assert deleted["ScheduleExpression"] == "cron(0 19 ? * MON-FRI *)"
    assert created["ScheduleExpressionTimezone"] == "Europe/Paris"
    assert created["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:comprehend:createEndpoint"
    assert deleted["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:comprehend:deleteEndpoint"
    assert created["Target"]["RoleArn"] == deleted["Target"]["RoleArn"] == SCHEDULER_ROLE
    status = run("status").stdout
    assert "starts at cron(30 7 ? * MON-FRI *), Europe/Paris" in status
    assert "stops at cron(0 19 ? * MON-FRI *), Europe/Paris" in status


def test_what_is_scheduled_is_what_comprehend_takes(
    run: Run, schedule: Schedule, aws: LocalAWS, versions: list[Version]
) -> None:
    run("schedule", "--role-arn", SCHEDULER_ROLE, "--data-access-role-arn", ROLE)
    assert json.loads(schedule("start")["Target"]["Input"])["DataAccessRoleArn"] == ROLE
    comprehend = aws.client("comprehend")
    created = comprehend.create_endpoint(**json.loads(schedule("start")["Target"]["Input"]))
    while Comprehend().endpoint(BOT).state != READY:  # type: ignore[union-attr]
        pass
    deletion = json.loads(schedule("stop")["Target"]["Input"])
    assert deletion == {"EndpointArn": created["EndpointArn"]}
    comprehend.delete_endpoint(**deletion)


def test_office_hours_are_changed_not_doubled(run: Run, schedule: Schedule, aws: LocalAWS) -> None:
    run("schedule", "--role-arn", SCHEDULER_ROLE)
    options = ["--start", "08:00", "--days", "MON,WED", "--timezone", "Europe/London"]
    outcome = run("schedule", "--role-arn", SCHEDULER_ROLE, "--version", "v-1", *options)
    assert outcome.returncode == 0, outcome.stderr
    assert schedule("start")["ScheduleExpression"] == "cron(0 8 ? * MON,WED *)"
    assert schedule("start")["ScheduleExpressionTimezone"] == "Europe/London"
    assert "version/v-1" in schedule("start")["Target"]["Input"]
    assert len(aws.client("scheduler").list_schedules()["Schedules"]) == 2


def test_office_hours_follow_a_training(
    run: Run, schedule: Schedule, versions: list[Version]
) -> None:
    run("schedule", "--role-arn", SCHEDULER_ROLE, "--version", "v-1", "--start", "08:00")
    assert Schedules().move(BOT, versions[1].arn)
    assert "version/v-2" in schedule("start")["Target"]["Input"]
    assert schedule("start")["ScheduleExpression"] == "cron(0 8 ? * MON-FRI *)"
    assert schedule("start")["Target"]["RoleArn"] == SCHEDULER_ROLE
    assert not Schedules().move(BOT, versions[1].arn)
    assert not Schedules().move("other", versions[1].arn)


def test_office_hours_are_removed(run: Run, schedule: Schedule, aws: LocalAWS) -> None:
    run("schedule", "--role-arn", SCHEDULER_ROLE)
    assert "Schedule removed." in run("schedule", "--remove").stdout
    assert aws.client("scheduler").list_schedules()["Schedules"] == []
    assert "had no schedule" in run("schedule", "--remove").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --role-arn"),
        (["--start", "7h30"], "'7h30' is no time of day"),
        (["--start", "24:00"], "'24:00' is no time of day"),
        (["--start", "19:00"], "cannot start and stop at the same time"),
        (["--days", "lundi"], "'lundi' are no days"),
        (["--timezone", "Paris"], "'Paris' is no time zone"),
        (["--endpoint", "skills_bot"], "'skills_bot' cannot name"),
    ],
)
def test_office_hours_that_cannot_be(run: Run, arguments: list[str], message: str) -> None:
    role = ["--role-arn", SCHEDULER_ROLE] if arguments else []
    outcome = run("schedule", *role, *arguments)
    assert outcome.returncode == 1
    assert message in outcome.stderr
