"""Answers about people in the plural: who fits the query, best level first, a page at a time."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from actions.cards import (
    expert_list,
    format_date,
    intent_payload,
    label,
    level_list,
    next_offset,
    query_parts,
    query_payload,
    told_apart,
)
from actions.conversation import Context, Memory, Pending
from actions.directory import Found, Listed
from actions.query import Constraint, Query, Term
from actions.reply import MISSING
from common.text import fold

# Conditions offered to be dropped, and skills of an agency.
MAX_OFFERS = 3
MAX_SKILLS = 10

# (several skills, more than one person, in an agency) → response, for plain questions
_LIST_RESPONSES = {
    (False, False, False): "utter_experts_one",
    (False, False, True): "utter_experts_one_in_agency",
    (False, True, False): "utter_experts_many",
    (False, True, True): "utter_experts_many_in_agency",
    (True, False, False): "utter_experts_together_one",
    (True, False, True): "utter_experts_together_one_in_agency",
    (True, True, False): "utter_experts_together_many",
    (True, True, True): "utter_experts_together_many_in_agency",
}


def about_people(context: Context) -> Memory:
    """List the people whom the turn asks for, completed from the memory."""
    turn, memory = context.turn, context.memory
    if turn.more and not turn.sought:
        return _go_on(context)
    query = wanted(context)
    if not query and not turn.sought and ("number" in turn.asks or (memory.query and turn.drops)):
        return _tell_total(context)
    if "agencies" in turn.asks or (turn.order == "agency" and "number" in turn.asks):
        return _tell_agencies(context, query)
    if "skills" in turn.asks and not query.of_kind({"technology", "family"}):
        return _tell_skills(context, query)
    if not query and "all" in turn.drops:
        context.reply("utter_fresh_start")
        return Memory()
    if not query and turn.sought:
        return memory.with_(pending=None)  # nothing that can be looked up: that is said
    if not query:
        return _ask_technology(context)
    within = None
    if turn.choice == "several" and not memory.query:
        within = memory.candidates or None
    return _list(context, query, within)


# --- the query --------------------------------------------------------------------------------


def wanted(context: Context) -> Query:
    """Return the query of the turn: a new one, or the one before as the turn changes it.

    What stands alone (« qui connaît Java ? ») is new. « et à Nantes ? », « plutôt Python », « au
    moins 4 », « parmi eux … » and the answer to a question of ours change the query before.
    """
    turn, memory = context.turn, context.memory
    if turn.query:
        return turn.query
    answers_ours = memory.needs == "technology"
    if not (turn.wants_people or answers_ours):
        return Query()
    recognised = [_recognised(context, constraint) for constraint in turn.constraints]
    demands = [*recognised, *filter(None, [turn.availability])]
    demands += _of_the_talk(context)
    loose = [constraint for constraint in demands if constraint.kind == "level"]
    if "level" in turn.drops:
        context.apply(*loose)  # « confirmé, c'est trop demander : tous niveaux »
        loose = []
    said = Query(
        tuple(c for c in demands if c.kind not in ("level", "unknown", "unsupported", "context")),
        turn.order,
        turn.limit,
        turn.offset,
    )
    before = memory.list_query
    if "all" in turn.drops:
        before = Query()
    dropped = [c for c in before.constraints if c.kinds & turn.drops]
    if "last" in turn.drops:  # « et sans cette contrainte ? »
        dropped += before.constraints[-1:]
    before = before.without(*dropped)
    if "level" in turn.drops:
        before = _at_level(before, None, None)
    if answers_ours and turn.is_bare and turn.text and not said:
        said = Query((Constraint((Term("technology", turn.text),)),))
        context.apply(*turn.constraints)
    elif not said and not turn.drops and (turn.asks & {"people", "number"} or before):
        # « qui connaît Zorglub ? »: whatever it is, it is what they ask for, not what they asked.
        words = [c for c in turn.constraints if c.kind == "unknown"]
        skills = [Constraint((Term("technology", c.terms[0].value),)) for c in words]
        said = said.with_(constraints=tuple(skills), offset=said.offset)
        context.apply(*words)
    context.apply(
        *(c for c, r in zip(turn.constraints, recognised, strict=True) if r in said.constraints)
    )
    context.apply(*said.constraints)
    # « docker » after « Docker » is the same
    spelled = {(t.kind, fold(t.value)): t for c in before.constraints for t in c.terms}
    respelled = (
        dataclasses.replace(
            c, terms=tuple(spelled.get((t.kind, fold(t.value)), t) for t in c.terms)
        )
        for c in said.constraints
    )
    said = said.with_(constraints=tuple(respelled))
    if turn.change in ("restore", "widen"):
        before, said = _restored(context, before, said)
        before, said = _widened(before, said) if turn.change == "widen" else (before, said)
    if turn.change in ("drop", "replace"):
        # « enlève Docker », « Vue à la place de React », « non, Kotlin, pas Java »: what was asked
        # for before is no condition any more, rather than excluded.
        asked = {term for c in before.constraints if not c.excluded for term in c.terms}
        kinds = {kind for c in said.constraints if not c.excluded for kind in c.kinds}
        taken = [
            c
            for c in said.constraints
            if c.excluded and asked.issuperset(c.terms)
            if turn.change == "drop" or c.kinds & kinds
        ]
        before = before.without_terms({term for c in taken for term in c.terms})
        said = said.without(*taken).with_(offset=said.offset)
    goes_on = turn.follow_up or turn.change or turn.choice == "several" or answers_ours
    asks_anew = bool(turn.asks & {"people", "agencies", "skills"}) and not turn.drops
    # « montre-les moi tous » goes on as well
    shows_more = not said and (turn.limit or turn.order != "level" or "number" in turn.asks)
    alone = (turn.has_head or (asks_anew and not shows_more)) and not goes_on
    add = turn.change in ("add", "drop", "widen") or turn.choice == "several"
    query = said if alone else before.refined(said, add=add)
    return _levelled(context, query, loose)


def _of_the_talk(context: Context) -> list[Constraint]:
    """« Là-bas », « à part elle »: where, and whom, was talked about."""
    turn, memory = context.turn, context.memory
    person = context.directory.get(memory.collaborator_id or "")
    found = []
    if turn.others and person:
        found.append(Constraint((Term("person", person.full_name),), excluded=True))
    if turn.same_place and not Query(turn.constraints).of_kind({"agency"}):
        places = memory.list_query.of_kind({"agency"})
        if not places and person:
            places = (Constraint((Term("agency", person.agency),)),)
        found += places
    return found


def _restored(context: Context, before: Query, said: Query) -> tuple[Query, Query]:
    """« Nantes, c'est bon », « remets Claire »: they are excluded no more, and no condition."""
    persons = tuple(Constraint((Term("person", name),)) for name in context.turn.persons)
    wanted = (*persons, *(c for c in said.constraints if not c.excluded))
    lifted = []
    for constraint in before.constraints:
        names = [fold(term.value) for term in constraint.terms if constraint.excluded]
        for back in wanted:
            value = fold(back.terms[0].value)
            if back.kind == constraint.kind and any(n in value or value in n for n in names):
                lifted.append(constraint)
                context.apply(back)
                said = said.without(back).with_(offset=said.offset)
    return before.without(*lifted), said


def _widened(before: Query, said: Query) -> tuple[Query, Query]:
    """« Élargis aux architectes »: one more alternative to what was asked for."""
    for more in [c for c in said.constraints if not c.excluded]:
        same = next(iter(before.of_kind(more.kinds)), None)
        if same is not None:
            wider = dataclasses.replace(same, terms=(*same.terms, *more.terms))
            kept = tuple(wider if c is same else c for c in before.constraints)
            before, said = before.with_(constraints=kept), said.without(more)
    return before, said


def _recognised(context: Context, constraint: Constraint) -> Constraint:
    """Return what words that nobody understood are in this directory: a skill, a title, a town."""
    if constraint.kind == "unknown":
        for kind in ("technology", "job_title", "agency"):
            known = dataclasses.replace(constraint, terms=(Term(kind, constraint.terms[0].value),))
            if context.directory.find(Query((known,), limit=1)).total:
                return known
    return constraint


def _at_level(query: Query, minimum: int | None, maximum: int | None) -> Query:
    return query.with_(
        constraints=tuple(
            c.at_level(minimum, maximum) if c.is_skill else c for c in query.constraints
        )
    )


def _levelled(context: Context, query: Query, loose: Sequence[Constraint]) -> Query:
    """Give the skills of ``query`` the levels said without one; « senior » may be a title, too."""
    for constraint in loose:
        word = constraint.terms[0].value
        if any(c.is_skill for c in query.constraints):
            query = _at_level(query, constraint.minimum, constraint.maximum)
        elif word.isalpha():
            title = Constraint((Term("job_title", word),))
            query = query.with_(constraints=(*query.constraints, title))
        else:
            continue
        context.apply(constraint)
    return query


# --- lists ------------------------------------------------------------------------------------


def _go_on(context: Context) -> Memory:
    """Go on with the last list; after one person, who else there is."""
    memory = context.memory
    if memory.next_offset is not None:
        return _list(context, memory.query.with_(offset=memory.next_offset))
    if not memory.list_query:
        return _ask_technology(context)
    person = context.directory.get(memory.collaborator_id or "")
    if person is not None and memory.candidates != (person.id,):
        other = Constraint((Term("person", person.full_name),), excluded=True)
        return _list(context, memory.list_query.refined(Query((other,))))
    context.reply("utter_experts_no_more")
    return memory.with_(pending=None)


def _list(context: Context, query: Query, within: Sequence[str] | None = None) -> Memory:
    """List a page of those who fit ``query``, or say that nobody does and what is near."""
    found = context.directory.find(query, within=within)
    context.applied.difference_update(found.refused)
    if not found.query:
        return context.memory.with_(pending=None)  # all of it was refused
    if found.total:
        _say_list(context, found)
        kept = found.query
    else:
        kept = _say_nobody(context, found)
    return _after(context.memory, found, kept)


def _ask_technology(context: Context) -> Memory:
    context.reply("utter_ask_technology")
    context.reply("utter_suggest_technology")
    query = context.memory.query.with_(constraints=context.memory.query.of_kind({"agency"}))
    return context.memory.with_(query=query, next_offset=None, pending=Pending("technology"))


def _say_list(context: Context, found: Found) -> None:
    """Say one page, and offer the next."""
    reply, query = context.reply, found.query
    if not found.people:
        reply("utter_experts_no_more")
        return
    what = ", ".join(part["label"] for part in query_parts(reply, query))
    technology = " + ".join(query.technologies)
    lines = [_line(query, listed) for listed in found.people]
    everybody = [listed.collaborator for listed in found.people]
    people = "\n".join(told_apart(reply, lines, everybody))
    updated, card = format_date(found.updated_at), expert_list(reply, found)
    first, last = query.offset + 1, query.offset + len(found.people)
    if query.offset:
        reply(
            "utter_experts_next",
            technology=what,
            people=people,
            first=first,
            last=last,
            total=found.total,
            updated=updated,
            payload=card,
        )
    elif query.is_plain:
        several = len(query.technologies) > 1
        reply(
            _LIST_RESPONSES[several, found.total > 1, bool(query.agency)],
            technology=technology,
            agency=query.agency or MISSING,
            people=people,
            total=found.total,
            updated=updated,
            payload=card,
        )
    elif found.total == 1:
        reply("utter_people_one", what=what, people=people, updated=updated, payload=card)
    else:
        reply(
            "utter_people_many",
            what=what,
            total=found.total,
            people=people,
            updated=updated,
            payload=card,
        )
    if found.versions and not query.offset:
        reply("utter_experts_versions", versions=", ".join(found.versions))
    if (following := next_offset(found)) is not None:
        remaining = found.total - following
        next_page = query_payload(query.with_(offset=following))
        if remaining == 1:
            reply("utter_experts_more_one", next_page=next_page)
        else:
            reply("utter_experts_more_many", remaining=remaining, next_page=next_page)
    _suggest(context, found)


def _say_nobody(context: Context, found: Found) -> Query:
    """Say that nobody fits, why, and what would help; return the query to remember."""
    reply, query = context.reply, found.query
    technology, agency = " + ".join(query.technologies), query.agency
    places = [term for term in found.unknown if term.kind == "agency"]
    if places and agency:
        return _say_no_such_agency(context, found)
    card = expert_list(reply, found)
    if query.is_plain and len(query.technologies) == 1:
        elsewhere = query.without(*query.of_kind({"agency"}))
        if agency and any(relaxed.query == elsewhere for relaxed in found.relaxed):
            reply(
                "utter_no_expert_in_agency",
                technology=technology,
                agency=agency,
                everywhere=query_payload(elsewhere),
                payload=card,
            )
            return query
        related = context.directory.related(technology, agency=agency)
        card = expert_list(reply, found, related)
        buttons = [
            {"title": skill, "payload": intent_payload("WHO_KNOWS_ABOUT", technology=skill)}
            for skill in related
        ]
        if buttons:
            reply("utter_no_expert_related", technology=technology, buttons=buttons, payload=card)
        else:
            reply("utter_no_expert", technology=technology, payload=card)
            reply("utter_suggest_search")
        return query
    what = ", ".join(part["label"] for part in query_parts(reply, query))
    if not found.relaxed:
        reply("utter_nobody", what=what, payload=card)
        reply("utter_suggest_search")
        return query
    offers = [
        (", ".join(label(reply, c) for c in relaxed.dropped), relaxed)
        for relaxed in found.relaxed[:MAX_OFFERS]
    ]
    buttons = [
        {
            "title": reply.phrase("utter_label_drop", what=dropped, total=relaxed.total),
            "payload": query_payload(relaxed.query),
        }
        for dropped, relaxed in offers
    ]
    culprits = reply.phrase("utter_label_or").join(
        reply.phrase("utter_label_quoted", what=dropped) for dropped, _ in offers
    )
    reply("utter_nobody_because", what=what, culprits=culprits, buttons=buttons, payload=card)
    return query


def _say_no_such_agency(context: Context, found: Found) -> Query:
    """Say that nobody works there; return the query without it."""
    elsewhere = found.query.without(*found.query.of_kind({"agency"}))
    context.reply(
        "utter_no_agency",
        agency=found.query.agency or MISSING,
        agencies=", ".join(context.directory.count_by_agency(Query())),
        everywhere=query_payload(elsewhere) if elsewhere else "",
        payload=expert_list(context.reply, found),
    )
    return elsewhere


def _line(query: Query, listed: Listed) -> str:
    """One person: name, agency, levels or job title, and when they are available if it matters."""
    person, levels = listed.collaborator, listed.levels
    if len(levels) == 1 and query.technologies == tuple(levels):
        what = f"{next(iter(levels.values()))}/5"
    else:
        what = level_list(levels)
    parts = [person.full_name, person.agency, what or person.job_title]
    if query.order == "availability" or any(c.kind == "availability" for c in query.constraints):
        parts.append(format_date(person.available_from))
    return "• " + " — ".join(parts)


def _suggest(context: Context, found: Found) -> None:
    """Suggest the agencies of the people listed, or all of them, and what else they know."""
    query = found.query
    if not query.is_plain:
        return
    people = [listed.collaborator for listed in found.people]
    agencies = Counter(person.agency for person in people)
    place = query.of_kind({"agency"})
    everywhere = query.without(*place)
    elsewhere = bool(place) and context.directory.find(everywhere).total > found.total
    if place or found.total == agencies.most_common(1)[0][1]:
        agencies.clear()  # all that are meant work there
    first, second, *_ = [*(name for name, _ in agencies.most_common(2)), None, None]
    skills = Counter(skill.name for person in people for skill in person.skills)
    common = (name for name, _ in skills.most_common() if name not in query.technologies)
    other = next(common, None)

    def who_knows(technologies: str | Sequence[str] | None, agency: str | None) -> str:
        return intent_payload("WHO_KNOWS_ABOUT", technology=technologies, agency=agency)

    context.reply(
        "utter_suggest_after_experts",
        agency=first or MISSING,
        there=who_knows(query.technologies, first) if first else "",
        second_agency=second or MISSING,
        second_there=who_knows(query.technologies, second) if second else "",
        everywhere=query_payload(everywhere) if elsewhere else "",
        other_technology=other or MISSING,
        other=who_knows(other, query.agency) if other else "",
    )


def _after(memory: Memory, found: Found, query: Query) -> Memory:
    """Return the memory after a list was shown.

    The only one of a list is the person talked about; a list of several leaves that open.
    """
    people = tuple(listed.collaborator.id for listed in found.people)
    talked_about = people[0] if found.total == len(people) == 1 else None
    if not people:
        talked_about = memory.collaborator_id
    return memory.with_(
        person=None,
        collaborator_id=talked_about,
        candidates=people,
        query=query.with_(offset=0),
        next_offset=next_offset(found),
        pending=None,
    )


# --- agencies and skills ----------------------------------------------------------------------


def _tell_agencies(context: Context, query: Query) -> Memory:
    """Tell how many people each agency has, of those who fit ``query``."""
    counts = context.directory.count_by_agency(query)
    agencies = "\n".join(f"• {name} : {total}" for name, total in counts.items())
    if query and not counts:
        return _list(context, query)
    if query:
        what = ", ".join(part["label"] for part in query_parts(context.reply, query))
        context.reply("utter_agencies_with", what=what, agencies=agencies)
    else:
        context.reply("utter_agencies", agencies=agencies, total=len(counts))
    return context.memory.with_(query=query or context.memory.query, pending=None)


def _tell_total(context: Context) -> Memory:
    """Tell how many people there are in all."""
    counts = context.directory.count_by_agency(Query())
    agencies = ", ".join(f"{name} {total}" for name, total in counts.items())
    context.reply("utter_total", total=sum(counts.values()), agencies=agencies)
    return context.memory.with_(query=Query(), pending=None)


def _tell_skills(context: Context, query: Query) -> Memory:
    """Tell what people know most, everywhere or in an agency."""
    agency = query.agency
    rest = query.without(*query.of_kind({"agency"})) if agency else query
    context.applied.difference_update(rest.constraints)
    counts = context.directory.count_by_skill(agency, limit=MAX_SKILLS)
    skills = "\n".join(f"• {name} : {total}" for name, total in counts.items())
    if agency and not counts:
        nowhere = Found(query, unknown=(Term("agency", agency),))
        return context.memory.with_(query=_say_no_such_agency(context, nowhere), pending=None)
    if agency:
        context.reply("utter_skills_in_agency", agency=agency, skills=skills)
    else:
        context.reply("utter_skills", skills=skills)
    return context.memory.with_(pending=None)
