"""Whatever a turn demands is shown in the answer, or named as not taken into account."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actions.directory import Directory
from tests.support import ROOT
from tests.support.action_server import DOMAIN, ActionServer, Conversation, start_action_server

ACTIONS = ("action_who_is", "action_who_knows_about")
# They may refuse a turn as a whole, in these words.
REFUSING = {
    "action_help": None,
    "action_not_understood": "utter_fallback",
    "action_off_topic": "utter_out_of_scope",
}

# Demands as the NLU finds them, and how an answer shows that each was honoured.
DEMANDS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "technology": ([{"entity": "technology", "value": "Java"}], "Java"),
    "without": ([{"entity": "technology", "value": "PHP", "role": "excluded"}], "sans PHP"),
    "alternatives": (
        [
            {"entity": "technology", "value": "Kotlin", "group": "1"},
            {"entity": "technology", "value": "Swift", "group": "1"},
        ],
        "Kotlin ou Swift",
    ),
    "level": (
        [
            {"entity": "technology", "value": "Docker", "group": "2"},
            {"entity": "level", "value": "4", "role": "minimum", "group": "2"},
        ],
        "Docker ≥ 4",
    ),
    "family": ([{"entity": "family", "value": "data"}], "profil data"),
    "title": ([{"entity": "job_title", "value": "architecte"}], "architecte"),
    "topic": ([{"entity": "topic", "value": "banque"}], "banque"),
    "agency": ([{"entity": "agency", "value": "Nantes"}], "Nantes"),
    "outside": ([{"entity": "agency", "value": "Paris", "role": "excluded"}], "hors Paris"),
    "left out": (
        [{"entity": "person", "value": "Luc Martin", "role": "excluded"}],
        "hors Luc Martin",
    ),
    "free": (
        [
            {"entity": "detail", "value": "availability"},
            {"entity": "date", "value": "15 décembre 2030", "role": "before"},
        ],
        "15/12/2030",
    ),
    "language": ([{"entity": "unsupported", "value": "language"}], "«"),
    "not understood": ([{"entity": "unknown", "value": "zorglub"}], "zorglub"),
    "no date": (
        [
            {"entity": "detail", "value": "availability"},
            {"entity": "date", "value": "la saint-jamais"},
        ],
        "« la saint-jamais »",
    ),
}
# Whom the turn is about besides: nobody, somebody named, or somebody before.
FRAMES: dict[str, list[dict[str, Any]]] = {
    "people": [{"entity": "ask", "value": "people"}],
    "nothing": [],
    "person": [{"entity": "person", "value": "Linh Nguyen"}],
    "pronoun": [{"entity": "reference", "value": "reference"}],
    "follow-up": [{"entity": "follow_up", "value": "follow_up"}],
    "substitute": [
        {"entity": "ask", "value": "substitute"},
        {"entity": "person", "value": "Linh Nguyen"},
    ],
    "comparison": [
        {"entity": "ask", "value": "comparison"},
        {"entity": "person", "value": "Linh Nguyen"},
        {"entity": "person", "value": "Bilal Haddad"},
    ],
    "agencies": [{"entity": "ask", "value": "agencies"}],
    "skills": [{"entity": "ask", "value": "skills"}],
    "contact": [{"entity": "email", "value": "linh.nguyen@example.com"}],
}


@pytest.fixture(scope="module")
def sample_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ActionServer]:
    folder = tmp_path_factory.mktemp("honoured")
    url = f"sqlite:///{folder / 'directory.db'}"
    directory = Directory(url)
    directory.import_(ROOT / "data/directory.csv")
    directory.close()
    yield from start_action_server(url, folder)


def answer(
    talk: Conversation, action: str, entities: list[dict[str, Any]], text: str | None = None
) -> str:
    """Return all that is said, filled in as the bot does."""
    latest = {"text": text, "intent": {"name": "any"}, "entities": entities}
    tracker = {"sender_id": "t", "slots": talk.slots, "latest_message": latest, "events": []}
    response = talk.server.call(action, tracker)
    assert response.status_code == 200, response.text
    events = response.json()["events"]
    talk.slots = {**talk.slots, **{e["name"]: e["value"] for e in events if e["event"] == "slot"}}
    said = []
    for message in response.json()["responses"]:
        text = DOMAIN["responses"][message["response"]][0]["text"]
        said.append(text.format_map({name: str(value) for name, value in message.items()}))
        said += [button["title"] for button in message["buttons"]]
    return "\n".join(said)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("frame", FRAMES)
def test_each_demand_is_shown_or_named(
    sample_server: ActionServer, action: str, frame: str
) -> None:
    for one, other in itertools.combinations(DEMANDS, 2):
        if {one, other} == {"free", "no date"}:
            continue
        demanded = [*DEMANDS[one][0], *DEMANDS[other][0]]
        talk = Conversation(sample_server)
        answer(talk, "action_who_knows_about", [{"entity": "technology", "value": "Python"}])
        said = answer(talk, action, [*FRAMES[frame], *demanded])
        for name in (one, other):
            _, shown = DEMANDS[name]
            assert shown in said or _of_a_person(name, frame, said), (one, other, said)


@pytest.mark.parametrize("action", REFUSING)
@pytest.mark.parametrize("text", ["peu de mots", "bien plus de mots que dans une simple réponse"])
def test_each_demand_is_shown_or_named_unless_the_turn_is_refused(
    sample_server: ActionServer, action: str, text: str
) -> None:
    refusal = REFUSING[action]
    refused = DOMAIN["responses"][refusal][0]["text"] if refusal else "\0"
    answered = 0
    for frame, (name, (demanded, shown)) in itertools.product(FRAMES, DEMANDS.items()):
        talk = Conversation(sample_server)
        answer(talk, "action_who_knows_about", [{"entity": "technology", "value": "Python"}])
        said = answer(talk, action, [*FRAMES[frame], *demanded], text)
        if refused in said:
            assert "Python" in said or len(said.splitlines()) < 8, said  # no list beside it
            continue
        answered += 1
        assert shown in said or _of_a_person(name, frame, said), (frame, name, said)
    assert answered


def _of_a_person(demand: str, frame: str, said: str) -> bool:
    """Whether a demand is honoured by an answer about one person, in its own words."""
    if frame not in ("person", "pronoun", "contact", "comparison", "substitute", "nothing"):
        return False
    if "De qui parlez-vous" in said:  # skills are then told of the one chosen
        return demand in ("technology", "without", "alternatives", "level", "family")
    known = {
        "without": "PHP",
        "alternatives": "Kotlin",
        "level": "Docker",
        "family": "connaît",
        "free": "disponible",
        "agency": "Linh Nguyen",  # looked up among those of that agency
    }
    return demand in known and known[demand] in said


def test_what_the_caller_may_not_see_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'directory.db'}"
    directory = Directory(url)
    directory.import_(ROOT / "data/directory.csv")
    directory.close()
    visibility = tmp_path / "visibility.yml"
    visibility.write_text("{email: a, available_from: a, biography: a}", encoding="utf-8")
    hidden = {"ANONYMOUS_SCOPES": "", "DIRECTORY_VISIBILITY": str(visibility)}
    for server in start_action_server(url, tmp_path, **hidden):
        talk = Conversation(server)
        java = [{"entity": "technology", "value": "Java"}]
        free = [{"entity": "detail", "value": "availability"}]
        said = answer(talk, "action_who_knows_about", [*java, *free])
        assert said.splitlines()[0].startswith("22 personnes connaissent Java")
        assert "Je n'ai pas tenu compte de « dispo" in said
        topic = [{"entity": "topic", "value": "banque"}]
        assert "Karim" not in answer(talk, "action_who_knows_about", topic)
        contact = [{"entity": "email", "value": "linh.nguyen@example.com"}]
        assert "Linh" not in answer(talk, "action_who_is", contact)
