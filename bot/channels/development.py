"""Rasa's open REST channel, for development: ``POST /webhooks/rest/webhook``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from rasa.core.channels.channel import UserMessage
from rasa.core.channels.rest import RestInput
from sanic import Blueprint

from bot import exposure, rasa_server

logger = logging.getLogger(__name__)


class OpenRest(RestInput):
    """Rasa's ``rest`` channel, which asks nobody who they are: for callers of this machine, and
    closed outside development."""

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """Return the routes of the ``rest`` channel in development, none elsewhere."""
        if exposure.is_development():
            rasa_server.prepare()
            return super().blueprint(on_new_message)
        logger.info("The channel rest is closed: it has no authentication (docs/mobile.md).")
        return Blueprint("closed_rest")
