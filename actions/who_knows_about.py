"""« Qui connaît Kubernetes ? », « et à Nantes ? », « et lui, il connaît Docker ? »."""

from __future__ import annotations

from actions.conversation import Asked, Context, Memory, Question
from actions.experts import about_technology
from actions.people import about_person


class WhoKnowsAbout(Question):
    """Tells who knows about a technology, or whether a person does."""

    def name(self) -> str:
        """Return the action's name."""
        return "action_who_knows_about"

    def answer(self, context: Context) -> Memory:
        """Answer about a technology, or about a person where the turn means one."""
        turn, memory = context.turn, context.memory
        if turn.names_person:
            technologies = turn.technologies or (memory.technology if turn.follow_up else ())
            return about_person(context, Asked(technologies, turn.details))
        answers_ours = memory.needs == "person" and (turn.only_picks or turn.is_bare)
        if answers_ours or (turn.details and not turn.technologies):
            return about_person(context, Asked(details=turn.details))
        return about_technology(context)
