"""What every action shares: the user's turn, the memory, the reply, and the deadline.

An action is a :class:`Question`. It gets a :class:`Context` (the :class:`Turn`, the
:class:`Memory`, the directory, and a :class:`Reply` to speak through) and returns the memory for
the next turn. It runs in a thread, so plain blocking calls are fine. What the bot says is in
``domain.yml``; an action names a response and fills in its values.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from actions.audit import admit, people_shown, quota
from actions.caller import Caller, CallerDirectory, traceparent_of
from actions.cards import label
from actions.directory import Directory, DirectoryError
from actions.query import MAX_OFFSET, Constraint, Query
from actions.reply import Reply
from actions.turn import Turn, clean, number, unique
from common.errors import describe
from common.tracing import Step, serve

logger = logging.getLogger(__name__)

# Rasa's name for the terminal of `rasa shell`, and what has cards shown there as well.
TERMINAL = "cmdline"
CARDS_VARIABLE = "SHELL_CARDS"

# Kinds of demands that are named in words of their own.
_NAMED = ("unsupported", "context")

_TIMEOUT_VARIABLE = "DIRECTORY_TIMEOUT"
_DEFAULT_TIMEOUT = 5.0


def today() -> date:
    """Return the day that « maintenant » means."""
    return date.today()


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
    ``candidates`` the ids of the people last listed, in order. ``query`` is the last list that was
    asked for; ``next_offset`` where its next page begins, None at the end.
    """

    person: str | None = None
    collaborator_id: str | None = None
    candidates: tuple[str, ...] = ()
    query: Query = field(default_factory=Query)
    next_offset: int | None = None
    pending: Pending | None = None

    @classmethod
    def of(cls, tracker: Tracker) -> Memory:
        """Read the slots of ``tracker``; anything malformed in them is left out."""
        slots = tracker.slots or {}

        def several(value: object) -> tuple[str, ...]:
            return unique(value) if isinstance(value, (list, tuple)) else ()

        pending, waiting = None, slots.get("pending")
        if isinstance(waiting, Mapping) and waiting.get("needs") in ("person", "technology"):
            asked = Asked(several(waiting.get("technology")), several(waiting.get("detail")))
            pending = Pending(waiting["needs"], asked)
        query = slots.get("query")
        return cls(
            person=clean(slots.get("person")),
            collaborator_id=clean(slots.get("collaborator_id")),
            candidates=several(slots.get("candidates")),
            query=Query.from_json(query),
            next_offset=number(query.get("next"), MAX_OFFSET)
            if isinstance(query, Mapping)
            else None,
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
            "query": {**self.query.to_json(), "next": self.next_offset} if self.query else None,
            "pending": pending,
        }

    def with_(self, **changes: Any) -> Memory:
        """Return a copy with ``changes``."""
        return dataclasses.replace(self, **changes)

    @property
    def list_query(self) -> Query:
        """The query from its beginning, of people in the plural.

        After « Linh Nguyen connaît-elle Java ? » the query names her; a list does without.
        """
        return self.query.without(*self.query.of_kind({"person"}))

    @property
    def needs(self) -> str | None:
        """What our last question waits for: ``person``, ``technology`` or None."""
        return self.pending.needs if self.pending else None


# --- an answer ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Context:
    """All that an answer needs.

    ``intent`` is ``WHO_IS`` or ``WHO_KNOWS_ABOUT``, ``today`` what « maintenant » means. An answer
    must :meth:`apply` the constraints that it shows to have honoured: what the turn says and
    nobody applied is named to the user.
    """

    turn: Turn
    memory: Memory
    directory: CallerDirectory
    reply: Reply
    today: date
    intent: str | None = None
    applied: set[Constraint] = field(default_factory=set)

    def apply(self, *constraints: Constraint) -> None:
        """Note that the answer honours ``constraints`` of the turn."""
        self.applied.update(constraints)


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

    # Decides where the entities leave it open whether one person is meant.
    intent: str | None = None

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
        self,
        dispatcher: CollectingDispatcher,
        tracker: Tracker,
        execution: Step,
    ) -> list[EventType]:
        timeout = directory_timeout()
        try:
            before, reply = Memory.of(tracker), Reply()
            answer = asyncio.to_thread(self._answer, tracker, before, reply)
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

    def _answer(self, tracker: Tracker, memory: Memory, reply: Reply) -> Memory:
        caller = Caller.of(tracker)
        directory = CallerDirectory(shared_directory(), caller)
        turn = Turn.of(tracker, today(), directory)
        context = Context(turn, memory, directory, reply, today(), self.intent)
        after = self.answer(context)
        _name_the_rest(context)
        if not admit(caller, self.name(), people_shown(reply.messages)):
            reply.messages.clear()
            reply("utter_quota", people=quota().limit)
            return memory
        return after


def _for_channel(messages: list[dict[str, Any]], tracker: Tracker) -> list[dict[str, Any]]:
    """Return ``messages`` without their cards where these would be printed as JSON."""
    if tracker.get_latest_input_channel() != TERMINAL or os.environ.get(CARDS_VARIABLE):
        return messages
    return [{**message, "custom": {}} for message in messages]


def _name_the_rest(context: Context) -> None:
    """Say which demands of the turn nobody honoured: no answer passes over one in silence."""
    reply = context.reply
    rest = [constraint for constraint in context.turn.demands if constraint not in context.applied]

    def quoted(kind: str) -> str:
        said = [c for c in rest if kind == (c.kind if c.kind in _NAMED else "other")]
        labels = dict.fromkeys(label(reply, constraint) for constraint in said)
        return ", ".join(reply.phrase("utter_label_quoted", what=what) for what in labels)

    if what := quoted("unsupported"):
        reply("utter_not_in_directory", what=what)
    if what := quoted("context"):
        reply("utter_taken_as_context", what=what)
    if what := quoted("other"):
        reply("utter_not_considered", what=what)


def _changes(before: Memory, after: Memory) -> list[EventType]:
    """Return the events that bring the slots from ``before`` to ``after``."""
    old = before.slots()
    return [SlotSet(name, value) for name, value in after.slots().items() if value != old[name]]
