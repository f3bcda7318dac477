"""Office hours of an endpoint, kept by Amazon EventBridge Scheduler.

Two schedules call Comprehend itself ("universal targets", EventBridge Scheduler User Guide): one
creates the endpoint, one deletes it. Nothing of ours runs in between.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zoneinfo
from typing import Any

from bot.errors import UserError
from components.aws import AwsError, aws_errors, client

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


class Schedules:
    """The schedules of endpoints in one region.

    Raises:
        UserError: No region is set.
    """

    def __init__(self, region: str | None = None) -> None:
        self._client = client("scheduler", region)

    def set(
        self,
        endpoint: str,
        model_arn: str,
        units: int,
        hours: OfficeHours,
        role_arn: str,
        data_role_arn: str | None = None,
    ) -> None:
        """Create or change the two schedules of an endpoint.

        Args:
            endpoint: Name of the endpoint.
            model_arn: The version that it is created with.
            units: Inference units.
            hours: When.
            role_arn: Role by which the scheduler calls ``comprehend:CreateEndpoint`` and
                ``comprehend:DeleteEndpoint``.
            data_role_arn: Role by which Comprehend decrypts the version, where a KMS key encrypts
                it; the scheduler's role must be allowed to pass it on.

        Raises:
            AwsError: AWS refuses.
        """
        create = {
            "EndpointName": endpoint,
            "ModelArn": model_arn,
            "DesiredInferenceUnits": units,
            **({"DataAccessRoleArn": data_role_arn} if data_role_arn else {}),
        }
        delete = {"EndpointArn": endpoint_arn(endpoint, model_arn)}
        self._put(endpoint, "start", hours.start, "createEndpoint", create, hours, role_arn)
        self._put(endpoint, "stop", hours.stop, "deleteEndpoint", delete, hours, role_arn)

    def _put(
        self,
        endpoint: str,
        action: str,
        time: str,
        operation: str,
        request: dict[str, Any],
        hours: OfficeHours,
        role_arn: str,
    ) -> None:
        schedule = {
            "Name": _name(endpoint, action),
            "Description": f"{action.capitalize()} the Comprehend endpoint '{endpoint}'",
            "ScheduleExpression": hours.cron(time),
            "ScheduleExpressionTimezone": hours.timezone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": f"arn:aws:scheduler:::aws-sdk:comprehend:{operation}",
                "RoleArn": role_arn,
                "Input": json.dumps(request),
                "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 5},
            },
        }
        try:
            with aws_errors(f"create the schedule '{schedule['Name']}'"):
                self._client.create_schedule(**schedule)
        except AwsError as error:
            if not error.exists:
                raise
            with aws_errors(f"change the schedule '{schedule['Name']}'"):
                self._client.update_schedule(**schedule)

    def get(self, endpoint: str) -> tuple[Entry | None, Entry | None]:
        """Return the schedules that start and stop an endpoint; None where there is none.

        Raises:
            AwsError: AWS refuses.
        """
        return self._get(_name(endpoint, "start")), self._get(_name(endpoint, "stop"))

    def _get(self, name: str) -> Entry | None:
        try:
            with aws_errors(f"read the schedule '{name}'"):
                found = self._client.get_schedule(Name=name)
        except AwsError as error:
            if error.not_found:
                return None
            raise
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


def endpoint_arn(name: str, model_arn: str) -> str:
    """Return the ARN that an endpoint of ``name`` has in the account and region of a version."""
    return ":".join([*model_arn.split(":")[:5], f"document-classifier-endpoint/{name}"])


def _name(endpoint: str, action: str) -> str:
    return f"{endpoint}-{action}"
