"""``compare.yml``: the material, the splits and the candidates of a comparison."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import config
from common.config import Rule, boolean, integer, number, one_of, optional, text

DEFAULT = Path("compare.yml")
SERVICES = ("comprehend", "sagemaker")


@dataclass(frozen=True)
class Spec:
    """A candidate as the configuration describes it.

    Attributes:
        key: Its key.
        name: Its name in tables.
        kind: ``pipeline`` or ``transformers``; which key describes the model.
        model: What stands under that key: a list of Rasa components, or the settings of a
            ``transformers`` pipeline.
        service: The AWS service that answers; None where it answers in process.
        local_model: Key of the candidate whose model the local AWS serves in its place.
        definition: What a user would write for it.
        why: Why a reader wants to know about it.
        is_default: Whether config.yml has it.
    """

    key: str
    name: str
    kind: str
    model: Any
    service: str | None
    local_model: str | None
    definition: dict[str, Any]
    why: str = ""
    is_default: bool = False


@dataclass(frozen=True)
class Settings:
    """What ``compare.yml`` says.

    Attributes:
        train: Examples to train on.
        held_out: Examples that are never trained on; None puts a share of ``train`` aside.
        held_out_share: That share.
        off_topic: The off-topic intent.
        folds: Folds of a cross-validation.
        seeds: A cross-validation and a training on all examples for each.
        learning_sizes: Examples an intent of the learning curve; « all » is always there.
        threads: Threads that a candidate's libraries may use.
        clients: Clients at once of the sustained loads.
        load_seconds: Length of each of them.
        candidates: By key.
        weights: Of the criteria, as they stand there; for the report.
        profile: The usage, as it stands there; for the report.
    """

    train: Path
    held_out: Path | None
    held_out_share: float
    off_topic: str | None
    folds: int
    seeds: list[int]
    learning_sizes: list[int]
    threads: int
    clients: list[int]
    load_seconds: float
    candidates: dict[str, Spec]
    weights: dict[str, Any]
    profile: dict[str, Any]

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
        given: dict[str, Any] = {"seeds": seeds, "folds": folds}
        splits = {key: value for key, value in given.items() if value is not None}
        config.refuse("options", config.faults("splits", splits, _SECTIONS["splits"]))
        material: dict[str, Any] = {}
        if train:
            # The configured held-out set belongs to the configured examples.
            material = {"train": train, "held_out": None}
        if held_out:
            material["held_out"] = held_out
        candidates = {
            key: _with_encoder(spec, encoder) if encoder else spec
            for key, spec in self.candidates.items()
        }
        return dataclasses.replace(self, **splits, **material, candidates=candidates)


def _with_encoder(spec: Spec, encoder: str) -> Spec:
    model: Any
    if spec.kind == "transformers":
        model = {**spec.model, "encoder": encoder}
    else:
        model = [
            {**one, "encoder": encoder} if one["name"].startswith("components.camembert.") else one
            for one in spec.model
        ]
    written = {**spec.definition, spec.kind: model}
    return dataclasses.replace(spec, model=model, definition=written)


def _list_of(rule: Rule) -> Rule:
    return Rule(
        f"a list without repetitions, each {rule.expected}",
        lambda value: (
            isinstance(value, list)
            and all(map(rule.holds, value))
            and len(set(value)) == len(value) > 0
        ),
    )


_MAPPING = Rule("a mapping of keys to values", lambda value: isinstance(value, Mapping))
_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SECTIONS = {
    "material": {
        "train": text(),
        "held_out": optional(text()),
        "held_out_share": number(0, 0.5, above=True),
        "off_topic": optional(text()),
    },
    "splits": {
        "folds": integer(2, 50),
        "seeds": _list_of(integer(0)),
        "learning_sizes": _list_of(integer(1)),
    },
    "speed": {
        "threads": integer(1, 256),
        "clients": _list_of(integer(1, 1000)),
        "load_seconds": number(0, 3600, above=True),
    },
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "material": {
        "train": "data/nlu.yml",
        "held_out": "tests/data/heldout.yml",
        "held_out_share": 0.2,
        "off_topic": "OUT_OF_SCOPE",
    },
    "splits": {"folds": 5, "seeds": [0, 1, 2], "learning_sizes": [5, 10, 20, 50, 100]},
    "speed": {"threads": 2, "clients": [1, 4, 16, 64], "load_seconds": 10},
}
_KINDS = {
    "pipeline": Rule(
        "a list of Rasa components, each with a 'name'",
        lambda value: (
            isinstance(value, list)
            and len(value) > 0
            and all(isinstance(one, Mapping) and isinstance(one.get("name"), str) for one in value)
        ),
    ),
    "transformers": _MAPPING,
}
_CANDIDATE = {
    "name": text(),
    "why": text(),
    "default": boolean(),
    **_KINDS,
    "service": one_of(*SERVICES),
    "local_model": text(),
    # For the report: whose facts of ease, and whose bill; see comparison.assessment.
    "route": text(),
    "cost": text(),
}
TRANSFORMERS_DEFAULTS: dict[str, Any] = {
    "encoder": "almanach/camembert-base",
    "revision": "main",
    "offline_encoder": "models/encoders/e5-small-fr",
    "epochs": 8,
    "batch_size": 16,
    "learning_rate": 5e-5,
    "max_length": 64,
}
_TRANSFORMERS = {
    "encoder": text(),
    "revision": text(),
    "offline_encoder": optional(text()),
    "epochs": integer(1),
    "batch_size": integer(1),
    "learning_rate": number(0, 1, above=True),
    "max_length": integer(8, 512),
}


def read(path: Path) -> Settings:
    """Read the configuration of a comparison; keys that it lacks have their defaults.

    Raises:
        UserError: It cannot be read, or something in it cannot be; every fault is named.
    """
    content = config.read_yaml(path)
    rules = {**dict.fromkeys([*_SECTIONS, "candidates", "weights", "profile"], _MAPPING)}
    faults = config.faults("the file", content, rules, required=["candidates"])
    config.refuse(path, faults)
    for section, section_rules in _SECTIONS.items():
        faults += config.faults(section, content.get(section, {}), section_rules)
    for key, definition in content["candidates"].items():
        faults += _candidate_faults(str(key), definition, content["candidates"])
    if not content["candidates"]:
        faults.append("candidates: there is none.")
    config.refuse(path, faults)
    values = {name: {**_DEFAULTS[name], **content.get(name, {})} for name in _SECTIONS}
    material, splits, speed = values["material"], values["splits"], values["speed"]
    return Settings(
        train=Path(material["train"]),
        held_out=Path(material["held_out"]) if material["held_out"] else None,
        held_out_share=material["held_out_share"],
        off_topic=material["off_topic"],
        **splits,
        **speed,
        candidates={key: _spec(key, content["candidates"]) for key in content["candidates"]},
        weights=content.get("weights", {}),
        profile=content.get("profile", {}),
    )


def _candidate_faults(key: str, definition: Any, candidates: Mapping[str, Any]) -> list[str]:
    where = f"candidates, {key}"
    faults = config.faults(where, definition, _CANDIDATE, required=["name"])
    if not _KEY.fullmatch(key):
        faults.append(f"{where}: a key is of small letters, digits and hyphens between them.")
    if faults:
        return faults
    kinds = [kind for kind in _KINDS if kind in definition]
    if len(kinds) != 1:
        return [f"{where}: exactly one of {', '.join(_KINDS)} must be there."]
    if kinds == ["transformers"]:
        faults += config.faults(where, definition["transformers"], _TRANSFORMERS)
    if "local_model" in definition and "service" not in definition:
        faults.append(f"{where}: 'local_model' is for candidates with a 'service'.")
    local = definition.get("local_model")
    target = candidates.get(local)
    if local and (not isinstance(target, Mapping) or "service" in target):
        faults.append(f"{where}: 'local_model' must be the key of a candidate without service.")
    return faults


def _spec(key: str, candidates: Mapping[str, Any]) -> Spec:
    definition = candidates[key]
    (kind,) = (kind for kind in _KINDS if kind in definition)
    model = definition[kind]
    if kind == "transformers":
        model = {**TRANSFORMERS_DEFAULTS, **model}
    about = ("local_model", "why", "default")
    written = {name: value for name, value in definition.items() if name not in about}
    return Spec(
        key,
        definition["name"],
        kind,
        model,
        definition.get("service"),
        definition.get("local_model"),
        written,
        definition.get("why", ""),
        definition.get("default", False),
    )
