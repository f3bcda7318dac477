"""The model of a configuration: where it is, what it was made from, how it is trained."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bot.processes import (
    stopping_on_signals,
)
from bot.runtime.rasa_cli import (
    PROJECT_ROOT,
    project_environment,
)
from common.disk import sha256_of
from common.errors import UserError

MODELS = PROJECT_ROOT / "models"
CONFIG = Path("config.yml")
# What a model is made from, besides its configuration and the versions of these packages.
MODEL_INPUTS = (
    "domain.yml",
    "domain/**/*.yml",
    "data/**/*.yml",
    "components/**/*.py",
    "common/text.py",
    "models/encoders/*/encoder.json",
)
MODEL_PACKAGES = ("rasa", "torch", "transformers", "onnxruntime", "tokenizers", "sklearn-crfsuite")


def model_path(config: Path = CONFIG) -> Path:
    """Return where the model of a configuration belongs: that of ``config.x.yml`` in ``bot-x``.

    Without a dot: what follows one would be an ending to Rasa's ``--fixed-model-name``.

    Raises:
        UserError: there is no such configuration.
    """
    if not (PROJECT_ROOT / config).is_file():
        raise UserError(f"{config}: no such configuration; config.yml is one.")
    name = "-".join(["bot", *filter(None, config.stem.removeprefix("config").split("."))])
    return MODELS / f"{name}.tar.gz"


def _stamp_path(model: Path) -> Path:
    return model.with_name(model.name.replace(".tar.gz", ".json"))


def model_fingerprint(root: Path = PROJECT_ROOT, config: Path = CONFIG, endpoint: str = "") -> str:
    """Return a hash of all that a model of the project in ``root`` depends on, in hexadecimal.

    ``endpoint`` tells which one of a classifier elsewhere it asks.
    """
    digest = hashlib.sha256(endpoint.encode())
    for package in MODEL_PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "none"
        digest.update(f"{package}={version}\n".encode())
    files = {path for pattern in MODEL_INPUTS for path in root.glob(pattern)} | {root / config}
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def fresh_model(config: Path = CONFIG, endpoint: str = "") -> Path | None:
    """Return the model that was trained from the present inputs, if there is one."""
    model = model_path(config)
    fingerprint = model_fingerprint(config=config, endpoint=endpoint)
    try:
        stamp = json.loads(_stamp_path(model).read_text(encoding="utf-8"))
        if not isinstance(stamp, dict) or stamp.get("fingerprint") != fingerprint:
            return None
        # Last, since a digest reads the whole model. Stamps of older versions have its size alone.
        held = {"size": model.stat().st_size} if "size" in stamp else {"sha256": sha256_of(model)}
    except (OSError, ValueError):
        return None
    return model if stamp == {"fingerprint": fingerprint, **held} else None


@contextlib.contextmanager
def training() -> Iterator[None]:
    """Hold the lock of the models: who comes while another process trains waits, and says so."""
    MODELS.mkdir(exist_ok=True)
    lock = FileLock(MODELS / ".lock", is_singleton=True)  # so this process may take it twice
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print("      another process trains; waiting for its model …", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def train(config: Path = CONFIG, arguments: list[str] | None = None, endpoint: str = "") -> Path:
    """Train a model and note what it was made from; return its path.

    Its progress goes to the terminal; Rasa's own bars and log only where the ``arguments`` for
    ``rasa train`` ask for them. ``endpoint`` is as of :func:`model_fingerprint`.

    Raises:
        UserError: the training failed.
    """
    with training():
        return _train(model_path(config), config, arguments or [], endpoint)


def _train(model: Path, config: Path, arguments: list[str], endpoint: str) -> Path:
    # Before: what is edited meanwhile is not in the model.
    fingerprint = model_fingerprint(config=config, endpoint=endpoint)
    # Beside the model, which is there whole or not at all; what was left there is of a process that
    # was killed.
    folder = MODELS / ".training"
    shutil.rmtree(folder, ignore_errors=True)
    command = ["-m", "bot.runtime.rasa_cli", "train", "--config", str(config), "--out", str(folder)]
    if not {"--debug", "-vv", "--verbose", "-v"}.intersection(arguments):
        arguments = [*arguments, "--quiet"]
    options = ["--fixed-model-name", model.name.removesuffix(".tar.gz"), *arguments]
    # In our process group: whatever stops that stops the training as well.
    process = subprocess.Popen(
        [sys.executable, *command, *options], cwd=PROJECT_ROOT, env=project_environment()
    )
    try:
        with stopping_on_signals():
            status = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    trained = folder / model.name
    if status != 0 or not trained.exists():
        raise UserError(f"The training failed (exit status {status}); its output is above.")
    trained.replace(model)
    folder.rmdir()
    write_stamp(model, fingerprint)
    return model


def write_stamp(model: Path, fingerprint: str) -> None:
    """Note beside the model what it was made from, and its digest, to know it again."""
    stamp = json.dumps({"fingerprint": fingerprint, "sha256": sha256_of(model)})
    _stamp_path(model).write_text(f"{stamp}\n", encoding="utf-8")


def ensure_model(config: Path = CONFIG) -> Path:
    """Return a model of the present inputs, trained now unless there is one."""
    with training():
        return fresh_model(config) or train(config)


def can_train() -> bool:
    """Return whether the packages of training are installed; serving does without."""
    return importlib.util.find_spec("torch") is not None
