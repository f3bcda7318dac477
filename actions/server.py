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
import zlib
from collections.abc import Callable
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

import pluggy
from rasa_sdk import utils
from rasa_sdk.plugin import plugin_manager
from sanic import Sanic
from sanic.exceptions import SanicException
from sanic.request import Request
from sanic.response import HTTPResponse, json

from actions import audit, caller, lookups
from actions.conversation import shared_directory
from actions.directory import DirectoryError
from common import environment, http_guard, logs, trace_context, tracing
from common.disk import require_space
from common.errors import UserError, describe
from common.observability import ACTIONS, Observability

if TYPE_CHECKING:
    from actions.metrics import ActionMetrics

logger = logging.getLogger(__name__)

# Whether the process lives, and whether it can answer: for probes, which know no secret.
HEALTH_PATH, READY_PATH = "/health", "/ready"
CALL_PATH = "/webhook"
READY_SECONDS = 2.0
# So often it is looked whether the directory has changed.
IMPORT_SECONDS = 1.0
# What rasa_sdk and the actions read of a call, and of the conversation in it.
CALL = {"next_action": str, "sender_id": str, "tracker": dict, "domain": dict, "version": str}
TRACKER = {
    "sender_id": str,
    "slots": dict,
    "latest_message": dict,
    "events": list,
    "active_loop": dict,
    "latest_action_name": str,
    "followup_action": str,
}
# A call brings the conversation along.
BODY_BYTES = 8 * 1024 * 1024
# Where rasa_sdk listens; all interfaces unless set.
HOST_VARIABLE = "SANIC_HOST"


@pluggy.HookimplMarker("rasa_sdk")
def attach_sanic_app_extensions(app: Sanic) -> None:
    """Add authentication, readiness, error handling and observation to ``app``.

    Ends the process where a setting is wrong.
    """
    secret = os.environ.get(environment.ACTIONS_SECRET_VARIABLE, "")
    try:
        require_secret(os.environ.get(HOST_VARIABLE), secret)
        # To hear of wrong settings now, not at the first question.
        caller.visibility()
        audit.quota()
        observability = Observability.of(ACTIONS, os.environ)
    except UserError as error:
        sys.exit(str(error))
    if observability.json_logs:
        logs.install()
    _protect(app, secret)
    app.add_route(_ready, READY_PATH, methods=("GET",))
    lookups.add_routes(app)
    app.error_handler.add(Exception, _handle_error)
    app.before_server_start(open_directory)
    if observability.any:
        observability.attach(app, _metrics)


if __name__ != "__main__":
    plugin_manager().register(sys.modules[__name__], "skills-bot")


def _metrics() -> ActionMetrics:
    from actions.metrics import ActionMetrics

    return ActionMetrics()


def require_secret(host: str | None, secret: str) -> None:
    """Raise :class:`~common.errors.UserError` where anybody could ask a server on ``host``.

    Without a ``host``, nobody has said that others are to reach it.
    """
    if not secret and environment.is_development(host or "localhost"):
        return
    if len(secret) < environment.MIN_SECRET_LENGTH:
        raise UserError(
            f"The action server{f' on {host}' if host else ''} would tell anybody about anybody: "
            f"set {environment.ACTIONS_SECRET_VARIABLE} to the same secret of "
            f"{environment.MIN_SECRET_LENGTH} characters or more for it and for the bot, "
            "or listen on 127.0.0.1. See docs/mobile.md."
        )


def _protect(app: Sanic, secret: str) -> None:
    """Have ``app`` ask for ``secret``, or, without one, refuse what comes from elsewhere."""
    expected = f"Bearer {secret}".encode()

    def admits(request: Request) -> bool:
        if request.path in (HEALTH_PATH, READY_PATH):
            return True
        given = request.headers.get("authorization", "").encode(errors="surrogateescape")
        if secret:
            return hmac.compare_digest(given, expected)
        # No page of a browser has business here.
        return environment.is_local(request) and "origin" not in request.headers

    @app.middleware("request")
    async def authenticate(request: Request) -> HTTPResponse | None:
        tracing.enter(trace_context.parse(request.headers.get("traceparent")))
        if admits(request):
            return None
        with tracing.step("refusal"):
            pass
        logger.warning(
            "A request without the secret of the bot was refused (%s).",
            environment.ACTIONS_SECRET_VARIABLE,
        )
        return json({"error": "the secret of the bot is missing"}, status=401)

    @app.middleware("request")
    async def check(request: Request) -> HTTPResponse | None:
        # Without a body: one that could not be read is on its way to the handler of errors.
        if request.path != CALL_PATH or not request.body:
            return None
        if request.headers.get("content-encoding") == "deflate":
            return None
        reason = call_problem(request.json)
        return json({"error": reason}, status=400) if reason else None

    http_guard.protect(app, BODY_BYTES, admits)


def call_problem(call: Any) -> str | None:
    """Return what is wrong with the body of a call of an action, None where nothing is."""
    if not isinstance(call, dict):
        return "send an object with next_action and tracker, as Rasa does"
    tracker = call.get("tracker") or {}
    for given, kinds in ((call, CALL), (tracker, TRACKER)):
        if not isinstance(given, dict):
            return "tracker must be an object"
        for name, kind in kinds.items():
            if given.get(name) is not None and not isinstance(given[name], kind):
                return f"{name} must be of the type {kind.__name__}"
    if not all(isinstance(event, dict) for event in tracker.get("events") or ()):
        return "events must be objects"
    return None


def _handle_error(request: Request, error: Exception) -> HTTPResponse:
    # rasa_sdk's own handler sends the request back: the conversation, into the bot's log.
    if isinstance(error, (zlib.error, JSONDecodeError)):  # of a compressed body
        return json({"error": "the body cannot be read"}, status=400)
    if isinstance(error, SanicException):
        return json({"error": type(error).__name__}, status=error.status_code)
    logger.error("%s", describe(error))
    return json({"error": type(error).__name__}, status=500)


async def _ready(_: Request) -> HTTPResponse:
    # Without an audit log, nobody is shown anybody.
    passed = await asyncio.gather(
        _passes(lambda: shared_directory().is_empty()), _passes(_require_audit_log)
    )
    named = zip(("directory", "audit_log"), passed, strict=True)
    checks = {name: "ok" if good else "failing" for name, good in named}
    ready = all(passed)
    body = {"status": "ready" if ready else "unavailable", "checks": checks}
    return json(body, status=200 if ready else 503)


def _require_audit_log() -> None:
    if (log := audit.audit_log()) is not None:
        log.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_space(log.folder)


async def _passes(check: Callable[[], object]) -> bool:
    """Return whether ``check`` ends well, and in time."""
    try:
        await asyncio.wait_for(asyncio.to_thread(check), READY_SECONDS)
    except (DirectoryError, OSError, asyncio.TimeoutError):
        return False
    return True


async def _prepare_directory(problem: str | None = None) -> str | None:
    """Read what answers need into memory; return the trouble, told unless it is ``problem``.

    A directory that is down is no reason not to start: each question tries again.
    """
    try:
        await asyncio.to_thread(lambda: shared_directory().prepare())
    except DirectoryError as error:
        if str(error) != problem:
            logger.error("%s", error)
        return str(error)
    return None


async def _follow_directory() -> None:
    """Notice each import before a question does, which would wait."""
    problem = None
    while True:
        await asyncio.sleep(IMPORT_SECONDS)
        problem = await _prepare_directory(problem)


async def open_directory(app: Sanic, *_: object) -> None:
    """Make the directory ready before the first question, and after each import."""
    await _prepare_directory()
    app.add_task(_follow_directory())


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
