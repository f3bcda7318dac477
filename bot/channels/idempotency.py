"""Each message is answered once: where it comes again, with the answer that it has already had.

A turn and its answer get into the tracker store by one transaction, the idempotency key with them:
so whether a message was answered is looked up there, under the conversation's lock, and holds after
a restart and between several processes. A message that comes again while this process works on it
joins the first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

from rasa.core.agent import Agent
from rasa.core.channels.channel import OutputChannel, UserMessage
from rasa.core.lock_store import LockError
from rasa.core.tracker_store import FailSafeTrackerStore, SQLTrackerStore
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from bot.channels.conversations import Conversations
from bot.channels.problems import ProblemError, unavailable
from bot.channels.turns import Request, Turn, add_reply
from common.errors import describe
from common.protocol import CHANNEL_NAME
from common.tracing import step

logger = logging.getLogger(__name__)

# How often a message waits for the one before it, in seconds; Rasa's 1 would be felt.
LOCK_POLL_SECONDS = 0.05

_in_exchange: ContextVar[bool] = ContextVar("in_exchange", default=False)


class StoreFailedError(Exception):
    """The tracker store could not load or save a conversation."""


def primary_store(agent: Agent) -> Any:
    """Return the tracker store beneath the one that hides failures."""
    store = agent.tracker_store
    return store._tracker_store if isinstance(store, FailSafeTrackerStore) else store


def conversations_of(agent: Agent | None) -> Conversations:
    """Return the stored conversations of ``agent``.

    Raises:
        ProblemError: ``unavailable``: there is no agent, or its tracker store has no SQL.
    """
    store = primary_store(agent) if agent is not None else None
    if not isinstance(store, SQLTrackerStore):
        raise unavailable(
            "The bot has no model, or a tracker store other than SQL in endpoints.yml."
        )
    return Conversations(store.engine)


def fail_loudly(agent: Agent) -> None:
    """Make exchanges fail where the tracker store fails.

    Rasa would go on with an empty conversation, and keep what was said in memory only.
    """
    if isinstance(agent.tracker_store, FailSafeTrackerStore):
        agent.tracker_store._on_tracker_store_error = _on_store_error


def _on_store_error(error: Exception) -> None:
    logger.error("The tracker store failed: %s", type(error).__name__)
    if _in_exchange.get():
        raise StoreFailedError from error


@asynccontextmanager
async def locked(agent: Agent, conversation_id: str) -> AsyncIterator[None]:
    """Hold the lock of a conversation.

    Raises:
        LockError: it was not to be had.
        redis.exceptions.RedisError: the lock store does not answer.
    """
    lock = agent.lock_store.lock(conversation_id, wait_time_in_seconds=LOCK_POLL_SECONDS)
    async with AsyncExitStack() as stack:
        with step("lock"):
            await stack.enter_async_context(lock)
        yield


class _Collector(OutputChannel):
    """Takes what the bot says as it says it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    @classmethod
    def name(cls) -> str:
        """Return the channel's name, for responses of the domain that are made for it."""
        return CHANNEL_NAME

    async def send_response(self, recipient_id: str, message: dict[str, Any]) -> None:
        """Add a message, with all its parts, to the turn."""
        self.exchange.reply(message)


class Exchange:
    """A message that is being answered; ``turn`` grows by the replies.

    ``task`` ends in the turn or in a :class:`~bot.channels.problems.ProblemError`. It is not
    cancelled where a client goes away: the next attempt finds the answer.
    """

    def __init__(self, agent: Agent, request: Request) -> None:
        self.agent, self.request = agent, request
        self.turn: Turn = request.new_turn()
        self.replayed = False
        self._accepted = False
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(self._done)

    def reply(self, message: Mapping[str, Any]) -> None:
        """Take a message of the bot."""
        if add_reply(self.turn, message):
            self._notify()

    async def accepted(self) -> None:
        """Wait until it is known which turn this is: a new one, or one that was answered before.

        Raises:
            ProblemError: neither.
        """
        while not (self._accepted or self.task.done()):
            await self._changed.wait()
        if not self._accepted:
            await self.task

    async def replies(self, patience: float) -> AsyncIterator[dict[str, Any] | None]:
        """Give the replies as they come, to the end of the task.

        And None whenever nothing came for ``patience`` seconds.
        """
        sent = 0
        while True:
            changed, done = self._changed, self.task.done()
            for reply in self.turn["replies"][sent:]:
                yield reply
                sent += 1
            if done:
                return
            try:
                await asyncio.wait_for(changed.wait(), patience)
            except asyncio.TimeoutError:
                yield None

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _done(self, task: asyncio.Task[Turn]) -> None:
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more
        self._notify()

    async def _run(self) -> Turn:
        _in_exchange.set(True)
        try:
            return await self._answer()
        except ProblemError:
            raise
        except (LockError, StoreFailedError, SQLAlchemyError, RedisError) as error:
            logger.error("[%s] %s", self.request.trace.trace_id, describe(error))
            raise unavailable("A store of the bot fails.") from None
        except Exception as error:
            logger.error("[%s] %s", self.request.trace.trace_id, describe(error))
            raise ProblemError("internal", "The message could not be answered.") from None

    async def _answer(self) -> Turn:
        agent, request = self.agent, self.request
        conversation_id = request.caller.conversation_id
        conversations = conversations_of(agent)
        async with locked(agent, conversation_id):
            if request.idempotency_key is not None:
                stored = await asyncio.to_thread(
                    conversations.answered, conversation_id, request.idempotency_key
                )
                if stored is not None:
                    require_same(stored, request)
                    self.turn, self.replayed = stored, True
                    return stored
            self._accepted = True
            self._notify()
            before: list[Turn] = []
            if request.is_typed:  # a button says what it means
                before, _ = await asyncio.to_thread(conversations.page, conversation_id, 1)
            meant = request.meant(before[0] if before else None)
            message = UserMessage(
                meant,
                _Collector(self),
                conversation_id,
                input_channel=CHANNEL_NAME,
                message_id=self.turn["id"],
                metadata=request.metadata(self.turn, meant),
            )
            if agent.processor is None:
                raise unavailable("The bot has no model.")
            await agent.processor.handle_message(message)
        if not self.turn["replies"]:
            raise ProblemError("internal", "The bot had nothing to say.")
        return self.turn


def require_same(turn: Turn, request: Request) -> None:
    """Raise a :class:`~bot.channels.problems.ProblemError` where ``turn`` answers another message
    than ``request``, which came with the same key."""
    if turn["question"] != dict(request.question):
        raise ProblemError(
            "idempotency-key-reused", "The Idempotency-Key was used for another message."
        )


class Exchanges:
    """The messages that this process is answering."""

    def __init__(self) -> None:
        self._running: set[Exchange] = set()
        self._by_key: dict[tuple[str, str], Exchange] = {}

    def begin(self, agent: Agent, request: Request) -> Exchange:
        """Answer ``request``, or join the exchange that already does."""
        conversation_id, key = request.caller.conversation_id, request.idempotency_key
        if key is not None:
            running = self._by_key.get((conversation_id, key))
            if running is not None:
                require_same(running.turn, request)
                return running
        fail_loudly(agent)  # it may be a new one: Rasa makes one for each model that it loads
        exchange = Exchange(agent, request)
        self._running.add(exchange)
        exchange.task.add_done_callback(lambda _: self._running.discard(exchange))
        if key is not None:
            self._by_key[conversation_id, key] = exchange
            exchange.task.add_done_callback(lambda _: self._by_key.pop((conversation_id, key)))
        return exchange

    async def finish(self, seconds: float) -> None:
        """Wait for what is being answered, at most ``seconds``."""
        if tasks := [exchange.task for exchange in self._running]:
            await asyncio.wait(tasks, timeout=seconds)
