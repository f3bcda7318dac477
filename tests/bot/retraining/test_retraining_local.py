"""Retraining without any cloud: a folder, and ``bot pipeline`` as a user types it."""

from __future__ import annotations

import asyncio
import email
import http.server
import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from bot.retraining.backends import local as backend
from bot.retraining.local import LocalPipeline
from bot.retraining.registry import Registry, Status
from bot.retraining.settings import Settings
from bot.runtime import model_updates
from common.errors import UserError
from infra.retrain_demo import __main__ as demo
from tests.support.retraining_harness import confused, dataset, examples


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline with a held-out set, and nothing of AWS in the environment."""
    monkeypatch.setattr(backend, "TRAINER", "tests.support.local_trainer")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    place = tmp_path / "pipeline"
    monkeypatch.setenv("PIPELINE_FOLDER", str(place))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("ARTIFACT_BUCKET", f"{place}/")
    (place / "heldout").mkdir(parents=True)
    (place / "heldout" / "heldout.json").write_bytes(dataset(examples(4, first=100)))
    return place


def bot(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["pipeline", *arguments])


def put(folder: Path, content: bytes, name: str = "jeu.json") -> Path:
    file = folder.parent / name
    file.write_bytes(content)
    return file


def train(folder: Path, content: bytes | None = None, *options: str) -> Result:
    return bot("run", str(put(folder, dataset() if content is None else content)), *options)


def live(folder: Path) -> str:
    """Return the run that the log says is live; it is the one whose model is served."""
    identity = Registry(f"{folder}/").pointer().live
    serving = json.loads((folder / "serving.json").read_text())
    assert serving["run_id"] == identity
    assert Path(serving["model"]).exists()
    return identity


def test_a_dataset_ends_in_the_model_that_is_served(folder: Path) -> None:
    result = train(folder)
    assert result.exit_code == 0, result.output
    assert "DEPLOYED" in result.output
    run = Registry(f"{folder}/").run(live(folder))
    assert run.metrics["macro_f1"] == 1
    assert [line["event"] for line in run.timeline][-2:] == ["DEPLOYING", "DEPLOYED"]
    assert bot("status").output.split()[:2] == ["Live", run.run_id]
    assert run.run_id in bot("history").output


def test_a_worse_model_is_not_served_and_the_same_is_not_trained_twice(folder: Path) -> None:
    train(folder)
    first = live(folder)
    result = train(folder, confused())
    assert result.exit_code == 1
    assert "REJECTED" in result.output
    result = train(folder, b"\xef\xbb\xbf" + dataset())
    assert "NOTHING_NEW" in result.output
    result = train(folder, b"{")
    assert "REJECTED_DATASET" in result.output
    assert live(folder) == first


def test_rollback_and_teardown(folder: Path) -> None:
    train(folder)
    first = live(folder)
    train(folder, dataset(examples(13)))
    second = live(folder)
    assert second != first
    assert bot("rollback", "--yes", "--every", "0.02").exit_code == 0
    assert live(folder) == first
    assert bot("teardown", "--yes", "--every", "0.02").exit_code == 0
    assert not (folder / "serving.json").exists()


def test_approval(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPROVAL", "manual")
    result = train(folder)
    assert "AWAITING_APPROVAL" in result.output
    assert not (folder / "serving.json").exists()
    (run,) = Registry(f"{folder}/").runs()
    result = bot("approve", run.run_id)
    assert result.exit_code == 0, result.output
    assert live(folder) == run.run_id
    assert Registry(f"{folder}/").run(run.run_id).approved_by


def test_a_training_that_fails_says_why_and_is_tried_again(folder: Path) -> None:
    result = train(folder, None, "--config", "broken.yml")
    assert result.exit_code == 1
    assert "the configuration is broken" in result.output
    (run,) = Registry(f"{folder}/").runs()
    assert run.status is Status.TRAINING_FAILED
    monkey = {**run.settings, "training_config": "config.yml"}
    Registry(f"{folder}/").update(run.run_id, lambda run: run.noted("MENDED", settings=monkey))
    assert bot("retry", run.run_id).exit_code == 0
    assert live(folder) == run.run_id


def test_another_held_out_set_has_the_live_model_measured_again(folder: Path) -> None:
    train(folder)
    first = live(folder)
    heldout = put(folder, dataset(examples(5, first=200)), "heldout-2.json")
    result = train(folder, dataset(examples(14)), "--heldout", str(heldout))
    assert result.exit_code == 0, result.output
    gate = Registry(f"{folder}/").run(live(folder)).gate
    assert (gate["live_run"], gate["measured_again"]) == (first, True)


def pipeline_of(folder: Path) -> LocalPipeline:
    return LocalPipeline(Settings(backend="local", artifact_bucket=str(folder)))


def test_a_watched_folder(folder: Path) -> None:
    """What is dropped is taken in, once; what is none is named; what was cut off goes on."""
    interrupted = pipeline_of(folder)
    file = interrupted.put(put(folder, dataset(), "avant.json"))
    record, identity = interrupted._record(file)
    started = interrupted._intake._admitted  # as if the process had ended before the training
    run = started(_object(record), identity, "2026-01-01T00:00:00.000+00:00")
    interrupted.registry.create(run)

    told: list[str] = []
    end = threading.Event()
    watcher = threading.Thread(target=pipeline_of(folder).watch, args=(told.append, end.is_set))
    watcher.start()
    try:
        (folder / "datasets" / "été 2026.json").write_bytes(dataset(examples(13)))
        (folder / "datasets" / "jeu.xlsx").write_bytes(b"PK")
        deadline = time.monotonic() + 60
        while not any("été" in text for text in told) or len(told) < 4:
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
    finally:
        end.set()
        watcher.join()
    assert told[0] == f"{identity} goes on"
    runs = Registry(f"{folder}/").runs()
    assert [run.status for run in runs] == [Status.DEPLOYED, Status.DEPLOYED]
    assert live(folder) == runs[0].run_id
    again = pipeline_of(folder)
    assert [path.name for path, _ in again._files()] == ["jeu.xlsx"]


def _object(record: dict[str, Any]) -> Any:
    from bot.retraining.dataset_check import Object

    item = record["s3"]["object"]
    return Object(record["s3"]["bucket"]["name"], item["key"], "", item["eTag"], item["size"])


def test_aws_is_pointed_to(folder: Path) -> None:
    result = bot("run", "jeu.json", "--backend", "comprehend")
    assert isinstance(result.exception, UserError)
    assert "aws s3 cp jeu.json" in str(result.exception)


# --- notices ----------------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A webhook, and what it was sent."""
    sent: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", sent
        server.shutdown()


@pytest.fixture
def post_office() -> Iterator[tuple[str, list[bytes]]]:
    """A mail server, as much of one as smtplib asks for, and what it was given."""
    mails: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mail = b""
                    while (line := self.rfile.readline()) != b".\r\n":
                        mail += line
                    mails.append(mail)
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 fine\r\n")
                if verb == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"smtp://127.0.0.1:{server.server_address[1]}", mails
        server.shutdown()


def test_notices_go_to_a_webhook_and_by_mail(
    folder: Path,
    hook: tuple[str, list[dict[str, str]]],
    post_office: tuple[str, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTICE_WEBHOOK", hook[0])
    monkeypatch.setenv("NOTICE_MAIL", "team@example.com")
    monkeypatch.setenv("SMTP_URL", post_office[0])
    train(folder)
    train(folder, confused())
    subjects = [sent["subject"] for sent in hook[1]]
    assert "new model is live" in subjects[0]
    assert "new model not good enough" in subjects[1]
    assert "macro-F1" in hook[1][0]["text"]
    mails = [email.message_from_bytes(mail) for mail in post_office[1]]
    assert [mail["Subject"] for mail in mails] == subjects
    assert mails[0]["To"] == "team@example.com"


def test_a_notice_that_cannot_be_sent_stops_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTICE_WEBHOOK", "http://127.0.0.1:9/hook")
    monkeypatch.setenv("NOTICE_MAIL", "team@example.com")
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:9")
    assert train(folder).exit_code == 0
    assert "could not be sent to NOTICE_WEBHOOK" in caplog.text
    assert "could not be sent by SMTP_URL" in caplog.text


# --- the bot ----------------------------------------------------------------------------------


def test_a_model_that_cannot_be_loaded_leaves_the_bot_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(model_updates, "SECONDS", 0.01)
    loaded: list[str] = []

    class Agent:
        def is_ready(self) -> bool:
            return True

        def load_model(self, model: str) -> None:
            if "broken" in model:
                raise ValueError("damaged")
            loaded.append(model)

    async def follow() -> None:
        app = SimpleNamespace(ctx=SimpleNamespace(agent=Agent()))
        task = asyncio.create_task(model_updates.follow(app, tmp_path))
        for model in ("one", "broken", "two"):
            (tmp_path / "serving.json").write_text(json.dumps({"model": model}))
            await asyncio.sleep(0.2)
        task.cancel()

    asyncio.run(follow())
    assert loaded == ["one", "two"]
    assert "keeps its model: broken cannot be loaded" in caplog.text


def test_a_running_bot_takes_over_and_back_without_a_lost_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``make retrain-demo``: Rasa's server, Rasa's training, somebody who talks all the while."""
    from rich.console import Console

    for name in ("PIPELINE_FOLDER", "BOT_ENDPOINTS"):
        monkeypatch.setenv(name, "")  # what the demo sets is undone
    talk = demo.demonstrate(Console(width=200), tmp_path)
    assert talk.lost == []
    assert talk.answered > 10
    assert "it was not restarted" in capsys.readouterr().out
