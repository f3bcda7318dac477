"""What a dataset is: examples with their entities, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import UserError

VERSION = 1
RASA_FORMAT_VERSION = "3.1"
SECTIONS = {"lookup": "lookups", "synonym": "synonyms", "regex": "regexes"}


@dataclass(frozen=True)
class Entity:
    """A part of a text, ``text[start:end]``; ``value`` is None where it is that text itself."""

    start: int
    end: int
    entity: str
    value: str | None = None
    role: str | None = None
    group: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entity as in the JSON file, without what is not set."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Example:
    """A labelled text; ``line`` is where it stands in the file that it was read from."""

    text: str
    intent: str
    entities: tuple[Entity, ...] = ()
    metadata: dict[str, Any] | None = None
    intent_metadata: dict[str, Any] | None = None
    line: int = field(default=0, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the example as in the JSON file, without what is not set."""
        entities = [entity.to_json() for entity in self.entities] or None
        optional = {
            "entities": entities,
            "metadata": self.metadata,
            "intent_metadata": self.intent_metadata,
        }
        return {
            "text": self.text,
            "intent": self.intent,
            **{key: value for key, value in optional.items() if value is not None},
        }


@dataclass
class Dataset:
    """Examples in order, and name → values of lookup tables, synonyms and regular expressions."""

    examples: list[Example] = field(default_factory=list)
    lookups: dict[str, list[str]] = field(default_factory=dict)
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    regexes: dict[str, list[str]] = field(default_factory=dict)
    language: str = "fr"


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong with a file; ``line`` counts from 1, 0 means the file as a whole."""

    line: int
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        """Return ``12: error: message``."""
        return f"{self.line}: {'error' if self.is_error else 'warning'}: {self.message}"


class DatasetError(UserError):
    """A file that cannot be read as a dataset, with everything that is wrong with it."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(f"{path}:{problem}" for problem in self.problems))


def plain(value: Any) -> Any:
    """Return ``value`` in plain types; ruamel.yaml and our decoder have types of their own."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
