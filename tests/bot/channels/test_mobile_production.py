"""Both servers as in production: a public address, sign-in, a secret between them; privacy.

Real processes, see ``production_servers.py``.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import sqlalchemy

from actions.directory import Directory
from tests.support import HOST, ROOT
from tests.support.action_server import PEOPLE, fill
from tests.support.mobile_server import PREFIX, problem
from tests.support.production_servers import SECRET, SUBJECT, Servers

INES_PHONE = "01 00 00 00 03"


@pytest.fixture(scope="module")
def servers(
    rules_model: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Servers]:
    with Servers(rules_model, tmp_path_factory.mktemp("production")).running() as running:
        yield running


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
    "header", [None, "", "Bearer", "Bearer wrong", SECRET, f"bearer {SECRET}x", "Bearer \udcff"]
)
def test_the_action_server_answers_its_bot_alone(servers: Servers, header: str | None) -> None:
    base = f"http://{HOST}:{servers.actions_port}"
    headers = {} if header is None else {"Authorization": header.encode(errors="surrogateescape")}
    body = {"next_action": "action_who_is", "tracker": {"sender_id": "x"}}
    assert httpx.post(f"{base}/webhook", json=body, headers=headers).status_code == 401
    assert httpx.get(f"{base}/actions", headers=headers).status_code == 401
    assert httpx.get(f"{base}/health", headers=headers).status_code == 200


def test_a_defect_of_the_action_server_sends_nothing_back(servers: Servers) -> None:
    response = httpx.post(
        f"http://{HOST}:{servers.actions_port}/webhook",
        json={
            "next_action": "action_who_is",
            "tracker": {"latest_message": {"metadata": {}, "entities": ["Zébulon Tartempion"]}},
        },
        headers={"Authorization": f"Bearer {SECRET}", "Origin": "https://evil.example.com"},
    )
    assert response.status_code == 500
    assert "Zébulon" not in response.text
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("call", [[], "x", 7, {"tracker": "x"}, {"tracker": {"events": [7]}}])
def test_a_call_that_is_none_is_refused(servers: Servers, call: object) -> None:
    response = httpx.post(
        f"http://{HOST}:{servers.actions_port}/webhook",
        json=call,
        headers={"Authorization": f"Bearer {SECRET}"},
    )
    assert response.status_code == 400
    assert "must be" in response.json()["error"] or "send an object" in response.json()["error"]


def test_headers_of_no_known_characters_are_nobody_s(servers: Servers) -> None:
    headers = {"Authorization": b"Bearer \xff"}
    problem(httpx.get(f"{servers.url}/history", headers=headers), 401, "unauthenticated")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"7", b'{"text": []}', b"{", b"{}"])
def test_rasas_api_takes_objects(servers: Servers, body: bytes) -> None:
    base, token = f"http://{HOST}:{servers.port}", {"token": "token of the api"}
    for path in ("model/parse", "conversations/x/messages", "conversations/x/trigger_intent"):
        response = httpx.post(f"{base}/{path}", content=body, params=token)
        assert response.status_code == 400
        assert response.json()["status"] == "failure"


def test_a_slow_body_is_not_waited_for_on_any_route(servers: Servers) -> None:
    paths = ("/model/parse", "/model", "/sw.js", "/", f"{PREFIX}/messages", f"{PREFIX}/nothing")
    addresses = {servers.port: paths, servers.actions_port: ("/webhook", "/health")}
    slow = []
    for port, listed in addresses.items():
        for path in listed:
            slow.append(socket.create_connection((HOST, port), timeout=40))
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
            slow[-1].sendall(head.encode())
    for connection in slow:
        with connection, suppress(ConnectionError):
            while connection.recv(65536):  # to the end, which the server has to make
                pass


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
    assert reply["text"] == "Vous n'avez pas accès à cette information sur Inès Zeroual."
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
        '/{"Zébulon Tartempion": "Inès Zeroual"}',
        '/WHO_IS{"offset": ' + "[" * 490 + "]" * 490 + "}",
        '/WHO_IS{"Zébulon": "Tartempion"}',
        '/WHO_IS{"person": "Zébulon Tartempion"',
        '/WHO_IS{"person": "Zébulon Tartempion"}',
        *QUESTIONS,
    ):
        response = user.post({"type": "text", "text": text})
        assert response.status_code == (400 if "[[[" in text else 200), text
    user.post({"type": "text", "text": "Zébulon " * 200})
    for command in ("/restart", "/restart@1.0", "/session_start@1", "/back@1{}", "/back {}"):
        problem(user.post({"type": "postback", "payload": command}), 400, "invalid-request")
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
    problem(httpx.get(f"{servers.url}/ready"), 503, "unavailable")
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
    problem(httpx.get(f"{servers.url}/ready"), 503, "unavailable")
    audit.unlink()

    # Without a tracker store it answers nothing, rather than forget whom it talks to: without one
    # that takes more,
    engine = sqlalchemy.create_engine(f"sqlite:///{servers.folder / 'events.db'}")
    key, message = str(uuid.uuid4()), {"type": "text", "text": "Zébulon Tartempion"}
    attempts: tuple[dict[str, str], ...] = ({"idempotency_key": key}, {})
    with engine.connect() as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    for headers in attempts:
        assert problem(user.post(message, **headers), 503, "unavailable")["retry_after"]
    with engine.connect() as connection:
        connection.execute("DROP TRIGGER full")
    assert "StoreFailedError" in servers.log("bot").read_text()

    # or any at all.
    with engine.connect() as connection:
        connection.execute("ALTER TABLE events RENAME TO elsewhere")
    for headers in attempts:
        assert problem(user.post(message, **headers), 503, "unavailable")["retry_after"]
    problem(user.http.get(f"{user.url}/history"), 503, "unavailable")
    problem(user.http.delete(f"{user.url}/conversation"), 503, "unavailable")
    with engine.connect() as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO events")
    assert user.turn(user.post(message, idempotency_key=key))["replies"]

    logs = {name: servers.log(name).read_text() for name in ("bot", "actions")}
    assert "OperationalError" in logs["bot"]
    people = [line.split(",") for line in PEOPLE.splitlines()[1:]]
    names = {word for cells in people for word in cells[1:3] + cells[5:7] if len(word) > 2}
    for name, log in logs.items():
        for trace in ("bulon", "Tartempion", "Zeruoal", "01 00 00", SUBJECT, SECRET, *names):
            lines = [line for line in log.splitlines() if trace in line]
            assert not lines, (name, trace, lines[:3])
