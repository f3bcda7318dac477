"""Fine-tuning recipes compared: how to get the most out of a few examples an intent.

    python -m benchmarks.recipes --home-assistant DIR            # 22 intents x at most 15, outside
    python -m benchmarks.recipes --dataset data/nlu.yml --test tests/data/heldout.yml
    python -m benchmarks.recipes --dataset FILE.json --shots 15  # any dataset of `bot dataset`
    python -m benchmarks.recipes … --recipes component lab tfidf-lr --seeds 1 2 3

Three kinds of recipe: ``component …`` is the intent classifier's own training function with other
configuration values, scored through the exported model (fp32); ``lab …`` are variants that the
component does not offer, in a small training loop of this file's own; the others use no
fine-tuning at all. A seed decides the split (where there is no --test), the order and the
augmentation. One JSON line a run goes to --out; `--summary FILE` prints the table.

--home-assistant takes a clone of github.com/home-assistant/intents (CC BY 4.0), whose French test
sentences nobody wrote for this project; they are read from there and never kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import subprocess
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional

from bot.dataset import read
from components.augmentation import augment
from components.camembert.config import DEFAULTS
from components.camembert.encoder import Encoder, find_encoder
from components.camembert.tokenization import SentenceTokenizer
from components.camembert.training import contrastive_loss

ROOT = Path(__file__).resolve().parent.parent

#: A sentence and its intent.
Example = tuple[str, str]


def home_assistant(repository: Path, classes: int) -> list[Example]:
    """Return the French test sentences of a home-assistant/intents clone, largest classes only.

    A class is a domain and an intent (`cover_HassTurnOn`), which is what a file stands for. The
    sentences come from the HEAD commit, so a bare repository will do.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    found: dict[str, set[str]] = defaultdict(set)
    for name in git("ls-tree", "--name-only", "HEAD:tests/fr").split():
        if name.startswith("_"):
            continue
        content = yaml.safe_load(git("show", f"HEAD:tests/fr/{name}"))
        for test in content.get("tests", []):
            for sentence in test["sentences"]:
                found[sentence.strip()].add(name.removesuffix(".yaml"))
    examples = sorted((text, *names) for text, names in found.items() if len(names) == 1)
    largest = [name for name, _ in Counter(name for _, name in examples).most_common(classes)]
    return [(text, name) for text, name in examples if name in largest]


def split(
    examples: Sequence[Example], shots: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split into at most ``shots`` examples an intent, but no more than half, and the rest."""
    rng = random.Random(seed)
    train: list[Example] = []
    test: list[Example] = []
    for intent in sorted({intent for _, intent in examples}):
        members = [example for example in examples if example[1] == intent]
        rng.shuffle(members)
        size = min(shots, len(members) // 2)
        train += members[:size]
        test += members[size:]
    return train, test


# --- recipes without fine-tuning ---------------------------------------------------------------


def tfidf(train: list[Example], texts: list[str], encoder: Encoder, seed: int) -> np.ndarray:
    """Character n-grams and logistic regression: what there is without an encoder."""
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        LogisticRegression(C=100, max_iter=2000, class_weight="balanced"),
    )
    model.fit([text for text, _ in train], [intent for _, intent in train])
    return model.predict_proba(texts)


def frozen(pooling: str, prefix: str = "") -> Callable[..., np.ndarray]:
    """Return a recipe: logistic regression over the encoder's vectors as they are."""

    def run(train: list[Example], texts: list[str], encoder: Encoder, seed: int) -> np.ndarray:
        lab = Lab(encoder, replace(LabRecipe(), pooling=pooling, text_prefix=prefix), 2, seed)
        model = LogisticRegression(C=100, max_iter=2000, class_weight="balanced")
        model.fit(lab.embed([text for text, _ in train]), [intent for _, intent in train])
        return model.predict_proba(lab.embed(texts))

    return run


# --- the component -----------------------------------------------------------------------------


def component(**changes: Any) -> Callable[..., np.ndarray]:
    """Return a recipe: the component's own training with ``changes`` to its configuration."""

    def run(train: list[Example], texts: list[str], encoder: Encoder, seed: int) -> np.ndarray:
        from components.camembert.training import fine_tune

        config = {**DEFAULTS, "seed": seed, "threads": torch.get_num_threads(), **changes}
        trained = fine_tune(
            [text for text, _ in train], [intent for _, intent in train], encoder, config
        )
        return _serve(trained, encoder, config, texts)

    return run


def _serve(trained: Any, encoder: Encoder, config: dict[str, Any], texts: list[str]) -> np.ndarray:
    import onnxruntime

    from components.camembert.onnx_graph import ATTENTION_MASK, INPUT_IDS, LOGITS, build_graph

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(build_graph(trained.weights, trained.architecture).SerializeToString())
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    tokenizer = SentenceTokenizer(
        encoder.path / "tokenizer.json", config["max_length"], config["text_prefix"], trained.pad_id
    )
    rows = []
    for text in texts:
        tokens = tokenizer.pad(tokenizer.ids([text]))
        given = {INPUT_IDS: tokens.ids, ATTENTION_MASK: tokens.mask}
        rows.append(session.run([LOGITS], given)[0][0])
    return torch.from_numpy(np.array(rows)).softmax(-1).numpy()


# --- variants that the component does not offer ------------------------------------------------


@dataclass(frozen=True)
class LabRecipe:
    """What the loop of this file can vary, around a recipe that is quick to train."""

    epochs: int = 8
    batch_size: int = 16
    learning_rate: float = 1e-4
    head_learning_rate: float = 5e-3
    warmup: float = 0.1
    label_smoothing: float = 0.1
    augmentation: float = 2 / 3  # share of the sentences that are altered in an epoch
    pooling: str = "mean"
    head: str = "cosine"
    scale: float = 20.0
    prototypes: bool = True
    text_prefix: str = ""
    freeze_layers: int = 6
    dropout: float = 0.1
    layer_decay: float = 1.0  # learning rate of a layer over that of the layer above
    contrastive: float = 0.0  # weight of the supervised contrastive loss beside cross entropy
    contrastive_epochs: int = 0  # epochs of that loss alone before the others
    average: float = 0.0  # decay of the running mean of the weights; 0: the last weights
    mix: float = 0.0  # weight of a logistic regression over the tuned vectors in the answer
    mix_frozen: float = 0.0  # the same over the vectors as they were before
    mix_tfidf: float = 0.0  # weight of the recipe without encoder
    mix_nearest: float = 0.0  # weight of the nearest tuned example of each class
    r_drop: float = 0.0  # weight of the disagreement of two passes with other dropout


class Lab:
    """One fine-tuning run."""

    def __init__(self, encoder: Encoder, recipe: LabRecipe, classes: int, seed: int) -> None:
        from transformers import AutoModel
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        torch.manual_seed(seed)
        self.rng = random.Random(seed)
        self.recipe = recipe
        self.encoder: Any = AutoModel.from_pretrained(
            encoder.path,
            dtype=torch.float32,
            add_pooling_layer=False,
            hidden_dropout_prob=recipe.dropout,
            attention_probs_dropout_prob=recipe.dropout,
        )
        self.layers = list(self.encoder.encoder.layer)
        self.tokenizer = SentenceTokenizer(
            encoder.path / "tokenizer.json",
            64,
            recipe.text_prefix,
            self.encoder.config.pad_token_id,
        )
        self.head = nn.Linear(self.encoder.config.hidden_size, classes)

    def bottom(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Return what the frozen part makes of each text: tokens x hidden."""
        self.encoder.eval()
        found: list[torch.Tensor] = []
        with torch.no_grad():
            for ids in self.tokenizer.ids(texts):
                hidden = self.encoder.embeddings(input_ids=torch.tensor([ids]))
                for layer in self.layers[: self.recipe.freeze_layers]:
                    hidden = layer(hidden)
                found.append(hidden[0])
        return found

    def pooled(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return one vector a sentence: batch x hidden."""
        hidden = nn.utils.rnn.pad_sequence(list(inputs), batch_first=True)
        mask = torch.zeros(hidden.shape[:2])
        for row, item in enumerate(inputs):
            mask[row, : len(item)] = 1
        additive = (1 - mask[:, None, None, :]) * torch.finfo(hidden.dtype).min
        for layer in self.layers[self.recipe.freeze_layers :]:
            hidden = layer(hidden, attention_mask=additive)
        if self.recipe.pooling == "cls":
            return hidden[:, 0]
        if self.recipe.pooling == "both":
            return hidden[:, 0] + (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def classify(self, pooled: torch.Tensor) -> torch.Tensor:
        if self.recipe.head == "linear":
            return self.head(pooled)
        directions = functional.normalize(self.head.weight, dim=-1)
        return self.recipe.scale * functional.normalize(pooled, dim=-1) @ directions.T

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the normalised vectors of texts, without dropout."""
        inputs = self.bottom(texts)
        order = sorted(range(len(texts)), key=lambda index: len(inputs[index]))
        vectors = torch.zeros(len(texts), self.encoder.config.hidden_size)
        with torch.no_grad():
            for begin in range(0, len(order), 32):
                rows = order[begin : begin + 32]
                vectors[rows] = self.pooled([inputs[row] for row in rows])
        return functional.normalize(vectors, dim=-1).numpy()

    def train(self, texts: Sequence[str], targets: Sequence[int]) -> None:
        recipe = self.recipe
        originals = self.bottom(texts)
        copies = [self.bottom([augment(text, self.rng) for text in texts]) for _ in range(4)]
        if recipe.prototypes:
            vectors = torch.from_numpy(self.embed(texts))
            with torch.no_grad():
                self.head.weight.zero_().index_add_(0, torch.tensor(targets), vectors)
                self.head.weight.copy_(functional.normalize(self.head.weight, dim=-1))
                self.head.bias.zero_()
        groups: list[dict[str, Any]] = [
            {"params": list(self.head.parameters()), "lr": recipe.head_learning_rate}
        ]
        trained = self.layers[recipe.freeze_layers :]
        for depth, layer in enumerate(reversed(trained)):
            rate = recipe.learning_rate * recipe.layer_decay**depth
            groups.append({"params": list(layer.parameters()), "lr": rate})
        parameters = [parameter for group in groups for parameter in group["params"]]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
        epochs = recipe.contrastive_epochs + recipe.epochs
        steps = epochs * -(-len(texts) // recipe.batch_size)
        warm = max(1, int(recipe.warmup * steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm))),
        )
        counts = Counter(targets)
        weights = torch.tensor(
            [len(targets) / (len(counts) * counts[label]) for label in sorted(counts)]
        )
        mean = [parameter.detach().clone() for parameter in parameters]
        self.encoder.train()
        for epoch in range(epochs):
            order = list(range(len(texts)))
            self.rng.shuffle(order)
            for begin in range(0, len(order), recipe.batch_size):
                rows = order[begin : begin + recipe.batch_size]
                inputs = [
                    self.rng.choice(copies)[row]
                    if self.rng.random() < recipe.augmentation
                    else originals[row]
                    for row in rows
                ]
                wanted = torch.tensor([targets[row] for row in rows])
                loss = self._loss(inputs, wanted, weights, epoch < recipe.contrastive_epochs)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 1.0)
                optimiser.step()
                schedule.step()
                if recipe.average:
                    for target, parameter in zip(mean, parameters, strict=True):
                        target.lerp_(parameter.detach(), 1 - recipe.average)
        if recipe.average:
            with torch.no_grad():
                for target, parameter in zip(mean, parameters, strict=True):
                    parameter.copy_(target)
        self.encoder.eval()

    def _loss(
        self, inputs: list[torch.Tensor], wanted: torch.Tensor, weights: torch.Tensor, warm: bool
    ) -> torch.Tensor:
        recipe = self.recipe
        pooled = self.pooled(inputs)
        if warm:
            second = self.pooled(inputs)  # another dropout: each sentence has a positive
            return contrastive_loss(torch.cat([pooled, second]), torch.cat([wanted, wanted]))
        logits = self.classify(pooled)

        def entropy(values: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(
                values, wanted, weight=weights, label_smoothing=recipe.label_smoothing
            )

        loss = entropy(logits)
        if recipe.r_drop:
            other = self.classify(self.pooled(inputs))
            one, two = logits.log_softmax(-1), other.log_softmax(-1)
            disagreement = functional.kl_div(
                one, two, log_target=True, reduction="batchmean"
            ) + functional.kl_div(two, one, log_target=True, reduction="batchmean")
            loss = (loss + entropy(other)) / 2 + recipe.r_drop * disagreement / 2
        if recipe.contrastive:
            loss = loss + recipe.contrastive * contrastive_loss(pooled, wanted)
        return loss


def lab(**changes: Any) -> Callable[..., np.ndarray]:
    """Return a recipe: the loop of this file with ``changes`` to :class:`LabRecipe`."""
    recipe = replace(LabRecipe(), **changes)

    def run(train: list[Example], texts: list[str], encoder: Encoder, seed: int) -> np.ndarray:
        names = sorted({intent for _, intent in train})
        sentences, targets = [text for text, _ in train], [names.index(name) for _, name in train]
        run_ = Lab(encoder, recipe, len(names), seed)
        answers: list[tuple[float, np.ndarray]] = []

        def regression(weight: float) -> None:
            if weight:
                model = LogisticRegression(C=100, max_iter=2000, class_weight="balanced")
                model.fit(run_.embed(sentences), targets)
                answers.append((weight, model.predict_proba(run_.embed(texts))))

        regression(recipe.mix_frozen)
        run_.train(sentences, targets)
        regression(recipe.mix)
        if recipe.mix_tfidf:
            answers.append((recipe.mix_tfidf, tfidf(train, texts, encoder, seed)))
        if recipe.mix_nearest:
            cosines = run_.embed(texts) @ run_.embed(sentences).T
            nearest = [cosines[:, np.equal(targets, k)].max(1) for k in range(len(names))]
            scores = torch.from_numpy(20 * np.stack(nearest, 1))
            answers.append((recipe.mix_nearest, scores.softmax(-1).numpy()))
        with torch.no_grad():
            tuned = run_.classify(torch.from_numpy(run_.embed(texts))).softmax(-1).numpy()
        rest = 1 - sum(weight for weight, _ in answers)
        return rest * tuned + sum(weight * values for weight, values in answers)

    return run


RECIPES: dict[str, Callable[..., np.ndarray]] = {
    "tfidf-lr": tfidf,
    "frozen-mean-lr": frozen("mean"),
    "frozen-cls-lr": frozen("cls"),
    "frozen-mean-query-lr": frozen("mean", "query: "),
    "component": component(),
    "component no held-out share": component(
        validation_share=0.0, patience=None, calibration=False
    ),
    "component no refit": component(refit=False),
    "component no contrastive": component(contrastive_weight=0, batch_size=16),
    "component freeze 0": component(freeze_layers=0),
    "component no augmentation": component(augmentation=0),
    "component query prefix": component(text_prefix="query: "),
    "component cls": component(pooling="cls"),
    "component linear": component(head="linear", head_learning_rate=1e-3),
    "lab": lab(),
    "lab cls": lab(pooling="cls"),
    "lab cls+mean": lab(pooling="both"),
    "lab linear": lab(head="linear", prototypes=False, head_learning_rate=1e-3),
    "lab no prototypes": lab(prototypes=False),
    "lab query prefix": lab(text_prefix="query: "),
    "lab lr 3e-5": lab(learning_rate=3e-5),
    "lab lr 2e-4": lab(learning_rate=2e-4),
    "lab lr 4e-4": lab(learning_rate=4e-4),
    "lab head lr 5e-4": lab(head_learning_rate=5e-4),
    "lab 16 epochs": lab(epochs=16),
    "lab no augmentation": lab(augmentation=0.0),
    "lab augmentation 1/3": lab(augmentation=1 / 3),
    "lab no smoothing": lab(label_smoothing=0.0),
    "lab scale 10": lab(scale=10.0),
    "lab freeze 0": lab(freeze_layers=0),
    "lab freeze 3": lab(freeze_layers=3),
    "lab freeze 9": lab(freeze_layers=9),
    "lab freeze 0, lr 5e-5": lab(freeze_layers=0, learning_rate=5e-5),
    "lab layer decay 0.85": lab(layer_decay=0.85, learning_rate=2e-4),
    "lab contrastive 0.5": lab(contrastive=0.5, batch_size=32),
    "lab contrastive warm-up 3": lab(contrastive_epochs=3, epochs=5),
    "lab mean of weights": lab(average=0.98),
    "lab no dropout": lab(dropout=0.0),
    "lab r-drop": lab(r_drop=1.0),
    "lab refit lr": lab(mix=1.0),
    "lab mix tuned lr": lab(mix=0.5),
    "lab nearest": lab(mix_nearest=1.0),
    "lab mix nearest": lab(mix_nearest=0.5),
    "lab mix tfidf": lab(mix_tfidf=0.3),
    "lab mix frozen lr": lab(mix_frozen=0.3),
    "lab batch 8": lab(batch_size=8),
}


def summarise(path: Path) -> None:
    """Print the runs of a file as a table."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        runs[run["data"], run["recipe"]].append(run)
    print("| data | recipe | seeds | accuracy | macro-F1 | seconds |\n|---|---|---|---|---|---|")
    for (data, recipe), found in runs.items():
        scores = [100 * run["accuracy"] for run in found]
        print(
            f"| {data} | {recipe} | {len(found)} | {statistics.mean(scores):.1f} % "
            f"({min(scores):.1f}-{max(scores):.1f}) "
            f"| {100 * statistics.mean(run['macro_f1'] for run in found):.1f} % "
            f"| {statistics.mean(run['seconds'] for run in found):.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--home-assistant", type=Path, metavar="DIR")
    data.add_argument("--dataset", type=Path, metavar="FILE")
    data.add_argument("--summary", type=Path, metavar="FILE", help="print a table of old runs")
    parser.add_argument("--test", type=Path, metavar="FILE", help="test set of --dataset")
    parser.add_argument("--shots", type=int, default=15, help="examples an intent (default 15)")
    parser.add_argument("--classes", type=int, default=22, help="of --home-assistant (default 22)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--encoder", default="models/encoders/e5-small-fr")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "recipes.jsonl")
    options = parser.parse_args()
    if options.summary:
        summarise(options.summary)
        return
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    encoder = find_encoder(options.encoder, "main", None)
    if options.home_assistant:
        name, examples = "home-assistant", home_assistant(options.home_assistant, options.classes)
    else:
        name = options.dataset.stem
        examples = [(example.text, example.intent) for example in read(options.dataset).examples]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for recipe in options.recipes:
        for seed in options.seeds:
            if options.test:
                train = examples
                test = [(item.text, item.intent) for item in read(options.test).examples]
            else:
                train, test = split(examples, options.shots, seed)
            names = sorted({intent for _, intent in train})
            start = time.perf_counter()
            scores = RECIPES[recipe](train, [text for text, _ in test], encoder, seed)
            seconds = time.perf_counter() - start
            right = [intent for _, intent in test]
            given = [names[index] for index in scores.argmax(1)]
            result = {
                "data": name,
                "train": len(train),
                "test": len(test),
                "recipe": recipe,
                "seed": seed,
                "accuracy": float(np.mean([a == b for a, b in zip(right, given, strict=True)])),
                "macro_f1": float(f1_score(right, given, average="macro")),
                "seconds": seconds,
            }
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
