"""``compare.yml``: the material, the splits and the candidates of a comparison."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, conint, conlist, root_validator, validator

from common import config
from common.schema import Schema, parse

KINDS = ("pipeline", "transformers")
_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _whole(low: int, high: int | None = None) -> Any:
    """A list of different whole numbers."""
    return conlist(conint(strict=True, ge=low, le=high), min_items=1, unique_items=True)


class MaterialSettings(Schema):
    """What is trained on and scored."""

    train: str = "data/nlu.yml"
    held_out: str | None = "tests/data/heldout.yml"  # None puts a share of `train` aside
    held_out_share: float = Field(default=0.2, gt=0, le=0.5)  # that share
    off_topic: str | None = "OUT_OF_SCOPE"  # the off-topic intent


class _Splits(Schema):
    """How it is split, for every candidate the same."""

    folds: int = Field(default=5, ge=2, le=50)
    seeds: _whole(0) = Field(default=[0, 1, 2])  # type: ignore[valid-type]  # a cross-validation for each
    # Examples an intent of the learning curve; « all » is always there.
    learning_sizes: _whole(1) = Field(default=[5, 10, 20, 50, 100])  # type: ignore[valid-type]


class _Speed(Schema):
    """How speed is measured."""

    threads: int = Field(default=2, ge=1, le=256)  # that a candidate's libraries may use
    clients: _whole(1, 1000) = Field(default=[1, 4, 16, 64])  # type: ignore[valid-type]  # of the loads
    load_seconds: float = Field(default=10, gt=0, le=3600)


class Transformers(Schema):
    """A text-classification pipeline on PyTorch."""

    encoder: str = "almanach/camembert-base"
    revision: str = "main"
    offline_encoder: str | None = "models/encoders/e5-small-fr"
    epochs: int = Field(default=8, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=5e-5, gt=0, le=1)
    max_length: int = Field(default=64, ge=8, le=512)


class Spec(Schema):
    """A candidate: exactly one of ``pipeline`` and ``transformers``."""

    name: str  # in tables
    why: str = ""  # a reader wants to know about it
    default: bool = False  # whether config.yml has it
    pipeline: list[dict[str, Any]] | None = Field(default=None, min_items=1)  # Rasa components
    transformers: Transformers | None = None
    service: Literal["comprehend", "sagemaker"] | None = None  # None: it answers in process
    local_model: str | None = None  # whose model the local AWS serves in its place
    # For the report: whose facts of ease, and whose bill; see comparison.scoring.
    route: str | None = None
    cost: str | None = None
    key: str = Field(default="", const=True)  # its key in the file, which gives it

    @property
    def kind(self) -> str:
        """Which key describes the model."""
        return "transformers" if self.transformers else "pipeline"

    @property
    def model(self) -> Any:
        """What stands under that key, with defaults."""
        return self.pipeline or (self.transformers and self.transformers.dict())

    @property
    def definition(self) -> dict[str, Any]:
        """What a user would write for it."""
        return self.dict(exclude_unset=True, exclude={"key", "why", "default", "local_model"})

    @validator("pipeline")
    @classmethod
    def _are_named(cls, value: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        if not all(isinstance(one.get("name"), str) for one in value or ()):
            raise ValueError("it must be a list of Rasa components, each with a 'name'")
        return value

    @root_validator(skip_on_failure=True)
    @classmethod
    def _is_one(cls, values: dict[str, Any]) -> dict[str, Any]:
        if (values["pipeline"] is None) == (values["transformers"] is None):
            raise ValueError(f"exactly one of {', '.join(KINDS)} must be there.")
        if values["local_model"] and not values["service"]:
            raise ValueError("'local_model' is for candidates with a 'service'.")
        return values

    def with_encoder(self, encoder: str) -> Spec:
        """Return the candidate with another encoder, where it fine-tunes one."""
        if self.transformers:
            settings = parse(
                Transformers,
                {**self.transformers.dict(exclude_unset=True), "encoder": encoder},
                "--encoder", self.name,
            )  # fmt: skip
            return self.copy(update={"transformers": settings})
        pipeline = [
            {**one, "encoder": encoder} if one["name"].startswith("components.camembert.") else one
            for one in self.pipeline or ()
        ]
        return self.copy(update={"pipeline": pipeline})


class Settings(Schema):
    """What ``compare.yml`` says."""

    material: MaterialSettings = MaterialSettings()
    splits: _Splits = _Splits()
    speed: _Speed = _Speed()
    candidates: dict[str, Spec]
    # As they stand there; for the report.
    weights: dict[str, Any] = Field(default={})
    profile: dict[str, Any] = Field(default={})

    @root_validator(skip_on_failure=True)
    @classmethod
    def _refer_to_each_other(cls, values: dict[str, Any]) -> dict[str, Any]:
        candidates, faults = values["candidates"], []
        for key, spec in candidates.items():
            target = candidates.get(spec.local_model or key)
            if spec.local_model and (not target or target.service):
                words = "'local_model' must be the key of a candidate without service."
                faults.append(f"candidates, {key}: {words}")
            if not _KEY.fullmatch(key):
                words = "a key is of small letters, digits and hyphens between them."
                faults.append(f"candidates, {key}: {words}")
        if faults or not candidates:
            raise ValueError(" ".join(faults) or "candidates: there is none.")
        named = {key: spec.copy(update={"key": key}) for key, spec in candidates.items()}
        return {**values, "candidates": named}

    def changed(
        self,
        train: Path | None = None,
        held_out: Path | None = None,
        seeds: list[int] | None = None,
        folds: int | None = None,
        encoder: str | None = None,
    ) -> Settings:
        """Return the settings with what the command line says; None stays as it is.

        An encoder goes to all candidates that fine-tune one.

        Raises:
            UserError: Seeds or folds cannot be.
        """
        given = {"seeds": seeds, "folds": folds}
        splits = {key: value for key, value in given.items() if value is not None}
        # The configured held-out set belongs to the configured examples.
        material = {"train": str(train), "held_out": None} if train else {}
        if held_out:
            material["held_out"] = str(held_out)
        return self.copy(
            update={
                "splits": parse(_Splits, {**self.splits.dict(), **splits}, "options", "splits"),
                "material": self.material.copy(update=material),
                "candidates": {
                    key: spec.with_encoder(encoder) if encoder else spec
                    for key, spec in self.candidates.items()
                },
            }
        )


def read(path: Path) -> Settings:
    """Read the configuration of a comparison; keys that it lacks have their defaults.

    Raises:
        UserError: It cannot be read, or something in it cannot be; every fault is named.
    """
    return parse(Settings, config.read_yaml(path), path, "the file")
