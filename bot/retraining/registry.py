"""The log of the runs, and which of them is live: JSON objects in the artifact bucket, or files.

``runs/<run id>/record.json`` says what was trained on which data, and how it ended; ``live.json``
which run answers. Both change by compare-and-swap (S3's conditional writes), so that two calls at
the same time never undo each other's work.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import enum
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bot.retraining.storage import CONNECTIONS, Bucket, Folder, Storage, address, is_folder
from common.aws import AwsError
from common.errors import UserError

LIVE_KEY = "live.json"
# Where a run has its files, by which what it made is known as that of a pipeline.
RUN_FOLDER = re.compile(r"runs/(r-[0-9a-f]{16})/")
# In the folder of a run: what it is trained and measured on, as it was put.
DATASET_FILE, HELDOUT_FILE = "train/dataset.json", "test/dataset.json"
_ATTEMPTS = 10

T = TypeVar("T")


class Status(str, enum.Enum):
    """How far a run has come; see :attr:`final`."""

    STARTING = "STARTING"
    TRAINING = "TRAINING"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    DEPLOYING = "DEPLOYING"
    DEPLOYED = "DEPLOYED"
    REJECTED_DATASET = "REJECTED_DATASET"
    NOTHING_NEW = "NOTHING_NEW"
    TRAINING_FAILED = "TRAINING_FAILED"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED"
    DEPLOYMENT_FAILED = "DEPLOYMENT_FAILED"
    FAILED = "FAILED"

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (Status.STARTING, Status.TRAINING, Status.DEPLOYING)


@dataclasses.dataclass(frozen=True)
class Run:
    """One dataset on its way to an endpoint.

    Attributes:
        run_id: See :func:`run_id`.
        created_at: When the dataset was put, ISO 8601 in UTC; the newest run wins.
        dataset: ``bucket``, ``key``, ``version_id``, ``etag``, ``sha256``, ``bytes``; once read
            ``examples``, ``intents`` (name → count) and ``language``.
        heldout: The same of the held-out set that it is measured on.
        settings: The :class:`~bot.retraining.settings.Settings` that it started with.
        status: How far it has come.
        reason: Why it ended otherwise than DEPLOYED.
        warnings: What does not stop it, but should be known.
        training: ``arn``, and ``ended_at`` where it has; before, ``waiting_since`` where a quota of
            the account is used up.
        attempt: Which training of this dataset it is: a failed one keeps its name at AWS.
        approved_by: Who let it through, where that is up to a person.
        fingerprint: Of what the model is made from, see :func:`bot.retraining.intake.fingerprint`.
        metrics: ``accuracy``, ``macro_f1``, ``test_examples``, ``labels``, ``confusion_matrix``.
        gate: What the quality gate found, see :class:`bot.retraining.gate.Verdict`.
        endpoint: ``name`` and ``arn``, once it was asked for.
        execution_arn: The execution of the state machine.
        notified: Whether the notice of a dataset that is not trained is out.
        pruned_at: When its model was deleted; empty while it exists.
        timeline: ``{"at", "event"}`` in order.
    """

    run_id: str
    created_at: str
    dataset: dict[str, Any]
    settings: dict[str, Any]
    status: Status = Status.STARTING
    heldout: dict[str, Any] = dataclasses.field(default_factory=dict)
    reason: str = ""
    warnings: list[str] = dataclasses.field(default_factory=list)
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    gate: dict[str, Any] = dataclasses.field(default_factory=dict)
    endpoint: dict[str, Any] = dataclasses.field(default_factory=dict)
    attempt: int = 1
    approved_by: str = ""
    fingerprint: str = ""
    execution_arn: str = ""
    notified: bool = False
    pruned_at: str = ""
    timeline: list[dict[str, str]] = dataclasses.field(default_factory=list)

    @property
    def order(self) -> tuple[str, str]:
        """Sorts runs by age."""
        return self.created_at, self.run_id

    @property
    def uri(self) -> str:
        """Where the dataset is, ``s3://…`` or a path."""
        return address(self.dataset["bucket"], self.dataset["key"])

    @property
    def name(self) -> str:
        """What AWS knows its training and its model by."""
        return self.run_id if self.attempt == 1 else f"{self.run_id}-{self.attempt}"

    @property
    def was_live(self) -> bool:
        """Whether its model is or was served: the gate, or a person, had let it through."""
        return any(line["event"] == Status.DEPLOYED.value for line in self.timeline)

    @property
    def rolled_back(self) -> bool:
        """Whether it was live until somebody went back to another model."""
        changes = [
            line["event"]
            for line in self.timeline
            if line["event"].startswith((Status.DEPLOYED.value, "ROLLED BACK"))
        ]
        return bool(changes) and changes[-1].startswith("ROLLED BACK TO")

    def noted(self, event: str, **changes: Any) -> Run:
        """Return the run with ``changes`` and a line in its timeline."""
        timeline = [*self.timeline, {"at": now(), "event": event}]
        return dataclasses.replace(self, timeline=timeline, **changes)

    def moved(self, status: Status, **changes: Any) -> Run:
        """Return the run with another status; nothing changes where it has that already."""
        return self if self.status == status else self.noted(status.value, status=status, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the run as ``record.json`` holds it."""
        return {**dataclasses.asdict(self), "status": self.status.value}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Run:
        """Read a ``record.json``; fields of other versions of this program are left out."""
        known = {field.name for field in dataclasses.fields(cls)}
        values = {key: value for key, value in content.items() if key in known}
        return cls(**{**values, "status": Status(values["status"])})


@dataclasses.dataclass(frozen=True)
class Pointer:
    """Content of ``live.json``: run ids, empty where there is none.

    Attributes:
        live: The run that answers.
        previous: The one that answered before.
        deploying: The one on its way to the endpoint; no other may touch that meanwhile.
    """

    live: str = ""
    previous: str = ""
    deploying: str = ""


def run_id(bucket: str, key: str, version: str) -> str:
    """Return ``r-`` and 16 hexadecimal digits, the same for the same version of an object.

    Args:
        bucket: Bucket of the dataset.
        key: Its key.
        version: Its version id, or its ETag where the bucket keeps no versions.
    """
    return "r-" + hashlib.sha256("\n".join((bucket, key, version)).encode()).hexdigest()[:16]


def now() -> str:
    """Return the time as the log writes it, ISO 8601 in UTC."""
    return timestamp(datetime.datetime.now(datetime.timezone.utc))


def timestamp(time: datetime.datetime) -> str:
    """Return ``time`` as the log writes it: all of the same length, they sort as texts."""
    return time.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds")


def _key(run_id: str, name: str) -> str:
    return f"runs/{run_id}/{name}"


class Registry:
    """The runs of one pipeline.

    Args:
        place: The artifact bucket, or the folder of a pipeline without AWS: a path with a slash.
        s3: Client of S3; None makes one.

    Attributes:
        bucket: Its name, or path.
    """

    def __init__(self, place: str, s3: Any = None) -> None:
        self.storage: Storage = Folder(Path(place)) if is_folder(place) else Bucket(place, s3)
        self.bucket = self.storage.name

    # --- runs ---

    def run(self, run_id: str) -> Run:
        """Return a run.

        Raises:
            UserError: There is none of that id.
        """
        found = self.find(run_id)
        if found is None:
            raise UserError(f"There is no run '{run_id}' in the bucket '{self.bucket}'.")
        return found

    def find(self, run_id: str) -> Run | None:
        """Return a run, None where there is none."""
        content, _ = self._read(_key(run_id, "record.json"))
        return Run.from_json(content) if content else None

    def runs(self) -> list[Run]:
        """Return all runs, newest first."""
        ids = self.storage.folders("runs/")
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            found = [run for run in pool.map(self.find, ids) if run]
        return sorted(found, key=lambda run: run.order, reverse=True)

    def create(self, run: Run) -> bool:
        """Write a new run; return False, and change nothing, where it exists."""
        if self._write(_key(run.run_id, "record.json"), run.to_json(), None):
            return True
        # The one that exists may be this one: botocore tries again when an answer is lost.
        return self.find(run.run_id) == run

    def update(self, run_id: str, change: Callable[[Run], Run]) -> Run:
        """Change a run; ``change`` is called again where somebody else was faster."""

        def changed(content: dict[str, Any] | None) -> Run:
            if content is None:
                raise UserError(f"There is no run '{run_id}' in the bucket '{self.bucket}'.")
            return change(Run.from_json(content))

        return self._swap(_key(run_id, "record.json"), changed, Run.to_json)

    # --- the live run ---

    def pointer(self) -> Pointer:
        """Return which run is live."""
        content, _ = self._read(LIVE_KEY)
        return Pointer(**content) if content else Pointer()

    def change_pointer(self, change: Callable[[Pointer], Pointer]) -> Pointer:
        """Change which run is live; ``change`` is called again where somebody else was faster."""
        return self._swap(
            LIVE_KEY, lambda content: change(Pointer(**(content or {}))), dataclasses.asdict
        )

    # --- files of a run ---

    def uri(self, run_id: str, name: str) -> str:
        """Return the address of a file or folder of a run, ``s3://…`` or a path."""
        return self.storage.uri(_key(run_id, name))

    def put(self, run_id: str, name: str, content: bytes) -> None:
        """Write a file of a run; one that exists is replaced."""
        self.storage.write(_key(run_id, name), content)

    def get(self, run_id: str, name: str) -> bytes:
        """Read a file of a run.

        Raises:
            AwsError: There is none (``not_found``).
        """
        found = self.storage.read(_key(run_id, name))
        if found is None:
            raise AwsError(f"There is no '{self.uri(run_id, name)}'.", "NoSuchKey")
        return found[0]

    def delete(self, run_id: str, name: str) -> None:
        """Delete a file of a run; none is no error."""
        self.storage.delete(_key(run_id, name))

    def _read(self, key: str) -> tuple[dict[str, Any] | None, str | None]:
        """Return content and version of a JSON object; None and None where there is none."""
        found = self.storage.read(key)
        return (json.loads(found[0]), found[1]) if found else (None, None)

    def _write(self, key: str, content: Any, version: str | None) -> bool:
        """Replace the object of that version, or make it (None); False where that is not it."""
        body = json.dumps(content, ensure_ascii=False, indent=1).encode()
        return self.storage.write(key, body, version)

    def _swap(
        self,
        key: str,
        change: Callable[[dict[str, Any] | None], T],
        to_json: Callable[[T], dict[str, Any]],
    ) -> T:
        written: tuple[T, dict[str, Any]] | None = None
        for _ in range(_ATTEMPTS):
            content, etag = self._read(key)
            if written and content == written[1]:
                return written[0]  # only the answer was lost, see `create`
            changed = change(content)
            written = changed, to_json(changed)
            if written[1] == content or self._write(key, written[1], etag):
                return changed
        raise AwsError(f"'{self.storage.uri(key)}' keeps changing: try again.", "Conflict")
