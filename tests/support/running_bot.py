"""A bot as a user starts it."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bot.processes import free_port
from tests.support import HOST, ROOT

with (ROOT / "data/directory.csv").open(encoding="utf-8", newline="") as file:
    PEOPLE = list(csv.DictReader(file))


def skills_of(person: dict[str, str]) -> dict[str, int]:
    """Return skill → level of a line of the sample."""
    pairs = (skill.rpartition(":") for skill in person["skills"].split(";"))
    return {name: int(level) for name, _, level in pairs}


def full_name(person: dict[str, str]) -> str:
    return f"{person['first_name']} {person['last_name']}"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def descendants(pid: int) -> set[int]:
    """Return the process ids of all children, their children and so on."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text().split():
            found |= {int(child)} | descendants(int(child))
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@dataclass
class RunningBot:
    """A `bot run` that is up, with its own directory."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int
    actions_port: int
    environ: dict[str, str]

    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text(encoding="utf-8")

    def send(self, message: Any, sender: str | None = None) -> list[dict[str, Any]]:
        """Send a message over the REST channel; a new conversation unless ``sender`` is given."""
        body = {"sender": sender or uuid.uuid4().hex, "message": message}
        url = f"http://{HOST}:{self.port}/webhooks/rest/webhook"
        response = httpx.post(url, json=body, timeout=60)
        assert response.status_code == 200
        answer: list[dict[str, Any]] = response.json()
        return answer

    def ask(self, message: Any, sender: str | None = None) -> str:
        """Return all that the bot says to a message."""
        return "\n".join(part["text"] for part in self.send(message, sender) if "text" in part)


def start_bot(folder: Path, *command: str) -> RunningBot:
    """Start ``python -m COMMAND``, by default `bot run`, with a directory of its own."""
    port, actions_port = free_port(), free_port()
    environ = {
        **os.environ,
        "DIRECTORY_URL": f"sqlite:///{folder / 'people.db'}",
        "AUDIT_LOG": str(folder / "audit"),
    }
    log = folder / "run.log"
    ports = ["--port", str(port), "--actions-port", str(actions_port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(command or ("bot", "run")), *ports],
            cwd=ROOT,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return RunningBot(process, log, port, actions_port, environ)


def wait_until_up(bot: RunningBot) -> None:
    wait_for(lambda: "Ctrl-C stops both" in bot.output() or bot.process.poll() is not None)
    assert bot.process.poll() is None, bot.output()


def end(bot: RunningBot) -> None:
    if bot.process.poll() is None:
        bot.process.terminate()
        bot.process.wait(60)
