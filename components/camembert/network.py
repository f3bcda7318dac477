"""The network of the intent classifier in PyTorch, and the way to and from its served weights."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from common.errors import UserError
from components.camembert.encoder import Encoder
from components.camembert.ngrams import NGrams
from components.camembert.onnx_graph import Architecture
from components.camembert.progress import Progress
from components.camembert.served_model import Student
from components.camembert.tokenization import SentenceTokenizer

COSINE_SCALE = 20.0
_SUPPORTED = ("camembert", "roberta", "xlm-roberta", "bert")


class TrainingError(UserError):
    """The classifier cannot be trained; the message says what to change."""


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
class TrainedModel:
    """What training hands over to serving.

    Attributes:
        weights: float32 arrays by the names of :func:`~.onnx_graph.build_graph`. The head is
            divided by the temperature, so the softmax of its output is calibrated.
        architecture: The shape of the encoder and of the head.
        labels: Intents, in the order of the classes.
        pad_id: Id of the padding token.
        temperature: What the head was divided by; 1.0 without calibration.
        validation: Accuracy and loss on the held-out share; empty without one.
        judged: For each of :func:`~.training.checks`, whether the model was right before it had
            seen them; empty without ``distill``.
        ngrams: What answers beside this model; None without.
        student: What answers before this model; None without ``distill``.
    """

    weights: dict[str, np.ndarray]
    architecture: Architecture
    labels: list[str]
    pad_id: int
    temperature: float
    validation: dict[str, float]
    judged: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, bool))
    ngrams: NGrams | None = None
    student: TrainedStudent | None = None


class Network(nn.Module):
    """Encoder, pooling and head, in two parts: the frozen bottom and the trained top."""

    def __init__(self, encoder: Any, config: Mapping[str, Any], classes: int) -> None:
        super().__init__()
        # Typed loosely: nn.Module hands out its parts as `Tensor | Module`.
        self.encoder: Any = encoder
        self.config = config
        self.head = nn.Linear(encoder.config.hidden_size, classes)
        if config["head"] == "cosine":
            self.head.bias.requires_grad_(False)
            nn.init.zeros_(self.head.bias)
        layers = encoder.encoder.layer
        self.bottom_layers: Any = layers[: config["freeze_layers"]]
        self.top_layers: Any = layers[config["freeze_layers"] :]
        if config["freeze_embeddings"]:
            encoder.embeddings.requires_grad_(False)
        self.bottom_layers.requires_grad_(False)

    def bottom(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what the frozen part makes of token ids: batch x tokens x hidden."""
        hidden = self.encoder.embeddings(input_ids=ids)
        return self._run(self.bottom_layers, hidden, mask)

    def pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return one vector a sentence from the output of :meth:`bottom`: batch x hidden."""
        return self.summary(self._run(self.top_layers, hidden, mask), mask)

    def states(self, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """Return what each layer makes of token ids: layers x (batch x tokens x hidden)."""
        hidden = self.encoder.embeddings(input_ids=ids)
        found = []
        for layer in (*self.bottom_layers, *self.top_layers):
            hidden = self._run([layer], hidden, mask)
            found.append(hidden)
        return found

    def summary(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return one vector a sentence from the output of the last layer: batch x hidden."""
        if self.config["pooling"] == "cls":
            return hidden[:, 0]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)

    def classify(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the logits of pooled vectors: batch x classes."""
        if self.config["head"] == "cosine":
            directions = functional.normalize(self.head.weight, dim=-1)
            return COSINE_SCALE * functional.normalize(pooled, dim=-1) @ directions.T
        return self.head(pooled)

    @staticmethod
    def _run(layers: Any, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        additive = (1.0 - mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        for layer in layers:
            hidden = layer(hidden, attention_mask=additive)
        return hidden


@dataclasses.dataclass
class Sentence:
    """One training sentence: its token ids, its class and what the frozen layers make of it."""

    ids: list[int]
    label: int
    hidden: torch.Tensor | None = None


AnySentence = TypeVar("AnySentence", bound=Sentence)


@contextlib.contextmanager
def seeded(config: Mapping[str, Any]) -> Iterator[torch.device]:
    """Give the device to train on, under the configured seed and number of threads."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    try:
        # Dropout draws from the global generator; give it back as it was.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(config["seed"])
            yield device
    finally:
        torch.set_num_threads(threads)


def load_encoder(encoder: Encoder) -> Any:
    """Return the encoder as a ``transformers`` model.

    Raises:
        TrainingError: It is of another family than BERT's.
    """
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging as transformers_logging

    kind = AutoConfig.from_pretrained(encoder.path).model_type
    if kind not in _SUPPORTED:
        raise TrainingError(
            f"The encoder '{encoder.used}' is of the kind '{kind}'; supported are "
            f"{', '.join(_SUPPORTED)}. Choose another 'encoder' in config.yml."
        )
    # The library lists the unused language-model head and draws a bar for reading one file.
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(
            encoder.path, dtype=torch.float32, attn_implementation="sdpa", add_pooling_layer=False
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    return model


def shrunk(encoder: Any, layers: Sequence[int]) -> Any:
    """Return a copy of a ``transformers`` encoder with some of its layers alone, all trainable."""
    small = copy.deepcopy(encoder)
    small.encoder.layer = nn.ModuleList(small.encoder.layer[index] for index in layers)
    small.encoder.layer.requires_grad_(True)
    small.config.num_hidden_layers = len(layers)
    return small


def sentences_of(
    network: Network,
    tokenizer: SentenceTokenizer,
    texts: Sequence[str],
    classes: Sequence[int],
    progress: Progress | None = None,
) -> list[Sentence]:
    """Tokenise, and run the frozen part once for all epochs where there is one."""
    sentences = [
        Sentence(ids, label) for ids, label in zip(tokenizer.ids(texts), classes, strict=True)
    ]
    if not network.config["freeze_embeddings"]:
        return sentences
    network.eval()
    with torch.inference_mode():
        for batch in batches(sentences, 64):
            ids, mask = tensors(network, tokenizer, batch)
            hidden = network.bottom(ids, mask).cpu()
            for row, sentence in enumerate(batch):
                sentence.hidden = hidden[row, : len(sentence.ids)].clone()
            if progress is not None:
                progress.advance(len(batch) * len(network.bottom_layers))
    return sentences


def batches(
    sentences: Sequence[AnySentence], size: int, rng: random.Random | None = None
) -> Iterator[list[AnySentence]]:
    """Yield batches of sentences of about the same length, shuffled if ``rng`` is given."""
    order = list(range(len(sentences)))
    if rng is not None:
        rng.shuffle(order)
        # Sort by length within windows of some batches: little padding, still random.
        window = size * 8
        order = [
            index
            for begin in range(0, len(order), window)
            for index in sorted(
                order[begin : begin + window], key=lambda index: len(sentences[index].ids)
            )
        ]
    else:
        order.sort(key=lambda index: len(sentences[index].ids))
    batches = [order[begin : begin + size] for begin in range(0, len(order), size)]
    if rng is not None:
        rng.shuffle(batches)
    for batch in batches:
        yield [sentences[index] for index in batch]


def tensors(
    network: Network, tokenizer: SentenceTokenizer, batch: Sequence[Sentence]
) -> tuple[torch.Tensor, torch.Tensor]:
    device = network.head.weight.device
    tokens = tokenizer.pad([sentence.ids for sentence in batch])
    return torch.from_numpy(tokens.ids).to(device), torch.from_numpy(tokens.mask).to(device)


def pool(network: Network, tokenizer: SentenceTokenizer, batch: Sequence[Sentence]) -> torch.Tensor:
    ids, mask = tensors(network, tokenizer, batch)
    frozen = [sentence.hidden for sentence in batch if sentence.hidden is not None]
    if not frozen:
        return network.pooled(network.bottom(ids, mask), mask)
    hidden = nn.utils.rnn.pad_sequence(frozen, batch_first=True)
    return network.pooled(hidden.to(mask.device), mask)


def predict(
    network: Network, tokenizer: SentenceTokenizer, sentences: Sequence[Sentence], size: int
) -> np.ndarray:
    """Return the logits, sentences x classes."""
    network.eval()
    found: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for batch in batches(sentences, size):
            logits = network.classify(pool(network, tokenizer, batch)).cpu().numpy()
            found |= {id(sentence): row for sentence, row in zip(batch, logits, strict=True)}
    return np.stack([found[id(sentence)] for sentence in sentences])


# The names of transformers' BERT family beside those of the ONNX graph.
_LAYER_NAMES = {
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention.norm",
    "intermediate.dense": "feed_forward.in",
    "output.dense": "feed_forward.out",
    "output.LayerNorm": "feed_forward.norm",
}


def architecture_of(network: Network) -> Architecture:
    config = network.encoder.config
    return Architecture(
        layers=config.num_hidden_layers,
        attention_heads=config.num_attention_heads,
        layer_norm_eps=config.layer_norm_eps,
        position_offset=-1 if config.model_type == "bert" else config.pad_token_id,
        pooling=network.config["pooling"],
        head=network.config["head"],
    )


def export(network: Network, temperature: float) -> dict[str, np.ndarray]:
    """Return the weights by the names that the ONNX graph uses."""
    state = {
        name: value.detach().cpu().numpy() for name, value in network.encoder.state_dict().items()
    }
    weights = {
        "embeddings.word": state["embeddings.word_embeddings.weight"],
        # Every token is of type 0: its row can be added once and for all.
        "embeddings.position": state["embeddings.position_embeddings.weight"]
        + state["embeddings.token_type_embeddings.weight"][0],
        "embeddings.norm.weight": state["embeddings.LayerNorm.weight"],
        "embeddings.norm.bias": state["embeddings.LayerNorm.bias"],
    }
    for index in range(network.encoder.config.num_hidden_layers):
        theirs, ours = f"encoder.layer.{index}", f"layer.{index}"
        parts = [f"{theirs}.attention.self.{part}" for part in ("query", "key", "value")]
        weights[f"{ours}.attention.qkv.weight"] = np.concatenate(
            [state[f"{part}.weight"].T for part in parts], axis=1
        )
        weights[f"{ours}.attention.qkv.bias"] = np.concatenate(
            [state[f"{part}.bias"] for part in parts]
        )
        for their_name, our_name in _LAYER_NAMES.items():
            matrix = state[f"{theirs}.{their_name}.weight"]
            weights[f"{ours}.{our_name}.weight"] = matrix.T if matrix.ndim == 2 else matrix
            weights[f"{ours}.{our_name}.bias"] = state[f"{theirs}.{their_name}.bias"]
    with torch.no_grad():
        head = network.head.weight
        if network.config["head"] == "cosine":
            head = COSINE_SCALE * functional.normalize(head, dim=-1)
        weights["head.weight"] = (head / temperature).cpu().numpy().T
        weights["head.bias"] = (network.head.bias / temperature).cpu().numpy()
    return weights


def restore(network: Network, start: TrainedModel) -> None:
    """Put the weights of a served model back into the network, for further training."""
    if start.architecture != architecture_of(network) or start.weights["embeddings.word"].shape != (
        network.encoder.embeddings.word_embeddings.weight.shape
    ):
        raise TrainingError(
            "The model to go on from has another encoder or head than config.yml asks for. "
            "Train from the start with `rasa train`, without --finetune."
        )
    weights = start.weights
    state: dict[str, np.ndarray] = {}
    for index in range(start.architecture.layers):
        theirs, ours = f"encoder.encoder.layer.{index}", f"layer.{index}"
        for kind in ("weight", "bias"):
            packed = weights[f"{ours}.attention.qkv.{kind}"]
            for part, array in zip(
                ("query", "key", "value"), np.split(packed, 3, axis=-1), strict=True
            ):
                state[f"{theirs}.attention.self.{part}.{kind}"] = array.T
        for their_name, our_name in _LAYER_NAMES.items():
            matrix = weights[f"{ours}.{our_name}.weight"]
            state[f"{theirs}.{their_name}.weight"] = matrix.T
            state[f"{theirs}.{their_name}.bias"] = weights[f"{ours}.{our_name}.bias"]
    embeddings = {
        "word_embeddings.weight": weights["embeddings.word"],
        # Holds the row of token type 0 as well.
        "position_embeddings.weight": weights["embeddings.position"],
        "token_type_embeddings.weight": np.zeros_like(
            network.encoder.embeddings.token_type_embeddings.weight.detach().cpu().numpy()
        ),
        "LayerNorm.weight": weights["embeddings.norm.weight"],
        "LayerNorm.bias": weights["embeddings.norm.bias"],
    }
    state |= {f"encoder.embeddings.{name}": array for name, array in embeddings.items()}
    state["head.weight"] = weights["head.weight"].T * start.temperature
    state["head.bias"] = weights["head.bias"] * start.temperature
    trainable = {name for name, value in network.named_parameters() if value.requires_grad}
    # Frozen parts come from the encoder itself, which is more precise than an int8 copy.
    network.load_state_dict(
        {name: torch.tensor(array) for name, array in state.items() if name in trainable},
        strict=False,
    )
