"""Rasa's RabbitMQ event broker for ``endpoints.production.yml``, where it may be left out.

Events are what users said and what they were answered: personal data. So none is published unless
``EVENT_BROKER_URL`` names a broker, and ``bot directory forget`` does not reach what it has taken.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from urllib.parse import unquote, urlsplit

from rasa.core.brokers.pika import PikaEventBroker
from rasa.utils.endpoints import EndpointConfig

QUEUES = ["rasa_events"]


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
        await broker.connect()
        return broker
