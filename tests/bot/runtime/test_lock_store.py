"""The lock store of several bots, against a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rasa.core.agent import Agent
from rasa.core.lock_store import LockError, LockStore
from rasa.utils.endpoints import EndpointConfig
from redis.exceptions import RedisError

from bot.runtime import lock_store
from bot.runtime.lock_store import FairRedisLockStore
from infra.cluster import engines
from tests.support.engine_server import EngineServer

POLL_SECONDS = 0.01
PATIENCE_SECONDS = 20.0

pytestmark = pytest.mark.skipif(
    "redis-server" in engines.missing(), reason="not installed: apt-get install redis-server"
)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EngineServer]:
    server = EngineServer(engines.redis(tmp_path / "redis"), tmp_path / "log")
    server.start()
    yield server
    server.kill()


def store_of(server: EngineServer) -> FairRedisLockStore:
    return FairRedisLockStore(EndpointConfig(f"redis://{server.address}/0"))


@pytest.fixture
def bots(redis: EngineServer, monkeypatch: pytest.MonkeyPatch) -> list[FairRedisLockStore]:
    """The stores of two bots, which forget a killed one sooner than in production."""
    monkeypatch.setattr(lock_store, "LEASE_SECONDS", 1.0)
    return [store_of(redis) for _ in range(2)]


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE_SECONDS))


def turn(store: FairRedisLockStore, lifetime: float = PATIENCE_SECONDS) -> Any:
    return store.lock("a conversation", lifetime, POLL_SECONDS)


async def waiting(store: FairRedisLockStore, number: int) -> None:
    """Return when ``number`` tickets are given out."""
    while await store._client.llen(lock_store._QUEUE % "a conversation") < number:
        await asyncio.sleep(POLL_SECONDS)


def test_rasa_makes_it_from_the_configuration(redis: EngineServer) -> None:
    kind = f"{FairRedisLockStore.__module__}.{FairRedisLockStore.__name__}"
    made = LockStore.create(EndpointConfig(f"redis://{redis.address}/0", type=kind))
    assert isinstance(made, FairRedisLockStore)
    assert Agent(lock_store=made).lock_store is made


def test_one_at_a_time(bots: list[FairRedisLockStore]) -> None:
    inside = most = served = 0

    async def message(number: int) -> None:
        nonlocal inside, most, served
        async with turn(bots[number % 2]):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(POLL_SECONDS / 2)
            inside -= 1
            served += 1

    async def test() -> None:
        await asyncio.gather(*map(message, range(20)))

    run(test)
    assert (most, served) == (1, 20)


def test_who_came_first_is_first(bots: list[FairRedisLockStore]) -> None:
    served: list[int] = []

    async def message(number: int) -> None:
        async with turn(bots[number % 2]):
            served.append(number)

    async def test() -> None:
        async with turn(bots[0]):
            tasks = []
            for number in range(8):
                tasks.append(asyncio.create_task(message(number)))
                await waiting(bots[0], number + 2)
            assert served == []
        await asyncio.gather(*tasks)

    run(test)
    assert served == list(range(8))


def test_conversations_do_not_wait_for_each_other(bots: list[FairRedisLockStore]) -> None:
    async def test() -> None:
        async with bots[0].lock("one"), bots[1].lock("another"):
            pass

    run(test)


def test_a_long_turn_keeps_its_lock(bots: list[FairRedisLockStore]) -> None:
    """Also while its process does nothing else than that turn."""
    got = []

    async def other() -> None:
        async with turn(bots[1]):
            got.append(True)

    async def test() -> None:
        async with turn(bots[0]):
            task = asyncio.create_task(other())
            await waiting(bots[0], 2)
            time.sleep(2 * lock_store.LEASE_SECONDS)
            for _ in range(10):
                await asyncio.sleep(POLL_SECONDS)
            assert not got
        await task

    run(test)


def test_a_killed_bot_does_not_keep_its_lock(bots: list[FairRedisLockStore]) -> None:
    async def test() -> None:
        killed = turn(bots[0])
        await killed.__aenter__()
        bots[0]._held.clear()  # nobody renews it any more
        queued = await bots[0]._acquire(
            keys=[lock_store._QUEUE % "a conversation", lock_store._LEASES % "a conversation"],
            args=["of a message that waited in the killed bot", 1000],
        )
        assert not queued
        async with turn(bots[1]):
            pass

    run(test)


def test_patience_ends(bots: list[FairRedisLockStore]) -> None:
    async def test() -> None:
        async with turn(bots[0]):
            with pytest.raises(LockError):
                async with turn(bots[1], lifetime=0.1):
                    pass
        async with turn(bots[1]):  # who gave up is in nobody's way
            pass

    run(test)


def test_a_cancelled_message_is_in_nobodys_way(bots: list[FairRedisLockStore]) -> None:
    async def wait() -> None:
        async with turn(bots[1]):
            pass

    async def test() -> None:
        async with turn(bots[0]):
            task = asyncio.create_task(wait())
            await waiting(bots[0], 2)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await waiting(bots[0], 1)
        assert await bots[0]._client.keys("*") == []

    run(test)


@pytest.mark.parametrize("steps", range(12))
def test_a_message_is_cancelled_at_any_moment(bots: list[FairRedisLockStore], steps: int) -> None:
    """Python's ``wait_for`` forgets a cancellation that comes with the end of what it waits for."""

    async def wait() -> None:
        async with turn(bots[1]):
            pass

    async def test() -> None:
        async with turn(bots[1]):  # which makes the connection
            pass
        async with turn(bots[0]):
            task = asyncio.create_task(wait())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=1)
            assert done
            assert task.cancelled()

    run(test)


@pytest.mark.parametrize("steps", range(12))
def test_a_busy_loop_finds_its_answers(
    redis: EngineServer, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that came while it was busy, for longer than it would have waited for them."""
    monkeypatch.setattr(lock_store, "TIMEOUT_SECONDS", 0.2)
    store = store_of(redis)
    got = []

    async def wait() -> None:
        async with turn(store):
            got.append(True)

    async def test() -> None:
        task = asyncio.create_task(wait())
        for _ in range(steps):
            await asyncio.sleep(0)
        time.sleep(1.5 * lock_store.TIMEOUT_SECONDS)
        await task

    run(test)
    assert got


def test_redis_is_killed(bots: list[FairRedisLockStore], redis: EngineServer) -> None:
    """Who has a lock keeps it over the restart; who asks meanwhile hears of it."""

    async def test() -> None:
        async with turn(bots[0]):
            redis.kill()
            with pytest.raises(RedisError):
                async with turn(bots[1]):
                    pass
            redis.start()
            await waiting(bots[0], 1)  # the renewal
            with pytest.raises(LockError):
                async with turn(bots[1], lifetime=0.1):
                    pass
        async with turn(bots[1]):
            pass

    run(test)
