"""The trained bot through the mobile channel, as `bot run` starts it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import HOST
from tests.support.action_server import DOMAIN
from tests.support.mobile_server import PREFIX, User
from tests.support.running_bot import RunningBot, end, start_bot, wait_until_up


@pytest.fixture(scope="module")
def bot(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBot]:
    running = start_bot(tmp_path_factory.mktemp("mobile"))
    try:
        wait_until_up(running)
        yield running
    finally:
        end(running)


def sign_in(bot: RunningBot, scope: str = "") -> User:
    url = f"http://{HOST}:{bot.port}{PREFIX}"
    body = {"subject": uuid.uuid4().hex, "scope": scope}
    token = httpx.post(f"{url}/development/token", json=body).json()["access_token"]
    return User(url, token)


def test_the_three_questions(bot: RunningBot) -> None:
    user = sign_in(bot)
    (who,) = user.say("Qui est Maëlys Kerguelen ?")["replies"]
    assert who["card"]["type"] == "person_card"
    assert who["card"]["person"]["name"] == "Maëlys Kerguelen"
    experts = user.say("ki s'y connait en k8s a nantes")["replies"][0]["card"]
    assert (experts["type"], experts["technologies"]) == ("expert_list", ["Kubernetes"])
    assert experts["agency"] == "Nantes"
    (hello,) = user.say("Bonjour, comment ça va ?")["replies"]
    assert hello["card"] is None
    assert len(user.history()["turns"]) == 3


def test_a_homonym_is_chosen_by_its_button(bot: RunningBot) -> None:
    user = sign_in(bot)
    (choice,) = user.say("Tu connais Paul Martin ?")["replies"]
    button = next(button for button in choice["buttons"] if "Lyon" in button["title"])
    turn = user.turn(user.post({"type": "postback", **button}))
    assert turn["question"] == {"type": "postback", **button}
    assert turn["replies"][0]["card"]["person"]["agency"] == "Lyon"


def test_a_phone_is_for_those_with_the_scope(bot: RunningBot) -> None:
    question = "Quel est le téléphone de Maëlys Kerguelen ?"
    (hidden,) = sign_in(bot).say(question)["replies"]
    assert hidden["card"]["person"]["phone"] is None
    assert "06 39 98 05 48" not in json.dumps(hidden)
    (shown,) = sign_in(bot, "directory:phone").say(question)["replies"]
    assert "06 39 98 05 48" in shown["text"]


# What to say, and what makes the bot suggest something.
OPENINGS = {
    "after a card": ["Qui est Maëlys Kerguelen ?"],
    "in a list": ["Qui connaît Kubernetes ?", "le premier"],
    "a detail, in a list": ["Qui connaît Kubernetes ?", "le premier", "son mail ?"],
    "after a skill check": ["Est-ce que Maëlys Kerguelen connaît Docker ?"],
    "after a list": ["Qui connaît Kubernetes ?"],
    "after a list of an agency": ["Qui connaît Kubernetes à Nantes ?"],
    "after a list of two technologies": ["Qui connaît Kubernetes et Docker ?"],
    "which technology?": ["/WHO_KNOWS_ABOUT"],
    "nobody of that name": ["Qui est Zebulon Tartempion ?"],
    "small talk": ["Bonjour, comment ça va ?"],
    "off-topic": ["Qui connaît Kubernetes ?", "le premier", "quel temps fait-il demain ?"],
}


def answers(turn: dict[str, Any]) -> bool:
    """Whether the bot knew what to say: people, or our question for what to look up."""
    asks = {
        variation["text"]
        for response in ("utter_ask_person", "utter_ask_technology")
        for variation in DOMAIN["responses"][response]
    }
    cards = [reply["card"] for reply in turn["replies"] if reply["card"]]
    asked = any(reply["text"] in asks for reply in turn["replies"])
    return asked or any(card.get("person") or card.get("experts") for card in cards)


def replay(bot: RunningBot, texts: list[str]) -> tuple[User, list[dict[str, str]]]:
    """Say ``texts`` in a new conversation; return what is suggested at its end."""
    user = sign_in(bot)
    for text in texts:
        turn = user.say(text)
    return user, turn["suggestions"]


@pytest.mark.parametrize("situation", OPENINGS)
def test_each_suggestion_is_answered(bot: RunningBot, situation: str) -> None:
    _, suggestions = replay(bot, OPENINGS[situation])
    assert 1 <= len(suggestions) <= 4
    assert len({suggestion["title"] for suggestion in suggestions}) == len(suggestions)
    for suggestion in suggestions:
        user, again = replay(bot, OPENINGS[situation])
        assert suggestion in again
        tapped = user.turn(user.post({"type": "postback", **suggestion}))
        assert answers(tapped), (suggestion, tapped)
        if suggestion["title"].endswith("?"):  # a sentence may be typed as well
            user, _ = replay(bot, OPENINGS[situation])
            assert answers(user.say(suggestion["title"])), suggestion


def test_it_streams(bot: RunningBot) -> None:
    events = list(sign_in(bot).stream({"type": "text", "text": "Qui connaît Python ?"}))
    assert events[0][0] == "turn"
    assert events[-1][0] == "done"
    assert [data for name, data in events if name == "reply"] == events[-1][1]["replies"]
