"""From a dataset in S3 to a running training, whatever happens in between and however often."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import json
import logging
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from bot.retraining import dataset_check, executions, notifications
from bot.retraining.answers import QUOTAS, Answer
from bot.retraining.backends import Backend
from bot.retraining.dataset_check import GoneError, Object, RejectedError, Source
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
from common.aws import AwsError, client
from common.errors import UserError

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
        self._read: Callable[[Object], Source] = (
            dataset_check.read_file
            if settings.backend == "local"
            else functools.partial(dataset_check.read, client("s3"))
        )

    def take(self, record: Mapping[str, Any]) -> dict[str, str]:
        """Take in one record of an S3 notification; see :mod:`bot.retraining.handlers`.

        Raises:
            AwsError: AWS refuses or does not answer; the next call goes on from there.
        """
        item = record["s3"]["object"]
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(item["key"])
        obj = Object(bucket, key, item.get("versionId", ""), item.get("eTag", ""), item.get("size"))
        identity = run_id(bucket, key, obj.version_id or obj.etag)
        status = self._status(obj, identity, _time(record.get("eventTime")))
        log.info("%s: %s is %s", identity, obj.uri, status)
        return {"run_id": identity, "bucket": bucket, "key": key, "status": status}

    def _status(self, obj: Object, identity: str, created_at: str) -> str:
        settings = self._settings
        if obj.key == settings.heldout_key or obj.key.endswith("/"):  # the latter is a folder
            return IGNORED
        if not obj.key.startswith(settings.dataset_prefix) or not obj.key.lower().endswith(".json"):
            self._publish(*notifications.ignored(settings, obj.uri))
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
        if run.status in (Status.REJECTED_DATASET, Status.NOTHING_NEW):
            self._notify(run)
            return run.status.value
        if run.status in (Status.STARTING, Status.TRAINING):
            self._start(run)
        return STARTED if new else ALREADY_STARTED

    def _admitted(self, obj: Object, identity: str, created_at: str) -> Run:
        """Read and check the dataset, keep it with its run; return the run, rejected or not."""
        if obj.size is not None and obj.size > self._settings.maximum_bytes:
            return self._too_large(obj, identity, created_at)
        dataset = self._read(obj)
        run = Run(identity, created_at, dataset.facts, self._settings.to_json())
        try:
            heldout = self._heldout(obj.bucket)
            run = run.noted(
                "STARTING",
                heldout=heldout.facts,
                warnings=dataset_check.check(
                    dataset,
                    heldout,
                    minimum=self._settings.minimum_examples,
                    recommended=self._settings.recommended_examples,
                ),
            )
            files = dict(self._backend.files(dataset, heldout))
            run = dataclasses.replace(
                run, fingerprint=fingerprint(self._settings, dataset, heldout)
            )
            if same := self._same(run):
                return run.moved(
                    Status.NOTHING_NEW,
                    reason=f"The same examples, held-out set and settings as {same.run_id} "
                    f"({same.uri}), which is {same.status.value}: nothing is trained.",
                )
        except AwsError:
            raise
        except UserError as error:
            run = run.moved(Status.REJECTED_DATASET, reason=str(error))
        else:
            files |= {DATASET_FILE: dataset.content, HELDOUT_FILE: heldout.content}
            for name, content in files.items():
                self._registry.put(identity, name, content)
        return run

    def _too_large(self, obj: Object, identity: str, created_at: str) -> Run:
        """Return the rejected run of a dataset that is not even read."""
        facts: dict[str, Any] = {
            "bucket": obj.bucket,
            "key": obj.key,
            "version_id": obj.version_id,
            "etag": obj.etag,
            "sha256": "",
            "bytes": obj.size,
            "examples": 0,
            "intents": {},
        }
        limit = self._settings.maximum_bytes
        return Run(identity, created_at, facts, self._settings.to_json()).moved(
            Status.REJECTED_DATASET,
            reason=f"It has {obj.size:,} bytes; at most {limit:,} are read (MAXIMUM_BYTES). Keep "
            "texts and intents alone, or leave near repetitions out.",
        )

    def _same(self, run: Run) -> Run | None:
        """Return a run from which the same would come: the live one, or one that is under way or
        waits for approval, or that the gate refused in favour of what is live."""
        live = self._registry.pointer().live
        for one in self._registry.runs():
            if one.run_id == run.run_id or one.fingerprint != run.fingerprint:
                continue
            refused = (
                one.status is Status.REJECTED
                and one.gate["live_run"] == live
                and Settings.from_json(one.settings).gate == self._settings.gate
            )
            waits = one.status is Status.AWAITING_APPROVAL or not one.status.final
            if refused or waits or (live and one.run_id == live):
                return one
        return None

    def _heldout(self, bucket: str) -> Source:
        key = self._settings.heldout_key
        heldout = Object(bucket, key)
        try:
            return self._read(heldout)
        except GoneError:
            advice = f"put one to '{heldout.uri}', then the dataset again"
            raise RejectedError([f"there is no held-out set: {advice}"]) from None

    def start(self, run_id: str) -> Answer:
        """Start the training of a run that waits to be started, as the state machine asks.

        Returns:
            IN_PROGRESS, also where a quota is still used up; FAILED where it has waited too long.
        """
        run = self._registry.run(run_id)
        if run.status is Status.STARTING:
            run = self._start_training(run)
        if run.status is not Status.FAILED:
            return Answer(run_id, "training", "IN_PROGRESS")
        words = notifications.subject(self._settings, run), self._message(run)
        return Answer(run_id, "training", "FAILED", *words)

    def _start(self, run: Run) -> None:
        """Start training and state machine; each of them exists once, by its name."""
        if run.status is Status.STARTING:
            run = self._start_training(run)
        if run.status is Status.FAILED:
            self._notify(run)
        else:
            executions.start(self._settings, run)

    def _start_training(self, run: Run) -> Run:
        """Start the training, or note that a quota is used up: the state machine tries again."""
        try:
            arn = self._backend.start(run)
        except AwsError as error:
            if error.code not in QUOTAS:
                raise
            return self._waits(run, str(error))
        except UserError as error:
            reason = str(error)
            return self._registry.update(
                run.run_id, lambda run: run.moved(Status.FAILED, reason=reason)
            )
        execution = executions.arn(self._settings, run)

        def started(run: Run) -> Run:
            if run.status is not Status.STARTING:
                return run
            return run.moved(
                Status.TRAINING, training={"arn": arn}, execution_arn=execution, reason=""
            )

        # Before the state machine, whose first step needs it.
        return self._registry.update(run.run_id, started)

    def _waits(self, run: Run, error: str) -> Run:
        """Tell of a quota that is used up, once; give up after some hours."""
        hours = self._settings.quota_wait_hours
        since = run.training.get("waiting_since")
        reason = f"{error} {notifications.quota_advice(self._settings)}"
        if since and _hours_since(since) >= hours:
            return self._registry.update(
                run.run_id, lambda run: run.moved(Status.FAILED, reason=reason)
            )
        if since is None:
            execution = executions.arn(self._settings, run)
            run = self._registry.update(
                run.run_id,
                lambda run: run.noted(
                    "WAITING FOR A QUOTA",
                    training={"waiting_since": now()},
                    reason=reason,
                    execution_arn=execution,
                ),
            )
            advice = f"It is tried again for {hours:g} hours; nothing need be put again."
            self._publish(notifications.subject(self._settings, run), self._message(run, advice))
        return run

    def _notify(self, run: Run) -> None:
        """Send the notice of a dataset that is not trained, unless it is out."""
        if run.notified:
            return
        self._publish(notifications.subject(self._settings, run), self._message(run))
        self._registry.update(run.run_id, lambda run: run.noted("NOTIFIED", notified=True))

    def _message(self, run: Run, advice: str = "") -> str:
        return notifications.message(self._settings, run, self._registry.bucket, advice)

    def _publish(self, subject: str, message: str) -> None:
        notifications.publish(self._settings, subject, message)


def fingerprint(settings: Settings, dataset: Source, heldout: Source) -> str:
    """Return a hash of all that a model and its figures come from."""
    content = [dataset.digest, heldout.digest, settings.of_the_model()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _hours_since(time: str) -> float:
    begin = datetime.datetime.fromisoformat(time)
    return (datetime.datetime.now(datetime.timezone.utc) - begin).total_seconds() / 3600


def _time(text: str | None) -> str:
    if not text:
        return now()
    # Python 3.10 does not read the Z.
    return timestamp(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")))
