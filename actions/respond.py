"""One turn about the directory, whatever its intent: the entities decide where they can."""

from __future__ import annotations

import dataclasses

from actions.compare import compare
from actions.conversation import Asked, Context, Memory
from actions.experts import about_people
from actions.people import NAMESAKE, SUBSTITUTE, about_person, chooses
from actions.query import SKILL_KINDS

WHO_IS, WHO_KNOWS_ABOUT = "WHO_IS", "WHO_KNOWS_ABOUT"


def respond(context: Context) -> Memory:
    """Answer about a person or about people in the plural."""
    turn, memory = context.turn, context.memory
    if turn.contact:
        return about_person(context, Asked(details=turn.details))
    if turn.change == "restore" and memory.query:
        return about_people(context)
    if turn.persons and (turn.more or turn.others) and turn.has_head:
        # « un autre que Paul en Java », « on n'a pas que Paul en Java ? »
        return about_people(dataclasses.replace(context, turn=turn.excluding_persons()))
    if _only_mentions(context):
        # Not applied, so it is said that the name was not looked for.
        return about_people(dataclasses.replace(context, turn=turn.without_persons()))
    if turn.choice == "one" and turn.order != "level" and memory.candidates and not turn.persons:
        # « lequel des deux est libre le plus tôt ? »
        first = dataclasses.replace(turn, reference=False, choice="several", limit=1)
        return about_people(dataclasses.replace(context, turn=first))
    compares = "comparison" in turn.asks or (
        turn.choice == "one" and (len(turn.persons) > 1 or turn.limit == 1)
    )
    if compares and (len(turn.persons) > 1 or _means_people(context)):
        return compare(context)
    compared = memory.query.of_kind({"person"})
    if turn.follow_up and turn.technologies and any(len(c.terms) > 1 for c in compared):
        return compare(context)  # « et en Docker ? » after two people were
    if turn.choice == "other" and not turn.sought:
        others = [one for one in memory.candidates if one != memory.collaborator_id]
        if len(others) == 1:
            return about_person(
                dataclasses.replace(
                    context, turn=dataclasses.replace(turn, collaborator_id=others[0])
                ),
                Asked(details=turn.details),
            )
    if SUBSTITUTE in turn.asks and not (
        turn.names_person or memory.collaborator_id or not memory.list_query
    ):
        # « rien à Lyon dans le même genre ? », after a list
        return about_people(
            dataclasses.replace(context, turn=dataclasses.replace(turn, follow_up=True))
        )
    for ask in (SUBSTITUTE, NAMESAKE):
        if ask in turn.asks:
            return about_person(context, Asked(details=(ask, *turn.details)))
    if turn.names_person:
        if turn.persons and (
            (turn.details and turn.has_head and _is_ambiguous(context))
            or any(c.kinds & {"job_title", "topic"} for c in turn.constraints)
        ):
            return about_person(context, Asked(details=turn.details))  # tells namesakes apart
        # « Il ne connaît pas Docker ? » asks whether he does.
        skills = [c for c in turn.constraints if c.kinds & SKILL_KINDS]
        context.apply(*skills)
        technologies = tuple(term.value for c in skills for term in c.terms)
        if not technologies and turn.follow_up and context.intent == WHO_KNOWS_ABOUT:
            technologies = memory.query.technologies
        if "level" in turn.asks and not (technologies or turn.details):
            technologies = memory.query.technologies[:1]
        return about_person(context, Asked(technologies, turn.details))
    if "level" in turn.asks and memory.collaborator_id and "people" not in turn.asks:
        technologies = turn.technologies or memory.query.technologies[:1]
        return about_person(context, Asked(technologies, () if technologies else ("skills",)))
    if _asks_same_person(context):
        context.apply(*turn.constraints)
        return about_person(context, Asked(turn.technologies))
    if turn.query or turn.choice == "several" or turn.drops:
        return about_people(context)
    if chooses(context) and (turn.sought or turn.is_bare):
        return about_person(context, Asked())
    if _asks_detail(context):
        return about_person(context, Asked(details=turn.details))
    if turn.wants_people:
        return about_people(context)
    if context.intent == WHO_IS or memory.needs == "person":
        return about_person(context, Asked())
    return about_people(context)


def _is_ambiguous(context: Context) -> bool:
    """Whether somebody else has the name, so that what else is said tells who is meant."""
    return context.directory.find_people(context.turn.persons[0], limit=2).total > 1


def _only_mentions(context: Context) -> bool:
    """Whether a question about people in the plural has a name in it that it is not about."""
    turn = context.turn
    plural = "people" in turn.asks or turn.availability is not None
    plural = plural or any(c.kinds & {"job_title", "family", "topic"} for c in turn.constraints)
    if not (turn.persons and turn.has_head and plural):
        return False
    if turn.reference or turn.asks & {SUBSTITUTE, NAMESAKE, "comparison", "level"}:
        return False
    if context.intent == WHO_KNOWS_ABOUT and "people" in turn.asks:
        return True  # « qui connaît Java ? C'est pour le projet de Sophie Martin »
    return not any(context.directory.find_people(name).matches for name in turn.persons)


def _means_people(context: Context) -> bool:
    """Whether people were shown, or the turn means some, who can be compared."""
    turn, memory = context.turn, context.memory
    if turn.persons:
        return bool(memory.candidates or memory.collaborator_id)
    return len(memory.candidates) > 1 and (turn.reference or turn.choice is not None)


def _asks_same_person(context: Context) -> bool:
    """« Et en Swift ? » after « quel est son niveau en Kotlin ? »."""
    turn, memory = context.turn, context.memory
    only_skills = all(c.kind == "technology" and not c.has_level for c in turn.constraints)
    return (
        turn.follow_up
        and bool(turn.technologies and memory.collaborator_id)
        and only_skills
        and turn.availability is None
        and not turn.asks & {"people", "number"}
        and bool(memory.query.of_kind({"person"}) or not memory.query)
    )


def _asks_detail(context: Context) -> bool:
    """Whether the turn asks for a detail of the person talked about: « son mail ? »."""
    turn, memory = context.turn, context.memory
    if not turn.details or turn.has_head or "people" in turn.asks:
        return False
    if turn.details != ("availability",):
        return True
    # « Dispo en janvier ? » asks about the one person before, else it constrains the list.
    if turn.follow_up or turn.change or turn.constraints or turn.order != "level" or turn.limit:
        return bool(memory.collaborator_id) and not memory.query
    if memory.query and not memory.candidates:
        return False  # nobody fitted: that list is talked about, not who was before it
    before = memory.query or memory.candidates or turn.choice
    return memory.collaborator_id is not None or not before
