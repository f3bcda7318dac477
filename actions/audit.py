"""Whom users were shown: the record of it, and how many they may be shown in a day."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from actions.caller import Caller
from common.errors import UserError

logger = logging.getLogger(__name__)

AUDIT_VARIABLE = "AUDIT_LOG"
AUDIT_DAYS_VARIABLE = "AUDIT_DAYS"
AUDIT_OFF = "off"
AUDIT_FOLDER = Path(__file__).resolve().parent.parent / "audit"
AUDIT_DAYS = 365.0
QUOTA_VARIABLE = "PEOPLE_PER_DAY"
QUOTA = 200


class AuditLog:
    """Who was shown whom: one JSON object a line, a file a day, appended to and never changed.

    Several processes may write to one folder. Fields: ``at`` (UTC), ``caller`` (the token's
    subject, or null), ``conversation``, ``trace_id``, ``action``, ``people`` (ids), ``hidden``
    (fields that were withheld), ``refused`` (ids that were withheld by the quota, if so), ``named``
    (ids of whom no more than the name was shown, which the quota does not count).

    Args:
        folder: made if it is not there, for the owner alone to read.
        days: after which a file is deleted.
    """

    def __init__(self, folder: Path, days: float) -> None:
        self.folder, self.days = folder, days
        self._lock = threading.Lock()
        self._day: date | None = None
        self._file = -1

    def path(self, day: date) -> Path:
        """Return the file of a day."""
        return self.folder / f"{day.isoformat()}.jsonl"

    def record(self, caller: Caller, action: str, people: Iterable[str], **more: Any) -> None:
        """Append a line, with ``more`` fields.

        Raises:
            OSError: it could not be written: then nothing is to be shown.
        """
        now = datetime.now(timezone.utc)
        line = {
            "at": now.isoformat(timespec="milliseconds"),
            "caller": caller.subject,
            "conversation": caller.conversation,
            "trace_id": caller.trace_id,
            "action": action,
            "people": list(people),
            "hidden": list(caller.hidden),
            **more,
        }
        data = f"{json.dumps(line, ensure_ascii=False)}\n".encode()
        with self._lock:
            if self._day != now.date():
                self._turn_over(now.date())
            # One call: lines of other processes come before or after, not within.
            if os.write(self._file, data) != len(data):
                raise OSError("the audit log could not be written in full")

    def _turn_over(self, day: date) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._file = os.open(self.path(day), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._day = day
        oldest = self.path(day - timedelta(days=self.days))
        for old in self.folder.glob("????-??-??.jsonl"):
            if old < oldest:  # by its name: what was restored is as new as its file
                old.unlink(missing_ok=True)


@functools.cache
def audit_log() -> AuditLog | None:
    """Return the log in ``$AUDIT_LOG`` (``audit/`` unless set), None where that is ``off``.

    Raises:
        UserError: ``$AUDIT_DAYS`` is no number of days.
    """
    folder = os.environ.get(AUDIT_VARIABLE) or str(AUDIT_FOLDER)
    text = os.environ.get(AUDIT_DAYS_VARIABLE) or str(AUDIT_DAYS)
    try:
        days = float(text)
        if not 0 < days < float("inf"):
            raise ValueError
    except ValueError:
        raise UserError(
            f"{AUDIT_DAYS_VARIABLE} must be a number of days above 0, not {text!r}."
        ) from None
    return None if folder == AUDIT_OFF else AuditLog(Path(folder), days)


class Quota:
    """How many people one user may be shown in a day (UTC); to be shown one again costs nothing.

    Action servers that share an audit log share it, and a restart forgets nothing; without an audit
    log each process counts by itself.

    Args:
        limit: of people.
        log: read for what other processes have shown.
    """

    def __init__(self, limit: int, log: AuditLog | None) -> None:
        self.limit, self._log = limit, log
        self._lock = threading.Lock()
        self._day: date | None = None
        self._read = 0
        self._shown: dict[str, set[str]] = {}

    def admits(self, caller: Caller, people: Iterable[str]) -> bool:
        """Whether ``caller`` may be shown ``people``, who then count as shown."""
        with self._lock:
            day = datetime.now(timezone.utc).date()
            if day != self._day:
                self._day, self._read, self._shown = day, 0, {}
            if self._log is not None:
                self._catch_up(self._log.path(day))
            shown = self._shown.setdefault(caller.subject or caller.conversation, set())
            after = shown.union(people)
            if len(after) > max(self.limit, len(shown)):
                return False
            shown |= after
            return True

    def _catch_up(self, path: Path) -> None:
        """Read the lines of ``path`` that are new."""
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read)
            for data in file:
                if not data.endswith(b"\n"):  # being written
                    break
                self._read += len(data)
                with contextlib.suppress(ValueError):  # half of a line: the disk was full
                    line = json.loads(data)
                    user = line["caller"] or line["conversation"]
                    self._shown.setdefault(user, set()).update(line["people"])


@functools.cache
def quota() -> Quota:
    """Return the quota of ``$PEOPLE_PER_DAY``.

    Raises:
        UserError: that is no number of people; or as of :func:`audit_log`.
    """
    text = os.environ.get(QUOTA_VARIABLE) or str(QUOTA)
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise UserError(f"{QUOTA_VARIABLE} must be a number of people above 0, not {text[:20]!r}.")
    return Quota(int(text), audit_log())


def admit(caller: Caller, action: str, people: list[str]) -> bool:
    """Record that ``caller`` is shown ``people``, or that the quota refuses it: whether it admits.

    Raises:
        OSError: it could not be recorded.
    """
    admitted = not people or quota().admits(caller, people)
    if not admitted:
        logger.warning("%s: a user was shown as many people today as may be.", action)
    if (log := audit_log()) is not None and people:
        if admitted:
            log.record(caller, action, people)
        else:
            log.record(caller, action, [], refused=people)
    return admitted


def people_shown(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ids of the people in the cards (docs/dialogue.md) of ``messages``, each once."""
    found: dict[str, None] = {}
    for message in messages:
        card = message.get("custom") or {}
        experts = (row["person"] for row in card.get("experts", ()))
        for person in (*filter(None, [card.get("person")]), *card.get("people", ()), *experts):
            found[person["id"]] = None
    return list(found)
