"""No cloud: Rasa trains the whole bot on this machine, and running bots follow a file.

``serving.json`` in the pipeline's folder names the model to serve. A bot that was started with
``PIPELINE_FOLDER`` looks at it each second (:mod:`bot.runtime.model_updates`) and takes a new
model over between two turns; nothing is installed for it, and no further server runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.retraining.backends.base import Progress, State
from bot.retraining.dataset_check import Source
from bot.retraining.registry import DATASET_FILE, HELDOUT_FILE, Registry, Run
from bot.retraining.settings import Settings
from bot.runtime.model_updates import SERVING
from common.aws import AwsError
from common.confusion_matrix import ConfusionMatrix

MODEL, FAILURE, MATRIX = (
    "output/model.tar.gz",
    "output/failure.txt",
    "output/confusion_matrix.json",
)
_FAILURE_LINES = 20
TRAINER = "bot.local_training"  # the module that trains, measures and asks


class LocalBackend:
    """See :class:`~bot.retraining.backends.base.Backend`; a training ends before ``start`` does.

    Args:
        settings: The configuration of the bot.
        registry: Where the files of the runs are: a folder.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry

    def files(self, dataset: Source, heldout: Source) -> Mapping[str, bytes]:
        """Return nothing: datasets are read as they are."""
        return {}

    def start(self, run: Run) -> str:
        """Train and measure, by a process of its own; a model that is there is left as it is."""
        model = Path(self._registry.uri(run.run_id, MODEL))
        if model.exists():
            return str(model)
        self._registry.delete(run.run_id, FAILURE)
        arguments = ["train", "--config", self._settings.training_config, "--model", str(model)]
        arguments += ["--dataset", self._registry.uri(run.run_id, DATASET_FILE)]
        arguments += ["--heldout", self._registry.uri(run.run_id, HELDOUT_FILE)]
        done = _run([*arguments, "--matrix", self._registry.uri(run.run_id, MATRIX)])
        if done.returncode or not model.exists():
            model.unlink(missing_ok=True)
            said = "\n".join(done.stdout.strip().splitlines()[-_FAILURE_LINES:])
            self._registry.put(run.run_id, FAILURE, said.encode())
        return str(model)

    def training_status(self, run: Run) -> Progress:
        """Look for the model."""
        if Path(run.training["arn"]).exists():
            return Progress(State.READY, "TRAINED")
        try:
            reason = self._registry.get(run.run_id, FAILURE).decode()
        except AwsError:
            reason = "There is no model."
        return Progress(State.FAILED, "FAILED", reason)

    def metrics(self, run: Run) -> ConfusionMatrix:
        """Read what the training measured."""
        return ConfusionMatrix.from_json(json.loads(self._registry.get(run.run_id, MATRIX)))

    def deploy(self, run: Run) -> str | None:
        """Name the model in ``serving.json``."""
        serving = {"run_id": run.run_id, "model": run.training["arn"]}
        self._registry.storage.write(SERVING, json.dumps(serving, indent=1).encode())
        return self._registry.storage.uri(SERVING)

    def endpoint_status(self, run: Run) -> Progress:
        """Look whether this model is served; that it can be loaded its measuring has shown."""
        serving = self._serving()
        if serving.get("run_id") == run.run_id:
            return Progress(State.READY, "SERVED")
        other = f"{serving['run_id']} is served." if serving else "No model is served."
        return Progress(State.FAILED, "SERVED" if serving else "NOT_SERVED", other)

    def classify(self, texts: Sequence[str]) -> list[str | None]:
        """Load the model that is served in a process of its own, and ask it."""
        serving = self._serving()
        if not serving or not Path(serving["model"]).exists():
            raise AwsError("No model is served.", "ResourceNotFoundException")
        done = _run(["classify", "--model", serving["model"]], json.dumps(list(texts)))
        if done.returncode:
            raise AwsError(f"The model does not answer: {done.stdout[-2000:]}", "ModelError")
        answer: list[str | None] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    def remove_endpoint(self) -> bool:
        """Name no model any more; bots keep the one that they have."""
        self._registry.storage.delete(SERVING)
        return True

    def prune(self, run: Run) -> bool:
        """Delete the model's file, unless it is served."""
        if self._serving().get("run_id") == run.run_id:
            return False
        self._registry.delete(run.run_id, MODEL)
        return True

    def _serving(self) -> dict[str, str]:
        found = self._registry.storage.read(SERVING)
        return dict(json.loads(found[0])) if found else {}


def _run(arguments: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", TRAINER, *arguments]
    return subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[3],
    )
