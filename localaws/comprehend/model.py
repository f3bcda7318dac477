"""The local Comprehend's learning: training files, a text classifier, its metrics."""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import json
import random
import tarfile
from collections.abc import Sequence
from typing import Any

MINIMUM_DOCUMENTS, RECOMMENDED_DOCUMENTS = 10, 50  # of a class
MAXIMUM_CLASSES = 1000
_TEST_SHARE = 0.1
_SEED = 3


class TrainingError(Exception):
    """A training that ends IN_ERROR; the message is Comprehend's explanation."""


@dataclasses.dataclass(frozen=True)
class Document:
    """A text and its class."""

    label: str
    text: str


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained classifier.

    Attributes:
        labels: The classes, in alphabetical order.
        trained: Number of documents that it learned from.
        tested: Number of documents that it was measured on.
        confusion: Counts; rows are true classes, columns predicted ones.
        warning: What was not as recommended; empty where all was.
    """

    labels: list[str]
    trained: int
    tested: int
    confusion: list[list[int]]
    warning: str
    _pipeline: Any

    def classify(self, text: str) -> list[tuple[str, float]]:
        """Return every class with its probability, best first."""
        scores = self._pipeline.predict_proba([text])[0]
        pairs = zip(self._pipeline.classes_, scores, strict=True)
        return sorted(
            ((str(label), float(score)) for label, score in pairs), key=lambda pair: -pair[1]
        )

    def metadata(self) -> dict[str, Any]:
        """Return the ``ClassifierMetadata`` of the service."""
        return {
            "NumberOfLabels": len(self.labels),
            "NumberOfTrainedDocuments": self.trained,
            "NumberOfTestDocuments": self.tested,
            "EvaluationMetrics": _metrics(self.confusion),
        }

    def archive(self) -> bytes:
        """Return the service's ``output.tar.gz``, which holds the confusion matrix.

        https://docs.aws.amazon.com/comprehend/latest/dg/train-classifier-output.html
        """
        matrix = {
            "type": "multi_class",
            "confusion_matrix": self.confusion,
            "labels": self.labels,
            "all_labels": self.labels,
        }
        content = json.dumps(matrix).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as files:
            member = tarfile.TarInfo("output/confusion_matrix.json")
            member.size = len(content)
            files.addfile(member, io.BytesIO(content))
        return buffer.getvalue()


def read_documents(content: bytes, name: str) -> list[Document]:
    """Read a training file: UTF-8, no header, ``CLASS,text`` a line.

    Args:
        content: The file's content.
        name: Its address, for messages.

    Raises:
        TrainingError: It breaks a rule.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TrainingError(
            f"INVALID_ENCODING: {name} is not encoded in UTF-8 (line {line})."
        ) from None
    documents = []
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in rows:
            if len(row) != 2:
                raise TrainingError(
                    f"INVALID_FORMAT: line {rows.line_num} of {name} has {len(row)} columns "
                    "instead of 2: the class and the text."
                )
            if any("\n" in cell or "\r" in cell for cell in row):
                raise TrainingError(
                    f"INVALID_FORMAT: the document that ends in line {rows.line_num} of {name} "
                    "contains a line break."
                )
            if not all(cell.strip() for cell in row):
                raise TrainingError(
                    f"INVALID_FORMAT: line {rows.line_num} of {name} has an empty class or text."
                )
            documents.append(Document(*row))
    except csv.Error as error:
        raise TrainingError(
            f"INVALID_FORMAT: line {rows.line_num} of {name} is no valid CSV: {error}."
        ) from None
    return documents


def train(documents: Sequence[Document], test: Sequence[Document] | None) -> Model:
    """Learn from documents.

    Args:
        documents: What to learn from.
        test: What to measure on; None takes a tenth of each class away from ``documents``.

    Raises:
        TrainingError: The documents do not suffice, or the two sets do not go together.
    """
    counts = collections.Counter(document.label for document in documents)
    warning = _check(counts, test)
    if test is None:
        documents, test = _split(documents)
    # Slow to import, and not needed before the first training.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    options = {"sublinear_tf": True, "strip_accents": "unicode"}
    pipeline = make_pipeline(
        make_union(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), **options),
            TfidfVectorizer(token_pattern=r"\w+|\?", ngram_range=(1, 2), **options),
        ),
        LogisticRegression(C=30.0, solver="liblinear", random_state=_SEED),
    )
    pipeline.fit(
        [document.text for document in documents], [document.label for document in documents]
    )
    labels = sorted(counts)
    confusion = [[0] * len(labels) for _ in labels]
    predicted = pipeline.predict([document.text for document in test])
    for document, label in zip(test, predicted, strict=True):
        confusion[labels.index(document.label)][labels.index(label)] += 1
    return Model(labels, len(documents), len(test), confusion, warning, pipeline)


def _check(counts: collections.Counter[str], test: Sequence[Document] | None) -> str:
    """Return a warning, or an empty text."""
    if len(counts) < 2:
        raise TrainingError("INSUFFICIENT_CLASSES: The training data has less than 2 classes.")
    if len(counts) > MAXIMUM_CLASSES:
        raise TrainingError(
            f"TOO_MANY_CLASSES: The training data has {len(counts)} classes; the maximum is "
            f"{MAXIMUM_CLASSES}."
        )
    few = [
        f"'{label}' ({counts[label]})"
        for label in sorted(counts)
        if counts[label] < MINIMUM_DOCUMENTS
    ]
    if few:
        raise TrainingError(
            f"INSUFFICIENT_DOCUMENTS: A class needs at least {MINIMUM_DOCUMENTS} documents: "
            f"{', '.join(few)}."
        )
    if test is not None:
        tested = {document.label for document in test}
        for what, labels in (("lacks", counts.keys() - tested), ("adds", tested - counts.keys())):
            if labels:
                raise TrainingError(
                    "INVALID_TEST_DATA: The test data must have the classes of the training data; "
                    f"it {what} {', '.join(sorted(labels))}."
                )
    scarce = [label for label in sorted(counts) if counts[label] < RECOMMENDED_DOCUMENTS]
    if scarce:
        return (
            f"Less than the {RECOMMENDED_DOCUMENTS} documents that are recommended for a class: "
            f"{', '.join(scarce)}."
        )
    return ""


def _split(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """Return nine tenths of each class, and the rest, at least one document of each."""
    by_label = collections.defaultdict(list)
    for document in documents:
        by_label[document.label].append(document)
    train_set: list[Document] = []
    test_set: list[Document] = []
    generator = random.Random(_SEED)
    for label in sorted(by_label):
        generator.shuffle(by_label[label])
        cut = max(1, round(_TEST_SHARE * len(by_label[label])))
        test_set += by_label[label][:cut]
        train_set += by_label[label][cut:]
    return train_set, test_set


def _metrics(confusion: list[list[int]]) -> dict[str, float]:
    """Return the ``EvaluationMetrics`` of the service: macro averages unless named micro."""
    total = sum(map(sum, confusion))
    right = [row[index] for index, row in enumerate(confusion)]
    true = [sum(row) for row in confusion]
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    precision = [_ratio(*pair) for pair in zip(right, predicted, strict=True)]
    recall = [_ratio(*pair) for pair in zip(right, true, strict=True)]
    f1 = [_ratio(2 * p * r, p + r) for p, r in zip(precision, recall, strict=True)]
    accuracy = _ratio(sum(right), total)
    return {
        "Accuracy": accuracy,
        "Precision": _mean(precision),
        "Recall": _mean(recall),
        "F1Score": _mean(f1),
        # With one class a document, these are all the same.
        "MicroPrecision": accuracy,
        "MicroRecall": accuracy,
        "MicroF1Score": accuracy,
        "HammingLoss": 1 - accuracy,
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
