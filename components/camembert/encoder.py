"""Where the pretrained encoder comes from: a folder, the model hub, or the offline encoder."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import logging
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config import ConfigError
from common.errors import COMMAND, UserError
from components import offline_encoder as encoders

logger = logging.getLogger(__name__)

# What training imports and serving does not, but for the raw material of the offline encoder.
_TRAINING_PACKAGES = ("torch", "transformers", "safetensors", "onnx")
_REQUIRED_FILES = ("config.json", "tokenizer.json")
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A pretrained encoder on this machine.

    Attributes:
        path: Folder with ``config.json``, ``tokenizer.json`` and the weights.
        name: What the configuration asked for.
        used: What is really used: ``name``, or the offline encoder.
        revision: Commit of the hub, or a digest of the folder.
    """

    path: Path
    name: str
    used: str
    revision: str

    @property
    def prefix(self) -> str:
        """What the encoder was trained to see before each sentence; E5 has a word for a query."""
        return "query: " if re.search(r"(^|[^a-z])e5([^a-z]|$)", self.used.lower()) else ""

    @property
    def is_fallback(self) -> bool:
        """Whether the offline encoder stands in for the one that was asked for."""
        return self.used != self.name


def configured_encoder(config: Mapping[str, Any]) -> Encoder:
    """Return the encoder that a complete configuration asks for (see :func:`find_encoder`)."""
    return find_encoder(config["encoder"], config["revision"], config["offline_encoder"])


def text_prefix(config: Mapping[str, Any], encoder: Encoder) -> str:
    """Return what is put before each sentence: the configured prefix, or the encoder's own."""
    chosen = config["text_prefix"]
    return encoder.prefix if chosen is None else chosen


def find_encoder(name: str, revision: str, offline_encoder: str | None) -> Encoder:
    """Return the encoder ``name``, or the offline encoder where the hub cannot be reached.

    Looked for in this order: a folder of that name, a copy made by ``bot encoder fetch``, the
    hub (and its local cache), the offline encoder.

    Args:
        name: Folder, or name on the Hugging Face hub; or ``e5-small-fr``, the offline encoder that
            is built where it is missing.
        revision: Commit, tag or branch on the hub.
        offline_encoder: Folder of the stand-in, or ``e5-small-fr``; ``None`` to do without.

    Raises:
        ConfigError: The encoder is nowhere to be had; the message says what to do.
        UserError: The offline encoder cannot be built; the message says what is missing.
    """
    folder = Path(name)
    if folder.is_dir():
        return _local(folder, name)
    if name == encoders.OFFLINE_ENCODER:
        return dataclasses.replace(_local(_offline(name), name), used=name)
    if folder.is_absolute() or name.startswith((".", "~")) or len(folder.parts) != 2:
        raise ConfigError(
            f"The encoder folder '{name}' does not exist (looked for '{folder.absolute()}'). Give "
            "an existing folder or a name on the hub such as 'almanach/camembert-base'."
        )
    fetched = encoders.ENCODERS_FOLDER / name
    if fetched.is_dir():
        return dataclasses.replace(_local(fetched, name), used=name)
    snapshot = _download(name, revision)
    if isinstance(snapshot, ConnectionError):
        return _fall_back(name, offline_encoder, snapshot)
    return dataclasses.replace(_local(snapshot, name), used=name, revision=snapshot.name)


def require_training_packages() -> None:
    """Check that what training imports is installed.

    Raises:
        UserError: It is not; the message says how to install it.
    """
    missing = [name for name in _TRAINING_PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return
    message = f"Training needs {', '.join(missing)}, which serving does without: "
    if (sys.platform, platform.machine()) == ("darwin", "x86_64"):
        raise UserError(
            f"{message}PyTorch is no longer published for macOS on Intel processors. Train on "
            "another machine and copy the model here."
        )
    raise UserError(f"{message}pip install 'skills-bot[train]' (in a checkout: make setup).")


def _offline(offline_encoder: str) -> Path:
    """Return the folder of the offline encoder; the one of that name is built where it is missing.

    Raises:
        UserError: See :func:`components.offline_encoder.build`.
    """
    if offline_encoder != encoders.OFFLINE_ENCODER:
        return Path(offline_encoder)
    folder = encoders.ENCODERS_FOLDER / offline_encoder
    if not encoders.is_built(folder):
        require_training_packages()
        logger.info(f"Building the offline encoder in {folder}, once; it takes half a minute.")
        encoders.build(folder)
    return folder


def _local(folder: Path, name: str) -> Encoder:
    missing = [file for file in _REQUIRED_FILES if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in _WEIGHT_FILES):
        missing.append(" or ".join(_WEIGHT_FILES))
    if missing:
        raise ConfigError(
            f"The encoder folder '{folder}' lacks {', '.join(missing)}. Fetch it again with "
            f"`{COMMAND} encoder fetch NAME`, or build the offline encoder with "
            f"`{COMMAND} encoder build`."
        )
    return Encoder(folder, name, str(folder), _digest(folder))


@functools.cache
def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(item for item in folder.iterdir() if item.is_file()):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


@functools.cache  # One attempt a process: an unreachable hub costs its time-out once.
def _download(name: str, revision: str) -> Path | ConnectionError:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=["config.json", "tokenizer.json", "model.safetensors"],
                etag_timeout=5,
            )
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ConfigError(
            f"The hub has no encoder '{name}' at revision '{revision}'. Check the keys 'encoder' "
            "and 'revision' in config.yml."
        ) from error
    except Exception as error:  # The hub's client raises its own, httpx's and OSError's kinds.
        return ConnectionError(f"{type(error).__name__}: {error}")


def _fall_back(name: str, offline_encoder: str | None, error: Exception) -> Encoder:
    way_out = (
        f"Fetch it on a machine with network (`{COMMAND} encoder fetch {name}`) and copy "
        f"'{encoders.ENCODERS_FOLDER / name}' here"
    )
    if offline_encoder is None:
        raise ConfigError(
            f"The encoder '{name}' cannot be downloaded and 'offline_encoder' is null. {way_out}, "
            "give a local folder as 'encoder', or name an offline encoder."
        ) from error
    folder = _offline(offline_encoder)
    if not folder.is_dir():
        raise ConfigError(
            f"The encoder '{name}' cannot be downloaded and the offline encoder '{folder}' does "
            f"not exist. Build it with `{COMMAND} encoder build`. Or: {way_out.lower()}."
        ) from error
    _warn(
        f"The encoder '{name}' cannot be downloaded; the offline encoder '{offline_encoder}' is "
        "used instead. It is smaller and was not trained on French alone, so expect some points of "
        f"accuracy less on hard questions. {way_out} to use the real one."
    )
    return dataclasses.replace(_local(folder, name), used=offline_encoder)


@functools.cache  # Rasa asks several times in one training.
def _warn(message: str) -> None:
    logger.warning(message)
