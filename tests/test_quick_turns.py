"""What is left out of a turn changes nothing in its result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from rasa.core.actions.action import RemoteAction

from bot.quick_turns import check_answers_quickly

GOOD = [
    {},
    {"events": [], "responses": []},
    {"events": [{"event": "slot", "name": "person", "value": None, "timestamp": None}],
     "responses": [{"response": "utter_greet"}]},
]  # fmt: skip
BAD: list[Any] = [
    [],
    {"events": {}},
    {"events": [{"event": "slot", "name": 1}]},
    {"events": [{"name": "person"}]},
    {"responses": ["utter_greet"]},
]


@pytest.fixture
def quick() -> Iterator[RemoteAction]:
    original = RemoteAction._validate_action_result
    check_answers_quickly()
    yield RemoteAction("action_who_is", None)
    RemoteAction._validate_action_result = original


@pytest.mark.parametrize("answer", [*GOOD, *BAD])
def test_answers_are_judged_as_by_rasa(quick: RemoteAction, answer: Any) -> None:
    spec = RemoteAction.action_response_format_spec()
    assert Draft202012Validator(spec).is_valid(answer) == (answer in GOOD)
    if answer in GOOD:
        assert quick._validate_action_result(answer) is True
    else:
        with pytest.raises(ValidationError, match="Failed to validate Action server response"):
            quick._validate_action_result(answer)


def test_the_schema_is_not_checked_again(
    quick: RemoteAction, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the schema was checked")

    monkeypatch.setattr(Draft202012Validator, "check_schema", refuse)
    for answer in GOOD:
        assert quick._validate_action_result(answer)
