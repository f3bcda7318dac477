"""A tracker store of Rasa's with ours over the same database."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import sqlalchemy
from rasa.shared.core.domain import Domain

from bot.channels.auth import Caller
from bot.channels.conversations import (
    Conversations,
    events,
)
from bot.channels.turns import Request, add_reply
from common.protocol import CHANNEL_NAME
from common.trace_context import trace_of


class Store:
    """Rasa's own tracker store, and ours over the same database."""

    def __init__(self, url: str) -> None:
        from rasa.core.tracker_store import SQLTrackerStore

        self.rasa = SQLTrackerStore(domain=Domain.empty(), host=url)
        self.ours = Conversations(self.rasa.engine)
        self.ours.prepare()

    def say(
        self,
        sender: str,
        text: str,
        *replies: dict[str, Any],
        at: float | None = None,
        new_session: bool = False,
        key: str | None = None,
        slots: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Store a turn through Rasa; return it as the channel would show it."""
        from rasa.shared.core import events as rasa_events
        from rasa.shared.core.trackers import DialogueStateTracker

        at = time.time() if at is None else at
        request = Request(
            {"type": "text", "text": text}, Caller("iss", sender), trace_of(None), key
        )
        turn = request.new_turn()
        tracker = asyncio.run(self.rasa.retrieve(sender))
        if tracker is None:
            tracker = DialogueStateTracker(sender, [])
            new_session = True
        listen = rasa_events.ActionExecuted("action_listen", timestamp=at)
        if new_session:
            start = rasa_events.ActionExecuted("action_session_start", timestamp=at)
            for event in (start, rasa_events.SessionStarted(timestamp=at), listen):
                tracker.update(event)
        tracker.update(
            rasa_events.UserUttered(
                text,
                intent={"name": "WHO_IS"},
                input_channel=CHANNEL_NAME,
                message_id=turn["id"],
                metadata=request.metadata(turn),
                timestamp=at,
            )
        )
        tracker.update(rasa_events.ActionExecuted("action_who_is", timestamp=at))
        for reply in replies:
            data = {name: value for name, value in reply.items() if name != "text"}
            tracker.update(rasa_events.BotUttered(reply.get("text"), data, timestamp=at))
            add_reply(turn, reply)
        for name, value in (slots or {}).items():
            tracker.update(rasa_events.SlotSet(name, value, timestamp=at))
        tracker.update(listen)
        asyncio.run(self.rasa.save(tracker))
        return turn

    def rows(self, sender: str | None = None) -> list[dict[str, Any]]:
        with self.rasa.engine.connect() as connection:
            query = sqlalchemy.select(events.c.sender_id, events.c.data).order_by(events.c.id)
            found = connection.execute(query).all()
        return [json.loads(data) for owner, data in found if sender in (None, owner)]

    def texts(self, sender: str) -> list[str]:
        turns, _ = self.ours.page(sender, 100)
        return [turn["question"]["text"] for turn in turns]
