"""What our intent classifiers have in common: what they are asked, and the form of the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from rasa.shared.nlu.constants import (
    INTENT,
    INTENT_NAME_KEY,
    INTENT_RANKING_KEY,
    PREDICTED_CONFIDENCE_KEY,
    TEXT,
)
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from components.remote import Ranking

logger = logging.getLogger(__name__)


def examples_of(training_data: TrainingData) -> list[tuple[str, str]]:
    """Return pairs of intent and text of the training data's intent examples."""
    return [
        (example.get(INTENT), example.get(TEXT))
        for example in training_data.intent_examples
        if example.get(TEXT) and example.get(INTENT)
    ]


def answer(
    messages: list[Message], rank: Callable[[Sequence[str]], Sequence[Ranking]], length: int
) -> list[Message]:
    """Set ``intent`` and ``intent_ranking`` on each message; never raises.

    Empty texts, missing texts and ``/INTENT`` messages (which Rasa reads itself) get no intent
    and are not asked.

    Args:
        messages: What Rasa wants classified; changed in place.
        rank: Returns the ranking of each text, empty where there is no telling.
        length: Intents in ``intent_ranking``; 0 for all.
    """
    pending = [message for message in messages if _is_question(message.get(TEXT))]
    rankings: Sequence[Ranking] = [[] for _ in pending]
    try:
        if pending:
            rankings = rank([message.get(TEXT) for message in pending])
    except Exception:  # a turn that raises leaves the user without any answer
        logger.exception(f"The classifier could not classify {len(pending)} message(s).")
    by_message = dict(zip(map(id, pending), rankings, strict=True))
    for message in messages:
        _set_intent(message, by_message.get(id(message), []), length)
    return messages


def _is_question(text: str | None) -> bool:
    """Whether there is something to classify: not empty, and not a ``/INTENT`` message."""
    return bool(text and text.strip() and not text.startswith("/"))


def _set_intent(message: Message, ranking: Ranking, length: int) -> None:
    entries = [
        # Rasa's trackers cannot be saved with numpy's floats.
        {INTENT_NAME_KEY: name, PREDICTED_CONFIDENCE_KEY: float(confidence)}
        for name, confidence in ranking[: length or None]
    ]
    best = entries[0] if entries else {INTENT_NAME_KEY: None, PREDICTED_CONFIDENCE_KEY: 0.0}
    message.set(INTENT, dict(best), add_to_output=True)
    message.set(INTENT_RANKING_KEY, entries, add_to_output=True)
