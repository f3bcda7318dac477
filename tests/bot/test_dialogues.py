"""Whole dialogues with the trained bot, and how their turns are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.dialogues import CHECKS, Answer, failures, judge, read, summary
from common.errors import UserError
from tests.support import ROOT

DIALOGUES = ROOT / "tests/dialogues.yml"
RETIRED = ROOT / "tests/retired_dialogues.yml"
# Whoever answers intents and entities by statistics is wrong at times.
ENOUGH = 0.95


def person(number: int, name: str) -> dict[str, Any]:
    return {"id": f"P{number}", "name": name}


LIST = {
    "type": "expert_list",
    "total": 12,
    "experts": [
        {"person": person(1, "Inès Zeroual"), "levels": {"Java": 3}},
        {"person": person(2, "Paul Martin"), "levels": {"Java": 2}},
    ],
}
CHOICE = {
    "type": "person_choice",
    "reason": "namesakes",
    "total": 2,
    "people": [person(2, "Paul Martin"), person(3, "Paul Martin")],
}
CARD = {"type": "person_card", "person": person(1, "Inès Zeroual")}


@pytest.mark.parametrize(
    ("turn", "right", "wrong"),
    [
        ({"people": ["paul martin", "Ines Zeroual"]}, [LIST], [CARD]),
        ({"people": ["Paul Martin", "Paul Martin"]}, [CHOICE], [LIST]),
        ({"people": []}, [], [CARD]),
        ({"first": ["Inès Zeroual"]}, [LIST], [CHOICE]),
        ({"total": 12}, [LIST], [CHOICE]),
        ({"includes": ["Paul Martin"]}, [LIST], [CARD]),
        ({"excludes": ["Paul Martin"]}, [CARD], [LIST]),
        ({"card": "Inès Zeroual"}, [CARD], [LIST]),
        ({"level": 3}, [LIST], [CARD]),
        ({"asks": True}, [CHOICE], [CARD]),
    ],
)
def test_the_cards_of_an_answer_are_judged(
    turn: dict[str, Any], right: list[dict[str, Any]], wrong: list[dict[str, Any]]
) -> None:
    assert failures(turn, Answer("", tuple(right))) == []
    assert failures(turn, Answer("", tuple(wrong))) == list(turn)


def test_the_text_of_an_answer_is_judged() -> None:
    answer = Answer("Python ≥ 4, hors Paris : 14 personnes\n• Inès — Lyon — 4/5", ())
    assert (
        failures({"says": ["HORS paris", ["lille", "lyon"]], "total": 14, "level": 4}, answer) == []
    )
    assert failures({"says": ["hors Lyon"], "says_not": ["ines"], "total": 15}, answer) == [
        "total",
        "says",
        "says_not",
    ]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dialogues.yml"
    path.write_text("dialogues: [{kind: x, turns: [{}]}]", encoding="utf-8")
    with pytest.raises(UserError, match="no file of dialogues"):
        read(path)


def test_every_key_of_the_dialogues_is_judged() -> None:
    _, dialogues = read(DIALOGUES)
    keys = {key for dialogue in dialogues for turn in dialogue["turns"] for key in turn}
    assert keys - {"user", "kind"} <= set(CHECKS)


@pytest.mark.parametrize("path", [DIALOGUES, RETIRED], ids=lambda path: path.stem)
def test_the_bot_answers(trained_model: Path, path: Path) -> None:
    judged = judge(trained_model, path)
    figures = summary(judged)["all"]
    wrong = [(turn.user, turn.failed, turn.answer.text[:200]) for turn in judged if turn.failed]
    assert figures["right"] >= ENOUGH * figures["turns"], wrong
