"""Answers about a person: who is meant, then the card, a detail, or whether they know something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actions.alike import tell_alike
from actions.cards import (
    card_payload,
    format_date,
    intent_payload,
    label,
    person_fields,
    told_apart,
)
from actions.conversation import Asked, Context, Memory, Pending
from actions.directory import Collaborator, Skill
from actions.query import HEAD_KINDS, Constraint, Query, Term
from actions.reply import MISSING, Reply

# People offered at once, and skills on a card.
MAX_CHOICES = 5
MAX_NAMESAKES = 50
MAIN_SKILLS = 6

# What can be asked about a person (the canonical values of the entity `detail`).
DETAILS = ("email", "phone", "agency", "job_title", "skills", "availability")
# Asked about a person like a detail: who could do their work, who else has their name.
SUBSTITUTE, NAMESAKE = "substitute", "namesake"


def about_person(context: Context, asked: Asked) -> Memory:
    """Find out whom the turn means, and tell what is ``asked`` about them."""
    turn, memory = context.turn, context.memory
    if turn.contact:
        return _tell_by_contact(context, turn.contact, asked)
    if turn.collaborator_id:
        return _tell_id(context, turn.collaborator_id, asked)
    if turn.persons:
        return _tell_by_name(context, turn.persons, asked)
    pending = memory.pending.asked if memory.pending and memory.needs == "person" else Asked()
    if turn.rank is not None and memory.candidates:
        return _tell_by_rank(context, turn.rank, asked or pending)
    if (turn.constraints or turn.availability) and chooses(context):
        return _tell_by_property(context, asked or pending)
    if memory.needs == "person" and turn.is_bare and turn.text:
        context.apply(*turn.constraints)
        return _tell_by_name(context, (turn.text,), asked or pending)
    if not turn.reference and (name := _left_over(context)):
        context.apply(*(c for c in turn.constraints if c.kind == "unknown"))
        return _tell_by_name(context, (name,), asked or pending)
    if asked or turn.reference:
        if memory.collaborator_id:
            return _tell_id(context, memory.collaborator_id, asked)
        if memory.candidates:
            return choose(context, candidates(context), asked)
    context.reply("utter_ask_person")
    return memory.with_(candidates=(), pending=Pending("person", asked))


def _left_over(context: Context) -> str | None:
    """Return the words that nobody recognised where they name somebody, however misspelt.

    Words that nobody knows at all are a name as well: the memory is no answer to it.
    """
    turn = context.turn
    if not turn.rest:
        return None
    found = context.directory.find_people(turn.rest, limit=1)
    unknown = any(constraint.kind == "unknown" for constraint in turn.constraints)
    return turn.rest if found.matches or found.near or unknown else None


def chooses(context: Context) -> bool:
    """Whether the turn says by a property which of the people before it means.

    « Celui qui fait du Java », « à Lyon » after a question of ours, « celle de Rennes ».
    """
    turn, memory = context.turn, context.memory
    if turn.text is None:  # a button says all that it means
        return False
    if turn.follow_up and not memory.person and turn.choice != "one":
        return False
    places = memory.list_query.of_kind({"agency"})
    if turn.follow_up and places and turn.agency and not memory.person:
        return False  # « et celle de Nantes ? » after the team of Lyon
    offered = memory.needs == "person" and "people" not in turn.asks
    named = memory.person is not None and turn.agency is not None and not turn.has_head
    return (
        bool(memory.candidates or memory.person)
        and (offered or named or turn.choice == "one")
        and turn.choice != "several"
    )


# --- who is meant -----------------------------------------------------------------------------


def _tell_id(context: Context, collaborator_id: str, asked: Asked) -> Memory:
    """Tell about the person of that id, who may have left the directory since it was shown."""
    person = context.directory.get(collaborator_id)
    if person is None:
        context.reply("utter_person_gone")
        return context.memory.with_(collaborator_id=None, pending=None)
    return _tell(context, context.memory, person, asked)


def _tell_by_name(context: Context, names: Sequence[str], asked: Asked) -> Memory:
    """Tell about each of ``names``; the first that fits several people ends in a question."""
    memory, reply, agency = context.memory, context.reply, context.turn.agency
    places = Query(context.turn.constraints).of_kind({"agency"})
    told: list[str] = []
    if SUBSTITUTE in asked.details:
        agency = None  # where the other one is to be
    context.apply(*(Constraint((Term("person", name),)) for name in names))
    for name in names:
        found = context.directory.find_people(name, agency=agency, limit=MAX_CHOICES)
        if agency:
            context.apply(*places)
            if not found.matches:
                elsewhere = context.directory.find_people(name, limit=MAX_CHOICES)
                if elsewhere.matches:
                    reply("utter_person_elsewhere", name=name, agency=agency)
                    found = elsewhere
        matches, wanted = _answer_to_ours(memory, found.matches, asked)
        total = found.total if matches == found.matches else len(matches)
        matches, total = _with_property(context, matches, total)
        memory = memory.with_(person=name)
        if len(matches) == 1:
            memory = _tell(context, memory, matches[0], wanted)
            told.append(matches[0].id)
        elif matches:
            return _ask_which(context, memory, matches, total, wanted)
        else:
            memory = _say_nobody(context, memory, found.near, wanted)
    return memory.with_(candidates=tuple(told)) if len(told) > 1 else memory


def _with_property(
    context: Context, matches: tuple[Collaborator, ...], total: int
) -> tuple[tuple[Collaborator, ...], int]:
    """Keep those of several namesakes whom the skills, title or topic of the turn fit, if any."""
    heads = tuple(c for c in context.turn.constraints if c.kinds & HEAD_KINDS)
    tells_apart = (
        context.intent == "WHO_IS"
        or context.turn.choice == "one"
        or any(c.kinds - {"technology"} for c in heads)
    )
    if not (heads and tells_apart) or len(matches) < 2:
        return matches, total
    ids = [person.id for person in matches]
    # Where no namesake has all of it, what one of them has tells nevertheless.
    for said in (heads, *((head,) for head in heads)):
        found = context.directory.find(Query(said, limit=MAX_CHOICES), within=ids)
        if found.total:
            context.apply(*said)
            return tuple(listed.collaborator for listed in found.people), found.total
    return matches, total


def _tell_by_contact(context: Context, contact: str, asked: Asked) -> Memory:
    """Tell whose e-mail address or telephone number that is."""
    people = context.directory.find_contact(contact)
    if people is None:
        context.reply("utter_contact_hidden")
        return context.memory.with_(pending=None)
    if not people:
        context.reply("utter_contact_unknown", contact=contact)
        return context.memory.with_(pending=None)
    return choose(context, people, asked)


def _answer_to_ours(
    memory: Memory, matches: tuple[Collaborator, ...], asked: Asked
) -> tuple[tuple[Collaborator, ...], Asked]:
    """Return whom a name means, and what is asked, in view of a question of ours.

    A name that fits one of the people whom we offered chooses among them, and any name answers
    « De qui s'agit-il ? »: what was asked before still is. Any other name is a new question.
    """
    if asked or memory.pending is None or memory.needs != "person":
        return matches, asked
    offered = tuple(person for person in matches if person.id in memory.candidates)
    if offered:
        return offered, memory.pending.asked
    return matches, asked if memory.candidates else memory.pending.asked


def _tell_by_rank(context: Context, rank: int, asked: Asked) -> Memory:
    """Tell about the person whom we listed as number ``rank``, counted from 1."""
    memory = context.memory
    place = len(memory.candidates) if rank == -1 else rank
    if 1 <= place <= len(memory.candidates):
        return _tell_id(context, memory.candidates[place - 1], asked)
    people = candidates(context)
    context.reply(
        "utter_person_rank_unknown",
        count=len(people),
        **_choice(context.reply, people, asked, "which"),
    )
    return _waiting(memory, people, asked)


def _tell_by_property(context: Context, asked: Asked) -> Memory:
    """Tell about the one whom the turn's constraints fit among those before."""
    turn, memory = context.turn, context.memory
    wanted = Query(turn.sought)
    context.apply(*turn.sought)
    people: tuple[Collaborator, ...] = ()
    # The name again, rather than the people listed: these are only the first of many namesakes.
    if memory.person:
        found = context.directory.find_people(
            memory.person, agency=turn.agency, limit=MAX_NAMESAKES
        )
        people = found.matches
    people = people or candidates(context)
    within = [person.id for person in people]
    fitting = context.directory.find(wanted.with_(limit=MAX_CHOICES), within=within)
    context.applied.difference_update(fitting.refused)
    if fitting.total:
        chosen = [listed.collaborator for listed in fitting.people]
        if fitting.total > 1 and memory.person:
            return _ask_which(context, memory, chosen, fitting.total, asked)
        return choose(context, chosen, asked)
    what = ", ".join(label(context.reply, constraint) for constraint in wanted.constraints)
    people = candidates(context)
    if people:
        context.reply(
            "utter_person_none_of_these",
            what=what,
            **_choice(context.reply, people, asked, "which"),
        )
        return _waiting(memory, people, asked)
    if turn.agency:
        context.reply(
            "utter_person_none_in_agency", name=memory.person or MISSING, agency=turn.agency
        )
    else:
        context.reply("utter_nobody", what=what)
    return memory.with_(pending=None)


def candidates(context: Context) -> tuple[Collaborator, ...]:
    """Return the people last listed or offered."""
    people = (context.directory.get(candidate) for candidate in context.memory.candidates)
    return tuple(person for person in people if person is not None)


# --- asking back ------------------------------------------------------------------------------


def _ask_which(
    context: Context, memory: Memory, people: Sequence[Collaborator], total: int, asked: Asked
) -> Memory:
    """Ask which of the namesakes ``people`` is meant, the first of ``total``."""
    name = memory.person or MISSING
    choice = _choice(context.reply, people, asked, "namesakes", name=name, total=total)
    if total > len(people):
        context.reply(
            "utter_person_choice_first", name=name, total=total, shown=len(people), **choice
        )
    else:
        context.reply("utter_person_choice", name=name, total=total, **choice)
    return _waiting(memory, people, asked)


def choose(context: Context, people: Sequence[Collaborator], asked: Asked) -> Memory:
    """Ask which of ``people``, listed before, is meant; the only one needs no question."""
    if len(people) == 1:
        return _tell(context, context.memory, people[0], asked)
    if not people:  # all have left the directory meanwhile
        context.reply("utter_person_gone")
        return context.memory.with_(candidates=(), pending=None)
    context.reply("utter_person_which", **_choice(context.reply, people, asked, "which"))
    return _waiting(context.memory, people, asked)


def _say_nobody(
    context: Context, memory: Memory, near: Sequence[Collaborator], asked: Asked
) -> Memory:
    """Say that nobody has that name, and offer the nearest names."""
    name, near = memory.person or MISSING, near[:MAX_CHOICES]
    if not near:
        context.reply("utter_person_unknown", name=name)
        context.reply("utter_suggest_search")
        return memory.with_(candidates=(), pending=None)
    choice = _choice(context.reply, near, asked, "near", name=name, total=len(near))
    if len(near) == 1:
        context.reply("utter_person_near_one", name=name, **choice)
    else:
        context.reply("utter_person_near_many", name=name, **choice)
    return _waiting(memory, near, asked)


def _choice(
    reply: Reply,
    people: Sequence[Collaborator],
    asked: Asked,
    reason: str,
    *,
    name: str | None = None,
    total: int | None = None,
) -> dict[str, Any]:
    """Return the buttons, one a person, and the payload of a question « which one? »."""
    payloads = [_button_payload(person, asked) for person in people]
    titles = [f"{p.full_name} — {p.job_title}, {p.agency}" for p in people]
    return {
        "buttons": [
            {"title": title, "payload": payload}
            for title, payload in zip(told_apart(reply, titles, people), payloads, strict=True)
        ],
        "payload": card_payload(
            "person_choice",
            reason=reason,
            name=name,
            total=len(people) if total is None else total,
            people=[
                {**person_fields(person), "payload": payload}
                for person, payload in zip(people, payloads, strict=True)
            ],
        ),
    }


def _button_payload(person: Collaborator, asked: Asked) -> str:
    if asked.technologies:
        return intent_payload(
            "WHO_KNOWS_ABOUT", collaborator_id=person.id, technology=asked.technologies
        )
    return intent_payload("WHO_IS", collaborator_id=person.id, detail=asked.details)


def _waiting(memory: Memory, people: Sequence[Collaborator], asked: Asked) -> Memory:
    """Return the memory after asking which of ``people`` is meant."""
    candidates = tuple(person.id for person in people)
    return memory.with_(candidates=candidates, pending=Pending("person", asked))


# --- telling ----------------------------------------------------------------------------------


def _tell(context: Context, memory: Memory, person: Collaborator, asked: Asked) -> Memory:
    """Answer what is ``asked`` about ``person``, who is then the one talked about."""
    if SUBSTITUTE in asked.details:
        return tell_alike(context, memory, person)
    if NAMESAKE in asked.details:
        return _tell_namesake(context, person)
    technology = _technology_of_interest(memory, person)
    if asked.technologies:
        names = tuple(_tell_skill(context, person, skill) for skill in asked.technologies)
        context.apply(*(c for c in context.turn.constraints if c.kind == "technology"))
        skills = (Constraint((Term("technology", name),)) for name in names)
        of_person = Constraint((Term("person", person.full_name),))
        memory = memory.with_(query=Query((*skills, of_person)), next_offset=None)
        technology = names[-1]
    elif details := _known_details(asked.details):
        for detail in details:
            _tell_detail(context, person, detail)
    else:
        _tell_card(context, person)
    # « et le deuxième ? » after one of a list; another person's card ends that list.
    listed = memory.candidates if person.id in memory.candidates else ()
    following = None if memory.pending else _following(context, listed, person)
    _suggest(context, person, asked, following, None if asked.details else technology)
    return memory.with_(collaborator_id=person.id, candidates=listed, pending=None)


def _tell_namesake(context: Context, person: Collaborator) -> Memory:
    """Tell about the other one who bears the name of ``person``."""
    found = context.directory.find_people(person.full_name, limit=MAX_CHOICES)
    others = [p for p in found.matches if p.id != person.id and p.full_name == person.full_name]
    if others:
        return choose(context, others, Asked())
    context.reply("utter_no_namesake", name=person.full_name)
    return context.memory.with_(collaborator_id=person.id, pending=None)


def _tell_card(context: Context, person: Collaborator) -> None:
    context.reply(
        "utter_person_card",
        name=person.full_name,
        job_title=person.job_title,
        agency=person.agency,
        skills=_skill_list(person.skills[:MAIN_SKILLS], ", ") or MISSING,
        contact=" · ".join(filter(None, (person.email, person.phone))) or MISSING,
        updated=format_date(person.updated_at),
        payload=card_payload("person_card", person=person_fields(person), detail=None),
    )


def _known_details(details: Sequence[str]) -> tuple[str, ...]:
    """Return the details of :data:`DETAILS`; « ses coordonnées » are mail and phone."""
    spread = [d for detail in details for d in (DETAILS[:2] if detail == "contact" else (detail,))]
    return tuple(detail for detail in dict.fromkeys(spread) if detail in DETAILS)


def _tell_detail(context: Context, person: Collaborator, detail: str) -> None:
    reply, name = context.reply, person.full_name
    card = card_payload("person_card", person=person_fields(person), detail=detail)
    day = person.available_from
    if detail == "availability" and context.turn.availability:
        context.apply(context.turn.availability)
    if detail == "email" and person.email:
        reply("utter_person_email", name=name, email=person.email, payload=card)
    elif detail == "phone" and person.phone:
        reply("utter_person_phone", name=name, phone=person.phone, payload=card)
    elif detail == "agency":
        reply("utter_person_agency", name=name, agency=person.agency, payload=card)
    elif detail == "job_title":
        reply("utter_person_job_title", name=name, job_title=person.job_title, payload=card)
    elif detail == "skills" and person.skills:
        skills = _skill_list(person.skills, "\n", bullet="• ")
        reply("utter_person_skills", name=name, skills=skills, payload=card)
    elif detail == "availability" and day and day > context.today:
        reply("utter_person_available_from", name=name, date=format_date(day), payload=card)
    elif detail == "availability" and day:
        reply("utter_person_available_now", name=name, date=format_date(day), payload=card)
    elif {"availability": "available_from"}.get(detail, detail) in person.hidden:
        reply("utter_person_detail_hidden", name=name, payload=card)
    else:
        reply("utter_person_detail_unknown", name=name, payload=card)


def _tell_skill(context: Context, person: Collaborator, technology: str) -> str:
    """Say whether ``person`` knows ``technology``; return its name as the directory spells it."""
    # « IA » may be a skill of some and a field of work of others: a false « non » is worse.
    for kind in ("technology", "family"):
        skill = Query((Constraint((Term(kind, technology),)),))
        found = context.directory.find(skill, within=[person.id])
        if found.people:
            break
    technology = next(iter(found.query.technologies), technology)
    levels = found.people[0].levels if found.people else {}
    # A family, or a name that stands for several skills: the very one, else the one known best.
    known = technology if technology in levels else next(iter(levels), technology)
    technology, level = known, levels.get(known)
    card = card_payload(
        "skill_check", person=person_fields(person), technology=technology, level=level
    )
    if level is None:
        context.reply(
            "utter_skill_no",
            name=person.full_name,
            technology=technology,
            who_knows=intent_payload("WHO_KNOWS_ABOUT", technology=technology),
            payload=card,
        )
    elif "level" in context.turn.asks:
        context.reply(
            "utter_skill_level",
            name=person.full_name,
            technology=technology,
            level=level,
            payload=card,
        )
    else:
        context.reply(
            "utter_skill_yes",
            name=person.full_name,
            agency=person.agency,
            technology=technology,
            level=level,
            payload=card,
        )
    return technology


# --- suggesting -------------------------------------------------------------------------------


def _technology_of_interest(memory: Memory, person: Collaborator) -> str | None:
    """Return what ``person`` was looked up for, if they know it, else what they know best."""
    names = [skill.name for skill in person.skills]
    asked_for = [name for name in memory.query.technologies if name in names]
    return next(iter(asked_for + names), None)


def _following(
    context: Context, listed: Sequence[str], person: Collaborator
) -> Collaborator | None:
    """Return who comes after ``person`` in the list that they are from, unless a namesake."""
    after = listed[listed.index(person.id) + 1 :] if listed else ()
    following = context.directory.get(after[0]) if after else None
    return following if following and following.full_name != person.full_name else None


def _suggest(
    context: Context,
    person: Collaborator,
    asked: Asked,
    following: Collaborator | None,
    technology: str | None,
) -> None:
    """Suggest the same about the person ``following``, and who else knows ``technology``."""
    others = colleagues = ""
    if technology:
        skill = Query((Constraint((Term("technology", technology),)),))
        found = context.directory.count_by_agency(skill)
        knows = any(skill.name == technology for skill in person.skills)
        # Whoever does not know it: the answer itself has a button for all who do.
        if knows and sum(found.values()) > 1:
            others = intent_payload("WHO_KNOWS_ABOUT", technology=technology)
        if found.get(person.agency, 0) > knows:
            colleagues = intent_payload(
                "WHO_KNOWS_ABOUT", technology=technology, agency=person.agency
            )
    if following or others or colleagues:
        context.reply(
            "utter_suggest_after_person",
            next_name=following.full_name if following else MISSING,
            next_person=_button_payload(following, asked) if following else "",
            technology=technology or MISSING,
            agency=person.agency,
            others=others,
            colleagues=colleagues,
        )


def _skill_list(skills: Sequence[Skill], separator: str, bullet: str = "") -> str:
    return separator.join(f"{bullet}{skill.name} {skill.level}/5" for skill in skills)
