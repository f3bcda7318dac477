"""The network of the intent classifier in PyTorch, and the way to and from its stored weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from common.errors import UserError
from components.camembert.encoder import Encoder
from components.camembert.model import Architecture, Checkpoint

COSINE_SCALE = 20.0
_SUPPORTED = ("camembert", "roberta", "xlm-roberta", "bert")


class Network(nn.Module):
    """Encoder, pooling and head, in two parts: frozen layers, and trained ones above them."""

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
        self.frozen_layers: Any = layers[: config["freeze_layers"]]
        self.trainable_layers: Any = layers[config["freeze_layers"] :]
        if config["freeze_embeddings"]:
            encoder.embeddings.requires_grad_(False)
        self.frozen_layers.requires_grad_(False)

    def frozen(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what the frozen part makes of token ids: batch x tokens x hidden."""
        hidden = self.encoder.embeddings(input_ids=ids)
        return self._run(self.frozen_layers, hidden, mask)

    def pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return one vector a sentence from the output of :meth:`frozen`: batch x hidden."""
        return self.pool(self._run(self.trainable_layers, hidden, mask), mask)

    def hidden_states(self, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """Return what each layer makes of token ids: layers x (batch x tokens x hidden)."""
        hidden = self.encoder.embeddings(input_ids=ids)
        found = []
        for layer in (*self.frozen_layers, *self.trainable_layers):
            hidden = self._run([layer], hidden, mask)
            found.append(hidden)
        return found

    def pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
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


def load_encoder(encoder: Encoder) -> Any:
    """Return the encoder as a ``transformers`` model.

    Raises:
        UserError: It is of another family than BERT's.
    """
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging as transformers_logging

    kind = AutoConfig.from_pretrained(encoder.path).model_type
    if kind not in _SUPPORTED:
        raise UserError(
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


def truncate_layers(encoder: Any, layers: Sequence[int]) -> Any:
    """Return a copy of a ``transformers`` encoder with some of its layers alone, all trainable."""
    small = copy.deepcopy(encoder)
    small.encoder.layer = nn.ModuleList(small.encoder.layer[index] for index in layers)
    small.encoder.layer.requires_grad_(True)
    small.config.num_hidden_layers = len(layers)
    return small


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
    weights["head.weight"] = (_head(network) / temperature).T
    weights["head.bias"] = network.head.bias.detach().cpu().numpy() / temperature
    return weights


def trained_parameters(network: Network) -> dict[str, np.ndarray]:
    """Return the parameters that were trained, float32, for a :class:`~.model.Checkpoint`."""
    found = {
        name: value.detach().cpu().numpy()
        for name, value in network.named_parameters()
        if value.requires_grad
    }
    # Of full length, as the head is served: a step from it turns it less.
    return {**found, "head.weight": _head(network)}


def restore(network: Network, start: Checkpoint) -> None:
    """Put what was trained back into the network, for further training.

    Raises:
        UserError: It is of another network.
    """
    shapes = {name: array.shape for name, array in start.weights.items()}
    expected = {
        name: tuple(value.shape)
        for name, value in network.named_parameters()
        if value.requires_grad
    }
    if start.architecture != architecture_of(network) or shapes != expected:
        raise UserError(
            "The model to go on from has another encoder, head or frozen part than config.yml asks "
            "for. Train from the start with `rasa train`, without --finetune."
        )
    state = {
        name: torch.tensor(array, dtype=torch.float32) for name, array in start.weights.items()
    }
    network.load_state_dict(state, strict=False)


def _head(network: Network) -> np.ndarray:
    """Return the weights of the head by which a pooled vector is multiplied, classes x hidden."""
    with torch.no_grad():
        head = network.head.weight
        if network.config["head"] == "cosine":
            head = COSINE_SCALE * functional.normalize(head, dim=-1)
        return head.detach().cpu().numpy()
