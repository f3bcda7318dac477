"""« Qui est Maëlys Kerguelen ? », « quel est son mail ? », « celui de Nantes »."""

from __future__ import annotations

from actions.conversation import Asked, Context, Memory, Question
from actions.experts import about_technology
from actions.people import about_person


class WhoIs(Question):
    """Tells who somebody is, or how to reach them."""

    def name(self) -> str:
        """Return the action's name."""
        return "action_who_is"

    def answer(self, context: Context) -> Memory:
        """Answer about a person, or about a technology where the turn names nothing else."""
        turn = context.turn
        if turn.reference and turn.technologies:
            return about_person(context, Asked(technologies=turn.technologies))
        if (turn.technologies or turn.more) and not turn.names_person:
            return about_technology(context)
        return about_person(context, Asked(details=turn.details))
