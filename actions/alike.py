"""Who could do somebody's work: other people who share their main skills."""

from __future__ import annotations

from actions.cards import expert_list, label, level_list, told_apart
from actions.conversation import Context, Memory
from actions.directory import Collaborator

_KINDS = frozenset({"agency", "availability", "technology", "family", "job_title"})
_SHOWN = 5


def tell_alike(context: Context, memory: Memory, person: Collaborator) -> Memory:
    """List the people most like ``person`` whom the turn's constraints fit."""
    turn, reply = context.turn, context.reply
    constraints = tuple(c for c in turn.sought if c.kinds <= _KINDS)
    found = context.directory.find_alike(person.id, constraints, limit=turn.limit or _SHOWN)
    context.apply(*(c for c in constraints if c not in found.refused))
    name = ", ".join([person.full_name, *(label(reply, c) for c in found.query.constraints)])
    if not found.people:
        reply("utter_alike_nobody", name=name)
        return memory.with_(collaborator_id=person.id, pending=None)
    everybody = [listed.collaborator for listed in found.people]
    lines = [
        f"• {p.collaborator.full_name} — {p.collaborator.agency} — {level_list(p.levels)}"
        for p in found.people
    ]
    people = "\n".join(told_apart(reply, lines, everybody))
    reply("utter_alike", name=name, people=people, payload=expert_list(reply, found))
    ids = tuple(listed.collaborator.id for listed in found.people)
    return memory.with_(person=None, collaborator_id=None, candidates=ids, pending=None)
