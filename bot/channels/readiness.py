"""Whether all is there that an answer needs."""

from __future__ import annotations

import asyncio

import aiohttp
from rasa.core.agent import Agent
from sqlalchemy.exc import SQLAlchemyError

from bot.channels.idempotency import conversations_of
from bot.channels.problems import ProblemError
from common.disk import require_space

# The action server gives its directory two seconds.
CHECK_SECONDS = 3.0


async def checks(agent: Agent | None) -> dict[str, bool]:
    """Return what an answer needs, and whether it is there."""
    store, actions = await asyncio.gather(_store_answers(agent), _actions_answer(agent))
    return {
        "model": agent is not None and agent.is_ready(),
        "tracker_store": store,
        "action_server": actions,
    }


async def _store_answers(agent: Agent | None) -> bool:
    try:
        store = conversations_of(agent)

        def check() -> None:
            store.ping()
            if store.folder is not None:
                require_space(store.folder)

        await asyncio.wait_for(asyncio.to_thread(check), timeout=CHECK_SECONDS)
    except (ProblemError, SQLAlchemyError, OSError, asyncio.TimeoutError):
        return False
    return True


async def _actions_answer(agent: Agent | None) -> bool:
    endpoint = agent.action_endpoint if agent is not None else None
    if endpoint is None or not endpoint.url:
        return False
    url = endpoint.url.rsplit("/", 1)[0]
    timeout = aiohttp.ClientTimeout(total=CHECK_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url}/ready") as response,
        ):
            # rasa_sdk's own server does not know whether it is ready, but answers.
            return response.status in (200, 404)
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        return False
