"""What every action shares: the user's turn, the memory, the reply, and the deadline.

An action is a :class:`Question`. It gets a :class:`Context` (the :class:`Turn`, the
:class:`Memory`, the directory, and a :class:`Reply` to speak through) and returns the memory for
the next turn. It runs in a thread, so plain blocking calls are fine. What the bot says is in
``domain.yml``; an action names a response and fills in its values.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from actions.access import Caller, CallerDirectory, audit_log, people_shown, traceparent_of
from actions.directory import Directory, DirectoryError
from bot.errors import describe
from bot.observability.steps import Step, serve

logger = logging.getLogger(__name__)

# Longest name or technology that is looked up, and most of them taken from one turn.
MAX_VALUE_LENGTH = 100
MAX_VALUES = 3
MAX_OFFSET = 100_000

# Rasa's name for the terminal of `rasa shell`, and what has cards shown there as well.
TERMINAL = "cmdline"
CARDS_VARIABLE = "SHELL_CARDS"

# Stands where the directory says nothing.
MISSING = "—"

_TIMEOUT_VARIABLE = "DIRECTORY_TIMEOUT"
_DEFAULT_TIMEOUT = 5.0

Button = dict[str, str]


# --- what the user says -----------------------------------------------------------------------


def clean(value: object) -> str | None:
    """Return an entity's value as one short line, or None where nothing is left of it.

    Unprintable characters (controls, direction marks, lone surrogates) would break the database
    drivers or the layout; brackets and braces mean something to Rasa's response templates.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value)[: 4 * MAX_VALUE_LENGTH]
    text = "".join(char if char.isprintable() and char not in "[]{}" else " " for char in text)
    return " ".join(text.split())[:MAX_VALUE_LENGTH].strip() or None


def _unique(values: Iterable[object]) -> tuple[str, ...]:
    """Clean ``values``, drop repetitions (whatever their case), keep the order."""
    found: dict[str, str] = {}
    for value in map(clean, values):
        if value:
            found.setdefault(value.casefold(), value)
    return tuple(found.values())


def _number(value: object, highest: int) -> int | None:
    """Return ``value`` as a whole number from 0 to ``highest``, or None."""
    text = clean(value) or ""
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) and int(text) <= highest else None


@dataclass(frozen=True)
class Turn:
    """What the user's last message is about, out of its entities (docs/dialogue.md).

    ``text`` is the message itself where a person typed it, None for a button's ``/INTENT{…}``.
    """

    text: str | None = None
    persons: tuple[str, ...] = ()
    technologies: tuple[str, ...] = ()
    agency: str | None = None
    details: tuple[str, ...] = ()
    rank: int | None = None
    reference: bool = False
    more: bool = False
    follow_up: bool = False
    collaborator_id: str | None = None
    offset: int = 0

    @classmethod
    def of(cls, tracker: Tracker) -> Turn:
        """Read the last message of ``tracker``; anything malformed in it is left out."""
        message = tracker.latest_message or {}
        values: dict[str, list[object]] = {}
        for entity in message.get("entities") or []:
            if isinstance(entity, Mapping) and isinstance(entity.get("entity"), str):
                values.setdefault(entity["entity"], []).append(entity.get("value"))

        def every(entity: str) -> tuple[str, ...]:
            return _unique(values.get(entity, []))[:MAX_VALUES]

        def first(entity: str) -> str | None:
            return next(iter(every(entity)), None)

        text = message.get("text")
        typed = isinstance(text, str) and not text.lstrip().startswith("/")
        return cls(
            text=clean(text) if typed else None,
            persons=every("person"),
            technologies=every("technology"),
            agency=first("agency"),
            details=every("detail"),
            rank=_number(first("rank"), MAX_OFFSET),
            reference="reference" in values,
            more="more" in values,
            follow_up="follow_up" in values,
            collaborator_id=first("collaborator_id"),
            offset=_number(first("offset"), MAX_OFFSET) or 0,
        )

    @property
    def names_person(self) -> bool:
        """Whether the turn names a person, points at one, or picks one of a list by number."""
        picks = self.rank is not None and not self.technologies
        return bool(self.persons or self.collaborator_id or self.reference or picks)

    @property
    def only_picks(self) -> bool:
        """Whether the turn says nothing but which one: « celui de Nantes », « le deuxième »."""
        names = self.persons or self.technologies or self.details or self.collaborator_id
        return bool(self.rank is not None or self.agency) and not names and not self.more

    @property
    def is_bare(self) -> bool:
        """Whether no entity was found: after a question of ours, the text itself may answer it."""
        return dataclasses.replace(self, text=None, offset=0) == Turn()


# --- what the bot remembers -------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What is asked about a person: whether they know ``technologies``, else ``details`` of them.

    With neither, their card.
    """

    technologies: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.technologies or self.details)


@dataclass(frozen=True)
class Pending:
    """A question of ours that waits for an answer: ``needs`` is ``person`` or ``technology``."""

    needs: str
    asked: Asked = Asked()


@dataclass(frozen=True)
class Memory:
    """The slots, named as in ``domain.yml``.

    ``person`` is the name last looked up, ``collaborator_id`` the person talked about,
    ``candidates`` the ids of the people last listed, in order. ``technology``, ``agency`` and
    ``offset`` (where the next page begins, None at the end) belong to the last list of experts.
    """

    person: str | None = None
    collaborator_id: str | None = None
    candidates: tuple[str, ...] = ()
    technology: tuple[str, ...] = ()
    agency: str | None = None
    offset: int | None = None
    pending: Pending | None = None

    @classmethod
    def of(cls, tracker: Tracker) -> Memory:
        """Read the slots of ``tracker``; anything malformed in them is left out."""
        slots = tracker.slots or {}

        def several(value: object) -> tuple[str, ...]:
            return _unique(value) if isinstance(value, (list, tuple)) else ()

        pending, waiting = None, slots.get("pending")
        if isinstance(waiting, Mapping) and waiting.get("needs") in ("person", "technology"):
            asked = Asked(several(waiting.get("technology")), several(waiting.get("detail")))
            pending = Pending(waiting["needs"], asked)
        return cls(
            person=clean(slots.get("person")),
            collaborator_id=clean(slots.get("collaborator_id")),
            candidates=several(slots.get("candidates")),
            technology=several(slots.get("technology")),
            agency=clean(slots.get("agency")),
            offset=_number(slots.get("offset"), MAX_OFFSET),
            pending=pending,
        )

    def slots(self) -> dict[str, Any]:
        """Return the value of each slot, as JSON holds it."""
        pending = self.pending and {
            "needs": self.pending.needs,
            "technology": list(self.pending.asked.technologies),
            "detail": list(self.pending.asked.details),
        }
        return {
            "person": self.person,
            "collaborator_id": self.collaborator_id,
            "candidates": list(self.candidates),
            "technology": list(self.technology),
            "agency": self.agency,
            "offset": self.offset,
            "pending": pending,
        }

    def with_(self, **changes: Any) -> Memory:
        """Return a copy with ``changes``."""
        return dataclasses.replace(self, **changes)

    @property
    def needs(self) -> str | None:
        """What our last question waits for: ``person``, ``technology`` or None."""
        return self.pending.needs if self.pending else None


# --- what the bot says ------------------------------------------------------------------------


class Reply:
    """Collects the messages of one turn."""

    def __init__(self) -> None:
        self._dispatcher = CollectingDispatcher()

    def __call__(
        self,
        response: str,
        *,
        buttons: list[Button] | None = None,
        payload: dict[str, Any] | None = None,
        **values: str | int,
    ) -> None:
        """Say ``response`` of ``domain.yml`` with its ``values``.

        ``buttons`` are added to those of the response; ``payload`` is what an app draws as cards.
        """
        self._dispatcher.utter_message(
            response=response, buttons=buttons, json_message=payload, **values
        )

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages so far, as the action server sends them."""
        return self._dispatcher.messages


def intent_payload(intent: str, **entities: str | Sequence[str] | None) -> str:
    """Return the text that a button sends: ``/WHO_IS{"collaborator_id": "C0012"}``.

    Entities without a value are left out; several values become a list, as Rasa reads it.
    """
    given = {
        name: value if isinstance(value, str) or len(value) > 1 else value[0]
        for name, value in entities.items()
        if value
    }
    return f"/{intent}{json.dumps(given, ensure_ascii=False)}" if given else f"/{intent}"


def card_payload(kind: str, **fields: Any) -> dict[str, Any]:
    """Return a structured message of type ``kind``; docs/dialogue.md lists the fields."""
    return {"type": kind, "version": 1, **fields}


def format_date(day: date | None) -> str:
    """Return ``day`` as French people write it, ``23/11/2026``."""
    return day.strftime("%d/%m/%Y") if day else MISSING


@dataclass(frozen=True)
class Context:
    """All that an answer needs."""

    turn: Turn
    memory: Memory
    directory: CallerDirectory
    reply: Reply


# --- running an action ------------------------------------------------------------------------

_directory: Directory | None = None
_directory_lock = threading.Lock()


def shared_directory() -> Directory:
    """Return this process's directory, connected at the first call.

    Raises:
        DirectoryError: it can't be reached; the next call tries again.
    """
    global _directory
    with _directory_lock:
        if _directory is None:
            _directory = Directory()
        return _directory


def directory_timeout() -> float:
    """Return how many seconds an action may take: ``DIRECTORY_TIMEOUT``, 5 unless set."""
    text = os.environ.get(_TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text or _DEFAULT_TIMEOUT)
        if not 0 < seconds < float("inf"):
            raise ValueError
    except ValueError:
        logger.warning(
            "%s must be a number of seconds above 0, not %r; using %s.",
            _TIMEOUT_VARIABLE,
            text,
            _DEFAULT_TIMEOUT,
        )
        return _DEFAULT_TIMEOUT
    return seconds


class Question(Action, ABC):
    """A question that users ask, answered out of the directory.

    A subclass has a name and :meth:`answer`; the action server finds it by itself.
    """

    @abstractmethod
    def name(self) -> str:
        """Return the action's name, as in ``domain.yml``."""

    @abstractmethod
    def answer(self, context: Context) -> Memory:
        """Say the answer through ``context.reply`` and return what to remember.

        Runs in a thread. May raise :class:`~actions.directory.DirectoryError`.
        """

    async def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> list[EventType]:
        """Answer, or say politely that it is not possible now; nothing is said half."""
        with serve("execution", self.name(), traceparent_of(tracker)) as execution:
            events = await self._run(dispatcher, tracker, execution)
            responses = (message.get("response") for message in dispatcher.messages)
            execution.set(responses=[name for name in responses if name])
        return events

    async def _run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, execution: Step
    ) -> list[EventType]:
        timeout = directory_timeout()
        try:
            before, reply = Memory.of(tracker), Reply()
            answer = asyncio.to_thread(
                self._answer, Turn.of(tracker), before, reply, Caller.of(tracker)
            )
            after = await asyncio.wait_for(answer, timeout)
        except asyncio.TimeoutError:
            execution.fail("timeout")
            logger.error("%s: no answer from the directory within %s s.", self.name(), timeout)
        except DirectoryError as error:
            execution.fail("directory")
            logger.error("%s: %s", self.name(), error)
        except Exception as error:
            execution.fail("defect")
            # Left to the server, a defect would send the whole tracker into the bot's log.
            logger.error("%s: %s", self.name(), describe(error))
        else:
            dispatcher.messages.extend(_for_channel(reply.messages, tracker))
            return [*_changes(before, after), SlotSet("answered", True)]
        dispatcher.utter_message(response="utter_unavailable")
        return [SlotSet("answered", True)]

    def _answer(self, turn: Turn, memory: Memory, reply: Reply, caller: Caller) -> Memory:
        directory = CallerDirectory(shared_directory(), caller)
        after = self.answer(Context(turn, memory, directory, reply))
        log, people = audit_log(), people_shown(reply.messages)
        if log is not None and people:
            log.record(caller, self.name(), people)
        return after


def _for_channel(messages: list[dict[str, Any]], tracker: Tracker) -> list[dict[str, Any]]:
    """Return ``messages`` without their cards where these would be printed as JSON."""
    if tracker.get_latest_input_channel() != TERMINAL or os.environ.get(CARDS_VARIABLE):
        return messages
    return [{**message, "custom": {}} for message in messages]


def _changes(before: Memory, after: Memory) -> list[EventType]:
    """Return the events that bring the slots from ``before`` to ``after``."""
    old = before.slots()
    return [SlotSet(name, value) for name, value in after.slots().items() if value != old[name]]
