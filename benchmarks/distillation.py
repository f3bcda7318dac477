"""A student beside its teacher: what it costs in accuracy, and what it saves in time.

    python -m benchmarks.distillation [--layers 4] [--seeds 1 2] [--threads 2] [--work DIR]
    python -m benchmarks.distillation --latency

The first trains on ``data/nlu.yml`` as ``config.yml`` says and measures on
``tests/data/heldout.yml``: the teacher alone, the student alone, and both as they are served, the
student first (``distill``). DIR keeps what was trained for the next time. The second times random
networks of the size of camembert-base, where a student of 2, 3 or 4 layers answers by itself, and
where the teacher has to be asked after it.

All ways answer the same questions in turns, in one process, one question at a time.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pickle
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving import LABELS, SENTENCES, TOKENIZER, camembert_config
from bot.evaluation import OFF_TOPIC, expected_calibration_error, intent_scores, off_topic_scores
from components.camembert import served_model
from components.camembert.config import DEFAULTS
from components.camembert.encoder import configured_encoder
from components.camembert.model import Metadata, Student, TrainedModel, TrainedStudent
from components.camembert.served_model import ServedModel, softmax

WARM_UP, REPEATS, PAUSE = 20, 3, 0.05
SHARED = ("epochs",)  # of config.yml


def answering_from(folder: Path, threshold: float | None, threads: int) -> ServedModel:
    """Return a served model whose student answers from another confidence on."""
    model = ServedModel(folder, threads)
    if threshold is not None and model.metadata.student:
        rule = dataclasses.replace(model.metadata.student, threshold=threshold)
        model.metadata = dataclasses.replace(model.metadata, student=rule)
    return model


def write(
    folder: Path, trained: TrainedModel, texts: Sequence[str], tokenizer: Path = TOKENIZER
) -> None:
    """Write a served model of 64 tokens at most and without a prefix, int8."""
    metadata = Metadata(
        trained.labels, 64, "", trained.pad_id, "int8", trained.temperature, trained.architecture,
        {}, trained.validation, trained.student.metadata if trained.student else None,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    served_model.write(folder, trained, metadata, tokenizer, texts)


def in_turns(ways: Mapping[str, ServedModel], texts: Sequence[str]) -> dict[str, list[float]]:
    """Return the seconds of each answer of each way."""
    for model in ways.values():
        for text in texts[:WARM_UP]:
            model.predict([text])
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for text in texts:
            for name, model in ways.items():
                # As between two questions: the processors have come to rest.
                time.sleep(PAUSE)
                begin = time.perf_counter()
                model.predict([text])
                times[name].append(time.perf_counter() - begin)
    return times


def latency_cells(seconds: Sequence[float], base: Sequence[float]) -> str:
    """Return the p50 and p95 in ms, with their ratio to ``base``, as cells of a table."""
    cells = []
    for share in (50, 95):
        own, other = np.percentile(seconds, share), np.percentile(base, share)
        cells.append(f"{own * 1e3:.1f} ms ({own / other:.2f})")
    return " | ".join(cells)


def train(layers: int, seed: int, threads: int, work: Path) -> tuple[Path, tuple[float, float]]:
    """Train teacher and student; return the folder, and the CPU seconds of both."""
    from rasa.shared.nlu.training_data.loading import load_data

    from components.camembert.distillation import distil
    from components.camembert.training import fine_tune

    examples = load_data("data/nlu.yml").intent_examples
    texts = [message.get("text") for message in examples]
    labels = [message.get("intent") for message in examples]
    config = {**DEFAULTS, **_configured(), "seed": seed, "threads": threads, "distill": layers}
    encoder = configured_encoder(config)
    kept, folder = work / f"teacher-{seed}.pickle", work / f"student-{seed}-{layers}"
    if not kept.exists():
        begin = time.process_time()
        trained = fine_tune(texts, labels, encoder, config)
        kept.write_bytes(pickle.dumps((trained, time.process_time() - begin)))
    teacher, seconds = pickle.loads(kept.read_bytes())
    spent = folder / "seconds"
    if not spent.exists():
        begin = time.process_time()
        student = distil(teacher, texts, labels, encoder, config)
        tokenizer = encoder.path / "tokenizer.json"
        write(folder, dataclasses.replace(teacher, student=student), texts, tokenizer)
        write(folder / "teacher", teacher, texts, tokenizer)
        spent.write_text(str(time.process_time() - begin))
    return folder, (seconds, float(spent.read_text()))


def _configured() -> dict[str, Any]:
    import yaml

    pipeline = yaml.safe_load(Path("config.yml").read_text("utf-8"))["pipeline"]
    (classifier,) = (item for item in pipeline if "CamembertIntentClassifier" in item["name"])
    return {key: classifier[key] for key in SHARED if key in classifier}


def accuracy(arguments: argparse.Namespace, work: Path) -> None:
    """Print how student and teacher do on the held-out set, and how long they take."""
    from rasa.shared.nlu.training_data.loading import load_data

    examples = load_data("tests/data/heldout.yml").intent_examples
    texts = [message.get("text") for message in examples]
    truth = [message.get("intent") for message in examples]
    print(
        "| seed | answers | accuracy | macro-F1 | off-topic AUROC | calibration error | "
        "asked of the teacher | p50 | p95 |\n|---|---|---|---|---|---|---|---|---|"
    )
    for seed in arguments.seeds:
        folder, seconds = train(arguments.layers, seed, arguments.threads, work)
        ways = {
            "teacher": ServedModel(folder / "teacher", arguments.threads),
            "student alone": answering_from(folder, 0.0, arguments.threads),
            "student first": answering_from(folder, None, arguments.threads),
        }
        times = in_turns(ways, texts)
        labels = ways["teacher"].metadata.labels
        sure = _confidence(ways["student alone"], texts)
        for name, model in ways.items():
            rows = np.concatenate([softmax(model.logits([text])) for text in texts])
            given = [labels[index] for index in rows.argmax(1)]
            scores = intent_scores(truth, given)
            off_topic = off_topic_scores(
                [intent == OFF_TOPIC for intent in truth],
                [intent == OFF_TOPIC for intent in given],
                rows[:, labels.index(OFF_TOPIC)].tolist(),
            )["auroc"]
            error = expected_calibration_error(
                rows.max(1).tolist(), [a == b for a, b in zip(truth, given, strict=True)]
            )
            rule = model.metadata.student
            asked = float((sure < rule.threshold).mean()) if rule else 1.0
            print(
                f"| {seed} | {name} | {scores['accuracy']:.1%} | {scores['macro_f1']:.1%} "
                f"| {off_topic:.1%} | {error:.1%} | {asked:.0%} "
                f"| {latency_cells(times[name], times['teacher'])} |",
                flush=True,
            )
        print(
            f"\nCPU seconds, seed {seed}: teacher {seconds[0]:.0f}, student {seconds[1]:.0f}; "
            f"load {os.getloadavg()[0]:.1f}.\n"
        )


def _confidence(model: ServedModel, texts: Sequence[str]) -> np.ndarray:
    return np.concatenate([softmax(model.logits([text])).max(1) for text in texts])


def latency(arguments: argparse.Namespace, work: Path) -> None:
    """Print what random networks of camembert-base's width and 2 to 12 layers take."""
    import torch
    from transformers import CamembertModel

    from components.camembert.network import Network, architecture_of, export

    torch.manual_seed(0)
    served_model.MINIMUM_AGREEMENT = 0.0  # Random weights decide by a hair.

    def network(layers: int) -> Network:
        encoder = CamembertModel(camembert_config(num_hidden_layers=layers), False).eval()
        return Network(encoder, DEFAULTS, len(LABELS))

    large = network(12)
    teacher = TrainedModel(export(large, 1.0), architecture_of(large), LABELS, 1, 1.0, {})
    write(work / "12", teacher, SENTENCES)
    ways = {"teacher": ServedModel(work / "12", arguments.threads)}
    for layers in (4, 3, 2):
        small = network(layers)
        student = TrainedStudent(export(small, 1.0), Student(architecture_of(small), 1.0, 0.0))
        folder = work / str(layers)
        write(folder, dataclasses.replace(teacher, student=student), SENTENCES)
        for name, threshold in (("", 0.0), (", then teacher", 2.0)):
            ways[f"student of {layers} layers{name}"] = answering_from(
                folder, threshold, arguments.threads
            )
    times = in_turns(ways, SENTENCES * 4)
    print("| camembert-base size, int8 | p50 | p95 |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {latency_cells(seconds, times['teacher'])} |")
    print(f"\nLoad {os.getloadavg()[0]:.1f}.")


def main() -> None:
    """Run either part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--latency", action="store_true", help="random weights, base size")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep what was trained there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        (latency if arguments.latency else accuracy)(arguments, work)


if __name__ == "__main__":
    main()
