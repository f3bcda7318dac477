"""A real action server on a small directory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from actions.directory import Directory
from bot.processes import free_port
from tests.support import HOST, ROOT

CLIENT = httpx.Client(timeout=60)
DOMAIN = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf-8"))
PEOPLE = """\
id,first_name,last_name,agency,job_title,email,phone,skills,available_from
P1,Paul,Martin,Nantes,Architecte,paul@example.com,01 00 00 01,Java:5;Angular:2;Docker:3,2999-02-01
P2,Paul,Martin,Lyon,Testeur,paul.lyon@example.com,,Selenium:4;Java:1,2020-01-02
P3,Inès,Zeroual,Nantes,Développeuse mobile,ines@example.com,01 00 00 00 03,Kotlin:5;Java:3,
P4,Linh,Nguyen,Rennes,Développeuse,linh@example.com,01 00 00 00 04,Java:4;Angular:4,
P5,Karim,Ben Salah,Lyon,Développeur,,,Java:4;C++:5,
P6,Anna,Kowalczyk,Rennes,Data scientist,anna@example.com,01 00 00 00 06,Python:5;Java:2,
P7,Ewen,Le Gall,Nantes,Développeur,ewen@example.com,01 00 00 00 07,Java:2;Docker:5,
P8,Awa,Diop,Lyon,Stagiaire,awa@example.com,01 00 00 00 08,,
P9,Chloé,Bernard,Lyon,Développeuse,chloe@example.com,,COBOL:3,
P10,Denis,Bernard,Lyon,Développeur,denis@example.com,,COBOL:3,
P11,Emma,Bernard,Nantes,Développeuse,emma@example.com,,,
P12,Hugo,Bernard,Nantes,Développeur,hugo@example.com,,,
P13,Jade,Bernard,Rennes,Développeuse,jade@example.com,,,
P14,Yves,Bernard,Rennes,Développeur,yves@example.com,,,
"""


@dataclass
class ActionServer:
    url: str
    log: Path

    def call(self, action: str, tracker: dict[str, Any]) -> httpx.Response:
        body = {"next_action": action, "sender_id": "test", "tracker": tracker}
        return CLIENT.post(
            f"{self.url}/webhook",
            content=json.dumps(body),  # ASCII: the escape of a lone surrogate gets through, too
            headers={"Content-Type": "application/json"},
        )


def start_action_server(
    directory_url: str, folder: Path, port: int | None = None, **environ: str
) -> Iterator[ActionServer]:
    """Run the action server while the body of the `for` or of the fixture runs."""
    port, log = port or free_port(), folder / "actions.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rasa_sdk", "--actions", "actions", "--port", str(port)],
            cwd=ROOT,
            env={
                **os.environ,
                "DIRECTORY_URL": directory_url,
                "SANIC_HOST": HOST,
                "AUDIT_LOG": str(folder / "audit"),
                "ANONYMOUS_SCOPES": "*",
                **environ,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        server = ActionServer(f"http://{HOST}:{port}", log)
        for _ in range(600):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            try:
                if httpx.get(f"{server.url}/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def fill(url: str, folder: Path) -> None:
    people = folder / "people.csv"
    people.write_text(PEOPLE, encoding="utf-8")
    directory = Directory(url)
    directory.import_(people)
    directory.close()


def entities(**values: str | list[str]) -> list[dict[str, Any]]:
    """Return entities as Rasa's extractors give them, beside the names that stand in the text."""
    return [
        {"entity": name, "value": value, "start": 1000, "end": 1001, "extractor": "test"}
        for name, given in values.items()
        for value in ([given] if isinstance(given, str) else given)
    ]


@dataclass
class Conversation:
    """Keeps the slots between turns, as Rasa does; remembers the last answer."""

    server: ActionServer
    slots: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    responses: list[dict[str, Any]] = field(default_factory=list)
    suggestions: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, action: str, text: str = "…", **values: str | list[str]) -> Conversation:
        """One turn: ``text`` in which the NLU has found ``values`` (entity → value)."""
        latest = {"text": text, "intent": {"name": "any"}, "entities": entities(**values)}
        tracker = {"sender_id": "test", "slots": self.slots, "latest_message": latest, "events": []}
        response = self.server.call(action, tracker)
        assert response.status_code == 200, response.text
        self.events = response.json()["events"]
        said = response.json()["responses"]
        self.suggestions = [m for m in said if str(m["response"]).startswith("utter_suggest_")]
        self.responses = [m for m in said if m not in self.suggestions]
        self.slots = {**self.slots, **self.set_slots}
        return self

    def who_is(self, text: str = "…", **values: str | list[str]) -> Conversation:
        return self.ask("action_who_is", text, **values)

    def who_knows(self, text: str = "…", **values: str | list[str]) -> Conversation:
        return self.ask("action_who_knows_about", text, **values)

    def not_understood(self, text: str, **values: str | list[str]) -> Conversation:
        return self.ask("action_not_understood", text, **values)

    def press(self, payload: str) -> Conversation:
        """Press a button: Rasa turns its payload into an intent and entities."""
        found = re.fullmatch(r"/(WHO_IS|WHO_KNOWS_ABOUT)(\{.*\})?", payload)
        assert found, payload
        values = yaml.safe_load(found[2] or "{}")
        return self.ask(f"action_{found[1].lower()}", payload, **values)

    @property
    def set_slots(self) -> dict[str, Any]:
        return {e["name"]: e["value"] for e in self.events if e["event"] == "slot"}

    @property
    def said(self) -> list[str]:
        return [message["response"] for message in self.responses]

    @property
    def buttons(self) -> list[dict[str, str]]:
        return [button for message in self.responses for button in message["buttons"]]

    @property
    def cards(self) -> list[dict[str, Any]]:
        return [message["custom"] for message in self.responses if message["custom"]]
