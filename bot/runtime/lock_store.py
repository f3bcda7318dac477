"""A lock store on Redis for several bots: one message of a conversation at a time, in order.

Rasa's own ``redis`` store reads a lock, changes it and writes it back in three steps. Two processes
that do so at once give out the same ticket, and both go on; and the ticket of a process that was
killed keeps its conversation waiting for a minute. Here each step is one script, which Redis runs
alone, and a ticket holds for seconds unless its process renews it. ``endpoints.production.yml``::

    lock_store:
      type: bot.runtime.lock_store.FairRedisLockStore
      url: redis://:password@host:6379/1
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import redis
import redis.asyncio
from rasa.core.lock import TicketLock
from rasa.core.lock_store import LOCK_LIFETIME, LockError, LockStore
from rasa.utils.endpoints import EndpointConfig
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

logger = logging.getLogger(__name__)

# How long the ticket of a process that was killed keeps others waiting, in seconds.
LEASE_SECONDS = 5.0
RENEWALS_IN_A_LEASE = 5
TIMEOUT_SECONDS = 2.0

# Of each conversation: a list of tickets, the holder first, and a hash of each ticket's lease, the
# time at which it ends (milliseconds of Redis's clock). The braces keep both on one node.
_QUEUE, _LEASES = "turns:{%s}:queue", "turns:{%s}:leases"

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function lease()
  redis.call('HSET', KEYS[2], ARGV[1], now + ARGV[2])
  redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2])
  redis.call('PEXPIRE', KEYS[2], 2 * ARGV[2])
end
"""

# Queue up, unless that is done; forget those in front whose leases are over; are we the first?
_ACQUIRE = f"""{_NOW}
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then redis.call('RPUSH', KEYS[1], ARGV[1]) end
lease()
local first = redis.call('LINDEX', KEYS[1], 0)
while first ~= ARGV[1] and tonumber(redis.call('HGET', KEYS[2], first) or 0) < now do
  redis.call('LPOP', KEYS[1])
  redis.call('HDEL', KEYS[2], first)
  first = redis.call('LINDEX', KEYS[1], 0)
end
return first == ARGV[1] and 1 or 0
"""

# The holder goes on; after a Redis that forgot everything it takes its place again, if still free.
_RENEW = f"""{_NOW}
if redis.call('LLEN', KEYS[1]) == 0 then redis.call('RPUSH', KEYS[1], ARGV[1]) end
if redis.call('LINDEX', KEYS[1], 0) ~= ARGV[1] then return 0 end
lease()
return 1
"""

_RELEASE = """
redis.call('LREM', KEYS[1], 0, ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
"""


async def _patiently(script: AsyncScript, keys: list[str], args: list[Any]) -> Any:
    """Run a script, which may run twice.

    A loop that was busy for long finds the time over before it finds the answer that came in time;
    redis-py's own retry leaves out the time to connect.
    """
    try:
        return await script(keys=keys, args=args)
    except RedisTimeoutError:
        return await script(keys=keys, args=args)


class FairRedisLockStore(LockStore):
    """Locks conversations for all processes with the same Redis, first come, first served.

    Args:
        endpoint_config: ``url``, which may hold user, password and database number.
    """

    def __init__(self, endpoint_config: EndpointConfig) -> None:
        url = str(endpoint_config.url)
        options = {
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            # A connection that a restart of Redis has cut fails once; each script may run twice.
            "retry_on_error": [RedisConnectionError],
        }
        self._client = redis.asyncio.Redis.from_url(
            url, retry=AsyncRetry(NoBackoff(), 1), **options
        )
        self._acquire = self._client.register_script(_ACQUIRE)
        self._release = self._client.register_script(_RELEASE)
        # Of the thread that renews: a loop that is busy for long must not lose its locks.
        renewing = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 1), **options)
        self._renew = renewing.register_script(_RENEW)
        self._held: dict[str, str] = {}  # ticket → conversation
        self._renewer: threading.Thread | None = None
        super().__init__()

    @contextlib.asynccontextmanager
    async def lock(
        self,
        conversation_id: str,
        lock_lifetime: float = LOCK_LIFETIME,
        wait_time_in_seconds: float = 1,
    ) -> AsyncIterator[TicketLock]:
        """Hold the lock of a conversation.

        Args:
            conversation_id: of the conversation.
            lock_lifetime: how long to wait for it, in seconds. It is held as long as needed.
            wait_time_in_seconds: how often to ask.

        Raises:
            LockError: it was not to be had.
            redis.exceptions.RedisError: Redis does not answer.
        """
        ticket = uuid.uuid4().hex
        keys = [_QUEUE % conversation_id, _LEASES % conversation_id]
        deadline = time.monotonic() + lock_lifetime

        def ask() -> asyncio.Future[Any]:
            args = [ticket, int(LEASE_SECONDS * 1000)]
            return asyncio.ensure_future(_patiently(self._acquire, keys, args))

        asked = ask()
        try:
            # Shielded, since redis-py may lose a cancellation (bpo-37658, in ``asyncio.wait_for``).
            while not await asyncio.shield(asked):
                if time.monotonic() > deadline:
                    raise LockError(f"The conversation {conversation_id} stays locked.")
                await asyncio.sleep(wait_time_in_seconds)
                asked = ask()
            self._held[ticket] = conversation_id
            self._ensure_renewer()
            yield TicketLock(conversation_id)
        finally:
            self._held.pop(ticket, None)
            await asyncio.shield(self._give_back(ticket, keys, asked))

    async def _give_back(self, ticket: str, keys: list[str], asked: asyncio.Future[int]) -> None:
        """Release a ticket, after the last question for it, which would queue it up again."""
        await asyncio.wait([asked])
        try:
            await _patiently(self._release, keys, [ticket])
        except RedisError as error:  # the lease ends by itself
            logger.warning("A lock was not released: %s", type(error).__name__)

    def _ensure_renewer(self) -> None:
        if self._renewer is None:
            self._renewer = threading.Thread(target=self._renew_for_ever, daemon=True)
            self._renewer.start()

    def _renew_for_ever(self) -> None:
        while True:
            time.sleep(LEASE_SECONDS / RENEWALS_IN_A_LEASE)
            try:
                for ticket, conversation_id in list(self._held.items()):
                    keys = [_QUEUE % conversation_id, _LEASES % conversation_id]
                    args = [ticket, int(LEASE_SECONDS * 1000)]
                    if not self._renew(keys=keys, args=args) and ticket in self._held:
                        logger.error("A lock was lost: Redis has forgotten it.")
            except RedisError as error:
                logger.warning("Locks were not renewed: %s", type(error).__name__)
