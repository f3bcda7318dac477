"""How to tell questions that the bot does not answer from those that it does.

    python -m benchmarks.off_topic [--fine-tune] [--seeds 1 2] [--out FILE] [KEY=VALUE …]

Trains on ``data/nlu.yml`` without the off-topic examples and with them as an intent, and scores
how well each signal separates the off-topic examples of ``tests/data/heldout.yml`` from the rest.
By default the classifier is a logistic regression over the sentence vectors of the untuned encoder
(a minute); with ``--fine-tune`` it is the CamemBERT classifier itself. The signals:

* probability: the largest softmax value (Hendrycks and Gimpel 2017, arXiv:1610.02136);
* energy: the log-sum-exp of the logits (Liu et al. 2020, arXiv:2010.03759);
* similarity: the largest logit of the cosine head, which is a distance to the class prototypes;
* neighbour: the cosine similarity to the nearest training example;
* Mahalanobis: the distance to the nearest class (Lee et al. 2018, arXiv:1807.03888);
* in scope: one minus the probability of the intent OUT_OF_SCOPE;
* answered: the largest probability of an intent that is not OUT_OF_SCOPE.

AUROC, and the share of off-topic examples that would still be answered at the threshold that
answers 95 % of the others (false accepts at 95 % recall).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.metrics import roc_auc_score, roc_curve

from bot.evaluation import OFF_TOPIC
from components.camembert.build import train_and_write
from components.camembert.config import DEFAULTS
from components.camembert.encoder import configured_encoder
from components.camembert.served_model import ServedModel, softmax

Pairs = list[tuple[str, str]]


def read(path: Path) -> Pairs:
    """Return (text, intent) of a Rasa NLU file."""
    from rasa.shared.nlu.training_data.loading import load_data

    return [
        (message.get("text"), message.get("intent"))
        for message in load_data(str(path)).intent_examples
    ]


def train(pairs: Pairs, config: dict[str, Any], folder: Path) -> ServedModel:
    """Fine-tune on ``pairs`` and return the served model."""
    texts = [text for text, _ in pairs]
    train_and_write(texts, [intent for _, intent in pairs], config, folder)
    return ServedModel(folder, config["threads"])


def vectors(texts: list[str], config: dict[str, Any]) -> np.ndarray:
    """Return the normalised sentence vectors of the untuned encoder: texts x hidden."""
    import torch

    from components.camembert.network import Network, load_encoder
    from components.camembert.training import Trainer, batches

    encoder = configured_encoder(config)
    network = Network(load_encoder(encoder), config, classes=2).eval()
    trainer = Trainer(network, encoder, config)
    # The label carries the row, since sentences come back in the order of their batches.
    sentences = trainer.sentences(texts, range(len(texts)))
    found = np.empty((len(texts), network.encoder.config.hidden_size))
    with torch.inference_mode():
        for batch in batches(sentences, 64):
            rows = [sentence.label for sentence in batch]
            found[rows] = trainer.pool(batch).numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def frozen_signals(
    train: np.ndarray, labels: np.ndarray, held_out: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the signals of a logistic regression over ``vectors``, and its best intents."""
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(C=10, max_iter=3000, class_weight="balanced")
    logits = classifier.fit(train, labels).decision_function(held_out)
    found = signals(logits, list(classifier.classes_))
    del found["similarity" if "similarity" in found else "energy of the others"]
    if OFF_TOPIC not in classifier.classes_:
        means = np.stack([train[labels == name].mean(0) for name in classifier.classes_])
        spread = train - means[np.searchsorted(classifier.classes_, labels)]
        precision = np.linalg.inv(np.cov(spread.T) + 1e-4 * np.eye(train.shape[1]))
        away = held_out[:, None] - means
        found["neighbour"] = (held_out @ train.T).max(1)
        found["Mahalanobis"] = -np.einsum("tci,ij,tcj->tc", away, precision, away).min(1)
    return found, classifier.classes_[logits.argmax(1)]


def signals(logits: np.ndarray, labels: list[str]) -> dict[str, np.ndarray]:
    """Return the signals for each row of logits; higher means more likely in scope."""
    probabilities = softmax(logits)
    found = {
        "probability": probabilities.max(1),
        "energy": np.log(np.exp(logits).sum(1)),
        "similarity": logits.max(1),
    }
    if OFF_TOPIC in labels:
        column = labels.index(OFF_TOPIC)
        others = np.delete(probabilities, column, axis=1)
        in_scope_logits = np.delete(logits, column, axis=1)
        found = {
            "in scope": 1 - probabilities[:, column],
            "answered": others.max(1),
            "energy of the others": np.log(np.exp(in_scope_logits).sum(1)),
        }
    return found


def score(signal: np.ndarray, in_scope: np.ndarray) -> tuple[float, float]:
    """Return AUROC and the share of false accepts at 95 % recall."""
    accepted, recall, _ = roc_curve(in_scope, signal)
    return float(roc_auc_score(in_scope, signal)), float(accepted[np.argmax(recall >= 0.95)])


def main() -> None:
    """Train, score and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fine-tune", action="store_true", help="train the whole classifier")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of the classifier")
    arguments = parser.parse_args()
    settings = {
        key: yaml.safe_load(value)
        for key, _, value in (item.partition("=") for item in arguments.settings)
    }
    training = read(Path("data/nlu.yml"))
    held_out = read(Path("tests/data/heldout.yml"))
    texts = [text for text, _ in held_out]
    in_scope = np.array([intent != OFF_TOPIC for _, intent in held_out])
    ways = {
        "no off-topic examples": [pair for pair in training if pair[1] != OFF_TOPIC],
        "off-topic as an intent": training,
    }
    intents = np.array([intent for _, intent in held_out])
    rows: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for way, pairs in ways.items():
            for seed in arguments.seeds if arguments.fine_tune else [0]:
                config = {**DEFAULTS, **settings, "seed": seed}
                if arguments.fine_tune:
                    print(f"Training: {way}, seed {seed} …", file=sys.stderr)
                    model = train(pairs, config, Path(scratch) / f"{way} {seed}")
                    logits = model.logits(texts)
                    found = signals(logits, model.metadata.labels)
                    best = np.array(model.metadata.labels)[logits.argmax(1)]
                else:
                    known = vectors([text for text, _ in pairs], config)
                    labels = np.array([intent for _, intent in pairs])
                    found, best = frozen_signals(known, labels, vectors(texts, config))
                right = float((best == intents)[in_scope].mean())
                for name, signal in found.items():
                    rows.setdefault((way, name), []).append((*score(signal, in_scope), right))
    lines = [
        "| training | signal | AUROC | false accepts at 95 % recall | in-scope accuracy |",
        "|---|---|---|---|---|",
    ]
    for (way, name), values in rows.items():
        auroc, accepts, accuracy = np.mean(values, axis=0)
        lines.append(f"| {way} | {name} | {auroc:.3f} | {accepts:.1%} | {accuracy:.1%} |")
    table = "\n".join(lines)
    print(table)
    if arguments.out:
        arguments.out.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
