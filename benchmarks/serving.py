"""How fast and how large the served classifier is, beside transformers on PyTorch.

    python -m benchmarks.serving [--size base|small] [--threads 2] [--out FILE]

Builds a classifier of the size of camembert-base (or of the offline encoder) with random
weights, which is fine for timing, and serves the same sentences one at a time through

* the ``transformers`` text-classification pipeline: PyTorch, eager, fp32;
* our ONNX model, fp32 and int8.

Each way runs in a process of its own, in turns (three rounds, the median counts), and reports
the time from a cold start to the first answer, the time of an answer (p50 and p95), and the
resident memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import CamembertConfig

TOKENIZER = Path("models/encoders/e5-small-fr/tokenizer.json")
SENTENCES = [
    "Qui s'y connaît en Kubernetes ?",
    "Qui est Maëlys Kerguelen ?",
    "Bonjour, est-ce que tu sais s'il y a quelqu'un à Nantes qui maîtrise Angular et Node.js ?",
    "comment ça va ?",
    "tu connais quelqu'un en Kotlin",
    "c ki le referent devops a lyon",
    "Je cherche le numéro de Paul Martin, tu peux me le donner s'il te plaît ?",
    "et à Rennes ?",
]
ROUNDS, WARM_UP, REPEATS = 3, 8, 80
LABELS = ["HOW_ARE_YOU", "OUT_OF_SCOPE", "WHO_IS", "WHO_KNOWS_ABOUT"]
WAYS = ("transformers", "onnx fp32", "onnx int8")


def camembert_config(**shape: int) -> CamembertConfig:
    """Return the configuration of camembert-base with the vocabulary of :data:`TOKENIZER`."""
    from tokenizers import Tokenizer
    from transformers import CamembertConfig

    return CamembertConfig(
        vocab_size=Tokenizer.from_file(str(TOKENIZER)).get_vocab_size(),
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **shape,
    )


def build(folder: Path, size: str) -> None:
    """Write the same random classifier for both: a transformers folder and two served models."""
    import torch
    from tokenizers import Tokenizer
    from transformers import CamembertForSequenceClassification, PreTrainedTokenizerFast

    from components.camembert import served_model
    from components.camembert.config import DEFAULTS
    from components.camembert.model import Metadata, TrainedModel
    from components.camembert.network import Network, architecture_of, export

    shape: dict[str, int] = (
        {}
        if size == "base"
        else {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
    )
    torch.manual_seed(0)
    config = camembert_config(num_labels=len(LABELS), **shape)
    model = CamembertForSequenceClassification(config).eval()
    model.save_pretrained(folder / "transformers")
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(TOKENIZER)),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(folder / "transformers")
    network = Network(model.roberta, {**DEFAULTS, "pooling": "cls", "head": "linear"}, len(LABELS))
    for precision in ("fp32", "int8"):
        target = folder / f"onnx {precision}"
        target.mkdir()
        architecture = architecture_of(network)
        trained = TrainedModel(export(network, 1.0), architecture, LABELS, 1, 1.0, {})
        metadata = Metadata(LABELS, 64, "", 1, precision, 1.0, architecture, {}, {})
        served_model.MINIMUM_AGREEMENT = 0.0  # Random weights decide by a hair.
        served_model.write(target, trained, metadata, TOKENIZER, SENTENCES)


def serve(way: str, folder: Path, threads: int) -> dict[str, Any]:
    """Load one way, answer, and return its figures (seconds, bytes)."""
    begin = time.perf_counter()
    if way == "transformers":
        import torch
        from transformers import pipeline

        torch.set_num_threads(threads)
        answer = pipeline("text-classification", model=str(folder / way), top_k=None)
    else:
        from components.camembert.served_model import ServedModel

        model = ServedModel(folder / way, threads)

        def answer(text: str) -> Any:
            return model.predict([text])

    answer(SENTENCES[0])
    loaded = time.perf_counter() - begin
    for index in range(WARM_UP):
        answer(SENTENCES[index % len(SENTENCES)])
    times = []
    for index in range(REPEATS):
        start = time.perf_counter()
        answer(SENTENCES[index % len(SENTENCES)])
        times.append(time.perf_counter() - start)
    times.sort()
    resident = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return {
        "first answer": loaded,
        "p50": times[len(times) // 2],
        "p95": times[int(len(times) * 0.95)],
        "memory": resident,
    }


def measure(folder: Path, threads: int) -> dict[str, dict[str, float]]:
    """Run the ways in turns and return the median of each figure."""
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.serving", "--serve", way,
                       "--folder", str(folder), "--threads", str(threads)]  # fmt: skip
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rounds[way].append(json.loads(output.splitlines()[-1]))
    return {
        way: {figure: statistics.median(item[figure] for item in items) for figure in items[0]}
        for way, items in rounds.items()
    }


def report(figures: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table: figures, and ratios to transformers."""
    base = figures["transformers"]
    lines = [
        "| served by | p50 | p95 | first answer | memory |",
        "|---|---|---|---|---|",
    ]
    for way, values in figures.items():
        cells = [
            f"{values['p50'] * 1e3:.1f} ms ({values['p50'] / base['p50']:.2f})",
            f"{values['p95'] * 1e3:.1f} ms ({values['p95'] / base['p95']:.2f})",
            f"{values['first answer']:.1f} s ({values['first answer'] / base['first answer']:.2f})",
            f"{values['memory'] / 1e6:.0f} MB ({values['memory'] / base['memory']:.2f})",
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the comparison, or one way of it (``--serve``)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("base", "small"), default="base")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the table there as well")
    parser.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        print(json.dumps(serve(arguments.serve, arguments.folder, arguments.threads)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"Building random classifiers of the size '{arguments.size}' …", file=sys.stderr)
        build(folder, arguments.size)
        table = report(measure(folder, arguments.threads))
    print(table)
    if arguments.out:
        arguments.out.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
