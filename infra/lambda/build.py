"""Builds the archive of the retraining's Lambda functions: ``python infra/lambda/build.py``.

The same sources give the same bytes, so that Terraform deploys only what changed. In it are the
modules of this repository that the functions need and the packages that they import, without
compiled files. botocore is that of our lock, with its descriptions of the services that are called:
that of a runtime is of any age, and conditional writes to S3 depend on it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_OUTPUT = ROOT / "build" / "lambda.zip"
SOURCES = (
    "common/__init__.py",
    "common/aws.py",
    "common/confusion_matrix.py",
    "common/errors.py",
    "common/spreadsheets.py",
    "common/text.py",
    "bot/__init__.py",
    "bot/dataset/*.py",
    "bot/dataset/schema.json",
    "bot/retraining/**/*.py",
    "components/__init__.py",
    "components/comprehend/__init__.py",
    "components/comprehend/documents.py",
    "components/comprehend/service.py",
)
# What checks a dataset against its schema, and its texts, and what calls AWS.
DISTRIBUTIONS = (
    *("jsonschema", "attrs", "pyrsistent", "ftfy", "wcwidth"),
    *("botocore", "jmespath", "python-dateutil", "six", "urllib3"),
)
SERVICES = (
    *("comprehend", "ecr", "s3", "sagemaker", "sagemaker-runtime", "service-quotas"),
    *("sns", "stepfunctions"),
)
_DROPPED_SUFFIXES = {".so", ".pyc", ".pyd", ".pyi"}
_UNNEEDED = {"..", "benchmarks", "tests"}  # "..": scripts, which lie outside the packages
_KEPT_METADATA = ("METADATA", "LICENSE", "COPYING")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip knows


def contents() -> dict[str, Path]:
    """Return what belongs into the archive, by its name there.

    Raises:
        FileNotFoundError: A source or a package is missing.
    """
    found = {path.relative_to(ROOT).as_posix(): path for path in _sources()}
    for name in DISTRIBUTIONS:
        found.update(_distribution(name))
    return found


def build(output: Path) -> int:
    """Write the archive; return its size in bytes."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f"{output.name}.{os.getpid()}")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(contents().items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
    temporary.replace(output)
    return output.stat().st_size


def _sources() -> Iterator[Path]:
    for pattern in SOURCES:
        paths = list(ROOT.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"There is no {pattern} in {ROOT}.")
        yield from paths


def _distribution(name: str) -> Iterator[tuple[str, Path]]:
    for file in importlib.metadata.files(name) or ():
        metadata = file.parts[0].endswith(".dist-info")
        if (
            file.name.startswith(_KEPT_METADATA)
            if metadata
            else file.suffix not in _DROPPED_SUFFIXES
            and not _UNNEEDED.intersection(file.parts)
            and _is_called(file.parts)
        ):
            yield file.as_posix(), Path(str(file.locate()))


def _is_called(parts: tuple[str, ...]) -> bool:
    """Whether a file is not botocore's description of a service that nobody calls."""
    of_a_service = parts[:2] == ("botocore", "data") and len(parts) > 3
    return not of_a_service or parts[2] in SERVICES


def main() -> int:
    """Build the archive that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", nargs="?", type=Path, default=DEFAULT_OUTPUT)
    output = parser.parse_args().output
    size = build(output)
    print(f"{output}: {size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
