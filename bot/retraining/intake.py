"""From a dataset in S3 to a running training, whatever happens in between and however often."""

from __future__ import annotations

import datetime
import json
import logging
import urllib.parse
from collections.abc import Mapping
from typing import Any

from bot.errors import UserError
from bot.retraining import notices, source
from bot.retraining.backends import Backend
from bot.retraining.registry import (
    DATASET_FILE,
    HELDOUT_FILE,
    Registry,
    Run,
    Status,
    now,
    run_id,
    timestamp,
)
from bot.retraining.settings import Settings
from bot.retraining.source import GoneError, Object, RejectedError, Source
from components.aws import AwsError, aws_errors, client

log = logging.getLogger(__name__)

STARTED, ALREADY_STARTED, IGNORED = "STARTED", "ALREADY_STARTED", "IGNORED"


class Intake:
    """Takes in datasets.

    Args:
        settings: Of the pipeline.
        registry: The log of the runs.
        backend: What trains.
    """

    def __init__(self, settings: Settings, registry: Registry, backend: Backend) -> None:
        self._settings = settings
        self._registry = registry
        self._backend = backend
        self._s3 = client("s3")
        self._states = client("stepfunctions")
        self._sns = client("sns")

    def take(self, record: Mapping[str, Any]) -> dict[str, str]:
        """Take in one record of an S3 notification; see :mod:`bot.retraining.handlers`.

        Raises:
            AwsError: AWS refuses or does not answer; the next call goes on from there.
        """
        item = record["s3"]["object"]
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(item["key"])
        obj = Object(bucket, key, item.get("versionId", ""), item.get("eTag", ""))
        identity = run_id(bucket, key, obj.version_id or obj.etag)
        status = self._status(obj, identity, _time(record.get("eventTime")))
        log.info("%s: s3://%s/%s is %s", identity, bucket, key, status)
        return {"run_id": identity, "bucket": bucket, "key": key, "status": status}

    def _status(self, obj: Object, identity: str, created_at: str) -> str:
        settings = self._settings
        if (
            not obj.key.startswith(settings.dataset_prefix)
            or not obj.key.lower().endswith(".json")
            or obj.key == settings.heldout_key
        ):
            return IGNORED
        run = self._registry.find(identity)
        new = run is None or run.status is Status.STARTING
        if run is None:
            try:
                run = self._admitted(obj, identity, created_at)
            except GoneError as error:
                log.warning("%s It was deleted, or overwritten by what has its own event.", error)
                return IGNORED
            if not self._registry.create(run):
                return ALREADY_STARTED  # by another call with the same event, which goes on
        if run.status is Status.REJECTED_DATASET:
            self._notify(run)
            return run.status.value
        if run.status in (Status.STARTING, Status.TRAINING):
            self._start(run)
        return STARTED if new else ALREADY_STARTED

    def _admitted(self, obj: Object, identity: str, created_at: str) -> Run:
        """Read and check the dataset, keep it with its run; return the run, rejected or not."""
        dataset = source.read(self._s3, obj)
        run = Run(identity, created_at, dataset.facts, self._settings.to_json())
        try:
            heldout = self._heldout(obj.bucket)
            run = run.noted(
                "STARTING",
                heldout=heldout.facts,
                warnings=source.check(
                    dataset,
                    heldout,
                    minimum=self._settings.minimum_examples,
                    recommended=self._settings.recommended_examples,
                ),
            )
            files = dict(self._backend.files(dataset, heldout))
        except AwsError:
            raise
        except UserError as error:
            run = run.moved(Status.REJECTED_DATASET, reason=str(error))
        else:
            files |= {DATASET_FILE: dataset.content, HELDOUT_FILE: heldout.content}
            for name, content in files.items():
                self._registry.put(identity, name, content)
        return run

    def _heldout(self, bucket: str) -> Source:
        key = self._settings.heldout_key
        try:
            return source.read(self._s3, Object(bucket, key))
        except GoneError:
            advice = f"put one to 's3://{bucket}/{key}', then the dataset again"
            raise RejectedError([f"there is no held-out set: {advice}"]) from None

    def _start(self, run: Run) -> None:
        """Start training and state machine; each of them exists once, by its name."""
        execution = self._execution_arn(run)
        if run.status is Status.STARTING:
            arn = self._backend.start(run)

            def started(run: Run) -> Run:
                if run.status is not Status.STARTING:
                    return run
                return run.moved(Status.TRAINING, training={"arn": arn}, execution_arn=execution)

            # Before the state machine, whose first step needs it.
            self._registry.update(run.run_id, started)
        try:
            with aws_errors(f"start the execution '{execution}'"):
                self._states.start_execution(
                    stateMachineArn=self._settings.state_machine_arn,
                    name=run.run_id,
                    input=json.dumps({"run_id": run.run_id}),
                )
        except AwsError as error:
            if not error.exists:
                raise

    def _execution_arn(self, run: Run) -> str:
        machine = self._settings.state_machine_arn
        return machine.replace(":stateMachine:", ":execution:") + f":{run.run_id}"

    def _notify(self, run: Run) -> None:
        """Send the notice of a rejected dataset, unless it is out."""
        if run.notified:
            return
        with aws_errors("publish the notice"):
            self._sns.publish(
                TopicArn=self._settings.topic_arn,
                Subject=notices.subject(self._settings, run),
                Message=notices.message(self._settings, run, self._registry.bucket),
            )
        self._registry.update(run.run_id, lambda run: run.noted("NOTIFIED", notified=True))


def _time(text: str | None) -> str:
    if not text:
        return now()
    # Python 3.10 does not read the Z.
    return timestamp(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")))
