"""The action server: ``rasa_sdk``'s, which answers its bot alone.

``python -m bot.action_server --port 5055``. With ``ACTIONS_SECRET`` in the environment every
request but ``/health`` and ``/ready`` must carry it as a bearer token, as ``endpoints.yml`` makes
the bot do. Off the loopback interface the server does not start without.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import logging
import os
import sys
import warnings

from rasa_sdk import utils
from sanic import Sanic
from sanic.exceptions import SanicException
from sanic.request import Request
from sanic.response import HTTPResponse, json

from actions import access
from actions.conversation import shared_directory
from actions.directory import DirectoryError
from bot import exposure
from bot.errors import UserError, describe
from bot.observability import logs, steps, trace_context
from bot.observability.setup import ACTIONS, Observability

logger = logging.getLogger(__name__)

# Whether the process lives, and whether it can answer: for probes, which know no secret.
HEALTH_PATH, READY_PATH = "/health", "/ready"
READY_SECONDS = 2.0


def require_secret(host: str, secret: str) -> None:
    """Raise :class:`~bot.errors.UserError` where anybody could ask a server on ``host``."""
    if not secret and exposure.is_development(host):
        return
    if len(secret) < exposure.MIN_SECRET_LENGTH:
        raise UserError(
            f"The action server on {host} would tell anybody about anybody: set "
            f"{exposure.ACTIONS_SECRET_VARIABLE} to the same secret of "
            f"{exposure.MIN_SECRET_LENGTH} characters or more for it and for the bot, "
            "or listen on 127.0.0.1. See docs/mobile.md."
        )


def make_app(secret: str) -> Sanic:
    """Return the server with all actions, which asks for ``secret`` unless it is empty."""
    # Sanic's extension for CORS uses what is deprecated, which is no news to who reads the log.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from rasa_sdk.endpoint import create_app

    # No page of a browser has business here.
    app = create_app("actions", cors_origins="")
    expected = f"Bearer {secret}".encode()

    @app.middleware("request")
    async def authenticate(request: Request) -> HTTPResponse | None:
        steps.enter(trace_context.parse(request.headers.get("traceparent")))
        given = str(request.headers.get("authorization", "")).encode()
        open_to_all = not secret or request.path in (HEALTH_PATH, READY_PATH)
        if open_to_all or hmac.compare_digest(given, expected):
            return None
        with steps.step("refusal"):
            pass
        logger.warning(
            "A request without the secret of the bot was refused (%s).",
            exposure.ACTIONS_SECRET_VARIABLE,
        )
        return json({"error": "the secret of the bot is missing"}, status=401)

    def handle(request: Request, error: Exception) -> HTTPResponse:
        # rasa_sdk's own handler sends the request back: the conversation, into the bot's log.
        if isinstance(error, SanicException):
            return json({"error": type(error).__name__}, status=error.status_code)
        logger.error("%s", describe(error))
        return json({"error": type(error).__name__}, status=500)

    @app.get(READY_PATH)
    async def ready(_: Request) -> HTTPResponse:
        directory = await _directory_answers()
        checks = {"directory": "ok" if directory else "failing"}
        status = "ready" if directory else "unavailable"
        return json({"status": status, "checks": checks}, status=200 if directory else 503)

    app.error_handler.add(Exception, handle)
    app.before_server_start(open_directory)
    return app


async def _directory_answers() -> bool:
    """Return whether the directory answers in time."""
    answer = asyncio.to_thread(lambda: shared_directory().is_empty())
    try:
        await asyncio.wait_for(answer, READY_SECONDS)
    except (DirectoryError, asyncio.TimeoutError):
        return False
    return True


async def open_directory(*_: object) -> None:
    """Connect to the directory before the first question, which would wait for it.

    One that is down is no reason not to start: each question tries again.
    """
    try:
        await asyncio.to_thread(lambda: shared_directory().open())
    except DirectoryError as error:
        logger.error("%s", error)


def main() -> None:
    """Run the server until a signal comes."""
    parser = argparse.ArgumentParser(description="The action server of the bot.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5055)
    arguments = parser.parse_args()
    secret = os.environ.get(exposure.ACTIONS_SECRET_VARIABLE, "")
    try:
        require_secret(arguments.host, secret)
        # To hear of wrong settings now, not at the first question.
        access.visibility()
        access.audit_log()
        observability = Observability.of(ACTIONS, os.environ)
    except UserError as error:
        sys.exit(str(error))
    utils.configure_colored_logging("INFO")
    utils.update_sanic_log_level()
    if observability.json_logs:
        logs.install()
    app = make_app(secret)
    observability.observe_actions(app)
    workers = utils.number_of_sanic_workers()
    app.run(arguments.host, arguments.port, workers=workers, access_log=False)


if __name__ == "__main__":
    main()
