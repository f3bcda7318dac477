"""Parts of answers: labels of constraints, payloads of buttons, and what an app draws as cards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from actions.directory import Collaborator, Found
from actions.query import MAX_LIMIT, SKILL_KINDS, Constraint, Query
from actions.reply import MISSING, Reply

# Skills that tell people apart.
_OWN_SKILLS = 3


def format_date(day: date | None) -> str:
    """Return ``day`` as French people write it, ``23/11/2026``."""
    return day.strftime("%d/%m/%Y") if day else MISSING


def label(reply: Reply, constraint: Constraint) -> str:
    """Return ``constraint`` as an answer's first line shows it: « Java ≥ 4 », « hors Paris »."""
    phrase, kind = reply.phrase, constraint.kind
    if kind == "availability":
        return _available(reply, constraint)
    what = phrase("utter_label_or").join(term.value for term in constraint.terms)
    if kind == "topic":
        what = phrase("utter_label_topic", what=what)
    elif kind == "family":
        what = phrase("utter_label_family", what=what)
    lowest, highest = constraint.minimum, constraint.maximum
    if kind in SKILL_KINDS and constraint.has_level:
        if lowest == highest:
            what = phrase("utter_label_level", what=what, level=lowest or 0)
        elif highest is None:
            what = phrase("utter_label_minimum", what=what, level=lowest or 0)
        elif lowest is None:
            what = phrase("utter_label_maximum", what=what, level=highest)
        else:
            what = phrase("utter_label_levels", what=what, lowest=lowest, highest=highest)
    if constraint.excluded and kind in ("agency", "person"):
        return phrase("utter_label_outside", what=what)
    return phrase("utter_label_without", what=what) if constraint.excluded else what


def _available(reply: Reply, constraint: Constraint) -> str:
    until, after = format_date(constraint.until), format_date(constraint.after)
    if constraint.excluded:
        return reply.phrase("utter_label_unavailable", date=until)
    if when := constraint.terms[0].value:
        return reply.phrase("utter_label_available_when", when=when)
    if constraint.after is None:
        return reply.phrase("utter_label_available", date=until)
    if constraint.until is None:
        return reply.phrase("utter_label_available_after", date=after)
    return reply.phrase("utter_label_available_between", first=after, last=until)


def told_apart(reply: Reply, labels: Sequence[str], people: Sequence[Collaborator]) -> list[str]:
    """Return the ``labels`` of people, with what differs where several have the same.

    That is the first of skills, availability, e-mail address and telephone number in which they all
    differ, else their id.
    """
    result = list(labels)
    for label in {label for label in labels if labels.count(label) > 1}:
        places = [place for place, other in enumerate(labels) if other == label]
        signs = _differences(reply, [people[place] for place in places])
        for place, sign in zip(places, signs, strict=True):
            result[place] = f"{label} — {sign}"
    return result


def _differences(reply: Reply, people: Sequence[Collaborator]) -> list[str]:
    common = set(people[0].skills).intersection(*(person.skills for person in people))

    def skills(person: Collaborator) -> str:
        own = [skill for skill in person.skills if skill not in common]
        return level_list({skill.name: skill.level for skill in own[:_OWN_SKILLS]})

    def available(person: Collaborator) -> str:
        day = person.available_from
        return reply.phrase("utter_label_available", date=format_date(day)) if day else ""

    for sign in (skills, available, lambda p: p.email or "", lambda p: p.phone or ""):
        signs = list(map(sign, people))
        if all(signs) and len(set(signs)) == len(signs):
            return signs
    return [person.id for person in people]


def level_list(levels: Mapping[str, int]) -> str:
    """Return levels in a row: « Java 5/5, Docker 3/5 »."""
    return ", ".join(f"{name} {level}/5" for name, level in levels.items())


# --- payloads ---------------------------------------------------------------------------------


def intent_payload(intent: str, **entities: str | Sequence[str] | Mapping[str, Any] | None) -> str:
    """Return the text that a button sends: ``/WHO_IS{"collaborator_id": "C0012"}``.

    Entities without a value are left out; several values become a list, as Rasa reads it.
    """
    given = {
        name: value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
        for name, value in entities.items()
        if value
    }
    return f"/{intent}{json.dumps(given, ensure_ascii=False)}" if given else f"/{intent}"


def query_payload(query: Query) -> str:
    """Return the text that asks ``query``, in plain entities where these can say it."""
    if query.is_plain:
        return intent_payload(
            "WHO_KNOWS_ABOUT",
            technology=query.technologies,
            agency=query.agency,
            offset=str(query.offset) if query.offset else None,
        )
    return intent_payload("WHO_KNOWS_ABOUT", query=query.to_json()) if query else ""


# --- cards ------------------------------------------------------------------------------------


def card_payload(kind: str, **fields: Any) -> dict[str, Any]:
    """Return a structured message of type ``kind``; docs/dialogue.md lists the fields."""
    return {"type": kind, "version": 1, **fields}


def person_fields(person: Collaborator) -> dict[str, Any]:
    """Return ``person`` as the structured messages hold it (docs/dialogue.md)."""
    return {
        "id": person.id,
        "name": person.full_name,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "agency": person.agency,
        "job_title": person.job_title,
        "email": person.email,
        "phone": person.phone,
        "skills": [{"name": skill.name, "level": skill.level} for skill in person.skills],
        "available_from": person.available_from and person.available_from.isoformat(),
        "biography": person.biography,
        "updated_at": person.updated_at and person.updated_at.isoformat(),
        "hidden": list(person.hidden),
    }


def next_offset(found: Found) -> int | None:
    """Return where the next page begins, None where this one is the last."""
    end = found.query.offset + len(found.people)
    return end if found.people and end < found.total else None


def expert_list(reply: Reply, found: Found, related: Sequence[str] = ()) -> dict[str, Any]:
    """Return the card of one page of people."""
    query, updated_at, following = found.query, found.updated_at, next_offset(found)
    return card_payload(
        "expert_list",
        technologies=list(query.technologies),
        agency=query.agency,
        total=found.total,
        offset=query.offset,
        experts=[
            {"person": person_fields(listed.collaborator), "levels": listed.levels}
            for listed in found.people
        ],
        next=query_payload(query.with_(offset=following)) if following is not None else None,
        related=list(related),
        updated_at=updated_at and updated_at.isoformat(),
        query=query_parts(reply, query),
    )


_ORDERS = {
    "agency": "utter_label_order_agency",
    "name": "utter_label_order_name",
    "availability": "utter_label_order_availability",
}


def query_parts(reply: Reply, query: Query) -> list[dict[str, Any]]:
    """Return all that ``query`` asks for, each with the payload that asks again without it."""
    said = [(c.kind, label(reply, c), c.excluded, query.without(c)) for c in query.constraints]
    if query.limit is not None and query.limit < MAX_LIMIT:
        limit = reply.phrase("utter_label_limit", limit=query.limit)
        said.append(("limit", limit, False, query.with_(limit=None, offset=0)))
    if query.order != "level":
        order = reply.phrase(_ORDERS[query.order])
        said.append(("order", order, False, query.with_(order="level", offset=0)))
    return [
        {
            "kind": kind,
            "label": text,
            "excluded": excluded,
            "without": query_payload(without) if without else None,
        }
        for kind, text, excluded, without in said
    ]
