"""What an app asks beside the conversation: completions, people by their ids, and examples.

``POST /webhook/completions``, ``/webhook/people``, ``/webhook/examples`` of the action server, for
its bot alone: ``{"conversation": …, "metadata": …}`` as of a message, and the fields of the
question. The caller sees what an answer would show them, and whom they were shown is recorded.
People count for the quota (:class:`~actions.audit.Quota`): 429 where it is used up. Those who are
named alone do not, or typing would use it up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, json

from actions.audit import admit, audit_log
from actions.caller import Caller, CallerDirectory
from actions.cards import person_fields
from actions.conversation import directory_timeout, shared_directory
from actions.directory import DirectoryError
from actions.query import Constraint, Query, Term
from common.errors import describe

logger = logging.getLogger(__name__)

MAX_PEOPLE = 50
MAX_SKILLS = 3

# What is answered, and the ids of the people that it shows.
Answer = tuple[dict[str, Any], list[str]]
Lookup = Callable[[CallerDirectory, Mapping[str, Any]], Answer]


def completions(directory: CallerDirectory, body: Mapping[str, Any]) -> Answer:
    """Answer what the end of ``text`` may be the beginning of."""
    found = directory.complete(body.get("text", ""))
    listed = [{"kind": c.kind, "text": c.text, "replaces": c.replaces} for c in found]
    return {"completions": listed}, [person for c in found for person in c.people]


def people(directory: CallerDirectory, body: Mapping[str, Any]) -> Answer:
    """Answer who has the ``ids``; those whom nobody has are left out."""
    found = [directory.get(str(one)) for one in body.get("ids", [])[:MAX_PEOPLE]]
    listed = [person_fields(person) for person in found if person is not None]
    return {"people": listed}, [person["id"] for person in listed]


def examples(directory: CallerDirectory, _: Mapping[str, Any]) -> Answer:
    """Answer the most frequent skills, an agency and a person that know the first of them."""
    skills = list(directory.count_by_skill(limit=MAX_SKILLS))
    known = Query((Constraint((Term("technology", skills[0]),)),) if skills else ())
    places = directory.count_by_agency(known)
    best = directory.find(known.with_(limit=1)).people if skills else ()
    person = best[0].collaborator if best else None
    return {
        "technologies": skills,
        "agency": max(places, key=lambda place: places[place], default=None),
        "person": person and person.full_name,
    }, [person.id] if person else []


def add_routes(app: Sanic) -> None:
    """Have ``app``, which knows its bot, answer the questions above."""
    for lookup in (completions, people, examples):
        name = lookup.__name__
        app.add_route(_route(name, lookup), f"/webhook/{name}", methods=("POST",), name=name)


def _route(name: str, lookup: Lookup) -> Callable[[Request], Any]:
    async def answer(request: Request) -> HTTPResponse:
        body = request.json
        if not (
            isinstance(body, dict)
            and isinstance(body.get("metadata"), dict)
            and isinstance(body.get("text", ""), str)
            and isinstance(body.get("ids", []), list)
        ):
            return json({"error": "send conversation, metadata, and text or ids"}, status=400)
        caller = Caller.from_metadata(str(body.get("conversation")), body["metadata"])

        def look_up() -> dict[str, Any] | None:
            answered, shown = lookup(CallerDirectory(shared_directory(), caller), body)
            if lookup is people:
                return answered if admit(caller, name, shown) else None
            if shown and (log := audit_log()) is not None:
                log.record(caller, name, [], named=shown)
            return answered

        try:
            answered = await asyncio.wait_for(asyncio.to_thread(look_up), directory_timeout())
        except (DirectoryError, asyncio.TimeoutError) as error:
            logger.error("%s: %s", name, describe(error))
            return json({"error": "the directory does not answer"}, status=503)
        if answered is None:
            return json({"error": "as many people were shown today as may be"}, status=429)
        return json(answered)

    return answer
