"""Who asks, and what they may see of a person.

A channel that has authenticated its user says so in the metadata of the message, under ``caller``:
``{"subject": …, "scopes": […]}``. Metadata come from the bot, which the action server authenticates
(:mod:`actions.server`). Whoever comes without has the scopes of ``ANONYMOUS_SCOPES``, ``*`` for all
of them: all by default where the server answers this machine only, else none.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rasa_sdk import Tracker

from actions.directory import Collaborator, Completion, Directory, Found, PeopleFound, Spotted
from actions.query import Constraint, Query
from common import environment
from common.errors import UserError
from common.protocol import (
    ANONYMOUS_SCOPES_VARIABLE,
    CALLER_METADATA,
    EVERY_SCOPE,
    TRACEPARENT_METADATA,
)
from common.trace_context import parse
from common.tracing import step

VISIBILITY_VARIABLE = "DIRECTORY_VISIBILITY"
VISIBILITY_PATH = Path(__file__).with_name("visibility.yml")
# A person without one of these is still a person; the others make up every answer.
HIDEABLE = ("email", "phone", "available_from", "biography")

# Kinds of constraints on fields that may be hidden.
_FIELDS = {"availability": "available_from", "topic": "biography"}


# --- who asks ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Caller:
    """The user of a turn: ``subject`` of their token, None where no channel authenticated them."""

    conversation: str
    subject: str | None = None
    scopes: frozenset[str] = frozenset()
    trace_id: str | None = None

    @classmethod
    def of(cls, tracker: Tracker) -> Caller:
        """Read the metadata of the last message; anything malformed in them is left out."""
        return cls.from_metadata(str(tracker.sender_id), _metadata(tracker))

    @classmethod
    def from_metadata(cls, conversation: str, metadata: Mapping[str, Any]) -> Caller:
        """Read the metadata of a message of ``conversation``, or of what was asked beside it."""
        trace = parse(_traceparent(metadata))
        caller, subject, scopes = metadata.get(CALLER_METADATA), None, anonymous_scopes()
        if isinstance(caller, Mapping) and isinstance(caller.get("subject"), str):
            subject = caller["subject"]
            granted = caller.get("scopes")
            granted = granted if isinstance(granted, list) else []
            # Only the server's own setting can mean every scope.
            scopes = frozenset(map(str, granted)) - {EVERY_SCOPE}
        return cls(conversation, subject, scopes, trace.trace_id if trace else None)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The fields of a person that this caller may not see."""
        if EVERY_SCOPE in self.scopes:
            return ()
        return tuple(field for field, scope in visibility().items() if scope not in self.scopes)


def traceparent_of(tracker: Tracker) -> str | None:
    """Return the trace of the last message, as its channel has noted it."""
    return _traceparent(_metadata(tracker))


def _traceparent(metadata: Mapping[str, Any]) -> str | None:
    value = metadata.get(TRACEPARENT_METADATA)
    return value if isinstance(value, str) else None


def _metadata(tracker: Tracker) -> Mapping[str, Any]:
    metadata = (tracker.latest_message or {}).get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def anonymous_scopes() -> frozenset[str]:
    """Return the scopes of callers whom no channel authenticated."""
    answers_others = environment.is_production() or os.environ.get(
        environment.ACTIONS_SECRET_VARIABLE
    )
    default = "" if answers_others else EVERY_SCOPE
    return frozenset(os.environ.get(ANONYMOUS_SCOPES_VARIABLE, default).split())


@functools.cache
def visibility() -> dict[str, str]:
    """Return field → scope, out of ``$DIRECTORY_VISIBILITY``, else ``visibility.yml``.

    Raises:
        UserError: the file cannot be read, or names something else than a field.
    """
    path = Path(os.environ.get(VISIBILITY_VARIABLE) or VISIBILITY_PATH)
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(loaded, dict) or not all(isinstance(s, str) for s in loaded.values()):
        raise UserError(f"{path} must hold lines such as `phone: directory:phone`.")
    unknown = [str(field) for field in loaded if field not in HIDEABLE]
    if unknown:
        raise UserError(f"{path}: {unknown[0]} is none of {', '.join(HIDEABLE)}.")
    return loaded


# --- what they may see ------------------------------------------------------------------------


class CallerDirectory:
    """The directory as one caller sees it: what they may not see is not in the answers."""

    def __init__(self, directory: Directory, caller: Caller) -> None:
        self._directory, self._hidden = directory, caller.hidden

    def get(self, collaborator_id: str) -> Collaborator | None:
        """See :meth:`Directory.get`."""
        with step("directory", "get") as lookup:
            person = self._directory.get(collaborator_id)
            lookup.set(outcome="nothing" if person is None else "found")
        return self._shown(person) if person is not None else None

    def find_people(self, name: str, *, agency: str | None = None, limit: int = 6) -> PeopleFound:
        """See :meth:`Directory.find_people`."""
        with step("directory", "find_people") as lookup:
            found = self._directory.find_people(name, agency=agency, limit=limit)
            lookup.set(outcome=_outcome(found.total, found.near), people=found.total)
        return dataclasses.replace(
            found,
            matches=tuple(map(self._shown, found.matches)),
            near=tuple(map(self._shown, found.near)),
        )

    def find(self, query: Query, *, within: Sequence[str] | None = None) -> Found:
        """See :meth:`Directory.find`; what asks for a hidden field is refused."""
        kept, refused = self._allowed(query.constraints)
        if "available_from" in self._hidden and query.order == "availability":
            query = query.with_(order="level")
        query = query.with_(constraints=kept)
        if refused and not kept:
            return Found(query, refused=refused)
        with step("directory", "find") as lookup:
            found = self._directory.find(query, within=within)
            lookup.set(outcome=_outcome(found.total, ()), people=found.total)
        return self._listed(found, refused)

    def find_alike(
        self, collaborator_id: str, constraints: tuple[Constraint, ...] = (), *, limit: int = 5
    ) -> Found:
        """See :meth:`Directory.find_alike`."""
        kept, refused = self._allowed(constraints)
        with step("directory", "find_alike") as lookup:
            found = self._directory.find_alike(collaborator_id, kept, limit=limit)
            lookup.set(outcome=_outcome(found.total, ()), people=found.total)
        return self._listed(found, refused)

    def find_contact(self, contact: str) -> tuple[Collaborator, ...] | None:
        """See :meth:`Directory.find_contact`; None where the caller may not see such a field."""
        if ("email" if "@" in contact else "phone") in self._hidden:
            return None
        with step("directory", "find_contact") as lookup:
            found = self._directory.find_contact(contact)
            lookup.set(outcome=_outcome(len(found), ()), people=len(found))
        return tuple(map(self._shown, found))

    def complete(self, text: str) -> tuple[Completion, ...]:
        """See :meth:`Directory.complete`: names, titles, agencies and skills are everybody's."""
        with step("directory", "complete"):
            return self._directory.complete(text)

    def related(self, skill: str, *, agency: str | None = None) -> tuple[str, ...]:
        """See :meth:`Directory.related`."""
        with step("directory", "related"):
            return self._directory.related(skill, agency=agency)

    def spot(self, text: str) -> list[Spotted]:
        """See :meth:`Directory.spot`."""
        with step("directory", "spot"):
            return self._directory.spot(text)

    def knows_skill(self, name: str) -> bool:
        """See :meth:`Directory.knows_skill`."""
        return self._directory.knows_skill(name)

    def count_by_agency(self, query: Query) -> dict[str, int]:
        """See :meth:`Directory.count_by_agency`."""
        kept, _ = self._allowed(query.constraints)
        with step("directory", "count_by_agency"):
            return self._directory.count_by_agency(query.with_(constraints=kept))

    def count_by_skill(self, agency: str | None = None, *, limit: int = 10) -> dict[str, int]:
        """See :meth:`Directory.count_by_skill`."""
        with step("directory", "count_by_skill"):
            return self._directory.count_by_skill(agency, limit=limit)

    def _allowed(
        self, constraints: Sequence[Constraint]
    ) -> tuple[tuple[Constraint, ...], tuple[Constraint, ...]]:
        """Split constraints into those that the caller may use, and those on hidden fields."""
        hidden = {kind for kind, name in _FIELDS.items() if name in self._hidden}
        refused = tuple(c for c in constraints if c.kinds & hidden)
        return tuple(c for c in constraints if c not in refused), refused

    def _listed(self, found: Found, refused: tuple[Constraint, ...]) -> Found:
        people = (
            dataclasses.replace(listed, collaborator=self._shown(listed.collaborator))
            for listed in found.people
        )
        return dataclasses.replace(found, people=tuple(people), refused=refused)

    def _shown(self, person: Collaborator) -> Collaborator:
        if not self._hidden:
            return person
        nothing = dict.fromkeys(self._hidden)
        return dataclasses.replace(person, **nothing, hidden=self._hidden)  # type: ignore[arg-type]


def _outcome(total: int, near: Sequence[object]) -> str:
    """Return in a word what was found."""
    if total:
        return "found"
    return "near" if near else "nothing"
