"""« à Lyon », « la suite »: turns too short for the classifier, clear from what was said before."""

from __future__ import annotations

from actions.conversation import MISSING, Asked, Context, Memory, Question, intent_payload
from actions.experts import about_technology
from actions.people import about_person

# A longer turn is no mere answer or follow-up; off-topic ones mention towns and names, too.
MAX_WORDS = 5


class NotUnderstood(Question):
    """Answers from the context where it leaves no doubt, else says what the bot can do."""

    def name(self) -> str:
        """Return the action's name."""
        return "action_not_understood"

    def answer(self, context: Context) -> Memory:
        """Read the turn as an answer to our question, or as a follow-up to the one before."""
        turn = context.turn
        if turn.text and len(turn.text.split()) <= MAX_WORDS:
            if _is_about_person(context):
                return about_person(context, Asked(details=turn.details))
            if _is_about_technology(context):
                return about_technology(context)
        context.reply("utter_fallback")
        _suggest(context)
        return context.memory


def _suggest(context: Context) -> None:
    """Suggest to go on with what was talked about before."""
    memory = context.memory
    person = context.directory.get(memory.collaborator_id) if memory.collaborator_id else None
    if person or memory.technology:
        context.reply(
            "utter_suggest_going_on",
            name=person.full_name if person else MISSING,
            person=intent_payload("WHO_IS", collaborator_id=person.id) if person else "",
            technology=" + ".join(memory.technology) or MISSING,
            experts=intent_payload("WHO_KNOWS_ABOUT", technology=memory.technology)
            if memory.technology
            else "",
        )


def _is_about_person(context: Context) -> bool:
    turn, memory = context.turn, context.memory
    if turn.rank is not None and memory.candidates:
        return True
    if turn.details and memory.collaborator_id and not turn.technologies:
        return True
    if memory.needs != "person":
        return False
    if turn.persons or turn.only_picks:
        return True
    # No name was found in it; the directory may know it nevertheless.
    return turn.is_bare and bool(context.directory.find_people(turn.text or "").matches)


def _is_about_technology(context: Context) -> bool:
    turn, memory = context.turn, context.memory
    if memory.technology and (turn.more or turn.agency or turn.follow_up):
        return True
    if memory.needs != "technology":
        return False
    if turn.technologies:
        return True
    return turn.is_bare and context.directory.find_experts(turn.text or "").skill is not None
