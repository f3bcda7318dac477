"""« à Lyon », « la suite »: turns too short for the classifier, clear from what was said before."""

from __future__ import annotations

from actions.cards import intent_payload, query_payload
from actions.conversation import Context, Memory, Question
from actions.query import SEARCHED_KINDS, SKILL_KINDS, Constraint, Query, Term
from actions.reply import MISSING
from actions.respond import respond

# A longer turn is no mere answer or follow-up; off-topic ones mention towns and names, too.
MAX_WORDS = 5
# With a word that says that it goes on: « et », « plutôt », « celui ».
MAX_WORDS_GOING_ON = 8


class OffTopic(Question):
    """Answers what the classifier took for off-topic and the entities show to be none."""

    def name(self) -> str:
        """Return the action's name."""
        return "action_off_topic"

    def answer(self, context: Context) -> Memory:
        """Answer a question about the directory, else say what the bot is for."""
        if _is_of_the_directory(context):
            return respond(context)
        context.apply(*context.turn.demands)
        context.reply("utter_out_of_scope")
        _suggest(context)
        return context.memory


class NotUnderstood(Question):
    """Answers from the context where it leaves no doubt, else says what the bot can do."""

    def name(self) -> str:
        """Return the action's name."""
        return "action_not_understood"

    def answer(self, context: Context) -> Memory:
        """Read the turn as an answer to our question, or as a follow-up to the one before."""
        turn = context.turn
        words = len((turn.text or "").split())
        goes_on = turn.follow_up or turn.change or turn.choice or turn.drops
        short = 0 < words <= (MAX_WORDS_GOING_ON if goes_on else MAX_WORDS)
        if _asks_whole(context, words) or (short and _is_clear(context)):
            return respond(context)
        context.apply(*turn.demands)  # the answer is that none of it was understood
        context.reply("utter_fallback")
        _suggest(context)
        return context.memory


def _suggest(context: Context) -> None:
    """Suggest to go on with what was talked about before."""
    memory = context.memory
    person = context.directory.get(memory.collaborator_id) if memory.collaborator_id else None
    if person or memory.query.technologies:
        context.reply(
            "utter_suggest_going_on",
            name=person.full_name if person else MISSING,
            person=intent_payload("WHO_IS", collaborator_id=person.id) if person else "",
            technology=" + ".join(memory.query.technologies) or MISSING,
            experts=query_payload(memory.list_query),
        )


def _is_of_the_directory(context: Context) -> bool:
    """Whether the turn operates on people and skills: mere mention of them may be off-topic."""
    turn, memory = context.turn, context.memory
    if turn.contact or _says_no_more(context):
        return True
    counts = turn.asks & {"people", "number"}
    if turn.persons:
        # « Aminata parle anglais ? »: that is not known of her, and said
        of_them = any(c.kinds & {"unsupported", *SKILL_KINDS} for c in turn.constraints)
        of_them = of_them or bool(turn.details or turn.availability or turn.asks)
        return of_them and bool(context.directory.find_people(turn.persons[0]).matches)
    if any(c.kinds & {"unknown", "topic"} for c in turn.constraints):
        return False
    if turn.details and memory.candidates and (turn.rank is not None or turn.reference):
        return True  # « la première est libre quand ? »
    if memory.collaborator_id and turn.reference and "substitute" in turn.asks:
        return True  # « si elle tombe malade, qui prend sa place ? »
    if memory.candidates and turn.choice and (turn.sought or turn.order != "level"):
        return True  # « lequel peut démarrer en mars ? »
    if memory.query and (turn.drops or (turn.sought and turn.change)):
        return True  # « le Docker n'est plus exigé »
    if memory.query and any(c.excluded and c.kind in SEARCHED_KINDS for c in turn.constraints):
        return True
    if turn.has_head and turn.availability and turn.technologies:
        return True
    # « quelle ville est la capitale ? » asks for no agency of ours
    names_agencies = "agencies" in turn.asks and "agence" in (turn.text or "").lower()
    if names_agencies or ("number" in turn.asks and turn.agency):
        return True
    if any(c.kind == "unsupported" for c in turn.constraints):
        return bool(counts)
    if "availability" in turn.details and (turn.has_head or counts):
        return True
    constrained = any(c.has_level or c.excluded or len(c.terms) > 1 for c in turn.constraints)
    operates = turn.change or turn.choice or turn.limit or "number" in turn.asks or constrained
    return turn.has_head and (bool(operates) or len(turn.technologies) > 2)


def _says_no_more(context: Context) -> bool:
    """Whether the turn is a question of which nothing is left beside the directory's names."""
    turn = context.turn
    if turn.rest or not turn.text or any(c.kind == "unknown" for c in turn.constraints):
        return False
    names = turn.persons or turn.technologies
    spotted = context.directory.spot(turn.text) if names else ()
    return any(name.value in names for name in spotted)


def _asks_whole(context: Context, words: int) -> bool:
    """Whether the turn is a question whose every word of weight is one of the directory's."""
    turn = context.turn
    if _is_of_the_directory(context) or "agencies" in turn.asks:
        return True
    said = [c for c in turn.constraints if c.kind != "unsupported"]
    if any(c.kinds & {"unknown", "topic"} for c in said) or (
        said != [*turn.constraints] and not said[1:]
    ):
        return False
    if (turn.asks or turn.limit or any(c.excluded for c in said)) and (
        turn.has_head or turn.availability is not None
    ):
        return True
    if turn.persons and (turn.asks or turn.choice or turn.has_head):
        return bool(context.directory.find_people(turn.persons[0]).matches)
    # « Kotlin ou Swift ? »: one name alone in a sentence may be mentioned for any reason.
    enough = sum(len(c.terms) for c in said) > 1 or any(c.kind == "family" for c in said)
    return turn.has_head and (words == 1 or (enough and words <= MAX_WORDS_GOING_ON))


def _is_clear(context: Context) -> bool:
    """Whether the turn goes on with what was said before, or answers a question of ours."""
    turn, memory = context.turn, context.memory
    if memory.candidates and (turn.rank is not None or turn.choice):
        return True
    if turn.details and (memory.collaborator_id or memory.query):
        return True
    if memory.query and turn.wants_people and not turn.persons:
        return True
    if memory.needs == "person":
        if turn.persons or turn.constraints or turn.rank is not None:
            return not turn.is_bare or _names_somebody(context)
        # No name was found in it; the directory may know it nevertheless.
        return turn.is_bare and _names_somebody(context)
    if memory.needs == "technology":
        if turn.technologies:
            return True
        skill = Constraint((Term("technology", turn.text or ""),))
        return turn.is_bare and bool(context.directory.find(Query((skill,))).total)
    return False


def _names_somebody(context: Context) -> bool:
    return bool(context.directory.find_people(context.turn.text or "").matches)
