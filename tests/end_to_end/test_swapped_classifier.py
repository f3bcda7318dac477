"""`make run-comprehend`: one line of the configuration swapped, and everything else goes on.

The endpoint stands in the local AWS, so this says nothing of how well Amazon's own model does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot import rasa_model
from tests.support import ROOT
from tests.support.questions import check_conversations
from tests.support.running_bot import RunningBot, end, start_bot, wait_until_up

CONFIG = Path("config.comprehend.yml")
QUESTIONS = [
    "Qui est Maëlys Kerguelen ?",
    "Tu connais Paul Martin ?",
    "Qui s'y connaît en Kubernetes ?",
    "Qui connaît Java et Docker à Nantes ?",
    "Maëlys Kerguelen connaît-elle Docker ?",
    "Quel est le mail de Karim Ben Salah ?",
]


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBot]:
    """The bot on Comprehend, without an AWS account."""
    with pytest.MonkeyPatch.context() as patch:
        # Of somebody's real account, which nothing of this is to reach.
        patch.setenv("AWS_PROFILE", "production")
        running = start_bot(tmp_path_factory.mktemp("bot"), "infra.run_comprehend")
    try:
        wait_until_up(running)
        yield running
    finally:
        end(running)


def test_it_trains_the_classifier_first(bot: RunningBot) -> None:
    output = bot.output()
    assert "AWS account 123456789012" in output
    assert "'skills-bot' is in service" in output
    assert "[5/5]" in output
    assert "Found credentials" not in output


def test_the_answers_are_those_of_the_other_classifier(
    bot: RunningBot, trained_model: Path, tmp_path: Path
) -> None:
    def answers(running: RunningBot) -> list[list[Any]]:
        return [
            [(part.get("text"), part.get("custom")) for part in running.send(question)]
            for question in QUESTIONS
        ]

    other = start_bot(tmp_path)
    try:
        wait_until_up(other)
        expected = answers(other)
    finally:
        end(other)
    dates = ("updated_at",)
    assert _without(answers(bot), dates) == _without(expected, dates)


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    """Return JSON without the members of these names, and lists for tuples."""
    if isinstance(value, dict):
        return {key: _without(one, keys) for key, one in value.items() if key not in keys}
    if isinstance(value, (list, tuple)):
        return [_without(one, keys) for one in value]
    return value


def test_the_conversations_go_as_told_with_comprehend(bot: RunningBot, tmp_path: Path) -> None:
    check_conversations(rasa_model.model_path(CONFIG), tmp_path)


def test_without_an_account_it_names_the_command_that_needs_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "run", "--config", str(CONFIG)],
        cwd=ROOT,
        env={"PATH": "", "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "make run-comprehend" in done.stderr
    assert "AWS_ACCESS_KEY_ID" in done.stderr
    assert "Traceback" not in done.stderr
