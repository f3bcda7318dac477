"""What a message that begins with a slash means to Rasa: ``/INTENT@confidence{"entity": …}``."""

from __future__ import annotations

from rasa.shared.constants import INTENT_MESSAGE_PREFIX
from rasa.shared.core.constants import DEFAULT_INTENTS
from rasa.shared.core.training_data.story_reader.yaml_story_reader import YAMLStoryReader
from rasa.shared.nlu.constants import INTENT_NAME_KEY

from bot.channels.problems import invalid

# Buttons need four. Rasa copies entities by recursion, and fails at some hundred.
MAX_DEPTH = 32


def is_of_rasa(text: str) -> bool:
    """Return whether Rasa takes ``text`` for a command of its own, such as ``/restart``."""
    found = YAMLStoryReader._regex_message_pattern().match(text.strip())
    return found is not None and found.group(INTENT_NAME_KEY).strip() in DEFAULT_INTENTS


def require_sound(text: str) -> None:
    """Raise a :class:`~bot.channels.problems.ProblemError` for entities that are nested deeply."""
    if not text.strip().startswith(INTENT_MESSAGE_PREFIX):
        return
    depth = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if depth > MAX_DEPTH:
            raise invalid("", f"no message may nest more than {MAX_DEPTH} lists and objects")
