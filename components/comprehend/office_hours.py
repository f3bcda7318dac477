"""Office hours of an endpoint, kept by Amazon EventBridge Scheduler.

Two schedules, one creates the endpoint, one deletes it. Without a pipeline they call Comprehend
itself ("universal targets", EventBridge Scheduler User Guide) and nothing of ours runs in between.
With one they start its state machine for office hours, which asks which run is live then, and has
the patience that an endpoint that is being changed asks for.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zoneinfo
from typing import Any

from common.aws import AwsError, aws_errors, client
from common.errors import UserError

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_DAY = "(MON|TUE|WED|THU|FRI|SAT|SUN)"
_DAYS = re.compile(rf"{_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)*")


@dataclasses.dataclass(frozen=True)
class OfficeHours:
    """When an endpoint exists.

    Attributes:
        start: Time of day, ``HH:MM``, at which it is created. It answers about 15 minutes later.
        stop: Time of day at which it is deleted.
        days: Such as ``MON-FRI`` or ``MON,WED``.
        timezone: Name of the IANA time zone of both.
    """

    start: str
    stop: str
    days: str
    timezone: str

    def __post_init__(self) -> None:
        for value in (self.start, self.stop):
            if not _TIME.fullmatch(value):
                raise UserError(f"'{value}' is no time of day; write it as HH:MM, such as 07:30.")
        if self.start == self.stop:
            raise UserError("An endpoint cannot start and stop at the same time of day.")
        if not _DAYS.fullmatch(self.days):
            raise UserError(f"'{self.days}' are no days; write them as MON-FRI or MON,WED,FRI.")
        if self.timezone not in zoneinfo.available_timezones():
            raise UserError(f"'{self.timezone}' is no time zone; an example: Europe/Paris.")

    def cron(self, time: str) -> str:
        """Return the expression for one of the two times."""
        hour, minute = (int(part) for part in time.split(":"))
        return f"cron({minute} {hour} ? * {self.days} *)"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A schedule as AWS has it.

    Attributes:
        expression: Such as ``cron(30 7 ? * MON-FRI *)``.
        timezone: Name of the time zone.
        request: What Comprehend is sent.
    """

    expression: str
    timezone: str
    request: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Target:
    """What a schedule calls.

    Attributes:
        arn: What is called.
        input: What it is sent.
        dead_letters: Queue for what could not be delivered; empty: none.
    """

    arn: str
    input: dict[str, Any]
    dead_letters: str = ""

    def request(self) -> dict[str, Any]:
        """Return the ``Target`` of a schedule, but for the role.

        It is tried for hours: an endpoint that is being changed can be neither changed nor deleted,
        and one whose deletion was given up is billed all night.
        """
        return {
            "Arn": self.arn,
            "Input": json.dumps(self.input),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 6 * 3600, "MaximumRetryAttempts": 185},
            **({"DeadLetterConfig": {"Arn": self.dead_letters}} if self.dead_letters else {}),
        }


class Schedules:
    """The schedules of endpoints in one region.

    Raises:
        UserError: No region is set.
    """

    def __init__(self, region: str | None = None) -> None:
        self._client = client("scheduler", region)

    def set(
        self, endpoint: str, hours: OfficeHours, role_arn: str, targets: tuple[Target, Target]
    ) -> None:
        """Create or change the two schedules of an endpoint.

        Args:
            endpoint: Name of the endpoint.
            hours: When.
            role_arn: Role by which the scheduler does it.
            targets: What it does at the start and at the stop.

        Raises:
            AwsError: AWS refuses.
        """
        for action, time, target in zip(
            ("start", "stop"), (hours.start, hours.stop), targets, strict=True
        ):
            self._put(
                {
                    "Name": _name(endpoint, action),
                    "Description": f"{action.capitalize()} the Comprehend endpoint '{endpoint}'",
                    "ScheduleExpression": hours.cron(time),
                    "ScheduleExpressionTimezone": hours.timezone,
                    "FlexibleTimeWindow": {"Mode": "OFF"},
                    "Target": {**target.request(), "RoleArn": role_arn},
                }
            )

    def _put(self, schedule: dict[str, Any]) -> None:
        try:
            with aws_errors(f"create the schedule '{schedule['Name']}'"):
                self._client.create_schedule(**schedule)
        except AwsError as error:
            if not error.exists:
                raise
            with aws_errors(f"change the schedule '{schedule['Name']}'"):
                self._client.update_schedule(**schedule)

    def move(self, endpoint: str, model_arn: str) -> bool:
        """Have a scheduled endpoint be created with another version; return whether one is.

        Raises:
            AwsError: AWS refuses.
        """
        found = self._found(_name(endpoint, "start"))
        request = json.loads(found["Target"].get("Input", "{}")) if found else {}
        if found is None or request.get("ModelArn") in (None, model_arn):
            return False
        target = {**found["Target"], "Input": json.dumps({**request, "ModelArn": model_arn})}
        kept = ("Name", "Description", "ScheduleExpression", "ScheduleExpressionTimezone")
        self._put(
            {
                **{key: found[key] for key in kept if key in found},
                "FlexibleTimeWindow": found["FlexibleTimeWindow"],
                "Target": target,
            }
        )
        return True

    def get(self, endpoint: str) -> tuple[Entry | None, Entry | None]:
        """Return the schedules that start and stop an endpoint; None where there is none.

        Raises:
            AwsError: AWS refuses.
        """
        return self._get(_name(endpoint, "start")), self._get(_name(endpoint, "stop"))

    def _found(self, name: str) -> dict[str, Any] | None:
        try:
            with aws_errors(f"read the schedule '{name}'"):
                return dict(self._client.get_schedule(Name=name))
        except AwsError as error:
            if error.not_found:
                return None
            raise

    def _get(self, name: str) -> Entry | None:
        found = self._found(name)
        if found is None:
            return None
        return Entry(
            found["ScheduleExpression"],
            found.get("ScheduleExpressionTimezone", "UTC"),
            json.loads(found["Target"].get("Input", "{}")),
        )

    def remove(self, endpoint: str) -> bool:
        """Delete both schedules of an endpoint; return whether there were any.

        Raises:
            AwsError: AWS refuses.
        """
        removed = False
        for name in (_name(endpoint, "start"), _name(endpoint, "stop")):
            try:
                with aws_errors(f"delete the schedule '{name}'"):
                    self._client.delete_schedule(Name=name)
                removed = True
            except AwsError as error:
                if not error.not_found:
                    raise
        return removed


def endpoint_targets(
    name: str, model_arn: str, units: int, data_role_arn: str | None = None
) -> tuple[Target, Target]:
    """Return what creates an endpoint with a version, and deletes it.

    Args:
        name: Name of the endpoint.
        model_arn: The version.
        units: Inference units.
        data_role_arn: Role by which Comprehend decrypts the version, where a KMS key encrypts it;
            the scheduler's role must be allowed to pass it on.
    """
    partition = model_arn.split(":")[1]
    create = {
        "EndpointName": name,
        "ModelArn": model_arn,
        "DesiredInferenceUnits": units,
        **({"DataAccessRoleArn": data_role_arn} if data_role_arn else {}),
    }
    arn = ":".join([*model_arn.split(":")[:5], f"document-classifier-endpoint/{name}"])
    call = f"arn:{partition}:scheduler:::aws-sdk:comprehend"
    return (
        Target(f"{call}:createEndpoint", create),
        Target(f"{call}:deleteEndpoint", {"EndpointArn": arn}),
    )


def pipeline_targets(state_machine_arn: str) -> tuple[Target, Target]:
    """Return what opens and closes the endpoint of a pipeline; see ``infra/terraform``.

    Args:
        state_machine_arn: The pipeline's state machine, after which the one for office hours and
            the queue of what the scheduler could not deliver are named.
    """
    _, partition, _, region, account, _, name = state_machine_arn.split(":")
    dead_letters = f"arn:{partition}:sqs:{region}:{account}:{name}-dead-letters"
    machine = f"{state_machine_arn}-office-hours"
    return (
        Target(machine, {"office_hours": "start"}, dead_letters),
        Target(machine, {"office_hours": "stop"}, dead_letters),
    )


def _name(endpoint: str, action: str) -> str:
    return f"{endpoint}-{action}"
