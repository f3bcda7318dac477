"""Recipes of the intent classifier compared on public data sets, by the component's own training.

    python -m benchmarks.recipes --sets DIR… [--shots 5 15 99] [--seeds 1 2 3] [--recipes …]
    python -m benchmarks.recipes --summary results/recipes.jsonl

A set is a folder with ``train.csv`` and ``test.csv`` of the columns ``text`` and ``intent``.
Nothing is fetched and nothing is kept: ``benchmarks/recipes.md`` says which sets were measured, and
how each was cut. A seed draws so many examples an intent, the order and the augmentation; the test
messages are the same for all. One JSON line a run goes to --out, with what was right; --summary
prints the table, and how far each recipe is from the first, with a 95 % interval over messages.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import random
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.camembert.config import DEFAULTS
from components.camembert.encoder import Encoder, find_encoder

#: A sentence and its intent.
Example = tuple[str, str]
#: From training examples and the texts to classify to the intent of each text.
Recipe = Callable[[list[Example], list[str], Encoder, int], list[str]]


def component(**changes: Any) -> Recipe:
    """Return a recipe: the component with ``changes`` to its configuration."""

    def run(train: list[Example], texts: list[str], encoder: Encoder, seed: int) -> list[str]:
        from components.camembert.build import train_and_write
        from components.camembert.served_model import ServedModel

        config = {**DEFAULTS, "encoder": str(encoder.path), "precision": "fp32", "seed": seed}
        sentences, intents = zip(*train, strict=True)
        with tempfile.TemporaryDirectory() as folder:
            train_and_write(sentences, intents, {**config, **changes}, Path(folder))
            model = ServedModel(Path(folder))
        return [model.metadata.labels[row.argmax()] for row in model.logits(texts)]

    return run


def tfidf(train: list[Example], texts: list[str], encoder: Encoder, seed: int) -> list[str]:
    """Character n-grams and logistic regression: what there is without an encoder."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        LogisticRegression(C=100, max_iter=300, class_weight="balanced"),
    )
    model.fit([text for text, _ in train], [intent for _, intent in train])
    return list(model.predict(texts))


def transformers(train: list[Example], texts: list[str], encoder: Encoder, seed: int) -> list[str]:
    """Fine-tune as the library does it: all layers, a new linear head on ``<s>``."""
    from comparison.settings import TRANSFORMERS_DEFAULTS
    from comparison.torch_pipeline import TorchPipeline, fit

    settings = {**TRANSFORMERS_DEFAULTS, "encoder": str(encoder.path)}
    sentences, intents = zip(*train, strict=True)
    with tempfile.TemporaryDirectory() as folder:
        fit(settings, sentences, intents, seed, Path(folder))
        return [ranking[0][0] for ranking in TorchPipeline(Path(folder), 1).rank(texts)]


RECIPES: dict[str, Recipe] = {
    "before": component(epochs=8, refit=True, ngram_weight=0, text_prefix=""),
    "default": component(),
    "no n-grams": component(ngram_weight=0),
    "no prefix": component(text_prefix=""),
    "no contrastive loss": component(contrastive_weight=0),
    "no augmentation": component(augmentation=0),
    "all layers": component(freeze_layers=0, learning_rate=5e-5),
    "4 epochs": component(epochs=4),
    "tfidf": tfidf,
    "transformers": transformers,
}


def read(path: Path) -> list[Example]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["intent"]) for row in csv.DictReader(file)]


def draw(examples: Sequence[Example], shots: int, seed: int) -> list[Example]:
    """Return at most ``shots`` examples of each intent."""
    rng, members = random.Random(seed), defaultdict(list)
    for example in examples:
        members[example[1]].append(example)
    return [
        example
        for intent in sorted(members)
        for example in rng.sample(members[intent], min(shots, len(members[intent])))
    ]


def summarise(path: Path) -> None:
    """Print the runs of a file as a table."""
    runs: dict[str, dict[tuple[str, int], list[list[int]]]] = defaultdict(lambda: defaultdict(list))
    for line in path.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        runs[run["recipe"]][run["set"], run["shots"]].append(run["right"])
    means = {
        recipe: {cell: np.mean(right, axis=0) for cell, right in sorted(cells.items())}
        for recipe, cells in runs.items()
    }
    base = next(iter(means.values()))
    names = " | ".join(f"{name}, {shots}" for name, shots in base)
    print(f"| recipe | {names} | to the first |\n|---|{'---|' * (len(base) + 1)}")
    rng = np.random.default_rng(0)
    for recipe, cells in means.items():
        differences = [100 * (right - base[cell]) for cell, right in cells.items()]
        drawn = [[rng.choice(item, len(item)).mean() for item in differences] for _ in range(2000)]
        low, high = np.quantile(np.mean(drawn, axis=1), [0.025, 0.975])
        shown = " | ".join(f"{100 * right.mean():.1f} %" for right in cells.values())
        mean = np.mean([item.mean() for item in differences])
        print(f"| {recipe} | {shown} | {mean:+.1f} ({low:+.1f} to {high:+.1f}) |")


def main() -> None:
    """Run recipes, or print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=Path, nargs="+", metavar="DIR", default=[])
    parser.add_argument("--summary", type=Path, metavar="FILE", help="print a table of old runs")
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 15], help="examples an intent")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--encoder", default="e5-small-fr")
    parser.add_argument("--out", type=Path, default=Path("results/recipes.jsonl"))
    options = parser.parse_args()
    if options.summary:
        summarise(options.summary)
        return
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    encoder = find_encoder(options.encoder, "main", None)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for folder in options.sets:
        pool, test = read(folder / "train.csv"), read(folder / "test.csv")
        for shots in options.shots:
            for recipe in options.recipes:
                for seed in options.seeds:
                    train, start = draw(pool, shots, seed), time.perf_counter()
                    given = RECIPES[recipe](train, [text for text, _ in test], encoder, seed)
                    right = [int(a == b) for a, (_, b) in zip(given, test, strict=True)]
                    run = {"set": folder.name, "shots": shots, "recipe": recipe, "seed": seed}
                    seconds = time.perf_counter() - start
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({**run, "seconds": seconds, "right": right}) + "\n")
                    print(run, f"{np.mean(right):.1%} in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
