"""The cells of a comparison: what is measured one by one, and kept as soon as it is there."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comparison.candidates import Facts
from comparison.results import CROSS_VALIDATION, HELD_OUT, Failure, Speed
from comparison.scores import Run
from comparison.settings import Settings, Spec

LEARNING, SPEED = "learning curve", "speed"
# Measured in this order, each phase for all candidates before the next: a run that is interrupted
# has comparable figures of every candidate soon.
PHASES = ((HELD_OUT,), (SPEED,), (CROSS_VALIDATION, LEARNING))
KINDS = tuple(kind for phase in PHASES for kind in phase)

# To be raised when the way to measure changes, so that nothing is mixed with older figures.
_MEASUREMENT = 1
_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("rasa", "tensorflow", "torch", "transformers", "onnxruntime", "scikit-learn")


@dataclass(frozen=True)
class Cell:
    """One measurement of a candidate."""

    candidate: str  # its key
    kind: str  # one of `KINDS`
    seed: int = 0  # of the split, the subset and the training
    fold: int | None = None  # of a cross-validation
    size: int | None = None  # examples an intent, of a learning curve

    @property
    def title(self) -> str:
        """What it is: ``"cross-validation seed 1 fold 3"``."""
        parts = [self.kind]
        if self.size is not None:
            parts.append(f"{self.size} examples")
        if self.kind != SPEED:
            parts.append(f"seed {self.seed}")
        if self.fold is not None:
            parts.append(f"fold {self.fold + 1}")
        return " ".join(parts)

    @property
    def path(self) -> Path:
        """Where it is kept, below the folder of the cells."""
        return Path(self.candidate) / f"{self.title.replace(' ', '-')}.json"


@dataclass(frozen=True)
class Record:
    """What a cell has measured, or how it failed."""

    fingerprint: str  # of everything that decides the result; another one makes it worthless
    seconds: float  # what it took, for the estimate of the time that remains
    date: str  # day of the measurement
    run: Run | None = None  # answers of a trained model
    facts: Facts | None = None  # what is known of that model
    speed: Speed | None = None  # times
    failure: Failure | None = None  # what was raised


class Store:
    """The finished cells in a folder, one file each.

    Args:
        folder: It is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, cell: Cell) -> Record | None:
        """Return the record of a cell, of whatever fingerprint; None where there is none."""
        from pydantic import ValidationError, parse_obj_as

        try:
            content = json.loads((self._folder / cell.path).read_text(encoding="utf-8"))
            return parse_obj_as(Record, content)
        except (OSError, ValueError, ValidationError):
            return None

    def put(self, cell: Cell, record: Record) -> None:
        """Keep a record: whole or not at all, whatever interrupts it."""
        path = self._folder / cell.path
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".part")
        scratch.write_text(json.dumps(asdict(record), ensure_ascii=False), encoding="utf-8")
        os.replace(scratch, path)


def today() -> str:
    """Return the day, ISO 8601, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def cells_of(spec: Spec, settings: Settings, sizes: list[int]) -> list[Cell]:
    """Return the cells of a candidate.

    A service is scored on the held-out set alone, once: its endpoint is fixed, and has seen all
    training examples.

    Args:
        spec: The candidate.
        settings: Seeds and folds.
        sizes: The points of the learning curve, without « all », which is the held-out cells.
    """
    key, seeds, folds = spec.key, settings.splits.seeds, range(settings.splits.folds)
    if spec.service:
        return [Cell(key, HELD_OUT, seeds[0]), Cell(key, SPEED)]
    return [
        *(Cell(key, HELD_OUT, seed) for seed in seeds),
        Cell(key, SPEED),
        *(Cell(key, CROSS_VALIDATION, seed, fold) for seed in seeds for fold in folds),
        *(Cell(key, LEARNING, seed, size=size) for size in sizes for seed in seeds),
    ]


def fingerprint(spec: Spec, candidates: Mapping[str, Spec], facts: Mapping[str, Any]) -> str:
    """Return a digest of what decides the figures of a candidate.

    Its description and that of the candidate whose model it uses, the sources of our components in
    it, the versions of the libraries, the encoders that are there, and ``facts``.
    """
    digest = hashlib.sha256(json.dumps([_MEASUREMENT, facts], sort_keys=True).encode())
    for package in _PACKAGES:
        digest.update(f"{package} {version(package)}\n".encode())
    found = (_ROOT / "models" / "encoders").rglob("config.json")
    encoders = sorted(str(path.parent.relative_to(_ROOT)) for path in found)
    digest.update("\n".join(encoders).encode())
    chain: Spec | None = spec
    while chain is not None:
        description = [chain.kind, chain.model, chain.service, chain.local_model]
        digest.update(json.dumps(description, sort_keys=True).encode())
        for path in _sources(chain):
            digest.update(path.read_bytes())
        chain = candidates[chain.local_model] if chain.local_model else None
    return digest.hexdigest()[:32]


def version(package: str) -> str:
    """Return the installed version of a package, ``none`` where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _sources(spec: Spec) -> list[Path]:
    """Return the modules beside those of our components in a pipeline, theirs included."""
    modules = [one["name"].split(".") for one in spec.pipeline or ()]
    places = {_ROOT.joinpath(*parts[:2]) for parts in modules if parts[0] == "components"}
    return sorted(
        path
        for place in places
        for path in (place.glob("*.py") if place.is_dir() else [place.with_suffix(".py")])
    )
