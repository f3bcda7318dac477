"""What a message says in the words of the directory, whatever the pipeline made of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml
from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher

from actions import conversation
from actions.directory import Directory
from actions.not_understood import NotUnderstood, OffTopic
from actions.reading import left_over, reread
from actions.who_is import WhoIs
from actions.who_knows_about import WhoKnowsAbout
from tests.support import ROOT

DOMAIN = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf-8"))
PEOPLE = """\
id,first_name,last_name,agency,job_title,email,phone,skills,biography
P1,Yoni,Blanc,Nancy,Technicien,yoni@example.com,,Génie climatique:4;NF C 15-100:3,Des ponts.
P2,Rose,Petit,Metz,Technicienne,rose@example.com,,Oracle 19c:3;Plomberie:2;K8s:1,
P3,Malo,Guivarc'h,Metz,Conducteur de travaux,malo@example.com,,Marchés publics:5;Java 17:2;Go:3,
P4,Paul,Martin,Nancy,Développeur,paul@example.com,,Java:4;Oracle:5,
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    folder = tmp_path_factory.mktemp("reading")
    (folder / "people.csv").write_text(PEOPLE, encoding="utf-8")
    filled = Directory(f"sqlite:///{folder / 'people.db'}")
    filled.import_(folder / "people.csv")
    return filled


def entity(text: str, name: str, kind: str, **more: Any) -> dict[str, Any]:
    start = text.index(name)
    return {"entity": kind, "start": start, "end": start + len(name), "value": name, **more}


def read(directory: Directory, text: str, *entities: dict[str, Any]) -> list[tuple[Any, ...]]:
    message = reread({"text": text, "entities": list(entities)}, directory)
    return [(e["entity"], e["value"], e.get("role")) for e in message["entities"]]


@pytest.mark.parametrize("kind", ["person", "unknown", "technology", "topic"])
def test_a_skill_goes_before_what_a_guess_took_for_something_else(
    directory: Directory, kind: str
) -> None:
    text = "qui maîtrise le genie climatique ?"
    guess = entity(text, "climatique", kind)
    assert read(directory, text, guess) == [("technology", "genie climatique", None)]
    assert read(directory, text) == [("technology", "genie climatique", None)]


def test_what_is_longer_and_known_stays(directory: Directory) -> None:
    text = "qui connaît Oracle 19c"
    known = entity(text, "Oracle 19c", "technology")
    assert read(directory, text, {**known, "value": "Oracle"}) == [
        ("technology", "Oracle 19c", None)
    ]
    text = "qui est Rose Petit-Blanc"
    assert read(directory, text, entity(text, "Rose Petit-Blanc", "person")) == [
        ("person", "Rose Petit-Blanc", None)
    ]


def test_roles_and_alternatives_of_names_that_nobody_had_seen(directory: Directory) -> None:
    assert read(directory, "qui connaît la plomberie sauf le génie climatique") == [
        ("technology", "plomberie", None),
        ("technology", "génie climatique", "excluded"),
    ]
    message = reread({"text": "plomberie ou du génie climatique"}, directory)
    groups = {e["group"] for e in message["entities"]}
    assert len(groups) == 1
    assert read(directory, "pourquoi pas de la plomberie")[0][2] is None


def test_what_the_pipeline_said_of_a_name_it_knew_is_kept(directory: Directory) -> None:
    text = "je ne veux personne qui ne connaisse pas plomberie"
    known = entity(text, "plomberie", "technology")
    assert read(directory, text, known) == [("technology", "plomberie", None)]


def test_two_small_letters_are_rather_a_word(directory: Directory) -> None:
    assert read(directory, "let's go, de la plomberie") == [("technology", "plomberie", None)]
    assert read(directory, "du Go") == [("technology", "Go", None)]


def test_what_is_in_no_list_is_looked_up(directory: Directory) -> None:
    def guess(text: str, name: str, kind: str = "technology") -> dict[str, Any]:
        return entity(text, name, kind, extractor="FrenchCRFEntityExtractor")

    text = "guivarc'h se libère quand"
    assert read(directory, text, guess(text, "guivarc'h", "unknown")) == [
        ("person", "guivarc'h", None)
    ]
    text = "un site blanc en Java"
    blank, java = guess(text, "blanc", "unknown"), guess(text, "Java")
    assert read(directory, text, blank, java)[0] == ("unknown", "blanc", None)
    text = "stack Zorgol, du Java"
    java = guess(text, "Java")
    assert read(directory, text, guess(text, "Zorgol"), java)[0] == ("unsupported", "Zorgol", None)
    # Alone it is what they ask for.
    assert read(directory, "du Zorgol", guess("du Zorgol", "Zorgol")) == [
        ("technology", "Zorgol", None)
    ]
    text = "une expérience du BTP ou des ponts"
    assert read(directory, text, guess(text, "BTP ou des ponts")) == [
        ("topic", "BTP", None),
        ("topic", "ponts", None),
    ]


def test_a_button_is_left_as_it_is(directory: Directory) -> None:
    message = {"text": '/WHO_IS{"person": "Yoni Blanc"}', "entities": []}
    assert reread(message, directory) is message


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("c qui guyvarch", "guyvarch"),
        ("est-ce que tu connais l'ami dupont ?", "ami dupont"),
        ("le mail de Anne-Lise stp", "Anne-Lise"),
        ("qui est-ce ?", ""),
    ],
)
def test_the_words_left_over(text: str, rest: str) -> None:
    assert left_over({"text": text}) == rest


# --- answers --------------------------------------------------------------------------------------


def said(
    directory: Directory,
    monkeypatch: pytest.MonkeyPatch,
    action: conversation.Question,
    text: str,
    *entities: dict[str, Any],
    slots: dict[str, Any] | None = None,
) -> tuple[list[str], list[str]]:
    """The responses of an answer, and the ids of the people in its cards."""
    monkeypatch.setenv("ANONYMOUS_SCOPES", "*")
    monkeypatch.setenv("AUDIT_LOG", "off")
    monkeypatch.setenv("DIRECTORY_TIMEOUT", "60")
    monkeypatch.setattr(conversation, "_directory", directory)
    message = {"text": text, "entities": list(entities)}
    tracker = Tracker("me", slots or {}, message, [], False, None, {}, "action_listen")
    dispatcher = CollectingDispatcher()
    asyncio.run(action.run(dispatcher, tracker, DOMAIN))
    from actions.audit import people_shown

    responses = [m["response"] for m in dispatcher.messages if m.get("response")]
    cards = [{"custom": m.get("payload") or m.get("custom")} for m in dispatcher.messages]
    return responses, people_shown(cards)


BEFORE = {"query": {"constraints": [{"terms": [["technology", "Oracle"]]}]}, "candidates": ["P4"]}


def test_the_memory_never_answers_for_a_word_that_nobody_knows(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "et la zinguerie ?"
    follow_up, unknown = entity(text, "et", "follow_up"), entity(text, "zinguerie", "unknown")
    responses, people = said(
        directory, monkeypatch, WhoKnowsAbout(), text, follow_up, unknown, slots=BEFORE
    )
    assert people == []
    assert responses[0] == "utter_no_expert"


def test_the_memory_never_answers_for_another_name(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, slots = "le mail de petit rose", {"collaborator_id": "P1"}
    mail = entity(text, "mail", "detail")
    mail["value"] = "email"
    _, people = said(directory, monkeypatch, WhoIs(), text, mail, slots=slots)
    assert people == ["P2"]
    text = "le mail de guivarch"
    mail = {**mail, "start": 3, "end": 7}
    _, people = said(directory, monkeypatch, WhoIs(), text, mail, slots=slots)
    assert people == ["P3"]


@pytest.mark.parametrize("action", [NotUnderstood(), OffTopic()])
def test_a_question_in_the_words_of_the_directory_is_none_of_another_thing(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, action: conversation.Question
) -> None:
    text = "on a quelqu'un en plomberie"
    assert said(directory, monkeypatch, action, text)[1] == ["P2"]
    assert said(directory, monkeypatch, action, "tu connais blanc yoni ?")[1] == ["P1"]
    text = "il faut réparer la plomberie de ma cuisine"
    assert said(directory, monkeypatch, action, text)[1] == []


@pytest.mark.parametrize(
    ("person", "skill"),
    [("Rose Petit", "Oracle 19c"), ("Rose Petit", "Oracle"), ("Rose Petit", "kubernetes"),
     ("Paul Martin", "Oracle 19c"), ("Malo Guivarc'h", "Java 8"), ("Yoni Blanc", "nf c 15-100")],
)  # fmt: skip
def test_no_false_no(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, person: str, skill: str
) -> None:
    text = f"{person} connaît {skill} ?"
    who = entity(text, person, "person")
    what = entity(text, skill, "technology")
    responses, _ = said(directory, monkeypatch, WhoKnowsAbout(), text, who, what)
    assert responses[0] == "utter_skill_yes"


def test_the_answer_says_that_not_all_have_the_version(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "qui connaît Oracle 19c ?"
    what = {**entity(text, "Oracle 19c", "technology"), "value": "Oracle"}
    responses, people = said(directory, monkeypatch, WhoKnowsAbout(), text, what)
    assert people == ["P2", "P4"]
    assert "utter_experts_versions" in responses
