"""What a confusion matrix says of a classifier, without any library: it runs in a Lambda too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class ConfusionMatrix:
    """How often each intent was taken for each.

    Attributes:
        labels: Intents, in the order of rows and columns.
        counts: Labels x labels; a row is the true intent, a column the predicted one.
    """

    labels: list[str]
    counts: list[list[int]]

    @classmethod
    def of(cls, true: Sequence[str], predicted: Sequence[str | None]) -> ConfusionMatrix:
        """Count pairs; a prediction of None (no intent) makes a column named ``""``."""
        answers = [label or "" for label in predicted]
        labels = sorted({*true, *answers})
        position = {label: index for index, label in enumerate(labels)}
        counts = [[0] * len(labels) for _ in labels]
        for label, answer in zip(true, answers, strict=True):
            counts[position[label]][position[answer]] += 1
        return cls(labels, counts)

    @classmethod
    def from_json(cls, content: Any) -> ConfusionMatrix:
        """Read the ``confusion_matrix.json`` that Amazon Comprehend writes.

        Source: Amazon Comprehend Developer Guide, "Custom classifier metrics".

        Raises:
            ValueError: It is not a square matrix of counts over labels.
        """
        if not isinstance(content, Mapping):
            raise ValueError("confusion_matrix.json holds no object.")
        labels, counts = content.get("labels"), content.get("confusion_matrix")
        if (
            not isinstance(labels, list)
            or not isinstance(counts, list)
            or any(not isinstance(row, list) or len(row) != len(labels) for row in counts)
            or len(counts) != len(labels)
        ):
            raise ValueError("confusion_matrix.json holds no square matrix over its labels.")
        return cls([str(label) for label in labels], [[int(n) for n in row] for row in counts])

    def to_json(self) -> dict[str, Any]:
        """Return the matrix in Amazon Comprehend's format."""
        return {
            "type": "multi_class",
            "confusion_matrix": self.counts,
            "labels": self.labels,
            "all_labels": self.labels,
        }

    @property
    def total(self) -> int:
        """Number of examples."""
        return sum(map(sum, self.counts))

    @property
    def accuracy(self) -> float:
        """Share of examples on the diagonal; 0 where there are none."""
        right = sum(self.counts[index][index] for index in range(len(self.labels)))
        return right / self.total if self.total else 0.0

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the labels that occur as the true one; 0 where there are none."""
        scores = []
        for index, row in enumerate(self.counts):
            true = sum(row)
            if true:
                predicted = sum(other[index] for other in self.counts)
                scores.append(2 * row[index] / (true + predicted))
        return sum(scores) / len(scores) if scores else 0.0

    def metrics(self) -> dict[str, Any]:
        """Return the record that the retraining keeps of a model."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "test_examples": self.total,
            "labels": self.labels,
            "confusion_matrix": self.counts,
        }
