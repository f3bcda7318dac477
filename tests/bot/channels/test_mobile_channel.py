"""The mobile channel over HTTP: a real server, real actions on a real directory, a real store."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.channels import openapi
from bot.channels.auth import DEVELOPMENT_ISSUER, conversation_id
from bot.processes import free_port
from tests.support import HOST
from tests.support.action_server import fill, start_action_server
from tests.support.mobile_server import (
    PREFIX,
    MobileServer,
    User,
    development,  # noqa: F401
    problem,
)

INES = '/WHO_IS{"collaborator_id": "P3"}'
GENEROUS = {"requests_per_minute": 100_000, "burst": 100_000}


@pytest.fixture(scope="module")
def actions_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, port = tmp_path_factory.mktemp("actions"), free_port()
    url = f"sqlite:///{folder / 'directory.db'}"
    fill(url, folder)
    for _ in start_action_server(url, folder, port):
        yield port


@pytest.fixture(scope="module")
def server(
    rules_model: str,
    actions_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MobileServer]:
    events = tmp_path_factory.mktemp("mobile") / "events.db"
    with MobileServer(rules_model, GENEROUS, actions_port, events) as running:
        yield running


@pytest.fixture
def user(server: MobileServer) -> User:
    """Somebody who has not yet said anything."""
    return server.user(uuid.uuid4().hex)


# --- answers ----------------------------------------------------------------------------------


def test_a_question_is_answered_with_a_card(user: User) -> None:
    turn = user.tap(INES)
    (reply,) = turn["replies"]
    assert reply["text"].startswith("Inès Zeroual, Développeuse mobile (Nantes).")
    assert reply["card"]["type"] == "person_card"
    assert reply["card"]["person"]["id"] == "P3"
    assert turn["question"] == {"type": "postback", "payload": INES}


def test_buttons_lead_on(user: User) -> None:
    (choice,) = user.tap('/WHO_IS{"person": "Paul Martin"}')["replies"]
    assert [button["title"] for button in choice["buttons"]] == [
        "Paul Martin — Architecte, Nantes",
        "Paul Martin — Testeur, Lyon",
    ]
    assert choice["card"]["type"] == "person_choice"
    (card,) = user.tap(choice["buttons"][1]["payload"])["replies"]
    assert card["card"]["person"]["id"] == "P2"
    (mail,) = user.tap('/WHO_IS{"detail": "email"}')["replies"]
    assert mail["text"] == "Paul Martin — mail : paul.lyon@example.com"


def test_every_card_is_as_the_contract_says(user: User) -> None:
    """The rest is checked by `conforming`, for each of these answers."""
    seen = {
        reply["card"]["type"]
        for payload in (
            INES,
            '/WHO_IS{"collaborator_id": "P3", "detail": "phone"}',
            '/WHO_IS{"person": "Paul Martin"}',
            '/WHO_IS{"person": "Zeruoal"}',
            '/WHO_KNOWS_ABOUT{"technology": "Java"}',
            '/WHO_KNOWS_ABOUT{"technology": ["Java", "Docker"]}',
            '/WHO_KNOWS_ABOUT{"technology": "Fortran"}',
            '/WHO_KNOWS_ABOUT{"collaborator_id": "P3", "technology": "Java"}',
            '/WHO_KNOWS_ABOUT{"collaborator_id": "P3", "technology": "COBOL"}',
        )
        for reply in user.tap(payload)["replies"]
        if reply["card"]
    }
    assert seen == set(openapi.card_types())


def test_each_user_has_a_conversation_of_their_own(server: MobileServer) -> None:
    one, other = server.user("one"), server.user("other")
    one.tap('/WHO_IS{"collaborator_id": "P3"}')
    other.tap('/WHO_IS{"collaborator_id": "P4"}')
    assert "ines@" in one.tap('/WHO_IS{"detail": "email"}')["replies"][0]["text"]
    assert "linh@" in other.tap('/WHO_IS{"detail": "email"}')["replies"][0]["text"]
    assert len(one.history()["turns"]) == 2


def test_a_client_cannot_name_another_conversation(server: MobileServer, user: User) -> None:
    for field in ("sender", "sender_id", "metadata", "input_channel"):
        message = {"type": "text", "text": "…", field: "other"}
        problem(user.post(message), 400, "invalid-request")
    assert user.history()["turns"] == []


def test_concurrent_users_do_not_mix(server: MobileServer) -> None:
    ids = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8"]

    def converse(identifier: str) -> set[str]:
        user = server.user(f"concurrent-{identifier}")
        user.tap(f'/WHO_IS{{"collaborator_id": "{identifier}"}}')
        answers = [user.tap('/WHO_IS{"detail": "job_title"}') for _ in range(4)]
        return {reply["card"]["person"]["id"] for turn in answers for reply in turn["replies"]}

    with ThreadPoolExecutor(len(ids)) as pool:
        assert list(pool.map(converse, ids)) == [{identifier} for identifier in ids]


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1000,
        "😀" * 1000,
        "\x00\x01\x1b[31m",
        "\u202eعنوان\u202c",
        "'; DROP TABLE events; --",
        "<script>alert('x')</script>",
        "/",
        "//",
        "/WHO_IS{",
        "/UNKNOWN",
        '/WHO_IS{"collaborator_id": {"a": 1}}',
        "EXTERNAL: WHO_IS",
        "{{7*7}} ${HOME} %s {name}",
    ],
    ids=lambda text: repr(text)[:20],
)
def test_odd_text_gets_an_answer(user: User, text: str) -> None:
    assert user.say(text)["replies"]
    assert user.history()["turns"][0]["question"]["text"] == text.strip()


# --- requests that are refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/type"),
        ({"type": "image"}, "/type"),
        ({"type": ["text"]}, "/type"),
        ({"type": "text"}, ""),
        ({"type": "text", "text": ""}, "/text"),
        ({"type": "text", "text": " \n"}, "/text"),
        ({"type": "text", "text": "\x1d"}, "/text"),
        ({"type": "text", "text": "\ufeff\x85"}, "/text"),
        ({"type": "text", "text": "a" * 1001}, "/text"),
        ({"type": "text", "text": 5}, "/text"),
        ({"type": "text", "text": None}, "/text"),
        ({"type": "text", "text": "a", "title": "b"}, ""),
        ({"type": "postback", "payload": "a" * 2001}, "/payload"),
        ({"type": "postback", "payload": "a", "title": ""}, "/title"),
        ({"type": "text", "text": "/restart"}, ""),
        ({"type": "postback", "payload": '/session_start{"a": "b"}'}, ""),
        ([], ""),
        (None, ""),
        ("text", ""),
        ({"type": "text", "text": "\ud800"}, ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_malformed_message_is_refused_with_the_place(user: User, body: Any, pointer: str) -> None:
    content = json.dumps(body).encode()
    response = user.http.post(
        f"{user.url}/messages", content=content, headers={"Content-Type": "application/json"}
    )
    errors = problem(response, 400, "invalid-request")["errors"]
    assert pointer in [error["pointer"] for error in errors]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"{}x"])
def test_what_is_no_json_is_refused(user: User, content: bytes) -> None:
    response = user.http.post(
        f"{user.url}/messages", content=content, headers={"Content-Type": "application/json"}
    )
    problem(response, 400, "invalid-request")


def test_a_refusal_repeats_nothing_of_the_message(user: User) -> None:
    response = user.post({"type": "text", "text": "Qui est Zébulon ?" * 100, "Zoé": "Zébulon"})
    assert "Zébulon" not in response.text


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_media_types_are_refused(user: User, media_type: str) -> None:
    response = user.http.post(
        f"{user.url}/messages",
        content=b'{"type": "text", "text": "a"}',
        headers={"Content-Type": media_type},
    )
    problem(response, 415, "unsupported-media-type")


def test_a_compressed_body_is_refused(user: User) -> None:
    response = user.post({"type": "text", "text": "a"}, content_encoding="gzip")
    problem(response, 415, "unsupported-media-type")


def test_a_large_body_is_refused(user: User) -> None:
    body = b'{"type": "text", "text": "%s"}' % (b"a" * 20_000)
    headers = {"Content-Type": "application/json"}
    problem(
        user.http.post(f"{user.url}/messages", content=body, headers=headers),
        413,
        "payload-too-large",
    )
    # Also where nothing says beforehand how large it is.
    chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))
    problem(
        user.http.post(f"{user.url}/messages", content=chunks, headers=headers),
        413,
        "payload-too-large",
    )


def test_a_body_that_does_not_come_ends_in_a_problem(
    server: MobileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.http_guard.BODY_SECONDS", 0.2)
    with socket.create_connection((HOST, server.port)) as slow:
        head = (
            f"POST {PREFIX}/messages HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/json\r\n"
            f"Authorization: Bearer {server.token()}\r\nContent-Length: 100\r\n\r\n{{"
        )
        slow.sendall(head.encode())
        slow.settimeout(30)
        answer = slow.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "urn:skills-bot:problem:request-timeout" in answer


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/messages", 405, "method-not-allowed"),
        ("PUT", "/history", 405, "method-not-allowed"),
        ("POST", "/conversation", 405, "method-not-allowed"),
        ("TRACE", "/history", 405, "method-not-allowed"),
        ("BREW", "/history", 405, "method-not-allowed"),
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/messages/x", 404, "not-found"),
        ("POST", "/../v2/messages", 404, "not-found"),
    ],
)
def test_unknown_paths_and_methods_are_problems_too(
    server: MobileServer, method: str, path: str, status: int, kind: str
) -> None:
    response = httpx.request(method, f"{server.url}{path}")
    problem(response, status, kind)
    if status == 405 and method in ("GET", "PUT", "POST"):
        assert response.headers["allow"].endswith("OPTIONS")


@pytest.mark.parametrize(
    "head",
    [
        b"POST %s/messages HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET %s/health HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n",
    ],
)
def test_what_the_web_server_refuses_by_itself_is_no_html(
    server: MobileServer, head: bytes
) -> None:
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(head % PREFIX.encode())
        connection.settimeout(30)
        answer = connection.recv(65536).decode()
    assert "application/problem+json" in answer or "text/html" not in answer


# --- once and only once -----------------------------------------------------------------------


def test_a_message_that_comes_again_gets_the_same_answer(user: User) -> None:
    key = str(uuid.uuid4())
    first = user.post({"type": "postback", "payload": INES, "title": "Inès"}, idempotency_key=key)
    again = user.post({"type": "postback", "payload": INES, "title": "Inès"}, idempotency_key=key)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert User.turn(again) == User.turn(first)
    assert user.history()["turns"] == [first.json()]
    assert user.tap(INES)["id"] != first.json()["id"]


def test_a_key_belongs_to_one_message_of_one_user(server: MobileServer, user: User) -> None:
    key = str(uuid.uuid4())
    first = user.tap(INES, idempotency_key=key)
    response = user.post({"type": "text", "text": "autre"}, idempotency_key=key)
    problem(response, 422, "idempotency-key-reused")
    other = server.user(uuid.uuid4().hex)
    assert other.tap(INES, idempotency_key=key)["id"] != first["id"]
    assert len(user.history()["turns"]) == len(other.history()["turns"]) == 1


@pytest.mark.parametrize("key", ["short", "a" * 129, "with blank", "%' OR 1=1", "é" * 9])
def test_malformed_keys_are_refused(user: User, key: str) -> None:
    response = user.http.post(
        f"{user.url}/messages",
        json={"type": "text", "text": "a"},
        headers={"Idempotency-Key": key.encode()},
    )
    assert problem(response, 400, "invalid-request")["errors"][0]["pointer"] == "Idempotency-Key"


def test_keys_are_told_apart_to_the_letter(user: User) -> None:
    """The store searches by LIKE, where `_` and case might match more."""
    turns = {user.tap(INES, idempotency_key=key)["id"] for key in ("key_0001", "keyX0001")}
    assert len(turns) == 2
    assert user.tap(INES, idempotency_key="KEY_0001")["id"] not in turns


class SlowActions:
    """An action server that waits for :meth:`let_go`, then answers nothing; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.called, self._go = threading.Event(), threading.Event()
        self._socket = socket.create_server((HOST, 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
            while lengths and len(body) < int(lengths[0].split(b":")[1]):
                body += connection.recv(65536)
            if head.startswith(b"POST"):
                self.calls += 1
                self.called.set()
                self._go.wait(60)
            answer = json.dumps(
                {
                    "events": [{"event": "slot", "name": "answered", "value": True}],
                    "responses": [{"text": "Enfin.", "quick_replies": [QUICK_REPLY]}],
                }
            ).encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer)
            )

    def let_go(self) -> None:
        self._go.set()

    def close(self) -> None:
        self.let_go()
        self._socket.close()


QUICK_REPLY = {"title": "Et après ?", "payload": "/HOW_ARE_YOU"}


@dataclass
class SlowServer:
    actions: SlowActions
    server: MobileServer
    events: Path


@pytest.fixture
def slow(rules_model: str, tmp_path: Path) -> Iterator[SlowServer]:
    actions, events = SlowActions(), tmp_path / "events.db"
    settings = {**GENEROUS, "turn_seconds": 1}
    with MobileServer(rules_model, settings, actions.port, events) as server:
        yield SlowServer(actions, server, events)
        actions.close()


def test_a_message_that_comes_again_meanwhile_joins_the_first(slow: SlowServer) -> None:
    user, key = slow.server.user(), str(uuid.uuid4())
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(user.tap, INES, idempotency_key=key) for _ in range(4)]
        assert slow.actions.called.wait(30)
        slow.actions.let_go()
        turns = [future.result() for future in sent]
    assert all(turn == turns[0] for turn in turns)
    assert turns[0]["replies"][0]["text"] == "Enfin."
    assert turns[0]["suggestions"] == [QUICK_REPLY]
    assert slow.actions.calls == 1
    assert user.history()["turns"] == turns[:1]


def test_a_slow_answer_is_not_lost(slow: SlowServer) -> None:
    user, key = slow.server.user(), str(uuid.uuid4())
    response = user.post({"type": "postback", "payload": INES}, idempotency_key=key)
    problem(response, 503, "unavailable")
    slow.actions.let_go()
    assert user.tap(INES, idempotency_key=key)["replies"][0]["text"] == "Enfin."
    assert slow.actions.calls == 1
    assert len(user.history()["turns"]) == 1


def test_an_answer_survives_its_client(slow: SlowServer) -> None:
    """The connection is lost while the question is worked on; the client comes back."""
    user, key = slow.server.user(), str(uuid.uuid4())
    body = json.dumps({"type": "postback", "payload": INES}).encode()
    with socket.create_connection((HOST, slow.server.port)) as connection:
        connection.sendall(
            f"POST {PREFIX}/messages HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/json\r\n"
            f"Authorization: {user.http.headers['authorization']}\r\nIdempotency-Key: {key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert slow.actions.called.wait(30)
    slow.actions.let_go()
    assert user.tap(INES, idempotency_key=key)["replies"][0]["text"] == "Enfin."
    assert slow.actions.calls == 1


def test_an_answer_is_known_after_a_restart(
    rules_model: str,
    actions_port: int,
    tmp_path: Path,
) -> None:
    settings = {**GENEROUS, "development_secret": "s" * 40}
    key, turns = str(uuid.uuid4()), []
    for _ in range(2):
        events = tmp_path / "events.db"
        with MobileServer(rules_model, settings, actions_port, events) as server:
            user = server.user()
            turns.append(user.tap(INES, idempotency_key=key))
            assert user.history()["turns"] == [turns[0]]
    assert turns[0] == turns[1]


def test_two_processes_answer_a_message_once(rules_model: str, tmp_path: Path) -> None:
    """They share the tracker store and the locks, as by PostgreSQL and Redis."""
    actions, settings = SlowActions(), {**GENEROUS, "development_secret": "s" * 40}
    events, key = tmp_path / "events.db", str(uuid.uuid4())
    with (
        MobileServer(rules_model, settings, actions.port, events) as one,
        MobileServer(rules_model, settings, actions.port, events) as two,
    ):
        two.agent.lock_store = one.agent.lock_store
        users = [one.user(), two.user()]
        with ThreadPoolExecutor(2) as pool:
            sent = [pool.submit(user.tap, INES, idempotency_key=key) for user in users]
            assert actions.called.wait(30)
            time.sleep(0.3)  # for the second to wait for the lock; without it the test is easier
            actions.let_go()
            turns = [future.result() for future in sent]
        assert turns[0] == turns[1]
        assert actions.calls == 1
    actions.close()


# --- streaming --------------------------------------------------------------------------------


def test_a_stream_ends_with_the_whole_turn(user: User) -> None:
    key = str(uuid.uuid4())
    message = {"type": "postback", "payload": '/WHO_KNOWS_ABOUT{"technology": "Java"}'}
    events = list(user.stream(message, idempotency_key=key))
    assert [name for name, _ in events] == ["turn", "reply", "reply", "done"]
    turn = events[-1][1]
    assert not list(openapi.validator("Turn").iter_errors(turn))
    assert events[0][1] == {**turn, "replies": [], "suggestions": []}
    assert [data for name, data in events if name == "reply"] == turn["replies"]
    assert user.history()["turns"] == [turn]
    # Sent again, streamed or not, it is the same.
    assert list(user.stream(message, idempotency_key=key)) == events
    assert User.turn(user.post(message, idempotency_key=key)) == turn


def test_replies_are_streamed_as_they_come(slow: SlowServer) -> None:
    user = slow.server.user()
    stream = user.stream({"type": "postback", "payload": INES})
    name, turn = next(stream)  # while the action server has not answered
    assert name == "turn"
    assert turn["replies"] == []
    slow.actions.let_go()
    assert [name for name, _ in stream] == ["reply", "done"]


def test_a_stream_that_takes_too_long_ends_with_a_problem(slow: SlowServer) -> None:
    events = list(slow.server.user().stream({"type": "postback", "payload": INES}))
    assert [name for name, _ in events] == ["turn", "error"]
    assert events[-1][1]["type"] == "urn:skills-bot:problem:unavailable"


def test_a_message_refused_is_a_problem_also_where_a_stream_is_wanted(user: User) -> None:
    problem(user.post({}, accept="text/event-stream"), 400, "invalid-request")
    key = str(uuid.uuid4())
    user.tap(INES, idempotency_key=key)
    other = {"type": "text", "text": "autre"}
    response = user.post(other, accept="text/event-stream", idempotency_key=key)
    problem(response, 422, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/event-stream, */*", "text/event-stream"),
        ("text/event-stream;q=0.5, application/json", "application/json"),
        ("application/json;q=0.2, text/event-stream;q=0.9", "text/event-stream"),
        ("text/event-stream;q=0, */*", "application/json"),
        ("TEXT/Event-Stream", "text/event-stream"),
    ],
)
def test_the_client_chooses_the_form(user: User, accept: str, media_type: str) -> None:
    response = user.post({"type": "postback", "payload": "/HOW_ARE_YOU"}, accept=accept)
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "nonsense"])
def test_other_forms_are_not_to_be_had(user: User, accept: str) -> None:
    problem(user.post({"type": "text", "text": "a"}, accept=accept), 406, "not-acceptable")
    response = user.http.get(f"{user.url}/history", headers={"Accept": accept})
    problem(response, 406, "not-acceptable")


# --- history and deletion ---------------------------------------------------------------------


def test_history_comes_in_pages(user: User) -> None:
    said = [user.tap(f'/WHO_IS{{"collaborator_id": "P{number}"}}') for number in range(1, 6)]
    pages, before = [], {}
    while True:
        page = user.history(limit=2, **before)
        pages.append(page["turns"])
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [turn for page in reversed(pages) for turn in page] == said


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": "many"},
        {"limit": "1.5"},
        {"limit": "9" * 400},
        {"before": "x"},
        {"before": "-1"},
        {"before": "9" * 19},
    ],
)
def test_wrong_parameters_are_refused(user: User, parameters: dict[str, str]) -> None:
    response = user.http.get(f"{user.url}/history", params=parameters)
    errors = problem(response, 400, "invalid-request")["errors"]
    assert [error["pointer"] for error in errors] == list(parameters)


def test_history_without_a_conversation_is_empty(user: User) -> None:
    assert user.history() == {"turns": [], "next": None}
    assert user.history(before="0") == {"turns": [], "next": None}


def test_deleting_ones_conversation_leaves_nothing(server: MobileServer, user: User) -> None:
    other = server.user("who stays".replace(" ", "-"))
    other.tap(INES)
    user.tap(INES)
    user.delete()
    user.delete()
    assert user.history()["turns"] == []
    assert other.history()["turns"]
    # What was talked about is forgotten as well.
    (reply,) = user.tap('/WHO_IS{"detail": "email"}')["replies"]
    assert "ines@example.com" not in reply["text"]


def test_what_is_stored_names_the_user_by_a_pseudonym(server: MobileServer) -> None:
    subject = "paul.dupont@example.com"
    server.user(subject).tap(INES)
    with server.store.session_scope() as session:
        senders = {row.sender_id for row in session.query(server.store.SQLEvent)}
    assert conversation_id(DEVELOPMENT_ISSUER, subject) in senders
    assert not any("dupont" in sender for sender in senders)


# --- traces -----------------------------------------------------------------------------------


def test_the_trace_of_the_caller_is_carried_on(server: MobileServer, user: User) -> None:
    trace_id = uuid.uuid4().hex
    turn = user.tap(INES, traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    assert turn["trace_id"] == trace_id
    with server.store.session_scope() as session:
        rows = session.query(server.store.SQLEvent).filter_by(type_name="user").all()
        metadata = [json.loads(row.data)["metadata"] for row in rows]
    carried = [one["traceparent"] for one in metadata if trace_id in one["traceparent"]]
    (traceparent,) = carried
    assert traceparent.startswith(f"00-{trace_id}-")
    assert traceparent.endswith("-01")
    assert "00f067aa0ba902b7" not in traceparent


def test_a_malformed_trace_begins_a_new_one(user: User) -> None:
    seen = {user.tap(INES, traceparent="00-0-0-0")["trace_id"] for _ in range(2)}
    assert len(seen) == 2


# --- limits -----------------------------------------------------------------------------------


def test_each_user_has_a_rate(rules_model: str, actions_port: int, tmp_path: Path) -> None:
    settings = {"requests_per_minute": 6, "burst": 3}
    with MobileServer(rules_model, settings, actions_port, tmp_path / "events.db") as server:
        user, other = server.user("one"), server.user("other")
        for _ in range(3):
            user.tap("/HOW_ARE_YOU")
        response = user.post({"type": "text", "text": "a"})
        assert 1 <= problem(response, 429, "rate-limited")["retry_after"] <= 10
        problem(user.http.get(f"{user.url}/history"), 429, "rate-limited")
        other.tap("/HOW_ARE_YOU")


# --- the service ------------------------------------------------------------------------------


def test_the_contract_is_served_as_it_is_checked_in(server: MobileServer) -> None:
    assert httpx.get(f"{server.url}/openapi.json").json() == openapi.document()


def test_config(server: MobileServer) -> None:
    config = httpx.get(f"{server.url}/config").json()
    assert not list(openapi.validator("Config").iter_errors(config))
    assert config["sign_in"]["mode"] == "development"
    assert config["limits"]["text_characters"] == 1000


def test_health_and_readiness(server: MobileServer) -> None:
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    ready = httpx.get(f"{server.url}/ready")
    assert ready.status_code == 200
    assert ready.json()["checks"] == dict.fromkeys(
        ("model", "tracker_store", "action_server"), "ok"
    )


def test_not_ready_without_a_model_and_an_action_server(tmp_path: Path) -> None:
    with MobileServer(None, GENEROUS, free_port(), tmp_path / "events.db") as server:
        response = httpx.get(f"{server.url}/ready")
        assert problem(response, 503, "unavailable")["checks"] == {
            "model": "failing",
            "tracker_store": "ok",
            "action_server": "failing",
        }
        user = server.user()
        problem(user.post({"type": "text", "text": "a"}), 503, "unavailable")
        assert user.history()["turns"] == []


@pytest.mark.parametrize("header", ["host", "origin"])
def test_development_tokens_are_for_this_machine(server: MobileServer, header: str) -> None:
    value = "evil.example.com" if header == "host" else "https://evil.example.com"
    response = httpx.post(f"{server.url}/development/token", json={}, headers={header: value})
    problem(response, 403, "forbidden")


# --- cross-origin requests --------------------------------------------------------------------


@pytest.fixture(scope="module")
def cross_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MobileServer]:
    settings = {"origins": "https://people.example.com https://other.example.com"}
    events = tmp_path_factory.mktemp("cors") / "events.db"
    with MobileServer(None, settings, free_port(), events) as running:
        yield running


@pytest.mark.parametrize("path", ["/messages", "/history", "/conversation"])
def test_preflight_of_an_allowed_origin(cross_origin: MobileServer, path: str) -> None:
    response = httpx.options(
        f"{cross_origin.url}{path}",
        headers={
            "Origin": "https://people.example.com",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        },
    )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://people.example.com"
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert {"authorization", "idempotency-key", "content-type", "traceparent"} <= set(
        allowed.split(", ")
    )
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "https://people.example"])
def test_other_origins_are_not_told_yes(
    cross_origin: MobileServer, method: str, origin: str
) -> None:
    for path in ("/history", "/messages", "/health", "/nothing"):
        url = f"{cross_origin.url}{path}"
        response = httpx.request(method, url, headers={"Origin": origin})
        assert "access-control-allow-origin" not in response.headers


def test_problems_can_be_read_across_origins(cross_origin: MobileServer) -> None:
    origin = {"Origin": "https://people.example.com"}
    response = httpx.get(f"{cross_origin.url}/history", headers=origin)
    problem(response, 401, "unauthenticated")
    assert response.headers["access-control-allow-origin"] == "https://people.example.com"
    assert response.headers["vary"] == "Origin"
