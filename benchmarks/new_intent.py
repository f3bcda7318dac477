"""What a new intent with 30 examples costs the others.

    python -m benchmarks.new_intent [--seeds 42] [--out FILE] [KEY=VALUE …]

Trains the intent classifier on ``data/nlu.yml``, then three times more, each time with one intent
of ``new_intents.yml`` (30 examples, as somebody would write them for a new question), and scores
the others on ``tests/data/heldout.yml``. Off-topic examples about the topic of the new intent are
left out of both, since they would be its own. An answer below the thresholds of the
FallbackClassifier in config.yml counts as off-topic, as the bot would treat it.

KEY=VALUE are keys of the classifier's configuration; ``freeze_layers=11`` trains one layer of
twelve, in a fifth of the time.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rasa.shared.nlu.training_data.loading import load_data

from bot.evaluation import OFF_TOPIC
from common.text import fold
from components.camembert.build import train_and_write
from components.camembert.config import DEFAULTS
from components.camembert.served_model import ServedModel
from components.remote import Ranking

ROOT = Path(__file__).resolve().parent.parent
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class NewIntent:
    """An intent to add, with its examples as plain text."""

    name: str
    topic: re.Pattern[str]
    train: list[str]
    test: list[str]

    def takes_over(self, pair: tuple[str, str]) -> bool:
        """Whether an off-topic example is about the topic of this intent."""
        return pair[1] == OFF_TOPIC and bool(self.topic.search(fold(pair[0])))


def read(path: Path) -> Pairs:
    """Return (text, intent) of a Rasa NLU file."""
    return [(m.get("text"), m.get("intent")) for m in load_data(str(path)).intent_examples]


def new_intents(path: Path) -> list[NewIntent]:
    """Read the intents to add."""
    return [
        NewIntent(name, re.compile(fold(item["topic"])), item["train"], item["test"])
        for name, item in yaml.safe_load(path.read_text(encoding="utf-8")).items()
    ]


def thresholds() -> tuple[float, float]:
    """Return the two thresholds of the FallbackClassifier."""
    pipeline = yaml.safe_load((ROOT / "config.yml").read_text(encoding="utf-8"))["pipeline"]
    [found] = [item for item in pipeline if item["name"] == "FallbackClassifier"]
    return found["threshold"], found["ambiguity_threshold"]


def decide(ranking: Ranking) -> str:
    """Return the intent that the bot acts on."""
    threshold, ambiguity = thresholds()
    best = ranking[0] if ranking else (OFF_TOPIC, 1.0)
    second = ranking[1][1] if len(ranking) > 1 else 0.0
    return OFF_TOPIC if best[1] < threshold or best[1] - second < ambiguity else best[0]


def answers(pairs: Pairs, texts: Sequence[str], config: dict[str, Any]) -> list[str]:
    """Train on ``pairs`` and return the intent of each text."""
    with tempfile.TemporaryDirectory() as folder:
        texts_, labels = zip(*pairs, strict=True)
        train_and_write(texts_, labels, config, Path(folder))
        model = ServedModel(Path(folder), config["threads"])
        return [decide(ranking) for ranking in model.rank(list(texts))]


def right(found: Sequence[str], pairs: Pairs, known: set[str]) -> list[bool]:
    """Whether each answer is right; intents that the held-out set lacks are off-topic in it."""
    return [
        (intent if intent in known else OFF_TOPIC) == expected
        for intent, (_, expected) in zip(found, pairs, strict=True)
    ]


def main() -> None:
    """Train, score and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--out", type=Path, help="append one JSON line a model")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of the classifier")
    arguments = parser.parse_args()
    settings = {
        key: yaml.safe_load(value)
        for key, _, value in (item.partition("=") for item in arguments.settings)
    }
    training = read(ROOT / "data" / "nlu.yml")
    held_out = read(ROOT / "tests" / "data" / "heldout.yml")
    intents = new_intents(Path(__file__).with_name("new_intents.yml"))
    known = {intent for _, intent in held_out}
    texts = [text for text, _ in held_out]
    print("| seed | new intent | the others before | after | points | the new one right |")
    print("|---|---|---:|---:|---:|---:|", flush=True)
    for seed in arguments.seeds:
        config = {**DEFAULTS, "epochs": 4, **settings, "seed": seed}
        before = right(answers(training, texts, config), held_out, known)
        for new in intents:
            pairs = [pair for pair in training if not new.takes_over(pair)]
            pairs += [(text, new.name) for text in new.train]
            found = answers(pairs, [*texts, *new.test], config)
            after = right(found[: len(texts)], held_out, known | {new.name})
            others = [i for i, pair in enumerate(held_out) if not new.takes_over(pair)]
            shares = [100 * sum(some[i] for i in others) / len(others) for some in (before, after)]
            own = 100 * found[len(texts) :].count(new.name) / len(new.test)
            print(
                f"| {seed} | {new.name} | {shares[0]:.1f} % | {shares[1]:.1f} % | "
                f"{shares[1] - shares[0]:+.1f} | {own:.0f} % |",
                flush=True,
            )
            if arguments.out:
                row = {**settings, "seed": seed, "intent": new.name, "shares": shares, "own": own}
                with arguments.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
