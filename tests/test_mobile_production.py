"""Both servers as in production: a public address, sign-in, a secret between them; privacy.

Real processes: Rasa's command line with the project's credentials, the action server, an identity
provider's key file, SQLite for directory and conversations.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy

from actions.directory import Directory
from tests.mobile_server import PREFIX, User, problem
from tests.test_actions import HOST, ROOT, fill, free_port
from tests.test_actions_with_rasa import model as rules_model  # noqa: F401
from tests.test_mobile_auth import AUDIENCE, ISSUER, RSA, write_keys

SECRET = "a secret between two servers"
INES_PHONE = "01 00 00 00 03"
SUBJECT = "marie.dubois@example.com"


@dataclass
class Servers:
    """A bot and its action server, each in a process of its own."""

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
        self.start("actions", "-m", "bot.action_server", "--port", str(self.actions_port))
        self.wait("actions", f"http://{HOST}:{self.actions_port}/health")

    def start_bot(self) -> None:
        arguments = ["-m", "bot.rasa_cli", "run", "--interface", "0.0.0.0", "--model", self.model]
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


@pytest.fixture(scope="module")
def servers(
    rules_model: str,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("production")
    fill(f"sqlite:///{folder / 'directory.db'}", folder)
    write_keys(folder / "jwks.json", RSA)
    events = folder / "events.db"
    (folder / "endpoints.yml").write_text(
        (ROOT / "endpoints.yml").read_text().replace("db: events.db", f"db: {events}")
    )
    running = Servers(rules_model, folder)
    try:
        running.start_actions()
        running.start_bot()
        yield running
    finally:
        for name in running.processes:
            running.stop(name)


# --- who is let in ----------------------------------------------------------------------------


def test_a_user_with_a_token_is_answered(servers: Servers) -> None:
    (reply,) = servers.user().tap('/WHO_IS{"collaborator_id": "P3"}')["replies"]
    assert "ines@example.com" in reply["text"]


def test_nobody_else_is(servers: Servers) -> None:
    message = {"type": "text", "text": "Qui est Inès Zeroual ?"}
    problem(httpx.post(f"{servers.url}/messages", json=message), 401, "unauthenticated")
    response = httpx.post(f"{servers.url}/development/token", json={})
    problem(response, 404, "not-found")


def test_the_open_channel_is_closed(servers: Servers) -> None:
    base = f"http://{HOST}:{servers.port}/webhooks/rest"
    body = {"sender": "me", "message": '/WHO_IS{"collaborator_id": "P3"}'}
    for url in (base, f"{base}/", f"{base}/webhook", f"{base}/webhook?stream=true"):
        response = httpx.post(url, json=body)
        assert response.status_code == 404
        assert "Inès" not in response.text


def test_rasas_api_wants_its_token(servers: Servers) -> None:
    base = f"http://{HOST}:{servers.port}"
    for path in ("/status", "/domain", "/conversations/x/tracker"):
        assert httpx.get(f"{base}{path}").status_code == 401
    assert httpx.post(f"{base}/model/parse", json={"text": "a"}).status_code == 401
    assert httpx.get(f"{base}/status?token=token of the api").status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", SECRET, f"bearer {SECRET}x"]
)
def test_the_action_server_answers_its_bot_alone(servers: Servers, header: str | None) -> None:
    base = f"http://{HOST}:{servers.actions_port}"
    headers = {} if header is None else {"Authorization": header}
    body = {"next_action": "action_who_is", "tracker": {"sender_id": "x"}}
    assert httpx.post(f"{base}/webhook", json=body, headers=headers).status_code == 401
    assert httpx.get(f"{base}/actions", headers=headers).status_code == 401
    assert httpx.get(f"{base}/health", headers=headers).status_code == 200


def test_a_defect_of_the_action_server_sends_nothing_back(servers: Servers) -> None:
    response = httpx.post(
        f"http://{HOST}:{servers.actions_port}/webhook",
        json={"next_action": "action_who_is", "tracker": "Zébulon Tartempion"},
        headers={"Authorization": f"Bearer {SECRET}", "Origin": "https://evil.example.com"},
    )
    assert response.status_code == 500
    assert "Zébulon" not in response.text
    assert "access-control-allow-origin" not in response.headers


# --- what they may see ------------------------------------------------------------------------

QUESTIONS = (
    '/WHO_IS{"collaborator_id": "P3"}',
    '/WHO_IS{"collaborator_id": "P3", "detail": "phone"}',
    '/WHO_IS{"collaborator_id": "P3", "detail": "contact"}',
    '/WHO_IS{"person": "Inès Zeroual"}',
    '/WHO_IS{"person": "Ines Zeruoal"}',
    '/WHO_IS{"person": "Paul Martin"}',
    '/WHO_KNOWS_ABOUT{"technology": "Java"}',
    '/WHO_KNOWS_ABOUT{"technology": ["Java", "Kotlin"]}',
    '/WHO_KNOWS_ABOUT{"collaborator_id": "P3", "technology": "Java"}',
)


def test_phones_are_hidden_without_the_scope(servers: Servers) -> None:
    user = servers.user(scope="profile directory:phones")
    for question in QUESTIONS:
        turn = user.tap(question)
        assert turn["replies"]
        assert "01 00 00" not in json.dumps(turn, ensure_ascii=False), question
    card = user.tap(QUESTIONS[0])["replies"][0]["card"]["person"]
    assert (card["phone"], card["hidden"]) == (None, ["phone"])
    assert card["email"] == "ines@example.com"
    (reply,) = user.tap(QUESTIONS[1])["replies"]
    assert reply["text"] == "L'annuaire ne donne pas cette information pour Inès Zeroual."
    # Nor has it come as far as the conversation store.
    assert "01 00 00" not in json.dumps(user.history(limit=100), ensure_ascii=False)


def test_phones_are_shown_with_the_scope(servers: Servers) -> None:
    user = servers.user(scope="directory:phone")
    (reply,) = user.tap(QUESTIONS[1])["replies"]
    assert INES_PHONE in reply["text"]
    assert reply["card"]["person"]["phone"] == INES_PHONE
    assert reply["card"]["person"]["hidden"] == []


def test_a_message_cannot_grant_itself_a_scope(servers: Servers) -> None:
    user = servers.user()
    payload = '/WHO_IS{"collaborator_id": "P3", "caller": {"subject": "x", "scopes": ["*"]}}'
    assert INES_PHONE not in json.dumps(user.tap(payload))
    star = servers.user(scope="*")
    assert INES_PHONE not in json.dumps(star.tap(QUESTIONS[1]))


# --- whom they were shown ---------------------------------------------------------------------


def test_who_was_shown_whom_is_recorded(servers: Servers) -> None:
    subject, trace_id = f"auditor-{uuid.uuid4()}", uuid.uuid4().hex
    user = servers.user(subject)
    user.tap('/WHO_IS{"collaborator_id": "P4"}', traceparent=f"00-{trace_id}-{'1' * 16}-01")
    user.tap('/WHO_IS{"person": "Paul Martin"}')
    user.tap('/WHO_KNOWS_ABOUT{"technology": "COBOL"}')
    user.tap('/WHO_IS{"person": "Nobody Atall"}')
    user.tap("/HOW_ARE_YOU")
    lines = [line for line in servers.audit() if line["caller"] == subject]
    assert [(line["action"], line["people"]) for line in lines] == [
        ("action_who_is", ["P4"]),
        ("action_who_is", ["P1", "P2"]),
        ("action_who_knows_about", ["P9", "P10"]),
    ]
    assert lines[0]["trace_id"] == trace_id
    assert all(line["hidden"] == ["phone"] for line in lines)
    (file,) = (servers.folder / "audit").glob("*.jsonl")
    assert file.stat().st_mode & 0o077 == 0


# --- who is forgotten -------------------------------------------------------------------------


def test_a_person_is_forgotten_everywhere(servers: Servers) -> None:
    """While the bot runs: in the directory, in conversations, and in both files."""
    directory = Directory(servers.environ["DIRECTORY_URL"])
    people = servers.folder / "leaver.csv"
    people.write_text(
        "id,first_name,last_name,agency,job_title,email,phone,skills\n"
        "L1,Théodora,Quimperlé,Nantes,Développeuse,theodora@example.com,07 77 77 77 77,Java:5\n"
    )
    directory.import_(people)
    user = servers.user(scope="directory:phone")
    assert "theodora@" in user.tap('/WHO_IS{"person": "Théodora Quimperlé"}')["replies"][0]["text"]
    user.tap('/WHO_KNOWS_ABOUT{"technology": "Java"}')
    user.tap('/WHO_KNOWS_ABOUT{"technology": "COBOL"}')

    command = [sys.executable, "-m", "bot", "directory", "forget", "L1", "--yes"]
    options = ["--endpoints", str(servers.endpoints)]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=servers.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "removed from the directory; 2 turns deleted" in done.stdout

    assert directory.get("L1") is None
    assert directory.find_people("Quimperlé").matches == ()
    directory.close()
    (turn,) = user.history()["turns"]
    assert "COBOL" in turn["question"]["payload"]
    # The conversation goes on, about nobody.
    (reply,) = user.tap('/WHO_IS{"detail": "email"}')["replies"]
    assert "theodora" not in reply["text"]
    assert "Quimper" not in user.tap('/WHO_IS{"person": "Théodora Quimperlé"}')["replies"][0][
        "text"
    ].replace("Théodora Quimperlé", "")
    user.delete()
    for path in servers.folder.glob("*.db*"):
        content = path.read_bytes().lower()
        for trace in ("theodora", "théodora", "quimper", "77 77 77"):
            assert trace.encode() not in content, (path.name, trace)


def test_forgetting_nobody_says_so(servers: Servers) -> None:
    command = [sys.executable, "-m", "bot", "directory", "forget", "X9", "--yes"]
    options = ["--endpoints", str(servers.endpoints)]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=servers.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "was not in the directory; 0 turns" in done.stdout


def test_the_conversation_of_a_user_can_be_deleted_by_hand(servers: Servers) -> None:
    user = servers.user("leaver@example.com")
    user.tap("/HOW_ARE_YOU")
    for arguments in (["delete", "leaver@example.com"], ["purge", "365"]):
        command = [sys.executable, "-m", "bot", "conversations", *arguments]
        options = ["--endpoints", str(servers.endpoints)]
        done = subprocess.run(
            [*command, *options], cwd=ROOT, env=servers.environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "events deleted" in done.stdout
    assert user.history()["turns"] == []


# --- when something fails, and what the logs say ----------------------------------------------

# Last in this file: it breaks what the other tests need.


def test_failures_are_problems_and_logs_hold_no_personal_data(servers: Servers) -> None:
    user = servers.user(SUBJECT, scope="directory:phone")
    for text in (
        "Qui est Zébulon Tartempion ?",
        "/Zébulon",
        '/WHO_IS{"Zébulon": "Tartempion"}',
        '/WHO_IS{"person": "Zébulon Tartempion"',
        '/WHO_IS{"person": "Zébulon Tartempion"}',
        *QUESTIONS,
    ):
        user.say(text)
    user.post({"type": "text", "text": "Zébulon " * 200})
    user.post({"type": "postback", "payload": "/restart"})
    list(user.stream({"type": "text", "text": "Zébulon"}))

    # Without an action server the bot says that it cannot tell, politely.
    servers.stop("actions")
    turn = user.tap('/WHO_IS{"person": "Zébulon Tartempion"}')
    assert turn["replies"][0]["card"] is None
    problem(httpx.get(f"{servers.url}/ready"), 503, "unavailable")
    servers.start_actions()

    # Without a directory, too.
    directory = servers.folder / "directory.db"
    for path in servers.folder.glob("directory.db*"):
        path.write_bytes(b"no database " * 1000)
    turn = user.tap('/WHO_IS{"person": "Zébulon Tartempion"}')
    assert turn["replies"][0]["card"] is None
    for path in servers.folder.glob("directory.db*"):
        path.unlink()
    fill(f"sqlite:///{directory}", servers.folder)

    # Without its audit log nobody is shown anybody.
    audit = servers.folder / "audit"
    audit.rename(servers.folder / "audit.old")
    audit.write_text("no folder")
    servers.stop("actions")
    servers.start_actions()
    turn = user.tap('/WHO_IS{"collaborator_id": "P3"}')
    assert "Inès" not in json.dumps(turn["replies"], ensure_ascii=False)
    audit.unlink()

    # Without a tracker store it answers nothing, rather than forget whom it talks to.
    engine = sqlalchemy.create_engine(f"sqlite:///{servers.folder / 'events.db'}")
    with engine.connect() as connection:
        connection.execute("ALTER TABLE events RENAME TO elsewhere")
    key, message = str(uuid.uuid4()), {"type": "text", "text": "Zébulon Tartempion"}
    for headers in ({"idempotency_key": key}, {}):
        assert problem(user.post(message, **headers), 503, "unavailable")["retry_after"]
    problem(user.http.get(f"{user.url}/history"), 503, "unavailable")
    problem(user.http.delete(f"{user.url}/conversation"), 503, "unavailable")
    with engine.connect() as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO events")
    assert user.turn(user.post(message, idempotency_key=key))["replies"]

    logs = {name: servers.log(name).read_text() for name in ("bot", "actions")}
    assert "StoreFailedError" in logs["bot"]
    for name, log in logs.items():
        for trace in (
            "bulon",
            "Tartempion",
            "Inès",
            "Zeroual",
            "Zeruoal",
            "Martin",
            "01 00 00",
            "ines@",
            SUBJECT,
            SECRET,
        ):
            lines = [line for line in log.splitlines() if trace in line]
            assert not lines, (name, trace, lines[:3])
