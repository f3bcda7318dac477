"""« Qui est Maëlys Kerguelen ? », « quel est son mail ? », « celui de Nantes »."""

from __future__ import annotations

from actions.conversation import Context, Memory, Question
from actions.respond import WHO_IS, respond


class WhoIs(Question):
    """Tells who somebody is, or how to reach them."""

    intent = WHO_IS

    def name(self) -> str:
        """Return the action's name."""
        return "action_who_is"

    def answer(self, context: Context) -> Memory:
        """Answer about a person, or about people where the turn names nothing else."""
        return respond(context)
