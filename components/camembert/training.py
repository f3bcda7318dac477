"""Fine-tuning of the intent classifier with PyTorch and ``transformers``.

Mean pooling with a cosine head follows sentence-embedding models (Reimers and Gurevych 2019,
arXiv:1908.10084): the class vectors start from the mean of their examples, as in prototypical
networks (Snell et al. 2017, arXiv:1703.05175). ``benchmarks/recipes.md`` has the measurements
behind the defaults.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from bot.errors import UserError
from components.camembert.augmentation import augment
from components.camembert.calibration import fit_temperature
from components.camembert.encoder import Encoder
from components.camembert.onnx_graph import Architecture
from components.camembert.tokenization import SentenceTokenizer

logger = logging.getLogger(__name__)

COSINE_SCALE = 20.0
_CONTRASTIVE_TEMPERATURE = 0.1
MINIMUM_EXAMPLES = 2
_SUPPORTED = ("camembert", "roberta", "xlm-roberta", "bert")


class TrainingError(UserError):
    """The classifier cannot be trained; the message says what to change."""


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
    """

    weights: dict[str, np.ndarray]
    architecture: Architecture
    labels: list[str]
    pad_id: int
    temperature: float
    validation: dict[str, float]


class _Network(nn.Module):
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
        hidden = self._run(self.top_layers, hidden, mask)
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
class _Sentence:
    """One training sentence: its token ids, its class and what the frozen layers make of it."""

    ids: list[int]
    label: int
    hidden: torch.Tensor | None = None


def fine_tune(
    texts: Sequence[str],
    labels: Sequence[str],
    encoder: Encoder,
    config: Mapping[str, Any],
    start: TrainedModel | None = None,
) -> TrainedModel:
    """Fine-tune ``encoder`` to tell the intents apart.

    Args:
        texts: Training sentences.
        labels: The intent of each sentence.
        encoder: The pretrained encoder.
        config: A complete configuration (:data:`components.camembert.config.DEFAULTS`).
        start: A model to go on from (``rasa train --finetune``); its labels must be the same.

    Returns:
        The trained model; the same one for the same arguments, library versions and machine.

    Raises:
        TrainingError: A single intent, too few examples, or an encoder of another family.
    """
    names = _check_examples(labels)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    try:
        # Dropout draws from the global generator; give it back as it was.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(config["seed"])
            return _fine_tune(texts, [names.index(label) for label in labels], names, encoder,
                              config, start, device)  # fmt: skip
    finally:
        torch.set_num_threads(threads)


def _fine_tune(
    texts: Sequence[str],
    classes: Sequence[int],
    names: list[str],
    encoder: Encoder,
    config: Mapping[str, Any],
    start: TrainedModel | None,
    device: torch.device,
) -> TrainedModel:
    network = _Network(_load_encoder(encoder), config, len(names)).to(device)
    tokenizer = SentenceTokenizer(
        encoder.path / "tokenizer.json",
        config["max_length"],
        config["text_prefix"],
        network.encoder.config.pad_token_id,
    )
    rng = random.Random(config["seed"])
    train, held_out = _split(classes, config["validation_share"], rng)
    originals = _sentences(network, tokenizer, texts, classes)
    copies = [
        _sentences(network, tokenizer, [augment(text, rng) for text in texts], classes)
        for _ in range(config["augmentation"])
    ]
    validation = [originals[index] for index in held_out]
    untrained = _trained_state(network)

    def optimise(indices: Sequence[int], validation: list[_Sentence]) -> dict[str, float]:
        chosen = [originals[index] for index in indices]
        if start is not None:
            _restore(network, start)
        elif config["head"] == "cosine":
            _start_from_prototypes(network, tokenizer, chosen, config["batch_size"])
        altered = [[copy_[index] for index in indices] for copy_ in copies]
        return _optimise(network, tokenizer, chosen, altered, validation, config, rng)

    figures = optimise(train, validation)
    temperature = 1.0
    if config["calibration"] and validation:
        logits, targets = _predict(network, tokenizer, validation, config["batch_size"])
        temperature = fit_temperature(logits, targets)
    if config["refit"] and validation:
        # What was held out counts most where examples are few; its figures and the temperature
        # stand for the model that has seen it as well.
        network.load_state_dict(untrained, strict=False)
        optimise(range(len(texts)), [])
    return TrainedModel(
        weights=_export(network, temperature),
        architecture=_architecture(network),
        labels=names,
        pad_id=network.encoder.config.pad_token_id,
        temperature=temperature,
        validation=figures,
    )


def held_out(labels: Sequence[str], config: Mapping[str, Any]) -> list[int]:
    """Return which of the examples :func:`fine_tune` holds out for early stopping and calibration.

    Args:
        labels: The intent of each example.
        config: A complete configuration.
    """
    names = sorted(set(labels))
    classes = [names.index(label) for label in labels]
    return _split(classes, config["validation_share"], random.Random(config["seed"]))[1]


def _check_examples(labels: Sequence[str]) -> list[str]:
    counts = Counter(labels)
    if len(counts) < 2:
        raise TrainingError(
            f"The intent classifier needs examples of at least two intents; the training data has "
            f"{len(counts)} ({', '.join(counts) or 'no example at all'}). Add another intent to "
            "data/nlu.yml."
        )
    few = {name: count for name, count in sorted(counts.items()) if count < MINIMUM_EXAMPLES}
    if few:
        listed = ", ".join(f"{name} ({count})" for name, count in few.items())
        raise TrainingError(
            f"Too few examples: {listed}. The intent classifier needs at least "
            f"{MINIMUM_EXAMPLES} an intent, and learns well from 15. Add examples to data/nlu.yml."
        )
    return sorted(counts)


def _load_encoder(encoder: Encoder) -> Any:
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


def _split(classes: Sequence[int], share: float, rng: random.Random) -> tuple[list[int], list[int]]:
    """Split the indices of ``classes`` into training and held-out ones, the same share of each."""
    held_out: list[int] = []
    for name in sorted(set(classes)):
        members = [index for index, label in enumerate(classes) if label == name]
        rng.shuffle(members)
        # At least one, since a class without held-out examples goes uncalibrated; never the last.
        size = min(max(1, round(share * len(members))), len(members) - 1) if share else 0
        held_out += members[:size]
    kept = set(range(len(classes))) - set(held_out)
    return sorted(kept), sorted(held_out)


def _sentences(
    network: _Network, tokenizer: SentenceTokenizer, texts: Sequence[str], classes: Sequence[int]
) -> list[_Sentence]:
    """Tokenise, and run the frozen part once for all epochs where there is one."""
    sentences = [
        _Sentence(ids, label) for ids, label in zip(tokenizer.ids(texts), classes, strict=True)
    ]
    if not network.config["freeze_embeddings"]:
        return sentences
    network.eval()
    with torch.inference_mode():
        for batch in _batches(sentences, 64):
            ids, mask = _tensors(network, tokenizer, batch)
            hidden = network.bottom(ids, mask).cpu()
            for row, sentence in enumerate(batch):
                sentence.hidden = hidden[row, : len(sentence.ids)].clone()
    return sentences


def _batches(
    sentences: Sequence[_Sentence], size: int, rng: random.Random | None = None
) -> Iterator[list[_Sentence]]:
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


def _tensors(
    network: _Network, tokenizer: SentenceTokenizer, batch: Sequence[_Sentence]
) -> tuple[torch.Tensor, torch.Tensor]:
    device = network.head.weight.device
    tokens = tokenizer.pad([sentence.ids for sentence in batch])
    return torch.from_numpy(tokens.ids).to(device), torch.from_numpy(tokens.mask).to(device)


def _pool(
    network: _Network, tokenizer: SentenceTokenizer, batch: Sequence[_Sentence]
) -> torch.Tensor:
    ids, mask = _tensors(network, tokenizer, batch)
    frozen = [sentence.hidden for sentence in batch if sentence.hidden is not None]
    if not frozen:
        return network.pooled(network.bottom(ids, mask), mask)
    hidden = nn.utils.rnn.pad_sequence(frozen, batch_first=True)
    return network.pooled(hidden.to(mask.device), mask)


def _predict(
    network: _Network, tokenizer: SentenceTokenizer, sentences: Sequence[_Sentence], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (sentences x classes) and the classes, in the order of the batches."""
    network.eval()
    logits, targets = [], []
    with torch.inference_mode():
        for batch in _batches(sentences, size):
            logits.append(network.classify(_pool(network, tokenizer, batch)).cpu().numpy())
            targets += [sentence.label for sentence in batch]
    return np.concatenate(logits), np.array(targets)


def _start_from_prototypes(
    network: _Network, tokenizer: SentenceTokenizer, sentences: Sequence[_Sentence], size: int
) -> None:
    """Point each class vector at the mean of its examples, seen with the pretrained encoder."""
    network.eval()
    sums = torch.zeros_like(network.head.weight)
    with torch.inference_mode():
        for batch in _batches(sentences, size):
            pooled = functional.normalize(_pool(network, tokenizer, batch), dim=-1)
            targets = torch.tensor([sentence.label for sentence in batch], device=pooled.device)
            sums.index_add_(0, targets, pooled)
    with torch.no_grad():
        network.head.weight.copy_(functional.normalize(sums, dim=-1))


def _optimise(
    network: _Network,
    tokenizer: SentenceTokenizer,
    originals: list[_Sentence],
    copies: list[list[_Sentence]],
    validation: list[_Sentence],
    config: Mapping[str, Any],
    rng: random.Random,
) -> dict[str, float]:
    """Train in place; with a held-out share, end with the weights that did best on it."""
    from transformers import get_linear_schedule_with_warmup

    head = [item for item in network.head.parameters() if item.requires_grad]
    encoder = [item for item in network.encoder.parameters() if item.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": encoder, "lr": config["learning_rate"]},
            {"params": head, "lr": config["head_learning_rate"]},
        ],
        weight_decay=config["weight_decay"],
    )
    steps = config["epochs"] * -(-len(originals) // config["batch_size"])
    schedule = get_linear_schedule_with_warmup(
        optimiser, int(config["warmup_ratio"] * steps), steps
    )
    weights = _class_weights(originals, config, network.head.weight)
    best: tuple[tuple[float, float], dict[str, torch.Tensor], dict[str, float]] | None = None
    stale = 0
    progress = tqdm(range(config["epochs"]), desc="Epochs", leave=True)
    for _ in progress:
        network.train()
        # Each epoch sees each sentence once, as written or in one of its altered copies.
        sentences = [
            rng.choice([original, *(copy_[index] for copy_ in copies)])
            for index, original in enumerate(originals)
        ]
        losses = []
        for batch in _batches(sentences, config["batch_size"], rng):
            pooled = _pool(network, tokenizer, batch)
            targets = torch.tensor([sentence.label for sentence in batch], device=pooled.device)
            loss = functional.cross_entropy(
                network.classify(pooled),
                targets,
                weight=weights,
                label_smoothing=config["label_smoothing"],
            )
            if config["contrastive_weight"]:
                loss = loss + config["contrastive_weight"] * contrastive_loss(pooled, targets)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*encoder, *head], 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        shown = {"loss": f"{np.mean(losses):.3f}"}
        if validation:
            figures = _score(network, tokenizer, validation, config["batch_size"])
            shown["val_acc"] = f"{figures['accuracy']:.3f}"
            rank = (figures["accuracy"], -figures["loss"])
            if best is None or rank > best[0]:
                best, stale = (rank, _trained_state(network), figures), 0
            else:
                stale += 1
        progress.set_postfix(shown)
        if config["patience"] is not None and stale >= config["patience"]:
            progress.close()
            logger.info(f"No progress on the held-out share for {stale} epochs: training stops.")
            break
    if best is None:
        return {}
    network.load_state_dict(best[1], strict=False)
    return best[2]


def contrastive_loss(vectors: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Draw sentences of a class together, and away from the others (Khosla et al. 2020).

    The supervised contrastive loss of arXiv:2004.11362, equation 2, at temperature 0.1.

    Args:
        vectors: float, batch x hidden.
        classes: int, batch; a sentence that is alone in its class adds nothing.

    Returns:
        A scalar.
    """
    vectors = functional.normalize(vectors, dim=-1)
    itself = torch.eye(len(classes), dtype=torch.bool, device=vectors.device)
    logits = (vectors @ vectors.T / _CONTRASTIVE_TEMPERATURE).masked_fill(itself, -1e9)
    positive = (classes[:, None] == classes[None, :]) & ~itself
    paired = positive.any(1)
    if not paired.any():
        return vectors.sum() * 0
    means = (logits.log_softmax(-1) * positive).sum(1)[paired] / positive.sum(1)[paired]
    return -means.mean()


def _class_weights(
    sentences: Sequence[_Sentence], config: Mapping[str, Any], like: torch.Tensor
) -> torch.Tensor | None:
    """Weigh a class by the inverse of its frequency, so that a rare intent is not drowned."""
    if config["class_weights"] is None:
        return None
    counts = Counter(sentence.label for sentence in sentences)
    return torch.tensor(
        [len(sentences) / (len(counts) * counts[label]) for label in sorted(counts)],
        dtype=like.dtype,
        device=like.device,
    )


def _score(
    network: _Network, tokenizer: SentenceTokenizer, sentences: Sequence[_Sentence], size: int
) -> dict[str, float]:
    logits, targets = _predict(network, tokenizer, sentences, size)
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    return {"accuracy": float((logits.argmax(1) == targets).mean()), "loss": float(loss)}


def _trained_state(network: _Network) -> dict[str, torch.Tensor]:
    return {
        name: copy.deepcopy(value.detach())
        for name, value in network.named_parameters()
        if value.requires_grad
    }


# The names of transformers' BERT family beside those of the ONNX graph.
_LAYER_NAMES = {
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention.norm",
    "intermediate.dense": "feed_forward.in",
    "output.dense": "feed_forward.out",
    "output.LayerNorm": "feed_forward.norm",
}


def _architecture(network: _Network) -> Architecture:
    config = network.encoder.config
    return Architecture(
        layers=config.num_hidden_layers,
        attention_heads=config.num_attention_heads,
        layer_norm_eps=config.layer_norm_eps,
        position_offset=-1 if config.model_type == "bert" else config.pad_token_id,
        pooling=network.config["pooling"],
        head=network.config["head"],
    )


def _export(network: _Network, temperature: float) -> dict[str, np.ndarray]:
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


def _restore(network: _Network, start: TrainedModel) -> None:
    """Put the weights of a served model back into the network, for further training."""
    if start.architecture != _architecture(network) or start.weights["embeddings.word"].shape != (
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
    if not network.config["freeze_embeddings"]:
        state["encoder.embeddings.word_embeddings.weight"] = weights["embeddings.word"]
    state["head.weight"] = weights["head.weight"].T * start.temperature
    state["head.bias"] = weights["head.bias"] * start.temperature
    trainable = {name for name, value in network.named_parameters() if value.requires_grad}
    # Frozen parts come from the encoder itself, which is more precise than an int8 copy.
    network.load_state_dict(
        {name: torch.tensor(array) for name, array in state.items() if name in trainable},
        strict=False,
    )
