"""The custom actions as Rasa calls them: the real action server over HTTP, on a real directory."""

from __future__ import annotations

import ast
import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.directory import Directory
from bot.processes import free_port
from tests.support import HOST, ROOT
from tests.support.action_server import (
    CLIENT,
    DOMAIN,
    ActionServer,
    Conversation,
    fill,
    start_action_server,
)

ACTIONS = DOMAIN["actions"]


@pytest.fixture(scope="session")
def action_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ActionServer]:
    folder = tmp_path_factory.mktemp("actions")
    url = f"sqlite:///{folder / 'directory.db'}"
    fill(url, folder)
    yield from start_action_server(url, folder)


@pytest.fixture
def talk(action_server: ActionServer) -> Conversation:
    return Conversation(action_server)


def listed(conversation: Conversation) -> list[str]:
    return [e["person"]["id"] for card in conversation.cards for e in card["experts"]]


def suggested_by(conversation: Conversation) -> list[str]:
    return [message["response"] for message in conversation.suggestions]


# --- the server -------------------------------------------------------------------------------


def test_the_server_offers_the_actions_of_the_domain(action_server: ActionServer) -> None:
    offered = {a["name"] for a in httpx.get(f"{action_server.url}/actions").json()}
    assert offered == set(ACTIONS)


# --- who is -----------------------------------------------------------------------------------


def test_card(talk: Conversation) -> None:
    talk.who_is("Qui est Inès Zeroual ?", person="Inès Zeroual")

    (message,) = talk.responses
    assert {k: message[k] for k in ("response", "name", "job_title", "agency")} == {
        "response": "utter_person_card",
        "name": "Inès Zeroual",
        "job_title": "Développeuse mobile",
        "agency": "Nantes",
    }
    assert message["skills"] == "Kotlin 5/5, Java 3/5"
    assert message["contact"] == "ines@example.com · 01 00 00 00 03"
    assert re.fullmatch(r"\d\d/\d\d/\d{4}", message["updated"])
    card = message["custom"]
    assert (card["type"], card["version"], card["detail"]) == ("person_card", 1, None)
    assert card["person"]["skills"] == [
        {"name": "Kotlin", "level": 5},
        {"name": "Java", "level": 3},
    ]
    assert talk.events == [
        {"event": "slot", "timestamp": None, "name": "person", "value": "Inès Zeroual"},
        {"event": "slot", "timestamp": None, "name": "collaborator_id", "value": "P3"},
        {"event": "slot", "timestamp": None, "name": "answered", "value": True},
    ]


def test_card_of_somebody_with_little_in_the_directory(talk: Conversation) -> None:
    (message,) = talk.who_is(person="Awa Diop").responses
    assert (message["response"], message["skills"]) == ("utter_person_card", "—")
    (message,) = talk.who_is(person="Karim Ben Salah").responses
    assert message["contact"] == "—"


@pytest.mark.parametrize(
    ("detail", "said", "value"),
    [
        ("email", "utter_person_email", {"email": "paul@example.com"}),
        ("phone", "utter_person_phone", {"phone": "01 00 00 01"}),
        ("agency", "utter_person_agency", {"agency": "Nantes"}),
        ("job_title", "utter_person_job_title", {"job_title": "Architecte"}),
        (
            "skills",
            "utter_person_skills",
            {"skills": "• Java 5/5\n• Docker 3/5\n• Angular 2/5"},
        ),
        ("availability", "utter_person_available_from", {"date": "01/02/2999"}),
        ("nonsense", "utter_person_card", {"agency": "Nantes"}),
    ],
)
def test_detail_of_the_person_talked_about(
    talk: Conversation, detail: str, said: str, value: dict[str, str]
) -> None:
    talk.press('/WHO_IS{"collaborator_id": "P1"}')
    (message,) = talk.who_is("quel est son … ?", detail=detail).responses
    assert message["response"] == said
    assert message["name"] == "Paul Martin"
    assert {name: message[name] for name in value} == value
    assert message["custom"]["detail"] == (detail if detail != "nonsense" else None)


def test_contact_is_mail_and_phone(talk: Conversation) -> None:
    talk.who_is(person="Inès Zeroual", detail="contact")
    assert talk.said == ["utter_person_email", "utter_person_phone"]


def test_details_that_the_directory_does_not_hold(talk: Conversation) -> None:
    talk.press('/WHO_IS{"collaborator_id": "P8"}')
    assert talk.who_is(detail="availability").said == ["utter_person_detail_unknown"]
    assert talk.who_is(detail="skills").said == ["utter_person_detail_unknown"]
    talk.press('/WHO_IS{"collaborator_id": "P2"}')
    assert talk.who_is(detail="phone").said == ["utter_person_detail_unknown"]
    assert talk.who_is(detail="availability").said == ["utter_person_available_now"]


def test_namesakes_and_a_button(talk: Conversation) -> None:
    talk.who_is("Qui est Paul Martin ?", person="Paul Martin")
    assert talk.said == ["utter_person_choice"]
    assert (talk.responses[0]["total"], talk.responses[0]["name"]) == (2, "Paul Martin")
    assert sorted(talk.buttons, key=lambda button: button["payload"]) == [
        {
            "title": "Paul Martin — Architecte, Nantes",
            "payload": '/WHO_IS{"collaborator_id": "P1"}',
        },
        {
            "title": "Paul Martin — Testeur, Lyon",
            "payload": '/WHO_IS{"collaborator_id": "P2"}',
        },
    ]
    (card,) = talk.cards
    assert (card["type"], card["reason"], card["total"]) == ("person_choice", "namesakes", 2)
    assert [p["payload"] for p in card["people"]] == [b["payload"] for b in talk.buttons]

    talk.press('/WHO_IS{"collaborator_id": "P2"}')
    assert talk.said == ["utter_person_card"]
    assert talk.responses[0]["agency"] == "Lyon"
    assert talk.slots["pending"] is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("SQL:3;Java:5,", "SQL:3;C:2,"), ("Java 5/5", "C 2/5")),
        (("SQL:3,2027-01-04", "SQL:3,2027-02-01"), ("dispo au 04/01/2027", "dispo au 01/02/2027")),
        (("SQL:3,2027-01-04", "SQL:3,"), ("X1", "X2")),
    ],
)
def test_namesakes_of_one_agency_and_title_are_told_apart(
    tmp_path: Path, more: tuple[str, str], told: tuple[str, str]
) -> None:
    url, path = f"sqlite:///{tmp_path / 'directory.db'}", tmp_path / "people.csv"
    header = "id,first_name,last_name,agency,job_title,email,phone,skills,available_from"
    rows = [f"X{n},Ada,Byron,Lyon,Dev,,,{rest}" for n, rest in enumerate(more, 1)]
    path.write_text("\n".join((header, *rows)))
    directory = Directory(url)
    directory.import_(path)
    directory.close()
    for server in start_action_server(url, tmp_path):
        talk = Conversation(server)
        talk.who_is("Qui est Ada Byron ?", person="Ada Byron")
        titles = [button["title"] for button in talk.buttons]
        assert titles == [f"Ada Byron — Dev, Lyon — {sign}" for sign in told]
        talk = Conversation(server)
        talk.who_knows("Qui connaît SQL ?", technology="SQL")
        lines = talk.responses[0]["people"].splitlines()
        assert lines == [f"• Ada Byron — Lyon — 3/5 — {sign}" for sign in told]


@pytest.mark.parametrize("action", ["who_is", "who_knows"])
@pytest.mark.parametrize("answer", [{"agency": "lyon"}, {"rank": "*"}])
def test_namesakes_and_a_typed_choice(
    talk: Conversation, action: str, answer: dict[str, str]
) -> None:
    talk.who_is(person="Paul Martin")
    if "rank" in answer:
        answer = {"rank": str(talk.slots["candidates"].index("P2") + 1)}
    getattr(talk, action)(**answer)
    assert talk.said == ["utter_person_card"]
    assert talk.slots["collaborator_id"] == "P2"


def test_many_namesakes(talk: Conversation) -> None:
    talk.who_is(person="Bernard")
    assert talk.said == ["utter_person_choice_first"]
    assert (talk.responses[0]["total"], talk.responses[0]["shown"]) == (6, 5)
    assert len(talk.buttons) == 5
    talk.who_is("à Lyon", agency="Lyon")
    assert talk.said == ["utter_person_choice"]
    assert len(talk.buttons) == 2
    talk.who_is("Denis", person="Denis")
    assert talk.said == ["utter_person_card"]
    assert talk.slots["collaborator_id"] == "P10"


def test_the_choice_among_namesakes_keeps_what_was_asked(talk: Conversation) -> None:
    talk.who_is("le mail de Paul Martin", person="Paul Martin", detail="email")
    assert talk.said == ["utter_person_choice"]
    assert '/WHO_IS{"collaborator_id": "P2", "detail": "email"}' in [
        button["payload"] for button in talk.buttons
    ]
    talk.who_is("celui de Lyon", agency="Lyon")
    assert talk.said == ["utter_person_email"]
    assert talk.responses[0]["email"] == "paul.lyon@example.com"


def test_another_name_than_those_offered_is_a_new_question(talk: Conversation) -> None:
    talk.who_is(person="Paul Martin", detail="email")
    assert talk.who_is(person="Inès Zeroual").said == ["utter_person_card"]


def test_a_choice_that_is_none(talk: Conversation) -> None:
    talk.who_is(person="Paul Martin")
    talk.who_is(agency="Rennes")
    assert talk.said == ["utter_person_none_of_these"]
    assert len(talk.buttons) == 2
    talk.who_is(rank="3")
    assert talk.said == ["utter_person_rank_unknown"]
    assert talk.responses[0]["count"] == 2
    assert talk.who_is(rank="1").said == ["utter_person_card"]


def test_the_name_with_its_agency(talk: Conversation) -> None:
    assert talk.who_is(person="Paul Martin", agency="Lyon").said == ["utter_person_card"]
    assert talk.slots["collaborator_id"] == "P2"
    talk.who_is("et à Rennes ?", agency="Rennes", follow_up="follow_up")
    assert talk.said == ["utter_person_none_in_agency"]
    talk.who_is(person="Inès Zeroual", agency="Lyon")
    assert talk.said == ["utter_person_elsewhere", "utter_person_card"]


def test_nobody_and_the_nearest_name(talk: Conversation) -> None:
    talk.who_is("le mail de Mehdi Zeroual", person="Mehdi Zeroual", detail="email")
    assert talk.said == ["utter_person_near_one"]
    assert talk.responses[0]["name"] == "Mehdi Zeroual"
    assert [b["title"] for b in talk.buttons] == ["Inès Zeroual — Développeuse mobile, Nantes"]
    assert talk.cards[0]["reason"] == "near"
    assert talk.who_is("la première", rank="1").said == ["utter_person_email"]


def test_the_only_name_offered_is_meant(talk: Conversation) -> None:
    talk.who_is(person="Mehdi Zeroual")
    assert talk.who_is("son mail ?", detail="email").said == ["utter_person_email"]


def test_nobody_and_the_nearest_names(talk: Conversation) -> None:
    talk.who_is(person="Paul Durand")
    assert talk.said == ["utter_person_near_many"]
    assert len(talk.buttons) == 2
    assert talk.who_is("celui de Lyon", agency="Lyon").said == ["utter_person_card"]


def test_nobody_at_all(talk: Conversation) -> None:
    talk.who_is(person="Zzyzx Qwghlm")
    assert talk.said == ["utter_person_unknown"]
    assert talk.responses[0]["name"] == "Zzyzx Qwghlm"


def test_several_names(talk: Conversation) -> None:
    talk.who_is(person=["Inès Zeroual", "Linh Nguyen"])
    assert [message["name"] for message in talk.responses] == ["Inès Zeroual", "Linh Nguyen"]


def test_no_name_then_a_bare_one(talk: Conversation) -> None:
    assert talk.press("/WHO_IS").said == ["utter_ask_person"]
    assert talk.who_is("Inès Zeroual", person="Inès Zeroual").said == ["utter_person_card"]


@pytest.mark.parametrize("action", ["who_is", "who_knows"])
def test_our_question_for_a_name_is_answered_by_the_bare_text(
    talk: Conversation, action: str
) -> None:
    assert talk.who_is("quel est son mail ?", detail="email").said == ["utter_ask_person"]
    getattr(talk, action)("zeroual")
    assert talk.said == ["utter_person_email"]


def test_somebody_who_has_left(talk: Conversation) -> None:
    assert talk.press('/WHO_IS{"collaborator_id": "P99"}').said == ["utter_person_gone"]


def test_who_is_answers_about_a_technology_when_the_turn_names_nothing_else(
    talk: Conversation,
) -> None:
    assert talk.who_is("c'est qui le référent C++ ?", technology="C++").said == [
        "utter_experts_one"
    ]


# --- who knows about --------------------------------------------------------------------------


def test_experts_best_first_a_page_at_a_time(talk: Conversation) -> None:
    talk.who_knows("Qui connaît Java ?", technology="Java")
    assert talk.said == ["utter_experts_many", "utter_experts_more_many"]
    first, more = talk.responses
    assert (first["technology"], first["total"]) == ("Java", 7)
    assert first["people"].splitlines()[0] == "• Paul Martin — Nantes — 5/5"
    assert (more["remaining"], more["next_page"]) == (
        2,
        '/WHO_KNOWS_ABOUT{"technology": "Java", "offset": "5"}',
    )
    (card,) = talk.cards
    assert (card["type"], card["version"]) == ("expert_list", 1)
    assert (card["technologies"], card["total"], card["offset"]) == (["Java"], 7, 0)
    assert card["next"] == more["next_page"]
    assert [e["levels"]["Java"] for e in card["experts"]] == [5, 4, 4, 3, 2]
    assert talk.slots["query"] == {
        "constraints": [{"terms": [["technology", "Java"]]}],
        "next": 5,
    }
    page_one = listed(talk)

    talk.who_knows("la suite", more="more")
    assert talk.said == ["utter_experts_next"]
    assert [talk.responses[0][name] for name in ("first", "last", "total")] == [6, 7, 7]
    assert len({*page_one, *listed(talk)}) == 7
    assert talk.who_knows("la suite", more="more").said == ["utter_experts_no_more"]
    assert talk.press(more["next_page"]).said == ["utter_experts_next"]


def test_one_more(talk: Conversation) -> None:
    talk.press('/WHO_KNOWS_ABOUT{"technology": "Java", "offset": "1"}')
    assert talk.said == ["utter_experts_next", "utter_experts_more_one"]
    talk.press('/WHO_KNOWS_ABOUT{"technology": "Java", "offset": "70"}')
    assert talk.said == ["utter_experts_no_more"]


def test_more_without_a_list_asks_for_a_technology(talk: Conversation) -> None:
    assert talk.who_knows("la suite", more="more").said == ["utter_ask_technology"]


def test_agency(talk: Conversation) -> None:
    talk.who_knows(technology="Java", agency="lyon")
    assert talk.said == ["utter_experts_many_in_agency"]
    assert listed(talk) == ["P5", "P2"]
    talk.who_knows(technology="Kotlin", agency="Nantes")
    assert talk.said == ["utter_experts_one_in_agency"]


def test_follow_ups_keep_the_other_filter_and_full_questions_drop_it(talk: Conversation) -> None:
    talk.who_knows("Qui connaît Java ?", technology="Java")
    talk.who_knows("et à Lyon ?", follow_up="follow_up", agency="Lyon")
    assert listed(talk) == ["P5", "P2"]
    talk.who_knows("et en C++ ?", follow_up="follow_up", technology="C++")
    assert talk.said == ["utter_experts_one_in_agency"]
    assert listed(talk) == ["P5"]
    talk.who_knows("à Rennes", agency="Rennes")
    assert talk.said == ["utter_no_expert_in_agency"]
    talk.press(talk.responses[0]["everywhere"])
    assert listed(talk) == ["P5"]
    talk.who_knows("Qui connaît Docker ?", technology="Docker")
    assert talk.said == ["utter_experts_many"]


def test_agency_that_does_not_exist(talk: Conversation) -> None:
    talk.who_knows(technology="Java", agency="Brest")
    assert talk.said == ["utter_no_agency"]
    assert talk.responses[0]["agencies"] == "Lyon, Nantes, Rennes"
    assert len(listed(talk.press(talk.responses[0]["everywhere"]))) == 5


def test_several_technologies_in_an_agency_that_does_not_exist(talk: Conversation) -> None:
    talk.who_knows(technology=["Java", "Angular"], agency="Brest")
    assert talk.said == ["utter_no_agency"]
    assert talk.press(talk.responses[0]["everywhere"]).said == ["utter_experts_together_many"]


def test_nobody_knows(talk: Conversation) -> None:
    talk.who_knows(technology="Zorglangage")
    assert talk.said == ["utter_no_expert"]
    assert talk.responses[0]["technology"] == "Zorglangage"
    assert (talk.cards[0]["total"], talk.cards[0]["experts"]) == (0, [])


def test_nobody_knows_but_something_related(talk: Conversation) -> None:
    talk.who_knows(technology="JavaScript")
    assert talk.said == ["utter_no_expert_related"]
    assert talk.cards[0]["related"] == ["Angular"]
    assert talk.buttons == [
        {"title": "Angular", "payload": '/WHO_KNOWS_ABOUT{"technology": "Angular"}'}
    ]
    assert talk.press(talk.buttons[0]["payload"]).said == ["utter_experts_many"]


def test_no_technology_then_a_bare_one(talk: Conversation) -> None:
    assert talk.press("/WHO_KNOWS_ABOUT").said == ["utter_ask_technology"]
    assert talk.who_knows("Kotlin", technology="Kotlin").said == ["utter_experts_one"]


def test_an_agency_alone_is_a_question(talk: Conversation) -> None:
    talk.who_knows("Qui est à Lyon ?", agency="Lyon", ask="people")
    assert talk.said == ["utter_people_many"]
    assert (talk.responses[0]["what"], talk.responses[0]["total"]) == ("Lyon", 5)
    assert talk.who_knows("et en c++ ?", technology="C++", follow_up="follow_up").said == [
        "utter_experts_one_in_agency"
    ]


def test_several_technologies(talk: Conversation) -> None:
    talk.who_knows("Qui connaît Java et Angular ?", technology=["Java", "Angular"])
    assert talk.said == ["utter_experts_together_many"]
    assert talk.responses[0]["technology"] == "Java + Angular"
    assert talk.responses[0]["people"].splitlines() == [
        "• Linh Nguyen — Rennes — Java 4/5, Angular 4/5",
        "• Paul Martin — Nantes — Java 5/5, Angular 2/5",
    ]
    assert talk.cards[0]["experts"][0]["levels"] == {"Java": 4, "Angular": 4}
    talk.who_knows("et à Nantes ?", follow_up="follow_up", agency="Nantes")
    assert talk.said == ["utter_experts_together_one_in_agency"]
    assert talk.who_knows(technology=["Java", "Kotlin"]).said == ["utter_experts_together_one"]
    talk.who_knows(technology=["Java", "Docker"], agency="Nantes")
    assert talk.said == ["utter_experts_together_many_in_agency"]
    talk.who_knows(technology=["Java", "Angular"], agency="Nantes")
    assert talk.slots["collaborator_id"] == "P1"


def test_several_technologies_that_nobody_has_together(talk: Conversation) -> None:
    talk.who_knows(technology=["Kotlin", "Python"])
    assert talk.said == ["utter_nobody_because"]
    assert talk.responses[0]["culprits"] == "« Kotlin » ou « Python »"
    assert [button["title"] for button in talk.buttons] == [
        "Sans « Kotlin » (1)",
        "Sans « Python » (1)",
    ]
    assert listed(talk.press(talk.buttons[0]["payload"])) == ["P6"]


def test_two_spellings_of_one_technology(talk: Conversation) -> None:
    assert talk.who_knows(technology=["Kotlin", "kotlin", "KOTLIN"]).said == ["utter_experts_one"]


def test_does_the_person_talked_about_know_it(talk: Conversation) -> None:
    talk.who_is(person="Linh Nguyen")
    talk.who_knows(
        "et elle, elle connaît Java ?",
        follow_up="follow_up",
        reference="reference",
        technology="java",
    )
    (message,) = talk.responses
    assert (message["response"], message["name"]) == ("utter_skill_yes", "Linh Nguyen")
    assert (message["technology"], message["level"]) == ("Java", 4)
    card = talk.cards[0]
    assert (card["type"], card["technology"], card["level"]) == ("skill_check", "Java", 4)

    talk.who_knows("elle connaît Docker ?", reference="reference", technology="Docker")
    assert talk.said == ["utter_skill_no"]
    assert talk.cards[0]["level"] is None
    talk.press(talk.responses[0]["who_knows"])
    assert listed(talk) == ["P7", "P1"]


def test_does_a_namesake_know_it(talk: Conversation) -> None:
    talk.who_knows("Paul Martin connaît Docker ?", person="Paul Martin", technology="Docker")
    assert talk.said == ["utter_person_choice"]
    payload = '/WHO_KNOWS_ABOUT{"collaborator_id": "P1", "technology": "Docker"}'
    assert payload in [button["payload"] for button in talk.buttons]
    by_button = Conversation(talk.server, dict(talk.slots)).press(payload)
    assert by_button.said == ["utter_skill_yes"]
    talk.who_is("celui de Nantes", agency="Nantes")
    assert talk.said == ["utter_skill_yes"]


def test_the_only_one_of_a_list_is_the_person_talked_about(talk: Conversation) -> None:
    talk.who_knows(technology="Kotlin")
    assert talk.who_is("son mail ?", detail="email").said == ["utter_person_email"]
    assert talk.responses[0]["name"] == "Inès Zeroual"


def test_one_of_several_listed(talk: Conversation) -> None:
    talk.who_knows(technology="Docker")
    assert talk.who_is("son mail ?", detail="email").said == ["utter_person_which"]
    assert talk.cards[0]["reason"] == "which"
    assert talk.who_is("le deuxième", rank="2").said == ["utter_person_email"]
    assert talk.responses[0]["name"] == "Paul Martin"
    assert talk.who_is("et le premier ?", rank="1", follow_up="follow_up").said == [
        "utter_person_card"
    ]


def test_who_knows_answers_about_a_person_when_the_turn_names_nothing_else(
    talk: Conversation,
) -> None:
    assert talk.who_knows("Inès Zeroual", person="Inès Zeroual").said == ["utter_person_card"]
    assert talk.who_knows("son mail", detail="email").said == ["utter_person_email"]


# --- not understood ---------------------------------------------------------------------------


def test_not_understood(talk: Conversation) -> None:
    assert talk.not_understood("blabla").said == ["utter_fallback"]
    assert talk.events == [{"event": "slot", "timestamp": None, "name": "answered", "value": True}]
    assert talk.not_understood("à Lyon", agency="Lyon").said == ["utter_fallback"]
    assert talk.not_understood("la suite", more="more").said == ["utter_fallback"]


def test_follow_ups_that_the_classifier_leaves_open(talk: Conversation) -> None:
    talk.who_knows(technology="Java")
    assert talk.not_understood("la suite", more="more").said == ["utter_experts_next"]
    talk.not_understood("et à Lyon ?", agency="Lyon", follow_up="follow_up")
    assert talk.said == ["utter_experts_many_in_agency"]
    assert talk.not_understood("le deuxième", rank="2").said == ["utter_person_card"]
    assert talk.not_understood("mail ?", detail="email").said == ["utter_person_email"]
    long = "il fait toujours très beau à Lyon en ce moment"
    assert talk.not_understood(long, agency="Lyon").said == ["utter_fallback"]


def test_answers_to_our_questions_that_the_classifier_leaves_open(talk: Conversation) -> None:
    talk.who_is("son mail ?", detail="email")
    assert talk.not_understood("laisse tomber").said == ["utter_fallback"]
    assert talk.not_understood("zeroual").said == ["utter_person_email"]
    talk.who_is(person="Paul Martin")
    assert talk.not_understood("Lyon", agency="Lyon").said == ["utter_person_card"]
    talk.press("/WHO_KNOWS_ABOUT")
    assert talk.not_understood("laisse tomber").said == ["utter_fallback"]
    assert talk.not_understood("cobol").said == ["utter_experts_many"]


# --- odd input --------------------------------------------------------------------------------

ODD_TEXTS = [
    "",
    " ",
    "x" * 100_000,
    "é" * 100_000,
    "😀👩‍👩‍👧‍👦",
    "\x00\x01\x1b[31m\r\n",
    "\u202eםולש\u202c مرحبا",
    "'; DROP TABLE collaborator; --",
    "%_\\' OR 1=1",
    "<script>alert(1)</script>",
    "{name} {0[answered]} [x](person) }{",
    "\ud800",
    "/WHO_IS{",
]


@pytest.mark.parametrize("action", ["who_is", "who_knows", "not_understood"])
@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_odd_text(talk: Conversation, action: str, text: str) -> None:
    for values in ({}, {"person": text}, {"technology": text}, {"agency": text}, {"detail": text}):
        getattr(talk, action)(text, **values)
        assert talk.responses
        assert talk.set_slots["answered"] is True
        for message in talk.responses:
            assert len(str(message)) < 10_000
            assert message["response"] != "utter_unavailable"


ODD_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.lists(st.text(max_size=5))
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.one_of(st.none(), st.text(max_size=20)),
    found=st.dictionaries(
        st.sampled_from(
            [
                name
                for entity in DOMAIN["entities"]
                for name in ([entity] if isinstance(entity, str) else entity)
            ]
        ),
        ODD_VALUES,
    ),
    slots=st.dictionaries(
        st.sampled_from(
            ["person", "collaborator_id", "candidates", "query", "pending", "answered"]
        ),
        ODD_VALUES,
    ),
)
def test_odd_trackers(
    action_server: ActionServer, text: str | None, found: dict[str, Any], slots: dict[str, Any]
) -> None:
    values = [{"entity": name, "value": value} for name, value in found.items()]
    latest = {"text": text, "intent": {}, "entities": values}
    tracker = {"sender_id": "x", "slots": slots, "latest_message": latest, "events": []}
    for action in ACTIONS:
        response = action_server.call(action, tracker)
        assert response.status_code == 200, response.text
        assert response.json()["responses"]


def test_a_defect_is_answered_politely_and_logged_without_what_was_said(
    action_server: ActionServer,
) -> None:
    """No tracker of Rasa looks like this one; an action must not even so say nothing."""
    latest = {"text": "Qui est Paul Martin ?", "intent": {}, "entities": 5}
    tracker = {"sender_id": "x", "slots": {}, "latest_message": latest, "events": []}
    response = action_server.call("action_who_is", tracker)
    assert response.status_code == 200
    assert [m["response"] for m in response.json()["responses"]] == ["utter_unavailable"]
    log = action_server.log.read_text(encoding="utf-8")
    assert "action_who_is: TypeError" in log
    assert "Paul Martin" not in log


# --- the directory is gone --------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nonexistent/folder/directory.db",
        "postgresql://bot:s3cret@127.0.0.1:{port}/directory",
        "no-such-database://bot:s3cret@nowhere/directory",
    ],
)
def test_unreachable_directory(tmp_path: Path, url: str) -> None:
    for server in start_action_server(url.format(port=free_port()), tmp_path):
        talk = Conversation(server)
        for _ in range(2):
            talk.who_is(person="Paul Martin")
            assert talk.said == ["utter_unavailable"]
            assert talk.events == [
                {"event": "slot", "timestamp": None, "name": "answered", "value": True}
            ]
        log = server.log.read_text(encoding="utf-8")
        assert "action_who_is" in log
        assert "s3cret" not in log
        assert "Paul Martin" not in log


def test_slow_directory(tmp_path: Path) -> None:
    """A server that accepts connections and never says a word."""
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        url = f"postgresql://bot@{HOST}:{silent.getsockname()[1]}/directory"
        for server in start_action_server(url, tmp_path, DIRECTORY_TIMEOUT="0.5"):
            talk = Conversation(server)
            assert talk.who_is(person="Paul Martin").said == ["utter_unavailable"]
            assert "within 0.5 s" in server.log.read_text(encoding="utf-8")


def test_directory_that_breaks_and_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "directory.db"
    url = f"sqlite:///{path}"
    fill(url, tmp_path)
    for server in start_action_server(url, tmp_path):
        talk = Conversation(server)
        assert talk.who_is(person="Inès Zeroual").said == ["utter_person_card"]
        with sqlite3.connect(path) as connection:
            connection.execute("ALTER TABLE collaborator RENAME TO hidden")
        connection.close()
        assert talk.who_is(person="Linh Nguyen").said == ["utter_unavailable"]
        assert talk.slots["collaborator_id"] == "P3"  # the conversation goes on from there
        with sqlite3.connect(path) as connection:
            connection.execute("ALTER TABLE hidden RENAME TO collaborator")
        connection.close()
        assert talk.who_is(detail="email").said == ["utter_person_email"]


def test_a_directory_that_is_removed_is_not_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "directory.db"
    fill(f"sqlite:///{path}", tmp_path)
    for server in start_action_server(f"sqlite:///{path}", tmp_path):
        talk = Conversation(server)
        path.rename(tmp_path / "away.db")
        assert talk.who_is(person="Inès Zeroual").said == ["utter_unavailable"]
        assert CLIENT.get(f"{server.url}/ready").status_code == 503
        assert not path.exists()
        (tmp_path / "away.db").rename(path)
        assert CLIENT.get(f"{server.url}/ready").status_code == 200
        assert talk.who_is(person="Inès Zeroual").said == ["utter_person_card"]


# --- a user who asks for too many -------------------------------------------------------------


def test_a_user_is_shown_so_many_people_a_day(tmp_path: Path) -> None:
    """Also after a restart; whoever was shown stays so, and the conversation goes on from there."""
    fill(f"sqlite:///{tmp_path / 'directory.db'}", tmp_path)
    url, settings = f"sqlite:///{tmp_path / 'directory.db'}", {"PEOPLE_PER_DAY": "3"}
    for server in start_action_server(url, tmp_path, **settings):
        talk = Conversation(server)
        assert len(listed(talk.who_knows(technology="Kotlin"))) == 1
        assert len(listed(talk.who_knows(technology="COBOL"))) == 2
        before = talk.slots
        for _ in range(2):
            assert talk.who_knows(technology="Java").said == ["utter_quota"]
            assert talk.slots == before
            assert (talk.cards, talk.suggestions) == ([], [])
    for server in start_action_server(url, tmp_path, **settings):
        talk = Conversation(server, before)
        assert talk.who_is(person="Anna Kowalczyk").said == ["utter_quota"]
        assert talk.who_is(person="Inès Zeroual").said == ["utter_person_card"]
        log = server.log.read_text(encoding="utf-8")
        assert "as many people today" in log
        assert "Kowalczyk" not in log
    (file,) = (tmp_path / "audit").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(len(line["people"]), len(line.get("refused", ()))) for line in lines] == [
        (1, 0), (2, 0), (0, 5), (0, 5), (0, 1), (1, 0),
    ]  # fmt: skip


# --- suggestions ------------------------------------------------------------------------------


def test_after_a_card_who_else_knows_that(talk: Conversation) -> None:
    (suggested,) = talk.who_is(person="Ewen Le Gall").suggestions  # Docker 5, Java 2
    assert suggested["technology"] == "Docker"
    assert suggested["others"] == '/WHO_KNOWS_ABOUT{"technology": "Docker"}'
    assert suggested["colleagues"] == '/WHO_KNOWS_ABOUT{"technology": "Docker", "agency": "Nantes"}'
    assert suggested["next_person"] == ""
    assert talk.who_is(person="Anna Kowalczyk").suggestions == []  # nobody else knows Python


def test_somebody_without_skills_suggests_nothing(talk: Conversation) -> None:
    assert talk.who_is(person="Awa Diop").suggestions == []


def test_in_a_list_the_next_one_and_what_was_asked_for(talk: Conversation) -> None:
    talk.who_knows(technology="Docker")
    assert listed(talk) == ["P7", "P1"]
    (suggested,) = talk.who_is("le premier", rank="1").suggestions
    assert (suggested["next_name"], suggested["technology"]) == ("Paul Martin", "Docker")
    assert suggested["next_person"] == '/WHO_IS{"collaborator_id": "P1"}'
    (suggested,) = talk.who_is("le mail du premier", rank="1", detail="email").suggestions
    assert suggested["next_person"] == '/WHO_IS{"collaborator_id": "P1", "detail": "email"}'
    assert (suggested["others"], suggested["colleagues"]) == ("", "")
    (suggested,) = talk.press(talk.suggestions[0]["next_person"]).suggestions or [None]
    assert suggested is None  # the last of the list


def test_a_namesake_is_not_the_next_one(talk: Conversation) -> None:
    talk.who_is(person="Paul Martin")
    talk.who_is("celui de Lyon", agency="Lyon")
    assert talk.said == ["utter_person_card"]
    assert talk.suggestions == []
    assert talk.who_is("le premier", rank="1", detail="email").said == ["utter_person_email"]
    assert talk.suggestions == []


def test_after_a_skill_check(talk: Conversation) -> None:
    yes = talk.who_knows(person="Ewen Le Gall", technology="java").suggestions
    assert [(m["technology"], bool(m["others"]), bool(m["colleagues"])) for m in yes] == [
        ("Java", True, True)
    ]
    no = talk.who_knows(person="Inès Zeroual", technology="Docker").suggestions
    # Who knows it at all is a button of the answer.
    assert [(m["technology"], bool(m["others"]), bool(m["colleagues"])) for m in no] == [
        ("Docker", False, True)
    ]


def test_after_a_list_other_agencies_and_what_else_they_know(talk: Conversation) -> None:
    (suggested,) = talk.who_knows(technology="Java").suggestions
    assert {suggested["agency"], suggested["second_agency"]} <= {"Nantes", "Lyon", "Rennes"}
    assert suggested["there"] == (
        f'/WHO_KNOWS_ABOUT{{"technology": "Java", "agency": "{suggested["agency"]}"}}'
    )
    assert suggested["everywhere"] == ""
    assert suggested["other_technology"] == "Angular"
    (suggested,) = talk.press(suggested["there"]).suggestions
    assert (suggested["there"], suggested["second_there"]) == ("", "")
    assert suggested["everywhere"] == '/WHO_KNOWS_ABOUT{"technology": "Java"}'
    (suggested,) = talk.who_knows(technology="Docker").suggestions
    assert suggested["there"] == suggested["everywhere"] == ""  # all are in Nantes
    assert suggested["other_technology"] == "Java"


def test_several_technologies_suggest_both_elsewhere(talk: Conversation) -> None:
    (suggested,) = talk.who_knows(technology=["Java", "Angular"]).suggestions
    assert '"technology": ["Java", "Angular"], "agency": ' in suggested["there"]
    # Nobody knows both: several lists, and nothing that would follow them all.
    assert talk.who_knows(technology=["Kotlin", "COBOL"]).suggestions == []


def test_where_nothing_was_found_or_asked_for(talk: Conversation) -> None:
    assert suggested_by(talk.who_is(person="Zzyzx Qwghlm")) == ["utter_suggest_search"]
    assert suggested_by(talk.who_knows(technology="Qwghlmian")) == ["utter_suggest_search"]
    assert suggested_by(talk.press("/WHO_KNOWS_ABOUT")) == ["utter_suggest_technology"]


def test_not_understood_leads_back_to_what_was_talked_about(talk: Conversation) -> None:
    assert talk.not_understood("blabla").suggestions == []
    talk.who_knows(technology=["Java", "Angular"])
    talk.who_is("le premier", rank="1")
    (suggested,) = talk.not_understood("blabla").suggestions
    assert suggested["technology"] == "Java + Angular"
    assert suggested["experts"] == '/WHO_KNOWS_ABOUT{"technology": ["Java", "Angular"]}'
    assert suggested["person"] == f'/WHO_IS{{"collaborator_id": "{talk.slots["collaborator_id"]}"}}'


# --- actions and domain fit -------------------------------------------------------------------

SOURCES = [
    ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "actions").glob("*.py"))
]


def placeholders(response: str) -> set[str]:
    """Return the variables in all variations and buttons of ``response``."""
    return set(re.findall(r"{(\w+)}", str(DOMAIN["responses"][response])))


def names_in(node: ast.AST) -> set[str]:
    return {
        child.value
        for child in ast.walk(node)
        if isinstance(child, ast.Constant)
        and isinstance(child.value, str)
        and re.fullmatch(r"utter_\w+", child.value)
    }


USED = set().union(*map(names_in, SOURCES))


def test_every_response_of_an_action_is_in_the_domain() -> None:
    assert set(DOMAIN["responses"]) >= USED


def test_every_call_fills_the_variables_of_its_response() -> None:
    tables = {  # a response picked from a table of constants, by the table's name
        target.id: names_in(statement.value)
        for source in SOURCES
        for statement in source.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    checked = set()
    for call in (node for source in SOURCES for node in ast.walk(source)):
        if not (isinstance(call, ast.Call) and call.args):
            continue
        response = call.args[0]
        names = {response.value} if isinstance(response, ast.Constant) else set()
        if isinstance(response, ast.Subscript) and isinstance(response.value, ast.Name):
            names = tables.get(response.value.id, set())
        for name in names & USED:
            filled = {keyword.arg for keyword in call.keywords}
            assert placeholders(name) <= filled, name
            checked.add(name)
    # A verdict of a comparison comes with its values; their tests are those of comparing.
    verdicts = {"utter_compare_one", "utter_compare_equal", "utter_compare_nobody"}
    # Said by Question.run through Rasa's own dispatcher.
    assert checked == USED - verdicts - {"utter_unavailable"}
    assert not placeholders("utter_unavailable")


def test_every_response_is_used_and_listed_for_the_validator() -> None:
    rules = yaml.safe_load((ROOT / "data/rules.yml").read_text(encoding="utf-8"))
    in_rules = {s.get("action") for rule in rules["rules"] for s in rule["steps"]}
    in_story = [step["action"] for story in rules["stories"] for step in story["steps"]]
    assert len(in_story) == len(set(in_story))
    assert set(DOMAIN["responses"]) == (in_rules & set(DOMAIN["responses"])) | set(in_story)
    # `utter_default` is what Rasa itself says when no rule applies.
    assert set(in_story) == USED - in_rules | {"utter_default"}


def test_small_talk_and_fallback_vary() -> None:
    for name in ("utter_how_are_you", "utter_fallback", "utter_out_of_scope"):
        texts = {variation["text"] for variation in DOMAIN["responses"][name]}
        assert len(texts) >= 3
    assert all(variation["buttons"] for variation in DOMAIN["responses"]["utter_fallback"])
