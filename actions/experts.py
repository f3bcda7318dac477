"""Answers about a technology: the people who know it, best level first, a page at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from actions.access import CallerDirectory
from actions.conversation import (
    MISSING,
    Context,
    Memory,
    Pending,
    card_payload,
    format_date,
    intent_payload,
)
from actions.directory import Collaborator, ExpertsFound
from actions.people import person_fields
from bot.text import fold

# People on a page, and on each of several lists in one answer.
PAGE_SIZE = 5
SHORT_PAGE_SIZE = 3
# Of several technologies, how many of those who know the rarest one are looked at, best first.
MAX_COMPARED = 200

# (several technologies, more than one person, in an agency) → response
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


@dataclass(frozen=True)
class Row:
    """One person of a list, with the level in each technology asked for."""

    person: Collaborator
    levels: tuple[int, ...]


@dataclass(frozen=True)
class Listing:
    """One page of the people who know all of ``technologies``, beginning at ``offset``."""

    technologies: tuple[str, ...]
    agency: str | None
    rows: tuple[Row, ...]
    total: int
    offset: int = 0

    @property
    def next_offset(self) -> int | None:
        """Where the next page begins, None where this one is the last."""
        end = self.offset + len(self.rows)
        return end if self.rows and end < self.total else None

    @property
    def updated_at(self) -> datetime | None:
        """The oldest update among the people listed."""
        return min((r.person.updated_at for r in self.rows if r.person.updated_at), default=None)


def about_technology(context: Context) -> Memory:
    """List the people who know what the turn asks for, completed from the memory."""
    turn, memory = context.turn, context.memory
    if turn.more and not turn.technologies and not turn.agency:
        return _next_page(context)
    technologies, agency = _filters(context)
    if not technologies:
        return _ask_technology(context, agency)
    if len(technologies) > 1:
        return _list_together(context, technologies, agency, turn.offset)
    return _list_one(context, memory, technologies[0], agency, turn.offset)


def _filters(context: Context) -> tuple[tuple[str, ...], str | None]:
    """Return the technologies and the agency that are asked for.

    A full question stands for itself. « et à Nantes ? » keeps the technologies of the question
    before, « et en Python ? » its agency, and so does the answer to a question of ours.
    """
    turn, memory = context.turn, context.memory
    answers_ours = memory.needs == "technology"
    technologies = turn.technologies
    if not technologies and answers_ours and turn.is_bare and turn.text:
        technologies = (turn.text,)
    if not technologies and (turn.follow_up or turn.agency):
        technologies = memory.technology
    agency = turn.agency
    if agency is None and (turn.follow_up or answers_ours):
        agency = memory.agency
    return technologies, agency


def _ask_technology(context: Context, agency: str | None) -> Memory:
    context.reply("utter_ask_technology")
    context.reply("utter_suggest_technology")
    return context.memory.with_(agency=agency, offset=None, pending=Pending("technology"))


def _next_page(context: Context) -> Memory:
    """Go on with the last list."""
    memory = context.memory
    if memory.offset is not None and len(memory.technology) > 1:
        return _list_together(context, memory.technology, memory.agency, memory.offset)
    if memory.offset is not None and memory.technology:
        return _list_one(context, memory, memory.technology[0], memory.agency, memory.offset)
    if len(memory.technology) == 1:
        context.reply("utter_experts_no_more")
        return memory.with_(pending=None)
    return _ask_technology(context, memory.agency)  # no list yet, or several at once


# --- one technology ---------------------------------------------------------------------------


def _list_one(
    context: Context,
    memory: Memory,
    technology: str,
    agency: str | None,
    offset: int = 0,
    one_of_several: bool = False,
) -> Memory:
    """List who knows ``technology``, or say that nobody does and what is near."""
    size = SHORT_PAGE_SIZE if one_of_several else PAGE_SIZE
    found = context.directory.find_experts(technology, agency=agency, offset=offset, limit=size)
    technology = found.skill or technology
    rows = tuple(Row(expert.collaborator, (expert.level,)) for expert in found.experts)
    listing = Listing((technology,), agency, rows, found.total, offset)
    if found.total == 0:
        agency = _say_nobody(context, technology, agency, found)
    else:
        _say_listing(context, listing)
        if rows and not one_of_several:
            _suggest(context, listing, elsewhere=found.total_elsewhere > 0)
    return _after(memory, listing).with_(agency=agency)


def _say_nobody(
    context: Context, technology: str, agency: str | None, found: ExpertsFound
) -> str | None:
    """Say that nobody knows ``technology``; return the agency to remember."""
    reply = context.reply
    listing = Listing((technology,), agency, (), 0)
    card = _expert_list(listing, related=found.related)
    if agency and found.total_elsewhere:
        if _say_no_such_agency(context, listing):
            return None
        reply(
            "utter_no_expert_in_agency",
            technology=technology,
            agency=agency,
            everywhere=_everywhere_payload(listing),
            payload=card,
        )
        return agency
    if found.related:
        buttons = [
            {"title": skill, "payload": intent_payload("WHO_KNOWS_ABOUT", technology=skill)}
            for skill in found.related
        ]
        reply("utter_no_expert_related", technology=technology, buttons=buttons, payload=card)
    else:
        reply("utter_no_expert", technology=technology, payload=card)
        reply("utter_suggest_search")
    return agency


def _say_no_such_agency(context: Context, listing: Listing) -> bool:
    """Say that nobody works in the agency of the empty ``listing``; return whether that is so."""
    agency, agencies = listing.agency, context.directory.agencies()
    if agency is None or fold(agency) in map(fold, agencies):
        return False
    context.reply(
        "utter_no_agency",
        agency=agency,
        agencies=", ".join(agencies),
        everywhere=_everywhere_payload(listing),
        payload=_expert_list(listing),
    )
    return True


def _everywhere_payload(listing: Listing) -> str:
    return intent_payload("WHO_KNOWS_ABOUT", technology=listing.technologies)


# --- several technologies ---------------------------------------------------------------------


def _list_together(
    context: Context, technologies: Sequence[str], agency: str | None, offset: int
) -> Memory:
    """List who knows all of ``technologies``; where nobody does, answer each of them in turn."""
    names, rows = _know_all(context.directory, technologies, agency)
    if len(names) == 1:  # two spellings of one
        return _list_one(context, context.memory, names[0], agency, offset)
    if rows:
        page = rows[offset : offset + PAGE_SIZE]
        listing = Listing(names, agency, page, len(rows), offset)
        _say_listing(context, listing)
        if page:
            _suggest(context, listing, elsewhere=True)
        return _after(context.memory, listing)
    nobody = Listing(names, agency, (), 0)
    if _say_no_such_agency(context, nobody):
        return _after(context.memory, nobody).with_(agency=None)
    together = " + ".join(names)
    if agency:
        context.reply("utter_experts_not_together_in_agency", technology=together, agency=agency)
    else:
        context.reply("utter_experts_not_together", technology=together)
    memory = context.memory
    for name in names:
        memory = _list_one(context, memory, name, agency, one_of_several=True)
    # Several lists: « le deuxième » or « la suite » would not say of which.
    return memory.with_(technology=names, collaborator_id=None, candidates=(), offset=None)


def _know_all(
    directory: CallerDirectory, technologies: Sequence[str], agency: str | None
) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Return the technologies as the directory spells them, and who knows all, best first.

    The lowest of a person's levels counts first, then their sum.
    """
    found = {}
    for technology in technologies:
        experts = directory.find_experts(technology, agency=agency, limit=1)
        found[experts.skill or technology] = experts
    names = tuple(found)
    if any(experts.total == 0 for experts in found.values()):
        return names, ()
    rarest = min(names, key=lambda name: found[name].total)
    rows = []
    for expert in directory.find_experts(rarest, agency=agency, limit=MAX_COMPARED).experts:
        levels = {skill.name: skill.level for skill in expert.collaborator.skills}
        if all(name in levels for name in names):
            rows.append(Row(expert.collaborator, tuple(levels[name] for name in names)))
    rows.sort(key=lambda row: (-min(row.levels), -sum(row.levels), fold(row.person.last_name)))
    return names, tuple(rows)


# --- saying a list ----------------------------------------------------------------------------


def _say_listing(context: Context, listing: Listing) -> None:
    """Say one page, and offer the next."""
    reply, several = context.reply, len(listing.technologies) > 1
    if not listing.rows:
        reply("utter_experts_no_more")
        return
    technology = " + ".join(listing.technologies)
    people = "\n".join(_line(listing, row) for row in listing.rows)
    updated = format_date(listing.updated_at)
    if listing.offset:
        reply(
            "utter_experts_next",
            technology=technology,
            people=people,
            first=listing.offset + 1,
            last=listing.offset + len(listing.rows),
            total=listing.total,
            updated=updated,
            payload=_expert_list(listing),
        )
    else:
        reply(
            _LIST_RESPONSES[several, listing.total > 1, bool(listing.agency)],
            technology=technology,
            agency=listing.agency or MISSING,
            people=people,
            total=listing.total,
            updated=updated,
            payload=_expert_list(listing),
        )
    if listing.next_offset is not None:
        remaining = listing.total - listing.next_offset
        next_page = _next_payload(listing) or ""
        if remaining == 1:
            reply("utter_experts_more_one", next_page=next_page)
        else:
            reply("utter_experts_more_many", remaining=remaining, next_page=next_page)


def _suggest(context: Context, listing: Listing, elsewhere: bool) -> None:
    """Suggest the agencies of the people listed, or all of them, and what else they know."""
    people = [row.person for row in listing.rows]
    agencies = Counter(person.agency for person in people)
    if listing.agency or listing.total == agencies.most_common(1)[0][1]:
        agencies.clear()  # all that are meant work there
    first, second, *_ = [*(name for name, _ in agencies.most_common(2)), None, None]
    skills = Counter(skill.name for person in people for skill in person.skills)
    common = (name for name, _ in skills.most_common() if name not in listing.technologies)
    other = next(common, None)

    def who_knows(technologies: str | Sequence[str] | None, agency: str | None) -> str:
        return intent_payload("WHO_KNOWS_ABOUT", technology=technologies, agency=agency)

    context.reply(
        "utter_suggest_after_experts",
        agency=first or MISSING,
        there=who_knows(listing.technologies, first) if first else "",
        second_agency=second or MISSING,
        second_there=who_knows(listing.technologies, second) if second else "",
        everywhere=_everywhere_payload(listing) if listing.agency and elsewhere else "",
        other_technology=other or MISSING,
        other=who_knows(other, listing.agency) if other else "",
    )


def _line(listing: Listing, row: Row) -> str:
    if len(row.levels) == 1:
        levels = f"{row.levels[0]}/5"
    else:
        pairs = zip(listing.technologies, row.levels, strict=True)
        levels = ", ".join(f"{name} {level}/5" for name, level in pairs)
    return f"• {row.person.full_name} — {row.person.agency} — {levels}"


def _next_payload(listing: Listing) -> str | None:
    if listing.next_offset is None:
        return None
    return intent_payload(
        "WHO_KNOWS_ABOUT",
        technology=listing.technologies,
        agency=listing.agency,
        offset=str(listing.next_offset),
    )


def _expert_list(listing: Listing, related: Sequence[str] = ()) -> dict[str, object]:
    return card_payload(
        "expert_list",
        technologies=list(listing.technologies),
        agency=listing.agency,
        total=listing.total,
        offset=listing.offset,
        experts=[
            {
                "person": person_fields(row.person),
                "levels": dict(zip(listing.technologies, row.levels, strict=True)),
            }
            for row in listing.rows
        ],
        next=_next_payload(listing),
        related=list(related),
        updated_at=listing.updated_at and listing.updated_at.isoformat(),
    )


def _after(memory: Memory, listing: Listing) -> Memory:
    """Return the memory after a list was shown.

    The only one of a list is the person talked about; a list of several leaves that open.
    """
    people = tuple(row.person.id for row in listing.rows)
    talked_about = people[0] if listing.total == len(people) == 1 else None
    if not people:
        talked_about = memory.collaborator_id
    return memory.with_(
        person=None,
        collaborator_id=talked_about,
        candidates=people,
        technology=listing.technologies,
        agency=listing.agency,
        offset=listing.next_offset,
        pending=None,
    )
