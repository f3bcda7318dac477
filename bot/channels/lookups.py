"""What is asked beside the conversation; the action server, which has the directory, answers it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import aiohttp

from bot.channels.auth import Caller
from bot.channels.problems import unavailable
from bot.channels.turns import caller_metadata
from common.errors import describe
from common.trace_context import Trace

if TYPE_CHECKING:
    from rasa.core.agent import Agent

logger = logging.getLogger(__name__)

SECONDS = 10.0


async def look_up(
    agent: Agent | None, question: str, caller: Caller, trace: Trace, **fields: Any
) -> dict[str, Any]:
    """Return the action server's answer to ``question`` (:mod:`actions.lookups`) of ``caller``.

    Raises:
        ProblemError: ``unavailable``: there is no action server, or it does not answer.
    """
    endpoint = agent.action_endpoint if agent is not None else None
    if endpoint is None or not endpoint.url:
        raise unavailable("The bot has no action server.")
    body = {
        "conversation": caller.conversation_id,
        "metadata": caller_metadata(caller, trace),
        **fields,
    }
    try:
        asked = endpoint.request(subpath=question, json=body)
        answer: dict[str, Any] | None = await asyncio.wait_for(asked, SECONDS)
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        logger.error("[%s] %s: %s", trace.trace_id, question, describe(error))
        raise unavailable("The action server does not answer.") from None
    return answer or {}
