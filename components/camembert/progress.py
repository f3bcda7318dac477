"""One progress bar for a whole training, its parts weighed by what they take."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.camembert.config import STUDENT_PASSES, STUDENT_VERSIONS, passes, refits

# Work is counted in runs of one layer of the encoder over one sentence. Training goes back through
# the layers as well, which is twice the way there.
TRAINING = 3
# Of what a run costs: to load PyTorch at first, and to write and quantise the network at last.
_FIXED_SHARE = 0.05
# Seconds between two updates; in a log each is a line.
_INTERVAL, _LOG_INTERVAL = 0.5, 15.0


class Progress:
    """The bar; the time left is estimated from this machine's speed so far.

    Args:
        work: All that is to be done, see :func:`work_of`; None: no bar.
    """

    def __init__(self, work: float | None = None) -> None:
        self._fixed = _FIXED_SHARE / 2 * (work or 0)
        self._bar = tqdm(
            total=(work or 0) + 2 * self._fixed,
            disable=work is None,
            bar_format="      {desc:<24}{percentage:3.0f} %|{bar:30}| {elapsed}, {remaining} left",
            mininterval=_INTERVAL if sys.stderr.isatty() else _LOG_INTERVAL,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._bar.set_description_str("Trained", refresh=False)
            self.advance(self._bar.total - self._bar.n)  # what early stopping has saved
        self._bar.close()

    def stage(self, title: str) -> None:
        """Name what comes now."""
        self._bar.set_description_str(title)

    def advance(self, work: float) -> None:
        """Note ``work`` as done."""
        self._bar.update(work)

    def advance_fixed(self) -> None:
        """Note as done what costs the same for any number of examples: loading, or writing."""
        self.advance(self._fixed)


def work_of(encoder: Path, examples: int, config: Mapping[str, Any]) -> float:
    """Return the work of a training.

    Args:
        encoder: Folder of the pretrained encoder.
        examples: Number of training sentences.
        config: A complete configuration.
    """
    shape = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    layers = shape.get("num_hidden_layers", 0)  # of another family, it is refused a little later
    frozen = min(config["freeze_layers"], layers) if config["freeze_embeddings"] else 0
    copies = 1 + config["augmentation"]
    epochs, share = passes(config, examples), config["validation_share"]
    trained = TRAINING * (layers - frozen) * examples * epochs
    work = examples * copies * frozen + trained * (1 - share)
    if refits(config, examples):
        work += trained
    if config["distill"]:
        taught = STUDENT_VERSIONS * examples * (1 - share)
        work += taught * (layers + TRAINING * STUDENT_PASSES * config["distill"])
    return float(work)
