"""The mobile channel in a real web server on the loopback interface, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sanic import Sanic

from bot.channels import openapi
from bot.processes import free_port
from common import environment
from tests.support import HOST

PREFIX = "/webhooks/mobile/v1"


class MobileServer:
    """Rasa's server with the mobile channel and a model, as `rasa run` puts them together.

    Args:
        model: a Rasa model, None for a server without one.
        settings: of the channel, as in ``credentials.yml``.
        actions_port: of the action server.
        events: SQLite file of the tracker store.
    """

    def __init__(
        self, model: str | None, settings: dict[str, Any], actions_port: int, events: Path
    ) -> None:
        from rasa.core.agent import Agent
        from rasa.core.run import configure_app
        from rasa.utils.endpoints import EndpointConfig
        from rasa.utils.log_utils import configure_structlog

        from bot.channels.mobile import MobileInput
        from bot.runtime.tracker_store import AppendOnlySQLTrackerStore

        configure_structlog(logging.WARNING)  # as Rasa's command line does; else it prints all
        self.channel = MobileInput.from_credentials(settings)
        self.store = AppendOnlySQLTrackerStore(db=str(events))
        self.agent = Agent(
            tracker_store=self.store,
            action_endpoint=EndpointConfig(f"http://{HOST}:{actions_port}/webhook"),
        )
        if model is not None:
            self.agent.load_model(model)
        Sanic._app_registry.clear()
        self.app = configure_app([self.channel], enable_api=False)
        Sanic.test_mode = True  # several servers in one process, one after the other or at once
        self.app.ctx.agent = self.agent
        self.port = free_port()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await self.app.create_server(HOST, self.port, return_asyncio_server=True)
        assert server is not None
        await server.startup()
        await server.before_start()
        await server.start_serving()
        await server.after_start()
        self._ready.set()
        await self._stopped.wait()
        await server.before_stop()
        await server.close()
        await server.after_stop()

    def __enter__(self) -> MobileServer:
        self._thread.start()
        while not self._ready.wait(0.1):
            assert self._thread.is_alive(), "the server has not started"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}{PREFIX}"

    def token(self, subject: str = "me", scope: str = "") -> str:
        """Return a development token."""
        body = {"subject": subject, "scope": scope}
        response = httpx.post(f"{self.url}/development/token", json=body)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    def user(self, subject: str = "me", scope: str = "") -> User:
        return User(self.url, self.token(subject, scope))


class User:
    """Somebody with a token. What comes back is checked against the contract."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def post(self, message: Any, **headers: str) -> httpx.Response:
        """Send a message; ``idempotency_key="…"`` becomes the header ``Idempotency-Key``."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"{self.url}/messages", json=message, headers=names)

    def tap(self, payload: str, **headers: str) -> dict[str, Any]:
        """Send a button's payload; return the turn."""
        return self.turn(self.post({"type": "postback", "payload": payload}, **headers))

    def say(self, text: str, **headers: str) -> dict[str, Any]:
        """Send a text; return the turn."""
        return self.turn(self.post({"type": "text", "text": text}, **headers))

    @staticmethod
    def turn(response: httpx.Response) -> dict[str, Any]:
        assert response.status_code == 200, response.text
        return conforming("Turn", response)

    def history(self, **parameters: str | int) -> dict[str, Any]:
        response = self.http.get(f"{self.url}/history", params=parameters)
        assert response.status_code == 200, response.text
        return conforming("History", response)

    def delete(self) -> None:
        response = self.http.delete(f"{self.url}/conversation")
        assert (response.status_code, response.content) == (204, b"")

    def stream(self, message: Any, **headers: str) -> Iterator[tuple[str, Any]]:
        """Send a message; give the (event, data) pairs as they come."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names["Accept"] = "text/event-stream"
        url = f"{self.url}/messages"
        with self.http.stream("POST", url, json=message, headers=names) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"] == "text/event-stream"
            yield from frames(response.iter_lines())


def frames(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Read server-sent events as a browser does; comments are left out."""
    name, data = "message", ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif not line and data:
            yield name, json.loads(data)
            name, data = "message", ""


def conforming(schema: str, response: httpx.Response) -> dict[str, Any]:
    """Return the body of ``response`` after checking it against the contract."""
    body: dict[str, Any] = response.json()
    problems = [
        f"/{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}"
        for e in openapi.validator(schema).iter_errors(body)
    ]
    assert not problems, problems
    return body


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Return the problem in ``response``, which must be of that status and type."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = conforming("Problem", response)
    assert (body["type"], body["status"]) == (f"urn:skills-bot:problem:{kind}", status)
    assert body["trace_id"] == response.headers["trace-id"]
    if "retry_after" in body:
        assert response.headers["retry-after"] == str(body["retry_after"])
    return body


@pytest.fixture(scope="module", autouse=True)
def development() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(environment.INTERFACE_VARIABLE, HOST)
        patch.delenv(environment.PRODUCTION_VARIABLE, raising=False)
        yield
