"""« Qui connaît Kubernetes ? », « et à Nantes ? », « les testeurs libres en janvier »."""

from __future__ import annotations

from actions.conversation import Context, Memory, Question
from actions.respond import WHO_KNOWS_ABOUT, respond


class WhoKnowsAbout(Question):
    """Tells who knows about something, or fits what else is asked for."""

    intent = WHO_KNOWS_ABOUT

    def name(self) -> str:
        """Return the action's name."""
        return "action_who_knows_about"

    def answer(self, context: Context) -> Memory:
        """Answer about people, or about one person where the turn means one."""
        return respond(context)
