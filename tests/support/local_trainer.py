"""Does as ``bot.local_training`` in no time: it learns the words that an intent has.

For tests of the pipeline, not of the model; ``infra/retrain_demo`` trains with Rasa.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

from common.confusion_matrix import ConfusionMatrix


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    for name in ("dataset", "heldout", "config", "model", "matrix"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    if given.what == "classify":
        model = json.loads(given.model.read_text())
        print(json.dumps([best(model, text) for text in json.load(sys.stdin)]))
        return
    if given.config.name == "broken.yml":
        sys.exit("the configuration is broken")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in json.loads(given.dataset.read_text("utf-8-sig"))["examples"]:
        counts[example["intent"]].update(example["text"].split())
    test = json.loads(given.heldout.read_text())["examples"]
    matrix = ConfusionMatrix.of(
        [example["intent"] for example in test],
        [best(dict(counts), example["text"]) for example in test],
    )
    given.matrix.parent.mkdir(parents=True, exist_ok=True)
    given.matrix.write_text(json.dumps(matrix.to_json()))
    given.model.write_text(json.dumps(counts))


def best(model: dict[str, dict[str, int]], text: str) -> str:
    """Return the intent with the most examples that have the text's words."""
    return max(model, key=lambda intent: sum(model[intent].get(w, 0) for w in text.split()))


if __name__ == "__main__":
    main()
