"""This bot beside the same bot on the pipelines that a Rasa user would otherwise pick.

    python -m benchmarks.baselines [--rounds 3] [--turns 60] [--only ours diet lm] [--out FILE]

Domain, dialogue, actions and training data are the same; the pipeline alone differs:

* ``ours``: config.yml as it stands;
* ``diet``: what `rasa init` gives a bot, DIETClassifier for intents and entities;
* ``lm``: the same with Rasa's LanguageModelFeaturizer on a CamemBERT of the shape of our encoder,
  with random weights (fine for timing). It needs transformers 4.36, hence packages of its own; it
  is left out, and how to install them is said, where they are missing (`make bench` installs them).

Each bot is trained once. Then the servers run one at a time, in turns, each round from a cold
start: until the first answer to a REST request, resident memory after all turns, ``/model/parse``
(the pipeline alone) and whole REST turns with the real action server and directory. The medians of
the rounds count; in brackets the ratio to ``ours``. See ``benchmarks/serving.py`` for our
classifier beside the ``transformers`` pipeline.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.serving import SENTENCES
from bot import processes, server
from bot.processes import free_port
from bot.runtime.rasa_cli import API_TOKEN_VARIABLE, PROJECT_ROOT, project_environment

LM_PACKAGES = PROJECT_ROOT / "results" / "bench" / "peers-lm"
LM_INSTALLATION = (
    ".venv/bin/uv pip install --no-deps --require-hashes --target results/bench/peers-lm "
    "-r benchmarks/peers-lm.lock"
)
WARM_UP = 5
# `rasa init` of 3.6.21, with the language and the fallback of this bot.
DIET: list[dict[str, Any]] = [
    {"name": "WhitespaceTokenizer"},
    {"name": "RegexFeaturizer"},
    {"name": "LexicalSyntacticFeaturizer"},
    {"name": "CountVectorsFeaturizer"},
    {"name": "CountVectorsFeaturizer", "analyzer": "char_wb", "min_ngram": 1, "max_ngram": 4},
    {"name": "DIETClassifier", "epochs": 100, "constrain_similarities": True},
    {"name": "EntitySynonymMapper"},
    {"name": "FallbackClassifier", "threshold": 0.6, "ambiguity_threshold": 0.1},
]
FIGURES = {
    "training": ("training", 1.0, "s"),
    "start": ("start to first answer", 1.0, "s"),
    "memory": ("resident memory", 1e-6, "MB"),
    "parse": ("/model/parse, p50", 1e3, "ms"),
    "turn": ("REST turn, p50", 1e3, "ms"),
    "turn_p95": ("REST turn, p95", 1e3, "ms"),
}


@dataclass
class Peer:
    """A bot to measure.

    Attributes:
        config: Its ``config.yml``.
        environ: Environment variables for its processes.
    """

    config: dict[str, Any]
    environ: dict[str, str]


def peers(names: list[str], folder: Path, epochs: int | None) -> dict[str, Peer]:
    """Return the bots; what only one of them needs is made in ``folder``."""
    config = yaml.safe_load((PROJECT_ROOT / "config.yml").read_text(encoding="utf-8"))
    ours, stock = (
        [{**item, "epochs": epochs} if epochs and "epochs" in item else item for item in pipeline]
        for pipeline in (config["pipeline"], DIET)
    )
    found = {
        "ours": Peer({**config, "pipeline": ours}, {}),
        "diet": Peer({**config, "pipeline": stock}, {}),
    }
    if "lm" in names and LM_PACKAGES.is_dir():
        environ = {"PYTHONPATH": str(LM_PACKAGES), "PYTHONNOUSERSITE": "1"}
        featurizer = {
            "name": "LanguageModelFeaturizer",
            "model_name": "camembert",
            "model_weights": str(folder / "camembert"),
        }
        found["lm"] = Peer({**config, "pipeline": [stock[0], featurizer, *stock[1:]]}, environ)
        run(["-m", "benchmarks.baselines", "--build", str(folder / "camembert")], environ)
    elif "lm" in names:
        print(f"lm is left out. Its packages are installed by\n{LM_INSTALLATION}", file=sys.stderr)
    return {name: peer for name, peer in found.items() if name in names}


def run(arguments: list[str], environ: dict[str, str]) -> None:
    """Run ``python ARGUMENTS`` in the project; its output is shown if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT_ROOT,
        env={**project_environment(), **environ},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def build_camembert(folder: Path) -> None:
    """Write a random CamemBERT of our encoder's shape for TensorFlow (transformers 4.36)."""
    import sentencepiece
    from transformers import (  # type: ignore[attr-defined]
        CamembertConfig,
        CamembertTokenizer,
        TFCamembertModel,
    )

    from bot import dataset
    from components.offline_encoder import ENCODERS_FOLDER, OFFLINE_ENCODER

    folder.mkdir(parents=True)
    texts = [one.text for one in dataset.read(PROJECT_ROOT / "data" / "nlu.yml").examples]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "pieces"),
        vocab_size=2000,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    CamembertTokenizer(str(folder / "pieces.model")).save_pretrained(folder)
    shape = PROJECT_ROOT / ENCODERS_FOLDER / OFFLINE_ENCODER / "config.json"
    config = CamembertConfig(**json.loads(shape.read_text(encoding="utf-8")))
    model = TFCamembertModel(config)
    model(model.dummy_inputs)
    model.save_pretrained(folder)


def train(name: str, peer: Peer, folder: Path) -> tuple[Path, float]:
    """Train a bot without Rasa's cache; return the archive and the seconds."""
    config = folder / f"{name}.yml"
    config.write_text(yaml.safe_dump(peer.config), encoding="utf-8")
    arguments = ["--config", str(config), "--out", str(folder), "--fixed-model-name", name]
    begin = time.perf_counter()
    run(["-m", "bot.runtime.rasa_cli", "train", "--force", *arguments], peer.environ)
    return folder / f"{name}.tar.gz", time.perf_counter() - begin


def measure(
    model: Path, peer: Peer, at: server.Addresses, endpoints: Path, turns: int
) -> dict[str, float]:
    """Start a bot, ask it, stop it; return its figures in seconds and bytes."""
    token = secrets.token_urlsafe()
    base = f"http://{at.host}:{at.port}"
    begin = time.perf_counter()
    child = processes.start(
        "bot",
        ["-m", "bot.runtime.rasa_cli", "run", "--interface", at.host, "--port", str(at.port),
         "--model", str(model), "--endpoints", str(endpoints)],
        log=endpoints.with_name(f"{model.name}.log"),
        environ={**at.environ, **peer.environ, API_TOKEN_VARIABLE: token},
    )  # fmt: skip

    def turn(number: int) -> Any:
        text = SENTENCES[number % len(SENTENCES)]
        return ask(f"{base}/webhooks/rest/webhook", {"sender": f"peer-{number}", "message": text})

    def parse(number: int) -> Any:
        return ask(
            f"{base}/model/parse?token={token}", {"text": SENTENCES[number % len(SENTENCES)]}
        )

    try:
        while True:
            processes.require_alive([child])
            try:
                if turn(0):
                    break
            except OSError:
                time.sleep(0.05)
        started = time.perf_counter() - begin
        parses, answers = timed(parse, turns), timed(turn, turns)
        return {
            "start": started,
            "memory": resident(child.process.pid),
            "parse": statistics.median(parses),
            "turn": statistics.median(answers),
            "turn_p95": statistics.quantiles(answers, n=20)[-1],
        }
    finally:
        processes.stop([child])


def timed(call: Callable[[int], Any], count: int) -> list[float]:
    """Return the seconds of ``count`` calls, after some that do not count."""
    seconds = []
    for number in range(WARM_UP + count):
        begin = time.perf_counter()
        if not call(number + 1):
            sys.exit("The bot gave an empty answer.")
        seconds.append(time.perf_counter() - begin)
    return seconds[WARM_UP:]


def ask(url: str, body: dict[str, str]) -> Any:
    """Post JSON and return the JSON of the answer."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def resident(pid: int) -> float:
    """Return the resident memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def report(figures: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table: figures, and ratios to the first bot."""
    titles = [f"{title}" for title, *_ in FIGURES.values()]
    lines = [f"| bot | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
    base = next(iter(figures.values()))
    for name, values in figures.items():
        cells = [
            f"{number(values[key] * scale)} {unit} ({values[key] / base[key]:.2f})"
            for key, (_, scale, unit) in FIGURES.items()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Return a figure with three digits, or more before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main() -> None:
    """Run the comparison and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--only", nargs="+", default=["ours", "diet", "lm"])
    parser.add_argument("--epochs", type=int, help="of all trainings, for a quick look")
    parser.add_argument("--out", type=Path, help="write the table there as well")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        build_camembert(arguments.build)
        return
    scratch = Path(tempfile.mkdtemp(prefix="peers-"))
    children: list[processes.Child] = []
    try:
        os.environ["DIRECTORY_URL"] = f"sqlite:///{scratch / 'directory.db'}"
        os.environ["RASA_CACHE_DIRECTORY"] = str(scratch / "cache")
        bots = peers(arguments.only, scratch, arguments.epochs)
        endpoints = write_endpoints(scratch)
        models, figures = {}, {}
        for name, peer in bots.items():
            print(f"Training {name} …", file=sys.stderr)
            models[name], seconds = train(name, peer, scratch)
            figures[name] = {"training": seconds}
        at = server.addresses(processes.HOST, free_port(), free_port())
        prepare_directory()
        children.append(server.start_action_server(at))
        processes.wait_until_ready(children, [f"http://{at.host}:{at.actions_port}/health"])
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in bots}
        for number in range(arguments.rounds):
            for name, peer in bots.items():
                print(f"Round {number + 1}: {name} …", file=sys.stderr)
                rounds[name].append(measure(models[name], peer, at, endpoints, arguments.turns))
        for name, items in rounds.items():
            for key in items[0]:
                figures[name][key] = statistics.median(item[key] for item in items)
        table = report(figures)
    finally:
        processes.stop(children)
        shutil.rmtree(scratch, ignore_errors=True)
    print(table)
    if arguments.out:
        arguments.out.write_text(table + "\n", encoding="utf-8")


def write_endpoints(folder: Path) -> Path:
    """Write the project's endpoints with a tracker store of their own; return the file."""
    endpoints = yaml.safe_load((PROJECT_ROOT / "endpoints.yml").read_text(encoding="utf-8"))
    endpoints["tracker_store"]["db"] = str(folder / "events.db")
    path = folder / "endpoints.yml"
    path.write_text(yaml.safe_dump(endpoints), encoding="utf-8")
    return path


def prepare_directory() -> None:
    """Fill the directory of the action server with the sample."""
    from actions.directory import ensure_sample

    ensure_sample(None, server.SAMPLE)


if __name__ == "__main__":
    main()
