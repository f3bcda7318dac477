"""Both servers as in production, each in a process of its own.

Rasa's command line with the project's credentials, the action server, an identity provider's key
file, SQLite for directory and conversations.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bot.processes import free_port
from tests.support import HOST, ROOT
from tests.support.action_server import fill
from tests.support.mobile_server import PREFIX, User
from tests.support.tokens import AUDIENCE, ISSUER, RSA, write_keys

SUBJECT = "marie.dubois@example.com"

SECRET = "a secret between two servers"


@dataclass
class Servers:
    """A bot and its action server, each in a process of its own.

    Args:
        model: a Rasa model.
        folder: for the directory, the conversations, the key file, the logs.
    """

    model: str
    folder: Path
    port: int = field(default_factory=free_port)
    actions_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "DIRECTORY_URL": f"sqlite:///{self.folder / 'directory.db'}",
            "AUDIT_LOG": str(self.folder / "audit"),
            "ANONYMOUS_SCOPES": "",
            "ACTIONS_PORT": str(self.actions_port),
            "ACTIONS_SECRET": SECRET,
            "MOBILE_JWKS": str(self.folder / "jwks.json"),
            "MOBILE_ISSUER": ISSUER,
            "MOBILE_AUDIENCE": AUDIENCE,
            "MOBILE_REQUESTS_PER_MINUTE": "100000",
            "BOT_API_TOKEN": "token of the api",
        }

    @property
    def endpoints(self) -> Path:
        return self.folder / "endpoints.yml"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}{PREFIX}"

    @contextmanager
    def running(self) -> Iterator[Servers]:
        """Fill the folder and start both; in the end, stop whatever runs."""
        fill(f"sqlite:///{self.folder / 'directory.db'}", self.folder)
        write_keys(self.folder / "jwks.json", RSA)
        events = self.folder / "events.db"
        self.endpoints.write_text(
            (ROOT / "endpoints.yml").read_text().replace("db: events.db", f"db: {events}")
        )
        try:
            self.start_actions()
            self.start_bot()
            yield self
        finally:
            for name in self.processes:
                self.stop(name)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(self, name: str, *arguments: str) -> None:
        with self.log(name).open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start_actions(self) -> None:
        self.start("actions", "-m", "actions.server", "--port", str(self.actions_port))
        self.wait("actions", f"http://{HOST}:{self.actions_port}/health")

    def start_bot(self) -> None:
        arguments = [
            "-m",
            "bot.runtime.rasa_cli",
            "run",
            "--interface",
            "0.0.0.0",
            "--model",
            self.model,
        ]
        files = ["--endpoints", str(self.endpoints), "--credentials", str(ROOT / "credentials.yml")]
        self.start("bot", *arguments, *files, "--port", str(self.port))
        self.wait("bot", f"{self.url}/ready")

    def wait(self, name: str, url: str) -> None:
        with httpx.Client() as client:
            while True:
                assert self.processes[name].poll() is None, self.log(name).read_text()
                try:
                    if client.get(url).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.1)

    def stop(self, name: str) -> None:
        self.processes[name].terminate()
        self.processes[name].wait(60)

    def user(self, subject: str | None = None, scope: str = "") -> User:
        return User(self.url, RSA.token(sub=subject or uuid.uuid4().hex, scope=scope))

    def audit(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log."""
        files = sorted((self.folder / "audit").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]
