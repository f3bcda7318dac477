"""What an app asks beside the conversation, and what it says of answers, over HTTP."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from actions.directory import Directory
from bot.channels.conversations import Conversations
from bot.dataset import Dataset
from bot.processes import free_port
from bot.review.anonymise import Anonymiser
from bot.review.questions import collect
from tests.support.action_server import fill, start_action_server
from tests.support.mobile_server import (
    MobileServer,
    User,
    conforming,
    development,  # noqa: F401
    problem,
)

# So few a minute that a slow machine gets none back.
FEW = {"requests_per_minute": 0.01, "burst": 3}
GENEROUS = {"requests_per_minute": 100_000, "burst": 100_000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lookups")


@pytest.fixture(scope="module")
def server(rules_model: str, folder: Path) -> Iterator[MobileServer]:
    url, port = f"sqlite:///{folder / 'directory.db'}", free_port()
    fill(url, folder)
    with MobileServer(rules_model, GENEROUS, port, folder / "events.db") as running:
        for _ in start_action_server(url, folder, port):
            yield running


@pytest.fixture
def user(server: MobileServer) -> User:
    return server.user(uuid.uuid4().hex)


def ask(user: User, path: str, schema: str, **body: Any) -> dict[str, Any]:
    response = user.http.post(f"{user.url}/{path}", json=body)
    assert response.status_code == 200, response.text
    return conforming(schema, response)


def completed(user: User, text: str) -> list[str]:
    """Return the whole texts that the completions of ``text`` make."""
    found = ask(user, "completions", "Completions", text=text)["completions"]
    return [text[: -one["replaces"]] + one["text"] for one in found]


# --- completions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("Qui connaît Ko", "Qui connaît Kotlin"),
        ("qui connait kotlin à nan", "qui connait kotlin à Nantes"),
        ("Qui est zer", "Qui est Inès Zeroual"),
        ("le mail de ines zer", "le mail de Inès Zeroual"),
        ("le mail d'aw", "le mail d'aw"),
        ("Qui est Le Ga", "Qui est Ewen Le Gall"),
        ("une développeuse mo", "une Développeuse mobile"),
        ("Un DATA SC", "Un Data scientist"),
        ("C+", "C++"),
    ],
)
def test_the_last_words_are_completed(user: User, typed: str, whole: str) -> None:
    assert typed == whole or whole in completed(user, typed)


@pytest.mark.parametrize(
    "text",
    ["", " ", "Qui connaît ", "Kotlin", "k", "qui", "%", "_o", "zzz", "K\0o", "Java ?", "\\"],
)
def test_what_is_finished_or_says_nothing_is_not(user: User, text: str) -> None:
    assert completed(user, text) == []


def test_namesakes_are_one_completion(user: User) -> None:
    assert completed(user, "paul mar") == ["Paul Martin"]


def test_completions_are_for_those_who_are_signed_in(server: MobileServer) -> None:
    response = httpx.post(f"{server.url}/completions", json={"text": "Ko"})
    problem(response, 401, "unauthenticated")


def test_typing_has_a_rate_of_its_own(rules_model: str, folder: Path, tmp_path: Path) -> None:
    url, port = f"sqlite:///{folder / 'directory.db'}", free_port()
    with MobileServer(rules_model, FEW, port, tmp_path / "events.db") as server:
        for _ in start_action_server(url, tmp_path, port):
            user = server.user()
            for _ in range(3 * 6):
                completed(user, "Ko")
            response = user.http.post(f"{user.url}/completions", json={"text": "Ko"})
            problem(response, 429, "rate-limited")
            user.tap("/HOW_ARE_YOU")  # one may still ask


# --- people, examples -------------------------------------------------------------------------


def test_people_are_as_their_caller_may_see_them(server: MobileServer, user: User) -> None:
    ines, paul = ask(user, "people", "People", ids=["P3", "nobody", "P1"])["people"]
    assert (ines["id"], paul["id"]) == ("P3", "P1")
    assert (ines["phone"], ines["hidden"]) == (None, ["phone"])
    allowed = server.user(uuid.uuid4().hex, "directory:phone")
    (ines,) = ask(allowed, "people", "People", ids=["P3"])["people"]
    assert ines["phone"] == "01 00 00 00 03"


def test_who_was_shown_is_recorded(server: MobileServer, folder: Path) -> None:
    subject = uuid.uuid4().hex
    user = server.user(subject)
    ask(user, "people", "People", ids=["P3", "P1"])
    completed(user, "Qui est zer")
    lines = [
        json.loads(line)
        for path in (folder / "audit").glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    own = [line for line in lines if line["caller"] == subject]
    assert [(line["action"], line["people"], line.get("named")) for line in own] == [
        ("people", ["P3", "P1"], None),
        ("completions", [], ["P3"]),
    ]


def test_people_count_for_the_day_s_quota_and_names_do_not(
    rules_model: str, folder: Path, tmp_path: Path
) -> None:
    url, port = f"sqlite:///{folder / 'directory.db'}", free_port()
    with MobileServer(rules_model, GENEROUS, port, tmp_path / "events.db") as server:
        for _ in start_action_server(url, tmp_path, port, PEOPLE_PER_DAY="2"):
            user = server.user()
            for typed in ("Qui est zer", "paul mar", "karim ben", "linh ng"):
                assert completed(user, typed)
            assert user.http.get(f"{user.url}/examples").status_code == 200
            assert len(ask(user, "people", "People", ids=["P1", "P3"])["people"]) == 2
            refused = user.http.post(f"{user.url}/people", json={"ids": ["P3", "P4"]})
            problem(refused, 429, "rate-limited")
            assert 0 < int(refused.headers["Retry-After"]) <= 86_400
            assert len(ask(user, "people", "People", ids=["P3"])["people"]) == 1  # once more
            assert completed(user, "Qui est zer")
    (log,) = (tmp_path / "audit").glob("*.jsonl")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line["refused"] for line in lines if "refused" in line] == [["P3", "P4"]]


def test_examples_are_of_this_directory(user: User) -> None:
    response = user.http.get(f"{user.url}/examples")
    assert response.status_code == 200, response.text
    found = conforming("Examples", response)
    assert found["technologies"][0] == "Java"
    assert (found["agency"], found["person"]) == ("Nantes", "Paul Martin")


@pytest.mark.parametrize("path", ["completions", "people", "examples"])
def test_without_an_action_server_it_is_unavailable(
    rules_model: str,
    tmp_path: Path,
    path: str,
) -> None:
    body = {"completions": {"text": "Ko"}, "people": {"ids": ["P3"]}}
    with MobileServer(rules_model, GENEROUS, free_port(), tmp_path / "events.db") as server:
        user = server.user()
        method = "POST" if path in body else "GET"
        response = user.http.request(method, f"{user.url}/{path}", json=body.get(path))
        problem(response, 503, "unavailable")


# --- what a button says, typed ----------------------------------------------------------------


def test_a_button_s_title_may_be_typed(user: User) -> None:
    offered = user.tap("/HOW_ARE_YOU")["suggestions"]
    assert "Chercher une personne" in [button["title"] for button in offered]
    turn = user.say("chercher une personne", idempotency_key="a-title-typed")
    assert "nom" in turn["replies"][0]["text"]  # of whom it is about
    assert turn["question"] == {"type": "text", "text": "chercher une personne"}
    assert user.history()["turns"][-1] == turn
    assert user.say("chercher une personne", idempotency_key="a-title-typed") == turn


# --- what an answer was worth -----------------------------------------------------------------


def judge(user: User, turn: str, verdict: str | None) -> httpx.Response:
    return user.http.post(f"{user.url}/feedback", json={"turn": turn, "verdict": verdict})


def test_a_verdict_stays_with_its_turn(server: MobileServer, user: User) -> None:
    first, second = user.say("Bonjour"), user.say("Bonsoir")
    assert first["verdict"] is None
    response = judge(user, first["id"], "bad")
    assert (response.status_code, response.content) == (204, b"")
    assert [turn["verdict"] for turn in user.history()["turns"]] == ["bad", None]
    judge(user, first["id"], None)
    judge(user, second["id"], "good")
    assert [turn["verdict"] for turn in user.history()["turns"]] == [None, "good"]
    problem(judge(server.user("another"), first["id"], "bad"), 404, "not-found")
    problem(judge(user, "0" * 32, "bad"), 404, "not-found")
    problem(judge(user, first["id"], "so-so"), 400, "invalid-request")


def test_a_thumb_down_reaches_the_review(server: MobileServer, folder: Path) -> None:
    user = server.user(uuid.uuid4().hex)
    turn = user.say("une question dont la réponse était mauvaise")
    directory = Directory(f"sqlite:///{folder / 'directory.db'}")
    anonymise = Anonymiser(directory.names(), Dataset([]), ["Alice"], [], Dataset([]))

    def reasons() -> list[list[str]]:
        questions = collect(Conversations(server.store.engine).turns(), anonymise)
        return [list(q.reasons) for q in questions if "mauvaise" in q.text]

    before = reasons()
    judge(user, turn["id"], "bad")
    assert reasons() == [["thumb down", *(before[0] if before else [])]]
    directory.close()
