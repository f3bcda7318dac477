"""The users, for locust: each holds one conversation after the other, always as somebody new.

``BENCH_CHANNEL`` says which channel they talk to (``mobile``, ``rest``), ``BENCH_KEY`` the file
with the key of their tokens, ``BENCH_PAUSE`` the seconds between an answer and the next message.
``python -m benchmarks.load`` sets them, and runs this.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, task

from benchmarks.load import scenarios
from benchmarks.load.servers import MOBILE_PATH, REST_PATH, IdentityProvider
from bot.server import SAMPLE

CHANNEL = os.environ["BENCH_CHANNEL"]
PROVIDER = IdentityProvider(Path(os.environ["BENCH_KEY"]).read_bytes())
DIRECTORY = scenarios.Directory.read(SAMPLE)
# One conversation in so many ends by reading its history.
HISTORIES = 10


class Colleague(FastHttpUser):
    """Somebody who looks for colleagues."""

    wait_time = constant(float(os.environ.get("BENCH_PAUSE", "0")))
    # A turn may wait for those of all others.
    network_timeout = connection_timeout = 120.0

    def on_start(self) -> None:
        """Draw other conversations than any other user."""
        self.draw = random.Random(uuid.uuid4().int)

    @task
    def converse(self) -> None:
        """Hold a conversation as somebody new; a wrong answer ends it."""
        begin, token = time.perf_counter(), PROVIDER.token()
        steps = scenarios.conversation(DIRECTORY, self.draw)
        for step in steps:
            if not self._ask(token, step):
                return
            self.wait()
        if CHANNEL == "mobile" and self.draw.randrange(HISTORIES) == 0:
            self._look_back(token, steps)
        self.environment.events.request.fire(
            request_type="",
            name="conversation",
            response_time=(time.perf_counter() - begin) * 1000,
            response_length=0,
            exception=None,
            context={},
        )

    def _ask(self, token: str, step: scenarios.Step) -> bool:
        path, body, headers = _message(token, step)
        with self.client.post(
            path, json=body, headers=headers, name="turn", catch_response=True
        ) as response:
            problem: str | None = f"status {response.status_code}"
            if response.status_code == 200:
                problem = _problem(step, response.json())
            if problem:
                response.failure(problem)
        return not problem

    def _look_back(self, token: str, steps: Sequence[scenarios.Step]) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        with self.client.get(
            f"{MOBILE_PATH}/history?limit=50", headers=headers, name="history", catch_response=True
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            asked = [turn["question"] for turn in response.json()["turns"]]
            if asked != [step.message for step in steps]:
                response.failure("not the conversation that was held")


def _message(token: str, step: scenarios.Step) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return path, body and headers of a message."""
    if CHANNEL == "rest":
        return REST_PATH, {"sender": token[-32:], "message": step.text}, {}
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid.uuid4().hex}
    return f"{MOBILE_PATH}/messages", dict(step.message), headers


def _problem(step: scenarios.Step, answer: Any) -> str | None:
    """Return what is wrong with an answer.

    Of the stock bot any will do: its classifier may take a question for another.
    """
    if CHANNEL == "rest":
        return None if answer else "no answer"
    if answer["question"] != step.message:
        return "the answer to another message"
    problem = step.problem(answer["replies"])
    return f"{problem}: {step.text}" if problem else None
