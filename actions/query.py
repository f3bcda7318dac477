"""What a turn asks for, as one value: whom, under which constraints, in what order, how many."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

# Kinds of terms. A list answers these; the others are never applied, only named.
SKILL_KINDS = frozenset({"technology", "family"})
HEAD_KINDS = SKILL_KINDS | {"job_title", "topic"}
SEARCHED_KINDS = HEAD_KINDS | {"agency", "availability", "person"}

ORDERS = ("level", "agency", "name", "availability")
# Rows of a page where no number is asked for, and the most of them.
PAGE_SIZE, MAX_LIMIT = 5, 50
MAX_OFFSET = 100_000
# Constraints of one query, and alternatives of one constraint.
MAX_TERMS = 12


@dataclass(frozen=True)
class Term:
    """A value that people are looked for by: ``Term("technology", "Java")``."""

    kind: str
    value: str


@dataclass(frozen=True)
class Constraint:
    """What people must (or, ``excluded``, must not) match: at least one of ``terms``.

    ``minimum`` and ``maximum`` are levels (1 to 5) of skills. Who is available is so on day
    ``until`` at the latest and, where ``after`` is given, not before that day is over.
    """

    terms: tuple[Term, ...]
    excluded: bool = False
    minimum: int | None = None
    maximum: int | None = None
    until: date | None = None
    after: date | None = None

    @property
    def kind(self) -> str:
        """The kind of the first term."""
        return self.terms[0].kind

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of all terms."""
        return frozenset(term.kind for term in self.terms)

    @property
    def is_skill(self) -> bool:
        """Whether it asks for a skill, of which people have a level."""
        return not self.excluded and bool(self.kinds & SKILL_KINDS)

    @property
    def has_level(self) -> bool:
        """Whether it asks for a level."""
        return (self.minimum, self.maximum) != (None, None)

    def at_level(self, minimum: int | None, maximum: int | None) -> Constraint:
        """Return a copy that asks for this level."""
        return dataclasses.replace(self, minimum=minimum, maximum=maximum)

    @property
    def is_plain(self) -> bool:
        """Whether it is one skill or one agency wanted, and no more."""
        return self == Constraint(self.terms) and (
            len(self.terms) == 1 and self.kind in ("technology", "agency")
        )

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        limits = {name: getattr(self, name) for name in ("excluded", "minimum", "maximum")}
        days = {name: getattr(self, name) for name in ("until", "after")}
        return {
            "terms": [[term.kind, term.value] for term in self.terms],
            **{name: value for name, value in limits.items() if value},
            **{name: day.isoformat() for name, day in days.items() if day},
        }

    @classmethod
    def from_json(cls, data: object) -> Constraint | None:
        """Read a constraint; None where ``data`` is none."""
        if not isinstance(data, Mapping) or not isinstance(data.get("terms"), list):
            return None
        terms = tuple(
            Term(pair[0], pair[1][:100])
            for pair in data["terms"][:MAX_TERMS]
            if isinstance(pair, (list, tuple))
            and len(pair) == 2
            and pair[0] in SEARCHED_KINDS
            and isinstance(pair[1], str)
        )
        if not terms:
            return None
        return cls(
            terms,
            data.get("excluded") is True,
            _within(data.get("minimum"), 1, 5),
            _within(data.get("maximum"), 1, 5),
            _day(data.get("until")),
            _day(data.get("after")),
        )


@dataclass(frozen=True)
class Query:
    """A list of people that is asked for: all of ``constraints`` hold.

    ``limit`` is how many rows a page has, None for the usual number; ``offset`` where it begins.
    """

    constraints: tuple[Constraint, ...] = ()
    order: str = "level"
    limit: int | None = None
    offset: int = 0

    def __bool__(self) -> bool:
        return bool(self.constraints)

    def with_(self, **changes: Any) -> Query:
        """Return a copy with ``changes``."""
        return dataclasses.replace(self, **changes)

    def without(self, *dropped: Constraint) -> Query:
        """Return the query without these constraints, from its beginning."""
        kept = tuple(c for c in self.constraints if c not in dropped)
        return self.with_(constraints=kept, offset=0)

    def without_terms(self, terms: Collection[Term]) -> Query:
        """Return the query without ``terms`` among what it wants, from its beginning."""
        kept = (_taken_out(constraint, terms) for constraint in self.constraints)
        return self.with_(constraints=tuple(filter(None, kept)), offset=0)

    def of_kind(self, kinds: Collection[str]) -> tuple[Constraint, ...]:
        """Return the constraints that are wanted (not excluded) and of these ``kinds``."""
        return tuple(c for c in self.constraints if not c.excluded and c.kinds & set(kinds))

    @property
    def technologies(self) -> tuple[str, ...]:
        """The skills wanted."""
        wanted = self.of_kind({"technology"})
        return tuple(t.value for c in wanted for t in c.terms if t.kind == "technology")

    @property
    def agency(self) -> str | None:
        """The agency wanted, None unless it is one."""
        wanted = self.of_kind({"agency"})
        return wanted[0].terms[0].value if len(wanted) == 1 and len(wanted[0].terms) == 1 else None

    @property
    def is_plain(self) -> bool:
        """Whether it asks for skills, perhaps in an agency, and no more."""
        return (
            bool(self.technologies)
            and all(constraint.is_plain for constraint in self.constraints)
            and len(self.of_kind({"agency"})) <= 1
            and (self.order, self.limit) == ("level", None)
        )

    def refined(self, said: Query, *, add: bool = False) -> Query:
        """Return this query with what was ``said`` after it.

        What is wanted replaces what was wanted of its kind, and keeps the level that was asked of
        it; where there is none of its kind, a skill, title or topic replaces the others. With
        ``add`` these join instead. What is excluded always joins, and is no longer wanted.
        """
        kept = [c for c in self.constraints if c.excluded]
        wanted = [c for c in self.constraints if not c.excluded]
        new = []
        for constraint in said.constraints:
            if constraint.excluded:
                wanted = [*Query(tuple(wanted)).without_terms(constraint.terms).constraints]
            else:
                kept = [c for c in kept if not set(c.terms) & set(constraint.terms)]
                if constraint.kinds & SKILL_KINDS and not constraint.has_level:
                    levels = [c for c in wanted if c.kinds & SKILL_KINDS and c.has_level]
                    if levels and not add:
                        constraint = constraint.at_level(levels[0].minimum, levels[0].maximum)
            new.append(constraint)
        replaced: set[str] = set()
        for constraint in new:
            if constraint.excluded or (add and constraint.kinds & HEAD_KINDS):
                continue
            kinds = constraint.kinds | (SKILL_KINDS if constraint.kinds & SKILL_KINDS else set())
            if kinds & HEAD_KINDS and not any(c.kinds & kinds for c in wanted):
                kinds = HEAD_KINDS
            replaced |= kinds
        wanted = [c for c in wanted if not c.kinds & replaced]
        return Query(
            _unique((*wanted, *kept, *new)),
            said.order if said.order != "level" else self.order,
            said.limit or self.limit,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads, without what has its usual value."""
        usual = Query()
        rest = {name: getattr(self, name) for name in ("order", "limit", "offset")}
        return {
            "constraints": [constraint.to_json() for constraint in self.constraints],
            **{name: value for name, value in rest.items() if value != getattr(usual, name)},
        }

    @classmethod
    def from_json(cls, data: object) -> Query:
        """Read a query; anything malformed in it is left out."""
        if not isinstance(data, Mapping):
            return cls()
        listed = data.get("constraints")
        read = map(Constraint.from_json, listed[:MAX_TERMS] if isinstance(listed, list) else ())
        return cls(
            _unique(filter(None, read)),
            data["order"] if data.get("order") in ORDERS else "level",
            _within(data.get("limit"), 1, MAX_LIMIT),
            _within(data.get("offset"), 0, MAX_OFFSET) or 0,
        )


def _taken_out(constraint: Constraint, terms: Collection[Term]) -> Constraint | None:
    """Return ``constraint`` without ``terms`` among what it wants; None where nothing is left."""
    if constraint.excluded:
        return constraint
    left = tuple(term for term in constraint.terms if term not in terms)
    return dataclasses.replace(constraint, terms=left) if left else None


def _unique(constraints: Iterable[Constraint]) -> tuple[Constraint, ...]:
    return tuple(dict.fromkeys(constraints))[:MAX_TERMS]


def _within(value: object, lowest: int, highest: int) -> int | None:
    usable = isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest
    return value if usable else None  # type: ignore[return-value]


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
