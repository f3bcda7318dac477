"""The classifier of docs/components/your-own.md, as it stands there, against a chat server."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from rasa.shared.exceptions import InvalidConfigException

from components.component import DamagedModelError, TrainingError
from components.remote import State
from tests.support import ROOT
from tests.support.documented import blocks
from tests.support.intent_classifier_contract import (
    IntentClassifierContract,
    TrainedClassifier,
    training_data,
)
from tests.support.remote_classifier_contract import PATIENT, hurried, intent_of

PAGE = ROOT / "docs" / "components" / "your-own.md"
KEY = "a key of the tests"


@dataclasses.dataclass
class Chat:
    """A server of OpenAI's chat completions; its model goes by the words of the examples."""

    url: str = ""
    requests: int = 0
    status: int = 200
    content: str | None = None
    # Cleared: it does not answer.
    answering: threading.Event = dataclasses.field(default_factory=threading.Event)

    def answer(self, request: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
        """Return status and body for a request to ``/chat/completions``."""
        self.requests += 1
        self.answering.wait()
        if key != f"Bearer {KEY}":
            return 401, {"error": {"message": "Incorrect API key provided."}}
        if self.status != 200:
            return self.status, {"error": {"message": "no"}}
        if request["model"] != "tiny":
            return 404, {"error": {"message": "The model does not exist."}}
        system, user = request["messages"]
        assert (system["role"], user["role"], request["temperature"]) == ("system", "user", 0)
        asked = request["response_format"]["json_schema"]
        assert asked["strict"]
        content = self.content or json.dumps(
            {
                intent: self.likeness(intent, system["content"], user["content"])
                for intent in asked["schema"]["required"]
            }
        )
        message = {"role": "assistant", "content": content, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return 200, {"object": "chat.completion", "choices": [choice]}

    @staticmethod
    def likeness(intent: str, instruction: str, text: str) -> float:
        """The share of a text's words that is in the nearest example of an intent."""
        words = {*text.split()}
        examples = [
            line.partition(": ")[2].split()
            for line in instruction.splitlines()
            if line.startswith(f"{intent}: ")
        ]
        return 0.01 + max(len(words & {*example}) for example in examples) / (len(words) + 1)


@pytest.fixture(scope="module")
def server() -> Iterator[Chat]:
    chat = Chat()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, content = chat.answer(body, self.headers["Authorization"])
            if self.path != "/v1/chat/completions":
                status = 404
            payload = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        chat.url = f"http://127.0.0.1:{listening.server_port}/v1"
        threading.Thread(target=listening.serve_forever).start()
        yield chat
        chat.answering.set()
        listening.shutdown()


@pytest.fixture(autouse=True)
def chat(server: Chat, monkeypatch: pytest.MonkeyPatch) -> Chat:
    """The server, well, and its key; faults do not outlast the test."""
    server.status, server.content = 200, None
    server.answering.set()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return server


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The file on the page."""
    (block,) = blocks(PAGE, "python")
    assert block.file == "chat_classifier.py"
    folder = tmp_path_factory.mktemp("project")
    (folder / block.file).write_text(block.text, encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield importlib.import_module("chat_classifier")
    sys.path.remove(str(folder))
    del sys.modules["chat_classifier"]


@pytest.fixture(scope="module")
def config(server: Chat) -> dict[str, Any]:
    return {"url": server.url, "model": "tiny", **PATIENT}


@pytest.fixture(scope="module")
def classifier(
    module: Any, config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> TrainedClassifier:
    folder = tmp_path_factory.mktemp("model")
    return TrainedClassifier.train(module.ChatIntentClassifier, config, folder)


class TestContract(IntentClassifierContract):
    """The suite that every intent classifier passes."""

    batch_tolerance = 1e-9


@pytest.fixture
def hasty(classifier: TrainedClassifier) -> TrainedClassifier:
    return hurried(classifier)


def test_its_size_is_that_of_a_page() -> None:
    (block,) = blocks(PAGE, "python")
    assert block.text.count("\n") < 130


def test_the_configuration_on_the_page_is_one(module: Any) -> None:
    (block,) = blocks(PAGE, "yaml")
    (step,) = yaml.safe_load(block.text)["pipeline"]
    assert step["name"] == f"{module.__name__}.{module.ChatIntentClassifier.__name__}"
    module.ChatIntentClassifier.validate_config(step)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"examples": 0}, "'examples' is 0; it must be a whole number of at least 1"),
        ({"modell": "x"}, "Did you mean 'model'"),
    ],
)
def test_bad_configurations_are_refused(module: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        module.ChatIntentClassifier.validate_config(change)


def test_a_single_intent_is_refused(module: Any, tmp_path: Path) -> None:
    data = training_data({"WHO_IS": ["qui est Paul"]})
    with pytest.raises(TrainingError, match=r"another one to data/nlu\.yml"):
        TrainedClassifier.train(module.ChatIntentClassifier, {}, tmp_path, data)


def test_a_damaged_model_is_refused_by_name(module: Any, tmp_path: Path) -> None:
    trained = TrainedClassifier.train(module.ChatIntentClassifier, {}, tmp_path)
    with trained.storage.read_from(trained.resource) as folder:
        (folder / "chat.json").write_text("{}")
    with pytest.raises(DamagedModelError, match=r"chat\.json.*rasa train"):
        trained.load()


@pytest.mark.parametrize(
    ("status", "requests", "state"),
    [(503, 3, State.OPEN), (401, 1, State.OPEN), (400, 4, State.CLOSED)],
)
def test_what_a_status_says_of_the_service(
    chat: Chat, hasty: TrainedClassifier, status: int, requests: int, state: State
) -> None:
    component, chat.status, before = hasty.load(breaker_seconds=3600), status, chat.requests
    assert [intent_of(component) for _ in range(4)] == [None] * 4
    assert chat.requests == before + requests
    assert component.remote.state is state
    assert component.remote.statistics()["failures"] == {f"Status{status}": requests}


def test_a_service_that_is_back_answers(chat: Chat, hasty: TrainedClassifier) -> None:
    component, chat.status = hasty.load(), 401
    assert intent_of(component) is None
    chat.status = 200
    assert intent_of(component) == "WHO_IS"


def test_a_request_is_tried_again(chat: Chat, hasty: TrainedClassifier) -> None:
    component, chat.status, before = hasty.load(attempts=3), 503, chat.requests
    assert intent_of(component) is None
    assert chat.requests == before + 3


def test_a_missing_key_is_said(
    hasty: TrainedClassifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert intent_of(hasty.load()) is None
    assert "check OPENAI_API_KEY" in caplog.text


@pytest.mark.parametrize("content", ["Bonjour !", "{}", '{"WHO_IS": "yes"}', "[1, 2]"])
def test_another_answer_is_none(chat: Chat, hasty: TrainedClassifier, content: str) -> None:
    component, chat.content = hasty.load(), content
    assert intent_of(component) is None
    assert component.remote.statistics()["failures"] == {"WrongAnswer": 1}


def test_a_model_that_hangs_is_left_at_the_deadline(chat: Chat, hasty: TrainedClassifier) -> None:
    chat.answering.clear()
    component = hasty.load(deadline=0.1)
    assert intent_of(component) is None
    assert component.remote.statistics()["failures"] == {"DeadlineExceeded": 1}


def test_nobody_listens(hasty: TrainedClassifier) -> None:
    component = hasty.load(url="http://127.0.0.1:9/v1")
    assert intent_of(component) is None
    assert component.remote.statistics()["failures"] == {"ConnectionError": 1}
