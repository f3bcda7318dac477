"""Rules, responses and actions together: Rasa itself, with and without its action server.

The model holds the project's domain and rules; messages are buttons' payloads, so that no trained
classifier is needed to say which question is asked.
"""

from __future__ import annotations

import asyncio
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.processes import free_port
from bot.runtime import rasa_cli
from tests.support import HOST, ROOT
from tests.support.action_server import fill, start_action_server

RULES = ROOT / "data/rules.yml"

DOMAIN = ROOT / "domain.yml"
RESPONSES = yaml.safe_load(DOMAIN.read_text(encoding="utf-8"))["responses"]


class Chat:
    """One conversation with a Rasa agent in this process."""

    def __init__(self, model: str, port: int) -> None:
        from rasa.core.agent import Agent
        from rasa.utils.endpoints import EndpointConfig

        endpoint = EndpointConfig(f"http://{HOST}:{port}/webhook")
        self.agent = Agent.load(model, action_endpoint=endpoint)

    def say(self, text: str) -> list[dict[str, Any]]:
        return asyncio.run(self.agent.handle_text(text, sender_id="me")) or []

    def texts(self, text: str) -> list[str]:
        return [message["text"] for message in self.say(text) if "text" in message]


def variations(response: str) -> set[str]:
    return {variation["text"] for variation in RESPONSES[response]}


@pytest.fixture
def quick_timeout() -> Iterator[None]:
    import rasa.core.actions.action as action

    usual = action.DEFAULT_REQUEST_TIMEOUT
    rasa_cli.set_action_timeout(0.5)
    yield
    rasa_cli.set_action_timeout(usual)


@pytest.mark.parametrize("intent", ["WHO_IS", "WHO_KNOWS_ABOUT"])
def test_absent_action_server(rules_model: str, intent: str) -> None:
    chat = Chat(rules_model, free_port())
    for _ in range(2):
        (text,) = chat.texts(f"/{intent}")
        assert text in variations("utter_unavailable")
    (text,) = chat.texts("/HOW_ARE_YOU")
    assert text in variations("utter_how_are_you")


def test_silent_action_server(rules_model: str, quick_timeout: None) -> None:
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        chat = Chat(rules_model, silent.getsockname()[1])
        (text,) = chat.texts("/WHO_IS")
        assert text in variations("utter_unavailable")


def test_the_conversation_goes_on_when_the_action_server_comes_and_goes(
    rules_model: str, tmp_path: Path
) -> None:
    url, port = f"sqlite:///{tmp_path / 'directory.db'}", free_port()
    fill(url, tmp_path)
    chat = Chat(rules_model, port)
    assert chat.texts('/WHO_IS{"collaborator_id": "P3"}')[0] in variations("utter_unavailable")
    for _ in start_action_server(url, tmp_path, port):
        assert chat.texts('/WHO_IS{"collaborator_id": "P3"}')[0].startswith("Inès Zeroual, ")
    assert chat.texts('/WHO_IS{"detail": "email"}')[0] in variations("utter_unavailable")
    for _ in start_action_server(url, tmp_path, port):
        assert chat.texts('/WHO_IS{"detail": "email"}') == [
            "Inès Zeroual — mail : ines@example.com"
        ]


def test_what_users_read(rules_model: str, tmp_path: Path) -> None:
    """A conversation through all of it: text, buttons and cards as a channel gets them."""
    url, port = f"sqlite:///{tmp_path / 'directory.db'}", free_port()
    fill(url, tmp_path)
    for _ in start_action_server(url, tmp_path, port):
        chat = Chat(rules_model, port)
        text, card = chat.say('/WHO_IS{"person": "Inès Zeroual"}')
        today = text["text"].rpartition("à jour du ")[2].rstrip(")")
        assert text["text"] == (
            "Inès Zeroual, Développeuse mobile (Nantes).\n"
            "Compétences : Kotlin 5/5, Java 3/5\n"
            "Contact : ines@example.com · 01 00 00 00 03\n"
            f"(à jour du {today})"
        )
        assert card["custom"]["person"]["id"] == "P3"
        choice, _ = chat.say('/WHO_IS{"person": "Paul Martin"}')
        assert choice["text"] == (
            "Je connais 2 personnes de ce nom (Paul Martin). Laquelle cherchez-vous ?"
        )
        chat.say(choice["buttons"][0]["payload"])
        refusal, _ = chat.say('/WHO_KNOWS_ABOUT{"reference": "x", "technology": "C++"}')
        assert refusal["buttons"] == [
            {
                "title": "Qui connaît C++ ?",
                "payload": '/WHO_KNOWS_ABOUT{"technology": "C++"}',
            }
        ]
        assert chat.texts(refusal["buttons"][0]["payload"])[0].splitlines() == [
            "Une seule personne connaît C++ (niveau sur 5) :",
            "• Karim Ben Salah — Lyon — 5/5",
            f"(à jour du {today})",
        ]
        page, _, more = chat.say('/WHO_KNOWS_ABOUT{"technology": "Java"}')
        assert page["text"].startswith("7 personnes connaissent Java (niveau sur 5) :\n• Paul")
        assert more["text"] == "Il reste 2 personnes."
        (button,) = more["buttons"]
        assert button["title"] == "Voir la suite"
        (rest,) = chat.texts(button["payload"])
        assert rest.startswith("Java, la suite (6 à 7 sur 7) :\n")
        odd = chat.say('/WHO_IS{"person": "{name} 0[x] <b>"}')
        assert odd[0]["text"].startswith("Je ne trouve personne qui s'appelle name 0 x <b> ")


def test_fallback_offers_examples(rules_model: str) -> None:
    """Even without an action server."""
    chat = Chat(rules_model, free_port())
    for intent, response in [
        ("nlu_fallback", "utter_fallback"),
        ("OUT_OF_SCOPE", "utter_out_of_scope"),
    ]:
        (message,) = chat.say(f"/{intent}")
        assert message["text"] in variations(response)
        assert [button["title"] for button in message["buttons"]] == [
            "Qui connaît Python ?",
            "Chercher une compétence",
            "Chercher une personne",
        ]


def test_the_validator_has_nothing_to_say(rules_model: str) -> None:
    from rasa.shared.importers.importer import TrainingDataImporter
    from rasa.validator import Validator

    importer = TrainingDataImporter.load_from_dict(
        {}, domain_path=str(DOMAIN), training_data_paths=[str(RULES)]
    )
    validator = Validator.from_importer(importer)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert validator.verify_utterances_in_stories(ignore_warnings=False)
        assert validator.verify_actions_in_stories_rules()
        assert validator.verify_story_structure(ignore_warnings=False)
        assert validator.verify_slot_mappings()
        assert validator.verify_domain_validity()
