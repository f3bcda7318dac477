"""A small student that imitates the fine-tuned classifier (knowledge distillation).

The student answers what it is sure of, and the teacher the rest: a cascade (Wang et al. 2018,
arXiv:1706.00885).

The student starts from some of the teacher's layers, as in DistilBERT (Sanh et al. 2019,
arXiv:1910.01108). It learns from what the teacher makes of a sentence: the softened probabilities
(Hinton et al. 2015, arXiv:1503.02531), and the output of the layers that the student has a copy of
(Sun et al. 2019, arXiv:1908.09355). The teacher judges any sentence, so it is also asked about
sentences altered beyond what keeps their meaning (Tang et al. 2019, arXiv:1903.12136).
``benchmarks/distillation.md`` has the measurements.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from common.errors import UserError
from components.augmentation import augment
from components.camembert.config import STUDENT_PASSES, STUDENT_VERSIONS
from components.camembert.encoder import Encoder
from components.camembert.model import Student, TrainedModel, TrainedStudent
from components.camembert.network import (
    Network,
    architecture_of,
    export,
    load_encoder,
    restore,
    truncate_layers,
)
from components.camembert.progress import Progress
from components.camembert.served_model import softmax
from components.camembert.training import (
    Sentence,
    Trainer,
    batches,
    checks,
    fit_temperature,
    held_out,
    seeded,
)

logger = logging.getLogger(__name__)

# Times the learning rate of fine-tuning: a student has further to go.
_PACE = 4.0
_SOFTENING = 2.0
# Sentences at a time of which the teacher's states are kept: they take far more than the texts.
_CHUNK = 1024
# Sentences that are asked about in one go.
_BATCH = 64
# The share of answers that the student may spoil: wrong, where the teacher's is right.
_TOLERANCE = 0.005


@dataclasses.dataclass
class DistillationExample(Sentence):
    """A sentence, and what the teacher makes of it.

    Attributes:
        logits: float32, classes.
        states: float16, layers of the student x (tokens x hidden).
    """

    logits: torch.Tensor = dataclasses.field(default_factory=lambda: torch.empty(0))
    states: list[torch.Tensor] = dataclasses.field(default_factory=list)


def distil(
    teacher: TrainedModel,
    texts: Sequence[str],
    labels: Sequence[str],
    encoder: Encoder,
    config: Mapping[str, Any],
    progress: Progress | None = None,
) -> TrainedStudent:
    """Train a student of ``config["distill"]`` layers that imitates ``teacher``.

    Args:
        teacher: What :func:`~components.camembert.training.fine_tune` returned for the same texts,
            labels, encoder and configuration.
        texts: Training sentences.
        labels: The intent of each sentence.
        encoder: The pretrained encoder.
        config: A complete configuration.
        progress: Told what is done.

    Returns:
        The student. The held-out share, which it has not seen, calibrates it and decides from
        which confidence on it may answer (``teacher.judged`` tells how the teacher did on it, as
        long as it had not seen it either).

    Raises:
        UserError: The student would not have fewer layers than the encoder.
    """
    with seeded(config) as device:
        classes = len(teacher.labels)
        large = Network(load_encoder(encoder), config, classes).to(device)
        restore(large, teacher.checkpoint)
        copied = _layers(large.encoder.config.num_hidden_layers, config["distill"])
        small = truncate_layers(large.encoder, copied)
        network = Network(small, {**config, "freeze_layers": 0}, classes)
        network.head.load_state_dict(large.head.state_dict())
        student = _Distillation(network.to(device), encoder, config, progress)
        aside = held_out(labels, config)
        seen = [texts[index] for index in sorted(set(range(len(texts))) - set(aside))]
        student.imitate(large, copied, seen)

        asked, intents = checks(texts, labels, config)
        logits = student.predict([Sentence(ids, 0) for ids in student.tokenizer.ids(asked)])
        targets = np.array([teacher.labels.index(intent) for intent in intents])
        temperature = teacher.temperature
        if config["calibration"]:
            # As they were written; altered copies of them follow.
            temperature = fit_temperature(logits[: len(aside)], targets[: len(aside)])
        own = softmax(logits / temperature)
        right = own.argmax(1) == targets
        threshold = acceptance_threshold(own.max(1), right | ~teacher.judged)
    share = float((own.max(1) >= threshold).mean())
    logger.info(
        f"The student of {len(copied)} layers answers {share:.0%} of the held-out examples, and of "
        "altered copies of them, by itself."
    )
    if share < 0.5:
        logger.warning(
            f"The student of {len(copied)} layers is sure of only {share:.0%} of what it was "
            "asked, so most answers take longer than without it. Raise 'distill' in config.yml, "
            "or set it to null."
        )
    return TrainedStudent(
        export(network, temperature), Student(architecture_of(network), temperature, threshold)
    )


def acceptance_threshold(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the lowest confidence from which on few answers are wrong.

    Args:
        confidence: Of each answer, 0 to 1.
        right: Whether it is.

    Returns:
        The lowest of ``confidence`` at which the wrong answers of this confidence or more are at
        most 0.5 % of all answers; above 1 where there is none.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order])
    allowed = np.flatnonzero(wrong <= _TOLERANCE * len(right))
    if not allowed.size:
        return 2.0
    last = int(allowed[-1])
    if last + 1 < len(order):
        # Halfway to the first answer that would be too much.
        return float((confidence[order[last]] + confidence[order[last + 1]]) / 2)
    return float(confidence[order[last]])


def _layers(depth: int, count: int) -> list[int]:
    """Return ``count`` of the indices below ``depth``, evenly spaced and with the last one."""
    if count >= depth:
        raise UserError(
            f"'distill' is {count}, but the encoder has {depth} layers: a student needs fewer. "
            "Lower 'distill' in config.yml, or set it to null."
        )
    return [(index + 1) * depth // count - 1 for index in range(count)]


class _Distillation(Trainer):
    """Trains a student in place."""

    def imitate(self, teacher: Network, copied: Sequence[int], texts: Sequence[str]) -> None:
        """Learn what ``teacher`` makes of the texts and of altered versions of them.

        Args:
            teacher: The large network.
            copied: Its layers that the student has copies of.
            texts: Training sentences.
        """
        rate = _PACE * self.config["learning_rate"]
        size = self.config["batch_size"]
        chunks = range(0, len(texts), _CHUNK)
        steps = sum(-(-len(texts[begin : begin + _CHUNK]) // size) for begin in chunks)
        steps *= STUDENT_VERSIONS * STUDENT_PASSES

        def losses() -> Iterator[tuple[torch.Tensor, float]]:
            # Dropout blurs what there is to imitate, and altered sentences keep from overfitting.
            self.network.eval()
            for version in range(STUDENT_VERSIONS):
                self.progress.stage(f"student, {version + 1} of {STUDENT_VERSIONS}")
                # The sentences as they are come last, when the steps are small.
                asked = (
                    list(texts)
                    if version == STUDENT_VERSIONS - 1
                    else [_altered(text, texts, self.rng) for text in texts]
                )
                self.rng.shuffle(asked)
                for begin in chunks:
                    examples = self._ask(teacher, copied, asked[begin : begin + _CHUNK])
                    self.progress.advance(len(examples) * len(teacher.encoder.encoder.layer))
                    for _ in range(STUDENT_PASSES):
                        for batch in batches(examples, size, self.rng):
                            yield self._difference(batch), len(batch) * len(copied)

        self.learn({"encoder": rate, "head": rate}, steps, losses())

    @torch.inference_mode()
    def _ask(
        self, teacher: Network, copied: Sequence[int], texts: Sequence[str]
    ) -> list[DistillationExample]:
        """Ask the teacher."""
        teacher.eval()
        examples = [DistillationExample(ids, 0) for ids in self.tokenizer.ids(texts)]
        for batch in batches(examples, _BATCH):
            ids, mask = self.tensors(batch)
            states = teacher.hidden_states(ids, mask)
            logits = teacher.classify(teacher.pool(states[-1], mask)).cpu()
            kept = [states[layer].half().cpu() for layer in copied]
            for row, example in enumerate(batch):
                example.logits = logits[row].clone()
                example.states = [layer[row, : len(example.ids)].clone() for layer in kept]
        return examples

    def _difference(self, batch: Sequence[DistillationExample]) -> torch.Tensor:
        """Return the loss: of the probabilities and, layer by layer, of the hidden states."""
        network = self.network
        ids, mask = self.tensors(batch)
        states = network.hidden_states(ids, mask)
        present = mask.unsqueeze(-1).to(torch.float32)
        aims = torch.stack([example.logits for example in batch]).to(mask.device)
        loss = functional.kl_div(
            (network.classify(network.pool(states[-1], mask)) / _SOFTENING).log_softmax(-1),
            aims.div(_SOFTENING).softmax(-1),
            reduction="batchmean",
        )
        loss = loss * _SOFTENING**2
        for layer, state in enumerate(states):
            aim = nn.utils.rnn.pad_sequence(
                [example.states[layer] for example in batch], batch_first=True
            ).to(state)
            loss = loss + ((state - aim).square() * present).sum() / (aim.square() * present).sum()
        return loss


def _altered(text: str, texts: Sequence[str], rng: random.Random) -> str:
    """Return a sentence near ``text``, as typed in a hurry or altered beyond its meaning."""
    words = text.split()
    way = rng.choice(("typed", "typed", "dropped", "replaced", "spliced"))
    if way == "dropped":
        words = [word for word in words if rng.random() > 0.2] or words
    elif way == "replaced":
        words = [
            rng.choice(rng.choice(texts).split() or [word]) if rng.random() < 0.25 else word
            for word in words
        ]
    elif way == "spliced" and words:
        other = rng.choice(texts).split()
        words = words[: rng.randint(1, len(words))] + other[rng.randint(0, len(other)) :]
    altered = " ".join(words)
    return augment(altered, rng) if way == "typed" or rng.random() < 0.5 else altered
