"""Rasa's RabbitMQ event broker for ``endpoints.production.yml``, where it may be left out.

Events are what users said and what they were answered: personal data. So none is published unless
``EVENT_BROKER_URL`` names a broker, and ``bot directory forget`` does not reach what it has taken.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import AbstractEventLoop
from collections import deque
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from rasa.core.brokers.pika import PikaEventBroker
from rasa.utils.endpoints import EndpointConfig

logger = logging.getLogger(__name__)

QUEUES = ["rasa_events"]
# How many events wait for a broker that is down; of more, the oldest are lost.
KEPT_EVENTS = 10_000
TIMEOUT_SECONDS = 10.0
RETRY_SECONDS = 2.0


class OrderedPikaEventBroker(PikaEventBroker):
    """Publishes events to the durable queue ``rasa_events``: in order, each at least once.

    Rasa's own leaves it to aio-pika to reconnect, which at times comes back with a channel that is
    closed for ever (seen with 8.2.3); publishes what comes at once in any order; and writes what it
    could not publish, a user's words, into the log. Here one task publishes one event after the
    other, and connects anew whenever one fails.
    """

    @classmethod
    async def from_endpoint_config(
        cls, broker_config: EndpointConfig | None, event_loop: AbstractEventLoop | None = None
    ) -> OrderedPikaEventBroker | None:
        """Return a broker, None where the configuration names none.

        One that is out of reach does not keep the bot from starting: events wait for it.

        Args:
            broker_config: ``url`` (``amqp://user:password@host:port/virtual-host``; ``amqps`` for
                TLS); ``queues`` and ``exchange_name`` as of Rasa's broker.
            event_loop: of the connection; by default the running one.
        """
        if broker_config is None or not broker_config.url:
            return None
        broker = cls(broker_config.url, {"queues": QUEUES, **broker_config.kwargs}, event_loop)
        try:
            await broker.connect()
        except Exception as error:
            await broker._give_up(error)
        return broker

    def __init__(
        self, url: str, arguments: dict[str, Any], event_loop: AbstractEventLoop | None
    ) -> None:
        # User and password go to the connection alone, within the address.
        host = urlsplit(url).hostname or ""
        super().__init__(host, "", "", event_loop=event_loop, **arguments)
        self._url = url
        self._waiting: deque[aio_pika.Message] = deque(maxlen=KEPT_EVENTS)
        self._publishing: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect, and declare exchange and queues.

        Raises:
            Exception: Whatever aio-pika raises where RabbitMQ does not answer, or refuses.
        """
        self._connection = await aio_pika.connect(self._url, timeout=TIMEOUT_SECONDS)
        self._exchange = await self._set_up_exchange(await self._connection.channel())

    def publish(self, event: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Have an event published, as soon as RabbitMQ takes it."""
        self._waiting.append(self._message(event, headers))
        if self._publishing is None or self._publishing.done():
            self._publishing = self._loop.create_task(self._publish_all())

    async def close(self) -> None:
        """Close the connection, after what can be published within a timeout."""
        if self._publishing is not None:
            await asyncio.wait([self._publishing], timeout=TIMEOUT_SECONDS)
            self._publishing.cancel()
        await self._disconnect()

    async def _publish_all(self) -> None:
        while self._waiting:
            message = self._waiting[0]
            try:
                if self._exchange is None:
                    await self.connect()
                await self._exchange.publish(message, "", timeout=TIMEOUT_SECONDS)
            except Exception as error:
                await self._give_up(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if self._waiting and self._waiting[0] is message:  # not pushed out meanwhile
                    self._waiting.popleft()

    async def _give_up(self, error: Exception) -> None:
        """Say why, and leave no connection that is half made."""
        logger.error(
            "RabbitMQ takes no events (%s); %d wait for it.",
            type(error).__name__,
            len(self._waiting),
        )
        await self._disconnect()

    async def _disconnect(self) -> None:
        self._exchange = None
        try:
            if self._connection is not None:
                await self._connection.close()
        except Exception as error:
            logger.debug("RabbitMQ's connection was not closed: %s", type(error).__name__)


# The name in files of earlier releases.
OptionalRabbitMQ = OrderedPikaEventBroker
