"""What is asked beside the conversation; the action server, which has the directory, answers it."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
from rasa.utils.endpoints import ClientResponseError

from bot.channels.auth import Caller
from bot.channels.problems import ProblemError, unavailable
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
        ProblemError: ``unavailable``: there is no action server, or it does not answer;
            ``rate-limited``: the user was shown as many people today as may be.
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
    except ClientResponseError as error:
        if error.status != HTTPStatus.TOO_MANY_REQUESTS:
            raise _no_answer(question, trace, error) from None
        seconds = 86_400 - int(time.time()) % 86_400  # the quota is of a day in UTC
        raise ProblemError(
            "rate-limited", "As many people were shown today as may be.", retry_after=seconds
        ) from None
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise _no_answer(question, trace, error) from None
    return answer or {}


def _no_answer(question: str, trace: Trace, error: BaseException) -> ProblemError:
    logger.error("[%s] %s: %s", trace.trace_id, question, describe(error))
    return unavailable("The action server does not answer.")
