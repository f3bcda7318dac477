"""What was reviewed before, so that it does not come again."""

from __future__ import annotations

import json
from pathlib import Path

from bot.dataset import Example, annotate, annotated
from common.errors import UserError

VERSION = 1
DROPPED = "dropped"


class Memory:
    """A file that remembers decisions by the digest of the question's pattern, not by its words.

    It is made to be kept in git beside the dataset. ``pending`` are examples that were labelled and
    have not come into the dataset yet; they outlive a terminal that is closed.

    Raises:
        UserError: the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reviewed: dict[str, str] = {}
        self.pending: list[Example] = []
        if not path.exists():
            return
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["version"] != VERSION:
                raise ValueError(f"version {stored['version']!r} is unknown")
            self.reviewed = {str(key): str(label) for key, label in stored["reviewed"].items()}
            self.pending = [annotated(one["text"], one["intent"]) for one in stored["pending"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} cannot be read: {error}. Mend it, or take it away.") from None

    def save(self) -> None:
        """Write the file; it is replaced as a whole or not at all."""
        content = {
            "version": VERSION,
            "reviewed": dict(sorted(self.reviewed.items())),
            "pending": [{"text": annotate(one), "intent": one.intent} for one in self.pending],
        }
        text = json.dumps(content, ensure_ascii=False, indent=1)
        temporary = self.path.with_name(f".{self.path.name}.part")
        temporary.write_text(f"{text}\n", encoding="utf-8")
        temporary.replace(self.path)

    def remember(self, key: str, label: str, example: Example | None = None) -> None:
        """Remember a decision, and the example that comes of it."""
        self.reviewed[key] = label
        if example is not None:
            self.pending.append(example)

    def forget(self, key: str, example: Example | None) -> None:
        """Take a decision back."""
        self.reviewed.pop(key, None)
        self.pending = [one for one in self.pending if one is not example]
