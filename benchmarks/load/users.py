"""Users who do not give up: each sends a message again, with its key, until it has an answer.

Every answer is checked against its question as it comes. In the end, everybody's history must hold
what they sent and got: each message once, in order, and nothing of anybody else.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import yaml

from benchmarks.load.scenarios import Step
from benchmarks.load.servers import MOBILE_PATH
from bot.runtime.rasa_cli import PROJECT_ROOT

Turn = dict[str, Any]

# What ends an attempt and not the message: the contract says « later », or a proxy has nobody.
RETRIED_STATUSES = (429, 502, 503, 504)
REFUSALS = (400, 413, 422)
RETRY_SECONDS = 0.2
ATTEMPT_SECONDS = 40.0
PATIENCE_SECONDS = 180.0
PAGE = 50


def apologies() -> frozenset[str]:
    """Return the texts that say that the directory cannot be asked now."""
    domain = yaml.safe_load((PROJECT_ROOT / "domain.yml").read_text(encoding="utf-8"))
    return frozenset(one["text"] for one in domain["responses"]["utter_unavailable"])


@dataclass
class Message:
    """A message that was sent, and what became of it; times are of :func:`time.monotonic`."""

    step: Step
    sent: float
    attempts: int = 0
    answered: float | None = None
    turn: Turn | None = None
    # The bot said that it cannot tell now: an answer, after which one asks again.
    apology: bool = False


class Colleague(threading.Thread):
    """One user, with a conversation of their own.

    Args:
        base: address of the bot.
        token: theirs alone.
        steps: what they say; each is asked again after an apology.
        pause: seconds between an answer and the next message.
        stopped: ends their conversation after the answer that they wait for.
    """

    def __init__(
        self,
        base: str,
        token: str,
        steps: Iterator[Step],
        pause: float,
        stopped: threading.Event,
    ) -> None:
        super().__init__(daemon=True)
        self.steps, self.pause, self.stopped = steps, pause, stopped
        self.said: list[Message] = []
        self.problems: list[str] = []
        self.refused = 0
        self._apologies = apologies()
        self._settings: dict[str, Any] = {
            "base_url": base + MOBILE_PATH,
            "headers": {"Authorization": f"Bearer {token}"},
            "timeout": ATTEMPT_SECONDS,
            "trust_env": False,
        }
        self._http = httpx.Client(**self._settings)

    def run(self) -> None:
        """Talk until stopped, or until something is wrong."""
        for step in self.steps:
            while not self.stopped.is_set() and not self.problems:
                message = self._send(step)
                if not message.apology:
                    break
                time.sleep(RETRY_SECONDS)
            if self.stopped.is_set() or self.problems:
                return
            time.sleep(self.pause)

    def _send(self, step: Step) -> Message:
        message = Message(step, time.monotonic())
        self.said.append(message)
        headers = {"Idempotency-Key": uuid.uuid4().hex, "Content-Type": "application/json"}
        # In ASCII, for all that is no Unicode to get through as well.
        body, reason = json.dumps(dict(step.message)), ""
        while time.monotonic() < message.sent + PATIENCE_SECONDS:
            message.attempts += 1
            try:
                response = self._http.post("/messages", content=body, headers=headers)
            except httpx.TransportError as error:
                reason = type(error).__name__
            else:
                reason = f"status {response.status_code}"
                if response.status_code == 200:
                    self._receive(message, response.json())
                    return message
                if response.status_code in REFUSALS and step.refusable:
                    self.said.remove(message)
                    self.refused += 1
                    return message
                if response.status_code not in RETRIED_STATUSES:
                    break
            time.sleep(RETRY_SECONDS)
        self.problems.append(f"lost: {step.text!r} ({reason})")
        return message

    def _receive(self, message: Message, turn: Turn) -> None:
        message.answered, message.turn = time.monotonic(), turn
        replies = turn["replies"]
        message.apology = any(reply["text"] in self._apologies for reply in replies)
        problem = None if message.apology else message.step.problem(replies)
        if turn["question"] != message.step.message:
            problem = "the answer to another message"
        if problem:
            said = " / ".join(reply["text"] for reply in replies)
            self.problems.append(f"{problem}: {message.step.text!r} → {said!r}")

    def look_back(self) -> None:
        """Compare the history with what was said; what differs is added to ``problems``."""
        stored = self._history()
        asked = [message.step.message for message in self.said]
        kept = [turn["question"] for turn in stored]
        if kept != asked:
            self.problems.append(_difference(asked, kept))
            return
        for message, turn in zip(self.said, stored, strict=True):
            if message.turn is None:
                continue
            for key in ("id", "replies"):
                if turn[key] != message.turn[key]:
                    self.problems.append(f"another answer is stored: {message.step.text!r} ({key})")

    def _history(self) -> list[Turn]:
        turns: list[Turn] = []
        before: str | None = None
        while True:
            parameters = {"limit": str(PAGE), **({"before": before} if before else {})}
            # On a connection of its own: the server has closed those that were idle.
            response = httpx.Client(**self._settings).get("/history", params=parameters)
            response.raise_for_status()
            page = response.json()
            turns = [*page["turns"], *turns]
            before = page["next"]
            if before is None:
                return turns


def _difference(asked: Sequence[Any], kept: Sequence[Any]) -> str:
    """Say how a history differs from what was sent."""
    sent, stored = (Counter(str(dict(one)) for one in listed) for listed in (asked, kept))
    parts = []
    if lost := sent - stored:
        parts.append(f"lost from the history: {', '.join(lost)}")
    if more := stored - sent:
        parts.append(f"doubled, or somebody else's: {', '.join(more)}")
    return "; ".join(parts) or "the history is in another order"


@dataclass
class Outcome:
    """What a fault did to the users; times in seconds.

    Attributes:
        messages: that were answered, ``again`` of them sent more than once.
        apologies: answers that said that the directory cannot be asked now.
        recovered: from the fault until everybody had a right answer to a message sent after it; 0
            where there was no such moment.
        longest: that anybody waited for an answer.
    """

    name: str
    messages: int
    again: int
    apologies: int
    recovered: float | None
    longest: float
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        recovered = "not answered again"
        if self.recovered is not None:
            since = self.recovered
            recovered = f"answered again after {since:.1f} s" if since else "answered throughout"
        lines = [
            f"{self.name}: {recovered}, longest wait {self.longest:.1f} s; "
            f"{self.messages} messages, {self.again} sent again, {self.apologies} apologies, "
            f"{len(self.problems)} lost, doubled or wrong"
        ]
        return "\n".join([*lines, *(f"    {problem}" for problem in self.problems[:10])])


class Crowd:
    """Users of one bot, all talking from the beginning of the ``with`` to its end.

    Args:
        base: address of the bot.
        tokens: of the users.
        steps: makes what a user says, endlessly.
        pause: seconds between an answer and the next message.
        seed: of what the first user says; the others count on from it.
    """

    def __init__(
        self,
        base: str,
        tokens: Iterable[str],
        steps: Callable[[random.Random], Iterator[Step]],
        pause: float = 0.1,
        seed: int = 0,
    ) -> None:
        self._stopped = threading.Event()
        self.users = [
            Colleague(base, token, steps(random.Random(number)), pause, self._stopped)
            for number, token in enumerate(tokens, seed)
        ]

    def __enter__(self) -> Crowd:
        for user in self.users:
            user.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for user in self.users:
            user.join(PATIENCE_SECONDS + ATTEMPT_SECONDS)

    def finish(self) -> None:
        """Wait until all users have said what they had to say."""
        for user in self.users:
            user.join()

    @property
    def problems(self) -> list[str]:
        """What is wrong so far."""
        return [problem for user in self.users for problem in user.problems]

    def answered_since(self, begin: float, seconds: float = PATIENCE_SECONDS) -> float | None:
        """Wait until everybody has a right answer to a message sent after ``begin``.

        Return the seconds from then to the last user's first such answer, None where something was
        wrong, or ``seconds`` from now were not enough.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.problems:
            firsts = [
                next(
                    (
                        message.answered
                        for message in list(user.said)
                        if message.sent >= begin and message.answered and not message.apology
                    ),
                    None,
                )
                for user in self.users
            ]
            if all(firsts):
                return max(first for first in firsts if first) - begin
            time.sleep(0.05)
        return None

    def outcome(self, name: str, recovered: float | None) -> Outcome:
        """Look into all histories, after the ``with``; return what became of the messages."""
        for user in self.users:
            if user.is_alive():
                user.problems.append("still without an answer")
            else:
                user.look_back()
        said = [message for user in self.users for message in user.said]
        return Outcome(
            name,
            len(said),
            sum(message.attempts > 1 for message in said),
            sum(message.apology for message in said),
            recovered,
            max(message.answered - message.sent for message in said if message.answered),
            self.problems,
        )
