"""Turns as the contract shows them, made from what Rasa says or has stored."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from bot.channels import openapi
from bot.channels.auth import Caller
from common.protocol import CALLER_METADATA, TRACEPARENT_METADATA
from common.text import fold
from common.trace_context import Trace

# Under these keys in the metadata of the user's message: for ourselves, and for the action server.
OWN_METADATA = "mobile"

Turn = dict[str, Any]
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """A message that a user sends: a ``UserMessage`` of the contract, and what belongs to it."""

    question: Mapping[str, Any]
    caller: Caller
    trace: Trace
    idempotency_key: str | None = None

    @property
    def is_typed(self) -> bool:
        """Whether the user has written it, rather than tapped a button."""
        return bool(self.question["type"] == "text")

    @property
    def text(self) -> str:
        """What the user says: a text, or the payload of a button."""
        return str(self.question["text" if self.is_typed else "payload"])

    def meant(self, before: Turn | None) -> str:
        """Return what Rasa is to understand, after the turn ``before``.

        What stands on a button there means the same where it is typed.
        """
        if self.is_typed and before is not None:
            replies = before["replies"]
            offered = [*before["suggestions"], *(b for r in replies for b in r["buttons"])]
            for button in offered:
                if _bare(button["title"]) == _bare(self.text):
                    return str(button["payload"])
        return self.text

    def new_turn(self) -> Turn:
        """Return a turn of this message, still without replies."""
        now = datetime.now(timezone.utc)
        return {
            "id": uuid.uuid4().hex,
            "trace_id": self.trace.trace_id,
            "created_at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "question": dict(self.question),
            "replies": [],
            "suggestions": [],
            "verdict": None,
        }

    def metadata(self, turn: Turn, meant: str | None = None) -> dict[str, Any]:
        """Return what is stored with the message, and sent to the action server."""
        return {
            OWN_METADATA: {
                "type": self.question["type"],
                "title": self.question.get("title"),
                # Where Rasa was given another one.
                "text": self.text if meant not in (None, self.text) else None,
                "trace_id": turn["trace_id"],
                "created_at": turn["created_at"],
                "idempotency_key": self.idempotency_key,
            },
            **caller_metadata(self.caller, self.trace),
        }


def caller_metadata(caller: Caller, trace: Trace) -> dict[str, Any]:
    """Return what tells the action server who asks."""
    return {
        CALLER_METADATA: {"subject": caller.subject, "scopes": sorted(caller.scopes)},
        TRACEPARENT_METADATA: trace.traceparent,
    }


def add_reply(turn: Turn, message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Add one message of the bot to ``turn``; return the reply, None where nothing is to be seen.

    Args:
        message: ``text`` and the fields of a ``BotUttered`` event's data. Its ``quick_replies`` are
            the turn's suggestions, those without a payload (docs/dialogue.md) left out.
    """
    quick_replies = _buttons(message.get("quick_replies"))
    if quick_replies:
        turn["suggestions"] = quick_replies
    text, card = message.get("text"), message.get("custom")
    if not (isinstance(card, Mapping) and card.get("type") in openapi.card_types()):
        card = None
    if not text and card is None:
        return None
    reply = {
        "id": f"{turn['id']}-{len(turn['replies'])}",
        "text": text or "",
        "buttons": _buttons(message.get("buttons")),
        "card": card,
    }
    turn["replies"].append(reply)
    return reply


def _bare(title: str) -> str:
    return fold(title).strip(" ?!.…")


def _buttons(value: Any) -> list[dict[str, str]]:
    return [
        {"title": str(button["title"]), "payload": str(button["payload"])}
        for button in (value if isinstance(value, Sequence) else ())
        if isinstance(button, Mapping) and button.get("title") and button.get("payload")
    ]


def stored_turn(events: Iterable[Event]) -> Turn:
    """Return the turn of stored ``events``: the user's message, and what follows up to the next."""
    iterator = iter(events)
    user = next(iterator)
    own = (user.get("metadata") or {}).get(OWN_METADATA) or {}
    text = str(user.get("text") or "")
    question = {"type": "text", "text": own.get("text") or text}
    if own.get("type") == "postback":
        title = {"title": own["title"]} if own.get("title") else {}
        question = {"type": "postback", "payload": text, **title}
    since = datetime.fromtimestamp(user.get("timestamp") or 0, timezone.utc)
    turn: Turn = {
        "id": str(user.get("message_id")),
        "trace_id": own.get("trace_id") or "0" * 32,
        "created_at": own.get("created_at") or since.isoformat().replace("+00:00", "Z"),
        "question": question,
        "replies": [],
        "suggestions": [],
        "verdict": verdict(user),
    }
    for event in iterator:
        if event.get("event") == "bot":
            add_reply(turn, {"text": event.get("text"), **(event.get("data") or {})})
    return turn


def verdict(event: Event) -> str | None:
    """Return what the user says of the answer to the stored message: ``good``, ``bad`` or None."""
    own = (event.get("metadata") or {}).get(OWN_METADATA) or {}
    return own.get("verdict")
