"""Fixtures shared by the tests: real databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.directory import Directory
from bot.runtime import rasa_cli
from tests.support import ROOT
from tests.support.postgres import PostgresServer


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print which of the documented commands were run (tests/end_to_end/test_documentation.py)."""
    passed = terminalreporter.stats.get("passed", [])
    documented = [
        json.loads(value)
        for report in passed
        for name, value in report.user_properties
        if name == "documented"
    ]
    if not documented:
        return
    not_run = [(block, reason) for block, reason in documented if reason]
    terminalreporter.section("documented commands")
    terminalreporter.line(
        f"{len(documented) - len(not_run)} blocks run, {len(not_run)} not run here:"
    )
    for block, reason in not_run:
        terminalreporter.line(f"{block}: {reason}")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """One server for the whole run; tests that stop it use :func:`own_postgresql_server`."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def own_postgresql_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def directory_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, once on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'directory.db'}"
    return str(request.getfixturevalue("postgresql_server").emptied_database())


@pytest.fixture
def directory(directory_url: str) -> Iterator[Directory]:
    """An empty directory, once on each engine."""
    opened = Directory(directory_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def trained_model() -> Path:
    """The model of the project as it is now; trained first if what it is made of has changed."""
    from bot import rasa_model

    return rasa_model.ensure_model()


@pytest.fixture(scope="session")
def rules_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Train a model of the rules; its classifier hardly knows a sentence."""
    folder = tmp_path_factory.mktemp("rules")
    domain = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf-8"))
    intents = [next(iter(intent)) for intent in domain["intents"]]
    examples = [
        {"intent": intent, "examples": f"- {intent} ?\n- {intent} !\n"} for intent in intents
    ]
    nlu = {"version": "3.1", "nlu": examples}
    (folder / "nlu.yml").write_text(yaml.safe_dump(nlu), encoding="utf-8")
    config = {
        "recipe": "default.v1",
        "assistant_id": "test",
        "language": "fr",
        "pipeline": [{"name": "WhitespaceTokenizer"}, {"name": "KeywordIntentClassifier"}],
        "policies": [{"name": "RulePolicy"}],
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    rasa_cli.configure_process()
    from rasa.model_training import train

    result = train(
        str(ROOT / "domain.yml"),
        str(folder / "config.yml"),
        [str(folder / "nlu.yml"), str(ROOT / "data/rules.yml")],
        output=str(folder),
    )
    assert result.model
    return result.model
