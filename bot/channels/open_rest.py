"""Rasa's open REST channel, for development: ``POST /webhooks/rest/webhook``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from rasa.core.channels.channel import UserMessage
from rasa.core.channels.rest import RestInput
from sanic import Blueprint
from sanic.request import Request

from bot.channels import commands, openapi
from bot.channels.problems import ProblemError
from bot.runtime import rasa_server
from common import environment
from common.protocol import CHANNEL_NAME

logger = logging.getLogger(__name__)

# What a tracker store keeps of it (PostgreSQL).
MAX_SENDER_CHARACTERS = 255
EXAMPLE = 'send {"sender": "me", "message": "Qui connaît Python ?"}'


class OpenRest(RestInput):
    """Rasa's ``rest`` channel, which asks nobody who they are: for callers of this machine, and
    closed outside development.

    Of a body it takes ``sender`` and ``message``. What else Rasa's takes, ``metadata`` and
    ``input_channel``, tells the action server who asks (actions/caller.py): not for anybody to say.
    """

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """Return the routes of the ``rest`` channel in development, none elsewhere."""
        if environment.is_development():
            rasa_server.prepare()
            return super().blueprint(on_new_message)
        logger.info("The channel rest is closed: it has no authentication (docs/mobile.md).")
        return Blueprint("closed_rest")

    async def _extract_sender(self, req: Request) -> str | None:
        """Return whose conversation it is, after checking the body, of which this is asked first.

        Raises:
            ProblemError: the body is not as it should be.
        """
        try:
            body = openapi.parse_json(req.body)
            commands.require_sound(str(body.get("message")))
        except ProblemError as problem:
            raise _refused(problem.fields["errors"][0]["detail"]) from None
        sender, message = body.get("sender"), body.get("message")
        if not isinstance(message, str) or not message.strip():
            raise _refused("message must be a text")
        if sender is None:
            return None
        if not isinstance(sender, str) or len(sender) > MAX_SENDER_CHARACTERS:
            raise _refused(f"sender must be a text of {MAX_SENDER_CHARACTERS} characters at most")
        if not sender.isprintable() or sender.startswith(f"{CHANNEL_NAME}-"):
            raise _refused(f"sender must hold no controls, and not begin with {CHANNEL_NAME}-")
        return sender

    def _extract_input_channel(self, req: Request) -> str:
        return self.name()

    def get_metadata(self, request: Request) -> None:
        """Return nothing, whatever the client has sent."""


def _refused(reason: str) -> ProblemError:
    return ProblemError("invalid-request", f"{reason}: {EXAMPLE}")
