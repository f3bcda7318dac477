"""Decisions about questions, checked as they are made, and what comes of them in the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bot import dataset as datasets
from bot.dataset import Dataset, Example, Labels
from bot.review.anonymise import Anonymiser
from bot.review.memory import DROPPED, Memory
from bot.review.questions import Question
from common.errors import UserError

MIRROR = "dataset.json"


class RefusedError(UserError):
    """An example that must not come into the dataset; the message says why."""


@dataclass(frozen=True)
class Decision:
    """``label`` is an intent or :data:`~bot.review.memory.DROPPED`."""

    key: str
    label: str
    example: Example | None = None


class Review:
    """The decisions of one session.

    Each is saved at once; :meth:`finish` adds the examples to the dataset.

    Args:
        path: the dataset, YAML or JSON; ``dataset`` is what it holds.
        labels: what the domain knows.
        memory: of earlier sessions.
        held_out: never to be trained on.
    """

    def __init__(
        self,
        path: Path,
        dataset: Dataset,
        labels: Labels,
        memory: Memory,
        held_out: Iterable[Example] = (),
    ) -> None:
        self.path, self.labels, self.memory = path, labels, memory
        self._trained = {datasets.folded(example.text): example for example in dataset.examples}
        self._held_out = {datasets.folded(example.text) for example in held_out}
        self._decisions: list[Decision] = []

    @property
    def intents(self) -> list[str]:
        """The intents to choose from."""
        return sorted(self.labels.intents)

    def check(self, example: Example) -> None:
        """Raise :class:`RefusedError` where ``example`` must not come into the dataset."""
        problems = datasets.validate(Dataset([example]), self.labels)
        if errors := [problem.message for problem in problems if problem.is_error]:
            raise RefusedError("; ".join(errors))
        spelling = datasets.folded(example.text)
        if spelling in self._held_out:
            raise RefusedError("it is in the held-out set, which is never trained on")
        pending = {datasets.folded(one.text): one for one in self.memory.pending}
        known = self._trained.get(spelling) or pending.get(spelling)
        if known is not None and known.intent != example.intent:
            where = f"on line {known.line} of {self.path}" if known.line else "just now"
            raise RefusedError(f"the same text is {known.intent} {where}; correct it there")

    def label(self, key: str, example: Example) -> bool:
        """Take ``example`` for the question ``key``; return False where the dataset has it.

        Raises:
            RefusedError: it must not come into the dataset.
        """
        self.check(example)
        spelling = datasets.folded(example.text)
        is_new = spelling not in self._trained and all(
            datasets.folded(one.text) != spelling for one in self.memory.pending
        )
        self._decide(Decision(key, example.intent, example if is_new else None))
        return is_new

    def drop(self, key: str) -> None:
        """Take nothing for the question ``key``, ever."""
        self._decide(Decision(key, DROPPED))

    def undo(self) -> Decision | None:
        """Take the last decision of the session back and return it; None where there is none."""
        if not self._decisions:
            return None
        last = self._decisions.pop()
        self.memory.forget(last.key, last.example)
        self.memory.save()
        return last

    def _decide(self, decision: Decision) -> None:
        self._decisions.append(decision)
        self.memory.remember(decision.key, decision.label, decision.example)
        self.memory.save()

    def finish(self) -> int:
        """Add what was labelled to the dataset; return how many examples.

        A ``dataset.json`` beside it that says the same as the dataset goes on doing so.

        Raises:
            UserError: the dataset cannot be written. What was labelled is kept for the next time.
        """
        examples = self.memory.pending
        if not examples:
            return 0
        mirror = self.path.with_name(MIRROR)
        same = mirror != self.path and mirror.exists() and (
            mirror.read_text(encoding="utf-8") == datasets.to_json(datasets.read(self.path))
        )  # fmt: skip
        comment = f"Asked in conversations; `bot review`, {date.today().isoformat()}."
        datasets.append(self.path, examples, comment)
        if same:
            datasets.write(datasets.read(self.path), mirror)
        self.memory.pending = []
        self.memory.save()
        self._decisions.clear()
        return len(examples)


def still_open(
    questions: Sequence[Question],
    memory: Memory,
    held_out: Iterable[Example],
    anonymise: Anonymiser,
) -> tuple[list[Question], int]:
    """Return the questions that nobody has decided on, and how many the held-out set has.

    Those of the held-out set are left out, whatever name stands in them.
    """
    reserved = {
        anonymise(example.text, [entity.to_json() for entity in example.entities]).pattern
        for example in held_out
    }
    undecided = [question for question in questions if question.key not in memory.reviewed]
    left = [question for question in undecided if question.pattern not in reserved]
    return left, len(undecided) - len(left)
