"""A container that honours SageMaker's contract and learns in no time: words that an intent has.

``python retraining_container.py train|serve``; the channels, the results and the JSON are those of
``infra/sagemaker``. It stands in for CamemBERT where a test is about the pipeline, not the model.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bot.retraining import metrics
from common.confusion_matrix import ConfusionMatrix

BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])
Model = dict[str, dict[str, int]]


def read(channel: str) -> list[dict[str, Any]]:
    file = BASE / "input" / "data" / channel / "dataset.json"
    return list(json.loads(file.read_text(encoding="utf-8"))["examples"])


def best(model: Model, text: str) -> str:
    """Return the intent with the most examples that have the text's words."""
    return max(model, key=lambda intent: sum(model[intent].get(w, 0) for w in text.split()))


def train() -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in read("train"):
        counts[example["intent"]].update(example["text"].split())
    (BASE / "model" / "model.json").write_text(json.dumps(counts))
    test = read("test")
    matrix = ConfusionMatrix.of(
        [example["intent"] for example in test],
        [best(dict(counts), example["text"]) for example in test],
    )
    print(metrics.line("test_macro_f1", matrix.macro_f1))
    output = BASE / "output" / "data"
    (output / "metrics.json").write_text(json.dumps(matrix.metrics()))
    (output / "confusion_matrix.json").write_text(json.dumps(matrix.to_json()))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers ``/ping`` and ``/invocations``."""

    model: Model

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        intents = [{"name": best(self.model, text), "confidence": 1} for text in request["inputs"]]
        self.answer({"predictions": [{"intent": one, "intent_ranking": [one]} for one in intents]})

    def answer(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve() -> None:
    Handler.model = json.loads((BASE / "model" / "model.json").read_text())
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    {"train": train, "serve": serve}[sys.argv[1]]()
