"""The SageMaker container: its two programs, run as SageMaker runs them, but without an image."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bot.processes import free_port
from bot.retraining.metrics import definitions
from common.confusion_matrix import ConfusionMatrix
from common.errors import UserError
from components.camembert.config import DEFAULTS
from components.camembert.served_model import ServedModel
from infra.sagemaker import hyperparameters
from infra.sagemaker.serve import MAXIMUM_BODY_BYTES, MAXIMUM_INPUTS, Application
from tests.support import ROOT
from tests.support.intent_classifier_contract import EXAMPLES
from tests.support.tiny_encoder import build_tiny_encoder

CONTAINER = ROOT / "infra" / "sagemaker"

# Runs a program of the container, and at its end says which packages it has brought in.
RUNNER = """
import runpy, sys
sys.argv = ["infra.sagemaker", *sys.argv[1:]]
try:
    runpy.run_module("infra.sagemaker", run_name="__main__")
finally:
    print("PACKAGES", *sorted({name.split(".")[0] for name in sys.modules}))
"""


class Container:
    """What SageMaker gives a container, in a folder of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.model = base / "model"
        self.failure = base / "output" / "failure"
        self.results = base / "output" / "data"

    def channel(self, name: str, content: Any, file: str = "dataset.json") -> Container:
        folder = self.base / "input" / "data" / name
        folder.mkdir(parents=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / file).write_text(text, encoding="utf-8")
        return self

    def hyperparameters(self, values: dict[str, str]) -> Container:
        folder = self.base / "input" / "config"
        folder.mkdir(parents=True)
        (folder / "hyperparameters.json").write_text(json.dumps(values), encoding="utf-8")
        return self

    def start(self, program: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", RUNNER, program],
            cwd=ROOT,
            env={**os.environ, "SAGEMAKER_BASE_DIR": str(self.base), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def train(self) -> tuple[int, str]:
        """Return the exit status and the output."""
        process = self.start("train")
        output, _ = process.communicate()
        return process.returncode, output


def dataset(examples: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "version": 1,
        "examples": [
            {"text": text, "intent": intent} for intent, texts in examples.items() for text in texts
        ],
    }


def packages(output: str) -> set[str]:
    return set(output.rsplit("PACKAGES", 1)[1].split())


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hyper-parameters with which a random network of two layers learns thirty sentences."""
    texts = [text for texts in EXAMPLES.values() for text in texts]
    return {
        "encoder": str(build_tiny_encoder(tmp_path_factory.mktemp("encoder"), texts)),
        "epochs": "30",
        "batch_size": "8",
        "learning_rate": "2e-3",
        "freeze_embeddings": "false",
        "freeze_layers": "0",
        "augmentation": "0",
        "patience": "null",
        "threads": "1",
    }


@pytest.fixture(scope="module")
def trained(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Container, str]:
    """A container after its training, and what the training printed."""
    container = Container(tmp_path_factory.mktemp("trained"))
    container.hyperparameters(settings)
    container.channel("train", dataset(EXAMPLES)).channel("test", dataset(EXAMPLES))
    status, output = container.train()
    assert status == 0, output
    return container, output


# --- train


def test_training_leaves_a_served_model_and_its_metrics(trained: tuple[Container, str]) -> None:
    container, output = trained
    assert {path.name for path in container.model.iterdir()} == {
        "model.onnx",
        "tokenizer.json",
        "ngrams.npz",
        "metadata.json",
    }
    metrics = json.loads((container.results / "metrics.json").read_text())
    matrix = json.loads((container.results / "confusion_matrix.json").read_text())
    assert metrics == ConfusionMatrix.from_json(matrix).metrics()
    assert metrics["test_examples"] == sum(map(len, EXAMPLES.values()))
    assert metrics["labels"] == sorted(EXAMPLES)
    assert metrics["accuracy"] > 0.9
    printed = {one["Name"]: re.findall(one["Regex"], output) for one in definitions()}
    assert printed["test_accuracy"] == [f"{metrics['accuracy']:.4f}"]
    assert printed["test_macro_f1"] == [f"{metrics['macro_f1']:.4f}"]
    assert all(len(values) == 1 for values in printed.values()), printed
    assert not container.failure.exists()


def test_a_student_is_trained_and_served(container: Container, settings: dict[str, str]) -> None:
    container.hyperparameters({**settings, "epochs": "5", "distill": "1"})
    container.channel("train", dataset(EXAMPLES)).channel("test", dataset(EXAMPLES))
    status, output = container.train()
    assert status == 0, output
    student = ServedModel(container.model).metadata.student
    assert student is not None
    assert student.architecture.layers == 1


def test_training_needs_no_rasa(trained: tuple[Container, str]) -> None:
    assert "torch" in packages(trained[1])
    assert not {"rasa", "tensorflow"} & packages(trained[1])


def test_without_a_test_channel_a_tenth_is_kept_back_for_it(
    container: Container, settings: dict[str, str]
) -> None:
    container.hyperparameters({**settings, "epochs": "1"})
    status, output = container.channel("train", dataset(EXAMPLES)).train()
    assert status == 0, output
    metrics = json.loads((container.results / "metrics.json").read_text())
    counts = dict(zip(metrics["labels"], map(sum, metrics["confusion_matrix"]), strict=True))
    assert counts == {intent: len(texts) // 10 for intent, texts in EXAMPLES.items()}


@pytest.mark.parametrize(
    ("values", "train", "reason"),
    [
        ({"epoch": "3"}, dataset(EXAMPLES), r"Hyper-parameters: 'epoch' is not.*'epochs'"),
        (
            {},
            '{"version": 1, "examples": [{"text": "Qui ?"}]}',
            r"dataset\.json:1: error.*'intent'",
        ),
        ({}, dataset({"WHO_IS": ["  "]}), r"dataset\.json of 'train': no text"),
        ({}, dataset({"WHO_IS": ["Qui est Léa ?"]}), "at least two intents"),
        ({"encoder": "/nowhere"}, dataset(EXAMPLES), "encoder folder '/nowhere' does not exist"),
    ],
)
def test_a_failure_leaves_its_reason(
    container: Container, values: dict[str, str], train: Any, reason: str
) -> None:
    container.hyperparameters(values)
    status, output = container.channel("train", train).train()
    assert status == 1
    assert re.search(reason, container.failure.read_text("utf-8"), re.DOTALL)
    assert "Traceback" not in output
    assert not container.model.exists()


def test_a_channel_without_a_dataset_is_named_with_what_it_has(container: Container) -> None:
    status, _ = container.channel("train", "", file="examples.csv").train()
    assert status == 1
    assert "has no dataset.json, but examples.csv" in container.failure.read_text("utf-8")


def test_a_stopped_training_ends_cleanly(container: Container, settings: dict[str, str]) -> None:
    container.hyperparameters({**settings, "epochs": "100000"})
    container.channel("train", dataset(EXAMPLES))
    process = container.start("train")
    assert process.stdout is not None
    seen = ""
    while "epoch 1 of" not in seen:  # it trains
        seen += process.stdout.read(1)
        assert process.poll() is None, seen
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "Stopped." in output
    assert not container.failure.exists()
    assert not container.model.exists() or not list(container.model.iterdir())


# --- hyper-parameters


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "3", 3),
        ("learning_rate", "1e-4", 1e-4),
        ("freeze_embeddings", "true", True),
        ("calibration", "False", False),
        ("offline_encoder", "null", None),
        ("patience", "None", None),
        ("distill", "4", 4),
        ("distill", "null", None),
        ("encoder", "almanach/camembert-base", "almanach/camembert-base"),
        ("encoder", '"almanach/camembert-base"', "almanach/camembert-base"),
        ("revision", "123456", "123456"),
        ("class_weights", "balanced", "balanced"),
        ("text_prefix", "query: ", "query: "),
    ],
)
def test_hyperparameters_are_read_by_their_rules(name: str, text: str, value: Any) -> None:
    assert hyperparameters.parse({name: text}) == {**DEFAULTS, name: value}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "many"}, "'epochs' is 'many'; it must be null or a whole number"),
        ({"epochs": "2.5"}, "'epochs' is 2.5"),
        ({"learning-rate": "1"}, "Did you mean 'learning_rate'"),
        ({"validation_share": "0"}, "Set 'validation_share' above 0"),
        ({"epochs": "0", "pooling": "max"}, r"'epochs'.*'pooling'"),
    ],
)
def test_hyperparameters_are_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=f"^Hyper-parameters: .*{message}"):
        hyperparameters.parse(values)


def test_hyperparameters_of_the_sdk_are_left_out() -> None:
    assert hyperparameters.parse({"sagemaker_program": '"train.py"'}) == DEFAULTS


# --- serve


@pytest.fixture
def port() -> int:
    return free_port()


def client_of(process: subprocess.Popen[str], port: int) -> httpx.Client:
    """Return a client of a server that is starting, as soon as it listens."""
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
    while process.poll() is None:
        try:
            client.get("/ping")
            return client
        except httpx.ConnectError:
            time.sleep(0.05)
    raise AssertionError(process.communicate()[0])


class Server:
    """``serve`` in a child process, with a client that speaks to it."""

    def __init__(self, base: Path) -> None:
        port = free_port()
        self.process = Container(base).start("serve", SAGEMAKER_BIND_TO_PORT=str(port))
        self.client = client_of(self.process, port)

    def invoke(self, content: Any) -> httpx.Response:
        return self.client.post("/invocations", json=content)

    def stop(self) -> str:
        """End it as SageMaker does; return its output."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=30)
        self.client.close()
        return output


@pytest.fixture(scope="module")
def server(trained: tuple[Container, str]) -> Iterator[Server]:
    started = Server(trained[0].base)
    yield started
    started.stop()


def test_ping(server: Server) -> None:
    assert server.client.get("/ping").status_code == 200


def test_answers_are_those_of_the_served_model(
    server: Server, trained: tuple[Container, str]
) -> None:
    texts = [text for some in EXAMPLES.values() for text in some]
    answer = server.invoke({"inputs": texts})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    model = ServedModel(trained[0].model)
    probabilities = model.predict(texts).probabilities
    predictions = answer.json()["predictions"]
    assert len(predictions) == len(texts)
    for row, prediction in zip(probabilities, predictions, strict=True):
        ranking = prediction["intent_ranking"]
        assert prediction["intent"] == ranking[0]
        assert ranking[0]["name"] == model.metadata.labels[int(row.argmax())]
        confidences = [entry["confidence"] for entry in ranking]
        np.testing.assert_allclose(confidences, sorted(row, reverse=True), atol=1e-5)


def test_one_text_may_stand_alone(server: Server) -> None:
    assert server.invoke({"inputs": "Qui est Léa ?"}).json() == (
        server.invoke({"inputs": ["Qui est Léa ?"]}).json()
    )


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (0, len(EXAMPLES))])
def test_top_k(server: Server, top_k: int, count: int) -> None:
    answer = server.invoke({"inputs": "Qui est Léa ?", "parameters": {"top_k": top_k}})
    (prediction,) = answer.json()["predictions"]
    assert len(prediction["intent_ranking"]) == count


@pytest.mark.parametrize("text", ["", "   ", "你好"])
def test_a_text_that_means_nothing_has_no_intent(server: Server, text: str) -> None:
    (prediction,) = server.invoke({"inputs": [text]}).json()["predictions"]
    assert prediction == {"intent": {"name": None, "confidence": 0.0}, "intent_ranking": []}


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b'{"inputs": "\xe9"}', 400, "not JSON in UTF-8"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[]", 422, 'Send an object: {"inputs"'),
        (b"{}", 422, "Send an object"),
        (b'{"inputs": []}', 422, "is empty"),
        (b'{"inputs": [1]}', 422, "a text or a list of texts"),
        (b'{"inputs": {}}', 422, "a text or a list of texts"),
        (b'{"inputs": "a", "input": "a"}', 422, "Did you mean 'inputs'"),
        (b'{"inputs": "a", "parameters": 3}', 422, "must be an object"),
        (b'{"inputs": "a", "parameters": {"topk": 3}}', 422, "Did you mean 'top_k'"),
        (b'{"inputs": "a", "parameters": {"top_k": -1}}', 422, "'top_k' must be"),
        (b'{"inputs": "a", "parameters": {"top_k": true}}', 422, "'top_k' must be"),
        (json.dumps({"inputs": ["a"] * (MAXIMUM_INPUTS + 1)}).encode(), 413, "send at most"),
        (b" " * (MAXIMUM_BODY_BYTES + 1), 413, "send fewer texts"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_bad_requests_say_what_to_do(
    server: Server, content: bytes, status: int, message: str
) -> None:
    answer = server.client.post(
        "/invocations", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_another_content_type_is_refused(server: Server) -> None:
    answer = server.client.post("/invocations", content=b"a", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 415
    assert "send application/json" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/ping", 405), ("GET", "/invocations", 405), ("GET", "/", 404)],
)
def test_other_paths_and_methods_are_refused(
    server: Server, method: str, path: str, status: int
) -> None:
    answer = server.client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_many_requests_at_once(server: Server) -> None:
    texts = [text for some in EXAMPLES.values() for text in some]
    alone = [server.invoke({"inputs": text}).json() for text in texts]
    with ThreadPoolExecutor(10) as pool:
        together = list(pool.map(lambda text: server.invoke({"inputs": text}).json(), texts))
    assert [_best(one) for one in together] == [_best(one) for one in alone]


def _best(answer: dict[str, Any]) -> str:
    return answer["predictions"][0]["intent"]["name"]


def test_serving_needs_neither_torch_nor_rasa(trained: tuple[Container, str]) -> None:
    server = Server(trained[0].base)
    assert server.invoke({"inputs": "Qui est Léa ?"}).status_code == 200
    output = server.stop()
    assert server.process.returncode == 0, output
    assert "onnxruntime" in packages(output)
    assert not {"torch", "transformers", "rasa", "tensorflow"} & packages(output)


def test_a_request_that_is_being_answered_gets_its_answer_before_the_end(port: int) -> None:
    program = f"""
import time
from infra.sagemaker.serve import Application, run

class SlowModel:
    def rank(self, texts):
        print("computing", flush=True)
        time.sleep(0.5)
        return [[("WHO_IS", 1.0)]]

run(Application(SlowModel()), {port})
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    client = client_of(process, port)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(client.post, "/invocations", json={"inputs": "Qui ?"})
        assert process.stdout is not None
        assert process.stdout.readline() == "computing\n"
        process.send_signal(signal.SIGTERM)
        assert pending.result().json()["predictions"][0]["intent"]["name"] == "WHO_IS"
    assert process.wait(30) == 0


@pytest.mark.parametrize("damage", ["model.onnx", "tokenizer.json", "metadata.json"])
def test_a_damaged_model_is_told_by_ping(
    trained: tuple[Container, str], tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in trained[0].model.iterdir():
        content = path.read_bytes()
        (folder / path.name).write_bytes(content[:-10] if path.name == damage else content)
    server = Server(tmp_path)
    for answer in (server.client.get("/ping"), server.invoke({"inputs": "Qui ?"})):
        assert answer.status_code == 503
        assert damage in answer.json()["error"]
    assert damage in server.stop()


# --- under load, in this process


class BusyModel:
    """Stands for a network that computes until it is told to end."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def rank(self, texts: list[str]) -> list[list[tuple[str, float]]]:
        self.end.wait()
        return [[("WHO_IS", 1.0)] for _ in texts]


class Body(io.BytesIO):
    """A request body that tells when it is read, which is when its request has been let in."""

    def __init__(self, content: bytes, been_read: threading.Semaphore) -> None:
        super().__init__(content)
        self._been_read = been_read

    def read(self, size: int | None = -1) -> bytes:
        self._been_read.release()
        return super().read(size)


def test_ping_is_answered_while_predictions_take_every_place() -> None:
    model = BusyModel()
    application = Application(model, threads=5)  # type: ignore[arg-type]
    let_in = threading.Semaphore(0)

    def call(method: str, path: str) -> str:
        statuses: list[str] = []
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "CONTENT_TYPE": "application/json",
            "wsgi.input": Body(b'{"inputs": "Qui ?"}', let_in),
        }
        list(application(environ, lambda status, _: statuses.append(status)))
        return statuses[0]

    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(call, "POST", "/invocations") for _ in range(4)]
        for _ in pending:
            let_in.acquire()
        assert call("GET", "/ping") == "200 OK"
        assert call("POST", "/invocations") == "429 Too Many Requests"
        model.end.set()
        assert {one.result() for one in pending} == {"200 OK"}
    assert call("POST", "/invocations") == "200 OK"


# --- the image


def locked(name: str) -> dict[str, str]:
    text = (CONTAINER / f"requirements-{name}.lock").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def test_the_images_have_the_versions_that_are_tested_here() -> None:
    training, inference = locked("training"), locked("inference")
    assert not {"torch", "transformers", "rasa", "scipy"} & inference.keys()
    assert inference.items() <= training.items()
    for package in ("onnxruntime", "tokenizers", "waitress", "torch", "transformers", "onnx"):
        assert training[package] == metadata.version(package)
