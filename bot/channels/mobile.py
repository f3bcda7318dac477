"""The mobile channel: JSON and server-sent events for apps, one conversation for each user.

``openapi.yml`` is its contract, docs/mobile.md its manual. ``credentials.yml`` registers it::

    bot.channels.mobile.MobileInput:
      jwks: https://id.example.com/keys
      issuer: https://id.example.com
      audience: skills-bot
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from rasa.core.agent import Agent
from rasa.core.channels.channel import InputChannel, UserMessage
from rasa.core.lock_store import LockError
from rasa.shared.exceptions import RasaException
from redis.exceptions import RedisError
from sanic import Blueprint, Sanic
from sanic.exceptions import MethodNotSupported, SanicException
from sanic.request import Request as HttpRequest
from sanic.response import HTTPResponse
from sqlalchemy.exc import SQLAlchemyError

from bot.channels import commands, lookups, openapi, rate_limit, readiness, responses
from bot.channels.auth import (
    DEVELOPMENT_ISSUER,
    DEVELOPMENT_TOKEN_SECONDS,
    Authenticator,
    Caller,
    DevelopmentKey,
    KeySet,
)
from bot.channels.idempotency import (
    Exchange,
    Exchanges,
    conversations_of,
    locked,
)
from bot.channels.problems import ProblemError, invalid, of_status, unavailable
from bot.channels.settings import Settings
from bot.channels.turns import Request
from common import environment, http_guard, logs
from common.errors import UserError, describe
from common.protocol import CHANNEL_NAME
from common.trace_context import trace_of
from common.tracing import serve

logger = logging.getLogger(__name__)

VERSION_PATH = "/v1"
# Asked every few seconds: they are no requests to look at.
PROBES = ("health", "ready")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

EXPOSED_HEADERS = "Trace-Id, Retry-After, Idempotency-Replayed, WWW-Authenticate"
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Traceparent"
PREFLIGHT_SECONDS = "600"

KEEP_ALIVE_SECONDS = 10.0
# A client that takes nothing for so long has gone.
SEND_SECONDS = 30.0
# How long the last answers may take when the server stops.
FINISH_SECONDS = 10.0
PURGE_INTERVAL_SECONDS = 3600.0
# How many completions a user may ask for, for each request.
TYPING_FACTOR = 6

Handler = Callable[[HttpRequest], Awaitable["HTTPResponse | None"]]


class MobileInput(InputChannel):
    """Rasa's side of the channel: settings, routes and background work."""

    @classmethod
    def name(cls) -> str:
        """Return the channel's name, which is in its addresses: ``/webhooks/mobile``."""
        return CHANNEL_NAME

    @classmethod
    def from_credentials(cls, credentials: dict[str, Any] | None) -> MobileInput:
        """Return the channel with the settings of ``credentials.yml``.

        Raises:
            RasaException: a setting is wrong, or a public server would have no authentication.
        """
        try:
            development = environment.is_development()
            return cls(Settings.of(credentials, development=development, environ=os.environ))
        except UserError as error:
            raise RasaException(str(error)) from error

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.development_key: DevelopmentKey | None = None
        if settings.jwks is None:
            secret = settings.development_secret or secrets.token_urlsafe(48)
            self.development_key = DevelopmentKey(secret)
        self.authenticator = Authenticator(
            self.development_key or KeySet(str(settings.jwks)),
            DEVELOPMENT_ISSUER if self.development_key else settings.issuer,
            settings.audience,
            settings.required_scope,
        )
        self.rate_limiter = rate_limit.RateLimiter(settings.requests_per_minute, settings.burst)
        # Somebody who types asks at every pause.
        self.typing_limiter = rate_limit.RateLimiter(
            settings.requests_per_minute * TYPING_FACTOR, settings.burst * TYPING_FACTOR
        )
        self.exchanges = Exchanges()
        self._allowed: dict[str, str] = {}
        self._purging: asyncio.Task[None] | None = None

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """Return the routes.

        ``on_new_message`` stays unused: it takes the conversation's lock by itself, and says
        nothing where there is no model.
        """
        blueprint = Blueprint("mobile")
        routes: dict[str, dict[str, Handler]] = {
            "messages": {"POST": self._messages},
            "history": {"GET": self._history},
            "conversation": {"DELETE": self._delete},
            "feedback": {"POST": self._feedback},
            "completions": {"POST": self._completions},
            "people": {"POST": self._people},
            "examples": {"GET": self._examples},
            "config": {"GET": self._config},
            "development/token": {"POST": self._development_token},
            "health": {"GET": self._health},
            "ready": {"GET": self._ready},
            "openapi.json": {"GET": self._openapi},
        }
        for path, handlers in routes.items():
            self._add_route(blueprint, path.replace("/", "_"), f"{VERSION_PATH}/{path}", handlers)
        self._add_route(blueprint, "unknown", "/<unknown:path>", {})
        blueprint.middleware("response")(self._add_cors_headers)
        blueprint.listener("before_server_start")(self._take_over_errors)
        blueprint.listener("after_server_start")(self._start)
        blueprint.listener("before_server_stop")(self._stop)
        return blueprint

    # -- the server ---------------------------------------------------------------------------

    def _take_over_errors(self, app: Sanic, _: Any) -> None:
        """Answer with problems where Sanic would with HTML, beneath our address only."""

        def handle(request: HttpRequest, error: Exception) -> HTTPResponse | None:
            if not str(getattr(request, "path", "")).startswith(f"/webhooks/{CHANNEL_NAME}"):
                return None
            return self._error_response(request, error)

        app.error_handler.add(Exception, handle)

    async def _start(self, app: Sanic, _: Any) -> None:
        # Not earlier: Rasa's command line has its own idea of logs and warnings.
        logs.leave_out_texts()
        http_guard.install()
        agent = _agent(app)
        try:
            await asyncio.to_thread(conversations_of(agent).prepare)
        except (ProblemError, SQLAlchemyError) as error:
            logger.error("The mobile channel cannot answer: %s", error)
        if self.settings.retention_days is not None:
            seconds = self.settings.retention_days * 86400
            self._purging = asyncio.create_task(self._purge_for_ever(app, seconds))

    async def _stop(self, app: Sanic, _: Any) -> None:
        if self._purging is not None:
            self._purging.cancel()
        await self.exchanges.finish(FINISH_SECONDS)

    async def _purge_for_ever(self, app: Sanic, seconds: float) -> None:
        while True:
            try:
                purge = conversations_of(_agent(app)).purge
                if number := await asyncio.to_thread(purge, seconds):
                    logger.info("Retention: %d events of old conversations deleted.", number)
            except (ProblemError, SQLAlchemyError) as error:
                logger.error("Old conversations could not be deleted: %s", describe(error))
            await asyncio.sleep(PURGE_INTERVAL_SECONDS)

    # -- every request ------------------------------------------------------------------------

    def _add_route(
        self, blueprint: Blueprint, name: str, path: str, handlers: Mapping[str, Handler]
    ) -> None:
        self._allowed[f"/webhooks/{CHANNEL_NAME}{path}"] = ", ".join([*handlers, "OPTIONS"])

        async def handle(request: HttpRequest, **_: str) -> HTTPResponse | None:
            traceparent = request.headers.get("traceparent")
            if name in PROBES:
                request.ctx.trace = trace_of(traceparent)
                return await respond(request)
            with serve("request", f"{request.method} {name}", traceparent) as step:
                step.set(route=name, method=request.method)
                request.ctx.trace = step.trace
                response = await respond(request)
                # One that was streamed has begun with this status.
                status = 200 if response is None else response.status
                step.set(status=status)
                if status >= 500:
                    step.fail(str(status))
                return response

        async def respond(request: HttpRequest) -> HTTPResponse | None:
            try:
                if (
                    self.development_key
                    and name not in PROBES
                    and not environment.is_local(request)
                ):
                    raise ProblemError("forbidden", "Without sign-in: for this machine only.")
                if not handlers:
                    raise ProblemError("not-found", "There is no such resource.")
                handler = handlers.get(request.method)
                if handler is None:
                    raise self._not_allowed(request.path)
                response = await handler(request)
                await rate_limit.discard_body(request, self.settings.body_bytes)
                return response
            except Exception as error:
                return self._error_response(request, error)

        # `stream`: the body is not read before the handler knows who sends it.
        blueprint.add_route(handle, path, methods=METHODS, name=name, stream=True)

    def _not_allowed(self, path: str) -> ProblemError:
        allowed = self._allowed.get(path, "OPTIONS")
        headers = {"Allow": allowed}
        return ProblemError("method-not-allowed", f"Allowed: {allowed}.", headers=headers)

    def _error_response(self, request: HttpRequest, error: Exception) -> HTTPResponse:
        if isinstance(error, ProblemError):
            return responses.problem_response(request, error)
        if isinstance(error, MethodNotSupported):
            return responses.problem_response(request, self._not_allowed(request.path))
        if isinstance(error, SanicException):
            return responses.problem_response(request, of_status(error.status_code))
        logger.error("[%s] %s", responses.trace_id(request), describe(error))
        if isinstance(error, (SQLAlchemyError, LockError, RedisError)):
            return responses.problem_response(request, unavailable("A store of the bot fails."))
        problem = ProblemError("internal", "The request could not be answered.")
        return responses.problem_response(request, problem)

    def _add_cors_headers(self, request: HttpRequest, response: HTTPResponse) -> None:
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("origin")
        if origin not in self.settings.origins:
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS

    async def _caller(
        self, request: HttpRequest, limiter: rate_limit.RateLimiter | None = None
    ) -> Caller:
        """Return who calls, if they may now."""
        caller = await self.authenticator.caller(request.headers.get("authorization"))
        (limiter or self.rate_limiter).take(caller.conversation_id)
        return caller

    async def _body(self, request: HttpRequest, schema: str) -> dict[str, Any]:
        """Return the body, an object of ``schema``."""
        body = openapi.parse_json(await rate_limit.read_body(request, self.settings.body_bytes))
        openapi.check(schema, body)
        return body

    # -- the conversation ---------------------------------------------------------------------

    async def _messages(self, request: HttpRequest) -> HTTPResponse | None:
        caller = await self._caller(request)
        streamed = responses.prefers_events(request.headers.get("accept"))
        key = responses.header(request, "Idempotency-Key")
        body = await rate_limit.read_body(request, self.settings.body_bytes)
        question = openapi.user_message(openapi.parse_json(body))
        message = Request(question, caller, request.ctx.trace, key)
        commands.require_sound(message.text)
        if commands.is_of_rasa(message.text):
            raise invalid("", "no message may be a command of Rasa")
        agent = _agent(request.app)
        if agent is None or not agent.is_ready():
            raise unavailable("The bot has no model.")
        exchange = self.exchanges.begin(agent, message)
        if streamed:
            await self._stream(request, exchange)
            return None
        turn = await self._patiently(exchange.task)
        return responses.json_response(request, turn, _replay_header(exchange))

    async def _patiently(self, awaitable: Awaitable[Any]) -> Any:
        """Wait for an exchange, which goes on where the client or our patience has gone."""
        try:
            return await asyncio.wait_for(asyncio.shield(awaitable), self.settings.turn_seconds)
        except asyncio.TimeoutError:
            raise _slow() from None

    async def _stream(self, request: HttpRequest, exchange: Exchange) -> None:
        await self._patiently(exchange.accepted())
        response = await request.respond(
            content_type=responses.EVENT_STREAM,
            headers={
                **responses.response_headers(request),
                **_replay_header(exchange),
                "X-Accel-Buffering": "no",  # nginx would collect the events
            },
        )
        assert response is not None

        async def send(text: str) -> None:
            await asyncio.wait_for(response.send(text.encode()), SEND_SECONDS)

        await send(responses.event("turn", {**exchange.turn, "replies": [], "suggestions": []}))
        deadline = time.monotonic() + self.settings.turn_seconds
        try:
            patience = min(KEEP_ALIVE_SECONDS, self.settings.turn_seconds)
            async for reply in exchange.replies(patience):
                if reply is not None:
                    await send(responses.event("reply", reply))
                elif time.monotonic() < deadline:
                    await send(": still working on it\n\n")
                else:
                    raise _slow()
            await send(responses.event("done", await exchange.task))
        except ProblemError as problem:
            await send(responses.event("error", problem.body(responses.trace_id(request))))

    async def _history(self, request: HttpRequest) -> HTTPResponse:
        caller = await self._caller(request)
        responses.require_json(request.headers.get("accept"))
        limit, before = responses.page_of(request)
        page = conversations_of(_agent(request.app)).page
        turns, following = await asyncio.to_thread(page, caller.conversation_id, limit, before)
        next_page = None if following is None else str(following)
        return responses.json_response(request, {"turns": turns, "next": next_page})

    async def _delete(self, request: HttpRequest) -> HTTPResponse:
        caller = await self._caller(request)
        agent = _agent(request.app)
        delete = conversations_of(agent).delete
        assert agent is not None
        # Not while a message is being answered, whose events would be left over.
        async with locked(agent, caller.conversation_id):
            await asyncio.to_thread(delete, caller.conversation_id)
        return HTTPResponse(status=204, headers=responses.response_headers(request))

    async def _feedback(self, request: HttpRequest) -> HTTPResponse:
        caller = await self._caller(request)
        said = await self._body(request, "Feedback")
        judge = conversations_of(_agent(request.app)).judge
        if not await asyncio.to_thread(
            judge, caller.conversation_id, said["turn"], said["verdict"]
        ):
            raise ProblemError("not-found", "There is no such turn of this user.")
        return HTTPResponse(status=204, headers=responses.response_headers(request))

    # -- beside it ----------------------------------------------------------------------------

    async def _completions(self, request: HttpRequest) -> HTTPResponse:
        caller = await self._caller(request, self.typing_limiter)
        return await self._look_up(
            request, "completions", caller, await self._body(request, "CompletionsRequest")
        )

    async def _people(self, request: HttpRequest) -> HTTPResponse:
        caller = await self._caller(request)
        return await self._look_up(
            request, "people", caller, await self._body(request, "PeopleRequest")
        )

    async def _examples(self, request: HttpRequest) -> HTTPResponse:
        caller = await self._caller(request)
        return await self._look_up(request, "examples", caller, {})

    async def _look_up(
        self, request: HttpRequest, question: str, caller: Caller, fields: dict[str, Any]
    ) -> HTTPResponse:
        responses.require_json(request.headers.get("accept"))
        agent, trace = _agent(request.app), request.ctx.trace
        answer = await lookups.look_up(agent, question, caller, trace, **fields)
        return responses.json_response(request, answer)

    # -- the service --------------------------------------------------------------------------

    async def _config(self, request: HttpRequest) -> HTTPResponse:
        text = openapi.document()["components"]["schemas"]["TextMessage"]["properties"]["text"]
        settings, external = self.settings, self.development_key is None
        config = {
            "name": "skills-bot",
            "sign_in": {
                "mode": "external" if external else "development",
                "issuer": settings.issuer if external else None,
                "audience": settings.audience,
            },
            "limits": {
                "text_characters": text["maxLength"],
                "body_bytes": settings.body_bytes,
                "requests_per_minute": settings.requests_per_minute,
            },
            "retention_days": settings.retention_days,
        }
        return responses.json_response(request, config)

    async def _development_token(self, request: HttpRequest) -> HTTPResponse:
        if self.development_key is None:
            raise ProblemError("not-found", "Tokens come from the identity provider.")
        if not environment.is_from_own_page(request):
            raise ProblemError("forbidden", "Tokens are for pages of this machine only.")
        asked = await self._body(request, "TokenRequest")
        token = self.development_key.issue(
            asked.get("subject", "demo"), asked.get("scope", ""), self.settings.audience
        )
        return responses.json_response(
            request,
            {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": DEVELOPMENT_TOKEN_SECONDS,
            },
        )

    async def _health(self, request: HttpRequest) -> HTTPResponse:
        return responses.json_response(request, {"status": "ok"})

    async def _ready(self, request: HttpRequest) -> HTTPResponse:
        passed = await readiness.checks(_agent(request.app))
        checks = {name: "ok" if good else "failing" for name, good in passed.items()}
        if not all(passed.values()):
            raise unavailable("Not all that an answer needs is there.", checks=checks)
        return responses.json_response(request, {"status": "ready", "checks": checks})

    async def _openapi(self, request: HttpRequest) -> HTTPResponse:
        headers = responses.response_headers(request)
        return HTTPResponse(openapi.as_json(), headers=headers, content_type=responses.JSON)


def _agent(app: Sanic) -> Agent | None:
    return getattr(app.ctx, "agent", None)


def _replay_header(exchange: Exchange) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if exchange.replayed else {}


def _slow() -> ProblemError:
    return unavailable("The answer takes long: send the message again with its Idempotency-Key.")
