"""« Qui est meilleur en Java, A ou B ? »: people side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actions.cards import expert_list, label, person_fields
from actions.conversation import Asked, Context, Memory, Pending
from actions.directory import Collaborator, Found
from actions.people import MAX_CHOICES, about_person, candidates
from actions.query import Constraint, Query, Term
from common.text import fold

MAX_COMPARED = 4
MAX_SHARED = 6


def compare(context: Context) -> Memory:
    """Tell the levels of the people whom the turn names or means, and who is better."""
    turn, memory = context.turn, context.memory
    people: list[Collaborator] = []
    wanted = tuple(c for c in turn.constraints if c.is_skill)
    places = Query(turn.constraints).of_kind({"agency"})
    for name in turn.persons:
        matches = context.directory.find_people(name, limit=MAX_CHOICES).matches
        if len(matches) > 1 and turn.agency:
            there = tuple(p for p in matches if fold(p.agency) == fold(turn.agency))
            if there:
                matches = there
                context.apply(*places)
        if len(matches) > 1 and wanted:
            # Of namesakes, the one who knows it.
            within = [person.id for person in matches]
            knowing = context.directory.find(Query(wanted), within=within).people
            matches = tuple(listed.collaborator for listed in knowing) or matches
        if len(matches) != 1:
            return about_person(context, Asked(turn.technologies))
        people += matches
        context.apply(Constraint((Term("person", name),)))
    if len(people) < 2:
        others = candidates(context)
        talked_about = context.directory.get(memory.collaborator_id or "")
        pool = (*people, *((talked_about,) if people and talked_about else ()), *others)
        people = list({person.id: person for person in pool}.values())[:MAX_COMPARED]
    if len(people) < 2:
        context.reply("utter_ask_person")
        return memory.with_(pending=Pending("person"))
    skills = wanted or tuple(Constraint((Term("technology", name),)) for name in _shared(people))
    if not skills:
        context.reply("utter_compare_nothing", names=_names(context, people))
    _say(context, people, [_compare_in(context, people, skill) for skill in skills])
    ids = tuple(person.id for person in people)
    of_people = Constraint(tuple(Term("person", person.full_name) for person in people))
    return memory.with_(
        candidates=ids,
        collaborator_id=None,
        person=None,
        query=Query((*(wanted or memory.list_query.constraints), of_people)),
        next_offset=None,
        pending=None,
    )


# A response, its values, and the people of its list.
_Verdict = tuple[str, dict[str, Any], Found]


def _say(context: Context, people: Sequence[Collaborator], verdicts: Sequence[_Verdict]) -> None:
    """Say who is better in what, in one message whose card has the people compared."""
    reply = context.reply
    if not verdicts:
        return
    card = expert_list(reply, verdicts[0][2])
    card["compared"] = [person_fields(person) for person in people]
    if len(verdicts) == 1:
        response, values, _ = verdicts[0]
        reply(response, payload=card, **values)
        return
    text = "\n\n".join(reply.phrase(response, **values) for response, values, _ in verdicts)
    reply("utter_compare_several", verdicts=text, payload=card)


def _compare_in(context: Context, people: Sequence[Collaborator], skill: Constraint) -> _Verdict:
    reply = context.reply
    ids = [person.id for person in people]
    found = context.directory.find(Query((skill,), limit=len(people)), within=ids)
    context.apply(skill)
    levels = {
        listed.collaborator.id: max(listed.levels.values(), default=0) for listed in found.people
    }
    lines = "\n".join(
        reply.phrase("utter_label_compared", name=p.full_name, level=levels[p.id])
        if levels.get(p.id)
        else reply.phrase("utter_label_compared_none", name=p.full_name)
        for p in people
    )
    best = max(levels.values(), default=0)
    first = [person for person in people if best and levels.get(person.id) == best]
    values = {"technology": label(reply, found.query.constraints[0]), "levels": lines}
    if not first:
        return "utter_compare_nobody", values, found
    if len(first) == 1:
        return "utter_compare_one", {**values, "name": first[0].full_name}, found
    return "utter_compare_equal", {**values, "names": _names(context, first)}, found


def _names(context: Context, people: Sequence[Collaborator]) -> str:
    return context.reply.phrase("utter_label_and").join(person.full_name for person in people)


def _shared(people: Sequence[Collaborator]) -> list[str]:
    """The skills that all of ``people`` have, those of the first one's best levels first."""
    common = set.intersection(*({skill.name for skill in p.skills} for p in people))
    return [skill.name for skill in people[0].skills if skill.name in common][:MAX_SHARED]
