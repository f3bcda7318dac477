"""From a trained model to a live endpoint, or to the reason why not; and back by a rollback.

``live.json`` says who is live and holds the claim of the run on its way there: of two datasets that
were put in quick succession each is deployed in its turn, and an older one never replaces a newer.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

from bot.retraining import executions, gate, notifications
from bot.retraining.answers import QUOTAS, Answer
from bot.retraining.backends import Backend, Progress, State
from bot.retraining.registry import Pointer, Registry, Run, Status, now
from bot.retraining.settings import Settings
from common.aws import AwsError
from common.errors import UserError

log = logging.getLogger(__name__)


class _BusyError(Exception):
    """Another run is on its way to the endpoint."""


class _SupersededError(Exception):
    """A newer run is live; the message names it."""


class Deployment:
    """Follows runs to the endpoint; every method may be called again.

    Args:
        settings: Of the pipeline.
        registry: The log of the runs.
        backend: What trains and serves.

    All methods raise :class:`~common.aws.AwsError` where AWS refuses or does not answer, and
    :class:`~common.errors.UserError` where there is no such run.
    """

    def __init__(self, settings: Settings, registry: Registry, backend: Backend) -> None:
        self._settings = settings
        self._registry = registry
        self._backend = backend

    # --- the steps of the state machine ---

    def check_training(self, run_id: str) -> Answer:
        """Say how far the training has come: NOT_STARTED, IN_PROGRESS, TRAINED or FAILED."""
        run = self._registry.run(run_id)
        if run.status is Status.STARTING:
            return Answer(run_id, "training", "NOT_STARTED")
        progress = self._backend.training_status(run)
        log.info("%s: training is %s", run_id, progress.status)
        if progress.state is State.IN_PROGRESS:
            return Answer(run_id, "training", "IN_PROGRESS")
        if progress.state is State.FAILED:
            reason = _reason("The training ended as", progress)
            run = self._registry.update(
                run_id, lambda run: run.moved(Status.TRAINING_FAILED, reason=reason)
            )
            return self._announced(run, "training", "FAILED")
        self._registry.update(run_id, lambda run: _trained(run, progress))
        return Answer(run_id, "training", "TRAINED")

    def deploy(self, run_id: str) -> Answer:
        """Measure, judge and deploy.

        Returns:
            WAITING, DEPLOYING, REJECTED, SUPERSEDED or AWAITING_APPROVAL.
        """
        run = self._registry.run(run_id)
        if run.status in (Status.REJECTED, Status.SUPERSEDED, Status.AWAITING_APPROVAL):
            return self._announced(run, "deployment", run.status.value)
        run = self._measured(run)
        try:
            pointer = self._registry.change_pointer(lambda pointer: self._claimed(pointer, run))
        except _BusyError:
            return Answer(run_id, "deployment", "WAITING")
        except _SupersededError as newer:
            return self._ended(run_id, Status.SUPERSEDED, "deployment", str(newer))
        run = self._judged(run, pointer)
        if not run.gate["passed"]:
            return self._ended(run_id, Status.REJECTED, "deployment", run.gate["reason"])
        if self._settings.approval == "manual" and not run.approved_by:
            advice = f"To make it live: bot pipeline approve {run_id}"
            return self._ended(run_id, Status.AWAITING_APPROVAL, "deployment", advice=advice)
        try:
            arn = self._backend.deploy(run)
        except AwsError as error:
            if error.code not in QUOTAS:
                raise
            return self._waits_for_quota(run, str(error))
        if arn is None:
            return Answer(run_id, "deployment", "WAITING")
        endpoint = {"name": self._settings.name, "arn": arn}
        self._registry.update(run_id, lambda run: _deploying(run, endpoint))
        return Answer(run_id, "deployment", "DEPLOYING")

    def check_endpoint(self, run_id: str) -> Answer:
        """Say how far the deployment has come: IN_PROGRESS, IN_SERVICE or FAILED."""
        run = self._registry.run(run_id)
        if not run.endpoint:
            raise UserError(f"The run '{run_id}' was not deployed: its status is {run.status}.")
        progress = self._backend.endpoint_status(run)
        log.info("%s: endpoint is %s", run_id, progress.status)
        if progress.state is State.IN_PROGRESS:
            return Answer(run_id, "endpoint", "IN_PROGRESS")
        if progress.state is State.FAILED:
            reason = _reason("The endpoint is", progress)
            live = self._registry.pointer().live
            advice = f"To serve the last good model again: bot pipeline rollback --to {live}"
            return self._ended(
                run_id, Status.DEPLOYMENT_FAILED, "endpoint", reason, advice if live else ""
            )
        run = self._made_live(run_id)
        self.prune()
        return self._announced(run, "endpoint", "IN_SERVICE")

    def fail(self, run_id: str, error: Mapping[str, Any]) -> Answer:
        """Close a run that the state machine gave up, unless it had ended: FAILED.

        Args:
            run_id: The run.
            error: ``{"Error", "Cause"}`` as Step Functions catches it.

        Returns:
            FAILED; IN_SERVICE where the endpoint serves the run by now all the same.
        """
        reason = f"{error.get('Error', 'Unknown error')}: {_cause(error)}"
        found = self._registry.run(run_id)
        if found.status is Status.DEPLOYING:
            # Nobody looked any more: what the endpoint serves by now is what is live.
            progress = self._backend.endpoint_status(found)
            if progress.state is State.READY:
                return self._announced(self._made_live(run_id), "failure", "IN_SERVICE")
            if progress.state is State.IN_PROGRESS:
                reason += f" The endpoint is {progress.status}: bot pipeline retry {run_id}."

        def failed(run: Run) -> Run:
            if run.status.final:
                return run
            return run.moved(Status.FAILED, reason=f"{reason} {run.reason}".strip())

        run = self._registry.update(run_id, failed)
        self._release(run_id)
        answer = self._announced(run, "failure", "FAILED")
        if run.reason.startswith(reason):
            return answer
        return dataclasses.replace(answer, message=f"{answer.message}\n\nAfter that: {reason}")

    def ended_from_outside(self, detail: Mapping[str, Any]) -> Answer:
        """Close the run of an execution that ran out of time or was stopped.

        Args:
            detail: Of the event "Step Functions Execution Status Change" (Step Functions Developer
                Guide): ``executionArn``, ``status`` and ``input``, a JSON text.
        """
        run_id = json.loads(detail["input"])["run_id"]
        run = self._registry.run(run_id)
        if run.status.final or run.execution_arn != detail["executionArn"]:
            return Answer(run_id, "failure", run.status.value)  # it ended, or was taken up again
        cause = "Its state machine was stopped" if detail["status"] == "ABORTED" else "Time is up"
        return self.fail(
            run_id, {"Error": detail["status"], "Cause": f"{cause}. bot pipeline retry {run_id}"}
        )

    # --- what is deployed ---

    def restore(self, run_id: str) -> bool:
        """Ask for the endpoint to serve an earlier run.

        Returns:
            Whether that is under way; False where the endpoint has to settle first: call again.
        """
        run = self._registry.run(run_id)
        arn = self._backend.deploy(run)
        if arn is None:
            return False
        endpoint = {"name": self._settings.name, "arn": arn}
        self._registry.update(run_id, lambda run: dataclasses.replace(run, endpoint=endpoint))
        return True

    def restored(self, run_id: str) -> Progress:
        """Say how far :meth:`restore` has come; in service, the run is the live one."""
        progress = self._backend.endpoint_status(self._registry.run(run_id))
        if progress.state is State.READY:
            left = self._registry.pointer().live
            self._made_live(run_id)
            if left not in ("", run_id):
                self._registry.update(left, lambda run: run.noted(f"ROLLED BACK TO {run_id}"))
                self._registry.update(run_id, lambda run: run.noted(f"ROLLED BACK FROM {left}"))
        return progress

    def office_hours(self, action: str) -> Answer:
        """Have the endpoint serve the live run (``start``), or have none (``stop``).

        Returns:
            DONE, or WAITING where a deployment is under way or the endpoint has to settle first.

        Raises:
            UserError: No run is live, or there is no such action.
        """
        if action not in ("start", "stop"):
            raise UserError(f"'{action}' is no action of office hours; there are start and stop.")
        live = self._registry.pointer().live
        if action == "start" and not live:
            raise UserError("No model is live yet: there is nothing to start the endpoint with.")
        if self.busy():
            done = False
        elif action == "stop":
            done = self._backend.remove_endpoint()
        else:
            done = self.restore(live) and self.restored(live).state is State.READY
        return Answer(live, "office_hours", "DONE" if done else "WAITING")

    def busy(self) -> str:
        """Return the run that is on its way to the endpoint, empty where there is none."""
        claimant = self._registry.pointer().deploying
        return claimant if claimant and self._is_active(claimant) else ""

    def teardown(self) -> bool:
        """Delete endpoint and models, so that nothing is billed any more; the records stay.

        Returns:
            Whether all is gone; False as long as something is being changed: call again.
        """
        gone = self._backend.remove_endpoint() and all(map(self._pruned, self._with_model()))
        if gone:
            self._registry.change_pointer(lambda pointer: Pointer())
        return gone

    def prune(self) -> None:
        """Delete models that nobody would go back to; what cannot be deleted now stays."""
        pointer = self._registry.pointer()
        existing = self._with_model()
        trained = [run.run_id for run in existing if run.metrics]
        kept = {pointer.live, pointer.previous, pointer.deploying}
        kept |= {run.run_id for run in existing if run.status is Status.AWAITING_APPROVAL}
        kept |= set(trained[: self._settings.keep_versions])
        for run in existing:
            if run.run_id in kept or not run.status.final:
                continue
            try:
                self._pruned(run)
            except AwsError as error:  # the deployment is through, and the next one prunes again
                log.warning("%s is not pruned: %s", run.run_id, error)

    # --- helpers ---

    def _with_model(self) -> list[Run]:
        """Return the runs whose models exist, newest first."""
        runs = self._registry.runs()
        return [run for run in runs if run.training.get("arn") and not run.pruned_at]

    def _pruned(self, run: Run) -> bool:
        """Delete a run's model, and note it; False where something still uses it."""
        gone = self._backend.prune(run)
        if gone:
            self._registry.update(run.run_id, lambda run: run.noted("PRUNED", pruned_at=now()))
        return gone

    def _measured(self, run: Run) -> Run:
        """Keep the metrics of the trained model."""
        if run.metrics:
            return run
        matrix = self._backend.metrics(run)
        metrics = matrix.metrics()
        for name, content in (
            ("metrics.json", metrics),
            ("confusion_matrix.json", matrix.to_json()),
        ):
            self._registry.put(run.run_id, name, _json(content))
        return self._registry.update(run.run_id, lambda run: _with_metrics(run, metrics))

    def _judged(self, run: Run, pointer: Pointer) -> Run:
        """Put the run through the gate, once for each live run."""
        if run.gate and run.gate["live_run"] == pointer.live:
            return run
        live = self._registry.find(pointer.live) if pointer.live else None
        verdict = gate.judge(self._settings, run, live, self._registry, self._backend)
        log.info("%s: %s", run.run_id, verdict.reason)
        return self._registry.update(
            run.run_id, lambda run: dataclasses.replace(run, gate=verdict.to_json())
        )

    def _claimed(self, pointer: Pointer, run: Run) -> Pointer:
        live = self._registry.find(pointer.live) if pointer.live else None
        if live and live.order > run.order:
            raise _SupersededError(
                f"{live.run_id} is live, of {live.uri} put at {live.created_at}."
            )
        if pointer.deploying not in ("", run.run_id) and self._is_active(pointer.deploying):
            raise _BusyError
        return dataclasses.replace(pointer, deploying=run.run_id)

    def _waits_for_quota(self, run: Run, error: str) -> Answer:
        """Tell of a quota that is used up, once, and try again until the execution's time is up."""
        if error != run.reason:
            run = self._registry.update(
                run.run_id, lambda run: run.noted("WAITING FOR A QUOTA", reason=error)
            )
            notifications.publish(
                self._settings,
                notifications.subject(self._settings, run, "waits for a quota"),
                f"{error} {notifications.quota_advice(self._settings)}\n\nAn endpoint with "
                "instances needs twice as many while it is updated. It is tried again; nothing "
                f"need be put again.\n\nRun: {run.run_id}",
            )
        return Answer(run.run_id, "deployment", "WAITING")

    def _is_active(self, run_id: str) -> bool:
        """Whether a run that has a claim is still on its way: its execution may be dead."""
        run = self._registry.find(run_id)
        if run is None or run.status.final:
            return False
        return executions.is_running(run.execution_arn)

    def _release(self, run_id: str) -> None:
        def released(pointer: Pointer) -> Pointer:
            ours = pointer.deploying == run_id
            return dataclasses.replace(pointer, deploying="") if ours else pointer

        self._registry.change_pointer(released)

    def _made_live(self, run_id: str) -> Run:
        def live(pointer: Pointer) -> Pointer:
            deploying = "" if pointer.deploying == run_id else pointer.deploying
            if pointer.live == run_id:
                return dataclasses.replace(pointer, deploying=deploying)
            return Pointer(live=run_id, previous=pointer.live, deploying=deploying)

        self._registry.change_pointer(live)
        return self._registry.update(run_id, lambda run: run.moved(Status.DEPLOYED, reason=""))

    def _ended(
        self, run_id: str, status: Status, stage: str, reason: str = "", advice: str = ""
    ) -> Answer:
        run = self._registry.update(run_id, lambda run: run.moved(status, reason=reason))
        self._release(run_id)
        self.prune()
        answer = "FAILED" if status is Status.DEPLOYMENT_FAILED else status.value
        return self._announced(run, stage, answer, advice)

    def _announced(self, run: Run, stage: str, status: str, advice: str = "") -> Answer:
        return Answer(
            run.run_id,
            stage,
            status,
            notifications.subject(self._settings, run),
            notifications.message(self._settings, run, self._registry.bucket, advice),
        )


def _trained(run: Run, progress: Progress) -> Run:
    if "ended_at" in run.training:
        return run
    warnings = [f"training: {progress.message}"] if progress.message else []
    if progress.status == "TRAINED_WITH_WARNING" and not warnings:
        warnings = ["training: the service warns, without a reason"]
    return run.noted(
        progress.status,
        training={**run.training, "ended_at": now()},
        warnings=[*run.warnings, *warnings],
    )


def _with_metrics(run: Run, metrics: dict[str, Any]) -> Run:
    expected = run.heldout["examples"]
    warnings = list(run.warnings)
    if metrics["test_examples"] != expected:
        warnings.append(f"measured on {metrics['test_examples']} of {expected} held-out examples")
    return run.noted("MEASURED", metrics=metrics, warnings=warnings)


def _deploying(run: Run, endpoint: dict[str, str]) -> Run:
    return run.moved(Status.DEPLOYING, endpoint=endpoint, reason="")


def _reason(what: str, progress: Progress) -> str:
    return f"{what} {progress.status}" + (f": {progress.message}" if progress.message else ".")


def _cause(error: Mapping[str, Any]) -> str:
    """Return the message in the ``Cause`` of a failed Lambda, which is JSON with a stack trace."""
    cause = str(error.get("Cause", ""))
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
