"""The trained classifier on disk, and its inference with ONNX Runtime.

A served model is a folder of ``model.onnx``, ``tokenizer.json`` and ``metadata.json`` (labels,
settings, provenance and the SHA-256 of the others), and ``student.onnx`` where a small network is
asked first. ``checkpoint.safetensors`` is for further training alone. Serving needs neither PyTorch
nor ``transformers``, and not Rasa either: other servers can use it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from components.camembert.model import (
    Architecture,
    Checkpoint,
    Metadata,
    Student,
    TrainedModel,
)
from components.camembert.onnx_graph import (
    ATTENTION_MASK,
    INPUT_IDS,
    LOGITS,
    build_graph,
    quantise,
)
from components.camembert.tokenization import SentenceTokenizer
from components.remote import Ranking

if TYPE_CHECKING:
    import onnx

logger = logging.getLogger(__name__)

# To be raised when an older component could not read what this one writes, or the reverse.
FORMAT_VERSION = 4
# Of the release before: the same without a checkpoint.
_READABLE = (3, FORMAT_VERSION)
_MODEL, _TOKENIZER, _METADATA = "model.onnx", "tokenizer.json", "metadata.json"
_STUDENT, _CHECKPOINT = "student.onnx", "checkpoint.safetensors"
# Sentences in one run of the network: bounds the memory of a large `rasa test nlu`.
_BATCH = 64
MINIMUM_AGREEMENT = 0.99


class ServedModelError(UserError):
    """The files of a trained classifier are missing, damaged or of another version."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of ``logits`` (… x classes), stable for large values."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Probabilities of a batch.

    Attributes:
        probabilities: float64, texts x classes; each row sums to 1.
        unknown: bool, texts; the vocabulary knows nothing of the text.
    """

    probabilities: np.ndarray
    unknown: np.ndarray


def write(
    folder: Path, trained: TrainedModel, metadata: Metadata, tokenizer: Path, texts: Sequence[str]
) -> Metadata:
    """Write a served model.

    Args:
        folder: Existing folder to write into.
        trained: The result of fine-tuning.
        metadata: What to record; its ``precision`` is a wish.
        tokenizer: The encoder's ``tokenizer.json``.
        texts: Training sentences on which int8 has to agree with fp32.

    Returns:
        The metadata as written: ``precision`` is ``fp32`` where int8 did not agree.
    """
    from safetensors.numpy import save

    # Half of the precision is plenty to start from, and half of the size.
    halves = {name: array.astype(np.float16) for name, array in trained.trained.items()}
    files = {_TOKENIZER: tokenizer.read_bytes(), **({_CHECKPOINT: save(halves)} if halves else {})}
    graphs = {_MODEL: build_graph(trained.weights, trained.architecture)}
    if trained.student:
        student = trained.student
        graphs[_STUDENT] = build_graph(student.weights, student.metadata.architecture)
    with tempfile.TemporaryDirectory() as scratch:
        chosen = full = Path(scratch) / "fp32"
        _write_folder(full, graphs, files, dataclasses.replace(metadata, precision="fp32"))
        if metadata.precision == "int8":
            small = Path(scratch) / "int8"
            quantised = {name: quantise(graph) for name, graph in graphs.items()}
            _write_folder(small, quantised, files, metadata)
            if _agreement(ServedModel(full), ServedModel(small), texts) >= MINIMUM_AGREEMENT:
                chosen = small
        for file in chosen.iterdir():
            shutil.copyfile(file, folder / file.name)
    return read_metadata(folder)


def _write_folder(
    folder: Path,
    graphs: Mapping[str, onnx.ModelProto],
    files: Mapping[str, bytes],
    metadata: Metadata,
) -> None:
    folder.mkdir()
    for name, content in {
        **{name: graph.SerializeToString() for name, graph in graphs.items()},
        **files,
    }.items():
        (folder / name).write_bytes(content)
    described = {
        "format": FORMAT_VERSION,
        **dataclasses.asdict(metadata),
        "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
    }
    text = json.dumps(described, ensure_ascii=False, indent=2)
    (folder / _METADATA).write_text(f"{text}\n", encoding="utf-8")


def _agreement(full: ServedModel, small: ServedModel, texts: Sequence[str]) -> float:
    """Return the share of ``texts`` on which both models choose the same intent."""
    best_full = full.predict(texts).probabilities.argmax(1)
    best_small = small.predict(texts).probabilities.argmax(1)
    agreement = float((best_full == best_small).mean())
    logger.info(f"The int8 model agrees with the fp32 model on {agreement:.2%} of the examples.")
    if agreement < MINIMUM_AGREEMENT:
        logger.warning(
            f"The int8 model agrees with the fp32 model on only {agreement:.1%} of the training "
            "examples, so the fp32 model is kept: four times larger and about half as fast. Set "
            "'precision: fp32' in config.yml to accept that without this warning."
        )
    return agreement


def read_metadata(folder: Path) -> Metadata:
    """Read and check a served model's description, and the files that serving needs.

    Raises:
        ServedModelError: A file is missing or damaged, or of another format version.
    """
    return _read(folder, for_training=False)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and check what training goes on from.

    Raises:
        ServedModelError: See :func:`read_metadata`; or the model is of a release that stored none.
    """
    from safetensors.numpy import load_file

    metadata = _read(folder, for_training=True)
    if not (folder / _CHECKPOINT).exists():
        raise ServedModelError(
            f"The trained intent classifier has no '{_CHECKPOINT}', from which --finetune goes on: "
            "it is of a release before this one. Train it again with `rasa train --force`."
        )
    return Checkpoint(load_file(folder / _CHECKPOINT), metadata.architecture)


def _read(folder: Path, *, for_training: bool) -> Metadata:
    path = folder / _METADATA
    try:
        content = json.loads(path.read_text("utf-8"))
        version = content.pop("format")
        if version not in _READABLE:
            raise ServedModelError(
                f"The intent classifier in '{folder.name}' was trained with another version of "
                f"the component (format {version}, this one reads {FORMAT_VERSION}). "
                "Train it again with `rasa train --force`."
            )
        files = content.pop("files")
        content["architecture"] = Architecture(**content["architecture"])
        if student := content.get("student"):
            student["architecture"] = Architecture(**student["architecture"])
            content["student"] = Student(**student)
        metadata = Metadata(**content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    for name, expected in files.items():
        if name == _CHECKPOINT and not for_training:
            continue
        if not (folder / name).is_file():
            raise _damaged(folder / name, "the file is missing")
        if _sha256(folder / name) != expected:
            raise _damaged(folder / name, "its checksum is not the one noted in training")
    return metadata


def _damaged(path: Path, reason: str) -> ServedModelError:
    return ServedModelError(
        f"The trained intent classifier is damaged: '{path.name}' in '{path.parent.name}' "
        f"({reason}). Train it again with `rasa train --force`, or restore the model archive."
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class ServedModel:
    """A trained classifier, ready to answer; safe to use from several threads.

    Args:
        folder: What :func:`write` has written. Not needed once this has returned.
        threads: Threads of one prediction; 0 leaves the choice to ONNX Runtime.
        reject_unknown: Whether a text of which the vocabulary knows nothing gets no intent.

    Raises:
        ServedModelError: See :func:`read_metadata`.
    """

    def __init__(self, folder: Path, threads: int = 0, *, reject_unknown: bool = True) -> None:
        import onnxruntime

        self._reject_unknown = reject_unknown
        self.metadata = read_metadata(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that wait by spinning take the processors from whatever else runs: the other
        # network, or the rest of a turn. On a busy machine that doubles what an answer takes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

        def session(name: str) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(
                str(folder / name), options, providers=["CPUExecutionProvider"]
            )

        self._session = session(_MODEL)
        self._student = session(_STUDENT) if self.metadata.student else None
        self._tokenizer = SentenceTokenizer(
            folder / _TOKENIZER,
            self.metadata.max_length,
            self.metadata.text_prefix,
            self.metadata.pad_id,
        )

    def predict(self, texts: Sequence[str]) -> Prediction:
        """Return the probability of each intent for each text."""
        ids = self._tokenizer.ids(texts)
        unknown = np.array([self._tokenizer.is_unknown(item) for item in ids], dtype=bool)
        return Prediction(softmax(self._logits(ids)), unknown)

    def rank(self, texts: Sequence[str]) -> list[Ranking]:
        """Return all intents of each text with their probabilities, the best first."""
        prediction = self.predict(texts)
        labels = self.metadata.labels
        return [
            []
            if unknown and self._reject_unknown
            else [(labels[index], float(row[index])) for index in row.argsort()[::-1]]
            for row, unknown in zip(prediction.probabilities, prediction.unknown, strict=True)
        ]

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the calibrated logits, float64, texts x classes."""
        return self._logits(self._tokenizer.ids(texts))

    def _logits(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Ask the student, if there is one, and the large network where it is not sure."""
        if self._student is None or self.metadata.student is None:
            return self._run(self._session, ids)
        result = self._run(self._student, ids)
        unsure = np.flatnonzero(softmax(result).max(1) < self.metadata.student.threshold)
        if unsure.size:
            result[unsure] = self._run(self._session, [ids[index] for index in unsure])
        return result

    def _run(self, session: Any, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Run a network in batches of sentences of about the same length."""
        result = np.empty((len(ids), len(self.metadata.labels)))
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        for begin in range(0, len(order), _BATCH):
            rows = order[begin : begin + _BATCH]
            tokens = self._tokenizer.pad([ids[row] for row in rows])
            (logits,) = session.run([LOGITS], {INPUT_IDS: tokens.ids, ATTENTION_MASK: tokens.mask})
            result[rows] = logits
        return result
