"""Reading a dataset out of S3, and everything that may be wrong with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from bot import dataset as datasets
from bot.dataset import Dataset, Problem
from bot.retraining.storage import address
from common.aws import AwsError, aws_errors
from common.errors import UserError

_GONE = {"NoSuchKey", "NoSuchVersion", "404", "PreconditionFailed", "MethodNotAllowed"}


class GoneError(UserError):
    """The version of an object is not there any more."""


class RejectedError(UserError):
    """A dataset that cannot be trained on.

    Attributes:
        reasons: One line each.
    """

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


@dataclasses.dataclass(frozen=True)
class Object:
    """A version of an object in S3.

    Attributes:
        bucket: Its bucket.
        key: Its key, not encoded.
        version_id: Its version; empty where the bucket keeps none, then ``etag`` names it.
        etag: Its ETag; empty where it is not known.
        size: Bytes; None where they are not known.
    """

    bucket: str
    key: str
    version_id: str = ""
    etag: str = ""
    size: int | None = None

    @property
    def uri(self) -> str:
        """Where it is, ``s3://…`` or a path."""
        return address(self.bucket, self.key)


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset as it was read.

    Attributes:
        facts: For the log: where from, which version, hash, counts.
        content: The file.
        dataset: What is in it.
        problems: What is wrong with it, not errors alone.
    """

    facts: dict[str, Any]
    content: bytes
    dataset: Dataset
    problems: list[Problem]

    @property
    def digest(self) -> str:
        """Hash of what is learned from it: examples and language, not how the file is written."""
        examples = [[example.intent, example.text] for example in self.dataset.examples]
        content = json.dumps([self.dataset.language, examples], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def errors(self) -> list[Problem]:
        """What makes it unfit."""
        return [problem for problem in self.problems if problem.is_error]

    @property
    def counts(self) -> Counter[str]:
        """Intent → number of examples."""
        return Counter(example.intent for example in self.dataset.examples)


def read(s3: Any, source: Object) -> Source:
    """Read and check a dataset, as ``bot dataset validate`` does without a domain.

    Raises:
        GoneError: That version is not there, or was overwritten where there are no versions.
        AwsError: It cannot be read.
    """
    which: dict[str, str] = {}
    if source.version_id:
        which["VersionId"] = source.version_id
    elif source.etag:
        which["IfMatch"] = source.etag
    try:
        with aws_errors(f"read '{source.uri}'"):
            answer = s3.get_object(Bucket=source.bucket, Key=source.key, **which)
            content: bytes = answer["Body"].read()
    except AwsError as error:
        if error.code in _GONE:
            raise GoneError(f"'{source.uri}' is not there.") from error
        raise
    version = source.version_id or answer.get("VersionId", "")
    return of_content(
        dataclasses.replace(source, version_id=version, etag=answer["ETag"].strip('"')), content
    )


def read_file(source: Object) -> Source:
    """Do the same with a file; the bucket is its folder.

    Raises:
        GoneError: It is not there.
    """
    try:
        return of_content(source, (Path(source.bucket) / source.key).read_bytes())
    except FileNotFoundError as error:
        raise GoneError(f"'{source.uri}' is not there.") from error


def of_content(source: Object, content: bytes) -> Source:
    """Check what was read."""
    dataset, problems = _parse(content)
    facts = {
        "bucket": source.bucket,
        "key": source.key,
        "version_id": source.version_id,
        "etag": source.etag,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "examples": len(dataset.examples),
        "intents": dict(Counter(example.intent for example in dataset.examples)),
        "language": dataset.language,
    }
    return Source(facts, content, dataset, problems)


def _parse(content: bytes) -> tuple[Dataset, list[Problem]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset.json"
        path.write_bytes(content)
        try:
            dataset = datasets.read(path)
        except datasets.DatasetError as error:
            return Dataset(), error.problems
    return dataset, datasets.validate(dataset)


def check(source: Source, heldout: Source, *, minimum: int, recommended: int) -> list[str]:
    """Check that a dataset can be trained on, and measured on the held-out set.

    Args:
        source: The dataset.
        heldout: The held-out set.
        minimum: Examples that an intent must have.
        recommended: Examples below which an intent gets a warning.

    Returns:
        Warnings, one line each.

    Raises:
        RejectedError: With every reason.
    """
    reasons = [str(problem) for problem in source.errors]
    reasons += [f"held-out set: {problem}" for problem in heldout.errors]
    if reasons:
        raise RejectedError(reasons)
    counts, measured = source.counts, heldout.counts
    reasons += [
        f"{intent} has {count} example(s); at least {minimum} are needed: add {minimum - count}"
        for intent, count in sorted(counts.items())
        if count < minimum
    ]
    if len(counts) < 2:
        reasons.append(f"at least 2 intents are needed; there are {len(counts)}")
    reasons += [
        f"{intent} has no example in the held-out set: add some to '{heldout.facts['key']}'"
        for intent in sorted(counts.keys() - measured.keys())
    ]
    reasons += [
        f"{intent} of the held-out set has no example"
        for intent in sorted(measured.keys() - counts.keys())
    ]
    if source.dataset.language != heldout.dataset.language:
        reasons.append(
            f"the language is {source.dataset.language}, that of the held-out set "
            f"{heldout.dataset.language}"
        )
    if reasons:
        raise RejectedError(reasons)
    warnings = [str(problem) for problem in source.problems]
    warnings += [
        f"{intent} has {count} examples; {recommended} are recommended"
        for intent, count in sorted(counts.items())
        if count < recommended
    ]
    known = {datasets.folded(example.text) for example in source.dataset.examples}
    leaked = sum(datasets.folded(example.text) in known for example in heldout.dataset.examples)
    if leaked:
        warnings.append(
            f"{leaked} of {len(heldout.dataset.examples)} texts of the held-out set are in the "
            "dataset too: the metrics look better than the model is"
        )
    return warnings
