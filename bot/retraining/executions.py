"""The executions of the state machine: one a run, one more each time that it is taken up again."""

from __future__ import annotations

import json
import os

from bot.retraining.registry import Registry, Run, Status
from bot.retraining.settings import Settings
from common.aws import AwsError, aws_errors, client
from common.errors import UserError

_RESUMED = "RESUMED"
# Without AWS the process that follows a run is its execution.
_LOCAL = "process:"
# How a run may have ended for another try to make sense.
_RESUMABLE = (
    Status.STARTING,
    Status.TRAINING,
    Status.DEPLOYING,
    Status.TRAINING_FAILED,
    Status.REJECTED,
    Status.DEPLOYMENT_FAILED,
    Status.FAILED,
)


def arn(settings: Settings, run: Run) -> str:
    """Return the ARN of the execution that a run has or will have."""
    if settings.backend == "local":
        return f"{_LOCAL}{os.getpid()}"
    resumed = sum(line["event"].startswith(_RESUMED) for line in run.timeline)
    name = run.run_id if not resumed else f"{run.run_id}-{resumed + 1}"
    return settings.state_machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"


def start(settings: Settings, run: Run) -> None:
    """Start the execution of a run; one that exists is that.

    Raises:
        AwsError: AWS refuses or does not answer.
    """
    if settings.backend == "local":
        return  # who asks for it follows the run itself
    execution = arn(settings, run)
    try:
        with aws_errors(f"start the execution '{execution}'"):
            client("stepfunctions").start_execution(
                stateMachineArn=settings.state_machine_arn,
                name=execution.rpartition(":")[2],
                input=json.dumps({"run_id": run.run_id}),
            )
    except AwsError as error:
        if not error.exists:
            raise


def is_running(execution_arn: str) -> bool:
    """Return whether an execution goes on.

    Raises:
        AwsError: AWS refuses or does not answer.
    """
    if execution_arn.startswith(_LOCAL):
        process = int(execution_arn.removeprefix(_LOCAL))
        return process != os.getpid() and _exists(process)
    try:
        with aws_errors(f"read the execution '{execution_arn}'"):
            answer = client("stepfunctions").describe_execution(executionArn=execution_arn)
    except AwsError as error:
        if error.not_found:
            return False
        raise
    return bool(answer["status"] == "RUNNING")


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def resume(registry: Registry, settings: Settings, run_id: str, *, approved_by: str = "") -> Run:
    """Take up a run where it stopped, by an execution of its own; return it.

    Args:
        registry: The log of the runs.
        settings: Of the pipeline.
        run_id: The run.
        approved_by: Who lets a run through that waits for that.

    Raises:
        UserError: There is nothing to take up; the message says what to do instead.
        AwsError: AWS refuses or does not answer.
    """
    run = registry.run(run_id)
    if approved_by:
        if run.status is not Status.AWAITING_APPROVAL:
            raise UserError(f"{run_id} does not wait for approval: it is {run.status.value}.")
    elif run.status not in _RESUMABLE:
        raise UserError(_refusal(run))
    elif not run.status.final and run.execution_arn and is_running(run.execution_arn):
        raise UserError(f"{run_id} is under way ({run.status.value}): bot pipeline watch {run_id}.")
    if run.pruned_at:
        raise UserError(f"The model of {run_id} was deleted: put its dataset again.")

    def resumed(run: Run) -> Run:
        changes: dict[str, object] = {"reason": "", "gate": {}}
        if run.status is Status.TRAINING_FAILED:
            changes |= {"attempt": run.attempt + 1, "training": {}, "metrics": {}}
        if approved_by:
            changes["approved_by"] = approved_by
        trained = "arn" in changes.get("training", run.training)  # type: ignore[operator]
        changes["status"] = Status.TRAINING if trained else Status.STARTING
        if not trained:
            changes["training"] = {}
        what = f" ({approved_by} approves)" if approved_by else ""
        run = run.noted(f"{_RESUMED}{what}", **changes)
        return run.noted(run.status.value, execution_arn=arn(settings, run))

    run = registry.update(run_id, resumed)
    start(settings, run)
    return run


def _refusal(run: Run) -> str:
    advice = {
        Status.REJECTED_DATASET: "put a better dataset",
        Status.NOTHING_NEW: "put another dataset",
        Status.AWAITING_APPROVAL: f"bot pipeline approve {run.run_id}",
    }.get(run.status, f"bot pipeline rollback --to {run.run_id} serves its model")
    return f"{run.run_id} is {run.status.value}: there is nothing to try again; {advice}."
