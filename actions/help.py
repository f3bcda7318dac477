"""« Que sais-tu faire ? »: what can be asked, with examples out of this directory."""

from __future__ import annotations

from actions.conversation import Context, Memory, Question
from actions.query import Constraint, Query, Term
from actions.reply import MISSING
from actions.respond import respond


class Help(Question):
    """Tells what can be asked."""

    def name(self) -> str:
        """Return the action's name."""
        return "action_help"

    def answer(self, context: Context) -> Memory:
        """Say it with skills, an agency and a person that the directory knows."""
        if context.turn.demands:
            return respond(context)  # « que sait-on faire à Lyon ? »
        directory = context.directory
        skills = [*directory.count_by_skill(limit=2), MISSING, MISSING]
        skill = Query((Constraint((Term("technology", skills[0]),)),))
        places = directory.count_by_agency(Query())
        people = directory.find(skill).people
        context.reply(
            "utter_help",
            technology=skills[0],
            other=skills[1],
            agency=max(places, key=lambda place: places[place], default=MISSING),
            name=people[0].collaborator.full_name if people else MISSING,
        )
        return context.memory
