"""Fine-tuning of the intent classifier with PyTorch and ``transformers``.

Mean pooling with a cosine head follows sentence-embedding models (Reimers and Gurevych 2019,
arXiv:1908.10084): the class vectors start from the mean of their examples, as in prototypical
networks (Snell et al. 2017, arXiv:1703.05175). ``benchmarks/recipes.md`` has the measurements
behind the defaults.
"""

from __future__ import annotations

import copy
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from components.camembert import ngrams
from components.camembert.augmentation import augment
from components.camembert.calibration import fit_temperature
from components.camembert.config import passes, refits
from components.camembert.encoder import Encoder, text_prefix
from components.camembert.network import (
    Network,
    Sentence,
    TrainedModel,
    TrainingError,
    architecture_of,
    batches,
    export,
    load_encoder,
    pool,
    predict,
    restore,
    seeded,
    sentences_of,
)
from components.camembert.progress import TRAINING, Progress
from components.camembert.tokenization import SentenceTokenizer

logger = logging.getLogger(__name__)

_CONTRASTIVE_TEMPERATURE = 0.1
MINIMUM_EXAMPLES = 2
# Altered copies of each held-out sentence on which a student is judged.
_COPIES = 3

Label = TypeVar("Label", str, int)


def fine_tune(
    texts: Sequence[str],
    labels: Sequence[str],
    encoder: Encoder,
    config: Mapping[str, Any],
    start: TrainedModel | None = None,
    progress: Progress | None = None,
) -> TrainedModel:
    """Fine-tune ``encoder`` to tell the intents apart.

    Args:
        texts: Training sentences.
        labels: The intent of each sentence.
        encoder: The pretrained encoder.
        config: A complete configuration (:data:`components.camembert.config.DEFAULTS`).
        start: A model to go on from (``rasa train --finetune``); its labels must be the same.
        progress: Told what is done.

    Returns:
        The trained model; the same one for the same arguments, library versions and machine.

    Raises:
        TrainingError: A single intent, too few examples, or an encoder of another family.
    """
    names = _check_examples(labels)
    classes = [names.index(label) for label in labels]
    with seeded(config) as device:
        shown = progress or Progress()
        return _fine_tune(texts, classes, names, encoder, config, start, device, shown)


def _fine_tune(
    texts: Sequence[str],
    classes: Sequence[int],
    names: list[str],
    encoder: Encoder,
    config: Mapping[str, Any],
    start: TrainedModel | None,
    device: torch.device,
    progress: Progress,
) -> TrainedModel:
    network = Network(load_encoder(encoder), config, len(names)).to(device)
    tokenizer = SentenceTokenizer(
        encoder.path / "tokenizer.json",
        config["max_length"],
        text_prefix(config, encoder),
        network.encoder.config.pad_token_id,
    )
    rng, epochs = random.Random(config["seed"]), passes(config, len(texts))
    train, held_out = _split(classes, config["validation_share"], rng)
    progress.stage("frozen layers")
    originals = sentences_of(network, tokenizer, texts, classes, progress)
    copies = [
        sentences_of(network, tokenizer, [augment(text, rng) for text in texts], classes, progress)
        for _ in range(config["augmentation"])
    ]
    validation = [originals[index] for index in held_out]
    untrained = _trained_state(network)

    def optimise(
        indices: Sequence[int], validation: list[Sentence], title: str
    ) -> dict[str, float]:
        chosen = [originals[index] for index in indices]
        if start is not None:
            restore(network, start)
        elif config["head"] == "cosine":
            _start_from_prototypes(network, tokenizer, chosen, config["batch_size"])
        altered = [[copy_[index] for index in indices] for copy_ in copies]
        return _optimise(
            network, tokenizer, chosen, altered, validation, config, epochs, rng, progress, title
        )

    figures = optimise(train, validation, "epoch")
    temperature = 1.0
    if config["calibration"] and validation:
        temperature = fit_temperature(
            predict(network, tokenizer, validation, config["batch_size"]), _classes_of(validation)
        )
    judged = np.empty(0, bool)
    if config["distill"]:
        asked = sentences_of(network, tokenizer, *checks(texts, classes, config))
        best = predict(network, tokenizer, asked, config["batch_size"]).argmax(1)
        judged = best == _classes_of(asked)
    if refits(config, len(texts)):
        # What was held out counts most where examples are few; its figures and the temperature
        # stand for the model that has seen it as well.
        network.load_state_dict(untrained, strict=False)
        optimise(range(len(texts)), [], "refit on all, epoch")
    return TrainedModel(
        weights=export(network, temperature),
        architecture=architecture_of(network),
        labels=names,
        pad_id=network.encoder.config.pad_token_id,
        temperature=temperature,
        validation=figures,
        judged=judged,
        ngrams=ngrams.fit(texts, classes) if config["ngram_weight"] else None,
    )


def checks(
    texts: Sequence[str], labels: Sequence[Label], config: Mapping[str, Any]
) -> tuple[list[str], list[Label]]:
    """Return what a student is judged on: the held-out examples, and altered copies of each.

    Args:
        texts: Training sentences.
        labels: The intent of each sentence, or the number of its class.
        config: A complete configuration.
    """
    aside = held_out(labels, config)
    unseen, rng = [texts[index] for index in aside], random.Random(config["seed"])
    copies = [augment(text, rng) for _ in range(_COPIES) for text in unseen]
    return unseen + copies, [labels[index] for index in aside] * (_COPIES + 1)


def held_out(labels: Sequence[Label], config: Mapping[str, Any]) -> list[int]:
    """Return which of the examples :func:`fine_tune` holds out for early stopping and calibration.

    Args:
        labels: The intent of each example, or the number of its class.
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


def _start_from_prototypes(
    network: Network, tokenizer: SentenceTokenizer, sentences: Sequence[Sentence], size: int
) -> None:
    """Point each class vector at the mean of its examples, seen with the pretrained encoder."""
    network.eval()
    sums = torch.zeros_like(network.head.weight)
    with torch.inference_mode():
        for batch in batches(sentences, size):
            pooled = functional.normalize(pool(network, tokenizer, batch), dim=-1)
            targets = torch.tensor([sentence.label for sentence in batch], device=pooled.device)
            sums.index_add_(0, targets, pooled)
    with torch.no_grad():
        network.head.weight.copy_(functional.normalize(sums, dim=-1))


def _optimise(
    network: Network,
    tokenizer: SentenceTokenizer,
    originals: list[Sentence],
    copies: list[list[Sentence]],
    validation: list[Sentence],
    config: Mapping[str, Any],
    epochs: int,
    rng: random.Random,
    progress: Progress,
    title: str,
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
    steps = epochs * -(-len(originals) // config["batch_size"])
    schedule = get_linear_schedule_with_warmup(
        optimiser, int(config["warmup_ratio"] * steps), steps
    )
    weights = _class_weights(originals, config, network.head.weight)
    best: tuple[tuple[float, float], dict[str, torch.Tensor], dict[str, float]] | None = None
    stale = 0
    # Those whose output is not kept (see `sentences_of`).
    kept = 0 if originals[0].hidden is None else len(network.bottom_layers)
    layers = network.encoder.config.num_hidden_layers - kept
    for epoch in range(epochs):
        progress.stage(f"{title} {epoch + 1} of {epochs}")
        network.train()
        # Each epoch sees each sentence once, as written or in one of its altered copies.
        sentences = [
            rng.choice([original, *(copy_[index] for copy_ in copies)])
            for index, original in enumerate(originals)
        ]
        for batch in batches(sentences, config["batch_size"], rng):
            pooled = pool(network, tokenizer, batch)
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
            progress.advance(TRAINING * len(batch) * layers)
        if validation:
            figures = _score(network, tokenizer, validation, config["batch_size"])
            rank = (figures["accuracy"], -figures["loss"])
            if best is None or rank > best[0]:
                best, stale = (rank, _trained_state(network), figures), 0
            else:
                stale += 1
        if config["patience"] is not None and stale >= config["patience"]:
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
    sentences: Sequence[Sentence], config: Mapping[str, Any], like: torch.Tensor
) -> torch.Tensor | None:
    """Weigh a class by the inverse of its frequency, so that a rare intent is not drowned.

    Or by its square root, so that neither are the others: one example of an intent with 30 then
    counts as five, not as 25, of one with 750.
    """
    if config["class_weights"] is None:
        return None
    counts = Counter(sentence.label for sentence in sentences)
    power = 1.0 if config["class_weights"] == "balanced" else 0.5
    weights = torch.tensor(
        [counts[label] ** -power for label in sorted(counts)], dtype=like.dtype, device=like.device
    )
    shares = torch.tensor([counts[label] / len(sentences) for label in sorted(counts)])
    # On average over the examples, the weight is 1.
    return weights / (weights * shares.to(like)).sum()


def _score(
    network: Network, tokenizer: SentenceTokenizer, sentences: Sequence[Sentence], size: int
) -> dict[str, float]:
    logits, targets = predict(network, tokenizer, sentences, size), _classes_of(sentences)
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    return {"accuracy": float((logits.argmax(1) == targets).mean()), "loss": float(loss)}


def _classes_of(sentences: Sequence[Sentence]) -> np.ndarray:
    return np.array([sentence.label for sentence in sentences])


def _trained_state(network: Network) -> dict[str, torch.Tensor]:
    return {
        name: copy.deepcopy(value.detach())
        for name, value in network.named_parameters()
        if value.requires_grad
    }
