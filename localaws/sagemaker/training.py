"""SageMaker's training jobs: ``train`` of a container as a child process.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
import time
from typing import Any

from localaws import cloudwatch_logs, storage
from localaws.faults import Fault
from localaws.protocol import Call, operation, present
from localaws.sagemaker.containers import ContainerError, Training
from localaws.sagemaker.resources import TRAINING_JOB, Resource, invalid
from localaws.sagemaker.service import ContainerService

log = logging.getLogger(__name__)

_ENDED = frozenset({"Completed", "Failed", "Stopped", "MaxRuntimeExceeded"})


@dataclasses.dataclass(eq=False)
class TrainingJob(Resource):
    """A training job."""

    status: str = "InProgress"
    phases: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    failure: str = ""
    metrics: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    started: float | None = None
    ended: float | None = None
    container: Training | None = None
    log: list[str] = dataclasses.field(default_factory=list)

    @property
    def output(self) -> str:
        """The folder in S3 for what it makes."""
        path = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return f"{path}/{self.name}/output"

    def enter(self, phase: str, message: str = "") -> None:
        """Go on to a phase: a ``SecondaryStatus``."""
        now = time.time()
        if self.phases:
            self.phases[-1]["EndTime"] = now
        self.phases.append({"Status": phase, "StartTime": now, "StatusMessage": message})
        if phase in _ENDED:
            self.phases[-1]["EndTime"] = self.ended = now


class TrainingJobs(ContainerService):
    """Training jobs."""

    @operation
    def create_training_job(self, call: Call) -> dict[str, Any]:
        call.validate()
        name = call.params["TrainingJobName"]
        wanted = call.params["ResourceConfig"]
        with self._resources.lock:
            jobs = self._resources.all(call.region, TRAINING_JOB, TrainingJob)
            if all(job.name != name for job in jobs):
                self._settings.check_quota(
                    "sagemaker_training_instances",
                    f"{wanted.get('InstanceType')} for training job usage",
                    sum(job.phases[-1]["Status"] not in _ENDED for job in jobs),
                    wanted.get("InstanceCount", 1),
                )
            job = self._resources.add(call, TRAINING_JOB, name, TrainingJob)
            job.enter("Starting", "Starting the training job")
        fault = self._faults.outcome("sagemaker", "CreateTrainingJob", job.arn)
        self._background.run(
            self._train,
            job,
            fault,
            failed=lambda reason: self._end(job, "Failed", f"InternalServerError: {reason}"),
        )
        return {"TrainingJobArn": job.arn}

    @operation
    def describe_training_job(self, call: Call) -> dict[str, Any]:
        with self._resources.lock:
            job = self._job(call)
            seconds = int(job.ended - job.started) if job.started and job.ended else None
            artifacts = {"S3ModelArtifacts": f"{job.output}/model.tar.gz"}
            return present(
                **job.given,
                TrainingJobArn=job.arn,
                TrainingJobStatus=job.status,
                SecondaryStatus=job.phases[-1]["Status"],
                SecondaryStatusTransitions=job.phases,
                FailureReason=job.failure or None,
                ModelArtifacts=artifacts if job.status in ("Completed", "Stopped") else None,
                FinalMetricDataList=job.metrics or None,
                CreationTime=job.created,
                TrainingStartTime=job.started,
                TrainingEndTime=job.ended,
                LastModifiedTime=job.phases[-1]["StartTime"],
                TrainingTimeInSeconds=seconds,
                BillableTimeInSeconds=seconds,
            )

    @operation
    def list_training_jobs(self, call: Call) -> dict[str, Any]:
        return self._resources.listed(
            call,
            TRAINING_JOB,
            "TrainingJobSummaries",
            lambda job: present(
                TrainingJobName=job.name,
                TrainingJobArn=job.arn,
                TrainingEndTime=job.ended,
                LastModifiedTime=job.phases[-1]["StartTime"],
                TrainingJobStatus=job.status,
            ),
        )

    @operation
    def stop_training_job(self, call: Call) -> None:
        with self._resources.lock:
            job = self._job(call)
            if job.status != "InProgress":
                raise invalid(
                    f"The request was rejected because the training job is in status {job.status}."
                )
            job.status = "Stopping"
            job.enter("Stopping", "Stopping the training job")
        if job.container:
            job.container.stop()

    def _train(self, job: TrainingJob, fault: Fault | None) -> None:
        """Take a job from its start to its end."""
        self._background.wait(self._settings.sagemaker_start_seconds)
        if fault:
            self._end(job, fault.outcome, fault.message)
            return
        to_cloudwatch = cloudwatch_logs.line_sink(
            job.region, "/aws/sagemaker/TrainingJobs", f"{job.name}/algo-1-{int(job.created)}"
        )

        def sink(line: str) -> None:
            job.log.append(line)
            to_cloudwatch(line)

        image = job.request["AlgorithmSpecification"].get("TrainingImage", "")
        environment = {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.arn}
        environment |= job.request.get("Environment") or {}
        container = None
        try:
            container = self._host.training(image, environment, sink)
            self._end(job, *self._run(job, container))
        except (ContainerError, storage.StorageError) as error:
            self._end(job, "Failed", f"ClientError: {error}")
        finally:
            if container:
                container.remove()

    def _run(self, job: TrainingJob, container: Training) -> tuple[str, str]:
        """Return the status in which a job ends, and the reason of a failure.

        Raises:
            ContainerError: Its data is not there, or it cannot be started.
            storage.StorageError: There is no bucket for what it made.
        """
        job.enter("Downloading", "Downloading input data")
        container.prepare(job.request)
        with self._resources.lock:
            if job.status == "Stopping":
                return "Stopped", ""
            job.enter("Training", "Training image download completed. Training in progress.")
            job.started = time.time()
            container.start("train")
            job.container = container
        limit = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
        timer = threading.Timer(limit, self._time_out, [job])
        timer.daemon = True
        timer.start()
        status = container.follow()
        timer.cancel()
        stopped = job.status == "Stopping"
        if not stopped:
            job.enter("Uploading", "Uploading generated training model")
        output = container.output()
        if output:
            storage.write(f"{job.output}/output.tar.gz", output)
        job.metrics = _metrics(job)
        if status and not stopped:
            return "Failed", f"AlgorithmError: {container.failure()}, exit code: {status}"
        storage.write(f"{job.output}/model.tar.gz", container.model())
        return ("Stopped" if stopped else "Completed"), ""

    def _time_out(self, job: TrainingJob) -> None:
        with self._resources.lock:
            if job.status != "InProgress":
                return
            job.status = "Stopping"
            job.enter("MaxRuntimeExceeded", "The training job ran longer than it may")
        if job.container:
            job.container.stop()

    def _end(self, job: TrainingJob, status: str, failure: str) -> None:
        with self._resources.lock:
            if job.phases[-1]["Status"] not in _ENDED:
                job.enter(status, failure)
            job.status, job.failure, job.container = status, failure, None
        log.info("SageMaker: %s is %s %s", job.arn, status, failure)

    def _job(self, call: Call) -> TrainingJob:
        name = call.params["TrainingJobName"]
        return self._resources.get(call, TRAINING_JOB, name, TrainingJob)


def _metrics(job: TrainingJob) -> list[dict[str, Any]]:
    """Return the last value of each metric that the job's log is to be searched for.

    What is no number is no value, and an expression that cannot be read finds nothing.
    """
    found = []
    for definition in job.request["AlgorithmSpecification"].get("MetricDefinitions") or ():
        try:
            matches = list(re.finditer(definition["Regex"], "\n".join(job.log)))
            value = float(matches[-1].group(1))
        except (re.error, IndexError, ValueError) as error:
            log.warning("SageMaker: %s has no metric %s: %s", job.arn, definition["Name"], error)
            continue
        found.append({"MetricName": definition["Name"], "Value": value, "Timestamp": time.time()})
    return found
