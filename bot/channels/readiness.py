"""Whether all is there that an answer needs."""

from __future__ import annotations

import asyncio

import aiohttp
from rasa.core.agent import Agent
from sqlalchemy.exc import SQLAlchemyError

from bot.channels.exchange import conversations_of
from bot.channels.problems import ProblemError

CHECK_SECONDS = 2.0


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
        ping = conversations_of(agent).ping
        await asyncio.wait_for(asyncio.to_thread(ping), timeout=CHECK_SECONDS)
    except (ProblemError, SQLAlchemyError, asyncio.TimeoutError):
        return False
    return True


async def _actions_answer(agent: Agent | None) -> bool:
    endpoint = agent.action_endpoint if agent is not None else None
    if endpoint is None or not endpoint.url:
        return False
    url = endpoint.url.rsplit("/", 1)[0] + "/health"
    timeout = aiohttp.ClientTimeout(total=CHECK_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url) as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        return False
