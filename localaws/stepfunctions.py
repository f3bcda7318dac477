"""Step Functions: moto's interpreter, with the operations that Terraform misses and a faster clock.

https://docs.aws.amazon.com/step-functions/latest/apireference/
"""

from __future__ import annotations

import copy
import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from localaws.background import TICK
from localaws.protocol import ACCOUNT, TO_MOTO, AwsError, Call, operation, page
from localaws.settings import Settings

_REDRIVE = "localaws: redrive"  # the state before the one that failed
_DATES = ("startDate", "stopDate")


class StepFunctions:
    """What moto lacks; the rest is moto's."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @operation
    def validate_state_machine_definition(self, call: Call) -> dict[str, Any]:
        call.validate()
        diagnostics = list(_diagnostics(self._parse, call.params["definition"]))
        return {
            "result": "FAIL" if diagnostics else "OK",
            "diagnostics": diagnostics,
            "truncated": False,
        }

    @operation
    def create_state_machine(self, call: Call) -> object:
        return self._checked(call)

    @operation
    def update_state_machine(self, call: Call) -> object:
        return self._checked(call)

    @operation
    def list_state_machine_versions(self, call: Call) -> dict[str, Any]:
        from moto.stepfunctions.parser.models import stepfunctions_parser_backends

        call.validate()
        arn = call.params["stateMachineArn"]
        backend = stepfunctions_parser_backends[ACCOUNT][call.region]
        machine = next((item for item in backend.state_machines if item.arn == arn), None)
        if machine is None:
            raise AwsError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        versions = [
            {
                "stateMachineVersionArn": version.arn,
                "creationDate": version.creation_date.timestamp(),
            }
            for _, version in sorted(machine.versions.items(), reverse=True)
        ]
        items, token = page(versions, call)
        return {"stateMachineVersions": items, **({"nextToken": token} if token else {})}

    @operation
    def redrive_execution(self, call: Call) -> dict[str, Any]:
        """Go on with the state that failed, with the input that it had, as the same execution.

        Its history begins anew, with a Pass state that hands this input over.
        """
        call.validate()
        execution = _execution(call)
        if execution.status not in ("ABORTED", "FAILED", "TIMED_OUT"):
            raise AwsError(
                "ExecutionNotRedrivable",
                f"Execution is not redrivable: it is {execution.status}, and must be FAILED, "
                "TIMED_OUT or ABORTED",
            )
        machine = json.loads(execution.state_machine.definition)
        name, given = [
            (entered["name"], json.loads(entered["input"]))
            for event in execution.to_history_output()["events"]
            if (entered := event.get("stateEnteredEventDetails"))
            and entered["name"] in machine["States"]
        ][-1]
        if name != _REDRIVE:
            machine["StartAt"] = _REDRIVE
            machine["States"][_REDRIVE] = {"Type": "Pass", "Result": given, "Next": name}
        execution.state_machine = copy.copy(execution.state_machine)
        execution.state_machine.definition = json.dumps(machine)
        execution.exec_worker = execution.error = execution.cause = execution.stop_date = None
        execution.redrives = getattr(execution, "redrives", 0) + 1
        execution.redriven = time.time()
        execution.start()
        return {"redriveDate": execution.redriven}

    @operation
    def describe_execution(self, call: Call) -> object:
        execution = _execution(call)
        if not hasattr(execution, "redriven"):
            return TO_MOTO
        described = execution.to_describe_output()
        return {
            **{key: value for key, value in described.items() if value is not None},
            **{key: described[key].timestamp() for key in _DATES if described.get(key)},
            "status": execution.status,
            "redriveCount": execution.redrives,
            "redriveDate": execution.redriven,
        }

    def _checked(self, call: Call) -> object:
        """Refuse a definition that moto takes and AWS does not."""
        for diagnostic in _diagnostics(self._parse, call.params.get("definition") or "{}"):
            raise AwsError(
                "InvalidDefinition",
                f"Invalid State Machine Definition: '{diagnostic['code']}: "
                f"{diagnostic['message']} at {diagnostic['location']}'",
            )
        return TO_MOTO

    @functools.cached_property
    def _parse(self) -> Callable[[str], object]:
        """What reads a definition in moto's interpreter, which is then ready to run."""
        # Slow to import, and not needed before there is a state machine.
        from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

        _mend_interpreter(self._settings)
        return AmazonStateLanguageParser.parse


def _execution(call: Call) -> Any:
    """Return the execution that a call names.

    Raises:
        AwsError: There is none.
    """
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    arn = call.params["executionArn"]
    for machine in stepfunctions_parser_backends[ACCOUNT][call.region].state_machines:
        for execution in machine.executions:
            if execution.execution_arn == arn:
                return execution
    raise AwsError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")


def _diagnostics(parse: Callable[[str], object], definition: str) -> Iterator[dict[str, str]]:
    """Yield what is wrong with a definition, in the form of ValidateStateMachineDefinition.

    Args:
        parse: Raises an exception for a definition that moto's interpreter does not take.
        definition: The definition, in JSON.
    """
    try:
        machine = json.loads(definition)
    except ValueError as error:
        yield _diagnostic("INVALID_JSON_DESCRIPTION", str(error), "/")
        return
    if not machine:  # an update without a definition
        return
    try:
        parse(definition)
    except Exception as error:  # of many kinds
        for message in getattr(error, "errors", [str(error)]):
            yield _diagnostic("SCHEMA_VALIDATION_FAILED", message, "/")
        return
    yield from _missing_targets(machine, "")


def _missing_targets(machine: dict[str, Any], path: str) -> Iterator[dict[str, str]]:
    """Yield the transitions that lead nowhere, in a machine and those within it."""
    states = machine.get("States", {})
    targets = [(f"{path}/StartAt", machine.get("StartAt"))]
    for name, state in states.items():
        here = f"{path}/States/{name}"
        targets += [(f"{here}/{key}", state[key]) for key in ("Next", "Default") if key in state]
        for key in ("Choices", "Catch"):
            targets += [
                (f"{here}/{key}[{index}]/Next", rule.get("Next"))
                for index, rule in enumerate(state.get(key, []))
            ]
        inner = [state[key] for key in ("Iterator", "ItemProcessor") if key in state]
        for branch in [*state.get("Branches", []), *inner]:
            yield from _missing_targets(branch, here)
    for location, target in targets:
        if target not in states:
            message = f"Missing 'Next' target: {target}"
            yield _diagnostic("MISSING_TRANSITION_TARGET", message, location)


def _diagnostic(code: str, message: str, location: str) -> dict[str, str]:
    return {"severity": "ERROR", "code": code, "message": message, "location": location}


def _mend_interpreter(settings: Settings) -> None:
    """Make waits as much shorter as the settings say, and executions independent of each other."""
    from moto.stepfunctions.models import StateMachine
    from moto.stepfunctions.parser.asl.component.common.retry.jitter_strategy_decl import (
        JitterStrategyDecl,
    )
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import (
        WaitFunction,
    )

    def wait(_: WaitFunction, env: Any, wait_seconds: float) -> None:
        begin = time.monotonic()
        while env.is_running():
            rest = begin + settings.scaled(wait_seconds) - time.monotonic()
            if rest <= 0:
                return
            env.program_state_event.wait(min(rest, TICK))

    retry_interval = JitterStrategyDecl._eval_body

    def scaled_retry_interval(self: JitterStrategyDecl, env: Any) -> None:
        retry_interval(self, env)
        env.stack.append(settings.scaled(env.stack.pop()))

    def copy_for_an_execution(self: StateMachine, _: dict[int, Any]) -> StateMachine:
        # moto would copy the executions along, and fail as long as one of them runs.
        clone = copy.copy(self)
        clone.executions = []
        return clone

    WaitFunction._wait_interval = wait  # type: ignore[method-assign,assignment]
    JitterStrategyDecl._eval_body = scaled_retry_interval  # type: ignore[method-assign]
    StateMachine.__deepcopy__ = copy_for_an_execution  # type: ignore[attr-defined]
