"""The event broker, against a real RabbitMQ that is killed and started again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest
from rasa.utils.endpoints import EndpointConfig

from bot.processes import free_port
from bot.runtime import event_broker
from bot.runtime.event_broker import OrderedPikaEventBroker
from infra.cluster import engines
from tests.support.engine_server import EngineServer

PATIENCE_SECONDS = 60.0

needs_rabbitmq = pytest.mark.skipif(
    bool(engines.missing(broker=True)), reason="not installed: apt-get install rabbitmq-server"
)


def url(server: EngineServer) -> str:
    return f"amqp://guest:guest@{server.address}/"


async def events(server: EngineServer, count: int) -> list[Any]:
    """Take so many different events from the queue."""
    found: dict[Any, None] = {}
    async with await aio_pika.connect(url(server)) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("rasa_events", durable=True)
        async with queue.iterator(no_ack=True) as messages:
            async for message in messages:
                found[json.loads(message.body)["text"]] = None
                if len(found) == count:
                    return [*found]
    raise AssertionError(found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """A RabbitMQ, not started yet."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    mapper, rabbitmq = (
        EngineServer(engine, folder / "log") for engine in engines.rabbitmq(folder / "rabbitmq")
    )
    mapper.start()
    yield rabbitmq
    rabbitmq.kill()
    mapper.kill()


@pytest.fixture
def running(server: EngineServer) -> EngineServer:
    server.start()
    return server


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[OrderedPikaEventBroker]:
    broker = await OrderedPikaEventBroker.from_endpoint_config(EndpointConfig(address))
    assert broker is not None
    yield broker
    await broker.close()


def run(test: Any) -> None:
    asyncio.run(asyncio.wait_for(test, PATIENCE_SECONDS))


@needs_rabbitmq
def test_events_wait_for_a_server_and_keep_their_order(server: EngineServer) -> None:
    async def test() -> None:
        async with connected(url(server)) as broker:
            broker.publish({"text": 0})
            server.start()  # the loop stands still meanwhile
            assert await events(server, 1) == [0]
            server.kill()
            for number in range(1, 5):
                broker.publish({"text": number})
                await asyncio.sleep(0.01)
            server.start()
            broker.publish({"text": 5})
            assert await events(server, 5) == [1, 2, 3, 4, 5]

    run(test())


@needs_rabbitmq
def test_a_channel_that_was_closed_is_replaced(running: EngineServer) -> None:
    async def test() -> None:
        async with connected(url(running)) as broker:
            broker.publish({"text": "before"})
            assert await events(running, 1) == ["before"]
            await broker._exchange.channel.close()
            broker.publish({"text": "after"})
            assert await events(running, 1) == ["after"]

    run(test())


@needs_rabbitmq
def test_what_was_published_last_is_not_lost_with_the_bot(running: EngineServer) -> None:
    async def test() -> None:
        async with connected(url(running)) as broker:
            for number in range(20):
                broker.publish({"text": number})
        assert await events(running, 20) == [*range(20)]

    run(test())


def test_a_bot_starts_without_its_broker_and_logs_neither_words_nor_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        address = f"amqp://bot:hidden-password@{engines.HOST}:{free_port()}/"
        async with connected(address) as broker:
            assert not broker.is_ready()
            broker.publish({"text": "ce que quelqu'un a dit"})

    monkeypatch.setattr(event_broker, "TIMEOUT_SECONDS", 0.2)
    run(test())
    assert "RabbitMQ takes no events (ConnectionError); 1 wait for it." in caplog.text
    assert "quelqu'un" not in caplog.text
    assert "hidden-password" not in caplog.text


def test_without_an_address_there_is_no_broker() -> None:
    assert asyncio.run(OrderedPikaEventBroker.from_endpoint_config(EndpointConfig(""))) is None
