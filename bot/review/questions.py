"""Questions that the bot did not know or was not sure of, out of the stored conversations."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rapidfuzz import fuzz, process

from bot.channels.turns import Event, verdict
from bot.dataset import Entity, Example
from bot.review.anonymise import Anonymiser, Anonymous

BELOW = 0.8
FALLBACK_INTENT = "nlu_fallback"
# Longer messages make no good examples.
MAX_CHARACTERS = 300
# From this length on, patterns that are this much alike are one question.
SIMILAR_LENGTH, SIMILARITY = 12, 92.0
MAX_VARIANTS = 3

# Why a question is worth a look → responses of domain.yml that tell.
REASONS = {
    "not understood": ("utter_fallback", "utter_default"),
    "nobody found": (
        "utter_person_unknown",
        "utter_person_near_one",
        "utter_person_near_many",
        "utter_no_expert",
        "utter_no_expert_related",
        "utter_no_agency",
    ),
    "asked back": ("utter_ask_person", "utter_ask_technology"),
}
UNSURE = "unsure"
DISLIKED = "thumb down"
REFUSED = "refused"
REFUSALS = ("utter_out_of_scope",)
# No fault of the question.
UNAVAILABLE = ("utter_unavailable",)


@dataclass
class Question:
    """What several people asked in about the same words, without personal data.

    ``guesses`` are the intents that the bot had in mind where it was least sure, with their
    confidence, best first.
    """

    key: str
    text: str
    entities: tuple[Entity, ...]
    pattern: str
    count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    guesses: tuple[tuple[str, float], ...] = ()
    variants: list[str] = field(default_factory=list)

    @property
    def guess(self) -> str | None:
        """The intent that the bot had in mind."""
        return self.guesses[0][0] if self.guesses else None

    @property
    def confidence(self) -> float:
        """How sure the bot was of :attr:`guess`, 0 to 1."""
        return self.guesses[0][1] if self.guesses else 0.0

    def example(self, intent: str) -> Example:
        """Return the question as a training example."""
        return Example(self.text, intent, self.entities)


@dataclass(frozen=True)
class _Asked:
    message: Anonymous
    reasons: tuple[str, ...]
    guesses: tuple[tuple[str, float], ...]


def collect(
    turns: Iterable[Sequence[Event]],
    anonymise: Anonymiser,
    below: float = BELOW,
    refused: bool = False,
) -> list[Question]:
    """Return the questions worth a look, most frequent first.

    Args:
        turns: events of a turn each, the user's message first.
        below: the bot is unsure of an intent with less confidence than that.
        refused: whether to take also what it was sure to be off-topic.
    """
    alike: dict[str, list[_Asked]] = {}
    for turn in turns:
        asked = _asked(turn, anonymise, below, refused)
        if asked is not None:
            alike.setdefault(asked.message.pattern, []).append(asked)
    by_frequency = sorted(alike.values(), key=len, reverse=True)
    questions: dict[str, Question] = {}
    for group in by_frequency:
        pattern = group[0].message.pattern
        question = questions.get(_similar(pattern, questions) or pattern)
        if question is None:
            message = group[0].message
            question = Question(key_of(pattern), message.text, message.entities, pattern)
            questions[pattern] = question
        _add(question, group)
    return sorted(questions.values(), key=lambda one: (-one.count, one.confidence, one.pattern))


def key_of(pattern: str) -> str:
    """Return what a question is remembered by: a digest of its pattern."""
    return hashlib.sha256(pattern.encode()).hexdigest()[:16]


def _similar(pattern: str, questions: dict[str, Question]) -> str | None:
    if len(pattern) < SIMILAR_LENGTH:
        return None
    near = process.extractOne(pattern, questions.keys(), scorer=fuzz.ratio, score_cutoff=SIMILARITY)
    return near[0] if near and len(near[0]) >= SIMILAR_LENGTH else None


def _add(question: Question, group: Sequence[_Asked]) -> None:
    for asked in group:
        question.count += 1
        question.reasons.update(asked.reasons)
        if asked.guesses and (not question.guesses or asked.guesses[0][1] < question.confidence):
            question.guesses = asked.guesses
        text, known = asked.message.text, (question.text, *question.variants)
        if text not in known and len(question.variants) < MAX_VARIANTS:
            question.variants.append(text)


def _asked(
    turn: Sequence[Event], anonymise: Anonymiser, below: float, refused: bool
) -> _Asked | None:
    """Return what was asked in ``turn``, None where there is nothing to learn from it."""
    user = turn[0]
    text = user.get("text")
    parsed = user.get("parse_data") or {}
    if not isinstance(text, str) or not text.strip() or text.lstrip().startswith("/"):
        return None
    said = {
        (event.get("metadata") or {}).get("utter_action")
        for event in turn
        if event.get("event") == "bot"
    }
    if len(text) > MAX_CHARACTERS or said.intersection(UNAVAILABLE):
        return None
    guesses = tuple(_guesses(parsed))
    reasons = [reason for reason, responses in REASONS.items() if said.intersection(responses)]
    if verdict(user) == "bad":
        reasons.insert(0, DISLIKED)
    if not guesses or guesses[0][1] < below:
        reasons.append(UNSURE)
    elif refused and said.intersection(REFUSALS):
        reasons.append(REFUSED)
    if not reasons:
        return None
    message = anonymise(text, parsed.get("entities") or ())
    return _Asked(message, tuple(reasons), guesses) if message.pattern else None


def _guesses(parsed: dict[str, Any]) -> list[tuple[str, float]]:
    ranking = parsed.get("intent_ranking") or [parsed.get("intent") or {}]
    return [
        (str(guess["name"]), float(guess.get("confidence") or 0.0))
        for guess in ranking
        if guess.get("name") and guess["name"] != FALLBACK_INTENT
    ]
