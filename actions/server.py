"""The action server: ``rasa_sdk``'s, which answers its bot alone.

``rasa run actions``, or ``python -m actions.server``, which does without the start-up time of
Rasa. With ``ACTIONS_SECRET`` in the environment every request but ``/health`` and ``/ready`` must
carry it as a bearer token; without, the server answers callers of this machine only.

``rasa_sdk`` imports every module below ``actions/`` when it looks for actions, and then asks its
plugins to extend the server: this module is one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import logging
import os
import sys
import warnings

import pluggy
from rasa_sdk import utils
from rasa_sdk.plugin import plugin_manager
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
# Where rasa_sdk listens; all interfaces unless set.
HOST_VARIABLE = "SANIC_HOST"


@pluggy.HookimplMarker("rasa_sdk")
def attach_sanic_app_extensions(app: Sanic) -> None:
    """Add authentication, readiness, error handling and observation to ``app``.

    Ends the process where a setting is wrong.
    """
    secret = os.environ.get(exposure.ACTIONS_SECRET_VARIABLE, "")
    try:
        require_secret(os.environ.get(HOST_VARIABLE), secret)
        # To hear of wrong settings now, not at the first question.
        access.visibility()
        access.quota()
        observability = Observability.of(ACTIONS, os.environ)
    except UserError as error:
        sys.exit(str(error))
    if observability.json_logs:
        logs.install()
    _protect(app, secret)
    app.add_route(_ready, READY_PATH, methods=("GET",))
    app.error_handler.add(Exception, _handle_error)
    app.before_server_start(open_directory)
    observability.observe_actions(app)


if __name__ != "__main__":
    plugin_manager().register(sys.modules[__name__], "skills-bot")


def require_secret(host: str | None, secret: str) -> None:
    """Raise :class:`~bot.errors.UserError` where anybody could ask a server on ``host``.

    Without a ``host``, nobody has said that others are to reach it.
    """
    if not secret and exposure.is_development(host or "localhost"):
        return
    if len(secret) < exposure.MIN_SECRET_LENGTH:
        raise UserError(
            f"The action server{f' on {host}' if host else ''} would tell anybody about anybody: "
            f"set {exposure.ACTIONS_SECRET_VARIABLE} to the same secret of "
            f"{exposure.MIN_SECRET_LENGTH} characters or more for it and for the bot, "
            "or listen on 127.0.0.1. See docs/mobile.md."
        )


def _protect(app: Sanic, secret: str) -> None:
    """Have ``app`` ask for ``secret``, or, without one, refuse what comes from elsewhere."""
    expected = f"Bearer {secret}".encode()

    @app.middleware("request")
    async def authenticate(request: Request) -> HTTPResponse | None:
        steps.enter(trace_context.parse(request.headers.get("traceparent")))
        if request.path in (HEALTH_PATH, READY_PATH):
            return None
        given = str(request.headers.get("authorization", "")).encode()
        if secret and hmac.compare_digest(given, expected):
            return None
        # No page of a browser has business here.
        if not secret and exposure.is_local(request) and "origin" not in request.headers:
            return None
        with steps.step("refusal"):
            pass
        logger.warning(
            "A request without the secret of the bot was refused (%s).",
            exposure.ACTIONS_SECRET_VARIABLE,
        )
        return json({"error": "the secret of the bot is missing"}, status=401)


def _handle_error(request: Request, error: Exception) -> HTTPResponse:
    # rasa_sdk's own handler sends the request back: the conversation, into the bot's log.
    if isinstance(error, SanicException):
        return json({"error": type(error).__name__}, status=error.status_code)
    logger.error("%s", describe(error))
    return json({"error": type(error).__name__}, status=500)


async def _ready(_: Request) -> HTTPResponse:
    directory = await _directory_answers()
    checks = {"directory": "ok" if directory else "failing"}
    status = "ready" if directory else "unavailable"
    return json({"status": status, "checks": checks}, status=200 if directory else 503)


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


def make_app() -> Sanic:
    """Return the server with all actions; its settings come from the environment."""
    # Sanic's extension for CORS uses what is deprecated, which is no news to who reads the log.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from rasa_sdk.endpoint import create_app

    app = create_app("actions", cors_origins="")
    plugin_manager().hook.attach_sanic_app_extensions(app=app)
    return app


def main() -> None:
    """Run the server until a signal comes."""
    parser = argparse.ArgumentParser(description="The action server of the bot.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5055)
    arguments = parser.parse_args()
    os.environ[HOST_VARIABLE] = arguments.host
    utils.configure_colored_logging("INFO")
    with contextlib.suppress(UserError):  # which the extensions of the server report
        if logs.wanted(os.environ):
            logs.install()  # now, for what is logged before there is a server
    utils.update_sanic_log_level()
    workers = utils.number_of_sanic_workers()
    make_app().run(arguments.host, arguments.port, workers=workers, access_log=False)


if __name__ == "__main__":
    main()
