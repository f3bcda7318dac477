"""How long fine-tuning takes on an encoder of the size of camembert-base.

    python -m benchmarks.training [--sentences 390] [--seed 0] [KEY=VALUE …]

Random weights (fine for timing), sentences drawn from ``data/nlu.yml``, the component's default
recipe; early stopping is off, so that every epoch counts. Prints the time with the default frozen
layers, whose output is computed once per sentence, and with all layers trained.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.serving import TOKENIZER, camembert_config
from components.camembert.config import DEFAULTS
from components.camembert.encoder import find_encoder
from components.camembert.training import fine_tune


def random_encoder(folder: Path) -> str:
    """Write an encoder of the size of camembert-base with random weights; return its folder."""
    import torch
    from transformers import CamembertModel

    torch.manual_seed(0)
    CamembertModel(camembert_config()).save_pretrained(folder)
    shutil.copyfile(TOKENIZER, folder / "tokenizer.json")
    return str(folder)


def main() -> None:
    """Train twice and print a Markdown table."""
    from rasa.shared.nlu.training_data.loading import load_data

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=int, default=390)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of the classifier")
    arguments = parser.parse_args()
    settings: dict[str, Any] = {
        key: yaml.safe_load(value)
        for key, _, value in (item.partition("=") for item in arguments.settings)
    }
    examples = load_data("data/nlu.yml").intent_examples
    chosen = random.Random(arguments.seed).sample(examples, arguments.sentences)
    print(f"| {arguments.sentences} sentences, camembert-base size | training time |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        encoder = find_encoder(random_encoder(Path(folder)), "main", None)
        for frozen in (DEFAULTS["freeze_layers"], 0):
            config = {**DEFAULTS, "patience": None, "freeze_layers": frozen, **settings}
            begin = time.perf_counter()
            fine_tune(
                [message.get("text") for message in chosen],
                [message.get("intent") for message in chosen],
                encoder,
                config,
            )
            seconds = time.perf_counter() - begin
            print(f"| {frozen} of 12 layers frozen, {config['epochs']} epochs | {seconds:.0f} s |")


if __name__ == "__main__":
    main()
