"""The pipeline on one machine: what Lambda, state machine and S3's events do at AWS, as a loop."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bot.retraining import backends, notifications
from bot.retraining.answers import Answer
from bot.retraining.deployment import Deployment
from bot.retraining.intake import Intake
from bot.retraining.registry import Registry, Run, Status, run_id, timestamp
from bot.retraining.settings import Settings
from common.errors import UserError

log = logging.getLogger(__name__)
_PAUSE_SECONDS = 0.5


class LocalPipeline:
    """Takes datasets of a folder to the running bot, one after the other.

    Args:
        settings: With the back end ``local``; the artifact bucket is the folder, in which
            ``datasets/`` is watched and ``heldout/heldout.json`` is measured on.
    """

    def __init__(self, settings: Settings) -> None:
        settings = dataclasses.replace(
            settings, artifact_bucket=str(Path(settings.artifact_bucket).resolve())
        )
        self.settings = settings
        self.registry = Registry(settings.artifact_bucket)
        self.folder = Path(settings.artifact_bucket)
        backend = backends.create(settings, self.registry)
        self._intake = Intake(settings, self.registry, backend)
        self._deployment = Deployment(settings, self.registry, backend)
        self._seen: set[str] = set()

    def put(self, file: Path) -> Path:
        """Copy a dataset into the folder; return where it is.

        Raises:
            UserError: There is no such file.
        """
        target = self.folder / self.settings.dataset_prefix / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(file, half := target.with_name(f".{file.name}"))
        except FileNotFoundError as error:
            raise UserError(f"{file}: there is no such file.") from error
        half.replace(target)
        return target

    def take(self, file: Path) -> Run | None:
        """Take a file of the folder to its end; return its run, None where it is no dataset."""
        record, identity = self._record(file)
        self._seen.add(identity)
        self._intake.take(record)
        run = self.registry.find(identity)
        return self.follow(run) if run else None

    def follow(self, run: Run) -> Run:
        """Take a run to its end, and tell how it ended."""
        while not run.status.final:
            try:
                answer = self._step(run)
            except Exception as error:  # of Rasa, of the disk: as the state machine catches it
                log.exception("%s failed", run.run_id)
                caught = {"Error": type(error).__name__, "Cause": str(error)}
                answer = self._deployment.fail(run.run_id, caught)
            if answer.message:
                notifications.publish(self.settings, answer.subject, answer.message)
            elif answer.status == "WAITING":
                time.sleep(_PAUSE_SECONDS)
            run = self.registry.run(run.run_id)
        return run

    def _step(self, run: Run) -> Answer:
        if run.status is Status.STARTING:
            return self._intake.start(run.run_id)
        if run.status is Status.DEPLOYING:
            return self._deployment.check_endpoint(run.run_id)
        answer = self._deployment.check_training(run.run_id)
        return self._deployment.deploy(run.run_id) if answer.status == "TRAINED" else answer

    def unfinished(self) -> list[Run]:
        """Return the runs that a process left when it was ended, oldest first."""
        return [run for run in reversed(self.registry.runs()) if not run.status.final]

    def watch(self, tell: Callable[[str], None], stopped: Callable[[], bool]) -> None:
        """Take in what is dropped into the folder, until ``stopped``.

        Args:
            tell: Told what is done.
            stopped: Asked twice a second.
        """
        for run in self.unfinished():
            tell(f"{run.run_id} goes on")
            self.follow(run)
        before: dict[Path, tuple[int, int]] = {}
        while not stopped():
            now = dict(self._files())
            # Twice the same: nobody writes to it any more.
            for file in [path for path, state in now.items() if before.get(path) == state]:
                tell(f"{file.name} is taken in")
                if taken := self.take(file):
                    tell(f"{taken.run_id} is {taken.status.value} {taken.reason}".rstrip())
            before = now
            time.sleep(_PAUSE_SECONDS)

    def _files(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        """Yield the files that were not taken in, with time and size."""
        folder = self.folder / self.settings.dataset_prefix
        for path in sorted(folder.rglob("*")) if folder.exists() else ():
            if path.name.startswith(".") or not path.is_file():
                continue
            identity = self._record(path)[1]
            if identity in self._seen:
                continue
            if self.registry.find(identity):
                self._seen.add(identity)
                continue
            state = path.stat()
            yield path, (state.st_mtime_ns, state.st_size)

    def _record(self, file: Path) -> tuple[dict[str, Any], str]:
        """Return what S3 would send for a file, and its run id."""
        state = file.stat()
        key = file.relative_to(self.folder).as_posix()
        version = f"{state.st_mtime_ns}-{state.st_size}"
        at = datetime.datetime.fromtimestamp(state.st_mtime, datetime.timezone.utc)
        place = str(self.folder)
        return {
            "eventTime": timestamp(at),
            "s3": {
                "bucket": {"name": place},
                "object": {"key": key, "eTag": version, "size": state.st_size},
            },
        }, run_id(place, key, version)
