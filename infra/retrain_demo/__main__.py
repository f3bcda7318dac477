"""Drops a dataset, has the running bot take the new model over, and rolls back, in one terminal.

Somebody talks to the bot all the while. The configuration is one that trains in seconds; with the
bot's own everything is the same but for the minutes: docs/retraining.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from bot import dataset as datasets
from bot import processes, server
from bot.retraining import backends
from bot.retraining.deployment import Deployment
from bot.retraining.local import LocalPipeline
from bot.retraining.registry import Run, Status
from bot.retraining.settings import Settings
from bot.runtime.model_updates import FOLDER_VARIABLE
from bot.runtime.rasa_cli import ENDPOINTS_VARIABLE, PROJECT_ROOT
from common.errors import UserError
from infra.demo import as_json, heldout, sample

CONFIG = "infra/retrain_demo/config.yml"
QUESTION = "Bonjour, comment ça va ?"
TOKEN = "retrain-demo"
PATIENCE = 900.0


class Talk:
    """Asks the bot all the while.

    Attributes:
        answered: Turns with an answer.
        lost: What went wrong, for each turn without one.
    """

    def __init__(self, url: str) -> None:
        self.answered = 0
        self.lost: list[str] = []
        self._url = url
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> Talk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _talk(self) -> None:
        body = json.dumps({"sender": "demo", "message": QUESTION}).encode()
        headers = {"Content-Type": "application/json"}
        while not self._end.wait(0.3):
            request = urllib.request.Request(f"{self._url}/webhooks/rest/webhook", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    answers = json.load(response)
            except OSError as error:
                self.lost.append(str(error))
            else:
                if answers:
                    self.answered += 1
                else:
                    self.lost.append("no answer")


def demonstrate(console: Console, folder: Path) -> Talk:
    """Train, start a bot, retrain, roll back; return how many turns it answered.

    Args:
        console: Where progress is shown.
        folder: Empty; everything is in it.

    Raises:
        UserError: Something else happened than what is to be shown.
    """
    settings = Settings(
        backend="local", artifact_bucket=str(folder / "pipeline"), training_config=CONFIG
    )
    pipeline = LocalPipeline(settings)
    known = datasets.read(PROJECT_ROOT / "data" / "dataset.json")
    measured = heldout(datasets.read(PROJECT_ROOT / "tests" / "data" / "heldout.yml"))
    (folder / "pipeline" / "heldout").mkdir(parents=True)
    (folder / "pipeline" / "heldout" / "heldout.json").write_bytes(as_json(measured))
    drops = folder / "pipeline" / "datasets"
    drops.mkdir()

    console.print("[bold]1. A first dataset[/], and the bot is started with what came of it")
    (drops / "lundi.json").write_bytes(as_json(sample(known, 150)))
    first = pipeline.take(drops / "lundi.json")
    _show(console, first)
    assert first is not None
    port = processes.free_port()
    children = [_start(folder, Path(first.training["arn"]), port)]
    url = f"http://{processes.HOST}:{port}"
    try:
        processes.wait_until_ready(children, [f"{url}/status?token={TOKEN}"], PATIENCE)
        before = served(url)
        console.print(f"   the bot answers at {url} with the model {before}")
        with Talk(url) as talk:
            console.print("[bold]2. A second dataset is dropped into the folder[/]")
            end = threading.Event()
            watcher = threading.Thread(
                target=pipeline.watch, args=(lambda text: console.print(f"   {text}"), end.is_set)
            )
            watcher.start()
            try:
                (drops / "mardi.json").write_bytes(as_json(sample(known, 460)))
                after = _changed(url, before)
            finally:
                end.set()
                watcher.join()
            newer = pipeline.registry.run(pipeline.registry.pointer().live)
            _show(console, newer)
            console.print(f"   the same bot answers with {after}; it was not restarted")
            console.print("[bold]3. Back to the model before[/]: bot pipeline rollback")
            backend = backends.create(settings, pipeline.registry)
            deployment = Deployment(settings, pipeline.registry, backend)
            deployment.restore(first.run_id)
            deployment.restored(first.run_id)
            console.print(f"   the same bot answers with {_changed(url, after)}")
            if served(url) != before:
                raise UserError("It is not the model that was live before.")
    finally:
        processes.stop(children)
    console.print(
        f"[bold]{talk.answered} turns were answered meanwhile, {len(talk.lost)} were lost.[/]"
    )
    console.print("Your own: bot pipeline run FILE, and PIPELINE_FOLDER=pipeline make run")
    return talk


def served(url: str) -> str:
    """Return the id of the model that the bot answers with."""
    with urllib.request.urlopen(f"{url}/status?token={TOKEN}", timeout=60) as response:
        return str(json.load(response)["model_id"])


def _changed(url: str, before: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while (now := served(url)) == before:
        if time.monotonic() > deadline:
            raise UserError(f"The bot has had no other model for {PATIENCE:.0f} s.")
        time.sleep(0.2)
    return now


def _start(folder: Path, model: Path, port: int) -> processes.Child:
    endpoints = folder / "endpoints.yml"
    store = {
        "type": "bot.runtime.tracker_store.AppendOnlySQLTrackerStore",
        "dialect": "sqlite",
        "db": str(folder / "events.db"),
    }
    endpoints.write_text(yaml.safe_dump({"tracker_store": store}), encoding="utf-8")
    os.environ |= {
        FOLDER_VARIABLE: str(folder / "pipeline"),
        ENDPOINTS_VARIABLE: str(endpoints),
    }
    at = server.addresses(processes.HOST, port, processes.free_port())
    return server.start_bot(at, model, TOKEN)


def _show(console: Console, run: Run | None) -> None:
    if run is None or run.status is not Status.DEPLOYED:
        raise UserError(f"The retraining ended otherwise: {run and (run.status, run.reason)}")
    console.print(
        f"   {run.run_id}: {run.dataset['examples']} examples, macro-F1 "
        f"{run.metrics['macro_f1']:.3f} on {run.metrics['test_examples']} held-out texts, live"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; return its exit status."""
    argparse.ArgumentParser(prog="python -m infra.retrain_demo", description=__doc__).parse_args(
        arguments
    )
    console = Console(highlight=False, soft_wrap=True)
    try:
        with processes.stopping_on_signals(), tempfile.TemporaryDirectory() as name:
            talk = demonstrate(console, Path(name))
    except UserError as error:
        console.print(f"[bold red]Error:[/] {error}", markup=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; nothing is left of it.")
        return 130
    return 1 if talk.lost else 0


if __name__ == "__main__":
    sys.exit(main())
