"""What training hands over to serving, as plain data: no PyTorch, no ONNX."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What the graph needs to know about an encoder of the BERT family (post-layer-norm)."""

    layers: int
    attention_heads: int
    layer_norm_eps: float
    # Added to the running count of tokens: RoBERTa numbers positions from ``pad id + 1``,
    # BERT from 0.
    position_offset: int
    pooling: str
    head: str


@dataclasses.dataclass(frozen=True)
class Student:
    """A small network that is asked first.

    Attributes:
        architecture: Its shape.
        temperature: What its head was divided by.
        threshold: Confidence from which on its answer counts; below it, the large network is asked.
    """

    architecture: Architecture
    temperature: float
    threshold: float


@dataclasses.dataclass(frozen=True)
class TrainedStudent:
    """A small network that answers before the large one.

    Attributes:
        weights: As those of :class:`TrainedModel`.
        metadata: Its shape, and what it may answer.
    """

    weights: dict[str, np.ndarray]
    metadata: Student


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What training goes on from.

    Attributes:
        weights: Arrays by PyTorch's names of the parameters that were trained; those that were not
            come from the encoder.
        architecture: The shape of the encoder and of the head.
    """

    weights: dict[str, np.ndarray]
    architecture: Architecture


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A fine-tuned network.

    Attributes:
        weights: float32 arrays by the names of :func:`~.onnx_graph.build_graph`. The head is
            divided by the temperature, so the softmax of its output is calibrated.
        architecture: The shape of the encoder and of the head.
        labels: Intents, in the order of the classes.
        pad_id: Id of the padding token.
        temperature: What the head was divided by; 1.0 without calibration.
        validation: Accuracy and loss on the held-out share; empty without one.
        trained: The parameters that were trained, float32, see :class:`Checkpoint`.
        judged: For each of :func:`~.training.checks`, whether the model was right before it had
            seen them; empty without ``distill``.
        student: What answers before this model; None without ``distill``.
    """

    weights: dict[str, np.ndarray]
    architecture: Architecture
    labels: list[str]
    pad_id: int
    temperature: float
    validation: dict[str, float]
    trained: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    judged: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, bool))
    student: TrainedStudent | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """What training goes on from."""
        return Checkpoint(self.trained, self.architecture)


@dataclasses.dataclass(frozen=True)
class Metadata:
    """``metadata.json`` of a served model.

    Attributes:
        labels: Intents, in the order of the network's output.
        max_length: Tokens after which a sentence is cut.
        text_prefix: Put before each sentence.
        pad_id: Id of the padding token.
        precision: ``int8`` or ``fp32``.
        temperature: What the head was divided by.
        architecture: The shape of the network.
        encoder: Name, origin and revision of the pretrained encoder.
        validation: Accuracy and loss on the held-out share of the training data.
        student: The small network that is asked first; None where there is none.
    """

    labels: list[str]
    max_length: int
    text_prefix: str
    pad_id: int
    precision: str
    temperature: float
    architecture: Architecture
    encoder: dict[str, Any]
    validation: dict[str, float]
    student: Student | None = None
