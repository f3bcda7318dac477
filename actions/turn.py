"""What the user's last message says, read from its entities (docs/dialogue.md)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from rasa_sdk import Tracker

from actions.dates import is_range, period
from actions.query import (
    HEAD_KINDS,
    MAX_LIMIT,
    MAX_OFFSET,
    MAX_TERMS,
    ORDERS,
    Constraint,
    Query,
    Term,
)
from actions.reading import Spotter, left_over, reread

# Longest name or technology that is looked up, and most people taken from one turn.
MAX_VALUE_LENGTH = 100
MAX_PERSONS = 3

_EXCLUDED = "excluded"
# Kinds that a directory cannot answer: they are named (« je n'ai pas tenu compte de … »).
_NEVER_APPLIED = ("unsupported", "unknown", "context")


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


def unique(values: Iterable[object]) -> tuple[str, ...]:
    """Clean ``values``, drop repetitions (whatever their case), keep the order."""
    found: dict[str, str] = {}
    for value in map(clean, values):
        if value:
            found.setdefault(value.casefold(), value)
    return tuple(found.values())


def number(value: object, highest: int) -> int | None:
    """Return ``value`` as a whole number from 0 to ``highest``, or None."""
    text = clean(value) or ""
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) and int(text) <= highest else None


@dataclass(frozen=True)
class _Entity:
    name: str
    value: str
    span: str
    role: str | None
    group: str | None


def _entities(message: Mapping[str, Any]) -> list[_Entity]:
    text = message.get("text")
    found = []
    for entity in message.get("entities") or []:
        if not isinstance(entity, Mapping) or not isinstance(entity.get("entity"), str):
            continue
        value = clean(entity.get("value"))
        if value is None:
            continue
        start, end, span = entity.get("start"), entity.get("end"), None
        if isinstance(text, str) and isinstance(start, int) and isinstance(end, int):
            span = clean(text[max(start, 0) : max(end, 0)])
        keys = (entity.get(key) for key in ("role", "group"))
        role, group = (key if isinstance(key, str) else None for key in keys)
        name = "context" if role == "context" else entity["entity"]
        found.append(_Entity(name, value, span or value, role, group))
    return found


@dataclass(frozen=True)
class Turn:
    """What the user's last message is about.

    ``text`` is the message itself where a person typed it, None for a button's ``/INTENT{…}``.
    ``constraints`` are all that it says of people wanted, ``availability`` among them only where
    the turn cannot mean one person's. ``query`` comes whole from a button. ``rank`` -1 is the last.
    ``rest`` are words that nobody recognised, which may name a person. ``same_place`` is
    « là-bas », where was talked about, ``others`` « à part elle », of whom was.
    """

    text: str | None = None
    persons: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    availability: Constraint | None = None
    details: tuple[str, ...] = ()
    asks: frozenset[str] = frozenset()
    order: str = "level"
    limit: int | None = None
    drops: frozenset[str] = frozenset()
    rank: int | None = None
    reference: bool = False
    others: bool = False
    same_place: bool = False
    more: bool = False
    follow_up: bool = False
    change: str | None = None
    choice: str | None = None
    contact: str | None = None
    collaborator_id: str | None = None
    query: Query = field(default_factory=Query)
    offset: int = 0
    rest: str = field(default="", compare=False)

    @classmethod
    def of(cls, tracker: Tracker, today: date, directory: Spotter | None = None) -> Turn:
        """Read the last message of ``tracker``; anything malformed in it is left out.

        The names of ``directory`` in it are found whatever the model made of them.
        """
        message = tracker.latest_message or {}
        if directory is not None:
            message = reread(message, directory)
        entities = _entities(message)

        def every(name: str) -> tuple[str, ...]:
            return unique(entity.value for entity in entities if entity.name == name)

        def first(name: str) -> str | None:
            return next(iter(every(name)), None)

        text = message.get("text")
        typed = isinstance(text, str) and not text.lstrip().startswith("/")
        query = next(
            (
                Query.from_json(entity.get("value"))
                for entity in message.get("entities") or []
                if isinstance(entity, Mapping) and entity.get("entity") == "query"
            ),
            Query(),
        )
        asked = (e.value for e in entities if e.name == "person" and e.role is None)
        availability, misread = _availability(entities, today)
        limit = first("limit")
        order = first("order")
        return cls(
            text=clean(text) if typed else None,
            persons=unique(asked)[:MAX_PERSONS],
            constraints=(*_constraints(entities), *misread)[:MAX_TERMS],
            availability=availability,
            details=every("detail"),
            asks=frozenset(every("ask")),
            order=order if order in ORDERS else "level",
            limit=MAX_LIMIT if limit == "all" else number(limit, MAX_LIMIT) or None,
            drops=frozenset(every("drop")),
            rank=-1 if first("rank") == "-1" else number(first("rank"), MAX_OFFSET),
            reference=any(e.name == "reference" and e.role is None for e in entities),
            others=any(e.name == "reference" and e.role == _EXCLUDED for e in entities),
            same_place=bool(every("place")),
            more=bool(every("more")),
            follow_up=bool(every("follow_up")),
            # « finalement Nantes, c'est bon » lifts an exclusion, whatever else it says.
            change=next((c for c in ("restore", "widen") if c in every("change")), first("change")),
            choice=first("choice"),
            contact=first("email") or first("phone"),
            collaborator_id=first("collaborator_id"),
            query=query,
            offset=number(first("offset"), MAX_OFFSET) or 0,
            rest=left_over(message),
        )

    @property
    def demands(self) -> tuple[Constraint, ...]:
        """All that the answer must honour, or name as not taken into account."""
        people = (Constraint((Term("person", name),)) for name in self.persons)
        return (*people, *self.sought)

    @property
    def sought(self) -> tuple[Constraint, ...]:
        """What it says of the people of a list."""
        return (*self.constraints, *((self.availability,) if self.availability else ()))

    def without_persons(self) -> Turn:
        """Return the turn as if it named nobody."""
        return dataclasses.replace(self, persons=())

    def excluding_persons(self) -> Turn:
        """Return the turn as if it left out whom it names."""
        people = (Constraint((Term("person", name),), excluded=True) for name in self.persons)
        return dataclasses.replace(self, persons=(), constraints=(*self.constraints, *people))

    @property
    def technologies(self) -> tuple[str, ...]:
        """The skills that are wanted."""
        return Query(self.constraints).technologies

    @property
    def agency(self) -> str | None:
        """The agency that is wanted, None unless it is one."""
        return Query(self.constraints).agency

    @property
    def has_head(self) -> bool:
        """Whether it says by itself which people are wanted: a skill, a title, a topic."""
        return any(c.kinds & HEAD_KINDS and not c.excluded for c in self.constraints)

    @property
    def names_person(self) -> bool:
        """Whether the turn names a person, points at one, or picks one of a list by number."""
        picks = self.rank is not None and not self.technologies
        return bool(self.persons or self.collaborator_id or self.reference or picks)

    @property
    def is_bare(self) -> bool:
        """Whether no entity was found: after a question of ours, the text itself may answer it."""
        unread = all(constraint.kind == "unknown" for constraint in self.constraints)
        return unread and self == Turn(text=self.text, constraints=self.constraints)

    @property
    def wants_people(self) -> bool:
        """Whether it constrains a list of people in any way, or goes on with one."""
        said = (self.sought, self.limit, self.drops, self.query, self.asks, self.follow_up)
        return any(said) or self.order != "level" or self.more


def _constraints(entities: Iterable[_Entity]) -> tuple[Constraint, ...]:
    """The constraints in the order of the text; one group, or several towns, are alternatives."""
    groups: dict[tuple[object, bool], list[_Entity]] = {}
    for position, entity in enumerate(entities):
        excluded = entity.role == _EXCLUDED
        if entity.name in _NEVER_APPLIED or (entity.name == "person" and excluded):
            groups[position, excluded] = [entity]
        elif entity.name in HEAD_KINDS or entity.name == "agency":
            single = "agency" if entity.name == "agency" and not excluded else position
            groups.setdefault((entity.group or single, excluded), []).append(entity)
    found: dict[Constraint, str | None] = {}
    for (_, excluded), alternatives in groups.items():
        terms = (
            Term(e.name, e.span if e.name in _NEVER_APPLIED else e.value) for e in alternatives
        )
        found[Constraint(tuple(dict.fromkeys(terms)), excluded)] = alternatives[0].group
    return _with_levels(found, [entity for entity in entities if entity.name == "level"])


def _with_levels(
    constraints: Mapping[Constraint, str | None], levels: Iterable[_Entity]
) -> tuple[Constraint, ...]:
    """Give skills the levels of their group, or all of them those without one.

    A level that no skill of the turn takes stays a constraint of kind ``level``.
    """
    found, loose = dict(constraints), []
    # « les pros, 5 sur 5 »: the number is what counts.
    for entity in sorted(levels, key=lambda level: level.role not in ("minimum", "maximum")):
        level = number(entity.value, 5)
        if not level:
            continue
        minimum = level if entity.role != "maximum" else None
        maximum = level if entity.role != "minimum" else None
        skills = [c for c in found if c.is_skill and entity.group in (None, found[c])]
        for constraint in skills:
            lowest = constraint.minimum if minimum is None else minimum
            highest = constraint.maximum if maximum is None else maximum
            found = {
                (c.at_level(lowest, highest) if c is constraint else c): group
                for c, group in found.items()
            }
        if not skills:
            loose.append(Constraint((Term("level", entity.span),), False, minimum, maximum))
    return (*found, *loose)


def _availability(
    entities: Iterable[_Entity], today: date
) -> tuple[Constraint | None, tuple[Constraint, ...]]:
    """When people must be available, and the dates that could not be read."""
    said = [e for e in entities if e.name == "detail" and e.value == "availability"]
    dates = [e for e in entities if e.name == "date"]
    until, after, misread = None, None, []
    for entity in dates:
        days = period(entity.value, today)
        if days is None:
            misread.append(Constraint((Term("unknown", entity.span),)))
        elif entity.role == "after":
            after = days[1]
        elif entity.role == "from":
            until = days[0]
        elif entity.role == "before":
            until = days[1] if days[0] == days[1] else days[0] - timedelta(days=1)
        else:
            until = days[1]
    if not said and until is None and after is None:
        return None, tuple(misread)
    if until is None and after is None:
        until = today
    excluded = any(entity.role == _EXCLUDED for entity in said)
    # « du 5 au 20 février »: its other end decides nothing, and is shown.
    ranges = (e.span for e in dates if e.role in (None, "from") and is_range(e.value))
    term = Term("availability", next(ranges, ""))
    return Constraint((term,), excluded, until=until, after=after), tuple(misread)
