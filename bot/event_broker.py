"""Rasa's RabbitMQ event broker for ``endpoints.production.yml``, where it may be left out.

Events are what users said and what they were answered: personal data. So none is published unless
``EVENT_BROKER_URL`` names a broker, and ``bot directory forget`` does not reach what it has taken.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop
from collections import deque
from typing import Any
from urllib.parse import unquote, urlsplit

from rasa.core.brokers.pika import PikaEventBroker
from rasa.utils.endpoints import EndpointConfig

logger = logging.getLogger(__name__)

QUEUES = ["rasa_events"]
# How many events wait for a broker that is down; of more, the oldest are lost.
KEPT_EVENTS = 10_000


class OptionalRabbitMQ(PikaEventBroker):
    """Publishes events to the durable queue ``rasa_events``."""

    @classmethod
    async def from_endpoint_config(
        cls, broker_config: EndpointConfig | None, event_loop: AbstractEventLoop | None = None
    ) -> OptionalRabbitMQ | None:
        """Return a connected broker, None where the configuration names none.

        Args:
            broker_config: ``url`` (``amqp://user:password@host:port``), and arguments of Rasa's
                broker.
            event_loop: of the connection; by default the running one.
        """
        if broker_config is None or not broker_config.url:
            return None
        # Rasa appends a port to the address unless its digits are somewhere in it.
        url = urlsplit(broker_config.url)
        arguments = {"queues": QUEUES, **broker_config.kwargs}
        broker = cls(
            url.hostname or "",
            unquote(url.username or "guest"),
            unquote(url.password or "guest"),
            port=url.port or 5672,
            event_loop=event_loop,
            **arguments,
        )
        broker._unpublished_events = deque(maxlen=KEPT_EVENTS)
        await broker.connect()
        return broker

    async def _publish(self, event: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Publish an event, or keep it for later.

        Rasa's own would write what could not be published, a user's words, into the log.
        """
        try:
            if self._exchange is not None:
                await self._exchange.publish(self._message(event, headers), "")
        except Exception as error:
            logger.error("An event was not published: %s", type(error).__name__)
            self._unpublished_events.append(event)
