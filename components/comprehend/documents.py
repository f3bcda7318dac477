"""The training file and the names that Amazon Comprehend's custom classification accepts.

Source of the rules: Amazon Comprehend Developer Guide, "Preparing classifier training data",
"Guidelines and quotas", and the API reference of ``CreateDocumentClassifier``.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Iterable

from common.errors import UserError

MINIMUM_DOCUMENTS = 10
RECOMMENDED_DOCUMENTS = 50
MAXIMUM_CLASSES = 1000
# Longest text, in bytes of UTF-8, that the real-time API takes.
MAXIMUM_TEXT_BYTES = 10_000
CLASSIFIER_NAME_LENGTH = VERSION_NAME_LENGTH = 63
ENDPOINT_NAME_LENGTH = 40
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


class DocumentsError(UserError):
    """Examples from which Comprehend would not train; the message names every reason."""


@dataclasses.dataclass(frozen=True)
class Documents:
    """A training file.

    Attributes:
        content: UTF-8, a row ``CLASS,text`` an example, no header.
        counts: Class → number of rows.
        warnings: What Comprehend accepts but does not do well with.
    """

    content: bytes
    counts: dict[str, int]
    warnings: list[str]


def to_csv(
    examples: Iterable[tuple[str, str]],
    *,
    minimum: int = MINIMUM_DOCUMENTS,
    recommended: int = RECOMMENDED_DOCUMENTS,
) -> Documents:
    """Write examples as Comprehend reads them.

    Line breaks and runs of spaces inside a text become one space: a document is one line.

    Args:
        examples: Pairs of intent and text.
        minimum: Rows that each class must have.
        recommended: Rows below which a class gets a warning.

    Raises:
        DocumentsError: Too few or too many classes, too few rows in a class, or an empty text.
    """
    rows = [(intent, " ".join(text.split())) for intent, text in examples]
    counts = Counter(intent for intent, _ in rows)
    faults = [
        f"'{intent}' has {count} example(s); Comprehend needs at least {minimum}: add "
        f"{minimum - count}."
        for intent, count in sorted(counts.items())
        if count < minimum
    ]
    if len(counts) < 2:
        faults.append(f"There must be at least 2 intents; there are {len(counts)}.")
    if len(counts) > MAXIMUM_CLASSES:
        faults.append(f"There may be at most {MAXIMUM_CLASSES} intents; there are {len(counts)}.")
    empty = sum(not text for _, text in rows)
    if empty:
        faults.append(f"{empty} example(s) have no text: remove them.")
    if faults:
        raise DocumentsError("Comprehend cannot train on these examples. " + " ".join(faults))
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return Documents(
        buffer.getvalue().encode("utf-8"),
        dict(counts),
        [
            f"'{intent}' has {count} examples; Comprehend recommends at least {recommended}."
            for intent, count in sorted(counts.items())
            if count < recommended
        ],
    )


def check_name(name: str, length: int, what: str) -> str:
    """Return ``name`` if Comprehend takes it.

    Args:
        name: The name.
        length: Most characters it may have, one of the ``…_NAME_LENGTH`` above.
        what: What it names, for the message: ``"the endpoint"``.

    Raises:
        UserError: It is too long or has a character that is not allowed.
    """
    if len(name) > length or not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' cannot name {what}: Comprehend takes up to {length} letters (without "
            "accents), digits and hyphens, with a letter or digit at both ends."
        )
    return name
