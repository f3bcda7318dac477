"""What every server of Rasa with our ``endpoints.yml`` does, whoever started it.

Plain ``rasa run``, ``rasa shell`` and ``rasa interactive`` listen on all interfaces, and let
anybody use channels and an HTTP API without authentication. They have one thing in common that is
ours: the tracker store of ``endpoints.yml``, which calls :func:`prepare` (and so does the channel
``rest`` of ``credentials.yml``, for who brings another store).
"""

from __future__ import annotations

import inspect
from typing import Any

from sanic import Sanic
from sanic.exceptions import SanicException
from sanic.request import Request
from sanic.response import HTTPResponse, json
from sanic_routing import Route

from bot.channels import commands, openapi
from bot.channels.problems import ProblemError, invalid
from bot.runtime import model_updates
from common import environment, http_guard
from common.errors import IS_PLUGIN

# Rasa's server without its HTTP API, and with it.
WITHOUT_API, WITH_API = "rasa_core_no_api", "rasa_server"
# What its HTTP API reads of a body.
API_FIELDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("text", "sender", "name", "policy", "message_id", "event", "model_file"), str),
    "entities": (list, dict),
    "parse_data": dict,
    "confidence": (int, float),
    "timestamp": (int, float),
}


def prepare() -> None:
    """Keep other machines out of what has no authentication, and let menus be left by Ctrl-C.

    Not in other projects (docs/plugin.md): how these are reached is their own business.
    """
    if IS_PLUGIN:
        return
    _let_menus_be_left()
    for name in (WITHOUT_API, WITH_API):
        try:
            app = Sanic.get_app(name)
        except SanicException:  # no server: training, or a test
            continue
        if not getattr(app.ctx, "is_prepared", False):
            app.ctx.is_prepared = True
            app.register_middleware(_refuse_others, "request")
            app.register_middleware(_check_body, "request")
            http_guard.protect(app)
            model_updates.start(app)


async def _refuse_others(request: Request) -> HTTPResponse | None:
    own = environment.is_local(request) and environment.is_from_own_page(request)
    if own or not _is_open(request):
        return None
    reason = (
        "without authentication, only this machine is answered: 127.0.0.1 or localhost, and no "
        "page of another host (docs/mobile.md)"
    )
    return json({"status": "failure", "reason": reason}, status=403)


async def _check_body(request: Request) -> HTTPResponse | None:
    """Refuse a body that Rasa's HTTP API would answer with an error of its own, 500."""
    if not request.body or not _is_of_api(request.route):
        return None
    if "yaml" in request.headers.get("content-type", "").lower():
        return None
    try:
        # Some routes take several events.
        wrapped = openapi.parse_json(b'{"body": %b}' % request.body)["body"]
        for body in wrapped if isinstance(wrapped, list) and _takes_several(request) else [wrapped]:
            if not isinstance(body, dict):
                raise invalid("", "an object is needed")
            for name, kind in API_FIELDS.items():
                if body.get(name) is not None and not isinstance(body[name], kind):
                    raise invalid(name, "it is of another type")
            commands.require_sound(str(body.get("text") or ""))
            if request.path == "/model/parse" and "text" not in body:
                raise invalid("text", "it is missing")
    except ProblemError as problem:
        (error,) = problem.fields["errors"]
        reason = f"{error['pointer'] or 'body'}: {error['detail']}"
        return json({"status": "failure", "reason": reason}, status=400)
    return None


def _takes_several(request: Request) -> bool:
    return request.route is not None and request.route.path.endswith(("events", "model/predict"))


def _is_of_api(route: Route | None) -> bool:
    # Routes of channels carry the name of their blueprint as well.
    return route is not None and route.name.count(".") == 1 and route.path != ""


def _is_open(request: Request) -> bool:
    """Whether nobody checks who sends ``request``."""
    route = request.route
    if route is None:  # not found
        return False
    if route.path.startswith(tuple(f"webhooks/{name}" for name in environment.OPEN_CHANNELS)):
        return True
    return _is_of_api(route) and not _has_authentication(request.app)


def _has_authentication(app: Sanic) -> bool:
    """Whether Rasa's HTTP API was started with ``--auth-token`` or ``--jwt-secret``."""
    if app.config.get("USE_JWT"):
        return True
    status = next(route for route in app.router.routes if route.path == "status")
    # The token is kept by Rasa's decorator `requires_auth` alone.
    return bool(inspect.getclosurevars(status.handler).nonlocals.get("token"))


def _let_menus_be_left() -> None:
    """Have ``rasa shell`` end when Ctrl-C is pressed in a menu of buttons, as elsewhere.

    Rasa looks for the payload in the answer without asking whether there is one, and the server
    stays behind.
    """
    from rasa.cli import utils
    from rasa.core.channels import console

    async def payload(question: Any) -> str | None:
        answer: str | None = await question.ask_async()
        if answer is None or answer == utils.FREE_TEXT_INPUT_PROMPT:
            return answer
        return answer[answer.rfind("(") + 1 : answer.rfind(")")]

    console.cli_utils.payload_from_button_question = payload
