"""What every bot is asked, whichever classifier it has: tests of modules with a fixture ``bot``."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.running_bot import PEOPLE, RunningBot, full_name, skills_of


def test_who_is(bot: RunningBot) -> None:
    counts: dict[str, int] = {}
    for person in PEOPLE:
        counts[person["last_name"]] = counts.get(person["last_name"], 0) + 1
    for person in [one for one in PEOPLE if counts[one["last_name"]] == 1][:3]:
        answer = bot.ask(f"Qui est {full_name(person)} ?")
        for expected in (full_name(person), person["agency"], person["job_title"], person["email"]):
            assert expected in answer


def test_who_knows_about(bot: RunningBot) -> None:
    answer = bot.ask("Qui s'y connaît en Python ?")
    experts = [person for person in PEOPLE if "Python" in skills_of(person)]
    named = [person for person in PEOPLE if full_name(person) in answer]
    assert named
    assert all(person in experts for person in named)
    named.sort(key=lambda person: answer.index(full_name(person)))
    levels = [skills_of(person)["Python"] for person in named]
    best = sorted((skills_of(person)["Python"] for person in experts), reverse=True)
    assert levels == best[: len(levels)]
    assert f"{len(experts)} personnes" in answer


def test_how_are_you(bot: RunningBot) -> None:
    domain = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf-8"))
    known = {response["text"] for response in domain["responses"]["utter_how_are_you"]}
    assert bot.ask("Bonjour, comment ça va ?") in known


def test_a_follow_up_remembers(bot: RunningBot) -> None:
    person = next(one for one in PEOPLE if one["last_name"] == "Kerguelen")
    sender = uuid.uuid4().hex
    assert person["email"] in bot.ask(f"Tu connais {full_name(person)} ?", sender)
    assert person["phone"] in bot.ask("et son téléphone ?", sender)


@pytest.mark.parametrize(
    "message",
    [
        "a" * 100_000,
        "Qui connaît " + "Java " * 20_000,
        "😀" * 50,
        "👩‍💻 Qui connaît Python ? 🐍",
        "\x00\x01\x07\x1b[31m",
        "\u202eعنوان البريد الإلكتروني\u202c",
        "'; DROP TABLE collaborators; --",
        "Qui est Robert'); DELETE FROM skills WHERE ('1'='1 ?",
        "<script>alert('x')</script>",
        "Qui est <b>Paul</b> ?",
        "/",
        "/unknown_intent",
        '/WHO_IS{"collaborator_id": "\' OR 1=1"}',
        "/WHO_IS{",
        "{{7*7}} ${HOME} %s %(name)s {name}",
    ],
    ids=lambda message: repr(message)[:30],
)
def test_odd_input_gets_an_answer(bot: RunningBot, message: str) -> None:
    answer = bot.ask(message)
    assert answer
    assert "<script>" not in answer
    assert bot.process.poll() is None


def check_conversations(model: Path, folder: Path) -> None:
    """Put every story to a model; `rasa test` writes into ``folder``."""
    command = ["test", "core", "--stories", str(STORIES), "--model", str(model)]
    options = ["--fail-on-prediction-errors", "--no-plot", "--out", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "bot.runtime.rasa_cli", *command, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    failed = folder / "failed_test_stories.yml"
    details = failed.read_text(encoding="utf-8") if failed.exists() else done.stderr
    assert done.returncode == 0, details[-5000:]
    told = [
        story["story"]
        for path in sorted(STORIES.glob("*.yml"))
        for story in yaml.safe_load(path.read_text(encoding="utf-8"))["stories"]
    ]
    report = json.loads((folder / "story_report.json").read_text(encoding="utf-8"))
    # Not only what was tested went well: all was tested.
    assert report["conversation_accuracy"]["correct"] == len(told) > 0


STORIES = ROOT / "tests" / "stories"
