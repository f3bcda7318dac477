"""Fine-tuning of the intent classifier with PyTorch and ``transformers``.

Mean pooling with a cosine head follows sentence-embedding models (Reimers and Gurevych 2019,
arXiv:1908.10084): the class vectors start from the mean of their examples, as in prototypical
networks (Snell et al. 2017, arXiv:1703.05175). ``benchmarks/recipes.md`` has the measurements
behind the defaults.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from common.errors import UserError
from components.augmentation import augment
from components.camembert.encoder import Encoder
from components.camembert.model import Checkpoint, TrainedModel
from components.camembert.network import (
    Network,
    architecture_of,
    export,
    load_encoder,
    restore,
    trained_parameters,
)
from components.camembert.progress import TRAINING, Progress
from components.camembert.served_model import softmax
from components.camembert.tokenization import SentenceTokenizer

logger = logging.getLogger(__name__)

_CONTRASTIVE_TEMPERATURE = 0.1
# Of calibration: a softmax is made at most so much sharper, or softer.
_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 0.25, 8.0
MINIMUM_EXAMPLES = 2
# Sentences that are asked about in one go.
_ASKED = 64
# Altered copies of each held-out sentence on which a student is judged.
_COPIES = 3

Label = TypeVar("Label", str, int)


@dataclasses.dataclass
class Sentence:
    """One training sentence: its token ids, its class and what the frozen layers make of it."""

    ids: list[int]
    label: int
    hidden: torch.Tensor | None = None


AnySentence = TypeVar("AnySentence", bound=Sentence)


class Trainer:
    """Owns a network in training: its sentences as tokens, its batches, and the loop.

    Args:
        network: Trained in place.
        encoder: The pretrained encoder, for its tokeniser.
        config: A complete configuration (:data:`components.camembert.config.DEFAULTS`).
        progress: Told what is done.
    """

    def __init__(
        self,
        network: Network,
        encoder: Encoder,
        config: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> None:
        self.network = network
        self.config = config
        self.progress = progress or Progress()
        self.rng = random.Random(config["seed"])
        self.tokenizer = SentenceTokenizer(
            encoder.path / "tokenizer.json",
            config["max_length"],
            config["text_prefix"],
            network.encoder.config.pad_token_id,
        )

    def sentences(self, texts: Sequence[str], classes: Sequence[int]) -> list[Sentence]:
        """Tokenise, and run the frozen part once for all epochs where there is one."""
        sentences = [
            Sentence(ids, label)
            for ids, label in zip(self.tokenizer.ids(texts), classes, strict=True)
        ]
        if not self.network.config["freeze_embeddings"]:
            return sentences
        self.network.eval()
        with torch.inference_mode():
            for batch in batches(sentences, _ASKED):
                hidden = self.network.frozen(*self.tensors(batch)).cpu()
                for row, sentence in enumerate(batch):
                    sentence.hidden = hidden[row, : len(sentence.ids)].clone()
                self.progress.advance(len(batch) * len(self.network.frozen_layers))
        return sentences

    def tensors(self, batch: Sequence[Sentence]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the token ids of a batch and their mask, batch x tokens."""
        device = self.network.head.weight.device
        tokens = self.tokenizer.pad([sentence.ids for sentence in batch])
        return torch.from_numpy(tokens.ids).to(device), torch.from_numpy(tokens.mask).to(device)

    def pool(self, batch: Sequence[Sentence]) -> torch.Tensor:
        """Return one vector a sentence, batch x hidden."""
        ids, mask = self.tensors(batch)
        frozen = [sentence.hidden for sentence in batch if sentence.hidden is not None]
        if not frozen:
            return self.network.pooled(self.network.frozen(ids, mask), mask)
        hidden = nn.utils.rnn.pad_sequence(frozen, batch_first=True)
        return self.network.pooled(hidden.to(mask.device), mask)

    def predict(self, sentences: Sequence[Sentence]) -> np.ndarray:
        """Return the logits, sentences x classes."""
        self.network.eval()
        found: dict[int, np.ndarray] = {}
        with torch.inference_mode():
            for batch in batches(sentences, _ASKED):
                logits = self.network.classify(self.pool(batch)).cpu().numpy()
                found |= {id(sentence): row for sentence, row in zip(batch, logits, strict=True)}
        return np.stack([found[id(sentence)] for sentence in sentences])

    def learn(
        self, rates: Mapping[str, float], steps: int, losses: Iterable[tuple[torch.Tensor, float]]
    ) -> None:
        """Take a step of AdamW for each loss, at rates that rise (``warmup_ratio``), then fall.

        Args:
            rates: The highest learning rate of each part of the network, ``encoder`` and ``head``.
            steps: How many there are at most.
            losses: Scalars, each of them made from the network as it then is, and the work behind
                it (see :mod:`~.progress`).
        """
        from transformers import get_linear_schedule_with_warmup

        groups: list[dict[str, Any]] = [
            {
                "params": [
                    item for item in getattr(self.network, part).parameters() if item.requires_grad
                ],
                "lr": rate,
            }
            for part, rate in rates.items()
        ]
        optimiser = torch.optim.AdamW(groups, weight_decay=self.config["weight_decay"])
        schedule = get_linear_schedule_with_warmup(
            optimiser, int(self.config["warmup_ratio"] * steps), steps
        )
        trained = [item for group in groups for item in group["params"]]
        for loss, work in losses:
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            self.progress.advance(TRAINING * work)


def fine_tune(
    texts: Sequence[str],
    labels: Sequence[str],
    encoder: Encoder,
    config: Mapping[str, Any],
    start: Checkpoint | None = None,
    progress: Progress | None = None,
) -> TrainedModel:
    """Fine-tune ``encoder`` to tell the intents apart.

    Args:
        texts: Training sentences.
        labels: The intent of each sentence.
        encoder: The pretrained encoder.
        config: A complete configuration (:data:`components.camembert.config.DEFAULTS`).
        start: What to go on from (``rasa train --finetune``); its labels must be the same.
        progress: Told what is done.

    Returns:
        The trained model; the same one for the same arguments, library versions and machine.

    Raises:
        UserError: A single intent, too few examples, or an encoder of another family.
    """
    names = _check_examples(labels)
    with seeded(config) as device:
        network = Network(load_encoder(encoder), config, len(names)).to(device)
        tuning = _FineTuning(network, encoder, config, progress)
        return tuning.run(texts, [names.index(label) for label in labels], names, start)


class _FineTuning(Trainer):
    """From the pretrained encoder to a classifier."""

    def run(
        self,
        texts: Sequence[str],
        classes: Sequence[int],
        names: list[str],
        start: Checkpoint | None,
    ) -> TrainedModel:
        network, config = self.network, self.config
        train, held_out = _split(classes, config["validation_share"], self.rng)
        self.progress.stage("frozen layers")
        # Each sentence as written, and its altered copies.
        versions = [self.sentences(texts, classes)]
        for _ in range(config["augmentation"]):
            versions.append(self.sentences([augment(text, self.rng) for text in texts], classes))
        validation = [versions[0][index] for index in held_out]
        untrained = _trained_state(network)

        def optimise(
            indices: Sequence[int], validation: list[Sentence], title: str
        ) -> dict[str, float]:
            chosen = [[version[index] for index in indices] for version in versions]
            if start is not None:
                restore(network, start)
            elif config["head"] == "cosine":
                self._start_from_prototypes(chosen[0])
            return self._optimise(chosen, validation, title)

        figures = optimise(train, validation, "epoch")
        temperature = 1.0
        if config["calibration"] and validation:
            temperature = fit_temperature(self.predict(validation), _classes_of(validation))
        judged = np.empty(0, bool)
        if config["distill"]:
            asked = self.sentences(*checks(texts, classes, config))
            judged = self.predict(asked).argmax(1) == _classes_of(asked)
        if config["refit"] and validation:
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
            trained=trained_parameters(network),
            judged=judged,
        )

    def _start_from_prototypes(self, sentences: Sequence[Sentence]) -> None:
        """Point each class vector at the mean of its examples, seen with the pretrained encoder."""
        network = self.network
        network.eval()
        sums = torch.zeros_like(network.head.weight)
        with torch.inference_mode():
            for batch in batches(sentences, self.config["batch_size"]):
                pooled = functional.normalize(self.pool(batch), dim=-1)
                targets = torch.tensor([sentence.label for sentence in batch], device=pooled.device)
                sums.index_add_(0, targets, pooled)
        with torch.no_grad():
            network.head.weight.copy_(functional.normalize(sums, dim=-1))

    def _optimise(
        self, versions: list[list[Sentence]], validation: list[Sentence], title: str
    ) -> dict[str, float]:
        """Train in place; with a held-out share, end with the weights that did best on it."""
        network, config = self.network, self.config
        best: tuple[tuple[float, float], dict[str, torch.Tensor], dict[str, float]] | None = None

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            nonlocal best
            stale = 0
            for epoch in range(config["epochs"]):
                self.progress.stage(f"{title} {epoch + 1} of {config['epochs']}")
                network.train()
                yield from self._epoch(versions)
                if validation:
                    figures = self._score(validation)
                    rank = (figures["accuracy"], -figures["loss"])
                    if best is None or rank > best[0]:
                        best, stale = (rank, _trained_state(network), figures), 0
                    else:
                        stale += 1
                if config["patience"] is not None and stale >= config["patience"]:
                    logger.info(
                        f"No progress on the held-out share for {stale} epochs: training stops."
                    )
                    return

        rates = {"encoder": config["learning_rate"], "head": config["head_learning_rate"]}
        steps = config["epochs"] * -(-len(versions[0]) // config["batch_size"])
        self.learn(rates, steps, losses())
        if best is None:
            return {}
        network.load_state_dict(best[1], strict=False)
        return best[2]

    def _epoch(self, versions: list[list[Sentence]]) -> Iterator[tuple[torch.Tensor, float]]:
        """Yield the losses of an epoch, which sees each sentence once, in one of its versions."""
        network, config = self.network, self.config
        weights = _class_weights(versions[0], config, network.head.weight)
        # Those whose output is not kept (see `sentences`).
        kept = 0 if versions[0][0].hidden is None else len(network.frozen_layers)
        layers = network.encoder.config.num_hidden_layers - kept
        sentences = [self.rng.choice(same) for same in zip(*versions, strict=True)]
        for batch in batches(sentences, config["batch_size"], self.rng):
            pooled = self.pool(batch)
            targets = torch.tensor([sentence.label for sentence in batch], device=pooled.device)
            loss = functional.cross_entropy(
                network.classify(pooled),
                targets,
                weight=weights,
                label_smoothing=config["label_smoothing"],
            )
            if config["contrastive_weight"]:
                loss = loss + config["contrastive_weight"] * contrastive_loss(pooled, targets)
            yield loss, len(batch) * layers

    def _score(self, sentences: Sequence[Sentence]) -> dict[str, float]:
        logits, targets = self.predict(sentences), _classes_of(sentences)
        loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
        return {"accuracy": float((logits.argmax(1) == targets).mean()), "loss": float(loss)}


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
        raise UserError(
            f"The intent classifier needs examples of at least two intents; the training data has "
            f"{len(counts)} ({', '.join(counts) or 'no example at all'}). Add another intent to "
            "data/nlu.yml."
        )
    few = {name: count for name, count in sorted(counts.items()) if count < MINIMUM_EXAMPLES}
    if few:
        listed = ", ".join(f"{name} ({count})" for name, count in few.items())
        raise UserError(
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


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature that minimises the log loss of held-out examples.

    Temperature scaling (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: Examples x classes.
        targets: Class of each example.

    Returns:
        A number between 0.25 and 8; dividing logits by it calibrates their softmax.
    """
    from scipy.optimize import minimize_scalar

    def log_loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.exp(log_temperature))
        right = probabilities[np.arange(len(targets)), targets]
        # A held-out share without an error would ask for infinite confidence: count one half
        # of an error, spread over the classes.
        return float(-np.log(right).sum() - 0.5 * np.log(probabilities).mean())

    best = minimize_scalar(
        log_loss,
        bounds=(np.log(_LOWEST_TEMPERATURE), np.log(_HIGHEST_TEMPERATURE)),
        method="bounded",
    )
    return float(np.exp(best.x))


def _classes_of(sentences: Sequence[Sentence]) -> np.ndarray:
    return np.array([sentence.label for sentence in sentences])


def _trained_state(network: Network) -> dict[str, torch.Tensor]:
    return {
        name: copy.deepcopy(value.detach())
        for name, value in network.named_parameters()
        if value.requires_grad
    }
